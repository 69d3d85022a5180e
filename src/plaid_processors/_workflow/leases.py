"""Leases: what no two calls, of any process, do at once."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from .._engine.call import Call
from ..errors import LinkInProgressError, StoreError
from ..store.books import Books
from ..store.records import Lease

logger = logging.getLogger("plaid_processors")

_LONGEST_PAUSE = 0.5
"""Seconds between two looks at a lease that another has, at most."""

_MARGIN = 5.0
"""Seconds that a lease lasts beyond the time that its call can take."""

_WITHOUT_DEADLINE = 600.0
"""Seconds that a lease lasts for a call without a deadline."""


def link_lease(key: str) -> str:
    """The name of the lease of who makes a link's first tokens."""
    return f"link {key}"


@asynccontextmanager
async def leased(call: Call, books: Books, name: str, *, wait: bool = True) -> AsyncIterator[None]:
    """Work that no other call, of any process, does meanwhile.

    Raises:
        LinkInProgressError: another was at it until this call's deadline, or is and ``wait`` is
            False.
    """
    deadline = call.deadline
    left = _WITHOUT_DEADLINE if deadline.seconds is None else deadline.remaining
    seconds = left + 2 * sum(call.times) + _MARGIN
    lease, pause = Lease(name=name, owner=uuid4().hex, seconds=seconds), 0.02
    try:
        while not await call.port.run(partial(books.lease, lease)):
            call.check()
            if not wait or deadline.remaining == 0:
                raise LinkInProgressError(
                    "another call is at work on this: call again later", retry_after=seconds
                )
            await call.port.wait(max(0.001, min(pause, deadline.remaining)))
            pause = min(2 * pause, _LONGEST_PAUSE)
        yield
    finally:  # also where the store took it, and its answer was lost
        try:
            await call.port.run(partial(books.release, lease))
        except StoreError as error:  # it ends by itself
            logger.warning("a lease could not be given back: %s", error)
        except BaseException:
            with suppress(StoreError):
                books.release(lease)  # Ctrl-C struck inside the store: once more
            raise
    call.check()
