"""The tutorial prints what it says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from plaid_processors.sandbox import PlaidSandbox

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"^<!--- invisible-code-block: python\n(?P<hidden>.*?)^-->$"
    r"|^```python\n(?P<code>.*?)^```$|^```text\n(?P<output>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def steady(text: str) -> str:
    """The text without what differs from run to run."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"(?<=-sandbox-…)\w{4}|\b(?=\w*\d)[0-9a-f]{12}\b", "DIGITS", text)
    return re.sub(r"\b(?=\w*[A-Z])\w{20,}\b", "ID", text)


def run(page: str, names: dict[str, Any]) -> list[tuple[str, str]]:
    """Run the blocks in their order: each output that is shown, and what was printed before it."""
    pairs, printed = [], io.StringIO()
    for block in BLOCK.finditer(page):
        if block["output"] is not None:
            pairs.append((steady(block["output"]), steady(printed.getvalue())))
            printed = io.StringIO()
            continue
        with contextlib.redirect_stdout(printed):
            exec(block["code"] or block["hidden"], names)
    assert printed.getvalue() == "", "printed, and not shown"
    return pairs


def test_the_tutorial_prints_what_it_shows(
    plaid_sandbox: PlaidSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each block of output is what its step prints, but for ids, ports and fingerprints."""
    for name, value in plaid_sandbox.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)

    pairs = run(PAGE.read_text(encoding="utf-8"), {"local_plaid": plaid_sandbox})

    assert len(pairs) > 10
    assert [shown for shown, _ in pairs] == [printed for _, printed in pairs]
    assert dict(os.environ) == before


def test_the_text_that_is_compared_says_enough() -> None:
    """What is left out of the comparison is ids, and not words."""
    assert steady("checking …0000 a1b2c3d4e5f6") == "checking …0000 DIGITS"
    assert steady("credit card, Plaid, success") == "credit card, Plaid, success"


@pytest.mark.slow
def test_the_tutorial_in_the_world_that_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a reader types works in the world of `sandbox --partners`, with its variables alone."""
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "plaid_processors"]
    world = [*command, "sandbox", "--partners", "--port", "0", "--env-file", ".env"]
    names: dict[str, Any] = {}
    choices = [["0000", "3333"], ["0000", "1111"]]
    triggered: list[subprocess.Popen[bytes]] = []
    with subprocess.Popen(world, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if line.startswith("Local Plaid at"):
                    break
            written = Path(".env").read_text(encoding="utf-8")
            for name, value in re.findall(r"^(\w+)=(.*)$", written, re.MULTILINE):
                monkeypatch.setenv(name, value)
            for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(block["code"] or "", names)
                if "/link/" in printed.getvalue():
                    go_through_link(names["token"].link_token, choices.pop(0))
                elif printed.getvalue().startswith("plaid-processors trigger"):
                    triggered.append(subprocess.Popen([*command, *printed.getvalue().split()[1:]]))
        finally:
            server.terminate()
    assert choices == []
    assert [each.wait(20) for each in triggered] == [0]


def go_through_link(link_token: str, masks: list[str]) -> None:
    """What the reader does in the browser."""
    body = json.dumps({"link_token": link_token, "masks": masks}).encode()
    address = os.environ["PLAID_BASE_URL"] + "/_sandbox/complete_link"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
