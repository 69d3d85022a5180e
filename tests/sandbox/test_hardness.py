"""No input breaks the local Plaid: no 5xx, a log that can be read, and bounded memory."""

from __future__ import annotations

import base64
import gc
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from benchmarks import sandbox_fuzz, sandbox_memory

from plaid_processors.sandbox import (
    Delivery,
    LocalFinix,
    LocalLayer,
    LocalSandbox,
    LoggedRequest,
    journal,
    world,
)
from plaid_processors.sandbox.model import Account, Item, LinkSession, LinkToken, ProcessorToken
from plaid_processors.sandbox.wire import from_json

from ..support.rows import rows
from .conftest import LINK, Api, Reply

KEY = "PLAID_KEY"


def deep(depth: int, way: str = "[]") -> str:
    before, after = ("[", "]") if way == "[]" else ('{"a":', "}")
    return before * depth + "1" + after * depth


ODD_VALUES = [
    *(deep(depth, way) for depth in (99, 101, 450, 900, 5000, 100_000) for way in ("[]", "{}")),
    *("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000, "1e308", "-0"),
    *(r'"\ud800"', r'"\udfff\ud800"', r'{"\ud800": "\udc00"}', r'"\u0000"', r'"\ud83d\ude00"'),
    *("null", "true", "5", "[]", "{}", '""', '"' + "x" * 200_000 + '"', "[" * 200_000),
]


def check_healthy(api: Api) -> None:
    """It links as always, and its log can be read."""
    access = api.access_token()
    assert api.ok("/processor/account/get", processor_token=api.processor_token(access))
    assert api.send("/_sandbox/requests", b"", "GET").json["requests"]
    assert api.sandbox.requests


@pytest.mark.slow
@rows("odd", ODD_VALUES)
def test_an_odd_value_anywhere(api: Api, odd: str) -> None:
    """As the whole body, and in each kind of field: of Plaid, control and the pane."""
    token = api.link_token()
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/link/token/create", {**LINK, "client_name": KEY}),
        ("/link/token/create", {**LINK, "user": KEY}),
        ("/link/token/create", {**LINK, "identity": KEY}),
        ("/link/token/create", {**LINK, "hosted_link": {"completion_redirect_uri": KEY}}),
        ("/item/get", {"access_token": KEY}),
        ("/accounts/get", {"access_token": KEY, "options": {"account_ids": [KEY]}}),
        ("/sandbox/public_token/create", {"institution_id": KEY, "initial_products": KEY}),
        ("/_sandbox/reset", {"seed": KEY}),
        ("/_sandbox/clock", {"seconds": KEY}),
        ("/_sandbox/partners", {"processor": KEY, "enabled": KEY}),
        ("/_sandbox/rate_limits", {"enabled": KEY, "per_client": {"/item/get": KEY}}),
        ("/_sandbox/complete_link", {"link_token": token, "username": KEY}),
        ("/_sandbox/complete_link", {"link_token": token, "password": KEY, "username": "user_x"}),
        ("/_sandbox/exit_link", {"link_token": token, "error_code": KEY, "status": KEY}),
        ("/_sandbox/account_select", {"select": KEY, "customization": KEY}),
        ("/_sandbox/link/open", {"token": KEY}),
        ("/_sandbox/link/leave", {"session": KEY, "error_message": KEY}),
        ("/_sandbox/link/event", {"session": KEY, "metadata": {"timestamp": KEY}}),
    ]
    for path, body in bodies:
        for text in (odd, json.dumps({**api.keys, **body}).replace(f'"{KEY}"', odd)):
            reply = api.send(path, text.encode())
            assert reply.status < 500, (path, text[:100])
    api.sandbox.limit_rates(False)
    check_healthy(api)


@rows(
    "field",
    ["starting_balance", "force_available_balance", "meta", "numbers", "identity", "transactions"],
)
def test_an_odd_custom_user(api: Api, field: str) -> None:
    """The JSON inside a password is read as strictly as a body."""
    for odd in ODD_VALUES:
        account = {"type": "depository", "subtype": "checking", field: KEY}
        password = json.dumps({"override_accounts": [account]}).replace(f'"{KEY}"', odd)
        if len(password) > 500_000:
            continue  # with its escapes, larger than a body may be
        options = {"override_username": "user_custom", "override_password": password}
        body = {"institution_id": "ins_56", "initial_products": ["auth"], "options": options}
        reply = api.post("/sandbox/public_token/create", **body)
        assert reply.status in (200, 400)
        if reply.status == 200:
            spent = api.ok("/item/public_token/exchange", public_token=reply.json["public_token"])
            assert api.post("/auth/get", access_token=spent["access_token"]).status in (200, 400)
    check_healthy(api)


@pytest.mark.slow
@rows("letters", ["." * 100_000, "a." * 50_000, "-a" * 50_000, "0" * 100_000])
def test_a_long_text_is_read_in_linear_time(api: Api, letters: str) -> None:
    """No pattern goes over it again and again: with one that did, this would take hours."""
    for text in (f"a@{letters}@", f"access-sandbox{letters}", f"+1{letters}", f"https://{letters}"):
        user = {"client_user_id": text, "email_address": text}
        for body in (
            {**LINK, "user": user},
            {**LINK, "webhook": text},
            {**LINK, "redirect_uri": text},
        ):
            assert api.post("/link/token/create", **body).status < 500
        assert api.post("/item/get", access_token=text).status == 400


def test_half_a_surrogate_pair_is_replaced(api: Api) -> None:
    """As Go reads it, which Plaid appears to be written in."""
    text = json.dumps({**api.keys, **LINK, "client_name": "A \ud800 B"})
    token = api.send("/link/token/create", text.encode()).json["link_token"]
    assert api.ok("/link/token/get", link_token=token)["metadata"]["client_name"] == "A \ufffd B"
    assert api.sandbox.requests[-2].body["client_name"] == "A \ufffd B"
    assert from_json(rb'["\ud83d\ude00", "\\ud800"]') == ["\N{GRINNING FACE}", r"\ud800"]


@rows(
    ("known", "target", "offset"),
    [
        ("", "9999-12-31", 0),
        ("9999-12-31", "", 0),
        ("0001-01-01", "", 0),
        ("2026-01-01", "0001-01-01", 0),
        ("", "", -5),
        ("", "", 10**30),
    ],
)
def test_a_cursor_of_ones_own(api: Api, known: str, target: str, offset: int) -> None:
    """Days that Plaid cannot have written end in Plaid's error, and at once."""
    item = api.item()
    text = f"{item['item_id']}|{known}|{target}|{offset}"
    cursor = base64.b64encode(text.encode()).decode()
    reply = api.post("/transactions/sync", access_token=item["access_token"], cursor=cursor)
    assert reply.status in (200, 400)


@rows(
    "odd",
    [
        {"skip": None},
        {"skip": 1.5},
        {"times": "2"},
        {"times": True},
        {"change": 5},
        {"change": ["a"]},
        {"change": None},
        {"remove": "request_id"},
        {"remove": [5]},
        {"remove": None},
        {"headers": {"X": None}},
        {"headers": {"X": {}}},
        {"headers": {"X\n": "a"}},
        {"headers": {"X": "a\r\nb"}},
        {"headers": {"X": "\u20ac"}},
        {"headers": {"content-length": "5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": 5},
        {"body": 5},
        {"body": ["x"]},
        {"status": 200.5},
        {"status": "503"},
        {"work": "yes"},
        {"work": None},
        {"delay": None},
        {"delay": 10**400},
        {"delay": 1e300},
        {"trickle": -1},
        {"cut": 1.5},
        {"drop": []},
        {"drop": True},
        {"error_code": 5},
        {"error_code": ["ITEM_LOCKED"]},
        {"error_code": "ITEM_LOCKED", "error_message": {}},
        {"error_code": "X", "error_type": 5},
        {"path": None},
        {"path": ["/item/get"]},
    ],
    ids=str,
)
def test_a_fault_that_cannot_strike_is_refused(api: Api, odd: dict[str, Any]) -> None:
    """When it is laid, over HTTP and in Python; not by a 500 when it strikes."""
    text = json.dumps(odd)
    assert api.send("/_sandbox/faults", text.encode()).status == 400
    with pytest.raises((TypeError, ValueError)):
        api.sandbox.fail(**odd)
    assert api.sandbox.faults == ()


@rows("value", [float("inf"), float("nan"), "\ud800", {1: 2, "a": 3}, {"a": {1, 2}}, object()])
def test_a_fault_in_python_with_what_is_no_json(api: Api, value: object) -> None:
    """What cannot be sent cannot be laid."""
    for field in ("json", "change"):
        given = value if field == "json" else {"a": value}
        if isinstance(value, str):
            continue  # written with a replacement, as in any answer
        with pytest.raises(ValueError, match=f"{field} is"):
            api.sandbox.fail(**{field: given})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="body is"):
        api.sandbox.fail(body="\ud800")
    with pytest.raises(ValueError, match="delay is"):
        api.sandbox.fail(delay=float("nan"))


def test_a_fault_of_any_value_that_is_taken_strikes(api: Api) -> None:
    """The extremes that are allowed."""
    odd = json.loads(deep(90, "{}"))
    for what in (
        {"json": odd},
        {"json": "\ud800"},
        {"change": {"a": odd, "": None}},
        {"headers": {"X-A": "", "X-B": 5, "X-C": "\xe9", "Retry-After": 1.5}},
        {"error_code": "É", "error_type": "È", "error_message": "", "status": 599},
        {"status": 204, "body": "x", "cut": 10**30},
        {"remove": ["nothing", ""], "cut": 0},
        {"body": "", "trickle": 0},
    ):
        api.sandbox.fail("/item/get", **what)
        try:
            status = api.post("/item/get").status
        except urllib3.exceptions.HTTPError:
            status = 0  # cut
        assert status != 500
    assert api.sandbox.faults == ()
    check_healthy(api)


def raw(base: str, pool: urllib3.PoolManager, method: str, path: str, body: object, auth: str):
    headers = {"Content-Type": "application/json", "Authorization": auth}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = pool.request(method, base + path, body=text, headers=headers)
    return Reply(reply.status, reply.headers, reply.data)


@pytest.fixture
def partners(api: Api) -> Any:
    with LocalFinix(api.sandbox) as finix, LocalLayer(api.sandbox) as layer:
        keys = f"{finix.username}:{finix.password}".encode()
        yield finix, layer, "Basic " + base64.b64encode(keys).decode()


def test_odd_requests_to_finix(api: Api, partners: Any) -> None:
    """Wrong types, numbers, paths and headers end in Finix's own refusals."""
    finix, _, good = partners
    token = api.processor_token(api.access_token(initial_products=["auth", "identity"]))
    made = {"type": "BANK_ACCOUNT", "third_party": "PLAID", "identity": finix.new_identity(),
            "third_party_token": token}  # fmt: skip
    asked: list[tuple[str, str, object, str]] = [
        *[("POST", "/identities", odd.encode(), good) for odd in ODD_VALUES],
        *[("POST", "/payment_instruments", {**made, "identity": odd}, good)
          for odd in ([], {}, None, 5, "x")],
        *[("POST", "/payment_instruments", {**made, "third_party_token": odd}, good)
          for odd in ([], 5, "x", "é" * 170_000)],
        *[("GET", f"/payment_instruments?limit={odd}", b"", good)
          for odd in ("x", "-5", "0", "9" * 5000, "", "%C2%B2", "1.5")],
        *[("GET", path, b"", good) for path in ("//[x", "/%ff", "//", "/payment_instruments/%00")],
        *[("GET", "/payment_instruments", b"", auth)
          for auth in ("Basic \xe9", "Basic", "Basic eA", "Basic =", "Bearer x", "")],
    ]  # fmt: skip
    for method, path, body, auth in asked:
        assert raw(finix.url, api.pool, method, path, body, auth).status < 500, (path, auth)
    assert raw(finix.url, api.pool, "POST", "/payment_instruments", made, good).status == 201
    assert finix.requests


def test_odd_requests_to_layer(api: Api, partners: Any) -> None:
    """Those end in Layer's own refusals."""
    _, layer, _ = partners
    keys = base64.b64encode(f"{layer.client_id}:{layer.client_secret}".encode()).decode()
    form = {"Authorization": f"Basic {keys}"}
    bearer = api.pool.request(
        "POST", f"{layer.url}/oauth2/token", body=b"grant_type=client_credentials", headers=form
    ).json()["access_token"]
    good, business = f"Bearer {bearer}", layer.new_business()
    tokens = [
        None,
        5,
        "x",
        {},
        [5],
        ["x"],
        [{}],
        [{"processor_token": []}],
        [{"processor_token": 5}],
    ]
    asked: list[tuple[str, str, object, str]] = [
        *[("PUT", f"/v1/businesses/{business}", odd.encode(), good) for odd in ODD_VALUES],
        *[("PUT", f"/v1/businesses/{business}", {"plaid_processor_tokens": odd}, good)
          for odd in tokens],
        ("GET", "//[", b"", good),
        ("POST", "/oauth2/token", b"\xff=\xfe&&=", "Basic \xe9"),
        ("GET", "/whoami", b"", "Bearer \xe9"),
    ]  # fmt: skip
    for method, path, body, auth in asked:
        assert raw(layer.url, api.pool, method, path, body, auth).status < 500, (path, body)
    assert layer.requests


@pytest.mark.slow
@rows(
    "what",
    [
        {"status": 502},
        {"drop": "before"},
        {"body": "not json"},
        {"json": []},
        {"json": {}, "status": 400},
        {"remove": ["account"]},
        {"change": {"account": None}},
        {"change": {"account": {}, "numbers": []}},
    ],
)
def test_a_broken_plaid_behind_a_partner(api: Api, what: dict[str, Any]) -> None:
    """The stand-in refuses the token, and lives."""
    token = api.processor_token(api.access_token(initial_products=["auth", "transactions"]))
    with LocalFinix(api.sandbox) as finix, LocalLayer(api.sandbox) as layer:
        auth = base64.b64encode(f"{finix.username}:{finix.password}".encode()).decode()
        made = {"type": "BANK_ACCOUNT", "third_party": "PLAID", "identity": finix.new_identity(),
                "third_party_token": token}  # fmt: skip
        api.sandbox.fail("/processor/auth/get", **what)
        reply = raw(finix.url, api.pool, "POST", "/payment_instruments", made, f"Basic {auth}")
        assert reply.status == 422
        business = layer.new_business()
        api.sandbox.fail("/processor/balance/get", **what)
        keys = base64.b64encode(f"{layer.client_id}:{layer.client_secret}".encode()).decode()
        bearer = api.pool.request(
            "POST", f"{layer.url}/oauth2/token", body=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {keys}"},
        ).json()["access_token"]  # fmt: skip
        sent = {"plaid_processor_tokens": [{"processor_token": token}]}
        path = f"/v1/businesses/{business}"
        assert raw(layer.url, api.pool, "PUT", path, sent, f"Bearer {bearer}").status == 400
    api.sandbox.clear_faults()


@rows(
    ("uri", "taken"),
    [
        ("https://shop.example/done", True),
        ("http://localhost:3000/done?x=1#y", True),
        ("myapp://done", True),
        ("com.example.app:/done", True),
        ("exp://192.0.2.1:19000/--/done", True),
        ("javascript:alert(1)", False),
        ("JavaScript://%0aalert(1)", False),
        (" javascript:alert(1)", False),
        ("java\tscript:alert(1)", False),
        ("\x01javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("vbscript:x", False),
        ("file:///etc/passwd", False),
        ("blob:https://shop.example/x", False),
        ("view-source:https://shop.example", False),
        ("filesystem:https://shop.example/x", False),
        ("about:blank", False),
        ("//evil.example", False),
        ("/done", False),
        ("https:/done", False),
        ("", False),
    ],
)
def test_where_hosted_link_sends_the_user(api: Api, uri: str, taken: bool) -> None:
    """To a page or an app; not to a script or a file."""
    reply = api.post("/link/token/create", **LINK, hosted_link={"completion_redirect_uri": uri})
    assert (reply.status == 200) is taken
    if not taken:
        assert "completion_redirect_uri" in reply.error[2]


@rows("url", ["http://192.0.2.1/hook", "https://hooks.example/x", "http://10.0.0.1:1/",
              "http://127.0.0.1@hooks.example/", "http://hooks.example#@127.0.0.1/",
              "http://[2001:db8::1]/", "http://localhost.hooks.example/"])  # fmt: skip
def test_a_webhook_for_another_machine_is_not_sent(api: Api, url: str) -> None:
    """The address is taken as ever; the list of webhooks says why nothing was sent."""
    access = api.access_token(options={"webhook": url})
    api.ok("/sandbox/item/reset_login", access_token=access)
    told = api.send("/_sandbox/webhooks", b"", "GET").json["webhooks"]
    sent = told[-1]
    assert (sent["url"], sent["status"]) == (url, None)
    assert sent["error"].startswith("not sent: ")
    assert sent["body"]["webhook_code"] == "ERROR"
    assert api.ok("/item/get", access_token=access)["item"]["webhook"] == url


def test_a_webhook_for_another_machine_if_told_so(pool: urllib3.PoolManager) -> None:
    """With the option, the connection is tried."""
    with LocalSandbox(remote_webhooks=True) as sandbox:
        api = Api(sandbox, pool)
        access = api.access_token(options={"webhook": "http://nowhere.invalid/hook"})
        api.ok("/sandbox/item/reset_login", access_token=access)
        assert sandbox.wait_for_webhooks()
        error = sandbox.webhooks[-1].error
        assert error is not None
        assert not error.startswith("not sent")


def test_few_threads_send_many_webhooks(api: Api, sandbox: LocalSandbox) -> None:
    """Receivers that do not answer hold no thread each."""
    with urllib3.PoolManager() as pool:  # a server that accepts and stays silent
        import socket

        with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            before = threading.active_count()
            for _ in range(40):
                access = api.access_token(options={"webhook": url})
                api.ok("/sandbox/item/reset_login", access_token=access)
            assert threading.active_count() - before <= 16
        pool.clear()
    sandbox.reset()
    assert sandbox.wait_for_webhooks(timeout=20)


def count(kinds: tuple[type, ...]) -> int:
    gc.collect()
    # By `type`, since isinstance asks objects that stand for others, such as Django's settings.
    return sum(type(each) in kinds for each in gc.get_objects())


KEPT = (Account, Item, LinkSession, LinkToken, ProcessorToken, LoggedRequest, Delivery)


@pytest.mark.slow
def test_what_is_kept_is_bounded(
    monkeypatch: pytest.MonkeyPatch, pool: urllib3.PoolManager
) -> None:
    """Where Items are removed, three times as many links leave no more behind."""
    monkeypatch.setattr(journal, "KEPT", 20)
    monkeypatch.setattr(world, "KEPT_LINK_TOKENS", 5)
    monkeypatch.setattr(world, "KEPT_REMOVED", 3)
    with LocalSandbox() as sandbox:
        api = Api(sandbox, pool)

        def link(number: int) -> None:
            token = api.link_token(webhook="http://127.0.0.1:1/", hosted_link={})
            if number % 2:
                session = api.post("/_sandbox/link/open", token=token).json["session"]
                for action, more in (
                    ("choose_bank", {"institution_id": "ins_109508"}),
                    ("log_in", {"username": "user_good", "password": "pass_good"}),
                    ("finish", {"accounts": [0]}),
                ):
                    done = api.post(f"/_sandbox/link/{action}", session=session, **more).json
                public = done["public_token"]
            else:
                public = sandbox.complete_link(token).public_token
            access = api.ok("/item/public_token/exchange", public_token=public)["access_token"]
            api.processor_token(access)
            api.ok("/item/remove", access_token=access)
            assert api.error("/item/get", access_token=access)[1] == "ITEM_NOT_FOUND"

        seen: list[int] = []
        for number in range(1, 61):
            link(number)
            if number % 20 == 0:
                sandbox.clear_requests()
                assert sandbox.wait_for_webhooks()
                seen.append(count(KEPT) - len(sandbox.webhooks))
        assert len(sandbox.items) <= 2 * 3
        assert max(seen[1:]) <= seen[0] * 1.3, seen


def test_a_session_that_is_over_keeps_no_accounts(api: Api) -> None:
    """Link tokens are kept for long, and many users leave."""
    before = count((Account,))
    for _ in range(5):
        session = api.post("/_sandbox/link/open", token=api.link_token()).json["session"]
        chosen = {"session": session, "institution_id": "ins_109508"}
        api.post("/_sandbox/link/choose_bank", **chosen)
        api.post(
            "/_sandbox/link/log_in", session=session, username="user_good", password="pass_good"
        )
        assert api.post("/_sandbox/link/leave", session=session).status == 200
    assert count((Account,)) <= before


def test_the_log_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    """Large requests take the places of many small ones; the latest is there."""
    monkeypatch.setattr(journal, "KEPT_BYTES", 100_000)
    for _ in range(30):
        api.post("/item/get", access_token="x" * 10_000)
    kept: Callable[[], int] = lambda: len(api.sandbox.requests)  # noqa: E731 - read twice
    assert 5 <= kept() <= 10
    assert api.sandbox.requests[-1].number > 20
    api.post("/item/get", access_token="x" * 200_000)
    api.post("/item/get", access_token="x")
    assert kept() == 1


def test_a_short_fuzz() -> None:
    """Odd requests everywhere, as many as a quick run allows."""
    assert sandbox_fuzz.run(300, "quick") == []


@pytest.mark.slow
def test_a_longer_fuzz() -> None:
    """A twentieth of what .ci/full sends."""
    assert sandbox_fuzz.run(5_000, "run") == []


@pytest.mark.slow
def test_memory_over_a_thousand_links() -> None:
    """A tenth of what .ci/full links, of a server that keeps a tenth."""
    seen = sandbox_memory.run(1000)
    assert seen[-1] - max(seen[: int(len(seen) * sandbox_memory.WARM)]) < sandbox_memory.SLACK_MB
