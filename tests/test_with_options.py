"""`with_options`: other limits for some calls, on the same client and its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    ConfigurationError,
    PlaidApiError,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
)

from .support.faulty import ACCESS_TOKEN, ACCOUNTS, FaultyPlaid, hang, refusal
from .support.rows import rows

MakeClient = Callable[..., PlaidClient]
Linker = ProcessorLinker | AsyncProcessorLinker

LIMITED = refusal("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "0"})

BOTH = rows("kind", [ProcessorLinker, AsyncProcessorLinker])


def done(call: object) -> Any:
    """What a call comes to, awaited if it has to be."""

    async def awaited(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return asyncio.run(awaited(call)) if isinstance(call, Awaitable) else call


def asked(linker: Linker) -> tuple[Any, ...]:
    """The accounts of an Item: one request."""
    accounts: tuple[Any, ...] = done(linker.accounts(ACCESS_TOKEN))
    return accounts


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = monotonic()
    yield
    assert monotonic() - began < seconds


@BOTH
def test_the_same_class_and_client(kind: type[Linker], make_client: MakeClient) -> None:
    """The other linker is a new object of the same class with the same client."""
    linker = kind(make_client())
    other = linker.with_options(max_attempts=2)
    assert type(other) is kind
    assert other is not linker
    assert other.client is linker.client


@BOTH
def test_a_subclass_stays_what_it_is(kind: Any, make_client: MakeClient) -> None:
    """A subclass whose constructor asks for more keeps its class and what it holds."""

    class Shop(kind):  # type: ignore[misc]
        def __init__(self, client: PlaidClient, name: str) -> None:
            super().__init__(client)
            self.name = name

    other = Shop(make_client(), "Acme").with_options(deadline=5)
    assert type(other) is Shop
    assert other.name == "Acme"
    assert asked(other)


@BOTH
def test_the_same_connections(
    kind: type[Linker], faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Calls of both linkers, one after the other, go over one connection."""
    linker, before = kind(make_client()), faulty.connections
    for each in (linker, linker.with_options(timeout=9), linker.with_options(max_attempts=1)):
        asked(each)
    assert len(faulty.requests) == 3
    assert faulty.connections == before + 1


@BOTH
def test_other_attempts(kind: type[Linker], faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """A request is sent as often as the linker says, and the first linker is as it was."""
    faulty.on(ACCOUNTS, LIMITED)
    linker = kind(make_client(max_attempts=2))
    counts = []
    for each in (linker.with_options(max_attempts=4), linker, linker.with_options(timeout=9)):
        with pytest.raises(PlaidApiError, match="RATE_LIMIT"):
            asked(each)
        counts.append(len(faulty.requests))
    assert counts == [4, 6, 8]


@BOTH
@rows("limits", [{"timeout": 0.1}, {"timeout": (5, 0.1)}, {"timeout": [5, 0.1]}, {"deadline": 0.1}])
def test_less_time(
    kind: type[Linker], limits: dict[str, Any], faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """A call ends when the time of its own linker is over."""
    faulty.on(ACCOUNTS, hang)
    linker = kind(make_client(timeout=30.0, deadline=60.0))
    with within(3), pytest.raises(PlaidConnectionError, match="timed out"):
        asked(linker.with_options(**limits))


@pytest.mark.slow
@BOTH
def test_more_time(kind: type[Linker], faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """A deadline that waits for nothing is taken away by None, and kept where none is named."""
    later = refusal("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "0.6"})
    faulty.on(ACCOUNTS, later, later, faulty._usual[ACCOUNTS])
    linker = kind(make_client(deadline=0.5, max_attempts=2))
    with within(0.5), pytest.raises(PlaidApiError, match="RATE_LIMIT"):
        asked(linker.with_options(max_attempts=3))
    assert asked(linker.with_options(deadline=None))


@BOTH
def test_one_after_the_other(kind: type[Linker], make_client: MakeClient) -> None:
    """What an earlier `with_options` set stays, where a later one says nothing of it."""
    linker = kind(make_client(timeout=1.0, deadline=2.0, max_attempts=3))
    other = linker.with_options(timeout=9.0).with_options(deadline=None).with_options()
    limits = other._limits
    assert (limits.timeout, limits.deadline, limits.max_attempts) == (9.0, None, 3)
    assert linker._limits == linker.client.limits


def close(linker: Linker) -> None:
    """Enter and leave a linker as a context manager, and close it once more."""

    async def awaited(linker: AsyncProcessorLinker) -> None:
        async with linker as entered:
            assert entered is linker
        await linker.close()

    if isinstance(linker, AsyncProcessorLinker):
        asyncio.run(awaited(linker))
        return
    with linker as entered:
        assert entered is linker
    linker.close()


@BOTH
def test_closing_it_closes_nothing(kind: type[Linker], make_client: MakeClient) -> None:
    """The client, the first linker, and the closed one itself work on."""
    linker = kind(make_client())
    other = linker.with_options(timeout=9)
    close(other)
    close(other.with_options(timeout=8))
    assert asked(linker)
    assert asked(other)


@BOTH
def test_closing_the_first_closes_all(kind: type[Linker], make_client: MakeClient) -> None:
    """They share a client, and the first linker closes it."""
    linker = kind(make_client())
    other = linker.with_options(timeout=9)
    close(linker)
    with pytest.raises(ConfigurationError, match="closed"):
        asked(other)


@BOTH
@rows(
    ("wrong", "named"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "9"}, "timeout"),
        ({"timeout": (1, 2, 3)}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": float("inf")}, "deadline"),
        ({"deadline": "soon"}, "deadline"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
    ],
)
def test_wrong_limits(
    kind: type[Linker], wrong: dict[str, Any], named: str, make_client: MakeClient
) -> None:
    """A limit that is none is refused by name, as the client refuses it."""
    linker = kind(make_client())
    with pytest.raises(ConfigurationError, match=f"^{named} must be "):
        linker.with_options(**wrong)
    with pytest.raises(ConfigurationError, match=f"^{named} must be "):
        make_client(**wrong)


@BOTH
def test_there_are_no_other_options(kind: Any, make_client: MakeClient) -> None:
    """What belongs to the client, such as its connections, cannot be changed here."""
    with pytest.raises(TypeError):
        kind(make_client()).with_options(max_connections=2)
