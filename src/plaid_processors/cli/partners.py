"""``plaid-processors partners``: the catalogue, filtered, or one partner with its sources."""

from __future__ import annotations

import argparse
import json

from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import LIFETIMES, STRIPE, Partner, get_adapter, partners


def run(arguments: argparse.Namespace) -> None:
    if arguments.name is not None:
        get_adapter(arguments.name)  # refuses an unknown name
    chosen = [each for each in partners() if _fits(each.adapter, arguments)]
    if arguments.json:
        print(json.dumps([_record(each) for each in chosen], indent=2))
    elif arguments.name is None:
        for each in chosen:
            print(f"{each.processor:<18} {each.name:<23} {each.adapter.rule}")
        print(f"{len(chosen)} partners")
    else:
        for each in chosen:
            for label, value in _record(each).items():
                text = ", ".join(value) if isinstance(value, tuple) else value
                print(f"{label:<19} {text or '-'}")


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


def _record(partner: Partner) -> dict[str, str | int | tuple[str, ...] | None]:
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
