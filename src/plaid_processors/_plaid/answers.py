"""Plaid's answer → its value, or the exception that says what to do next. Pure.

Errors are decided by the code, not by the HTTP status: institution outages come as 400, and one
429 must not be retried. The codes are in `codes`.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import field, frozen

from .._engine.http import HttpFailure, HttpOutcome
from ..errors import (
    AuthenticationError,
    InvalidRequestError,
    PlaidApiError,
    PlaidConnectionError,
    ProcessorNotEnabledError,
)
from ..redaction import redact
from .codes import ADVICE, BY_CODE, BY_TYPE, RETRYABLE
from .requests import PlaidAnswer, PlaidRequest
from .retry import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

RequestError = PlaidApiError | PlaidConnectionError
"""What a request may end with, besides its value."""


@frozen(kw_only=True)
class PlaidOutcome(Generic[T]):
    """What came of one attempt.

    Attributes:
        value: the value of the answer, or the error.
        http_status: the status of the answer, where one came.
        request_id: what the answer calls itself, cleared of secrets.
    """

    value: T | RequestError = field(repr=False)
    http_status: int | None = None
    request_id: str | None = None

    @property
    def error_code(self) -> str | None:
        """Plaid's code, or the kind of failure."""
        if not isinstance(self.value, RequestError):
            return None
        return getattr(self.value, "error_code", type(self.value).__name__)


# What INVALID_PRODUCT means where a token for a partner is made: the integration is not enabled
# for the keys (seen on the wire in 2025), https://plaid.com/docs/errors/invalid-input/#invalid_product.
_FOR_A_PARTNER = ("/processor/token/create", "/processor/stripe/", "/processor/apex/")


# What a mistyped or missing key gets: the code says no more than that some field is wrong (seen on
# the wire in 2021 to 2026), so that here alone the message decides.
_FIELD_IS_WRONG = ("INVALID_FIELD", "MISSING_FIELDS")
_KEYS = re.compile(r"\b(client_id|secret)\b")


def error_class(
    endpoint: str, error_type: str, error_code: str, message: str = ""
) -> type[PlaidApiError]:
    """The class for an error: by code, else by type, else the plain one."""
    if error_code in _FIELD_IS_WRONG and _KEYS.search(message):
        return AuthenticationError
    if error_code == "INVALID_PRODUCT" and endpoint.startswith(_FOR_A_PARTNER):
        return ProcessorNotEnabledError
    return BY_CODE.get(error_code) or BY_TYPE.get(error_type, PlaidApiError)


def is_retryable(error_type: str, error_code: str, http_status: int) -> bool:
    """Whether the same call may succeed in a moment, unchanged."""
    if error_code in BY_CODE:
        return error_code in RETRYABLE
    if error_type in ("API_ERROR", "RATE_LIMIT_EXCEEDED"):
        return True
    return http_status >= 500 and BY_TYPE.get(error_type) is not InvalidRequestError


def api_error(
    endpoint: str, http_status: int, body: Mapping[str, object], secrets: tuple[str, ...] = ()
) -> PlaidApiError | None:
    """The exception for an error body of Plaid's, or None where it is not one.

    Every text that Plaid sent is cleared of tokens and of ``secrets`` before it is kept.
    """

    def text(key: str) -> str | None:
        value = body.get(key)
        return redact(value, secrets) if isinstance(value, str) and value else None

    error_type, error_code = text("error_type") or "", text("error_code")
    error_message = text("error_message") or ""
    if error_code is None:
        return None
    return error_class(endpoint, error_type, error_code, error_message)(
        error_type=error_type,
        error_code=error_code,
        error_message=error_message,
        display_message=text("display_message"),
        request_id=text("request_id"),
        http_status=http_status,
        documentation_url=text("documentation_url"),
        endpoint=endpoint,
        advice=ADVICE.get(error_code),
        retryable=is_retryable(error_type, error_code, http_status),
        outcome_unknown=http_status >= 500 or error_code == "INTERNAL_SERVER_ERROR",
    )


def outcome_of(
    request: PlaidRequest[T], came: HttpOutcome, keys: tuple[str, ...]
) -> PlaidOutcome[T]:
    """What came of a request: its value, or the error."""
    if isinstance(came, HttpFailure):
        return PlaidOutcome(value=connection_error(request, came))
    body = _json_object(came.body)
    value = _read(request, came.status, body, keys)
    if isinstance(value, RequestError):
        value.retry_after = retry_after_seconds(came.retry_after)
    request_id = body and body.get("request_id")
    return PlaidOutcome(
        value=value,
        http_status=came.status,
        request_id=redact(request_id, (*request.secrets, *keys))
        if isinstance(request_id, str)
        else None,
    )


def connection_error(request: PlaidRequest[Any], failure: HttpFailure) -> PlaidConnectionError:
    """The error for an answer that did not come."""
    return PlaidConnectionError(
        failure.reason,
        endpoint=request.endpoint,
        outcome_unknown=failure.sent,
        retryable=failure.passing,
    )


def _read(
    request: PlaidRequest[T], status: int, body: dict[str, object] | None, keys: tuple[str, ...]
) -> T | RequestError:
    if body is None:
        return _not_plaids(request, status)
    if body.get("error_code"):
        error = api_error(request.endpoint, status, body, (*request.secrets, *keys))
        if error is not None:
            return error
    if not 200 <= status < 300:
        return _not_plaids(request, status)
    answer = PlaidAnswer(endpoint=request.endpoint, body=body, received_at=datetime.now(UTC))
    try:
        return request.read(answer)
    except PlaidConnectionError as unusable:
        unusable.__context__ = None  # it may hold what came
        unusable.http_status = status
        if unusable.request_id is not None:
            unusable.request_id = redact(unusable.request_id, (*request.secrets, *keys))
        return unusable


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _not_plaids(request: PlaidRequest[Any], status: int) -> PlaidConnectionError:
    # A refusal by something on the way (a proxy, a firewall) does not pass by itself.
    refused = 300 <= status < 500 and status not in (408, 429)
    return PlaidConnectionError(
        f"what came is not an answer of Plaid's (HTTP {status})",
        endpoint=request.endpoint,
        http_status=status,
        outcome_unknown=not refused and status != 429,
        retryable=not refused,
    )
