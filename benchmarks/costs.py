"""CPU and memory of a call."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from time import process_time

import urllib3

from plaid_processors import ProcessorLinker

from . import ours, plain
from .local_plaid import local_plaid
from .measure import Row, Section, interleaved


def run(rounds: int = 7, links: int = 8) -> Section:
    section = Section(
        "CPU and memory of a call",
        "20 ms a request, warm, HTTP: CPU time of the process for each request, all threads; "
        "the memory that a link needs at its peak, by tracemalloc.",
    )
    with local_plaid(delay=0.02) as url:
        for count in (1, 8):
            wanted = ours.accounts(count)
            ids = [each["id"] for each in wanted]
            api, pool = plain.make_api(url), urllib3.PoolManager()
            with ProcessorLinker(ours.make_client(url)) as linker:
                works: list[Callable[[], object]] = [
                    partial(plain.link, api, ids),
                    partial(ours.link, linker, wanted),
                    partial(ours.link_bare, pool, url, ids),
                ]
                timed = (partial(_cpu, each, links, count + 1) for each in works)
                loop, sdk, bare = interleaved(rounds, *timed)
                name = f"CPU a request, {count} account{'s' if count > 1 else ''}"
                aim = 1.0 if count == 8 else None
                section.rows += [
                    Row(f"{name}: the loop", loop * 1e6, sdk * 1e6, "µs", aim, at_most=True),
                    Row(
                        f"{name}: bare urllib3",
                        bare * 1e6,
                        sdk * 1e6,
                        "µs",
                        1.25 if count == 1 else None,
                        at_most=True,
                    ),
                ]
                loop, sdk = (_peak(each) for each in works[:2])
                section.rows.append(
                    Row(
                        f"memory of a link, {count} account{'s' if count > 1 else ''}",
                        loop / 1024,
                        sdk / 1024,
                        "KB",
                        at_most=True,
                    )
                )
    return section


def _cpu(work: Callable[[], object], links: int, requests: int) -> float:
    began = process_time()
    for _ in range(links):
        work()
    return (process_time() - began) / links / requests


def _peak(work: Callable[[], object]) -> float:
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
