"""What ends a link from outside, at its worst moments: the Item comes along, or its doubt does."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    LinkedItem,
    PlaidConnectionError,
    ProcessorLinker,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import CREATE, EXCHANGE, PUBLIC_TOKEN, FaultyPlaid, issued, refusal
from .support.interrupting import ACTIONS, HOW_OFTEN, CountingPlaid, by_clock, prepared


class Stage:
    """A local Plaid, and a user who went through Link."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.plaid = stack.enter_context(LocalSandbox())
        self.told: list[LinkedItem] = []
        with ProcessorLinker(self.plaid.client()) as linker:
            token = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        self.done: Linked = self.plaid.complete_link(token.link_token, masks=["0000", "3333"])
        self.arguments: dict[str, Any] = {
            "public_token": self.done.public_token,
            "metadata": self.done.metadata,
            "on_exchange": self.told.append,
        }

    def again(self) -> None:
        """The user goes through Link once more."""
        with ProcessorLinker(self.plaid.client()) as linker:
            token = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        self.done = self.plaid.complete_link(token.link_token, masks=["0000", "3333"])
        self.arguments.update(public_token=self.done.public_token, metadata=self.done.metadata)

    def client(self, **options: Any) -> Any:
        return self._stack.enter_context(self.plaid.client(**options))

    def exchanges(self) -> int:
        return sum(each.path == EXCHANGE for each in self.plaid.requests)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)


@pytest.fixture(scope="module")
def counting() -> Iterator[CountingPlaid]:
    """A server that knows which Items it made."""
    with CountingPlaid() as plaid:
        yield plaid


def some(values: Iterable[str], *slow: str) -> list[Any]:
    """These values; some of them only where time does not matter."""
    return [pytest.param(each, marks=[pytest.mark.slow] * (each in slow)) for each in values]


@pytest.mark.parametrize("how", some(HOW_OFTEN, "double", "nested"))
@pytest.mark.parametrize("world", some(ACTIONS, "async, raised"))
def test_interrupted_at_spread_moments(counting: CountingPlaid, world: str, how: str) -> None:
    """No Item is lost without a word, and the client works afterwards."""
    with prepared() as warned:
        count = by_clock(counting, warned, world, how, 16)
    assert count.links >= 13
    assert count.made > 0
    assert (count.broken, count.slow) == ([], [])
    if world != "async, raised":
        # What several at once hit in the event loop's own code is asyncio's to lose.
        ours = [each for each in count.silent if how != "nested" or not _in_the_loop(each)]
        assert ours == []
        assert count.warned == 0 or how != "single"


def _in_the_loop(places: str) -> bool:
    """Whether an interruption came in the event loop, or in the wait that it asks for."""
    return "asyncio/" in places or "/selectors.py:" in places


def pressed(stage: Stage, delay: float, **options: Any) -> KeyboardInterrupt:
    """Ctrl-C so many seconds after a link began."""
    client = stage.client(**options)
    threading.Timer(delay, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        ProcessorLinker(client).link("layer", **stage.arguments)
    return caught.value


def test_ctrl_c_and_an_answer_that_does_not_come(stage: Stage) -> None:
    """After the time-out the interrupt says that there may be an Item, and what to ask Plaid."""
    stage.plaid.fail(EXCHANGE, drop="after", delay=0.6)
    error = pressed(stage, 0.2)
    assert unfinished(error) is None
    (note,) = error.__notes__
    assert "ask Plaid's support" in note
    assert stage.done.metadata["link_session_id"] in note
    assert stage.done.public_token not in note
    assert stage.exchanges() == 1


def test_an_item_that_nobody_takes_is_named(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An interruption that is swallowed with its Item leaves a warning that names it."""
    stage.arguments.pop("on_exchange")
    stage.plaid.fail(EXCHANGE, delay=0.6)
    pressed(stage, 0.2)
    gc.collect()
    assert f"Plaid made Item {stage.plaid.items[0].item_id}" in caplog.text
    assert stage.plaid.items[0].access_token not in caplog.text


def test_anyio_cancels_again_and_again(stage: Stage) -> None:
    """As in Starlette and FastAPI: the exchange is waited for all the same, and its Item stored."""
    stage.plaid.fail(EXCHANGE, delay=0.5)

    async def main() -> None:
        linker = AsyncProcessorLinker(stage.client())
        with anyio.move_on_after(0.1):
            await linker.link("layer", **stage.arguments)

    anyio.run(main)
    assert [each.access_token for each in stage.told] == [stage.plaid.items[0].access_token]


async def _cancelled(linker: AsyncProcessorLinker, stage: Stage) -> BaseException:
    """What comes of a link that is cancelled while its first request is under way."""
    link = asyncio.ensure_future(linker.link("layer", **stage.arguments))
    await asyncio.sleep(0.1)
    link.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await link
    return caught.value


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
