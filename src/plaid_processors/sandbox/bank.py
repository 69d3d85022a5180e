"""The Sandbox's banks and the default user's accounts."""

from __future__ import annotations

import datetime as dt
from functools import cache

from .errors import PlaidError
from .ids import derived_digits
from .model import Account, Bank, Number
from .tables import table
from .wire import Json

# What every Sandbox bank offers. Only names that all client versions know: the models of old
# generated clients refuse an unknown product.
BANK_PRODUCTS = (
    "assets",
    "auth",
    "balance",
    "identity",
    "investments",
    "liabilities",
    "transactions",
)
CURRENCIES = {"US": "USD", "CA": "CAD", "GB": "GBP"}
# The routing number of the default user's accounts, and of the banks whose own are not known.
_US_ROUTING_NUMBER = "011401533"
# https://plaid.com/docs/auth/: the account types that have account numbers.
AUTH_SUBTYPES = frozenset({"checking", "savings", "cash management"})


@cache
def banks() -> dict[str, Bank]:
    """All banks by id."""
    return {
        row["institution_id"]: Bank(
            institution_id=row["institution_id"],
            name=row["name"],
            country=row["country"],
            oauth=row["oauth"] == "yes",
            health=row["health"] or "HEALTHY",
            supported=row["supported"] != "no",
            tokenized_numbers=row["tan"] == "yes",
            ends_earlier=row["relink"] == "yes",
            keeps_accounts=row["keeps"] == "yes",
            renews_tokens=row["renews"] == "yes",
            consent_life=dt.timedelta(days=int(row["consent_days"]))
            if row["consent_days"]
            else None,
            routing_numbers=_routing_numbers(row["country"], row["routing"]),
        )
        for row in table("institutions")
    }


def _routing_numbers(country: str, own: str) -> tuple[str, ...]:
    if own:
        return tuple(own.split(","))
    return (_US_ROUTING_NUMBER,) if country == "US" else ()


def find_bank(institution_id: str) -> Bank:
    """Return the bank, or Plaid's error for an id that does not exist."""
    try:
        return banks()[institution_id]
    except KeyError:
        raise PlaidError("INVALID_INSTITUTION") from None


def bank_to_link(institution_id: str) -> Bank:
    """Return the bank, if it allows new Items."""
    bank = find_bank(institution_id)
    if not bank.supported:
        raise PlaidError("INSTITUTION_NO_LONGER_SUPPORTED")
    return bank


def _number(cell: str) -> Number | None:
    if not cell:
        return None
    return float(cell) if "." in cell else int(cell)


def default_accounts(bank: Bank) -> list[Account]:
    """Make the default user's accounts (seen on the Sandbox, September 2026), without ids."""
    return [
        Account(
            account_id="",
            name=row["name"],
            official_name=row["official_name"] or None,
            mask=row["mask"],
            type=row["type"],
            subtype=row["subtype"],
            current=_number(row["current"]),
            available=_number(row["available"]),
            limit=_number(row["limit"]),
            currency=CURRENCIES[bank.country],
            apy=_number(row["apy"]),
            holder_category=row["holder_category"] or None,
            numbers=default_numbers(bank, row["mask"]) if row["subtype"] in AUTH_SUBTYPES else {},
            owners=[default_owner()],
        )
        for row in table("accounts")
    ]


def default_numbers(bank: Bank, mask: str) -> Json:
    """Make an account's numbers by scheme (US: seen on the Sandbox, 2026)."""
    if bank.country == "CA":  # https://plaid.com/docs/auth/
        return {"eft": {"account": f"11112222{mask}", "institution": "114", "branch": "01533"}}
    if bank.country == "GB":
        return {
            "bacs": {"account": "31926819", "sort_code": "601613"},
            "international": {"iban": "GB29NWBK60161331926819", "bic": "NWBKGB21"},
        }
    account = f"111122223333{mask}"
    return {"ach": {"account": account, "routing": _US_ROUTING_NUMBER, "wire_routing": "021000021"}}


def tokenize(account: Account) -> None:
    """Put a number of this link alone in place of the account's own, whose end the mask shows.

    https://plaid.com/docs/auth/#tokenized-account-numbers
    """
    digits = derived_digits(account.account_id, length=15)
    last = next(digit for digit in "84" if not (account.mask or "").endswith(digit))
    account.numbers["ach"] |= {"account": digits + last, "is_tokenized_account_number": True}


def default_owner() -> Json:
    """Make the default user's identity (https://plaid.com/docs/api/products/identity/)."""
    return {
        "names": ["Alberta Bobbeth Charleson"],
        "phone_numbers": [
            {"data": "2025550123", "primary": False, "type": "home"},
            {"data": "1112224444", "primary": False, "type": "work"},
            {"data": "1112225555", "primary": False, "type": "mobile"},
        ],
        "emails": [
            {"data": "accountholder0@example.com", "primary": True, "type": "primary"},
            {"data": "accountholder1@example.com", "primary": False, "type": "secondary"},
            {
                "data": "extraordinarily.long.email.username.123456@reallylonghostname.com",
                "primary": False,
                "type": "other",
            },
        ],
        "addresses": [
            _address("2992 Cameron Road", "Malakoff", "NY", "14236", primary=True),
            _address("2493 Leisure Lane", "San Matias", "CA", "93405-2255", primary=False),
        ],
    }


def _address(street: str, city: str, region: str, postal_code: str, *, primary: bool) -> Json:
    data = {
        "street": street,
        "city": city,
        "region": region,
        "postal_code": postal_code,
        "country": "US",
    }
    return {"data": data, "primary": primary}
