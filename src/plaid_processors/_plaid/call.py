"""One public call to Plaid: each request with its retries, its events and its error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

from attrs import field, frozen
from typing_extensions import override

from .._engine.call import Batch, Call, Errand
from .._engine.engine import Engine, Running
from .._engine.http import HttpFailure, HttpRequest, send
from .._engine.ports import Port
from .._engine.threads import Attempt
from ..errors import PlaidProcessorsError
from ..events import EventKind, OnEvent, report
from ..settings import Limits
from .answers import PlaidOutcome, RequestError, connection_error, outcome_of
from .requests import PlaidRequest
from .retry import after, wait_before_retry

T = TypeVar("T")


@frozen(kw_only=True)
class Access:
    """Where and as whom Plaid is asked.

    Attributes:
        engine: the threads and connections.
        base_url: Plaid's address.
        headers: makes the headers of a request, keys included.
        keys: what must not show in any text.
        on_event: the caller's hook, or None.
    """

    engine: Engine
    base_url: str
    headers: Callable[[], Mapping[str, str]] = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    on_event: OnEvent | None = None


class PlaidCall(Call):
    """One public call: what the workflow asks Plaid with."""

    def __init__(self, access: Access, port: Port, limits: Limits) -> None:
        """Begin it.

        Raises:
            ConfigurationError: the client is closed.
        """
        super().__init__(
            access.engine, port, times=limits.connect_and_read, deadline=limits.deadline
        )
        self._access = access
        self._max_attempts = limits.max_attempts

    async def ask(self, request: PlaidRequest[T]) -> T:
        """Send a request, again where that may help, and read its answer.

        Raises:
            PlaidApiError: Plaid answered with an error.
            PlaidConnectionError: no usable answer came.
        """
        return await self.send(self._errand(request))

    def ask_all(self, requests: Sequence[PlaidRequest[T]]) -> Batch[T]:
        """Requests to be sent side by side."""
        return self.start([self._errand(each) for each in requests])

    def _errand(self, request: PlaidRequest[T]) -> _PlaidErrand[T]:
        return _PlaidErrand(request, self._access, self._max_attempts)


class _PlaidErrand(Errand[T]):
    """One request to Plaid, with all its attempts."""

    def __init__(self, request: PlaidRequest[T], access: Access, max_attempts: int) -> None:
        self.once = request.once
        self._request = request
        self._access = access
        self._max_attempts = max_attempts

    @override
    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> T | RequestError:
        access, request = self._access, self._request
        self._report(EventKind.SENT, attempt.number)
        began = monotonic()
        wire = HttpRequest(
            method="POST",
            base_url=access.base_url,
            target=request.endpoint,
            headers=access.headers(),
            body=json.dumps(request.body).encode(),
            once=request.once,
        )
        came = send(running.pools[access.base_url], wire, attempt, times)
        outcome = outcome_of(request, came, access.keys)
        if isinstance(outcome.value, RequestError):
            outcome.value.occurred_at = datetime.now(UTC)
        if not attempt.left:  # else it was reported as failed when the caller gave it up
            self._report_outcome(outcome, attempt.number, monotonic() - began)
        return outcome.value

    @override
    def sent(self) -> None:
        if self._request.sent is not None:
            self._request.sent()

    @override
    def failed(self, failure: HttpFailure, number: int) -> RequestError:
        error = connection_error(self._request, failure)
        error.occurred_at = datetime.now(UTC)
        self._report_outcome(PlaidOutcome(value=error), number, None)
        return error

    @override
    def wait_before_retry(
        self, error: PlaidProcessorsError, number: int, remaining: float | None
    ) -> float | None:
        if not isinstance(error, RequestError):
            return None
        return wait_before_retry(
            error,
            attempt=number,
            max_attempts=self._max_attempts,
            chance=random.random(),  # noqa: S311  not for secrets
            remaining=remaining,
        )

    @override
    def retrying(self, number: int, seconds: float) -> None:
        self._report(EventKind.RETRIED, number, seconds=seconds)

    @override
    def keep(self, error: PlaidProcessorsError) -> PlaidProcessorsError:
        earlier = self.last_error
        if isinstance(earlier, RequestError):
            if isinstance(error, RequestError):
                error = after(earlier, error)
            elif earlier.outcome_unknown:
                error = earlier  # the client was closed before the next attempt
        self.last_error = error
        return error

    def _report_outcome(
        self, outcome: PlaidOutcome[T], attempt: int, seconds: float | None
    ) -> None:
        self._report(
            EventKind.ANSWERED if outcome.error_code is None else EventKind.FAILED,
            attempt,
            seconds=seconds,
            http_status=outcome.http_status,
            error_code=outcome.error_code,
            request_id=outcome.request_id,
        )

    def _report(self, kind: EventKind, attempt: int, **known: Any) -> None:
        endpoint = self._request.endpoint
        report(self._access.on_event, kind, endpoint=endpoint, attempt=attempt, **known)
