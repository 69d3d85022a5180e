"""Who may use the control plane and Link's pages: programs, and these pages themselves.

A page of any site can send requests to this machine and, by DNS rebinding, read the answers. What
a browser says of a request, no page can change: its `Host`, `Origin` and `Sec-Fetch-Site`
(https://developer.mozilla.org/docs/Glossary/Forbidden_request_header).
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import Request

from .reading import BodyTooLargeError, read_request
from .wire import Json, from_json

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]+)?", re.IGNORECASE)
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


class RefusedError(Exception):
    """A request is refused because of its sender or its form."""

    def __init__(self, status: int, words: str):
        self.status = status
        super().__init__(words)


def _plain(name: str) -> str:
    try:
        return str(ip_address(name.strip("[]")))
    except ValueError:
        return name.lower()


class Hosts:
    """The names that this server is asked by."""

    def __init__(self, *names: str):
        self._names = {"localhost", *map(_plain, names)}

    def allow(self, name: str) -> None:
        """Allow another name."""
        self._names.add(_plain(name))

    def check_host(self, headers: Headers) -> None:
        """Refuse a foreign `Host`. Rebinding needs a name, so an address may be any of its own."""
        given = headers.get("host")
        if given is None:  # an old program: browsers always send it
            return
        match = _HOST.fullmatch(given)
        if not match or not self._is_own(_plain(match[1])):
            raise RefusedError(
                403,
                "refused: this local Plaid does not know that host name. To allow it, use "
                "allowed_hosts= of LocalSandbox, or --allow-host",
            )

    def _is_own(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._names.isdisjoint(_EVERY_ADDRESS)

    def check_sender(self, headers: Headers) -> None:
        """Refuse a foreign `Host`, and what a page of another origin sends."""
        self.check_host(headers)
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
        if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RefusedError(403, "refused: a page of another origin sent this request")


async def read_order(request: Request, hosts: Hosts) -> Json:
    """Return the JSON object that a program, or a page of this server's, sends.

    Raises:
        RefusedError: another page sends it, it is too large, or it is not sent as JSON.
        ValueError: it is not a JSON object.

    """
    try:
        body = (await read_request(request.scope, request.receive)).body
    except BodyTooLargeError:
        raise RefusedError(413, "the body is too large") from None
    hosts.check_sender(request.headers)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A page may send any type but JSON to another origin without asking first.
    if request.method == "POST" and media_type != "application/json":
        raise RefusedError(415, "send JSON, with the header Content-Type: application/json")
    order = from_json(body or b"{}")
    if not isinstance(order, dict):
        raise ValueError("the body is a JSON object")  # noqa: TRY004 - of what is sent
    return order
