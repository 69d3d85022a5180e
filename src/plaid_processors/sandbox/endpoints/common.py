"""Fields that several endpoints share."""

from __future__ import annotations

import re
from typing import Any

from plaid_processors.sandbox.fields import Field, record, required, text, told

ACCESS_TOKEN = required(text())
PROCESSOR_TOKEN = required(text())
ACCOUNT_ID = required(told("must be a valid account ID", bool))

_ACCOUNT_ID = re.compile(r"[0-9A-Za-z]{30,44}")


def _are_account_ids(value: Any) -> bool:
    return bool(value) and all(isinstance(one, str) and _ACCOUNT_ID.fullmatch(one) for one in value)


def account_ids() -> Field:
    """Describe a list of account ids (message seen on the Sandbox, 2017)."""
    words = "must be a non-empty array of valid account ids"
    return told(words, _are_account_ids, "array")


def account_options(**more: Field) -> Field:
    """Describe `options` that may name accounts."""
    return record(account_ids=account_ids(), **more)
