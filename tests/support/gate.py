"""A door before a server: shut, it refuses connections as a machine without a server does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class _Pair:
    """A client's connection and the server's, with what goes between them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        self.busy = False
        self.last = False

    def pump(self, source: socket.socket, target: socket.socket, *, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.busy = asks
                target.sendall(data)
                if self.last and not asks:
                    break
        self.close()

    def close(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Gate:
    """Forwards connections to a server, until it is shut."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._server = (address.hostname, address.port)
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._listener: socket.socket | None = None
        # Holds the port while the gate is shut, lest another program's server take it.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        self._port = self._holder.getsockname()[1]
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._holder.close()

    def open(self) -> None:
        """Let connections in."""
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(
                    ("127.0.0.1", self._port), backlog=64, reuse_port=True
                )
                self._spawn(self._accept, self._listener)

    def shut(self) -> None:
        """Refuse new connections and end the idle ones; who waits for an answer gets it."""
        with self._lock:
            listener, self._listener = self._listener, None
            pairs, self._pairs = self._pairs, []
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for pair in pairs:
            pair.last = True
            if not pair.busy:
                pair.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._server)
                pair = _Pair(client, server)
                for end in pair.ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._listener is not listener:  # shut while this one came in
                        client.close()
                        server.close()
                        return
                    self._pairs.append(pair)
                self._spawn(self._serve, pair)

    def _serve(self, pair: _Pair) -> None:
        client, server = pair.ends
        back = self._spawn(lambda: pair.pump(server, client, asks=False))
        pair.pump(client, server, asks=True)
        back.join()
        client.close()
        server.close()

    def _spawn(self, work: object, *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, daemon=True)
        thread.start()
        return thread
