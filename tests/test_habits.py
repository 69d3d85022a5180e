"""What CONTRIBUTING.md and SECURITY.md say is true; the report of coverage counts right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from plaid_processors import __version__

from .test_promises import ROWS, names_in

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_each_attack_has_its_tests() -> None:
    """Each row of SECURITY.md names tests that are there, and that are promised."""
    rows = re.findall(r"^\| [A-Z].*::.*\|$", text("SECURITY.md"), re.MULTILINE)
    assert len(rows) > 10
    promised = "\n".join(ROWS)
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        assert [name for file, name in named if name not in names_in(file)] == []
        assert [name for file, name in named if f"`{file}::{name}`" not in promised] == []


def test_the_version_in_security_is_this_one() -> None:
    """The supported version is the one that is here."""
    major, minor, *_ = __version__.split(".")
    supported = re.findall(r"^\| ([\d.]+)\.x,", text("SECURITY.md"), re.MULTILINE)
    assert supported == [f"{major}.{minor}"]


def test_a_problem_is_reported_to_the_repository() -> None:
    """By its host's private report; no mail address is given, as none is read."""
    security = text("SECURITY.md")
    repository = yaml.safe_load(text("mkdocs.yml"))["repo_url"]
    assert f"]({repository}/security/advisories/new)" in security
    assert "@" not in security


def test_every_mark_is_in_contributing() -> None:
    """Each mark of a test is explained, and no other."""
    marks = {each.partition(":")[0] for each in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    rows = re.findall(r"^\| `(\w+)` \|", text("CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(rows) == sorted(marks)


def test_contributing_names_what_is_there() -> None:
    """Each file, folder, extra and dependency group that it names."""
    page = text("CONTRIBUTING.md")
    named = set(re.findall(r"`([\w./-]+/|[\w./-]+\.\w{2,3}|\.ci/\w+)`", page))
    named |= set(re.findall(r"\b(tests/\w+\.py)\b", page))
    assert {"adapters/catalogue.tsv", ".ci/run", "sandbox/", "tests/plant.py"} <= named
    places = (ROOT, ROOT / "src/plaid_processors")
    assert [each for each in named if not any((place / each).exists() for place in places)] == []
    assert set(re.findall(r"\.\[(\w+)\]", page)) <= {*PROJECT["project"]["optional-dependencies"]}
    assert set(re.findall(r"--group (\w+)", page)) <= {*PROJECT["dependency-groups"]}
    assert set(re.findall(r"tests\.plant (\w+\.py)", page)) == {"redaction.py"}


def test_what_the_tests_reach_by_folder(tmp_path: Path) -> None:
    """The report counts statements and branches that ran, by folder, as coverage does in all."""
    package = tmp_path / "plaid_processors"
    (package / "store").mkdir(parents=True)
    (package / "top.py").write_text("import store.one\na = 1\n")
    (package / "store/one.py").write_text("if __name__ == '':\n    a = 1\n    b = 2\nc = 3\n")
    (tmp_path / "rc").write_text("")

    # These tests may run under coverage themselves.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
        )
        return done.stdout

    coverage = ("-m", "coverage")
    run(*coverage, "run", "--rcfile=rc", "--branch", "--source=.", "plaid_processors/top.py")
    run(*coverage, "json", "--rcfile=rc", "-o", "found.json")
    assert run(ROOT / ".ci/coverage_by_room.py", "found.json").splitlines() == [
        "| folder | statements | branches | reached |",
        "|---|--:|--:|--:|",
        "| `plaid_processors/*.py` | 2 | 0 | 100.0 % |",
        "| `store/` | 4 | 2 | 50.0 % |",
        "| all | 6 | 2 | 62.5 % |",
    ]
