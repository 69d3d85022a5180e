"""What ends a link from outside, at its worst moments: the Item comes along, or its doubt does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    EventKind,
    LinkedItem,
    LinkIncompleteError,
    PlaidConnectionError,
    ProcessorLinker,
    RequestEvent,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import CREATE, EXCHANGE, PUBLIC_TOKEN, FaultyPlaid, issued, refusal


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

    def client(self, **options: Any) -> Any:
        return self._stack.enter_context(self.plaid.client(**options))

    def exchanges(self) -> int:
        return sum(each.path == EXCHANGE for each in self.plaid.requests)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(stack)


def interrupting(kind: EventKind, endpoint: str) -> Any:
    """A hook at which Ctrl-C is pressed: it runs on the thread that links."""

    def hook(event: RequestEvent) -> None:
        if (event.kind, event.endpoint) == (kind, endpoint):
            raise KeyboardInterrupt

    return hook


def test_interrupted_before_the_answer(stage: Stage) -> None:
    """Nobody knows whether there is an Item: the interrupt says so, and what to ask Plaid."""
    client = stage.client(on_event=interrupting(EventKind.SENT, EXCHANGE))
    with pytest.raises(KeyboardInterrupt) as caught:
        ProcessorLinker(client).link("layer", **stage.arguments)
    assert unfinished(caught.value) is None
    (note,) = caught.value.__notes__
    assert "ask Plaid's support" in note
    assert stage.done.metadata["link_session_id"] in note
    assert stage.done.public_token not in note


def test_interrupted_the_moment_the_answer_is_parsed(stage: Stage) -> None:
    """Before anything else could be done with it, the access token is in the interrupt's hands."""
    client = stage.client(on_event=interrupting(EventKind.ANSWERED, EXCHANGE))
    with pytest.raises(KeyboardInterrupt) as caught:
        ProcessorLinker(client).link("layer", **stage.arguments)
    result = unfinished(caught.value)
    assert result is not None
    assert result.access_token == stage.plaid.items[0].access_token
    assert not hasattr(caught.value, "__notes__")
    assert ProcessorLinker(stage.client()).resume(result).complete


def test_a_hook_that_ends_a_thread(stage: Stage) -> None:
    """In the asynchronous linker the hook runs on a thread: the access token comes all the same."""
    client = stage.client(on_event=interrupting(EventKind.ANSWERED, EXCHANGE))
    with pytest.raises(LinkIncompleteError) as caught:
        asyncio.run(AsyncProcessorLinker(client).link("layer", **stage.arguments))
    assert caught.value.result.access_token == stage.plaid.items[0].access_token


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


def test_a_truncated_answer_with_the_whole_token(stage: Stage) -> None:
    """An access token that came whole is taken, though the answer is cut short."""
    stage.plaid.fail(EXCHANGE, cut=90)
    result = ProcessorLinker(stage.client()).link("layer", **stage.arguments)
    assert result.complete
    assert result.access_token == stage.plaid.items[0].access_token == stage.told[0].access_token
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
