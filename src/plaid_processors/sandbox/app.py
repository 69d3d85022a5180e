"""The ASGI application: reads a request, lets the local Plaid answer it, sends the answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from .control import control_app
from .engine import Engine, Outcome
from .link_page import link_routes
from .protocol import Corked
from .reading import BodyTooLargeError, read_request
from .visitors import Hosts, RefusedError
from .wire import Answer, Request

CONTROL = "/_sandbox"

_TOO_LARGE = Answer(
    status=413, body=b"Request Entity Too Large", headers={"Content-Type": "text/plain"}
)


class Exchange:
    """One request and how its answer is sent, with faults."""

    def __init__(self, scope: Scope, receive: Receive, send: Send):
        self._scope = scope
        self._receive = receive
        self._send = send
        self._connection: Corked = scope["state"]["connection"]

    async def run(self, engine: Engine) -> None:
        """Answer the request."""
        fault = engine.fault_for(self._scope["path"])
        if fault and fault.drop == "unread":
            request = Request(method=self._scope["method"], path=self._scope["path"])
            await self._send_outcome(engine.handle(request, fault))
            return
        try:
            request = await read_request(self._scope, self._receive)
        except BodyTooLargeError:
            await self._send_whole(_TOO_LARGE)
            return
        await self._send_outcome(engine.handle(request, fault))

    async def _send_outcome(self, outcome: Outcome) -> None:
        fault = outcome.fault
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if outcome.answer is None:
            self._connection.reset()
            await self._gone()
        elif fault and (fault.cut is not None or fault.trickle is not None):
            await self._send_bit_by_bit(outcome.answer, fault.cut, fault.trickle)
        else:
            await self._send_whole(outcome.answer)

    async def _gone(self) -> None:
        """Wait until the connection is gone, so that uvicorn does not miss the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _send_whole(self, answer: Answer) -> None:
        await self._start(answer)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def _start(self, answer: Answer) -> None:
        headers = {**answer.headers, "Content-Length": str(len(answer.body))}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": raw})

    async def _send_bit_by_bit(
        self, answer: Answer, cut: int | None, trickle: float | None
    ) -> None:
        """Announce the whole length; send up to the cut, byte by byte if it trickles."""
        await self._start(answer)
        body = answer.body if cut is None else answer.body[:cut]
        step = 1 if trickle is not None else max(len(body), 1)
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            if trickle:
                await asyncio.sleep(trickle)
        if len(body) < len(answer.body):
            self._connection.close()
            await self._gone()
        else:
            await self._send({"type": "http.response.body", "body": b""})


def plaid_app(engine: Engine, hosts: Hosts) -> ASGIApp:
    """Make the application that answers as Plaid does: to programs, by whatever name they ask."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            if "origin" in headers:  # browsers name it with every POST
                hosts.check_sender(headers)
        except RefusedError as refused:
            await PlainTextResponse(str(refused), refused.status)(scope, receive, send)
        else:
            await Exchange(scope, receive, send).run(engine)

    return app


def make_app(engine: Engine, hosts: Hosts) -> ASGIApp:
    """Add the control plane to Plaid's own paths."""
    plaid = plaid_app(engine, hosts)
    routes = Starlette(
        routes=[
            *link_routes(engine, hosts),
            Mount(CONTROL, app=control_app(engine, hosts)),
            Mount("/", app=plaid),
        ]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The connection is lost: the server closes, or the client hung up.
        with suppress(asyncio.CancelledError, ClientDisconnect):
            # A target such as "*" is no path, and Plaid's answer to it is that to an unknown one.
            known = routes if scope["path"].startswith("/") else plaid
            await known(scope, receive, send)

    return app
