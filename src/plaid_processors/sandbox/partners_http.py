"""Common parts of the partners' stand-ins: a server, a log, faults, access to the local Plaid.

The stand-ins are made from the partners' published documents. What these do not say is made up, and
marked as such.
"""

from __future__ import annotations

import asyncio
import http.client
import threading
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, unquote

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from .app import Exchange
from .engine import DEFAULT_SEED, Engine, Keys, Outcome
from .faults import ANYWHERE, Fault, Faults, bent
from .ids import Ids
from .journal import Journal, masked
from .local import LocalSandbox
from .server import ThreadedServer, own_address
from .wire import Answer, Json, Request, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class PartnerFault(Fault):
    """A fault of a partner; its path includes the method, as in ``POST /identities``."""

    def _check_path(self) -> None:
        if not isinstance(self.path, str):
            raise TypeError("path is a text such as POST /identities")


@dataclass(frozen=True, kw_only=True)
class PartnerRequest:
    """One request to a partner's stand-in.

    Attributes:
        method: the HTTP method.
        path: the path, without the query.
        body: the JSON that was sent, tokens masked.
        status: the status sent back; None if the connection was dropped.

    """

    method: str
    path: str
    body: Any
    status: int | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A parsed request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> list[str]:
        """The parts of the path."""
        return [unquote(each) for each in self.path.split("/")[1:]]

    def json(self) -> Json:
        """The JSON object that was sent; an empty one if there is none."""
        try:
            read = from_json(self.body)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}

    def form(self) -> dict[str, str]:
        """The form that was sent."""
        read = parse_qs(self.body.decode("utf-8", "replace"))
        return {name: values[0] for name, values in read.items()}

    def basic(self) -> tuple[str, str] | None:
        """The user name and the password of Basic authentication."""
        scheme, _, code = self.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = b64decode(code, validate=True).decode().partition(":")
        except ValueError:
            return None
        return (user, password) if scheme == "Basic" else None


class PlaidRefusedError(Exception):
    """The local Plaid refused the partner."""

    def __init__(self, code: str):
        self.code = code
        super().__init__(code)


class PartnerServer:
    """A partner's stand-in on this machine, for as long as the `with` block lasts.

    Args:
        plaid: the local Plaid where it uses processor tokens, as the partner would.
        seed: every id and key is derived from it.
        host: the address to listen at.
        port: the port; 0 takes a free one.

    """

    def __init__(
        self,
        plaid: LocalSandbox,
        *,
        seed: int | str = DEFAULT_SEED,
        host: str = "127.0.0.1",
        port: int = 0,
    ):
        self._plaid = plaid
        self._plaid_keys: Keys | None = None
        self._ids = Ids(f"{type(self).__name__}/{seed}")
        self._faults = Faults()
        self._log: Journal[PartnerRequest] = Journal()
        self._lock = threading.RLock()
        self._server = ThreadedServer(_app(self), host, port)

    @property
    def url(self) -> str:
        """The address to point a client at."""
        return self._server.url

    @property
    def requests(self) -> tuple[PartnerRequest, ...]:
        """The requests received, tokens masked, in order."""
        return self._log.entries()

    def clear_requests(self) -> None:
        """Empty the log."""
        self._log.clear()

    def fail(self, path: str = ANYWHERE, **what: Any) -> None:
        """Set a fault for ``METHOD /path``; `what` as in `Fault`."""
        self._faults.add(PartnerFault(path=path, **what))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    def fault_for(self, path: str) -> Fault | None:
        """Return the fault that strikes a request, if one does."""
        return self._faults.take(path.split("?")[0])

    def handle(self, request: Request, fault: Fault | None = None) -> Outcome:
        """Answer a request, changed by the fault that strikes it."""
        method, _, target = request.path.partition(" ")
        path, _, query = target.partition("?")
        asked = Asked(
            method=method,
            path=path,
            query={name: values[0] for name, values in parse_qs(query).items()},
            headers=request.headers,
            body=request.body,
        )
        with self._lock:
            answer = bent(fault, lambda: self.answer(asked), lambda: "")
            status = answer.status if answer else None
            self._log.add(
                PartnerRequest(method=method, path=path, body=masked(asked.json()), status=status),
                size=len(request.path) + len(request.body),
            )
        return Outcome(answer=answer, fault=fault)

    def answer(self, asked: Asked) -> Answer:
        """Answer a request."""
        raise NotImplementedError

    def read_from_plaid(self, path: str, token: str, **more: Any) -> Json:
        """Use a processor token at the local Plaid, with the partner's own keys.

        Raises:
            PlaidRefusedError: Plaid's error.

        """
        if self._plaid_keys is None:
            self._plaid_keys = self._plaid.new_keys()
        try:
            return self._post_to_plaid(path, self._plaid_keys, processor_token=token, **more)
        except PlaidRefusedError as refused:
            if refused.code != "INVALID_API_KEYS":
                raise
        self._plaid_keys = self._plaid.new_keys()  # it was reset meanwhile
        return self._post_to_plaid(path, self._plaid_keys, processor_token=token, **more)

    def _post_to_plaid(self, path: str, keys: Keys, **body: Any) -> Json:
        data = to_json({"client_id": keys.client_id, "secret": keys.secret, **body})
        request = urllib.request.Request(  # noqa: S310 - the local Plaid's own address
            own_address(self._plaid.url) + path, data, {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return _object(response.read())
        except urllib.error.HTTPError as error:
            with error:
                told = _object(error.read())
        except (OSError, http.client.HTTPException):
            told = {}
        raise PlaidRefusedError(told.get("error_code") or "no answer")


def _object(body: bytes) -> Json:
    """Read an answer of Plaid's; a fault may have put anything in its place."""
    try:
        read = from_json(body)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise PlaidRefusedError("no answer")
    return read


def _app(server: PartnerServer) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope["raw_path"].decode("latin-1").partition("?")[0]
        query = scope["query_string"].decode("latin-1")
        path = f"{scope['method']} {raw}" + (f"?{query}" if query else "")
        # An Exchange needs two methods of its engine, which this has: `fault_for` and `handle`.
        with suppress(asyncio.CancelledError, ClientDisconnect):  # as the local Plaid does
            await Exchange({**scope, "path": path}, receive, send).run(cast("Engine", server))

    return app


def json_reply(status: int, body: object) -> Answer:
    """Answer in JSON."""
    return Answer(status=status, body=to_json(body), headers={"Content-Type": "application/json"})
