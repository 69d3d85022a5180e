"""Runs the Python code of the README and the docs, against a local Plaid; and what is skipped."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from plaid_processors.sandbox import LocalSandbox

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/reference/*.md"],
    fixtures=["local_plaid"],
).pytest()


@pytest.fixture(scope="module")
def local_plaid() -> Iterator[LocalSandbox]:
    """One local Plaid for each page, with the environment that a client of it needs."""
    with LocalSandbox() as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAID_CLIENT_ID", sandbox.client_id)
        patch.setenv("PLAID_SECRET", sandbox.secret)
        patch.setenv("PLAID_BASE_URL", sandbox.url)
        patch.setenv("PLAID_ENV", "sandbox")
        yield sandbox


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With xdist, the code of one page runs in one worker, in its order; so do all that browse."""
    from xdist.scheduler import LoadScopeScheduling

    class ByPage(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path, _, _ = nodeid.partition("::")
            for folder in ("tests/apps", "tests/browser"):
                if f"{folder}/" in path:
                    return folder  # one Chromium, and one server, are enough for a small machine
            return path if path.endswith(".md") else nodeid

    return ByPage(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More processes than cores, since much of the time is waiting; `-n0` uses one."""
    asked_for = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")
    return int(asked_for) if asked_for.isdecimal() else min((os.cpu_count() or 1) + 2, 16)


def pytest_configure() -> None:
    """Ctrl-C is tested, also where a shell started pytest in the background, deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


MARKED = {
    "slow": "takes long",
    "full": "is one of the whole grids of .ci/full",
    "server": "needs a server",
    "browser": "needs Chromium",
    "node": "needs Node",
}
"""Why tests with these marks wait for .ci/run, or for `-m` and the mark."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plain `pytest` is quick and needs Python alone: the rest is skipped, with its reason."""
    if _skips_fail():
        return
    asked_for = config.option.markexpr
    for mark, reason in MARKED.items():
        if mark in asked_for:
            continue
        skip = pytest.mark.skip(reason=f"{reason}; run it by `-m {mark}`, or all by .ci/run")
        for item in items:
            if item.get_closest_marker(mark):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With PLAID_PROCESSORS_NO_SKIP set, as in .ci/run, a skipped test is a failed one."""
    return _unskipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    return _unskipped((yield))


def _unskipped(report: Report) -> Report:
    if report.skipped and not hasattr(report, "wasxfail") and _skips_fail():
        report.outcome = "failed"
        report.longrepr = f"skipped, which .ci/run does not allow: {report.longrepr}"
    return report


def _skips_fail() -> bool:
    return bool(os.environ.get("PLAID_PROCESSORS_NO_SKIP"))
