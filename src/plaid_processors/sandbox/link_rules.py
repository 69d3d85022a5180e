"""What Plaid refuses in `/link/token/create` beyond the form of each field."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import combinations
from urllib.parse import urlsplit

from .calls import Call
from .errors import PlaidError, invalid_field
from .model import Item
from .products import check_products, unauthorized_products

_PRODUCT_LISTS = (
    "products",
    "required_if_supported_products",
    "optional_products",
    "additional_consented_products",
)
# https://plaid.com/docs/api/link/#link-token-create-request-additional-consented-products
_CONSENT_FOR = frozenset(
    {
        "auth",
        "balance_plus",
        "identity",
        "investments",
        "investments_auth",
        "liabilities",
        "signal",
        "transactions",
    }
)
# https://plaid.com/docs/api/link/: the products that update mode may add to an Item.
_UPDATE_MODE_PRODUCTS = re.compile(
    r"assets|auth|identity|statements|income_verification|employment|cra_\w+"
)
# Each dot can match in one place only, so that a long text is read in linear time.
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
# Plaid documents E.164; its own client tests of 2026 still send ten digits without a plus.
_PHONE = re.compile(r"\+?[1-9]\d{6,14}", re.ASCII)


def check_user(call: Call) -> None:
    """Refuse a missing user, an e-mail address as its id, and malformed personal data."""
    user = call.get("user")
    unnamed = call.get("user_id") is None and call.get("user_token") is None
    if unnamed and call.get("enable_multi_item_link"):
        # https://plaid.com/docs/link/multi-item-link/ requires one; the error is not documented.
        raise _missing("user_id")
    if user is None:
        if unnamed:
            raise _missing("user")
        return
    if _EMAIL.fullmatch(user["client_user_id"]):
        raise invalid_field(
            "user.client_user_id must not contain personally identifiable information"
        )
    # Validated in the Sandbox too since 2026 (https://plaid.com/docs/changelog/).
    if user.get("email_address") and not _EMAIL.fullmatch(user["email_address"]):
        raise PlaidError("INVALID_USER_IDENTITY_DATA", "Invalid email format.")
    if user.get("phone_number") and not _PHONE.fullmatch(_digits(user["phone_number"])):
        raise PlaidError("INVALID_USER_IDENTITY_DATA", "Invalid phone number format.")


def _missing(name: str) -> PlaidError:
    return PlaidError("MISSING_FIELDS", f"the following required fields are missing: {name}")


def _digits(phone_number: str) -> str:
    return re.sub(r"[\s().-]", "", phone_number)


def check_link_products(call: Call, item: Item | None) -> None:
    """Refuse missing, unknown and repeated products, and most products in update mode."""
    for name in _PRODUCT_LISTS:
        check_products(call.get(name) or (), link=True)
    # Its error and words are not known.
    unfit = set(call.get("additional_consented_products") or ()) - _CONSENT_FOR
    if unfit:
        raise unauthorized_products(sorted(unfit))
    products: Sequence[str] = call.get("products") or ()
    if item is None and not products:
        raise invalid_field("must provide at least one product")
    if "signal" in products and "auth" not in products:
        # https://plaid.com/docs/link/initializing-products/; its error and words are not known.
        raise invalid_field("products must contain auth if it contains signal")
    if item is not None:
        odd = [name for name in products if not _UPDATE_MODE_PRODUCTS.fullmatch(name)]
        if odd:
            raise invalid_field(f"products must not be set in update mode: {', '.join(odd)}")
        anew = (call.get("update") or {}).get("account_selection_enabled")
        if anew and "assets" in {*item.products, *products}:
            # Seen in 2022; its code was not shown:
            # https://github.com/viceroypenguin/Going.Plaid/issues/68
            raise invalid_field("account select update is not supported for the assets product")
        if not anew and call.get("account_filters"):
            # https://plaid.com/docs/api/link/; its words are not known.
            raise invalid_field("account_filters need update.account_selection_enabled here")
    for one, other in combinations(_PRODUCT_LISTS, 2):
        doubled = set(call.get(one) or ()) & set(call.get(other) or ())
        if doubled:
            words = json.dumps(sorted(doubled))
            raise invalid_field(f"{one} and {other} must not overlap: {words}")


def check_redirect_uri(call: Call) -> None:
    """Refuse an address that is not, or could not be, in the Dashboard's list."""
    uri = call.get("redirect_uri")
    if uri is None:
        return
    allowed = call.world.redirect_uris
    if (uri not in allowed) if allowed is not None else not _fit_for_redirect(uri):
        raise invalid_field(
            "OAuth redirect URI must be configured in the developer dashboard. "
            "See https://plaid.com/docs/#oauth-redirect-uris"
        )


def _fit_for_redirect(uri: str) -> bool:
    """Return whether the Dashboard's list could contain it."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not set(uri) & set("?#*")
