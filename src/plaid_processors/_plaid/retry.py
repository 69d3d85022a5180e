"""Whether a failed request is sent again, and when. Pure.

Full jitter: a random wait between nothing and a ceiling that doubles with each attempt, so that
many clients that failed together do not come back together.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from ..errors import PlaidApiError, PlaidConnectionError, PublicTokenError

BASE_SECONDS = 0.25
CAP_SECONDS = 8.0
LONGEST_WAIT = 60.0
"""A Retry-After beyond this is not waited for but told, by ``error.retry_after``."""


def wait_before_retry(
    error: PlaidApiError | PlaidConnectionError,
    *,
    attempt: int,
    max_attempts: int,
    chance: float,
    remaining: float | None = None,
) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    Args:
        error: what the attempt ended with.
        attempt: its number, from 1.
        max_attempts: how many there may be.
        chance: a random number from 0 to 1.
        remaining: what is left of the call's deadline; a wait that would outlast it is not begun.
    """
    if attempt >= max_attempts or not error.retryable:
        return None
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt - 1, 16))
    wait = chance * ceiling if error.retry_after is None else error.retry_after
    too_long = wait > LONGEST_WAIT or (remaining is not None and wait >= remaining)
    return None if too_long else wait


def after(
    earlier: PlaidApiError | PlaidConnectionError | None,
    latest: PlaidApiError | PlaidConnectionError,
) -> PlaidApiError | PlaidConnectionError:
    """What stands after one more attempt failed: once Plaid may have acted, nothing undoes that."""
    if earlier is None or not earlier.outcome_unknown:
        return latest
    if isinstance(latest, PublicTokenError):
        # No plain bad token: it was spent, perhaps by the attempt whose answer was lost.
        earlier.retryable = False
        return earlier
    if isinstance(latest, PlaidConnectionError) and not latest.outcome_unknown:
        return earlier  # refused, or not even sent: the earlier one has more to tell
    latest.outcome_unknown = True
    return latest


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        return _seconds_until(header, now or datetime.now(UTC))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(date: str, now: datetime) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
