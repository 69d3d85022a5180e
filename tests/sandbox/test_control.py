"""The control plane, from Python and over HTTP."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time

import pytest
import urllib3

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox

from ..support.rows import rows

NOT_ENABLED = (
    "INVALID_INPUT",
    "INVALID_PRODUCT",
    (
        "The provided API keys are not enabled for the Straddle integration. Please see "
        "https://dashboard.plaid.com/developers/integrations to enable your keys for "
        "this integration."
    ),
)


def control(api, method: str, path: str, /, **body: object):
    return api.send(f"/_sandbox{path}", json.dumps(body).encode(), method)


def test_partners_can_be_switched_off(api, sandbox):
    """A partner that is not enabled for the keys is refused in Plaid's words."""
    access = api.access_token()
    account_id = api.accounts(access)[0]["account_id"]
    body = {"access_token": access, "account_id": account_id, "processor": "straddle"}
    sandbox.disable_partner("straddle")
    assert api.error("/processor/token/create", **body) == NOT_ENABLED
    assert api.ok("/processor/token/create", **{**body, "processor": "layer"})
    sandbox.enable_partner("straddle")
    assert api.ok("/processor/token/create", **body)
    assert control(api, "POST", "/partners", processor="straddle", enabled=False).status == 200
    assert api.error("/processor/token/create", **body) == NOT_ENABLED
    with pytest.raises(ValueError, match="nobody"):
        sandbox.disable_partner("nobody")


def test_reset(api, sandbox):
    """After a reset nothing is left, and the same seed gives the same ids again."""
    first = api.item()
    sandbox.fail("/item/get", error_code="INTERNAL_SERVER_ERROR")
    sandbox.advance(dt.timedelta(days=1))
    sandbox.reset()
    assert (sandbox.items, sandbox.requests, sandbox.faults) == ((), (), ())
    assert abs(sandbox.now - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert api.error("/item/get", access_token=first["access_token"])[1] == "INVALID_ACCESS_TOKEN"
    assert api.item()["item_id"] == first["item_id"]
    assert control(api, "POST", "/reset", seed=99).status == 200
    assert api.item()["item_id"] != first["item_id"]


def test_a_clock_that_stands_still():
    """Given a time, the clock stays there until it is moved."""
    now = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    with LocalSandbox(now=now) as sandbox:
        assert sandbox.now == now
        assert sandbox.advance(90) == sandbox.now == now + dt.timedelta(seconds=90)
        with pytest.raises(ValueError, match="forwards"):
            sandbox.advance(-1)
    with pytest.raises(ValueError, match="aware"):
        LocalSandbox(now=dt.datetime(2026, 3, 1))  # noqa: DTZ001 - that is the point


def test_clock_over_http(api):
    """The clock is read and moved over HTTP."""
    before = control(api, "GET", "/clock").json["now"]
    after = control(api, "POST", "/clock", seconds=3600).json["now"]
    moved = dt.datetime.fromisoformat(after) - dt.datetime.fromisoformat(before)
    assert dt.timedelta(minutes=59) < moved < dt.timedelta(minutes=61)


def test_the_log_masks_secrets(api, sandbox):
    """Each request is logged with its answer's code, and no secret shows anywhere."""
    public = api.public_token(options={"override_password": "pass_good"})
    access = api.ok("/item/public_token/exchange", public_token=public)["access_token"]
    token = api.processor_token(access)
    api.post("/processor/auth/get", processor_token=token, options={"seen": access})
    entries = sandbox.requests
    assert [entry.path for entry in entries] == [
        "/sandbox/public_token/create",
        "/item/public_token/exchange",
        "/accounts/get",
        "/processor/token/create",
        "/processor/auth/get",
    ]
    assert [entry.status for entry in entries] == [200, 200, 200, 200, 400]
    assert entries[-1].error_code == "UNKNOWN_FIELDS"
    assert entries[1].body["public_token"] == f"public-sandbox-…{public[-4:]}"
    told = control(api, "GET", "/requests").data.decode() + repr(entries)
    for secret in (public, access, token, sandbox.secret, "pass_good"):
        assert secret not in told
    sandbox.clear_requests()
    assert sandbox.requests == ()


def test_items(api, sandbox):
    """The Items can be counted, with their tokens, and no token shows in their repr."""
    access = api.access_token()
    token = api.processor_token(access)
    api.public_token()
    linked, waiting = sandbox.items
    assert (linked.access_token, linked.processor_tokens) == (access, (token,))
    assert (linked.exchanged, linked.removed, waiting.exchanged) == (True, False, False)
    assert access not in repr(linked)
    api.ok("/item/remove", access_token=access)
    assert sandbox.items[0].removed


def test_link_over_http(api):
    """The user's part can be done from any language."""
    token = api.link_token()
    done = control(api, "POST", "/complete_link", link_token=token, masks=["1111"]).json
    assert [account["mask"] for account in done["metadata"]["accounts"]] == ["1111"]
    assert api.ok("/item/public_token/exchange", public_token=done["public_token"])
    left = control(api, "POST", "/exit_link", link_token=token).json
    assert left["error"] is None
    assert set(left["metadata"]) == {"institution", "status", "link_session_id", "request_id"}


@rows(
    ("method", "path", "body", "words"),
    [
        ("POST", "/partners", {}, "missing: processor, enabled"),
        ("POST", "/partners", {"processor": "nobody", "enabled": True}, "nobody"),
        ("POST", "/clock", {"seconds": -1}, "forwards"),
        ("POST", "/clock", {"seconds": "x"}, "seconds must be a number"),
        ("POST", "/clock", {"seconds": 1e12}, "time ends at 9000-01-01"),
        ("POST", "/clock", {"seconds": 1e300}, ""),
        ("POST", "/faults", {"nonsense": 1}, "a fault has no nonsense"),
        ("POST", "/faults", {"path": "/nothing"}, "no endpoint /nothing"),
        ("POST", "/faults", {"error_code": "NOTHING"}, "error_type"),
        ("POST", "/faults", {"drop": "sometimes"}, "unread, before, after"),
        ("POST", "/faults", {"times": 0}, "at least 1"),
        ("POST", "/faults", {"status": 42}, "200 to 599"),
        ("POST", "/faults", {"delay": "x"}, "delay is a number"),
        ("POST", "/faults", {"skip": -1}, "not negative"),
        ("POST", "/complete_link", {"link_token": "x"}, "no such link token"),
        ("POST", "/reset", {"nonsense": 1}, "nonsense"),
    ],
)
def test_what_control_refuses(api, method, path, body, words):
    """A wrong order is told in words."""
    reply = control(api, method, path, **body)
    assert reply.status == 400
    assert words in reply.json["error"]


def test_control_without_json(api):
    """Garbage is refused here too."""
    assert api.send("/_sandbox/faults", b"nonsense").status == 400
    assert api.send("/_sandbox/faults", b"[]").status == 400
    assert api.send("/_sandbox/nothing", b"{}").status == 404
    assert control(api, "GET", "/health").json["ok"] is True


def test_other_keys(api, sandbox):
    """More clients can be admitted, each with Items of its own."""
    made = control(api, "POST", "/keys").json
    assert api.public_token(**made)
    assert len({item.client_id for item in sandbox.items} - {sandbox.client_id}) == 1


def test_rate_limits(api, sandbox):
    """Switched on, the documented limits answer 429 until a minute has gone by."""
    access = api.access_token()
    sandbox.limit_rates()
    for _ in range(40):
        api.ok("/item/get", access_token=access)
    reply = api.post("/item/get", access_token=access)
    assert (reply.status, *reply.error[:2]) == (429, "RATE_LIMIT_EXCEEDED", "ITEM_GET_LIMIT")
    other = api.access_token()
    assert api.ok("/item/get", access_token=other)
    sandbox.advance(60)
    assert api.ok("/item/get", access_token=access)


def test_rate_limits_of_a_client(api, sandbox):
    """A limit for all of a client's calls, here with a number of one's own."""
    access = api.access_token()
    control(api, "POST", "/rate_limits", enabled=True, per_client={"/processor/token/create": 3})
    codes = [
        api.post(
            "/processor/token/create", access_token=access, account_id="x", processor="layer"
        ).status
        for _ in range(4)
    ]
    assert codes == [400, 400, 400, 429]
    sandbox.limit_rates(False)
    assert (
        api.post(
            "/processor/token/create", access_token=access, account_id="x", processor="layer"
        ).status
        == 400
    )


def raw_error(api, path: str, **body: object) -> str:
    """Call and return the name of what urllib3 raises."""
    with pytest.raises(urllib3.exceptions.HTTPError) as caught:
        api.post(path, **body)
    return type(caught.value).__name__


def test_fault_with_an_error(api, sandbox):
    """Any of Plaid's errors, so many times, after so many that pass; the work is not done."""
    access = api.access_token()
    sandbox.fail("/item/remove", error_code="INTERNAL_SERVER_ERROR", times=2, skip=0)
    for _ in range(2):
        reply = api.post("/item/remove", access_token=access)
        assert (reply.status, reply.error[1]) == (500, "INTERNAL_SERVER_ERROR")
    assert api.ok("/item/get", access_token=access)
    sandbox.fail("/item/get", error_code="INSTITUTION_DOWN", skip=1)
    assert api.ok("/item/get", access_token=access)
    assert api.error("/item/get", access_token=access)[:2] == (
        "INSTITUTION_ERROR",
        "INSTITUTION_DOWN",
    )
    assert api.ok("/item/get", access_token=access)


def test_fault_for_ever_and_taken_back(api, sandbox):
    """Without a count a fault strikes until it is taken back."""
    sandbox.fail(error_code="RATE_LIMIT", times=None, headers={"Retry-After": "7"})
    for _ in range(3):
        reply = api.post("/item/get")
        assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    (fault,) = control(api, "GET", "/faults").json["faults"]
    assert fault["error_code"] == "RATE_LIMIT"
    control(api, "DELETE", "/faults")
    assert api.access_token()


def test_fault_with_an_unknown_error(api, sandbox):
    """An error that Plaid does not have yet needs its type said."""
    sandbox.fail(error_code="NEW_CODE", error_type="NEW_TYPE", error_message="hm", status=418)
    reply = api.post("/item/get")
    assert (reply.status, *reply.error) == (418, "NEW_TYPE", "NEW_CODE", "hm")


@pytest.mark.parametrize("drop", ["unread", "before", "after"])
def test_dropped_connection(api, sandbox, drop):
    """The connection is reset before the body is read, before the work, or after it."""
    access = api.access_token()
    sandbox.fail("/item/remove", drop=drop)
    assert raw_error(api, "/item/remove", access_token=access) == "ProtocolError"
    assert sandbox.items[0].removed is (drop == "after")
    assert sandbox.requests[-1].status is None


def test_a_gateway_in_html(api, sandbox):
    """A gateway's page instead of JSON."""
    sandbox.fail("/item/get", status=502)
    reply = api.post("/item/get")
    assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html")
    assert reply.data.startswith(b"<html>")


def test_other_bodies(api, sandbox):
    """Nothing, no JSON, or JSON of another kind, with the work done or not."""
    for body in ("", "not json"):
        sandbox.fail("/item/get", body=body)
        assert api.post("/item/get").data == body.encode()
    for value in ([], None, {"request_id": 1}):
        sandbox.fail("/item/get", json=value)
        assert api.post("/item/get").json == value
    public = api.public_token()
    sandbox.fail("/item/public_token/exchange", json={}, work=True)
    assert api.post("/item/public_token/exchange", public_token=public).json == {}
    assert sandbox.items[0].exchanged


@rows("status", [200, 204, 304, 404, 500, 503, 599])
def test_any_status(api, sandbox, status):
    """Any final status can be answered, with a header of one's own."""
    control(api, "POST", "/faults", status=status, headers={"Retry-After": 1})
    reply = api.post("/item/get")
    assert (reply.status, reply.headers["Retry-After"]) == (status, "1")


def test_changed_answers(api, sandbox):
    """Keys of the true answer changed or taken out."""
    sandbox.fail("/item/public_token/exchange", change={"item_id": None}, remove=["request_id"])
    answer = api.ok("/item/public_token/exchange", public_token=api.public_token())
    assert set(answer) == {"access_token", "item_id"}
    assert answer["item_id"] is None


def test_cut_body(api, sandbox):
    """Less is sent than was promised; the work is done."""
    public = api.public_token()
    sandbox.fail("/item/public_token/exchange", cut=10)
    assert raw_error(api, "/item/public_token/exchange", public_token=public) in (
        "IncompleteRead",
        "ProtocolError",
    )
    assert sandbox.items[0].exchanged


def test_delay(api, sandbox):
    """The answer comes late, and holds nobody else up."""
    access = api.access_token()
    sandbox.fail("/item/get", delay=0.4)
    took: list[float] = []

    def late() -> None:
        started = time.perf_counter()
        api.ok("/item/get", access_token=access)
        took.append(time.perf_counter() - started)

    waiting = threading.Thread(target=late)
    waiting.start()
    started = time.perf_counter()
    api.ok("/accounts/get", access_token=access)
    assert time.perf_counter() - started < 0.3
    waiting.join()
    assert took[0] >= 0.4


def test_trickle(api, sandbox):
    """The body comes byte by byte, and whole in the end."""
    sandbox.fail("/item/get", trickle=0.001)
    reply = api.post("/item/get", access_token="x")
    assert reply.error[1] == "INVALID_ACCESS_TOKEN"


def test_close_during_a_delay():
    """A sandbox with an answer still held back closes at once."""
    with LocalSandbox() as sandbox, urllib3.PoolManager(retries=False) as pool:
        sandbox.fail(delay=60)

        def wait() -> None:
            with pytest.raises(urllib3.exceptions.HTTPError):
                pool.request("POST", f"{sandbox.url}/item/get", body=b"{}")

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not sandbox.requests:
            time.sleep(0.005)
        started = time.perf_counter()
        sandbox.close()
        waiting.join(5)
        assert time.perf_counter() - started < 2
        sandbox.close()


def test_a_signed_webhook_over_http(api, sandbox):
    """Headers and body, to send as they are, and the Item's own address."""
    item = api.item(options={"webhook": "http://localhost:1/own"})
    asked = {"webhook_type": "ITEM", "webhook_code": "ERROR", "item_id": item["item_id"]}
    signed = control(api, "POST", "/webhook", **asked, age=10, fields={"age": 3, "né": "<é>"}).json
    assert signed["url"] == "http://localhost:1/own"
    body = json.loads(signed["body"])
    assert (body["item_id"], body["age"], body["né"]) == (item["item_id"], 3, "<é>")
    with sandbox.client() as client, ProcessorLinker(client) as linker:
        event = linker.verify_webhook(signed["body"].encode(), signed["headers"])
        assert event.error.error_code == "ITEM_LOGIN_REQUIRED"
    bare = control(api, "POST", "/webhook", webhook_type="A", webhook_code="B").json
    assert bare["url"] is None
    for wrong in ({"item_id": "none"}, {"fields": [1]}, {"age": "1"}, {"webhook_code": None}):
        reply = control(api, "POST", "/webhook", **{**asked, **wrong})
        assert (reply.status, list(reply.json)) == (400, ["error"])
    for odd in ({"age": 1e308}, {"age": -1e308}, {"fields": {"": {"a": [[[]]]}}}):
        assert control(api, "POST", "/webhook", **asked, **odd).status == 200
