"""A partner's answer → its JSON object, or the error that says what to do next. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._engine.http import HttpAnswer, HttpFailure, HttpOutcome
from ..redaction import redact
from .errors import PartnerApiError, PartnerConnectionError, PartnerFault
from .requests import HandoffRequest

Json = dict[str, Any]
ReadFaults = Callable[[Json], Iterable[PartnerFault]]

_RETRYABLE = (408, 429, 500, 502, 503, 504)
_LATER = "Nothing was changed: call again later."
_KEYS = "Check the keys, and that they belong to this environment of the partner's."
_FIX = "Nothing was changed: fix what the answer names."


def read(
    partner: str,
    request: HandoffRequest,
    came: HttpOutcome,
    faults_in: ReadFaults,
    *,
    secrets: tuple[str, ...] = (),
    unknown_advice: str = _LATER,
) -> Json:
    """The JSON object of a good answer.

    Args:
        partner: who answered.
        request: what was asked.
        came: what came.
        faults_in: reads the errors that an answer of this partner's lists.
        secrets: what must not show in any text.
        unknown_advice: what to do where the partner may have acted all the same.

    Raises:
        PartnerApiError: it is an error of the partner's.
        PartnerConnectionError: it is no usable answer.
    """
    if isinstance(came, HttpFailure):
        unknown = request.changes and came.sent
        raise PartnerConnectionError(
            came.reason,
            partner=partner,
            endpoint=request.endpoint,
            outcome_unknown=unknown,
            advice=unknown_advice if unknown else _LATER,
        )
    body = _json_object(came.body)
    faults = [] if body is None else [_masked(each, secrets) for each in faults_in(body)]
    if faults or not 200 <= came.status < 300:
        # A gateway's page does not say whether the partner itself was reached.
        raise _refusal(partner, request, came.status, faults, unknown_advice)
    if body is None:
        raise unusable(partner, request, came, "not JSON", unknown_advice)
    return body


def _json_object(body: bytes) -> Json | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def unusable(
    partner: str,
    request: HandoffRequest,
    came: HttpOutcome,
    why: str,
    unknown_advice: str = _LATER,
) -> PartnerConnectionError:
    """The error for an answer that says "done" and cannot be read, or is about something else."""
    status = came.status if isinstance(came, HttpAnswer) else None
    return PartnerConnectionError(
        f"its answer is {why} (HTTP {status})",
        partner=partner,
        endpoint=request.endpoint,
        http_status=status,
        outcome_unknown=request.changes,
        retryable=not request.changes,
        advice=unknown_advice if request.changes else _LATER,
    )


def _refusal(
    partner: str,
    request: HandoffRequest,
    status: int,
    faults: list[PartnerFault],
    unknown_advice: str,
) -> PartnerApiError:
    unknown = request.changes and (status >= 500 or status == 408 or 200 <= status < 300)
    advice = unknown_advice if unknown else _LATER if status in _RETRYABLE else _FIX
    return PartnerApiError(
        partner=partner,
        endpoint=request.endpoint,
        http_status=status,
        faults=faults,
        advice=_KEYS if status in (401, 403) else advice,
        outcome_unknown=unknown,
        retryable=status in _RETRYABLE and not unknown,
    )


def _masked(fault: PartnerFault, secrets: tuple[str, ...]) -> PartnerFault:
    def clear(text: str | None) -> str | None:
        return None if text is None else redact(text, secrets)

    return PartnerFault(
        code=clear(fault.code), message=clear(fault.message), field=clear(fault.field)
    )


def text(body: Mapping[str, object], key: str) -> str | None:
    """A text of an answer, or None where it is missing."""
    value = body.get(key)
    return value if isinstance(value, str) and value else None


def objects(value: object) -> list[Json]:
    """The JSON objects of a list, whatever else is in it."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
