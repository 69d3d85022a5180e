"""Endpoints of the Sandbox only: https://plaid.com/docs/api/sandbox/."""

from __future__ import annotations

import datetime as dt

from plaid_processors.sandbox import notices
from plaid_processors.sandbox.bank import bank_to_link
from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.changes import break_login
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.fields import (
    choice,
    date,
    free,
    integer,
    record,
    required,
    text,
    told,
    url,
)
from plaid_processors.sandbox.model import Item
from plaid_processors.sandbox.products import check_initial_products
from plaid_processors.sandbox.users import GOOD_PASSWORD, GOOD_USER, accounts_of_user
from plaid_processors.sandbox.views import pick_accounts
from plaid_processors.sandbox.wire import Json

from .common import ACCESS_TOKEN

USUAL_HISTORY = 90
MAX_HISTORY = 730
_OVERRIDES = {"override_username": text(), "override_password": text()}
# Seen on the Sandbox, 2019 and 2020.
_INITIAL_PRODUCTS = told(
    "must be a list of strings containing at least one product",
    lambda names: bool(names) and all(isinstance(name, str) for name in names),
    "array",
)
_KINDS = sorted({kind for kind, _ in notices.EXTRAS})
_CODES = sorted({code for _, code in notices.EXTRAS})
# Webhooks that an Item sends only if it has the product.
_PRODUCT_OF_KIND = {
    "TRANSACTIONS": "transactions",
    "AUTH": "auth",
    "IDENTITY": "identity",
    "LIABILITIES": "liabilities",
    "HOLDINGS": "investments",
    "INVESTMENTS_TRANSACTIONS": "investments",
    "ASSETS": "assets",
}


def _new_item(
    call: Call, products: list[str], webhook: str = "", days_requested: int = USUAL_HISTORY
) -> Item:
    """Make the Item of the user named in the options."""
    bank = bank_to_link(call["institution_id"])
    username = call.option("override_username", GOOD_USER)
    password = call.option("override_password", GOOD_PASSWORD)
    accounts = accounts_of_user(bank, username, password)
    return call.world.add_item(
        client_id=call.client_id,
        bank=bank,
        accounts=accounts,
        username=username,
        password=password,
        products=products,
        webhook=webhook,
        days_requested=days_requested,
    )


@endpoint(
    "/sandbox/public_token/create",
    institution_id=required(text()),
    initial_products=required(_INITIAL_PRODUCTS),
    options=record(
        webhook=url(),
        **_OVERRIDES,
        transactions=record(start_date=date(), end_date=date(), days_requested=integer(1, 730)),
        statements=free(),
        income_verification=free(),
    ),
    user_token=text(),
    user_id=text(),
)
def create_public_token(call: Call) -> Json:
    """Link a Sandbox user without a browser; Account Select is bypassed."""
    check_initial_products(call["initial_products"])
    days = _days_requested(call)
    item = _new_item(call, call["initial_products"], call.option("webhook", ""), days)
    return {"public_token": call.world.add_public_token(item).token}


def _days_requested(call: Call) -> int:
    """Return how far back transactions go: 90 days, or as requested, at most two years."""
    options = call.option("transactions", {})
    if options.get("days_requested"):
        return int(options["days_requested"])
    if options.get("start_date"):
        start = dt.date.fromisoformat(options["start_date"])
        return min(max((call.now.date() - start).days, 1), MAX_HISTORY)
    return USUAL_HISTORY


@endpoint(
    "/sandbox/processor_token/create",
    institution_id=required(text()),
    options=record(**_OVERRIDES),
)
def create_processor_token(call: Call) -> Json:
    """Make an Item for a partner's own tests; only the processor token is returned."""
    item = _new_item(call, ["auth", "identity", "transactions"])
    if not item.accounts:
        raise PlaidError("NO_ACCOUNTS")
    token = call.world.add_processor_token(item, item.accounts[0].account_id, "")
    return {"processor_token": token.token}


@endpoint("/sandbox/item/reset_login", access_token=ACCESS_TOKEN)
def reset_login(call: Call) -> Json:
    """Break an Item's login."""
    break_login(call.world, call.item())
    return {"reset_login": True}


@endpoint(
    "/sandbox/item/fire_webhook",
    access_token=ACCESS_TOKEN,
    webhook_type=choice(_KINDS),
    webhook_code=required(choice(_CODES)),
    options=free(),
)
def fire_webhook(call: Call) -> Json:
    """Send a webhook about an Item."""
    item, code = call.item(), call["webhook_code"]
    kind = call.get("webhook_type") or _kind_of(code)
    if (kind, code) not in notices.EXTRAS:
        raise PlaidError("INVALID_FIELD", f"webhook_code {code} does not exist for {kind}")
    product = _PRODUCT_OF_KIND.get(kind)
    if product and product not in item.products:
        words = f"The {product} product is not enabled on this item"
        raise PlaidError("SANDBOX_PRODUCT_NOT_ENABLED", words)
    if not item.webhook:
        raise PlaidError("SANDBOX_WEBHOOK_INVALID")
    notices.send_item_webhook(call.world, item, kind, code)
    return {"webhook_fired": True}


def _kind_of(code: str) -> str:
    """Return the type of a code given without one; for an ambiguous code, TRANSACTIONS."""
    kinds = [kind for kind, known in notices.EXTRAS if known == code]
    return "TRANSACTIONS" if "TRANSACTIONS" in kinds else kinds[0]


@endpoint(
    "/sandbox/item/set_verification_status",
    access_token=ACCESS_TOKEN,
    account_id=required(text()),
    verification_status=required(choice(("automatically_verified", "verification_expired"))),
)
def set_verification_status(call: Call) -> Json:
    """End the micro-deposits of an account."""
    item = call.item()
    account = pick_accounts(item, [call["account_id"]])[0]
    account.verification_status = call["verification_status"]
    more = {"account_id": account.account_id}
    code = call["verification_status"].upper()
    notices.send_item_webhook(call.world, item, "AUTH", code, **more)
    return {}
