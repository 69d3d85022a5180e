"""Connections whose answer has to be there, as a whole, by a given moment.

A socket's time-out starts anew with every byte that comes, so a server that trickles its headers
or its body can hold a request for ever; urllib3's total time-out does not cover that.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from threading import local
from time import monotonic
from typing import Any

_this_thread = local()


@contextmanager
def answered_by(end: float) -> Iterator[None]:
    """Within this block, on this thread, answers have to be there at this `monotonic` moment."""
    _this_thread.end = end
    try:
        yield
    finally:
        _this_thread.end = None


def make_timed(pool: Any) -> None:
    """Have a urllib3 host's pool make such connections; outside `answered_by` they are as ever.

    What is not a real connection, as while vcrpy replays, is left alone.
    """
    plain = type(pool).ConnectionCls
    if issubclass(plain, http.client.HTTPConnection):
        pool.ConnectionCls = _timed(plain)
    else:
        vars(pool).pop("ConnectionCls", None)


@cache
def _timed(plain: type[Any]) -> type[Any]:
    own: dict[str, Any] = {"response_class": _Response}
    if hasattr(plain, "is_connected"):  # urllib3 2

        def is_connected(self: Any) -> bool:
            _take_tickets(self.sock)
            return bool(plain.is_connected.fget(self))

        own["is_connected"] = property(is_connected)
    return type(plain.__name__, (plain,), own)


def _take_tickets(sock: Any) -> None:
    """Read the session tickets that a TLS 1.3 server sends after the handshake.

    On a connection opened early they wait to be read, and urllib3 takes an idle connection with
    something to read for a dropped one.
    """
    if not hasattr(sock, "version") or sock.version() != "TLSv1.3":
        return
    before = sock.gettimeout()
    sock.settimeout(0)
    with suppress(OSError):  # as a rule SSLWantReadError: nothing but tickets came
        sock.recv(1)
    sock.settimeout(before)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._end: float | None = getattr(_this_thread, "end", None)
        if self._end is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_Reader(raw, sock, self._end))

    def begin(self) -> None:
        super().begin()
        if self._end is not None:
            # urllib3 would log what it could not read as a header: it may be the body, tokens and
            # all, of an answer whose empty line got lost.
            self.headers.defects.clear()
            self.headers.set_payload("")


class _Reader(io.RawIOBase):
    """A socket's stream, each wait on which gets what is left of the time."""

    def __init__(self, stream: io.RawIOBase, sock: socket.socket, end: float) -> None:
        self._stream = stream
        self._sock = sock
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()
