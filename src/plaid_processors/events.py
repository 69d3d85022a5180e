"""What a client tells of its requests, for logs and metrics: no secret is in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import frozen

logger = logging.getLogger("plaid_processors")


class EventKind(StrEnum):
    """What happened to a request."""

    SENT = "sent"
    ANSWERED = "answered"
    FAILED = "failed"
    RETRIED = "retried"


@frozen(kw_only=True)
class RequestEvent:
    """One thing that happened to a request.

    Attributes:
        kind: ``sent``, then ``answered`` or ``failed``, then perhaps ``retried`` and again.
        endpoint: the path, such as ``/processor/token/create``.
        attempt: its number, from 1.
        seconds: how long the answer took, or, of a retry, how long it will wait.
        request_id: Plaid's id of the answer, where one came.
        error_code: Plaid's code, or the kind of failure.
        http_status: the status of the answer, where it was an error.
    """

    kind: EventKind
    endpoint: str
    attempt: int
    seconds: float | None = None
    request_id: str | None = None
    error_code: str | None = None
    http_status: int | None = None


OnEvent = Callable[[RequestEvent], object]


def report(hook: OnEvent | None, kind: EventKind, **fields: Any) -> None:
    """Log an event, and call the hook; what the hook raises ends no link.

    Retries are logged at INFO, all else at DEBUG; the fields stand in ``extra`` too, for loggers
    that write JSON.

    Args:
        hook: the caller's ``on_event``.
        kind: what happened.
        fields: the other fields of the `RequestEvent`.
    """
    level = logging.INFO if kind is EventKind.RETRIED else logging.DEBUG
    logged = logger.isEnabledFor(level)
    if hook is None and not logged:
        return
    event = RequestEvent(kind=kind, **fields)
    if logged:
        _log(level, event)
    if hook is not None:
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001  a metric that fails must not cost an Item
            logger.warning("on_event failed: %s", type(error).__name__)


def _log(level: int, event: RequestEvent) -> None:
    logger.log(
        level,
        "%s %s, attempt %d, seconds %s, request_id %s, error %s",
        event.endpoint,
        event.kind.value,
        event.attempt,
        "-" if event.seconds is None else f"{event.seconds:.3f}",
        event.request_id or "-",
        event.error_code or "-",
        extra={
            "event": event.kind.value,
            "endpoint": event.endpoint,
            "attempt": event.attempt,
            "status": event.http_status,
            "error_code": event.error_code,
            "request_id": event.request_id,
            "seconds": event.seconds,
        },
    )
