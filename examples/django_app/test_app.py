"""The application's tests, by the pytest plugin: `pytest examples/django_app`.

They use a SQLite file of their own; TEST_DATABASE_URL names an empty database in its place.
"""

# ruff: noqa: ARG001, E402, S106

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django
import pytest
from cryptography.fernet import Fernet
from django.conf import settings

FOLDER = Path(__file__).parent
temporary = tempfile.TemporaryDirectory()
# The settings read the environment when they are imported.
os.environ |= {
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{temporary.name}/test.db",
    "LINK_KEYS": Fernet.generate_key().decode(),
    "SESSION_SECRET": "of no use",
    "APP_URL": "http://testserver",
    "DJANGO_SETTINGS_MODULE": "banks.settings",
    # The views make a linker and the senders of these; `users` puts its own in their place.
    **dict.fromkeys(("PLAID_CLIENT_ID", "PLAID_SECRET"), "none"),
    **dict.fromkeys(("LAYER_CLIENT_ID", "LAYER_CLIENT_SECRET"), "none"),
    **dict.fromkeys(("FINIX_USERNAME", "FINIX_PASSWORD"), "none"),
    **dict.fromkeys(("PLAID_ENV", "LAYER_ENV", "FINIX_ENV"), "sandbox"),
}
sys.path.insert(0, str(FOLDER))
django.setup()
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a quick one
if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # no test cuts the power
    settings.DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA synchronous=OFF"

from banks import views
from banks.models import User, make_demo_users
from banks.store import DjangoStore, LeaseRow, LinkRow
from django.core.management import call_command
from django.db import connections, transaction
from django.test import Client

from plaid_processors import ProcessorLinker, StoreError
from plaid_processors.handoff import FinixSender, LayerSender
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
from plaid_processors.store import FernetCipher, check_store

Json = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    call_command("migrate", verbosity=0)
    yield
    connections.close_all()
    temporary.cleanup()


class Browser:
    """A user's browser, which asks as app.js does."""

    def __init__(self, plaid: LocalSandbox, name: str) -> None:
        self.plaid = plaid
        self.client = Client(enforce_csrf_checks=True)
        self.client.get("/login")
        assert self.ask("POST", "/api/login", user=name, password=name) == (204, {})

    def send(self, method: str, path: str, body: str | bytes) -> Any:
        """The answer to a request in JSON."""
        csrf = {"X-CSRFToken": self.client.cookies["csrftoken"].value}
        return self.client.generic(
            method, path, body, content_type="application/json", headers=csrf
        )

    def ask(self, method: str, path: str, **body: object) -> tuple[int, Json]:
        """The status and the JSON of the answer."""
        answer = self.send(method, path, json.dumps(body))
        return answer.status_code, answer.json() if answer.content else {}

    def go_through_link(self, masks: list[str] | None = None, **wanted: object) -> Json:
        """What onSuccess gets."""
        status, answer = self.ask("POST", "/api/link-token", **wanted)
        assert status == 200, answer
        done = self.plaid.complete_link(answer["link_token"], masks=masks)
        return {"public_token": done.public_token, "metadata": done.metadata}

    def connect(self, masks: list[str]) -> str:
        """Connect a bank; the Item's id."""
        status, answer = self.ask("POST", "/api/links", **self.go_through_link(masks))
        assert status == 201, answer
        item_id: str = answer["item_id"]
        return item_id

    @property
    def state(self) -> Json:
        """What the page shows."""
        return self.ask("GET", "/api/state")[1]

    @property
    def steps(self) -> list[str]:
        """What happened, in words."""
        return [each["text"] for each in self.state["steps"]]

    def hear(self, code: str, item_id: str, *, changed: bytes = b"") -> int:
        """Plaid's webhook, and the status of its answer."""
        hook = self.plaid.webhook("ITEM", code, item_id=item_id)
        body = hook.body + changed
        headers = hook.headers
        answer = Client(enforce_csrf_checks=True).post(
            "/webhooks/plaid", body, content_type="application/json", headers=headers
        )
        wait_for_the_threads()
        return int(answer.status_code)

    @property
    def health(self) -> str:
        """How the only bank is."""
        (link,) = self.state["links"]
        return str(link["health"])


def wait_for_the_threads() -> None:
    """Wait until the work after the webhooks is done."""
    for each in threading.enumerate():
        if each.name.endswith("(logged)"):
            each.join(timeout=60)


@pytest.fixture
def users(
    plaid_sandbox: LocalSandbox,
    local_layer: LocalLayer,
    local_finix: LocalFinix,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, User]]:
    """Ada and Grace, in an empty database, with the partners' stand-ins."""
    environ = {
        **plaid_sandbox.environ,
        "LAYER_CLIENT_ID": local_layer.client_id,
        "LAYER_CLIENT_SECRET": local_layer.client_secret,
        "LAYER_BASE_URL": local_layer.url,
        "LAYER_AUTH_URL": local_layer.url,
        "FINIX_USERNAME": local_finix.username,
        "FINIX_PASSWORD": local_finix.password,
        "FINIX_BASE_URL": local_finix.url,
        "DEMO_LAYER_BUSINESSES": ",".join(local_layer.new_business() for _ in range(2)),
        "DEMO_FINIX_IDENTITIES": ",".join(local_finix.new_identity() for _ in range(2)),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    call_command("flush", interactive=False, verbosity=0)
    make_demo_users()
    with (
        ProcessorLinker.from_env(store=views.store, timeout=10, deadline=20) as linker,
        LayerSender.from_env(timeout=10) as layer,
        FinixSender.from_env(timeout=10) as finix,
    ):
        for name, value in {"linker": linker, "layer": layer, "finix": finix}.items():
            monkeypatch.setattr(views, name, value)
        yield {each.username: each for each in User.objects.all()}
        wait_for_the_threads()


@pytest.fixture
def ada(plaid_sandbox: LocalSandbox, users: dict[str, User]) -> Browser:
    return Browser(plaid_sandbox, "ada")


@pytest.fixture
def grace(plaid_sandbox: LocalSandbox, users: dict[str, User]) -> Browser:
    return Browser(plaid_sandbox, "grace")


def test_the_store_keeps_what_every_store_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite, or on PostgreSQL by TEST_DATABASE_URL."""
    plain = threading.Thread.run

    def run_and_close(thread: threading.Thread) -> None:
        try:
            plain(thread)
        finally:  # Django has a connection for each thread, and closes it only after a request
            connections.close_all()

    monkeypatch.setattr(threading.Thread, "run", run_and_close)

    def make_store() -> DjangoStore:
        LinkRow.objects.all().delete()
        LeaseRow.objects.all().delete()
        return DjangoStore(FernetCipher([Fernet.generate_key()]))

    check_store(make_store)


def test_the_store_refuses_to_work_in_a_transaction(ada: Browser) -> None:
    """A request to Plaid would hold it open, and what is stored could be rolled back."""
    user = str(User.objects.get(username="ada").pk)
    with transaction.atomic(), pytest.raises(StoreError):
        views.linker.link_sandbox("layer", client_user_id=user)
    assert [each.exchanged for each in ada.plaid.items] == [False]


def test_a_bank_is_connected_and_handed_over(
    ada: Browser, local_layer: LocalLayer, users: dict[str, User]
) -> None:
    """One Item, with a token for each account, which Layer reads with."""
    item_id = ada.connect(["0000", "3333"])

    (link,) = ada.state["links"]
    assert (link["item_id"], link["state"], link["health"]) == (item_id, "complete", "healthy")
    assert link["institution_name"] == "First Platypus Bank"
    assert [each["processor"] for each in link["accounts"]] == ["layer", "layer"]
    assert [each["handoff"] for each in link["accounts"]] == ["done", "done"]
    books = local_layer.books(users["ada"].business_id)
    assert [each.mask for each in books] == ["0000", "3333"]
    assert ada.steps[0] == "Link token made for Layer"
    assert ada.steps[-1].startswith("Layer has 2 accounts, by tokens with the fingerprints ")


def test_no_token_is_in_the_database_or_on_the_page(ada: Browser) -> None:
    """What is stored of them is encrypted, and the steps name them by their fingerprints."""
    ada.connect(["0000"])

    (item,) = ada.plaid.items
    shown = json.dumps(ada.state) + repr(list(LinkRow.objects.values()))
    assert not [each for each in (item.access_token, *item.processor_tokens) if each in shown]


def test_a_double_click_makes_one_item(ada: Browser) -> None:
    """Both requests get the same answer."""
    done = ada.go_through_link(["0000"])

    def click(_: int) -> tuple[int, Json]:
        try:
            return ada.ask("POST", "/api/links", **done)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(click, range(2))

    (item,) = ada.plaid.items
    assert first == second == (201, {"item_id": item.item_id})
    assert len(ada.state["links"]) == 1


def test_the_same_accounts_again_are_refused(ada: Browser) -> None:
    """The public token is not exchanged."""
    ada.connect(["0000"])

    status, answer = ada.ask("POST", "/api/links", **ada.go_through_link(["0000"]))

    assert (status, answer["error"]) == (409, views.SOME_THERE)
    assert len(ada.state["links"]) == 1


def test_another_users_bank_is_not_there(ada: Browser, grace: Browser) -> None:
    """Whatever the browser says."""
    item_id = ada.connect(["0000"])
    assert grace.state["links"] == []

    for method, path, body in (
        ("POST", "/api/link-token", {"item_id": item_id}),
        ("POST", f"/api/links/{item_id}/refresh", {}),
        ("POST", f"/api/links/{item_id}/finix", {}),
        ("DELETE", f"/api/links/{item_id}", {}),
    ):
        assert grace.ask(method, path, **body) == (404, {"error": "You have no such bank."})
    assert len(ada.state["links"]) == 1


def test_a_login_that_broke_is_repaired(ada: Browser) -> None:
    """The webhook says that it broke; after update mode it is healthy."""
    item_id = ada.connect(["0000"])
    ada.plaid.reset_login(ada.plaid.items[0])

    assert ada.hear("ERROR", item_id) == 200
    assert ada.health == "repair"
    assert "Webhook ITEM / ERROR" in ada.steps

    ada.go_through_link(item_id=item_id)
    assert ada.ask("POST", f"/api/links/{item_id}/refresh") == (200, {"health": "healthy"})
    assert ada.health == "healthy"


def test_new_accounts_are_added(
    ada: Browser, local_layer: LocalLayer, users: dict[str, User]
) -> None:
    """The webhook says that there are some; the user shares them in update mode."""
    item_id = ada.connect(["0000"])
    new = ada.plaid.new_account(ada.plaid.items[0])

    assert ada.hear("NEW_ACCOUNTS_AVAILABLE", item_id) == 200
    assert ada.health == "add_accounts"

    ada.go_through_link(["0000", new.mask], item_id=item_id, add_accounts=True)
    assert ada.ask("POST", f"/api/links/{item_id}/refresh") == (200, {"health": "healthy"})
    books = local_layer.books(users["ada"].business_id)
    assert {each.mask for each in books} == {"0000", new.mask}


def test_accounts_are_added_to_a_healthy_bank(
    ada: Browser, local_layer: LocalLayer, users: dict[str, User]
) -> None:
    """Without `add_accounts`, Link in update mode would show no accounts to choose."""
    item_id = ada.connect(["0000"])

    ada.go_through_link(["0000", "1111"], item_id=item_id, add_accounts=True)

    assert ada.ask("POST", f"/api/links/{item_id}/refresh") == (200, {"health": "healthy"})
    books = local_layer.books(users["ada"].business_id)
    assert {each.mask for each in books} == {"0000", "1111"}


def test_a_webhook_whose_work_fails(ada: Browser, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered all the same, and the failure is logged."""
    item_id = ada.connect(["0000"])
    ada.plaid.fail("/item/get", error_code="INTERNAL_SERVER_ERROR", times=None)
    caplog.clear()

    assert ada.hear("ERROR", item_id) == 200

    (failure,) = [each for each in caplog.records if each.name == views.__name__]
    assert "INTERNAL_SERVER_ERROR" in failure.getMessage()
    assert not failure.exc_info  # the words say it all


def test_a_webhook_that_is_not_plaids_is_refused(ada: Browser) -> None:
    """Nothing is done."""
    item_id = ada.connect(["0000"])

    assert ada.hear("ERROR", item_id, changed=b" ") == 400
    assert "Webhook ITEM / ERROR" not in ada.steps


def test_finix_needs_consent_and_a_choice(ada: Browser, local_finix: LocalFinix) -> None:
    """The user agreed to what Layer reads, and Finix takes one account."""
    item_id = ada.connect(["0000", "1111"])
    pay = f"/api/links/{item_id}/finix"

    status, answer = ada.ask("POST", pay)
    assert (status, answer["consent"]) == (409, True)

    ada.go_through_link(item_id=item_id, partner="finix")
    assert ada.ask("POST", f"/api/links/{item_id}/refresh")[0] == 200
    status, answer = ada.ask("POST", pay)
    assert status == 409
    assert [each["label"][-4:] for each in answer["choose"]] == ["0000", "1111"]

    chosen = answer["choose"][1]["account_id"]
    assert ada.ask("POST", pay, account_id=chosen) == (200, {"handoff": "done"})
    assert ada.ask("POST", pay, account_id=chosen) == (200, {"handoff": "done"})
    assert [each.account_id for each in local_finix.instruments] == [chosen]


def test_an_answer_of_finix_that_was_lost(ada: Browser, local_finix: LocalFinix) -> None:
    """The next click finds the payment instrument there."""
    item_id = ada.connect(["0000"])
    ada.go_through_link(item_id=item_id, partner="finix")
    pay = f"/api/links/{item_id}/finix"
    local_finix.fail("POST /payment_instruments", drop="after")
    assert ada.ask("POST", pay)[0] == 502
    assert "unknown" in [each["handoff"] for each in ada.state["links"][0]["accounts"]]

    assert ada.ask("POST", pay) == (200, {"handoff": "done"})
    assert len(local_finix.instruments) == 1


def test_what_finix_has_is_not_known(ada: Browser, local_finix: LocalFinix) -> None:
    """Then the user decides, and cannot disconnect before."""
    item_id = ada.connect(["0000"])
    ada.go_through_link(item_id=item_id, partner="finix")
    pay = f"/api/links/{item_id}/finix"
    local_finix.fail("POST /payment_instruments", drop="before")
    assert ada.ask("POST", pay)[0] == 502

    status, answer = ada.ask("DELETE", f"/api/links/{item_id}")
    assert (status, answer["error"].partition(".")[0]) == (
        409,
        "It is not known yet what Finix has",
    )
    views.tidy_up()
    assert local_finix.instruments == ()
    status, answer = ada.ask("POST", pay)
    assert (status, answer["again"]) == (409, True)
    assert local_finix.instruments == ()

    assert ada.ask("POST", pay, again=True) == (200, {"handoff": "done"})
    assert ada.ask("POST", pay, again=True) == (200, {"handoff": "done"})
    assert len(local_finix.instruments) == 1
    assert ada.ask("DELETE", f"/api/links/{item_id}") == (204, {})


def test_an_instrument_that_was_disabled(ada: Browser, local_finix: LocalFinix) -> None:
    """Finix cannot tell whether it is of the same account, so the user says so."""
    for again in ({}, {"again": True}):
        item_id = ada.connect(["0000"])
        ada.go_through_link(item_id=item_id, partner="finix")
        pay = f"/api/links/{item_id}/finix"
        if again:
            refused = {"error": "Finix may have this account already.", "again": True}
            assert ada.ask("POST", pay) == (409, refused)
        assert ada.ask("POST", pay, **again) == (200, {"handoff": "done"})
        assert ada.ask("DELETE", f"/api/links/{item_id}") == (204, {})
    assert [each.enabled for each in local_finix.instruments] == [False, False]


def test_clicks_at_once_make_one_instrument(ada: Browser, local_finix: LocalFinix) -> None:
    """One that comes too early is asked to wait, and again a little later."""
    item_id = ada.connect(["0000"])
    ada.go_through_link(item_id=item_id, partner="finix")
    ada.plaid.fail("/processor/token/create", delay=2)

    def click() -> tuple[int, str]:
        try:
            answer = ada.send("POST", f"/api/links/{item_id}/finix", "{}")
            return answer.status_code, answer.headers.get("Retry-After", "")
        finally:
            connections.close_all()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(click)
        while not (first.done() or LeaseRow.objects.filter(name__contains="backfill").exists()):
            pass
        assert click() == (503, "2")
        assert first.result()[0] == click()[0] == 200
    assert len(local_finix.instruments) == 1
    (item,) = ada.plaid.items
    assert len(item.processor_tokens) == 2  # Layer's and Finix's


def test_disconnecting(ada: Browser, local_finix: LocalFinix) -> None:
    """The instrument is disabled, the Item is removed, and its tokens are forgotten."""
    item_id = ada.connect(["0000"])
    ada.go_through_link(item_id=item_id, partner="finix")
    ada.ask("POST", f"/api/links/{item_id}/finix")

    assert ada.ask("DELETE", f"/api/links/{item_id}") == (204, {})

    assert ada.state["links"] == []
    assert [each.enabled for each in local_finix.instruments] == [False]
    stored = views.store.find(item_id)
    assert stored is not None
    assert (stored.state, stored.result) == ("removed", None)
    assert ada.ask("DELETE", f"/api/links/{item_id}")[0] == 404

    other = ada.connect(["1111"])  # Layer is not sent the tokens that are dead
    assert ada.state["links"][0]["item_id"] == other
    assert ada.state["links"][0]["accounts"][0]["handoff"] == "done"


def test_what_layer_did_not_take_is_tried_again(
    ada: Browser, local_layer: LocalLayer, users: dict[str, User]
) -> None:
    """The bank is connected all the same."""
    business = f"/v1/businesses/{users['ada'].business_id}"
    local_layer.fail(f"PUT {business}", status=503, times=None)
    ada.connect(["0000"])
    (account,) = ada.state["links"][0]["accounts"]
    assert account["handoff"] == "unknown"
    local_layer.clear_faults()

    views.tidy_up()

    (account,) = ada.state["links"][0]["accounts"]
    assert account["handoff"] == "done"


@pytest.mark.parametrize("trouble", ["no user", "cannot be read"])
def test_one_bank_that_fails_stops_no_other(
    ada: Browser, grace: Browser, local_layer: LocalLayer, users: dict[str, User], trouble: str
) -> None:
    """What waits for Layer is handed over, whatever the other user's row is like."""
    ids = {}
    for name, browser in (("ada", ada), ("grace", grace)):
        business = f"/v1/businesses/{users[name].business_id}"
        local_layer.fail(f"PUT {business}", status=503, times=None)
        ids[name] = browser.connect(["0000"])
    local_layer.clear_faults()
    first = min(LinkRow.objects.all(), key=lambda each: each.key)
    broken, other = ("ada", grace) if first.item_id == ids["ada"] else ("grace", ada)
    if trouble == "no user":
        users[broken].delete()
    else:
        first.data["sealed"] = "not encrypted"
        first.save()

    views.tidy_up()

    (account,) = other.state["links"][0]["accounts"]
    assert account["handoff"] == "done"


def test_a_link_that_was_not_finished(ada: Browser) -> None:
    """The bank is connected; a refresh makes the token, and hands it over."""
    ada.plaid.fail("/processor/token/create", error_code="INTERNAL_SERVER_ERROR", times=None)
    status, answer = ada.ask("POST", "/api/links", **ada.go_through_link(["0000"]))
    assert (status, answer["error"]) == (
        502,
        "The bank is connected, but not all is done yet.",
    )
    ada.plaid.clear_faults()
    (link,) = ada.state["links"]
    assert (link["state"], link["accounts"][0]["handoff"]) == ("linked", None)

    assert ada.ask("POST", f"/api/links/{link['item_id']}/refresh") == (200, {"health": "healthy"})

    (link,) = ada.state["links"]
    assert (link["state"], link["accounts"][0]["handoff"]) == ("complete", "done")


def test_who_may_ask(ada: Browser) -> None:
    """No one without a session, with a form of another site, or with a wrong password."""
    stranger = Client(enforce_csrf_checks=True)
    assert stranger.get("/api/state").status_code == 401
    assert stranger.get("/")["Location"] == "/login"
    assert stranger.post("/api/login", {}, content_type="application/json").status_code == 403
    csrf = {"X-CSRFToken": ada.client.cookies["csrftoken"].value}
    assert ada.client.post("/api/link-token", {"a": "b"}, headers=csrf).status_code == 415
    assert ada.ask("POST", "/api/login", user="ada", password="wrong")[0] == 401
    assert ada.client.get("/").status_code == 200
    assert ada.ask("POST", "/api/logout", user="ada", password="ada") == (204, {})
    assert ada.ask("GET", "/api/state")[0] == 401
    assert ada.ask("POST", "/api/logout", user="ada", password="ada")[0] == 401
    assert ada.ask("GET", "/api/state")[0] == 401


WRONG = {  # by the path
    "/api/login": ["[]", "null", "5", '"ada"', "{}", '{"user": "ada"}'],
    "/api/link-token": ["{", b"\xff", "[" * 100_000, "9" * 5_000, "[]", '{"item_id": 5}'],
    "/api/links": [
        "{}",
        '{"public_token": "public-sandbox-0"}',
        '{"metadata": {}}',
        '{"public_token": "", "metadata": {}}',
        '{"public_token": "access-sandbox-0", "metadata": {}}',
        '{"public_token": "public-sandbox-0", "metadata": []}',
        '{"public_token": "public-sandbox-0", "metadata": {"accounts": "all"}}',
        '{"public_token": "public-sandbox-0", "metadata": {"accounts": [1]}}',
    ],
}


def test_wrong_input_is_refused(ada: Browser) -> None:
    """It is no error of the server's."""
    for path, bodies in WRONG.items():
        for body in bodies:
            answer = ada.send("POST", path, body)
            assert answer.status_code == 400, body
            assert answer.json()["error"]
    too_large = '{"a": "' + "b" * 1_000_000 + '"}'
    assert ada.send("POST", "/api/link-token", too_large).status_code == 400
    assert ada.ask("POST", "/api/login", user=None, password="ada")[0] == 401
    assert ada.ask("GET", "/api/links/1")[0] == ada.client.get("/api/login").status_code == 405


def test_an_account_that_is_not_there_is_not_paid_with(
    ada: Browser, local_finix: LocalFinix
) -> None:
    """Whatever the browser says."""
    item_id = ada.connect(["0000", "1111"])
    ada.go_through_link(item_id=item_id, partner="finix")

    for wrong in ("another", 5):
        assert ada.ask("POST", f"/api/links/{item_id}/finix", account_id=wrong)[0] == 409
    assert local_finix.instruments == ()


def test_a_webhook_that_is_too_large(ada: Browser) -> None:
    """Django refuses what is larger than DATA_UPLOAD_MAX_MEMORY_SIZE."""
    assert ada.hear("ERROR", ada.connect(["0000"]), changed=b" " * 1_000_000) == 400


def test_the_content_security_policy(ada: Browser) -> None:
    """It lets Plaid Link in and no other script, by a nonce that is new each time."""
    nonces, script = [], f"{ada.plaid.url}/link/v2/stable/link-initialize.js"
    for path in ("/", "/", "/login"):
        answer = ada.client.get(path)
        directives = (each.split() for each in answer["Content-Security-Policy"].split(";"))
        policy = {name: values for name, *values in directives}
        nonces.append(policy["style-src"][1])
        assert policy["script-src"] == ["'self'", nonces[-1], script]
        assert policy["connect-src"][:3] == [
            "'self'",
            "https://sandbox.plaid.com",
            "https://production.plaid.com",
        ]
        assert policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
        page = answer.content.decode()
        if path == "/":
            assert f'src="{script}"' in page
            assert f'data-nonce="{nonces[-1][7:-1]}"' in page
    assert len(set(nonces)) == 3


def test_demo_users_are_for_sandbox_alone(
    users: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their passwords are their names."""
    User.objects.all().delete()
    for name in ("production", ""):
        monkeypatch.setenv("PLAID_ENV", name)
        make_demo_users()
    assert not User.objects.exists()


def test_the_migrations_are_those_of_the_models() -> None:
    """`makemigrations` has nothing to add."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
