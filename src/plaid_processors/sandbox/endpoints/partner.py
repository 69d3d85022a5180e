"""The partner's side: https://plaid.com/docs/api/processor-partners/.

A processor token gives access to one account, with any valid keys: the partner's differ from the
developer's. The Sandbox was seen to accept the developer's keys too.
"""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.fields import instant, many, record, text
from plaid_processors.sandbox.model import Account, ProcessorToken
from plaid_processors.sandbox.products import covered, unauthorized_products
from plaid_processors.sandbox.views import (
    SCHEMES,
    account_view,
    numbers_of,
    owned_account_view,
    with_numbers,
)
from plaid_processors.sandbox.wire import Json

from .balances import fresh_account_view
from .common import PROCESSOR_TOKEN
from .transactions import (
    GET_OPTIONS,
    PERIOD,
    SYNC_FIELDS,
    page_view,
    sync_page,
    transactions_between,
)


def _open(call: Call, product: str | None = None) -> tuple[ProcessorToken, Account]:
    """Return the token's account, if the token may read the product.

    Whether Plaid refuses a product without consent here, or when the token is made, is not known.
    """
    token = call.processor_token()
    if product and token.products and product not in token.products:
        raise unauthorized_products([product])
    call.world.check_login(token.item)
    found = [a for a in token.item.shared_accounts() if a.account_id == token.account_id]
    if not found:
        raise PlaidError("INVALID_ACCOUNT_ID")  # the user no longer shares it
    if product and not covered(product, token.item.scopes):
        words = "client does not have user consent to access the"
        raise PlaidError(
            "ADDITIONAL_CONSENT_REQUIRED", f"{words} PRODUCT_{product.upper()} product"
        )
    return token, found[0]


@endpoint("/processor/account/get", processor_token=PROCESSOR_TOKEN)
def account(call: Call) -> Json:
    """Show the account."""
    token, found = _open(call)
    return {"account": account_view(found), "institution_id": token.item.bank.institution_id}


@endpoint(
    "/processor/balance/get",
    processor_token=PROCESSOR_TOKEN,
    options=record(min_last_updated_datetime=instant()),
)
def balance(call: Call) -> Json:
    """Show the account with its current balances."""
    token, found = _open(call, "balance")
    return {"account": fresh_account_view(call, token.item, found)}


@endpoint("/processor/auth/get", processor_token=PROCESSOR_TOKEN)
def auth(call: Call) -> Json:
    """Show the account's numbers; each scheme is an object, not a list."""
    token, account = _open(call, "auth")
    found = with_numbers([account])[0]
    token.item.add_product("auth")
    return {
        "account": account_view(found),
        "numbers": {scheme: numbers_of(found, scheme) for scheme in SCHEMES},
    }


@endpoint("/processor/identity/get", processor_token=PROCESSOR_TOKEN)
def identity(call: Call) -> Json:
    """Show the account with its owners."""
    token, found = _open(call, "identity")
    token.item.add_product("identity")
    return {"account": owned_account_view(found)}


@endpoint(
    "/processor/transactions/get",
    processor_token=PROCESSOR_TOKEN,
    **PERIOD,
    # An older client had the option, although a token has only one account.
    options=record(account_ids=many(text()), **GET_OPTIONS),
)
def transactions(call: Call) -> Json:
    """Show the account's transactions of a period."""
    token, found = _open(call, "transactions")
    token.item.add_product("transactions")
    return {
        "account": account_view(found),
        **transactions_between(call, token.item, {found.account_id}),
    }


@endpoint("/processor/transactions/sync", processor_token=PROCESSOR_TOKEN, **SYNC_FIELDS)
def sync(call: Call) -> Json:
    """Show the account's changes since a cursor."""
    token, found = _open(call, "transactions")
    token.item.add_product("transactions")
    page = sync_page(call, token.item, found.account_id)
    return {"account": account_view(found), **page_view(call, page)}
