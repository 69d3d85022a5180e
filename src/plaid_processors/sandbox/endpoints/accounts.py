"""Accounts, with balances, numbers and owners.

https://plaid.com/docs/api/accounts/, /auth/ and /identity/.
"""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.fields import free, instant
from plaid_processors.sandbox.model import Account, Item
from plaid_processors.sandbox.views import (
    account_view,
    item_view,
    numbers_view,
    owned_account_view,
    pick_accounts,
    with_numbers,
)
from plaid_processors.sandbox.wire import Json

from .balances import fresh_account_view
from .common import ACCESS_TOKEN, account_options


def _asked_for(call: Call) -> tuple[Item, list[Account]]:
    item = call.healthy_item()
    return item, pick_accounts(item, call.option("account_ids"))


@endpoint("/accounts/get", access_token=ACCESS_TOKEN, options=account_options())
def get(call: Call) -> Json:
    """Show the accounts that the user shared."""
    item, accounts = _asked_for(call)
    return {
        "accounts": [account_view(account) for account in accounts],
        "item": item_view(item, call.now),
    }


@endpoint(
    "/accounts/balance/get",
    access_token=ACCESS_TOKEN,
    options=account_options(min_last_updated_datetime=instant()),
    payment_details=free(),
)
def balance(call: Call) -> Json:
    """Show the accounts with current balances, or with those of the bank's last update."""
    item, accounts = _asked_for(call)
    return {
        "accounts": [fresh_account_view(call, item, account) for account in accounts],
        "item": item_view(item, call.now),
    }


@endpoint("/auth/get", access_token=ACCESS_TOKEN, options=account_options())
def auth(call: Call) -> Json:
    """Show the accounts that allow payments, with their numbers."""
    item, accounts = _asked_for(call)
    payable = with_numbers(accounts)
    call.use(item, "auth")
    return {
        "accounts": [account_view(account) for account in payable],
        "item": item_view(item, call.now),
        "numbers": numbers_view(payable),
    }


@endpoint("/identity/get", access_token=ACCESS_TOKEN, options=account_options())
def identity(call: Call) -> Json:
    """Show the accounts with their owners."""
    item, accounts = _asked_for(call)
    call.use(item, "identity")
    return {
        "accounts": [owned_account_view(account) for account in accounts],
        "item": item_view(item, call.now),
    }
