"""TLS and proxies on this machine: a certificate, a server, and a way through to it."""

from __future__ import annotations

import hashlib
import secrets
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .faulty import FaultyPlaid

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""What a proxy answers when the way is free."""

VARIABLES = (
    "HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy "
    "REQUESTS_CA_BUNDLE SSL_CERT_FILE"
).split()
"""The variables of the environment that say how a server is reached."""


HERE = (x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"))
ELSEWHERE = (x509.DNSName("elsewhere.example"),)


def make_certificate(folder: Path, hosts: Sequence[x509.GeneralName] = HERE) -> Path:
    """A key and a certificate for these hosts, which is its own authority, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Each its own name: of two that share one, OpenSSL looks at the first alone.
    common_name = f"authority-{secrets.token_hex(4)}"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = folder / "chain.pem"
    chain.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return chain


def folder_of(certificate: Path) -> Path:
    """A folder with the certificate, named by a hash of its owner, as OpenSSL looks for it."""
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    digest = hashlib.sha1(read.subject.public_bytes()[2:]).digest()
    folder = certificate.parent / "folder"
    folder.mkdir(exist_ok=True)
    named = folder / f"{int.from_bytes(digest[:4], 'little'):08x}.0"
    named.write_bytes(read.public_bytes(serialization.Encoding.PEM))
    return folder


def server_context(certificate: Path) -> ssl.SSLContext:
    """What a server shows to its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class TlsPlaid(FaultyPlaid):
    """`FaultyPlaid` over TLS."""

    def __init__(self, certificate: Path) -> None:
        super().__init__()
        self._context = server_context(certificate)

    @property
    def url(self) -> str:
        return super().url.replace("http://", "https://")

    @property
    def address(self) -> str:
        """Its host and port, as a proxy is asked for them."""
        return urlsplit(self.url).netloc

    def _serve(self, sock: socket.socket) -> None:
        try:
            wrapped = self._context.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        with self._lock:
            self._open.add(wrapped)
        super()._serve(wrapped)


class Tunnel:
    """A proxy: it connects through to where it is asked, or answers otherwise.

    Attributes:
        url: its address.
        asked: where it was asked to connect to; of requests over http, their whole addresses.
        users: the user and password that came with each of them, or None.
    """

    def __init__(
        self, answer: bytes | None = ESTABLISHED, *, certificate: Path | None = None
    ) -> None:
        """Start it.

        Args:
            answer: what it answers to CONNECT; nothing at all where it is empty; where it is None,
                it hangs up.
            certificate: makes it a proxy that is spoken to over TLS.
        """
        self.asked: list[str] = []
        self.users: list[str | None] = []
        self._answer = answer
        self._context = None if certificate is None else server_context(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        self._spawn(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @staticmethod
    def _spawn(target: object, *args: object) -> None:
        threading.Thread(target=target, args=args, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self._spawn(self._connect, sock)

    def _connect(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError):  # it hung up, or speaks no HTTP
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            came = sock.recv(65536)
            if not came:  # only a look whether somebody is there
                return
            method, target = came.split()[:2]
            self.asked.append(target.decode("latin-1"))
            self.users.append(_user_of(came))
            if method != b"CONNECT":
                self._join(sock, urlsplit(target.decode()).netloc, came)
                return
            sock.sendall(self._answer or b"")
            if self._answer == ESTABLISHED:
                self._join(sock, target.decode(), b"")
            elif self._answer != b"":
                sock.shutdown(socket.SHUT_RDWR)

    def _join(self, sock: socket.socket, address: str, first: bytes) -> None:
        host, _, port = address.partition(":")
        there = socket.create_connection((host, int(port)))
        self._open.append(there)
        there.sendall(first)
        for source, target in ((sock, there), (there, sock)):
            self._spawn(self._pass_on, source, target)

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while came := source.recv(65536):
                target.sendall(came)
        with suppress(OSError):  # the end is passed on as well
            target.shutdown(socket.SHUT_WR)


def _user_of(request: bytes) -> str | None:
    """The user and password of a request to a proxy."""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"proxy-authorization":
            return b64decode(value.removeprefix(b"Basic ")).decode()
    return None
