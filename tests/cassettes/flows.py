"""What is recorded: test bodies that hold at the local Plaid, at Plaid's Sandbox and on replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import (
    AccessTokenError,
    ItemNotFoundError,
    LinkedItem,
    LinkToken,
    PartnerAdapter,
    PlaidApiError,
    ProcessorLinker,
    PublicTokenError,
    get_adapter,
)

from .tape import fake_token

GONE = (
    "The Item you requested cannot be found. This Item does not exist, has been previously "
    "removed via /item/remove, or has had access removed by the user."
)
BANK = "ins_109508"

# One checking account, so that Finix's rule needs nobody to choose:
# https://plaid.com/docs/sandbox/user-custom/
ONE_ACCOUNT = {
    "override_username": "user_custom",
    "override_password": json.dumps(
        {"override_accounts": [{"type": "depository", "subtype": "checking"}]}
    ),
}


Options = dict[str, str] | None
Finish = Callable[[LinkToken, tuple[str, ...], Options], str]
"""Goes through Link as a user would, for these products; gives the public token.

The default user has many accounts; the options are those of ``/sandbox/public_token/create``.
"""

Flow = Callable[[ProcessorLinker, Finish], None]


def layer(linker: ProcessorLinker, finish: Finish) -> None:
    """Layer: a token for every account; then the Item goes, and is gone."""
    items: list[LinkedItem] = []
    public_token = _through_link(linker, finish, "layer", None)
    result = linker.link("layer", public_token=public_token, on_exchange=items.append)
    assert result.complete
    assert [item.access_token for item in items] == [result.access_token]
    assert {token.processor for token in result.processor_tokens} == {"layer"}
    accounts = linker.accounts(result.access_token)
    assert len(accounts) > 1
    assert [token.account for token in result.processor_tokens] == list(accounts)
    assert len({token.processor_token for token in result.processor_tokens}) == len(accounts)
    assert linker.remove(result.access_token) is True
    assert linker.remove(result.access_token) is False


def finix(linker: ProcessorLinker, finish: Finish) -> None:
    """Finix: one token, for the one account; an Item that exists can be asked for more."""
    public_token = _through_link(linker, finish, "finix", ONE_ACCOUNT)
    result = linker.link("finix", public_token=public_token)
    token = result.token("finix")
    assert token.processor_token.startswith("processor-sandbox-")
    assert (token.account.type, token.account.subtype) == ("depository", "checking")
    more = linker.issue("layer", access_token=result.access_token, accounts=[token.account])
    assert more.token("layer").processor_token != token.processor_token
    assert linker.remove(result.access_token) is True


def errors(linker: ProcessorLinker, finish: Finish) -> None:
    """What Plaid refuses on the way, and what the SDK makes of it."""
    public_token = _through_link(linker, finish, "finix", ONE_ACCOUNT)
    result = linker.link("finix", public_token=public_token)
    other = linker.link("finix", public_token=_through_link(linker, finish, "finix", ONE_ACCOUNT))
    access_token, account = result.access_token, result.token("finix").account

    with pytest.raises(PublicTokenError) as used:
        linker.link("finix", public_token=public_token)
    with pytest.raises(PlaidApiError) as nobody:
        linker.issue(
            PartnerAdapter(processor="nobody"), access_token=access_token, accounts=[account]
        )
    with pytest.raises(PlaidApiError) as foreign:
        linker.issue("finix", access_token=access_token, accounts=[other.token("finix").account])
    with pytest.raises(AccessTokenError) as unknown:
        linker.accounts(fake_token("access", 9999))
    assert linker.remove(access_token) is True
    assert linker.remove(other.access_token) is True
    with pytest.raises(ItemNotFoundError) as gone:
        linker.issue("finix", access_token=access_token, accounts=[account])

    assert [_told(each.value) for each in (used, nobody, foreign, unknown, gone)] == [
        ("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "could not find matching public token"),
        ("INVALID_INPUT", "INVALID_PROCESSOR", "The provided processor is invalid."),
        ("INVALID_REQUEST", "INVALID_FIELD", "account_id must be a valid account ID"),
        ("INVALID_INPUT", "INVALID_ACCESS_TOKEN", "could not find matching access token"),
        (
            "ITEM_ERROR",
            "ITEM_NOT_FOUND",
            GONE,
        ),
    ]


FLOWS: dict[str, Flow] = {"layer": layer, "finix": finix, "errors": errors}


def new_link_token(linker: ProcessorLinker, partner: str) -> LinkToken:
    """The link token with which each flow begins."""
    return linker.create_link_token(partner, client_user_id="user-42", client_name="Acme Books")


def _through_link(linker: ProcessorLinker, finish: Finish, partner: str, options: Options) -> str:
    link_token = new_link_token(linker, partner)
    assert link_token.link_token.startswith("link-sandbox-")
    public_token = finish(link_token, get_adapter(partner).products, options)
    assert public_token.startswith("public-sandbox-")
    return public_token


def _told(error: Any) -> tuple[str, str, str]:
    return error.error_type, error.error_code, error.error_message
