"""How a client reaches Plaid: proxies, certificates, and how it names itself."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import plaid
import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    ConfigurationError,
    LinkResult,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
    __version__,
)
from plaid_processors.client import USER_AGENT
from plaid_processors.handoff import FinixSender, LayerSender

from .conftest import KEYS
from .support.checks import chain, link_account, strangers
from .support.faulty import PUBLIC_TOKEN, FaultyPlaid, reply
from .support.rows import rows
from .support.tls import ELSEWHERE, VARIABLES, TlsPlaid, Tunnel, folder_of, make_certificate

PASSWORD = "hunter2-%E2%82%AC-of-the-proxy"
"""A password as it stands in an address; the € in it is beyond Latin-1."""

GONE = "http://127.0.0.1:9"
"""Nobody listens there."""

MakeLinker = Callable[..., ProcessorLinker]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that runs the tests says how a server is reached."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that no server of these tests shows."""
    return make_certificate(tmp_path_factory.mktemp("another"))


@pytest.fixture
def server(certificate: Path) -> Iterator[TlsPlaid]:
    """Plaid over TLS, with a certificate that no machine trusts by itself."""
    with TlsPlaid(certificate) as server:
        yield server


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    with Tunnel() as tunnel:
        yield tunnel


@pytest.fixture
def linker_of(server: TlsPlaid) -> Iterator[MakeLinker]:
    """Makes linkers of the server, with keys."""
    with ExitStack() as stack:

        def make(**options: Any) -> ProcessorLinker:
            settings = {**KEYS, "base_url": server.url, "max_attempts": 1, "timeout": 5.0}
            return stack.enter_context(ProcessorLinker(PlaidClient(**{**settings, **options})))

        yield make


@pytest.fixture
def trusting(linker_of: MakeLinker, certificate: Path) -> MakeLinker:
    """Makes linkers that trust the server's certificate."""
    return lambda **options: linker_of(ca_bundle=certificate, **options)


def link(linker: ProcessorLinker) -> LinkResult:
    return linker.link("layer", public_token=PUBLIC_TOKEN, accounts=[link_account("a-0")])


def failure(linker: ProcessorLinker) -> PlaidConnectionError:
    """The error of a link that cannot reach Plaid: the exchange was certainly not sent."""
    with pytest.raises(PlaidConnectionError) as caught:
        link(linker)
    assert not caught.value.outcome_unknown
    assert caught.value.support is None
    assert strangers(caught.value) == []
    return caught.value


# --- which proxy


@rows("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@rows("scheme", ["http://", ""])
def test_a_variable_names_the_proxy(
    name: str,
    scheme: str,
    server: TlsPlaid,
    tunnel: Tunnel,
    trusting: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole link goes through the proxy, which needs no scheme in its address."""
    tunnel.asked.clear()
    monkeypatch.setenv(name, tunnel.url.replace("http://", scheme))
    assert link(trusting()).complete
    assert set(tunnel.asked) == {server.address}
    assert len(server.requests) == 2


@rows("name", ["NO_PROXY", "no_proxy"])
@rows("exceptions", ["127.0.0.1", "*", "plaid.example, 127.0.0.1 ,x", "{}"])
def test_no_proxy_names_exceptions(
    name: str,
    exceptions: str,
    server: TlsPlaid,
    tunnel: Tunnel,
    trusting: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that NO_PROXY names, with its port or without, is asked directly."""
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv(name, exceptions.format(server.address))
    assert link(trusting()).complete
    assert tunnel.asked == []


def test_no_proxy_leaves_the_others(
    server: TlsPlaid, tunnel: Tunnel, trusting: MakeLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that NO_PROXY does not name is asked through the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("NO_PROXY", "plaid.com,.example")
    assert link(trusting()).complete
    assert set(tunnel.asked) == {server.address}


def test_the_argument_is_above_the_variables(
    server: TlsPlaid, tunnel: Tunnel, trusting: MakeLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`proxy=` is used whatever HTTPS_PROXY and NO_PROXY say."""
    monkeypatch.setenv("HTTPS_PROXY", GONE)
    monkeypatch.setenv("NO_PROXY", "*")
    assert link(trusting(proxy=tunnel.url)).complete
    assert set(tunnel.asked) == {server.address}


def test_from_env_takes_proxy_and_certificates(
    server: TlsPlaid, tunnel: Tunnel, certificate: Path
) -> None:
    """`from_env` of a client and of both linkers takes `proxy=` and `ca_bundle=` too."""
    environ = {
        "PLAID_CLIENT_ID": KEYS["client_id"],
        "PLAID_SECRET": KEYS["secret"],
        "PLAID_BASE_URL": server.url,
    }
    options: dict[str, Any] = {"proxy": tunnel.url, "ca_bundle": certificate, "max_attempts": 1}
    with ProcessorLinker(PlaidClient.from_env(environ, **options)) as linker:
        link(linker)
    with ProcessorLinker.from_env(environ, **options) as linker:
        link(linker)

    async def awaited() -> None:
        async with AsyncProcessorLinker.from_env(environ, **options) as linker:
            await linker.link("layer", public_token=PUBLIC_TOKEN, accounts=[link_account("a-0")])

    asyncio.run(awaited())
    assert tunnel.asked == [server.address] * 3


@rows("by", ["arguments", "variables"])
def test_the_senders_take_proxy_and_certificates(
    by: str,
    server: TlsPlaid,
    tunnel: Tunnel,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hand-off's senders reach their partner as a client of keys reaches Plaid."""
    server.on("/payment_instruments", reply({"_embedded": {"payment_instruments": []}}))
    server.on("/oauth2/token", reply({"access_token": "bearer", "expires_in": 3600}))
    server.on("/v1/businesses/b/plaid/accounts", reply({"data": []}))
    options: dict[str, Any] = {"base_url": server.url}
    if by == "arguments":
        options |= {"proxy": tunnel.url, "ca_bundle": certificate}
    else:
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tunnel.asked.clear()
    with FinixSender(username="u", password="p", **options) as finix:
        assert finix.payment_instruments("ID1") == ()
    keys = {"client_id": "c", "client_secret": "s", "auth_url": server.url}
    with LayerSender(**keys, **options) as layer:
        assert layer.accounts("b") == ()
    assert set(tunnel.asked) == {server.address}
    assert len(server.requests) == 3


def test_no_variable_is_applied_between_this_machine_and_itself(
    faulty: FaultyPlaid, make_linker: MakeLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local Plaid over http is reached whatever the variables are, even unusable ones."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, GONE if name.isupper() else "not an address")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    assert link(make_linker()).complete
    assert len(faulty.requests) == 2


def test_a_proxy_to_this_machine_can_be_asked_for(
    faulty: FaultyPlaid, make_linker: MakeLinker, tunnel: Tunnel
) -> None:
    """`proxy=` holds for a local Plaid over http as well, to look at what is sent."""
    proxy = tunnel.url.replace("http://", "http://me:word@")
    assert link(make_linker(proxy=proxy)).complete
    assert tunnel.asked[0] == f"{faulty.url}/item/public_token/exchange"
    assert set(tunnel.users) == {"me:word"}


def test_an_api_client_is_taken_as_it_is(
    server: TlsPlaid, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable changes the way of a caller's own `plaid.ApiClient`, not even a wrong one."""
    monkeypatch.setenv("HTTPS_PROXY", GONE)
    monkeypatch.setenv("ALL_PROXY", "not an address")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    keys = {"clientId": KEYS["client_id"], "secret": KEYS["secret"]}
    configuration = plaid.Configuration(host=server.url, api_key=keys)
    configuration.ssl_ca_cert = str(certificate)
    with plaid.ApiClient(configuration) as api:
        with ProcessorLinker(PlaidClient.from_plaid(api, max_attempts=1)) as linker:
            assert link(linker).complete
        api.rest_client.pool_manager.clear()
    assert {each.headers["user-agent"] for each in server.requests} == {api.user_agent}


# --- a proxy with user and password


def log_all(caplog: pytest.LogCaptureFixture) -> None:
    """Have everybody log all that they can; plaid-python quietens urllib3, so by their names."""
    for name in (None, "urllib3.connection", "urllib3.connectionpool", "urllib3.poolmanager"):
        caplog.set_level(logging.DEBUG, logger=name)


def shown(*objects: object) -> str:
    """All that such objects show of themselves."""
    return " ".join(f"{each!r} {each!s}" for each in objects)


@rows("source", ["proxy=", "HTTPS_PROXY"])
def test_user_and_password_go_to_the_proxy_alone(
    source: str,
    server: TlsPlaid,
    tunnel: Tunnel,
    trusting: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The proxy gets them decoded; Plaid does not, and no repr and no log shows the password."""
    log_all(caplog)
    address = tunnel.url.replace("//", f"//the%20shop:{PASSWORD}@")
    if source == "HTTPS_PROXY":
        monkeypatch.setenv(source, address)
    linker = trusting(**({"proxy": address} if source == "proxy=" else {}))
    assert link(linker).complete
    assert set(tunnel.users) == {"the shop:hunter2-€-of-the-proxy"}
    assert all("proxy-authorization" not in each.headers for each in server.requests)
    assert "urllib3.connectionpool" in {each.name for each in caplog.records}
    text = caplog.text + shown(linker, linker.client, linker.client.limits, vars(linker.client))
    assert "hunter2" not in text
    assert "aHVudGVyMi" not in text  # the same in Base64


def test_a_user_without_a_password(tunnel: Tunnel, trusting: MakeLinker, server: TlsPlaid) -> None:
    """A proxy may ask for a user alone."""
    link(trusting(proxy=tunnel.url.replace("//", "//shop@")))
    assert set(tunnel.users) == {"shop:"}


# --- a proxy that is of no use

REFUSALS = {
    "that wants a password": b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    "that refuses": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "that does not reach Plaid": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "that speaks no HTTP": b"220 mail.example ESMTP\r\n",
    "that hangs up": None,
}


@rows("answer", REFUSALS.values(), ids=REFUSALS)
def test_a_proxy_that_refuses(
    answer: bytes | None,
    server: TlsPlaid,
    trusting: MakeLinker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing was sent to Plaid and nothing is unknown; no word shows the proxy's password."""
    log_all(caplog)
    with Tunnel(answer) as tunnel:
        error = failure(trusting(proxy=tunnel.url.replace("//", f"//shop:{PASSWORD}@")))
    assert server.requests == []
    text = caplog.text + shown(*chain(error), error.__dict__)
    assert "hunter2" not in text
    assert "aHVudGVyMi" not in text


def test_a_proxy_that_is_gone(server: TlsPlaid, trusting: MakeLinker) -> None:
    """Nobody listens at the proxy's address."""
    error = failure(trusting(proxy=f"http://shop:{PASSWORD}@127.0.0.1:9"))
    assert "proxy" in error.reason
    assert "hunter2" not in shown(*chain(error), error.__dict__)


def test_a_proxy_whose_name_is_unknown(server: TlsPlaid, trusting: MakeLinker) -> None:
    """The proxy's name cannot be looked up."""
    error = failure(trusting(proxy=f"http://shop:{PASSWORD}@proxy.invalid:3128"))
    assert "hunter2" not in shown(*chain(error), error.__dict__)


def test_a_proxy_that_says_nothing(server: TlsPlaid, trusting: MakeLinker) -> None:
    """The way through the proxy is waited for as long as a connection, and not longer."""
    with Tunnel(b"") as tunnel:
        error = failure(trusting(proxy=tunnel.url, timeout=(0.3, 30.0)))
    assert tunnel.asked == [server.address]
    assert "timed out" in error.reason


def test_a_proxy_over_tls(server: TlsPlaid, certificate: Path, linker_of: MakeLinker) -> None:
    """A proxy may be spoken to over TLS; `ca_bundle` holds for its certificate as well."""
    with Tunnel(certificate=certificate) as tunnel:
        for ca_bundle in (certificate, folder_of(certificate)):
            tunnel.asked.clear()
            assert link(linker_of(proxy=tunnel.url, ca_bundle=ca_bundle)).complete
            assert set(tunnel.asked) == {server.address}


def test_a_proxy_over_tls_and_both_variables(
    server: TlsPlaid,
    certificate: Path,
    another: Path,
    linker_of: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are trusted for the proxy too, whichever of them has its certificate."""
    with Tunnel(certificate=certificate) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        for first, second in ((certificate, another), (another, certificate)):
            monkeypatch.setenv("SSL_CERT_FILE", str(first))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(second))
            assert link(linker_of()).complete


WRONG_PROXIES = {
    "nothing": "",
    "no host": f"http://shop:{PASSWORD}@",
    "another scheme": f"socks5://shop:{PASSWORD}@127.0.0.1:1080",
    "no port": f"http://shop:{PASSWORD}@127.0.0.1:hunter2",
    "port 0": f"http://shop:{PASSWORD}@127.0.0.1:0",
    "a host with a space": f"http://shop:{PASSWORD}@the proxy:3128",
    "a line break in the user": f"http://sh\nop:{PASSWORD}@127.0.0.1:3128",
    "a host that is none": f"http://shop:{PASSWORD}@%zz:3128",
    "a slash in the password": "http://shop:12/hunter2@127.0.0.1:3128",
    "a number sign in the password": "http://shop:12#hunter2@127.0.0.1:3128",
    "half a bracket": f"http://shop:{PASSWORD}@[::1",
}


@rows("value", WRONG_PROXIES.values(), ids=WRONG_PROXIES)
@rows("source", ["proxy=", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_wrong_proxy(
    value: str, source: str, linker_of: MakeLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names what is wrong by its source, and shows nothing of its value."""
    options: dict[str, Any] = {}
    if source == "proxy=":
        options = {"proxy": value}
    elif value:  # an empty variable is as one that is not set
        monkeypatch.setenv(source, value)
    else:
        return
    with pytest.raises(ConfigurationError, match=f"^{source} must be a proxy's address") as caught:
        linker_of(**options)
    text = shown(*chain(caught.value))
    assert "hunter2" not in text
    assert "shop" not in text
    assert strangers(caught.value) == []


@rows("value", [3128, b"http://127.0.0.1:3128", ("127.0.0.1", 3128)])
def test_a_proxy_that_is_no_text(value: Any, linker_of: MakeLinker) -> None:
    """What is no text is refused in the same words."""
    with pytest.raises(ConfigurationError, match=r"^proxy= must be a proxy's address"):
        linker_of(proxy=value)


def test_an_empty_variable_is_as_none(
    server: TlsPlaid, certificate: Path, linker_of: MakeLinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that are set to nothing name no proxy and no certificates."""
    for name in VARIABLES:
        monkeypatch.setenv(name, " ")
    assert link(linker_of(ca_bundle=certificate)).complete


# --- which certificates


@rows("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@rows("form", ["file", "folder"])
def test_a_variable_names_the_certificates(
    name: str,
    form: str,
    certificate: Path,
    linker_of: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's certificate is trusted where the variable names it, by file or by folder."""
    place = certificate if form == "file" else folder_of(certificate)
    monkeypatch.setenv(name, str(place))
    assert link(linker_of()).complete


@rows("form", ["text", "path", "folder"])
def test_the_argument_names_the_certificates(
    form: str,
    certificate: Path,
    another: Path,
    linker_of: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`ca_bundle=` is used whatever the variables say."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(another))
    monkeypatch.setenv("SSL_CERT_FILE", str(another))
    forms: dict[str, str | Path] = {
        "text": str(certificate),
        "path": certificate,
        "folder": folder_of(certificate),
    }
    assert link(linker_of(ca_bundle=forms[form])).complete
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert "CERTIFICATE" in failure(linker_of(ca_bundle=another)).reason


@rows("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_the_certificates_of_both_variables_are_trusted(
    name: str,
    certificate: Path,
    another: Path,
    linker_of: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where both are set, it does not matter which of them names the server's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(another))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(another))
    monkeypatch.setenv(name, str(certificate))
    assert link(linker_of()).complete


@rows("trusted", ["nothing", "another"])
def test_a_server_that_is_not_trusted(
    trusted: str, server: TlsPlaid, another: Path, linker_of: MakeLinker
) -> None:
    """Nothing is sent to it, nothing is unknown, and no second attempt is made."""
    options: dict[str, Any] = {"max_attempts": 3}
    if trusted == "another":
        options["ca_bundle"] = another
    before = server.connections
    error = failure(linker_of(**options))
    assert "CERTIFICATE" in error.reason
    assert not error.retryable
    assert "certificates" in error.advice
    assert server.connections == before + 1
    assert server.requests == []


@rows("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_another_host(
    host: str, tmp_path: Path, tunnel: Tunnel, linker_of: MakeLinker
) -> None:
    """A trusted certificate must be the server's own, asked directly or through a proxy."""
    certificate = make_certificate(tmp_path, ELSEWHERE)
    with TlsPlaid(certificate) as server:
        url = server.url.replace("127.0.0.1", host)
        for proxy in (None, tunnel.url):
            error = failure(linker_of(base_url=url, ca_bundle=certificate, proxy=proxy))
            assert not error.retryable
    assert server.requests == []


@rows("host", ["127.0.0.1", "localhost"])
def test_a_server_by_name_and_by_number(
    host: str, server: TlsPlaid, tunnel: Tunnel, trusting: MakeLinker
) -> None:
    """The certificate is for both, and each way to say the host is right."""
    url = server.url.replace("127.0.0.1", host)
    assert link(trusting(base_url=url)).complete
    assert link(trusting(base_url=url, proxy=tunnel.url)).complete


def test_all_connections_trust_the_same(
    server: TlsPlaid, certificate: Path, trusting: MakeLinker
) -> None:
    """Requests side by side go over several connections, and each trusts the certificates."""
    accounts = [link_account(f"a-{number}") for number in range(8)]
    linker = trusting()
    assert linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts).complete
    assert len(server.requests) == 9


@rows("source", ["ca_bundle=", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@rows("kind", ["nothing there", "empty", "no certificates", "the text itself"])
def test_wrong_certificates(
    source: str,
    kind: str,
    tmp_path: Path,
    certificate: Path,
    linker_of: MakeLinker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names what is wrong by its source, before anything is sent, and shows no key."""
    place = tmp_path / "bundle.pem"
    value = str(place)
    if kind == "empty":
        place.touch()
    elif kind == "no certificates":
        place.write_text("these are not the certificates that you are looking for")
    elif kind == "the text itself":
        value = certificate.read_text().replace("/", "+")  # one long name, with no folder in it
    options: dict[str, Any] = {"ca_bundle": value} if source == "ca_bundle=" else {}
    if not options:
        monkeypatch.setenv(source, value)
    with pytest.raises(ConfigurationError, match=f"^{source} names") as caught:
        linker_of(**options)
    assert "PRIVATE KEY" not in shown(*chain(caught.value))


@rows("value", [7, b"/etc/ssl/cert.pem", ("a", "b"), "", True])
def test_certificates_that_are_no_path(value: Any, linker_of: MakeLinker) -> None:
    """What is no path is refused, by the argument's name."""
    with pytest.raises(ConfigurationError, match=r"^ca_bundle= "):
        linker_of(ca_bundle=value)


# --- how it names itself


def test_the_user_agent(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Each request names the package, Python and the system, with the versions of the first two."""
    link(faulty_linker)
    assert {each.headers["user-agent"] for each in faulty.requests} == {USER_AGENT}
    assert USER_AGENT.split() == [
        f"plaid-processors/{__version__}",
        f"Python/{platform.python_version()}",
        platform.system(),
    ]
