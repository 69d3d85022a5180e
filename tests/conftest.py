"""What the SDK's tests share: the local Plaid, and a server that misbehaves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings

from plaid_processors import PlaidClient, ProcessorLinker
from plaid_processors.handoff.finix import _open
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import FaultyPlaid
from .support.postgres import pgbouncer, postgres, postgres_url  # noqa: F401  fixtures
from .support.redis_server import redis_server, redis_url  # noqa: F401  fixtures

# A busy machine is no failure, and these tests share it with many others.
settings.register_profile("shared", max_examples=40, deadline=None)
settings.load_profile("shared")

KEYS = {"client_id": "0123456789abcdef01234567", "secret": "5e" * 15}


@pytest.fixture(autouse=True)
def ctrl_c() -> None:
    """Ctrl-C interrupts: asyncio leaves its own handler where one has interrupted its clean-up."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_open() -> None:
    """No unknown outcome of an earlier test, whose server's port a later one may get."""
    _open.clear()


@pytest.fixture(scope="session")
def local_plaid() -> Iterator[LocalSandbox]:
    """One local Plaid for all tests: each works with Items of its own."""
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def linker(local_plaid: LocalSandbox) -> Iterator[ProcessorLinker]:
    """A linker on the local Plaid."""
    with ProcessorLinker(local_plaid.client()) as linker:
        yield linker


@pytest.fixture
def through_link(local_plaid: LocalSandbox, linker: ProcessorLinker) -> Callable[..., Linked]:
    """Goes through Link as a user would."""

    def go(partner: Any = "layer", **choices: Any) -> Linked:
        token = linker.create_link_token(partner, client_user_id="user-42", client_name="Acme")
        return local_plaid.complete_link(token.link_token, **choices)

    return go


@pytest.fixture
def faulty() -> Iterator[FaultyPlaid]:
    """Plaid's workflow, with the faults that the test asks for."""
    with FaultyPlaid() as server:
        yield server


@pytest.fixture
def make_client(faulty: FaultyPlaid) -> Iterator[Callable[..., PlaidClient]]:
    """Makes clients of the faulty server; one attempt each unless told otherwise."""
    with ExitStack() as stack:

        def make(**options: Any) -> PlaidClient:
            client = PlaidClient(
                **{**KEYS, "base_url": faulty.url, "max_attempts": 1, "timeout": 5.0, **options}
            )
            return stack.enter_context(client)

        yield make


@pytest.fixture
def make_linker(make_client: Callable[..., PlaidClient]) -> Callable[..., ProcessorLinker]:
    """Makes linkers of the faulty server."""
    return lambda **options: ProcessorLinker(make_client(**options))


@pytest.fixture
def faulty_linker(make_linker: Callable[..., ProcessorLinker]) -> ProcessorLinker:
    """A linker of the faulty server that asks once."""
    return make_linker()
