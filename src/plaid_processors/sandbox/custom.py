"""The custom test user: the password is a JSON object that describes the accounts.

https://plaid.com/docs/sandbox/user-custom/
"""

from __future__ import annotations

from typing import Any

from .bank import AUTH_SUBTYPES, CURRENCIES, default_numbers, default_owner
from .errors import PlaidError, documented, invalid_field
from .fields import (
    Field,
    Report,
    choice,
    date,
    flag,
    many,
    number,
    record,
    required,
    text,
)
from .model import Account, Bank
from .tables import table
from .wire import Json, from_json

_WHERE = "options.override_password"
_NAMED = {"name": text(), "official_name": text(), "limit": number(), "mask": text()}
_NUMBERS = (
    "account",
    "ach_routing",
    "ach_wire_routing",
    "eft_institution",
    "eft_branch",
    "international_bic",
    "international_iban",
    "bacs_sort_code",
)
_TYPES = ("depository", "credit", "loan", "investment", "brokerage", "other")
_SUBTYPES = [row["subtype"] for row in table("subtypes")]
_ADDRESS = record(
    street=required(text()), **dict.fromkeys(("city", "region", "postal_code", "country"), text())
)
_IDENTITY = record(
    names=many(text()),
    phone_numbers=many(
        record(
            data=required(text()),
            primary=flag(),
            type=choice(("home", "work", "office", "mobile", "mobile1", "other")),
        )
    ),
    emails=many(
        record(
            data=required(text()), primary=flag(), type=choice(("primary", "secondary", "other"))
        )
    ),
    addresses=many(record(data=required(_ADDRESS), primary=flag())),
)
_TRANSACTION = record(
    date_transacted=required(date()),
    date_posted=required(date()),
    amount=required(number()),
    description=required(text()),
    currency=text(),
)
_ACCOUNT: dict[str, Field] = {
    "type": required(choice(_TYPES)),
    "subtype": choice(_SUBTYPES),
    "starting_balance": number(),
    "force_available_balance": number(),
    "has_null_available_balance": flag(),
    "currency": text(),
    "meta": record(**_NAMED),
    "numbers": record(**dict.fromkeys(_NUMBERS, text())),
    "transactions": many(_TRANSACTION),
    "identity": _IDENTITY,
}
_USER: dict[str, Field] = {
    "override_accounts": many(record(**_ACCOUNT)),
    "force_error": text(),
}


def custom_accounts(bank: Bank, password: str) -> list[Account]:
    """Return the accounts that the password describes, or the error that it forces."""
    user = _read(password)
    forced = user.get("force_error")
    if forced is not None:
        if forced not in documented():
            raise invalid_field(f"{_WHERE}.force_error is not an error code: {forced}")
        raise PlaidError(forced)
    overrides = user.get("override_accounts") or ()
    if not overrides:
        raise PlaidError("NO_ACCOUNTS")
    return [_account(bank, override, number) for number, override in enumerate(overrides)]


def _read(password: str) -> Json:
    try:
        user = from_json(password.encode("utf-8", "replace"))
    except ValueError:
        user = None
    if not isinstance(user, dict):
        raise invalid_field(f"{_WHERE} must be a JSON object for user_custom")
    report = Report()
    report.look_inside(user, _USER, f"{_WHERE}.")
    report.unknown.clear()  # a custom user has more fields than are used here
    report.raise_first(None)
    return user


def _account(bank: Bank, override: Json, number: int) -> Account:
    meta = override.get("meta") or {}
    mask = meta.get("mask") or f"{number:04}"
    subtype = override.get("subtype")
    balance = override.get("starting_balance") or 0
    return Account(
        account_id="",
        name=meta.get("name") or f"Plaid {(subtype or override['type']).title()}",
        official_name=meta.get("official_name"),
        mask=mask,
        type=override["type"],
        subtype=subtype,
        current=balance,
        available=_available(override, balance),
        limit=meta.get("limit"),
        currency=override.get("currency") or CURRENCIES[bank.country],
        numbers=_numbers(bank, override.get("numbers") or {}, mask)
        if subtype in AUTH_SUBTYPES
        else {},
        owners=[_owner(override.get("identity") or {})],
        given_transactions=list(override.get("transactions") or ()),
    )


def _available(override: Json, balance: Any) -> Any:
    if override.get("has_null_available_balance"):
        return None
    forced = override.get("force_available_balance")
    return balance if forced is None else forced


def _numbers(bank: Bank, given: Json, mask: str) -> Json:
    """Replace the bank's usual numbers with the given ones."""
    numbers = default_numbers(bank, mask)
    names = {
        "ach": {"account": "account", "ach_routing": "routing", "ach_wire_routing": "wire_routing"},
        "eft": {"account": "account", "eft_institution": "institution", "eft_branch": "branch"},
        "bacs": {"account": "account", "bacs_sort_code": "sort_code"},
        "international": {"international_iban": "iban", "international_bic": "bic"},
    }
    for scheme, usual in numbers.items():
        for name, key in names[scheme].items():
            if given.get(name) is not None:
                usual[key] = given[name]
    return numbers


def _owner(given: Json) -> Json:
    """Replace the default user's identity with the given one."""
    owner = default_owner()
    for name, value in given.items():
        if name in owner and value is not None:
            owner[name] = value if name == "names" else [_filled(name, entry) for entry in value]
    return owner


def _filled(name: str, entry: Json) -> Json:
    """Fill in the keys that an answer always has and a custom user may omit."""
    if name == "addresses":
        nothing = dict.fromkeys(("city", "region", "postal_code", "country"))
        return {"primary": True, "data": {**nothing, **entry["data"]}}
    given = {key: value for key, value in entry.items() if value is not None}
    return {"primary": True, "type": "other", **given}
