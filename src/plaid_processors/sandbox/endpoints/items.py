"""Items: https://plaid.com/docs/api/items/."""

from __future__ import annotations

from plaid_processors.sandbox import notices
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.fields import choice, required, text, url
from plaid_processors.sandbox.views import full_item_view, item_status, item_view
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN

REMOVAL_REASONS = (
    "FRAUD_FIRST_PARTY",
    "FRAUD_FALSE_IDENTITY",
    "FRAUD_ABUSE",
    "FRAUD_OTHER",
    "CONNECTION_IS_NON_FUNCTIONAL",
    "OTHER",
)


@endpoint("/item/public_token/exchange", public_token=required(text()))
def exchange(call: Call) -> Json:
    """Exchange a public token for the Item's access token."""
    item = call.world.spend_public_token(call["public_token"], call.client_id)
    if not item.exchanged:
        item.exchanged = True
        notices.item_linked(call.world, item)
    return {"access_token": item.access_token, "item_id": item.item_id}


@endpoint("/item/public_token/create", access_token=ACCESS_TOKEN)
def create_public_token(call: Call) -> Json:
    """Make another public token of an Item."""
    return {"public_token": call.world.add_public_token(call.item()).token}


@endpoint("/item/get", access_token=ACCESS_TOKEN)
def get(call: Call) -> Json:
    """Show an Item; a broken one too, with its error."""
    item = call.item()
    return {"item": full_item_view(item, call.now), "status": item_status(item, call.now)}


@endpoint(
    "/item/remove",
    access_token=ACCESS_TOKEN,
    reason_code=choice(REMOVAL_REASONS),
    reason_note=text(longest=512),
)
def remove(call: Call) -> Json:
    """Remove an Item with all its tokens."""
    call.world.remove(call.item())
    return {}


@endpoint("/item/webhook/update", access_token=ACCESS_TOKEN, webhook=url())
def update_webhook(call: Call) -> Json:
    """Set the address for an Item's webhooks; null means none."""
    item = call.item()
    item.webhook = call.get("webhook") or ""
    notices.webhook_updated(call.world, item)
    return {"item": item_view(item, call.now)}


@endpoint("/item/access_token/invalidate", access_token=ACCESS_TOKEN)
def invalidate(call: Call) -> Json:
    """Replace an Item's access token; its processor tokens stay valid."""
    item = call.item()
    call.world.rotate_access_token(item)
    return {"new_access_token": item.access_token}
