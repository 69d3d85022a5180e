"""Whether a failed request is sent again, and when.

Full jitter: a random wait between nothing and a ceiling that doubles with each attempt, so that
many clients that failed together do not return together.
"""

from __future__ import annotations

import random

from ..errors import PlaidConnectionError, PlaidProcessorsError, PublicTokenError, RequestError

BASE_SECONDS = 0.25
CAP_SECONDS = 8.0
LONGEST_WAIT = 60.0  # a longer Retry-After is not waited for: it is in `error.retry_after`


def wait_before_retry(
    error: RequestError, *, attempt: int, max_attempts: int, remaining: float
) -> float | None:
    """Seconds to wait after this attempt (its number counts from 1), or None to give up.

    The wait must not outlast the ``remaining`` seconds.
    """
    if attempt >= max_attempts or not error.retryable:
        return None
    wait = error.retry_after
    if wait is None:
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, 16))
        wait = random.uniform(0, ceiling)  # noqa: S311  not for secrets
    return None if wait > LONGEST_WAIT or wait >= remaining else wait


def error_to_report(
    earlier: PlaidProcessorsError | None, latest: PlaidProcessorsError
) -> PlaidProcessorsError:
    """The error to report after several attempts; "outcome unknown" is never cleared."""
    if not isinstance(earlier, RequestError) or not earlier.outcome_unknown:
        return latest
    if isinstance(latest, PublicTokenError):
        # The token was spent, perhaps by the attempt whose answer was lost.
        earlier.retryable = False
        return earlier
    not_sent = isinstance(latest, PlaidConnectionError) and not latest.outcome_unknown
    if not_sent or not isinstance(latest, RequestError):
        return earlier
    latest.outcome_unknown = True
    return latest
