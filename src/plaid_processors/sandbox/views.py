"""How Items and accounts are shown in answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from .bank import BANK_PRODUCTS
from .clock import stamp
from .errors import PlaidError
from .model import Account, Item, LinkSession
from .products import covered
from .wire import Json


def account_view(account: Account) -> Json:
    """Show an account as `/accounts/get` does: always with `apy`, some keys only if set."""
    view: Json = {
        "account_id": account.account_id,
        "apy": account.apy,
        "balances": {
            "available": account.available,
            "current": account.current,
            "iso_currency_code": account.currency,
            "limit": account.limit,
            "unofficial_currency_code": None,
        },
        "mask": account.mask,
        "name": account.name,
        "official_name": account.official_name,
        "subtype": account.subtype,
        "type": account.type,
    }
    for name in ("holder_category", "persistent_account_id", "verification_status"):
        if getattr(account, name) is not None:
            view[name] = getattr(account, name)
    return view


def item_view(item: Item, now: dt.datetime) -> Json:
    """Show an Item as in answers with its data."""
    code = item.error_at(now)
    view: Json = {
        "available_products": [name for name in BANK_PRODUCTS if name not in item.products],
        "billed_products": item.billed,
        "consent_expiration_time": stamp(end) if (end := item.consent_ends_at) else None,
        "error": PlaidError(code).body() if code else None,
        "institution_id": item.bank.institution_id,
        "institution_name": item.bank.name,
        "item_id": item.item_id,
        "products": item.products,
        "update_type": "background",
        "webhook": item.webhook,
    }
    if item.through_link and item.scopes is not None:
        view["consented_products"] = [name for name in BANK_PRODUCTS if covered(name, item.scopes)]
    return view


def full_item_view(item: Item, now: dt.datetime) -> Json:
    """Show an Item as `/item/get` does."""
    view = {**item_view(item, now), "created_at": stamp(item.created_at)}
    if item.through_link and item.scopes is not None:
        view["consented_data_scopes"] = sorted(item.scopes)
    return view


def item_status(item: Item, now: dt.datetime) -> Json:
    """Show when an Item's data was last updated."""
    updated = stamp(item.created_at) if item.error_at(now) else stamp(now)
    status: Json = {"last_webhook": item.last_webhook}
    for product in ("transactions", "investments"):
        if product in item.products:
            status[product] = {"last_failed_update": None, "last_successful_update": updated}
    status.setdefault("transactions", {"last_failed_update": None, "last_successful_update": None})
    return status


def link_account_view(account: Account) -> Json:
    """Show an account as in Link's metadata: the same values under other names."""
    return {
        "class_type": None,
        "id": account.account_id,
        "mask": account.mask,
        "name": account.name,
        "subtype": account.subtype,
        "type": account.type,
        "verification_status": account.verification_status,
    }


def pick_accounts(item: Item, account_ids: Iterable[str] | None) -> list[Account]:
    """Return the shared accounts, or those requested by id."""
    shared = item.shared_accounts()
    if account_ids is None:
        return shared
    wanted = set(account_ids)
    if wanted - item.shared:
        raise PlaidError("INVALID_ACCOUNT_ID")
    return [account for account in shared if account.account_id in wanted]


SCHEMES = ("ach", "bacs", "eft", "international")


def with_numbers(accounts: Iterable[Account]) -> list[Account]:
    """Return the accounts that have numbers; raise NO_AUTH_ACCOUNTS if none has."""
    payable = [account for account in accounts if account.numbers]
    if not payable:
        raise PlaidError("NO_AUTH_ACCOUNTS")
    return payable


def numbers_of(account: Account, scheme: str) -> Json | None:
    """Show an account's numbers in one scheme."""
    numbers = account.numbers.get(scheme)
    return {"account_id": account.account_id, **numbers} if numbers else None


def numbers_view(accounts: Iterable[Account]) -> Json:
    """Show the numbers of accounts by scheme."""
    accounts = list(accounts)
    return {
        scheme: [shown for account in accounts if (shown := numbers_of(account, scheme))]
        for scheme in SCHEMES
    }


def owned_account_view(account: Account) -> Json:
    """Show an account with its owners."""
    return {**account_view(account), "owners": account.owners}


def session_view(session: LinkSession) -> Json:
    """Show the outcome of a Link session, in the newer form and the older one."""
    view: Json = {
        "events": [_event_view(event) for event in session.events],
        "finished_at": stamp(session.finished_at) if session.finished_at else None,
        "link_session_id": session.link_session_id,
        "started_at": stamp(session.started_at),
    }
    if session.finished_at is None:
        return view
    if not session.added:
        ended = {"error": session.error, "metadata": _exit_metadata(session.metadata)}
        return {**view, "exit": ended, "on_exit": ended}
    added = [_with_subtypes(each) for each in session.added]
    if len(session.added) == 1:  # onSuccess of multi-Item Link has no token
        shown = {name: value for name, value in session.metadata.items() if name != "account"}
        metadata = _with_subtypes(shown)
        view["on_success"] = {"metadata": metadata, "public_token": added[0]["public_token"]}
    return {
        **view,
        "results": {
            "bank_income_results": [],
            "cra_item_add_results": [],
            "cra_update_results": [],
            "document_income_results": None,
            "item_add_results": added,
            "payroll_income_results": [],
        },
    }


# In `/link/token/get`, unlike in the browser, Plaid's description allows no null in these, and
# generated clients do not read one.


def _event_view(event: Json) -> Json:
    """Show an event of Link, without what it says nothing of."""
    told = {name: value for name, value in event["event_metadata"].items() if value is not None}
    return {**event, "event_metadata": told}


def _exit_metadata(metadata: Json) -> Json:
    """Show where the user left; `requires_credentials` is before a bank was chosen, too."""
    return {**metadata, "status": metadata["status"] or "requires_credentials"}


def _with_subtypes(linked: Json) -> Json:
    """Show the accounts that were linked; no subtype is an empty one."""
    accounts = [{**each, "subtype": each["subtype"] or ""} for each in linked["accounts"]]
    return {**linked, "accounts": accounts}
