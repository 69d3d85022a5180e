"""The package as a whole: what it exports, what it loads, what may import what."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import plaid_processors
from plaid_processors import errors, results

from .support.rows import rows

ROOT = Path(__file__).parent.parent
PACKAGE = Path(plaid_processors.__file__).parent


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def imported(path: Path) -> Iterator[str]:
    """The absolute name of each module that a file imports, wherever in it."""
    package = ["plaid_processors", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from (
                ".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names
            )


def is_of(module: str, package: str) -> bool:
    """Whether a module is a package or inside it."""
    return module == package or module.startswith(f"{package}.")


def test_all_is_sorted_and_each_name_is_there() -> None:
    """`__all__` is sorted, has no name twice, and each one can be had."""
    assert sorted(set(plaid_processors.__all__)) == plaid_processors.__all__
    assert [hasattr(plaid_processors, name) for name in plaid_processors.__all__] == [True] * len(
        plaid_processors.__all__
    )


@rows("name", sorted(plaid_processors.__all__))
def test_type_hints_can_be_read(name: str) -> None:
    """What reads annotations at run time (documentation, injection) gets each public one."""
    value = getattr(plaid_processors, name)
    if inspect.isfunction(value):
        typing.get_type_hints(value)
    for member in vars(value).values() if inspect.isclass(value) else ():
        called = getattr(member, "__func__", getattr(member, "fget", member))
        own = inspect.isfunction(called) and called.__code__.co_filename.startswith(str(PACKAGE))
        if own and (called.__name__ == "__init__" or not called.__name__.startswith("_")):
            typing.get_type_hints(called)


def test_all_has_every_error() -> None:
    """No error class is left out of the public names."""
    classes = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.PlaidProcessorsError)
    }
    assert classes - set(plaid_processors.__all__) == set()


def test_all_has_every_value() -> None:
    """No value class is left out of the public names."""
    classes = {
        name
        for name, value in vars(results).items()
        if isinstance(value, type) and value.__module__ == results.__name__
    }
    assert classes - set(plaid_processors.__all__) == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is told as Python tells it."""
    with pytest.raises(AttributeError, match="has no attribute 'Linker'"):
        plaid_processors.Linker  # noqa: B018


def test_dir_lists_every_public_name() -> None:
    """A shell's completion sees the names before they are loaded."""
    listed = python("import plaid_processors; print(' '.join(dir(plaid_processors)))")
    assert set(plaid_processors.__all__) - set(listed.split()) == set()


def test_the_version_is_the_installed_one() -> None:
    """The version has one source."""
    assert plaid_processors.__version__ == importlib.metadata.version("plaid-processors")


def test_the_version_is_in_the_changelog() -> None:
    """No version goes out without its word to those who upgrade."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {plaid_processors.__version__}\n" in changelog


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers read the annotations."""
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_loads_no_plaid() -> None:
    """The vendor's client, and what only extras need, is loaded when a client is made."""
    heavy = "plaid starlette uvicorn jwt"
    code = (
        f"import plaid_processors, sys; print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    assert python(code) == "[]"


def test_only_the_client_imports_plaid() -> None:
    """The vendor lives in one room."""
    rooms = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(is_of(module, "plaid") for module in imported(path))
    }
    assert rooms == {"client.py"}


def test_urllib3_is_used_by_its_public_names() -> None:
    """No private name of its pools or answers, and nothing that knows vcrpy."""
    private = re.compile(r"_get_conn|_put_conn|_new_conn|\b_fp\b|ConnectionCls|vcr", re.IGNORECASE)
    sdk = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts]
    assert len(sdk) > 30
    assert [path.name for path in sdk if private.search(path.read_text(encoding="utf-8"))] == []


def test_the_local_plaid_knows_nothing_of_the_sdk() -> None:
    """Two sides written from the sources, that can disagree; `client()` is the one convenience."""
    foreign = {
        (path.name, module)
        for path in (PACKAGE / "sandbox").rglob("*.py")
        for module in imported(path)
        if is_of(module, "plaid_processors") and not is_of(module, "plaid_processors.sandbox")
    }
    convenience = ("client.PlaidClient", "events.OnEvent")
    assert foreign == {("local.py", f"plaid_processors.{name}") for name in convenience}


@pytest.mark.slow
def test_a_users_program_is_type_checked_strictly() -> None:
    """The public types are what `typing/api.py` asserts, and refuse what it says they refuse."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/api.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


_SOME_TESTS = """
import pytest
@pytest.mark.slow
def test_slow(): pass
def test_without_keys(): pytest.skip("no keys")
def test_quick(): pass
"""


@pytest.mark.slow
@rows(("setting", "outcome"), [("", "1 passed, 3 skipped"), ("1", "1 failed, 2 passed, 1 error")])
def test_what_is_skipped(setting: str, outcome: str, tmp_path: Path) -> None:
    """What is marked slow is; with PLAID_PROCESSORS_NO_SKIP it runs, and a skip is a failure."""
    (tmp_path / "test_one.py").write_text(_SOME_TESTS, encoding="utf-8")
    module = "import pytest\npytest.skip('no keys', allow_module_level=True)\n"
    (tmp_path / "test_two.py").write_text(module, encoding="utf-8")
    options = [
        "--continue-on-collection-errors",
        "-o",
        "addopts=",
        "-c",
        ROOT / "pyproject.toml",
        "--rootdir",
        tmp_path,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", *options, tmp_path],
        cwd=ROOT,
        env={
            **os.environ,
            "PLAID_PROCESSORS_NO_SKIP": setting,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout, done.stdout
