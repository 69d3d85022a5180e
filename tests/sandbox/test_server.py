"""The server: up when it says so, down when it should be, and nothing left behind."""

from __future__ import annotations

import gc
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest
import urllib3

from plaid_processors import PlaidClient, ProcessorLinker
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox, serve

from ..support.rows import rows
from .conftest import LINK

SERVE = "from plaid_processors.sandbox import serve; serve(port=0)"


@rows("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(number):
    """The command's server prints its address once it answers, and ends well on a signal."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        match = re.fullmatch(r"Local Plaid at (http://127\.0\.0\.1:\d+)\n", line)
        assert match
        with urllib3.PoolManager() as pool:
            keys = {"client_id": "a" * 24, "secret": "b" * 30}
            body = {**keys, "institution_id": "ins_109508", "initial_products": ["auth"]}
            url = f"{match[1]}/sandbox/public_token/create"
            assert pool.request("POST", url, json=body).status == 200
            process.send_signal(number)
            assert process.wait(timeout=10) == 0


def test_two_at_once_and_none_afterwards():
    """Sandboxes stand side by side, and a closed one no longer listens."""
    before = threading.active_count()
    with LocalSandbox() as one, LocalSandbox() as two:
        assert one.url != two.url
        port = int(one.url.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert threading.active_count() == before


def test_taken_port():
    """A port that is taken is an OSError at once."""
    with LocalSandbox() as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            LocalSandbox(port=port)


@rows("port", [-1, 65536, 99999])
def test_a_port_out_of_range(port):
    """The range is named, by the local Plaid, the partners and `serve`."""
    words = f"^port must be a number from 0 to 65535: {port}$"
    with LocalSandbox() as sandbox:
        for make in (
            lambda: LocalSandbox(port=port),
            lambda: LocalLayer(sandbox, port=port),
            lambda: LocalFinix(sandbox, port=port),
            lambda: serve(port=port),
        ):
            with pytest.raises(ValueError, match=words):
                make()


def test_an_empty_host():
    """It is refused: a socket would listen at every address."""
    with LocalSandbox() as sandbox:
        for make in (
            lambda: LocalSandbox(host=""),
            lambda: LocalLayer(sandbox, host=""),
            lambda: LocalFinix(sandbox, host=""),
            lambda: serve(host="", port=0),
        ):
            with pytest.raises(ValueError, match=r"^host must not be empty$"):
                make()


@rows("host", ["\udcff", "ü" * 70, "256.1.1.1", "none.invalid", "a" * 70, "::x"])
def test_a_host_that_is_none(host):
    """It is an OSError, also where the name cannot be encoded."""
    with pytest.raises(OSError, match=r"cannot be encoded|[Nn]ame|getaddrinfo"):
        LocalSandbox(host=host)


@rows(
    ("keys", "words"),
    [
        ({"client_id": "x"}, "client_id must be 24 hexadecimal digits"),
        ({"client_id": ""}, "client_id must be 24 hexadecimal digits"),
        ({"client_id": "a" * 24 + "\n"}, "client_id must be 24 hexadecimal digits"),
        ({"secret": "0" * 29}, "secret must be 30 hexadecimal digits"),
        ({"secret": "x" * 30}, "secret must be 30 hexadecimal digits"),
        ({"client_id": "b" * 30, "secret": "a" * 24}, "client_id must be 24 hexadecimal digits"),
    ],
)
def test_malformed_keys(keys, words):
    """They are refused at once, and not shown."""
    with pytest.raises(ValueError, match=f"^{words}$"):
        LocalSandbox(**keys)


def test_wellformed_keys():
    """Its own client works with them."""
    with (
        LocalSandbox(client_id="A1" * 12, secret="b2" * 15) as sandbox,
        ProcessorLinker(sandbox.client()) as linker,
    ):
        assert linker.link_sandbox("finix").complete


@rows(("host", "own"), [("0.0.0.0", "http://127.0.0.1:"), ("::", "http://[::1]:")])
def test_at_every_address_its_clients_use_the_loopback(host, own):
    """A client refuses plain HTTP to any other address; the partners find their Plaid too."""
    try:
        sandbox = LocalSandbox(host=host)
    except OSError:
        if host != "::":
            raise
        pytest.skip("this machine has no IPv6")
    with sandbox, LocalFinix(sandbox, host=host) as finix:
        assert sandbox.environ["PLAID_BASE_URL"].startswith(own)
        for client in (sandbox.client(), PlaidClient.from_env(sandbox.environ)):
            with ProcessorLinker(client) as linker:
                token = linker.link_sandbox("finix").processor_tokens[0].processor_token
        assert finix.read_from_plaid("/processor/auth/get", token)["numbers"]


@rows("kind", [LocalSandbox, LocalLayer, LocalFinix])
def test_it_can_be_entered_once(kind):
    """Another entry is refused with the way out, and does not stop the server."""
    words = "can be entered once, and this one was entered or closed before: make a new one"
    with LocalSandbox() as plaid:
        server = LocalSandbox() if kind is LocalSandbox else kind(plaid)
        with server:
            with pytest.raises(RuntimeError, match=words), server:
                pass
            with urllib3.PoolManager() as pool:
                assert pool.request("POST", f"{server.url}/item/get", json={}).status in (400, 401)
        with pytest.raises(RuntimeError, match=words), server:
            pass


def test_a_closed_one_is_not_entered():
    """Its socket is gone, even if it never served."""
    sandbox = LocalSandbox()
    sandbox.close()
    sandbox.close()
    with pytest.raises(RuntimeError, match="make a new one"):
        sandbox.start()


def answered(sandbox, target, body=b"{}", host="", method="POST"):
    """What the server answers to a request with this target."""
    port = int(sandbox.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{port}'}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


@rows("scheme", ["http", "HTTPS"])
def test_a_whole_address_as_the_target(api, sandbox, scheme):
    """RFC 9112, 3.2.2: the path in it is asked for, whatever the header `Host` says."""
    home = sandbox.url.replace("http", scheme, 1)
    body = json.dumps({**api.keys, "access_token": api.access_token()}).encode()
    for target in (f"{home}/accounts/get", f"{home}/accounts/get?x=1"):
        status, told = answered(sandbox, target, body, host="elsewhere.example")
        assert status == 200
        assert json.loads(told)["accounts"]
    assert sandbox.requests[-1].path == "/accounts/get"
    sandbox.fail("/accounts/get", error_code="ITEM_LOCKED")
    assert json.loads(answered(sandbox, f"{home}/accounts/get", body)[1])["error_code"] == (
        "ITEM_LOCKED"
    )
    link = json.dumps({**api.keys, **LINK, "hosted_link": {}}).encode()
    told = answered(sandbox, f"{home}/link/token/create", link, host="elsewhere.example")[1]
    assert json.loads(told)["hosted_link_url"].startswith(f"{sandbox.url}/link/")
    assert answered(sandbox, f"{home}/_sandbox/health", b"", method="GET")[0] == 200
    assert answered(sandbox, "http://evil.example/_sandbox/health", b"", method="GET")[0] == 403


@rows("target", ["*", "accounts/get", "http://", "http:///accounts/get", "ftp://x/item/get", "x:1"])
@rows("method", ["POST", "OPTIONS", "CONNECT"])
def test_a_target_that_is_no_path(sandbox, target, method):
    """Plaid's own 404, with a request id."""
    status, told = answered(sandbox, target, method=method)
    error = json.loads(told)
    assert (status, error["error_code"]) == (404, "NOT_FOUND")
    assert error["request_id"]


@rows("path", ["", "/", "/nothing", "/_sandbox", "/link/nothing", "//accounts/get"])
def test_a_path_that_is_not_known(sandbox, path):
    """The same, also in a whole address."""
    for target in (path or "/", f"{sandbox.url}{path}"):
        status, told = answered(sandbox, target)
        error = json.loads(told)
        assert (status, error["error_code"]) == (404, "NOT_FOUND")
        assert error["request_id"]


@rows(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /item/get HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /item/get HTTP/1.1\r\nHost: x\r\nX: \xff\xfe\x00\r\nContent-Length: 2\r\n\r\n{}",
        (
            b"POST /item/get HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"PLAID-CLIENT-ID: \xe9\xff\r\nContent-Length: 2\r\n\r\n{}"
        ),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /\xff\xfe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /%ff%fe HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"X" * 200_000,
    ],
)
def test_garbage_on_the_wire(api, raw):
    """Bytes that are no HTTP, or odd HTTP, end in a 4xx or a closed connection."""
    port = int(api.sandbox.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(1000)
        except OSError:
            answer = b""  # closed before all was sent
    assert answer == b"" or re.match(rb"HTTP/1\.1 4\d\d ", answer)
    assert api.access_token()


def test_who_comes_while_it_closes_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A browser's early connections are closed with the server, not by the garbage collector."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    for _ in range(5):
        with LocalSandbox() as sandbox, ExitStack() as stack:
            address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
            closing = threading.Event()

            def knock(address=address, stack=stack, closing=closing) -> None:
                for _ in range(200):
                    if closing.wait(0.001):
                        return
                    try:
                        stack.enter_context(socket.create_connection(address, timeout=1))
                    except OSError:
                        return

            thread = threading.Thread(target=knock)
            thread.start()
            time.sleep(0.02)
            sandbox.close()
            closing.set()
            thread.join()
        del sandbox
        gc.collect()
    assert complaints == []


HALF = (
    ("POST /item/get", 100),
    ("POST /_sandbox/reset", 100),
    ("POST /_sandbox/link/pane/exit", 100),
    ("GET /_sandbox/link/bank.js", 0),
    ("POST /item/get", 1),
)
"""Requests, and the length of the body of which one byte is sent."""


def test_requests_under_way_while_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    """It waits for none of them, whenever they come, and logs nothing."""
    for closes_after in range(len(HALF) + 1):
        with ExitStack() as stack:
            sandbox = stack.enter_context(LocalSandbox())
            host = sandbox.url.removeprefix("http://")
            address = ("127.0.0.1", int(host.rpartition(":")[2]))
            clients = [
                stack.enter_context(socket.create_connection(address, timeout=5)) for _ in HALF
            ]
            closing = threading.Thread(target=sandbox.close, daemon=True)
            for number, (client, (line, length)) in enumerate(zip(clients, HALF, strict=True)):
                if number == closes_after:
                    closing.start()
                head = f"{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                with suppress(OSError):  # it was faster
                    client.sendall(f"{head}Content-Length: {length}\r\n\r\n{'1'[:length]}".encode())
            if closes_after == len(HALF):
                time.sleep(0.1)  # until it reads them
                closing.start()
            closing.join(10)
            assert not closing.is_alive()
    assert caplog.text == ""


@pytest.mark.parametrize("partner", [False, True])
def test_a_request_that_is_cut_off_is_not_acted_on(
    partner: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The client hangs up in the middle of the body: nothing happens, and nothing is logged."""
    with LocalSandbox() as sandbox, LocalFinix(sandbox) as finix:
        server: LocalSandbox | LocalFinix = finix if partner else sandbox
        host = server.url.removeprefix("http://")
        address = ("127.0.0.1", int(host.rpartition(":")[2]))
        with socket.create_connection(address, timeout=5) as client:
            head = f"POST /item/get HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: 100\r\n\r\n{{}}".encode())
            time.sleep(0.1)
        time.sleep(0.1)
        assert server.requests == ()
    assert caplog.text == ""
