"""Accounts: https://plaid.com/docs/api/accounts/."""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.views import account_view, item_view, pick_accounts
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN, account_options


@endpoint("/accounts/get", access_token=ACCESS_TOKEN, options=account_options())
def get(call: Call) -> Json:
    """Show the accounts that the user shared."""
    item = call.healthy_item()
    accounts = pick_accounts(item, call.option("account_ids"))
    return {
        "accounts": [account_view(account) for account in accounts],
        "item": item_view(item, call.now),
    }
