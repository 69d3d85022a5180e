"""`timeout` for a request and `deadline` for a call are kept, whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    Answer,
    FaultyPlaid,
    hang,
    http,
    refusal,
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
@pytest.mark.parametrize(
    "limits", [{"timeout": 0.3}, {"timeout": 20.0, "deadline": 0.3}, {"timeout": (0.1, 0.2)}]
)
def test_the_time_is_kept(
    faulty: FaultyPlaid, make_linker: MakeLinker, fault: str, limits: dict[str, Any]
) -> None:
    """By the request and by the call, against a server that is slow in each way."""
    faulty.on(EXCHANGE, SLOW[fault])
    linker = make_linker(**limits)
    with lasting(0.15, 1.2), pytest.raises(PlaidConnectionError, match="timed out") as caught:
        link(linker)
    assert caught.value.outcome_unknown


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


def test_no_place_in_time_is_told_as_not_sent(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """With one connection, the second request waits for the first until the time is over."""
    faulty.on(CREATE, hang)
    linker = make_linker(max_connections=1, timeout=0.3, deadline=0.35)
    with lasting(0.2, 1.5), pytest.raises(LinkIncompleteError) as caught:
        link(linker)
    unknown = [error.outcome_unknown for _, error in caught.value.errors]
    assert sorted(unknown)[-1]
    assert 1 <= len(faulty.asked(CREATE)) <= 2
