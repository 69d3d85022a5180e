"""How much time one public call has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic


class Deadline:
    """The end of one public call; it moves out while the caller's own callbacks run.

    Shared by the threads that work for the call: they read, only the call itself moves it.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else monotonic() + seconds
        self._paused_at: float | None = None
        self._abandoned = Event()

    @property
    def seconds(self) -> float | None:
        """How long the call may take in all, or None."""
        return self._seconds

    def remaining(self) -> float | None:
        """Seconds left, 0 when over, None when there is no limit."""
        if self._end is None:
            return None
        # Stopped, not only made up for later: what waits its turn meanwhile looks at it too.
        now = monotonic() if self._paused_at is None else self._paused_at
        return max(0.0, self._end - now)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = self._paused_at = monotonic()
        try:
            yield
        finally:
            if self._end is not None:
                self._end += monotonic() - began
            self._paused_at = None

    def abandon(self) -> None:
        """Nobody waits for the call any more: wake what sleeps, send nothing new."""
        self._abandoned.set()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for the call any more."""
        return self._abandoned.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, or until the call is abandoned."""
        self._abandoned.wait(seconds)
