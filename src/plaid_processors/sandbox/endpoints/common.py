"""Fields that several endpoints share."""

from __future__ import annotations

from plaid_processors.sandbox.fields import Field, many, record, required, text

ACCESS_TOKEN = required(text())
PROCESSOR_TOKEN = required(text())


def account_options(**more: Field) -> Field:
    """Describe `options` that may name accounts."""
    return record(account_ids=many(text()), **more)
