"""A few daemon threads that send requests, and the requests that they are given.

Not `concurrent.futures`: an exception that a signal handler raises on the caller's thread (Ctrl-C,
Celery's soft time limit) may strike inside a `Condition` and leave its lock taken for ever. Here
the caller touches only what is written in C: `SimpleQueue`, dictionaries, assignments. Everything
is looked up in its module when it is needed, so that what gevent has patched is used.
"""

from __future__ import annotations

import _thread
import contextvars
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from attrs import define, field

from .ports import Port

MOST_LEFT = 64
"""How many threads may hang in requests whose callers have left, beside those that are counted."""

THREAD_NAME = "plaid-processors"
"""How the threads' names begin."""

CLOSE_SECONDS = 1.0
"""How long `Running.close` waits for requests that are under way."""


_forks = 0
"""How many forks lie between this process and the one that imported this module."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def world() -> tuple[int, object]:
    """What threads and queues depend on: the process, and whether gevent has patched it."""
    return _forks, queue.SimpleQueue


class WithdrawnError(Exception):
    """The request was withdrawn before it was sent."""


@define(eq=False, repr=False)
class Attempt:
    """One request, to be sent once, on one of the threads.

    Attributes:
        work: sends it; runs in a copy of the caller's context, and raises nothing.
        port: how the caller waits.
        on_sent: called when its `body` is sent.
        over: whether it is too late to begin it, or to send its `body`.
        number: which attempt at its request it is, from 1.
        once: whether it can be withdrawn until its `body` is sent, and not only until it begins.
        outcome: what the work returned, once `finished`.
        error: what it raised all the same.
        finished: whether it is over.
        left: whether the caller no longer waits; one that has not begun then never begins.
        given_up: whether the caller has reported it as failed.
        began: the `monotonic` moment when a thread took it.
        sent_at: the moment when its body was sent, where `body` made that body.
    """

    work: Callable[[Attempt], object]
    port: Port
    on_sent: Callable[[], None]
    over: Callable[[], bool]
    number: int
    once: bool
    outcome: object = None
    error: BaseException | None = None
    finished: bool = False
    left: bool = False
    given_up: bool = False
    began: float | None = None
    sent_at: float | None = None
    _context: contextvars.Context = field(factory=contextvars.copy_context)  # entered but once
    _taken: dict[str, str] = field(factory=dict)

    def run(self) -> None:
        """Do the work, unless the caller has left or its time is over."""
        if not (self.left or self.over()) and (self.once or self._take("thread")):
            self.began = monotonic()
            try:
                self.outcome = self._context.run(self.work, self)
            except BaseException as error:  # noqa: BLE001  the caller has to get something
                self.error = error
        self.finished = True
        self.port.ring()

    def body(self, content: bytes) -> Iterator[bytes]:
        """The body of a request that must not be sent when the caller no longer waits.

        urllib3 asks for it when the connection stands, which may have taken long.

        Raises:
            WithdrawnError: the caller withdrew it, its time is over, or its event loop is closed.
        """
        if self.over() or not self.port.waits() or not self._take("thread"):
            raise WithdrawnError
        self.sent_at = monotonic()
        self.on_sent()
        yield content

    def withdraw(self) -> bool:
        """Have it not sent: True if it was not, and will not be."""
        return self._take("caller")

    def leave(self) -> None:
        """The caller no longer waits."""
        self.left = True
        self.withdraw()

    def _take(self, taker: str) -> bool:
        """Whether this side was the first: a thread, to send it, or the caller, to withdraw it."""
        return self._taken.setdefault("by", taker) == taker  # atomic, by no lock that could stay


class Running:
    """The threads and connections of one client or sender in this process.

    It runs attempts on at most so many threads, started when they are needed.

    Attributes:
        pools: urllib3's pool manager for each address.
    """

    def __init__(self, most: int, pools: Mapping[str, Any]) -> None:
        self.pools = pools
        self._made_in = world()
        self._most = most
        self._waiting: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._threads: dict[threading.Thread, Attempt | None] = {}
        self._admission = threading.Lock()  # taken by the threads, never by a caller
        self._closed = False
        self._some_left = False  # whether a caller ever left one

    @property
    def lost(self) -> bool:
        """Whether it is of another process, or from before gevent patched this one."""
        return self._made_in != world()

    def has_thread(self, thread: threading.Thread) -> bool:
        """Whether it is one of these."""
        return thread in self._threads

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
        if self.lost:
            return  # a forked child leaves its parent's alone
        self._some_left = True  # first: a True too early harms nothing
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
        for thread, attempt in self._threads.copy().items():
            if attempt is None or not attempt.left:
                with suppress(RuntimeError, AssertionError):  # a dummy, see _start
                    thread.join(max(0.0, until - monotonic()))

    def _grow(self) -> None:
        """Start a thread where an attempt waits for one and there may be one more.

        It asks for admission itself: a start that is interrupted, or one too many, harms nothing.
        """
        if self._counted() < self._most and self._waiting.qsize() > self._idle():
            try:
                # Not by Thread.start on the caller's thread: it waits on a Condition.
                _thread.start_new_thread(self._start, ())
            except RuntimeError:
                if not self._threads:
                    raise

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:  # the system has no other thread: this one will do
            self._work()

    def _idle(self) -> int:
        return sum(attempt is None for attempt in self._threads.copy().values())

    def _counted(self) -> int:
        """How many threads count towards the most: those that no caller has left."""
        if not self._some_left:
            return len(self._threads)
        attempts = self._threads.copy().values()
        return sum(attempt is None or not attempt.left for attempt in attempts)

    def _work(self) -> None:
        me = threading.current_thread()
        with self._admission:
            if self._counted() >= self._most or len(self._threads) >= self._most + MOST_LEFT:
                return
            me.name = f"{THREAD_NAME}-{len(self._threads)}"
            self._threads[me] = None
        try:
            while (attempt := self._waiting.get()) is not None:
                self._threads[me] = attempt
                self._grow()
                attempt.run()
                del attempt  # and with it what it holds: tokens, answers
                with self._admission:
                    self._threads[me] = None
                    if self._counted() > self._most:  # another took its place while it hung
                        del self._threads[me]
                        return
        finally:
            self._threads.pop(me, None)
        self._waiting.put(None)  # for the next thread
