"""Plaid's answer → its value, or the exception that says what to do next. Pure.

The error's code decides, not the HTTP status: outages of banks come as 400, and one 429 must not
be retried. What each code means is in codes.tsv. Texts are masked after all is decided.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from .._engine.http import HttpFailure, HttpOutcome
from ..errors import (
    AuthenticationError,
    PlaidApiError,
    PlaidConnectionError,
    ProcessorNotEnabledError,
    RequestError,
)
from ..redaction import redact, secrets_among
from ..results import text_in
from .codes import meaning_of
from .requests import Body, PlaidRequest

T = TypeVar("T")

# A mistyped or missing key gets a code that only says that some field is wrong (seen on the wire in
# 2021 to 2026), so here alone the message decides.
_FIELD_IS_WRONG = ("INVALID_FIELD", "MISSING_FIELDS")
_KEYS = re.compile(r"\b(client_id|secret)\b")

_CODE = re.compile(r"[A-Za-z_-]*")  # what has a digit is none

# What to do where Plaid's message says more than its code (seen on the wire in 2018 to 2022).
_BY_MESSAGE = {
    "INVALID_PUBLIC_TOKEN": (
        (r"invalid format", "Pass it as Link gave it, or let the user go through Link again."),
        (r"wrong Plaid environment", "Use the environment and the keys of its link token."),
    ),
    "INVALID_PRODUCT": (
        (r"\bbalance\b", "Leave balance out: Link is not opened with it, and every Item has it."),
    ),
}

# Where a partner's token is made, INVALID_PRODUCT means that the integration is not enabled for the
# keys (seen on the wire in 2025), https://plaid.com/docs/errors/invalid-input/#invalid_product.
_FOR_A_PARTNER = ("/processor/token/create", "/processor/stripe/", "/processor/apex/")


def outcome_of(
    request: PlaidRequest[T], outcome: HttpOutcome, keys: tuple[str, ...]
) -> tuple[T | RequestError, str | None]:
    """The value of the answer, or the error; and the answer's request id."""
    if isinstance(outcome, HttpFailure):
        return connection_error(request, outcome), None
    body = _json_object(outcome.body)
    secrets = secrets_among(*request.secrets, *keys)
    request_id = None if body is None else _masked(body, "request_id", secrets)
    value = _value(request, outcome.status, body, secrets)
    if isinstance(value, RequestError):
        value.request_id = request_id
        value.retry_after = outcome.retry_after
    return value, request_id


def _masked(body: Body, name: str, secrets: tuple[str, ...]) -> str | None:
    text = text_in(body, name)
    return None if text is None else redact(text, secrets)


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _value(
    request: PlaidRequest[T], status: int, body: Body | None, secrets: tuple[str, ...]
) -> T | RequestError:
    error = None if body is None else api_error(request.endpoint, status, body, secrets)
    if error is not None:
        return error
    if body is None or not 200 <= status < 300:
        # A refusal by something on the way (a proxy, a firewall) does not pass by itself.
        refused = 300 <= status < 500 and status not in (408, 429)
        return PlaidConnectionError(
            f"the answer is not Plaid's (HTTP {status})",
            endpoint=request.endpoint,
            http_status=status,
            outcome_unknown=not refused and status != 429,
            retryable=not refused,
        )
    try:
        return request.read(body)
    except PlaidConnectionError as unusable:
        unusable.__context__ = None  # it may hold parts of the answer
        unusable.endpoint, unusable.http_status = request.endpoint, status
        return unusable


def connection_error(request: PlaidRequest[Any], failure: HttpFailure) -> PlaidConnectionError:
    return PlaidConnectionError(
        failure.reason,
        endpoint=request.endpoint,
        outcome_unknown=failure.sent,
        retryable=failure.passing,
    )


def api_error(
    endpoint: str, http_status: int, body: Body, secrets: tuple[str, ...] = ()
) -> PlaidApiError | None:
    """The exception for an error body of Plaid's; None if the body has no error code.

    In every text of Plaid's, tokens and ``secrets`` are masked; in a code or a type, tokens only.
    """
    names = ("error_type", "error_code", "error_message")
    error_type, error_code, error_message = (text_in(body, each) or "" for each in names)
    if not error_code:
        return None
    meaning = meaning_of(error_code, error_type)
    error, advice = meaning.error, meaning.advice
    for words, better in _BY_MESSAGE.get(error_code, ()):
        if re.search(words, error_message):
            advice = better
    if error_code in _FIELD_IS_WRONG and _KEYS.search(error_message):
        error = AuthenticationError
    elif error_code == "INVALID_PRODUCT" and endpoint.startswith(_FOR_A_PARTNER):
        error, advice = ProcessorNotEnabledError, ""
    return error(
        error_type=redact(error_type, () if _CODE.fullmatch(error_type) else secrets),
        error_code=redact(error_code, () if _CODE.fullmatch(error_code) else secrets),
        error_message=redact(error_message, secrets),
        display_message=_masked(body, "display_message", secrets),
        request_id=_masked(body, "request_id", secrets),
        http_status=http_status,
        documentation_url=_masked(body, "documentation_url", secrets),
        endpoint=endpoint,
        advice=advice,
        retryable=meaning.retried == "always" or (meaning.retried == "5xx" and http_status >= 500),
        outcome_unknown=http_status >= 500 or error_code == "INTERNAL_SERVER_ERROR",
    )
