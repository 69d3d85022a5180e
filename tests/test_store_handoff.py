"""The recorded hand-off: once, or said to be unknown, whatever comes between."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cryptography.fernet import Fernet

from plaid_processors import (
    AsyncProcessorLinker,
    ConfigurationError,
    ItemNotStoredError,
    LayerAdapter,
    LinkIncompleteError,
    LinkInProgressError,
    PlaidClient,
    ProcessorLinker,
    ProcessorToken,
    StoreError,
)
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    HandoffError,
    HandoffRefusedError,
    LayerSender,
    PartnerApiError,
    PartnerConnectionError,
)
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
from plaid_processors.store import (
    Handoff,
    Lease,
    LinkQuery,
    LinkRecord,
    MemoryStore,
    SqlStore,
)
from plaid_processors.store.books import make_books

from .support.rows import rows

LAYER = LayerAdapter(subtypes=("checking", "savings"))
POST = "POST /payment_instruments"
LIST = "GET /payment_instruments"


class TryingStore(MemoryStore):
    """A store in which a test comes between: called before each of its steps, with its name."""

    before: Callable[[str], object] = staticmethod(lambda _step: None)

    def get(self, key: str) -> LinkRecord | None:
        self.before("get")
        return super().get(key)

    def page(self, query: LinkQuery, **options: Any) -> Any:
        self.before("page")
        return super().page(query, **options)

    def save(self, record: LinkRecord) -> LinkRecord | None:
        states = sorted({each.state.value for each in record.handoffs})
        self.before(f"save {' '.join(states)}")
        return super().save(record)

    def lease(self, lease: Lease) -> bool:
        self.before("lease")
        return super().lease(lease)

    def release(self, lease: Lease) -> None:
        self.before("release")
        super().release(lease)


class WatchedFinix(LocalFinix):
    """Finix, in which a test comes at each moment of a request."""

    arriving: Callable[[], object] = staticmethod(lambda: None)
    before: Callable[[], object] = staticmethod(lambda: None)
    after: Callable[[], object] = staticmethod(lambda: None)
    listing: Callable[[], object] = staticmethod(lambda: None)

    def fault_for(self, path: str) -> Any:
        if path == POST:
            self.arriving()  # before it is read
        return super().fault_for(path)

    def answer(self, asked: Any) -> Any:
        (self.before if asked.method == "POST" else self.listing)()
        answer = super().answer(asked)
        if asked.method == "POST":
            self.after()
        return answer

    def of(self, identity: str) -> list[str]:
        """The ids of an identity's instruments."""
        return [each.id for each in self.instruments if each.identity == identity]

    @property
    def posts(self) -> int:
        """How many instruments were asked for."""
        return sum(each.method == "POST" for each in self.requests)


@pytest.fixture
def finix(local_plaid: LocalSandbox) -> Iterator[WatchedFinix]:
    with WatchedFinix(local_plaid) as finix:
        yield finix


@pytest.fixture(params=["append", "replace"])
def layer(request: pytest.FixtureRequest, local_plaid: LocalSandbox) -> Iterator[LocalLayer]:
    with LocalLayer(local_plaid, puts=request.param) as layer:
        yield layer


@pytest.fixture
def store() -> TryingStore:
    return TryingStore()


class Desk:
    """A linker with a store, and senders, in one of three ways; all are called alike."""

    def __init__(self, kind: str, plaid: LocalSandbox, store: Any, stack: ExitStack) -> None:
        self.awaits, self._senders_await = kind != "blocking", kind == "awaited"
        self.plaid, self.store, self._stack = plaid, store, stack
        self.blocking = ProcessorLinker(stack.enter_context(plaid.client()), store=store)
        self.loop = asyncio.new_event_loop()
        stack.callback(self.loop.close)

    def link(self, partner: Any = "finix", **options: Any) -> str:
        """A new Item in the store, with tokens for a partner: its id."""
        result = self.blocking.link_sandbox(partner, client_user_id="user-42", **options)
        assert result.item_id is not None
        return result.item_id

    def sender(self, partner: LocalFinix | LocalLayer, **options: Any) -> Any:
        awaits = self._senders_await
        if isinstance(partner, LocalFinix):
            kinds = (FinixSender, AsyncFinixSender)
            given = {"username": partner.username, "password": partner.password}
        else:
            kinds = (LayerSender, AsyncLayerSender)
            keys = {"client_id": partner.client_id, "client_secret": partner.client_secret}
            given = {**keys, "auth_url": partner.url}
        options = {"base_url": partner.url, "timeout": 5.0, **options}
        sender: Any = kinds[awaits](**given, **options)
        self._stack.callback(
            lambda: self.loop.run_until_complete(sender.close()) if awaits else sender.close()
        )
        return sender

    def hand_over(self, item_id: str, sender: Any, **options: Any) -> tuple[Handoff, ...]:
        if not self.awaits:
            return self.blocking.hand_over(item_id, sender, **options)
        return self.loop.run_until_complete(self.awaited(item_id, sender, **options))

    async def awaited(self, item_id: str, sender: Any, **options: Any) -> tuple[Handoff, ...]:
        linker = AsyncProcessorLinker(self.blocking.client, store=self.store)
        return await linker.hand_over(item_id, sender, **options)

    def stored(self, item_id: str) -> Handoff:
        """The hand-off of an Item of one token, as it is stored."""
        link = self.store.find(item_id)
        assert link is not None
        (handoff,) = link.handoffs
        return handoff

    def change(self, item_id: str, **changes: Any) -> None:
        """What another process stores of it."""
        client = self.blocking.client
        books = make_books(self.store, client.client_id, client.environment)
        assert books is not None
        entry = books.get(item_id)
        changed = tuple(evolve(each, **changes) for each in entry.record.handoffs)
        books.change(entry, handoffs=changed)


@pytest.fixture(params=["blocking", "awaited", pytest.param("crossed", marks=pytest.mark.slow)])
def desk(
    request: pytest.FixtureRequest, local_plaid: LocalSandbox, store: TryingStore
) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(request.param, local_plaid, store, stack)


@pytest.fixture
def blocking(local_plaid: LocalSandbox, store: TryingStore) -> Iterator[Desk]:
    """The blocking way alone, where the ways do not matter."""
    with ExitStack() as stack:
        yield Desk("blocking", local_plaid, store, stack)


@pytest.fixture
def awaited(local_plaid: LocalSandbox, store: TryingStore) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk("awaited", local_plaid, store, stack)


# --- Finix


def test_once_and_recorded_at_each_step(desk: Desk, finix: WatchedFinix) -> None:
    """It says sending while Finix is asked, and done with Finix's id; then nothing is asked."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    assert desk.stored(item_id).state == "due"
    seen: list[Handoff] = []
    finix.before = lambda: seen.append(desk.stored(item_id))
    (done,) = desk.hand_over(item_id, sender, identity=identity)
    assert [(each.state, each.target, each.before) for each in seen] == [("sending", identity, ())]
    assert (done.state, done.reference) == ("done", finix.instruments[0].id)
    assert (done.target, done.error) == (identity, None)
    assert done == desk.stored(item_id)
    finix.clear_requests()
    assert desk.hand_over(item_id, sender, identity=identity) == (done,)
    assert finix.requests == ()


def test_two_at_once_make_one_instrument(desk: Desk, finix: WatchedFinix) -> None:
    """The second waits for the first, and finds it done."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    finix.fail(POST, delay=0.3)

    async def both() -> list[tuple[Handoff, ...]]:
        calls = [desk.awaited(item_id, sender, identity=identity) for _ in range(2)]
        return await asyncio.gather(*calls)

    if desk.awaits:
        first, second = desk.loop.run_until_complete(both())
    else:
        with ThreadPoolExecutor() as pool:
            calls = [
                pool.submit(desk.hand_over, item_id, sender, identity=identity) for _ in range(2)
            ]
            first, second = [each.result() for each in calls]
    assert first == second
    assert finix.posts == 1


def test_two_items_for_one_identity_come_one_after_the_other(
    blocking: Desk, finix: WatchedFinix
) -> None:
    """Any two accounts may be one: the second is refused, and its hand-off says so."""
    items, identity = [blocking.link(), blocking.link()], finix.new_identity()
    sender = blocking.sender(finix)
    finix.fail(POST, delay=0.3)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(blocking.hand_over, item, sender, identity=identity) for item in items]
        errors = [each.exception() for each in calls]
    assert sorted(type(each).__name__ for each in errors) == ["HandoffRefusedError", "NoneType"]
    assert sorted(blocking.stored(item).state for item in items) == ["done", "refused"]
    assert len(finix.instruments) == 1


def test_done_for_another_identity_is_sent(blocking: Desk, finix: WatchedFinix) -> None:
    """Another identity needs an instrument of its own; the record is of the last."""
    item_id, sender = blocking.link(), blocking.sender(finix)
    for number in range(2):
        identity = finix.new_identity()
        (done,) = blocking.hand_over(item_id, sender, identity=identity)
        assert (done.target, done.reference) == (identity, finix.instruments[number].id)
    assert len(finix.instruments) == 2


def test_again_is_the_callers_word(desk: Desk, finix: WatchedFinix) -> None:
    """It makes another instrument, and records that one; a refusal then leaves the first."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    desk.hand_over(item_id, sender, identity=identity)
    (done,) = desk.hand_over(item_id, sender, identity=identity, again=True)
    assert [each.id for each in finix.instruments][1:] == [done.reference]
    finix.fail(POST, status=422)
    with pytest.raises(PartnerApiError):
        desk.hand_over(item_id, sender, identity=identity, again=True)
    assert (desk.stored(item_id).state, desk.stored(item_id).reference) == ("done", done.reference)


def test_a_token_that_was_issued_again_is_due_again(blocking: Desk, finix: WatchedFinix) -> None:
    """The instrument of the old token stands in the way, unless the caller says again."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    (old,) = blocking.hand_over(item_id, sender, identity=identity)
    blocking.blocking.refresh(item_id=item_id, reissue=True)
    assert blocking.stored(item_id).state == "due"
    assert blocking.stored(item_id).reference == old.reference
    with pytest.raises(HandoffRefusedError):
        blocking.hand_over(item_id, sender, identity=identity)
    (new,) = blocking.hand_over(item_id, sender, identity=identity, again=True)
    assert (new.state, new.reference) == ("done", finix.instruments[1].id)
    assert new.fingerprint != old.fingerprint


def test_an_unknown_outcome_is_not_forgotten_with_a_new_token(
    blocking: Desk, finix: WatchedFinix
) -> None:
    """A token that is issued again meanwhile does not make it due: it is looked up first."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="unread")
    with pytest.raises(PartnerConnectionError):
        blocking.hand_over(item_id, sender, identity=identity)
    blocking.blocking.refresh(item_id=item_id, reissue=True)
    assert blocking.stored(item_id).state == "unknown"
    with pytest.raises(HandoffRefusedError) as caught:
        blocking.hand_over(item_id, sender, identity=identity)
    assert caught.value.outcome_unknown
    assert finix.of(identity) == []


@rows(
    ("fault", "error", "state"),
    [
        ({"path": POST, "status": 422}, PartnerApiError, "refused"),
        ({"path": POST, "status": 403}, PartnerApiError, "refused"),
        ({"path": POST, "status": 429}, PartnerApiError, "due"),
        ({"path": POST, "status": 500}, PartnerApiError, "unknown"),
        ({"path": POST, "drop": "before"}, PartnerConnectionError, "unknown"),
        ({"path": LIST, "status": 401}, PartnerApiError, "refused"),
        ({"path": LIST, "status": 503}, PartnerApiError, "due"),
        ({"path": LIST, "drop": "after"}, PartnerConnectionError, "due"),
    ],
)
def test_what_a_failure_leaves(
    desk: Desk, finix: WatchedFinix, fault: Any, error: type[HandoffError], state: str
) -> None:
    """The error comes out as it is, and the record says how it stands; a later call goes on."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    finix.fail(**fault)
    with pytest.raises(error) as caught:
        desk.hand_over(item_id, sender, identity=identity)
    left = desk.stored(item_id)
    assert (left.state, left.error) == (state, str(caught.value))
    if state == "unknown":
        with pytest.raises(HandoffRefusedError) as refused:
            desk.hand_over(item_id, sender, identity=identity)
        assert refused.value.outcome_unknown
        assert desk.stored(item_id) == left
    again = state == "unknown"
    (done,) = desk.hand_over(item_id, sender, identity=identity, again=again)
    assert (done.state, done.error) == ("done", None)
    assert finix.of(identity) == [done.reference]


def test_a_failed_look_settles_nothing(blocking: Desk, finix: WatchedFinix) -> None:
    """Neither a list that fails nor a refusal makes an unknown outcome known."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="before")
    with pytest.raises(PartnerConnectionError):
        blocking.hand_over(item_id, sender, identity=identity)
    for path, again in ((LIST, False), (LIST, True), (POST, True)):
        finix.fail(path, status=422)
        with pytest.raises(PartnerApiError):
            blocking.hand_over(item_id, sender, identity=identity, again=again)
        assert blocking.stored(item_id).state == "unknown"


@pytest.mark.slow
@rows(
    ("fault", "error"),
    [
        ({"drop": "after"}, PartnerConnectionError),
        ({"status": 500, "work": True}, PartnerApiError),
        ({"body": "<html>", "work": True}, PartnerConnectionError),
        ({"delay": 2.5}, PartnerConnectionError),
    ],
)
def test_what_was_made_is_found(
    desk: Desk, finix: WatchedFinix, fault: Any, error: type[HandoffError]
) -> None:
    """An instrument whose answer was lost is found at Finix, and recorded."""
    item_id, identity = desk.link(), finix.new_identity()
    sender = desk.sender(finix, timeout=(5.0, 2.0))
    finix.fail(POST, **fault)
    with pytest.raises(error):
        desk.hand_over(item_id, sender, identity=identity)
    assert desk.stored(item_id).state == "unknown"
    (done,) = desk.hand_over(item_id, desk.sender(finix), identity=identity)
    assert done.state == "done"
    assert finix.of(identity) == [done.reference]


def make_instruments(desk: Desk, finix: LocalFinix, identity: str, count: int) -> None:
    """Others make instruments for the identity, by no store."""
    sender = desk.sender(finix)
    for _ in range(count):
        with ProcessorLinker(desk.plaid.client()) as linker:
            token = linker.link_sandbox("finix").token("finix")
        sender.hand_over(token, identity=identity, again=True)


def test_of_several_new_ones_none_is_taken(blocking: Desk, finix: WatchedFinix) -> None:
    """Which of them it is cannot be told; a function that returns the id records it."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="after")
    with pytest.raises(PartnerConnectionError):
        blocking.hand_over(item_id, sender, identity=identity)
    make_instruments(blocking, finix, identity, 1)
    ids = [each.id for each in finix.instruments]
    with pytest.raises(HandoffRefusedError, match=ids[1]) as caught:
        blocking.hand_over(item_id, sender, identity=identity)
    assert caught.value.outcome_unknown
    existing: Any = caught.value.existing
    assert sorted(each.id for each in existing) == sorted(ids)
    assert blocking.stored(item_id).state == "unknown"
    blocking.hand_over(item_id, lambda _token: ids[0], partner="finix", again=True)
    (done,) = blocking.hand_over(item_id, sender, identity=identity)
    assert (done.state, done.reference, finix.posts) == ("done", ids[0], 2)


def test_what_is_of_another_token_is_not_taken(blocking: Desk, finix: WatchedFinix) -> None:
    """An instrument that is recorded for another account is no trace of this one's."""
    item_id, other = blocking.link(), blocking.link()
    identity, sender = finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="before")
    with pytest.raises(PartnerConnectionError):
        blocking.hand_over(item_id, sender, identity=identity)
    blocking.hand_over(other, sender, identity=identity, again=True)
    with pytest.raises(HandoffRefusedError, match="found: nothing"):
        blocking.hand_over(item_id, sender, identity=identity)


def test_an_unknown_outcome_at_another_identity(blocking: Desk, finix: WatchedFinix) -> None:
    """It has to be settled there, or by the caller's word."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="after")
    with pytest.raises(PartnerConnectionError):
        blocking.hand_over(item_id, sender, identity=identity)
    with pytest.raises(HandoffRefusedError, match=identity):
        blocking.hand_over(item_id, sender, identity=finix.new_identity())
    assert blocking.hand_over(item_id, sender, identity=identity)[0].state == "done"


def test_an_adopted_token_of_unknown_fate(blocking: Desk, finix: WatchedFinix) -> None:
    """Any bank account there may be its; where there is none, it is sent."""
    with ProcessorLinker(blocking.plaid.client()) as plain:
        results = [plain.link_sandbox("finix") for _ in range(2)]
    sender, identity = blocking.sender(finix), finix.new_identity()
    for result in results:
        blocking.store.adopt(
            access_token=result.access_token,
            client_user_id="user-42",
            item_id=result.item_id,
            tokens=result.processor_tokens,
        )
    first, second = [str(each.item_id) for each in results]
    assert blocking.stored(first).state == "unknown"
    assert blocking.hand_over(first, sender, identity=identity)[0].state == "done"
    with pytest.raises(HandoffRefusedError) as caught:
        blocking.hand_over(second, sender, identity=identity)
    assert caught.value.outcome_unknown
    assert blocking.stored(second).state == "unknown"
    assert finix.posts == 1


# --- a store that fails


@rows("step", ["lease", "page", "save sending"])
def test_a_store_that_fails_first_sends_nothing(
    desk: Desk, store: TryingStore, finix: WatchedFinix, step: str
) -> None:
    """Before the partner is asked, it is a StoreError, and the next call does it."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    store.before = failing(step)
    with pytest.raises(StoreError):
        desk.hand_over(item_id, sender, identity=identity)
    assert finix.of(identity) == []
    del store.before
    assert desk.stored(item_id).state == "due"
    (done,) = desk.hand_over(item_id, sender, identity=identity)
    assert finix.of(identity) == [done.reference]


def failing(step: str) -> Callable[[str], None]:
    def before(now: str) -> None:
        if now == step:
            raise OSError("the database is down")

    return before


def test_a_store_that_fails_after_the_answer_loses_nothing(
    desk: Desk, store: TryingStore, finix: WatchedFinix
) -> None:
    """The error names the instrument, and the next call finds it: no second one."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    store.before = failing("save done")
    with pytest.raises(StoreError) as caught:
        desk.hand_over(item_id, sender, identity=identity)
    (made,) = finix.instruments
    assert made.id in "".join(caught.value.__notes__)
    assert desk.stored(item_id).state == "sending"
    del store.before
    (done,) = desk.hand_over(item_id, sender, identity=identity)
    assert (done.state, done.reference, finix.posts) == ("done", made.id, 1)


def test_a_store_that_cannot_keep_a_failure(
    blocking: Desk, store: TryingStore, finix: WatchedFinix
) -> None:
    """The partner's error comes out, with a note; the next call looks first."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, drop="after")
    store.before = failing("save unknown")
    with pytest.raises(PartnerConnectionError) as caught:
        blocking.hand_over(item_id, sender, identity=identity)
    assert "store" in "".join(caught.value.__notes__)
    del store.before
    assert blocking.hand_over(item_id, sender, identity=identity)[0].state == "done"
    assert len(finix.instruments) == 1


def test_a_lease_that_cannot_be_given_back_ends_by_itself(
    blocking: Desk, store: TryingStore, finix: WatchedFinix
) -> None:
    """What was done is done."""
    item_id, identity = blocking.link(), finix.new_identity()
    store.before = failing("release")
    (done,) = blocking.hand_over(item_id, blocking.sender(finix), identity=identity)
    assert done.state == "done"


def test_a_call_that_slept_beyond_its_lease_sends_nothing(desk: Desk, finix: WatchedFinix) -> None:
    """Another has done it meanwhile: it stays done, and no second instrument is made."""
    item_id, identity, sender = desk.link(), finix.new_identity(), desk.sender(finix)
    finix.listing = lambda: desk.change(item_id, state="done", reference="PI-other")
    with pytest.raises(LinkInProgressError):
        desk.hand_over(item_id, sender, identity=identity)
    assert (desk.stored(item_id).state, desk.stored(item_id).reference) == ("done", "PI-other")
    assert finix.posts == 0


def test_a_refusal_of_one_that_slept_does_not_undo_anothers(
    blocking: Desk, finix: WatchedFinix
) -> None:
    """What it says of its own look comes too late."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    make_instruments(blocking, finix, identity, 1)
    finix.listing = lambda: blocking.change(item_id, state="done", reference="PI-other")
    with pytest.raises(HandoffRefusedError):
        blocking.hand_over(item_id, sender, identity=identity)
    assert blocking.stored(item_id).state == "done"


# --- interruptions


def test_cancelled_while_finix_is_at_it(awaited: Desk, finix: WatchedFinix) -> None:
    """The answer is waited for, and stored; then the cancellation is raised."""
    item_id, identity, sender = awaited.link(), finix.new_identity(), awaited.sender(finix)
    finix.fail(POST, delay=0.5)

    async def main() -> None:
        call = awaited.awaited(item_id, sender, identity=identity)
        task = asyncio.get_running_loop().create_task(call)
        finix.after = lambda: loop.call_soon_threadsafe(task.cancel)
        loop = asyncio.get_running_loop()
        with pytest.raises(asyncio.CancelledError):
            await task

    awaited.loop.run_until_complete(main())
    (made,) = finix.instruments
    assert (awaited.stored(item_id).state, awaited.stored(item_id).reference) == ("done", made.id)


@pytest.mark.slow
def test_cancelled_before_anything_is_sent(awaited: Desk, finix: WatchedFinix) -> None:
    """At whatever moment: where Finix was not asked, it can be asked later, without a word."""
    sender = awaited.sender(finix)

    async def cancelled_at(item_id: str, identity: str, turns: int) -> None:
        task = asyncio.ensure_future(awaited.awaited(item_id, sender, identity=identity))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    states = set()
    for turns in range(1, 40):
        item_id, identity = awaited.link(), finix.new_identity()
        awaited.loop.run_until_complete(cancelled_at(item_id, identity, turns))
        made = [each for each in finix.instruments if each.identity == identity]
        state = awaited.stored(item_id).state
        states.add(str(state))
        assert (len(made), state) in [(0, "due"), (1, "done")]
        (handoff,) = awaited.hand_over(item_id, sender, identity=identity)
        assert handoff.state == "done"
    assert "due" in states


def test_cancelled_and_refused(awaited: Desk, finix: WatchedFinix) -> None:
    """The partner's refusal is stored too."""
    item_id, sender = awaited.link(), awaited.sender(finix)
    finix.fail(POST, delay=0.5)

    async def main() -> None:
        call = awaited.awaited(item_id, sender, identity="ID-nobody")
        task = asyncio.get_running_loop().create_task(call)
        loop = asyncio.get_running_loop()
        finix.before = lambda: loop.call_soon_threadsafe(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    awaited.loop.run_until_complete(main())
    assert awaited.stored(item_id).state == "refused"


@pytest.mark.slow
def test_cancelled_and_no_answer_comes(awaited: Desk, finix: WatchedFinix) -> None:
    """It stays open, and the next call looks."""
    item_id, identity = awaited.link(), finix.new_identity()
    finix.fail(POST, delay=5)
    sender = awaited.sender(finix, timeout=(1.0, 1.0))

    async def main() -> None:
        call = awaited.awaited(item_id, sender, identity=identity)
        task = asyncio.get_running_loop().create_task(call)
        loop = asyncio.get_running_loop()
        finix.after = lambda: loop.call_soon_threadsafe(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    awaited.loop.run_until_complete(main())
    assert awaited.stored(item_id).state in ("sending", "unknown")
    (done,) = awaited.hand_over(item_id, awaited.sender(finix), identity=identity)
    assert (done.reference, finix.posts) == (finix.instruments[0].id, 1)


def test_ctrl_c_while_finix_is_at_it(blocking: Desk, finix: WatchedFinix) -> None:
    """The answer is waited for, and stored; then KeyboardInterrupt is raised."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)
    finix.fail(POST, delay=0.2)
    finix.before = lambda: signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        blocking.hand_over(item_id, sender, identity=identity)
    (made,) = finix.instruments
    assert blocking.stored(item_id).reference == made.id
    assert blocking.hand_over(item_id, sender, identity=identity)[0].state == "done"


def test_ctrl_c_inside_the_store(blocking: Desk, store: TryingStore, finix: WatchedFinix) -> None:
    """It stays open; the next call looks, and makes no second instrument."""
    item_id, identity, sender = blocking.link(), finix.new_identity(), blocking.sender(finix)

    def before(step: str) -> None:
        if step == "save done":
            raise KeyboardInterrupt

    store.before = before
    with pytest.raises(KeyboardInterrupt):
        blocking.hand_over(item_id, sender, identity=identity)
    assert blocking.stored(item_id).state == "sending"
    del store.before
    assert blocking.hand_over(item_id, sender, identity=identity)[0].state == "done"
    assert finix.posts == 1


# --- several processes, over SQLite


class Book:
    """A store in a file, with an Item in it, and what a process of its own needs."""

    def __init__(self, path: Path, plaid: LocalSandbox, stack: ExitStack) -> None:
        self.path, self.plaid = path, plaid
        self.key = Fernet.generate_key().decode()
        self.store = stack.enter_context(SqlStore(f"sqlite:///{path}", keys=[self.key]))
        self.store.create_tables()
        self.desk = Desk("blocking", plaid, self.store, stack)

    def start(self, item_id: str, partner: LocalFinix | LocalLayer, target: str) -> Any:
        """Hand over in a process of its own."""
        plaid = {
            "client_id": self.plaid.client_id,
            "secret": self.plaid.secret,
            "base_url": self.plaid.url,
        }
        if isinstance(partner, LocalFinix):
            keys = {"username": partner.username, "password": partner.password}
        else:
            keys = {"client_id": partner.client_id, "client_secret": partner.client_secret}
            keys["auth_url"] = partner.url
        keys["base_url"] = partner.url
        context = multiprocessing.get_context("spawn")
        process = context.Process(
            target=work, args=(str(self.path), self.key, plaid, keys, item_id, target)
        )
        process.start()
        return process

    def end_leases(self) -> None:
        """As if the time of the leases of a process that died was over."""
        with sqlite3.connect(self.path) as connection:
            assert connection.execute("DELETE FROM plaid_leases").rowcount
        connection.close()


def work(
    path: str, key: str, plaid: dict[str, str], keys: dict[str, str], item_id: str, target: str
) -> None:
    """One process."""
    with SqlStore(f"sqlite:///{path}", keys=[key]) as store, PlaidClient(**plaid) as client:
        linker = ProcessorLinker(client, store=store)
        if "username" in keys:
            with FinixSender(**keys) as finix:  # type: ignore[arg-type]
                (done,) = linker.hand_over(item_id, finix, identity=target)
        else:
            with LayerSender(**keys) as layer:  # type: ignore[arg-type]
                (done, *_) = linker.hand_over(item_id, layer, business_id=target)
    assert done.state == "done"


@pytest.fixture
def book(tmp_path: Path, local_plaid: LocalSandbox) -> Iterator[Book]:
    with ExitStack() as stack:
        yield Book(tmp_path / "links.db", local_plaid, stack)


def test_two_processes_make_one_instrument(book: Book, finix: WatchedFinix) -> None:
    """Both find it done."""
    item_id, identity = book.desk.link(), finix.new_identity()
    finix.fail(LIST, delay=0.3)
    processes = [book.start(item_id, finix, identity) for _ in range(2)]
    for process in processes:
        process.join(60)
    assert [each.exitcode for each in processes] == [0, 0]
    assert finix.posts == len(finix.instruments) == 1
    assert book.desk.stored(item_id).reference == finix.instruments[0].id


@pytest.mark.slow
def test_two_processes_drop_nothing_at_layer(book: Book, layer: LocalLayer) -> None:
    """Two Items of one business: the second is sent with the first one's tokens."""
    items, business = [book.desk.link(LAYER) for _ in range(2)], layer.new_business()
    layer.fail(f"GET /v1/businesses/{business}/plaid/accounts", delay=0.3, times=2)
    processes = [book.start(item, layer, business) for item in items]
    for process in processes:
        process.join(60)
    assert [each.exitcode for each in processes] == [0, 0]
    methods = [each.method for each in layer.requests if each.path.startswith("/v1")]
    assert methods == ["GET", "PUT", "GET"] * 2
    links = [book.store.find(item) for item in items]
    held = {each.processor_token for each in layer.books(business)}
    expected = {
        token.processor_token
        for link in links
        if link is not None and link.result is not None
        for token in link.result.processor_tokens
    }
    assert held == expected


def killed_at(moment: str, book: Book, finix: WatchedFinix, item_id: str, identity: str) -> None:
    """A process hands over, and is killed at a moment of its request."""
    process: Any = None

    setattr(finix, moment, lambda: os.kill(process.pid, signal.SIGKILL))
    process = book.start(item_id, finix, identity)  # it takes long to begin
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    delattr(finix, moment)
    assert book.desk.stored(item_id).state == "sending"


@pytest.mark.slow
@rows("moment", ["before", "after"])
def test_killed_between_finix_and_the_record(book: Book, finix: WatchedFinix, moment: str) -> None:
    """The next call finds the instrument, and records it."""
    item_id, identity = book.desk.link(), finix.new_identity()
    killed_at(moment, book, finix, item_id, identity)
    book.end_leases()
    (done,) = book.desk.hand_over(item_id, book.desk.sender(finix), identity=identity)
    assert done.state == "done"
    assert finix.of(identity) == [done.reference]


@pytest.mark.slow
def test_killed_before_finix_has_read_it(book: Book, finix: WatchedFinix) -> None:
    """Nothing is there, and it may still come: it is said to be unknown."""
    item_id, identity = book.desk.link(), finix.new_identity()
    finix.fail(POST, drop="unread")
    killed_at("arriving", book, finix, item_id, identity)
    book.end_leases()
    with pytest.raises(HandoffRefusedError, match="process") as caught:
        book.desk.hand_over(item_id, book.desk.sender(finix), identity=identity)
    assert caught.value.outcome_unknown
    assert book.desk.stored(item_id).state == "unknown"
    assert finix.of(identity) == []


@pytest.mark.slow
def test_while_the_lease_of_a_killed_process_lasts(book: Book, finix: WatchedFinix) -> None:
    """Another call waits until its own time is over, and says when to call again."""
    item_id, identity = book.desk.link(), finix.new_identity()
    killed_at("after", book, finix, item_id, identity)
    finix.clear_requests()
    sender = book.desk.sender(finix, timeout=(0.1, 0.1))
    with pytest.raises(LinkInProgressError) as caught:
        book.desk.hand_over(item_id, sender, identity=identity)
    assert caught.value.retry_after > 0
    assert finix.requests == ()


def test_a_forked_child_hands_over(book: Book, finix: WatchedFinix) -> None:
    """By the linker, the sender and the store of its parent, which then finds it done."""
    item_id, identity, sender = book.desk.link(), finix.new_identity(), book.desk.sender(finix)
    sender.payment_instruments(identity)  # its threads and connections are there
    child = os.fork()
    if child == 0:
        status = 1
        try:
            (done,) = book.desk.hand_over(item_id, sender, identity=identity)
            status = 0 if done.state == "done" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (done,) = book.desk.hand_over(item_id, sender, identity=identity)
    assert (done.reference, finix.posts) == (finix.instruments[0].id, 1)


# --- Layer


def tokens_of(desk: Desk, *items: str) -> set[str]:
    """The processor tokens of Items."""
    links = [desk.store.find(item) for item in items]
    return {each.processor_token for link in links for each in link.result.processor_tokens}


def states_of(desk: Desk, item_id: str) -> list[str]:
    """How far each token of an Item is, in the order of the tokens."""
    link = desk.store.find(item_id)
    return [link.handoff(token).state.value for token in link.result.processor_tokens]


def test_layer_has_all_tokens_and_is_not_asked_again(desk: Desk, layer: LocalLayer) -> None:
    """Each is recorded as done for the business; then nothing is asked."""
    item_id, business, sender = desk.link(LAYER), layer.new_business(), desk.sender(layer)
    done = desk.hand_over(item_id, sender, business_id=business)
    assert [(each.state, each.reference, each.target) for each in done] == 2 * [
        ("done", business, business)
    ]
    assert {each.processor_token for each in layer.books(business)} == tokens_of(desk, item_id)
    layer.clear_requests()
    assert desk.hand_over(item_id, sender, business_id=business) == done
    assert layer.requests == ()
    desk.hand_over(item_id, sender, business_id=business, again=True)
    assert [each.method for each in layer.requests] == ["GET"]  # nothing is new


def test_layer_keeps_the_other_items_tokens(desk: Desk, layer: LocalLayer) -> None:
    """Whatever its PUT means."""
    items, business = [desk.link(LAYER) for _ in range(2)], layer.new_business()
    sender = desk.sender(layer)
    for item in items:
        desk.hand_over(item, sender, business_id=business)
    assert {each.processor_token for each in layer.books(business)} == tokens_of(desk, *items)


@rows(
    ("fault", "state"),
    [
        ({"status": 500, "work": True}, "unknown"),
        ({"drop": "before"}, "unknown"),
        ({"drop": "after"}, "unknown"),
        ({"status": 422}, "refused"),
        ({"status": 429}, "due"),
    ],
)
def test_layers_failures_and_the_next_call(
    blocking: Desk, layer: LocalLayer, fault: Any, state: str
) -> None:
    """To send again does no harm: it needs no word of the caller's."""
    item_id, business, sender = blocking.link(LAYER), layer.new_business(), blocking.sender(layer)
    for _ in range(2):  # also after what the first has left
        layer.fail(f"PUT /v1/businesses/{business}", **fault)
        with pytest.raises(HandoffError):
            blocking.hand_over(item_id, sender, business_id=business)
        assert states_of(blocking, item_id) == 2 * [state]
        if layer.books(business):
            layer.clear_faults()
            break
    done = blocking.hand_over(item_id, sender, business_id=business)
    assert [each.state for each in done] == ["done", "done"]


def test_a_token_that_layer_does_not_list_is_unknown(blocking: Desk, layer: LocalLayer) -> None:
    """It took it and does not show it: the next call sends it again."""
    item_id, business, sender = blocking.link(LAYER), layer.new_business(), blocking.sender(layer)
    layer.fail(f"GET /v1/businesses/{business}/plaid/accounts", times=4, json={"data": []})
    blocking.hand_over(item_id, sender, business_id=business)
    assert states_of(blocking, item_id) == ["unknown", "unknown"]
    blocking.hand_over(item_id, sender, business_id=business)
    assert states_of(blocking, item_id) == ["done", "done"]


def test_what_is_gone_is_left_out(blocking: Desk, layer: LocalLayer) -> None:
    """Its hand-off stays as it is, and dead tokens of Items without this store are not sent."""
    item_id, business, sender = blocking.link(LAYER), layer.new_business(), blocking.sender(layer)
    with ProcessorLinker(blocking.plaid.client()) as without_store:
        old = without_store.link_sandbox(LAYER)
        blocking.hand_over(
            blocking.store.adopt(
                access_token=old.access_token,
                item_id=old.item_id,
                client_user_id="another",
                tokens=old.processor_tokens,
                handoff="due",
            ).item_id,
            sender,
            business_id=business,
        )
        without_store.remove(old.access_token)
    with pytest.raises(PartnerApiError):
        blocking.hand_over(item_id, sender, business_id=business)
    assert states_of(blocking, item_id) == ["refused", "refused"]
    first = blocking.store.find(item_id).result.processor_tokens[0]
    blocking.hand_over(item_id, sender, business_id=business, gone=iter([old, first.account]))
    assert states_of(blocking, item_id) == ["refused", "done"]


@pytest.mark.slow
@rows("erased", [False, True])
def test_what_the_store_knows_to_be_gone_is_left_out(
    desk: Desk, layer: LocalLayer, erased: bool
) -> None:
    """An Item that was removed, and an account that is no longer shared; not what is broken."""
    removed, item_id, broken = (desk.link(LAYER) for _ in range(3))
    business, sender = layer.new_business(), desk.sender(layer)
    for each in (removed, item_id, broken):
        desk.hand_over(each, sender, business_id=business)
    gone, stays = desk.store.find(item_id).result.processor_tokens
    desk.blocking.remove(item_id=removed)
    if erased:
        desk.store.erase(removed)
    desk.plaid.close_account(item_id, gone.account.account_id)
    desk.blocking.refresh(item_id=item_id)
    sent = {stays.processor_token} | tokens_of(desk, broken)
    new = desk.link(LAYER)
    layer.clear_requests()
    desk.hand_over(new, sender, business_id=business)
    (put,) = [each for each in layer.requests if each.method == "PUT"]
    assert len(put.body["plaid_processor_tokens"]) == len(sent | tokens_of(desk, new)) == 5


# --- other partners


def test_a_function_hands_over(desk: Desk, finix: WatchedFinix) -> None:
    """It gets each token that is due, and its reference is stored; then it is not called again."""
    item_id = desk.link("alpaca")
    got: list[ProcessorToken] = []

    def send(token: ProcessorToken) -> str:
        got.append(token)
        assert desk.stored(item_id).state == "sending"
        return "relationship-1"

    async def send_awaited(token: ProcessorToken) -> str:
        await asyncio.sleep(0)
        return send(token)

    for _ in range(2):
        sender = send_awaited if desk.awaits else send
        (done,) = desk.hand_over(item_id, sender, partner="alpaca")
        assert (done.state, done.reference, done.target) == ("done", "relationship-1", None)
    assert [each.processor for each in got] == ["alpaca"]


def refused(outcome_unknown: bool) -> Callable[[object], object]:
    def send(_token: object) -> object:
        raise PartnerConnectionError(
            "no answer",
            partner="alpaca",
            advice="",
            reason="",
            endpoint="",
            outcome_unknown=outcome_unknown,
        )

    return send


def shows_the_token(token: ProcessorToken) -> object:
    raise ValueError(f"{token.processor_token} was refused")


@rows(
    ("send", "error", "state"),
    [
        (shows_the_token, ValueError, "unknown"),
        (lambda token: token.processor_token, ConfigurationError, "unknown"),
        (lambda token: token, TypeError, "unknown"),
        (refused(True), HandoffError, "unknown"),
        (refused(False), HandoffError, "due"),
    ],
)
def test_a_function_that_fails(desk: Desk, send: Any, error: Any, state: str) -> None:
    """What became of the token cannot be told, unless a `HandoffError` says it."""
    item_id = desk.link("alpaca")
    with pytest.raises(error):
        desk.hand_over(item_id, send, partner="alpaca")
    assert desk.stored(item_id).state == state
    token = desk.store.find(item_id).result.token("alpaca").processor_token
    assert token not in str(desk.stored(item_id))
    if state == "unknown":
        with pytest.raises(HandoffRefusedError) as caught:
            desk.hand_over(item_id, lambda _token: "never", partner="alpaca")
        assert caught.value.outcome_unknown
    (done,) = desk.hand_over(item_id, lambda _token: None, partner="alpaca", again=True)
    assert (done.state, done.reference, done.error) == ("done", None, None)


def test_a_reference_that_no_database_takes(blocking: Desk) -> None:
    """The partner has the token: its reference is stored without what cannot be."""
    item_id = blocking.link("dwolla", account_id=None)
    (handoff,) = blocking.hand_over(item_id, lambda _token: "a\0b\ud800", partner="dwolla")
    assert (handoff.state, handoff.reference) == ("done", "ab?")


def test_a_function_that_is_cancelled(awaited: Desk) -> None:
    """It stays open, and needs the caller's word."""
    item_id = awaited.link("alpaca")

    async def send(_token: object) -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        async with asyncio.timeout(0.1):
            await awaited.awaited(item_id, send, partner="alpaca")

    with pytest.raises(TimeoutError):
        awaited.loop.run_until_complete(main())
    assert awaited.stored(item_id).state == "sending"
    with pytest.raises(HandoffRefusedError):
        awaited.hand_over(item_id, lambda _token: "never", partner="alpaca")


def _with_a_dwolla_token(desk: Desk, *, lives: float, handoff: str) -> tuple[str, str]:
    """The ids of an Item and its account, whose token lives so many seconds from now."""
    with ProcessorLinker(desk.plaid.client()) as plain:
        result = plain.link_sandbox("dwolla")
    (token,) = result.processor_tokens
    end = datetime.now(UTC) + timedelta(seconds=lives)
    desk.store.adopt(
        access_token=result.access_token,
        client_user_id="user-42",
        item_id=str(result.item_id),
        tokens=[evolve(token, expires_at=end)],
        handoff=handoff,
    )
    return str(result.item_id), token.account.account_id


def test_an_expired_token_is_refused(desk: Desk) -> None:
    """The function is not called; `refresh` is named, and afterwards it works."""
    item_id, _ = _with_a_dwolla_token(desk, lives=-60, handoff="due")
    got: list[ProcessorToken] = []
    with pytest.raises(HandoffRefusedError, match=r"refresh\(item_id"):
        desk.hand_over(item_id, got.append, partner="dwolla")
    assert got == []
    desk.blocking.refresh(item_id=item_id)
    assert desk.hand_over(item_id, got.append, partner="dwolla")[0].state == "done"
    assert len(got) == 1


def test_a_token_that_the_partner_has_may_expire(desk: Desk) -> None:
    """Another would have the partner make a second funding source: only `reissue` asks for it."""
    item_id, account_id = _with_a_dwolla_token(desk, lives=-60, handoff="done")
    got: list[ProcessorToken] = []
    stored = desk.store.find(item_id)
    assert stored is not None
    assert stored.result is not None

    changes = desk.blocking.refresh(item_id=item_id)
    assert (changes.issued, changes.changed) == ((), False)
    resumed = desk.blocking.resume(stored.result)
    assert resumed.processor_tokens == stored.result.processor_tokens
    assert desk.hand_over(item_id, got.append, partner="dwolla")[0].state == "done"
    assert got == []
    with pytest.raises(HandoffRefusedError, match="reissue="):
        desk.hand_over(item_id, got.append, partner="dwolla", again=True)

    (new,) = desk.blocking.refresh(item_id=item_id, reissue=[account_id]).issued
    desk.hand_over(item_id, got.append, partner="dwolla")
    assert got == [new]


def test_a_token_that_expires_while_it_is_sent(blocking: Desk) -> None:
    """A `refresh` that comes by makes no other, which would be handed over too."""
    item_id, _ = _with_a_dwolla_token(blocking, lives=1, handoff="due")

    def send(sent: ProcessorToken) -> str:
        while not sent.expired:
            time.sleep(0.05)
        assert blocking.blocking.refresh(item_id=item_id).issued == ()
        return "fs1"

    (done,) = blocking.hand_over(item_id, send, partner="dwolla")
    assert (done.state, done.reference) == ("done", "fs1")


def test_what_comes_after_an_erasure_is_not_due(blocking: Desk) -> None:
    """Another worker removes and erases the Item while its token is sent, in vain."""
    item_id = blocking.link("dwolla", account_id=None)

    def send(_token: ProcessorToken) -> str:
        blocking.blocking.remove(item_id=item_id)
        blocking.store.erase(item_id)
        raise HandoffError("dwolla is down", partner="dwolla", advice="Call again.")

    with pytest.raises(HandoffError):
        blocking.hand_over(item_id, send, partner="dwolla")
    assert list(blocking.store.links(handoff="due")) == []


def test_a_token_that_comes_after_the_removal_is_not_due(blocking: Desk) -> None:
    """Another call removes the Item while its tokens are made."""
    token = blocking.blocking.create_link_token(
        "layer", client_user_id="user-42", client_name="Acme"
    )
    done = blocking.plaid.complete_link(token.link_token, masks=["0000", "1111"])
    items: list[str] = []

    def remove(_token: ProcessorToken) -> None:
        if len(items) == 1:
            items.append("removed")
            blocking.blocking.remove(item_id=items[0])

    with suppress(LinkIncompleteError):
        blocking.blocking.link(
            "layer",
            public_token=done.public_token,
            metadata=done.metadata,
            client_user_id="user-42",
            on_exchange=lambda item: items.append(str(item.item_id)),
            on_token=remove,
        )
    link = blocking.store.find(items[0])
    assert link is not None
    assert link.state == "removed"
    assert {each.state for each in link.handoffs} == {"refused"}
    assert list(blocking.store.links(handoff="due")) == []


# --- wrong use


def test_what_does_not_fit_is_refused_before_anything_is_asked(
    desk: Desk, finix: WatchedFinix, layer: LocalLayer
) -> None:
    """Each says what to do."""
    item_id, sender, books = desk.link(), desk.sender(finix), desk.sender(layer)
    live = desk.sender(finix, environment="production")
    given: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (sender, {}, ConfigurationError, "identity="),
        (books, {}, ConfigurationError, "business_id="),
        (books, {"identity": "ID1"}, ConfigurationError, "business_id="),
        (sender, {"identity": "ID1", "business_id": "b"}, ConfigurationError, "no other"),
        (sender, {"identity": ""}, ConfigurationError, "identity"),
        (sender, {"identity": "ID1", "partner": "layer"}, ConfigurationError, "partner="),
        (sender, {"identity": "ID1", "again": "no"}, TypeError, "again"),
        (sender, {"identity": "ID1", "gone": "a"}, ConfigurationError, "gone="),
        (sender, {"identity": "ID1", "account_id": "a"}, ConfigurationError, "account_id"),
        (live, {"identity": "ID1"}, ConfigurationError, "production"),
        (books, {"business_id": "b"}, ConfigurationError, r"issue\('layer', item_id="),
        (print, {}, ConfigurationError, "partner="),
        (print, {"partner": "finix", "identity": "ID1"}, ConfigurationError, "identity="),
        ("finix", {"partner": "finix"}, TypeError, "sender"),
        (None, {}, TypeError, "sender"),
    ]
    for hands, options, error, words in given:
        with pytest.raises(error, match=words):
            desk.hand_over(item_id, hands, **options)
    with pytest.raises(ItemNotStoredError):
        desk.hand_over("item-x", sender, identity="ID1")
    assert (finix.requests, layer.requests) == ((), ())
    assert desk.stored(item_id).state == "due"


def test_a_token_that_is_missing_is_refused_with_the_call_that_makes_it(
    blocking: Desk, local_plaid: LocalSandbox, finix: WatchedFinix
) -> None:
    """The call that the error names is one that there is."""
    local_plaid.fail("/processor/token/create", error_code="INVALID_FIELD")
    with pytest.raises(LinkIncompleteError) as caught:
        blocking.link()
    local_plaid.clear_faults()
    item_id, sender = str(caught.value.result.item_id), blocking.sender(finix)
    with pytest.raises(ConfigurationError, match=r"refresh\(item_id=…\) first"):
        blocking.hand_over(item_id, sender, identity=finix.new_identity())
    blocking.blocking.refresh(item_id=item_id)
    assert blocking.hand_over(item_id, sender, identity=finix.new_identity())[0].state == "done"


def test_a_coroutine_function_needs_the_async_linker(blocking: Desk) -> None:
    async def send(_token: object) -> None: ...

    with pytest.raises(TypeError, match="AsyncProcessorLinker"):
        blocking.hand_over(blocking.link(), send, partner="finix")


def test_without_a_store(local_plaid: LocalSandbox) -> None:
    """The error says how to get one."""
    with (
        ProcessorLinker(local_plaid.client()) as linker,
        pytest.raises(ConfigurationError, match="store="),
    ):
        linker.hand_over("item", print, partner="finix")


def test_an_item_that_was_removed(blocking: Desk, finix: WatchedFinix) -> None:
    """Its tokens are void; so they are once it is erased."""
    item_id, sender = blocking.link(), blocking.sender(finix)
    blocking.blocking.remove(item_id=item_id)
    for _ in range(2):
        with pytest.raises(HandoffRefusedError, match="removed"):
            blocking.hand_over(item_id, sender, identity=finix.new_identity())
        blocking.store.erase(item_id)
    assert finix.requests == ()


def test_one_of_several_accounts(blocking: Desk, finix: WatchedFinix) -> None:
    """Finix takes one account at a time: it has to be named."""
    item_id, identity = blocking.link(), finix.new_identity()
    known = blocking.store.find(item_id).result.token("finix").account
    linker = blocking.blocking
    other = next(
        each
        for each in linker.accounts(item_id=item_id)
        if each.subtype == "savings" and each.account_id != known.account_id
    )
    linker.issue("finix", item_id=item_id, account_id=other.account_id)
    sender = blocking.sender(finix)
    with pytest.raises(ConfigurationError, match="account_id="):
        blocking.hand_over(item_id, sender, identity=identity)
    (done,) = blocking.hand_over(item_id, sender, identity=identity, account_id=other.account_id)
    assert (done.account_id, done.state) == (other.account_id, "done")
    assert sorted(states_of(blocking, item_id)) == ["done", "due"]


def test_no_secret_is_stored_in_clear(blocking: Desk, finix: WatchedFinix) -> None:
    """What Finix echoes is masked in the record's error."""
    item_id, sender = blocking.link(), blocking.sender(finix)
    token = blocking.store.find(item_id).result.token("finix").processor_token
    secrets = [token, finix.password]
    error = {"code": "INVALID_FIELD", "message": " ".join(secrets)}
    finix.fail(POST, status=422, json={"_embedded": {"errors": [error]}})
    with pytest.raises(PartnerApiError):
        blocking.hand_over(item_id, sender, identity=finix.new_identity())
    left = blocking.stored(item_id)
    assert "INVALID_FIELD" in str(left.error)
    assert [secret for secret in secrets if secret in str(left)] == []
