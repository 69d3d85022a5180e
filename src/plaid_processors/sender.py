"""Sends the requests of one client: again where that may help, side by side, in time."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from threading import BoundedSemaphore
from time import monotonic
from typing import Any, TypeVar

from .calls import Call
from .deadline import Deadline
from .errors import ConfigurationError, PlaidConnectionError, PlaidProcessorsError
from .events import EventKind, OnEvent, RequestEvent, is_logged, tell
from .redaction import redact
from .retry import after, wait_before_retry
from .settings import Limits
from .translation import Outcome, Trouble, outcome_of
from .transport import Wire, missing_connections, open_connection
from .workers import Workers

T = TypeVar("T")


class Sender:
    """The threads, the places and the connections of one client, in one process."""

    def __init__(self, wire: Wire, limits: Limits, on_event: OnEvent | None) -> None:
        self.wire = wire
        self.limits = limits
        self.on_event = on_event
        self._places = BoundedSemaphore(limits.max_connections)
        self._workers = Workers(limits.max_connections)

    def __del__(self) -> None:
        # Of a client that was forgotten: idle threads would wait for ever for what nobody sends.
        self._workers.dismiss()

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def send(self, call: Call[T], deadline: Deadline) -> T:
        """Send a request, again where that may help, and read its answer.

        Raises:
            PlaidApiError: Plaid answered with an error.
            PlaidConnectionError: no usable answer came.
        """
        outcome = self.outcome(call, deadline)
        if isinstance(outcome, PlaidProcessorsError):
            raise outcome
        return outcome

    def outcome(self, call: Call[T], deadline: Deadline) -> T | Trouble:
        """As `send`, with the error as a value."""
        stands: Trouble | None = None
        for attempt in range(1, self.limits.max_attempts + 1):
            outcome = self._told_attempt(call, deadline, attempt)
            if not isinstance(outcome, Trouble):
                return outcome
            stands = after(stands, outcome)
            wait = wait_before_retry(
                outcome,
                attempt=attempt,
                max_attempts=self.limits.max_attempts,
                chance=random.random(),  # noqa: S311  not for secrets
                remaining=deadline.remaining(),
            )
            if wait is None:
                break
            self._tell(EventKind.RETRIED, call, attempt + 1, seconds=wait)
            with self._workers.resting():
                deadline.sleep(wait)
        assert stands is not None
        return stands

    def send_all(
        self, calls: Sequence[Call[T]], deadline: Deadline
    ) -> Iterator[tuple[int, T | PlaidProcessorsError]]:
        """Send requests side by side; each one's place and outcome, as it comes."""
        if len(calls) == 1:  # no thread for one
            only = self.outcome(calls[0], deadline)
            yield 0, only
            return
        arrived: SimpleQueue[tuple[int, T | PlaidProcessorsError]] = SimpleQueue()
        for place, call in enumerate(calls):
            self.submit(call, deadline, partial(_put, arrived, place))
        for _ in calls:
            yield arrived.get()

    def submit(
        self,
        call: Call[T],
        deadline: Deadline,
        done: Callable[[T | PlaidProcessorsError], None],
    ) -> None:
        """Send a request on one of the client's threads, which calls ``done`` with its outcome."""

        def job() -> None:
            try:
                outcome: T | PlaidProcessorsError = self.outcome(call, deadline)
            except BaseException as error:  # noqa: BLE001  whoever waits must be told
                outcome = _unforeseen(call, error)
            done(outcome)

        try:
            self._workers.submit(job)
        except ConfigurationError as closed:
            done(closed)

    def prepare(self, count: int) -> None:
        """Open connections for so many requests, on the client's threads, if there are none yet.

        A kindness to what comes next: no failure of it is told, since the request itself will.
        """
        if self.wire.proxied:
            return
        pool = self.wire.hosts()
        for _ in range(missing_connections(pool, min(count, self.limits.max_connections))):
            self._workers.submit(partial(self._open_connection, pool))

    def _open_connection(self, pool: Any) -> None:
        if self._places.acquire(blocking=False):
            try:
                open_connection(pool, self.limits.connect_and_read[0])
            finally:
                self._places.release()

    def _told_attempt(self, call: Call[T], deadline: Deadline, attempt: int) -> T | Trouble:
        self._tell(EventKind.SENT, call, attempt)
        began = monotonic()
        outcome = self._attempt(call, deadline)
        self._tell_outcome(call, attempt, monotonic() - began, outcome)
        if isinstance(outcome.value, Trouble):
            outcome.value.occurred_at = datetime.now(UTC)
        return outcome.value

    def _tell_outcome(
        self, call: Call[T], attempt: int, seconds: float, outcome: Outcome[T]
    ) -> None:
        if self._is_heard():
            secrets = (*call.secrets, *self.wire.keys)
            self._tell(
                EventKind.ANSWERED if outcome.error_code is None else EventKind.FAILED,
                call,
                attempt,
                seconds=seconds,
                http_status=outcome.http_status,
                error_code=outcome.error_code,
                request_id=outcome.request_id and redact(outcome.request_id, secrets),
            )

    def _is_heard(self) -> bool:
        return self.on_event is not None or is_logged()

    def _tell(self, kind: EventKind, call: Call[Any], attempt: int, **known: Any) -> None:
        if self._is_heard():
            event = RequestEvent(kind=kind, endpoint=call.endpoint, attempt=attempt, **known)
            tell(event, self.on_event)

    def _attempt(self, call: Call[T], deadline: Deadline) -> Outcome[T]:
        body = json.dumps(call.body).encode()
        if not self._places.acquire(timeout=deadline.remaining()):
            return Outcome(_not_sent(call, deadline))
        try:
            times = self._times(deadline)  # only now: the place may have been long in coming
            if times is None:
                return Outcome(_not_sent(call, deadline))
            answer = self.wire.post(call.endpoint, body, times)
        finally:
            self._places.release()
        return outcome_of(call, answer, self.wire.keys)

    def _times(self, deadline: Deadline) -> tuple[float, float, float] | None:
        """Seconds to connect, for one wait, and in all; None when there is no time left."""
        connect, read, total = self.limits.connect_and_read
        left = deadline.remaining()
        if deadline.abandoned or left == 0:
            return None
        if left is None:
            return connect, read, total
        return min(connect, left), min(read, left), min(total, left)


def _not_sent(call: Call[Any], deadline: Deadline) -> PlaidConnectionError:
    why = (
        "the call was given up"
        if deadline.abandoned
        else f"the deadline of {deadline.seconds} s was over"
    )
    return PlaidConnectionError(f"{why} before it was sent", endpoint=call.endpoint)


def _put(
    arrived: SimpleQueue[tuple[int, T | PlaidProcessorsError]],
    place: int,
    outcome: T | PlaidProcessorsError,
) -> None:
    arrived.put((place, outcome))


def _unforeseen(call: Call[Any], error: BaseException) -> PlaidConnectionError:
    return PlaidConnectionError(
        f"the request could not be made ({type(error).__name__})",
        endpoint=call.endpoint,
        outcome_unknown=True,
        retryable=False,
    )
