"""Plaid's endpoints, one module for each subject; importing them registers the endpoints."""

from . import accounts, items, link, partner, processor, reference, sandbox, transactions

__all__ = [
    "accounts",
    "items",
    "link",
    "partner",
    "processor",
    "reference",
    "sandbox",
    "transactions",
]
