"""The reference has every public name and no other; the site that is built of it holds together.

Most of it looks at the package's live objects and at the pages, and builds nothing.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from plaid_processors import (
    PartnerAdapter,
    PlaidProcessorsError,
    ProcessorLinker,
    pytest_plugin,
    settings,
)
from plaid_processors.cli.parser import make_parser
from plaid_processors.sandbox.calls import ENDPOINTS

from .support import site
from .support.site import DOCS, ROOT, exported

REFERENCE = DOCS / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def documented(name: str = "*") -> list[str]:
    """The names that a page, or all, shows the docstrings of."""
    found = sorted(REFERENCE.glob(f"{name}.md"))
    texts = [each.read_text(encoding="utf-8") for each in found]
    return re.findall(r"^::: ([\w.]+)$", "\n".join(texts), re.MULTILINE)


def value_of(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def fixtures() -> dict[str, object]:
    """The public fixtures of the plugin."""
    return {
        f"{pytest_plugin.__name__}.{name}": value
        for name, value in vars(pytest_plugin).items()
        if not name.startswith("_")
        # Since pytest 8.4, and before it.
        and (
            type(value).__name__ == "FixtureFunctionDefinition"
            or hasattr(value, "_pytestfixturefunction")
        )
    }


def test_every_exported_name_is_in_the_reference() -> None:
    """What can be imported can be looked up, by one of its names; so can each fixture."""
    shown = documented()
    values = {id(value_of(each)) for each in shown}
    missing = {name for name, value in exported().items() if id(value) not in values}
    assert missing == {"plaid_processors.__version__"}
    assert "`plaid_processors.__version__`" in page("index")
    assert len(fixtures()) > 5
    assert fixtures().keys() - set(shown) == set()


def test_the_reference_has_no_other_name() -> None:
    """Each name in it is there and exported, and stands in it once."""
    public = exported().keys() | fixtures().keys()
    assert set(documented()) - public == set()
    values = [id(value_of(each)) for each in documented()]
    assert len(values) == len(set(values))


def test_every_shown_member_has_a_docstring() -> None:
    """The reference leaves out what has none."""
    silent = [f"{path}.{name}" for path, name, doc in members() if not doc]
    assert silent == []


def members() -> Iterator[tuple[str, str, str | None]]:
    """The public methods and properties of each class in the reference, with their docstrings."""
    for path in documented():
        value = value_of(path)
        for name in dir(value) if inspect.isclass(value) else ():
            member = inspect.getattr_static(value, name)
            called = getattr(member, "__func__", getattr(member, "fget", member))
            own = str(getattr(called, "__module__", "")).startswith("plaid_processors")
            if own and inspect.isfunction(called) and not name.startswith("_"):
                yield path, name, inspect.getdoc(called)


def test_every_error_is_in_its_page() -> None:
    """Each error class that is exported stands among the errors."""
    errors = {
        value
        for value in exported().values()
        if isinstance(value, type) and issubclass(value, PlaidProcessorsError)
    }
    assert len(errors) > 30
    assert errors - {value_of(each) for each in documented("errors")} == set()


def test_every_adapter_is_in_its_page() -> None:
    """So does each adapter among the adapters."""
    adapters = {
        value
        for value in exported().values()
        if isinstance(value, type) and issubclass(value, PartnerAdapter)
    }
    assert len(adapters) > 2
    assert adapters - {value_of(each) for each in documented("adapters")} == set()


def test_the_marker_is_in_its_page() -> None:
    """The plugin's marker stands beside its fixtures."""
    assert f"@pytest.mark.{pytest_plugin.MARKER}(" in page("testing")


def test_every_call_has_its_number_of_requests() -> None:
    """The table has each call that asks a server, and no other."""
    told = rows(page("linker").partition("**With a store**")[0])
    calls = {name for name in vars(ProcessorLinker) if not name.startswith("_")} - {"close"}
    assert {each.strip("`") for each in told} == calls


def test_the_limits_are_the_real_ones() -> None:
    """The table has every limit, with its default."""
    told = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page("client"), re.MULTILINE)
    assert {name: float(value) for name, value in told} == attrs.asdict(settings.Limits())


def test_the_endpoints_are_the_real_ones() -> None:
    """The table has each endpoint of the local Plaid, and no other."""
    told = rows(page("sandbox").partition("## Endpoints")[2])
    assert [each.strip("`") for each in told] == sorted(ENDPOINTS)


def test_the_commands_are_the_real_ones() -> None:
    """The page has each command and each option of the parser, and no other."""
    beginning, *sections = re.split(r"^## plaid-processors ", page("command-line"), flags=re.M)
    told = {"": options_told(beginning)}
    told |= {each.split()[0]: options_told(each) for each in sections}
    parser = make_parser()
    (commands,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    real = {"": options_of(parser)}
    real |= {name: options_of(each) for name, each in commands.choices.items()}
    assert told == real


def options_told(section: str) -> set[str]:
    return {each.strip("`").split()[0] for each in rows(section)}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {
        each.option_strings[-1] if each.option_strings else str(each.metavar or each.dest).upper()
        for each in parser._actions
        if not isinstance(each, (argparse._HelpAction, argparse._SubParsersAction))
    }


def rows(text: str) -> list[str]:
    """The first cells of a table's rows."""
    return re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    """Each page of docs/ has its place, once, and no place is of a page that is not there."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    there = {each.relative_to(DOCS).as_posix() for each in DOCS.rglob("*.md")}
    assert sorted(named(nav)) == sorted({*there, "changelog.md", "contributing.md", "security.md"})


def named(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, list):
        for each in nav:
            yield from named(each)
    elif isinstance(nav, dict):
        yield from named([*nav.values()])


# The checker of the built site can fail.

GOOD = """<html><head><link href="style.css" rel="stylesheet"></head><body>
<h1 id="top">Top</h1><a href="#top">up</a> <a href="other/#there">on</a>
<a href="https://plaid.com/">Plaid</a></body></html>"""


@pytest.fixture
def small_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site of two pages without fault, of a package without names."""
    monkeypatch.setattr(site, "exported", dict)
    (tmp_path / "other").mkdir()
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other/index.html").write_text('<p id="there"><a href="..">back</a></p>')
    (tmp_path / "style.css").write_text("p { background: url(data:image/png;base64,AA) }")
    (tmp_path / "objects.inv").write_bytes(inventory())
    assert site.complaints(tmp_path) == []
    return tmp_path


def inventory() -> bytes:
    return b"# Sphinx inventory version 2\n# using zlib.\n" + zlib.compress(b"a.b py:class 1 x -\n")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ('<a href="gone/">x</a>', "gone/ leads nowhere"),
        ('<a href="other/#gone">x</a>', "other/#gone has no such place"),
        ('<script src="https://cdn.example.com/x.js"></script>', "loads https://cdn.example.com"),
        ('<link rel="stylesheet" href="//fonts.example.com/x">', "loads //fonts.example.com/x"),
        ('<img src="https://example.com/x.png">', "loads https://example.com/x.png"),
        ('<img src="x.png">', "x.png leads nowhere"),
        ('<p style="background: url(https://example.com/x.png)">', "loads https://example.com"),
        ("<!-- hidden -->", "a comment is left in it"),
    ],
)
def test_the_checker_finds_what_is_wrong_in_a_page(
    small_site: Path, wrong: str, complaint: str
) -> None:
    """Each kind of fault is found, and nothing else."""
    (small_site / "index.html").write_text(GOOD.replace("</body>", wrong + "</body>"))
    (found,) = site.complaints(small_site)
    assert complaint in found


def test_the_checker_finds_a_font_of_another_host(small_site: Path) -> None:
    """A style sheet loads nothing from elsewhere."""
    (small_site / "style.css").write_text('@import "https://fonts.example.com/css";')
    assert site.complaints(small_site) == ["style.css: loads https://fonts.example.com/css"]


def test_the_checker_misses_a_name(small_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inventory has every exported name."""
    monkeypatch.setattr(site, "exported", lambda: {"a.b": 1, "a.c": 2})
    assert site.complaints(small_site) == ["objects.inv has no a.c"]


@pytest.mark.slow
def test_the_site_holds_together(tmp_path: Path) -> None:
    """It is built without a warning; links lead somewhere; nothing is loaded from elsewhere."""
    assert site.complaints(site.build(tmp_path)) == []
