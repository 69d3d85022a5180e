"""What ends a link from outside, at its worst moments: the Item comes along, or its doubt does."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, sleep
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    EventKind,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    PlaidConnectionError,
    ProcessorLinker,
    ProcessorToken,
    RequestEvent,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import CREATE, EXCHANGE, PUBLIC_TOKEN, FaultyPlaid, issued, refusal
from .support.interrupting import (
    Action,
    CountingPlaid,
    Fate,
    TimeLimitError,
    at_moments,
    by_clock,
    cancelling_at_once,
    prepared,
    raising,
)

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no clock that sends signals"
)


class Stage:
    """A local Plaid, and a user who went through Link."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.plaid = stack.enter_context(LocalSandbox())
        self.told: list[LinkedItem] = []
        with ProcessorLinker(self.plaid.client()) as linker:
            token = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        self.done: Linked = self.plaid.complete_link(token.link_token, masks=["0000", "3333"])
        self.bare: dict[str, Any] = {
            "public_token": self.done.public_token,
            "metadata": self.done.metadata,
        }
        self.arguments: dict[str, Any] = {**self.bare, "on_exchange": self.told.append}

    def client(self, **options: Any) -> Any:
        return self._stack.enter_context(self.plaid.client(**options))

    def exchanges(self) -> int:
        return sum(each.path == EXCHANGE for each in self.plaid.requests)

    @property
    def access_token(self) -> str:
        return self.plaid.items[0].access_token


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)


# Many links, each interrupted by real signals


@needs_signals
@pytest.mark.parametrize("world", ["sync", "async"])
def test_one_signal_loses_nothing(world: str) -> None:
    """Single ones, spread over a link: no Item is lost, and the client works afterwards."""
    with prepared() as warned, CountingPlaid() as plaid:
        count = by_clock(plaid, warned, world, "single", links=60)
    assert count.links == 60
    assert count.kept > 30
    assert (count.silent, count.broken, count.slow) == ([], [], [])
    assert (count.warned, count.late) == (0, 0)


@needs_signals
@pytest.mark.parametrize("world", ["sync", "async"])
@pytest.mark.parametrize("how", ["double", "nested"])
def test_several_signals_lose_nothing_without_a_word(world: str, how: str) -> None:
    """A second and a third, also while the first is on its way out: what is lost is named."""
    with prepared() as warned, CountingPlaid() as plaid:
        count = by_clock(plaid, warned, world, how, links=25)
    assert count.strikes > 25
    assert (count.silent, count.broken, count.slow) == ([], [], [])


@needs_signals
@pytest.mark.parametrize(
    ("linker", "fate", "action", "step"),
    [
        (ProcessorLinker, Fate.FINE, raising(KeyboardInterrupt), 23),
        (ProcessorLinker, Fate.REFUSED, raising(KeyboardInterrupt), 11),
        (ProcessorLinker, Fate.REFUSED, raising(TimeLimitError), 29),
        (ProcessorLinker, Fate.LOST, raising(KeyboardInterrupt), 5),
        (ProcessorLinker, Fate.LOST, raising(TimeLimitError), 11),
        (AsyncProcessorLinker, Fate.FINE, cancelling_at_once, 13),
        (AsyncProcessorLinker, Fate.LOST, cancelling_at_once, 23),
    ],
    ids=[
        "fine-interrupt",
        "refused-interrupt",
        "refused-time-limit",
        "lost-interrupt",
        "lost-time-limit",
        "fine-cancel",
        "lost-cancel",
    ],
)
def test_any_moment(linker: type[Any], fate: Fate, action: Action, step: int) -> None:
    """At moments that are chosen among all at which CPython calls a signal's handler."""
    with prepared() as warned, CountingPlaid() as plaid:
        count = at_moments(plaid, warned, linker, fate, action, step=step)
    assert count.made > 3
    assert (count.silent, count.broken, count.slow) == ([], [], [])
    assert count.warned == 0
    assert warned.swallowed == []


@needs_signals
def test_two_moments() -> None:
    """The second interruption comes while the first is held back, or on its way out."""
    with prepared() as warned, CountingPlaid() as plaid:
        for fate in Fate:
            for gap in (1, 2, 5):
                count = at_moments(
                    plaid,
                    warned,
                    ProcessorLinker,
                    fate,
                    raising(KeyboardInterrupt),
                    gaps=(gap,),
                    step=83,
                )
                assert (count.silent, count.broken, count.slow) == ([], [], [])


# Single ones, at a moment that is known


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Ctrl-C, so many seconds from now."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with prepared():
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)


@needs_signals
def test_interrupted_during_the_exchange(stage: Stage) -> None:
    """The exchange under way is waited for, its Item stored, and no token is asked for."""
    stage.plaid.fail(EXCHANGE, delay=0.5)
    with pytest.raises(KeyboardInterrupt) as caught, alarm(0.2):
        ProcessorLinker(stage.client()).link("layer", **stage.arguments)
    result = unfinished(caught.value)
    assert result is not None
    assert [each.access_token for each in stage.told] == [result.access_token]
    assert {each.path for each in stage.plaid.requests} == {"/link/token/create", EXCHANGE}
    assert ProcessorLinker(stage.client()).resume(result).complete


@needs_signals
def test_interrupted_and_no_answer_comes(stage: Stage) -> None:
    """Nobody knows whether there is an Item: the interrupt says so, and what to ask Plaid."""
    stage.plaid.fail(EXCHANGE, delay=0.5, drop="before")
    with pytest.raises(KeyboardInterrupt) as caught, alarm(0.2):
        ProcessorLinker(stage.client(max_attempts=3)).link("layer", **stage.arguments)
    assert unfinished(caught.value) is None
    (note,) = caught.value.__notes__
    assert "ask Plaid's support" in note
    assert stage.done.metadata["link_session_id"] in note
    assert stage.done.public_token not in note
    assert stage.exchanges() == 1


def _blocking(stage: Stage, client: Any) -> LinkResult:
    return ProcessorLinker(client).link("layer", **stage.arguments)


def _awaited(stage: Stage, client: Any) -> LinkResult:
    return asyncio.run(AsyncProcessorLinker(client).link("layer", **stage.arguments))


@pytest.mark.parametrize("link", [_blocking, _awaited])
def test_a_hook_that_ends_a_thread(stage: Stage, link: Callable[..., LinkResult]) -> None:
    """The hook runs on one of the client's threads: the access token comes all the same."""

    def hook(event: RequestEvent) -> None:
        if (event.kind, event.endpoint) == (EventKind.ANSWERED, EXCHANGE):
            raise KeyboardInterrupt

    with pytest.raises(LinkIncompleteError) as caught:
        link(stage, stage.client(on_event=hook))
    assert caught.value.result.access_token == stage.access_token


def test_the_caller_logs_nothing_of_a_retry(stage: Stage) -> None:
    """An interruption within `logging` would leave its lock taken: the threads do it."""
    stage.plaid.fail(CREATE, error_code="INTERNAL_SERVER_ERROR", status=500, times=1)
    callers: list[EventKind] = []

    def hook(event: RequestEvent) -> None:
        kinds.append(event.kind)
        if threading.current_thread() is threading.main_thread():
            callers.append(event.kind)

    kinds: list[EventKind] = []
    assert _blocking(stage, stage.client(on_event=hook)).complete
    assert EventKind.RETRIED in kinds
    assert callers == []


async def _cancelled(linker: AsyncProcessorLinker, stage: Stage) -> BaseException:
    """What comes of a link that is cancelled while its first request is under way."""
    link = asyncio.ensure_future(linker.link("layer", **stage.arguments))
    await asyncio.sleep(0.1)
    link.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await link
    return caught.value


def test_cancelled_during_the_exchange(stage: Stage) -> None:
    """The exchange under way is waited for, its Item stored, and no token is asked for."""
    stage.plaid.fail(EXCHANGE, delay=0.4)
    error = asyncio.run(_cancelled(AsyncProcessorLinker(stage.client()), stage))
    result = unfinished(error)
    assert result is not None
    assert [each.access_token for each in stage.told] == [result.access_token]
    assert {each.path for each in stage.plaid.requests} == {"/link/token/create", EXCHANGE}


def test_no_exchange_is_sent_again_once_cancelled(stage: Stage) -> None:
    """A second try would make an Item that nobody waits for."""
    stage.plaid.fail(EXCHANGE, delay=0.3, drop="before")
    client = stage.client(max_attempts=3, timeout=1.0)
    error = asyncio.run(_cancelled(AsyncProcessorLinker(client), stage))
    assert stage.exchanges() == 1
    assert not stage.plaid.items[0].exchanged
    cause = error.__cause__
    assert isinstance(cause, PlaidConnectionError)
    assert cause.outcome_unknown
    assert cause.support is not None


def test_cancelled_for_longer_than_the_timeout(stage: Stage) -> None:
    """An exchange that hangs is given up at the time-out, with what to ask Plaid."""
    stage.plaid.fail(EXCHANGE, delay=3.0)
    client = stage.client(max_attempts=3, timeout=0.4)
    error = asyncio.run(_cancelled(AsyncProcessorLinker(client), stage))
    assert unfinished(error) is None
    told = [*getattr(error, "__notes__", []), str(error.__cause__)]
    assert any("ask Plaid's support" in each for each in told)
    assert stage.exchanges() == 1


def test_cancelled_by_its_own_callback(stage: Stage) -> None:
    """No await follows, and asyncio would drop the result: the cancellation has it."""
    tokens: list[ProcessorToken] = []

    def cancel_at_last(token: ProcessorToken) -> None:
        tokens.append(token)
        task = asyncio.current_task()
        assert task is not None
        if len(tokens) == 2:
            task.cancel()

    linker = AsyncProcessorLinker(stage.client())
    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(linker.link("layer", **stage.bare, on_token=cancel_at_last))
    result = unfinished(caught.value)
    assert result is not None
    assert result.access_token == stage.access_token
    assert result.complete


async def _in_a_group(link: Awaitable[LinkResult], stage: Stage) -> None:
    """A sibling fails, and the group swallows the cancellation."""

    async def fail() -> None:
        while not stage.exchanges():
            await asyncio.sleep(0.01)
        raise LookupError

    async def wait() -> None:
        await link

    async with asyncio.TaskGroup() as group:
        group.create_task(wait())
        group.create_task(fail())


@pytest.mark.parametrize("kept", [False, True])
def test_an_interruption_that_nobody_gets(
    stage: Stage, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody can ask it for the Item, a warning names that, unless `on_exchange` had it."""
    stage.plaid.fail(EXCHANGE, delay=0.2)
    linker = AsyncProcessorLinker(stage.client())
    link = linker.link("layer", **(stage.arguments if kept else stage.bare))
    caplog.set_level(logging.WARNING, "plaid_processors")
    with pytest.raises(ExceptionGroup):
        asyncio.run(_in_a_group(link, stage))
    until = monotonic() + (0.3 if kept else 5)
    named: list[str] = []
    while not named and monotonic() < until:
        gc.collect()  # the warning comes when the last that holds the Item is gone
        named = [each.getMessage() for each in caplog.records if each.name == "plaid_processors"]
        sleep(0.01)
    assert len(named) == (0 if kept else 1)
    assert all(f"{stage.plaid.items[0].item_id} " in each for each in named)
    assert not any(stage.access_token in each for each in named)


# What is no interruption, and ends a link as one does


def test_an_answer_that_is_cut_short(stage: Stage) -> None:
    """Its token is not taken from what came: the error says what to ask Plaid."""
    stage.plaid.fail(EXCHANGE, cut=90)
    with pytest.raises(PlaidConnectionError) as caught:
        ProcessorLinker(stage.client(max_attempts=1)).link("layer", **stage.arguments)
    assert caught.value.outcome_unknown
    assert caught.value.support is not None
    assert "ask Plaid's support" in str(caught.value)
    assert stage.access_token not in str(caught.value)
    assert stage.told == []
    assert stage.exchanges() == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"access_token": "ya29.not-one-of-plaids", "token_type": "Bearer"',
        '{"access_token": 5, "item_id": "access-sandbox-1"}',
        "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab",
    ],
)
def test_what_is_no_access_token_of_plaids(stage: Stage, body: str) -> None:
    """What only looks a little like an answer is not taken for one."""
    stage.plaid.fail(EXCHANGE, body=body, status=200, times=None)
    with pytest.raises(PlaidConnectionError):
        ProcessorLinker(stage.client(max_attempts=1)).link("layer", **stage.arguments)
    assert stage.told == []


def test_when_files_run_out(faulty: FaultyPlaid) -> None:
    """What was achieved can be found, stored, read and finished: nothing of it opens a file."""
    script = """
import os, resource, sys
from plaid_processors import (
    LinkIncompleteError, LinkResult, PlaidClient, ProcessorLinker, unfinished
)
client = PlaidClient(
    client_id="0" * 24, secret="5e" * 15, base_url=sys.argv[1], max_attempts=1, max_connections=1
)
linker = ProcessorLinker(client)
try:
    linker.link("layer", public_token=sys.argv[2], accounts=[{"id": "a"}])
except LinkIncompleteError as error:
    free = os.dup(0)  # the lowest that is
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
    try:
        open(os.devnull)
    except OSError:
        pass
    else:
        raise AssertionError("there are files left")
    assert unfinished(KeyboardInterrupt()) is None
    stored = unfinished(error).to_dict()
assert linker.resume(LinkResult.from_dict(stored)).complete
os.write(1, b"finished")
"""
    refused = refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "m", status=500)
    faulty.on(CREATE, refused, lambda connection, request: issued(request)(connection, request))
    ran = subprocess.run(
        [sys.executable, "-c", script, faulty.url, PUBLIC_TOKEN],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ran.stdout == b"finished", ran.stderr.decode()
