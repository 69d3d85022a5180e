"""Plaid's product names, and where each may be requested."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .errors import PlaidError
from .tables import table

# The values of `Products` in Plaid's OpenAPI description and its newer clients, 2026.
PRODUCTS = frozenset(row["product"] for row in table("products"))
# https://plaid.com/docs/api/link/: Link is not opened with these.
NOT_IN_LINK = frozenset({"balance"})


def check_products(products: Iterable[str], *, link: bool = False) -> None:
    """Refuse unknown products, and those that Link is not opened with."""
    odd = [name for name in products if name not in PRODUCTS or (link and name in NOT_IN_LINK)]
    if odd:
        raise unauthorized_products(odd)


def unauthorized_products(products: list[str]) -> PlaidError:
    """Refuse products with the documented message."""
    words = "client is not authorized to access the following products:"
    return PlaidError("INVALID_PRODUCT", f"{words} {json.dumps(products)}")
