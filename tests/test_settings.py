"""What a client is set up with: checked once, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import plaid
import pytest

from plaid_processors import ConfigurationError, Environment, PlaidClient, ProcessorLinker
from plaid_processors.settings import Limits

from .conftest import KEYS
from .support.faulty import ACCESS_TOKEN, FaultyPlaid
from .support.rows import rows

ENV = {"PLAID_CLIENT_ID": KEYS["client_id"], "PLAID_SECRET": KEYS["secret"]}


def make(**options: Any) -> PlaidClient:
    """A client of Plaid's own address, never used."""
    return PlaidClient(**{**KEYS, **options})


@rows("given", ["production", "Production", " production ", Environment.PRODUCTION])
def test_environment_by_name_or_enum(given: Any) -> None:
    """The environment is a name, however written, or the enum."""
    with make(environment=given) as client:
        assert client.environment is Environment.PRODUCTION
        assert "https://production.plaid.com" in repr(client)


def test_sandbox_is_the_default() -> None:
    """Nobody gets to production by leaving something out."""
    with make() as client:
        assert client.environment is Environment.SANDBOX
        assert "https://sandbox.plaid.com" in repr(client)


@rows("given", ["prod", "", "live", 5, None, [], b"sandbox"])
def test_unknown_environment_lists_the_two(given: Any) -> None:
    """A wrong environment is refused in words that list the two there are."""
    with pytest.raises(ConfigurationError, match=r"'sandbox' or 'production'"):
        make(environment=given)


@rows("given", ["development", "Development"])
def test_development_is_gone(given: str) -> None:
    """Who asks for development hears that it is gone since 2024."""
    with pytest.raises(ConfigurationError, match=r"2024.*'sandbox' or 'production'"):
        make(environment=given)


@rows("name", ["client_id", "secret"])
@rows(
    "value",
    ["", " ", None, 5, "with\nnewline", "schlüssel", "two words", "\udc80",
     '"0123456789abcdef"', "'0123456789abcdef'", "Bearer 0123456789abcdef"],
)  # fmt: skip
def test_malformed_keys(name: str, value: Any) -> None:
    """A key that cannot be one is refused by name, and its value is not shown."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        make(**{name: value})
    assert not value or len(str(value)) < 3 or str(value) not in str(caught.value)


def test_swapped_keys() -> None:
    """A client id in the place of the secret, and the secret in its place, are seen at once."""
    swapped = {"client_id": KEYS["secret"], "secret": KEYS["client_id"]}
    for make_one in (
        lambda: make(**swapped),
        lambda: PlaidClient.from_env(
            {"PLAID_CLIENT_ID": KEYS["secret"], "PLAID_SECRET": KEYS["client_id"]}
        ),
        lambda: PlaidClient.from_plaid(_api(swapped)),
    ):
        with pytest.raises(ConfigurationError, match="swapped") as caught:
            make_one()
        assert KEYS["secret"] not in str(caught.value)
        assert KEYS["client_id"] not in str(caught.value)


def _api(keys: dict[str, str]) -> plaid.ApiClient:
    named = {"clientId": keys["client_id"], "secret": keys["secret"]}
    return plaid.ApiClient(plaid.Configuration(host=plaid.Environment.Sandbox, api_key=named))


def test_keys_are_keyword_only() -> None:
    """Client id and secret cannot be swapped by their order."""
    with pytest.raises(TypeError):
        PlaidClient(KEYS["client_id"], KEYS["secret"])  # type: ignore[misc]


@rows(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:8080/",
        "http://[::1]:8080",
        "https://proxy.example.com/plaid",
    ],
)
def test_base_url(url: str) -> None:
    """Another address is taken: https anywhere, http on this machine."""
    with make(base_url=url) as client:
        assert url.rstrip("/") in repr(client)


@rows(
    "url",
    [
        "http://sandbox.plaid.com",
        "http://192.168.0.1:8080",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "https://",
        "",
        "https://me:hunter2hunter2@sandbox.plaid.com",
        "https://sandbox.plaid.com?key=1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://[::1",
        "https://sand box.plaid.com",
        "https://sandbox.plaid.com/a path",
        "https://sandbox.plaid.com\n",
        "https://sand\x00box.plaid.com",
        "https://sandbox.plaid.com\\@example.com",
        "https://sändbox.plaid.com",
        "https://sand|box.plaid.com",
        5,
        b"https://sandbox.plaid.com",
    ],
)
def test_unusable_base_url(url: Any) -> None:
    """An address that would send keys in clear, or nowhere, is refused."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        make(base_url=url)
    assert "hunter2" not in str(caught.value)


@rows(
    ("environment", "url"),
    [
        ("sandbox", "https://production.plaid.com"),
        (None, "https://production.plaid.com/"),
        (Environment.PRODUCTION, "https://sandbox.plaid.com"),
        ("production", "https://SANDBOX.plaid.com:443"),
        ("sandbox", "HTTPS://Production.Plaid.com"),
        ("sandbox", "https://production.plaid.com."),
        ("production", "https://sandbox.plaid.com.:8443/link/"),
        ("sandbox", "https://development.plaid.com"),
        ("production", "https://development.plaid.com./"),
    ],
)
def test_an_address_of_the_other_environment(environment: Any, url: str) -> None:
    """Where environment and address contradict each other, neither is guessed to be meant."""
    words = r"base_url .* environment is '\w+'"
    with pytest.raises(ConfigurationError, match=words):
        make(base_url=url, **({} if environment is None else {"environment": environment}))
    named = {} if environment is None else {"PLAID_ENV": Environment(environment).value}
    with pytest.raises(ConfigurationError, match=words):
        PlaidClient.from_env({**ENV, **named, "PLAID_BASE_URL": url})


@rows(
    ("environment", "url"),
    [
        ("sandbox", "https://sandbox.plaid.com/"),
        ("production", "https://production.plaid.com"),
        ("production", "http://127.0.0.1:8080"),
        ("production", "https://proxy.example.com/plaid"),
    ],
)
def test_an_address_that_the_environment_allows(environment: str, url: str) -> None:
    """Only Plaid's own addresses have an environment of their own."""
    with make(environment=environment, base_url=url) as client:
        assert client.environment is Environment(environment)


@rows(
    "timeout",
    [0, -1, math.inf, math.nan, True, "5", None, (1,), (1, 2, 3), (0, 1), (1, -1), (1, "2"), ()],
)
def test_unusable_timeout(timeout: Any) -> None:
    """A time-out is a positive number of seconds, or a pair of them."""
    with pytest.raises(ConfigurationError, match="timeout"):
        make(timeout=timeout)


@rows("deadline", [0, -1, math.inf, math.nan, 10**400, True, "5", (1, 2)])
def test_unusable_deadline(deadline: Any) -> None:
    """A deadline is a positive number of seconds, or None."""
    with pytest.raises(ConfigurationError, match="deadline"):
        make(deadline=deadline)


@rows("name", ["max_attempts", "max_connections"])
@rows("value", [0, -1, 1.5, True, "3", None])
def test_unusable_counts(name: str, value: Any) -> None:
    """Attempts and connections are whole numbers from 1."""
    with pytest.raises(ConfigurationError, match=name):
        make(**{name: value})


def test_unknown_option() -> None:
    """A misspelled option is Python's own TypeError, which names the constructor and the option."""
    words = "got an unexpected keyword argument 'time_out'"
    with pytest.raises(TypeError, match=rf"^PlaidClient\.__init__\(\) {words}"):
        make(time_out=5)
    with pytest.raises(TypeError, match=rf"^PlaidClient\.from_env\(\) {words}"):
        PlaidClient.from_env(ENV, time_out=5)  # type: ignore[call-arg]


@rows("on_event", ["print", 5])
def test_on_event_is_called(on_event: Any) -> None:
    """What cannot be called is refused when the client is made."""
    with pytest.raises(TypeError, match="on_event"):
        make(on_event=on_event)


def test_a_pair_of_time_outs_as_a_list() -> None:
    """A pair from a JSON or YAML file is a list, and as good."""
    assert Limits(timeout=[1, 2]) == Limits(timeout=(1, 2))


def test_defaults_are_finite() -> None:
    """Without any option nothing waits for ever, and eight requests run side by side."""
    limits = Limits()
    assert isinstance(limits.timeout, float)
    assert limits.deadline is not None
    assert (limits.max_attempts > 1, limits.max_connections) == (True, 8)


@rows("options", [{"timeout": 1e12}, {"deadline": 1e12}, {"timeout": (1e12, 1e12)}])
def test_very_long_limits_work(
    faulty: FaultyPlaid, make_linker: Callable[..., ProcessorLinker], options: dict[str, Any]
) -> None:
    """Limits beyond what the operating system can wait are as if there were none."""
    assert len(make_linker(**options).accounts(ACCESS_TOKEN)) == 2


# --- from the environment


def test_from_env(faulty: FaultyPlaid) -> None:
    """Keys and address come from the four variables."""
    environ = {**ENV, "PLAID_ENV": "production", "PLAID_BASE_URL": faulty.url}
    with PlaidClient.from_env(environ, max_attempts=1) as client:
        assert client.environment is Environment.PRODUCTION
        ProcessorLinker(client).accounts("odd token")
    headers = faulty.requests[0].headers
    assert headers["plaid-client-id"] == KEYS["client_id"]
    assert headers["plaid-secret"] == KEYS["secret"]


def test_from_the_process_environment(monkeypatch: pytest.MonkeyPatch, faulty: FaultyPlaid) -> None:
    """Without an argument the process's own variables count; PLAID_ENV unset is the Sandbox."""
    for name, value in {**ENV, "PLAID_BASE_URL": faulty.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PLAID_ENV", raising=False)
    with ProcessorLinker.from_env(max_attempts=1) as linker:
        assert len(linker.accounts(ACCESS_TOKEN)) == 2
        assert linker.client.environment is Environment.SANDBOX


@rows("name", sorted(ENV))
@rows("value", [None, "", "  "])
def test_missing_variable_is_named(name: str, value: str | None) -> None:
    """A variable that is missing or empty is named, with the page that has the keys."""
    environ = (
        {**ENV, name: value} if value is not None else {k: v for k, v in ENV.items() if k != name}
    )
    with pytest.raises(ConfigurationError, match=name) as caught:
        PlaidClient.from_env(environ)  # type: ignore[arg-type]
    assert "https://dashboard.plaid.com" in str(caught.value)


def test_an_empty_environment_is_not_the_process_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that are given count alone, even when there are none."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=r"PLAID_CLIENT_ID.*PLAID_SECRET"):
        PlaidClient.from_env({})


@rows("environ", [[], "PLAID_ENV=sandbox", 5])
def test_variables_are_a_mapping(environ: Any) -> None:
    """Anything else than a mapping of variables is told as such."""
    with pytest.raises(TypeError, match="environ must be a mapping"):
        PlaidClient.from_env(environ)


@rows(
    ("name", "value", "words"),
    [
        ("PLAID_ENV", "development", "2024"),
        ("PLAID_ENV", "prod", "'sandbox' or 'production'"),
        ("PLAID_BASE_URL", "http://example.com", "loopback"),
    ],
)
def test_wrong_variable(name: str, value: str, words: str) -> None:
    """What is wrong in a variable is told as it is for an argument."""
    with pytest.raises(ConfigurationError, match=words):
        PlaidClient.from_env({**ENV, name: value})
