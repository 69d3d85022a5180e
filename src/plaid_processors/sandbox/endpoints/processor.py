"""Processor tokens, the developer's side: https://plaid.com/docs/api/processors/."""

from __future__ import annotations

from plaid_processors.sandbox import notices
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.errors import PlaidError, invalid_field
from plaid_processors.sandbox.fields import many, nullable, required, text, url
from plaid_processors.sandbox.model import Item
from plaid_processors.sandbox.partners import STRIPE, check_enabled, check_processor
from plaid_processors.sandbox.products import check_products
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN, ACCOUNT_ID, PROCESSOR_TOKEN

_ACCOUNT_FIELDS = {"access_token": ACCESS_TOKEN, "account_id": ACCOUNT_ID}


def _item_for(call: Call, processor: str) -> Item:
    """Return the Item, if the partner is enabled, the Item healthy and the account shared."""
    item = call.item()
    check_enabled(call.world, processor)
    call.world.check_login(item)
    if call["account_id"] not in item.shared:
        # Seen from 2020 to 2026; the documented INVALID_ACCOUNT_ID was not seen here.
        raise invalid_field("account_id must be a valid account ID")
    return item


def _issue(call: Call, processor: str) -> Json:
    item = _item_for(call, processor)
    token = call.world.add_processor_token(item, call["account_id"], processor)
    return {"processor_token": token.token}


@endpoint("/processor/token/create", **_ACCOUNT_FIELDS, processor=required(text()))
def create(call: Call) -> Json:
    """Issue a token for one account to one partner."""
    check_processor(call["processor"])
    return _issue(call, call["processor"])


@endpoint("/processor/apex/processor_token/create", **_ACCOUNT_FIELDS)
def create_for_apex(call: Call) -> Json:
    """Issue a token to Apex, by its older endpoint."""
    return _issue(call, "apex_clearing")


@endpoint("/processor/stripe/bank_account_token/create", **_ACCOUNT_FIELDS)
def create_for_stripe(call: Call) -> Json:
    """Issue one of Stripe's own tokens, for an account that has US numbers."""
    item = _item_for(call, STRIPE)
    account = next(a for a in item.accounts if a.account_id == call["account_id"])
    if "ach" not in account.numbers:
        raise PlaidError(
            "INVALID_STRIPE_ACCOUNT", "Stripe API returned error: Routing number must have 9 digits"
        )
    return {"stripe_bank_account_token": f"btok_{call.world.ids.word('stripe', 24)}"}


@endpoint("/processor/token/permissions/get", processor_token=PROCESSOR_TOKEN)
def get_permissions(call: Call) -> Json:
    """Show the products of a token; none listed means all."""
    return {"products": call.processor_token().products}


@endpoint(
    "/processor/token/permissions/set",
    processor_token=PROCESSOR_TOKEN,
    products=required(many(text())),
)
def set_permissions(call: Call) -> Json:
    """Limit a token to some products; an empty list allows all."""
    token = call.processor_token()
    check_products(call["products"])
    token.products = list(dict.fromkeys(call["products"]))
    return {}


@endpoint(
    "/processor/token/webhook/update",
    processor_token=PROCESSOR_TOKEN,
    webhook=nullable(required(url())),
)
def update_webhook(call: Call) -> Json:
    """Set the address for a partner's webhooks; null means none."""
    token = call.processor_token()
    token.webhook = call.get("webhook")
    notices.processor_webhook_updated(call.world, token)
    return {}
