"""How the package is cut: no circle among its modules, no module that is two."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import plaid_processors

PACKAGE = Path(plaid_processors.__file__).parent
FACADES = {"linker.py", "aio.py"}
SDK = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.relative_to(PACKAGE).parts]


def module_name(path: Path) -> str:
    parts = ["plaid_processors", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a module imports, wherever in its text."""
    package = (
        module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    )
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            home = f"{base}.{node.module}" if node.module else base
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                found.add(inner if inner in known else home)
    return found & known - {module_name(path)}


def test_no_module_imports_one_that_imports_it() -> None:
    """A circle would mean that two rooms are one."""
    known = {module_name(path) for path in PACKAGE.rglob("*.py")}
    graph = {module_name(path): imported_modules(path, known) for path in PACKAGE.rglob("*.py")}
    assert len(graph["plaid_processors._workflow.link"]) > 5
    TopologicalSorter(graph).prepare()  # a circle is a CycleError that names it


def test_no_module_is_two() -> None:
    """Long modules want to be cut; the two facades hold every public docstring."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SDK}
    assert [path for path, count in lines.items() if count > 520 and path.name not in FACADES] == []
    assert max(lines.values()) <= 900


def test_the_top_of_the_package_is_small() -> None:
    """What belongs together stands in a folder."""
    top = [path for path in PACKAGE.iterdir() if path.is_file()]
    assert len(top) <= 16
