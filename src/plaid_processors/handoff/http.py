"""Drives a hand-off over httpx, blocking or awaited. The steps are elsewhere, and the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigurationError
from .requests import Reply, Sent, Steps

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

MAX_BODY = 16 * 1024 * 1024
"""More than any answer of a partner's by far; what is longer is not read."""


def httpx_module() -> Any:
    """The HTTP client, which is an extra.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import httpx
    except ModuleNotFoundError:
        raise ConfigurationError(
            'the senders need httpx: pip install "plaid-processors[handoff]"'
        ) from None
    return httpx


def drive(steps: Steps[T], client: httpx.Client, timeout: float) -> T:
    """Do the steps, blocking."""
    reply: Reply | None = None
    while True:
        try:
            sent = next(steps) if reply is None else steps.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value
        reply = _send(sent, client, timeout)


async def drive_awaited(steps: Steps[T], client: httpx.AsyncClient, timeout: float) -> T:
    """Do the steps, awaiting each."""
    reply: Reply | None = None
    while True:
        try:
            sent = next(steps) if reply is None else steps.send(reply)
        except StopIteration as end:
            value: T = end.value
            return value
        reply = await _send_awaited(sent, client, timeout)


def _send(sent: Sent, client: httpx.Client, timeout: float) -> Reply:
    end = monotonic() + timeout
    try:
        with client.stream(**_arguments(sent, timeout)) as response:
            reading = _Reading(response.status_code, end)
            for chunk in _bytes(response):
                if not reading.takes(chunk):
                    break
            return reading.reply()
    except httpx_module().HTTPError as error:
        return _failure(error)
    except httpx_module().InvalidURL:
        return Reply(reason="the address is not usable", sent=False)


async def _send_awaited(sent: Sent, client: httpx.AsyncClient, timeout: float) -> Reply:
    end = monotonic() + timeout
    try:
        async with client.stream(**_arguments(sent, timeout)) as response:
            reading = _Reading(response.status_code, end)
            async for chunk in _bytes_awaited(response):
                if not reading.takes(chunk):
                    break
            return reading.reply()
    except httpx_module().HTTPError as error:
        return _failure(error)
    except httpx_module().InvalidURL:
        return Reply(reason="the address is not usable", sent=False)


def _arguments(sent: Sent, timeout: float) -> dict[str, Any]:
    return {
        "method": sent.request.method,
        "url": sent.base_url + sent.request.target,
        "headers": dict(sent.request.headers),
        "content": sent.request.content,
        "timeout": timeout,
        "follow_redirects": False,
    }


def _bytes(response: httpx.Response) -> Iterator[bytes]:
    return response.iter_bytes()


def _bytes_awaited(response: httpx.Response) -> AsyncIterator[bytes]:
    return response.aiter_bytes()


class _Reading:
    """The body as it comes, within time and size."""

    def __init__(self, status: int, end: float) -> None:
        self._status = status
        self._end = end
        self._chunks: list[bytes] = []
        self._trouble: str | None = None

    def takes(self, chunk: bytes) -> bool:
        """Keep what came; whether to read on."""
        self._chunks.append(chunk)
        if sum(map(len, self._chunks)) > MAX_BODY:
            self._trouble = "the answer is too long"
        # The time-out of the socket starts anew with every byte that trickles in.
        elif monotonic() > self._end:
            self._trouble = "timed out while the answer came"
        return self._trouble is None

    def reply(self) -> Reply:
        if self._trouble is not None:
            return Reply(reason=self._trouble)
        return Reply(status=self._status, body=b"".join(self._chunks))


def _failure(error: Exception) -> Reply:
    """What went wrong, in our words: the error itself holds the request, keys and all."""
    httpx = httpx_module()
    if isinstance(error, httpx.ConnectTimeout):
        return Reply(reason="timed out while connecting", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Reply(reason="timed out", sent=not isinstance(error, httpx.PoolTimeout))
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return Reply(reason="could not connect", sent=False)
    unsent = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
    if isinstance(error, unsent):
        return Reply(reason="the request could not be made", sent=False)
    return Reply(reason=f"the connection broke ({type(error).__name__})")
