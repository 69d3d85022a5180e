"""What exists in the Sandbox only: https://plaid.com/docs/api/sandbox/."""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.fields import date, free, integer, many, record, required, text, url
from plaid_processors.sandbox.model import Item
from plaid_processors.sandbox.products import check_products
from plaid_processors.sandbox.users import accounts_of_user
from plaid_processors.sandbox.wire import Json

_OVERRIDES = {"override_username": text(), "override_password": text()}


def _new_item(call: Call, products: list[str], webhook: str, days_requested: int) -> Item:
    """Make the Item of the user named in the options."""
    bank = call.world.bank(call["institution_id"])
    accounts = accounts_of_user(
        bank,
        call.option("override_username", "user_good"),
        call.option("override_password", "pass_good"),
    )
    return call.world.add_item(
        client_id=call.client_id,
        bank=bank,
        accounts=accounts,
        products=products,
        webhook=webhook,
        days_requested=days_requested,
    )


@endpoint(
    "/sandbox/public_token/create",
    institution_id=required(text()),
    initial_products=required(many(text(), least=1)),
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
    """Link a Sandbox user without the browser; Account Select is bypassed."""
    check_products(call["initial_products"])
    days = call.option("transactions", {}).get("days_requested") or 90
    item = _new_item(call, call["initial_products"], call.option("webhook", ""), days)
    return {"public_token": call.world.add_public_token(item).token}
