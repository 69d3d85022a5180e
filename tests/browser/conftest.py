"""What the browser tests share: Debian's Chromium, an application, and its pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox

from .shop import Shop

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


# Playwright keeps an event loop running in this thread, and other modules' tests run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, the one that is installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install it")
    path = _chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser that remembers nothing, at a desktop's width."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)  # a busy machine is no failure
    yield context
    context.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A page; nothing in it may go wrong unseen, or reach out of this machine."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: _is_local(request.url) or errors.append(request.url))
    yield page
    assert errors == []


def _is_local(url: str) -> bool:
    # Plaid's own address stands for the local script, where a test has routed it here.
    local = ("http://127.0.0.1:", "data:", "blob:", "https://cdn.plaid.com/link/v2/stable/")
    return url.startswith(local)


@pytest.fixture(scope="session")
def module() -> Callable[[str], str]:
    """Reads a file of an npm package."""

    def read(path: str) -> str:
        if not (MODULES / path).exists():
            pytest.skip("npm install was not run in tests/browser")
        return (MODULES / path).read_text(encoding="utf-8")

    return read


@pytest.fixture
def sandbox() -> Iterator[LocalSandbox]:
    """A local Plaid with a Finix customization of one account, as its page asks for."""
    with LocalSandbox() as sandbox:
        sandbox.set_account_select("one", "one-account")
        yield sandbox


@pytest.fixture
def linker(sandbox: LocalSandbox) -> Iterator[ProcessorLinker]:
    """A linker on it."""
    with ProcessorLinker(sandbox.client()) as linker:
        yield linker


@pytest.fixture
def open_shop(linker: ProcessorLinker) -> Iterator[Callable[..., Shop]]:
    """Opens an application for one partner."""
    with ExitStack() as stack:
        yield lambda partner: stack.enter_context(Shop(linker, partner))


# Takes down all that Link calls back with, for the tests to read.
RECORDING = """
<!doctype html><html lang="en"><title>A page</title>
<h1>A page</h1><button id="open">Connect</button>
<script>window.calls = [];</script>
<script src="{script}"></script>
<script>
  const note = (name) => (...given) => window.calls.push([name, ...given]);
  window.make = (more) => (window.handler = Plaid.create({{
    token: "{token}", onSuccess: note("onSuccess"), onExit: note("onExit"),
    onEvent: note("onEvent"), onLoad: note("onLoad"), ...more,
  }}));
  {begin}
  document.getElementById("open").onclick = () => window.handler.open();
</script>
"""


@pytest.fixture
def recording(
    page: Any, sandbox: LocalSandbox, open_shop: Callable[..., Shop]
) -> Callable[..., Callable[[str], list[Any]]]:
    """Opens a page that takes down Link's calls, and gives what reads them by name."""
    shop = open_shop("layer")

    def go(token: str, begin: str = "make();", path: str = "/page") -> Callable[[str], list[Any]]:
        script = f"{sandbox.url}/link/v2/stable/link-initialize.js"
        html = RECORDING.format(script=script, token=token, begin=begin)
        page.goto(shop.page(path, html))
        return lambda name: [
            given for called, *given in page.evaluate("window.calls") if called == name
        ]

    return go
