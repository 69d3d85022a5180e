"""The fault matrix: each request of a link, by each fault, once or for ever, over real sockets.

What is checked is the promise, against what the local Plaid knows: whatever fails, the caller ends
with the access token, or with the certainty that there is no Item, or with an error that says that
it cannot be known and what to ask Plaid.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic
from typing import Any

import attrs
import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    EventKind,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    PlaidClient,
    PlaidProcessorsError,
    ProcessorLinker,
    PublicTokenError,
    RequestEvent,
    unfinished,
)
from plaid_processors.sandbox import ItemState, Linked, LocalSandbox

from .support.checks import strangers
from .support.gate import Gate

EXCHANGE = "/item/public_token/exchange"
ACCOUNTS = "/accounts/get"
CREATE = "/processor/token/create"
MASKS = ["0000", "1111", "2222", "3333"]
ATTEMPTS = 2
HASTY = 1.5
"""The time-out where the fault is slowness; elsewhere it is longer, for machines that are busy."""
DEADLINE = 20.0
IN_TIME = 10.0
"""Far below the deadline: what is slow here is this machine, not the SDK."""


@attrs.frozen
class Fault:
    """What goes wrong.

    Attributes:
        what: as the local Plaid's control plane takes it; None: the connection is refused.
        passes: whether a request that is sent again after it may succeed.
    """

    what: Mapping[str, Any] | None
    passes: bool = True


def _retryable() -> dict[str, Fault]:
    codes = [
        "INTERNAL_SERVER_ERROR",
        "PLANNED_MAINTENANCE",
        "INSTITUTION_DOWN",
        "INSTITUTION_NOT_RESPONDING",
        "INSTITUTION_NOT_AVAILABLE",
    ]
    return {f"{code} at 400": Fault({"error_code": code, "status": 400}) for code in codes}


def _fatal() -> dict[str, Fault]:
    codes = [
        "INVALID_ACCESS_TOKEN",
        "INVALID_ACCOUNT_ID",
        "INVALID_API_KEYS",
        "INVALID_FIELD",
        "INVALID_PRODUCT",
        "INVALID_PUBLIC_TOKEN",
        "ITEM_LOCKED",
        "ITEM_LOGIN_REQUIRED",
        "ITEM_NOT_FOUND",
        "ITEM_NOT_SUPPORTED",
        "NO_ACCOUNTS",
        "PRODUCT_NOT_READY",
        "USER_PERMISSION_REVOKED",
    ]
    return {code: Fault({"error_code": code}, passes=False) for code in codes}


def _bodies() -> dict[str, Fault]:
    """Answers that are not what they should be, before and after the work."""
    odd: dict[str, dict[str, Any]] = {
        "empty": {"body": "", "status": 200},
        "not JSON": {"body": '{"access_token": ', "status": 200},
        "HTML 200": {"body": "<html>Sign in to the hotel's network</html>", "status": 200},
        "a list": {"json": [], "status": 200},
        "null": {"json": None, "status": 200},
        "an empty object": {"json": {}, "status": 200},
        "wrong types": {
            "json": {"access_token": 5, "accounts": {}, "processor_token": ["x"]},
            "status": 200,
        },
        "an error inside 200": {"error_code": "INTERNAL_SERVER_ERROR", "status": 200},
        "500": {"error_code": "INTERNAL_SERVER_ERROR", "status": 500},
        "502 in HTML": {"status": 502},
    }
    return {
        f"{name}, {'after' if work else 'before'} the work": Fault({**what, "work": work})
        for name, what in odd.items()
        for work in (False, True)
    }


FAULTS: dict[str, Fault] = {
    "refused": Fault(None),
    "reset unread": Fault({"drop": "unread"}),
    "reset before the work": Fault({"drop": "before"}),
    "reset after the work": Fault({"drop": "after"}),
    "too slow": Fault({"delay": 2 * HASTY}),
    "429": Fault({"error_code": "RATE_LIMIT"}),
    "429 with Retry-After": Fault({"error_code": "RATE_LIMIT", "headers": {"Retry-After": "0.2"}}),
    "429 in HTML": Fault({"status": 429}),
    "500 in HTML": Fault({"status": 500}),
    "503": Fault({"error_code": "PLANNED_MAINTENANCE"}),
    "503 in HTML": Fault({"status": 503}),
    "504 in HTML": Fault({"status": 504}),
    "403 in HTML": Fault({"status": 403}, passes=False),
    "CREDITS_EXHAUSTED": Fault({"error_code": "CREDITS_EXHAUSTED"}, passes=False),
    "a code of next year": Fault({"error_code": "NEW", "error_type": "ITEM_ERROR"}, passes=False),
    "cut at once": Fault({"cut": 0}),
    "cut within the token": Fault({"cut": 40}),
    "cut after the token": Fault({"cut": 90}),
    "missing fields": Fault({"remove": ["access_token", "accounts", "processor_token"]}),
    "null fields": Fault(
        {"change": {"access_token": None, "accounts": None, "processor_token": None}}
    ),
    **_retryable(),
    **_fatal(),
    **_bodies(),
}

# The requests of a Layer link with four accounts: with the accounts given, and without.
GIVEN = [(EXCHANGE, 0), *((CREATE, place) for place in range(4))]
FETCHED = [(EXCHANGE, 0), (ACCOUNTS, 0), *((CREATE, place) for place in range(4))]
ONCE = (True, False)
TARGETS = [(True, *each) for each in GIVEN] + [(False, *each) for each in FETCHED]


@attrs.frozen
class Cell:
    """One place of the matrix."""

    fault: Fault
    given: bool
    path: str
    place: int
    once: bool
    awaited: bool

    @property
    def acted(self) -> bool:
        """Whether Plaid does the work although the fault strikes."""
        what = self.fault.what or {}
        bent = ("delay", "cut", "remove", "change")
        return (
            what.get("drop") == "after"
            or bool(what.get("work"))
            or any(name in what for name in bent)
        )

    @property
    def survived(self) -> bool:
        """Whether the link has to succeed: a passing fault, of what can be asked for again."""
        repeatable = self.path != EXCHANGE or not self.acted
        return self.once and self.fault.passes and repeatable

    @property
    def most_requests(self) -> int:
        return (5 if self.given else 6) + (ATTEMPTS - 1) * (4 if self.path == CREATE else 1)


class Door:
    """Shuts the gate just before the request that is to be refused is sent."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lock = threading.Lock()
        self._cell: Cell | None = None
        self._left = 0
        self._thread: int | None = None

    def lie_in_wait(self, cell: Cell | None) -> None:
        self._cell, self._thread = cell, None
        self._left = -1 if cell is None else cell.place
        self._gate.open()

    def on_event(self, event: RequestEvent) -> None:
        cell = self._cell
        if cell is None or event.endpoint != cell.path:
            return
        with self._lock:
            if event.kind is EventKind.SENT and event.attempt == 1:
                if self._left == 0:
                    self._thread = threading.get_ident()
                    self._gate.shut()
                self._left -= 1
            struck = self._thread == threading.get_ident()
            over = event.kind in (EventKind.FAILED, EventKind.ANSWERED)
            if over and struck and cell.once:
                self._gate.open()


class Bench:
    """A local Plaid, and the clients that one cell after the other works with."""

    def __init__(self, stack: ExitStack) -> None:
        self.plaid = stack.enter_context(LocalSandbox())
        gate = stack.enter_context(Gate(self.plaid.url))
        self.door = Door(gate)
        limits: dict[str, Any] = {
            "timeout": 5.0,
            "deadline": DEADLINE,
            "max_attempts": ATTEMPTS,
        }
        self._straight = stack.enter_context(self.plaid.client(**limits))
        self._hasty = stack.enter_context(self.plaid.client(**{**limits, "timeout": HASTY}))
        # Who comes by while the gate is shut for another is refused too: one attempt more.
        limits.update(max_attempts=ATTEMPTS + 1, base_url=gate.url, on_event=self.door.on_event)
        self._gated = stack.enter_context(self.plaid.client(**limits))
        self.link_token = ""

    def reset(self) -> None:
        """Begin anew, so that the local Plaid does not fill up."""
        self.plaid.reset()
        token = ProcessorLinker(self._straight).create_link_token(
            "layer", client_user_id="u", client_name="Acme"
        )
        self.link_token = token.link_token

    def run(self, cell: Cell) -> list[str]:
        """Link under the cell's fault, and tell what is wrong with what came of it."""
        done = self.plaid.complete_link(self.link_token, masks=MASKS)
        self.plaid.clear_requests()
        client = self._lay(cell)
        told: list[LinkedItem] = []
        began = monotonic()
        outcome = _link(client, cell, done, told)
        took = monotonic() - began
        paths = [each.path for each in self.plaid.requests]
        self.plaid.clear_faults()
        self.door.lie_in_wait(None)
        judge = Judge(self, cell, done, told, outcome)
        return [f"{cell}: {each}" for each in judge.complaints(client, took, paths)]

    def _lay(self, cell: Cell) -> PlaidClient:
        if cell.fault.what is None:
            self.door.lie_in_wait(cell)
            return self._gated
        times = 1 if cell.once else None
        self.plaid.fail(cell.path, skip=cell.place, times=times, **cell.fault.what)
        return self._hasty if "delay" in cell.fault.what else self._straight

    def item(self, done: Linked) -> ItemState:
        """What became of the Item at Plaid."""
        ids = {account["id"] for account in done.metadata["accounts"]}
        return next(item for item in self.plaid.items if ids & set(item.account_ids))


def _link(client: PlaidClient, cell: Cell, done: Linked, told: list[LinkedItem]) -> Any:
    """The result, or the error."""
    arguments: dict[str, Any] = {"public_token": done.public_token}
    if cell.given:
        arguments["accounts"] = done.metadata["accounts"]

    async def awaited() -> LinkResult:
        async def on_exchange(item: LinkedItem) -> None:
            told.append(item)

        linker = AsyncProcessorLinker(client)
        return await linker.link("layer", **arguments, on_exchange=on_exchange)

    try:
        if cell.awaited:
            return asyncio.run(awaited())
        return ProcessorLinker(client).link("layer", **arguments, on_exchange=told.append)
    except BaseException as error:  # noqa: BLE001  what it is, is what is checked
        return error


class Judge:
    """Holds what came of a cell against what the local Plaid knows."""

    def __init__(
        self, bench: Bench, cell: Cell, done: Linked, told: list[LinkedItem], outcome: Any
    ) -> None:
        self.cell = cell
        self.done = done
        self.told = told
        self.outcome = outcome
        self.item = bench.item(done)
        self.result = outcome if isinstance(outcome, LinkResult) else unfinished(outcome)
        self.secrets = [bench.link_token, bench.plaid.secret, done.public_token]
        self.bench = bench

    def complaints(self, client: PlaidClient, took: float, paths: list[str]) -> Iterator[str]:
        """Everything that is not as promised."""
        yield from self._outcome()
        yield from self._in_bounds(took, paths)
        yield from self._item_known() if self.result else self._item_unknown()
        yield from self._tokens()
        yield from self._silence(self.outcome, self.told)
        if isinstance(self.outcome, LinkIncompleteError):
            yield from self._resumed(client)

    def _outcome(self) -> Iterator[str]:
        if isinstance(self.outcome, LinkResult):
            if not self.outcome.complete:
                yield "a result that is not complete"
        elif not isinstance(self.outcome, PlaidProcessorsError):
            yield f"an error that is not ours: {self.outcome!r}"
        elif foreign := strangers(self.outcome):
            yield f"errors that are not ours in the chain: {foreign}"
        if isinstance(self.outcome, LinkResult) and not self.cell.once:
            yield "the fault did not strike"
        if self.cell.survived and not isinstance(self.outcome, LinkResult):
            yield f"a passing fault was not survived: {self.outcome}"

    def _in_bounds(self, took: float, paths: list[str]) -> Iterator[str]:
        if took > IN_TIME:
            yield f"took {took:.1f} s"
        if len(paths) > self.cell.most_requests:
            yield f"{len(paths)} requests"
        if not self.cell.fault.passes and len(paths) > len(set(paths)) + 3 * (CREATE in paths):
            yield f"asked again in vain: {paths}"

    def _item_known(self) -> Iterator[str]:
        tokens = {self.item.access_token, self.result.access_token}
        if len(tokens) != 1 or [each.access_token for each in self.told] != [*tokens]:
            yield f"on_exchange was called {len(self.told)} times, or with another access token"

    def _item_unknown(self) -> Iterator[str]:
        error = self.outcome
        if self.told:
            yield "on_exchange was called, and the error has no result"
        if self.cell.path != EXCHANGE:
            yield "the access token reached the client, and the caller does not have it"
        if self.item.exchanged and not error.outcome_unknown:
            yield "an Item was made, and the error says that there is none"
        if error.outcome_unknown and not {"time", "endpoint", "public_token"} <= {*error.support}:
            yield "not enough for Plaid's support"
        if error.outcome_unknown and isinstance(error, PublicTokenError):
            yield "an ambiguous exchange is told as a bad token"
        # A connection that was kept may also be reset as the gate shuts: that is ambiguous.
        if error.outcome_unknown and "refused" in getattr(error, "reason", ""):
            yield "a refused connection is told as ambiguous"

    def _tokens(self) -> Iterator[str]:
        came = len(self.result.processor_tokens) if self.result else 0
        if self.cell.path == CREATE and self.cell.fault.what is not None:
            usual = self.cell.place if not self.cell.once else 4 - (not self.cell.fault.passes)
            if came != usual:
                yield f"{came} processor tokens, not {usual}"

    def _silence(self, *shown: object) -> Iterator[str]:
        secrets = [*self.secrets, self.item.access_token, *self.item.processor_tokens]
        text = "".join(_told(each) for each in shown)
        yield from (f"a secret shows: {each[:12]}" for each in secrets if each in text)

    def _resumed(self, client: PlaidClient) -> Iterator[str]:
        error = self.outcome
        stored = json.loads(json.dumps(error.result.to_dict()))
        result = _resume(client, self.cell, LinkResult.from_dict(stored))
        if not isinstance(result, LinkResult) or len(result.processor_tokens) != 4:
            yield f"resume gives {result!r}"
        elif not {*error.result.processor_tokens} <= {*result.processor_tokens}:
            yield "resume asked again for what was there"
        yield from self._silence(result)


def _resume(client: PlaidClient, cell: Cell, result: LinkResult) -> object:
    try:
        if cell.awaited:
            return asyncio.run(AsyncProcessorLinker(client).resume(result))
        return ProcessorLinker(client).resume(result)
    except PlaidProcessorsError as error:
        return error


def _told(shown: object) -> str:
    if isinstance(shown, BaseException):
        return f"{shown} {shown!r} {shown.args} {''.join(traceback.format_exception(shown))}"
    return f"{shown} {shown!r}"


BENCHES = 6


@pytest.fixture(scope="module")
def benches() -> Iterator[list[Bench]]:
    """So many cells run side by side: most of their time is waiting."""
    with ExitStack() as stack:
        yield [Bench(stack) for _ in range(BENCHES)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that anybody logs."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def cells(awaited: bool) -> list[Cell]:
    """The whole matrix of one linker."""
    return [
        Cell(fault, *target, once, awaited)
        for fault in FAULTS.values()
        for target in TARGETS
        for once in ONCE
    ]


def sample(awaited: bool) -> list[Cell]:
    """Each fault once at the exchange and once later, by turns in one of the two linkers."""
    chosen = []
    for number, fault in enumerate(FAULTS.values()):
        target = GIVEN[0] if awaited == number % 2 else FETCHED[1 + number % 5]
        given = target[0] != ACCOUNTS and number % 3 == 0
        chosen.append(Cell(fault, given, *target, number % 4 < 2, awaited))
    return chosen


def complaints(chosen: list[Cell], benches: list[Bench]) -> list[str]:
    """What is wrong in these cells."""

    def work(bench: Bench, some: list[Cell]) -> list[str]:
        bench.reset()
        return [complaint for cell in some for complaint in bench.run(cell)]

    shares = [chosen[start::BENCHES] for start in range(BENCHES)]
    with ThreadPoolExecutor(BENCHES) as pool:
        return [each for share in pool.map(work, benches, shares) for each in share]


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_nothing_is_lost_and_nothing_leaks(
    awaited: bool, benches: list[Bench], log: pytest.LogCaptureFixture
) -> None:
    """Whichever request a fault strikes, once or for ever, the promise holds: a sample."""
    assert complaints(sample(awaited), benches) == []
    assert re.findall(r"\w+-sandbox-[0-9a-f-]{36}", log.text) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.full) for part in (1, 2, 3))]
)
@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_nothing_is_lost_and_nothing_leaks_in_the_whole_matrix(
    awaited: bool, part: int, benches: list[Bench], log: pytest.LogCaptureFixture
) -> None:
    """Every fault at every request, once and for ever, for both linkers."""
    assert complaints(cells(awaited)[part::4], benches) == []
    assert re.findall(r"\w+-sandbox-[0-9a-f-]{36}", log.text) == []
