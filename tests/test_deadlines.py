"""`timeout` for a request and `deadline` for a call are kept, whatever the server does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from plaid_processors import (
    LinkIncompleteError,
    PlaidConnectionError,
    ProcessorLinker,
    RateLimitError,
)

from .support.checks import link_account
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    REMOVE,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    exchanged,
    hang,
    http,
    refusal,
    reply,
    trickle,
)

MakeLinker = Callable[..., ProcessorLinker]

_BODY = {"access_token": "access-sandbox-1", "item_id": "i", "request_id": "r"}
_HEAD = http(_BODY).partition(b"\r\n\r\n")[0]


def trickled_body(connection: Any, request: Any) -> bool | None:
    """The headers at once, the body byte by byte."""
    connection.sock.sendall(_HEAD + b"\r\n\r\n")
    return trickle(b"x" * 400)(connection, request)


SLOW: dict[str, Answer] = {
    "hangs": hang,
    "trickles its headers": trickle(http(_BODY, headers={"X-Long": "x" * 400})),
    "trickles its body": trickled_body,
}


@contextmanager
def lasting(least: float, most: float) -> Iterator[None]:
    """What the block takes, in seconds."""
    began = time.monotonic()
    yield
    assert least <= time.monotonic() - began <= most


def link(linker: ProcessorLinker, **options: Any) -> Any:
    accounts = [link_account(f"a-{number}") for number in range(2)]
    return linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts, **options)


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize("limits", [{"timeout": 0.3}, {"timeout": 20.0, "deadline": 0.3}])
def test_the_time_is_kept(
    faulty: FaultyPlaid, make_linker: MakeLinker, fault: str, limits: dict[str, Any]
) -> None:
    """A request that is no exchange ends with its own time and with the call's."""
    faulty.on(REMOVE, SLOW[fault])
    linker = make_linker(**limits)
    with lasting(0.25, 1.2), pytest.raises(PlaidConnectionError, match="timed out") as caught:
        linker.remove(ACCESS_TOKEN)
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize(
    "limits", [{"timeout": 0.4}, {"timeout": (20.0, 0.4)}, {"timeout": 0.4, "deadline": 0.1}]
)
def test_an_exchange_has_its_read_time(
    faulty: FaultyPlaid, make_linker: MakeLinker, fault: str, limits: dict[str, Any]
) -> None:
    """An exchange that was sent is waited for until its own time is over, whatever the deadline."""
    faulty.on(EXCHANGE, SLOW[fault])
    linker = make_linker(**limits)
    with lasting(0.35, 1.3), pytest.raises(PlaidConnectionError, match="timed out") as caught:
        link(linker)
    assert caught.value.outcome_unknown
    assert len(faulty.asked(EXCHANGE)) == 1


def test_an_item_that_comes_after_the_deadline_is_kept(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """The Item is there and on_exchange is called; what comes after it is not sent any more."""

    def late(connection: Connection, request: Request) -> bool | None:
        connection.stopped.wait(0.5)
        return exchanged()(connection, request)

    faulty.on(EXCHANGE, late)
    told: list[str] = []
    with lasting(0.45, 1.5), pytest.raises(LinkIncompleteError) as caught:
        link(make_linker(deadline=0.2), on_exchange=lambda item: told.append(item.access_token))
    assert told == [caught.value.result.access_token] == [ACCESS_TOKEN]
    assert len(caught.value.result.pending) == 2
    assert faulty.paths == [EXCHANGE]


def test_an_exchange_that_was_not_sent_in_time_never_is(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """Where no connection is free before the deadline, Plaid made no Item and will make none."""
    there, go_on = threading.Event(), threading.Event()

    def hold(connection: Connection, request: Request) -> bool | None:
        there.set()
        go_on.wait(10)
        return reply({"request_id": "r"})(connection, request)

    faulty.on(REMOVE, hold)
    linker = make_linker(max_connections=1)
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(linker.remove, ACCESS_TOKEN)
        assert there.wait(10)
        hasty = linker.with_options(deadline=0.2)
        with lasting(0.15, 1.2), pytest.raises(PlaidConnectionError, match="before it") as caught:
            link(hasty)
        assert not caught.value.outcome_unknown
        assert caught.value.support is None
        go_on.set()
        assert other.result(10) is True
    assert linker.accounts(ACCESS_TOKEN)  # the only thread has passed what was given up
    assert faulty.paths == [REMOVE, ACCOUNTS]


@pytest.mark.parametrize("fault", SLOW)
def test_the_time_is_kept_side_by_side(
    faulty: FaultyPlaid, make_linker: MakeLinker, fault: str
) -> None:
    """The tokens' requests are given up together, and the Item is not lost."""
    faulty.on(CREATE, SLOW[fault])
    linker = make_linker(deadline=0.4)
    with lasting(0.3, 1.5), pytest.raises(LinkIncompleteError) as caught:
        link(linker)
    assert len(caught.value.result.pending) == 2
    assert all(error.outcome_unknown for _, error in caught.value.errors)


def test_waits_between_attempts_count(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """A wait that would outlast the deadline is not begun."""
    limited = refusal(
        "RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "0.3"}
    )
    faulty.on(EXCHANGE, limited)
    linker = make_linker(max_attempts=9, deadline=0.8)
    with lasting(0.3, 0.8), pytest.raises(RateLimitError):
        link(linker)
    assert len(faulty.asked(EXCHANGE)) == 3


def test_callbacks_do_not_count(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """A callback may take longer than the whole call."""
    linker = make_linker(deadline=0.4)
    result = link(
        linker,
        on_exchange=lambda _item: time.sleep(0.5),
        on_token=lambda _token: time.sleep(0.3),
    )
    assert result.complete
