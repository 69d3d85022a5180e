"""Consent: what a partner may read follows from what the user was asked for."""

from __future__ import annotations

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.handoff import FinixSender, LayerSender, PartnerApiError
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox

from ..support.rows import rows

PATHS = {
    "auth": "/processor/auth/get",
    "balance": "/processor/balance/get",
    "identity": "/processor/identity/get",
    "transactions": "/processor/transactions/sync",
}


def readable(api, access: str) -> list[str]:
    """The products that a partner can read with a new token."""
    token = api.processor_token(access)
    found = []
    for product, path in PATHS.items():
        reply = api.post(path, processor_token=token)
        if reply.status == 200:
            found.append(product)
        else:
            assert reply.error == (
                "INVALID_INPUT",
                "ADDITIONAL_CONSENT_REQUIRED",
                (
                    "client does not have user consent to access the "
                    f"PRODUCT_{product.upper()} product"
                ),
            )
    return found


@rows(
    ("link", "products"),
    [
        ({"products": ["auth"]}, ["auth", "balance", "identity"]),
        ({"products": ["auth", "identity"]}, ["auth", "balance", "identity"]),
        ({"products": ["identity"]}, ["balance", "identity"]),
        ({"products": ["transactions"]}, ["balance", "identity", "transactions"]),
        ({"products": ["assets"]}, ["balance", "identity", "transactions"]),
        ({"products": ["liabilities"]}, ["balance", "identity"]),
        ({"products": ["auth"], "additional_consented_products": ["transactions"]}, [*PATHS]),
        ({"products": ["transactions"], "additional_consented_products": ["auth"]}, [*PATHS]),
        ({"products": ["transactions"], "optional_products": ["auth"]}, [*PATHS]),
        ({"products": ["auth"], "required_if_supported_products": ["transactions"]}, [*PATHS]),
    ],
)
def test_scopes_decide_what_a_partner_reads(api, link, products):
    """As Plaid's table of data scopes says, of Items made in Link; `/item/get` shows it."""
    access = api.linked(link)
    assert readable(api, access) == products
    consented = api.shown(access)["consented_products"]
    assert [product for product in PATHS if product in consented] == products


@rows(
    ("initial", "products"),
    [
        (["auth", "identity"], ["auth", "balance", "identity"]),
        (["transactions"], ["balance", "identity", "transactions"]),
        (["auth", "transactions"], [*PATHS]),
    ],
)
def test_scopes_of_items_made_without_link(api, initial, products):
    """Their products decide; `/item/get` shows no consent, as was seen."""
    access = api.access_token(initial_products=initial)
    assert readable(api, access) == products
    assert "consented_products" not in api.shown(access)
    assert "consented_products" not in api.ok("/accounts/get", access_token=access)["item"]


def test_the_developers_own_calls_give_no_consent(api):
    """They are answered, as was seen on the Sandbox, but a partner reads no more for it."""
    access = api.linked({"products": ["auth"]})
    assert api.ok("/transactions/sync", access_token=access)["added"]
    assert "transactions" in api.shown(access)["products"]
    assert readable(api, access) == ["auth", "balance", "identity"]


@rows("made", ["link", "sandbox"])
def test_update_mode_asks_for_more(api, sandbox, made):
    """What update mode asked for may be read, by the tokens that were made before too."""
    access = api.linked({"products": ["auth"]}) if made == "link" else api.access_token()
    missing = "transactions" if made == "link" else "auth"
    token = api.processor_token(access)
    assert api.error(PATHS[missing], processor_token=token)[1] == "ADDITIONAL_CONSENT_REQUIRED"
    more = {"additional_consented_products": [missing]}
    sandbox.complete_link(api.link_token(access_token=access, products=None, **more))
    assert api.ok(PATHS[missing], processor_token=token)
    assert missing in api.shown(access)["products"]


def test_consent_can_be_switched_off(api, sandbox):
    """Items made meanwhile are as those from before Plaid recorded consent."""
    before = api.linked({"products": ["auth"]})
    api.send("/_sandbox/consent", b'{"enabled": false}')
    without = api.linked({"products": ["auth"]})
    sandbox.record_consent()
    assert readable(api, without) == [*PATHS]
    assert "consented_products" not in api.shown(without)
    assert readable(api, before) == ["auth", "balance", "identity"]
    with LocalSandbox(consent=False) as other:
        local = type(api)(other, api.pool)
        for _ in range(2):
            assert readable(local, local.linked({"products": ["auth"]})) == [*PATHS]
            other.reset()


def test_no_consent_is_recorded_outside_the_us_and_canada(api):
    """Plaid asks for it there alone."""
    link = {"products": ["auth"], "country_codes": ["GB", "CA"]}
    british = api.linked(link, institution_id="ins_117650")
    assert readable(api, british) == [*PATHS]
    canadian = api.linked(link, institution_id="ins_43")
    assert readable(api, canadian) == ["auth", "balance", "identity"]


def test_a_partner_gets_no_item_that_was_made_for_another(sandbox):
    """Layer reads no transactions of an Item for Finix; Finix no number of one for Layer."""
    with (
        LocalFinix(sandbox) as finix,
        LocalLayer(sandbox) as layer,
        ProcessorLinker(sandbox.client()) as linker,
        FinixSender(
            username=finix.username, password=finix.password, base_url=finix.url
        ) as to_finix,
        LayerSender(
            client_id=layer.client_id,
            client_secret=layer.client_secret,
            base_url=layer.url,
            auth_url=layer.url,
        ) as to_layer,
    ):
        business, identity = layer.new_business(), finix.new_identity()
        for_finix, for_layer = linker.link_sandbox("finix"), linker.link_sandbox("layer")
        borrowed = linker.issue("layer", access_token=for_finix.access_token)
        with pytest.raises(PartnerApiError, match="ADDITIONAL_CONSENT_REQUIRED"):
            to_layer.hand_over(borrowed, business_id=business)
        lent = linker.issue(
            "finix",
            access_token=for_layer.access_token,
            account_id=for_layer.processor_tokens[0].account.account_id,
        )
        with pytest.raises(PartnerApiError, match="ADDITIONAL_CONSENT_REQUIRED"):
            to_finix.hand_over(lent.token("finix"), identity=identity)
        assert (layer.books(business), finix.instruments) == ((), ())
