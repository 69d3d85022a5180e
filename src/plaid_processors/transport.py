"""One POST over a urllib3 pool: the answer's bytes, or what went wrong, in time."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

import urllib3
from urllib3 import exceptions

from .timed import Watch, make_timed

MAX_BODY = 16 * 1024 * 1024
"""More than any answer of this workflow by far; what is longer is not read."""


class Answer:
    """What came over the wire."""

    __slots__ = ("body", "retry_after", "status")

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Failure:
    """Why no whole answer came.

    Attributes:
        reason: a few words, without any secret.
        sent: whether the request may have reached the server.
        passing: whether it may go better next time.
        came: what there is of the answer's body.
    """

    __slots__ = ("came", "passing", "reason", "sent")

    def __init__(self, reason: str, *, sent: bool, passing: bool = True, came: bytes = b"") -> None:
        self.reason = reason
        self.sent = sent
        self.passing = passing
        self.came = came


class Wire:
    """Where and as whom requests are sent.

    Attributes:
        base_url: the address, without the endpoint.
        keys: what must not show in any text.
    """

    def __init__(
        self,
        pool: Any,
        base_url: str,
        headers: Callable[[], Mapping[str, str]],
        keys: tuple[str, ...],
    ) -> None:
        """Send over a urllib3 pool manager, with headers that are made for each request."""
        self.keys = keys
        self._pool = pool
        self.base_url = base_url
        self._prefix = "/" + base_url.partition("//")[2].partition("/")[2]
        self._headers = headers
        self._hosts: Any = None
        self._once = urllib3.Retry(total=False, redirect=False)

    @property
    def proxied(self) -> bool:
        """Whether a proxy stands between."""
        return getattr(self._pool, "proxy", None) is not None

    def hosts(self) -> Any:
        """The pool of connections to the address; looked up again if it was closed."""
        if self._hosts is None or self._hosts.pool is None:
            self._hosts = self._pool.connection_from_url(self.base_url)
        return self._hosts

    def clear(self) -> None:
        """Close the connections."""
        self._pool.clear()
        if self._hosts is not None:  # urllib3 2 leaves them open while anyone holds the pool
            self._hosts.close()

    def post(self, path: str, body: bytes, times: tuple[float, float, float]) -> Answer | Failure:
        """Send one request, once.

        Args:
            path: the endpoint.
            body: what is sent.
            times: seconds for the connection, for one wait for data, and for the request in all.
        """
        _, read, total = times
        watch = Watch(end=monotonic() + total, wait=read)
        response = None
        chunks: list[bytes] = []
        try:
            response = self._open(path, body, times, watch)
            outcome = _read_all(response, chunks)
        except (
            exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            outcome = _failure(error, watch.sent)
        # Raised ones hold headers and bodies: none leaves this room, not even as a context.
        if response is not None and isinstance(outcome, Failure):
            response.close()
            outcome.came = b"".join(chunks)
        return outcome

    def _open(
        self, path: str, body: bytes, times: tuple[float, float, float], watch: Watch
    ) -> urllib3.BaseHTTPResponse:
        """The answer, its body still to be read."""
        connect, read, total = times
        hosts = self.hosts()
        watch.sent = not make_timed(hosts)  # what cannot be watched may have been sent
        # Past the manager, which would look the host up again; a proxy needs its words, though.
        opener = self._pool if self.proxied else hosts
        target = self.base_url + path if self.proxied else self._prefix.rstrip("/") + path
        with watch:
            response: urllib3.BaseHTTPResponse = opener.urlopen(
                "POST",
                target,
                body=body,
                headers=self._headers(),
                timeout=urllib3.Timeout(total=total, connect=connect, read=read),
                retries=self._once,
                redirect=False,
                preload_content=False,
            )
        return response


def missing_connections(pool: Any, wanted: int) -> int:
    """How many connections a host's pool lacks for so many requests side by side.

    One comes by itself, with the request that is made first.
    """
    slots = list(getattr(pool.pool, "queue", ()))
    open_ones = sum(slot is not None for slot in slots)
    return max(0, min(wanted, len(slots)) - max(1, open_ones))


def open_connection(pool: Any, seconds: float) -> None:
    """Put a connection that is open into a host's pool. A failure is silent.

    urllib3 has no public way to do this; these two methods have been there since its 1.0, and if
    they go, nothing is lost but the head start.
    """
    try:
        make_timed(pool)
        connection = _unopened(pool)
        if connection is not None:
            connection.timeout = seconds
            connection.connect()
            pool._put_conn(connection)
    except Exception:  # noqa: BLE001, S110  the request that follows tells what is wrong
        pass


def _unopened(pool: Any) -> Any:
    """A connection of a host's pool that is not open yet, or None where it has no place left."""
    open_ones = []
    found = None
    while found is None and not pool.pool.empty():
        connection = pool._get_conn()  # the one put back last comes first
        if connection.sock is None:
            found = connection
        else:
            open_ones.append(connection)
    for connection in open_ones:
        pool._put_conn(connection)
    return found


def _read_all(response: urllib3.BaseHTTPResponse, chunks: list[bytes]) -> Answer | Failure:
    size = 0
    for chunk in _chunks(response):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            return Failure("the answer is too long", sent=True, passing=False)
    if hasattr(response, "release_conn"):  # vcrpy's has none before 9.1
        response.release_conn()
    return Answer(response.status, b"".join(chunks), response.headers.get("Retry-After"))


def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """What has come, as it comes: one wait on the socket for each."""
    if not hasattr(response, "read1"):  # urllib3 1.x
        yield from _chunks_of_urllib3_1(response)
        return
    while chunk := response.read1(65536):
        yield chunk
        # All is here; a decoder may hold more than it has given yet.
        if response.length_remaining == 0 and "Content-Encoding" not in response.headers:
            return


def _chunks_of_urllib3_1(response: Any) -> Iterator[bytes]:
    source: http.client.HTTPResponse = response._fp
    announced = response.headers.get("Content-Length")
    size = 0
    while chunk := source.read1(65536):
        size += len(chunk)
        yield chunk
    if announced is not None and announced.isdigit() and size < int(announced):
        raise http.client.IncompleteRead(b"")


def _failure(error: Exception, sent: bool) -> Failure:
    if isinstance(error, ValueError) and not isinstance(error, exceptions.HTTPError):
        # Such as a header that http.client refuses, with the key in its words.
        return Failure("a key or another header cannot be sent", sent=sent, passing=False)
    reason = _words(error, sent)
    if isinstance(error, exceptions.SSLError):
        # No certificate that is trusted, or no TLS at the other end: that stays so.
        lasting = "CERTIFICATE" in reason or "WRONG_VERSION_NUMBER" in reason
        return Failure(reason, sent=sent, passing=not lasting)
    return Failure(reason, sent=sent, passing=not isinstance(error, exceptions.LocationValueError))


def _words(error: Exception, sent: bool) -> str:
    """What happened, in our words: those of the error could show what was sent."""
    root = _root(error)
    if isinstance(root, TimeoutError) or isinstance(error, exceptions.ReadTimeoutError):
        connecting = isinstance(error, exceptions.ConnectTimeoutError)
        return f"timed out while {'connecting' if connecting else 'waiting for the answer'}"
    if isinstance(error, exceptions.ProxyError) and not sent:
        return "the proxy refused"  # also what urllib3 calls a proxy's connection that broke later
    if isinstance(root, http.client.IncompleteRead):
        return "the answer was cut short"
    if isinstance(root, OSError):
        return root.strerror or type(root).__name__
    return f"the connection broke ({type(root).__name__})"


def _root(error: BaseException) -> BaseException:
    """The lowest error that urllib3 wrapped: in its arguments, or as the cause."""
    inner = next((each for each in error.args if isinstance(each, BaseException)), None)
    inner = inner or error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error if inner is None or inner is error else _root(inner)
