"""The pytest plugin: a local Plaid, partners and a store for each test, linkers, faults by marker.

pytest imports this module at each start, used or not: the local Plaid is imported when a test first
uses it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import pytest

from .aio import AsyncProcessorLinker
from .errors import ConfigurationError
from .linker import ProcessorLinker
from .redaction import mask

if TYPE_CHECKING:
    from .sandbox import LocalFinix, LocalLayer
    from .sandbox.pytest_kit import PlaidSandbox
    from .store import LinkStore, MemoryStore

MARKER = "plaid_fault"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(path='*', **fault): something goes wrong at the local Plaid in this test, such "
        "as plaid_fault('/processor/token/create', error_code='RATE_LIMIT', times=1)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse the marker in a test without the local Plaid, where its fault would do nothing."""
    if item.get_closest_marker(MARKER) and "plaid_sandbox" not in getattr(item, "fixturenames", ()):
        pytest.fail(
            f"{MARKER} is about the fixture plaid_sandbox, which this test does not use: take it, "
            "or processor_linker or async_processor_linker, as an argument",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare(
    op: str, left: object, right: object
) -> Generator[None, list[list[str]], list[list[str]]]:
    """Mask Plaid's tokens where an assert that fails shows what it compared."""
    explanations = yield
    whole = f"{left!r} {op} {right!r}"
    if (masked := _masked(whole)) == whole:
        return [[_masked(line) for line in lines] for lines in explanations]
    # pytest shortens a long text, so that a token is none any more: the first line is ours, and no
    # line that shows less than a whole value follows.
    return [[masked]]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mask Plaid's tokens in what a test's report shows."""
    report = yield
    _mask_report(report)
    if hasattr(report, "wasxfail"):  # why the test was to fail
        report.wasxfail = _masked(report.wasxfail)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Mask them where a module could not be imported."""
    report = yield
    _mask_report(report)
    return report


def _mask_report(report: pytest.TestReport | pytest.CollectReport) -> None:
    if isinstance(report.longrepr, tuple):  # of a test that was skipped: its file, line and reason
        path, line, reason = report.longrepr
        report.longrepr = (path, line, _masked(reason))
    elif report.longrepr and _shows_a_token(report.longrepr):
        if hasattr(report.longrepr, "reprcrash"):  # pytest's own, and no other plugin's
            _mask_within(report.longrepr)  # so it keeps its colours, and the summary its one line
        if _shows_a_token(report.longrepr):
            report.longrepr = _masked(str(report.longrepr))
    report.sections = [(title, _masked(text)) for title, text in report.sections]


# Known types alone: a path such as /home/me/plaid-sandbox-demo is no token.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:access|public|link|processor|user|asset-report)"
    r"-(?:sandbox|production)-[A-Za-z0-9_.~-]+|btok_[A-Za-z0-9]+"
)


# The rest of a token whose beginning pytest has cut out, as it shortens what is long.
_REST = re.compile(r"(?<=\.\.\.)[A-Za-z0-9-]*[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])")


def _masked(text: str) -> str:
    return _REST.sub("…", _TOKEN.sub(lambda found: mask(found.group()), text))


def _mask_within(value: object) -> object:
    """Mask the texts of a report's parts, which pytest keeps in dataclasses; a text comes back."""
    if isinstance(value, str):
        return _masked(value)
    if isinstance(value, (list, tuple)):
        parts = [_mask_within(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if is_dataclass(value):
        for field in fields(value):
            setattr(value, field.name, _mask_within(getattr(value, field.name)))
    return value


def _shows_a_token(report: object) -> bool:
    return _masked(str(report)) != str(report)


@pytest.fixture(scope="session")
def _plaid_sandbox_server() -> Iterator[PlaidSandbox]:
    try:
        from .sandbox.pytest_kit import PlaidSandbox
    except ModuleNotFoundError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with PlaidSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def plaid_sandbox(
    request: pytest.FixtureRequest, _plaid_sandbox_server: PlaidSandbox
) -> Iterator[PlaidSandbox]:
    """A local Plaid, new for this test; strict when the test ends."""
    sandbox = _plaid_sandbox_server
    sandbox.reset()
    sandbox.strict = True
    for mark in reversed([*request.node.iter_markers(MARKER)]):  # the uppermost strikes first
        try:
            sandbox.fail(*mark.args, **mark.kwargs)
        except (TypeError, ValueError) as error:
            from .sandbox.faults import Fault

            known = ", ".join(Fault.__dataclass_fields__)
            raise ValueError(f"{MARKER}: {error} (a fault has: {known})") from None
    yield sandbox
    if complaint := sandbox.complaint():
        pytest.fail(complaint, pytrace=False)


@pytest.fixture
def local_layer(plaid_sandbox: PlaidSandbox) -> Iterator[LocalLayer]:
    """A stand-in for Layer that reads accounts at `plaid_sandbox`, new for this test."""
    from .sandbox import LocalLayer

    with LocalLayer(plaid_sandbox) as layer:
        yield layer


@pytest.fixture
def local_finix(
    request: pytest.FixtureRequest, plaid_sandbox: PlaidSandbox
) -> Iterator[LocalFinix]:
    """A stand-in for Finix that reads accounts at `plaid_sandbox`, new for this test."""
    from .sandbox import LocalFinix

    # Senders remember an unknown outcome by address and identity, and a port may come again.
    with LocalFinix(plaid_sandbox, seed=request.node.nodeid) as finix:
        yield finix


@pytest.fixture
def plaid_store() -> MemoryStore:
    """A store in memory, empty; in a test that uses it, the linkers keep their links in it."""
    from .store import MemoryStore

    try:
        return MemoryStore()
    except ConfigurationError as error:  # it needs the extra `store`
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _store_of(request: pytest.FixtureRequest) -> LinkStore | None:
    """What `plaid_store` gives, perhaps one of the user's own, if the test uses it."""
    uses_it = "plaid_store" in request.fixturenames
    return request.getfixturevalue("plaid_store") if uses_it else None


@pytest.fixture
def plaid_client_options() -> dict[str, Any]:
    """The options of the linkers' clients; override it to set, for example, `max_attempts`."""
    return {}


@pytest.fixture
def processor_linker(
    request: pytest.FixtureRequest,
    plaid_sandbox: PlaidSandbox,
    plaid_client_options: dict[str, Any],
) -> Iterator[ProcessorLinker]:
    """A `ProcessorLinker` on `plaid_sandbox`, closed when the test ends."""
    client = plaid_sandbox.client(**plaid_client_options)
    with ProcessorLinker(client, store=_store_of(request)) as linker:
        yield linker


@pytest.fixture
def async_processor_linker(
    request: pytest.FixtureRequest,
    plaid_sandbox: PlaidSandbox,
    plaid_client_options: dict[str, Any],
) -> Iterator[AsyncProcessorLinker]:
    """An `AsyncProcessorLinker` on `plaid_sandbox`, closed when the test ends."""
    with plaid_sandbox.client(**plaid_client_options) as client:
        yield AsyncProcessorLinker(client, store=_store_of(request))
