"""The Sandbox's test users: the effect of their name and password.

https://plaid.com/docs/sandbox/test-credentials/
"""

from __future__ import annotations

import re

from .bank import default_accounts
from .custom import custom_accounts
from .errors import PlaidError, documented
from .model import Account, Bank

_ERROR_PASSWORD = re.compile(r"error_([A-Z_]+)")
_GOOD_PASSWORD = re.compile(r"pass_good|mfa_\w+")


def accounts_of_user(bank: Bank, username: str, password: str) -> list[Account]:
    """Return a user's accounts, or the error that the login ends with."""
    if username == "user_custom":
        return custom_accounts(bank, password)
    error = _ERROR_PASSWORD.fullmatch(password)
    if error and error[1] in documented():
        raise PlaidError(error[1])
    if username == "user_good" and not _GOOD_PASSWORD.fullmatch(password):
        raise PlaidError("INVALID_CREDENTIALS")
    if not username.startswith("user_"):
        raise PlaidError("INVALID_CREDENTIALS")
    return default_accounts(bank)
