"""All of Plaid's documented errors: what the caller does next, and what is tried again."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import plaid_processors
from plaid_processors import (
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
from plaid_processors._engine.http import HttpAnswer, HttpFailure, HttpOutcome
from plaid_processors._plaid.answers import api_error, outcome_of
from plaid_processors._plaid.requests import get_accounts

from .support.reference import REFERENCE
from .support.rows import rows

ROOT = Path(__file__).parent.parent
SHARED = REFERENCE / "plaid-reference" / "errors.tsv"
OWN = Path(plaid_processors.__file__).parent / "sandbox" / "data" / "errors.tsv"
RELIABILITY = ROOT / "docs" / "reliability.md"

NEXT: dict[type[PlaidApiError], str] = {
    RateLimitError: "retry later",
    PlaidUnavailableError: "retry later",
    ItemLoginRequiredError: "update mode",
    ItemNotFoundError: "link again",
    ItemNotSupportedError: "link again",
    PublicTokenError: "link again",
    NotEnabledError: "enable it in the Dashboard",
    ProcessorNotEnabledError: "enable it in the Dashboard",
    InvalidRequestError: "fix the call",
    AccessTokenError: "fix the call",
    AuthenticationError: "fix the call",
    PlaidApiError: "contact Plaid",
}
WORDS = {
    "retry later": r"call again|make it again later|[Ww]ait",
    "update mode": r"update mode",
    "link again": r"[Ll]ink (again|another)|link another|through Link again|Let the user link",
    "enable it in the Dashboard": r"dashboard\.plaid\.com",
    "fix the call": r"",  # what is wrong with it differs
    "contact Plaid": r"Plaid's support",
}


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source, delimiter="\t"))
    for row in rows:
        row["http"] = row.get("http") or row["status"]
    return rows


def error_of(row: dict[str, str], endpoint: str = "/accounts/get") -> PlaidApiError:
    body = {
        "error_type": row["type"],
        "error_code": row["code"],
        "error_message": row["message"],
        "request_id": "r",
    }
    error = api_error(endpoint, int(row["http"]), body)
    assert error is not None
    return error


def check(rows: list[dict[str, str]]) -> None:
    """Each row has a class of its own kind, with advice that says it."""
    for row in rows:
        error = error_of(row)
        what_next = NEXT[type(error)]
        assert re.search(WORDS[what_next], error.advice), (row["code"], error.advice)
        assert error.advice.endswith((".", "/")), row["code"]
        assert (error.error_type, error.error_code) == (row["type"], row["code"])


TABLES = [OWN, *([SHARED] if SHARED.exists() else [])]
"""The project's own, and Plaid's reference where it is here."""


@rows("table", TABLES, ids=["own", "shared"][: len(TABLES)])
def test_every_documented_error(table: Path) -> None:
    """Each error of Plaid's pages is known, and tells what to do next."""
    rows = read(table)
    assert len(rows) > 150
    check(rows)
    known = {(row["type"], row["code"]) for row in read(OWN)}
    assert {(row["type"], row["code"]) for row in rows} - known == set()


def test_only_what_plaid_alone_can_mend_has_the_plain_class() -> None:
    """The plain class is for what only Plaid can mend, and that is rare."""
    plain = {row["code"] for row in read(OWN) if type(error_of(row)) is PlaidApiError}
    assert plain == {
        "BANK_TRANSFER_ACCOUNT_BLOCKED",
        "CUSTOMER_REMOVAL_NOT_ALLOWED",
        "INVALID_CONFIGURATION_STATE",
        "PAYMENT_BLOCKED",
        "PLAID_DIRECT_ITEM_IMPORT_RETURNED_INVALID_MFA",
        "TRANSFER_ACCOUNT_BLOCKED",
    }


def test_every_answer_to_what_next_occurs() -> None:
    """There are documented errors for each thing that a caller may have to do."""
    counted = Counter(NEXT[type(error_of(row))] for row in read(OWN))
    assert set(counted) == set(WORDS)


_CHOSEN: dict[type[PlaidApiError], str] = {
    RateLimitError: "RATE_LIMIT ACCOUNTS_LIMIT INSTITUTION_RATE_LIMIT",
    PlaidUnavailableError: (
        "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING "
        "INSTITUTION_NOT_AVAILABLE PRODUCT_NOT_READY"
    ),
    ItemLoginRequiredError: "ITEM_LOGIN_REQUIRED ITEM_LOCKED INVALID_MFA PASSWORD_RESET_REQUIRED",
    ItemNotFoundError: "ITEM_NOT_FOUND USER_PERMISSION_REVOKED",
    ItemNotSupportedError: "ITEM_NOT_SUPPORTED NO_ACCOUNTS INSTITUTION_NO_LONGER_SUPPORTED",
    PublicTokenError: "INVALID_PUBLIC_TOKEN",
    AccessTokenError: "INVALID_ACCESS_TOKEN",
    AuthenticationError: "INVALID_API_KEYS",
    NotEnabledError: "INVALID_PRODUCT CREDITS_EXHAUSTED UNAUTHORIZED_ENVIRONMENT",
    InvalidRequestError: "INVALID_FIELD MISSING_FIELDS UNKNOWN_FIELDS INVALID_ACCOUNT_ID NOT_FOUND",
}


@rows("kind", _CHOSEN, ids=lambda kind: kind.__name__)
def test_the_errors_of_this_workflow(kind: type[PlaidApiError]) -> None:
    """The errors that a link meets are told apart."""
    rows = {row["code"]: row for row in read(OWN)}
    assert {type(error_of(rows[code])) for code in _CHOSEN[kind].split()} == {kind}


# The table of retries in docs/reliability.md


def _documented() -> dict[str, bool]:
    """Its rows: what came, and whether it is tried again."""
    rows = re.findall(r"^\| (.+) \| (yes|never) \|$", RELIABILITY.read_text("utf-8"), re.MULTILINE)
    return {what: answer == "yes" for what, answer in rows}


def _of(came: HttpOutcome) -> bool:
    value, _ = outcome_of(get_accounts("access-sandbox-1"), came, ())
    assert isinstance(value, (PlaidApiError, PlaidConnectionError))
    return value.retryable


def _html(status: int) -> bool:
    return _of(HttpAnswer(status=status, body=b"<html>"))


def _code(error_type: str, code: str, status: int) -> bool:
    error = api_error("/accounts/get", status, {"error_type": error_type, "error_code": code})
    assert error is not None
    return error.retryable


RETRIED = set(
    "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING "
    "INSTITUTION_NOT_AVAILABLE".split()
)


def _always(codes: set[str], *, retried: bool) -> bool:
    """Whether these codes are (or are not) tried again under every status."""
    types = {row["code"]: row["type"] for row in read(OWN)}
    statuses = (200, 400, 429, 500, 503)
    said = {_code(types[code], code, status) for code in codes for status in statuses}
    assert said == {retried}
    return retried


def _limits() -> set[str]:
    codes = {row["code"] for row in read(OWN) if row["type"] == "RATE_LIMIT_EXCEEDED"}
    return codes - {"CREDITS_EXHAUSTED"}


def _real() -> dict[str, bool]:
    """What the code does, by the words of the page's table."""
    others = {row["code"] for row in read(OWN)} - RETRIED - _limits()
    new = [_code(kind, "NEW", 500) for kind in ("ITEM_ERROR", "NEW_ERROR", "INSTITUTION_ERROR")]
    old = [_code(kind, "NEW", 400) for kind in ("ITEM_ERROR", "NEW_ERROR", "INSTITUTION_ERROR")]
    fixed = {
        _code(kind, "NEW", at) for kind in ("INVALID_REQUEST", "INVALID_INPUT") for at in (400, 500)
    }
    codes = {
        ", ".join(f"`{code}`" for code in group.split()): _always(set(group.split()), retried=True)
        for group in (
            "INTERNAL_SERVER_ERROR PLANNED_MAINTENANCE",
            "INSTITUTION_DOWN INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE",
        )
    }
    unusable = (
        HttpAnswer(status=200, body=b"<html>"),
        HttpAnswer(status=200, body=b'{"accounts": 5}'),
        HttpFailure(reason="the answer was cut short", sent=True),
    )
    return {
        "connection refused, reset or cut short": _of(HttpFailure(reason="reset", sent=True)),
        "time-out": _of(HttpFailure(reason="timed out", sent=True)),
        "certificate refused": _of(HttpFailure(reason="certificate", sent=False, passing=False)),
        "5xx that is not Plaid's JSON": all(_html(at) for at in (500, 502, 503, 504)),
        "408 or 429 that is not Plaid's JSON": _html(408) and _html(429),
        "3xx or another 4xx that is not Plaid's JSON": any(_html(at) for at in (302, 403, 404)),
        "2xx that cannot be used, or is cut short": all(map(_of, unusable)),
        **codes,
        "`CREDITS_EXHAUSTED`": _always({"CREDITS_EXHAUSTED"}, retried=False),
        "every other `RATE_LIMIT_EXCEEDED`": _always(_limits(), retried=True),
        "every other documented code, whatever its status": _always(others, retried=False),
        "a new code of type `API_ERROR`": _code("API_ERROR", "NEW", 400),
        "a new code of a type for wrong requests, such as `INVALID_INPUT`": any(fixed),
        "a new code of any other type, with 5xx": all(new),
        "a new code of any other type, with 4xx": any(old),
    }


def test_the_table_of_retries_is_the_real_one() -> None:
    """The page says of everything whether it is tried again, and the code does it so."""
    assert _documented() == _real()
