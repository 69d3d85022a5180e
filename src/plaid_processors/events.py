"""What a client reports of its requests, for logs and metrics. No secret is in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import frozen

logger = logging.getLogger("plaid_processors")


class EventKind(StrEnum):
    """What happened to a request.

    Attributes:
        SENT: ``sent``: a thread took the attempt up.
        ANSWERED: ``answered``: what was asked for came.
        FAILED: ``failed``: an error came, or no answer that can be read.
        RETRIED: ``retried``: there will be another attempt.
    """

    SENT = "sent"
    ANSWERED = "answered"
    FAILED = "failed"
    RETRIED = "retried"


@frozen(kw_only=True)
class RequestEvent:
    """One thing that happened to a request.

    Attributes:
        kind: each attempt is ``sent`` when a thread takes it up, then ``answered`` or ``failed``
            (one that no thread took up is only ``failed``); ``retried`` announces another attempt.
        endpoint: the path, such as ``/processor/token/create``.
        attempt: the number of the attempt, from 1; for ``retried``, that of the next one.
        seconds: how long the answer took or was waited for, None if the request never began; for
            ``retried``, how long the next attempt waits.
        request_id: Plaid's id of the answer, or None without one.
        error_code: Plaid's code, or the class of the error where no answer could be read.
        http_status: the HTTP status of the answer, whether it was an error or not.

    In ``retried``, the last three are those of the failure that is the reason.
    """

    kind: EventKind
    endpoint: str
    attempt: int
    seconds: float | None = None
    request_id: str | None = None
    error_code: str | None = None
    http_status: int | None = None


OnEvent = Callable[[RequestEvent], object]


def report(on_event: OnEvent | None, kind: EventKind, **fields: Any) -> None:
    """Log an event, its fields in ``extra`` too, and call ``on_event``; its errors are logged."""
    level = logging.INFO if kind is EventKind.RETRIED else logging.DEBUG
    logged = logger.isEnabledFor(level)
    if on_event is None and not logged:
        return
    event = RequestEvent(kind=kind, **fields)
    if logged:
        logger.log(
            level,
            "%s %s, attempt %d, seconds %s, request_id %s, error %s",
            event.endpoint,
            kind.value,
            event.attempt,
            "-" if event.seconds is None else f"{event.seconds:.3f}",
            event.request_id or "-",
            event.error_code or "-",
            extra={
                "event": kind.value,
                "endpoint": event.endpoint,
                "attempt": event.attempt,
                "status": event.http_status,
                "error_code": event.error_code,
                "request_id": event.request_id,
                "seconds": event.seconds,
            },
        )
    if on_event is not None:
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001  a metric that fails must not cost an Item
            logger.warning("on_event failed: %s", type(error).__name__)
