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
        """Begin now."""
        self.seconds = seconds
        self._end = None if seconds is None else monotonic() + seconds
        self._paused_at: float | None = None

    @property
    def end(self) -> float | None:
        """The `monotonic` moment when it is over, or None where there is no limit."""
        if self._end is None or self._paused_at is None:
            return self._end
        # Stopped, not only made up for later: threads look at it meanwhile.
        return self._end + monotonic() - self._paused_at

    def remaining(self) -> float | None:
        """Seconds left, 0 when over, None when there is no limit."""
        end = self.end
        return None if end is None else max(0.0, end - monotonic())

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
