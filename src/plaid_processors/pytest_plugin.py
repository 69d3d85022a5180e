"""The pytest plugin: a local Plaid for each test, linkers that talk to it, and faults by marker.

Light: pytest imports it at each start, used or not. What it does stands in `pytest_kit`, which is
imported when a test first asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .aio import AsyncProcessorLinker
    from .linker import ProcessorLinker
    from .pytest_kit import PlaidSandbox

MARKER = "plaid_fault"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(path='*', **fault): something goes wrong at the local Plaid in this test, such "
        "as plaid_fault('/processor/token/create', error_code='RATE_LIMIT', times=1)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a fault that would strike nothing: without the local Plaid it goes unnoticed."""
    if item.get_closest_marker(MARKER) and "plaid_sandbox" not in getattr(item, "fixturenames", ()):
        pytest.fail(
            f"{MARKER} is about the fixture plaid_sandbox, which this test does not use: take it, "
            "or processor_linker or async_processor_linker, as an argument",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def _plaid_sandbox_server() -> Iterator[PlaidSandbox]:
    missing = None
    try:
        from .pytest_kit import PlaidSandbox
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__ or ""):
            raise
        missing = error.name
    if missing:
        pytest.fail(
            f'the local Plaid needs {missing}: pip install "plaid-processors[sandbox]"',
            pytrace=False,
        )
    with PlaidSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def plaid_sandbox(
    request: pytest.FixtureRequest, _plaid_sandbox_server: PlaidSandbox
) -> Iterator[PlaidSandbox]:
    """A local Plaid, new for this test; strict when the test ends."""
    sandbox = _plaid_sandbox_server
    sandbox.begin([(mark.args, mark.kwargs) for mark in request.node.iter_markers(MARKER)])
    yield sandbox
    complaint = sandbox.complaint()
    if complaint:
        pytest.fail(complaint, pytrace=False)


@pytest.fixture
def plaid_client_options() -> dict[str, Any]:
    """The options of the linkers' clients; override it, for one to set `max_attempts`."""
    return {}


@pytest.fixture
def processor_linker(
    plaid_sandbox: PlaidSandbox, plaid_client_options: dict[str, Any]
) -> Iterator[ProcessorLinker]:
    """A `ProcessorLinker` on `plaid_sandbox`, closed when the test ends."""
    from .linker import ProcessorLinker

    with ProcessorLinker(plaid_sandbox.client(**plaid_client_options)) as linker:
        yield linker


@pytest.fixture
def async_processor_linker(
    plaid_sandbox: PlaidSandbox, plaid_client_options: dict[str, Any]
) -> Iterator[AsyncProcessorLinker]:
    """An `AsyncProcessorLinker` on `plaid_sandbox`, closed when the test ends."""
    from .aio import AsyncProcessorLinker

    linker = AsyncProcessorLinker(plaid_sandbox.client(**plaid_client_options))
    try:
        yield linker
    finally:
        linker.client.close()
