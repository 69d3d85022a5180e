"""A server that misbehaves as told: what the SDK has to survive on the wire.

It answers like Plaid until a path is given something else, so that a fault stands alone.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

Json = dict[str, Any]

EXCHANGE = "/item/public_token/exchange"
ACCOUNTS = "/accounts/get"
ITEM = "/item/get"
CREATE = "/processor/token/create"
LINK_TOKEN = "/link/token/create"
REMOVE = "/item/remove"
SANDBOX_TOKEN = "/sandbox/public_token/create"

ACCESS_TOKEN = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"
PUBLIC_TOKEN = "public-sandbox-5e171e1b-aaaa-4bbb-8ccc-0123456789ab"


@dataclass(frozen=True)
class Request:
    """What came in."""

    path: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def whole(self) -> bool:
        """Whether all of it came; no server acts on what is cut off."""
        return len(self.body) == int(self.headers.get("content-length", 0))

    @property
    def json(self) -> Json:
        read: Json = json.loads(self.body)
        return read


class Connection:
    """One socket, with the ways to answer on it."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self.sock = sock
        self.stopped = stopped

    def close(self) -> None:
        """End the connection for good: its reading file would keep it open."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


Answer = Callable[[Connection, Request], bool | None]
"""Answers one request; False ends the connection."""


def http(
    body: bytes | str | object,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> bytes:
    """An HTTP answer's bytes; what is neither text nor bytes is sent as JSON."""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body) if length is None else length),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


def reply(body: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with this body."""
    data = http(body, status, headers=headers)

    def answer(connection: Connection, _request: Request) -> None:
        connection.sock.sendall(data)

    return answer


def computed(body_of: Callable[[Request], Answer]) -> Answer:
    """Answer by what was asked."""
    return lambda connection, request: body_of(request)(connection, request)


def refusal(
    error_type: str = "INVALID_REQUEST",
    error_code: str = "INVALID_FIELD",
    message: str = "account_id must be a valid account ID",
    *,
    status: int = 400,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Answer:
    """Answer with an error of Plaid's."""
    body = {
        "display_message": None,
        "documentation_url": "https://plaid.com/docs/errors/",
        "error_code": error_code,
        "error_message": message,
        "error_type": error_type,
        "request_id": "req-refused",
        "suggested_action": None,
        **more,
    }
    return reply(body, status, headers=headers)


def hang(connection: Connection, _request: Request) -> bool:
    """Say nothing until the server is stopped."""
    connection.stopped.wait(30)
    return False


def close(connection: Connection, _request: Request) -> bool:
    """Read the request and hang up."""
    connection.close()
    return False


def reset(connection: Connection, _request: Request) -> bool:
    """Read the request and reset the connection."""
    option = struct.pack("ii", 1, 0)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    return False


def raw(data: bytes) -> Answer:
    """Send these bytes and hang up."""

    def answer(connection: Connection, _request: Request) -> bool:
        connection.sock.sendall(data)
        connection.close()
        return False

    return answer


def cut(body: object) -> Answer:
    """Announce more than is sent."""
    data = json.dumps(body).encode()
    return raw(http(data, length=len(data) + 100))


def trickle(data: bytes, *, every: float = 0.03) -> Answer:
    """Send byte by byte."""

    def answer(connection: Connection, _request: Request) -> bool:
        for position in range(len(data)):
            connection.sock.sendall(data[position : position + 1])
            if connection.stopped.wait(every):
                break
        return False

    return answer


def exchanged(access_token: str = ACCESS_TOKEN) -> Answer:
    """What a good exchange answers."""
    return reply({"access_token": access_token, "item_id": "item-1", "request_id": "req-exchange"})


def issued(request: Request) -> Answer:
    """What a good ``/processor/token/create`` answers."""
    body = request.json
    return reply(
        {
            "processor_token": processor_token(body["processor"], body["account_id"]),
            "request_id": f"req-{body['account_id']}",
        }
    )


def processor_token(processor: str, account_id: str) -> str:
    """The token that this server gives for an account."""
    return f"processor-sandbox-{processor}-0123456789-{account_id}"


def refusing(refused: Mapping[str, Answer]) -> Answer:
    """``/processor/token/create`` that answers otherwise for these account ids."""

    def choose(request: Request) -> Answer:
        return refused.get(request.json["account_id"]) or issued(request)

    return computed(choose)


def account(account_id: str, subtype: str = "checking", **more: object) -> Json:
    """An account as ``/accounts/get`` tells it."""
    kinds = {"checking": "depository", "savings": "depository", "credit card": "credit"}
    return {
        "account_id": account_id,
        "balances": {"available": 100, "current": 110, "limit": None},
        "mask": account_id[-4:].rjust(4, "0"),
        "name": f"Plaid {subtype}",
        "official_name": None,
        "subtype": subtype,
        "type": kinds.get(subtype, "depository"),
        **more,
    }


def item(**more: object) -> Json:
    """An Item as ``/item/get`` shows it."""
    return {
        "available_products": [],
        "billed_products": ["transactions"],
        "consent_expiration_time": None,
        "error": None,
        "institution_id": "ins_109508",
        "item_id": "item-1",
        "products": ["transactions"],
        "update_type": "background",
        "webhook": "",
        **more,
    }


def _usual() -> dict[str, Answer]:
    accounts = [account("a-checking"), account("a-card", "credit card")]
    return {
        EXCHANGE: exchanged(),
        ACCOUNTS: reply({"accounts": accounts, "item": {}, "request_id": "req-accounts"}),
        CREATE: computed(issued),
        ITEM: reply({"item": item(), "status": None, "request_id": "req-item"}),
        LINK_TOKEN: reply(
            {
                "expiration": "2026-11-21T05:00:00Z",
                "link_token": "link-sandbox-5e171e1c-aaaa-4bbb-8ccc-0123456789ab",
                "request_id": "req-link",
            }
        ),
        REMOVE: reply({"request_id": "req-remove"}),
        SANDBOX_TOKEN: reply({"public_token": PUBLIC_TOKEN, "request_id": "req-sandbox"}),
    }


@dataclass
class FaultyPlaid:
    """Plaid's workflow over HTTP, with the faults that a test asks for.

    Attributes:
        requests: those that came in, whole.
        unfinished: the paths of those that were cut off before their end.
        connections: how many were opened.
        most_at_once: how many requests were being answered at once, at most.
    """

    requests: list[Request] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._usual = _usual()
        self._scripts: dict[str, list[Answer]] = defaultdict(list)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._at_once = 0
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def on(self, path: str, *answers: Answer) -> None:
        """What a path answers, in turn; the last one stays."""
        self._scripts[path] = list(answers)

    @property
    def open_connections(self) -> int:
        """How many connections no side has closed yet."""
        return len(self._open)

    @property
    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [request.path for request in self.requests]

    def asked(self, path: str) -> list[Json]:
        """The bodies sent to a path."""
        return [request.json for request in self.requests if request.path == path]

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for sock in self._open:
                Connection(sock, self._stopped).close()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._stopped)
        try:
            with sock, sock.makefile("rb") as source:
                while (request := _read(source)) is not None:
                    if not request.whole:
                        self.unfinished.append(request.path)
                        return
                    if self._answer(connection, request) is False:
                        return
        except (OSError, ValueError):  # it hung up, or speaks no HTTP
            pass
        finally:
            with self._lock:
                self._open.discard(sock)

    def _answer(self, connection: Connection, request: Request) -> bool | None:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            script = self._scripts[request.path]
            default = self._usual.get(request.path, reply("not found", 404))
            answer = (script.pop(0) if len(script) > 1 else script[0]) if script else default
        try:
            return answer(connection, request)
        finally:
            with self._lock:
                self._at_once -= 1


def _read(source: Any) -> Request | None:
    first = source.readline().decode("latin-1").split()
    if len(first) < 2:  # nothing, or no HTTP
        return None
    headers: dict[str, str] = {}
    while line := source.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = source.read(int(headers.get("content-length", 0)))
    return Request(path=urlsplit(first[1]).path, target=first[1], headers=headers, body=body)
