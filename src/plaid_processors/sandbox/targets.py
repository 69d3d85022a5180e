"""The target of a request, which may be a whole address in place of the path.

https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2: a server accepts it, and its host counts
instead of the header `Host`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_ADDRESS = re.compile(rb"https?://(?:[^/]*@)?([^/@]+)(/.*)?", re.IGNORECASE)


def taking_addresses(app: ASGIApp) -> ASGIApp:
    """Make an application answer a whole address as it answers the path in it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(with_path(scope), receive, send)

    return answer


def with_path(scope: Scope) -> Scope:
    """Return a request's scope with the path and the host of its target."""
    match = _ADDRESS.fullmatch(scope.get("raw_path") or b"")
    if not match:
        return scope
    host, path = match[1], match[2] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {
        **scope,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "headers": [(b"host", host), *headers],
    }
