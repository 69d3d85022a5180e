"""Connections whose answer has to be there, as a whole, by a given moment.

A socket's time-out starts anew with every byte that comes, so a server that trickles its headers
or its body can hold a request for ever; urllib3's total time-out does not cover that.
"""

from __future__ import annotations

# What the first connection would load: a process forked at that moment could never load it, since
# the lock of an import that another thread is in stays locked in the child.
import encodings.idna  # noqa: F401
import http.client
import io
import socket
from contextlib import suppress
from functools import cache
from threading import local
from time import monotonic
from typing import Any

_this_thread = local()


class Watch:
    """One request. Within its ``with`` block, what this thread sends is watched.

    Attributes:
        end: the `monotonic` moment by which its answer has to be there, as a whole.
        wait: seconds that one wait for data may take.
        sent: whether any of it may have reached the server.
        held: what is to be sent together, while it is being gathered.
    """

    __slots__ = ("end", "held", "sent", "wait")

    def __init__(self, *, end: float, wait: float) -> None:
        """Nothing is sent yet."""
        self.end = end
        self.wait = wait
        self.sent = False
        self.held: list[bytes] | None = None

    def __enter__(self) -> None:
        _this_thread.watch = self

    def __exit__(self, *_raised: object) -> None:
        _this_thread.watch = None

    @property
    def left(self) -> float:
        """Seconds that the next wait may take, 0 when there is no time."""
        return max(0.0, min(self.wait, self.end - monotonic()))


def _watch() -> Watch | None:
    return getattr(_this_thread, "watch", None)


def make_timed(pool: Any) -> bool:
    """Have a urllib3 host's pool make such connections; without a `Watch` they are as ever.

    What is not a real connection, as while vcrpy replays, is left alone: False.
    """
    plain = type(pool).ConnectionCls
    real = issubclass(plain, http.client.HTTPConnection)
    if real:
        pool.ConnectionCls = _timed(plain)
    else:
        vars(pool).pop("ConnectionCls", None)
    return real


@cache
def _timed(plain: type[Any]) -> type[Any]:
    def request(self: Any, *args: Any, **kwargs: Any) -> None:
        watch = _watch()
        if watch is None:
            plain.request(self, *args, **kwargs)
            return
        if self.sock is None:
            self.connect()
        # Head and body in one packet, and one record of TLS: http.client sends each by itself.
        held: list[bytes] = []
        watch.held = held
        plain.request(self, *args, **kwargs)
        watch.held = None
        watch.sent = True
        plain.send(self, b"".join(held))

    def send(self: Any, data: Any) -> None:
        watch = _watch()
        if watch is not None and watch.held is not None:
            watch.held.append(data)
        else:
            plain.send(self, data)

    own: dict[str, Any] = {"response_class": _Response, "request": request, "send": send}
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
        self._watch = _watch()
        watched: Any = sock if self._watch is None else _Watched(sock, self._watch)
        super().__init__(watched, *args, **kwargs)

    def begin(self) -> None:
        super().begin()
        if self._watch is not None:
            # urllib3 would log what it could not read as a header: it may be the body, tokens and
            # all, of an answer whose empty line got lost.
            self.headers.defects.clear()
            self.headers.set_payload("")


class _Watched:
    """What http.client asks a socket for, to read an answer."""

    __slots__ = ("_sock", "_watch")

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self._sock = sock
        self._watch = watch

    def makefile(self, mode: Any) -> io.BufferedReader:
        stream = self._sock.makefile(mode, buffering=0)
        return io.BufferedReader(_Reader(stream, self._sock, self._watch))


class _Reader(io.RawIOBase):
    """A socket's stream, each wait on which gets what is left of the time."""

    def __init__(self, stream: io.RawIOBase, sock: socket.socket, watch: Watch) -> None:
        self._stream = stream
        self._sock = sock
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._watch.left
        if not left:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()
