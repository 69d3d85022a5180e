"""One public call to Plaid: each request with its retries, its events and its error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

from attrs import field, frozen
from typing_extensions import override

from .._engine.call import Batch, Call, Errand
from .._engine.engine import Engine
from .._engine.http import HttpAnswer, HttpFailure, HttpRequest, send
from .._engine.ports import Port
from .._engine.threads import Attempt, Running
from ..errors import PlaidProcessorsError, RequestError
from ..events import EventKind, OnEvent, report
from ..results import Environment
from ..settings import Limits
from ..webhooks.keys import WebhookKeys
from .answers import connection_error, outcome_of
from .requests import PlaidRequest
from .retry import error_to_report, wait_before_retry

T = TypeVar("T")


@frozen(kw_only=True)
class Access:
    """Where and as whom Plaid is asked; the ``keys`` of the moment are masked in all texts."""

    engine: Engine
    environment: Environment
    base_url: str
    headers: Callable[[], Mapping[str, str]] = field(repr=False)
    keys: Callable[[], tuple[str, str]] = field(repr=False)
    on_event: OnEvent | None = None
    webhook_keys: WebhookKeys = field(factory=WebhookKeys, repr=False)


class PlaidCall(Call):
    """One public call: the workflow asks Plaid with it."""

    def __init__(self, access: Access, port: Port, limits: Limits) -> None:
        super().__init__(
            access.engine, port, times=limits.connect_and_read, deadline=limits.deadline
        )
        self.access = access
        self.environment = access.environment
        self.max_attempts = limits.max_attempts

    async def ask(self, request: PlaidRequest[T]) -> T:
        """Send a request, again where that may help, and read its answer."""
        return await self.send(_PlaidErrand(request, self))

    def ask_all(self, requests: Sequence[PlaidRequest[T]]) -> Batch[T]:
        """Send requests side by side, each again where that may help."""
        return self.start([_PlaidErrand(each, self) for each in requests])


class _PlaidErrand(Errand[T]):
    """One request to Plaid, with all its attempts."""

    def __init__(self, request: PlaidRequest[T], call: PlaidCall) -> None:
        self.once = request.once
        self._request = request
        self._access = call.access
        self._max_attempts = call.max_attempts

    @override
    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> T | RequestError:
        access, request = self._access, self._request
        self._report(EventKind.SENT, attempt.number)
        began = monotonic()
        http_request = HttpRequest(
            method="POST",
            url=access.base_url + request.endpoint,
            headers=access.headers(),
            body=json.dumps(request.body).encode(),
        )
        keys = access.keys()  # after the headers: a hook of the owner's may change them there
        answer = send(running.pools[access.base_url], http_request, attempt, times)
        outcome, request_id = outcome_of(request, answer, keys)
        if not attempt.given_up:
            self._report_outcome(
                outcome,
                attempt.number,
                seconds=monotonic() - began,
                http_status=answer.status if isinstance(answer, HttpAnswer) else None,
                request_id=request_id,
            )
        return outcome

    @override
    def on_sent(self) -> None:
        if self._request.on_sent is not None:
            self._request.on_sent()

    @override
    def failed(self, failure: HttpFailure, number: int) -> RequestError:
        error = connection_error(self._request, failure)
        self._report_outcome(error, number, seconds=failure.seconds)
        return error

    @override
    def retry_in(self, error: PlaidProcessorsError, remaining: float) -> float | None:
        self.last_error = error_to_report(self.last_error, error)
        if not isinstance(error, RequestError):
            return None
        wait = wait_before_retry(
            error, attempt=self.attempts, max_attempts=self._max_attempts, remaining=remaining
        )
        if wait is not None:
            self._report(EventKind.RETRIED, self.attempts + 1, seconds=wait, **_reason(error))
        return wait

    def _report_outcome(self, outcome: T | RequestError, number: int, **known: Any) -> None:
        if isinstance(outcome, RequestError):
            outcome.occurred_at = datetime.now(UTC)
            self._report(EventKind.FAILED, number, **(known | _reason(outcome)))
        else:
            self._report(EventKind.ANSWERED, number, **known)

    def _report(self, kind: EventKind, number: int, **known: Any) -> None:
        endpoint = self._request.endpoint
        report(self._access.on_event, kind, endpoint=endpoint, attempt=number, **known)


def _reason(error: RequestError) -> dict[str, Any]:
    """What an event says of an error."""
    return {
        "error_code": getattr(error, "error_code", type(error).__name__),
        "http_status": error.http_status,
        "request_id": error.request_id,
    }
