"""Plaid's product names, and where each may be requested."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from .errors import PlaidError
from .tables import table

# The values of `Products` in Plaid's OpenAPI description and its newer clients, 2026.
PRODUCTS = frozenset(row["product"] for row in table("products"))
# https://plaid.com/docs/api/link/: Link is not opened with these.
NOT_IN_LINK = frozenset({"balance"})
# https://plaid.com/docs/account/billing/: the products that are billed when the Item is made.
BILLED_AT_ONCE = frozenset(row["product"] for row in table("products") if row["billed"])
# https://plaid.com/docs/link/data-transparency-messaging-migration-guide/#data-scopes-by-product
SCOPES = {
    row["product"]: frozenset(row["scopes"].split(","))
    for row in table("products")
    if row["scopes"]
}


def check_products(products: Iterable[str], *, link: bool = False) -> None:
    """Refuse unknown products, and those that Link is not opened with."""
    odd = [name for name in products if name not in PRODUCTS or (link and name in NOT_IN_LINK)]
    if odd:
        raise unauthorized_products(odd)


def check_initial_products(products: Sequence[str]) -> None:
    """Refuse what a Sandbox Item is not made with (unknown products: seen in 2019 and 2020)."""
    odd = [name for name in products if name not in PRODUCTS]
    if odd:
        words = "the following products are not supported by this institution:"
        raise PlaidError("PRODUCTS_NOT_SUPPORTED", f"{words} {json.dumps(odd)}")
    check_products(products, link=True)


def scopes_of(products: Iterable[str]) -> frozenset[str]:
    """Return the data scopes that these products need; Balance's are always asked for."""
    return SCOPES["balance"].union(*(SCOPES.get(name, ()) for name in products))


def covered(product: str, scopes: frozenset[str] | None) -> bool:
    """Return whether consent to these scopes covers a product; None covers all."""
    return scopes is None or (product in SCOPES and SCOPES[product] <= scopes)


def unauthorized_products(products: list[str]) -> PlaidError:
    """Refuse products with the documented message."""
    words = "client is not authorized to access the following products:"
    return PlaidError("INVALID_PRODUCT", f"{words} {json.dumps(products)}")
