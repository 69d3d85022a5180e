"""Link tokens: https://plaid.com/docs/api/link/."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.clock import stamp
from plaid_processors.sandbox.errors import PlaidError, invalid_field
from plaid_processors.sandbox.model import LINK_TOKEN_LIFE, UPDATE_MODE_LIFE, Item, LinkToken
from plaid_processors.sandbox.products import check_products
from plaid_processors.sandbox.tokens import new_token
from plaid_processors.sandbox.wire import Json

from .link_fields import LINK_TOKEN_FIELDS

_PRODUCT_LISTS = (
    "products",
    "required_if_supported_products",
    "optional_products",
    "additional_consented_products",
)
# https://plaid.com/docs/api/link/: the products that update mode may add to an Item.
_UPDATE_MODE_PRODUCTS = re.compile(
    r"assets|auth|identity|statements|income_verification|employment|cra_\w+"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_HOSTED_LIVES = {
    None: dt.timedelta(minutes=30),
    "sms": dt.timedelta(days=1),
    "email": dt.timedelta(days=7),
}


@endpoint("/link/token/create", odd_body="INVALID_CONFIGURATION", **LINK_TOKEN_FIELDS)
def create(call: Call) -> Json:
    """Make a link token for a new Item or, with an access token, for update mode."""
    _check_user(call)
    item = call.item() if call.get("access_token") else None
    _check_link_products(call, item)
    _check_redirect_uri(call)
    token = LinkToken(
        token=new_token("link", call.world.ids.uuid("link")),
        client_id=call.client_id,
        options=dict(call.arguments),
        created_at=call.now,
        expires_at=call.now + _life(call, item),
        update_item=item,
    )
    answer: Json = {"link_token": token.token, "expiration": stamp(token.expires_at)}
    if call.get("hosted_link") is not None:
        token.hosted_link_url = f"https://secure.plaid.com/link/{call.world.ids.word('hosted', 34)}"
        answer["hosted_link_url"] = token.hosted_link_url
    call.world.link_tokens[token.token] = token
    return answer


def _check_user(call: Call) -> None:
    user = call.get("user")
    if user is None:
        if call.get("user_id") is None and call.get("user_token") is None:
            words = "the following required fields are missing: user"
            raise PlaidError("MISSING_FIELDS", words)
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


def _digits(phone_number: str) -> str:
    return re.sub(r"[\s().-]", "", phone_number)


def _check_link_products(call: Call, item: Item | None) -> None:
    for name in _PRODUCT_LISTS:
        check_products(call.get(name) or (), link=True)
    products: Sequence[str] = call.get("products") or ()
    if item is None and not products:
        raise invalid_field("must provide at least one product")
    if item is not None:
        odd = [name for name in products if not _UPDATE_MODE_PRODUCTS.fullmatch(name)]
        if odd:
            raise invalid_field(f"products must not be set in update mode: {', '.join(odd)}")
    for name in _PRODUCT_LISTS[1:]:
        doubled = set(products) & set(call.get(name) or ())
        if doubled:
            raise invalid_field(
                f"products and {name} must not overlap: {json.dumps(sorted(doubled))}"
            )


def _check_redirect_uri(call: Call) -> None:
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
    """Tell whether the Dashboard's list could hold it at all."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not set(uri) & set("?#*")


def _life(call: Call, item: Item | None) -> dt.timedelta:
    hosted = call.get("hosted_link")
    if hosted is not None:
        seconds = hosted.get("url_lifetime_seconds")
        if seconds is not None:
            return dt.timedelta(seconds=seconds)
        return _HOSTED_LIVES[hosted.get("delivery_method")]
    return UPDATE_MODE_LIFE if item else LINK_TOKEN_LIFE
