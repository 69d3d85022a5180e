"""All flows, with every logger at DEBUG and everything printed: no secret shows anywhere.

What is shown is gathered in one text, and what must not show is what the local Plaid gave.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pprint import pformat
from typing import Any

import attrs
import plaid as plaid_python
import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    LinkResult,
    PlaidClient,
    PlaidProcessorsError,
    ProcessorLinker,
    RequestEvent,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox, LoggedRequest

from .support.checks import chain
from .support.faulty import FaultyPlaid, account, cut, exchanged, raw, refusal, reply

EXCHANGE = "/item/public_token/exchange"
CREATE = "/processor/token/create"
ACCOUNTS = "/accounts/get"
LINK_TOKEN = "/link/token/create"
REMOVE = "/item/remove"


def faults(secrets: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Faults; those that answer with the very secrets are the worst."""
    everything = " ".join(secrets.values())
    error = {
        "error_type": f"TYPE {everything}",
        "error_code": "INVALID_FIELD",
        "error_message": f"no such token: {everything}",
        "display_message": everything,
        "documentation_url": f"https://plaid.com/?{everything}",
        "request_id": everything,
    }
    return {
        "none": {},
        "reset": {"drop": "after"},
        "cut": {"cut": 50},
        "html with secrets": {"status": 502, "body": f"<html>{everything}</html>"},
        "text with secrets": {"status": 200, "body": everything},
        "error with secrets": {"status": 400, "json": error},
        "error": {"error_code": "ITEM_LOGIN_REQUIRED"},
        "odd fields with secrets": {
            "status": 200,
            "json": {"access_token": [everything], "accounts": [{"id": 5, "x": everything}]},
        },
    }


FAULTS = list(faults({}))


def shown_of(entry: LoggedRequest) -> dict[str, Any]:
    told = {name: value for name, value in vars(entry).items() if name != "fault"}
    return {**told, "request_id": None} if entry.fault else told


class Stage:
    """A local Plaid, a client with a hook, and all that is shown."""

    def __init__(self, stack: ExitStack) -> None:
        self.plaid = stack.enter_context(LocalSandbox())
        self.shown: list[str] = []
        self.secrets = {"secret": self.plaid.secret, "client id": self.plaid.client_id}
        self.client: PlaidClient = stack.enter_context(
            self.plaid.client(max_attempts=1, on_event=self.show)
        )
        with ProcessorLinker(self.plaid.client()) as other:
            self.link_token = other.create_link_token(
                "layer", client_user_id="u", client_name="Acme"
            ).link_token
        self.secrets["link token"] = self.link_token

    def through_link(self) -> Linked:
        done = self.plaid.complete_link(self.link_token, masks=["0000", "3333"])
        self.secrets["public token"] = done.public_token
        self.secrets["access token"] = self.plaid.items[-1].access_token
        return done

    def show(self, value: object) -> None:
        """As a developer would, who wants to know what came."""
        self.shown += [str(value), repr(value), f"{value}", pformat(value)]
        if attrs.has(type(value)) and isinstance(value, RequestEvent):
            self.shown.append(str(attrs.asdict(value)))
        if isinstance(value, BaseException):
            self.show_error(value)

    def show_error(self, error: BaseException) -> None:
        for each in chain(error):
            self.shown += [str(each), repr(each), pformat(each.args)]
            plain = {k: v for k, v in vars(each).items() if k != "result"}
            self.shown.append(pformat(plain))
            self.shown += getattr(each, "__notes__", [])
        self.shown += traceback.format_exception(error)
        if (result := unfinished(error)) is not None:
            self.show(result)
            for entry in result.entries:
                self.show(entry)

    def leaks(self) -> list[str]:
        """The secrets that show."""
        for number, item in enumerate(self.plaid.items):
            self.secrets[f"access token {number}"] = item.access_token
            for place, token in enumerate(item.processor_tokens):
                self.secrets[f"processor token {number}-{place}"] = token
        # What a fault makes the local Plaid say is the test's own doing, and stands there as such.
        log = [shown_of(each) for each in self.plaid.requests]
        self.shown.append(pformat(log))
        text = "\n".join(self.shown)
        return [name for name, secret in self.secrets.items() if secret in text]


LOGGERS = ("plaid", "plaid.rest", "urllib3", "plaid_processors", "asyncio", "")


def speak() -> None:
    """Set every logger to DEBUG; plaid-python's Configuration sets two of them to WARNING."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


class Everything(logging.Handler):
    """All that anybody logs, and what the records hold."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.written: list[str] = []
        self.names: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.names.add(record.name)
        self.written += [self.format(record), f"{record.args} {vars(record)}"]


@pytest.fixture
def stage(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """Everything at DEBUG: the root, and each logger that may have a level of its own."""
    log = Everything()
    root = logging.getLogger()
    root.addHandler(log)
    with ExitStack() as stack, warnings.catch_warnings(record=True) as warned:
        stack.callback(root.removeHandler, log)
        warnings.simplefilter("always")
        for name in LOGGERS:
            stack.enter_context(caplog.at_level(logging.DEBUG, logger=name or None))
        stage = Stage(stack)
        speak()
        yield stage
        output = capsys.readouterr()
        assert {"plaid_processors", "urllib3.connectionpool"} <= log.names
        stage.shown += [*log.written, output.out, output.err, *map(str, warned)]
        assert stage.leaks() == []


def flows(stage: Stage, linker: Any) -> dict[str, Callable[[], Any]]:
    """Everything that a linker can do; with the asynchronous one, coroutines."""
    done = stage.through_link()
    result = LinkResult.from_dict(
        {
            "format": 1,
            "access_token": stage.secrets["access token"],
            "environment": "sandbox",
            "entries": [],
            "unselected": [{"processor": "layer", "account_ids": None}],
        }
    )
    given = {"public_token": done.public_token, "metadata": done.metadata}
    return {
        "create_link_token": lambda: linker.create_link_token(
            "layer", client_user_id="u", client_name="Acme", hosted_link={}
        ),
        "link": lambda: linker.link(
            "layer", **given, on_exchange=stage.show, on_token=stage.show, verify_accounts=True
        ),
        "link both": lambda: linker.link(["finix", "layer"], **given, account_id="nonesuch"),
        "link_sandbox": lambda: linker.link_sandbox("finix", on_exchange=stage.show),
        "issue": lambda: linker.issue("layer", access_token=stage.secrets["access token"]),
        "resume": lambda: linker.resume(result, partial=True),
        "accounts": lambda: linker.accounts(stage.secrets["access token"]),
        "remove": lambda: linker.remove(stage.secrets["access token"]),
        "wrong place": lambda: linker.accounts(done.public_token),
        "wrong type": lambda: linker.link("layer", public_token=[done.public_token]),
        "no such partner": lambda: linker.link(stage.secrets["access token"], **given),
        "no such account": lambda: linker.link("layer", **given, account_id=done.public_token),
        "no partner's name": lambda: linker.link(
            "layer", **given, account_ids={done.public_token: ["A"]}
        ),
    }


REQUESTS = {
    "create_link_token": [LINK_TOKEN],
    "link": [EXCHANGE, ACCOUNTS, CREATE],
    "link both": [EXCHANGE],
    "link_sandbox": [EXCHANGE, ACCOUNTS, CREATE],
    "issue": [ACCOUNTS, CREATE],
    "resume": [ACCOUNTS, CREATE],
    "accounts": [ACCOUNTS],
    "remove": [REMOVE],
    "wrong place": [ACCOUNTS],
    "wrong type": [EXCHANGE],
    "no such partner": [EXCHANGE],
    "no such account": [EXCHANGE],
    "no partner's name": [EXCHANGE],
}
STRUCK = [(name, path) for name, paths in REQUESTS.items() for path in paths]


@pytest.mark.parametrize(
    ("fault", "awaited"), [(fault, bool(number % 2)) for number, fault in enumerate(FAULTS)]
)
def test_nothing_shows_in_any_flow(stage: Stage, fault: str, awaited: bool) -> None:
    """Every call, its result or its error, with each request of it struck by the fault."""
    linker: Any = (AsyncProcessorLinker if awaited else ProcessorLinker)(stage.client)
    stage.show(stage.client)
    stage.show(linker)
    for name, path in STRUCK:
        call = flows(stage, linker)[name]
        if what := faults(stage.secrets)[fault]:
            stage.plaid.fail(path, times=None, **what)
        try:
            stage.show(asyncio.run(_awaited(call)) if awaited else call())
        except (PlaidProcessorsError, TypeError, ValueError) as error:
            stage.show(error)
        stage.plaid.clear_faults()


async def _awaited(call: Callable[[], Any]) -> object:
    return await call()


ODD = {
    "odd access token": "SENTINEL+access/token=1",
    "odd public token": "SENTINEL public:token;2",
    "odd processor token": "btok_SENTINELprocessor3",
}


@pytest.mark.parametrize("log_threads", [True, False])
def test_nothing_shows_where_tokens_and_answers_are_odd(
    stage: Stage, faulty: FaultyPlaid, monkeypatch: pytest.MonkeyPatch, log_threads: bool
) -> None:
    """Tokens of shapes that nobody expects, in answers that cannot be read, headers among them.

    Also where log records do not name their thread, which Python allows to save time.
    """
    monkeypatch.setattr(logging, "logThreads", log_threads)
    stage.secrets.update(ODD)
    access, public, processor = ODD.values()
    everything = " ".join([*ODD.values(), *stage.secrets.values()])
    good = {
        EXCHANGE: exchanged(access),
        ACCOUNTS: reply({"accounts": [account("a")]}),
        CREATE: reply({"processor_token": processor, "request_id": "r"}),
    }
    answers = [
        reply([everything]),
        reply({}, 302, headers={"Location": f"https://{access}/"}),
        cut({"access_token": everything, "processor_token": everything}),
        raw(f"HTTP/1.1 200 OK\r\n{everything}\r\n\r\n{everything}".encode()),
        raw(f"{everything}\r\n{everything}\r\n\r\n".encode()),
    ]
    client = stage.plaid.client(base_url=faulty.url, max_attempts=1, on_event=stage.show)
    speak()
    with ProcessorLinker(client) as linker:
        for path, usual in good.items():
            sent = public if path == EXCHANGE else access
            echo = refusal(message=f"you sent {sent} with {stage.plaid.secret}")
            for answer in (usual, echo, *answers):
                faulty.on(path, answer)
                try:
                    stage.show(linker.link("layer", public_token=public, on_exchange=stage.show))
                except PlaidProcessorsError as error:
                    stage.show(error)
            faulty.on(path, usual)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError])
def test_nothing_shows_when_a_callback_ends_it(stage: Stage, error: type[BaseException]) -> None:
    """What a callback raises comes out, with a result that is silent."""
    done = stage.through_link()

    def fail(item: object) -> None:
        raise error("mine")

    for hook in ("on_exchange", "on_token"):
        done = stage.through_link()
        with pytest.raises((error, PlaidProcessorsError)) as caught:
            ProcessorLinker(stage.client).link(
                "layer", public_token=done.public_token, metadata=done.metadata, **{hook: fail}
            )
        assert unfinished(caught.value) is not None
        stage.show(caught.value)


def test_nothing_shows_when_it_is_cancelled(stage: Stage) -> None:
    """Neither a cancellation nor a time-out shows what was under way."""
    stage.plaid.fail(CREATE, delay=0.5, times=None)
    done = stage.through_link()

    async def main() -> None:
        linker = AsyncProcessorLinker(stage.client)
        async with asyncio.timeout(0.2):
            await linker.link("layer", public_token=done.public_token, metadata=done.metadata)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert unfinished(caught.value) is not None
    stage.show(caught.value)


def test_nothing_shows_with_a_client_of_plaid_python(stage: Stage) -> None:
    """Over plaid-python's own client, its loggers at DEBUG too."""
    keys = {"clientId": stage.plaid.client_id, "secret": stage.plaid.secret}
    configuration = plaid_python.Configuration(host=stage.plaid.url, api_key=keys)
    with plaid_python.ApiClient(configuration) as api, PlaidClient.from_plaid(api) as client:
        speak()
        linker = ProcessorLinker(client)
        for path in (None, EXCHANGE, CREATE):
            done = stage.through_link()
            if path is not None:
                stage.plaid.fail(path, error_code="ITEM_LOCKED")
            try:
                stage.show(
                    linker.link("layer", public_token=done.public_token, metadata=done.metadata)
                )
            except PlaidProcessorsError as error:
                stage.show(error)
        stage.show(client)
    assert http.client.HTTPConnection.debuglevel == 0


def test_nothing_shows_in_an_uncaught_error(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Python prints of an error that nobody caught."""
    stage.plaid.fail(EXCHANGE, drop="after", times=None)
    done = stage.through_link()
    with stage.plaid.client(max_attempts=3, on_event=stage.show) as client:
        speak()
        linker = ProcessorLinker(client)
        with pytest.raises(PlaidProcessorsError) as caught:
            linker.link("layer", public_token=done.public_token, metadata=done.metadata)
    sys.excepthook(type(caught.value), caught.value, caught.tb)
    printed = capsys.readouterr().err
    assert "Plaid's support" in printed
    stage.shown.append(printed)
