"""The documentation site in a browser: on a screen and on a phone, in light and dark, offline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ..support.site import build

pytestmark = pytest.mark.browser

PAGES = ["", "store/", "sandbox/", "reference/linker/", "reference/command-line/", "changelog/"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the built site is served."""
    folder: Path = build(tmp_path_factory.mktemp("site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_is_wider_than_the_screen(page: Any, address: str, width: int, scheme: str) -> None:
    """What is wide scrolls in its own place; and no page asks another host (see `page`)."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in PAGES:
        page.goto(address + path, wait_until="load" if path else "networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        shown = page.evaluate("document.body.getAttribute('data-md-color-scheme')")
        assert shown == {"light": "default", "dark": "slate"}[scheme]


def test_the_search_needs_no_other_host(page: Any, address: str) -> None:
    """Searching for a call leads to it in the reference."""
    page.goto(address)
    box = page.get_by_role("textbox", name="Search")
    box.click()
    page.get_by_text("Type to start searching").wait_for()  # the index is there
    box.press_sequentially("verify_webhook")  # it listens to keys
    found = page.locator(".md-search-result__link[href*='reference/linker/']").first
    found.click()
    page.wait_for_url("**/reference/linker/**")
