"""What editors, type checkers and documentation sites see of the public names.

Each public call is a function of its own, with its whole signature and its docstring; the blocking
and the awaited classes are the same but for that; and `typing/api.py` uses every public name.
"""

from __future__ import annotations

import ast
import inspect
import os
import pydoc
import re
import subprocess
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import attrs
import griffe
import jedi
import pytest

import plaid_processors
from plaid_processors import handoff, sandbox
from plaid_processors.settings import Limits

from .support.rows import rows

ROOT = Path(__file__).parent.parent
PACKAGE = Path(plaid_processors.__file__).parent
PROGRAM = ROOT / "tests" / "typing" / "api.py"
MODULES: tuple[ModuleType, ...] = (plaid_processors, handoff, sandbox)

FACADES = (
    "ProcessorLinker AsyncProcessorLinker PlaidClient "
    "FinixSender AsyncFinixSender LayerSender AsyncLayerSender"
).split()
TWINS = ["ProcessorLinker", "FinixSender", "LayerSender"]
"""The blocking classes that have an awaited twin, which is named ``Async…``."""

NOT_AWAITED = {"__init__", "from_env", "with_options"}
"""What an awaited class has that asks for nothing, so that it need not be awaited."""

LIMITS = ["timeout", "deadline", "max_attempts", "max_connections", "on_event"]
NETWORK = ["timeout", "proxy", "ca_bundle"]

FOR_THE_LINKERS = {"PlaidClient.begin"} | {
    f"{sender}.{name}"
    for sender in ("FinixSender", "AsyncFinixSender", "LayerSender", "AsyncLayerSender")
    for name in ("begin", "deliver", "look")
}
"""What is public between this package's modules, and nothing that a user calls."""


class Member(NamedTuple):
    """A public function, method, constructor or property, as Python itself sees it.

    Attributes:
        module: the module that exports it, or its class.
        path: the name, or the class's name and the name.
        raw: what stands in the class or module.
    """

    module: ModuleType
    path: str
    raw: Any

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def is_property(self) -> bool:
        return isinstance(self.raw, property)

    @property
    def function(self) -> Callable[..., Any]:
        raw = self.raw.fget if self.is_property else self.raw
        return typing.cast(Callable[..., Any], getattr(raw, "__func__", raw))

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters but ``self`` and ``cls``."""
        listed = list(inspect.signature(self.function).parameters.values())
        return listed[1:] if "." in self.path and not isinstance(self.raw, staticmethod) else listed

    @property
    def names(self) -> list[str]:
        """The names of the parameters."""
        return [parameter.name for parameter in self.parameters]


def exported() -> Iterator[tuple[ModuleType, str, Any]]:
    """Every public name, with the module that exports it."""
    for module in MODULES:
        for name in module.__all__:
            yield module, name, getattr(module, name)


def is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("plaid_processors")


def members_of(name: str, cls: type, module: ModuleType) -> Iterator[Member]:
    """The public methods and properties of a class, those that it inherits from ours included."""
    seen = set()
    for base in cls.__mro__:
        for member, raw in vars(base).items() if is_ours(base) else ():
            called = isinstance(raw, (property, classmethod, staticmethod)) or callable(raw)
            if called and not member.startswith("_") and not isinstance(raw, type):
                if member not in seen and f"{name}.{member}" not in FOR_THE_LINKERS:
                    yield Member(module, f"{name}.{member}", raw)
                seen.add(member)


def members() -> Iterator[Member]:
    """Every public function, and the public methods and properties of every public class."""
    for module, name, value in exported():
        if inspect.isfunction(value):
            yield Member(module, name, value)
        elif isinstance(value, type):
            yield from members_of(name, value, module)


def facade(name: str) -> dict[str, Member]:
    """The public methods, properties and the constructor of one of `FACADES`."""
    module = plaid_processors if hasattr(plaid_processors, name) else handoff
    cls = getattr(module, name)
    found = [*members_of(name, cls, module), Member(module, f"{name}.__init__", cls.__init__)]
    return {member.name: member for member in found}


def sentences(member: Member) -> dict[str, str]:
    """What the section Args says of each parameter, in one line each."""
    docstring = griffe.Docstring(member.doc)
    return {
        parameter.name: " ".join(parameter.description.split())
        for section in docstring.parse("google", warnings=False)
        if section.kind is griffe.DocstringSectionKind.parameters
        for parameter in section.value
    }


def tree_of(member: Member) -> ast.FunctionDef | ast.AsyncFunctionDef:
    source = textwrap.dedent(inspect.getsource(member.function))
    found = ast.parse(source).body[0]
    assert isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)), member.path
    return found


class Program(jedi.Script):
    """A user's program, with the cursor in an editor."""

    first = 1

    def parameters(self, line: int, column: int) -> list[str]:
        """What the editor shows inside the parentheses."""
        (signature,) = self.get_signatures(line, column)
        return [parameter.name for parameter in signature.params if parameter.name != "self"]


def program(lines: list[str]) -> Program:
    """A program that imports every public name and has these lines, from `first` on."""
    imports = [f"from {module.__name__} import {name}" for module, name, _ in exported()]
    # In a process of its own: pytest loads the package by an importer that jedi does not know.
    environment = jedi.create_environment(sys.executable, safe=False)
    made = Program(
        "\n".join([*imports, *lines]), project=jedi.Project(ROOT), environment=environment
    )
    made.first = len(imports) + 1
    return made


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


# The blocking and the awaited classes


@rows("name", TWINS)
def test_the_awaited_class_is_the_blocking_one_awaited(name: str) -> None:
    """Both have the same methods, parameters, defaults, types and docstrings."""
    blocking, awaited = facade(name), facade(f"Async{name}")
    assert list(blocking) == list(awaited)
    for method, member in blocking.items():
        twin = awaited[method]
        ours, theirs = (inspect.signature(each.function) for each in (member, twin))
        kinds = [
            [(p.name, p.kind, p.default) for p in s.parameters.values()] for s in (ours, theirs)
        ]
        assert kinds[0] == kinds[1], twin.path
        hints = [typing.get_type_hints(each.function) for each in (member, twin)]
        assert hints[0] == hints[1], twin.path
        assert member.doc == twin.doc, twin.path


@rows("name", TWINS)
def test_all_that_asks_a_server_is_awaited_in_the_awaited_class(name: str) -> None:
    """The one class has no coroutine function, and in the other every request is one."""
    blocking, awaited = facade(name), facade(f"Async{name}")
    assert [m for m, it in blocking.items() if inspect.iscoroutinefunction(it.function)] == []
    plain = {m for m, it in awaited.items() if not inspect.iscoroutinefunction(it.function)}
    assert {m for m in plain if not awaited[m].is_property} <= NOT_AWAITED
    for cls, verbs in (
        (getattr(blocking["close"].module, name), ["__enter__", "__exit__"]),
        (getattr(awaited["close"].module, f"Async{name}"), ["__aenter__", "__aexit__"]),
    ):
        assert [verb for verb in _WITH if hasattr(cls, verb)] == verbs


_WITH = ["__enter__", "__exit__", "__aenter__", "__aexit__"]


class _Plain(ast.NodeTransformer):
    """Takes from a method what makes it blocking or awaited."""

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        plain = ast.FunctionDef(**{name: getattr(node, name, None) for name in node._fields})
        return self.generic_visit(plain)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.generic_visit(node.value)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        runs = isinstance(node.func, ast.Name) and node.func.id == "run"
        return self.generic_visit(node.args[0] if runs else node)


def test_both_linkers_do_the_same() -> None:
    """But for `run` and `await`, the text of each call is the same in both linkers."""
    blocking, awaited = facade("ProcessorLinker"), facade("AsyncProcessorLinker")
    for name in blocking.keys() - {"close"}:
        texts = [ast.dump(_Plain().visit(tree_of(each[name]))) for each in (blocking, awaited)]
        assert texts[0] == texts[1], name


@rows("name", FACADES)
def test_each_argument_is_used_and_keeps_its_name(name: str) -> None:
    """No argument is dropped, and none is passed on as another: `narrow=partial` would be told."""
    for member in facade(name).values():
        body = [inner for statement in tree_of(member).body for inner in ast.walk(statement)]
        used = {node.id for node in body if isinstance(node, ast.Name)}
        given = {parameter.name for parameter in member.parameters}
        assert given - used == set(), member.path
        crossed = [
            f"{node.arg}={node.value.id}"
            for node in body
            if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name)
            if node.value.id in given and node.arg in given and node.arg != node.value.id
        ]
        assert crossed == [], member.path


# The constructors


def agreed(member: Member, names: list[str]) -> dict[str, tuple[Any, Any, str]]:
    """The default, the type and the sentence of some parameters."""
    hints, told = typing.get_type_hints(member.function), sentences(member)
    defaults = {each.name: each.default for each in member.parameters}
    return {name: (defaults[name], hints[name], told[name]) for name in names}


def test_the_clients_constructors_agree_in_their_limits() -> None:
    """The limits have the same names, defaults, types and sentences wherever a client is made."""
    client, linker = facade("PlaidClient"), facade("ProcessorLinker")
    wanted = agreed(client["__init__"], LIMITS)
    for member in (client["from_env"], client["from_plaid"], linker["from_env"]):
        assert agreed(member, LIMITS) == wanted, member.path
    own = {each.name: each.default for each in attrs.fields(Limits)}
    assert {name: default for name, (default, _, _) in wanted.items() if name in own} == own


def test_the_clients_constructors_agree_in_their_way_to_the_network() -> None:
    """The proxy and the certificates are given alike to every client that is made of keys."""
    client, linker = facade("PlaidClient"), facade("ProcessorLinker")
    wanted = agreed(client["__init__"], NETWORK)
    assert agreed(client["from_env"], NETWORK) == wanted
    assert agreed(linker["from_env"], NETWORK) == wanted
    # An ApiClient of the caller's has its own.
    given = {parameter.name for parameter in client["from_plaid"].parameters}
    assert given & {"proxy", "ca_bundle"} == set()


def test_both_ways_to_make_a_linker_from_the_environment_agree() -> None:
    """`ProcessorLinker.from_env` takes what `PlaidClient.from_env` takes, and a store."""
    client, linker = facade("PlaidClient")["from_env"], facade("ProcessorLinker")["from_env"]
    names = [parameter.name for parameter in client.parameters]
    assert [parameter.name for parameter in linker.parameters] == [*names, "store"]
    assert agreed(linker, names) == agreed(client, names)


def test_the_senders_constructors_agree_in_their_limits() -> None:
    """Both partners' senders, made of keys or of variables, take the same; as a client does."""
    wanted = agreed(facade("FinixSender")["__init__"], NETWORK)
    for name in ("FinixSender", "LayerSender"):
        for way in ("__init__", "from_env"):
            assert agreed(facade(name)[way], NETWORK) == wanted, f"{name}.{way}"
    client = agreed(facade("PlaidClient")["__init__"], NETWORK)
    assert {k: v[:2] for k, v in wanted.items()} == {k: v[:2] for k, v in client.items()}


# The docstrings

_LEANS = re.compile(
    r"\b(likewise|ditto|see above|as (said|above|before|in|for|with)|the same (page|as)|`link`)\b"
)


@rows("name", FACADES)
def test_each_parameter_has_a_sentence_that_stands_alone(name: str) -> None:
    """An editor shows one parameter's sentence without the others: it leans on none of them."""
    for member in facade(name).values():
        if member.is_property:
            continue
        told = sentences(member)
        assert list(told) == member.names, member.path
        for parameter, sentence in told.items():
            where = f"{member.path}, {parameter}: {sentence}"
            assert sentence.endswith("."), where
            assert len(sentence.split()) >= 3, where
            assert not _LEANS.search(sentence), where


def test_a_type_that_has_a_public_name_is_the_public_one() -> None:
    """A signature that says `Partner` means the `Partner` that a user can import."""
    public = {name: value for _, name, value in exported()}
    for member in members():
        scope = member.function.__globals__
        written = " ".join(map(str, inspect.get_annotations(member.function).values()))
        for word in set(re.findall(r"\w+", written)) & public.keys() & scope.keys():
            assert scope[word] is public[word], f"{member.path}: {word}"


# The tools


def test_every_public_call_has_a_docstring() -> None:
    """No public function, method or property goes without a word about it."""
    assert [member.path for member in members() if not member.doc] == []


@pytest.mark.slow
def test_jedi_sees_every_public_call() -> None:
    """An editor shows the docstring and the parameters, and "go to definition" ends in a `def`."""
    listed = list(members())
    script = program([m.path if m.is_property else f"{m.path}()" for m in listed])
    for line, member in enumerate(listed, script.first):
        end = len(member.path)
        (helped,) = script.help(line, end)
        assert member.doc in inspect.cleandoc(helped.docstring(raw=True)), member.path
        (found,) = script.goto(line, end, follow_imports=True)
        place = (str(found.module_path), found.type)
        kind = "property" if member.is_property else "function"
        assert place == (member.function.__code__.co_filename, kind), member.path
        if not member.is_property:
            named = [p.name for p in member.parameters if p.kind is not p.VAR_KEYWORD]
            shown = script.parameters(line, end + 1)
            # It looks through ``**options``, and shows what becomes of them.
            assert (shown if named == member.names else shown[: len(named)]) == named, member.path


def test_jedi_sees_how_each_facade_is_made() -> None:
    """The constructor's parameters are shown where a user types the class's name."""
    script = program([f"{name}()" for name in FACADES])
    for line, name in enumerate(FACADES, script.first):
        assert script.parameters(line, len(name) + 1) == facade(name)["__init__"].names, name


def test_griffe_sees_every_public_call() -> None:
    """A documentation site, which only reads the source, shows functions, not attributes."""
    package = griffe.load(
        "plaid_processors",
        search_paths=[PACKAGE.parent],
        allow_inspection=False,
        resolve_aliases=True,
    )
    constructors = [facade(name)["__init__"] for name in FACADES]
    for member in (*members(), *constructors):
        seen: Any = package
        for part in (*member.module.__name__.split(".")[1:], *member.path.split(".")):
            seen = seen.all_members[part]
        assert seen.docstring is not None, member.path
        assert inspect.cleandoc(seen.docstring.value) == member.doc, member.path
        if member.is_property:
            assert "property" in seen.labels, member.path
            continue
        assert seen.kind is griffe.Kind.FUNCTION, member.path
        given = [each for each in seen.parameters if each.name not in ("self", "cls")]
        assert [each.name for each in given] == member.names
        assert [each.name for each in given if each.annotation is None] == [], member.path
        assert seen.returns is not None, member.path


def test_help_shows_every_public_call() -> None:
    """`help()` of a class shows each method, and of a module each class and function."""
    for module in MODULES:
        shown = pydoc.render_doc(module, renderer=pydoc.plaintext)
        for _, name, value in (each for each in exported() if each[0] is module):
            if isinstance(value, type):
                assert f"class {name}" in shown, name
            elif inspect.isfunction(value):
                assert f"{name}(" in shown or f"{name} = " in shown, name
    pages: dict[str, str] = {}
    for member in members():
        cls, _, name = member.path.rpartition(".")
        if not cls:
            continue
        if cls not in pages:
            pages[cls] = pydoc.render_doc(getattr(member.module, cls), renderer=pydoc.plaintext)
        assert member.is_property or f" {name}(" in pages[cls], member.path
        assert member.doc.partition("\n")[0] in pages[cls], member.path


@pytest.mark.slow
def test_stubs_are_complete(tmp_path: Path) -> None:
    """What writes stubs from the source finds a type for all that a facade has."""
    modules = ["linker", "aio", "client", "handoff/sending", "handoff/finix", "handoff/layer"]
    paths = [PACKAGE / f"{name}.py" for name in modules]
    run = "from mypy.stubgen import main; main()"  # the module is compiled: no `-m`
    done = command("-c", run, "--quiet", "-o", tmp_path, *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in modules:
        stub = (tmp_path / "plaid_processors" / f"{name}.pyi").read_text(encoding="utf-8")
        assert [line for line in stub.splitlines() if re.search(r"\bIncomplete\b", line)] == []
        functions = {
            f"{cls.name}.{node.name}"
            for cls in ast.walk(ast.parse(stub))
            if isinstance(cls, ast.ClassDef)
            for node in cls.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        module = import_module(f"plaid_processors.{name.replace('/', '.')}")
        own = {
            member.function.__qualname__
            for facade_name in FACADES
            for member in facade(facade_name).values()
            if member.function.__module__ == module.__name__
        }
        assert own - functions == set(), name


# The user's program


def test_the_users_program_uses_every_public_name() -> None:
    """What can be imported is imported by `typing/api.py`, from where a user would, and used."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    missing = [
        f"{module.__name__}.{name}"
        for module, name, _ in exported()
        if (module.__name__, name) not in imported or name not in used
    ]
    assert missing == []


def test_the_users_program_uses_every_public_method() -> None:
    """And so is every public method and property of the SDK's and the hand-off's classes."""
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    of_the_sdk = [member for member in members() if member.module is not sandbox]
    assert [m.path for m in of_the_sdk if "." in m.path and m.name not in used] == []


@pytest.mark.node
def test_the_users_program_passes_pyright() -> None:
    """Strict pyright sees the types that `typing/api.py` asserts, and refuses what it should."""
    done = command("-m", "pyright", "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
