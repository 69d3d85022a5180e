"""PlaidClient: one for many threads, over plaid-python's own client or a new one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import plaid
import pytest
import urllib3
from plaid.api.plaid_api import PlaidApi

from plaid_processors import (
    Account,
    AsyncProcessorLinker,
    ConfigurationError,
    Environment,
    LinkIncompleteError,
    LinkResult,
    PendingToken,
    PlaidApiError,
    PlaidClient,
    PlaidConnectionError,
    PlaidUnavailableError,
    ProcessorLinker,
)

from .conftest import KEYS
from .support.checks import link_account, strangers
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    PUBLIC_TOKEN,
    Answer,
    FaultyPlaid,
    Request,
    computed,
    issued,
    refusal,
)
from .support.rows import rows

Make = Callable[..., ProcessorLinker]
MakeApi = Callable[..., plaid.ApiClient]


# --- threads


@pytest.mark.slow
@rows("most", [1, 3])
def test_max_connections(faulty: FaultyPlaid, make_linker: Make, most: int) -> None:
    """However many threads and tokens there are, no more requests run side by side."""
    together = threading.Barrier(most)

    def wait_for_others(request: Request) -> Answer:
        # Passed only where as many requests as allowed are under way.
        together.wait(5)
        sleep(0.05)  # one too many would come in now
        return issued(request)

    faulty.on(CREATE, computed(wait_for_others))
    linker = make_linker(max_connections=most)
    accounts = [link_account(f"account-{number}") for number in range(6)]
    with ThreadPoolExecutor(4) as threads:
        jobs = [
            threads.submit(linker.issue, "layer", access_token=ACCESS_TOKEN, accounts=accounts)
            for _ in range(3)
        ]
        assert all(job.result().complete for job in jobs)
    assert faulty.most_at_once == most


# --- closed


def incomplete() -> LinkResult:
    """A link whose one token is still missing."""
    return LinkResult(
        access_token=ACCESS_TOKEN,
        environment=Environment.SANDBOX,
        entries=(PendingToken(processor="layer", account=Account(account_id="a")),),
    )


@rows(
    "call",
    [
        lambda linker: linker.accounts(ACCESS_TOKEN),
        lambda linker: linker.remove(ACCESS_TOKEN),
        lambda linker: linker.link("layer", public_token=PUBLIC_TOKEN),
        lambda linker: linker.link_sandbox("layer"),
        lambda linker: linker.issue("layer", access_token=ACCESS_TOKEN),
        lambda linker: linker.create_link_token("layer", client_user_id="u", client_name="A"),
        lambda linker: linker.session("link-sandbox-5e171e1d-aaaa-4bbb-8ccc-0123456789ab"),
        lambda linker: linker.resume(incomplete()),
    ],
    ids=[
        "accounts",
        "remove",
        "link",
        "link_sandbox",
        "issue",
        "create_link_token",
        "session",
        "resume",
    ],
)
@rows("awaited", [False, True])
def test_closed_client(
    faulty: FaultyPlaid, make_linker: Make, call: Callable[[Any], Any], awaited: bool
) -> None:
    """A client that was closed, even twice, refuses every call and sends nothing."""
    linker = make_linker()
    linker.accounts(ACCESS_TOKEN)
    linker.client.close()
    linker.client.close()
    faulty.requests.clear()

    async def call_awaited() -> None:
        await call(AsyncProcessorLinker(linker.client))

    with pytest.raises(ConfigurationError, match="closed"):
        asyncio.run(call_awaited()) if awaited else call(linker)
    assert faulty.requests == []


def test_a_client_that_was_closed_before_it_was_used(
    faulty: FaultyPlaid, make_linker: Make
) -> None:
    """It makes no threads any more."""
    linker = make_linker()
    linker.client.close()
    with pytest.raises(ConfigurationError, match="closed"):
        linker.accounts(ACCESS_TOKEN)
    assert faulty.requests == []


def test_closing_closes_the_connections(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A client that is closed leaves no connection behind, and one that is not keeps its own."""
    linker = make_linker()
    linker.accounts(ACCESS_TOKEN)
    assert faulty.open_connections == 1
    linker.close()
    end = monotonic() + 5
    while faulty.open_connections and monotonic() < end:
        sleep(0.01)
    assert faulty.open_connections == 0


def test_words_of_a_client_closed_meanwhile(make_linker: Make) -> None:
    """What a closed client left undone is told in whole sentences."""
    linker = make_linker()
    words = r"PlaidClient was closed: make a new one\. Store "
    with pytest.raises(LinkIncompleteError, match=words) as caught:
        linker.link("layer", public_token=PUBLIC_TOKEN, on_exchange=lambda _item: linker.close())
    assert caught.value.result.access_token == ACCESS_TOKEN


def test_closing_ends_the_threads(make_linker: Make) -> None:
    """The threads of a client start at its first request and end with it."""
    before = set(threading.enumerate())
    linker = make_linker()
    accounts = [link_account(name) for name in "ABCD"]

    def own() -> list[str]:
        return [
            each.name
            for each in set(threading.enumerate()) - before
            if each.name.startswith("plaid-processors")
        ]

    assert own() == []
    linker.accounts(ACCESS_TOKEN)
    assert len(own()) == 1
    linker.issue("layer", access_token=ACCESS_TOKEN, accounts=accounts)
    assert 1 <= len(own()) <= 8
    linker.close()
    end = monotonic() + 5
    while own() and monotonic() < end:  # one that had just been started ends by itself
        sleep(0.01)
    assert own() == []


def test_client_is_a_context_manager(faulty: FaultyPlaid) -> None:
    """Leaving the `with` block closes the client, also by an exception."""
    client = PlaidClient(**KEYS, base_url=faulty.url)
    with pytest.raises(RuntimeError), client:
        raise RuntimeError
    with pytest.raises(ConfigurationError, match="closed"):
        ProcessorLinker(client).accounts(ACCESS_TOKEN)


def test_repr_shows_environment_and_address(make_client: Callable[..., PlaidClient]) -> None:
    """The repr of client and linker tells where they go, and no key."""
    client = make_client()
    for shown in (repr(client), repr(ProcessorLinker(client))):
        assert "sandbox" in shown
        assert "127.0.0.1" in shown
        assert KEYS["client_id"] not in shown
        assert KEYS["secret"] not in shown


# --- Link in a web page


@rows(
    "base_url, link",
    [
        (None, "https://cdn.plaid.com"),
        ("https://plaid.example.com", "https://cdn.plaid.com"),
        ("https://localhost.example.com", "https://cdn.plaid.com"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.2:8080", "http://127.0.0.2:8080"),
        ("http://[::1]:8080", "http://localhost:8080"),
    ],
)
def test_links_script_is_plaids_or_the_local_plaids(base_url: str | None, link: str) -> None:
    """A proxy of the API does not serve it; the policy lets in nobody but who serves it."""
    with PlaidClient(**KEYS, base_url=base_url) as client:
        assert client.link_script_url == f"{link}/link/v2/stable/link-initialize.js"
        policy = client.content_security_policy("n" * 16)
    rules = dict(each.split(" ", 1) for each in policy.split("; "))
    assert rules == {
        "default-src": f"'self' {link}",
        "script-src": f"'self' 'nonce-nnnnnnnnnnnnnnnn' {link}/link/v2/stable/link-initialize.js",
        "style-src": f"'self' 'nonce-nnnnnnnnnnnnnnnn' {link}",
        "style-src-attr": "'unsafe-inline'",
        "frame-src": link,
        "connect-src": f"'self' https://sandbox.plaid.com https://production.plaid.com {link}",
        "img-src": f"'self' data: {link}",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


@rows("nonce", ["", "short", "n" * 16 + "'", "n" * 16 + "; script-src *", "n" * 16 + "\n", None, 5])
def test_a_nonce_that_is_none(make_client: Callable[..., PlaidClient], nonce: Any) -> None:
    """It could be guessed, or put another rule into the header."""
    with pytest.raises(ValueError, match="nonce"):
        make_client().content_security_policy(nonce)


# --- over plaid-python's client


def test_a_client_of_keys_stands_on_an_api_client(
    faulty: FaultyPlaid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests have the headers of an ApiClient of its own, and go through that one's pool."""
    made: list[plaid.ApiClient] = []

    class Noted(plaid.ApiClient):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(plaid, "ApiClient", Noted)
    with ProcessorLinker(PlaidClient(**KEYS, base_url=faulty.url)) as linker:
        (api,) = made
        api.set_default_header("X-Trace", "trace-1")
        for _ in range(3):
            linker.accounts(ACCESS_TOKEN)
        assert api.rest_client.pool_manager.connection_from_url(faulty.url).num_requests == 3
    assert {each.headers["x-trace"] for each in faulty.requests} == {"trace-1"}
    assert len(faulty.requests) == 3


@pytest.fixture
def make_api(faulty: FaultyPlaid) -> Iterator[MakeApi]:
    """Makes plaid.ApiClients of the faulty server, as an application would."""
    made: list[plaid.ApiClient] = []

    def make(host: str | None = None, **settings: Any) -> plaid.ApiClient:
        keys = settings.pop("api_key", {"clientId": KEYS["client_id"], "secret": KEYS["secret"]})
        configuration = plaid.Configuration(host=host or faulty.url, api_key=keys)
        for name, value in settings.items():
            setattr(configuration, name, value)
        made.append(plaid.ApiClient(configuration))
        return made[-1]

    yield make
    for api in made:
        api.rest_client.pool_manager.clear()
        api.close()


@rows("wrap", [lambda api: api, PlaidApi], ids=["ApiClient", "PlaidApi"])
def test_from_plaid(faulty: FaultyPlaid, make_api: MakeApi, wrap: Callable[[Any], Any]) -> None:
    """An ApiClient or a PlaidApi lends its keys and its address."""
    with PlaidClient.from_plaid(wrap(make_api())) as client:
        assert client.environment is Environment.SANDBOX
        assert ProcessorLinker(client).link("layer", public_token=PUBLIC_TOKEN).complete
    headers = faulty.requests[0].headers
    assert headers["plaid-client-id"] == KEYS["client_id"]
    assert headers["plaid-secret"] == KEYS["secret"]
    assert headers["plaid-version"] == "2020-09-14"


def test_from_plaid_uses_its_pool_and_leaves_it_open(
    faulty: FaultyPlaid, make_api: MakeApi
) -> None:
    """The pool is shared, and closing our client takes nothing from the application."""
    api = make_api()
    for _ in range(2):
        with PlaidClient.from_plaid(api) as client:
            ProcessorLinker(client).accounts(ACCESS_TOKEN)
    assert faulty.connections == 1
    with pytest.raises(ConfigurationError, match="closed"):
        ProcessorLinker(client).accounts(ACCESS_TOKEN)
    answer = api.rest_client.pool_manager.request("POST", faulty.url + ACCOUNTS, body=b"{}")
    assert (answer.status, faulty.connections) == (200, 1)


def test_from_plaid_does_not_use_its_retries(faulty: FaultyPlaid, make_api: MakeApi) -> None:
    """Retries set for plaid-python would repeat what must not be repeated blindly."""
    retries = urllib3.Retry(3, status_forcelist=[500], allowed_methods=None, backoff_factor=0)
    api = make_api(retries=retries)
    faulty.on(ACCOUNTS, refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "m", status=500))
    with PlaidClient.from_plaid(api, max_attempts=1) as client:
        linker = ProcessorLinker(client)
        with pytest.raises(PlaidUnavailableError):
            linker.accounts(ACCESS_TOKEN)
    assert len(faulty.requests) == 1


def test_from_plaid_keeps_the_proxy(faulty: FaultyPlaid, make_api: MakeApi) -> None:
    """Requests go through the proxy that the application set."""
    api = make_api(host="http://127.0.0.1:9/", proxy=faulty.url)
    with PlaidClient.from_plaid(api, max_attempts=1) as client:
        assert len(ProcessorLinker(client).accounts(ACCESS_TOKEN)) == 2
    assert [each.target for each in faulty.requests] == ["http://127.0.0.1:9/accounts/get"]


def test_a_secret_that_its_owner_changes_is_masked_too(
    faulty: FaultyPlaid, make_api: MakeApi
) -> None:
    """A gateway may send the header back that it was sent."""
    api = make_api()
    new = "7a" * 15
    faulty.on(
        ACCOUNTS,
        computed(lambda request: refusal(message=f"a bad key: {request.headers['plaid-secret']}")),
    )

    def rotate(configuration: Any) -> None:
        configuration.api_key["secret"] = new

    with PlaidClient.from_plaid(api, max_attempts=1) as client:
        api.configuration.refresh_api_key_hook = rotate  # called as the headers are made
        with pytest.raises(PlaidApiError) as caught:
            ProcessorLinker(client).accounts(ACCESS_TOKEN)
    assert faulty.requests[0].headers["plaid-secret"] == new
    assert "a bad key: " in str(caught.value)
    assert new not in str(caught.value)


def test_from_plaid_with_a_proxy_that_is_gone(make_api: MakeApi) -> None:
    """A proxy that does not answer is a PlaidConnectionError, and nothing was sent."""
    api = make_api(host="http://127.0.0.1:9/", proxy="http://127.0.0.1:9")
    with PlaidClient.from_plaid(api, max_attempts=1, timeout=1) as client:
        linker = ProcessorLinker(client)
        with pytest.raises(PlaidConnectionError) as caught:
            linker.accounts(ACCESS_TOKEN)
    assert not caught.value.outcome_unknown
    assert strangers(caught.value) == []


def test_from_plaid_keeps_headers(faulty: FaultyPlaid, make_api: MakeApi) -> None:
    """Headers that the application set on its client are sent."""
    api = make_api()
    api.set_default_header("X-Trace", "trace-1")
    with PlaidClient.from_plaid(api) as client:
        ProcessorLinker(client).accounts(ACCESS_TOKEN)
    assert faulty.requests[0].headers["x-trace"] == "trace-1"


def test_from_plaid_without_a_version(faulty: FaultyPlaid, make_api: MakeApi) -> None:
    """The version that the answers are read by is asked for, also where the keys name none."""
    api = make_api(api_key={"clientId": KEYS["client_id"], "secret": KEYS["secret"]})
    with PlaidClient.from_plaid(api) as client:
        ProcessorLinker(client).accounts(ACCESS_TOKEN)
    assert faulty.requests[0].headers["plaid-version"] == "2020-09-14"


def test_repr_shows_no_user_of_an_address(make_api: MakeApi) -> None:
    """A name and a password in the address of the application's client are not shown."""
    api = make_api(host="https://me:hunter2@proxy.example.com/plaid")
    with PlaidClient.from_plaid(api, environment="sandbox") as client:
        assert repr(client) == "<PlaidClient sandbox https://…@proxy.example.com/plaid>"


@rows(
    ("host", "environment"),
    [
        ("https://sandbox.plaid.com", Environment.SANDBOX),
        ("https://production.plaid.com", Environment.PRODUCTION),
        ("https://production.plaid.com/", Environment.PRODUCTION),
        ("http://localhost:8080", Environment.SANDBOX),
    ],
)
def test_from_plaid_tells_the_environment(
    make_api: MakeApi, host: str, environment: Environment
) -> None:
    """The environment follows from the address."""
    with PlaidClient.from_plaid(make_api(host=host)) as client:
        assert client.environment is environment


def test_from_plaid_at_another_address(make_api: MakeApi) -> None:
    """Where the address does not tell the environment, the caller has to."""
    api = make_api(host="https://plaid.internal.example.com")
    with pytest.raises(ConfigurationError, match="environment="):
        PlaidClient.from_plaid(api)
    with PlaidClient.from_plaid(api, environment="production") as client:
        assert client.environment is Environment.PRODUCTION


@rows(
    ("host", "environment"),
    [
        ("https://production.plaid.com", "sandbox"),
        ("https://sandbox.plaid.com", "production"),
        ("https://Production.PLAID.com./", "sandbox"),
        ("https://me:hunter2@production.plaid.com:443", Environment.SANDBOX),
        ("https://development.plaid.com", "sandbox"),
        ("https://development.plaid.com", "production"),
    ],
)
def test_from_plaid_of_the_other_environment(
    make_api: MakeApi, host: str, environment: Any
) -> None:
    """An address of Plaid's and another environment beside it contradict each other: both named."""
    with pytest.raises(ConfigurationError, match=rf"Plaid's \w+ .*'{environment}'") as caught:
        PlaidClient.from_plaid(make_api(host=host), environment=environment)
    assert "hunter2" not in str(caught.value)


def test_from_plaid_of_development(make_api: MakeApi) -> None:
    """An application that still points at development hears that it is gone."""
    api = make_api(host="https://development.plaid.com")
    with pytest.raises(ConfigurationError, match="2024"):
        PlaidClient.from_plaid(api)


@rows(
    ("keys", "missing"),
    [({}, "clientId"), ({"clientId": "a"}, "secret"), ({"secret": "a"}, "clientId")],
)
def test_from_plaid_without_keys(make_api: MakeApi, keys: dict[str, str], missing: str) -> None:
    """A client without keys is refused, in words that name what is missing."""
    api = make_api(api_key=keys)
    with pytest.raises(ConfigurationError, match=missing):
        PlaidClient.from_plaid(api)


@rows("key", ["5e" * 15 + "\n", "5é" * 15])
def test_from_plaid_with_a_key_that_cannot_be_sent(make_api: MakeApi, key: str) -> None:
    """It is no fault of the network's, and is not shown."""
    api = make_api(api_key={"clientId": KEYS["client_id"], "secret": key})
    with pytest.raises(ConfigurationError, match="cannot be sent") as refused:
        PlaidClient.from_plaid(api)
    assert key.strip() not in str(refused.value)


@rows("api", [None, "client", 5, urllib3])
def test_from_plaid_of_something_else(api: Any) -> None:
    """Anything else is a TypeError that says what is wanted."""
    with pytest.raises(TypeError, match=r"plaid\.ApiClient"):
        PlaidClient.from_plaid(api)


@rows("limits", [{"timeout": 0}, {"max_attempts": 0}, {"deadline": -1}], ids=repr)
def test_from_plaid_checks_limits(make_api: MakeApi, limits: dict[str, Any]) -> None:
    """Limits are checked here as everywhere."""
    api = make_api()
    with pytest.raises(ConfigurationError):
        PlaidClient.from_plaid(api, **limits)


class _Broken(PlaidClient):
    def __init__(self) -> None:
        raise OSError("its own trouble")


@rows(
    "made",
    [
        PlaidClient.__new__(PlaidClient),
        _Broken.__new__(_Broken),
        ProcessorLinker.__new__(ProcessorLinker),
        AsyncProcessorLinker.__new__(AsyncProcessorLinker),
    ],
)
def test_half_made(made: Any) -> None:
    """What a constructor left behind by raising can be shown and closed, as a debugger does."""
    assert type(made).__name__ in repr(made)
    closing = made.close()
    if closing is not None:
        asyncio.run(closing)
