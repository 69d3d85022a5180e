"""HTTP/1.1 on a socket: uvicorn's protocol, with a transport that can be cut or delayed."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Corked:
    """A transport that joins all writes of one turn of the event loop.

    With head and body in two packets, a client on a kept-alive connection can lose some 40 ms to a
    delayed acknowledgement of the first.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Hold data until this turn of the loop ends."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Write the held data."""
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Write the held data, then close."""
        self.flush()
        self._transport.close()

    def reset(self) -> None:
        """Reset the connection: the held data is lost, the other side sees a reset."""
        self._held = []
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class Protocol(H11Protocol):
    """Uvicorn's protocol; the application finds the connection in `scope["state"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport of a new connection."""
        corked = Corked(transport, self.loop)
        self.app_state = {**self.app_state, "connection": corked}
        super().connection_made(corked)  # type: ignore[arg-type]
