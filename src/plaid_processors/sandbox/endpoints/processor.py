"""Processor tokens, the developer's side: https://plaid.com/docs/api/processors/."""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.errors import invalid_field
from plaid_processors.sandbox.fields import required, text
from plaid_processors.sandbox.model import Item
from plaid_processors.sandbox.partners import check_enabled, check_processor
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN


def _item_with(call: Call) -> Item:
    """Return the Item, if it is well and the account is one that the user shared."""
    item = call.healthy_item()
    if call["account_id"] not in item.shared:
        raise invalid_field("account_id must be a valid account ID")
    return item


def _issue(call: Call, processor: str) -> Json:
    check_enabled(call.world, processor)
    item = _item_with(call)
    token = call.world.add_processor_token(item, call["account_id"], processor)
    return {"processor_token": token.token}


@endpoint(
    "/processor/token/create",
    access_token=ACCESS_TOKEN,
    account_id=required(text()),
    processor=required(text()),
)
def create(call: Call) -> Json:
    """Issue a token for one account to one partner."""
    check_processor(call["processor"])
    return _issue(call, call["processor"])
