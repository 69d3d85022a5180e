"""The partners' rules."""

from __future__ import annotations

import pickle

import pytest
from attrs import evolve

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


def test_a_rule_takes_what_the_linkers_take() -> None:
    """Mappings such as Link's, and iterators; an account that comes twice counts once."""
    links = {"id": "checking-1", "type": "depository", "subtype": "checking", "mask": "0000"}
    assert FinixAdapter().select_accounts([links, CARD]) == (CHECKING,)
    assert FinixAdapter().eligible([links]) == (CHECKING,)
    assert LayerAdapter().select_accounts(iter([CARD, CHECKING, CARD])) == (CARD, CHECKING)
    with pytest.raises(AccountSelectionError) as refused:
        FinixAdapter().select_accounts(iter([CHECKING, SAVINGS]))
    assert refused.value.accounts == refused.value.eligible == (CHECKING, SAVINGS)
    for nothing in (None, [], "account"):
        with pytest.raises(TypeError, match="mapping"):
            Account.from_mapping(nothing)


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


PENDING = evolve(CHECKING, verification_status="pending_manual_verification")
FAILED = evolve(CARD, subtype="checking", verification_status="verification_failed")
UNSAID = Account(account_id="unsaid-1", name="Mine")
ALL_CHECKING = PartnerAdapter(processor="p", products=("auth",), subtypes=("checking",))


@rows(
    ("adapter", "accounts", "found", "way_out"),
    [
        (FinixAdapter(), (CHECKING, SAVINGS), "2 accounts (checking ", "Pass account_id="),
        (FinixAdapter(), (CARD,), "the only account (credit card ", "one that fits"),
        (FinixAdapter(), (CARD, NEW), "none of the 2 accounts (credit card ", "one that fits"),
        (FinixAdapter(), (), "there is no account", "one that fits"),
        (FinixAdapter(), (UNSAID,), "Link gave no subtype of ", "verify_accounts=True"),
        (FinixAdapter(), (PENDING,), " is pending_manual_verification", "resume the result, when"),
        (ALL_CHECKING, (SAVINGS,), "the only account (savings ", "connect other accounts"),
        (
            ALL_CHECKING,
            (FAILED, evolve(FAILED, account_id="card-2")),
            " is verification_failed; ",
            "connect other accounts",
        ),
    ],
)
def test_a_refusal_says_what_was_found_and_the_way_out(
    adapter: PartnerAdapter, accounts: tuple[Account, ...], found: str, way_out: str
) -> None:
    """The rule, the accounts that there are, and what helps here."""
    with pytest.raises(AccountSelectionError) as caught:
        adapter.select_accounts(accounts)
    said = str(caught.value)
    assert f"{adapter.processor} takes {adapter.rule}, but " in said
    assert found in said
    assert way_out in said
    assert all(each.label in said for each in accounts)


@rows(
    ("adapter", "rule"),
    [
        (FinixAdapter(), "one account, checking or savings"),
        (LayerAdapter(), "all accounts, of any type"),
        (
            PartnerAdapter(processor="p", as_given=True),
            "exactly the accounts it is given, of any type",
        ),
    ],
)
def test_a_rule_in_words(adapter: PartnerAdapter, rule: str) -> None:
    """As the pages and the refusals say it."""
    assert adapter.rule == rule


@rows(
    ("status", "way_out"),
    [
        ("verification_failed", "enabled for one account"),
        ("verification_expired", "enabled for one account"),
        ("database_insights_fail", "enabled for one account"),
        ("pending_automatic_verification", "when Plaid has verified it"),
        ("pending_manual_verification", "when Plaid has verified it"),
        ("unsent", "when Plaid has verified it"),
        ("database_insights_pending", "when Plaid has verified it"),
    ],
)
def test_each_status_of_an_account_that_is_not_verified(status: str, way_out: str) -> None:
    """It does not fit a partner that reads its numbers; whether to wait depends on the status."""
    account = evolve(CHECKING, verification_status=status)
    assert not FinixAdapter().fits(account)
    assert LayerAdapter().fits(account)
    with pytest.raises(AccountSelectionError, match=way_out):
        FinixAdapter().select_accounts((account,))


def test_rules_are_adjustable_by_keyword() -> None:
    """A partner's rule can be changed for one's own agreement with it."""
    for kind in (FinixAdapter, LayerAdapter):
        own = kind(products=["auth"], subtypes=["checking"], permissions=["auth"])
        assert (own.products, own.subtypes, own.permissions) == (
            ("auth",),
            ("checking",),
            ("auth",),
        )
    plain = PartnerAdapter(processor="p")
    assert (plain.products, plain.subtypes, plain.permissions) == ((), None, None)
    assert (plain.single, plain.as_given) == (False, False)
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
    ("options", "error", "words"),
    [
        ({"processor": ""}, ValueError, "^processor must be"),
        ({"processor": " "}, ValueError, "^processor must be"),
        ({"processor": None}, TypeError, "^processor must be a string, not NoneType"),
        ({"processor": 5}, TypeError, "^processor must be a string, not int"),
        ({"processor": "x", "products": "auth"}, TypeError, "a sequence of names"),
        ({"processor": "x", "subtypes": "checking"}, TypeError, "a sequence of names"),
        ({"processor": "x", "products": (1,)}, TypeError, "a sequence of names"),
        ({"processor": "x", "products": TOKEN}, TypeError, "a sequence of names"),
        ({"processor": "x", "single": "yes"}, TypeError, "^single must be .*, not str"),
        ({"processor": "x", "as_given": 1}, TypeError, "^as_given must be .*, not int"),
        ({"processor": "x", "subtypes": ()}, ValueError, "^subtypes is empty"),
        ({}, TypeError, "processor"),
    ],
)
def test_malformed_adapter(options: dict[str, object], error: type[Exception], words: str) -> None:
    """An adapter that cannot be right is refused when it is made, and what was given not shown."""
    with pytest.raises(error, match=words) as caught:
        PartnerAdapter(**options)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)


def test_a_subclass_keeps_the_checks() -> None:
    """A partner's own defaults do not switch the checks off."""
    with pytest.raises(TypeError, match="single"):
        FinixAdapter(single="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="subtypes"):
        FinixAdapter(subtypes=())
