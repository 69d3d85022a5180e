"""Transactions: https://plaid.com/docs/api/products/transactions/."""

from __future__ import annotations

import datetime as dt
import re

from plaid_processors.sandbox import notices
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.errors import PlaidError, invalid_field
from plaid_processors.sandbox.fields import (
    Field,
    choice,
    date,
    flag,
    integer,
    many,
    record,
    required,
    text,
)
from plaid_processors.sandbox.model import Item
from plaid_processors.sandbox.syncing import Page, next_page, read_cursor
from plaid_processors.sandbox.transactions import Entry, entries_at, entry_view
from plaid_processors.sandbox.views import account_view, item_view, pick_accounts
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN

_COMMON_OPTIONS: dict[str, Field] = {
    "include_original_description": flag(),
    "include_personal_finance_category": flag(),
    "include_personal_finance_category_beta": flag(),
    "include_logo_and_counterparty_beta": flag(),
    "personal_finance_category_version": choice(("v1", "v2")),
    "days_requested": integer(1, 730),
}
GET_OPTIONS = {**_COMMON_OPTIONS, "count": integer(1, 500), "offset": integer(0)}
PERIOD = {"start_date": required(date()), "end_date": required(date())}
SYNC_FIELDS = {
    "cursor": text(longest=256),
    "count": integer(1, 500),
    "options": record(**_COMMON_OPTIONS, account_id=text()),
}


# The models of these versions refuse a category, and keys that `/transactions/sync` got later;
# Plaid sends both to all versions.
_OLD_MODELS = re.compile(r"Plaid Python v[89]\.")


def _view(call: Call, entry: Entry) -> Json:
    view = entry_view(entry, original=call.option("include_original_description", False))
    if _OLD_MODELS.match(call.user_agent):
        del view["personal_finance_category"]
    return view


def transactions_between(call: Call, item: Item, account_ids: set[str]) -> Json:
    """Show one page of the transactions of a period, newest first."""
    start, end = (dt.date.fromisoformat(call[name]) for name in ("start_date", "end_date"))
    if start > end:
        raise invalid_field("start_date must not be after end_date")
    found = [
        entry
        for entry in entries_at(item, call.now.date())
        if start <= entry.day <= end and entry.account.account_id in account_ids
    ]
    found.reverse()
    offset, count = int(call.option("offset", 0)), int(call.option("count", 100))
    return {
        "transactions": [_view(call, entry) for entry in found[offset : offset + count]],
        "total_transactions": len(found),
    }


def sync_page(call: Call, item: Item, account_id: str | None) -> Page:
    """Return the page of changes that a call requests."""
    cursor = read_cursor(call.get("cursor", ""), item, call.now.date())
    return next_page(item, cursor, call.now.date(), int(call.get("count", 100)), account_id)


def page_view(call: Call, page: Page) -> Json:
    """Show a page of changes."""
    return {
        "added": [_view(call, entry) for kind, entry in page.changes if kind == "added"],
        "modified": [],
        "removed": [
            {
                "account_id": entry.account.account_id,
                "transaction_id": entry.transaction_id,
            }
            for kind, entry in page.changes
            if kind == "removed"
        ],
        "next_cursor": page.cursor.encode(),
        "has_more": page.has_more,
        "transactions_update_status": "HISTORICAL_UPDATE_COMPLETE",
    }


@endpoint(
    "/transactions/get",
    access_token=ACCESS_TOKEN,
    **PERIOD,
    options=record(account_ids=many(text()), **GET_OPTIONS),
)
def get(call: Call) -> Json:
    """Show the transactions of a period."""
    item = call.healthy_item()
    accounts = pick_accounts(item, call.option("account_ids"))
    call.use(item, "transactions")
    return {
        "accounts": [account_view(account) for account in accounts],
        "item": item_view(item, call.now),
        **transactions_between(call, item, {account.account_id for account in accounts}),
    }


@endpoint("/transactions/sync", access_token=ACCESS_TOKEN, **SYNC_FIELDS)
def sync(call: Call) -> Json:
    """Show the changes since a cursor."""
    item = call.healthy_item()
    account_id = call.option("account_id")
    if account_id is not None:
        pick_accounts(item, [account_id])
    call.use(item, "transactions")
    page = sync_page(call, item, account_id)
    if not item.synced:
        notices.first_synced(call.world, item)
    touched = {entry.account.account_id for kind, entry in page.changes if kind == "added"}
    answer = page_view(call, page)
    if _OLD_MODELS.match(call.user_agent):
        del answer["transactions_update_status"]
        return answer
    accounts = [account_view(a) for a in item.shared_accounts() if a.account_id in touched]
    return {**answer, "accounts": accounts}


@endpoint("/transactions/refresh", access_token=ACCESS_TOKEN)
def refresh(call: Call) -> Json:
    """Look for new transactions; all that the bank has are here already."""
    item = call.healthy_item()
    if "transactions" not in item.products:
        raise PlaidError("PRODUCT_NOT_ENABLED")
    return {}
