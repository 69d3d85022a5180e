"""How much time one public call has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class Deadline:
    """The end of one public call; it moves out while the caller's own callbacks run.

    Read by the threads that send for the call; moved by the call alone.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = float("inf") if seconds is None else monotonic() + seconds
        self._paused_at: float | None = None

    @property
    def end(self) -> float:
        """The `monotonic` moment when it is over; infinite where there is no limit."""
        # While paused it stands still: threads look at it meanwhile.
        paused_at = self._paused_at  # once: the caller may go on meanwhile
        return self._end if paused_at is None else self._end + monotonic() - paused_at

    @property
    def remaining(self) -> float:
        """Seconds left, 0 when over."""
        return max(0.0, self.end - monotonic())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = self._paused_at = monotonic()
        try:
            yield
        finally:
            self._end += monotonic() - began
            self._paused_at = None
