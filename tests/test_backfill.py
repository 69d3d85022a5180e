"""Many Items: what is skipped and why, what is made, and at which pace."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from plaid_processors import (
    ConfigurationError,
    LinkIncompleteError,
    PartnerAdapter,
    ProcessorLinker,
    UnknownProcessorError,
)
from plaid_processors.backfill import (
    BackfillOutcome,
    BackfillProgress,
    BudgetError,
    RateBudget,
    backfill,
    backfill_item,
)
from plaid_processors.cli import main
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import Lease, MemoryStore, StoredLink

from .support.rows import rows

CREATE = "/processor/token/create"


@pytest.fixture
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as plaid:
        yield plaid


@pytest.fixture
def linker(plaid: LocalSandbox) -> Iterator[ProcessorLinker]:
    with ProcessorLinker(plaid.client(), store=MemoryStore()) as linker:
        yield linker


def link(
    linker: ProcessorLinker,
    plaid: LocalSandbox,
    *masks: str,
    partner: Any = "layer",
    consent: tuple[str, ...] = ("auth", "identity"),
) -> str:
    """An Item with these accounts, and the consent for Finix: its id."""
    token = linker.create_link_token(
        "layer",
        client_user_id="user-42",
        client_name="Acme",
        additional_consented_products=consent or None,
    )
    done = plaid.complete_link(token.link_token, masks=masks or ("0000",))
    with suppress(LinkIncompleteError):
        linker.link(
            partner,
            public_token=done.public_token,
            metadata=done.metadata,
            client_user_id="user-42",
        )
    return plaid.items[-1].item_id


def found(linker: ProcessorLinker, item_id: str) -> StoredLink:
    assert isinstance(linker.store, MemoryStore)
    stored = linker.store.find(item_id)
    assert stored is not None
    return stored


def item_of(plaid: LocalSandbox, item_id: str) -> Any:
    return next(each for each in plaid.items if each.item_id == item_id)


def _pending(linker: ProcessorLinker, item_id: str) -> Any:
    result = found(linker, item_id).result
    assert result is not None
    return result.pending


def tokens(linker: ProcessorLinker, item_id: str, partner: str = "finix") -> int:
    result = found(linker, item_id).result
    assert result is not None
    return sum(each.processor == partner for each in result.processor_tokens)


# --- one Item


def test_an_item_gets_its_token_once(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """The second call finds it in the store, and asks Plaid nothing."""
    item_id = link(linker, plaid)
    outcome = backfill_item(linker, "finix", item_id)
    assert outcome == BackfillOutcome(item_id=item_id, status="issued", tokens=1)
    plaid.clear_requests()
    again = backfill_item(linker, "finix", item_id)
    assert (again.status, again.reason) == ("skipped", "already_issued")
    assert not plaid.requests
    assert tokens(linker, item_id) == 1
    assert found(linker, item_id).state == "complete"


@rows(
    "reason",
    [
        "login_broken",
        "revoked",
        "item_gone",
        "no_consent",
        "several_accounts",
        "no_fitting_account",
        "account_gone",
        "removed",
        "not_stored",
    ],
)
def test_an_item_that_needs_its_user_is_skipped(reason: str) -> None:
    """With the reason, and without a token that nobody can use."""
    with LocalSandbox() as plaid, ProcessorLinker(plaid.client(), store=MemoryStore()) as linker:
        masks = {"several_accounts": ("0000", "1111"), "no_fitting_account": ("3333",)}
        item_id = link(linker, plaid, *masks.get(reason, ("0000",)))
        item = item_of(plaid, item_id)
        if reason == "login_broken":
            plaid.reset_login(item)
        elif reason == "revoked":
            plaid.revoke(item)
        elif reason == "item_gone":
            with ProcessorLinker(plaid.client()) as other:
                other.remove(item.access_token)
        elif reason == "no_consent":
            item_id = link(linker, plaid, consent=())
        elif reason == "account_gone":
            plaid.fail(CREATE, error_code="INSTITUTION_DOWN", times=None)
            item_id = link(linker, plaid, "0000", partner=["layer", "finix"])
            plaid.clear_faults()
            item = item_of(plaid, item_id)
            plaid.new_account(item)
            (account,) = {each.account.account_id for each in _pending(linker, item_id)}
            plaid.close_account(item, account)
        elif reason == "removed":
            linker.remove(item_id=item_id)
        elif reason == "not_stored":
            item_id = "item-9"
        plaid.clear_requests()
        outcome = backfill_item(linker, "finix", item_id)
        assert outcome.reason == reason
        masks_to_choose_from = [each.mask for each in outcome.eligible]
        assert masks_to_choose_from == (["0000", "1111"] if reason == "several_accounts" else [])
        assert outcome.status == ("failed" if reason == "not_stored" else "skipped")
        assert not outcome.stops
        assert CREATE not in [each.path for each in plaid.requests]


def test_without_an_id_no_item_is_taken(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """A webhook may name no Item: that is not any Item of the store's."""
    link(linker, plaid)
    nothing: Any = None
    with pytest.raises(TypeError, match="item_id"):
        backfill_item(linker, "finix", nothing, hand_over=lambda _: pytest.fail("handed over"))
    assert backfill_item(linker, "finix", "").reason == "not_stored"


def test_what_the_rule_found_is_not_bound(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """`refresh` gives a partner of all accounts the later ones too, as after `issue`."""
    item_id = link(linker, plaid, partner="finix")
    assert backfill_item(linker, "layer", item_id).status == "issued"
    item = item_of(plaid, item_id)
    new = plaid.new_account(item)
    update = linker.create_link_token(
        "layer",
        client_user_id="user-42",
        client_name="Acme",
        item_id=item_id,
        account_selection_enabled=True,
    )
    plaid.complete_link(update.link_token, masks=["0000", new.mask])
    (issued,) = linker.refresh(item_id=item_id).issued
    assert (issued.processor, issued.account.mask) == ("layer", new.mask)


class Moody(PartnerAdapter):
    """An adapter whose rule has a fault, for some accounts."""

    def select_accounts(self, accounts: Any) -> Any:
        return accounts if accounts[0].mask == "0000" else {}["nothing"]


def test_an_adapter_that_raises_fails_its_item_alone(
    linker: ProcessorLinker, plaid: LocalSandbox
) -> None:
    good, bad = link(linker, plaid), link(linker, plaid, "1111")
    report = backfill(linker, Moody(processor="unit", products=("auth",)))
    assert (report.issued, report.failed, report.reasons) == (1, 1, {"KeyError": 1})
    assert report.stopped is None
    assert (tokens(linker, good, "unit"), tokens(linker, bad, "unit")) == (1, 0)


class AllButTheFirst(PartnerAdapter):
    """An adapter whose rule depends on which accounts it is shown."""

    def select_accounts(self, accounts: Any) -> Any:
        return tuple(accounts)[1:]


def test_the_rule_is_applied_once(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """What `issue` would take, and not what is left of that."""
    item_id = link(linker, plaid, "0000", "1111", "3333")
    outcome = backfill_item(linker, AllButTheFirst(processor="unit", products=("auth",)), item_id)
    assert (outcome.status, outcome.tokens) == ("issued", 2)
    assert tokens(linker, item_id, "unit") == 2


def test_the_caller_chooses_among_several(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """By the account or its id; None skips the Item, and one that does not fit is refused."""
    item_id = link(linker, plaid, "0000", "1111", "3333")
    seen: list[Any] = []

    def none_of_them(stored: StoredLink, accounts: Any) -> None:
        seen.append((stored.item_id, [each.mask for each in accounts]))

    assert backfill_item(linker, "finix", item_id, choose=none_of_them).reason == "several_accounts"
    assert seen == [(item_id, ["0000", "1111"])]
    wrong = backfill_item(linker, "finix", item_id, choose=lambda _stored, _accounts: "a-card")
    assert (wrong.status, wrong.reason) == ("failed", "ConfigurationError")
    nonsense: Any = [[]]
    wrong = backfill_item(linker, "finix", item_id, choose=lambda _stored, _accounts: nonsense)
    assert (wrong.status, wrong.reason) == ("failed", "ConfigurationError")
    raised = backfill_item(linker, "finix", item_id, choose=lambda *_: {}["nothing"])
    assert (raised.status, raised.reason) == ("failed", "choose: KeyError")
    done = backfill_item(linker, "finix", item_id, choose=lambda _stored, accounts: accounts[1])
    assert done.status == "issued"
    result = found(linker, item_id).result
    assert result is not None
    assert result.token("finix").account.mask == "1111"
    assert result.bound == ("finix",)


def test_a_partner_of_all_accounts_gets_them(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """Each one once, also where an earlier call made some."""
    item_id = link(linker, plaid, "0000", "1111", "3333")
    partner = PartnerAdapter(processor="unit", products=("auth",))
    plaid.fail(CREATE, error_code="INVALID_FIELD", times=1)
    first = backfill_item(linker, partner, item_id)
    assert (first.status, first.reason, first.tokens) == ("failed", "INVALID_FIELD", 2)
    assert backfill_item(linker, partner, item_id).status == "issued"
    assert tokens(linker, item_id, "unit") == 3


def test_an_item_is_claimed(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """Two workers at one moment make one token."""
    item_id = link(linker, plaid)
    plaid.fail("/item/get", delay=0.5)
    outcomes: list[BackfillOutcome] = []

    def work() -> None:
        outcomes.append(backfill_item(linker, "finix", item_id))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Counter((each.status, each.reason) for each in outcomes) == {
        ("issued", None): 1,
        ("skipped", "claimed"): 2,
    }
    assert tokens(linker, item_id) == 1


def test_the_partners_part_is_done_at_once(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """With the token in the store; where it failed, the next call does that alone."""
    item_id = link(linker, plaid)
    given: list[StoredLink] = []

    def hand_over(stored: StoredLink) -> None:
        given.append(stored)
        if len(given) == 1:
            raise OSError("the partner is down")
        linker.hand_over(item_id, lambda token: "PI1", partner="finix")

    failed = backfill_item(linker, "finix", item_id, hand_over=hand_over)
    assert (failed.status, failed.reason, failed.tokens) == ("failed", "hand_over: OSError", 1)
    done = backfill_item(linker, "finix", item_id, hand_over=hand_over)
    assert (done.status, done.tokens) == ("issued", 0)
    assert given[0].result is not None
    assert given[0].result.token("finix")
    last = backfill_item(linker, "finix", item_id, hand_over=hand_over)
    assert (last.status, last.reason) == ("skipped", "already_issued")
    assert tokens(linker, item_id) == 1


@rows(
    ("code", "stops"),
    [
        ("CREDITS_EXHAUSTED", True),
        ("TRIAL_CONNECTION_LIMIT", True),
        ("INVALID_API_KEYS", True),
        ("INVALID_FIELD", False),
    ],
)
def test_what_does_not_pass_is_not_tried_again(code: str, stops: bool) -> None:
    """And ends a run, where no other Item would fare better."""
    with LocalSandbox() as plaid, ProcessorLinker(plaid.client(), store=MemoryStore()) as linker:
        item_id = link(linker, plaid)
        plaid.fail(CREATE, error_type="INVALID_INPUT", error_code=code, times=None)
        plaid.clear_requests()
        outcome = backfill_item(linker, "finix", item_id)
        assert (outcome.status, outcome.reason, outcome.stops) == ("failed", code, stops)
        assert [each.path for each in plaid.requests].count(CREATE) == 1


def test_a_429_slows_everybody_down(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """The token is asked for again later, within the budget."""
    item_id = link(linker, plaid)
    budget = RateBudget(600)
    slowed: list[float | None] = []
    usual = budget.slow_down

    def slow_down(seconds: float | None = None) -> None:
        slowed.append(seconds)
        usual(1)

    budget.slow_down = slow_down  # type: ignore[method-assign]
    plaid.fail(CREATE, error_code="RATE_LIMIT", times=2)
    assert backfill_item(linker, "finix", item_id, budget=budget).status == "issued"
    assert len(slowed) == 2


def test_an_item_that_another_did_meanwhile(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """A claim may end in a long wait for the budget: no second token is made then."""
    item_id = link(linker, plaid)
    budget = RateBudget()

    def acquire(**_: Any) -> bool:
        linker.issue("finix", item_id=item_id)
        return True

    budget.acquire = acquire  # type: ignore[method-assign]
    outcome = backfill_item(linker, "finix", item_id, budget=budget)
    assert (outcome.status, outcome.reason) == ("skipped", "already_issued")
    assert [each.path for each in plaid.requests].count(CREATE) == 2  # Layer's, and one


def test_a_rule_of_the_callers_own(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """Its `select_accounts` decides."""

    class Mine(PartnerAdapter):
        def select_accounts(self, accounts: Any) -> Any:
            return tuple(each for each in accounts if each.mask == "1111")

    item_id = link(linker, plaid, "0000", "1111", "3333")
    partner = Mine(processor="unit", products=("auth",))
    assert backfill_item(linker, partner, item_id).status == "issued"
    result = found(linker, item_id).result
    assert result is not None
    assert result.token("unit").account.mask == "1111"


@rows(("as_given", "gone"), [(False, False), (False, True), (True, False), (True, True)])
def test_only_what_is_missing(as_given: bool, gone: bool) -> None:
    """Of two accounts; where the one that is missing is gone, nothing can be done."""
    with LocalSandbox() as plaid, ProcessorLinker(plaid.client(), store=MemoryStore()) as linker:
        item_id = link(linker, plaid, "0000", "1111")
        both = [each.account_id for each in linker.status(item_id=item_id).accounts]
        partner = PartnerAdapter(processor="astra", products=("auth",), as_given=as_given)
        plaid.fail(CREATE, error_code="INVALID_FIELD", times=1)
        with pytest.raises(LinkIncompleteError):
            linker.issue(partner, item_id=item_id, account_ids={"astra": both})
        (missing,) = {each.account.account_id for each in _pending(linker, item_id)}
        if gone:
            plaid.close_account(item_of(plaid, item_id), missing)
        outcome = backfill_item(linker, partner, item_id)
        assert (outcome.reason, outcome.tokens) == (("account_gone", 0) if gone else (None, 1))


def test_a_token_that_was_handed_over_may_expire(
    linker: ProcessorLinker, plaid: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dwolla has what it needs: another would be made for nothing."""
    done, due = link(linker, plaid), link(linker, plaid)
    for item_id in (done, due):
        assert backfill_item(linker, "dwolla", item_id).status == "issued"
    linker.hand_over(done, lambda token: "FS1", partner="dwolla")
    expired = property(lambda token: token.processor == "dwolla")
    monkeypatch.setattr("plaid_processors.results.ProcessorToken.expired", expired)
    assert backfill_item(linker, "dwolla", done).reason == "already_issued"
    assert backfill_item(linker, "dwolla", due).tokens == 1


def test_a_store_that_cannot_keep_a_token_ends_the_run(
    linker: ProcessorLinker, plaid: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a token of each Item would be lost."""
    item_id = link(linker, plaid)
    assert linker.store is not None
    save, calls = linker.store.save, iter(range(99))

    def failing(record: Any) -> Any:
        if next(calls):
            raise OSError
        return save(record)

    monkeypatch.setattr(linker.store, "save", failing)
    outcome = backfill_item(linker, "finix", item_id)
    assert (outcome.status, outcome.reason, outcome.stops) == ("failed", "store_failed", True)


def test_wrong_use_of_one_item(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """It is refused before any request."""
    with (
        ProcessorLinker(plaid.client()) as without,
        pytest.raises(ConfigurationError, match="store"),
    ):
        backfill_item(without, "finix", "item-1")
    with pytest.raises(TypeError, match="ProcessorLinker"):
        backfill_item(object(), "finix", "item-1")  # type: ignore[arg-type]
    with pytest.raises(UnknownProcessorError):
        backfill_item(linker, "finixx", "item-1")
    assert not plaid.requests


# --- all Items


def test_a_row_that_cannot_be_read_stops_no_other(
    linker: ProcessorLinker, plaid: LocalSandbox
) -> None:
    """It fails by itself, in each run, and all others are done."""
    ids = [link(linker, plaid) for _ in range(5)]
    store = linker.store
    assert store is not None
    record = store.get(found(linker, ids[2]).key)
    assert record is not None
    store.save(evolve(record, sealed="AAAA"))
    report = backfill(linker, "finix", workers=1)
    assert (report.issued, report.failed) == (4, 1)
    assert (report.reasons, report.stopped) == ({"DecryptionError": 1}, None)
    assert not backfill_item(linker, "finix", ids[2]).may_pass
    assert not backfill_item(linker, "finix", "item-9").may_pass


def test_all_items_that_lack_it(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """Run again, it does only what is missing."""
    good = [link(linker, plaid) for _ in range(5)]
    broken, several = link(linker, plaid), link(linker, plaid, "0000", "1111")
    plaid.reset_login(item_of(plaid, broken))
    dry = backfill(linker, "finix", dry_run=True)
    assert (dry.issued, dry.tokens, dry.skipped) == (5, 5, 2)
    assert [tokens(linker, each) for each in good] == [0] * 5
    outcomes: list[BackfillOutcome] = []
    seen: list[BackfillProgress] = []
    report = backfill(
        linker, "finix", workers=3, on_outcome=outcomes.append, on_progress=seen.append
    )
    assert (report.issued, report.skipped, report.failed, report.tokens) == (5, 2, 0, 5)
    assert report.reasons == {"login_broken": 1, "several_accounts": 1}
    assert report.stopped is None
    assert {each.item_id for each in outcomes} == {*good, broken, several}
    assert [(each.issued + each.skipped, each.total) for each in seen] == [
        (number, 7) for number in range(1, 8)
    ]
    assert seen[-1].seconds_left == 0
    assert [tokens(linker, each) for each in good] == [1] * 5
    again = backfill(linker, "finix")
    assert (again.issued, again.skipped) == (0, 2)
    chosen = backfill(linker, "finix", choose=lambda _stored, accounts: accounts[0], limit=2)
    assert chosen.issued == 1
    backfill(linker, "unit", limit=2, on_progress=seen.append)
    assert (seen[-1].total, seen[-1].seconds_left) == (2, 0)


def test_a_run_ends_where_no_item_fares_better(
    linker: ProcessorLinker, plaid: LocalSandbox
) -> None:
    """With a sentence, and without asking for the others' tokens."""
    for _ in range(12):
        link(linker, plaid)
    plaid.fail(CREATE, error_code="CREDITS_EXHAUSTED", times=None)
    plaid.clear_requests()
    report = backfill(linker, "finix", workers=2)
    assert "CREDITS_EXHAUSTED" in str(report.stopped)
    assert report.issued == 0
    assert [each.path for each in plaid.requests].count(CREATE) <= 4


def test_ctrl_c_ends_a_run_cleanly(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """The Items under way are done; a later run does the rest."""
    items = [link(linker, plaid) for _ in range(10)]
    outcomes: list[BackfillOutcome] = []

    def on_outcome(outcome: BackfillOutcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        backfill(linker, "finix", workers=2, on_outcome=on_outcome)
    made = [tokens(linker, each) for each in items]
    assert sum(made) == len([each for each in outcomes if each.status == "issued"])
    assert not [each for each in threading.enumerate() if "backfill" in each.name]
    report = backfill(linker, "finix")
    assert report.issued == 10 - sum(made)
    assert [tokens(linker, each) for each in items] == [1] * 10


def test_what_another_process_has_claimed_is_looked_at_again(
    linker: ProcessorLinker, plaid: LocalSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim of a process that was killed ends, and the Item is done then."""
    monkeypatch.setattr("plaid_processors.backfill.run._BETWEEN_CLAIMS", 0.2)
    items = [link(linker, plaid) for _ in range(3)]
    client, store = linker.client, linker.store
    assert store is not None
    name = f"{client.client_id} {client.environment} backfill finix {items[1]}"
    assert store.lease(Lease(name=name, owner="killed", seconds=1.0))
    report = backfill(linker, "finix")
    assert (report.issued, report.skipped) == (3, 0)


def test_a_callbacks_error_ends_the_run(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """It comes out as itself, and no thread stays."""
    link(linker, plaid)

    def on_outcome(_outcome: BackfillOutcome) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        backfill(linker, "finix", on_outcome=on_outcome)
    assert not [each for each in threading.enumerate() if "backfill" in each.name]


# --- the budget


@rows(
    ("per_minute", "slice_", "amount"),
    [
        (450, 2, 15),
        (500, 3, 25),
        (120, 1, 2),
        (60, 1, 1),
        (59, 10, 9),
        (99, 5, 8),
        (54, 7, 6),
        (7, 9, 1),
        (5, 12, 1),
        (1, 60, 1),
    ],
)
def test_even_slices(per_minute: int, slice_: int, amount: int) -> None:
    """Of a few seconds, and never more than the budget."""
    from plaid_processors.backfill.budget import _slice_of

    assert _slice_of(per_minute) == (slice_, amount)
    assert amount * 60 / slice_ <= per_minute
    # In any minute: a slice that begins late, and whole ones after it.
    assert amount - 1 + amount * -(-60 // slice_) <= max(1, per_minute / 0.9)


@rows("per_minute", [0, -1, 1.5, True, "450", None])
def test_a_budget_is_a_whole_number(per_minute: Any) -> None:
    with pytest.raises(ConfigurationError, match="per_minute"):
        RateBudget(per_minute)


@rows("storage", ["nonsense", "ftp://here", "redis://:secret-word@:nonsense"])
def test_a_storage_that_is_none(storage: str) -> None:
    """Its password is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        RateBudget(storage=storage)
    assert "secret-word" not in str(caught.value)


def test_a_storage_that_is_down() -> None:
    """It is an error of ours, and nothing is asked of Plaid without budget."""
    budget = RateBudget(storage="redis://127.0.0.1:1/0")
    with pytest.raises(BudgetError):
        budget.acquire()
    with pytest.raises(BudgetError):
        budget.slow_down()


def test_a_storage_that_is_down_ends_the_run(linker: ProcessorLinker, plaid: LocalSandbox) -> None:
    """The other Items would not fare better."""
    link(linker, plaid)
    with pytest.raises(BudgetError):
        backfill(linker, "finix", budget=RateBudget(storage="redis://127.0.0.1:1/0"))
    assert not [each for each in threading.enumerate() if "backfill" in each.name]


def test_a_stop_ends_the_wait() -> None:
    """An Item that waits for the budget is skipped then."""
    budget, stop = RateBudget(1), threading.Event()
    assert budget.acquire(stop=stop)
    threading.Timer(0.2, stop.set).start()
    assert not budget.acquire(stop=stop)


# --- the command


APPLICATION = """
from plaid_processors import PlaidClient, ProcessorLinker
from plaid_processors.store import SqlStore

client = PlaidClient(client_id={client_id!r}, secret={secret!r}, base_url={url!r})
linker = ProcessorLinker(client, store=SqlStore({database!r}, keys=[{key!r}]))
linker.store.create_tables()
"""


def test_the_command(
    plaid: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """It looks first, then does it, and writes a line for each Item."""
    from cryptography.fernet import Fernet

    from plaid_processors.store import SqlStore

    key, database = Fernet.generate_key().decode(), f"sqlite:///{tmp_path}/links.db"
    with SqlStore(database, keys=[key]) as store, plaid.client() as client:
        store.create_tables()
        linker = ProcessorLinker(client, store=store)
        for _ in range(3):
            linker.link_sandbox("layer", client_user_id="user-42")
        given = {"client_id": client.client_id, "secret": plaid.secret, "url": plaid.url}
    text = APPLICATION.format(**given, database=database, key=key)
    (tmp_path / "filled_app.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    options = ["--linker", "filled_app:linker", "--report", "report.jsonl"]
    assert main(["backfill", "dwolla", *options, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "0 would get tokens, 3 skipped" in shown
    assert "3 several_accounts" in shown
    assert main(["backfill", "layer", "--linker", "filled_app:linker", "--limit", "2"]) == 0
    lines = (tmp_path / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(each)["status"] for each in lines] == ["skipped"] * 3
    assert main(["backfill", "finixx", "--linker", "filled_app:linker"]) == 2
    assert main(["backfill", "finix", "--linker", "filled_app:nothing"]) == 2


def test_ctrl_c_while_its_threads_start(
    linker: ProcessorLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were started end."""
    start, count = threading.Thread.start, iter(range(9))

    def press(thread: threading.Thread) -> None:
        start(thread)
        if thread.name.startswith("plaid-processors-backfill") and next(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", press)
    with pytest.raises(KeyboardInterrupt):
        backfill(linker, "finix", workers=4)
    names = [each.name for each in threading.enumerate()]
    assert [each for each in names if each.startswith("plaid-processors-backfill")] == []
