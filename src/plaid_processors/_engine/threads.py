"""A few daemon threads that send requests, and the requests that they are given.

Not `concurrent.futures`: an exception that a signal handler raises on the caller's thread (Ctrl-C,
Celery's soft time limit) may strike inside a `Condition` and leave its lock taken for ever. Here
the caller touches only what is written in C: `SimpleQueue`, plain locks that are tried and not
waited for, assignments. Everything is looked up in its module when it is needed, so that what
gevent has patched is used.
"""

from __future__ import annotations

import _thread
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic

MOST_LEFT = 64
"""How many threads may hang in requests that nobody waits for, beside those that are counted."""

THREAD_NAME = "plaid-processors"
"""How the threads' names begin."""

CLOSE_SECONDS = 1.0
"""How long `Threads.close` waits for requests that are under way."""


class WithdrawnError(Exception):
    """The request was withdrawn before it was sent."""


class Attempt:
    """One request, to be sent once, on one of the threads.

    Attributes:
        number: which attempt at its request it is, from 1.
        outcome: what the work returned, once `finished`.
        error: what it raised, which it should not.
        finished: whether it is over.
        left: whether nobody waits for it any more; one that has not begun then never begins.
        began: the `monotonic` moment when a thread took it.
        sent_at: the moment when its body was sent, where `body` made that body.
    """

    def __init__(
        self,
        work: Callable[[Attempt], object],
        ring: Callable[[], None],
        waits: Callable[[], bool],
        *,
        sent: Callable[[], None],
        number: int,
        once: bool,
    ) -> None:
        """Set it up.

        Args:
            work: sends the request; runs on a thread, in a copy of the caller's context.
            ring: wakes the caller; runs on a thread.
            waits: whether there is a caller still; runs on a thread.
            sent: called when its `body` is sent; runs on a thread.
            number: which attempt at its request it is, from 1.
            once: whether it can be withdrawn until its `body` is sent, rather than until it begins.
        """
        self.number = number
        self.outcome: object = None
        self.error: BaseException | None = None
        self.finished = False
        self.left = False
        self.began: float | None = None
        self.sent_at: float | None = None
        self._work = work
        self._ring = ring
        self._waits = waits
        self._sent = sent
        self._context = contextvars.copy_context()  # each its own: one cannot be entered twice
        self._once = once
        self._taken: dict[str, str] = {}

    def run(self) -> None:
        """Do the work, unless the caller has left."""
        if not self.left and (self._once or self._take("thread")):
            self.began = monotonic()
            try:
                self.outcome = self._context.run(self._work, self)
            except BaseException as error:  # noqa: BLE001  whoever waits has to get something
                self.error = error
        self.finished = True
        self._ring()

    def body(self, content: bytes) -> Iterator[bytes]:
        """The body of a request that must not be sent if nobody waits for its answer.

        urllib3 asks for it when the connection stands, which may have taken long.

        Raises:
            WithdrawnError: the caller withdrew it, or its event loop is closed.
        """
        if not self._waits() or not self._take("thread"):
            raise WithdrawnError
        self.sent_at = monotonic()
        self._sent()
        yield content

    def withdraw(self) -> bool:
        """Have it not sent: True if it was not, and will not be."""
        return self._take("caller")

    def _take(self, taker: str) -> bool:
        """Whether this side was the first: a thread, to send it, or the caller, to withdraw it."""
        return self._taken.setdefault("by", taker) == taker  # atomic, by no lock that could stay

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self.left = True
        self.withdraw()


class Threads:
    """Runs attempts on at most so many threads, started when they are needed."""

    def __init__(self, most: int) -> None:
        """No thread is started yet."""
        self._most = most
        self._waiting: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._running: dict[threading.Thread, Attempt | None] = {}
        self._admission = threading.Lock()  # taken by the threads, never by a caller
        self._closed = False

    def submit(self, attempt: Attempt) -> bool:
        """Run the attempt as soon as a thread is free; False if they are closed.

        Raises:
            RuntimeError: the system has no thread to give.
        """
        self._waiting.put(attempt)
        if self._closed and attempt.withdraw():  # asked after: what was put before is still run
            attempt.left = True
            return False
        self._grow()
        return True

    def leave(self, attempt: Attempt) -> None:
        """The caller waits no longer: it is not sent any more; its thread no longer counts."""
        attempt.leave()
        with suppress(RuntimeError):  # no thread to be had: those that there are go on
            self._grow()

    def end(self) -> None:
        """Let the threads end, after the attempts that they have. Waits for nothing."""
        self._closed = True
        self._waiting.put(None)

    def close(self) -> None:
        """As `end`, and wait a little for the requests under way whose callers still wait."""
        self.end()
        until = monotonic() + CLOSE_SECONDS
        for thread, attempt in self._running.copy().items():
            if attempt is None or not attempt.left:
                with suppress(RuntimeError, AssertionError):  # a dummy, see _start
                    thread.join(max(0.0, until - monotonic()))

    def _grow(self) -> None:
        """Start a thread where an attempt waits for one and there may be one more.

        It asks for admission itself: a start that is interrupted, or one too many, harms nothing.
        """
        idle = sum(attempt is None for attempt in self._running.copy().values())
        if self._waiting.qsize() > idle and self._counted() < self._most:
            # Not by Thread.start on the caller's thread: it waits on a Condition.
            try:
                _thread.start_new_thread(self._start, ())
            except RuntimeError:
                if not self._running:
                    raise

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:  # the system has no other thread: this one will do
            self._work()

    def _counted(self) -> int:
        attempts = self._running.copy().values()
        return sum(attempt is None or not attempt.left for attempt in attempts)

    def _work(self) -> None:
        me = threading.current_thread()
        with self._admission:
            if self._counted() >= self._most or len(self._running) >= self._most + MOST_LEFT:
                return
            me.name = f"{THREAD_NAME}-{len(self._running)}"
            self._running[me] = None
        try:
            while (attempt := self._waiting.get()) is not None:
                self._running[me] = attempt
                self._grow()
                attempt.run()
                del attempt  # and with it what it holds: tokens, answers
                with self._admission:
                    self._running[me] = None
                    if self._counted() > self._most:  # another took its place while it hung
                        del self._running[me]
                        return
        finally:
            self._running.pop(me, None)
        self._waiting.put(None)  # for the next thread
