"""Links over a store: what is kept at each step, whatever comes between."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from plaid_processors import (
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    ConfigurationError,
    DuplicateItemError,
    LinkChanges,
    LinkedItem,
    LinkIncompleteError,
    LinkInProgressError,
    LinkResult,
    PlaidApiError,
    PlaidConnectionError,
    ProcessorLinker,
    ProcessorToken,
    PublicTokenError,
    StoreConflictError,
    StoreError,
    unfinished,
)
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import (
    HandoffState,
    Lease,
    LinkRecord,
    LinkState,
    MemoryStore,
    StoredLink,
)

from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    REMOVE,
    FaultyPlaid,
    account,
    close,
    refusal,
    reply,
)
from .support.rows import rows

CHECKING = {"id": "a-checking", "type": "depository", "subtype": "checking", "name": "Plaid"}
CARD = {"id": "a-card", "type": "credit", "subtype": "credit card", "name": "Plaid card"}
METADATA: dict[str, Any] = {
    "accounts": [CHECKING, CARD],
    "institution": {"institution_id": "ins_109508", "name": "First Platypus Bank"},
    "link_session_id": "session-1",
}
GIVEN: dict[str, Any] = {
    "public_token": PUBLIC_TOKEN,
    "metadata": METADATA,
    "client_user_id": "user-42",
}


class TryingStore(MemoryStore):
    """A store in which a test comes between: called before each save, with its number."""

    def __init__(self) -> None:
        super().__init__()
        self.before_save: Callable[[int], object] = lambda _number: None
        self._numbers = itertools.count(1)

    def save(self, record: LinkRecord) -> LinkRecord | None:
        self.before_save(next(self._numbers))
        return super().save(record)

    def count_from_now(self) -> None:
        self._numbers = itertools.count(1)


@pytest.fixture
def store() -> TryingStore:
    return TryingStore()


@pytest.fixture
def make(make_client: Callable[..., Any], store: TryingStore) -> Callable[..., ProcessorLinker]:
    """Makes linkers of the faulty server that share the store."""
    return lambda **options: ProcessorLinker(make_client(**options), store=store)


@pytest.fixture
def linker(make: Callable[..., ProcessorLinker]) -> ProcessorLinker:
    return make()


def only(store: MemoryStore) -> StoredLink:
    """The only link in the store."""
    (link,) = store.links()
    return link


def failing(*numbers: int) -> Callable[[int], None]:
    """Let these saves fail, as a database that is down does."""

    def before_save(number: int) -> None:
        if number in numbers:
            raise OSError("the database is down")

    return before_save


# --- what is stored when


def test_each_step_is_stored_before_the_next(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """The attempt before the exchange, the Item before `on_exchange`, a token before `on_token`."""
    steps: list[tuple[str, object]] = []

    def at_exchange(_connection: object, _request: object) -> None:
        link = only(store)
        steps.append(("exchange", (link.state, link.client_user_id, link.result)))

    def on_exchange(item: LinkedItem) -> None:
        link = store.find(item.item_id or "")
        assert link is not None
        assert link.result is not None
        steps.append(("item", (link.state, link.result.access_token)))

    def on_token(token: ProcessorToken) -> None:
        link = only(store)
        assert link.result is not None
        assert token in link.result.processor_tokens
        steps.append(("token", [each.state for each in link.handoffs]))

    usual = faulty._usual[EXCHANGE]
    faulty.on(EXCHANGE, lambda *given: (at_exchange(*given), usual(*given))[1])
    result = linker.link("layer", **GIVEN, on_exchange=on_exchange, on_token=on_token)
    assert steps == [
        ("exchange", ("started", "user-42", None)),
        ("item", ("linked", ACCESS_TOKEN)),
        ("token", ["due"]),
        ("token", ["due", "due"]),
    ]
    link = only(store)
    assert (link.state, link.result) == ("complete", result)
    assert (link.item_id, link.institution_id) == ("item-1", "ins_109508")
    assert link.client_id == linker.client.client_id
    assert link.environment == "sandbox"
    assert PUBLIC_TOKEN not in str(store._records)


def test_a_link_with_a_store_needs_no_callback(
    linker: ProcessorLinker, caplog: pytest.LogCaptureFixture
) -> None:
    """So nothing warns that it has none."""
    linker.link("layer", **GIVEN)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@rows("call", ["link", "link_sandbox"])
@rows(("user", "error"), [(None, ConfigurationError), (" ", ConfigurationError), (42, TypeError)])
def test_a_store_needs_the_users_id(
    faulty: FaultyPlaid,
    linker: ProcessorLinker,
    call: str,
    user: Any,
    error: type[Exception],
) -> None:
    """It is refused before any request."""
    given = {"public_token": PUBLIC_TOKEN} if call == "link" else {}
    with pytest.raises(error, match="client_user_id"):
        getattr(linker, call)("layer", client_user_id=user, **given)
    assert faulty.paths == []


def test_a_store_is_one(make_client: Callable[..., Any]) -> None:
    """What lacks its methods is refused."""
    for wrong in (object(), "sqlite:///links.db", dict[str, str]()):
        with pytest.raises(TypeError, match="store must be a LinkStore"):
            ProcessorLinker(make_client(), store=wrong)  # type: ignore[arg-type]


def test_other_limits_keep_the_store(linker: ProcessorLinker, store: TryingStore) -> None:
    """`with_options` works on the same store."""
    linker.with_options(deadline=5).link("layer", **GIVEN)
    assert only(store).state is LinkState.COMPLETE
    assert linker.with_options(timeout=1).store is store


# --- the same public token again


def test_the_same_public_token_gives_the_same_result(
    faulty: FaultyPlaid, linker: ProcessorLinker
) -> None:
    """A double click is answered by the store."""
    first = linker.link("layer", **GIVEN)
    asked = list(faulty.paths)
    assert linker.link("layer", **GIVEN) == first
    assert faulty.paths == asked


def test_partners_that_can_be_read_once(linker: ProcessorLinker) -> None:
    """As the first `link` takes an iterator, the second does."""
    first, second = (linker.link((each for each in ("layer",)), **GIVEN) for _ in range(2))
    assert first == second


def test_a_second_click_is_no_duplicate_of_the_first(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """The user's earlier links, as the store has them, have what the first click made."""

    def click(public_token: str) -> LinkResult:
        links = store.links(client_user_id="user-42")
        earlier = [each.result for each in links if each.result is not None]
        return linker.link("layer", **{**GIVEN, "public_token": public_token}, earlier=earlier)

    assert click(PUBLIC_TOKEN) == click(PUBLIC_TOKEN)
    with pytest.raises(DuplicateItemError):
        click(PUBLIC_TOKEN[:-1] + "0")
    assert faulty.paths.count(EXCHANGE) == 1


def test_a_second_link_may_choose_the_account(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """The first could not: now the user was asked, and the page posts the public token again."""
    faulty.on(ACCOUNTS, reply({"accounts": [account("a"), account("b")], "request_id": "r"}))
    given = {"public_token": PUBLIC_TOKEN, "client_user_id": "user-42"}
    with pytest.raises(LinkIncompleteError):
        linker.link("finix", **given)
    with pytest.raises(AccountSelectionError):
        linker.link("finix", **given)
    result = linker.link("finix", **given, account_id="b")
    assert result.token("finix").account.account_id == "b"
    assert only(store).result == result
    assert linker.link("finix", **given) == result
    assert faulty.paths.count(EXCHANGE) == 1


def test_many_at_once_make_one_item(
    faulty: FaultyPlaid, make: Callable[..., ProcessorLinker]
) -> None:
    """From threads and from an event loop, over several clients."""
    linkers = [make() for _ in range(4)]

    async def awaited() -> list[Any]:
        both = [AsyncProcessorLinker(each.client, store=each.store) for each in linkers]
        return await asyncio.gather(*(each.link("layer", **GIVEN) for each in both))

    with ThreadPoolExecutor(9) as pool:
        by_threads = [pool.submit(each.link, "layer", **GIVEN) for each in 2 * linkers]
        by_loop = pool.submit(asyncio.run, awaited())
        results = [each.result() for each in by_threads] + by_loop.result()
    assert faulty.paths.count(EXCHANGE) == 1
    assert len(set(results)) == 1


def test_another_waits_until_its_deadline(
    faulty: FaultyPlaid, make: Callable[..., ProcessorLinker]
) -> None:
    """Then it is told when to come again."""
    begun, go_on = threading.Event(), threading.Event()

    def on_exchange(_item: LinkedItem) -> None:
        begun.set()
        go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(make().link, "layer", **GIVEN, on_exchange=on_exchange)
        assert begun.wait(30)
        with pytest.raises(LinkInProgressError) as caught:
            make(deadline=0.3).link("layer", **GIVEN)
        assert caught.value.retry_after > 0
        go_on.set()
        first.result()
    assert faulty.paths.count(EXCHANGE) == 1


def test_another_users_public_token_is_refused(
    faulty: FaultyPlaid, linker: ProcessorLinker
) -> None:
    """Nor does it give another user's result away."""
    linker.link("layer", **GIVEN)
    asked = list(faulty.paths)
    with pytest.raises(StoreConflictError, match="another client_user_id"):
        linker.link("layer", **{**GIVEN, "client_user_id": "user-43"})
    with pytest.raises(StoreConflictError, match=r"finix call issue\(…, item_id=…\)"):
        linker.link("finix", **GIVEN, account_id="a-checking")
    assert faulty.paths == asked


def test_another_account_of_the_same_public_token_is_refused(
    faulty: FaultyPlaid, linker: ProcessorLinker
) -> None:
    """It would get the token of the first."""
    savings = {**CHECKING, "id": "a-savings", "subtype": "savings"}
    given: dict[str, Any] = {**GIVEN, "metadata": {**METADATA, "accounts": [CHECKING, savings]}}
    first = linker.link("finix", **given, account_id="a-checking")
    asked = list(faulty.paths)
    with pytest.raises(StoreConflictError, match="another account"):
        linker.link("finix", **given, account_id="a-savings")
    assert linker.link("finix", **given, account_id="a-checking") == first
    assert faulty.paths == asked


@rows("text", ["a\0b", "a\ud800", "a\nb"])
def test_a_text_that_no_database_takes_is_refused(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore, text: str
) -> None:
    """Before any request, and in all stores alike."""
    calls: list[Callable[[], object]] = [
        lambda: linker.link("layer", **{**GIVEN, "client_user_id": text}),
        lambda: linker.refresh(item_id=text),
        lambda: store.adopt(access_token=ACCESS_TOKEN, client_user_id=text, item_id="item-1"),
        lambda: store.adopt(access_token=ACCESS_TOKEN, client_user_id="u", item_id=text),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match="character"):
            call()
    assert faulty.paths == []


def test_a_store_of_coroutine_functions_is_refused(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore, monkeypatch: Any
) -> None:
    """Their answers would count as a yes."""

    async def lease(_lease: Lease) -> bool:
        return False

    monkeypatch.setattr(store, "lease", lease)
    with pytest.raises(StoreError, match="TypeError"):
        linker.link("layer", **GIVEN)
    assert faulty.paths == []


def test_what_the_first_could_not_do_the_second_does(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """It asks for the missing tokens alone."""
    usual = faulty._usual[CREATE]
    faulty.on(CREATE, refusal("API_ERROR", "INTERNAL_SERVER_ERROR", status=500), usual)
    with pytest.raises(LinkIncompleteError):
        linker.link("layer", **GIVEN)
    assert only(store).state is LinkState.LINKED
    assert linker.link("layer", **GIVEN).complete
    assert only(store).state is LinkState.COMPLETE
    assert (faulty.paths.count(EXCHANGE), faulty.paths.count(CREATE)) == (1, 3)


# --- when the exchange fails


def test_a_refused_exchange_leaves_no_item_and_no_token(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """The public token is wiped, and can be tried again."""
    faulty.on(EXCHANGE, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN"), faulty._usual[EXCHANGE])
    with pytest.raises(PublicTokenError) as caught:
        linker.link("layer", **GIVEN)
    assert not caught.value.outcome_unknown
    link = only(store)
    assert (link.state, link.item_id) == ("removed", None)
    assert "INVALID_PUBLIC_TOKEN" in str(link.reason)
    assert linker.link("layer", **GIVEN).complete
    assert only(store).state is LinkState.COMPLETE


def test_an_exchange_without_an_answer_is_unknown(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """And stays so where Plaid calls the token spent afterwards: it says what to ask Plaid."""
    faulty.on(EXCHANGE, close, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN"))
    with pytest.raises(PlaidConnectionError):
        linker.link("layer", **GIVEN)
    assert only(store).state is LinkState.UNKNOWN
    with pytest.raises(PublicTokenError) as caught:
        linker.link("layer", **GIVEN)
    assert caught.value.outcome_unknown
    assert caught.value.support is not None
    link = only(store)
    assert link.state is LinkState.UNKNOWN
    assert "ask Plaid's support" in str(link.reason)
    assert "session-1" in str(link.reason)
    assert PUBLIC_TOKEN not in str(link.reason)


# --- when the store fails


def test_a_store_that_fails_first_stops_the_link(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore, monkeypatch: Any
) -> None:
    """Nothing is sent."""

    def down(*_: object) -> None:
        raise OSError("the database is down")

    for name in ("lease", "get", "add"):
        with monkeypatch.context() as patch:
            patch.setattr(store, name, down)
            with pytest.raises(StoreError) as caught:
                linker.link("layer", **GIVEN)
        assert isinstance(caught.value.__cause__, OSError)
    assert faulty.paths == []


def test_a_lease_whose_answer_was_lost_holds_nobody_up(
    linker: ProcessorLinker, store: TryingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store took it and then failed: the same public token can be posted again at once."""

    def lease(lease: Lease) -> bool:
        MemoryStore.lease(store, lease)
        raise OSError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(store, "lease", lease)
        with pytest.raises(StoreError):
            linker.link("layer", **GIVEN)
    assert linker.with_options(deadline=5).link("layer", **GIVEN).complete


@rows(
    ("numbers", "state", "tokens"),
    [((1,), "linked", 0), ((2,), "complete", 2), ((2, 3), "complete", 2), ((4,), "complete", 2)],
)
def test_a_store_that_fails_later_leaves_the_item_in_the_error(
    make: Callable[..., ProcessorLinker],
    monkeypatch: pytest.MonkeyPatch,
    numbers: tuple[int, ...],
    state: str,
    tokens: int,
) -> None:
    """At the Item, at a token and at the end; the error's result has it all."""
    store = TryingStore()
    linker = ProcessorLinker(make().client, store=store)
    store.before_save = failing(*numbers)
    with pytest.raises(LinkIncompleteError) as caught:
        linker.link("layer", **GIVEN)
    assert isinstance(caught.value.__cause__, StoreError)
    assert "callback" not in str(caught.value)
    result = caught.value.result
    assert (result.access_token, len(result.processor_tokens)) == (ACCESS_TOKEN, tokens)
    # It was tried once more at the end.
    link = only(store)
    assert (link.state, link.result) == (state, result)
    assert linker.resume(result).complete
    assert only(store).state is LinkState.COMPLETE


def test_a_store_that_is_down_for_good_leaves_the_item_in_the_error(
    linker: ProcessorLinker, store: TryingStore
) -> None:
    """The error says that the store could not be told."""
    store.before_save = failing(*range(1, 100))
    with pytest.raises(LinkIncompleteError) as caught:
        linker.link("layer", **GIVEN)
    assert caught.value.result.access_token == ACCESS_TOKEN
    assert only(store).state is LinkState.STARTED
    notes = caught.value.__cause__.__notes__  # type: ignore[union-attr]
    assert "The store could not be told" in " ".join(notes)
    store.before_save = lambda _number: None
    result = caught.value.result
    given: dict[str, str] = {
        "access_token": result.access_token,
        "item_id": result.item_id or "",
        "public_token": PUBLIC_TOKEN,
    }
    with pytest.raises(StoreConflictError):
        store.adopt(client_user_id="user-43", **given)
    adopted = store.adopt(client_user_id="user-42", **given)
    assert only(store) == adopted
    assert linker.resume(result).complete
    assert only(store).state is LinkState.COMPLETE
    assert linker.link("layer", **GIVEN).access_token == ACCESS_TOKEN


# --- interruptions


def test_an_interrupted_link_goes_on(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """The Item is in the store and in `unfinished`."""

    def interrupt(_item: LinkedItem) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link("layer", **GIVEN, on_exchange=interrupt)
    result = unfinished(caught.value)
    assert result is not None
    assert only(store).result == result
    assert linker.resume(result).complete
    assert only(store).state is LinkState.COMPLETE
    assert faulty.paths.count(EXCHANGE) == 1


def test_ctrl_c_inside_the_store_does_not_lose_the_item(
    linker: ProcessorLinker, store: TryingStore
) -> None:
    """It is stored once more before the interruption goes on."""

    def before_save(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    store.before_save = before_save
    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link("layer", **GIVEN)
    assert unfinished(caught.value) is not None
    link = only(store)
    assert link.result is not None
    assert link.result.access_token == ACCESS_TOKEN


def test_a_cancellation_waits_for_the_store(
    make_client: Callable[..., Any], faulty: FaultyPlaid, store: TryingStore
) -> None:
    """A cancelled task leaves the Item stored, and asks for no token."""

    async def main() -> None:
        linker = AsyncProcessorLinker(make_client(), store=store)
        loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def before_save(_number: int) -> None:
            loop.call_soon_threadsafe(begun.set)
            go_on.wait(30)

        store.before_save = before_save
        task = asyncio.create_task(linker.link("layer", **GIVEN))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert unfinished(caught.value) is not None

    asyncio.run(main())
    assert only(store).item_id == "item-1"
    assert CREATE not in faulty.paths


@rows("moment", ["save", "release"])
def test_a_cancellation_at_the_very_end(
    make_client: Callable[..., Any], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes out as itself, with all that was achieved."""
    store = TryingStore()

    async def main() -> None:
        linker = AsyncProcessorLinker(make_client(), store=store)
        task = asyncio.create_task(linker.link("layer", **GIVEN))
        loop = asyncio.get_running_loop()
        usual: Callable[[Any], Any] = getattr(MemoryStore, moment).__get__(store)

        def cancel_meanwhile(given: Any) -> Any:
            if moment == "release" or (given.state == "complete" and not given.under_way):
                loop.call_soon_threadsafe(task.cancel)
                time.sleep(0.1)
            return usual(given)

        monkeypatch.setattr(store, moment, cancel_meanwhile)
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        result = unfinished(caught.value)
        assert result is not None
        assert result == only(store).result
        assert result.complete

    asyncio.run(main())
    assert only(store).state is LinkState.COMPLETE


def test_a_slow_store_holds_no_event_loop(
    make_client: Callable[..., Any], local_plaid: LocalSandbox
) -> None:
    """Two links are in the store at the same moment, or this ends by its time-out."""
    store = TryingStore()
    both = threading.Barrier(2, timeout=30)

    async def main() -> None:
        async with AsyncProcessorLinker(local_plaid.client(), store=store) as linker:
            first = linker.link_sandbox("layer", client_user_id="one")
            second = linker.link_sandbox("layer", client_user_id="two")

            def before_save(number: int) -> None:
                if number <= 2:
                    both.wait()

            store.before_save = before_save
            await asyncio.gather(first, second)

    asyncio.run(main())
    assert [each.state for each in store.links()] == ["complete", "complete"]


# --- the other calls


@pytest.fixture
def stored(local_plaid: LocalSandbox) -> Iterator[tuple[ProcessorLinker, MemoryStore]]:
    """A linker of the local Plaid, and its store."""
    store = MemoryStore()
    with ProcessorLinker(local_plaid.client(), store=store) as linker:
        yield linker, store


def found(store: MemoryStore, item_id: str | None) -> StoredLink:
    link = store.find(item_id or "")
    assert link is not None
    return link


def test_a_store_that_fails_after_the_removal_says_so(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """Called again, it is stored too."""
    item_id = linker.link("layer", **GIVEN).item_id
    store.count_from_now()
    store.before_save = failing(1)
    with pytest.raises(StoreError) as caught:
        linker.remove(item_id=item_id)
    assert "removed the Item" in caught.value.__notes__[0]
    assert only(store).state is LinkState.COMPLETE
    faulty.on(REMOVE, refusal("ITEM_ERROR", "ITEM_NOT_FOUND"))
    assert not linker.remove(item_id=item_id)
    assert only(store).state is LinkState.REMOVED


def test_calls_by_the_items_id(
    stored: tuple[ProcessorLinker, MemoryStore], local_plaid: LocalSandbox
) -> None:
    """No access token is passed, and each keeps the store true."""
    linker, store = stored
    first = linker.link_sandbox("layer", client_user_id="user-42")
    item_id = first.item_id or ""
    assert {each.account_id for each in linker.accounts(item_id=item_id)} >= {
        each.account.account_id for each in first.processor_tokens
    }
    assert linker.status(item_id=item_id).healthy
    token = linker.create_link_token(
        "layer", client_user_id="user-42", client_name="Acme", item_id=item_id
    )
    assert token.link_token
    account_id = next(
        each.account.account_id
        for each in first.processor_tokens
        if each.account.subtype == "checking"
    )
    added = linker.issue("finix", item_id=item_id, account_id=account_id)
    assert [each.processor for each in added.processor_tokens] == ["finix"]
    assert added.institution_id == first.institution_id
    both = found(store, item_id)
    assert both.result is not None
    assert set(both.result.processor_tokens) == {*first.processor_tokens, *added.processor_tokens}
    assert {each.processor for each in both.handoffs} == {"layer", "finix"}
    assert not linker.refresh(item_id=item_id).changed
    local_plaid.new_account(next(each for each in local_plaid.items if each.item_id == item_id))
    done = local_plaid.complete_link(
        linker.create_link_token(
            "layer",
            client_user_id="user-42",
            client_name="Acme",
            item_id=item_id,
            account_selection_enabled=True,
        ).link_token
    )
    assert done.metadata is not None
    changes = linker.refresh(item_id=item_id, partner="layer")
    assert changes.result == found(store, item_id).result
    assert linker.remove(item_id=item_id, reason_code="OTHER") is True
    gone = found(store, item_id)
    assert (gone.state, gone.reason) == ("removed", "OTHER")
    assert linker.remove(item_id=item_id) is False
    store.erase(item_id)
    assert linker.remove(item_id=item_id) is False


def test_refresh_stores_what_went_and_what_came(
    stored: tuple[ProcessorLinker, MemoryStore], local_plaid: LocalSandbox
) -> None:
    """The store has the result of `refresh`; an Item that is gone is removed there too."""
    linker, store = stored
    result = linker.link_sandbox("layer", client_user_id="user-42")
    item = next(each for each in local_plaid.items if each.item_id == result.item_id)
    local_plaid.close_account(item, result.processor_tokens[0].account.account_id)
    changes = linker.refresh(item_id=result.item_id)
    assert len(changes.removed) == 1
    link = found(store, result.item_id)
    assert link.result == changes.result
    due = len(changes.result.processor_tokens)
    assert [each.state for each in link.handoffs].count(HandoffState.DUE) == due
    again = linker.refresh(changes.result, reissue=True)
    link = found(store, result.item_id)
    assert link.result == again.result
    (went,) = {each.fingerprint: each for each in link.handoffs}.keys() - {
        each.fingerprint for each in again.issued
    }
    assert went == result.processor_tokens[0].fingerprint
    (way,) = (each for each in link.handoffs if each.fingerprint == went)
    assert (way.state, way.error) == ("refused", "the account is not in the Item any more")
    with ProcessorLinker(local_plaid.client()) as other:  # by another program
        other.remove(result.access_token)
    assert linker.refresh(item_id=result.item_id).status.error is not None
    assert found(store, result.item_id).state is LinkState.REMOVED


@rows("awaits", [False, True])
def test_a_refresh_waits_for_the_link(
    stored: tuple[ProcessorLinker, MemoryStore], local_plaid: LocalSandbox, awaits: bool
) -> None:
    """A webhook may come right after the exchange: no token is made twice."""
    linker, store = stored
    local_plaid.clear_requests()

    def refresh(item_id: str) -> LinkChanges:
        if not awaits:
            return linker.refresh(item_id=item_id)
        other = AsyncProcessorLinker(linker.client, store=store)
        return asyncio.run(other.refresh(item_id=item_id))

    def on_exchange(item: LinkedItem) -> None:
        futures.append(pool.submit(refresh, str(item.item_id)))
        with pytest.raises(LinkInProgressError):  # it is the link's turn, which this call is in
            linker.with_options(deadline=0.1).refresh(item_id=item.item_id)

    futures: list[Future[LinkChanges]] = []
    with ThreadPoolExecutor(1) as pool:
        result = linker.link_sandbox("layer", client_user_id="user-42", on_exchange=on_exchange)
        (refreshed,) = futures
        assert refreshed.result().issued == ()
    made = [each for each in local_plaid.requests if each.path == CREATE]
    assert len(made) == len(result.processor_tokens) == 14


def test_a_refresh_after_an_interrupted_link_goes_on(
    stored: tuple[ProcessorLinker, MemoryStore],
) -> None:
    """Nobody is at work on it any more, though it is not through."""
    linker, store = stored

    def interrupt(_item: LinkedItem) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link_sandbox("layer", client_user_id="user-42", on_exchange=interrupt)
    kept = unfinished(caught.value)
    assert kept is not None
    assert kept.item_id is not None
    assert len(linker.refresh(item_id=kept.item_id).issued) == 14
    assert found(store, kept.item_id).state is LinkState.COMPLETE


def test_an_issue_that_fails_leaves_the_link_as_it_was(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """Neither Plaid's refusal nor a rule's leaves something to ask for."""
    result = linker.link("layer", **GIVEN)
    faulty.on(CREATE, refusal("INVALID_REQUEST", "INVALID_FIELD"))
    with pytest.raises(PlaidApiError):
        linker.issue("finix", item_id="item-1", account_id="a-checking")
    with pytest.raises(AccountSelectionError):
        linker.issue("finix", item_id="item-1", account_id="a-card")
    with pytest.raises(AccountSelectionError):
        linker.issue("finix", item_id="item-1", accounts=[Account.from_mapping(CARD)])
    assert (only(store).state, only(store).result) == ("complete", result)


def test_an_issue_that_fails_leaves_what_was_pending(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """Also if it was for the same partner."""
    faulty.on(CREATE, refusal("INVALID_REQUEST", "INVALID_FIELD"))
    with pytest.raises(LinkIncompleteError):
        linker.link("layer", **GIVEN)
    before = only(store)
    with pytest.raises(PlaidApiError):
        linker.issue("layer", item_id="item-1", account_id="a-checking")
    assert before.state == only(store).state == "linked"
    assert before.result == only(store).result


def test_an_issue_that_is_interrupted_can_be_gone_on_with(
    linker: ProcessorLinker, store: TryingStore
) -> None:
    """The store knows what was asked for."""
    linker.link("layer", **GIVEN)

    def interrupt(_token: ProcessorToken) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linker.issue("finix", item_id="item-1", account_id="a-checking", on_token=interrupt)
    link = only(store)
    assert link.result is not None
    assert link.result.token("finix")


def test_two_calls_change_one_link_at_the_same_moment(
    make: Callable[..., ProcessorLinker], store: TryingStore
) -> None:
    """Neither loses what the other has stored."""
    linker, other = make(), make()
    linker.link("layer", **GIVEN)
    store.count_from_now()

    def before_save(number: int) -> None:
        if number == 2:  # the first call has read the link, and is about to save
            other.issue("dwolla", item_id="item-1", account_id="a-checking")

    store.before_save = before_save
    linker.issue("finix", item_id="item-1", account_id="a-checking")
    link = only(store)
    assert link.result is not None
    assert {each.processor for each in link.result.processor_tokens} == {
        "layer",
        "finix",
        "dwolla",
    }
    assert len(link.handoffs) == 4
    assert link.state is LinkState.COMPLETE


def test_an_item_that_the_store_does_not_have(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """By its access token the calls work as without a store; by its id they say what is wrong."""
    assert linker.issue("layer", access_token=ACCESS_TOKEN).complete
    assert linker.remove(ACCESS_TOKEN)
    assert list(store.links()) == []
    asked = list(faulty.paths)
    calls: list[Callable[[], object]] = [
        lambda: linker.accounts(item_id="item-9"),
        lambda: linker.status(item_id="item-9"),
        lambda: linker.refresh(item_id="item-9"),
        lambda: linker.remove(item_id="item-9"),
        lambda: linker.issue("layer", item_id="item-9"),
    ]
    for call in calls:
        with pytest.raises(LookupError, match="item-9"):
            call()
    assert faulty.paths == asked
    assert REMOVE in asked
    assert ACCOUNTS in asked


def test_an_access_token_of_another_item(
    faulty: FaultyPlaid, linker: ProcessorLinker, store: TryingStore
) -> None:
    """It is refused before any request."""
    linker.link("layer", **GIVEN)
    asked = list(faulty.paths)
    with pytest.raises(ConfigurationError, match="another Item"):
        linker.issue("finix", access_token=ACCESS_TOKEN, item_id="item-9", account_id="a-checking")
    assert faulty.paths == asked


def test_an_items_id_needs_a_store(
    faulty: FaultyPlaid, make_linker: Callable[..., ProcessorLinker]
) -> None:
    """Without one, or with neither or both, the calls say so."""
    linker = make_linker()
    calls: list[Callable[[], object]] = [
        lambda: linker.accounts(item_id="item-1"),
        lambda: linker.accounts(),
        lambda: linker.accounts(ACCESS_TOKEN, item_id="item-1"),
        lambda: linker.status(item_id="item-1"),
        lambda: linker.refresh(item_id="item-1"),
        lambda: linker.refresh(),
        lambda: linker.remove(item_id="item-1"),
        lambda: linker.remove(),
        lambda: linker.issue("layer", item_id="item-1"),
        lambda: linker.issue("layer"),
        lambda: linker.create_link_token(
            "layer", client_user_id="u", client_name="Acme", item_id="item-1"
        ),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=r"store|not both"):
            call()
    assert faulty.paths == []


def test_the_items_of_a_session_are_stored(
    stored: tuple[ProcessorLinker, MemoryStore], local_plaid: LocalSandbox
) -> None:
    """Called twice, it gives the same results."""
    linker, store = stored
    token = linker.create_link_token(
        "layer", client_user_id="user-42", client_name="Acme", hosted_link={}
    )
    local_plaid.complete_link(token.link_token, masks=["0000"])
    results = linker.link_session("layer", token.link_token, client_user_id="user-42")
    assert [each.result for each in store.links()] == list(results)
    assert linker.link_session("layer", token.link_token, client_user_id="user-42") == results


class _LostStore(MemoryStore):
    """Ctrl-C strikes as a lease is given back, and breaks what the store stands on."""

    struck = False

    def release(self, lease: Lease) -> None:
        if self.struck:
            raise StoreError("the database is gone")
        self.struck = True
        raise KeyboardInterrupt


def test_ctrl_c_comes_out_though_the_store_fails(make_client: Callable[..., Any]) -> None:
    """As itself: what the store says then is of no use any more."""
    linker = ProcessorLinker(make_client(), store=_LostStore())
    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link("layer", **GIVEN)
    assert unfinished(caught.value) is not None
