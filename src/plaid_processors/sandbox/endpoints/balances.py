"""Balances at the one test bank that gives the time of their last update."""

from __future__ import annotations

import datetime as dt

from plaid_processors.sandbox.calls import Call
from plaid_processors.sandbox.clock import stamp
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.model import Account, Item
from plaid_processors.sandbox.views import account_view
from plaid_processors.sandbox.wire import Json

# First Platypus Balance Bank: https://plaid.com/docs/sandbox/institutions/
DATED_BANK = "ins_130016"
_AGE = dt.timedelta(days=1)


def fresh_account_view(call: Call, item: Item, account: Account) -> Json:
    """Show an account, or refuse balances that are older than requested."""
    view = account_view(account)
    if item.bank.institution_id != DATED_BANK:
        return view
    updated = call.now - _AGE
    least = call.option("min_last_updated_datetime")
    if least is not None and _moment(least) > updated:
        words = "requested datetime out of range, most recently updated balance"
        raise PlaidError("LAST_UPDATED_DATETIME_OUT_OF_RANGE", f"{words} {stamp(updated)}")
    view["balances"]["last_updated_datetime"] = stamp(updated)
    return view


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
