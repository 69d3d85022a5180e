"""Which accounts get a token: the choice, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaid_processors import (
    Account,
    AccountSelectionError,
    FinixAdapter,
    LayerAdapter,
    LinkIncompleteError,
    PartnerAdapter,
    PendingPartner,
    ProcessorLinker,
    UnknownProcessorError,
)
from plaid_processors._workflow.accounts import pick

from .support.checks import link_account
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    FaultyPlaid,
    reply,
)
from .support.rows import rows
from .support.strategies import accounts

CHECKING = link_account("id-checking")
SAVINGS = link_account("id-savings", "savings")
CARD = link_account("id-card", "credit card")
STUDENT = link_account("id-student", "student")

adapters = st.builds(
    PartnerAdapter,
    processor=st.just("p"),
    subtypes=st.none() | st.lists(st.sampled_from(["checking", "savings"]), min_size=1),
    single=st.booleans(),
)
lists_of_accounts = st.lists(accounts, max_size=5, unique_by=lambda each: each.account_id)


@given(adapter=adapters, there=lists_of_accounts, first=st.booleans(), data=st.data())
def test_picks_are_a_subset_in_order(
    adapter: PartnerAdapter, there: list[Account], first: bool, data: st.DataObject
) -> None:
    """What is picked is among the accounts, in their order, no id twice, and as many as allowed."""
    ids = data.draw(st.none() | st.lists(st.sampled_from(["A", "B", "C"]), min_size=1))
    partner = PendingPartner(processor="p", account_ids=ids, first_fitting=first)
    try:
        picked = pick(adapter, partner, there)
    except AccountSelectionError:
        return
    positions = [there.index(each) for each in picked]
    assert positions == sorted(set(positions))
    assert len(picked) == 1 or not adapter.single
    assert all(adapter.fits(each) for each in picked)
    assert ids is None or {each.account_id for each in picked} == set(ids)


def link(linker: ProcessorLinker, partner: Any, given_: Any, **more: Any) -> list[tuple[str, str]]:
    """Link, and tell which partner got which account."""
    result = linker.link(partner, public_token=PUBLIC_TOKEN, accounts=given_, **more)
    assert result.complete
    return [each.key for each in result.processor_tokens]


# --- refused before any request


@rows(
    ("given_", "eligible"),
    [
        ([CHECKING, SAVINGS, CARD], ["id-checking", "id-savings"]),
        ([CARD, STUDENT], []),
        ([CARD], []),
    ],
    ids=["two fit", "none fits", "a credit card"],
)
@rows("call", ["link", "issue"])
def test_finix_refuses_before_any_request(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    given_: list[Any],
    eligible: list[str],
    call: str,
) -> None:
    """Finix's rule refuses bad accounts with words that help, and nothing was sent."""
    rule = r"one .*account.*checking or savings"
    calls = {
        "link": partial(faulty_linker.link, public_token=PUBLIC_TOKEN),
        "issue": partial(faulty_linker.issue, access_token=ACCESS_TOKEN),
    }
    with pytest.raises(AccountSelectionError, match=rule) as caught:
        calls[call]("finix", accounts=given_)
    assert faulty.requests == []
    assert "account_id=" in str(caught.value)
    assert "enabled for one account" in str(caught.value)
    assert [each.account_id for each in caught.value.accounts] == [each["id"] for each in given_]
    assert [each.account_id for each in caught.value.eligible] == eligible


def test_one_partner_of_several_refuses(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where one partner's rule refuses, nothing is sent for the other either."""
    with pytest.raises(AccountSelectionError) as caught:
        link(faulty_linker, ["layer", "finix"], [CHECKING, SAVINGS])
    assert caught.value.processor == "finix"
    assert faulty.requests == []


# --- state that Plaid named: verification


FAILED = ["verification_failed", "verification_expired", "database_insights_fail"]
PENDING = ["pending_automatic_verification", "pending_manual_verification", "unsent"]


@rows("status", FAILED)
@rows("partner", ["finix", "dwolla", "modern_treasury"])
def test_an_account_whose_verification_failed_is_refused(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, status: str, partner: str
) -> None:
    """A partner that reads account numbers gets none that are not verified."""
    bad = link_account("id-bad", verification_status=status)
    with pytest.raises(AccountSelectionError, match=f"id-bad|…-bad is {status}"):
        link(faulty_linker, partner, [bad], account_id="id-bad")
    assert faulty.requests == []


@rows("status", [*FAILED, *PENDING])
def test_a_partner_that_reads_no_numbers_takes_it(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, status: str
) -> None:
    """The status is of Auth's numbers, which Layer does not read."""
    account = link_account("id-bad", verification_status=status)
    assert link(faulty_linker, "layer", [account]) == [("layer", "id-bad")]


@rows("status", PENDING)
def test_an_account_still_being_verified_waits_with_its_item(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, status: str
) -> None:
    """The Item is kept, no token is asked for; once Plaid has verified it, resume asks."""
    waiting = {"account_id": "A", "mask": "0000", "subtype": "checking"}
    faulty.on(ACCOUNTS, reply({"accounts": [{**waiting, "verification_status": status}]}))
    kept: list[object] = []
    with pytest.raises(LinkIncompleteError, match=f"is {status}") as caught:
        faulty_linker.link(
            "finix",
            public_token=PUBLIC_TOKEN,
            accounts=[link_account("A", verification_status=status)],
            on_exchange=kept.append,
        )
    assert len(kept) == 1
    with pytest.raises(AccountSelectionError):
        faulty_linker.resume(caught.value.result)
    assert CREATE not in [each.path for each in faulty.requests]
    verified = {**waiting, "verification_status": "automatically_verified"}
    faulty.on(ACCOUNTS, reply({"accounts": [verified]}))
    done = faulty_linker.resume(caught.value.result)
    assert done.complete
    assert done.token("finix").account.verification_status == "automatically_verified"


def test_a_pending_account_holds_up_no_other_partner(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Layer's token is made at once, Finix's when Plaid has verified the account."""
    account = {"account_id": "A", "mask": "0000", "subtype": "checking"}
    faulty.on(ACCOUNTS, reply({"accounts": [{**account, "verification_status": PENDING[0]}]}))
    given_ = [link_account("A", verification_status=PENDING[0])]
    with pytest.raises(LinkIncompleteError) as caught:
        link(faulty_linker, ["layer", "finix"], given_)
    result = caught.value.result
    assert [each.processor for each in result.processor_tokens] == ["layer"]
    assert [each.processor for each in result.unselected] == ["finix"]
    faulty.on(ACCOUNTS, reply({"accounts": [account]}))
    done = faulty_linker.resume(result)
    assert done.complete
    assert done.token("layer") == result.token("layer")


@rows("status", ["PENDING_MANUAL_VERIFICATION", " verification_failed ", "Verification_Expired"])
def test_a_status_in_another_spelling_counts(faulty_linker: ProcessorLinker, status: str) -> None:
    """An app may send the name of an enum's member."""
    account = link_account("id-bad", verification_status=status)
    with pytest.raises((AccountSelectionError, LinkIncompleteError)):
        link(faulty_linker, "finix", [account])


@rows("subtype", ["CHECKING", " checking ", "Checking"])
def test_a_subtype_in_another_spelling_fits(faulty_linker: ProcessorLinker, subtype: str) -> None:
    """So may a subtype be."""
    account = {**link_account("a-checking"), "subtype": subtype}
    assert link(faulty_linker, "finix", [account]) == [("finix", "a-checking")]


@rows(
    ("given_", "more"),
    [
        ([link_account("A"), link_account("B", "savings"), "pending card"], {}),
        ([link_account("A"), "pending card"], {"account_id": "WRONG"}),
        (["pending card"], {}),
    ],
)
def test_a_pending_account_excuses_no_other_refusal(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, given_: list[Any], more: dict[str, str]
) -> None:
    """What the rule refuses in any case is refused before the public token is spent."""
    card = link_account("id-card", "credit card", verification_status=PENDING[0])
    accounts = [card if each == "pending card" else each for each in given_]
    with pytest.raises(AccountSelectionError):
        link(faulty_linker, "finix", accounts, **more)
    assert faulty.requests == []


def test_an_account_without_a_subtype_is_not_passed_over(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """It might be the one that fits: another one is not guessed at."""
    unknown = {**link_account("A"), "subtype": None}
    with pytest.raises(AccountSelectionError, match="verify_accounts=True"):
        link(faulty_linker, "finix", [unknown, link_account("B", "savings")])
    assert faulty.requests == []


@rows("subtype", [None, "", "null", "unknown", "UNKNOWN", {"name": "checking"}])
def test_without_a_subtype_the_way_out_is_named(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, subtype: Any
) -> None:
    """Where the browser says too little the refusal names the way out, which works."""
    account = {"id": "a-checking", "type": "depository", "subtype": subtype}
    with pytest.raises(AccountSelectionError, match="verify_accounts=True"):
        link(faulty_linker, "finix", [account])
    assert faulty.requests == []
    found = link(faulty_linker, "finix", [account], verify_accounts=True)
    assert found == [("finix", "a-checking")]


@rows("empty", [[], (), iter(())], ids=["list", "tuple", "iterator"])
@rows("verify", [False, True])
def test_no_accounts_are_refused(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, empty: Any, verify: bool
) -> None:
    """No accounts are not the same as accounts not given."""
    with pytest.raises(AccountSelectionError, match="account") as caught:
        link(faulty_linker, ["layer", "finix"], empty, verify_accounts=verify)
    assert caught.value.processor == "layer, finix"
    assert faulty.requests == []


def test_no_accounts_in_the_metadata(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An empty list in Link's metadata is refused as well."""
    with pytest.raises(ValueError, match="account"):
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, metadata={"accounts": []})
    assert faulty.requests == []


@rows(
    ("options", "words"),
    [
        ({"account_id": "id-elsewhere"}, "id-elsewhere"),
        ({"account_ids": {"layer": ["id-checking", "ID-CARD"]}}, "case-sensitive"),
        ({"account_id": "id-elsewhere", "verify_accounts": True}, "id-elsewhere"),
    ],
)
def test_ids_that_are_not_there(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, options: dict[str, Any], words: str
) -> None:
    """An id that none of the accounts has is refused, with the ids there are."""
    with pytest.raises(AccountSelectionError, match=words) as caught:
        link(faulty_linker, "layer", [CHECKING, CARD], **options)
    assert "id-checking" in str(caught.value)
    assert caught.value.processor == "layer"
    assert faulty.requests == []


def test_an_id_where_there_are_no_accounts(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """An Item without accounts has none of that id, and the refusal says so."""
    faulty.on(ACCOUNTS, reply({"accounts": []}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, account_id="a-card")
    assert isinstance(caught.value.__cause__, AccountSelectionError)
    assert "there are none" in str(caught.value.__cause__)


@rows(
    ("partner", "ids", "words"),
    [
        ("finix", ["id-card"], r"asked for, these do not fit: credit card …"),
        ("finix", ["id-checking", "id-card"], r"asked for, these do not fit: credit card …"),
        ("finix", ["id-card", "id-student"], "these do not fit: credit card ….*, student …"),
        ("finix", ["id-checking", "id-savings"], "2 accounts .* fit"),
        ("finix", ["id-checking", "id-savings", "id-card"], "these do not fit: credit card …"),
        ("finix", ["elsewhere"], "elsewhere.*there are id-checking"),
        (
            LayerAdapter(subtypes=["checking", "savings"]),
            ["id-savings", "id-card"],
            "these do not fit",
        ),
    ],
    ids=repr,
)
@rows("verify", [False, True])
def test_a_bound_account_that_does_not_fit(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    partner: Any,
    ids: list[str],
    words: str,
    verify: bool,
) -> None:
    """Binding does not bend the rule; the refusal offers all accounts and those that fit."""
    there = [CHECKING, SAVINGS, CARD, STUDENT]
    faulty.on(ACCOUNTS, reply({"accounts": there}))
    name = getattr(partner, "processor", partner)
    with pytest.raises((AccountSelectionError, LinkIncompleteError)) as caught:
        link(faulty_linker, partner, there, account_ids={name: ids}, verify_accounts=verify)
    error = caught.value.__cause__ or caught.value
    assert isinstance(error, AccountSelectionError)
    assert re.search(words, str(error))
    assert "elsewhere" in ids or "checking or savings" in str(error)
    assert "elsewhere" in ids or name != "finix" or "account_id=" in str(error)
    assert [each.account_id for each in error.accounts] == [each["id"] for each in there]
    assert [each.account_id for each in error.eligible] == ["id-checking", "id-savings"]
    assert verify or faulty.requests == []


@rows(
    ("options", "error", "words"),
    [
        ({"account_id": "a", "account_ids": {"layer": ["a"]}}, ValueError, "not both"),
        ({"account_ids": {"finix": ["a"]}}, ValueError, "finix.*layer"),
        ({"account_ids": {"layer": []}}, ValueError, "account"),
        ({"account_ids": {"layer": [5]}}, TypeError, "^account_ids must be .*strings"),
        ({"account_ids": {"layer": 5}}, TypeError, "^account_ids"),
        ({"account_ids": ["a"]}, TypeError, "mapping"),
        ({"account_ids": "a"}, TypeError, "mapping"),
        ({"account_id": ""}, ValueError, "account"),
        ({"account_id": 5}, TypeError, "^account_id must be"),
        ({"account_id": ["a"]}, TypeError, "^account_id must be"),
        ({"accounts": "text"}, TypeError, "accounts"),
        ({"accounts": CHECKING}, TypeError, "list"),
        ({"accounts": 5}, TypeError, "accounts"),
        ({"accounts": [5]}, TypeError, r"accounts\[0\]"),
        ({"accounts": [CHECKING, None]}, TypeError, r"accounts\[1\]"),
        ({"accounts": [CHECKING, {"name": "N"}]}, ValueError, r"accounts\[1\].*'id'"),
        ({"metadata": []}, TypeError, "metadata"),
        ({"metadata": "text"}, TypeError, "metadata"),
        ({"metadata": {"accounts": "text"}}, TypeError, "accounts"),
        ({"on_exchange": 5}, TypeError, "on_exchange"),
        ({"on_token": "print"}, TypeError, "on_token"),
        ({"partial": "no"}, TypeError, "^partial must be"),
        ({"verify_accounts": "no"}, TypeError, "^verify_accounts must be"),
        ({"public_token": None}, TypeError, "public_token"),
        ({"public_token": b"public"}, TypeError, "public_token"),
        ({"public_token": ""}, ValueError, "public_token"),
        ({"public_token": "  "}, ValueError, "public_token"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
    ids=lambda each: repr(each)[:50],
)
def test_wrong_arguments(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    """A wrong argument is a TypeError or ValueError that names it, and nothing was sent."""
    with pytest.raises(error, match=words):
        faulty_linker.link("layer", **{"public_token": PUBLIC_TOKEN, **options})
    assert faulty.requests == []


@rows(
    ("partner", "options", "choices"),
    [
        ("layr", {}, ["'layer'"]),
        (["layer", "finix"], {"account_ids": {"unit": ["a"]}}, ["layer", "finix"]),
        ("finix", {"account_id": "id-card"}, ["id-checking", "id-savings"]),
        ("layer", {"account_ids": ["id-checking"]}, ['{"finix": ["…"]}']),
        ("layer", {"partial": "no"}, ["True", "False"]),
        ("layer", {"narrow": 1}, ["True", "False"]),
        ("layer", {"accounts": [{"name": "N"}]}, ["'id'", "'account_id'"]),
        ("layer", {"accounts": CHECKING}, ["metadata['accounts']"]),
        (5, {}, ["a name", "a PartnerAdapter", "a sequence of these"]),
    ],
    ids=repr,
)
def test_a_wrong_argument_lists_the_valid_choices(
    faulty_linker: ProcessorLinker, partner: Any, options: dict[str, Any], choices: list[str]
) -> None:
    """Where there is a choice, the refusal has it, and so do the eligible accounts."""
    given_ = {"public_token": PUBLIC_TOKEN, "accounts": [CHECKING, SAVINGS, CARD], **options}
    with pytest.raises((TypeError, ValueError)) as caught:
        faulty_linker.link(partner, **given_)
    eligible = [each.account_id for each in getattr(caught.value, "eligible", ())]
    said = f"{caught.value} {eligible}"
    assert [each for each in choices if each not in said] == []


@rows(
    ("partner", "error", "words"),
    [
        ("finx", UnknownProcessorError, "'finix'"),
        (["layer", "finx"], UnknownProcessorError, "'finix'"),
        ([], ValueError, "partner"),
        (["layer", "layer"], ValueError, "twice"),
        (["layer", LayerAdapter()], ValueError, "twice"),
        (5, TypeError, "partner"),
        (None, TypeError, "partner"),
        ([5], TypeError, "."),
        (FinixAdapter, TypeError, "."),
    ],
    ids=repr,
)
def test_wrong_partners(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    partner: Any,
    error: type[Exception],
    words: str,
) -> None:
    """A partner that cannot be is refused before anything is sent."""
    with pytest.raises(error, match=words):
        link(faulty_linker, partner, [CHECKING])
    assert faulty.requests == []


# --- chosen


def test_account_id_picks_one(faulty_linker: ProcessorLinker) -> None:
    """`account_id=` settles it where two accounts fit."""
    picked = link(faulty_linker, "finix", [CHECKING, SAVINGS], account_id="id-savings")
    assert picked == [("finix", "id-savings")]


def test_account_id_binds_every_partner(faulty_linker: ProcessorLinker) -> None:
    """`account_id=` is for all partners of the link."""
    picked = link(faulty_linker, ["layer", "finix"], [CHECKING, SAVINGS], account_id="id-checking")
    assert picked == [("layer", "id-checking"), ("finix", "id-checking")]


@rows("ids", [["id-savings"], ("id-savings",), "id-savings", {"id-savings"}])
def test_account_ids_bind_some(faulty_linker: ProcessorLinker, ids: Any) -> None:
    """`account_ids=` binds its partners and leaves the others to their rules."""
    picked = link(
        faulty_linker, ["finix", "layer"], [CARD, CHECKING, SAVINGS], account_ids={"finix": ids}
    )
    assert picked == [
        ("finix", "id-savings"),
        ("layer", "id-card"),
        ("layer", "id-checking"),
        ("layer", "id-savings"),
    ]


def test_bound_accounts_keep_the_accounts_order(faulty_linker: ProcessorLinker) -> None:
    """Several bound accounts come in the order of the accounts, each once."""
    ids = ["id-card", "id-checking", "id-card"]
    picked = link(faulty_linker, "layer", [CHECKING, SAVINGS, CARD], account_ids={"layer": ids})
    assert picked == [("layer", "id-checking"), ("layer", "id-card")]


def test_doubled_accounts_count_once(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An account that is listed twice gets one token, and is one for Finix."""
    twice = [CHECKING, CARD, {**CHECKING, "name": "Other"}]
    assert link(faulty_linker, "layer", twice) == [("layer", "id-checking"), ("layer", "id-card")]
    assert link(faulty_linker, "finix", twice) == [("finix", "id-checking")]
    assert len(faulty.asked(CREATE)) == 3


class _OwnMapping(Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        return CHECKING[key]

    def __iter__(self) -> Iterator[str]:
        return iter(CHECKING)

    def __len__(self) -> int:
        return len(CHECKING)


@rows(
    "given_",
    [
        [Account(account_id="id-checking", subtype="checking")],
        [{"account_id": "id-checking", "subtype": "checking", "balances": {"current": 1}}],
        [{"id": "id-checking", "subtype": "checking", "new": object()}],
        (each for each in [CHECKING]),
        [_OwnMapping()],
        {"a": CHECKING}.values(),
    ],
    ids=["object", "account_id", "id", "generator", "mapping", "view"],
)
def test_forms_of_accounts(faulty_linker: ProcessorLinker, given_: Any) -> None:
    """Accounts come as objects or mappings, as Link or as `/accounts/get` writes them."""
    assert link(faulty_linker, "finix", given_) == [("finix", "id-checking")]


def test_new_types_are_kept(faulty_linker: ProcessorLinker) -> None:
    """A type and a subtype that nobody knows yet come through as they are."""
    result = faulty_linker.link(
        "layer",
        public_token=PUBLIC_TOKEN,
        accounts=[{"id": "x", "type": "crypto", "subtype": "moon purse", "mask": None}],
    )
    (token,) = result.processor_tokens
    assert (token.account.type, token.account.subtype) == ("crypto", "moon purse")


def test_own_adapters(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A partner that nobody knows is linked by its adapter, its own rule included."""

    class Last(PartnerAdapter):
        def select_accounts(self, accounts):  # type: ignore[no-untyped-def]
            return accounts[-1:]

    partners = [Last(processor="new_partner", products=("auth",)), "layer"]
    assert link(faulty_linker, partners, [CHECKING, CARD]) == [
        ("new_partner", "id-card"),
        ("layer", "id-checking"),
        ("layer", "id-card"),
    ]


@rows("picked", [(), None, 5, [5]], ids=repr)
def test_own_rules_that_are_wrong(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, picked: Any
) -> None:
    """A rule of one's own that picks nothing, or nonsense, is told before anything is sent."""

    class Wrong(PartnerAdapter):
        def select_accounts(self, accounts):  # type: ignore[no-untyped-def]
            return picked

    with pytest.raises((ValueError, TypeError)):
        link(faulty_linker, Wrong(processor="wrong"), [CHECKING])
    assert faulty.requests == []


def test_an_own_rule_that_picks_nothing(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """The refusal names the partner and has the accounts, as that of any rule."""

    class Never(PartnerAdapter):
        def select_accounts(self, accounts):  # type: ignore[no-untyped-def]
            return ()

    with pytest.raises(AccountSelectionError, match="its rule picked no account") as caught:
        link(faulty_linker, Never(processor="never"), [CHECKING])
    assert caught.value.processor == "never"
    assert [each.account_id for each in caught.value.accounts] == ["id-checking"]
    assert faulty.requests == []


# --- fetched


def test_accounts_are_fetched_only_when_not_given(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Only None asks `/accounts/get`, once for all partners."""
    result = faulty_linker.link(["finix", "layer"], public_token=PUBLIC_TOKEN)
    assert [each.key for each in result.processor_tokens] == [
        ("finix", "a-checking"),
        ("layer", "a-checking"),
        ("layer", "a-card"),
    ]
    assert faulty.paths[:2] == [EXCHANGE, ACCOUNTS]
    assert faulty.paths.count(ACCOUNTS) == 1


def test_ids_pick_among_fetched_accounts(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Without accounts, `account_id=` picks among those that were fetched."""
    result = faulty_linker.link("layer", public_token=PUBLIC_TOKEN, account_id="a-card")
    assert [each.key for each in result.processor_tokens] == [("layer", "a-card")]
    assert faulty.paths.count(ACCOUNTS) == 1


class Twice(PartnerAdapter):
    """An adapter whose rule names an account twice."""

    def select_accounts(self, accounts: Any) -> Any:
        return [*accounts, *accounts]


def test_an_account_that_is_picked_twice_gets_one_token(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Two tokens of one account would be one too many, and one would be lost."""
    result = faulty_linker.link(
        Twice(processor="dwolla"), public_token=PUBLIC_TOKEN, accounts=[{"id": "a"}, {"id": "b"}]
    )
    assert [each.account.account_id for each in result.processor_tokens] == ["a", "b"]
    assert [each.path for each in faulty.requests].count(CREATE) == 2
