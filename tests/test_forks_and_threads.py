"""One client and many threads, its end, forks, and the interpreter's exit."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plaid_processors import ConfigurationError, LinkResult, PlaidClient, ProcessorLinker

from .support.checks import link_account
from .support.faulty import CREATE, EXCHANGE, PUBLIC_TOKEN, FaultyPlaid, hang

MakeClient = Callable[..., PlaidClient]


_FORKS = ("-W", "ignore:This process:DeprecationWarning")  # Python 3.12 warns of the fork itself


def options(*account_ids: str) -> dict[str, Any]:
    return {"public_token": PUBLIC_TOKEN, "accounts": [link_account(each) for each in account_ids]}


def own_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("plaid-processors")}


def run(script: str, *arguments: str, seconds: float = 20) -> str:
    """What a script prints that has to end by itself, and well, in time."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", *_FORKS, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_each_thread_gets_its_own_result(make_client: MakeClient) -> None:
    """Though all share one client and its connections."""
    linker = ProcessorLinker(make_client(max_connections=4))

    def link(number: int) -> LinkResult:
        return linker.link("layer", **options(f"t{number}-a", f"t{number}-b"))

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(link, range(40)))
    for number, result in enumerate(results):
        ids = [each.account.account_id for each in result.processor_tokens]
        assert ids == [f"t{number}-a", f"t{number}-b"]
        assert all(
            each.processor_token.endswith(each.account.account_id)
            for each in result.processor_tokens
        )


def test_close_ends_the_threads(make_client: MakeClient) -> None:
    """And a later call is told."""
    before = own_threads()
    client = make_client()
    linker = ProcessorLinker(client)
    linker.link("layer", **options("a", "b", "c"))
    assert own_threads() - before
    linker.close()
    assert own_threads() <= before
    with pytest.raises(ConfigurationError, match="closed"):
        linker.link("layer", **options("a", "b"))
    linker.close()  # a second time is no error


def test_close_during_a_call_ends_it(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """What waits for a thread is not left waiting."""
    there = threading.Event()

    def arrive(connection: Any, request: Any) -> bool:
        there.set()
        return hang(connection, request)

    faulty.on(CREATE, arrive)
    linker = ProcessorLinker(make_client(max_connections=2, timeout=0.5))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(linker.link, "layer", **options("a", "b", "c", "d"))
        assert there.wait(10)
        linker.close()
        assert call.exception(10) is not None


def test_a_forgotten_client_leaves_no_threads(faulty: FaultyPlaid) -> None:
    """Its threads end when nobody can use it any more."""
    before = own_threads()
    client = PlaidClient(client_id="0" * 24, secret="5e" * 15, base_url=faulty.url, max_attempts=1)
    ProcessorLinker(client).link("layer", **options("a", "b"))
    started = own_threads() - before
    assert started
    del client
    gc.collect()
    for each in started:
        each.join(5)
    assert own_threads() <= before


_LINK = """
import os, sys, threading, time
from plaid_processors import PlaidClient, ProcessorLinker
client = PlaidClient(client_id="0" * 24, secret="5e" * 15, base_url=sys.argv[1], max_attempts=1)
linker = ProcessorLinker(client)
def link(name, count=3):
    ids = [f"{name}-{each}" for each in range(count)]
    result = linker.link("layer", public_token=sys.argv[2], accounts=[{"id": each} for each in ids])
    assert [each.account.account_id for each in result.processor_tokens] == ids
    assert all(each.processor_token.endswith(each.account.account_id)
               for each in result.processor_tokens)
"""


@pytest.mark.parametrize("path", [EXCHANGE, CREATE])
def test_a_request_that_hangs_does_not_hold_up_the_exit(faulty: FaultyPlaid, path: str) -> None:
    """The client's threads are daemons, and nothing joins them."""
    faulty.on(path, hang)
    script = (
        _LINK
        + """
import asyncio
from plaid_processors import AsyncProcessorLinker
async def main():
    accounts = [{"id": "a"}, {"id": "b"}]
    linker = AsyncProcessorLinker(client)
    task = asyncio.ensure_future(
        linker.link("layer", public_token=sys.argv[2], accounts=accounts))
    await asyncio.sleep(0.3)
    os.write(1, b"left")
    sys.exit(0)
asyncio.new_event_loop().run_until_complete(main())
"""
    )
    if path == EXCHANGE:
        script = (
            _LINK
            + """
threading.Thread(target=link, args=("t",), daemon=True).start()
time.sleep(0.3)
print("left")
"""
        )
    began = time.monotonic()
    assert "left" in run(script, faulty.url, PUBLIC_TOKEN)
    assert time.monotonic() - began < 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works_and_leaves_its_parent_alone(faulty: FaultyPlaid) -> None:
    """The child makes threads and connections of its own; both go on."""
    script = (
        _LINK
        + """
link("before")
child = os.fork()
name = "parent" if child else "child"
for each in range(5):
    link(name)
if child:
    assert os.waitpid(child, 0)[1] == 0
    link("after")
    print("well")
else:
    os._exit(0)
"""
    )
    assert run(script, faulty.url, PUBLIC_TOKEN) == "well\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_forked_in_the_middle_of_a_link_works(faulty: FaultyPlaid) -> None:
    """Whatever the parent's other threads held at that moment."""
    script = (
        _LINK
        + """
busy = True
def work():
    while busy:
        link("other")
threads = [threading.Thread(target=work) for _ in range(3)]
for each in threads:
    each.start()
for number in range(4):
    child = os.fork()
    if not child:
        link("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
busy = False
for each in threads:
    each.join()
print("well")
"""
    )
    assert run(script, faulty.url, PUBLIC_TOKEN) == "well\n"
