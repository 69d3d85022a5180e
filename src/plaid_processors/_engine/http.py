"""One HTTP request over urllib3, by its public API: the answer, or why none came. In time."""

from __future__ import annotations

# What the first connection would load: a process forked at that moment could never load it, since
# the lock of an import that another thread is in stays locked in the child.
import encodings.idna  # noqa: F401
import http.client
import logging
import math
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Any

import urllib3
from attrs import field, frozen
from urllib3 import exceptions

from .threads import THREAD_NAME, Attempt, WithdrawnError

MAX_BODY = 16 * 1024 * 1024
"""More than any answer of this workflow by far; what is longer is not read."""

_CHUNK = 1024
"""How much is read before the clock is looked at."""


class _UnreadHeaders(logging.Filter):
    """Keeps what our requests got out of urllib3's warning of headers that it cannot read.

    Where the empty line after the headers got lost, that is the body, tokens and all.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # Not by the record, which names no thread where `logging.logThreads` is off.
        ours = threading.current_thread().name.startswith(THREAD_NAME)
        arguments = record.args if isinstance(record.args, tuple) else ()
        if ours and any(isinstance(each, exceptions.HeaderParsingError) for each in arguments):
            record.msg, record.args = "Failed to parse headers", None
            record.exc_info = record.exc_text = None
        return True


for _name in ("urllib3.connection", "urllib3.connectionpool"):  # urllib3 2, and 1.26
    logging.getLogger(_name).addFilter(_UnreadHeaders())


@frozen(kw_only=True)
class HttpRequest:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@frozen(kw_only=True)
class HttpAnswer:
    """What was answered; ``retry_after`` are seconds."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None


@frozen(kw_only=True)
class HttpFailure:
    """Why no whole answer was received.

    Attributes:
        reason: a few words, without any secret.
        sent: whether the request may have reached the server.
        passing: whether it may go better next time.
        seconds: how long it was waited for, where the caller gave it up.
    """

    reason: str
    sent: bool
    passing: bool = True
    seconds: float | None = None


HttpOutcome = HttpAnswer | HttpFailure

TIMED_OUT = "timed out while waiting for the answer"
_NOT_CONNECTED = "timed out while connecting"


def send(
    pool: Any, request: HttpRequest, attempt: Attempt, times: tuple[float, float]
) -> HttpOutcome:
    """Send one request, once, over a pool manager of urllib3's.

    Not by plaid-python's ``call_api``: it cannot switch the pool's retries off, keeps the last
    answer with its token, logs bodies, and raises errors that print them.
    """
    connect, read = times
    began = monotonic()
    headers, body = dict(request.headers), request.body
    content: bytes | Iterator[bytes] | None = body
    if attempt.once and body is not None:
        # The length, since urllib3 would send a body that is an iterator in chunks.
        headers["Content-Length"] = str(len(body))
        content = attempt.body(body)
    response = None
    try:
        response = pool.request(
            request.method,
            request.url,
            body=content,
            headers=headers,
            timeout=urllib3.Timeout(connect=connect, read=read),
            retries=False,
            redirect=False,
            preload_content=False,
            enforce_content_length=True,
        )
        answered = attempt.sent_at if attempt.sent_at is not None else began + connect
        outcome = _read(response, answered + read)
    except WithdrawnError:
        outcome = HttpFailure(reason="the call was given up before it was sent", sent=False)
    except (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        # These errors hold headers and bodies: none leaves this function, not even as a context.
        sent = attempt.sent_at is not None if attempt.once else None
        outcome = _failure(error, sent=sent)
    if response is not None and isinstance(outcome, HttpFailure):
        response.close()
    return outcome


def _read(response: Any, end: float) -> HttpOutcome:
    if response.status < 200:
        # http.client takes an interim answer (103) for the answer, and the next request would get
        # the real one: its connection is closed.
        reason = f"an interim answer came (HTTP {response.status}), which cannot be passed over"
        return HttpFailure(reason=reason, sent=True)
    chunks: list[bytes] = []
    size, late = 0, False
    for chunk in response.stream(_CHUNK):
        if late:  # an answer that the read under way completed is taken all the same
            return HttpFailure(reason=TIMED_OUT, sent=True)
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY:
            return HttpFailure(reason="the answer is too long", sent=True, passing=False)
        late = monotonic() > end
    response.release_conn()
    return HttpAnswer(
        status=response.status,
        body=b"".join(chunks),
        retry_after=retry_after_seconds(response.headers.get("Retry-After")),
    )


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date; None if it is neither."""
    try:
        seconds = float(header or "")
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header or "")
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError):
        return None


_BEFORE_SENDING = (
    exceptions.ConnectTimeoutError,  # and NewConnectionError, which is one
    exceptions.LocationValueError,
    exceptions.URLSchemeUnknown,
)


def _failure(error: Exception, *, sent: bool | None) -> HttpFailure:
    """Why no answer was received; ``sent`` says whether the request was sent, if that is known."""
    if isinstance(error, ValueError) and not isinstance(error, exceptions.HTTPError):
        # Such as a header that http.client refuses, with the key in its words.
        reason = "a key or another header cannot be sent"
        return HttpFailure(reason=reason, sent=bool(sent), passing=False)
    causes = list(_causes(error))
    root = causes[-1]
    reason = _words(error, root)
    if sent is False and reason == TIMED_OUT:  # in the TLS handshake
        reason = _NOT_CONNECTED
    # No certificate that is trusted, or no TLS at the other end: that stays so. "CertificateError":
    # urllib3 1.26, of a certificate of another host.
    lasting = any(isinstance(each, exceptions.SSLError) for each in causes) and (
        "CERTIFICATE" in reason.upper() or "WRONG_VERSION_NUMBER" in reason
    )
    refused = re.search(r"Tunnel connection failed: (\d{3})", str(root))
    if sent is None:
        unconnected = any(isinstance(each, _BEFORE_SENDING) for each in causes)
        sent = not (lasting or refused or unconnected)
    if not (isinstance(error, exceptions.ProxyError) and not sent and not lasting):
        passing = not (lasting or isinstance(error, exceptions.LocationValueError))
        return HttpFailure(reason=reason, sent=sent, passing=passing)
    if refused is None:
        return HttpFailure(reason=f"no way to the proxy: {reason}", sent=False)
    status = refused[1]  # 4xx: a wrong password, or a rule; 5xx may pass
    reason = f"the proxy refused with status {status}"
    return HttpFailure(reason=reason, sent=False, passing=status >= "500")


def _words(error: Exception, root: BaseException) -> str:
    """What happened, in our words: those of the error could show what was sent."""
    refused = isinstance(error, exceptions.NewConnectionError)  # a ConnectTimeoutError by its class
    if isinstance(error, exceptions.ConnectTimeoutError) and not refused:
        return _NOT_CONNECTED
    if isinstance(root, TimeoutError) or isinstance(error, exceptions.ReadTimeoutError):
        return TIMED_OUT
    if isinstance(root, http.client.RemoteDisconnected):
        return "the connection was closed"
    if isinstance(root, http.client.IncompleteRead):
        return "the answer was cut short"
    if isinstance(root, OSError):
        return root.strerror or type(root).__name__
    return f"the connection broke ({type(root).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what urllib3 wrapped in it, in its arguments or as the cause."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        inner = next((each for each in found.args if isinstance(each, BaseException)), None)
        hidden = found.__suppress_context__
        found = inner or found.__cause__ or (None if hidden else found.__context__)
