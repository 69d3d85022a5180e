"""The senders send as the linkers do: over forks, event loops, threads and slow partners."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from plaid_processors import Account, LinkResult, ProcessorLinker, ProcessorToken
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    HandoffError,
    HandoffRefusedError,
    LayerSender,
    PartnerConnectionError,
)
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox

from .support.faulty import FaultyPlaid, close, hang, http, reply, trickle
from .support.rows import rows
from .support.slow import late

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

INSTRUMENTS = "/payment_instruments"
TOKEN = "processor-sandbox-5e171e1d-aaaa-4bbb-8ccc-0123456789ab"


@pytest.fixture(scope="module")
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def issue(plaid: LocalSandbox) -> Iterator[Callable[..., LinkResult]]:
    """Links a bank and issues tokens."""
    with ProcessorLinker(plaid.client()) as linker:
        yield linker.link_sandbox


@pytest.fixture
def finix(plaid: LocalSandbox) -> Iterator[LocalFinix]:
    with LocalFinix(plaid) as partner:
        yield partner


@pytest.fixture
def layer(plaid: LocalSandbox) -> Iterator[LocalLayer]:
    with LocalLayer(plaid) as partner:
        yield partner


def finix_keys(partner: LocalFinix) -> dict[str, Any]:
    return {
        "username": partner.username,
        "password": partner.password,
        "base_url": partner.url,
    }


def layer_keys(partner: LocalLayer) -> dict[str, Any]:
    return {
        "client_id": partner.client_id,
        "client_secret": partner.client_secret,
        "base_url": partner.url,
        "auth_url": partner.url,
    }


def run(script: str, given: object) -> str:
    """What a script prints that has to end by itself, and well, in time."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


FORKED = """
import json, os, sys, threading, time
from plaid_processors import LinkResult
from plaid_processors.handoff import FinixSender, LayerSender
given = json.load(sys.stdin)
results = [LinkResult.from_dict(each) for each in given["results"]]
def workers(count, work):
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            try:
                work(number)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * count
"""


@needs_fork
def test_a_finix_sender_used_before_forks_crosses_no_identities(
    finix: LocalFinix, issue: Callable[..., LinkResult]
) -> None:
    """Each worker gets the instrument of the identity that it asked for, and of no other."""
    count = 10
    results = [issue("finix").to_dict() for _ in range(2)]
    identities = [[finix.new_identity() for _ in range(count)] for _ in range(2)]
    script = (
        FORKED
        + """
sender = FinixSender(**given["keys"])
sender.payment_instruments(given["identities"][0][0])
def work(number):
    token = results[number].token("finix")
    for identity in given["identities"][number]:
        assert sender.hand_over(token, identity=identity, again=True).identity == identity
        assert [each.identity for each in sender.payment_instruments(identity)] == [identity]
workers(2, work)
assert len(sender.payment_instruments(given["identities"][0][0])) == 1
print("well")
"""
    )
    given = {"keys": finix_keys(finix), "results": results, "identities": identities}
    assert run(script, given) == "well\n"
    assert len(finix.instruments) == 2 * count


@pytest.mark.slow
@needs_fork
def test_a_layer_sender_used_before_forks_crosses_no_businesses(
    layer: LocalLayer, issue: Callable[..., LinkResult]
) -> None:
    """Afterwards each business has the accounts of its own Item, and of no other."""
    results = [issue("layer") for _ in range(2)]
    businesses = [[layer.new_business() for _ in range(2)] for _ in range(2)]
    script = (
        FORKED
        + """
sender = LayerSender(**given["keys"])
sender.accounts(given["businesses"][0][0])
def work(number):
    for business in given["businesses"][number]:
        sender.hand_over(results[number], business_id=business)
        assert not sender.hand_over(results[number], business_id=business).changed
workers(2, work)
print("well")
"""
    )
    given = {
        "keys": layer_keys(layer),
        "results": [each.to_dict() for each in results],
        "businesses": businesses,
    }
    assert run(script, given) == "well\n"
    for result, own in zip(results, businesses, strict=True):
        wanted = {each.processor_token for each in result.processor_tokens}
        for business in own:
            assert {each.processor_token for each in layer.books(business)} == wanted


@pytest.mark.slow
@needs_fork
def test_a_sender_forked_while_another_thread_hands_over_does_not_hang(
    layer: LocalLayer, issue: Callable[..., LinkResult]
) -> None:
    """Neither at another business nor at the one that the parent's thread is at work on."""
    result = issue("layer")
    businesses = [layer.new_business() for _ in range(2)]
    layer.fail(f"GET /v1/businesses/{businesses[0]}/plaid/accounts", delay=0.7)
    script = (
        FORKED
        + """
sender = LayerSender(**given["keys"])
at_work = threading.Thread(
    target=sender.hand_over, args=(results[0],), kwargs={"business_id": given["businesses"][0]})
at_work.start()
time.sleep(0.3)  # Layer takes longer to answer
workers(2, lambda number: sender.accounts(given["businesses"][number]))
workers(2, lambda number: sender.hand_over(results[0], business_id=given["businesses"][number]))
at_work.join()
print("well")
"""
    )
    given = {
        "keys": layer_keys(layer),
        "results": [result.to_dict()],
        "businesses": businesses,
    }
    assert run(script, given) == "well\n"
    layer.clear_faults()


@pytest.mark.slow
def test_an_async_sender_serves_one_event_loop_after_the_other(
    finix: LocalFinix, layer: LocalLayer, issue: Callable[..., LinkResult]
) -> None:
    """A second `asyncio.run` finds the sender as the first left it."""
    result = issue(["finix", "layer"])
    to_finix, to_layer = (
        AsyncFinixSender(**finix_keys(finix)),
        AsyncLayerSender(**layer_keys(layer)),
    )
    for _ in range(3):
        identity, business = finix.new_identity(), layer.new_business()
        made = asyncio.run(to_finix.hand_over(result.token("finix"), identity=identity))
        assert made.identity == identity
        assert asyncio.run(to_layer.hand_over(result, business_id=business)).changed
    asyncio.run(to_finix.close())
    asyncio.run(to_layer.close())


def test_an_abandoned_event_loop_holds_no_business(
    layer: LocalLayer, issue: Callable[..., LinkResult]
) -> None:
    """A hand-off whose loop was closed in its middle keeps no later one of the business waiting."""
    result, business = issue("layer"), layer.new_business()
    sender = AsyncLayerSender(**layer_keys(layer), timeout=5)
    layer.fail(f"PUT /v1/businesses/{business}", delay=1.5)
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(sender.hand_over(result, business_id=business))
    loop.call_later(0.7, loop.stop)
    loop.run_forever()
    loop.close()
    handoff = asyncio.run(asyncio.wait_for(sender.hand_over(result, business_id=business), 30))
    assert handoff.business_id == business
    assert not abandoned.done()
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_async_sender_serves_loops_in_several_threads(
    layer: LocalLayer, issue: Callable[..., LinkResult]
) -> None:
    """Six loops at once, on one business: each waits its turn, and nothing is dropped."""
    results = [issue("layer") for _ in range(2)]
    business = layer.new_business()
    sender = AsyncLayerSender(**layer_keys(layer))
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            asyncio.run(sender.hand_over(results[number % 2], business_id=business))
        except BaseException as error:  # noqa: BLE001  whatever it is, it must not be
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert errors == []
    wanted = {each.processor_token for result in results for each in result.processor_tokens}
    assert {each.processor_token for each in layer.books(business)} == wanted
    asyncio.run(sender.close())


def _continuing(connection: Any, _request: Any) -> bool:
    while not connection.stopped.wait(0.02):
        connection.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return False


SLOW: dict[str, Any] = {
    "hangs": hang,
    "headers by bytes": trickle(http({}, headers={"X-Long": "x" * 400})),
    "endless continues": _continuing,
}


@pytest.mark.slow
@rows("slowness", SLOW)
@rows("awaited", [False, True], ids=["blocking", "awaited"])
def test_the_time_out_covers_all_of_an_answer(
    faulty: FaultyPlaid, slowness: str, awaited: bool
) -> None:
    """Also headers that trickle; afterwards the sender works."""
    faulty.on(INSTRUMENTS, SLOW[slowness], reply({"_embedded": {"payment_instruments": []}}))
    keys = {"username": "u", "password": "p", "base_url": faulty.url, "timeout": 0.15}
    with ExitStack() as stack:
        if awaited:
            awaiting = AsyncFinixSender(**keys)
            stack.callback(lambda: asyncio.run(awaiting.close()))

            def ask() -> Any:
                return asyncio.run(awaiting.payment_instruments("ID1"))
        else:
            blocking = stack.enter_context(FinixSender(**keys))

            def ask() -> Any:
                return blocking.payment_instruments("ID1")

        began = time.monotonic()
        with pytest.raises(PartnerConnectionError, match="timed out"):
            ask()
        assert time.monotonic() - began < 2.5
        assert ask() == ()


def test_an_answer_about_another_identity_is_refused(
    faulty: FaultyPlaid, issue: Callable[..., LinkResult]
) -> None:
    """An instrument of another customer's is never taken for this one's."""
    other = {"id": "PI1", "identity": "ID-other", "type": "BANK_ACCOUNT"}
    token: ProcessorToken = issue("finix").token("finix")
    with FinixSender(username="u", password="p", base_url=faulty.url) as sender:
        faulty.on(INSTRUMENTS, reply({"_embedded": {"payment_instruments": [other]}}))
        with pytest.raises(PartnerConnectionError, match="another identity") as caught:
            sender.payment_instruments("ID1")
        assert not caught.value.outcome_unknown
        faulty.on(INSTRUMENTS, reply({"page": {"next_cursor": None}}), reply(other, 201))
        with pytest.raises(PartnerConnectionError, match="another identity") as caught:
            sender.hand_over(token, identity="ID1")
        assert caught.value.outcome_unknown
        with pytest.raises(HandoffRefusedError):
            sender.hand_over(token, identity="ID1")


ANOTHER_BUSINESS: dict[str, tuple[Any, Any]] = {
    "an account of the list": ({"data": [{"business_id": "b2"}]}, {}),
    "one account of the list": ({"data": [{"business_id": "b1"}, {"business_id": "b2"}]}, {}),
    "the business": ({"data": []}, {"data": {"type": "Business", "id": "b2"}}),
    "the business, without a type": ({"data": []}, {"data": {"id": "b2"}}),
    "whose the data is": ({"data": []}, {"data": {"type": "X", "id": "1", "business_id": "b2"}}),
    "the accounts": ({"data": []}, {"data": [{"business_id": "b2"}]}),
}


@rows("case", ANOTHER_BUSINESS)
def test_an_answer_about_another_business_is_refused(case: str, faulty: FaultyPlaid) -> None:
    """Where an answer of Layer's names a business, it has to be the one that was asked for."""
    listed, put = ANOTHER_BUSINESS[case]
    with layer_at(faulty, listed, put) as sender:
        with pytest.raises(PartnerConnectionError, match="another business") as caught:
            sender.hand_over([layer_token()], business_id="b1")
        assert caught.value.outcome_unknown == bool(put)
        assert caught.value.retryable


@rows(
    "put",
    [
        {},
        {"data": None},
        {"data": {"type": "Business", "id": "B1"}},
        {"data": {"type": "Job", "id": "j1"}},
        {"data": {"type": "Business", "id": "b1", "business_id": "b1"}, "meta": {}},
    ],
)
def test_an_answer_about_this_business_or_none_is_taken(put: Any, faulty: FaultyPlaid) -> None:
    """Layer's answer to a PUT is not known."""
    with layer_at(faulty, {"data": []}, put) as sender:
        assert sender.hand_over([layer_token()], business_id="b1").sent == 1


def test_a_list_of_accounts_that_cannot_be_read_drops_none(faulty: FaultyPlaid) -> None:
    """Nothing is sent where an entry of the list is no account."""
    with (
        layer_at(faulty, {"data": [{"plaid_account_id": "x"}, None]}, {}) as sender,
        pytest.raises(PartnerConnectionError, match="no list of accounts"),
    ):
        sender.hand_over([layer_token()], business_id="b1")
    assert "/v1/businesses/b1" not in faulty.paths


def layer_at(faulty: FaultyPlaid, listed: Any, put: Any, **options: Any) -> LayerSender:
    """A sender to a Layer that answers so."""
    faulty.on("/oauth2/token", reply({"access_token": "bearer", "expires_in": 3600}))
    faulty.on("/v1/businesses/b1/plaid/accounts", reply(listed))
    faulty.on("/v1/businesses/b1", reply(put))
    keys = {"client_id": "c", "client_secret": "s"}
    return LayerSender(**keys, auth_url=faulty.url, base_url=faulty.url, **options)


def layer_token() -> ProcessorToken:
    account = Account(account_id="a")
    return ProcessorToken(
        processor="layer", account=account, processor_token=TOKEN, issued_at=datetime.now(UTC)
    )


@needs_fork
def test_after_a_fork_an_answer_about_another_identity_is_refused(faulty: FaultyPlaid) -> None:
    """In the child as in the parent."""
    other = {"id": "PI1", "identity": "ID-other", "type": "BANK_ACCOUNT"}
    faulty.on(INSTRUMENTS, reply({"_embedded": {"payment_instruments": [other]}}))
    script = (
        FORKED
        + """
from plaid_processors.handoff import PartnerConnectionError
sender = FinixSender(username="u", password="p", base_url=given["url"])
def work(_number=0):
    try:
        sender.payment_instruments("ID1")
    except PartnerConnectionError as error:
        assert "another identity" in str(error)
    else:
        raise SystemExit("it was taken")
work()
workers(2, work)
print("well")
"""
    )
    assert run(script, {"url": faulty.url, "results": []}) == "well\n"


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def deep_instrument(depth: int) -> str:
    return '{"id":"PI1","identity":"ID1","type":"BANK_ACCOUNT","tags":' + nested(depth) + "}"


@rows("depth", [100, 450, 900])
def test_deep_json_of_a_partner_is_read(depth: int, faulty: FaultyPlaid) -> None:
    """Tokens in it are masked, however deep."""
    faulty.on(INSTRUMENTS, reply(deep_instrument(depth).replace('"a"', f'"b":"{TOKEN}","a"'), 201))
    with FinixSender(username="u", password="p", base_url=faulty.url) as sender:
        tags = sender.hand_over(TOKEN, identity="ID1", again=True).raw["tags"]
    for _ in range(depth - 1):
        assert "0123456789ab" not in tags["b"]
        tags = tags["a"]


@rows(("depth", "status"), [(900, 500), (900, 422), (100_000, 201), (100_000, 422)])
def test_deep_json_of_a_partner_that_cannot_be_read_is_typed(
    depth: int, status: int, faulty: FaultyPlaid
) -> None:
    """The outcome is unknown where Finix may have acted."""
    faulty.on(INSTRUMENTS, reply(deep_instrument(depth), status))
    with (
        FinixSender(username="u", password="p", base_url=faulty.url) as sender,
        pytest.raises(HandoffError) as caught,
    ):
        sender.hand_over(TOKEN, identity="ID1", again=True)
    assert caught.value.outcome_unknown == (status != 422)


@rows("broken", [MemoryError, RecursionError, KeyError])
@rows("where", ["json.loads", "plaid_processors.handoff.finix.texts_of"])
def test_whatever_breaks_in_an_attempt_is_typed(
    broken: type[Exception], where: str, faulty: FaultyPlaid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the request was sent, the outcome is unknown and stays in the way."""

    def fail(*_args: Any, **_more: Any) -> Any:
        raise broken

    made = {"id": "PI1", "identity": "ID1", "type": "BANK_ACCOUNT"}
    faulty.on(INSTRUMENTS, reply(made, 201))
    with FinixSender(username="u", password="p", base_url=faulty.url) as sender:
        with monkeypatch.context() as patch:
            patch.setattr(where, fail)
            with pytest.raises(PartnerConnectionError) as caught:
                sender.hand_over(TOKEN, identity="ID1", again=True)
        assert caught.value.outcome_unknown
        assert not caught.value.retryable
        with pytest.raises(HandoffRefusedError):
            sender.hand_over(TOKEN, identity="ID1")


def test_a_list_in_pages_is_read_to_its_end(faulty: FaultyPlaid) -> None:
    """By cursor, as Finix's description says, and by a link to the next page, as its examples."""

    def page(number: int, **more: Any) -> Any:
        found = [{"id": f"PI{number}", "type": "BANK_ACCOUNT"}]
        return reply({"_embedded": {"payment_instruments": found}, **more})

    link = "https://finix.example/payment_instruments?offset=2&sort=created_at,desc&sort=id,desc"
    faulty.on(
        INSTRUMENTS,
        page(1, page={"next_cursor": "PI1"}),
        page(2, page={"next_cursor": None}, _links={"next": {"href": link}}),
        page(3, page={}),
    )
    with FinixSender(username="u", password="p", base_url=faulty.url) as sender:
        assert [each.id for each in sender.payment_instruments("ID1")] == ["PI1", "PI2", "PI3"]
        asked = [parse_qs(urlsplit(each.target).query) for each in faulty.requests]
        assert [each["owner_identity_id"] for each in asked] == [["ID1"]] * 3
        assert asked[1]["after_cursor"] == ["PI1"]
        assert (asked[2]["offset"], len(asked[2]["sort"])) == (["2"], 2)
        faulty.on(INSTRUMENTS, page(1, page={"next_cursor": "PI1"}))
        with pytest.raises(PartnerConnectionError, match="the same page again"):
            sender.payment_instruments("ID1")


@rows(
    ("environment", "scope"),
    [
        ("sandbox", "https://sandbox.layerfi.com/sandbox"),
        ("production", "https://api.layerfi.com/production"),
    ],
    ids=["sandbox", "production"],
)
def test_the_scope_is_the_environments(faulty: FaultyPlaid, environment: str, scope: str) -> None:
    """The bearer token is asked for with the scope that Layer's documentation names."""
    faulty.on("/oauth2/token", reply({"access_token": "bearer", "expires_in": 3600}))
    faulty.on("/v1/businesses/b1/plaid/accounts", reply({"data": []}))
    keys = {"client_id": "c", "client_secret": "s", "auth_url": faulty.url}
    with LayerSender(**keys, base_url=faulty.url, environment=environment) as sender:
        assert sender.accounts("b1") == ()
    asked = parse_qs(faulty.requests[0].body.decode())
    assert asked == {"grant_type": ["client_credentials"], "scope": [scope], "client_id": ["c"]}


def test_a_request_that_makes_something_is_not_sent_when_nobody_waits(
    faulty: FaultyPlaid, issue: Callable[..., LinkResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name look-up takes longer than the time-out, Finix gets no instrument late."""
    look_up = socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.5)
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    url = faulty.url.replace("127.0.0.1", "localhost")
    with FinixSender(username="u", password="p", base_url=url, timeout=0.2) as sender:
        with pytest.raises(PartnerConnectionError) as caught:
            sender.hand_over(issue("finix").token("finix"), identity="ID1", again=True)
        assert not caught.value.outcome_unknown
        time.sleep(0.6)
    assert [each.body for each in faulty.requests if each.body] == []


@pytest.mark.slow
def test_layer_is_read_back_before_the_deadline(faulty: FaultyPlaid) -> None:
    """However slow it was until then: what it lists is known, and not that time is over."""
    listed = {"data": [{"business_id": "b1", "plaid_processor_token": TOKEN}]}
    layer = layer_at(faulty, {}, {}, timeout=(0.1, 0.7))  # in all 3.2 seconds at most
    accounts = (late(reply({"data": []}), 0.6), reply(listed))
    faulty.on("/oauth2/token", late(reply({"access_token": "b", "expires_in": 3600}), 0.6))
    faulty.on("/v1/businesses/b1/plaid/accounts", *accounts)
    faulty.on("/v1/businesses/b1", late(reply({}), 0.6))
    with layer:
        handoff = layer.hand_over([layer_token()], business_id="b1")
    assert handoff.changed
    assert handoff.missing == ()


@pytest.mark.slow
def test_layer_is_not_sent_again_when_it_cannot_be_read_back(faulty: FaultyPlaid) -> None:
    """A slow Layer that does not list a token: the result says so."""
    layer = layer_at(faulty, {"data": []}, {}, timeout=(0.2, 1.4))
    for path, answer in (("/plaid/accounts", {"data": []}), ("", {})):
        faulty.on(f"/v1/businesses/b1{path}", late(reply(answer), 1.0))
    with layer:
        handoff = layer.hand_over([layer_token()], business_id="b1")
    assert handoff.missing == ("a",)


@pytest.mark.slow
@rows("awaited", [False, True])
def test_a_call_has_a_deadline(awaited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all threads hang and there can be no other, a call ends after four time-outs."""
    over = threading.Event()

    def look_up(*_args: Any, **_more: Any) -> Any:
        over.wait(30)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("plaid_processors._engine.threads.MOST_LEFT", 0)
    keys = {"username": "u", "password": "p", "base_url": "http://localhost:1"}
    limits = {"timeout": (0.05, 0.1), "max_connections": 1}
    blocking = FinixSender(**keys, **limits)
    awaiting = AsyncFinixSender(**keys, **limits)

    def hand_over() -> None:
        if awaited:
            asyncio.run(awaiting.hand_over(TOKEN, identity="ID1"))
        else:
            blocking.hand_over(TOKEN, identity="ID1")

    def ask() -> float:
        began = time.monotonic()
        with pytest.raises(PartnerConnectionError) as caught:
            hand_over()
        assert not caught.value.outcome_unknown
        assert caught.value.retryable
        return time.monotonic() - began

    assert ask() < 3.0  # the look-up outlasts the time-out, and its thread hangs
    assert 0.55 < ask() < 3.0  # there is no thread for this one
    over.set()
    blocking.close()
    asyncio.run(awaiting.close())


def test_a_broken_connection_leaves_it_unknown(
    faulty: FaultyPlaid, issue: Callable[..., LinkResult]
) -> None:
    """Once it was sent, Finix may have made the instrument."""
    faulty.on(INSTRUMENTS, close)
    with FinixSender(username="u", password="p", base_url=faulty.url) as sender:
        with pytest.raises(PartnerConnectionError) as caught:
            sender.hand_over(issue("finix").token("finix"), identity="ID1", again=True)
        assert caught.value.outcome_unknown
