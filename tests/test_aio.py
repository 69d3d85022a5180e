"""AsyncProcessorLinker: the same flow, awaited, and cancelled at every step."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio.events import Handle
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    LinkIncompleteError,
    LinkResult,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
    PublicTokenError,
    unfinished,
)

from .support.checks import link_account
from .support.faulty import (
    ACCESS_TOKEN,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    exchanged,
    hang,
    refusal,
)
from .support.rows import rows

MakeClient = Callable[..., PlaidClient]

CALLS: dict[str, dict[str, Any]] = {
    "create_link_token": {"partner": "layer", "client_user_id": "u-1", "client_name": "Acme"},
    "link": {
        "partner": "layer",
        "public_token": PUBLIC_TOKEN,
        "accounts": [link_account("a"), link_account("b")],
    },
    "link_sandbox": {"partner": ["layer", "finix"]},
    "issue": {"partner": "layer", "access_token": ACCESS_TOKEN},
    "resume": {},
    "status": {"access_token": ACCESS_TOKEN},
    "refresh": {},
    "accounts": {"access_token": ACCESS_TOKEN},
    "remove": {"access_token": ACCESS_TOKEN},
}


def plain(value: Any) -> Any:
    """What two results that were made at different moments have in common."""
    if not isinstance(value, LinkResult):
        return value
    told = value.to_dict()
    for entry in told["entries"]:
        entry.pop("issued_at", None)
    return told


def link_options(count: int = 2, **more: Any) -> dict[str, Any]:
    accounts = [link_account(f"a-{number}") for number in range(count)]
    return {"public_token": PUBLIC_TOKEN, "accounts": accounts, **more}


def held_until(event: threading.Event, answer: Answer, arrived: threading.Event) -> Answer:
    """Tells that the request is there, and answers when it may."""

    def wait(connection: Connection, request: Request) -> bool | None:
        arrived.set()
        event.wait(10)
        return answer(connection, request)

    return wait


def telling(arrived: threading.Event, answer: Answer) -> Answer:
    """Tells that the request is there, then answers."""
    may = threading.Event()
    may.set()
    return held_until(may, answer, arrived)


async def reached(event: threading.Event) -> None:
    """Awaits what another thread tells."""
    assert await asyncio.to_thread(event.wait, 10)


def own_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("plaid-processors")}


async def cancelled(task: asyncio.Task[Any]) -> asyncio.CancelledError:
    """The end of a task that was cancelled."""
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


@rows("name", CALLS)
def test_every_method_gives_what_the_blocking_one_gives(make_client: MakeClient, name: str) -> None:
    """The same arguments, the same result."""
    client = make_client()
    arguments = dict(CALLS[name])
    if name in ("resume", "refresh"):
        arguments["result"] = LinkResult(
            access_token=ACCESS_TOKEN,
            item_id="i",
            environment=client.environment,
            entries=ProcessorLinker(client).issue("layer", access_token=ACCESS_TOKEN).entries,
        )
    blocking = getattr(ProcessorLinker(client), name)(**arguments)
    awaited = asyncio.run(getattr(AsyncProcessorLinker(client), name)(**arguments))
    assert plain(awaited) == plain(blocking)


def test_errors_are_the_same(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """Before the exchange and after it."""
    linker = AsyncProcessorLinker(make_client())
    faulty.on(EXCHANGE, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN"), exchanged())
    with pytest.raises(PublicTokenError):
        asyncio.run(linker.link("layer", **link_options()))
    faulty.on(CREATE, refusal())
    with pytest.raises(LinkIncompleteError) as caught:
        asyncio.run(linker.link("layer", **link_options()))
    assert caught.value.result.access_token == ACCESS_TOKEN


def test_callbacks_may_be_functions_or_coroutine_functions(make_client: MakeClient) -> None:
    """Both are called; the latter are awaited before the next step."""
    linker = AsyncProcessorLinker(make_client())
    told: list[str] = []

    async def on_exchange(item: Any) -> None:
        await asyncio.sleep(0)
        told.append(item.access_token)

    async def on_token(token: Any) -> None:
        await asyncio.sleep(0)
        told.append(token.account.account_id)

    asyncio.run(linker.link("layer", **link_options(on_exchange=on_exchange, on_token=on_token)))
    assert told[0] == ACCESS_TOKEN
    assert sorted(told[1:]) == ["a-0", "a-1"]
    told.clear()
    options = link_options(
        on_exchange=lambda item: told.append(item.access_token),
        on_token=lambda token: told.append(token.account.account_id),
    )
    asyncio.run(linker.link("layer", **options))
    assert sorted(told[1:]) == ["a-0", "a-1"]


@rows("name", ["on_exchange", "on_token"])
def test_a_callback_that_raises_leaves_the_item_with_the_caller(
    make_client: MakeClient, name: str
) -> None:
    """As with the blocking linker."""

    async def fail(_value: Any) -> None:
        raise KeyError("the database is gone")

    with pytest.raises(LinkIncompleteError) as caught:
        asyncio.run(
            AsyncProcessorLinker(make_client()).link("layer", **link_options(**{name: fail}))
        )
    assert caught.value.result.access_token == ACCESS_TOKEN


@rows("name", ["on_exchange", "on_token"])
def test_the_blocking_linker_refuses_coroutine_functions(
    faulty: FaultyPlaid, make_client: MakeClient, name: str
) -> None:
    """Before anything is sent."""

    async def callback(_value: Any) -> None: ...

    class Callback:
        async def __call__(self, _value: Any) -> None: ...

    for each in (callback, Callback()):
        with pytest.raises(TypeError, match=f"{name} is a coroutine function"):
            ProcessorLinker(make_client()).link("layer", **link_options(**{name: each}))
        with pytest.raises(TypeError, match="on_event must not be a coroutine function"):
            make_client(on_event=each)
    assert faulty.requests == []


def test_cancelled_before_it_begins(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """Nothing is sent."""

    async def main() -> None:
        task = asyncio.create_task(
            AsyncProcessorLinker(make_client()).link("layer", **link_options())
        )
        task.cancel()
        assert unfinished(await cancelled(task)) is None

    asyncio.run(main())
    assert faulty.paths == []


def test_cancelled_while_the_exchange_is_under_way(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Its answer is waited for, on_exchange is told, and the access token is not lost."""
    may, there = threading.Event(), threading.Event()
    faulty.on(EXCHANGE, held_until(may, exchanged(), there))
    told: list[str] = []

    async def on_exchange(item: Any) -> None:
        await asyncio.sleep(0)
        told.append(item.access_token)

    async def main() -> None:
        linker = AsyncProcessorLinker(make_client())
        task = asyncio.create_task(linker.link("layer", **link_options(on_exchange=on_exchange)))
        await reached(there)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # again, as an impatient caller does
        await asyncio.sleep(0.02)
        assert not task.done()
        may.set()
        left = unfinished(await cancelled(task))
        assert left is not None
        assert left.access_token == ACCESS_TOKEN
        assert len(left.pending) == 2

    asyncio.run(main())
    assert told == [ACCESS_TOKEN]
    assert CREATE not in faulty.paths


def test_a_cancelled_exchange_is_waited_for_no_longer_than_timeout(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """The loop is free again even if the server never answers."""
    there = threading.Event()
    faulty.on(EXCHANGE, telling(there, hang))

    async def main() -> None:
        client = make_client(timeout=0.4)
        task = asyncio.create_task(AsyncProcessorLinker(client).link("layer", **link_options()))
        await reached(there)
        began = time.monotonic()
        task.cancel()
        assert unfinished(await cancelled(task)) is None
        assert time.monotonic() - began < 1.5

    asyncio.run(main())


def test_cancelled_during_on_exchange(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """The callback may finish what it stores."""
    told: list[str] = []

    async def main() -> None:
        inside = asyncio.Event()

        async def on_exchange(item: Any) -> None:
            inside.set()
            await asyncio.sleep(0.05)
            told.append(item.access_token)

        task = asyncio.create_task(
            AsyncProcessorLinker(make_client()).link(
                "layer", **link_options(on_exchange=on_exchange)
            )
        )
        await inside.wait()
        task.cancel()
        left = unfinished(await cancelled(task))
        assert left is not None
        assert left.access_token == ACCESS_TOKEN

    asyncio.run(main())
    assert told == [ACCESS_TOKEN]
    assert CREATE not in faulty.paths


def test_cancelled_while_tokens_come(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """At once; what came is in the result, and what was not sent yet is not sent."""
    there = threading.Event()
    faulty.on(CREATE, telling(there, hang))

    async def main() -> None:
        client = make_client(max_connections=2)
        task = asyncio.create_task(AsyncProcessorLinker(client).link("layer", **link_options(6)))
        await reached(there)
        began = time.monotonic()
        task.cancel()
        left = unfinished(await cancelled(task))
        assert time.monotonic() - began < 0.5
        assert left is not None
        assert len(left.pending) == 6

    asyncio.run(main())
    assert len(faulty.asked(CREATE)) <= 2


def test_cancelled_in_on_token(make_client: MakeClient) -> None:
    """The token that was being told is in the result."""

    async def main() -> None:
        inside = asyncio.Event()

        async def on_token(_token: Any) -> None:
            inside.set()
            await asyncio.sleep(10)

        task = asyncio.create_task(
            AsyncProcessorLinker(make_client()).link("layer", **link_options(on_token=on_token))
        )
        await inside.wait()
        task.cancel()
        left = unfinished(await cancelled(task))
        assert left is not None
        assert len(left.processor_tokens) == 1

    asyncio.run(main())


async def _within_timeout(work: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.timeout(1):
        return await work


async def _within_wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(work, 1)


async def _within_anyio(work: Coroutine[Any, Any, Any]) -> Any:
    with anyio.fail_after(1):
        return await work


@pytest.mark.slow
@rows("within", [_within_timeout, _within_wait_for, _within_anyio])
def test_a_timeout_of_asyncio_takes_the_result_along(
    faulty: FaultyPlaid, make_client: MakeClient, within: Callable[..., Awaitable[Any]]
) -> None:
    """`TimeoutError` comes out, and unfinished() finds the Item."""
    faulty.on(CREATE, hang)
    linker = AsyncProcessorLinker(make_client())
    with pytest.raises(TimeoutError) as caught:
        asyncio.run(within(linker.link("layer", **link_options())))  # type: ignore[arg-type]
    left = unfinished(caught.value)
    assert left is not None
    assert left.access_token == ACCESS_TOKEN


def test_in_a_task_group(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """One that fails cancels its siblings; none of the Items is lost."""
    there = threading.Event()
    faulty.on(CREATE, telling(there, hang))
    left: list[LinkResult | None] = []

    async def link(linker: AsyncProcessorLinker) -> None:
        try:
            await linker.link("layer", **link_options())
        except asyncio.CancelledError as error:
            left.append(unfinished(error))
            raise

    async def fail() -> None:
        await reached(there)
        raise KeyError("elsewhere")

    async def main() -> None:
        linker = AsyncProcessorLinker(make_client())
        async with asyncio.TaskGroup() as group:
            group.create_task(link(linker))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert caught.group_contains(KeyError)
    assert [each and each.access_token for each in left] == [ACCESS_TOKEN]


def test_hundreds_of_links_do_not_hold_the_loop(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No callback costs the loop's thread 20 ms of work."""
    linker = AsyncProcessorLinker(make_client(timeout=30.0))
    took: list[float] = []
    run = Handle._run

    def timed(self: Handle) -> None:
        began = time.thread_time()
        run(self)
        took.append(time.thread_time() - began)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(linker.link("layer", **link_options(1)))
                if number % 20 == 19:
                    await asyncio.sleep(0)

    monkeypatch.setattr(Handle, "_run", timed)
    asyncio.run(main())
    assert sorted(took)[-3] < 0.02  # but for two passes of the garbage collector


def test_as_a_context_manager_it_closes_its_client(make_client: MakeClient) -> None:
    """And its threads are gone."""
    before = set(threading.enumerate())
    client = make_client()

    async def main() -> None:
        async with AsyncProcessorLinker(client) as linker:
            await linker.link("layer", **link_options())
            assert own_threads() - before
        assert own_threads() <= before
        with pytest.raises(ValueError, match="closed"):
            await linker.accounts(ACCESS_TOKEN)

    asyncio.run(main())


def test_a_failed_exchange_still_ends_in_the_cancellation(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Who cancelled gets the cancellation, with the reason as its cause."""
    may, there = threading.Event(), threading.Event()
    faulty.on(EXCHANGE, held_until(may, lambda *_: False, there))

    async def main() -> None:
        task = asyncio.create_task(
            AsyncProcessorLinker(make_client(max_attempts=3)).link("layer", **link_options())
        )
        await reached(there)
        task.cancel()
        await asyncio.sleep(0)
        may.set()
        error = await cancelled(task)
        assert isinstance(error.__cause__, PlaidConnectionError)

    asyncio.run(main())
    assert len(faulty.asked(EXCHANGE)) == 1
