"""One public call: its requests, side by side and again where that may help, in its time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from ..errors import PlaidProcessorsError
from .deadline import Deadline
from .engine import Engine, Running
from .http import TIMED_OUT, HttpFailure
from .ports import Port
from .threads import Attempt

T = TypeVar("T")

_LOST = "the process was forked, or patched by gevent, during the call"

_A_MOMENT = 0.01
"""Seconds between two looks, where a thread is just about to send."""


class Errand(Generic[T]):
    """One request of a call, with all its attempts.

    Attributes:
        once: whether its answer cannot be had again: it is sent only while the caller waits, and
            waited for once it is sent, even after the deadline or an interruption.
        last_error: the error to report if no further attempt is made.
    """

    once = False
    last_error: PlaidProcessorsError | None = None

    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> T | PlaidProcessorsError:
        """Send it once, on a thread: its value, or its error.

        Args:
            running: the connections to send it over.
            attempt: the attempt that this is.
            times: seconds to connect, and to wait for the answer.
        """
        raise NotImplementedError

    def sent(self) -> None:
        """One that is `once` is being sent. On a thread."""

    def failed(self, failure: HttpFailure, number: int) -> T | PlaidProcessorsError:
        """What attempt ``number`` comes to where no answer came."""
        raise NotImplementedError

    def wait_before_retry(
        self,
        error: PlaidProcessorsError,  # noqa: ARG002  for those that retry
        number: int,  # noqa: ARG002
        remaining: float | None,  # noqa: ARG002
    ) -> float | None:
        """Seconds to wait before it is sent again, after attempt ``number``; None to give up."""
        return None

    def retrying(self, number: int, seconds: float) -> None:
        """Attempt ``number`` is made after so many seconds."""

    def keep(self, error: PlaidProcessorsError) -> PlaidProcessorsError:
        """An attempt failed: the error to report if no further attempt is made."""
        self.last_error = error
        return error


class Call:
    """One public call."""

    def __init__(
        self, engine: Engine, port: Port, *, times: tuple[float, float], deadline: float | None
    ) -> None:
        """Begin it.

        Args:
            engine: what to send with.
            port: how to wait, and how to call back.
            times: seconds to connect, and to wait for an answer.
            deadline: seconds for the whole call, or None.

        Raises:
            ConfigurationError: the engine is closed.
        """
        self.engine = engine
        self.running = engine.running()
        self.port = port
        self.times = times
        self.deadline = Deadline(deadline)
        self._under_way: set[Attempt] = set()

    async def send(self, errand: Errand[T]) -> T:
        """Send one request, and wait for its value.

        One that is `Errand.once` and was sent is waited for even when the caller interrupts; its
        value is returned then, and `check` raises the interruption.

        Raises:
            PlaidProcessorsError: the request's.
        """
        self.check()
        batch = Batch(self, [errand])
        end: float | None = None
        while True:  # however often: anyio cancels again in each turn of the event loop
            try:
                await batch.finish()
                break
            except BaseException as interruption:
                end = end or monotonic() + 2 * sum(self.times)
                if not errand.once or isinstance(interruption, GeneratorExit) or monotonic() > end:
                    self.leave()
                    raise
                self.port.interruption = interruption
                if batch.withdraw():
                    self.leave()
                    raise interruption from errand.last_error
        outcome = batch.came[0][1]
        if isinstance(outcome, PlaidProcessorsError):
            raise outcome
        return outcome

    def start(self, errands: Sequence[Errand[T]]) -> Batch[T]:
        """Requests to be sent side by side; `Batch.next` sends them and waits."""
        self.check()
        return Batch(self, errands)

    async def tell(
        self,
        callback: Callable[[Any], object],
        value: object,
        *,
        even_if_interrupted: bool = False,
    ) -> None:
        """Call the caller's callback; its time does not count.

        Args:
            callback: what the caller gave.
            value: what it is called with.
            even_if_interrupted: whether it is called although the caller has interrupted meanwhile.
        """
        if not even_if_interrupted:
            self.check()
        with self.deadline.paused():
            await self.port.call(callback, value, self.times[1] if even_if_interrupted else None)

    async def turn(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do the work when no other call of this engine does any of that name.

        Not by a lock: this one serves threads and event loops alike, and a forked child has none
        that its parent's threads hold.
        """
        turns, me = self.running.turns, object()
        try:
            while turns.setdefault(name, me) is not me:  # atomic
                await self.port.wait(_A_MOMENT)
            return await work
        finally:
            if turns.get(name) is me:
                del turns[name]
            work.close()

    def check(self, cause: Exception | None = None) -> None:
        """Raise the interruption that was held back, if there is one, from this cause."""
        interruption = self.port.interruption
        if interruption is not None and interruption is not cause:
            raise interruption from cause

    def leave(self) -> None:
        """Nobody waits any more: what was not sent yet is not sent."""
        under_way = self._under_way.copy()
        for attempt in under_way:
            attempt.leave()
            self.forget(attempt)
        # When all are marked: a thread that is free now must not begin another of them.
        for attempt in under_way:
            self.running.leave(attempt)

    def remember(self, attempt: Attempt) -> None:
        """An attempt is under way."""
        self._under_way.add(attempt)

    def forget(self, attempt: Attempt) -> None:
        """An attempt is over, or was left."""
        self._under_way.discard(attempt)

    def attempt_times(self, *, once: bool) -> tuple[float, float]:
        """Seconds to connect and to wait, within what is left of the call."""
        connect, read = self.times
        left = self.deadline.remaining()
        if left is None:
            return connect, read
        least = max(left, 0.001)  # urllib3 refuses a time-out of 0
        return min(connect, least), read if once else min(read, least)


class Batch(Generic[T]):
    """Requests side by side, each with its retries.

    It can be interrupted at any moment and go on: what it knows is never in a local variable alone.

    Attributes:
        came: each request's place and outcome, in the order in which they came.
    """

    def __init__(self, call: Call, errands: Sequence[Errand[T]]) -> None:
        """Nothing is sent yet."""
        self.came: list[tuple[int, T | PlaidProcessorsError]] = []
        self._call = call
        self._errands = errands
        self._due: dict[int, float] = dict.fromkeys(range(len(errands)), 0.0)
        self._open: dict[int, Attempt] = {}
        self._attempts = dict.fromkeys(range(len(errands)), 0)
        self._handed_out = 0

    async def next(self) -> tuple[int, T | PlaidProcessorsError]:
        """The next of the outcomes that come, with its request's place."""
        while len(self.came) <= self._handed_out:
            await self._step()
        self._handed_out += 1
        return self.came[self._handed_out - 1]

    async def finish(self) -> None:
        """Wait until all have come."""
        while len(self.came) < len(self._errands):
            await self._step()

    def withdraw(self) -> bool:
        """Send nothing any more; whether nothing was sent that has to be waited for."""
        self._due.clear()
        unsent = [attempt.withdraw() for attempt in self._open.copy().values()]
        return all(unsent) and len(self.came) < len(self._errands)

    async def _step(self) -> None:
        """Send what is due, take what came; wait for more if nothing did."""
        self._send_due()
        before = len(self.came)
        # Those that have not begun come first: to give up one that has frees its thread, which must
        # not begin another whose time is over too.
        for place, attempt in sorted(self._open.items(), key=_has_begun):
            self._take(place, attempt)
        if len(self.came) == before and (self._open or self._due):
            await self._call.port.wait(self._seconds_to_wait())

    def _send_due(self) -> None:
        now = monotonic()
        for place, moment in self._due.copy().items():
            if moment <= now:
                self._send(place)

    def _send(self, place: int) -> None:
        errand, call = self._errands[place], self._call
        self._attempts[place] += 1
        if call.deadline.remaining() == 0:
            self._due.pop(place, None)
            self._fail(place, self._over)
            return
        if call.running.lost:
            self._due.pop(place, None)
            self._fail(place, _LOST)
            return

        def work(attempt: Attempt) -> object:
            if call.deadline.remaining() == 0:  # it ended as a thread became free
                return errand.failed(HttpFailure(reason=self._over, sent=False), attempt.number)
            times = call.attempt_times(once=errand.once)
            return errand.attempt(call.running, attempt, times)

        attempt = Attempt(
            work,
            call.port.ring,
            call.port.waits,
            sent=errand.sent,
            number=self._attempts[place],
            once=errand.once,
        )
        self._open[place] = attempt
        call.remember(attempt)
        self._due.pop(place, None)
        try:
            if not call.running.threads.submit(attempt):
                self._settle(place, call.engine.closed_error())
        except RuntimeError:
            if attempt.withdraw():  # else another call's thread has taken it
                call.running.leave(attempt)
                self._fail(place, "there is no thread to be had")

    def _fail(self, place: int, reason: str) -> None:
        """An attempt came to nothing before it was sent."""
        failure = HttpFailure(reason=reason, sent=False)
        self._settle(place, self._errands[place].failed(failure, self._attempts[place]))

    def _take(self, place: int, attempt: Attempt) -> None:
        """Take what came of an attempt, or give it up where its time is over."""
        if not attempt.finished and monotonic() < self._moment_to_give_up(attempt):
            return
        errand = self._errands[place]
        if attempt.finished and attempt.error is None and not attempt.left:
            self._settle(place, attempt.outcome)
            return
        failure = self._failure(attempt, once=errand.once)
        if failure is not None:
            self._call.running.leave(attempt)
            self._settle(place, errand.failed(failure, attempt.number))

    def _failure(self, attempt: Attempt, *, once: bool) -> HttpFailure | None:
        """Why an attempt failed; None where it is just about to be sent."""
        if attempt.error is not None:
            reason = f"the request could not be made ({type(attempt.error).__name__})"
            sent = attempt.sent_at is not None or not once
            return HttpFailure(reason=reason, sent=sent, passing=False)
        if self._call.running.lost:
            return HttpFailure(reason=_LOST, sent=True, passing=False)
        if attempt.withdraw():
            reason = self._over if attempt.began is None else "timed out while connecting"
            return HttpFailure(reason=reason, sent=False)
        if once and attempt.sent_at is None:
            return None
        return HttpFailure(reason=TIMED_OUT, sent=True)

    @property
    def _over(self) -> str:
        return f"the deadline of {self._call.deadline.seconds} s was over before it was sent"

    def _settle(self, place: int, outcome: Any) -> None:
        """What an attempt came to: another attempt, or the outcome."""
        if isinstance(outcome, PlaidProcessorsError):
            errand = self._errands[place]
            wait = None
            if self._call.port.interruption is None:
                wait = errand.wait_before_retry(
                    outcome, self._attempts[place], self._call.deadline.remaining()
                )
            if wait is not None:
                self._due[place] = monotonic() + wait
                errand.retrying(self._attempts[place] + 1, wait)
            outcome = errand.keep(outcome)
        if place not in self._due:
            self.came.append((place, outcome))
        opened = self._open.pop(place, None)
        if opened is not None:
            self._call.forget(opened)

    def _moment_to_give_up(self, attempt: Attempt) -> float:
        """When an attempt is not waited for any longer."""
        if self._call.running.lost:
            return 0.0
        connect, read = self._call.times
        if attempt.sent_at is not None:
            return attempt.sent_at + read  # whatever the deadline: its answer must not be lost
        end = self._call.deadline.end
        moments = [] if end is None else [end]
        if attempt.began is not None:
            moments.append(attempt.began + connect + read)
        return min(moments, default=float("inf"))

    def _seconds_to_wait(self) -> float | None:
        now = monotonic()
        # One that has not begun may begin at once, and one that was not sent be sent.
        latest = now + self._call.times[1]
        moments = [latest, *self._due.values()]
        moments += [self._moment_to_give_up(attempt) for attempt in self._open.copy().values()]
        return max(_A_MOMENT, min(moments) - now)


def _has_begun(opened: tuple[int, Attempt]) -> bool:
    return opened[1].began is not None
