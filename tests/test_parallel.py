"""Requests side by side, over connections that are kept, and what the client loads for it."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import plaid
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from plaid_processors import (
    LinkIncompleteError,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
)

from .conftest import KEYS
from .support.checks import link_account
from .support.faulty import (
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    close,
    issued,
    processor_token,
    refusal,
    refusing,
)

MakeLinker = Callable[..., ProcessorLinker]


def accounts(count: int) -> list[dict[str, Any]]:
    return [link_account(f"a-{number}") for number in range(count)]


def gathering(barrier: threading.Barrier) -> Answer:
    """Answers only when so many requests are there at once."""

    def answer(connection: Connection, request: Request) -> bool | None:
        barrier.wait(10)
        return issued(request)(connection, request)

    return answer


def own_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("plaid-processors")]


@pytest.mark.parametrize(("count", "most"), [(8, 8), (16, 16)])
def test_all_tokens_are_asked_for_at_once(
    faulty: FaultyPlaid, make_linker: MakeLinker, count: int, most: int
) -> None:
    """The server answers none of them before all have come."""
    faulty.on(CREATE, gathering(threading.Barrier(count)))
    linker = make_linker(max_connections=most)
    result = linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(count))
    assert result.complete
    assert faulty.most_at_once == count


def test_no_more_than_max_connections_at_once(
    faulty: FaultyPlaid, make_linker: MakeLinker, caplog: pytest.LogCaptureFixture
) -> None:
    """Over all threads and links of one client, on connections that are used again."""
    caplog.set_level(logging.WARNING)
    faulty.on(CREATE, *[gathering(threading.Barrier(1))])
    linker = make_linker(max_connections=3)

    def link(_: int) -> bool:
        return linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(5)).complete

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(link, range(16)))
    assert faulty.most_at_once <= 3
    assert faulty.connections <= 3
    assert "pool is full" not in caplog.text


def test_tokens_stand_in_the_order_of_the_accounts(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """Whatever the order in which they come; and each is told as it comes."""
    came: list[str] = []
    told = {f"a-{number}": threading.Event() for number in range(4)}

    def in_reverse(connection: Connection, request: Request) -> bool | None:
        account_id = request.json["account_id"]
        later = f"a-{int(account_id[2:]) + 1}"
        if later in told:
            told[later].wait(10)
        return issued(request)(connection, request)

    def on_token(token: Any) -> None:
        came.append(token.account.account_id)
        told[token.account.account_id].set()

    faulty.on(CREATE, in_reverse)
    result = make_linker().link(
        "layer", public_token=PUBLIC_TOKEN, accounts=accounts(4), on_token=on_token
    )
    assert came == ["a-3", "a-2", "a-1", "a-0"]
    assert [each.processor_token for each in result.processor_tokens] == [
        processor_token("layer", f"a-{number}") for number in range(4)
    ]


def test_a_failure_delays_no_other(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """The refused one comes first, and the others' requests are not held up by it."""
    rest = threading.Barrier(3)

    def refuse_first(connection: Connection, request: Request) -> bool | None:
        if request.json["account_id"] == "a-0":
            return refusal()(connection, request)
        return gathering(rest)(connection, request)

    faulty.on(CREATE, refuse_first)
    told: list[str] = []
    linker = make_linker()
    with pytest.raises(LinkIncompleteError) as caught:
        linker.link(
            "layer",
            public_token=PUBLIC_TOKEN,
            accounts=accounts(4),
            on_token=lambda token: told.append(token.account.account_id),
        )
    assert sorted(told) == ["a-1", "a-2", "a-3"]
    assert [each.account.account_id for each in caught.value.result.pending] == ["a-0"]


def test_one_that_waits_to_be_sent_again_delays_no_other(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """The others have come while it waits."""
    done = threading.Event()

    def limited(connection: Connection, request: Request) -> bool | None:
        if done.is_set():
            return issued(request)(connection, request)
        answer = refusal(
            "RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "0.2"}
        )
        return answer(connection, request)

    faulty.on(CREATE, refusing({"a-0": limited}))
    came: list[str] = []

    def on_token(token: Any) -> None:
        came.append(token.account.account_id)
        if len(came) == 3:
            done.set()

    linker = make_linker(max_attempts=5)
    linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4), on_token=on_token)
    assert came[-1] == "a-0"


def test_those_that_wait_to_be_sent_again_hold_no_thread(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """With two threads, and two requests that wait, the others are sent meanwhile."""
    limited = refusal("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "1"})
    refused: set[str] = set()

    def once(connection: Connection, request: Request) -> bool | None:
        account_id = request.json["account_id"]
        if account_id in ("a-0", "a-1") and account_id not in refused:
            refused.add(account_id)
            return limited(connection, request)
        return issued(request)(connection, request)

    faulty.on(CREATE, once)
    linker = make_linker(max_attempts=2, max_connections=2)
    assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(8)).complete
    asked = [body["account_id"] for body in faulty.asked(CREATE)]
    assert sorted(asked[-2:]) == ["a-0", "a-1"]
    assert faulty.most_at_once <= 2


def test_one_account_costs_no_thread(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """Its two requests are sent on the caller's thread, over one connection."""
    before = own_threads()
    make_linker().link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1))
    assert own_threads() == before
    assert faulty.connections == 1


def after_others_are_open(server: FaultyPlaid) -> Answer:
    """Exchanges once connections besides its own are there, and at rest."""
    usual = server._usual[EXCHANGE]

    def answer(connection: Connection, request: Request) -> bool | None:
        never = threading.Event()
        for _ in range(500):
            if server.connections > 1:
                break
            never.wait(0.01)
        else:
            return False
        never.wait(0.25)
        return usual(connection, request)

    return answer


def test_connections_are_opened_while_the_exchange_is_under_way(
    faulty: FaultyPlaid, make_linker: MakeLinker
) -> None:
    """The exchange is not answered before there are others; they are the ones used after it."""
    faulty.on(EXCHANGE, after_others_are_open(faulty))
    faulty.on(CREATE, gathering(threading.Barrier(4)))
    linker = make_linker(timeout=20.0)
    linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4))
    assert faulty.connections == 4


def test_a_second_link_opens_no_connection(faulty: FaultyPlaid, make_linker: MakeLinker) -> None:
    """Connections are kept alive and used again."""
    faulty.on(CREATE, gathering(threading.Barrier(4)))
    linker = make_linker()
    linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4))
    opened = faulty.connections
    linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4))
    assert faulty.connections == opened


class TlsPlaid(FaultyPlaid):
    """The same over TLS."""

    def __init__(self, chain: Path) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain)

    @property
    def url(self) -> str:
        return super().url.replace("http://", "https://")

    def _serve(self, sock: socket.socket) -> None:
        try:
            wrapped = self._context.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        with self._lock:
            self._open.add(wrapped)
        super()._serve(wrapped)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = tmp_path_factory.mktemp("tls") / "chain.pem"
    chain.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return chain


@pytest.fixture
def tls_plaid(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsPlaid]:
    """The server over TLS, and an environment that trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with TlsPlaid(certificate) as server:
        yield server


def test_certificates_are_loaded_once_for_a_client(
    tls_plaid: TlsPlaid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each connection; and the connections opened early are the ones used."""
    loads: list[object] = []
    load = ssl.SSLContext.load_default_certs

    def counted(self: ssl.SSLContext, *args: Any) -> None:
        loads.append(self)
        load(self, *args)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", counted)
    tls_plaid.on(CREATE, gathering(threading.Barrier(4)))
    with ProcessorLinker(PlaidClient(**KEYS, base_url=tls_plaid.url, max_attempts=1)) as linker:
        for _ in range(2):
            assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4)).complete
    assert len(loads) == 1


def test_over_tls_the_connections_opened_early_are_used(tls_plaid: TlsPlaid) -> None:
    """Though the server's session tickets wait on them to be read."""
    tls_plaid.on(EXCHANGE, after_others_are_open(tls_plaid))
    tls_plaid.on(CREATE, gathering(threading.Barrier(4)))
    with ProcessorLinker(PlaidClient(**KEYS, base_url=tls_plaid.url, max_attempts=1)) as linker:
        linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4))
    assert tls_plaid.connections == 4


class Tunnel:
    """A proxy that connects through to where it is asked, or refuses."""

    def __init__(self, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                self._connect(sock)

    def _connect(self, sock: socket.socket) -> None:
        asked = sock.recv(65536).split()[1]
        self.asked.append(asked)
        sock.sendall(self._answer)
        if b" 200 " not in self._answer:
            sock.shutdown(socket.SHUT_RDWR)
            return
        host, _, port = asked.decode().partition(":")
        there = socket.create_connection((host, int(port)))
        self._open.append(there)
        for source, target in ((sock, there), (there, sock)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while came := source.recv(65536):
                target.sendall(came)

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def through(
    tls_plaid: TlsPlaid, certificate: Path
) -> Iterator[Callable[[bytes], tuple[Tunnel, ProcessorLinker]]]:
    """Makes a linker whose requests go through a tunnel that answers so."""
    made: list[tuple[Tunnel, plaid.ApiClient, ProcessorLinker]] = []

    def make(answer: bytes) -> tuple[Tunnel, ProcessorLinker]:
        tunnel = Tunnel(answer)
        keys = {"clientId": KEYS["client_id"], "secret": KEYS["secret"]}
        configuration = plaid.Configuration(host=tls_plaid.url, api_key=keys)
        configuration.proxy = tunnel.url
        configuration.ssl_ca_cert = str(certificate)
        api = plaid.ApiClient(configuration)
        linker = ProcessorLinker(PlaidClient.from_plaid(api, max_attempts=1))
        made.append((tunnel, api, linker))
        return tunnel, linker

    yield make
    for tunnel, api, linker in made:
        linker.close()
        api.rest_client.pool_manager.clear()
        api.close()
        tunnel.close()


def test_tls_through_a_proxy(
    tls_plaid: TlsPlaid, through: Callable[[bytes], tuple[Tunnel, ProcessorLinker]]
) -> None:
    """The proxy is asked for the way before anything is sent, and the link goes through it."""
    tunnel, linker = through(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1)).complete
    assert set(tunnel.asked) == {tls_plaid.url.removeprefix("https://").encode()}
    assert len(tls_plaid.requests) == 2


def test_a_proxy_that_refuses_the_way(
    tls_plaid: TlsPlaid, through: Callable[[bytes], tuple[Tunnel, ProcessorLinker]]
) -> None:
    """Nothing was sent to Plaid, so nothing is unknown."""
    _, linker = through(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(PlaidConnectionError, match="proxy") as caught:
        linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1))
    assert not caught.value.outcome_unknown
    assert tls_plaid.requests == []


def test_an_answer_lost_behind_a_proxy(
    tls_plaid: TlsPlaid, through: Callable[[bytes], tuple[Tunnel, ProcessorLinker]]
) -> None:
    """Plaid may have made an Item: urllib3 calls it the proxy's fault, but the request was sent."""
    tls_plaid.on(EXCHANGE, close)
    _, linker = through(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with pytest.raises(PlaidConnectionError) as caught:
        linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1))
    assert caught.value.outcome_unknown
    assert caught.value.support is not None
    assert len(tls_plaid.requests) == 1


def test_a_link_loads_no_more_than_it_needs(faulty: FaultyPlaid) -> None:
    """Nothing of plaid-python, and no asyncio where nothing is awaited."""
    script = """
import json, sys
from plaid_processors import PlaidClient, ProcessorLinker
linker = ProcessorLinker(PlaidClient(client_id="0" * 24, secret="5e" * 15, base_url=sys.argv[1]))
ids = [{"id": name} for name in ("a", "b")]
linker.link("layer", public_token=sys.argv[2], accounts=ids)
print(json.dumps(sorted(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, faulty.url, PUBLIC_TOKEN],
        capture_output=True,
        check=True,
        timeout=30,
    )
    loaded = json.loads(ran.stdout)
    assert {"urllib3", "plaid_processors.linker"} <= set(loaded)
    heavy = ("plaid.", "dateutil", "asyncio", "plaid_processors.aio")
    assert [each for each in loaded if each == "plaid" or each.startswith(heavy)] == []
