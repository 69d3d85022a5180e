"""1,000 links at once: from threads, and from 1,000 tasks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median, quantiles
from typing import Any

from plaid_processors import AsyncProcessorLinker, ProcessorLinker

from . import ours, plain
from .local_plaid import local_plaid
from .measure import Row, Section, interleaved, seconds

_LINKS = 1000
_CONNECTIONS = (8, 16, 32)
_TICK = 0.005
_LAG = 0.020


def run(rounds: int = 3) -> Section:
    section = Section(
        "1,000 links",
        "One account each, 20 ms a request, one client of 8 connections, which is the default, of "
        "16 and of 32, and as many threads. The event loop's lag is by how much a sleep of 5 ms is "
        "late in 99 of 100 cases at most: beside plaid-python in `asyncio.to_thread` with as many "
        "threads. Ours is wanted under 20 ms. 32 connections keep one interpreter busy all the "
        "time, so that the loop has to wait for its turn.",
    )
    with local_plaid(delay=0.02) as url:
        for connections in _CONNECTIONS:
            section.rows += _rows(url, connections, rounds)
    return section


def _rows(url: str, connections: int, rounds: int) -> list[Row]:
    plain_lags: list[float] = []
    lags: list[float] = []
    api = plain.make_api(url, connections)
    client = ours.make_client(url, connections)
    with ProcessorLinker(client) as linker:
        wanted = ours.accounts(1)
        plain_work = partial(plain.link, api, ["account-0"])
        our_work = partial(ours.link, linker, wanted)
        awaited = AsyncProcessorLinker(client)
        loop, threads, tasks, _ = interleaved(
            rounds,
            partial(_by_threads, plain_work, connections),
            partial(_by_threads, our_work, connections),
            partial(_by_tasks, lambda: ours.link_awaited(awaited, wanted), connections, lags),
            partial(_by_tasks, lambda: asyncio.to_thread(plain_work), connections, plain_lags),
        )
    plain_lag, lag = median(plain_lags), median(lags)
    note = "met" if lag < _LAG else "NOT MET"
    name = f"{connections} connections"
    return [
        Row(f"{name}, threads: the loop, ours", loop * 1e3, threads * 1e3),
        Row(f"{name}, ours: threads, tasks", threads * 1e3, tasks * 1e3, aim=2, at_most=True),
        Row(f"{name}, loop's lag, p99", plain_lag * 1e3, lag * 1e3, at_most=True, note=note),
    ]


def _by_threads(work: Callable[[], object], count: int) -> float:
    with ThreadPoolExecutor(count) as pool:
        return seconds(lambda: list(pool.map(lambda _: work(), range(_LINKS))))


def _by_tasks(
    link: Callable[[], Coroutine[Any, Any, object]], threads: int, lags: list[float]
) -> float:
    late: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(_TICK)
            late.append(loop.time() - began - _TICK)

    async def all_of_them() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        watching = asyncio.create_task(watch())
        async with asyncio.TaskGroup() as group:
            for number in range(_LINKS):
                group.create_task(link())
                if number % 50 == 49:  # to make them all at once would hold the loop too
                    await asyncio.sleep(0)
        watching.cancel()

    # What the benchmark itself has loaded, plaid-python's models above all, is not to be looked
    # through by the garbage collector on the loop's time.
    gc.collect()
    gc.freeze()
    try:
        took = seconds(lambda: asyncio.run(all_of_them()))
    finally:
        gc.unfreeze()
    lags.append(quantiles(late, n=100)[98])
    return took
