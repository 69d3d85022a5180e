"""The application against the local Plaid and its partners' stand-ins, by the package's plugin."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from app import make_app
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from plaid_processors.sandbox import LocalFinix, LocalLayer, PlaidSandbox


@pytest.fixture
def business(local_layer: LocalLayer) -> str:
    """Layer's id of ada's business."""
    return local_layer.new_business()


@pytest.fixture
def environ(
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    local_finix: LocalFinix,
    business: str,
    tmp_path: Path,
) -> dict[str, str]:
    """The variables of a database of its own and of two users: ada and grace."""
    return {
        **plaid_sandbox.environ,
        "LAYER_CLIENT_ID": local_layer.client_id,
        "LAYER_CLIENT_SECRET": local_layer.client_secret,
        "LAYER_BASE_URL": local_layer.url,
        "LAYER_AUTH_URL": local_layer.url,
        "FINIX_USERNAME": local_finix.username,
        "FINIX_PASSWORD": local_finix.password,
        "FINIX_BASE_URL": local_finix.url,
        "DEMO_LAYER_BUSINESSES": f"{business},{local_layer.new_business()}",
        "DEMO_FINIX_IDENTITIES": f"{local_finix.new_identity()},{local_finix.new_identity()}",
        "DATABASE_URL": f"sqlite:///{tmp_path}/links.db",
        "LINK_KEYS": Fernet.generate_key().decode(),
        "SESSION_SECRET": "of no use",
        "APP_URL": "http://127.0.0.1:1",  # the local Plaid's own webhooks get no answer
    }


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    """The application, without what it does every half minute: `tidy_up` does that once."""
    app = make_app(environ)
    yield app
    close(app)


def close(app: Flask) -> None:
    """Close its connections."""
    for part in app.extensions["parts"]:
        (part.dispose if isinstance(part, sql.Engine) else part.close)()


def told(answer: TestResponse) -> dict[str, Any]:
    """The answer's JSON object."""
    assert isinstance(answer.json, dict)
    return answer.json


def signed_in(app: Flask, user: str) -> FlaskClient:
    browser = app.test_client()
    assert browser.post("/api/login", json={"user": user, "password": user}).status_code == 204
    return browser


@pytest.fixture
def ada(app: Flask) -> FlaskClient:
    """Her browser."""
    return signed_in(app, "ada")


def through_link(
    browser: FlaskClient,
    plaid_sandbox: PlaidSandbox,
    wanted: dict[str, Any] | None = None,
    **choices: Any,
) -> dict[str, Any]:
    """Do what the page does: fetch a link token, open Link; the arguments of onSuccess."""
    token = told(browser.post("/api/link-token", json=wanted or {}))["link_token"]
    done = plaid_sandbox.complete_link(token, **choices)
    return {"public_token": done.public_token, "metadata": done.metadata}


@pytest.fixture
def item_id(ada: FlaskClient, plaid_sandbox: PlaidSandbox) -> str:
    """Ada's Item, with a checking account, a savings account and a credit card."""
    done = through_link(ada, plaid_sandbox, masks=["0000", "1111", "3333"])
    answer = ada.post("/api/links", json=done)
    assert answer.status_code == 201, answer.json
    return str(told(answer)["item_id"])


def shown(browser: FlaskClient) -> dict[str, Any]:
    """The only link on the page."""
    (link,) = told(browser.get("/api/state"))["links"]
    assert isinstance(link, dict)
    return link


def until(true: Callable[[], bool]) -> None:
    """Wait for the work that comes after an answer."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_bank_is_linked_and_handed_over(
    ada: FlaskClient, item_id: str, local_layer: LocalLayer, business: str
) -> None:
    link = shown(ada)

    assert (link["item_id"], link["institution_name"]) == (item_id, "First Platypus Bank")
    assert (link["state"], link["health"]) == ("complete", "healthy")
    assert [each["handoff"] for each in link["accounts"]] == ["done"] * 3
    assert [each.mask for each in local_layer.books(business)] == ["0000", "1111", "3333"]


@pytest.mark.usefixtures("item_id")
def test_no_step_and_no_file_shows_a_token(ada: FlaskClient, tmp_path: Path) -> None:
    text = ada.get("/api/state").text
    assert "fingerprint" in text
    kept = b"".join(each.read_bytes() for each in tmp_path.glob("links.db*"))
    for secret in ("access-sandbox-", "processor-sandbox-", "public-sandbox-", "link-sandbox-"):
        assert secret not in text
        assert secret.encode() not in kept


def test_a_double_click_makes_one_item(
    ada: FlaskClient, plaid_sandbox: PlaidSandbox, local_layer: LocalLayer, business: str
) -> None:
    done = through_link(ada, plaid_sandbox, masks=["0000"])

    first, second = (ada.post("/api/links", json=done) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json == second.json
    assert len(plaid_sandbox.items) == len(local_layer.books(business)) == 1


@pytest.mark.usefixtures("item_id")
def test_the_same_accounts_again_are_refused(ada: FlaskClient, plaid_sandbox: PlaidSandbox) -> None:
    again = through_link(ada, plaid_sandbox, masks=["0000"])

    refused = ada.post("/api/links", json=again)
    assert refused.status_code == 409
    assert "Use Add accounts at that bank." in told(refused)["error"]
    assert [each.exchanged for each in plaid_sandbox.items] == [True, False]


def test_another_users_item_is_not_there(app: Flask, item_id: str) -> None:
    grace = signed_in(app, "grace")

    assert told(grace.get("/api/state"))["links"] == []
    assert grace.post("/api/link-token", json={"item_id": item_id}).status_code == 404
    assert grace.post(f"/api/links/{item_id}/refresh", json={}).status_code == 404
    assert grace.post(f"/api/links/{item_id}/finix", json={}).status_code == 404
    assert grace.delete(f"/api/links/{item_id}", json={}).status_code == 404


def test_only_the_session_and_json_come_in(app: Flask, ada: FlaskClient) -> None:
    stranger = app.test_client()

    assert stranger.get("/").location == "/login"
    assert stranger.get("/api/state").status_code == 401
    assert stranger.post("/api/link-token", json={}).status_code == 401
    assert stranger.post("/api/login", json={"user": "ada", "password": "grace"}).status_code == 401
    assert ada.post("/api/link-token", data={"partner": "finix"}).status_code == 415
    assert ada.post("/api/logout", json={}).status_code == 204
    assert ada.get("/api/state").status_code == 401


def test_a_webhook_asks_for_repair_and_update_mode_repairs(
    app: Flask, ada: FlaskClient, item_id: str, plaid_sandbox: PlaidSandbox
) -> None:
    plaid_sandbox.reset_login(item_id)
    hook = plaid_sandbox.webhook("ITEM", "ERROR", item_id=item_id)
    changed = app.test_client().post("/webhooks/plaid", data=hook.body + b" ", headers=hook.headers)
    assert changed.status_code == 400

    taken = app.test_client().post("/webhooks/plaid", data=hook.body, headers=hook.headers)
    assert taken.status_code == 200
    until(lambda: shown(ada)["health"] == "repair")

    through_link(ada, plaid_sandbox, {"item_id": item_id})
    answer = ada.post(f"/api/links/{item_id}/refresh", json={})

    assert answer.json == {"health": "healthy"}
    assert shown(ada)["health"] == "healthy"


def test_a_new_account_is_shared_and_handed_over(
    app: Flask,
    ada: FlaskClient,
    item_id: str,
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    business: str,
) -> None:
    new = plaid_sandbox.new_account(item_id)
    hook = plaid_sandbox.webhook("ITEM", "NEW_ACCOUNTS_AVAILABLE", item_id=item_id)
    app.test_client().post("/webhooks/plaid", data=hook.body, headers=hook.headers)
    until(lambda: shown(ada)["health"] == "add_accounts")

    masks = ["0000", "1111", new.mask]  # without the credit card
    through_link(ada, plaid_sandbox, {"item_id": item_id, "add_accounts": True}, masks=masks)
    answer = ada.post(f"/api/links/{item_id}/refresh", json={})

    assert answer.json == {"health": "healthy"}
    assert len(shown(ada)["accounts"]) == 3
    assert new.mask in [each.mask for each in local_layer.books(business)]


def test_finix_needs_consent_and_a_choice(
    ada: FlaskClient, item_id: str, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    def ask(**body: str) -> tuple[int, dict[str, Any]]:
        answer = ada.post(f"/api/links/{item_id}/finix", json=body)
        return answer.status_code, told(answer)

    status, words = ask()
    assert (status, words["consent"]) == (409, True)
    through_link(ada, plaid_sandbox, {"item_id": item_id, "partner": "finix"})

    status, words = ask()
    assert (status, len(words["choose"])) == (409, 2)
    savings = words["choose"][1]
    assert "1111" in savings["label"]

    assert ask(account_id=savings["account_id"]) == (200, {"handoff": "done"})
    assert ask() == (200, {"handoff": "done"})  # a double click
    assert [each.account_number[-4:] for each in local_finix.instruments] == ["1111"]


def test_off_boarding(
    ada: FlaskClient,
    item_id: str,
    plaid_sandbox: PlaidSandbox,
    local_finix: LocalFinix,
) -> None:
    through_link(ada, plaid_sandbox, {"item_id": item_id, "partner": "finix"})
    account_id = shown(ada)["accounts"][0]["account_id"]
    ada.post(f"/api/links/{item_id}/finix", json={"account_id": account_id})

    assert ada.delete(f"/api/links/{item_id}", json={}).status_code == 204

    assert [each.enabled for each in local_finix.instruments] == [False]
    assert [each.removed for each in plaid_sandbox.items] == [True]
    assert told(ada.get("/api/state"))["links"] == []
    # Another bank can come: Layer is not sent the dead tokens again.
    done = through_link(ada, plaid_sandbox, institution_id="ins_109511", masks=["0000"])
    assert ada.post("/api/links", json=done).status_code == 201
    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["done"]


@pytest.mark.plaid_fault("/processor/token/create", status=503, times=None)
def test_a_link_outlives_a_failure(
    ada: FlaskClient, plaid_sandbox: PlaidSandbox, local_layer: LocalLayer, business: str
) -> None:
    done = through_link(ada, plaid_sandbox, masks=["0000"])
    failed = ada.post("/api/links", json=done)
    assert failed.status_code == 502
    assert told(failed)["error"] == "The bank is connected, but not all is done yet."
    assert shown(ada)["state"] == "linked"

    plaid_sandbox.clear_faults()

    item_id = shown(ada)["item_id"]
    assert ada.post(f"/api/links/{item_id}/refresh", json={}).json == {"health": "healthy"}
    assert shown(ada)["state"] == "complete"
    assert ada.post("/api/links", json=done).json == {"item_id": item_id}
    assert (len(plaid_sandbox.items), len(local_layer.books(business))) == (1, 1)


def test_accounts_are_added_to_a_healthy_bank(
    ada: FlaskClient, plaid_sandbox: PlaidSandbox, local_layer: LocalLayer, business: str
) -> None:
    done = through_link(ada, plaid_sandbox, masks=["0000"])
    item_id = told(ada.post("/api/links", json=done))["item_id"]

    wanted = {"item_id": item_id, "add_accounts": True}
    through_link(ada, plaid_sandbox, wanted, masks=["0000", "1111"])
    assert ada.post(f"/api/links/{item_id}/refresh", json={}).json == {"health": "healthy"}

    assert [each.mask for each in local_layer.books(business)] == ["0000", "1111"]


@pytest.fixture
def paying(ada: FlaskClient, plaid_sandbox: PlaidSandbox) -> str:
    """Ada's Item with one account and her consent for Finix; its path."""
    done = through_link(ada, plaid_sandbox, masks=["0000"])
    item_id = str(told(ada.post("/api/links", json=done))["item_id"])
    through_link(ada, plaid_sandbox, {"item_id": item_id, "partner": "finix"})
    return f"/api/links/{item_id}"


def enabled(local_finix: LocalFinix) -> list[bool]:
    """Whether each payment instrument is enabled."""
    return [each.enabled for each in local_finix.instruments]


def tokens_asked(plaid_sandbox: PlaidSandbox) -> int:
    """How many processor tokens were asked for."""
    return [each.path for each in plaid_sandbox.requests].count("/processor/token/create")


def finix_state(browser: FlaskClient) -> list[str]:
    """How far Finix's hand-offs are."""
    accounts = shown(browser)["accounts"]
    return [each["handoff"] for each in accounts if each["processor"] == "finix"]


def test_an_unknown_outcome_at_finix_needs_the_users_word(
    app: Flask, ada: FlaskClient, paying: str, local_finix: LocalFinix
) -> None:
    local_finix.fail("POST /payment_instruments", drop="unread")
    assert ada.post(f"{paying}/finix", json={}).status_code == 502
    assert finix_state(ada) == ["unknown"]

    app.extensions["tidy_up"]()  # it does not decide
    refused = ada.delete(paying, json={})
    assert refused.status_code == 409
    assert "not known yet what Finix has" in told(refused)["error"]
    asked = ada.post(f"{paying}/finix", json={})
    assert asked.status_code == 409
    assert asked.json == {"error": "Finix may have this account already.", "again": True}
    assert enabled(local_finix) == []

    assert ada.post(f"{paying}/finix", json={"again": True}).json == {"handoff": "done"}
    assert ada.post(f"{paying}/finix", json={"again": True}).json == {"handoff": "done"}
    assert enabled(local_finix) == [True]
    assert ada.delete(paying, json={}).status_code == 204
    assert enabled(local_finix) == [False]


def test_what_finix_made_is_found(ada: FlaskClient, paying: str, local_finix: LocalFinix) -> None:
    local_finix.fail("POST /payment_instruments", drop="after")
    assert ada.post(f"{paying}/finix", json={}).status_code == 502

    assert ada.post(f"{paying}/finix", json={}).json == {"handoff": "done"}
    assert len(local_finix.instruments) == 1


def test_three_clicks_at_once_make_one_token_and_one_instrument(
    app: Flask, ada: FlaskClient, paying: str, plaid_sandbox: PlaidSandbox, local_finix: LocalFinix
) -> None:
    before = tokens_asked(plaid_sandbox)
    browsers = [ada, signed_in(app, "ada"), signed_in(app, "ada")]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda each: each.post(f"{paying}/finix", json={}), browsers))

    assert {each.status_code for each in answers} <= {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["Retry-After"]
            assert told(answer)["error"] == "This is under way. Please wait a little."
    assert finix_state(ada) == ["done"]
    assert len(local_finix.instruments) == 1
    assert tokens_asked(plaid_sandbox) == before + 1


def test_tidy_up_hands_over_what_is_due_and_passes_over_what_fails(
    app: Flask,
    ada: FlaskClient,
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    business: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    linker, *_ = app.extensions["parts"]
    for name in ("nobody", "no one"):  # users that are gone
        linker.link_sandbox("layer", client_user_id=name)
    local_layer.fail(status=503, times=None)
    done = through_link(ada, plaid_sandbox, masks=["0000"])
    assert ada.post("/api/links", json=done).status_code == 201
    local_layer.clear_faults()
    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["due"]
    caplog.clear()

    app.extensions["tidy_up"]()

    assert "hand_to_layer('nobody', " in caplog.text
    assert "hand_to_layer('no one', " in caplog.text
    assert [each["handoff"] for each in shown(ada)["accounts"]] == ["done"]
    assert [each.mask for each in local_layer.books(business)] == ["0000"]


@pytest.mark.plaid_fault("/item/get", status=500, times=None)
def test_a_webhook_whose_work_fails_is_logged(
    app: Flask,
    ada: FlaskClient,
    item_id: str,
    plaid_sandbox: PlaidSandbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plaid_sandbox.reset_login(item_id)
    hook = plaid_sandbox.webhook("ITEM", "ERROR", item_id=item_id)
    taken = app.test_client().post("/webhooks/plaid", data=hook.body, headers=hook.headers)
    assert taken.status_code == 200
    until(lambda: f"look_after('ada', '{item_id}'" in caplog.text)
    assert "Traceback" not in caplog.text
    assert shown(ada)["health"] == "healthy"

    plaid_sandbox.clear_faults()

    assert ada.post(f"/api/links/{item_id}/refresh", json={}).json == {"health": "repair"}


def test_wrong_input_is_refused(ada: FlaskClient) -> None:
    public = "public-sandbox-00000000-0000-4000-8000-000000000000"
    metadata: dict[str, Any] = {"accounts": [], "institution": None}
    for path, body in (
        ("/api/links", []),
        ("/api/links", "text"),
        ("/api/links", {}),
        ("/api/links", {"public_token": 1, "metadata": metadata}),
        ("/api/links", {"public_token": public, "metadata": []}),
        ("/api/links", {"public_token": public, "metadata": "text"}),
        ("/api/links", {"public_token": "text", "metadata": metadata}),
        ("/api/links", {"public_token": public, "metadata": {"accounts": 1}}),
        ("/api/links", {"public_token": public, "metadata": {"accounts": [1]}}),
        ("/api/links", {"public_token": public, "metadata": {"accounts": [{}]}}),
        ("/api/links", {"public_token": public, "metadata": {"accounts": [{"id": "\ud800"}]}}),
        ("/api/links", {"public_token": public, "metadata": {**metadata, "institution": "text"}}),
        ("/api/link-token", {"add_accounts": True}),
        ("/api/login", {"user": "ada"}),
    ):
        answer = ada.post(path, json=body)
        assert answer.status_code == 400, (path, body, answer.text)
        assert told(answer)["error"]
    for text in ("null", "{", "\xff"):
        answer = ada.post("/api/links", data=text, content_type="application/json")
        assert answer.status_code == 400


def test_a_body_has_at_most_a_megabyte(app: Flask, ada: FlaskClient) -> None:
    long = "x" * 1_000_001
    assert ada.post("/api/link-token", json={"item_id": long}).status_code == 413
    assert app.test_client().post("/webhooks/plaid", data=long).status_code == 413


def test_the_policy_lets_in_link_and_what_has_the_pages_nonce(
    ada: FlaskClient, plaid_sandbox: PlaidSandbox
) -> None:
    first, second = ada.get("/"), ada.get("/")

    for answer in (first, second):
        directives = dict(
            each.strip().split(" ", 1)
            for each in answer.headers["Content-Security-Policy"].split(";")
        )
        found = re.search(r'data-nonce="([^"]+)"', answer.text)
        assert found is not None
        script = f"{plaid_sandbox.url}/link/v2/stable/link-initialize.js"
        assert directives["script-src"] == f"'self' 'nonce-{found[1]}' {script}"
        assert f'src="{script}"' in answer.text
        assert directives["style-src"] == f"'self' 'nonce-{found[1]}' {plaid_sandbox.url}"
        assert directives["frame-src"] == plaid_sandbox.url
        for source in ("'self'", "https://sandbox.plaid.com", "https://production.plaid.com"):
            assert source in directives["connect-src"].split()
        assert directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert first.headers["Content-Security-Policy"] != second.headers["Content-Security-Policy"]


def test_only_a_local_plaid_serves_links_script(environ: dict[str, str]) -> None:
    app = make_app({**environ, "PLAID_BASE_URL": "https://proxy.example.com"})
    page = signed_in(app, "ada").get("/")
    close(app)

    assert 'src="https://cdn.plaid.com/link/v2/stable/link-initialize.js"' in page.text
    assert "frame-src https://cdn.plaid.com;" in page.headers["Content-Security-Policy"]
    assert "proxy.example.com" not in page.text + page.headers["Content-Security-Policy"]


def test_logging_out_never_signs_in(app: Flask) -> None:
    browser = app.test_client()
    answer = browser.post("/api/logout", json={"user": "ada", "password": "ada"})
    assert answer.status_code == 401
    assert browser.get("/api/state").status_code == 401


@pytest.mark.parametrize("name", ["LINK_KEYS", "SESSION_SECRET"])
def test_without_a_key_it_does_not_start(environ: dict[str, str], name: str) -> None:
    with pytest.raises(KeyError, match=name):
        make_app({**environ, name: ""})


def test_no_demo_users_in_production(environ: dict[str, str]) -> None:
    app = make_app({**environ, "PLAID_ENV": "production"})
    answer = app.test_client().post("/api/login", json={"user": "ada", "password": "ada"})
    close(app)

    assert answer.status_code == 401
