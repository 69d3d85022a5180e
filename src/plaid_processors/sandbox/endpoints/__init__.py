"""Plaid's endpoints, one module for each subject; importing them registers the endpoints."""

from . import (
    accounts,
    institutions,
    items,
    link,
    partner,
    processor,
    sandbox,
    transactions,
    webhook_keys,
)

__all__ = [
    "accounts",
    "institutions",
    "items",
    "link",
    "partner",
    "processor",
    "sandbox",
    "transactions",
    "webhook_keys",
]
