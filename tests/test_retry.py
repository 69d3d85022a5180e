"""When a failed request is sent again: the decision, and what a client makes of it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaid_processors import (
    PlaidConnectionError,
    PlaidUnavailableError,
    ProcessorLinker,
    RateLimitError,
)
from plaid_processors._engine.http import retry_after_seconds
from plaid_processors._plaid.retry import CAP_SECONDS, wait_before_retry

from .support.checks import strangers
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    EXCHANGE,
    PUBLIC_TOKEN,
    REMOVE,
    FaultyPlaid,
    close,
    refusal,
    reply,
)
from .support.rows import rows

attempts = st.integers(1, 10_000)
Make = Callable[..., ProcessorLinker]

down = refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "an unexpected error occurred", status=500)
two_accounts = reply({"accounts": [{"account_id": "A"}, {"account_id": "B"}]})


@given(attempt=attempts, unknown=st.booleans())
def test_waits_are_bounded(attempt: int, unknown: bool) -> None:
    """No wait of our own is longer than the cap, however often was tried."""
    error = PlaidConnectionError("reset", outcome_unknown=unknown)
    wait = wait_before_retry(error, attempt=attempt, max_attempts=attempt + 1, remaining=inf)
    assert wait is not None
    assert 0 <= wait <= CAP_SECONDS


@given(attempt=attempts, retry_after=st.none() | st.just(50.0), remaining=st.floats(0, 100))
def test_no_wait_outlasts_the_deadline(
    attempt: int, retry_after: float | None, remaining: float
) -> None:
    """A wait that would not end in time is not begun."""
    error = PlaidConnectionError("reset")
    error.retry_after = retry_after
    wait = wait_before_retry(error, attempt=attempt, max_attempts=attempt + 1, remaining=remaining)
    assert wait is None or wait < remaining


@given(seconds=st.floats(0, 60))
def test_retry_after_is_obeyed(seconds: float) -> None:
    """What the answer asks to wait is waited."""
    error = PlaidConnectionError("busy")
    error.retry_after = seconds
    wait = wait_before_retry(error, attempt=1, max_attempts=2, remaining=inf)
    assert wait is not None
    assert wait >= seconds


@rows(
    ("header", "seconds"),
    [("0", 0.0), ("1", 1.0), ("0.5", 0.5), (None, None), ("soon", None), ("-1", None),
     ("nan", None), ("inf", None), ("", None)],
)  # fmt: skip
def test_retry_after_header(header: str | None, seconds: float | None) -> None:
    """Seconds are read; what is no number of seconds is as if absent."""
    assert retry_after_seconds(header) == seconds


MANY = "9" * 20


@rows(
    "header",
    [f"Fri, 31 Dec {MANY} 23:59:59 GMT", f"Fri, {MANY} Dec 2026 23:59:59 GMT",
     f"Fri, 31 Dec 2026 {MANY}:59:59 GMT", f"Fri, 31 Dec 2026 23:59:{MANY} GMT",
     f"Fri, 31 Dec 2026 23:59:59 +{MANY}", "Fri, 31 Dec 2026 23:59:59 -9999",
     f"Fri, 31 Dec {MANY * 300} 23:59:59 GMT", MANY * 300, "1e400"],
)  # fmt: skip
def test_a_retry_after_that_no_date_can_hold(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, header: str
) -> None:
    """It is as if absent, and Plaid's own error comes out."""
    faulty.on(ACCOUNTS, refusal("RATE_LIMIT_EXCEEDED", "R", headers={"Retry-After": header}))
    with pytest.raises(RateLimitError) as caught:
        faulty_linker.accounts(ACCESS_TOKEN)
    assert caught.value.retry_after is None


# --- over the wire


def test_one_attempt_means_one_request(faulty: FaultyPlaid, make_linker: Make) -> None:
    """`max_attempts=1` sends one request, whatever comes."""
    faulty.on(ACCOUNTS, down)
    with pytest.raises(PlaidUnavailableError):
        make_linker(max_attempts=1).accounts(ACCESS_TOKEN)
    assert len(faulty.requests) == 1


def test_success_at_the_second_attempt(faulty: FaultyPlaid, make_linker: Make) -> None:
    """After a 500 the request is sent again, the same."""
    faulty.on(ACCOUNTS, down, two_accounts)
    accounts = make_linker(max_attempts=2).accounts(ACCESS_TOKEN)
    assert [each.account_id for each in accounts] == ["A", "B"]
    assert faulty.asked(ACCOUNTS) == [{"access_token": ACCESS_TOKEN}] * 2


def test_all_attempts_are_used_and_no_more(faulty: FaultyPlaid, make_linker: Make) -> None:
    """Three attempts are three requests, and the last error comes out."""
    faulty.on(ACCOUNTS, refusal("RATE_LIMIT_EXCEEDED", "ACCOUNTS_LIMIT", "slow down", status=429))
    with pytest.raises(RateLimitError) as caught:
        make_linker(max_attempts=3).accounts(ACCESS_TOKEN)
    assert len(faulty.requests) == 3
    assert caught.value.retryable


def test_the_answers_retry_after_is_waited(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A 429 with Retry-After is asked again only when the time is over."""
    limited = refusal(
        "RATE_LIMIT_EXCEEDED", "ACCOUNTS_LIMIT", "wait", status=429, headers={"Retry-After": "0.5"}
    )
    faulty.on(ACCOUNTS, limited, two_accounts)
    began = monotonic()
    make_linker(max_attempts=2).accounts(ACCESS_TOKEN)
    assert monotonic() - began >= 0.5


def test_retry_after_beyond_the_deadline(faulty: FaultyPlaid, make_linker: Make) -> None:
    """Where the wait would outlast the deadline, the error comes at once and tells the wait."""
    limited = refusal(
        "RATE_LIMIT_EXCEEDED", "ACCOUNTS_LIMIT", "wait", status=429, headers={"Retry-After": "60"}
    )
    faulty.on(ACCOUNTS, limited)
    began = monotonic()
    with pytest.raises(RateLimitError) as caught:
        make_linker(max_attempts=2, deadline=5).accounts(ACCESS_TOKEN)
    assert monotonic() - began < 2
    assert caught.value.retry_after == 60


def test_retry_after_of_a_gateway(faulty: FaultyPlaid, make_linker: Make) -> None:
    """Retry-After counts also on an answer that is not Plaid's, such as a gateway's."""
    faulty.on(ACCOUNTS, reply("<html>busy</html>", 503, headers={"Retry-After": "7"}))
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker(max_attempts=1).accounts(ACCESS_TOKEN)
    assert caught.value.retry_after == 7


def test_an_exchange_that_may_have_worked(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A spent token after a lost answer is no bad token: Plaid may have acted the first time."""
    spent = refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "could not find matching public token")
    faulty.on(EXCHANGE, close, spent)
    with pytest.raises(PlaidConnectionError, match="may have acted") as caught:
        make_linker(max_attempts=3).link("layer", public_token=PUBLIC_TOKEN)
    assert caught.value.outcome_unknown
    assert strangers(caught.value) == []
    assert faulty.paths == [EXCHANGE] * 2


def test_removed_by_the_attempt_whose_answer_was_lost(
    faulty: FaultyPlaid, make_linker: Make
) -> None:
    """An Item that is gone after a lost answer was removed now."""
    faulty.on(REMOVE, close, refusal("ITEM_ERROR", "ITEM_NOT_FOUND", "gone"))
    assert make_linker(max_attempts=2).remove(ACCESS_TOKEN) is True
