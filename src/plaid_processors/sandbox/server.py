"""An HTTP server in its own thread, ready when `start` returns."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp

from .protocol import Protocol
from .targets import taking_addresses

BACKLOG = 2048

_SLICE = 0.5
"""Seconds that one wait lasts at most: on Windows, Ctrl-C is handled only between two."""


def own_address(url: str) -> str:
    """Return the loopback's address of a server that listens at every address.

    Clients refuse plain HTTP to any other.
    """
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _check_address(host: str, port: int) -> None:
    if not host:
        raise ValueError("host must not be empty")  # the socket would listen at every address
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be a number from 0 to 65535: {port}")
    if not host.isascii():
        try:
            host.encode("idna")
        except UnicodeError:  # the socket would raise a TypeError
            raise OSError("the host name cannot be encoded") from None


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen; connections from now on are answered once the server runs."""
    _check_address(host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """Uvicorn's server, stopped by an event instead of a flag that it polls."""

    def __init__(self, config: uvicorn.Config):
        super().__init__(config)
        self.answering = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.answering.set()
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._let_in_who_is_at_the_door()
        # Uvicorn would wait for a client that never sends the rest of its request.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # until uvicorn knows that they are lost: then it logs no error
        for task in list(self.server_state.tasks):
            task.cancel()  # delayed answers too
        await super().shutdown(sockets)

    async def _let_in_who_is_at_the_door(self) -> None:
        # asyncio leaves a socket open that was accepted just before its server closed, and
        # browsers connect early: stop accepting, then wait until those sockets are served.
        for server in self.servers:
            for listener in server.sockets:
                with suppress(NotImplementedError):  # the event loop of Windows has no readers
                    asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(3):
            await asyncio.sleep(0)

    def stop(self) -> None:
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)


class ThreadedServer:
    """Serves an ASGI application on a socket that is bound before the thread starts."""

    def __init__(self, app: ASGIApp, host: str, port: int):
        self._socket = _listen(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        config = uvicorn.Config(
            taking_addresses(app),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="local-plaid", daemon=True)
        self._used = False

    @property
    def url(self) -> str:
        """The server's address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Start the server.

        Raises:
            RuntimeError: it was started or stopped before.

        """
        if self._used:
            raise RuntimeError(
                "a local server can be entered once, and this one was entered or closed before: "
                "make a new one"
            )
        self._used = True
        self._thread.start()
        while not self._server.answering.wait(_SLICE):
            pass

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._server.answering.set()

    def stop(self) -> None:
        """Stop, and close every connection; a second call does nothing."""
        self._used = True
        if self._thread.is_alive():
            self._server.stop()
            while self._thread.is_alive():
                self._thread.join(_SLICE)
        self._socket.close()
