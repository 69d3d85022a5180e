"""One public call: its requests, side by side and again where that may help, in its time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from attrs import evolve

from ..errors import PlaidProcessorsError
from .deadline import Deadline
from .engine import Engine
from .http import TIMED_OUT, HttpFailure
from .ports import Port
from .threads import Attempt, Running, world

T = TypeVar("T")

_LOST = "the process was forked, or patched by gevent, during the call"

_A_MOMENT = 0.01
"""Seconds between two looks, where a thread is just about to send."""


class Errand(Generic[T]):
    """One request of a call, with all its attempts. Subclasses send it and read its answer.

    Attributes:
        once: whether its answer cannot be had again: it is sent only while the caller waits, and
            waited for once it is sent, even after the deadline or an interruption.
        last_error: the error to report if no further attempt is made.
        attempts: how many were made.
        due: the `monotonic` moment to make the next one, or None.
        under_way: the attempt that is under way, or None.
    """

    once = False
    last_error: PlaidProcessorsError | None = None
    attempts = 0
    due: float | None = 0.0
    under_way: Attempt | None = None

    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> T | PlaidProcessorsError:
        """Send it once, on a thread: its value, or its error.

        ``times`` are seconds to connect, and to wait for the answer.
        """
        raise NotImplementedError

    def on_sent(self) -> None:
        """One that is `once` is being sent. On a thread."""

    def failed(self, failure: HttpFailure, number: int) -> T | PlaidProcessorsError:
        """The outcome of attempt ``number`` where no answer came."""
        raise NotImplementedError

    def retry_in(
        self,
        error: PlaidProcessorsError,
        remaining: float,  # noqa: ARG002  for those that retry
    ) -> float | None:
        """An attempt failed: keep the error to report; seconds until the next, None to give up."""
        self.last_error = error
        return None


_turns: dict[tuple[object, str], Call] = {}
"""Which call does the work of a name, in which process."""


class Call:
    """One public call."""

    def __init__(
        self, engine: Engine, port: Port, *, times: tuple[float, float], deadline: float | None
    ) -> None:
        """Begin it, with seconds to connect and to wait for one answer, and for all of it."""
        self.engine = engine
        self.running = engine.running()
        self.port = port
        self.times = times
        self.deadline = Deadline(deadline)
        self._errands: list[Errand[Any]] = []

    async def send(self, errand: Errand[T]) -> T:
        """Send one request, and wait for its value, or raise its error.

        One that is `Errand.once` and was sent is waited for even when the caller interrupts; its
        value is returned then, and `check` raises the interruption.
        """
        batch = self.start([errand])
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
        outcome = batch.outcomes[0][1]
        if isinstance(outcome, PlaidProcessorsError):
            raise outcome
        return outcome

    def start(self, errands: Sequence[Errand[T]]) -> Batch[T]:
        """Requests to be sent side by side; `Batch.next` sends them and waits."""
        self.check()
        self._errands += errands
        return Batch(self, errands)

    async def tell(
        self,
        callback: Callable[[Any], object],
        value: object,
        *,
        even_if_interrupted: bool = False,
    ) -> object:
        """What the caller's callback returns; its time does not count."""
        if not even_if_interrupted:
            self.check()
        with self.deadline.paused():
            patience = self.times[1] if even_if_interrupted else None
            return await self.port.call(callback, value, patience)

    async def turn(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Do the work when no other call in this process does any of that name.

        Not by a lock: this one serves threads and event loops alike, and a forked child has none
        that its parent's threads hold.
        """
        turn = (world(), name)
        try:
            while (other := _turns.setdefault(turn, self)) is not self:  # atomic
                if not other.port.waits():  # its event loop was closed before it ended
                    _turns.pop(turn, None)
                elif self.deadline.remaining == 0:
                    break  # so the work sends nothing
                else:
                    await self.port.wait(_A_MOMENT)
            return await work
        finally:
            # No call in between: Ctrl-C strikes after one, and the turn would stay taken for ever.
            if turn in _turns and _turns[turn] is self:
                del _turns[turn]
            work.close()

    def check(self, cause: Exception | None = None) -> None:
        """Raise the interruption that was held back, if there is one, from this cause."""
        interruption = self.port.interruption
        if interruption is not None and interruption is not cause:
            raise interruption from cause

    def leave(self) -> None:
        """The caller no longer waits: what was not sent yet is not sent."""
        under_way = [each.under_way for each in self._errands if each.under_way is not None]
        for attempt in under_way:
            attempt.leave()
        # When all are marked: a thread that is free now must not begin another of them.
        for attempt in under_way:
            self.running.leave(attempt)

    def may_have_acted(self) -> bool:
        """Whether the request that is `once` may have been carried out, as far as is known."""
        for errand in self._errands:
            if errand.once:
                attempt, error = errand.under_way, errand.last_error
                open_ended = attempt is not None and attempt.sent_at is not None
                return open_ended or error is None or getattr(error, "outcome_unknown", True)
        return False

    def nothing_sent(self) -> bool:
        """Whether no request that is `once` was sent, nor will be. For a call that is over."""
        for errand in self._errands:
            if errand.once and errand.attempts:
                attempt = errand.under_way
                if errand.attempts > 1 or attempt is None or not attempt.withdraw():
                    return False
        return True

    def times_left(self, *, once: bool) -> tuple[float, float]:
        """Seconds to connect and to wait, within what is left of the call."""
        connect, read = self.times
        left = max(self.deadline.remaining, 0.001)  # urllib3 refuses a time-out of 0
        return min(connect, left), read if once else min(read, left)


class Batch(Generic[T]):
    """Requests side by side, each with its retries.

    It can be interrupted at any moment and go on: what it knows is never in a local variable alone.

    Attributes:
        outcomes: each request's place and outcome, in the order in which they came.
    """

    def __init__(self, call: Call, errands: Sequence[Errand[T]]) -> None:
        self.outcomes: list[tuple[int, T | PlaidProcessorsError]] = []
        self._call = call
        self._errands = errands
        self._handed_out = 0

    async def next(self) -> tuple[int, T | PlaidProcessorsError]:
        """The next of the outcomes that come, with its request's place."""
        while len(self.outcomes) <= self._handed_out:
            await self._step()
        self._handed_out += 1
        return self.outcomes[self._handed_out - 1]

    async def finish(self) -> None:
        """Wait until all have come."""
        while len(self.outcomes) < len(self._errands):
            await self._step()

    def withdraw(self) -> bool:
        """Send nothing any more; whether nothing was sent that has to be waited for."""
        unsent = True
        for errand in self._errands:
            errand.due = None
            if errand.under_way is not None and not errand.under_way.withdraw():
                unsent = False
        return unsent and len(self.outcomes) < len(self._errands)

    async def _step(self) -> None:
        """Send what is due, take the outcomes that are there; wait for more if there are none."""
        now, before = monotonic(), len(self.outcomes)
        for errand in self._errands:
            if errand.due is not None and errand.due <= now:
                self._send(errand)
        for errand in self._errands:
            if errand.under_way is not None:
                self._collect(errand)
        if len(self.outcomes) == before < len(self._errands):
            await self._call.port.wait(self._seconds_to_wait())

    def _send(self, errand: Errand[T]) -> None:
        call = self._call
        errand.attempts += 1

        def work(attempt: Attempt) -> object:
            return errand.attempt(call.running, attempt, call.times_left(once=errand.once))

        if call.deadline.remaining == 0:
            self._fail(errand, self._over)
        elif call.running.lost:
            self._fail(errand, _LOST)
        else:
            errand.under_way = attempt = Attempt(
                work,
                call.port,
                errand.on_sent,
                lambda: call.deadline.remaining == 0,
                errand.attempts,
                errand.once,
            )
            errand.due = None
            self._submit(errand, attempt)

    def _submit(self, errand: Errand[T], attempt: Attempt) -> None:
        try:
            if not self._call.running.submit(attempt):
                self._settle(errand, self._call.engine.closed_error())
        except RuntimeError:
            if attempt.withdraw():  # else another call's thread has taken it
                self._call.running.leave(attempt)
                self._fail(errand, "there is no thread to be had")

    def _fail(self, errand: Errand[T], reason: str) -> None:
        """An attempt failed before it was sent."""
        errand.due = None
        failure = HttpFailure(reason=reason, sent=False)
        self._settle(errand, errand.failed(failure, errand.attempts))

    def _collect(self, errand: Errand[T]) -> None:
        """Collect the outcome of an attempt, or give it up where its time is over."""
        attempt = errand.under_way
        assert attempt is not None
        answered = attempt.began is not None and attempt.error is None and not attempt.left
        if attempt.finished and answered:
            self._settle(errand, attempt.outcome)
        elif attempt.finished or monotonic() >= self._moment_to_give_up(attempt):
            failure = self._failure(attempt, once=errand.once)
            if failure is not None:
                attempt.given_up = True
                self._call.running.leave(attempt)
                if attempt.began is not None:
                    failure = evolve(failure, seconds=monotonic() - attempt.began)
                self._settle(errand, errand.failed(failure, attempt.number))

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
        return f"the deadline of {self._call.deadline.seconds:g} s was over before it was sent"

    def _settle(self, errand: Errand[T], outcome: Any) -> None:
        """An attempt is over: make another one, or keep the outcome."""
        if isinstance(outcome, PlaidProcessorsError):
            interrupted = self._call.port.interruption is not None
            wait = errand.retry_in(outcome, 0.0 if interrupted else self._call.deadline.remaining)
            errand.due = None if wait is None else monotonic() + wait
            outcome = errand.last_error
        if errand.due is None:
            self.outcomes.append((self._errands.index(errand), outcome))
        errand.under_way = None

    def _moment_to_give_up(self, attempt: Attempt) -> float:
        """When an attempt is not waited for any longer."""
        if self._call.running.lost:
            return 0.0
        connect, read = self._call.times
        if attempt.sent_at is not None:
            return attempt.sent_at + read  # whatever the deadline: its answer must not be lost
        end = self._call.deadline.end
        return end if attempt.began is None else min(end, attempt.began + connect + read)

    def _seconds_to_wait(self) -> float:
        now = monotonic()
        # An attempt that begins meanwhile has a later moment: look again after `read` seconds.
        moments = [now + self._call.times[1]]
        for errand in self._errands:
            if errand.due is not None:
                moments.append(errand.due)
            if errand.under_way is not None:
                moments.append(self._moment_to_give_up(errand.under_way))
        return max(_A_MOMENT, min(moments) - now)
