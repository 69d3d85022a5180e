"""Link tokens: https://plaid.com/docs/api/link/."""

from __future__ import annotations

import datetime as dt
import re

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.clock import stamp
from plaid_processors.sandbox.errors import PlaidError, invalid_field
from plaid_processors.sandbox.fields import required, text
from plaid_processors.sandbox.link_rules import check_link_products, check_redirect_uri, check_user
from plaid_processors.sandbox.model import (
    LINK_TOKEN_LIFE,
    SESSION_KEPT,
    UPDATE_MODE_LIFE,
    Item,
    LinkToken,
)
from plaid_processors.sandbox.tokens import new_token
from plaid_processors.sandbox.views import session_view
from plaid_processors.sandbox.wire import Json

from .link_fields import LINK_TOKEN_FIELDS

_LINK_TOKEN = re.compile(r"link-[a-z]+-\S+", re.ASCII)
_HOSTED_LIVES = {
    None: dt.timedelta(minutes=30),
    "sms": dt.timedelta(days=1),
    "email": dt.timedelta(days=7),
}


@endpoint("/link/token/create", "INVALID_CONFIGURATION", **LINK_TOKEN_FIELDS)
def create(call: Call) -> Json:
    """Make a link token for a new Item or, with an access token, for update mode."""
    check_user(call)
    item = call.item() if call.get("access_token") else None
    check_link_products(call, item)
    check_redirect_uri(call)
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
        token.hosted_link_url = f"{call.hosted_at}/link/{call.world.ids.word('hosted', 34)}"
        answer["hosted_link_url"] = token.hosted_link_url
    call.world.add_link_token(token)
    return answer


def _life(call: Call, item: Item | None) -> dt.timedelta:
    hosted = call.get("hosted_link")
    if hosted is not None:
        seconds = hosted.get("url_lifetime_seconds")
        if seconds is not None:
            return dt.timedelta(seconds=seconds)
        return _HOSTED_LIVES[hosted.get("delivery_method")]
    return UPDATE_MODE_LIFE if item else LINK_TOKEN_LIFE


@endpoint("/link/token/get", link_token=required(text()))
def get(call: Call) -> Json:
    """Show a link token, and the outcome of its sessions."""
    if not _LINK_TOKEN.fullmatch(call["link_token"]):
        raise invalid_field("link_token must be a properly formatted, non-empty string")
    token = call.world.link_tokens.get(call["link_token"])
    if token is None or token.client_id != call.client_id:
        raise PlaidError("INVALID_LINK_TOKEN")
    recent = [
        session
        for session in token.sessions
        if session.finished_at is None or call.now < session.finished_at + SESSION_KEPT
    ]
    answer: Json = {
        "created_at": stamp(token.created_at),
        "expiration": stamp(token.expires_at),
        "link_token": token.token,
        "metadata": _metadata(token),
    }
    if recent:
        answer["link_sessions"] = [session_view(session) for session in recent]
    return answer


def _metadata(token: LinkToken) -> Json:
    options = token.options
    shown: Json = {
        "client_name": options["client_name"],
        "country_codes": options["country_codes"],
        "initial_products": options.get("products") or [],
        "language": options["language"],
        "redirect_uri": options.get("redirect_uri"),
        "webhook": options.get("webhook"),
    }
    for name in ("account_filters", "institution_data"):
        if options.get(name) is not None:
            shown[name] = options[name]
    return shown
