"""All three example applications: their files, a kill, and a user's way in Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from plaid_processors.testing import LinkPane

from ..browser.conftest import browser, context, module, page  # noqa: F401  fixtures
from .serving import APPS, ROOT, Served, World, commands, until, world

ONE_FIRST = ["flask_app", *(pytest.param(each, marks=pytest.mark.full) for each in list(APPS)[1:])]
"""For tests that .ci/run makes of one application, as all have one front end and one interface."""

FRONT_END = ("templates/index.html", "templates/login.html", "static/app.js", "static/app.css")
EXAMPLES = ROOT / "examples"
LINES = {"flask_app": 250, "fastapi_app": 250, "django_app": 340}


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> str:
    """An application's folder, by name."""
    return str(request.param)


@pytest.fixture
def the_world(app: str, tmp_path: Path) -> Iterator[World]:
    """A local Plaid and its partners, for this application alone."""
    with world(app, tmp_path) as served:
        yield served


@pytest.fixture
def served(app: str, the_world: World, tmp_path: Path) -> Iterator[Served]:
    """A copy of the application, which the test serves; at the end its log is looked at."""
    served = Served(app, tmp_path)
    yield served
    served.check_log()


def test_all_have_one_front_end(app: str) -> None:
    for name in FRONT_END:
        assert (EXAMPLES / app / name).read_bytes() == (EXAMPLES / "flask_app" / name).read_bytes()


def test_the_front_end_has_no_inline_script_and_three_variables() -> None:
    """So that a content security policy works, and two kinds of templates read it."""
    pages = [(EXAMPLES / "flask_app" / name).read_text() for name in FRONT_END[:2]]
    for text in pages:
        assert not re.search(r"<script(?![^>]*\bsrc=)", text)
        assert not re.search(r"\s(?:on\w+|style)=", text)
        found = set(re.findall(r"{{.*?}}|{%.*?%}", text))
        assert found <= {"{{ user }}", "{{ link_script }}", "{{ nonce }}"}


def test_each_is_small(app: str) -> None:
    """Few lines of Python that a team has to read; tests and what Django writes apart.

    Django's settings, commands and tables are files of their own, and its store is counted by
    itself, as it is the example of a `LinkStore` of one's own; the others have `SqlStore`.
    """
    lines = {
        each.relative_to(EXAMPLES / app).as_posix(): len(each.read_text().splitlines())
        for each in (EXAMPLES / app).rglob("*.py")
        if not each.name.startswith("test_") and "migrations" not in each.parts
    }
    if app == "django_app":
        assert lines.pop("banks/store.py") <= 90
    assert sum(lines.values()) <= LINES[app]


def test_the_readme_has_three_commands(app: str) -> None:
    install, sandbox, *_, server = commands(app)
    assert install[:2] == ["pip", "install"]
    assert f"examples/{app}/requirements.txt" in install
    assert sandbox == ["plaid-processors", "sandbox", "--partners", "--env-file", ".env"]
    assert APPS[app] in " ".join(server)
    # pip cannot install a package from this folder and by its name at once.
    assert not re.search(
        r"^plaid-processors", (EXAMPLES / app / "requirements.txt").read_text(), re.MULTILINE
    )


@pytest.mark.slow
@pytest.mark.full  # test_django_app.py has the third
@pytest.mark.parametrize("app", ["flask_app", "fastapi_app"])
def test_its_own_tests_pass(app: str) -> None:
    """Those that a team copies with it."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "test_app.py"],
        cwd=EXAMPLES / app,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
def test_a_kill_between_exchange_and_token_loses_nothing(served: Served, the_world: World) -> None:
    """The Item is in the store before a token is asked for; the next start finishes the link."""
    with served.running() as server, served.signed_in() as ada:
        token = ada.post("/api/link-token", json={}).json()["link_token"]
        masks = ["0000", "3333"]
        done = the_world.control("POST", "/complete_link", {"link_token": token, "masks": masks})
        fault = {"path": "/processor/token/create", "delay": 60, "times": None}
        the_world.control("POST", "/faults", fault)
        with ThreadPoolExecutor() as pool:
            pool.submit(ada.post, "/api/links", json=done)
            with served.signed_in() as also_ada:
                until(lambda: _links(also_ada) and _links(also_ada)[0]["state"] == "linked")
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    the_world.control("DELETE", "/faults")
    served.forget_leases()

    with served.running(), served.signed_in() as ada:
        until(lambda: {each["handoff"] for each in _links(ada)[0]["accounts"]} == {"done"})
        (link,) = _links(ada)
        assert (link["state"], len(link["accounts"])) == ("complete", 2)
        assert ada.post("/api/links", json=done).json() == {"item_id": link["item_id"]}
    assert the_world.books() == ["0000", "3333"]
    assert len(the_world.asked("/item/public_token/exchange")) == 1


@pytest.mark.server
@pytest.mark.parametrize("app", ONE_FIRST)
def test_postgresql(app: str, served: Served, the_world: World, postgres_url: str) -> None:
    """The same with PostgreSQL, by its URL and keys that the environment has."""
    url = postgres_url.replace("+psycopg", "") if app == "django_app" else postgres_url
    keys = {"LINK_KEYS": Fernet.generate_key().decode(), "SESSION_SECRET": "5e" * 25}
    with served.running(DATABASE_URL=url, **keys), served.signed_in() as ada:
        token = ada.post("/api/link-token", json={}).json()["link_token"]
        body = {"link_token": token, "masks": ["0000", "3333"]}
        done = the_world.control("POST", "/complete_link", body)
        first, second = (ada.post("/api/links", json=done) for _ in range(2))
        assert (first.status_code, second.json()) == (201, first.json())
        (link,) = _links(ada)
        assert [each["handoff"] for each in link["accounts"]] == ["done"] * 2
        assert ada.request("DELETE", f"/api/links/{link['item_id']}", json={}).status_code == 204
        assert _links(ada) == []
    assert not list((served.folder / "examples").rglob("*.db*"))
    assert the_world.books() == ["0000", "3333"]


def _links(user: Any) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = user.get("/api/state").json()["links"]
    return links


def _sign_in(
    page: Any,  # noqa: F811
    served: Served,
    user: str = "ada",
    password: str | None = None,
) -> None:
    """On the page; each user's password is the name."""
    if not page.url.startswith(served.url):
        page.goto(served.url)
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(password or user)
    page.get_by_role("button", name="Sign in").click()


def _reports(page: Any) -> list[str]:  # noqa: F811
    """What the browser will say that a policy keeps out."""
    reports: list[str] = []
    page.on(
        "console",
        lambda said: reports.append(said.text) if "Content Security Policy" in said.text else None,
    )
    return reports


@pytest.mark.browser
def test_a_users_way(page: Any, served: Served, the_world: World) -> None:  # noqa: F811
    """From the click on the button to the partners' books, a broken login, and the end."""
    refused = _reports(page)
    with served.running():
        _sign_in(page, served)
        page.get_by_text("No bank is connected yet").wait_for()
        _check_policy(page, the_world.url)
        page.evaluate(
            "() => { const { create } = Plaid; "
            "window.Plaid = { create: (config) => create({ ...config, token: said(config) }) }; "
            "function said({ token, cspNonce }) { window.cspNonce = cspNonce; return token; } }"
        )
        page.get_by_role("button", name="Connect a bank").click()
        LinkPane(page).connect(masks=["0000", "1111", "3333"])
        assert page.evaluate("cspNonce") == page.locator("body").get_attribute("data-nonce")
        page.get_by_role("heading", name="First Platypus Bank").wait_for()
        chips = page.locator('[data-partner="layer"][data-handoff="done"]')
        chips.nth(2).wait_for()
        assert chips.count() == 3
        assert the_world.books() == ["0000", "1111", "3333"]

        page.get_by_role("button", name="Pay with Finix").click()
        LinkPane(page).repair()  # Link asks for the consent that Finix needs
        page.get_by_label("1111").check()
        page.get_by_role("button", name="Use this account").click()
        page.locator('[data-partner="finix"][data-handoff="done"]').wait_for()
        assert the_world.instruments() == [("1111", True)]

        state = page.evaluate("fetch('/api/state').then((answer) => answer.json())")
        item_id = state["links"][0]["item_id"]
        assert any("fingerprint" in step["text"] for step in state["steps"])
        assert page.locator("#steps li").count() > 5

        the_world.control("POST", "/reset_login", {"item": item_id})  # and its webhook
        page.locator('[data-health="repair"]').wait_for()
        page.get_by_role("button", name="Repair").click()
        LinkPane(page).repair()
        page.locator('[data-health="healthy"]').wait_for()

        assert page.get_by_text(item_id).is_visible()
        page.get_by_role("button", name="Add accounts").click()
        LinkPane(page).repair(masks=["0000", "1111", "2222", "3333"])
        chips.nth(3).wait_for()
        assert the_world.books() == ["0000", "1111", "2222", "3333"]

        _disconnect(page)
        assert the_world.instruments() == [("1111", False)]
        assert [each["status"] for each in the_world.asked("/item/remove")] == [200]

        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        status = page.evaluate("fetch('/api/state').then((answer) => answer.status)")
        assert status == 401
    assert refused == []


def _check_policy(page: Any, plaid: str) -> None:  # noqa: F811
    """What Plaid's page asks for: Link gets the nonce of this page, and nothing is unsafe but that.

    Link sets style attributes, for which there is no nonce.
    """
    answer = page.reload()
    policy = dict(
        each.strip().split(" ", 1)
        for each in answer.headers["content-security-policy"].split(";")
        if each.strip()
    )
    nonce = page.locator("body").get_attribute("data-nonce")
    assert f"'nonce-{nonce}'" in policy["script-src"].split()
    assert any(each.startswith(plaid) for each in policy["script-src"].split())
    assert f"'nonce-{nonce}'" in policy["style-src"].split()
    wanted = {"'self'", "https://sandbox.plaid.com", "https://production.plaid.com", plaid}
    assert wanted <= set(policy["connect-src"].split())
    assert policy["frame-src"].rstrip("/") == plaid
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    unsafe = {name for name, sources in policy.items() if "unsafe" in sources}
    assert unsafe == {"style-src-attr"}
    again = page.reload().headers["content-security-policy"]
    assert again != answer.headers["content-security-policy"]
    page.get_by_text("No bank is connected yet").wait_for()


def _disconnect(page: Any) -> None:  # noqa: F811
    page.get_by_role("button", name="Disconnect").click()
    page.locator("#dialog-ok").click()
    page.get_by_text("No bank is connected yet").wait_for()


@pytest.mark.browser
def test_a_bank_with_oauth(page: Any, served: Served) -> None:  # noqa: F811
    """It opens a window of its own, which no header of the application's may keep shut."""
    with served.running():
        _sign_in(page, served)
        page.get_by_role("button", name="Connect a bank").click()
        LinkPane(page).connect(institution="Platypus OAuth Bank", masks=["0000"])
        page.get_by_role("heading", name="Platypus OAuth Bank").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("app", ONE_FIRST)
def test_another_instrument_needs_the_users_word(
    page: Any,  # noqa: F811
    served: Served,
    the_world: World,
) -> None:
    """Where Finix has one of an earlier connection, the page asks before it makes a second.

    On a phone: nothing is wider than the screen.
    """
    page.set_viewport_size({"width": 390, "height": 800})
    pay = page.get_by_role("button", name="Pay with Finix")
    done = page.locator('[data-partner="finix"][data-handoff="done"]')
    question = page.get_by_text("Finix may have this account already: look there first.")
    with served.running():
        _sign_in(page, served)
        page.get_by_role("button", name="Connect a bank").click()
        LinkPane(page).connect()
        pay.click()
        LinkPane(page).repair()
        done.wait_for()
        _disconnect(page)
        page.get_by_role("button", name="Connect a bank").click()
        LinkPane(page).connect()
        pay.click()
        LinkPane(page).repair()
        question.wait_for()
        page.get_by_role("button", name="Cancel").click()
        assert the_world.instruments() == [("0000", False)]

        pay.click()
        question.wait_for()
        page.get_by_role("button", name="Make another").click()
        done.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert sorted(the_world.instruments()) == [("0000", False), ("0000", True)]


@pytest.mark.browser
@pytest.mark.parametrize("app", ["flask_app"])  # the others have the same front end
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.full)])
def test_axe_finds_nothing(
    page: Any,  # noqa: F811
    module: Callable[[str], str],  # noqa: F811
    served: Served,
    the_world: World,
    scheme: str,
) -> None:
    """No view of the page breaks a rule of axe-core's, best practices included."""
    axe = module("axe-core/axe.min.js")
    page.emulate_media(color_scheme=scheme)
    found = {}

    def look(view: str) -> None:
        page.evaluate(axe)
        broken = page.evaluate("axe.run().then(({ violations }) => violations)")
        found[view] = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in broken]

    with served.running():
        _sign_in(page, served, password="wrong")
        page.get_by_text("The user or the password is wrong.").wait_for()
        look("signing in")
        page.get_by_label("Password").fill("ada")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("No bank is connected yet").wait_for()
        look("no bank")
        page.get_by_role("button", name="Connect a bank").click()
        LinkPane(page).connect(masks=["0000", "1111"])
        page.locator('[data-handoff="done"]').nth(1).wait_for()
        look("a bank")
        page.get_by_role("button", name="Pay with Finix").click()
        LinkPane(page).repair()
        page.get_by_role("button", name="Use this account").wait_for()
        look("a choice")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Pay with Finix").and_(page.locator(":focus")).wait_for()
        state = page.evaluate("fetch('/api/state').then((answer) => answer.json())")
        the_world.control("POST", "/reset_login", {"item": state["links"][0]["item_id"]})
        page.get_by_role("button", name="Repair").wait_for()
        look("repair")
    assert {view: each for view, each in found.items() if each} == {}
    assert len(found) == 5
