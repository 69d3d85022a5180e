"""Interrupts links at spread moments, and counts what became of their Items.

The main thread is interrupted by a signal of the system's clock, so many microseconds after the
link began.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import plaid_processors
from plaid_processors import (
    AsyncProcessorLinker,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    PlaidClient,
    PlaidProcessorsError,
    ProcessorLinker,
    unfinished,
)

from .checks import chain, link_account
from .faulty import (
    CREATE,
    EXCHANGE,
    Answer,
    FaultyPlaid,
    Request,
    close,
    computed,
    issued,
    refusal,
    reply,
)

PACKAGE = str(Path(plaid_processors.__file__).parent)
HERE = __file__
KEYS = {"client_id": "0123456789abcdef01234567", "secret": "5e" * 15}
ACCOUNTS = [link_account(f"account-{number}") for number in range(3)]
TIMEOUT = 4.0
IN_TIME = 3.0
"""What takes longer hung until a time-out ended it: a link takes some milliseconds."""


class TimeLimitError(Exception):
    """As Celery's SoftTimeLimitExceeded: a signal handler raises it, and it is an Exception."""


class Fate(IntEnum):
    """How the server serves a link."""

    FINE = 0
    REFUSED = 1
    """The Item is made, and a processor token refused: the link ends as incomplete."""
    LOST = 2
    """The Item is made, and the connection breaks before the answer."""


@dataclass(frozen=True)
class Item:
    """An Item that the server made."""

    number: str
    access_token: str


class CountingPlaid(FaultyPlaid):
    """A quick Plaid that knows which Items it made, by their public tokens."""

    def __init__(self) -> None:
        """Nothing made yet."""
        super().__init__()
        self.made: dict[str, Item] = {}
        self.delay = 0.0
        self.on(EXCHANGE, computed(self._exchange))
        self.on(CREATE, computed(self._create))

    def client(self, **options: Any) -> PlaidClient:
        """A client whose time is short."""
        given = {"timeout": TIMEOUT, "deadline": 2 * TIMEOUT, "max_attempts": 1, **options}
        return PlaidClient(base_url=self.url, **KEYS, **given)

    def _exchange(self, request: Request) -> Answer:
        public_token = request.json["public_token"]
        if public_token in self.made:
            return refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "already exchanged")
        number = public_token[15:23]
        item = Item(number, public_token.replace("public", "access"))
        self.made[public_token] = item
        time.sleep(self.delay)
        if _fate(public_token) is Fate.LOST:
            return close
        told = {"access_token": item.access_token, "item_id": f"item-{number}"}
        return reply({**told, "request_id": "req-exchange"})

    def _create(self, request: Request) -> Answer:
        body = request.json
        if _fate(body["access_token"]) is Fate.REFUSED and body["account_id"] == "account-1":
            return refusal()
        return issued(request)


def _fate(token: str) -> Fate:
    return Fate(int(token[24:28], 16))


_numbers = iter(range(sys.maxsize))


@dataclass
class Run:
    """One link, and what its caller got."""

    fate: Fate = Fate.FINE
    stores: bool = False
    """Whether there is an `on_exchange`; without it an interruption alone can bring the Item."""
    within: bool = False
    """Whether an asynchronous link is caught where it is awaited, or by who calls `asyncio.run`."""

    public_token: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    begun: bool = False
    over: bool = False
    hung: bool = False
    stored: list[LinkedItem] = field(default_factory=list)
    result: LinkResult | None = None
    caught: BaseException | None = None
    seconds: float = 0.0
    struck: list[str] = field(default_factory=list)
    """Where each interruption came."""

    def __post_init__(self) -> None:
        """A public token of its own, which tells the server the fate."""
        number = f"{next(_numbers):08x}"
        self.public_token = f"public-sandbox-{number}-{self.fate:04x}-4bbb-8ccc-abcdef012345"
        self.metadata = {"accounts": ACCOUNTS, "link_session_id": f"session-{number}"}

    @property
    def ended(self) -> bool:
        """Whether the caller has the result or the error: what strikes later is his."""
        return self.over or self.result is not None or self.caught is not None

    def blocking(self, linker: ProcessorLinker) -> None:
        """Link, and keep what comes."""
        on_exchange = self.stored.append if self.stores else None
        try:
            self.begun = True
            # Named arguments and a plain attribute: a signal cannot strike between the two.
            self.result = linker.link(
                "layer",
                public_token=self.public_token,
                metadata=self.metadata,
                on_exchange=on_exchange,
            )
        except BaseException as error:  # noqa: BLE001
            self.caught = error

    async def awaited(self, linker: AsyncProcessorLinker) -> LinkResult:
        """Link, and pass on what comes."""
        on_exchange = self.stored.append if self.stores else None
        try:
            self.begun = True
            return await linker.link(
                "layer",
                public_token=self.public_token,
                metadata=self.metadata,
                on_exchange=on_exchange,
            )
        finally:
            self.over = True

    async def caught_within(self, linker: AsyncProcessorLinker) -> None:
        """Link, and keep what comes, whatever becomes of the event loop."""
        try:
            self.result = await self.awaited(linker)
        except BaseException as error:
            self.caught = error
            raise

    def begin(self, linker: Any) -> None:
        """Link in the way of this linker."""
        began = time.monotonic()
        if isinstance(linker, ProcessorLinker):
            self.blocking(linker)
        elif self.within:
            try:
                asyncio.run(self.caught_within(linker))
            except BaseException:  # noqa: BLE001  it was caught within
                self.over = True
        else:
            try:
                self.result = asyncio.run(self.awaited(linker))
            except BaseException as error:  # noqa: BLE001
                self.caught = error
        self.over = True
        self.seconds = time.monotonic() - began

    @property
    def in_hand(self) -> set[str]:
        """The access tokens that the caller has now."""
        results = [self.result, unfinished(self.caught)]
        held: list[Any] = [*self.stored, *(each for each in results if each is not None)]
        return {each.access_token for each in held}

    @property
    def told(self) -> bool:
        """Whether the error says that there may be an Item."""
        words = []
        for error in chain(self.caught):
            words += getattr(error, "__notes__", ())
            if isinstance(error, PlaidProcessorsError):
                words.append(str(error))
        return any("An Item may exist" in each for each in words)


Action = Callable[[Run], None]
"""What an interruption does: it raises, or it cancels."""


def raising(kind: type[BaseException]) -> Action:
    """As a signal handler that raises."""

    def act(_run: Run) -> None:
        raise kind

    return act


def cancelling(_run: Run) -> None:
    """As `loop.add_signal_handler(…, task.cancel)`: the loop does it, between two steps."""
    _cancel(lambda loop, task: loop.call_soon_threadsafe(task.cancel))


def _cancel(do: Callable[[asyncio.AbstractEventLoop, asyncio.Task[Any]], object]) -> None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # it is over
    for task in asyncio.all_tasks(loop):
        do(loop, task)


def as_ctrl_c(_run: Run) -> None:
    """As Ctrl-C under `asyncio.run`, which cancels first and then raises."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, None)


def _place(frame: FrameType | None) -> str:
    """Where an interruption came: the innermost frame, and the innermost of the package."""
    places = []
    while frame is not None and len(places) < 2:
        name = frame.f_code.co_filename
        if not places or name.startswith(PACKAGE):
            place = "/".join(Path(name).parts[-2:])
            places.append(f"{place}:{frame.f_lineno} {frame.f_code.co_name}")
            if name.startswith(PACKAGE):
                break
        frame = frame.f_back
    return " < ".join(places)


class Clock:
    """Interrupts by signals of the system's clock."""

    def __init__(
        self, run: Run, action: Action, first: float, gaps: tuple[float, ...] = ()
    ) -> None:
        """Set up.

        Args:
            run: the link.
            action: what each interruption does.
            first: seconds from the link's beginning to the first.
            gaps: seconds from each to the next.
        """
        self._run = run
        self._action = action
        self._times = [first, *gaps]
        self._over = False

    def __enter__(self) -> None:
        """Start the clock."""
        signal.signal(signal.SIGALRM, self._handle)
        self._next()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _next(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(self._times.pop(0), 1e-6))

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        run = self._run
        if run.ended:
            return
        if not run.begun or frame is None or frame.f_code.co_filename == HERE:
            signal.setitimer(signal.ITIMER_REAL, 20e-6)  # not in this module: again in a moment
            return
        if self._over:
            run.hung = True
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            raise KeyboardInterrupt
        run.struck.append(_place(frame))
        if self._times:
            self._next()
        else:
            self._over = True
            signal.setitimer(signal.ITIMER_REAL, 1.5 * TIMEOUT)
        self._action(run)


class Warned(logging.Handler):
    """What was said in logs. Without a lock, which an interruption could leave taken.

    Attributes:
        texts: what the package warned of, and the errors that asyncio or Python show as they have
            nobody to raise them to.
        swallowed: the interruptions that came in a destructor, which cannot raise them.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.texts: deque[str] = deque()
        self.swallowed: list[str] = []

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep it."""
        if record.levelno >= logging.WARNING:
            self.texts.append(record.getMessage())
            if record.exc_info:
                self._shown(record.exc_info[1])
        return True

    def unraisable(self, what: Any) -> None:
        """What Python could not raise."""
        # By no code of Python's own, which would be interrupted too.
        name = getattr(what.object, "__qualname__", type(what.object).__name__)
        self.swallowed.append(f"{what.exc_type.__name__} in {name}")
        self._shown(what.exc_value)

    def _shown(self, error: BaseException | None) -> None:
        if isinstance(error, LinkIncompleteError):
            self.texts.append(f"{error.result.item_id}: {error}")

    def of(self, number: str) -> bool:
        """Whether the Item of this number is named, or, where no answer came, its Link session."""
        return any(number in each for each in self.texts.copy())


@contextmanager
def prepared() -> Iterator[Warned]:
    """The world in which links are interrupted: quiet, with what is said in logs.

    In the main thread, with the clock's signal borrowed from whoever uses it (pytest-timeout).
    """
    assert threading.current_thread() is threading.main_thread()
    loggers = [logging.getLogger("plaid_processors"), logging.getLogger("asyncio")]
    before = signal.getsignal(signal.SIGALRM)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    began = time.monotonic()
    hook, propagate = sys.unraisablehook, [each.propagate for each in loggers]
    warned = Warned()
    for each in loggers:
        each.addHandler(warned)
        each.propagate = False  # an interruption in others' handlers would leave their locks taken
    sys.unraisablehook = warned.unraisable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # coroutines that were interrupted before they began
            yield warned
            gc.collect()
    finally:
        sys.unraisablehook = hook
        for each, passes in zip(loggers, propagate, strict=True):
            each.propagate = passes
            each.removeHandler(warned)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.1, left + began - time.monotonic()))


@dataclass
class Count:
    """What became of some links.

    Attributes:
        links: how many were interrupted.
        strikes: how many interruptions came.
        made: how many Items the server made for them.
        kept: of how many of these the caller has the access token.
        unknown: of how many the caller's error says that they may exist.
        late: how many came when the link was over: a warning says that the error has them now.
        warned: how many were lost, and a warning names them.
        silent: how many were lost without a word: where the interruptions came.
        broken: clients that did not work afterwards: where the interruptions came.
        slow: links that hung until a time-out ended them: where the interruptions came.
        asyncio_hung: links whose event loop was broken by an exception in its own code, for ever.
        false_alarms: errors that speak of an Item which was not made.
    """

    name: str
    links: int = 0
    strikes: int = 0
    made: int = 0
    kept: int = 0
    unknown: int = 0
    late: int = 0
    warned: int = 0
    silent: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    asyncio_hung: int = 0
    false_alarms: int = 0

    @property
    def well(self) -> bool:
        """Whether the promise was kept."""
        return not (self.silent or self.broken or self.slow)


class Range:
    """Where links are interrupted: a server, clients, and the reckoning."""

    def __init__(self, plaid: CountingPlaid, warned: Warned, linker: type[Any], name: str) -> None:
        """Set up.

        Args:
            plaid: the server.
            warned: what the package warns of.
            linker: the class whose links are interrupted.
            name: what is tried.
        """
        self.count = Count(name)
        self._plaid = plaid
        self._warned = warned
        self._make = linker
        self._waiting: list[tuple[Run, str]] = []
        self._linker = linker(plaid.client())
        self._seconds: dict[bool, float] = {}

    def fresh(self) -> None:
        """Go on with a new client, which has no threads and connections yet."""
        self._linker.client.close()
        self._linker = self._make(self._plaid.client())

    @property
    def goes_on(self) -> bool:
        """Whether it is worth while: what breaks all clients would take hours."""
        return len(self.count.broken) < 3 and len(self.count.slow) < 10

    def seconds(self, *, cold: bool) -> float:
        """How long a link takes, of a client that was used before or of a new one."""
        if cold not in self._seconds:
            times = []
            for _ in range(9):
                if cold:
                    self.fresh()
                run = Run()
                run.begin(self._linker)
                assert run.result is not None, run.caught
                times.append(run.seconds)
            self._seconds[cold] = median(times)
        return self._seconds[cold]

    def interrupt(self, run: Run, by: Any) -> None:
        """One link, interrupted or not."""
        with by:
            run.begin(self._linker)
        self._reckon(run)

    def _reckon(self, run: Run) -> None:
        count, where = self.count, " | ".join(run.struck)
        if not run.struck:
            return
        count.links += 1
        count.strikes += len(run.struck)
        where = f"{run.fate.name} {type(run.caught).__name__}: {where}"
        item = self._plaid.made.get(run.public_token)
        if run.hung and "asyncio" in where:
            count.asyncio_hung += 1
        elif run.hung or run.seconds > IN_TIME:
            count.slow.append(where)
        if item is not None and item.access_token in run.in_hand:
            count.kept += 1
            run.caught = run.result = None
        else:  # it may be made yet, or a warning may come
            self._waiting.append((run, where))
        after = Run()
        after.begin(self._linker)
        if after.result is None or not after.result.complete or after.seconds > IN_TIME:
            count.broken.append(f"{where}: {after.caught!r} after {after.seconds:.1f} s")
            self.fresh()
        self._plaid.requests.clear()

    def end(self) -> Count:
        """Wait for what is under way, and count what was lost."""
        count, made, warned = self.count, self._plaid.made, self._warned
        time.sleep(0.2)
        lost = []
        while self._waiting:
            run, where = self._waiting.pop()
            item = made.get(run.public_token)
            if run.told:
                count.unknown += item is not None
                count.false_alarms += item is None
            elif item is not None and warned.of(item.number) and item.access_token in run.in_hand:
                count.late += 1
            elif item is not None:
                lost.append((item, where))
            run.caught = run.result = None
        # What holds the last run; and a loop that `asyncio.run` was kept from closing.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        sys.set_asyncgen_hooks(None, None)
        asyncio.set_event_loop(None)
        for _ in range(4):  # what a collection ends may set free more
            gc.collect()  # a lost Item is warned of when what held it is dropped
        for item, where in lost:
            if warned.of(item.number):
                count.warned += 1
            else:
                count.silent.append(f"{item.number} {where}")
        self._linker.client.close()
        count.made = count.kept + count.unknown + count.late + count.warned + len(count.silent)
        return count


HOW_OFTEN = {"single": 1, "double": 2, "nested": 3}
"""How many interruptions come: the second of two may come anywhere, nested ones at once."""

ACTIONS: dict[str, tuple[type[Any], tuple[Action, ...]]] = {
    "sync": (ProcessorLinker, (raising(KeyboardInterrupt), raising(TimeLimitError))),
    "async": (AsyncProcessorLinker, (cancelling, as_ctrl_c)),
    "async, raised": (AsyncProcessorLinker, (raising(KeyboardInterrupt), raising(TimeLimitError))),
}
"""What is interrupted, and what an interruption does.

The last is what asyncio's own documentation warns of: raised in the middle of the event loop's
code, an exception can make it forget a task.
"""


def by_clock(
    plaid: CountingPlaid, warned: Warned, world: str, how: str, links: int, seed: int = 0
) -> Count:
    """Interrupts so many links by the clock, at moments spread over a whole link.

    Args:
        plaid: the server.
        warned: what the package warns of.
        world: one of `ACTIONS`.
        how: one of `HOW_OFTEN`.
        links: how many are to be struck.
        seed: of the moments.
    """
    chance = random.Random(seed)
    linker, actions = ACTIONS[world]
    ground = Range(plaid, warned, linker, f"{world}, {how}")
    number = 0
    while ground.goes_on and ground.count.links < links and number < 3 * links:
        cold = number % 4 == 0
        plaid.delay = (0.0, 0.0, 0.004)[number % 3]
        whole = ground.seconds(cold=cold) + plaid.delay
        if cold:
            ground.fresh()
        # Spread evenly over a link, whatever else changes from one to the next.
        first = whole * ((number * 0.6180339887) % 1.0)
        shortest, longest = (20e-6, whole) if how == "double" else (2e-6, 200e-6)
        gaps = tuple(
            shortest * (longest / shortest) ** chance.random() for _ in range(HOW_OFTEN[how] - 1)
        )
        run = Run(
            fate=chance.choices(list(Fate), (70, 15, 15))[0],
            stores=chance.random() < 0.5,
            within="raised" in world,
        )
        ground.interrupt(run, Clock(run, chance.choice(actions), first, gaps))
        number += 1
    return ground.end()
