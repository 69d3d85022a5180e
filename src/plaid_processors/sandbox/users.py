"""The Sandbox's test users: the effect of their name and password.

https://plaid.com/docs/sandbox/test-credentials/
"""

from __future__ import annotations

import re

from .bank import default_accounts
from .custom import custom_accounts
from .errors import PlaidError, documented
from .model import Account, Bank, Item

GOOD_USER = "user_good"
GOOD_PASSWORD = "pass_good"  # noqa: S105 - the Sandbox's, printed in Plaid's docs
_ERROR_PASSWORD = re.compile(r"error_([A-Z_]+)")
_GOOD_PASSWORDS = re.compile(rf"{GOOD_PASSWORD}|mfa_\w+")


def accounts_of_user(bank: Bank, username: str, password: str) -> list[Account]:
    """Return a user's accounts, or the error that the login ends with."""
    if username == "user_custom":
        return custom_accounts(bank, password)
    error = _ERROR_PASSWORD.fullmatch(password)
    if error and error[1] in documented():
        raise PlaidError(error[1])
    if username == GOOD_USER and not _GOOD_PASSWORDS.fullmatch(password):
        raise PlaidError("INVALID_CREDENTIALS")
    if not username.startswith("user_"):
        raise PlaidError("INVALID_CREDENTIALS")
    return default_accounts(bank)


def log_in_again(item: Item, username: str, password: str) -> None:
    """Log in for update mode: the same user, with a password that the bank takes."""
    if username != item.username:
        raise PlaidError("INVALID_UPDATED_USERNAME")
    accounts_of_user(item.bank, username, password)
