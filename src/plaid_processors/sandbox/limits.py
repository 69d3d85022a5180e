"""The Sandbox's documented rate limits, off by default.

https://plaid.com/docs/errors/rate-limit-exceeded/
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import cache

from .errors import PlaidError
from .tables import table

WINDOW = dt.timedelta(minutes=1)


@cache
def _documented() -> tuple[Mapping[str, int], Mapping[str, int], Mapping[str, str]]:
    rows = table("limits")
    per_item = {row["path"]: int(row["per_item"]) for row in rows if row["per_item"]}
    per_client = {row["path"]: int(row["per_client"]) for row in rows if row["per_client"]}
    return per_item, per_client, {row["path"]: row["code"] for row in rows}


class Limits:
    """Counts the calls of the last minute."""

    def __init__(self) -> None:
        self.enabled = False
        self._own: dict[str, int] = {}
        self._calls: defaultdict[tuple[str, str], deque[dt.datetime]] = defaultdict(deque)
        self._swept: dt.datetime | None = None

    def set(self, enabled: bool, own: Mapping[str, int] | None = None) -> None:
        """Switch the limits on or off; `own` replaces limits of a client."""
        for path, limit in (own or {}).items():
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise TypeError(f"the limit of {path} is a whole number of calls a minute")
        self.enabled = enabled
        self._own = dict(own or {})
        self._calls.clear()

    def check(self, path: str, client_id: str, item: str | None, now: dt.datetime) -> None:
        """Count a call, or refuse it with a 429."""
        if not self.enabled:
            return
        if self._swept is None or now >= self._swept + WINDOW:
            self._swept = now
            for key, calls in list(self._calls.items()):
                if not calls or calls[-1] <= now - WINDOW:
                    del self._calls[key]
        per_item, per_client, codes = _documented()
        code = codes.get(path, "RATE_LIMIT")
        if item is not None and path in per_item:
            self._count((path, item), per_item[path], now, code)
        limit = self._own.get(path, per_client.get(path))
        if limit is not None:
            self._count((path, client_id), limit, now, code)

    def _count(self, key: tuple[str, str], limit: int, now: dt.datetime, code: str) -> None:
        calls = self._calls[key]
        while calls and calls[0] <= now - WINDOW:
            calls.popleft()
        if len(calls) >= limit:
            raise PlaidError(code)
        calls.append(now)
