"""No token, key or secret in anything that is shown: repr, str, logs, warnings, exceptions."""

from __future__ import annotations

import http.client
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from pprint import pformat
from typing import Any

import attrs
import pytest

from plaid_processors import (
    AccountSelectionError,
    LinkIncompleteError,
    PlaidClient,
    PlaidProcessorsError,
    ProcessorLinker,
    UnknownProcessorError,
)

from .support.checks import chain, link_account
from .support.faulty import (
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    LINK_TOKEN,
    REMOVE,
    Answer,
    FaultyPlaid,
    close,
    cut,
    exchanged,
    raw,
    refusal,
    refusing,
    reply,
)

CLIENT_ID = "5e17c11e5e17c11e5e17c11e"
SECRET = "5e175ec1" * 3 + "5e175e"

PLAIN = {
    "access": "access-sandbox-5e17acce-5e17-4ace-8ace-5e17acce5e17",
    "public": "public-sandbox-5e17b0b0-5e17-4ace-8ace-5e17b0b05e17",
    "processor": "processor-sandbox-5e17d0d0-5e17-4ace-8ace-5e17d0d05e17",
    "link": "link-sandbox-5e17f0f0-5e17-4ace-8ace-5e17f0f05e17",
}
ODD = {
    "access": "SENTINEL+access/token=1",
    "public": "SENTINEL public:token;2",
    "processor": "btok_SENTINELprocessor3",
    "link": "SENTINEL~link|token~4",
}

Watch = Callable[[object], None]


@pytest.fixture(params=[PLAIN, ODD], ids=["plain", "odd"])
def tokens(request: pytest.FixtureRequest) -> dict[str, str]:
    """Tokens of Plaid's shape, and of shapes that nobody expects."""
    given_: dict[str, str] = request.param
    return given_


@pytest.fixture
def sentinels(tokens: dict[str, str]) -> list[str]:
    """All that must never show."""
    return [*tokens.values(), CLIENT_ID, SECRET]


@pytest.fixture
def leaky(faulty: FaultyPlaid, tokens: dict[str, str]) -> FaultyPlaid:
    """A server that gives these tokens."""
    faulty.on(EXCHANGE, exchanged(tokens["access"]))
    faulty.on(CREATE, reply({"processor_token": tokens["processor"], "request_id": "r"}))
    faulty.on(
        LINK_TOKEN,
        reply(
            {
                "link_token": tokens["link"],
                "expiration": "2026-11-21T05:00:00Z",
                "hosted_link_url": f"https://secure.plaid.com/hl/{tokens['link']}",
            }
        ),
    )
    return faulty


@pytest.fixture
def linker(leaky: FaultyPlaid) -> Iterator[ProcessorLinker]:
    """A linker with the keys to watch."""
    client = PlaidClient(
        client_id=CLIENT_ID, secret=SECRET, base_url=leaky.url, max_attempts=2, timeout=5
    )
    with ProcessorLinker(client) as linker:
        yield linker


@pytest.fixture
def logs() -> _Logs:
    """What loggers said."""
    return _Logs()


@pytest.fixture
def watched(
    logs: _Logs,
    sentinels: list[str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Watch]:
    """Shows a value in every way there is, and at the end reads all logs, warnings and output."""
    told: list[str] = []

    def show(value: object) -> None:
        told.extend([repr(value), str(value), f"{value}", pformat(value), f"{[value]}"])
        if attrs.has(type(value)):
            told.append(repr([getattr(value, each.name) for each in _shown(value)]))
        if isinstance(value, BaseException):
            told.extend(traceback.format_exception(value))
            for each in chain(value):
                told.extend([repr(each), str(each), repr(each.args), repr(vars(each))])

    for name in ("plaid", "urllib3", "plaid_processors", "http.client", "asyncio", None):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger().addHandler(logs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield show
    told.extend(str(each.message) for each in caught)
    logging.getLogger().removeHandler(logs)
    told.extend(logs.told)
    told.extend(capfd.readouterr())
    everything = "\n".join(told)
    for sentinel in sentinels:
        assert sentinel not in everything
        assert sentinel[-12:] not in everything
    assert http.client.HTTPConnection.debuglevel == 0


class _Logs(logging.Handler):
    """Keeps all that loggers say, as written out and as it was given."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.senders: set[str] = set()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.senders.add(record.name)
        self.told.append(f"{self.format(record)} {vars(record)!r}")


def _shown(value: Any) -> list[Any]:
    """The fields of a value that hold other values, not the secrets themselves."""
    return [
        each for each in attrs.fields(type(value)) if isinstance(getattr(value, each.name), tuple)
    ]


def test_a_link_that_works(
    linker: ProcessorLinker, tokens: dict[str, str], watched: Watch, logs: _Logs
) -> None:
    """Nothing shows where all goes well, although every logger speaks."""
    told: list[object] = []
    result = linker.link(
        ["layer", "finix"],
        public_token=tokens["public"],
        accounts=[link_account("A")],
        on_exchange=told.append,
        on_token=told.append,
    )
    assert result.access_token == tokens["access"]
    assert result.token("finix").processor_token == tokens["processor"]
    link_token = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    assert link_token.link_token == tokens["link"]
    for value in (result, *result.entries, *told, link_token, linker, linker.client):
        watched(value)
    watched(linker.accounts(tokens["access"]))
    watched(linker.remove(tokens["access"]))
    assert "urllib3.connectionpool" in logs.senders


def _echo(tokens: dict[str, str], status: int = 400, **more: Any) -> Answer:
    """An error of Plaid's that repeats all it was sent, and more."""
    told = f"you sent {tokens['access']}, {tokens['public']} with {CLIENT_ID} and {SECRET}"
    return refusal(
        "INVALID_REQUEST",
        "INVALID_FIELD",
        told,
        status=status,
        display_message=told,
        documentation_url=f"https://plaid.com/?{tokens['access']}{tokens['public']}",
        **more,
    )


@pytest.mark.parametrize("path", [EXCHANGE, ACCOUNTS, CREATE])
def test_errors_that_repeat_what_was_sent(
    linker: ProcessorLinker,
    leaky: FaultyPlaid,
    tokens: dict[str, str],
    watched: Watch,
    path: str,
) -> None:
    """Plaid's own words are cleared of every token and key that was sent."""
    sent = tokens["public"] if path == EXCHANGE else tokens["access"]
    leaky.on(path, _echo({"access": sent, "public": sent}))
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.link("layer", public_token=tokens["public"])
    watched(caught.value)
    if isinstance(caught.value, LinkIncompleteError):
        watched(caught.value.result)
        watched(caught.value.result.entries)
        watched(caught.value.errors)


@pytest.mark.parametrize("kind", ["html", "list", "cut", "closed", "header", "redirect", "text"])
@pytest.mark.parametrize("path", [EXCHANGE, ACCOUNTS, CREATE])
def test_unusable_answers_that_hold_tokens(
    linker: ProcessorLinker,
    leaky: FaultyPlaid,
    tokens: dict[str, str],
    watched: Watch,
    path: str,
    kind: str,
) -> None:
    """What cannot be read is not shown either."""
    everything = " ".join([*tokens.values(), CLIENT_ID, SECRET])
    answers: dict[str, Answer] = {
        "html": reply(f"<html>{everything}</html>", 502),
        "list": reply([everything]),
        "cut": cut({"access_token": everything, "processor_token": everything}),
        "closed": close,
        "header": raw(f"HTTP/1.1 200 OK\r\n{everything}\r\n\r\n{everything}".encode()),
        "redirect": reply({}, 302, headers={"Location": f"https://{tokens['access']}/"}),
        "text": raw(f"{everything}\r\n{everything}\r\n\r\n".encode()),
    }
    leaky.on(path, answers[kind])
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.link("layer", public_token=tokens["public"])
    watched(caught.value)


def test_pending_tokens(
    linker: ProcessorLinker, leaky: FaultyPlaid, tokens: dict[str, str], watched: Watch
) -> None:
    """The reason that a pending token keeps is cleared as well."""
    sent = {"access": tokens["access"], "public": tokens["access"]}
    leaky.on(CREATE, refusing({"A": _echo(sent)}))
    result = linker.link(
        "layer",
        public_token=tokens["public"],
        accounts=[link_account("A"), link_account("B")],
        partial=True,
    )
    assert result.pending
    watched(result)
    for pending in result.pending:
        watched(pending)
        watched(pending.error_message)


def test_removing(
    linker: ProcessorLinker, leaky: FaultyPlaid, tokens: dict[str, str], watched: Watch
) -> None:
    """A refusal of `remove` shows nothing."""
    leaky.on(REMOVE, _echo({"access": tokens["access"], "public": tokens["access"]}, 500))
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.remove(tokens["access"])
    watched(caught.value)


def test_update_mode(
    linker: ProcessorLinker, leaky: FaultyPlaid, tokens: dict[str, str], watched: Watch
) -> None:
    """The access token that opens update mode does not show in a refusal."""
    leaky.on(LINK_TOKEN, _echo({"access": tokens["access"], "public": tokens["access"]}))
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.create_link_token(
            "layer", client_user_id="u", client_name="A", access_token=tokens["access"]
        )
    watched(caught.value)


def test_tokens_of_another_kind(
    linker: ProcessorLinker, watched: Watch, leaky: FaultyPlaid
) -> None:
    """A token that is refused for its kind is not repeated."""
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.link("layer", public_token=PLAIN["access"])
    watched(caught.value)
    with pytest.raises(PlaidProcessorsError) as caught:
        linker.accounts(PLAIN["public"])
    watched(caught.value)


@pytest.mark.parametrize("tokens", [PLAIN], indirect=True, ids=["plain"])
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda linker, token: linker.issue(token, access_token=token), UnknownProcessorError),
        (
            lambda linker, token: linker.link(
                "layer", public_token="x", accounts=[link_account("A")], account_id=token
            ),
            AccountSelectionError,
        ),
        (
            lambda linker, token: linker.link(
                "layer", public_token="x", account_ids={token: ["A"]}
            ),
            ValueError,
        ),
    ],
    ids=["as the partner", "as the account", "as a partner's name"],
)
def test_tokens_in_the_wrong_place(
    linker: ProcessorLinker,
    tokens: dict[str, str],
    watched: Watch,
    call: Callable[[ProcessorLinker, str], object],
    error: type[Exception],
) -> None:
    """A token that was passed as something else is masked in the words that say so."""
    with pytest.raises(error) as caught:
        call(linker, tokens["access"])
    assert tokens["access"] not in str(caught.value)
    assert tokens["access"] not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("name", ["client_id", "secret", "base_url"])
def test_keys_that_are_refused(watched: Watch, name: str) -> None:
    """A key that is refused is not repeated."""
    keys = {"client_id": CLIENT_ID, "secret": SECRET, "base_url": None}
    with pytest.raises(PlaidProcessorsError) as caught:
        PlaidClient(**{**keys, name: f"https://user:{SECRET}\n@x"})  # type: ignore[arg-type]
    watched(caught.value)
