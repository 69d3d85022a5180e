"""Tests of the application, against the local Plaid and its partners: `python -m pytest` here."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from app import make_app
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient

from plaid_processors.sandbox import LocalFinix, LocalLayer, PlaidSandbox
from plaid_processors.store import SqlStore

JSON = {"Content-Type": "application/json"}
Sign = Callable[[str], TestClient]


@pytest.fixture
def environ(
    plaid_sandbox: PlaidSandbox, local_layer: LocalLayer, local_finix: LocalFinix, tmp_path: Path
) -> dict[str, str]:
    """The settings of an application at the local Plaid, with an empty database."""
    return {
        **plaid_sandbox.environ,
        "LAYER_CLIENT_ID": local_layer.client_id,
        "LAYER_CLIENT_SECRET": local_layer.client_secret,
        "LAYER_BASE_URL": local_layer.url,
        "LAYER_AUTH_URL": local_layer.url,
        "FINIX_USERNAME": local_finix.username,
        "FINIX_PASSWORD": local_finix.password,
        "FINIX_BASE_URL": local_finix.url,
        "DEMO_LAYER_BUSINESSES": f"{local_layer.new_business()},{local_layer.new_business()}",
        "DEMO_FINIX_IDENTITIES": f"{local_finix.new_identity()},{local_finix.new_identity()}",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'links.db'}",
        "LINK_KEYS": Fernet.generate_key().decode(),
        "SESSION_SECRET": "of no use",
        "APP_URL": "http://127.0.0.1:1",  # the local Plaid's own webhooks get no answer
    }


@pytest.fixture
def sign_in(environ: dict[str, str]) -> Iterator[Sign]:
    """Signs a user in, with a browser of the user's own, at one running application."""
    app = make_app(environ)
    with TestClient(app):  # starts it, and stops it at the end

        def browser(user: str) -> TestClient:
            client = TestClient(app, headers=JSON)
            answer = client.post("/api/login", json={"user": user, "password": user})
            assert answer.status_code == 204
            return client

        yield browser


@pytest.fixture
def ada(sign_in: Sign) -> TestClient:
    """The browser of the user Ada."""
    return sign_in("ada")


def in_link(ada: TestClient, plaid_sandbox: PlaidSandbox, **chosen: Any) -> dict[str, Any]:
    """Click on the button, go through Link, and return what the page posts then."""
    link_token = ada.post("/api/link-token", json={}).json()["link_token"]
    done = plaid_sandbox.complete_link(link_token, **chosen)
    return {"public_token": done.public_token, "metadata": done.metadata}


def connect(
    ada: TestClient, plaid_sandbox: PlaidSandbox, masks: tuple[str, ...] = ("0000", "3333")
) -> str:
    """Connect a bank; its Item's id."""
    answer = ada.post("/api/links", json=in_link(ada, plaid_sandbox, masks=[*masks]))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["item_id"])


def shown(ada: TestClient) -> dict[str, Any]:
    """The only bank on the page."""
    (link,) = ada.get("/api/state").json()["links"]
    return dict(link)


def told(ada: TestClient) -> str:
    """What the page says happened."""
    return "\n".join(each["text"] for each in ada.get("/api/state").json()["steps"])


def until(true: Callable[[], object]) -> None:
    """Wait until something is true, which is done in the background."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it did not come true")


def send(ada: TestClient, plaid_sandbox: PlaidSandbox, code: str, item_id: str) -> None:
    """Send a webhook as Plaid does: without a session."""
    hook = plaid_sandbox.webhook("ITEM", code, item_id=item_id)
    answer = TestClient(ada.app).post("/webhooks/plaid", content=hook.body, headers=hook.headers)
    assert answer.status_code == 200


def test_a_bank_is_linked_and_handed_over(
    ada: TestClient,
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    environ: dict[str, str],
) -> None:
    item_id = connect(ada, plaid_sandbox)

    link = shown(ada)
    assert (link["item_id"], link["state"], link["health"]) == (item_id, "complete", "healthy")
    assert link["institution_name"] == "First Platypus Bank"
    partners = [(each["processor"], each["handoff"]) for each in link["accounts"]]
    assert partners == [("layer", "done"), ("layer", "done")]
    business, _ = environ["DEMO_LAYER_BUSINESSES"].split(",")
    assert [each.mask for each in local_layer.books(business)] == ["0000", "3333"]
    assert "Layer has 2 accounts" in told(ada)
    assert "processor-sandbox" not in ada.get("/api/state").text


def test_a_double_click_makes_one_item(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    body = in_link(ada, plaid_sandbox, masks=["0000"])

    first, second = (ada.post("/api/links", json=body) for _ in range(2))

    assert first.json() == second.json()
    assert len(plaid_sandbox.items) == 1


def test_the_same_bank_twice_is_refused(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    connect(ada, plaid_sandbox)

    again = ada.post("/api/links", json=in_link(ada, plaid_sandbox, masks=["0000"]))

    assert again.status_code == 409
    assert again.json()["error"].endswith("Use Add accounts at that bank.")
    assert [each.exchanged for each in plaid_sandbox.items] == [True, False]


def test_another_users_bank_is_not_there(
    sign_in: Sign, ada: TestClient, plaid_sandbox: PlaidSandbox
) -> None:
    item_id = connect(ada, plaid_sandbox)
    grace = sign_in("grace")

    answers = [
        grace.post("/api/link-token", json={"item_id": item_id}),
        grace.post(f"/api/links/{item_id}/refresh"),
        grace.post(f"/api/links/{item_id}/finix", json={}),
        grace.delete(f"/api/links/{item_id}"),
    ]

    assert [each.status_code for each in answers] == [404] * 4
    assert grace.get("/api/state").json()["links"] == []
    assert shown(ada)["health"] == "healthy"


def test_without_a_session_nothing_is_answered(ada: TestClient) -> None:
    stranger = TestClient(ada.app, headers=JSON)

    assert stranger.get("/api/state").status_code == 401
    assert stranger.post("/api/link-token", json={}).status_code == 401
    assert stranger.get("/", follow_redirects=False).headers["Location"] == "/login"
    wrong = stranger.post("/api/login", json={"user": "ada", "password": "grace"})
    assert wrong.status_code == 401
    ada.post("/api/logout")
    assert ada.get("/api/state").status_code == 401


def test_a_form_of_another_site_is_refused(ada: TestClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert ada.post("/api/logout", headers=form).status_code == 415
    assert ada.get("/api/state").status_code == 200


def test_a_webhook_asks_for_a_repair(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    item_id = connect(ada, plaid_sandbox)
    plaid_sandbox.reset_login(item_id)
    send(ada, plaid_sandbox, "ERROR", item_id)
    assert shown(ada)["health"] == "repair"

    update = ada.post("/api/link-token", json={"item_id": item_id}).json()["link_token"]
    plaid_sandbox.complete_link(update)

    assert ada.post(f"/api/links/{item_id}/refresh").json() == {"health": "healthy"}
    assert shown(ada)["health"] == "healthy"


def test_new_accounts_are_added(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    item_id = connect(ada, plaid_sandbox)
    new = plaid_sandbox.new_account(item_id)
    send(ada, plaid_sandbox, "NEW_ACCOUNTS_AVAILABLE", item_id)
    assert shown(ada)["health"] == "add_accounts"

    wanted = {"item_id": item_id, "add_accounts": True}
    update = ada.post("/api/link-token", json=wanted).json()["link_token"]
    plaid_sandbox.complete_link(update, masks=["0000", new.mask])  # and no longer 3333

    assert ada.post(f"/api/links/{item_id}/refresh").json() == {"health": "healthy"}
    accounts = [(each["label"][-4:], each["handoff"]) for each in shown(ada)["accounts"]]
    assert accounts == [("0000", "done"), (new.mask, "done")]


def test_a_changed_webhook_is_refused(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    hook = plaid_sandbox.webhook("ITEM", "ERROR", item_id=connect(ada, plaid_sandbox))

    changed = ada.post("/webhooks/plaid", content=hook.body + b" ", headers=hook.headers)

    assert changed.status_code == 400
    assert shown(ada)["health"] == "healthy"


def test_finix_is_added_with_consent_and_a_choice(
    ada: TestClient, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    item_id = connect(ada, plaid_sandbox, masks=("0000", "1111", "3333"))
    path = f"/api/links/{item_id}/finix"

    refused = ada.post(path, json={})
    assert (refused.status_code, refused.json()["consent"]) == (409, True)
    update = {"item_id": item_id, "partner": "finix"}
    plaid_sandbox.complete_link(ada.post("/api/link-token", json=update).json()["link_token"])
    ada.post(f"/api/links/{item_id}/refresh")
    several = ada.post(path, json={})
    assert several.status_code == 409
    labels = {each["label"][-4:]: each["account_id"] for each in several.json()["choose"]}
    assert set(labels) == {"0000", "1111"}
    done = ada.post(path, json={"account_id": labels["1111"]})

    assert (done.status_code, done.json()) == (200, {"handoff": "done"})
    assert [each.account_number[-4:] for each in local_finix.instruments] == ["1111"]
    assert ada.post(path, json={}).json() == {"handoff": "done"}  # a second click makes no second
    assert len(local_finix.instruments) == 1


def test_off_boarding_tells_finix_first(
    ada: TestClient, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    item_id = connect(ada, plaid_sandbox, masks=("0000",))
    update = {"item_id": item_id, "partner": "finix"}
    plaid_sandbox.complete_link(ada.post("/api/link-token", json=update).json()["link_token"])
    assert ada.post(f"/api/links/{item_id}/finix", json={}).json() == {"handoff": "done"}

    assert ada.delete(f"/api/links/{item_id}").status_code == 204

    assert [each.enabled for each in local_finix.instruments] == [False]
    assert [each.removed for each in plaid_sandbox.items] == [True]
    assert ada.get("/api/state").json()["links"] == []
    assert ada.post(f"/api/links/{item_id}/refresh").status_code == 404


def test_another_bank_of_the_business_after_off_boarding(
    ada: TestClient, plaid_sandbox: PlaidSandbox
) -> None:
    ada.delete(f"/api/links/{connect(ada, plaid_sandbox)}")

    connect(ada, plaid_sandbox)  # Layer refuses dead tokens, so none of the first is sent

    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["done", "done"]


@pytest.mark.plaid_fault("/processor/token/create", error_code="INTERNAL_SERVER_ERROR", times=9)
def test_what_failed_after_the_exchange_is_finished_by_a_second_try(
    ada: TestClient, plaid_sandbox: PlaidSandbox
) -> None:
    plaid_sandbox.strict = False
    body = in_link(ada, plaid_sandbox, masks=["0000"])
    failed = ada.post("/api/links", json=body)
    assert failed.status_code == 502
    assert failed.json() == {"error": "The bank is connected, but not all is done yet."}
    plaid_sandbox.clear_faults()

    assert ada.post("/api/links", json=body).status_code == 201

    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["done"]
    assert len(plaid_sandbox.items) == 1


def test_what_was_due_is_handed_over_at_the_next_start(
    environ: dict[str, str], sign_in: Sign, plaid_sandbox: PlaidSandbox, local_layer: LocalLayer
) -> None:
    ada = sign_in("ada")
    local_layer.fail("POST /oauth2/token", status=503, times=None)
    body = in_link(ada, plaid_sandbox, masks=["0000"])
    assert ada.post("/api/links", json=body).status_code == 201
    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["due"]
    local_layer.clear_faults()

    with TestClient(make_app(environ), headers=JSON) as ada:
        ada.post("/api/login", json={"user": "ada", "password": "ada"})
        until(lambda: [each["handoff"] for each in shown(ada)["accounts"]] == ["done"])


@pytest.mark.parametrize("name", ["LINK_KEYS", "SESSION_SECRET"])
def test_without_a_key_it_does_not_start(environ: dict[str, str], name: str) -> None:
    with pytest.raises(KeyError, match=name):
        make_app({**environ, name: ""})


def test_no_demo_users_in_production(environ: dict[str, str]) -> None:
    with TestClient(make_app({**environ, "PLAID_ENV": "production"}), headers=JSON) as stranger:
        for user in ("ada", "grace"):
            answer = stranger.post("/api/login", json={"user": user, "password": user})
            assert answer.status_code == 401


def test_the_policy_lets_in_link_and_what_has_the_pages_nonce(
    ada: TestClient, plaid_sandbox: PlaidSandbox
) -> None:
    nonces = set()
    for _ in range(2):
        page = ada.get("/")
        policy = page.headers["Content-Security-Policy"]
        rules = dict(each.strip().split(" ", 1) for each in policy.split(";"))
        (nonce,) = re.findall(r'data-nonce="([^"]+)"', page.text)
        nonces.add(nonce)
        script = f"{plaid_sandbox.url}/link/v2/stable/link-initialize.js"
        assert f'src="{script}"' in page.text
        assert rules["script-src"] == f"'self' 'nonce-{nonce}' {script}"
        assert rules["frame-src"] == plaid_sandbox.url
        plaids = {"https://sandbox.plaid.com", "https://production.plaid.com", plaid_sandbox.url}
        assert {*rules["connect-src"].split()} == {"'self'", *plaids}
        assert rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert len(nonces) == 2


def test_only_a_local_plaid_serves_links_script(environ: dict[str, str]) -> None:
    proxied = make_app({**environ, "PLAID_BASE_URL": "https://proxy.example.com"})
    with TestClient(proxied, headers=JSON) as ada:
        ada.post("/api/login", json={"user": "ada", "password": "ada"})
        page = ada.get("/")

    policy = page.headers["Content-Security-Policy"]
    assert 'src="https://cdn.plaid.com/link/v2/stable/link-initialize.js"' in page.text
    assert "frame-src https://cdn.plaid.com;" in policy
    assert "proxy.example.com" not in page.text + policy


def test_wrong_input_is_refused(ada: TestClient, plaid_sandbox: PlaidSandbox) -> None:
    item_id = connect(ada, plaid_sandbox)
    token = a_token("public")
    metadata: dict[str, Any] = {"accounts": [], "institution": None}
    for path, body in (
        ("/api/links", []),
        ("/api/links", "text"),
        ("/api/links", None),
        ("/api/links", {}),
        ("/api/links", {"public_token": 1, "metadata": metadata}),
        ("/api/links", {"public_token": token, "metadata": []}),
        ("/api/links", {"public_token": token, "metadata": "text"}),
        ("/api/links", {"public_token": "text", "metadata": metadata}),
        ("/api/links", {"public_token": token, "metadata": {"accounts": [{"id": "x"}]}}),
        ("/api/links", {"public_token": token, "metadata": {"accounts": 1}}),
        ("/api/links", {"public_token": token, "metadata": {"accounts": [1]}}),
        ("/api/links", {"public_token": token, "metadata": {"metadata": metadata}}),
        ("/api/link-token", {"item_id": []}),
        ("/api/link-token", {"item_id": "\ud800"}),
        ("/api/link-token", {"item_id": item_id, "add_accounts": "yes"}),
        ("/api/link-token", {"partner": ["finix"]}),
        (f"/api/links/{item_id}/finix", {"account_id": 1}),
        (f"/api/links/{item_id}/finix", {"again": "yes"}),
        ("/api/login", {"user": ["ada"], "password": "ada"}),
        ("/api/login", {"user": "ada", "password": "\ud800"}),
        ("/api/login", {"user": "ada"}),
    ):
        answer = ada.post(path, content=json.dumps(body))
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True), (path, body)
    for text in ("[" * 100_000 + "]" * 100_000, "{", b"\xff"):
        assert ada.post("/api/links", content=text).status_code == 400


def test_a_body_has_at_most_a_megabyte(ada: TestClient) -> None:
    long = b'{"item_id": "' + b"x" * 1_000_000 + b'"}'
    assert ada.post("/api/link-token", content=long).status_code == 413
    assert ada.post("/webhooks/plaid", content=long).status_code == 413


def test_no_more_of_a_body_is_read(ada: TestClient) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:  # without a Content-Length
        for _ in range(100):
            read.append(1)
            yield b"x" * 100_000

    async def sent() -> int:
        transport = httpx2.ASGITransport(ada.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://app") as browser:
            return (await browser.post("/webhooks/plaid", content=body(), headers=JSON)).status_code

    assert asyncio.run(sent()) == 413
    assert len(read) < 20


def test_logout_never_signs_in(ada: TestClient) -> None:
    ada.post("/api/logout", json={"user": "ada", "password": "ada"})

    assert ada.get("/api/state").status_code == 401


def test_one_item_that_fails_stops_no_other(
    environ: dict[str, str],
    sign_in: Sign,
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_app(environ)
    store = SqlStore(environ["DATABASE_URL"], keys=environ["LINK_KEYS"].split(","))
    token = {"processor": "layer", "account_id": "gone", "processor_token": a_token("processor")}
    store.adopt(
        access_token=a_token("access"),
        client_user_id="a user who is gone",
        item_id="an Item of nobody's",
        tokens=[token],
        handoff="due",
        client_id=plaid_sandbox.environ["PLAID_CLIENT_ID"],
    )
    ada = sign_in("ada")
    local_layer.fail("POST /oauth2/token", status=503, times=None)
    connect(ada, plaid_sandbox, masks=("0000",))
    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["due"]
    local_layer.clear_faults()

    with TestClient(make_app(environ)):
        until(lambda: [each["handoff"] for each in shown(ada)["accounts"]] == ["done"])

    assert "Layer, Item an Item of nobody's: KeyError" in caplog.text
    assert "Traceback" not in caplog.text


def a_token(kind: str) -> str:
    """What has the form of a token of Plaid's."""
    return f"{kind}-sandbox-{uuid4()}"


@pytest.fixture
def consented(ada: TestClient, plaid_sandbox: PlaidSandbox) -> str:
    """The path of Ada's bank, of which Finix may have the only account."""
    item_id = connect(ada, plaid_sandbox, masks=("0000",))
    update = {"item_id": item_id, "partner": "finix"}
    plaid_sandbox.complete_link(ada.post("/api/link-token", json=update).json()["link_token"])
    return f"/api/links/{item_id}"


def at_finix(ada: TestClient) -> list[str]:
    """How far Finix's hand-offs are."""
    accounts = shown(ada)["accounts"]
    return [each["handoff"] for each in accounts if each["processor"] == "finix"]


def test_what_is_due_at_finix_follows_on_another_click(
    ada: TestClient, consented: str, local_finix: LocalFinix
) -> None:
    local_finix.fail("GET /payment_instruments", status=503, times=None)
    assert ada.post(f"{consented}/finix", json={}).status_code == 502
    assert at_finix(ada) == ["due"]
    local_finix.clear_faults()

    assert ada.post(f"{consented}/finix", json={}).json() == {"handoff": "done"}

    assert at_finix(ada) == ["done"]
    assert len(local_finix.instruments) == 1


def test_an_unknown_outcome_at_finix_needs_the_users_word(
    ada: TestClient, consented: str, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    local_finix.fail("POST /payment_instruments", drop="unread")
    assert ada.post(f"{consented}/finix", json={}).status_code == 502
    assert at_finix(ada) == ["unknown"]

    kept = ada.delete(consented)
    asked = ada.post(f"{consented}/finix", json={})

    assert (kept.status_code, asked.status_code) == (409, 409)
    assert kept.json()["error"].startswith("It is not known yet what Finix has.")
    assert asked.json() == {"error": "Finix may have this account already.", "again": True}
    assert [each.removed for each in plaid_sandbox.items] == [False]
    assert [*local_finix.instruments] == []
    for _ in range(2):  # the second click makes no second instrument
        word = ada.post(f"{consented}/finix", json={"again": True})
        assert word.json() == {"handoff": "done"}
    (instrument,) = local_finix.instruments
    assert instrument.enabled
    assert ada.delete(consented).status_code == 204
    assert [each.enabled for each in local_finix.instruments] == [False]


def test_three_clicks_make_one_token(
    ada: TestClient, consented: str, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    plaid_sandbox.clear_requests()
    plaid_sandbox.fail("/item/get", delay=3)  # the first is under way when the others come
    with ThreadPoolExecutor(3) as pool:
        clicks = [pool.submit(ada.post, f"{consented}/finix", json={}) for _ in range(3)]

    answers = {each.result().status_code: each.result() for each in clicks}
    assert set(answers) == {200, 503}
    assert answers[503].json() == {"error": "This is under way. Please wait a little."}
    assert "Retry-After" in answers[503].headers
    paths = [each.path for each in plaid_sandbox.requests]
    assert paths.count("/processor/token/create") == 1
    assert len(local_finix.instruments) == 1
