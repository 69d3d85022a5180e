"""The local Plaid's clock: the machine's time, or a stopped one; both can be moved forward."""

from __future__ import annotations

import datetime as dt

# Far enough from the end of the calendar for every token's lifetime.
END = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: dt.datetime | None = None):
        if now is not None and now.tzinfo is None:
            raise ValueError("the clock needs an aware datetime, as datetime.now(timezone.utc) is")
        self._still = now.astimezone(dt.UTC) if now else None
        self._moved = dt.timedelta()

    def now(self) -> dt.datetime:
        """Return the time in UTC."""
        return (self._still or dt.datetime.now(dt.UTC)) + self._moved

    def advance(self, by: dt.timedelta) -> None:
        """Move the time forward; moving it back is refused."""
        if by < dt.timedelta():
            raise ValueError("time can only be moved forwards")
        if by > END - self.now():
            raise ValueError(f"time ends at {END:%Y-%m-%d}")
        self._moved += by


def stamp(moment: dt.datetime) -> str:
    """Write a moment as Plaid does: whole seconds, `Z`."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
