"""Plaid's answer → its value, or the exception that says what to do next. Pure.

Errors are decided by the code, not by the HTTP status: institution outages come as 400, and one
429 must not be retried. Codes: https://plaid.com/docs/errors/. An unknown code goes by its type.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from .calls import Call, Reply
from .errors import (
    AccessTokenError,
    AuthenticationError,
    InvalidRequestError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    ItemNotSupportedError,
    NotEnabledError,
    PlaidApiError,
    PlaidConnectionError,
    PlaidUnavailableError,
    ProcessorNotEnabledError,
    PublicTokenError,
    RateLimitError,
)
from .redaction import redact
from .retry import retry_after_seconds
from .transport import Answer, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

Trouble = PlaidApiError | PlaidConnectionError
"""What a request may end with, besides its value."""


@frozen
class Outcome(Generic[T]):
    """What came of one attempt.

    Attributes:
        value: the value of the answer, or the error.
        known: what may be told of it in logs.
    """

    value: T | Trouble
    known: dict[str, Any]


_CODES: dict[type[PlaidApiError], str] = {
    PlaidUnavailableError: (
        "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE plaid-internal-error "
        "INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE "
        "UNSUPPORTED_RESPONSE PRODUCT_NOT_READY "
        "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    ),
    ItemLoginRequiredError: (
        "ITEM_LOGIN_REQUIRED INVALID_CREDENTIALS INVALID_MFA INVALID_SEND_METHOD "
        "INVALID_PHONE_NUMBER INVALID_OTP INVALID_UPDATED_USERNAME INSUFFICIENT_CREDENTIALS "
        "ITEM_LOCKED USER_SETUP_REQUIRED PASSWORD_RESET_REQUIRED USER_INPUT_TIMEOUT "
        "ACCESS_NOT_GRANTED ADDITIONAL_CONSENT_REQUIRED MANUAL_VERIFICATION_REQUIRED"
    ),
    ItemNotFoundError: "ITEM_NOT_FOUND ITEM_CONCURRENTLY_DELETED USER_PERMISSION_REVOKED",
    ItemNotSupportedError: (
        "ITEM_NOT_SUPPORTED MFA_NOT_SUPPORTED NO_ACCOUNTS NO_AUTH_ACCOUNTS NO_INVESTMENT_ACCOUNTS "
        "NO_INVESTMENT_AUTH_ACCOUNTS NO_LIABILITY_ACCOUNTS PRODUCTS_NOT_SUPPORTED "
        "INSTANT_MATCH_FAILED INSTITUTION_NO_LONGER_SUPPORTED "
        "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT"
    ),
    PublicTokenError: "INVALID_PUBLIC_TOKEN",
    AccessTokenError: "INVALID_ACCESS_TOKEN",
    AuthenticationError: "INVALID_API_KEYS",
    NotEnabledError: (
        "INVALID_PRODUCT PRODUCT_NOT_ENABLED DIRECT_INTEGRATION_NOT_ENABLED "
        "UNAUTHORIZED_ENVIRONMENT UNAUTHORIZED_ROUTE_ACCESS UNAUTHORIZED_INSTITUTION "
        "INSTITUTION_REGISTRATION_REQUIRED CREDITS_EXHAUSTED SANDBOX_PRODUCT_NOT_ENABLED "
        "NOT_ENABLED_FOR_SIGNAL_TRANSACTION_SCORE_RULESETS ADDENDUM_NOT_SIGNED "
        "TRANSFER_UI_UNAUTHORIZED UNAUTHORIZED_ACCESS INSIGHTS_NOT_ENABLED"
    ),
}
_BY_CODE = {code: error for error, codes in _CODES.items() for code in codes.split()}

_BY_TYPE: dict[str, type[PlaidApiError]] = {
    "API_ERROR": PlaidUnavailableError,
    "INSTITUTION_ERROR": PlaidUnavailableError,
    "INVALID_INPUT": InvalidRequestError,
    "INVALID_REQUEST": InvalidRequestError,
    "RATE_LIMIT_EXCEEDED": RateLimitError,
}

RETRYABLE_CODES = frozenset(
    "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE plaid-internal-error "
    "INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE".split()
)
"""Besides the rate limits, the codes after which the same call may succeed in a moment."""

NEVER_RETRIED = frozenset({"CREDITS_EXHAUSTED"})
"""A RATE_LIMIT_EXCEEDED that waiting does not mend: the free usage is spent."""

# What INVALID_PRODUCT means where a token for a partner is made: the integration is not enabled
# for the keys (seen on the wire in 2025), https://plaid.com/docs/errors/invalid-input/#invalid_product.
_FOR_A_PARTNER = ("/processor/token/create", "/processor/stripe/", "/processor/apex/")

_ADVICE = {
    "CREDITS_EXHAUSTED": (
        "Do not retry: the free usage is spent. Request full Production access at "
        "https://dashboard.plaid.com."
    ),
    "INVALID_ACCOUNT_ID": (
        "The account is not of this Item, was closed, or is no longer shared: read the Item's "
        "accounts again; if the user has to share it anew, open Link in update mode."
    ),
    "INVALID_PROCESSOR": (
        "Plaid knows no partner of this name: the names are listed at "
        "https://plaid.com/docs/api/processors/#processortokencreate."
    ),
    "INVALID_INSTITUTION": "Check the institution_id; in the Sandbox, try ins_109508.",
    "ITEM_NOT_SUPPORTED": (
        "The partner does not support the country, the products or the type of this account: let "
        "the user link another one."
    ),
    "PRODUCT_NOT_READY": "The data is still being fetched: call again in a little while.",
    "USER_PERMISSION_REVOKED": (
        "The user withdrew the permission: remove the Item (linker.remove) and let them link again."
    ),
    "ADDITIONAL_CONSENT_REQUIRED": (
        "The user did not consent to this product: open Link in update mode with "
        "additional_consented_products."
    ),
    "INVALID_STRIPE_ACCOUNT": (
        "Stripe refuses the account: its reason stands in the message. The Stripe account has to "
        "be connected at https://dashboard.plaid.com/developers/integrations."
    ),
}


def error_class(endpoint: str, error_type: str, error_code: str) -> type[PlaidApiError]:
    """The class for an error: by code, else by type, else the plain one."""
    if error_code == "INVALID_PRODUCT" and endpoint.startswith(_FOR_A_PARTNER):
        return ProcessorNotEnabledError
    return _BY_CODE.get(error_code) or _BY_TYPE.get(error_type, PlaidApiError)


def is_retryable(error_type: str, error_code: str, http_status: int) -> bool:
    """Whether the same call may succeed in a moment, unchanged."""
    if error_code in NEVER_RETRIED:
        return False
    if error_code in RETRYABLE_CODES or error_type == "RATE_LIMIT_EXCEEDED":
        return True
    return http_status in (500, 502, 503, 504)


def api_error(
    endpoint: str, http_status: int, body: Mapping[str, object], secrets: tuple[str, ...] = ()
) -> PlaidApiError | None:
    """The exception for an error body of Plaid's, or None where it is not one.

    Every text that Plaid sent is cleared of tokens and of ``secrets`` before it is kept.
    """

    def text(key: str) -> str | None:
        value = body.get(key)
        return redact(value, secrets) if isinstance(value, str) and value else None

    error_type, error_code = text("error_type"), text("error_code")
    if error_type is None or error_code is None:
        return None
    return error_class(endpoint, error_type, error_code)(
        error_type=error_type,
        error_code=error_code,
        error_message=text("error_message") or "",
        display_message=text("display_message"),
        request_id=text("request_id"),
        http_status=http_status,
        documentation_url=text("documentation_url"),
        endpoint=endpoint,
        advice=_ADVICE.get(error_code),
        retryable=is_retryable(error_type, error_code, http_status),
        outcome_unknown=http_status >= 500,
    )


def outcome_of(call: Call[T], answer: Answer | Failure, keys: tuple[str, ...]) -> Outcome[T]:
    """What came of a request."""
    if isinstance(answer, Failure):
        return failed(
            PlaidConnectionError(
                answer.reason,
                endpoint=call.endpoint,
                outcome_unknown=answer.sent,
                retryable=answer.passing,
            )
        )
    body = _json_object(answer.body)
    value = _read(call, answer.status, body, keys)
    known: dict[str, Any] = {"http_status": answer.status}
    if isinstance(value, Trouble):
        value.retry_after = retry_after_seconds(answer.retry_after)
        known["error_code"] = getattr(value, "error_code", type(value).__name__)
    if body is not None and isinstance(body.get("request_id"), str):
        known["request_id"] = redact(str(body["request_id"]), (*call.secrets, *keys))
    return Outcome(value, known)


def failed(error: PlaidConnectionError) -> Outcome[Any]:
    """The outcome of an attempt without an answer."""
    return Outcome(error, {"error_code": type(error).__name__})


def _read(
    call: Call[T], status: int, body: dict[str, object] | None, keys: tuple[str, ...]
) -> T | Trouble:
    if body is None:
        return _not_plaids(call, status)
    error = api_error(call.endpoint, status, body, (*call.secrets, *keys))
    if error is not None:
        return error
    if not 200 <= status < 300:
        return _not_plaids(call, status)
    try:
        return call.read(Reply(endpoint=call.endpoint, body=body, received_at=datetime.now(UTC)))
    except PlaidConnectionError as unusable:
        unusable.__context__ = None  # it may hold what came
        return unusable


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _not_plaids(call: Call[Any], status: int) -> PlaidConnectionError:
    # A refusal by something on the way (a proxy, a firewall) does not pass by itself.
    refused = 300 <= status < 500 and status not in (408, 429)
    return PlaidConnectionError(
        f"what came is not an answer of Plaid's (HTTP {status})",
        endpoint=call.endpoint,
        http_status=status,
        outcome_unknown=not refused and status != 429,
        retryable=not refused,
    )
