"""The partners' rules."""

from __future__ import annotations

import pickle

import pytest

from plaid_processors import (
    Account,
    AccountSelectionError,
    FinixAdapter,
    LayerAdapter,
    PartnerAdapter,
    UnknownProcessorError,
    get_adapter,
)

from .support.rows import rows

CHECKING = Account(account_id="checking-1", type="depository", subtype="checking", mask="0000")
SAVINGS = Account(account_id="savings-1", type="depository", subtype="savings", mask="1111")
CARD = Account(account_id="card-1", type="credit", subtype="credit card", mask="3333")
NEW = Account(account_id="new-1", type="crypto", subtype="moon purse")

TOKEN = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"
ADAPTERS = [FinixAdapter(), LayerAdapter(), PartnerAdapter(processor="new_partner")]


@rows("adapter", ADAPTERS, ids=lambda each: each.processor)
def test_adapters_are_values(adapter: PartnerAdapter) -> None:
    """Adapters can be compared, hashed and pickled."""
    copied = pickle.loads(pickle.dumps(adapter))
    assert (copied, hash(copied)) == (adapter, hash(adapter))


def test_layer_takes_all_in_order() -> None:
    """Layer gets every account, in order, whatever its type."""
    accounts = (NEW, CARD, SAVINGS, CHECKING)
    assert LayerAdapter().select_accounts(accounts) == accounts


def test_layer_products() -> None:
    """Link is opened with transactions for Layer."""
    adapter = LayerAdapter()
    assert (adapter.processor, adapter.products) == ("layer", ("transactions",))


@rows("account", [CHECKING, SAVINGS])
def test_finix_takes_checking_or_savings(account: Account) -> None:
    """Finix gets the one account that is checking or savings."""
    assert FinixAdapter().select_accounts((CARD, account, NEW)) == (account,)


def test_finix_products() -> None:
    """Link is opened with auth and identity for Finix."""
    adapter = FinixAdapter()
    assert (adapter.processor, adapter.products) == ("finix", ("auth", "identity"))


@rows(
    ("accounts", "eligible"),
    [((CHECKING, CARD, SAVINGS), (CHECKING, SAVINGS)), ((CARD, NEW), ()), ((CARD,), ())],
    ids=["two fit", "none fits", "a credit card"],
)
def test_finix_refusal_names_rule_and_way_out(
    accounts: tuple[Account, ...], eligible: tuple[Account, ...]
) -> None:
    """A refusal by Finix's rule carries the accounts and says rule and way out."""
    rule = r"one .*account.*checking or savings"
    with pytest.raises(AccountSelectionError, match=rule) as caught:
        FinixAdapter().select_accounts(accounts)
    error = caught.value
    assert (error.processor, error.accounts, error.eligible) == ("finix", accounts, eligible)
    assert "account_id=" in str(error)
    assert "enabled for one account" in str(error)


def test_rules_are_adjustable_by_keyword() -> None:
    """A partner's rule can be changed for one's own agreement with it."""
    finix = FinixAdapter(products=["auth"], subtypes=["checking"], single=False)
    assert finix.products == ("auth",)
    assert finix.select_accounts((SAVINGS, CHECKING)) == (CHECKING,)
    assert LayerAdapter(subtypes=("savings",)).select_accounts((CARD, SAVINGS)) == (SAVINGS,)


def test_own_rule_in_a_subclass() -> None:
    """A subclass may choose in its own way."""

    class Richest(PartnerAdapter):
        def select_accounts(self, accounts):  # type: ignore[no-untyped-def]
            return tuple(accounts)[-1:]

    assert Richest(processor="richest").select_accounts((CHECKING, CARD)) == (CARD,)


@rows("name", ["finix", "layer"])
def test_found_by_name(name: str) -> None:
    """Plaid's name finds the adapter."""
    assert get_adapter(name).processor == name


def test_unknown_partner_hears_of_the_known_ones() -> None:
    """A name like no other gets the list, and the way to a partner of one's own."""
    with pytest.raises(UnknownProcessorError, match="PartnerAdapter") as caught:
        get_adapter("zzzzzzzz")
    assert caught.value.suggestions == ()
    assert "finix" in str(caught.value)
    assert "layer" in str(caught.value)


@rows("name", [None, 5, b"layer", ["layer"]])
def test_name_of_the_wrong_type(name: object) -> None:
    """A partner's name is a string."""
    with pytest.raises(TypeError, match="string"):
        get_adapter(name)  # type: ignore[arg-type]


@rows(
    ("options", "error"),
    [
        ({"processor": ""}, ValueError),
        ({"processor": " "}, ValueError),
        ({"processor": None}, TypeError),
        ({"processor": "x", "products": "auth"}, TypeError),
        ({"processor": "x", "subtypes": "checking"}, TypeError),
        ({"processor": "x", "products": (1,)}, TypeError),
        ({"processor": "x", "products": TOKEN}, TypeError),
        ({"processor": "x", "single": "yes"}, TypeError),
        ({"processor": "x", "subtypes": ()}, ValueError),
        ({}, TypeError),
    ],
)
def test_malformed_adapter(options: dict[str, object], error: type[Exception]) -> None:
    """An adapter that cannot be right is refused when it is made, and what was given not shown."""
    with pytest.raises(error) as caught:
        PartnerAdapter(**options)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)


def test_a_subclass_keeps_the_checks() -> None:
    """A partner's own defaults do not switch the checks off."""
    with pytest.raises(TypeError, match="single"):
        FinixAdapter(single="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="subtypes"):
        FinixAdapter(subtypes=())
