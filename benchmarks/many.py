"""1,000 links at once: from 32 threads, and from 1,000 tasks."""

from __future__ import annotations

import asyncio
import gc
from asyncio.events import Handle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

from plaid_processors import AsyncProcessorLinker, ProcessorLinker

from . import ours, plain
from .local_plaid import local_plaid
from .measure import Row, Section, interleaved, seconds

_LINKS = 1000
_THREADS = 32


def run(rounds: int = 5) -> Section:
    section = Section(
        "1,000 links",
        "One account each, 20 ms a request, one client of 32 connections. The last row is the "
        "longest that one callback held the event loop in a round, with its "
        "waits for the interpreter's lock, beside the 20 ms that it may.",
    )
    held: list[list[float]] = []
    with local_plaid(delay=0.02) as url:
        api = plain.make_api(url, _THREADS)
        client = ours.make_client(url, _THREADS)
        with ProcessorLinker(client) as linker:
            wanted = ours.accounts(1)
            plain_work = partial(plain.link, api, ["account-0"])
            our_work = partial(ours.link, linker, wanted)
            loop, threads, tasks = interleaved(
                rounds,
                partial(_by_threads, plain_work),
                partial(_by_threads, our_work),
                partial(_by_tasks, AsyncProcessorLinker(client), wanted, held),
            )
    section.rows += [
        Row("32 threads: the loop, ours", loop * 1e3, threads * 1e3),
        Row("ours: 32 threads, 1,000 tasks", threads * 1e3, tasks * 1e3, aim=2, at_most=True),
        Row(
            "event loop held at most",
            20,
            median(map(max, held)) * 1e3,
            aim=1,
            at_most=True,
        ),
    ]
    return section


def _by_threads(work: Callable[[], object]) -> float:
    with ThreadPoolExecutor(_THREADS) as pool:
        return seconds(lambda: list(pool.map(lambda _: work(), range(_LINKS))))


def _by_tasks(
    linker: AsyncProcessorLinker, wanted: list[dict[str, Any]], held: list[list[float]]
) -> float:
    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(_LINKS):
                group.create_task(ours.link_awaited(linker, wanted))
                if number % 50 == 49:  # to make them all at once would hold the loop too
                    await asyncio.sleep(0)

    with _watched(held):
        return seconds(lambda: asyncio.run(all_of_them()))


@contextmanager
def _watched(held: list[list[float]]) -> Iterator[None]:
    """Notes how long each callback of the event loop takes."""
    run_one = Handle._run
    took: list[float] = []

    def timed(self: Handle) -> None:
        began = perf_counter()
        run_one(self)
        took.append(perf_counter() - began)

    # What the benchmark itself has loaded, plaid-python's models above all, is not to be looked
    # through by the garbage collector on the loop's time.
    gc.collect()
    gc.freeze()
    Handle._run = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Handle._run = run_one  # type: ignore[method-assign]
        gc.unfreeze()
        held.append(took)
