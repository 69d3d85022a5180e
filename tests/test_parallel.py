"""Requests side by side, over connections that are kept, and what the client loads for it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plaid
import pytest

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
)
from .support.tls import ESTABLISHED, TlsPlaid, Tunnel, make_certificate

MakeLinker = Callable[..., ProcessorLinker]


def accounts(count: int) -> list[dict[str, Any]]:
    return [link_account(f"a-{number}") for number in range(count)]


def gathering(barrier: threading.Barrier) -> Answer:
    """Answers only when so many requests are there at once."""

    def answer(connection: Connection, request: Request) -> bool | None:
        barrier.wait(10)
        return issued(request)(connection, request)

    return answer


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, which is its own authority."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_plaid(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsPlaid]:
    """The server over TLS, and an environment that trusts it."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with TlsPlaid(certificate) as server:
        yield server


def test_certificates_are_loaded_once_for_a_client(
    tls_plaid: TlsPlaid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are loaded when it is made, and not again for any of its connections."""
    loads: list[str] = []

    def counted(name: str) -> Callable[..., None]:
        load = getattr(ssl.SSLContext, name)

        def counting(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
            loads.append(name)
            load(self, *args, **kwargs)

        return counting

    for name in ("load_verify_locations", "load_default_certs"):
        monkeypatch.setattr(ssl.SSLContext, name, counted(name))
    tls_plaid.on(CREATE, gathering(threading.Barrier(4)))
    with ProcessorLinker(PlaidClient(**KEYS, base_url=tls_plaid.url, max_attempts=1)) as linker:
        assert loads == ["load_verify_locations"]
        for _ in range(2):
            assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(4)).complete
    assert tls_plaid.connections == 4
    assert loads == ["load_verify_locations"]


@pytest.fixture
def through(
    tls_plaid: TlsPlaid, certificate: Path
) -> Iterator[Callable[[bytes], tuple[Tunnel, ProcessorLinker]]]:
    """Makes a linker of a plaid.ApiClient that goes through a tunnel that answers so."""
    with ExitStack() as stack:

        def make(answer: bytes) -> tuple[Tunnel, ProcessorLinker]:
            tunnel = stack.enter_context(Tunnel(answer))
            keys = {"clientId": KEYS["client_id"], "secret": KEYS["secret"]}
            configuration = plaid.Configuration(host=tls_plaid.url, api_key=keys)
            configuration.proxy = tunnel.url
            configuration.ssl_ca_cert = str(certificate)
            api = stack.enter_context(plaid.ApiClient(configuration))
            stack.callback(api.rest_client.pool_manager.clear)
            client = PlaidClient.from_plaid(api, max_attempts=1, timeout=10.0)
            return tunnel, stack.enter_context(ProcessorLinker(client))

        yield make


def test_tls_through_a_proxy(
    tls_plaid: TlsPlaid, through: Callable[[bytes], tuple[Tunnel, ProcessorLinker]]
) -> None:
    """The proxy is asked for the way before anything is sent, and the link goes through it."""
    tunnel, linker = through(ESTABLISHED)
    assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1)).complete
    assert set(tunnel.asked) == {tls_plaid.address}
    assert len(tls_plaid.requests) == 2


def test_an_answer_lost_behind_a_proxy(
    tls_plaid: TlsPlaid, through: Callable[[bytes], tuple[Tunnel, ProcessorLinker]]
) -> None:
    """Plaid may have made an Item: urllib3 calls it the proxy's fault, but the request was sent."""
    tls_plaid.on(EXCHANGE, close)
    _, linker = through(ESTABLISHED)
    with pytest.raises(PlaidConnectionError) as caught:
        linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts(1))
    assert caught.value.outcome_unknown
    assert "timed out" not in caught.value.reason  # the tunnel passes the end on
    assert caught.value.support is not None
    assert len(tls_plaid.requests) == 1


def test_a_link_loads_no_generated_model(faulty: FaultyPlaid) -> None:
    """Of plaid-python the client alone is needed, and nothing before a client is made."""
    script = """
import json, sys
import plaid_processors
before = sorted(sys.modules)
from plaid_processors import PlaidClient, ProcessorLinker
linker = ProcessorLinker(PlaidClient(client_id="0" * 24, secret="5e" * 15, base_url=sys.argv[1]))
ids = [{"id": name} for name in ("a", "b")]
linker.link("layer", public_token=sys.argv[2], accounts=ids)
print(json.dumps([before, sorted(sys.modules)]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, faulty.url, PUBLIC_TOKEN],
        capture_output=True,
        check=True,
        timeout=30,
    )
    before, loaded = json.loads(ran.stdout)
    assert "plaid" not in before
    assert {"plaid.api_client", "urllib3", "plaid_processors.linker"} <= set(loaded)
    generated = ("plaid.model.", "plaid.models", "plaid.api.", "plaid.apis")
    assert [each for each in loaded if each.startswith(generated)] == []
