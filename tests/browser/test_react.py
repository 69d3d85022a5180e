"""A page with react-plaid-link, whose fixed address of Plaid's is routed to the local Plaid."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import LinkPane

from .conftest import HERE, MODULES
from .shapes import ACCOUNT_KEYS, ERROR_KEYS, EVENT_KEYS, EXIT_KEYS, SUCCESS_KEYS
from .shop import Shop

pytestmark = pytest.mark.browser

PLAIDS_ADDRESS = "https://cdn.plaid.com/link/v2/stable/link-initialize.js"
HTML = '<!doctype html><html lang="en"><title>A</title><div id="root"></div><script src="/app.js">'


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The application, bundled for a browser."""
    if not (MODULES / "esbuild").exists():
        pytest.skip("npm install was not run in tests/browser")
    built: Path = tmp_path_factory.mktemp("react") / "app.js"
    command = ["node_modules/.bin/esbuild", "react_app.jsx", "--bundle", "--jsx=transform"]
    subprocess.run(
        [*command, "--define:process.env.NODE_ENV='development'", f"--outfile={built}"],
        cwd=HERE, check=True, capture_output=True,
    )  # fmt: skip
    return built.read_text(encoding="utf-8")


@pytest.fixture
def open_app(
    page: Any, sandbox: LocalSandbox, open_shop: Callable[..., Shop], bundle: str
) -> Callable[..., Shop]:
    def go(partner: str, query: str = "") -> Shop:
        shop = open_shop(partner)
        shop.page("/app.js", bundle, "text/javascript")
        script = page.request.get(f"{sandbox.url}/link/v2/stable/link-initialize.js")
        page.route(PLAIDS_ADDRESS, lambda route: route.fulfill(response=script))
        page.goto(shop.page("/", f"{HTML}</script>") + query)
        page.get_by_role("button", name="Connect your bank").click()
        return shop

    return go


def keys_of(types: str, interface: str) -> set[str]:
    """The keys of an interface, those that may be left out as well."""
    found = re.search(rf"export interface {interface} \{{(.*?)\}}", types, re.DOTALL)
    assert found
    return set(re.findall(r"^ +(\w+)\??:", found[1], re.MULTILINE))


def test_the_shapes_are_those_of_the_types(module: Callable[[str], str]) -> None:
    """What the other tests take for Link's shape is what react-plaid-link's types say."""
    types = module("react-plaid-link/dist/types/index.d.ts")
    assert keys_of(types, "PlaidLinkOnEventMetadata") == EVENT_KEYS
    assert keys_of(types, "PlaidAccount") == ACCOUNT_KEYS
    assert keys_of(types, "PlaidLinkOnExitMetadata") == EXIT_KEYS
    assert keys_of(types, "PlaidLinkError") == ERROR_KEYS
    # `account` is an older key, which the documents' readers may still use.
    assert keys_of(types, "PlaidLinkOnSuccessMetadata") | {"account"} == SUCCESS_KEYS
    assert keys_of(types, "PlaidHandler") == {"open", "exit", "destroy", "submit"}


def told(page: Any, words: str) -> None:
    page.get_by_role("status").get_by_text(words).wait_for()


@pytest.mark.parametrize("query", ["", "?strict"])
def test_layer(page: Any, open_app: Callable[..., Shop], query: str) -> None:
    """From the hook to processor tokens for Layer, in strict mode too, which mounts twice."""
    shop = open_app("layer", query)
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="error_ITEM_LOCKED")
    person.sees("That did not work")
    person.press("Try again")
    person.sign_in()
    person.choose_accounts(["0000", "3333"])
    person.finish()

    told(page, "Linked: checking …0000, credit card …3333")
    assert len(shop.result.processor_tokens) == 2


def test_finix(page: Any, open_app: Callable[..., Shop], sandbox: LocalSandbox) -> None:
    """The same for Finix, with one account to choose."""
    sandbox.set_account_select("one")
    shop = open_app("finix")
    LinkPane(page).connect(masks=["1111"])
    told(page, "Linked: savings …1111")
    assert shop.result.institution_name == "First Platypus Bank"


def test_leaving(page: Any, open_app: Callable[..., Shop]) -> None:
    """The hook's onExit; it can be opened again."""
    open_app("layer")
    person = LinkPane(page)
    person.choose_bank()
    person.leave()
    told(page, "Left: no error, requires_credentials")
    page.get_by_role("button", name="Connect your bank").click()
    LinkPane(page).sees("Choose your bank")


def test_exit_by_the_hook(page: Any, open_app: Callable[..., Shop]) -> None:
    """Its `exit` closes Link and calls back."""
    open_app("layer")
    LinkPane(page).sees("Choose your bank")
    page.evaluate("new Promise((done) => window.exitLink({ force: true }, done))")
    told(page, "Left: no error, null")


def test_taken_away(page: Any, open_app: Callable[..., Shop]) -> None:
    """When its component goes, the iframe goes too."""
    open_app("layer")
    person = LinkPane(page)
    person.sees("Choose your bank")
    person.leave()
    page.get_by_role("button", name="Take it away").click()
    page.wait_for_function("document.querySelectorAll('iframe').length === 0")
