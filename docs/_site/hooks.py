"""What the site needs beside MkDocs: pages and links outside of docs/, hidden code, names."""

from __future__ import annotations

import importlib
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

log = logging.getLogger("mkdocs.hooks.plaid_processors")

ROOT = Path(__file__).parents[2]
# Pages of the site that stand beside README.md: the site has them in small letters.
AT_THE_ROOT = {each.lower(): each for each in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}

# Sybil's comments: code that runs in the tests and is not shown.
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_NAME = re.compile(
    r"(?P<left><(?P<tag>pre|a|h\d|autoref)\b.*?</(?P=tag)>)"
    r"|<code>(?P<name>[A-Za-z_]+)(?P<member>\.[a-z_]+)?(?P<call>\(\))?</code>",
    re.DOTALL,
)
# As docstrings name a page; not in code.
_MENTION = re.compile(r"(?<![\w/\">])docs/([\w-]+\.md)(?![\w\"#])")
_MODULES = ("", ".handoff", ".store", ".backfill", ".sandbox")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for page, name in AT_THE_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Leave out hidden code, and mend the links that leave docs/."""
    own = page.file.src_uri
    source = AT_THE_ROOT.get(own, f"docs/{own}")
    markdown = _COMMENT.sub("", markdown)
    return _LINK.sub(lambda link: _mended(link[1], source, own, config.repo_url or ""), markdown)


def _mended(link: str, source: str, own: str, repository: str) -> str:
    if ":" in link or link.startswith(("#", "/")):
        return link
    path, _, anchor = link.partition("#")
    anchor = anchor and f"#{anchor}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if target in AT_THE_ROOT.values():
        target = f"docs/{target.lower()}"
    if target.startswith("docs/"):
        here = posixpath.dirname(f"docs/{own}")
        return posixpath.relpath(target, here) + anchor
    if not (ROOT / target).exists():
        log.warning("%s has a link to %s, which is not there", source, link)
    kind = "tree" if (ROOT / target).is_dir() else "blob"
    return f"{repository}/{kind}/main/{target}{anchor}"


def on_page_content(html: str, *, page: Page, files: Files, **_: Any) -> str:
    """Make links of public names in the text, and of pages that docstrings name."""

    def to_page(mention: re.Match[str]) -> str:
        target = files.get_file_from_path(mention[1])
        if target is None:
            log.warning("%s mentions %s, which is not there", page.file.src_uri, mention[0])
            return mention[0]
        return f'<a href="{get_relative_url(target.url, page.url)}">{mention[0]}</a>'

    return _NAME.sub(_linked, _MENTION.sub(to_page, html))


def _linked(found: re.Match[str]) -> str:
    place = _places().get(found["name"] or "")
    if place is None:
        return found[0]
    identifier = place + (found["member"] or "")
    return f'<autoref identifier="{identifier}" optional>{found[0]}</autoref>'


def _places() -> dict[str, str]:
    """Where each exported name is. A plain word, such as `partners`, may mean another thing."""
    if not _PLACES:
        for module in (f"plaid_processors{each}" for each in _MODULES):
            names: Any = importlib.import_module(module).__all__
            for name in names:
                if not name.startswith("_") and (name[0].isupper() or "_" in name):
                    _PLACES.setdefault(name, f"{module}.{name}")
        _PLACES["LinkPane"] = "plaid_processors.testing.LinkPane"
    return _PLACES


_PLACES: dict[str, str] = {}
