"""The pages have all that there is, and point at what is there. The reference: test_site.py."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.fernet import Fernet

import plaid_processors
from plaid_processors import (
    PartnerAdapter,
    PlaidApiError,
    PlaidProcessorsError,
    handoff,
    pytest_plugin,
    sandbox,
    store,
)
from plaid_processors.cli.partners import accounts_of

from .support.rows import rows

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
AT_THE_ROOT = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
PAGES = [*(ROOT / name for name in AT_THE_ROOT), *sorted(DOCS.rglob("*.md"))]


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def words(*names: str) -> set[str]:
    """Every name in the pages, as Python would spell it."""
    return set(re.findall(r"\w+", text(*names)))


def test_every_error_is_in_its_page() -> None:
    """Each error class stands in the page that says what to do."""
    exported = {name: getattr(plaid_processors, name) for name in plaid_processors.__all__}
    names = {
        name
        for name, value in exported.items()
        if isinstance(value, type) and issubclass(value, PlaidProcessorsError)
    }
    assert names - words("docs/errors.md") == set()


def test_every_attribute_of_an_api_error_is_in_its_page() -> None:
    """What an error carries is told."""
    error = PlaidApiError(error_type="API_ERROR", error_code="INTERNAL_SERVER_ERROR")
    carried = {"retry_after", *vars(error)}
    assert carried - words("docs/errors.md") == set()


def test_every_adapter_is_in_its_page() -> None:
    """Each partner with a class of its own stands in its page by name, class and rule."""
    page = text("docs/partners.md")
    known = [plaid_processors.get_adapter(name) for name in ("finix", "layer")]
    told = [
        {type(each).__name__, f'"{each.processor}"', each.rule} - set(_found(page, each))
        for each in known
    ]
    assert told == [set()] * len(known)


def test_the_catalogue_is_in_its_page() -> None:
    """Each partner has its row, with what the catalogue has and its source."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (\w+) \| (.+?) \| (.+?) \| (?:\[page\]\((.+)\)|none) \|$",
        text("docs/any-partner.md"),
        re.MULTILINE,
    )
    assert rows == [
        (
            each.processor,
            each.name,
            accounts_of(each.adapter),
            ", ".join(each.adapter.subtypes or ["any"]),
            ", ".join(each.adapter.products) or "?",
            each.source or "",
        )
        for each in plaid_processors.partners()
    ]


def test_how_many_have_no_rule_is_told_right() -> None:
    """The number in the page is the catalogue's."""
    count = sum(each.adapter.as_given for each in plaid_processors.partners())
    assert f"For {count} names" in text("docs/any-partner.md")


def test_every_error_of_a_handoff_is_in_its_page() -> None:
    """The errors of a hand-off have their table."""
    errors = {name for name in handoff.__all__ if name.endswith("Error")}
    assert errors - words("docs/errors.md") == set()


def test_every_state_and_column_of_the_store_is_in_its_page() -> None:
    """Who looks into the database, or at a state, finds in the page what it means."""
    tables = store.SqlStore("sqlite://", keys=[Fernet.generate_key()]).metadata.tables
    columns = {name for table in tables.values() for name in table.columns.keys()}  # noqa: SIM118
    states = {*store.LinkState, *store.HandoffState}
    assert ({*tables, *columns} | states) - words("docs/store.md") == set()


def test_every_reason_of_the_backfill_is_in_its_page() -> None:
    """Why an Item is passed over, or failed, is explained."""
    source = (ROOT / "src/plaid_processors/backfill/item.py").read_text(encoding="utf-8")
    reasons = set(re.findall(r'(?:_Over\(|reason=|return )"([a-z_]+)"', source))
    assert len(reasons) > 8
    assert reasons - words("docs/many-items.md") == set()


def test_every_name_of_the_sandbox_is_in_the_docs() -> None:
    """Each stand-in, and what it shows, stands in a page."""
    names = {"LocalFinix", "LocalLayer", "FinixInstrument", "LayerBook", "PartnerRequest"}
    assert names <= set(sandbox.__all__)
    assert names - words("docs/sandbox.md") == set()


def _found(page: str, adapter: PartnerAdapter) -> list[str]:
    wanted = (type(adapter).__name__, f'"{adapter.processor}"', adapter.rule)
    return [each for each in wanted if each in page]


def test_every_fixture_is_in_its_page() -> None:
    """Each fixture and the marker of the pytest plugin stand in the page for who tests."""
    prefixes = ("plaid_", "processor_", "local_")
    public = {name for name in vars(pytest_plugin) if name.startswith(prefixes)}
    assert {"plaid_sandbox", "processor_linker", "local_layer"} <= public
    wanted = {*public, "async_processor_linker", pytest_plugin.MARKER}
    assert wanted - words("docs/testing.md") == set()


def test_every_page_is_on_the_map() -> None:
    """A page that nothing leads to is not read."""
    maps = {"docs": text("docs/index.md"), "reference": text("docs/reference/index.md")}
    pages = {page for page in DOCS.rglob("*.md") if page.name != "index.md"}
    assert [page for page in pages if f"]({page.name})" not in maps[page.parent.name]] == []
    assert "](reference/index.md)" in maps["docs"]


@rows("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Each relative link names a file that is there, and a heading that it has."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    broken = [
        (path, heading)
        for path, heading in links
        if not _leads_somewhere(page.parent / path if path else page, heading)
    ]
    assert broken == []


def _leads_somewhere(target: Path, heading: str) -> bool:
    return target.exists() and (not heading or heading in _headings(target))


def _headings(page: Path) -> set[str]:
    """The headings of a page, and the docstrings that it shows, as its links name them."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}
    return headings | set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))


@rows(
    "command",
    ['pip install ".[sandbox]" && plaid-processors demo', 'pip install -e ".[test]" && pytest'],
)
def test_the_readme_has_the_two_commands(command: str) -> None:
    """The two commands that everything begins with stand in the README as they are run."""
    assert command in text("README.md")
