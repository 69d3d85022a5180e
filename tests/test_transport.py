"""Faults on the wire: whatever comes, an error of ours, in time, and no secret in it."""

from __future__ import annotations

import gzip
import json
import platform
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from plaid_processors import PlaidConnectionError, ProcessorLinker, __version__

from .conftest import KEYS
from .support.checks import strangers
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    EXCHANGE,
    PUBLIC_TOKEN,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    account,
    close,
    cut,
    hang,
    http,
    raw,
    reply,
    reset,
    trickle,
)
from .support.rows import rows

Make = Callable[..., ProcessorLinker]

GOOD = {"accounts": [account("A")], "item": {}, "request_id": "r"}

FAULTS: dict[str, Answer] = {
    "closed": close,
    "reset": reset,
    "cut": cut(GOOD),
    "no answer's form": raw(b"hello\r\n\r\n"),
    "empty": reply(b""),
    "html": reply("<html>Bad Gateway</html>", 502, headers={"Content-Type": "text/html"}),
    "html 200": reply("<html>Sign in to the hotel's network</html>"),
    "html 403": reply("<html>Forbidden</html>", 403),
    "list": reply([]),
    "null": reply(b"null"),
    "text": reply(b'"text"'),
    "half of it": reply(b'{"accounts": ['),
    "not utf-8": reply(b'{"accounts": "\xff"}'),
    "deep": reply(b"[" * 100_000),
    "huge number": reply(b'{"accounts": ' + b"9" * 5000 + b"}"),
    "empty object": reply({}),
    "null field": reply({"accounts": None}),
    "other type": reply({"accounts": {"A": 1}}),
    "account without id": reply({"accounts": [{"name": "N"}]}),
    "account null": reply({"accounts": [None]}),
    "redirect": reply({}, 302, headers={"Location": "https://example.com/"}),
    "empty 204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "good body, bad status": reply(GOOD, 500),
    "error half said": reply({"error_type": "INVALID_REQUEST"}, 400),
    "wrong gzip": reply(b"not gzip", headers={"Content-Encoding": "gzip"}),
    "wrong chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "wrong length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    "endless header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000),
    "too many headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n{}"),
}


@rows("fault", FAULTS)
def test_unusable_answers(faulty: FaultyPlaid, make_linker: Make, fault: str) -> None:
    """What is no answer of Plaid's is a PlaidConnectionError, and nothing comes with it."""
    faulty.on(ACCOUNTS, FAULTS[fault])
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker().accounts(ACCESS_TOKEN)
    assert caught.value.endpoint == ACCOUNTS
    assert ACCOUNTS in str(caught.value)
    assert caught.value.advice
    assert strangers(caught.value) == []
    assert ACCESS_TOKEN not in str(caught.value)


@rows("fault", ["closed", "reset", "cut", "html", "empty object"])
def test_plaid_may_have_acted(faulty: FaultyPlaid, make_linker: Make, fault: str) -> None:
    """Once the request was sent, its outcome is unknown."""
    faulty.on(ACCOUNTS, FAULTS[fault])
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker().accounts(ACCESS_TOKEN)
    assert caught.value.outcome_unknown
    assert "may have acted" in str(caught.value)


def test_status_of_a_gateway_is_told(faulty: FaultyPlaid, make_linker: Make) -> None:
    """The status of an answer that is not Plaid's stands in the error."""
    faulty.on(ACCOUNTS, FAULTS["html"])
    with pytest.raises(PlaidConnectionError, match="502") as caught:
        make_linker().accounts(ACCESS_TOKEN)
    assert (caught.value.http_status, caught.value.retryable) == (502, True)


@rows(
    ("status", "retryable", "unknown"),
    [
        (300, False, False),
        (302, False, False),
        (403, False, False),
        (408, True, True),
        (429, True, False),
        (499, False, False),
        (500, True, True),
    ],
)
@rows("body", [b"<html></html>", GOOD])
def test_what_a_gateway_refuses_was_not_done(
    status: int, retryable: bool, unknown: bool, body: Any, faulty: FaultyPlaid, make_linker: Make
) -> None:
    """Only where Plaid may have been asked is the outcome unknown, whatever the body says."""
    faulty.on(ACCOUNTS, reply(body, status))
    with pytest.raises(PlaidConnectionError, match=f"HTTP {status}") as caught:
        make_linker().accounts(ACCESS_TOKEN)
    found = (caught.value.http_status, caught.value.retryable, caught.value.outcome_unknown)
    assert found == (status, retryable, unknown)


def test_a_redirect_is_not_followed(faulty: FaultyPlaid, make_linker: Make) -> None:
    """Keys and tokens are not sent on to where a redirect points."""
    with FaultyPlaid() as other:
        location = {"Location": other.url + ACCOUNTS}
        faulty.on(ACCOUNTS, reply(b"", 307, headers=location))
        with pytest.raises(PlaidConnectionError):
            make_linker().accounts(ACCESS_TOKEN)
        assert other.requests == []


def _head_then_trickle(connection: Any, request: Any) -> Any:
    data = http(GOOD, headers={"X": "x"})
    head, body = data.split(b"\r\n\r\n", 1)
    connection.sock.sendall(head + b"\r\n\r\n")
    return trickle(body)(connection, request)


SLOW: dict[str, Answer] = {
    "body by bytes": _head_then_trickle,
    "hangs": hang,
    "hangs in the header": lambda connection, request: (
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-"),
        hang(connection, request),
    )[1],
    "hangs in the body": lambda connection, request: (
        connection.sock.sendall(http(GOOD, length=5000)),
        hang(connection, request),
    )[1],
    "header by bytes": trickle(http(GOOD)[:100]),
}


@pytest.mark.slow
@rows("limit", [{"timeout": 0.1}, {"timeout": (0.05, 0.1)}, {"deadline": 0.15}], ids=str)
@rows("slowness", SLOW)
def test_slow_servers(
    faulty: FaultyPlaid, make_linker: Make, slowness: str, limit: dict[str, Any]
) -> None:
    """However slowly a server answers, the request ends with its time-outs or the deadline."""
    faulty.on(ACCOUNTS, SLOW[slowness])
    began = monotonic()
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker(**limit).accounts(ACCESS_TOKEN)
    assert monotonic() - began < 1.3
    assert caught.value.outcome_unknown
    assert strangers(caught.value) == []


def test_no_server_at_all(make_linker: Make) -> None:
    """Nobody listening is a PlaidConnectionError, and Plaid has certainly not acted."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker(base_url=f"http://127.0.0.1:{port}").accounts(ACCESS_TOKEN)
    assert not caught.value.outcome_unknown
    assert caught.value.retryable
    assert strangers(caught.value) == []


def test_no_such_host(make_linker: Make) -> None:
    """A name that does not exist is a PlaidConnectionError."""
    with pytest.raises(PlaidConnectionError) as caught:
        make_linker(base_url="https://plaid.invalid").accounts(ACCESS_TOKEN)
    assert not caught.value.outcome_unknown
    assert strangers(caught.value) == []


def test_no_tls_at_the_other_end(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A server that speaks plain HTTP where https is asked for is a PlaidConnectionError."""
    url = faulty.url.replace("http://", "https://")
    linker = make_linker(base_url=url, timeout=0.2)
    with pytest.raises(PlaidConnectionError) as caught:
        linker.accounts(ACCESS_TOKEN)
    assert strangers(caught.value) == []
    with pytest.raises(PlaidConnectionError) as caught:
        linker.link("layer", public_token=PUBLIC_TOKEN)
    assert strangers(caught.value) == []
    assert not caught.value.outcome_unknown
    assert PUBLIC_TOKEN not in str(caught.value)
    assert not {ACCOUNTS, EXCHANGE} & set(faulty.paths)  # what arrives is the hand-shake's noise


def test_a_hand_shake_that_never_ends(make_linker: Make) -> None:
    """Where not even the connection came about, Plaid cannot have made an Item."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PlaidConnectionError) as caught:
            make_linker(base_url=url, timeout=0.3).link("layer", public_token=PUBLIC_TOKEN)
    assert not caught.value.outcome_unknown
    assert caught.value.support is None


def test_an_idle_connection_that_was_closed(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A kept connection that the server has dropped meanwhile is replaced by a new one."""
    linker = make_linker(max_attempts=2)
    faulty.on(ACCOUNTS, lambda c, r: (reply(GOOD)(c, r), c.close(), False)[2])
    for _ in range(3):
        assert len(linker.accounts(ACCESS_TOKEN)) == 1


def _chunked(body: bytes, size: int = 1000) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n"


LONG = {"accounts": [account(f"A{number}", padding="x" * 1000) for number in range(300)]}
FORMS = {
    "chunked": raw(_chunked(json.dumps(LONG).encode())),
    "until the end": raw(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(LONG).encode()),
    "gzip": reply(gzip.compress(json.dumps(LONG).encode()), headers={"Content-Encoding": "gzip"}),
    "long": reply(LONG),
    "with a mark": reply(
        json.dumps(LONG).encode(), headers={"Content-Type": "text/json;charset=x"}
    ),
    "after a continue": raw(b"HTTP/1.1 100 Continue\r\n\r\n" + http(LONG)),
}


@rows("form", FORMS)
def test_every_form_of_an_answer(faulty: FaultyPlaid, make_linker: Make, form: str) -> None:
    """However HTTP carries the answer, it is read whole."""
    faulty.on(ACCOUNTS, FORMS[form])
    assert len(make_linker().accounts(ACCESS_TOKEN)) == 300


def test_an_endless_answer_is_not_read(faulty: FaultyPlaid, make_linker: Make) -> None:
    """An answer without end does not fill the memory."""

    def endless(connection: Any, _request: Any) -> bool:
        connection.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
        while not connection.stopped.is_set():
            connection.sock.sendall(b" " * 1_000_000)
        return False

    faulty.on(ACCOUNTS, endless)
    with pytest.raises(PlaidConnectionError, match="too long"):
        make_linker().accounts(ACCESS_TOKEN)


def test_what_is_sent(faulty: FaultyPlaid, make_linker: Make) -> None:
    """Keys and version go in the headers; each body is plain JSON, and its length is told."""
    make_linker().link("layer", public_token=PUBLIC_TOKEN, account_id="a-card")
    assert [request.json for request in faulty.requests] == [
        {"public_token": PUBLIC_TOKEN},
        {"access_token": ACCESS_TOKEN},
        {"access_token": ACCESS_TOKEN, "account_id": "a-card", "processor": "layer"},
    ]
    for request in faulty.requests:
        headers = dict(request.headers)
        assert headers["plaid-version"] == "2020-09-14"
        assert headers["content-type"] == "application/json"
        assert headers["content-length"] == str(len(request.body))
        assert "transfer-encoding" not in headers
        assert headers["user-agent"] == (
            f"plaid-processors/{__version__} Python/{platform.python_version()} {platform.system()}"
        )
        assert headers["plaid-client-id"] == KEYS["client_id"]
        assert headers["plaid-secret"] == KEYS["secret"]


def test_connections_are_kept(faulty: FaultyPlaid, make_linker: Make) -> None:
    """One connection serves one request after the other."""
    linker = make_linker()
    for _ in range(5):
        linker.accounts(ACCESS_TOKEN)
    assert (len(faulty.requests), faulty.connections) == (5, 1)


@rows("status", [102, 103, 199])
def test_an_interim_answer_is_no_answer_and_crosses_nobody(
    faulty: FaultyPlaid, make_linker: Make, status: int
) -> None:
    """What comes after an interim answer must not answer the next request of the connection."""

    def early(connection: Connection, _request: Request) -> None:
        connection.sock.sendall(f"HTTP/1.1 {status} Early Hints\r\n\r\n".encode())
        connection.stopped.wait(0.2)
        with suppress(OSError):
            connection.sock.sendall(http({"accounts": [account("of-another-item")]}))

    linker = make_linker(max_attempts=1, max_connections=1)
    faulty.on(ACCOUNTS, early)
    with pytest.raises(PlaidConnectionError, match=f"HTTP {status}") as caught:
        linker.accounts(ACCESS_TOKEN)
    assert caught.value.outcome_unknown
    faulty.on(ACCOUNTS, reply(GOOD))
    assert [each.account_id for each in linker.accounts(ACCESS_TOKEN)] == ["A"]
