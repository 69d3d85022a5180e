"""``plaid-processors partners``: the catalogue, filtered, or one partner with its sources."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator

from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import LIFETIMES, STRIPE, Partner, partners
from .names import TOO_MANY, accounts, partner, product, subtype
from .output import tell

SUMMARY = "list Plaid's partners, or show one with its source"
EXAMPLES = """\
Those that take all accounts and read transactions; all that is known of one:
  plaid-processors partners --accounts all --product transactions
  plaid-processors partners dwolla"""


Value = str | int | tuple[str, ...] | None


def add_options(command: argparse.ArgumentParser) -> None:
    command.set_defaults(too_many=TOO_MANY)
    command.add_argument("name", nargs="?", type=partner, help="one partner's name, such as finix")
    command.add_argument(
        "--accounts",
        type=accounts,
        help="one, all or given: those that take one account, all, or what they are given",
    )
    command.add_argument(
        "--product", type=product, help="those that Link is opened for with it, such as auth"
    )
    command.add_argument(
        "--subtype", type=subtype, help="those that take such an account, such as checking"
    )
    command.add_argument("--json", action="store_true", help="print a list in JSON, for programs")


def run(arguments: argparse.Namespace) -> None:
    filters = [each for each in ("accounts", "product", "subtype") if getattr(arguments, each)]
    if arguments.name is not None and filters:
        arguments.refuse(f"a partner's name goes without filters: leave out --{filters[0]}")
    chosen = [each for each in partners() if _fits(each.adapter, arguments)]
    if arguments.json:
        tell(json.dumps([_record(each) for each in chosen], indent=2))
    elif arguments.name is None:
        for line in _table(chosen):
            tell(line)
        tell(f"{len(chosen)} {'partner' if len(chosen) == 1 else 'partners'}")
    else:
        for each in chosen:
            for label, value in _record(each).items():
                tell(f"{label:<19} {_in_words(value)}")


def _in_words(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) if isinstance(value, tuple) else str(value or "")) or "-"


def _table(chosen: list[Partner]) -> Iterator[str]:
    """A line for each, in 80 columns; where there are fewer, without the partners' own names."""
    names = shutil.get_terminal_size().columns >= 80
    for each in chosen:
        own = f"{each.name:<23} " if names else ""
        # Those that take what they are given take accounts of any type.
        rule = "the accounts it is given" if each.adapter.as_given else each.adapter.rule
        yield f"{each.processor:<18} {own}{rule}"


def accounts_of(adapter: PartnerAdapter) -> str:
    """Which accounts a partner takes, in one word."""
    if adapter.as_given:
        return "given"
    return "one" if adapter.single else "all"


def _fits(adapter: PartnerAdapter, arguments: argparse.Namespace) -> bool:
    product, subtype = arguments.product, arguments.subtype
    return (
        arguments.name in (None, adapter.processor)
        and arguments.accounts in (None, accounts_of(adapter))
        and (product is None or product in adapter.products)
        and (subtype is None or adapter.subtypes is None or subtype in adapter.subtypes)
    )


def _record(partner: Partner) -> dict[str, Value]:
    adapter = partner.adapter
    lifetime = LIFETIMES.get(partner.processor)
    return {
        "processor": partner.processor,
        "name": partner.name,
        "rule": adapter.rule,
        "accounts": accounts_of(adapter),
        "subtypes": adapter.subtypes,
        "products": adapter.products,
        "permissions": adapter.permissions,
        "token_seconds": int(lifetime.total_seconds()) if lifetime else None,
        "single_use": partner.processor == STRIPE,
        "source": partner.source,
        "permissions_source": partner.permissions_source,
        "note": partner.note,
    }
