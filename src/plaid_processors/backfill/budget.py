"""How many processor tokens may be asked for, over all processes: by the library ``limits``."""

from __future__ import annotations

import random
import threading
from math import ceil
from typing import Any

from ..errors import ConfigurationError, PlaidProcessorsError
from ..settings import is_positive

PLAIDS_LIMIT = 500
"""Processor tokens a minute for a client (https://plaid.com/docs/errors/rate-limit-exceeded/)."""

_SHARE = 0.9
"""How much of Plaid's limit a budget is taken to be."""

_SLICES = range(1, 11)
"""How many seconds a slice may have, but for budgets of less than six a minute."""

_LONGEST_PAUSE = 0.25
"""Seconds between two looks whether there is budget, at most."""


class BudgetError(PlaidProcessorsError):
    """The budget's storage failed; see the ``__cause__``."""


class RateBudget:
    """A budget of processor tokens a minute for all processes that share its storage.

    It is spent in even slices of a few seconds, since Plaid counts over any minute: all tokens of
    one minute at its end, and those of the next at its beginning, would be too many. It goes by the
    storage's clock. One may serve many threads.
    """

    def __init__(
        self, per_minute: int = int(PLAIDS_LIMIT * _SHARE), *, storage: str = "memory://"
    ) -> None:
        """Set it up.

        Args:
            per_minute: how many tokens may be asked for in a minute. The default is nine tenths of
                Plaid's limit for a client; the rest is for live traffic.
            storage: ``"memory://"`` for the threads of this process, or the URL of a Redis, such as
                ``"redis://localhost:6379/0"``, for all processes that name it.

        Raises:
            ConfigurationError: one of these is malformed, or ``limits`` is missing.
        """
        if type(per_minute) is not int or per_minute < 1:
            raise ConfigurationError("per_minute must be a whole number, 1 or more")
        if not isinstance(storage, str):
            raise TypeError(f"storage must be a URL, not {type(storage).__name__}")
        seconds, amount = _slice_of(per_minute)
        self.per_minute = per_minute
        self._seconds = seconds
        limits = _import_limits()
        self._item = limits.RateLimitItemPerSecond(amount, seconds, namespace="plaid-processors")
        try:
            self._storage = limits.storage.storage_from_string(storage)
        except Exception as error:  # noqa: BLE001  each storage has errors of its own
            if "unknown storage scheme" in str(error):
                raise ConfigurationError(
                    "storage must be memory:// or the URL of a Redis, such as redis://host:6379/0"
                ) from None
            raise ConfigurationError(
                f"the storage cannot be used ({type(error).__name__}): is its driver installed? "
                'pip install "plaid-processors[backfill]"'
            ) from None  # the text of either may show a password
        self._limiter = limits.strategies.FixedWindowRateLimiter(self._storage)
        # The name has the rate in it, so that budgets of other rates do not mix.
        self._pause = f"plaid-processors/pause/{per_minute}"

    def __repr__(self) -> str:
        return f"<RateBudget {self.per_minute} a minute>"

    def acquire(self, *, stop: threading.Event | None = None) -> bool:
        """Wait until one more token may be asked for.

        Args:
            stop: when this is set, it waits no longer.

        Returns:
            True; False if it was stopped.

        Raises:
            BudgetError: the storage failed.
        """
        stop = stop or threading.Event()
        pause = _LONGEST_PAUSE * min(1.0, self._seconds / 4)
        while not stop.is_set():
            try:
                paused = self._storage.get(self._pause) > 0
                if not paused and self._limiter.hit(self._item, "processor_token"):
                    return True
            except Exception as error:
                raise BudgetError(f"the budget's storage failed: {type(error).__name__}") from error
            # Not all at the same moment, when the next slice begins.
            stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
        return False

    def slow_down(self, seconds: float | None = None) -> None:
        """Let all wait: Plaid has answered 429 all the same.

        Args:
            seconds: how long; None: ten seconds.

        Raises:
            BudgetError: the storage failed.
        """
        wait = seconds if seconds is not None and is_positive(seconds) else 10.0
        try:
            self._storage.incr(self._pause, max(1, round(min(wait, 60.0))))
        except Exception as error:
            raise BudgetError(f"the budget's storage failed: {type(error).__name__}") from error


def _slice_of(per_minute: int) -> tuple[int, int]:
    """Seconds of a slice, and how many tokens it has: the shortest of those that waste least."""
    best = (-(-60 // per_minute), 1)
    for seconds in _SLICES:
        amount = per_minute * seconds // 60
        # A slice begins with its first token: a late end of one, and whole ones after it.
        most = amount - 1 + amount * ceil(60 / seconds)
        fits = amount > 0 and most <= per_minute / _SHARE
        if fits and amount / seconds > 1.02 * best[1] / best[0]:
            best = (seconds, amount)
    return best


def _import_limits() -> Any:
    try:
        import limits
        import limits.errors
        import limits.storage
        import limits.strategies
    except ImportError:
        raise ConfigurationError(
            'RateBudget needs limits: pip install "plaid-processors[backfill]"'
        ) from None
    return limits
