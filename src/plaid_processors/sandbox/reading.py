"""Reads a request, up to a limit."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from .wire import Request

MAX_BODY = 1 << 20


class BodyTooLargeError(Exception):
    """The request is larger than any request of Plaid's."""


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Read a request; a too large one is read to its end, so that the client gets an answer.

    Raises:
        BodyTooLargeError: it is too large.
        ClientDisconnect: the client hung up before all of it came.

    """
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
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
