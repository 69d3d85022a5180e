"""Banks: https://plaid.com/docs/api/institutions/."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence

from plaid_processors.sandbox.bank import BANK_PRODUCTS, banks, find_bank
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.clock import stamp
from plaid_processors.sandbox.errors import PlaidError, invalid_field
from plaid_processors.sandbox.fields import (
    Field,
    anything,
    choice,
    flag,
    integer,
    many,
    record,
    required,
    text,
)
from plaid_processors.sandbox.model import Bank
from plaid_processors.sandbox.products import PRODUCTS
from plaid_processors.sandbox.wire import Json

from .link_fields import COUNTRIES

MOST_FOUND = 10
_HEALTH = {"HEALTHY": (0.9, 0.01), "DEGRADED": (0.42, 0.08), "DOWN": (0.0, 0.01)}
_COUNTRIES = required(many(choice(COUNTRIES), least=1))
_METADATA: dict[str, Field] = {
    "include_optional_metadata": flag(),
    "include_auth_metadata": flag(),
    "include_payment_initiation_metadata": flag(),
}


@endpoint(
    "/institutions/get",
    count=required(integer(1, 500)),
    offset=required(integer(0)),
    country_codes=_COUNTRIES,
    options=record(
        products=many(text(), least=1), routing_numbers=many(text()), oauth=flag(), **_METADATA
    ),
)
def institutions(call: Call) -> Json:
    """Show one page of the banks of some countries."""
    found = _filtered(call, call.option("products"))
    wanted = call.option("routing_numbers")
    if wanted:
        valid = [number for number in wanted if _is_routing_number(number)]
        if not valid:
            raise invalid_field("options.routing_numbers must contain a valid routing number")
        found = [bank for bank in found if set(valid) <= set(bank.routing_numbers)]
    page = found[int(call["offset"]) :][: int(call["count"])]
    return {"institutions": [_view(call, bank) for bank in page], "total": len(found)}


@endpoint(
    "/institutions/search",
    query=required(text(nonempty=True)),
    products=anything(lambda products, _: _check_products(products)),
    country_codes=required(many(choice(COUNTRIES))),
    options=record(
        oauth=flag(),
        payment_initiation=record(payment_id=text(), consent_id=text()),
        **_METADATA,
    ),
)
def search(call: Call) -> Json:
    """Show the banks whose names have the query in them, ten at most."""
    query = call["query"].strip().lower()
    found = [bank for bank in _filtered(call, call.get("products")) if query in bank.name.lower()]
    return {"institutions": [_view(call, bank) for bank in found[:MOST_FOUND]]}


def _check_products(products: object) -> None:
    """Refuse what is no list of products (messages seen on the Sandbox, 2020)."""
    if not isinstance(products, list) or not products:
        words = "products must either be null or a list of strings containing at least one valid"
        raise PlaidError("INVALID_PRODUCT", f"{words} product")
    for name in products:
        if not isinstance(name, str) or name not in PRODUCTS:
            raise PlaidError("INVALID_PRODUCT", f"invalid product in products: {json.dumps(name)}")


def _filtered(call: Call, products: Sequence[str] | None) -> list[Bank]:
    """Return the banks of these countries that have the products, in the order of their names."""
    if products:
        _check_products(products)
    oauth = call.option("oauth")
    found = [
        bank
        for bank in banks().values()
        if bank.country in call["country_codes"]
        and bank.supported
        and set(products or ()) <= set(BANK_PRODUCTS)
        and oauth in (None, bank.oauth)
    ]
    return sorted(found, key=lambda bank: bank.name)


def _is_routing_number(text: str) -> bool:
    """Return whether this is nine digits with a valid checksum."""
    if not re.fullmatch(r"\d{9}", text, re.ASCII):
        return False
    return sum(int(digit) * (3, 7, 1)[place % 3] for place, digit in enumerate(text)) % 10 == 0


@endpoint(
    "/institutions/get_by_id",
    institution_id=required(text(nonempty=True)),
    country_codes=_COUNTRIES,
    options=record(include_status=flag(), **_METADATA),
)
def institution(call: Call) -> Json:
    """Show a bank."""
    bank = find_bank(call["institution_id"])
    if bank.country not in call["country_codes"]:
        raise PlaidError("INVALID_INSTITUTION")
    shown = _view(call, bank)
    if call.option("include_status"):
        shown["status"] = _status(bank, call.now)
    return {"institution": shown}


def _view(call: Call, bank: Bank) -> Json:
    shown: Json = {
        "connection_availability": "SUPPORTED" if bank.supported else "NOT_SUPPORTED",
        "country_codes": [bank.country],
        "dtc_numbers": [],
        "institution_id": bank.institution_id,
        "name": bank.name,
        "oauth": bank.oauth,
        "products": list(BANK_PRODUCTS),
        "routing_numbers": list(bank.routing_numbers),
    }
    if call.option("include_optional_metadata"):
        shown |= {"logo": _LOGO, "primary_color": "#174e7c", "url": "https://www.plaid.com/"}
    if call.option("include_auth_metadata"):
        shown["auth_metadata"] = {"supported_methods": _AUTH_METHODS}
    if call.option("include_payment_initiation_metadata") and bank.country == "GB":
        shown["payment_initiation_metadata"] = _PAYMENT_INITIATION
    return shown


# A PNG of 152 by 152 pixels, all of the primary colour, in base64.
_LOGO = (
    "iVBORw0KGgoAAAANSUhEUgAAAJgAAACYAQMAAAAiDLJiAAAAA1BMVEUXTnyJWtezAAAAGUlEQVR42u3BAQ0AAADC"
    "oPdPbQ8HFAAA8GIL4AABc5OK+QAAAABJRU5ErkJggg=="
)
_PAYMENT_INITIATION = {
    "supports_international_payments": True,
    "supports_sepa_instant": False,
    "maximum_payment_amount": {"GBP": "10000"},
    "supports_refund_details": True,
    "standing_order_metadata": {
        "supports_standing_order_end_date": True,
        "supports_standing_order_negative_execution_days": True,
        "valid_standing_order_intervals": ["WEEKLY", "MONTHLY"],
    },
    "supports_payment_consents": True,
    "supports_commercial_payment_consents": False,
}
_AUTH_METHODS = {
    "instant_auth": True,
    "instant_match": False,
    "automated_micro_deposits": False,
    "instant_micro_deposits": False,
}


def _status(bank: Bank, now: dt.datetime) -> Json:
    success, plaid = _HEALTH[bank.health]
    health: Json = {
        "status": bank.health,
        "last_status_change": stamp(now - dt.timedelta(days=1)),
        "breakdown": {
            "success": success,
            "error_plaid": plaid,
            "error_institution": round(1 - success - plaid, 2),
        },
    }
    return dict.fromkeys(("item_logins", "transactions_updates", "auth", "identity"), health)
