"""Threads and time at their worst: Ctrl-C, forks, gevent, slow servers and names, the exit.

Each test is one promise of the engine, kept over real sockets. What has to begin anew, since it
interrupts, forks, patches or ends the process, runs in an interpreter of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    EventKind,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
    ProcessorToken,
    RequestEvent,
    unfinished,
)
from plaid_processors.store import MemoryStore

from .conftest import KEYS
from .support.checks import link_account
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    LINK_TOKEN,
    PUBLIC_TOKEN,
    REMOVE,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    computed,
    exchanged,
    hang,
    http,
    issued,
    reply,
    trickle,
)
from .support.slow import DeadAddress, Names, late, trickled_headers, until
from .support.tls import TlsPlaid, make_certificate

MakeClient = Callable[..., PlaidClient]
MakeLinker = Callable[..., ProcessorLinker]

MOST_LEFT = 64
"""How many threads may hang in requests that nobody waits for, as the docs say."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def options(*account_ids: str) -> dict[str, Any]:
    return {"public_token": PUBLIC_TOKEN, "accounts": [link_account(each) for each in account_ids]}


def own_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("plaid-processors")}


def exchanges(faulty: FaultyPlaid) -> list[str]:
    """The public tokens that came in: of an exchange that was not sent, at most the head came."""
    return [
        each.json["public_token"] for each in faulty.requests if each.path == EXCHANGE and each.body
    ]


def address_of(faulty: FaultyPlaid) -> tuple[str, int]:
    """Where a server listens."""
    host, port = faulty.url.removeprefix("http://").split(":")
    return host, int(port)


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def took(call: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set by the test, or at its end: lets go of those that the server held."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """How names are looked up."""
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


_START = """
import asyncio, os, signal, sys, threading, time
from plaid_processors import (
    AsyncProcessorLinker, LinkIncompleteError, PlaidClient, PlaidProcessorsError, ProcessorLinker,
    unfinished,
)

URL, PUBLIC_TOKEN, ACCESS_TOKEN = sys.argv[1:4]

def new_client(**options):
    keys = {"client_id": "0" * 24, "secret": "5e" * 15, "base_url": URL}
    return PlaidClient(**{**keys, "max_attempts": 1, "timeout": 5, "deadline": 10, **options})

def arguments(*ids):
    return {"public_token": PUBLIC_TOKEN, "accounts": [{"id": each} for each in ids]}

def check(result, *ids):
    assert [each.account.account_id for each in result.processor_tokens] == list(ids)
    for each in result.processor_tokens:
        assert each.processor_token.endswith(each.account.account_id)

def link(linker, *ids, **options):
    check(linker.link("layer", **arguments(*ids), **options), *ids)

"""

# Python 3.12 warns of the fork itself.
_WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")


def run(faulty: FaultyPlaid, script: str, *more: str, seconds: float = 30) -> str:
    """What a script prints that has to end by itself, with status 0 and nothing on stderr.

    But the hint at on_exchange, which a script that links without it gets once in each process.
    """
    arguments = (faulty.url, PUBLIC_TOKEN, ACCESS_TOKEN, *more)
    ran = subprocess.run(
        [sys.executable, *_WARNINGS, "-c", _START + script, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stderr.splitlines() if "without on_exchange=" not in line] == []
    return ran.stdout


# --- Ctrl-C ---------------------------------------------------------------------------------------


_PRESS = """
import gc, warnings
gc.disable()  # no destructors of other objects in between: Python drops what is raised in them
# Python's words where Ctrl-C comes between the making of a coroutine and its beginning.
warnings.filterwarnings("ignore", "coroutine '.*' was never awaited")

def press(frame, event, argument):
    # Where CPython looks for signals: as a function begins, and after a call.
    global left
    if event in ("call", "c_return") and frame.f_code.co_name != "__del__":
        left -= 1
        if left == 0:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

def struck(work, step=1, caught=unfinished):
    # Ctrl-C at each moment of work(moment), until that ends before the moment comes: the moment,
    # and what work returned or `caught` made of the error, which is not kept.
    global left
    moment, left = 0, 0
    while left <= 0:
        moment += step
        left = moment
        try:
            sys.setprofile(press)
            came = work(moment)
        except KeyboardInterrupt as error:
            sys.setprofile(None)
            came = caught(error)
        finally:
            sys.setprofile(None)
        yield moment, came
"""

_AT_EACH_MOMENT = (
    _PRESS
    + """
linkers = [ProcessorLinker(new_client(max_connections=1))]
def work(moment):
    link(linkers[-1], "a")
    return "through"

for moment, came in struck(work):
    assert came != "through" or left > 0, f"{moment}: the interrupt was swallowed"
    began = time.monotonic()
    link(linkers[-1], "b")
    assert time.monotonic() - began < 4, moment
    linkers[-1].close()
    linkers.append(ProcessorLinker(new_client(max_connections=1)))
linkers[-1].close()
end = time.monotonic() + 5
while threading.active_count() > 1 and time.monotonic() < end:
    time.sleep(0.01)
print(moment, threading.active_count())
"""
)


@pytest.mark.slow
def test_ctrl_c_at_each_moment_of_a_link(faulty: FaultyPlaid) -> None:
    """In a thread's start, too: it comes out, no thread hangs, and the one connection serves."""
    moments, threads = map(int, run(faulty, _AT_EACH_MOMENT).split())
    assert moments > 100
    assert threads == 1


@pytest.mark.slow
def test_ctrl_c_at_each_moment_of_a_turn(faulty: FaultyPlaid) -> None:
    """Whenever it comes, the next call of that name does not wait for the one that has ended."""
    faulty.on("/payment_instruments", computed(_finix))
    script = """
from plaid_processors.handoff import FinixSender
TOKEN = "processor-sandbox-5e171e1d-aaaa-4bbb-8ccc-0123456789ab"
sender = FinixSender(username="u", password="p", base_url=URL, timeout=3)
for moment, _ in struck(lambda moment: sender.hand_over(TOKEN, identity=f"ID{moment}")):
    began = time.monotonic()
    sender.hand_over(TOKEN, identity=f"ID{moment}", again=True)
    assert time.monotonic() - began < 6, moment
print(moment)
"""
    assert int(run(faulty, _PRESS + script, seconds=90)) > 200


each_fifth_or_all = pytest.mark.parametrize(
    "step", [pytest.param(5, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.full)]
)


@each_fifth_or_all
def test_ctrl_c_at_each_moment_with_a_store(faulty: FaultyPlaid, step: int) -> None:
    """Whenever it comes, the same link again neither waits for what ended nor is refused."""

    def one_of_its_own(request: Request) -> Answer:
        number = request.json["public_token"][-12:]
        return reply({"access_token": ACCESS_TOKEN[:-12] + number, "item_id": f"item-{number}"})

    faulty.on(EXCHANGE, computed(one_of_its_own))
    script = """
from plaid_processors.store import MemoryStore
store = MemoryStore()
client = new_client(max_connections=1)
linker = ProcessorLinker(client, store=store)
def work(moment):
    public_token = PUBLIC_TOKEN[:-12] + f"{moment:012}"
    user = f"user-{moment}"
    given = {**arguments("a"), "public_token": public_token, "client_user_id": user}
    check(linker.link("layer", **given), "a")

for moment, _ in struck(work, int(sys.argv[4])):
    began = time.monotonic()
    work(moment)
    assert time.monotonic() - began < 4, moment
print(moment)
"""
    assert int(run(faulty, _PRESS + script, str(step), seconds=120)) > 300


@each_fifth_or_all
def test_ctrl_c_at_each_moment_of_a_session(faulty: FaultyPlaid, step: int) -> None:
    """Whenever it comes, each Item that was made comes with it, or its doubt does."""

    def session(request: Request) -> Answer:
        moment = request.json["link_token"][-12:]
        added = [
            {
                "public_token": f"{PUBLIC_TOKEN[:-13]}{item}{moment}",
                "accounts": [link_account("a")],
                "institution": {"institution_id": f"ins_{item}", "name": "A bank"},
            }
            for item in "12"
        ]
        found = {
            "link_session_id": "s",
            "started_at": "2026-03-07T00:00:00Z",
            "finished_at": "2026-03-07T00:05:00Z",
            "results": {"item_add_results": added},
        }
        return reply({"link_sessions": [found], "request_id": "r"})

    def exchange(request: Request) -> Answer:
        rest = request.json["public_token"][-13:]
        return reply({"access_token": ACCESS_TOKEN[:-13] + rest, "item_id": f"item-{rest}"})

    faulty.on("/link/token/get", computed(session))
    faulty.on(EXCHANGE, computed(exchange))
    script = """
linker = ProcessorLinker(new_client(max_connections=2))
def work(moment):
    token = f"link-sandbox-5e171e1c-aaaa-4bbb-8ccc-{moment:012}"
    return linker.link_session("layer", token), False

def caught(error):
    results = [*getattr(error.__cause__, "results", ()), unfinished(error)]
    return filter(None, results), bool(getattr(error, "__notes__", ()))

def tell(moment, results, doubt):
    print(moment, doubt, *(each.access_token[-13:] for each in results))

tell(0, *work(0))  # the tables are read from their files
for moment, came in struck(work, int(sys.argv[4]), caught):
    tell(moment, *came)
"""
    told = [line.split() for line in run(faulty, _PRESS + script, str(step)).splitlines()]
    assert len(told) > 100
    assert len(told[-1]) == 4  # the last was not interrupted
    known = {token for _, _, *tokens in told for token in tokens}
    doubtful = {f"{int(moment):012}" for moment, doubt, *_ in told if doubt == "True"}
    made = {public_token[-13:] for public_token in exchanges(faulty)}
    assert {each for each in made - known if each[1:] not in doubtful} == set()


@pytest.mark.slow
def test_ctrl_c_at_each_moment_of_close(faulty: FaultyPlaid) -> None:
    """Closing it again ends its threads."""
    script = """
clients = []
def used_client():
    clients.append(new_client(max_connections=1))
    ProcessorLinker(clients[-1]).accounts(ACCESS_TOKEN)

used_client()
for moment, _ in struck(lambda moment: clients[-1].close()):
    clients[-1].close()
    used_client()
clients[-1].close()
end = time.monotonic() + 5
while threading.active_count() > 1 and time.monotonic() < end:
    time.sleep(0.01)
print(moment, threading.active_count())
"""
    # Python drops what is raised in the finalizers of urllib3's pools, and says so.
    script = "sys.unraisablehook = lambda _: None\n" + script
    moments, threads = map(int, run(faulty, _PRESS + script).split())
    assert moments > 10
    assert threads == 1


@pytest.mark.slow
def test_ctrl_c_at_each_moment_leaves_no_claim(faulty: FaultyPlaid) -> None:
    """The next back-fill of the Item need not wait until the claim has ended."""
    script = """
from plaid_processors.backfill import backfill_item
from plaid_processors.store import MemoryStore
linker = ProcessorLinker(new_client(), store=MemoryStore())
user = {"client_user_id": "user-42"}
item_id = linker.link("layer", **arguments("a-checking"), **user).item_id
def work(moment):
    return backfill_item(linker, "finix", item_id, dry_run=True)

for moment, _ in struck(work, 2):
    outcome = work(moment)
    assert outcome.reason != "claimed", moment
print(moment)
"""
    assert int(run(faulty, _PRESS + script, seconds=90)) > 100


def _finix(request: Request) -> Answer:
    """A Finix that has nothing, and makes what it is asked for."""
    if not request.body:  # a GET
        return reply({"_embedded": {"payment_instruments": []}, "page": {}})
    made = {"id": "PI1", "identity": request.json["identity"], "type": "BANK_ACCOUNT"}
    return reply(made, 201)


CALLS: dict[str, Callable[[ProcessorLinker], object]] = {
    ACCOUNTS: lambda linker: linker.accounts(ACCESS_TOKEN),
    REMOVE: lambda linker: linker.remove(ACCESS_TOKEN),
    LINK_TOKEN: lambda linker: linker.create_link_token(
        "layer", client_user_id="u", client_name="Acme"
    ),
    CREATE: lambda linker: linker.link("layer", **options("a", "b")),
}


@pytest.mark.parametrize("path", CALLS)
def test_ctrl_c_while_waiting_frees_the_connection(
    faulty: FaultyPlaid, make_linker: MakeLinker, released: threading.Event, path: str
) -> None:
    """A request that hangs and was interrupted holds up no other call, one that waits neither."""
    linker = make_linker(max_connections=1, timeout=20, deadline=6)
    waiting = threading.Event()

    def press(connection: Connection, request: Request) -> bool | None:
        waiting.set()
        time.sleep(0.5)  # the other call gets into the queue
        os.kill(os.getpid(), signal.SIGINT)
        return until(released)(connection, request)

    def other() -> LinkResult:
        assert waiting.wait(10)
        return linker.link("layer", **options("other"))

    faulty.on(path, press, faulty._usual[path])
    with ThreadPoolExecutor(1) as pool:
        behind = pool.submit(other)
        with pytest.raises(KeyboardInterrupt):
            CALLS[path](linker.with_options(deadline=20))
        assert behind.result(10).complete
    assert linker.link("layer", **options("a", "b")).complete


def test_an_interrupted_or_cancelled_link_asks_for_nothing_more(
    faulty: FaultyPlaid, make_client: MakeClient, released: threading.Event
) -> None:
    """Of many tokens only those are asked for that were being asked for when it ended."""

    def press(connection: Connection, request: Request) -> bool | None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        return until(released)(connection, request)

    async def cancelled() -> None:
        link = asyncio.ensure_future(AsyncProcessorLinker(client).link("layer", **options(*many)))
        while len(faulty.asked(CREATE)) < 2:
            await asyncio.sleep(0.01)
        link.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await link
        assert unfinished(caught.value) is not None

    many = [f"account-{number}" for number in range(200)]
    for how in ("interrupted", "cancelled"):
        client = make_client(max_connections=2, timeout=20)
        faulty.requests.clear()
        if how == "interrupted":
            faulty.on(CREATE, press, until(released))
            with pytest.raises(KeyboardInterrupt) as caught:
                ProcessorLinker(client).link("layer", **options(*many))
            assert unfinished(caught.value) is not None
        else:
            faulty.on(CREATE, until(released))
            asyncio.run(cancelled())
        time.sleep(0.2)
        assert len(faulty.asked(CREATE)) <= 2, how


def test_ctrl_c_that_reaches_another_thread(
    faulty: FaultyPlaid, make_linker: MakeLinker, released: threading.Event
) -> None:
    """The system may give a signal to any thread, or just before the wait begins: it comes out."""

    def press(connection: Connection, request: Request) -> bool | None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return until(released)(connection, request)

    faulty.on(ACCOUNTS, press)
    linker = make_linker(timeout=15)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        linker.accounts(ACCESS_TOKEN)
    assert time.monotonic() - began < 5


def test_ctrl_c_while_the_exchange_is_under_way(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """Its answer is waited for and comes along, `on_exchange` is called, and the client goes on."""

    def press(connection: Connection, request: Request) -> bool | None:
        os.kill(os.getpid(), signal.SIGINT)
        return late(exchanged(), 0.5)(connection, request)

    faulty.on(EXCHANGE, press, exchanged())
    linker = make_linker(max_connections=1)
    told: list[LinkedItem] = []
    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link("layer", **options("a", "b"), on_exchange=told.append)
    result = unfinished(caught.value)
    assert result is not None
    assert result.access_token == told[0].access_token == ACCESS_TOKEN
    assert CREATE not in faulty.paths
    assert linker.resume(result).complete


# --- asyncio --------------------------------------------------------------------------------------


def test_callbacks_that_await_the_linker_do_not_deadlock(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Forty links on two connections, each with four calls from within its callbacks."""
    linker = AsyncProcessorLinker(make_client(max_connections=2))
    asked: list[str] = []

    async def ask(told: LinkedItem | ProcessorToken) -> None:
        await linker.accounts(ACCESS_TOKEN)
        asked.append(type(told).__name__)

    async def main() -> list[LinkResult]:
        links = [
            linker.link(
                "layer", **options(f"{number}-a", f"{number}-b"), on_exchange=ask, on_token=ask
            )
            for number in range(40)
        ]
        return await asyncio.wait_for(asyncio.gather(*links), 30)

    results = asyncio.run(main())
    for number, result in enumerate(results):
        ids = [each.account.account_id for each in result.processor_tokens]
        assert ids == [f"{number}-a", f"{number}-b"]
    assert sorted(asked) == ["LinkedItem"] * 40 + ["ProcessorToken"] * 80
    assert faulty.most_at_once <= 2


def test_a_cancelled_call_frees_the_connection(
    faulty: FaultyPlaid, make_client: MakeClient, released: threading.Event
) -> None:
    """A link that waits behind a request that hangs goes on as soon as that one is cancelled."""
    faulty.on(ACCOUNTS, until(released))
    linker = AsyncProcessorLinker(make_client(max_connections=1, timeout=20, deadline=6))

    async def main() -> LinkResult:
        hanging = asyncio.ensure_future(linker.with_options(deadline=20).accounts(ACCESS_TOKEN))
        while not faulty.paths:
            await asyncio.sleep(0.01)
        behind = asyncio.ensure_future(linker.link("layer", **options("a", "b")))
        await asyncio.sleep(0.1)
        hanging.cancel()
        return await behind

    assert asyncio.run(main()).complete


@pytest.mark.slow
def test_a_loop_that_ends_before_the_answer_harms_nobody(faulty: FaultyPlaid) -> None:
    """Whether its tasks were cancelled or left, other loops and threads go on, in silence."""
    script = """
client = new_client(max_connections=4)
linker, blocking = AsyncProcessorLinker(client), ProcessorLinker(client)
left = []

async def leave(cancelled):
    for each in range(2):
        task = asyncio.ensure_future(linker.accounts(ACCESS_TOKEN))
        task._log_destroy_pending = False  # asyncio's own words about tasks that are left
        left.append(task)
    await asyncio.sleep(0.2)

for each in range(2):
    asyncio.run(leave(True))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave(False))
    loop.close()
    link(blocking, "a", "b")
    check(asyncio.run(linker.link("layer", **arguments("c", "d"))), "c", "d")
time.sleep(0.5)  # the answers come
link(blocking, "a", "b", "c", "d")
check(asyncio.run(linker.link("layer", **arguments("e", "f", "g", "h"))), "e", "f", "g", "h")
print("well")
"""
    faulty.on(ACCOUNTS, late(faulty._usual[ACCOUNTS], 0.4))
    assert run(faulty, script) == "well\n"


def test_an_exchange_of_a_loop_that_has_ended_is_not_sent(
    faulty: FaultyPlaid, make_client: MakeClient, names: Names
) -> None:
    """Its connection stands too late, when the task that waited for it is gone with its loop."""
    lookup, looked_up = threading.Event(), threading.Event()

    def look_up() -> None:
        looked_up.set()
        lookup.wait(20)

    names.know(address_of(faulty), wait=look_up)
    linker = AsyncProcessorLinker(make_client(timeout=20))
    loop = asyncio.new_event_loop()
    task = loop.create_task(linker.link("layer", **options("a", "b")))
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.to_thread(looked_up.wait, 10))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    del task
    gc.collect()
    lookup.set()
    time.sleep(0.4)
    assert exchanges(faulty) == []


@pytest.mark.slow
def test_an_item_of_a_loop_that_has_ended_is_named(
    faulty: FaultyPlaid, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    """An exchange that was sent before the loop ended makes an Item, and a warning says so."""
    faulty.on(EXCHANGE, late(exchanged(), 0.6))
    linker = AsyncProcessorLinker(make_client())
    loop = asyncio.new_event_loop()
    task = loop.create_task(linker.link("layer", **options("a", "b")))
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0.3))
    assert exchanges(faulty) == [PUBLIC_TOKEN]
    loop.close()
    with caplog.at_level(logging.WARNING, "plaid_processors"):
        del task
        gc.collect()
        wait_for(lambda: gc.collect() and "item-1" in caplog.text, 5)
    assert ACCESS_TOKEN not in caplog.text


@pytest.mark.slow
def test_a_lease_of_a_loop_that_has_ended_is_given_back(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """With a store: in silence, and who links the same next need not wait for the lease's end."""
    faulty.on(EXCHANGE, late(exchanged(), 0.5))
    client, store = make_client(deadline=4), MemoryStore()
    loop = asyncio.new_event_loop()
    user = {"client_user_id": "user-42"}
    task = loop.create_task(
        AsyncProcessorLinker(client, store=store).link("layer", **options("a"), **user)
    )
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(asyncio.sleep(0.3))
    assert exchanges(faulty) == [PUBLIC_TOKEN]
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gone = weakref.ref(task)
    del task
    wait_for(lambda: gc.collect() >= 0 and gone() is None)  # when the answer has come
    assert ProcessorLinker(client, store=store).link("layer", **options("a"), **user).complete


# --- context variables ----------------------------------------------------------------------------

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def test_requests_side_by_side_have_the_callers_context(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Three that overlap have a copy each: all see the caller's variables, none the others'."""
    together = threading.Barrier(3, timeout=10)
    seen: list[tuple[str, str, str]] = []

    def hook(event: RequestEvent) -> None:
        if event.endpoint != CREATE:
            return
        before = tenant.get()
        if event.kind is EventKind.SENT:
            together.wait()  # all three threads are within a context now
            tenant.set(str(threading.get_ident()))
            together.wait()
        seen.append((event.kind.value, before, str(threading.get_ident())))

    linker = ProcessorLinker(make_client(max_connections=3, on_event=hook))
    for name in ("acme", "globex"):
        seen.clear()
        tenant.set(name)
        assert linker.link("layer", **options("a", "b", "c")).complete
        sent = [(before, thread) for kind, before, thread in seen if kind == "sent"]
        assert [before for before, _ in sent] == [name] * 3
        assert len({thread for _, thread in sent}) == 3
        assert str(threading.get_ident()) not in {thread for _, thread in sent}
        assert all(before == thread for kind, before, thread in seen if kind == "answered")
        assert tenant.get() == name


def test_callbacks_run_in_the_callers_context(faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """On the caller's thread, with its variables; what they set there stays, in both linkers."""
    client = make_client()
    seen: list[tuple[str, int]] = []

    def told(value: LinkedItem | ProcessorToken) -> None:
        seen.append((tenant.get(), threading.get_ident()))
        tenant.set(f"{tenant.get()}+{type(value).__name__}")

    async def told_later(value: LinkedItem | ProcessorToken) -> None:
        await asyncio.sleep(0)
        told(value)

    def blocking() -> str:
        tenant.set("blocking")
        ProcessorLinker(client).link("layer", **options("a"), on_exchange=told, on_token=told)
        return tenant.get()

    async def awaited(callback: Callable[..., object], name: str) -> str:
        tenant.set(name)
        linker = AsyncProcessorLinker(client)
        await linker.link("layer", **options("a"), on_exchange=callback, on_token=callback)
        return tenant.get()

    async def side_by_side() -> list[str]:
        return await asyncio.gather(awaited(told, "first"), awaited(told_later, "second"))

    outcomes = [contextvars.copy_context().run(blocking), *asyncio.run(side_by_side())]
    assert outcomes == [
        f"{name}+LinkedItem+ProcessorToken" for name in ("blocking", "first", "second")
    ]
    assert {thread for _, thread in seen} == {threading.get_ident()}


# --- time ---


@pytest.mark.slow
def test_a_whole_answer_that_is_late_is_not_lost(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """The link has given it up; its error has the Item all the same."""
    answer = http({"access_token": ACCESS_TOKEN, "item_id": "item-1", "request_id": "r"})
    faulty.on(EXCHANGE, trickle(answer, every=2.4 / len(answer)))
    linker = make_linker(timeout=1.5, max_attempts=1)
    with pytest.raises(PlaidConnectionError) as caught:
        linker.link("layer", **options("a"))
    assert caught.value.outcome_unknown
    wait_for(lambda: unfinished(caught.value) is not None)


@pytest.mark.slow
def test_nothing_is_sent_after_the_deadline(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """Not even where a signal handler keeps the caller from looking at the clock."""
    faulty.on(CREATE, late(computed(issued), 0.8))
    linker = make_linker(max_connections=1, deadline=0.6)

    def hold(_number: int, _frame: object) -> None:
        time.sleep(0.8)  # the thread is free meanwhile, and the second token would be next

    usual = signal.signal(signal.SIGALRM, hold)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(LinkIncompleteError):
            linker.link("layer", **options("a", "b"))
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert len(faulty.asked(CREATE)) == 1


@pytest.mark.slow
def test_what_was_not_sent_by_the_deadline_is_said_once(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """Of six tokens on one connection the first hangs; however slow on_event is with each end."""
    events: list[RequestEvent] = []

    def hook(event: RequestEvent) -> None:
        if event.endpoint == CREATE and event.kind is EventKind.FAILED:
            events.append(event)
            time.sleep(0.005)

    faulty.on(CREATE, hang)
    linker = make_linker(max_connections=1, deadline=0.4, timeout=5, max_attempts=1, on_event=hook)
    with pytest.raises(LinkIncompleteError) as caught:
        linker.link("layer", **options(*"abcdef"))
    unknown = [error for _, error in caught.value.errors if error.outcome_unknown]
    assert [str(each).count("timed out") for each in unknown] == [1]
    time.sleep(0.2)
    assert len(events) == 6


# --- threads that hang ----------------------------------------------------------------------------


def test_a_server_that_trickles_holds_up_no_later_call(
    faulty: FaultyPlaid, make_linker: MakeLinker, released: threading.Event
) -> None:
    """Though every thread hangs in headers that never end, the next link has threads in time."""
    faulty.on(ACCOUNTS, *[trickled_headers(released)] * 9, faulty._usual[ACCOUNTS])
    linker = make_linker(max_connections=3, timeout=0.2, deadline=8)
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            calls = [pool.submit(linker.accounts, ACCESS_TOKEN) for _ in range(3)]
            for each in calls:
                error = each.exception(8)
                assert isinstance(error, PlaidConnectionError)
                assert "timed out" in str(error)
    healthy = linker.with_options(timeout=5)
    assert healthy.link("layer", **options("a", "b", "c", "d")).complete
    released.set()
    assert healthy.accounts(ACCESS_TOKEN)


@pytest.mark.slow
def test_no_more_than_so_many_threads_hang(
    faulty: FaultyPlaid, make_client: MakeClient, released: threading.Event
) -> None:
    """Beyond 64 no thread is started, and no request is sent, until one of them is free again."""
    faulty.on(ACCOUNTS, until(released))
    before = own_threads()
    client = make_client(max_connections=2, timeout=20, deadline=None)
    linker = AsyncProcessorLinker(client)

    async def leave(number: int) -> None:
        task = asyncio.ensure_future(linker.accounts(ACCESS_TOKEN))
        for _ in range(2500 if number < MOST_LEFT else 20):
            if len(faulty.paths) > number:
                break
            await asyncio.sleep(0.002)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert len(faulty.paths) > number or number >= MOST_LEFT

    async def main() -> None:
        for number in range(MOST_LEFT + 10):
            await leave(number)

    asyncio.run(main())
    assert MOST_LEFT <= len(faulty.paths) <= MOST_LEFT + 2
    assert len(own_threads() - before) <= MOST_LEFT + 2
    short = ProcessorLinker(client).with_options(deadline=0.4)
    with pytest.raises(PlaidConnectionError) as caught:
        short.link("layer", **options("a"))
    assert not caught.value.outcome_unknown
    assert exchanges(faulty) == []
    faulty.on(ACCOUNTS, faulty._usual[ACCOUNTS])
    released.set()
    assert ProcessorLinker(client).with_options(deadline=8).link("layer", **options("a")).complete
    wait_for(lambda: len(own_threads() - before) <= 2)
    assert exchanges(faulty) == [PUBLIC_TOKEN]


def test_threads_and_loops_share_the_connections(
    faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Both linkers at once, in many threads and tasks, on three connections: never a fourth."""
    faulty.on(CREATE, late(computed(issued), 0.01))
    client = make_client(max_connections=3)
    blocking, awaited = ProcessorLinker(client), AsyncProcessorLinker(client)
    before = own_threads()

    def block(number: int) -> list[LinkResult]:
        return [blocking.link("layer", **options(f"b{number}-a", f"b{number}-b"))]

    def in_a_loop(number: int) -> list[LinkResult]:
        async def main() -> list[LinkResult]:
            links = [
                awaited.link("layer", **options(f"l{number}-{each}-a", f"l{number}-{each}-b"))
                for each in range(8)
            ]
            return await asyncio.gather(*links)

        return asyncio.run(main())

    with ThreadPoolExecutor(10) as pool:
        work = [pool.submit(block, number) for number in range(24)]
        work += [pool.submit(in_a_loop, number) for number in range(3)]
        results = [result for each in work for result in each.result(30)]
    assert len(results) == 48
    given = [each for result in results for each in result.processor_tokens]
    assert len({each.account.account_id for each in given}) == 96
    assert all(each.processor_token.endswith(each.account.account_id) for each in given)
    assert faulty.most_at_once == 3
    assert faulty.connections == 3
    assert len(own_threads() - before) <= 3


def test_a_forgotten_client_leaves_no_threads(faulty: FaultyPlaid) -> None:
    """They end when nobody can use the client any more, though nobody closed it."""
    before = own_threads()
    client = PlaidClient(**KEYS, base_url=faulty.url)
    ProcessorLinker(client).link("layer", **options("a", "b", "c"))
    asyncio.run(AsyncProcessorLinker(client).link("layer", **options("a", "b", "c")))
    assert own_threads() - before
    del client
    gc.collect()
    wait_for(lambda: own_threads() <= before)
    wait_for(lambda: faulty.open_connections == 0)


# --- the end --------------------------------------------------------------------------------------


_LEFT_HANGING = """
linker = ProcessorLinker(new_client(timeout=0.15))
for number in range(3):
    try:
        linker.accounts(ACCESS_TOKEN)
    except PlaidProcessorsError:
        pass
"""

_UNDER_WAY = """
linker = ProcessorLinker(new_client(timeout=20, deadline=20))
def work():
    linker.accounts(ACCESS_TOKEN)
for number in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""

_INTERRUPTED = """
linker = ProcessorLinker(new_client(timeout=20, deadline=20))
def interrupt(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    linker.accounts(ACCESS_TOKEN)
except KeyboardInterrupt:
    pass
"""

_CANCELLED = """
linker = AsyncProcessorLinker(new_client(timeout=20, deadline=20))
async def main():
    task = asyncio.ensure_future(linker.accounts(ACCESS_TOKEN))
    await asyncio.sleep(0.3)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "script",
    [
        _LEFT_HANGING,
        pytest.param(_UNDER_WAY, marks=pytest.mark.slow),
        pytest.param(_INTERRUPTED, marks=pytest.mark.slow),
        _CANCELLED,
    ],
    ids=["given up", "under way", "interrupted", "cancelled"],
)
def test_the_exit_waits_for_no_thread_that_hangs(
    faulty: FaultyPlaid, released: threading.Event, script: str
) -> None:
    """The interpreter ends at once, with status 0, and silently."""
    faulty.on(ACCOUNTS, trickled_headers(released))
    printed = run(faulty, script + "print(time.time(), flush=True)", seconds=15)
    assert time.time() - float(printed) < 8


@pytest.mark.slow
def test_close_waits_a_second_at_most(
    faulty: FaultyPlaid, make_client: MakeClient, released: threading.Event
) -> None:
    """For a request whose caller still waits; for one whose caller has left, not at all."""
    faulty.on(ACCOUNTS, until(released))
    waited_for = make_client(timeout=20)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ProcessorLinker(waited_for).accounts, ACCESS_TOKEN)
        wait_for(lambda: faulty.paths)
        assert took(waited_for.close) < 4
        released.set()
        assert isinstance(call.exception(5), PlaidConnectionError)
    released.clear()
    times = []
    for _ in range(3):  # the least counts: the machine may be busy
        client = make_client(timeout=20, deadline=0.2)
        with pytest.raises(PlaidConnectionError):
            ProcessorLinker(client).accounts(ACCESS_TOKEN)
        times.append(took(client.close))
    assert min(times) < 0.8


@pytest.mark.parametrize(
    "seconds",
    [0.4, pytest.param(1.8, marks=pytest.mark.slow)],
    ids=["which close awaits", "which outlasts close"],
)
def test_an_exchange_under_way_survives_close(
    faulty: FaultyPlaid, make_client: MakeClient, seconds: float
) -> None:
    """Another thread closes the client meanwhile: the Item comes, and `on_exchange` is called."""
    faulty.on(EXCHANGE, late(exchanged(), seconds))
    client = make_client(max_connections=1)
    told: list[LinkedItem] = []
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(
            ProcessorLinker(client).link, "layer", **options("a", "b"), on_exchange=told.append
        )
        wait_for(lambda: exchanges(faulty))
        client.close()
        error = call.exception(10)
    assert isinstance(error, LinkIncompleteError)
    assert error.result.access_token == told[0].access_token == ACCESS_TOKEN
    assert ProcessorLinker(make_client()).resume(error.result).complete


# --- forks ----------------------------------------------------------------------------------------


_FORK = """
def in_child(work):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)

def ended_well(*children, seconds=8):
    end = time.monotonic() + seconds
    for child in children:
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                raise AssertionError("the child hangs")
            time.sleep(0.01)
        assert ended[1] == 0
"""


@needs_fork
def test_forks_before_and_after_use(faulty: FaultyPlaid) -> None:
    """Parent, children and their children link at once, each over connections of its own."""
    script = (
        _FORK
        + """
linker = ProcessorLinker(new_client(max_connections=2))
def several(name):
    for number in range(5):
        link(linker, f"{name}-{number}-a", f"{name}-{number}-b")
def with_a_grandchild():
    several("child")
    child = in_child(lambda: several("grandchild"))
    several("child")
    ended_well(child)
before = in_child(lambda: several("before"))
several("parent")
after = [in_child(with_a_grandchild) for _ in range(2)]
several("parent")
ended_well(before, *after)
several("parent")
asyncio.run(AsyncProcessorLinker(linker.client).link("layer", **arguments("z")))
print("well")
"""
    )
    assert run(faulty, script) == "well\n"
    assert len(exchanges(faulty)) == 5 + 15 + 2 * 15 + 1


@needs_fork
def test_a_fork_keeps_the_pool_of_an_api_client(faulty: FaultyPlaid) -> None:
    """A child sends as the ApiClient's owner has set its pool up, over connections of its own."""
    script = (
        _FORK
        + """
import plaid, urllib3
class Pool(urllib3.PoolManager):
    "Stands for one with a proxy, or with certificates, of the owner's."
    def request(self, *args, headers, **options):
        return super().request(*args, headers={**headers, "X-Pool": str(os.getpid())}, **options)
keys = {"clientId": "0" * 24, "secret": "5e" * 15}
api = plaid.ApiClient(plaid.Configuration(host=URL, api_key=keys))
api.rest_client.pool_manager = Pool()
linker = ProcessorLinker(PlaidClient.from_plaid(api, max_attempts=1))
def in_the_child():
    linker.accounts(ACCESS_TOKEN)
    print(os.getpid(), flush=True)
linker.accounts(ACCESS_TOKEN)
ended_well(in_child(in_the_child))
linker.accounts(ACCESS_TOKEN)
print(os.getpid())
"""
    )
    child, parent = run(faulty, script).split()
    assert [each.headers["x-pool"] for each in faulty.requests] == [parent, child, parent]
    assert faulty.connections == 2


@pytest.mark.slow
@needs_fork
def test_a_fork_refuses_a_pool_that_cannot_be_made_again(faulty: FaultyPlaid) -> None:
    """One that is none of urllib3's may share its connections with the parent, unseen."""
    script = (
        _FORK
        + """
import plaid
from plaid_processors import ConfigurationError
class Counting:
    def __init__(self, pool):
        self.pool = pool
    def request(self, *args, **options):
        return self.pool.request(*args, **options)
keys = {"clientId": "0" * 24, "secret": "5e" * 15}
api = plaid.ApiClient(plaid.Configuration(host=URL, api_key=keys))
api.rest_client.pool_manager = Counting(api.rest_client.pool_manager)
linker = ProcessorLinker(PlaidClient.from_plaid(api, max_attempts=1))
def in_the_child():
    try:
        linker.accounts(ACCESS_TOKEN)
    except ConfigurationError as error:
        print(error, flush=True)
linker.accounts(ACCESS_TOKEN)
ended_well(in_child(in_the_child))
linker.accounts(ACCESS_TOKEN)
"""
    )
    assert "pool manager is a Counting" in run(faulty, script)
    assert len(faulty.requests) == 2


@needs_fork
def test_a_fork_in_the_middle_of_other_threads_links(faulty: FaultyPlaid) -> None:
    """Whatever they held at that moment, each child links, and sends nothing of theirs."""
    script = (
        _FORK
        + """
linker = ProcessorLinker(new_client(max_connections=2))
busy, links = True, []
def work(name):
    while busy:
        link(linker, f"{name}-a", f"{name}-b")
        links.append(name)
threads = [threading.Thread(target=work, args=(f"t{each}",)) for each in range(4)]
for each in threads:
    each.start()
for number in range(12):
    time.sleep(0.011)
    ended_well(in_child(lambda: link(linker, "child-a", "child-b")))
busy = False
for each in threads:
    each.join()
link(linker, "after")
print(len(links) + 12 + 1)
"""
    )
    faulty.on(CREATE, late(computed(issued), 0.003))
    links = int(run(faulty, script))
    assert len(exchanges(faulty)) == links


_CALLBACK_FORKS = (
    _FORK
    + """
CALLBACK = sys.argv[4]
linker = ProcessorLinker(new_client(max_connections=1, timeout=2, deadline=4))
parent, child = os.getpid(), None

def others():
    try:
        link(linker, "other-a", "other-b")
    except PlaidProcessorsError:
        os._exit(3)

def fork(told):
    global child
    if child is None:
        for each in range(3):
            threading.Thread(target=others).start()
        time.sleep(0.03)  # they are in the queue
        child = os.fork()

began = time.monotonic()
try:
    link(linker, "a", "b", "c", **{CALLBACK: fork})
    outcome = "linked"
except LinkIncompleteError as error:
    assert error.result.access_token == ACCESS_TOKEN
    outcome = "incomplete"
if child == 0:
    assert time.monotonic() - began < 7
    link(linker, "child-a", "child-b")
    os.write(1, f"child {outcome}\\n".encode())
    time.sleep(0.5)  # nothing of the parent's may be sent from here
    os._exit(0)
ended_well(child, seconds=12)
link(linker, "after")
os.write(1, f"parent {outcome}\\n".encode())
"""
)


@needs_fork
@pytest.mark.parametrize(
    "callback", [pytest.param("on_exchange", marks=pytest.mark.slow), "on_token"]
)
def test_a_fork_inside_a_callback(faulty: FaultyPlaid, callback: str) -> None:
    """The parent goes on; in the child the call ends in time and sends nothing of the parent's."""
    faulty.on(CREATE, late(computed(issued), 0.1))
    printed = run(faulty, _CALLBACK_FORKS, callback).split("\n")
    assert "parent linked" in printed
    if callback == "on_token":  # what was under way is its parent's
        assert "child incomplete" in printed
    assert len(exchanges(faulty)) == 1 + 3 + 1 + 1
    others = [each["account_id"] for each in faulty.asked(CREATE) if "other" in each["account_id"]]
    assert sorted(others) == ["other-a"] * 3 + ["other-b"] * 3


# --- gevent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tls", [pytest.param(False, marks=pytest.mark.slow), True], ids=["plain", "TLS"]
)
def test_gevent_patched_after_the_linker_was_used(tls: bool, tmp_path: Path) -> None:
    """Links go on, those of several greenlets at once, and the hub is not blocked meanwhile."""
    pytest.importorskip("gevent")
    script = """
URL = URL.replace("127.0.0.1", "localhost")  # urllib3 1.26, patched late, reaches names only
linker = ProcessorLinker(new_client(max_connections=4, ca_bundle=sys.argv[4]))
link(linker, "before-a", "before-b")

import warnings
import gevent
from gevent import monkey
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # gevent's own, that it comes late
    monkey.patch_all()

link(linker, "main-a", "main-b")
ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.005)
        ticks += 1
ticker = gevent.spawn(tick)
links = [gevent.spawn(link, linker, f"{each}-a", f"{each}-b") for each in range(12)]
gevent.joinall(links, timeout=20)
assert all(each.successful() for each in links), [each.exception for each in links]
ticker.kill()
linker.close()
print(ticks)
"""
    certificate = make_certificate(tmp_path)
    with TlsPlaid(certificate) if tls else FaultyPlaid() as plaid:
        plaid.on(CREATE, late(computed(issued), 0.05))
        assert int(run(plaid, script, str(certificate))) > 10
        assert plaid.most_at_once == 4


# --- time: names and addresses --------------------------------------------------------------------


def nothing() -> None:
    """A look-up that takes no time."""


def outcome_of(linker: ProcessorLinker, public_token: str = PUBLIC_TOKEN) -> bool | None:
    """Whether a link brought the Item; None where it says that nobody knows."""
    told: list[LinkedItem] = []
    try:
        linker.link(
            "layer",
            public_token=public_token,
            accounts=[link_account("a")],
            on_exchange=told.append,
        )
    except LinkIncompleteError:
        assert told
    except PlaidConnectionError as error:
        assert not told
        return None if error.outcome_unknown else False
    return True


@pytest.mark.slow
def test_a_deadline_that_ends_in_a_busy_event_loop(faulty: FaultyPlaid, names: Names) -> None:
    """No exchange is sent after it, though nothing in the loop could withdraw it in time."""
    names.know(address_of(faulty), wait=lambda: time.sleep(0.5))

    async def main() -> None:
        client = PlaidClient(**KEYS, base_url=faulty.url, deadline=0.25)
        link = asyncio.ensure_future(AsyncProcessorLinker(client).link("layer", **options("a")))
        await asyncio.sleep(0.05)
        time.sleep(1)  # the application's own work holds the loop
        with pytest.raises(PlaidConnectionError) as caught:
            await link
        assert not caught.value.outcome_unknown
        client.close()

    asyncio.run(main())
    assert exchanges(faulty) == []


def test_calls_one_after_the_other_need_few_threads(make_linker: MakeLinker) -> None:
    """Threads start at the first need, not up to `max_connections` whatever is idle."""
    before = own_threads()
    linker = make_linker(max_connections=16)
    for _ in range(12):
        linker.link("layer", **options("a"))
    assert 1 <= len(own_threads() - before) <= 3


def test_a_slow_look_up_and_a_dead_address_cost_time_and_no_item(
    faulty: FaultyPlaid, make_linker: MakeLinker, names: Names
) -> None:
    """What takes longer than the time-out, yet not than both of them, still brings the Item."""
    with DeadAddress() as dead, FaultyPlaid() as other, ThreadPoolExecutor(2) as pool:
        names.know(address_of(faulty), wait=lambda: time.sleep(0.7))
        names.know(address_of(other), wait=nothing, before=[dead.address])
        slow_name = pool.submit(outcome_of, make_linker(timeout=0.6))
        dead_first = pool.submit(outcome_of, make_linker(timeout=0.6, base_url=other.url))
        assert slow_name.result(20) is True
        assert dead_first.result(20) is True
        assert len(exchanges(faulty)) == len(exchanges(other)) == 1


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": 0.25},
        {"timeout": 30, "deadline": 0.5},
        pytest.param({"timeout": 0.15, "max_attempts": 2}, marks=pytest.mark.slow),
    ],
    ids=["the time-outs", "the deadline", "the time-outs, twice"],
)
def test_a_name_that_hangs_or_dead_addresses_end_in_time_and_send_nothing(
    faulty: FaultyPlaid, make_linker: MakeLinker, names: Names, limits: dict[str, Any]
) -> None:
    """The call ends meanwhile; when the connection stands at last, nothing is sent."""
    lookup = threading.Event()
    with DeadAddress() as dead, FaultyPlaid() as other, ThreadPoolExecutor(2) as pool:
        names.know(address_of(faulty), wait=lambda: lookup.wait(20))
        names.know(address_of(other), wait=nothing, before=[dead.address] * 4)
        calls = [
            pool.submit(outcome_of, make_linker(base_url=each.url, **limits))
            for each in (faulty, other)
        ]
        assert [each.result(10) for each in calls] == [False, False]
        lookup.set()
        wait_for(lambda: faulty.connections > 0)
        if "deadline" not in limits:  # else each of the dead ones takes all of the time
            wait_for(lambda: other.connections > 0)
        time.sleep(0.5)
        assert exchanges(faulty) == exchanges(other) == []


def test_an_interrupted_or_cancelled_link_that_was_still_connecting_sends_nothing(
    faulty: FaultyPlaid, make_client: MakeClient, names: Names
) -> None:
    """Ctrl-C and cancellation come out at once, and the exchange is never sent."""
    lookup, asked = threading.Event(), threading.Semaphore(0)

    def look_up() -> None:
        asked.release()
        lookup.wait(30)

    def press() -> None:
        if asked.acquire(timeout=10):
            os.kill(os.getpid(), signal.SIGINT)

    async def cancelled() -> None:
        task = asyncio.ensure_future(
            AsyncProcessorLinker(client).link("layer", **options("a", "b"))
        )
        await asyncio.to_thread(asked.acquire, timeout=10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert unfinished(caught.value) is None

    names.know(address_of(faulty), wait=look_up)
    client = make_client(timeout=20)
    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        ProcessorLinker(client).link("layer", **options("a", "b"))
    presser.join()
    assert unfinished(caught.value) is None
    asyncio.run(cancelled())
    assert not lookup.is_set()
    lookup.set()
    wait_for(lambda: faulty.connections == 2)
    time.sleep(0.5)
    assert exchanges(faulty) == []
    assert ProcessorLinker(client).link("layer", **options("a", "b")).complete


@pytest.mark.slow
def test_at_the_very_moment_of_giving_up_it_is_sent_or_not_and_the_call_knows(
    faulty: FaultyPlaid, make_linker: MakeLinker, names: Names
) -> None:
    """Where connections stand just as calls give up, each exchange is accounted for."""
    chance = random.Random(7)
    names.know(address_of(faulty), wait=lambda: time.sleep(chance.uniform(0.55, 0.65)))
    tokens = [f"public-sandbox-{uuid.uuid4()}" for _ in range(80)]
    linkers = [make_linker(timeout=(0.1, 0.5), max_connections=2) for _ in range(8)]

    def several(number: int) -> dict[str, bool | None]:
        return {each: outcome_of(linkers[number], each) for each in tokens[number::8]}

    with ThreadPoolExecutor(8) as pool:
        outcomes = dict(pair for each in pool.map(several, range(8)) for pair in each.items())
    time.sleep(0.5)
    sent = exchanges(faulty)
    assert len(sent) == len(set(sent))
    assert set(sent) == {each for each, outcome in outcomes.items() if outcome is not False}


def test_an_exchange_that_was_sent_outlasts_the_deadline_and_brings_the_item(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """By its read time at most: one whose answer does not come then is told as unknown."""
    faulty.on(EXCHANGE, late(exchanged(), 0.5))
    assert outcome_of(make_linker(timeout=5, deadline=0.2)) is True
    faulty.on(EXCHANGE, late(exchanged(), 8))
    began = time.monotonic()
    assert outcome_of(make_linker(timeout=0.5, deadline=0.2)) is None
    assert 0.4 <= time.monotonic() - began < 5


def test_an_exchange_that_was_not_sent_by_the_deadline_never_is(
    faulty: FaultyPlaid, make_client: MakeClient, released: threading.Event
) -> None:
    """It waited for a thread in vain; when the thread is free, it is not made up for."""
    faulty.on(ACCOUNTS, until(released))
    client = make_client(max_connections=1, timeout=20)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(ProcessorLinker(client).accounts, ACCESS_TOKEN)
        wait_for(lambda: faulty.paths)
        linker = ProcessorLinker(client)
        assert outcome_of(linker.with_options(deadline=0.4)) is False
        released.set()
        assert isinstance(busy.exception(10), PlaidConnectionError)
    faulty.on(ACCOUNTS, faulty._usual[ACCOUNTS])
    assert linker.accounts(ACCESS_TOKEN)
    assert exchanges(faulty) == []
    assert outcome_of(linker) is True


# --- what fails on the machine --------------------------------------------------------------------


def test_when_the_system_has_no_thread_to_give(faulty: FaultyPlaid) -> None:
    """It is an error of this package after as many attempts as allowed, and passes by itself."""
    script = """
from plaid_processors import PlaidConnectionError

def expect(call):
    began = time.monotonic()
    try:
        call()
    except PlaidConnectionError as error:
        assert not error.outcome_unknown
        assert error.retryable
    else:
        raise AssertionError("there was a thread")
    assert time.monotonic() - began < 8

def threads(there_are):
    # Each thread would be given more memory than a process can have.
    threading.stack_size(0 if there_are else 1 << 47)

client = new_client(max_attempts=2, deadline=None)
linker, awaited = ProcessorLinker(client), AsyncProcessorLinker(client)
threads(False)
try:
    threading.Thread(target=print).start()
except RuntimeError as error:
    assert str(error) == "can't start new thread"
else:
    print("this system gives it all the same")
expect(lambda: link(linker, "a", "b"))
expect(lambda: linker.accounts(ACCESS_TOKEN))
expect(lambda: asyncio.run(awaited.link("layer", **arguments("a", "b"))))
threads(True)
link(linker, "a")
threads(False)  # the one that there is serves all
link(linker, "a", "b", "c")
check(asyncio.run(awaited.link("layer", **arguments("a", "b", "c"))), "a", "b", "c")
threads(True)
link(linker, "a", "b", "c")
linker.close()
print("well")
"""
    assert run(faulty, script) == "well\n"
    assert len(exchanges(faulty)) == 4


def test_when_the_system_has_one_thread_to_give_and_no_second(faulty: FaultyPlaid) -> None:
    """Links work, and the client closes, where `threading` itself can start no thread."""
    script = """
def refuse(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
linker = ProcessorLinker(new_client())
link(linker, "a", "b", "c")
check(asyncio.run(AsyncProcessorLinker(linker.client).link("layer", **arguments("a"))), "a")
linker.close()
print("well")
"""
    assert run(faulty, script) == "well\n"


def raising(error: BaseException, times: int = 1) -> Callable[..., Any]:
    """A read from a socket that ends so in the threads of this package, and then well."""
    read = socket.SocketIO.readinto

    def readinto(self: socket.SocketIO, buffer: Any) -> int | None:
        nonlocal times
        if threading.current_thread().name.startswith("plaid-processors") and times:
            times -= 1
            raise error
        return read(self, buffer)

    return readinto


@pytest.mark.parametrize("kind", [MemoryError, RecursionError, KeyboardInterrupt, SystemExit])
def test_what_is_raised_on_a_thread_during_the_exchange_comes_out_typed(
    faulty: FaultyPlaid,
    make_linker: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
) -> None:
    """After it was sent: unknown, with what to ask Plaid's support, and the thread serves on."""
    linker = make_linker(max_connections=1)
    monkeypatch.setattr(socket.SocketIO, "readinto", raising(kind("access-sandbox-secret")))
    with pytest.raises(PlaidConnectionError) as caught:
        linker.link("layer", **options("a", "b"))
    assert caught.value.outcome_unknown
    assert caught.value.support is not None
    assert "access-sandbox-secret" not in f"{caught.value!r} {caught.value}"
    wait_for(lambda: exchanges(faulty) == [PUBLIC_TOKEN])
    assert linker.link("layer", **options("a", "b")).complete


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_raised_on_a_thread_after_the_item_landed_loses_nothing(
    faulty: FaultyPlaid, make_client: MakeClient, kind: type[BaseException]
) -> None:
    """A hook that ends its thread as the answer is read: the Item comes all the same."""

    def hook(event: RequestEvent) -> None:
        if event.endpoint == EXCHANGE and event.kind is EventKind.ANSWERED:
            raise kind

    client = make_client(on_event=hook, max_connections=1)
    for link in (
        lambda: ProcessorLinker(client).link("layer", **options("a", "b")),
        lambda: asyncio.run(AsyncProcessorLinker(client).link("layer", **options("a", "b"))),
    ):
        with pytest.raises(LinkIncompleteError) as caught:
            link()
        assert caught.value.result.access_token == ACCESS_TOKEN
        assert ProcessorLinker(client).resume(caught.value.result).complete


@pytest.mark.slow
def test_a_caller_near_the_recursion_limit_loses_nothing(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """At each depth: the result, an error that has or names the Item, or nothing was sent."""

    def deep(levels: int, work: Callable[[], LinkResult]) -> LinkResult:
        return deep(levels - 1, work) if levels else work()

    def link(public_token: str) -> LinkResult:
        return linker.link("layer", public_token=public_token, accounts=[link_account("a")])

    linker = make_linker()
    frame, here = sys._getframe(), 0
    while frame is not None:
        frame, here = frame.f_back, here + 1  # type: ignore[assignment]
    outcomes = set()
    for spare in range(5, 85):
        public_token = f"public-sandbox-{uuid.uuid4()}"
        try:
            result: Any = deep(
                sys.getrecursionlimit() - here - spare, lambda token=public_token: link(token)
            )
            assert result.complete
        except (RecursionError, PlaidConnectionError, LinkIncompleteError) as error:
            result = unfinished(error) or (getattr(error, "outcome_unknown", False) or None)
        time.sleep(0.01)  # what was sent has come in
        sent = public_token in exchanges(faulty)
        assert not sent or result is not None
        outcomes.add(sent)
    assert outcomes == {True, False}
