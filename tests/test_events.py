"""What a client tells of its requests: everything, in order, and nothing secret."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    EventKind,
    LinkIncompleteError,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
    RequestEvent,
)
from plaid_processors._engine.http import retry_after_seconds
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import FaultyPlaid
from .support.rows import rows
from .support.slow import trickled_headers

EXCHANGE = "/item/public_token/exchange"
CREATE = "/processor/token/create"


@pytest.fixture
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def events() -> list[RequestEvent]:
    return []


@pytest.fixture
def client(plaid: LocalSandbox, events: list[RequestEvent]) -> Iterator[PlaidClient]:
    with plaid.client(on_event=events.append, max_attempts=2) as client:
        yield client


@pytest.fixture
def linker(client: PlaidClient) -> ProcessorLinker:
    return ProcessorLinker(client)


@pytest.fixture
def done(plaid: LocalSandbox) -> Linked:
    with ProcessorLinker(plaid.client()) as other:
        token = other.create_link_token("layer", client_user_id="u", client_name="Acme")
    return plaid.complete_link(token.link_token, masks=["0000", "3333"])


def link(linker: ProcessorLinker, done: Linked, **more: Any) -> Any:
    return linker.link("layer", public_token=done.public_token, metadata=done.metadata, **more)


def kinds(events: list[RequestEvent], endpoint: str) -> list[tuple[str, int]]:
    return [(each.kind.value, each.attempt) for each in events if each.endpoint == endpoint]


def test_a_request_that_works(
    linker: ProcessorLinker, done: Linked, events: list[RequestEvent]
) -> None:
    """Each request is told when it is sent and when it is answered, with time and request id."""
    result = link(linker, done)
    assert kinds(events, EXCHANGE) == [("sent", 1), ("answered", 1)]
    sent, answered = (each for each in events if each.endpoint == EXCHANGE)
    assert (sent.seconds, sent.request_id, sent.error_code) == (None, None, None)
    assert answered.seconds is not None
    assert 0 < answered.seconds < 5
    assert (answered.request_id, answered.http_status) == (result.request_id, 200)
    assert answered.error_code is None
    told = Counter(each.kind for each in events if each.endpoint == CREATE)
    assert told == {EventKind.SENT: 2, EventKind.ANSWERED: 2}


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ({"error_code": "INSTITUTION_DOWN"}, "INSTITUTION_DOWN", 400),
        ({"error_code": "RATE_LIMIT"}, "RATE_LIMIT", 429),
        ({"drop": "before"}, "PlaidConnectionError", None),
        ({"status": 502}, "PlaidConnectionError", 502),
        ({"json": {}, "status": 200}, "PlaidConnectionError", 200),
    ],
)
def test_a_request_that_is_sent_again(
    plaid: LocalSandbox,
    linker: ProcessorLinker,
    done: Linked,
    events: list[RequestEvent],
    fault: dict[str, Any],
    code: str,
    status: int | None,
) -> None:
    """A failure is told with its code and status, and the retry with how long it waits."""
    plaid.fail(EXCHANGE, **fault)
    link(linker, done)
    assert kinds(events, EXCHANGE) == [
        ("sent", 1),
        ("failed", 1),
        ("retried", 2),
        ("sent", 2),
        ("answered", 2),
    ]
    _, failed, retried, *_ = (each for each in events if each.endpoint == EXCHANGE)
    assert (failed.error_code, failed.http_status) == (code, status)
    assert (retried.error_code, retried.http_status) == (code, status)
    assert retried.request_id == failed.request_id
    assert retried.seconds is not None
    assert 0 <= retried.seconds <= 0.25


def test_a_request_that_fails(
    plaid: LocalSandbox, linker: ProcessorLinker, done: Linked, events: list[RequestEvent]
) -> None:
    """What is not tried again ends with the failure, with Plaid's request id."""
    plaid.fail(CREATE, error_code="ITEM_LOGIN_REQUIRED", times=None)
    with pytest.raises(LinkIncompleteError) as caught:
        link(linker, done)
    failed = [each for each in events if each.kind is EventKind.FAILED]
    assert {each.error_code for each in failed} == {"ITEM_LOGIN_REQUIRED"}
    ids = {each.request_id for each in failed}
    assert ids == {getattr(error, "request_id", None) for _, error in caught.value.errors}


def test_a_hook_that_fails_ends_no_link(
    plaid: LocalSandbox, done: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    """A metric that fails must not cost an Item, and its words are not logged."""

    def fail(event: RequestEvent) -> None:
        raise RuntimeError("words that may hold anything")

    with plaid.client(on_event=fail) as client:
        assert link(ProcessorLinker(client), done).complete
    assert "on_event failed: RuntimeError" in caplog.text
    assert "words that may hold anything" not in caplog.text


@pytest.mark.parametrize("make", ["class", "from_env", "from_plaid"])
def test_each_way_to_make_a_client_takes_the_hook(
    plaid: LocalSandbox, events: list[RequestEvent], make: str
) -> None:
    """All three ways to make a client take `on_event`."""
    import plaid as plaid_python

    keys = {"clientId": plaid.client_id, "secret": plaid.secret}
    environ = {
        "PLAID_CLIENT_ID": plaid.client_id,
        "PLAID_SECRET": plaid.secret,
        "PLAID_BASE_URL": plaid.url,
    }
    clients = {
        "class": lambda: plaid.client(on_event=events.append),
        "from_env": lambda: PlaidClient.from_env(environ, on_event=events.append),
        "from_plaid": lambda: PlaidClient.from_plaid(
            plaid_python.ApiClient(plaid_python.Configuration(host=plaid.url, api_key=keys)),
            on_event=events.append,
        ),
    }
    with ProcessorLinker(clients[make]()) as linker:
        linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    assert [each.kind for each in events] == [EventKind.SENT, EventKind.ANSWERED]


@pytest.mark.parametrize("kind", [ProcessorLinker, AsyncProcessorLinker])
def test_who_calls_the_hook(kind: type[Any], plaid: LocalSandbox, done: Linked) -> None:
    """Retries are told on the caller's thread, what was sent and came on the sending thread."""
    told: list[tuple[EventKind, str]] = []

    def hook(event: RequestEvent) -> None:
        told.append((event.kind, threading.current_thread().name))

    plaid.fail(EXCHANGE, error_code="INSTITUTION_DOWN")
    with plaid.client(on_event=hook) as client:
        came = kind(client).link("layer", public_token=done.public_token, metadata=done.metadata)
        if kind is AsyncProcessorLinker:
            asyncio.run(_awaited(came))
    here = threading.current_thread().name
    assert {name for kind, name in told if kind is EventKind.RETRIED} == {here}
    others = {name for kind, name in told if kind is not EventKind.RETRIED}
    assert all(name.startswith("plaid-processors-") for name in others)


def test_an_answer_that_is_no_longer_waited_for(
    faulty: FaultyPlaid, make_linker: Callable[..., ProcessorLinker]
) -> None:
    """Its end is told on the caller's thread, with how long it was waited for."""
    told: list[tuple[RequestEvent, str]] = []

    def hook(event: RequestEvent) -> None:
        told.append((event, threading.current_thread().name))

    released = threading.Event()
    faulty.on("/link/token/create", trickled_headers(released))
    linker = make_linker(on_event=hook, deadline=0.5)
    with pytest.raises(PlaidConnectionError):
        linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    released.set()
    (_, _), (failed, thread) = told
    assert (failed.kind, failed.error_code) == (EventKind.FAILED, "PlaidConnectionError")
    assert thread == threading.current_thread().name
    assert failed.seconds is not None
    assert 0.1 < failed.seconds < 5.0


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the package's logger said."""
    return [each for each in caplog.records if each.name == "plaid_processors"]


def test_the_log_says_the_same(
    linker: ProcessorLinker,
    plaid: LocalSandbox,
    done: Linked,
    caplog: pytest.LogCaptureFixture,
    events: list[RequestEvent],
) -> None:
    """At DEBUG, the logger of the package has a line for each event."""
    plaid.fail(EXCHANGE, error_code="INSTITUTION_DOWN")
    with caplog.at_level(logging.DEBUG, logger="plaid_processors"):
        link(linker, done)
    lines = [each.getMessage() for each in records(caplog)]
    assert len(lines) == len(events)
    failed = next(each for each in events if each.kind is EventKind.FAILED)
    assert any(
        f"{EXCHANGE} failed, attempt 1," in line
        and f"request_id {failed.request_id}, error INSTITUTION_DOWN" in line
        for line in lines
    )


FIELDS = {
    "event": "kind",
    "endpoint": "endpoint",
    "attempt": "attempt",
    "status": "http_status",
    "error_code": "error_code",
    "request_id": "request_id",
    "seconds": "seconds",
}
"""The fields of a record, and what they are called in an event."""


def test_the_log_has_fields(
    linker: ProcessorLinker,
    plaid: LocalSandbox,
    done: Linked,
    caplog: pytest.LogCaptureFixture,
    events: list[RequestEvent],
) -> None:
    """Each record has what the event has, as fields with plain values for a JSON formatter."""
    plaid.fail(EXCHANGE, error_code="RATE_LIMIT")
    with caplog.at_level(logging.DEBUG, logger="plaid_processors"):
        link(linker, done)
    usual = set(vars(logging.makeLogRecord({}))) | {"message"}
    logged = [
        {name: value for name, value in vars(each).items() if name not in usual}
        for each in records(caplog)
    ]
    told = [{name: getattr(each, FIELDS[name]) for name in FIELDS} for each in events]
    # Threads tell of tokens side by side, so that hook and log may differ in their order.
    assert sorted(map(json.dumps, logged)) == sorted(map(json.dumps, told))
    of_exchange = [each for each in logged if each["endpoint"] == EXCHANGE]
    assert [(each["event"], each["attempt"], each["status"]) for each in of_exchange] == [
        ("sent", 1, None),
        ("failed", 1, 429),
        ("retried", 2, 429),
        ("sent", 2, None),
        ("answered", 2, 200),
    ]


def test_a_retry_is_worth_an_info(
    linker: ProcessorLinker, plaid: LocalSandbox, done: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    """At INFO the log is empty while all goes well, and has one line for each retry."""
    with caplog.at_level(logging.INFO, logger="plaid_processors"):
        linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        assert records(caplog) == []
        plaid.fail(EXCHANGE, error_code="INSTITUTION_DOWN")
        link(linker, done)
    (record,) = records(caplog)
    assert (record.levelno, vars(record)["event"]) == (logging.INFO, "retried")
    assert record.getMessage().endswith("error INSTITUTION_DOWN")
    with caplog.at_level(logging.DEBUG, logger="plaid_processors"):
        linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    assert {each.levelno for each in records(caplog)[1:]} == {logging.DEBUG}


def test_a_request_that_was_cancelled_has_an_end(
    client: PlaidClient, plaid: LocalSandbox, events: list[RequestEvent], done: Linked
) -> None:
    """So that a gauge of the requests under way comes down again."""
    plaid.fail(CREATE, delay=0.5, times=None)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await link(AsyncProcessorLinker(client), done)

    asyncio.run(main())
    end = time.monotonic() + 5
    while kinds(events, CREATE).count(("answered", 1)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert Counter(kinds(events, CREATE)) == {("sent", 1): 2, ("answered", 1): 2}


def test_a_request_that_was_not_sent(
    plaid: LocalSandbox, done: Linked, events: list[RequestEvent]
) -> None:
    """Where nobody listens, the failure says so, without a status."""
    with (
        plaid.client(
            on_event=events.append, base_url="http://127.0.0.1:9", max_attempts=1
        ) as other,
        pytest.raises(PlaidConnectionError),
    ):
        link(ProcessorLinker(other), done)
    assert [(each.kind.value, each.http_status) for each in events] == [
        ("sent", None),
        ("failed", None),
    ]


@rows(
    ("header", "seconds"),
    [
        ("Sat, 21 Nov 2026 03:00:07 GMT", 7.0),
        ("Sat, 21 Nov 2026 02:59:00 GMT", 0.0),
        ("Saturday, 21-Nov-26 03:00:07 GMT", 7.0),
        ("Sat Nov 21 03:00:07 2026", 7.0),
        ("the day after tomorrow", None),
    ],
)
def test_a_retry_after_with_a_date(header: str, seconds: float | None) -> None:
    """HTTP lets a server name the moment too; one that is past asks for no wait."""
    now = datetime(2026, 11, 21, 3, 0, 0, tzinfo=UTC)
    assert retry_after_seconds(header, now) == seconds


def test_a_hook_that_calls_its_client_is_refused_and_waits_for_nothing(
    plaid: LocalSandbox, done: Linked, caplog: pytest.LogCaptureFixture
) -> None:
    """on_event runs on a thread of the client: with one thread a call would wait for itself."""
    access_tokens: list[str] = []

    def ask(_event: RequestEvent) -> None:
        linker.accounts("access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab")

    with plaid.client(on_event=ask, max_connections=1) as client:
        linker = ProcessorLinker(client)
        link(linker, done, on_exchange=lambda item: access_tokens.append(item.access_token))
        assert len(linker.accounts(access_tokens[0])) == 2
    assert "on_event failed: ConfigurationError" in caplog.text
