"""A tiny Plaid in a process of its own: a fixed delay for each request, and a longer wire.

It answers the exchange and the processor tokens over HTTP/1.1, kept alive, and does nothing else,
so that what is measured is the client. With a round trip, a proxy in the same process holds each
direction back by half of it; as the loopback connects at once, the proxy holds a connection's
first bytes back by one whole round trip more, which is what TCP's handshake would have taken.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

_ANSWERS = {
    b"/item/public_token/exchange": {
        "access_token": "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab",
        "item_id": "M5eVJqLnv3tbzdngLDp9FL5OlDNxlNhlE55op",
        "request_id": "Aim3b",
    },
    b"/processor/token/create": {
        "processor_token": "processor-sandbox-0asd1-a92nc-0123456789ab",
        "request_id": "xrQNYZ7Zoh6R7gV",
    },
}
_BODIES = {path: json.dumps(answer).encode() for path, answer in _ANSWERS.items()}
_WIRE = {
    path: (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\nPlaid-Version: 2020-09-14\r\n\r\n%s" % (len(body), body)
    )
    for path, body in _BODIES.items()
}


class _Answering(asyncio.Protocol):
    """One connection: requests come one after the other, answers leave after the delay."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        head, found, rest = self._came.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._came = rest[length:]
        answer = _WIRE[head.split(b" ", 2)[1]]
        asyncio.get_running_loop().call_later(self._delay, self._transport.write, answer)


class _Held(asyncio.Protocol):
    """One end of the proxy: passes on what comes, later."""

    def __init__(self, half: float, first: float = 0.0) -> None:
        self._half = half
        self._not_before = asyncio.get_running_loop().time() + first
        self.peer: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(max(loop.time(), self._not_before) + self._half, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        if self.peer is None:
            self._waiting.append(data)
        else:
            self.peer.write(data)

    def joined(self, peer: asyncio.Transport) -> None:
        self.peer = peer
        for data in self._waiting:
            peer.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self.peer is not None:
            self.peer.close()


class _Proxy(_Held):
    def __init__(self, half: float, port: int) -> None:
        super().__init__(half, first=2 * half)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        loop = asyncio.get_running_loop()
        far, protocol = await loop.create_connection(
            lambda: _Held(self._half), "127.0.0.1", self._port
        )
        protocol.joined(self.transport)
        self.joined(far)


async def _serve(told: Connection, delay: float, round_trip: float, chain: str | None) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if chain is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
    server = await loop.create_server(
        partial(_Answering, delay), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    if round_trip:
        server = await loop.create_server(
            partial(_Proxy, round_trip / 2, port), "127.0.0.1", 0, backlog=1024
        )
        port = server.sockets[0].getsockname()[1]
    told.send(port)
    await server.serve_forever()


def _main(told: Connection, delay: float, round_trip: float, chain: str | None) -> None:
    asyncio.run(_serve(told, delay, round_trip, chain))


@contextmanager
def local_plaid(
    *, delay: float = 0.0, round_trip: float = 0.0, certificate: Path | None = None
) -> Iterator[str]:
    """A server's address, for as long as the block lasts."""
    ours, theirs = multiprocessing.Pipe()
    chain = None if certificate is None else str(certificate)
    start = multiprocessing.get_context("spawn").Process
    process = start(target=_main, args=(theirs, delay, round_trip, chain), daemon=True)
    process.start()
    try:
        yield f"{'http' if chain is None else 'https'}://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


@contextmanager
def certificate() -> Iterator[tuple[Path, Path]]:
    """A server's key with its certificate, and a bundle of authorities that trusts it.

    The bundle has the system's own authorities too: reading them is part of what is measured.
    """
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    with tempfile.TemporaryDirectory() as folder:
        chain, bundle = Path(folder, "server.pem"), Path(folder, "bundle.pem")
        chain.write_bytes(private + pem)
        bundle.write_bytes((system.read_bytes() if system.exists() else b"") + pem)
        yield chain, bundle
