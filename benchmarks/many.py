"""1,000 links at once: from 32 threads, and from 1,000 tasks."""

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
_THREADS = 32
_TICK = 0.005


def run(rounds: int = 5) -> Section:
    section = Section(
        "1,000 links",
        "One account each, 20 ms a request, one client of 32 connections. The last row is the "
        "event loop's lag meanwhile, by how much a sleep of 5 ms is late in 99 of 100 cases at "
        "most: beside plaid-python in `asyncio.to_thread` with 32 threads. Aimed at: 20 ms.",
    )
    plain_lags: list[float] = []
    lags: list[float] = []
    with local_plaid(delay=0.02) as url:
        api = plain.make_api(url, _THREADS)
        client = ours.make_client(url, _THREADS)
        with ProcessorLinker(client) as linker:
            wanted = ours.accounts(1)
            plain_work = partial(plain.link, api, ["account-0"])
            our_work = partial(ours.link, linker, wanted)
            awaited = AsyncProcessorLinker(client)
            loop, threads, tasks, _ = interleaved(
                rounds,
                partial(_by_threads, plain_work),
                partial(_by_threads, our_work),
                partial(_by_tasks, lambda: ours.link_awaited(awaited, wanted), lags),
                partial(_by_tasks, lambda: asyncio.to_thread(plain_work), plain_lags),
            )
    section.rows += [
        Row("32 threads: the loop, ours", loop * 1e3, threads * 1e3),
        Row("ours: 32 threads, 1,000 tasks", threads * 1e3, tasks * 1e3, aim=2, at_most=True),
        Row("event loop's lag, p99", median(plain_lags) * 1e3, median(lags) * 1e3, at_most=True),
    ]
    return section


def _by_threads(work: Callable[[], object]) -> float:
    with ThreadPoolExecutor(_THREADS) as pool:
        return seconds(lambda: list(pool.map(lambda _: work(), range(_LINKS))))


def _by_tasks(link: Callable[[], Coroutine[Any, Any, object]], lags: list[float]) -> float:
    late: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(_TICK)
            late.append(loop.time() - began - _TICK)

    async def all_of_them() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
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
