"""Tests of the application, against the local Plaid and its partners: `python -m pytest` here."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app import make_app
from fastapi.testclient import TestClient

from plaid_processors.sandbox import LocalFinix, LocalLayer, PlaidSandbox

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
        "APP_URL": "http://127.0.0.1:1",  # the local Plaid's own webhooks get no answer
    }


@pytest.fixture
def sign_in(environ: dict[str, str]) -> Iterator[Sign]:
    """Signs a user in, with a browser of the user's own, at one running application."""
    app = make_app(environ)
    with TestClient(app):  # starts it, and stops it at the end

        def browser(user: str) -> TestClient:
            client = TestClient(app, headers={"Content-Type": "application/json"})
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
    assert link["bank"] == "First Platypus Bank"
    partners = [(each["partner"], each["handoff"]) for each in link["accounts"]]
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
    stranger = TestClient(ada.app, headers={"Content-Type": "application/json"})

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

    update = ada.post("/api/link-token", json={"item_id": item_id}).json()["link_token"]
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
    assert ada.post("/api/links", json=body).status_code == 502
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

    with TestClient(make_app(environ), headers={"Content-Type": "application/json"}) as ada:
        ada.post("/api/login", json={"user": "ada", "password": "ada"})
        for _ in range(600):  # it is done in the background
            if [each["handoff"] for each in shown(ada)["accounts"]] == ["done"]:
                return
            time.sleep(0.05)
    pytest.fail("it was not handed over")


def test_secrets_are_made_once_for_their_owner_alone(environ: dict[str, str]) -> None:
    make_app(environ)
    files = sorted(Path(environ["DATABASE_URL"].removeprefix("sqlite:///")).parent.iterdir())
    secrets = {each.name: each.read_text() for each in files}
    assert "links.db.env" in secrets
    assert {each.stat().st_mode & 0o777 for each in files if each.suffix == ".env"} == {0o600}

    make_app(environ)

    assert {each.name: each.read_text() for each in files} == secrets
