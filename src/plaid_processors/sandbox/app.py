"""The ASGI application: reads a request whole, lets the local Plaid answer, sends it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from .wire import Answer, Request

Handler = Callable[[Request], Answer]
MAX_BODY = 1 << 20


class BodyTooLargeError(Exception):
    """The client sent more than any request of Plaid's could need."""


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read a request; what is too large is read on, so that the client hears the answer."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > MAX_BODY:
        raise BodyTooLargeError
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Request(
        method=scope["method"], path=scope["path"], headers=headers, body=b"".join(chunks)
    )


async def send_answer(send: Send, answer: Answer) -> None:
    """Send an answer under its own length."""
    headers = {**answer.headers, "Content-Length": str(len(answer.body))}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


_TOO_LARGE = Answer(
    status=413, body=b"Request Entity Too Large", headers={"Content-Type": "text/plain"}
)


def make_app(handle: Handler) -> Starlette:
    """Make the application around the function that answers."""

    async def plaid(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = handle(await read_request(scope, receive))
        except BodyTooLargeError:
            answer = _TOO_LARGE
        await send_answer(send, answer)

    return Starlette(routes=[Mount("/", app=plaid)])
