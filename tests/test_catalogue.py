"""Every partner of Plaid's: the catalogue, and one contract for all adapters."""

from __future__ import annotations

import csv
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import plaid
import pytest
from plaid.model.processor_token_create_request import ProcessorTokenCreateRequest

from plaid_processors import (
    Account,
    AccountSelectionError,
    ConfigurationError,
    LinkResult,
    Partner,
    PartnerAdapter,
    PlaidConnectionError,
    ProcessorLinker,
    ProcessorNotEnabledError,
    StripeBankAccountToken,
    UnknownProcessorError,
    get_adapter,
    partners,
)
from plaid_processors.adapters import catalogue
from plaid_processors.sandbox import LocalSandbox

from .support.checks import link_account
from .support.faulty import ACCOUNTS, PUBLIC_TOKEN, FaultyPlaid, reply
from .support.rows import rows

CHECKING = Account(account_id="checking-1", type="depository", subtype="checking", mask="0000")
SAVINGS = Account(account_id="savings-1", type="depository", subtype="savings", mask="1111")
CARD = Account(account_id="card-1", type="credit", subtype="credit card", mask="3333")

ALL = partners()
AS_GIVEN = [each.processor for each in ALL if each.adapter.as_given]

every_partner = rows("partner", ALL, ids=lambda each: each.processor)


def plaids_own_names() -> set[str]:
    """The names that the installed plaid-python lists."""
    listed = ProcessorTokenCreateRequest.allowed_values[("processor",)]
    return set(listed.values())


def test_the_table_says_what_the_adapters_of_finix_and_layer_say() -> None:
    """Their rules stand in code, with more sources; the table repeats them for its readers."""
    lines = (Path(catalogue.__file__).parent / "catalogue.tsv").read_text("utf-8").splitlines()
    table = {row["processor"]: row for row in csv.DictReader(lines, delimiter="\t")}
    for name in ("finix", "layer"):
        adapter, row = get_adapter(name), table[name]
        assert row["accounts"] == ("one" if adapter.single else "all")
        assert row["subtypes"] == " ".join(adapter.subtypes or ("any",))
        assert row["products"] == " ".join(adapter.products)
        assert row["permissions"] == " ".join(adapter.permissions or ())


# The names that Plaid has taken back: paynote is seamlessach now, prime_trust is gone.
WITHDRAWN = {"paynote", "prime_trust"}


def test_the_catalogue_has_plaids_names() -> None:
    """A newer plaid-python that brings a name, or takes one away, is noticed here."""
    known = {each.processor for each in ALL} - {"stripe"}
    if int(plaid.__version__.split(".")[0]) >= 46:
        assert known == plaids_own_names()
    else:  # an older one has fewer, and the withdrawn
        assert plaids_own_names() <= known | WITHDRAWN


def test_there_are_88_and_stripe() -> None:
    """Plaid-python 46 lists 88; Stripe has an endpoint of its own."""
    assert len(ALL) == 89


@every_partner
def test_the_contract_of_an_adapter(partner: Partner) -> None:
    """Every adapter is a value, is found by its name, says its rule, and picks of what it gets."""
    adapter = partner.adapter
    assert get_adapter(partner.processor) is adapter
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert hash(adapter) == hash(pickle.loads(pickle.dumps(adapter)))
    assert adapter.processor == partner.processor
    assert adapter.rule
    assert adapter.select_accounts((CHECKING,)) == (CHECKING,)
    with pytest.raises(AccountSelectionError) as caught:
        adapter.select_accounts(())
    assert caught.value.processor == adapter.processor


@every_partner
def test_a_rule_has_a_source_and_no_source_means_no_rule(partner: Partner) -> None:
    """Whoever has no page of Plaid's has no rule here either, and says so."""
    adapter = partner.adapter
    if partner.source is None:
        assert (adapter.as_given, adapter.subtypes, adapter.products) == (True, None, ())
    else:
        assert partner.source.startswith("https://plaid.com/docs/")
        assert adapter.products
    assert (adapter.permissions is None) == (partner.permissions_source is None)
    assert adapter.as_given == ("exactly the accounts it is given" in adapter.rule)


@every_partner
def test_every_partner_is_linked_by_the_same_call(
    partner: Partner, linker: ProcessorLinker, item: dict[str, Any]
) -> None:
    """One account that fits becomes one token, whoever the partner is."""
    result = linker.issue(
        partner.processor, access_token=item["access_token"], accounts=[item["checking"]]
    )
    token = result.token(partner.processor)
    assert token.account.account_id == item["checking"]["account_id"]
    assert LinkResult.from_dict(result.to_dict()) == result


@pytest.fixture(scope="module")
def item(local_plaid: LocalSandbox) -> dict[str, Any]:
    """One Item of the default user, with its checking account."""
    with ProcessorLinker(local_plaid.client()) as linker:
        made = linker.link_sandbox("finix")
    account = made.token("finix").account
    checking = {"account_id": account.account_id, "subtype": "checking", "type": "depository"}
    return {"access_token": made.access_token, "checking": checking}


@rows("name", AS_GIVEN)
def test_no_account_is_chosen_where_no_page_says_a_rule(
    name: str, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Without accounts or ids, such a partner is refused before any request."""
    for call in (
        lambda: faulty_linker.link(name, public_token=PUBLIC_TOKEN),
        lambda: faulty_linker.link_sandbox(name, products=["auth"]),
        lambda: faulty_linker.issue(name, access_token="access-1"),
    ):
        with pytest.raises(AccountSelectionError, match="no source says which accounts") as caught:
            call()
        assert caught.value.processor == name
    assert faulty.requests == []


def test_what_is_given_is_taken(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Of three accounts, exactly those that are given get a token; by ids or as accounts."""
    given = [link_account("a"), link_account("b", "credit card")]
    result = faulty_linker.link("brale", public_token=PUBLIC_TOKEN, accounts=given)
    assert [each.account.account_id for each in result.processor_tokens] == ["a", "b"]
    faulty.on(ACCOUNTS, reply({"accounts": [{"account_id": n} for n in "abc"], "request_id": "r"}))
    result = faulty_linker.link(
        "brale", public_token=PUBLIC_TOKEN, account_ids={"brale": ["a", "c"]}
    )
    assert [each.account.account_id for each in result.processor_tokens] == ["a", "c"]


@rows("name", ["finix", "dwolla", "unit", "stripe", "boom"])
def test_a_partner_of_one_account_refuses_two(name: str) -> None:
    """The rule of Plaid's page holds, or is at least asked about."""
    with pytest.raises(AccountSelectionError, match="one account"):
        get_adapter(name).select_accounts((CHECKING, SAVINGS))


@rows(
    ("name", "picked"),
    [
        ("layer", (CHECKING, SAVINGS, CARD)),
        ("knot", (CHECKING, SAVINGS, CARD)),
        ("marqeta", (CHECKING, SAVINGS)),
        ("alloy", (CHECKING, SAVINGS)),
        ("brale", (CHECKING, SAVINGS, CARD)),
    ],
)
def test_a_partner_of_all_accounts(name: str, picked: tuple[Account, ...]) -> None:
    """Those that want all get all that fit."""
    assert get_adapter(name).select_accounts((CHECKING, SAVINGS, CARD)) == picked


@rows(
    ("wrong", "right"),
    [
        ("checkbok", "checkbook"),
        ("sbv_api", "svb_api"),
        ("paynote", "seamlessach"),
        ("dwola", "dwolla"),
        ("tabapay", "taba_pay"),
        ("modern-treasury", "modern_treasury"),
        ("Silicon Valley Bank", "svb_api"),
        ("checkout.com", "checkout"),
        ("apex clearing", "apex_clearing"),
        ("STRIPE", "stripe"),
        ("stripe ", "stripe"),
        ("finx", "finix"),
        ("Layer Fi", "layer"),
        ("layerfi", "layer"),
        ("Layer (accounting)", "layer"),
        ("Finix Payments, Inc.", "finix"),
        ("dwolla.com", "dwolla"),
        ("apex", "apex_clearing"),
        ("zerohash", "zero_hash"),
    ],
)
def test_a_near_miss(wrong: str, right: str) -> None:
    """A name that is nearly right is refused with the name that was meant."""
    with pytest.raises(UnknownProcessorError, match=f"did you mean '{right}'") as caught:
        get_adapter(wrong)
    assert caught.value.suggestions == (right,)


@rows(
    "name",
    ["prime_trust", "square", "paypal", "venmo", "chime", "robinhood", "coinbase", "trust", "bank",
     "cross_river", "plaid", "", "  ", "-"],
)  # fmt: skip
def test_another_company_is_not_suggested(name: str) -> None:
    """A name that is near to none gets the list, and the way to a partner of one's own."""
    with pytest.raises(UnknownProcessorError, match=r"known are .*PartnerAdapter") as caught:
        get_adapter(name)
    assert caught.value.suggestions == ()


def test_a_name_of_tomorrow(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A partner that this version does not know is used by an adapter of one's own."""
    new = PartnerAdapter(processor="brand_new", products=("auth",))
    result = faulty_linker.link(new, public_token=PUBLIC_TOKEN, accounts=[link_account("a")])
    assert result.token("brand_new").processor_token
    assert faulty.asked("/processor/token/create")[0]["processor"] == "brand_new"


@rows(
    ("name", "lifetime"),
    [("dwolla", timedelta(hours=1)), ("unit", timedelta(hours=24)), ("moov", None)],
)
def test_when_a_token_ends(
    name: str, lifetime: timedelta | None, linker: ProcessorLinker, item: dict[str, Any]
) -> None:
    """The tokens that expire say when, also when they were stored; the others do not."""
    result = linker.issue(name, access_token=item["access_token"], accounts=[item["checking"]])
    token = LinkResult.from_dict(result.to_dict()).token(name)
    assert token.expires_at == (None if lifetime is None else token.issued_at + lifetime)
    assert not token.single_use


def test_stripe_has_its_own_endpoint_and_result(
    local_plaid: LocalSandbox, linker: ProcessorLinker, item: dict[str, Any]
) -> None:
    """The same call gives Stripe's own token, which says that it is good for one use."""
    result = linker.issue("stripe", access_token=item["access_token"], accounts=[item["checking"]])
    token = result.token("stripe")
    assert isinstance(token, StripeBankAccountToken)
    assert token.stripe_bank_account_token.startswith("btok_")
    assert (token.single_use, token.expires_at) == (True, None)
    assert token.stripe_bank_account_token not in repr(result)
    assert LinkResult.from_dict(result.to_dict()) == result
    assert local_plaid.requests[-1].path == "/processor/stripe/bank_account_token/create"


def test_stripe_and_finix_from_one_link(linker: ProcessorLinker) -> None:
    """Stripe stands beside other partners in one link."""
    result = linker.link_sandbox(["finix", "stripe"])
    assert [type(each).__name__ for each in result.processor_tokens] == [
        "ProcessorToken",
        "StripeBankAccountToken",
    ]


def test_stripe_that_is_not_linked_to_plaid(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where Plaid leaves the token out, the error says what to link."""
    faulty.on("/processor/stripe/bank_account_token/create", reply({"request_id": "r"}))
    with pytest.raises(
        PlaidConnectionError, match="Stripe account and the Plaid account"
    ) as caught:
        faulty_linker.issue("stripe", access_token="access-1", accounts=[link_account("a")])
    assert caught.value.request_id == "r"


def test_stripe_that_is_not_enabled(linker: ProcessorLinker, local_plaid: LocalSandbox) -> None:
    """It is enabled in the Dashboard as every partner is."""
    made = linker.link_sandbox("finix")
    local_plaid.disable_partner("stripe")
    try:
        with pytest.raises(ProcessorNotEnabledError):
            linker.issue(
                "stripe",
                access_token=made.access_token,
                accounts=[made.token("finix").account],
            )
    finally:
        local_plaid.enable_partner("stripe")


# --- several partners in one link token


def test_a_conflict_is_told_with_the_choices(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where auth would hide accounts from Layer, nothing is sent and the choices are told."""
    with pytest.raises(ConfigurationError, match="two Links") as caught:
        faulty_linker.create_link_token(
            ["layer", "finix"], client_user_id="u", client_name="Acme Books"
        )
    words = str(caught.value)
    assert "layer would lose" in words
    assert "required_if_supported_products=['auth', 'identity']" in words
    assert "products=['transactions', 'auth', 'identity']" in words
    assert faulty.requests == []


@rows(
    ("decision", "sent"),
    [
        ({"products": ["transactions", "auth", "identity"]}, ["transactions", "auth", "identity"]),
        (
            {
                "products": ["transactions"],
                "required_if_supported_products": ["auth", "identity"],
            },
            ["transactions"],
        ),
        ({"required_if_supported_products": ["auth", "identity"]}, ["transactions"]),
        ({"optional_products": ["auth"]}, ["transactions", "identity"]),
    ],
)
def test_the_callers_decision_is_taken(
    decision: dict[str, Any], sent: list[str], faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What the caller puts into the lists of products is sent as it is."""
    faulty_linker.create_link_token(
        ["layer", "finix"], client_user_id="u", client_name="Acme Books", **decision
    )
    body = faulty.asked("/link/token/create")[0]
    assert body["products"] == sent
    assert "account_filters" not in body


def test_update_mode_has_no_conflict(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An Item that exists has its products already."""
    faulty_linker.create_link_token(
        ["layer", "finix"], client_user_id="u", client_name="Acme", access_token="access-1"
    )
    assert "products" not in faulty.asked("/link/token/create")[0]


def test_no_product_is_known(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A partner of which no source says its products needs the caller's word."""
    with pytest.raises(ConfigurationError, match="which brale needs"):
        faulty_linker.create_link_token("brale", client_user_id="u", client_name="Acme Books")
    with pytest.raises(ConfigurationError, match="at least one product"):
        faulty_linker.create_link_token(
            "layer", client_user_id="u", client_name="A", optional_products=["transactions"]
        )
    assert faulty.requests == []
