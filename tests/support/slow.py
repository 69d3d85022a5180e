"""The slow world: names that are looked up late, addresses that swallow what is sent to them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from .faulty import Answer, Connection, Request, http

Address = tuple[str, int]


class DeadAddress:
    """An address of this machine that answers no attempt to connect, as behind a bad firewall.

    The queue of its listener is full and nobody takes from it: Linux drops each further SYN.
    """

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._waiting = []
        while True:
            sock = socket.socket()
            self._waiting.append(sock)
            sock.settimeout(0.2)
            try:
                sock.connect(self.address)
            except TimeoutError:
                return self

    def __exit__(self, *_: object) -> None:
        for each in (*self._waiting, self._listener):
            each.close()

    @property
    def address(self) -> Address:
        """Where it is."""
        address: Address = self._listener.getsockname()
        return address


class Names:
    """Stands for `socket.getaddrinfo`: the ports that it knows are looked up as the test says."""

    def __init__(self) -> None:
        self._real = socket.getaddrinfo
        self._known: dict[int, tuple[Callable[[], object], Sequence[Address]]] = {}

    def know(
        self, address: Address, *, wait: Callable[[], object], before: Sequence[Address] = ()
    ) -> None:
        """Set how one port is looked up.

        Args:
            address: what is found in the end.
            wait: called first; it takes as long as the look-up takes.
            before: the addresses that are found, too, and stand before it.
        """
        self._known[address[1]] = (wait, [*before, address])

    def __call__(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        known = self._known.get(port)
        if known is None:
            return self._real(host, port, *arguments, **options)
        wait, addresses = known
        wait()
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, address) for address in addresses]


def late(answer: Answer, seconds: float) -> Answer:
    """Answer after so many seconds."""

    def later(connection: Connection, request: Request) -> bool | None:
        connection.stopped.wait(seconds)
        return answer(connection, request)

    return later


def until(released: threading.Event) -> Answer:
    """Say nothing until released, then hang up."""

    def wait(connection: Connection, _request: Request) -> bool:
        released.wait(30)
        connection.close()
        return False

    return wait


def trickled_headers(released: threading.Event, every: float = 0.05) -> Answer:
    """Send headers that never end, byte by byte, until released; then hang up."""
    head = http({}).partition(b"Content-Length")[0] + b"X-Endless: "

    def answer(connection: Connection, _request: Request) -> bool:
        rest = iter(head)
        with suppress(OSError):
            while not released.wait(every):
                connection.sock.sendall(bytes([next(rest, ord("x"))]))
        connection.close()
        return False

    return answer
