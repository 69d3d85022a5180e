"""The table of promises names tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [
    line
    for line in (HERE / "promises.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and line not in ("| Promise | Tests |", "|---|---|")
]


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {each.name for each in functions if each.name.startswith("test_")}


def test_every_promise_has_its_tests() -> None:
    """Each row names at least one test, and each test that it names is in its file."""
    assert len(ROWS) > 100
    for row in ROWS:
        _, promise, tests, _ = re.split(r"(?<!\\)\|", row)
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named, f"no test of: {promise}"
        missing = [f"{file}::{name}" for file, name in named if name not in names_in(file)]
        assert missing == [], promise
