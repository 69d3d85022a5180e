"""Plaid's endpoints, one module for each subject; importing them fills the list."""

from . import accounts, items, link, processor, sandbox

__all__ = ["accounts", "items", "link", "processor", "sandbox"]
