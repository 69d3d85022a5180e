"""The documentation site: what must stand in it, building it, and looking through what was built.

``python -m tests.support.site FOLDER`` looks through a built site, as .ci/run does.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import plaid_processors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

# What a page loads by itself, as against what a reader may click on.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "embed": "src"}
LOADED |= {"link": "href", "use": "href", "video": "src", "audio": "src", "object": "data"}


def exported() -> dict[str, object]:
    """Each public name of the package with its value: all that its modules export."""
    return {
        f"{module.__name__}.{name}": value
        for module in _public_modules()
        for name in module.__all__
        if not isinstance(value := getattr(module, name), ModuleType)
    }


def _public_modules() -> Iterator[ModuleType]:
    """The modules that list what they export."""
    yield plaid_processors
    for each in pkgutil.walk_packages(plaid_processors.__path__, "plaid_processors."):
        if not any(part.startswith("_") for part in each.name.split(".")):
            module = importlib.import_module(each.name)
            if hasattr(module, "__all__"):
                yield module


def build(folder: Path) -> Path:
    """Build the site, with warnings as errors; or take the one that .ci/run has built."""
    if built := os.environ.get("PLAID_PROCESSORS_SITE"):
        return Path(built)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.comments: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if LOADED.get(tag, "") in given and given.get("rel") not in ("next", "prev", "canonical"):
            self.loaded.append(given[LOADED[tag]])
        self.loaded += _addresses(given.get("style", ""))
        self.loaded += [each.split()[0] for each in given.get("srcset", "").split(",") if each]

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def _addresses(css: str) -> list[str]:
    """What a style sheet loads."""
    return re.findall(r"""(?:url\(|@import\s+)\s*["']?([^"')\s;]+)""", css)


def complaints(site: Path) -> list[str]:
    """What is wrong with a built site, one line each."""
    return [*_of_pages(site), *_of_styles(site), *_of_inventory(site)]


def _of_pages(site: Path) -> Iterator[str]:
    @cache
    def page(path: Path) -> _Page:
        return _Page(path.read_text(encoding="utf-8"))

    pages = sorted(site.rglob("*.html"))
    if not pages:
        yield f"{site}: no page"
    for path in pages:
        name = path.relative_to(site)
        for comment in page(path).comments:
            yield f"{name}: a comment is left in it: {comment.strip()[:60]!r}"
        for link in (*page(path).links, *page(path).loaded):
            address = urlsplit(link)
            if address.scheme or address.netloc:
                if link in page(path).loaded and address.scheme != "data":
                    yield f"{name}: loads {link}"
                continue
            target = _target(site, path, address.path)
            if not target.is_file():
                yield f"{name}: {link} leads nowhere"
            elif address.fragment and target.suffix == ".html":
                # Material's marks for its own parts of a page.
                anchor = unquote(address.fragment)
                if anchor not in page(target).anchors and not anchor.startswith("__"):
                    yield f"{name}: {link} has no such place"


def _target(site: Path, page: Path, path: str) -> Path:
    if not path:
        return page
    start = site if path.startswith("/") else page.parent
    target = (start / unquote(path).lstrip("/")).resolve()
    return target / "index.html" if target.is_dir() else target


def _of_styles(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.css")):
        for address in _addresses(path.read_text(encoding="utf-8")):
            if urlsplit(address).netloc:
                yield f"{path.relative_to(site)}: loads {address}"


def _of_inventory(site: Path) -> Iterator[str]:
    inventory = site / "objects.inv"
    if not inventory.is_file():
        yield "objects.inv is not there"
        return
    header, rest = inventory.read_bytes().split(b"using zlib.\n", 1)
    if b"Sphinx inventory version 2" not in header:
        yield "objects.inv is no inventory"
    names = {line.split(" ")[0] for line in zlib.decompress(rest).decode().splitlines()}
    for name in sorted({*exported()} - {"plaid_processors.__version__"} - names):
        yield f"objects.inv has no {name}"


def main(folder: Path) -> int:
    """Look through a site, print what is wrong, and return the exit status."""
    found = complaints(folder)
    pages = len([*folder.rglob("*.html")])
    print(*found, f"{pages} pages, {len(found)} complaints", sep="\n")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
