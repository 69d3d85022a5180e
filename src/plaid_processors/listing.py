"""``plaid-processors partners``: the catalogue, filtered, or one partner with its sources."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable

from .adapters import PartnerAdapter, get_adapter
from .adapters.catalogue import Partner, partners
from .adapters.lifetimes import LIFETIMES, SINGLE_USE


def show(arguments: argparse.Namespace) -> None:
    """List the partners asked for, or show one.

    Raises:
        UnknownProcessorError: no partner is known by that name.
    """
    if arguments.name is not None:
        adapter = get_adapter(arguments.name)
        chosen = [each for each in partners() if each.processor == adapter.processor]
    else:
        chosen = [each for each in partners() if _fits(each.adapter, arguments)]
    if arguments.json:
        print(json.dumps([_as_json(each) for each in chosen], indent=2))
    elif arguments.name is not None:
        _show_one(chosen[0])
    else:
        _show_all(chosen)


def accounts_of(adapter: PartnerAdapter) -> str:
    """Which accounts a partner takes, in one word."""
    return "given" if adapter.as_given else "one" if adapter.single else "all"


def _fits(adapter: PartnerAdapter, arguments: argparse.Namespace) -> bool:
    accounts, product, subtype = arguments.accounts, arguments.product, arguments.subtype
    return (
        accounts in (None, accounts_of(adapter))
        and (product is None or product in adapter.products)
        and (subtype is None or adapter.subtypes is None or subtype in adapter.subtypes)
    )


def _show_all(chosen: Iterable[Partner]) -> None:
    rows = [(each.processor, each.name, each.adapter.rule) for each in chosen]
    for processor, name, rule in rows:
        print(f"{processor:<18} {name:<23} {rule}")
    print(f"\n{len(rows)} partner{'' if len(rows) == 1 else 's'}")


def _show_one(partner: Partner) -> None:
    adapter = partner.adapter
    _line(partner.processor, partner.name)
    _line("accounts", adapter.rule)
    _line("source", partner.source or "no page of Plaid's says a rule")
    _line("products", ", ".join(adapter.products) or "no source says which: pass products=")
    _line("permissions", ", ".join(adapter.permissions or ()) or "no source says what it reads")
    if partner.permissions_source:
        _line("source", partner.permissions_source)
    if partner.processor in LIFETIMES:
        hours = int(LIFETIMES[partner.processor].total_seconds() // 3600)
        _line("a token", f"is valid for {hours} hour{'' if hours == 1 else 's'}")
    if partner.processor in SINGLE_USE:
        _line("a token", "is good for one use")
    if partner.note:
        _line("note", partner.note)


def _line(label: str, text: str) -> None:
    indent = " " * 14
    print(
        textwrap.fill(
            f"{label:<13} {text}",
            96,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _as_json(partner: Partner) -> dict[str, object]:
    adapter = partner.adapter
    lifetime = LIFETIMES.get(partner.processor)
    return {
        "processor": partner.processor,
        "name": partner.name,
        "accounts": accounts_of(adapter),
        "subtypes": adapter.subtypes,
        "products": adapter.products,
        "permissions": adapter.permissions,
        "token_seconds": lifetime and int(lifetime.total_seconds()),
        "single_use": partner.processor in SINGLE_USE,
        "source": partner.source,
        "permissions_source": partner.permissions_source,
        "note": partner.note,
    }
