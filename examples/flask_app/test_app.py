"""The application against the local Plaid and its partners' stand-ins, by the package's plugin."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app import make_app
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from plaid_processors.sandbox import LocalFinix, LocalLayer, PlaidSandbox


@pytest.fixture
def business(local_layer: LocalLayer) -> str:
    """Layer's id of ada's business."""
    return local_layer.new_business()


@pytest.fixture
def app(
    plaid_sandbox: PlaidSandbox,
    local_layer: LocalLayer,
    local_finix: LocalFinix,
    business: str,
    tmp_path: Path,
) -> Iterator[Flask]:
    """The application, with a database of its own and two users: ada and grace."""
    app = make_app(
        {
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
            "APP_URL": "http://127.0.0.1:1",  # the local Plaid's own webhooks get no answer
        }
    )
    yield app
    for close in app.extensions["close"]:
        close()


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
    wanted: dict[str, str] | None = None,
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

    assert (link["item_id"], link["bank"]) == (item_id, "First Platypus Bank")
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

    assert ada.post("/api/links", json=again).status_code == 409
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
    through_link(ada, plaid_sandbox, {"item_id": item_id}, masks=masks)
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
    assert ada.post("/api/links", json=done).status_code == 502
    assert shown(ada)["state"] == "linked"

    plaid_sandbox.clear_faults()

    item_id = shown(ada)["item_id"]
    assert ada.post(f"/api/links/{item_id}/refresh", json={}).json == {"health": "healthy"}
    assert shown(ada)["state"] == "complete"
    assert ada.post("/api/links", json=done).json == {"item_id": item_id}
    assert (len(plaid_sandbox.items), len(local_layer.books(business))) == (1, 1)
