"""`plaid-processors demo --browser`, with a person in front of Link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from plaid_processors.testing import LinkPane

pytestmark = pytest.mark.browser


@contextmanager
def demo() -> Iterator[subprocess.Popen[str]]:
    """The command while it runs; it opens no browser of its own here."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "plaid_processors", "demo", "--browser"],
        env={**os.environ, "BROWSER": "true", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def next_address(output: IO[str]) -> str:
    for line in output:
        if found := re.fullmatch(r" +Open (http://127\.0\.0\.1:\d+/link/\w{34})\n", line):
            return found[1]
    raise AssertionError("it gave no address to open")


def test_both_partners(page: Any) -> None:
    """Three accounts for Layer, one for Finix, and what the partners read."""
    with demo() as process:
        assert process.stdout is not None
        page.goto(next_address(process.stdout))
        LinkPane(page).connect(masks=["0000", "1111", "3333"])
        page.goto(next_address(process.stdout))
        person = LinkPane(page)
        person.choose_bank("Tartan Bank", search="tartan")
        person.sign_in()
        person.sees("Choose one account")
        person.choose_accounts(["1111"])
        person.finish()
        rest = process.stdout.read()
        assert process.wait(timeout=20) == 0
    assert "account 1111222233331111, routing 011401533" in rest
    assert "Processor tokens: 3 for Layer, 1 for Finix" in rest


def test_the_person_leaves(page: Any) -> None:
    """The demo ends with a line that says so."""
    with demo() as process:
        assert process.stdout is not None
        assert process.stderr is not None
        page.goto(next_address(process.stdout))
        LinkPane(page).sees("Choose your bank")
        LinkPane(page).leave()
        assert process.wait(timeout=20) == 1
        told = process.stderr.read()
    assert told == "plaid-processors: Link was left without connecting a bank\n"
