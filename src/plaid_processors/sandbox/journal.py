"""The log of requests, with every secret masked."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .wire import Json

KEPT = 10_000
KEPT_BYTES = 4 << 20  # of requests; in memory a request is up to twenty times as large
_TOKEN = re.compile(r"\b((?:access|public|link|processor)-[a-z]+)-([^\s\"',]+)|\b(btok)_(\w+)")
_SECRET = re.compile(r"\b[0-9a-fA-F]{30}\b")
_HIDDEN = frozenset({"secret", "override_password"})


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """One request and its answer.

    Attributes:
        number: counts from 1.
        at: when it arrived, by the sandbox's clock.
        method: the HTTP method.
        path: the path, without a query.
        body: the JSON that was sent, masked; None if there was none.
        status: the HTTP status sent back; None if the connection was dropped.
        error_code: the code of the error that was sent back, if any.
        request_id: Plaid's id of the request, if the answer had one.
        fault: the fault that struck it, as the control plane writes it.

    """

    number: int
    at: dt.datetime
    method: str
    path: str
    body: Any
    status: int | None
    error_code: str | None
    request_id: str | None
    fault: Json | None


def masked(value: Any) -> Any:
    """Hide tokens and secrets anywhere in a JSON value."""
    if isinstance(value, dict):
        return {
            masked_text(name): "…" if name in _HIDDEN and inner is not None else masked(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [masked(inner) for inner in value]
    return masked_text(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """Hide tokens and secrets in a text, except their type and last four letters."""
    return _SECRET.sub("…", _TOKEN.sub(_mask_token, text))


def _mask_token(match: re.Match[str]) -> str:
    kind, rest = match[1] or match[3], match[2] or match[4]
    return f"{kind}-…{rest[-4:] if len(rest) > 8 else ''}"


Entry = TypeVar("Entry")


class Journal(Generic[Entry]):
    """Keeps the latest entries: at most `KEPT`, and those of `KEPT_BYTES` of requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0
        self._count = 0

    def next_number(self) -> int:
        """Number a request."""
        with self._lock:
            self._count += 1
            return self._count

    def add(self, entry: Entry, size: int) -> None:
        """Keep an entry, of a request of so many bytes."""
        with self._lock:
            self._entries.append((entry, size))
            self._bytes += size
            while len(self._entries) > KEPT or self._bytes > KEPT_BYTES:
                self._bytes -= self._entries.popleft()[1]

    def entries(self) -> tuple[Entry, ...]:
        """Return the entries, in the order of the answers."""
        with self._lock:
            return tuple(entry for entry, _ in self._entries)

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0
