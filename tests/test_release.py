"""What a release stands on: the API compared, its metadata and constraints, the workflows."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import plaid_processors

from .support.rows import rows

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = plaid_processors.__version__
USER_EXTRAS = ("backfill", "sandbox", "store", "webhooks")
CHANGELOG = "# Changelog\n\n## {}\n\n{}\n\n### Added\n\n- All.\n"

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


SMALL = {
    "__init__.py": """
from .linker import AsyncLinker, Linker, State, Token
__all__ = ["AsyncLinker", "Linker", "State", "Token"]
""",
    "linker.py": """
from enum import StrEnum
from attrs import frozen

@frozen
class Token:
    expiration: str = ""

class State(StrEnum):
    DONE = "done"

class Linker:
    def link(self, partner: str, *, partial: bool = False) -> Token: ...
    @property
    def state(self) -> State: ...

class AsyncLinker:
    async def link(self, partner: str, *, partial: bool = False) -> Token: ...
""",
    "pytest_plugin.py": """
import pytest

@pytest.fixture
def local_layer(): ...
""",
    "_version.py": '__version__ = ""\n',
}


class Clone:
    """A repository with a small package, or with this source, in which releases can be made."""

    def __init__(self, folder: Path, *, small: bool = True) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for each in (".ci", "docs/_site", *([] if small else ["src"])):
            shutil.copytree(ROOT / each, folder / each, ignore=ignored)
        for name, text in SMALL.items() if small else ():
            self.write(f"src/plaid_processors/{name}", text)
        shutil.copy(ROOT / "README.md", folder)
        self.write("CHANGELOG.md", CHANGELOG.format("0.1.0", "Released 2026-01-31."))
        self.write(".gitignore", "__pycache__/\ndist/\n")
        self.change("README.md", "not released yet", "there")
        self.set_version("0.1.0")
        self.git("init", "-q", "-b", "main")
        self.commit()

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        command = ["git", *who, "-c", "commit.gpgsign=false", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, tag: str | None = None) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "A change")
        if tag:
            self.git("tag", tag)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def change(self, path: str, old: str, new: str, *, after: str = "") -> None:
        """Replace the first of what stands there, after another text if one is given."""
        head, mark, tail = self.read(path).partition(after) if after else ("", "", self.read(path))
        assert old in tail
        self.write(path, head + mark + tail.replace(old, new, 1))

    def set_version(self, version: str) -> None:
        path = "src/plaid_processors/_version.py"
        text = re.sub(r'(__version__ = ").*"', rf'\g<1>{version}"', self.read(path))
        self.write(path, text)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        names = {
            f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PYTHON": sys.executable, **dict.fromkeys(names, "a@example.com")},
            capture_output=True,
            text=True,
            check=False,
        )

    def check_api(self) -> tuple[int, str]:
        """In this process, which is quicker."""
        with redirect_stdout(io.StringIO()) as printed:
            status = script(self.folder / ".ci/check_api.py").main()
        return status, printed.getvalue()

    def check_release(self, version: str) -> tuple[int, str]:
        done = self.run(sys.executable, ".ci/check_release.py", version)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def script(path: Path) -> ModuleType:
    """A program of .ci as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LINKER = "src/plaid_processors/linker.py"
SYNC, ASYNC = "class Linker", "class AsyncLinker"
PARTIAL = ", *, partial: bool = False"


def test_before_the_first_release_there_is_nothing_to_compare(clone: Clone) -> None:
    """The first release sets the base. Where a later one has no tag, that is seen."""
    base = "no release yet: the first one sets the base\n"
    assert clone.check_api() == (0, base)
    clone.git("tag", "v0.1.0")
    assert clone.check_api() == (0, base)  # as where it is published
    clone.git("tag", "--delete", "v0.1.0")
    clone.write("CHANGELOG.md", clone.read("CHANGELOG.md") + "\n## 0.0.9\n\nReleased 2026-01-01.\n")
    status, words = clone.check_api()
    assert (status, "git fetch --tags" in words) == (1, True)


@pytest.mark.slow
def test_a_removed_argument_of_link_is_seen(tmp_path: Path) -> None:
    """What breaks the callers of the last release ends with exit status 1, and is named."""
    clone = Clone(tmp_path / "clone", small=False)
    clone.commit("v0.1.0")
    clone.change(LINKER, "        partial: bool = False,\n", "", after="    def link(")
    clone.commit()
    done = clone.run(sys.executable, ".ci/check_api.py")
    assert done.returncode == 1
    assert "linker.ProcessorLinker.link: Parameter was removed: partial" in done.stdout
    assert "breaks: 1, not allowed: 1" in done.stdout


def test_what_is_exported_is_compared(clone: Clone) -> None:
    """So are names, fields of results, members of enums, fixtures, and arguments that are new."""
    clone.commit("v0.1.0")
    clone.change("src/plaid_processors/__init__.py", '["AsyncLinker", ', "[")
    clone.change("src/plaid_processors/pytest_plugin.py", "def local_layer(", "def local_layers(")
    clone.change(LINKER, PARTIAL, f"{PARTIAL}, more: int", after=SYNC)
    clone.change(LINKER, "DONE =", "OVER =")
    clone.change(LINKER, "expiration: str", "expires: str")
    clone.commit()
    status, words = clone.check_api()
    assert status == 1
    for each in (
        "plaid_processors.AsyncLinker: is not exported any more",
        "linker.Linker.link: Parameter was added as required: more",
        "linker.State.DONE: Public object was removed",
        "linker.Token.expiration: Public object was removed",
        "linker.Token.__init__: Parameter was removed: expiration",
        "pytest_plugin.local_layer: is not exported any more",
        "breaks: 6, not allowed: 6",
    ):
        assert each in words


@rows(
    ("after", "old", "new", "seen"),
    [
        (ASYNC, "async def link", "def link", "AsyncLinker.link: its async was yes, and is no"),
        (SYNC, "def link", "async def link", "Linker.link: its async was no, and is yes"),
        (SYNC, "-> Token", "-> str", "Linker.link: its type was Token, and is str"),
        (SYNC, "-> State", "-> str", "Linker.state: its type was State, and is str"),
        ("", 'DONE = "done"', 'DONE = "over"', "State.DONE: its value was 'done', and is 'over'"),
        ("", 'expiration: str = ""', 'expiration: int = ""', "its type was str, and is int"),
    ],
)
def test_what_griffe_leaves_out_is_compared(
    after: str, old: str, new: str, seen: str, clone: Clone
) -> None:
    """Whether a call is awaited, what it returns, and the values of enums."""
    if not clone.git("tag"):
        clone.commit("v0.1.0")
    clone.change(LINKER, old, new, after=after)
    clone.commit()
    status, words = clone.check_api()
    clone.git("reset", "-q", "--hard", "v0.1.0")
    assert (status, seen in words, "breaks: 1" in words) == (1, True, True), words


def test_what_is_not_exported_is_not_compared(clone: Clone) -> None:
    """Rooms of the house may be rebuilt, and more may be exported."""
    path = "src/plaid_processors/more.py"
    clone.write(path, '__all__ = ["shown"]\ndef shown(a): ...\ndef hidden(a, b): ...\n')
    clone.write("src/plaid_processors/cli.py", "def run(): ...\n")
    clone.commit("v0.1.0")
    (clone.folder / "src/plaid_processors/cli.py").unlink()
    clone.write(path, '__all__ = ["shown"]\ndef shown(a, b=1): ...\ndef hidden(c): ...\n')
    clone.commit()
    assert clone.check_api() == (0, "0.1.0 against v0.1.0: breaks: 0, not allowed: 0\n")


def test_a_minor_version_may_break_what_it_names(clone: Clone) -> None:
    """A patch may not; a minor version has to name what breaks, under Changed or Removed."""
    clone.commit("v0.1.0")
    clone.change(LINKER, PARTIAL, "", after=SYNC)
    for version, words, status in (
        ("0.1.1", "### Removed\n\n- `partial` of `link`.", 1),
        ("0.2.0", "### Removed\n\n- `partial` of `link`.", 0),
        ("0.2.0", "### Changed\n\n- `link(partial=True)` is `link_some`.", 0),
        ("0.2.0", "### Added", 1),
        ("0.2.0", "### Added\n\n- A faster link page in the demo.", 1),
        ("0.2.0", "### Removed\n\n- An argument of `link`.", 1),
        ("0.2.0", "### Removed\n\n- What is partial.", 1),
        ("0.2.0", "### Removed\n\n- None.\n\n### Added\n\n- `partial` of `link_all`.", 1),
    ):
        clone.set_version(version)
        clone.write("CHANGELOG.md", f"# Changelog\n\n## {version}\n\n{words}\n\n## 0.1.0\n\nAll.\n")
        assert clone.check_api()[0] == status, (version, words)


def test_a_release_is_compared_with_the_one_before(clone: Clone) -> None:
    """Also on its own tag, where the workflow that publishes it looks."""
    clone.commit("v0.1.0")
    clone.change(LINKER, PARTIAL, "", after=SYNC)
    clone.set_version("0.1.1")
    clone.commit("v0.1.1")
    status, words = clone.check_api()
    assert (status, "0.1.1 against v0.1.0: breaks: 1" in words) == (1, True), words


def test_a_release_that_may_be(clone: Clone) -> None:
    """Nothing is in the way of it, also of a patch for an older minor version."""
    assert clone.check_release("0.1.0") == (0, "0 things are in the way of 0.1.0\n")
    clone.commit("v0.1.0")
    clone.git("tag", "v0.2.0")
    clone.set_version("0.1.1")
    clone.write("CHANGELOG.md", CHANGELOG.format("0.1.1", "Released 2026-02-28."))
    clone.commit()
    assert clone.check_release("0.1.1")[0] == 0


def _version(clone: Clone) -> None:
    clone.set_version("0.1.1")


def _changelog(clone: Clone) -> None:
    clone.write("CHANGELOG.md", CHANGELOG.format("0.2.0", "Released 2026-01-31."))


def _no_date(clone: Clone) -> None:
    clone.write("CHANGELOG.md", CHANGELOG.format("0.1.0", "Not released yet."))


def _readme(clone: Clone) -> None:
    clone.write("README.md", "The first version is not released yet.")


def _security(clone: Clone) -> None:
    clone.write("SECURITY.md", "| 0.1.x | yes; it is not\n  released yet |")


def _deprecated(clone: Clone) -> None:
    clone.write("src/plaid_processors/old.py", '@deprecated("use new(); old() goes in 0.1")\n')


def _tag(clone: Clone) -> None:
    clone.git("tag", "v0.1.0")


def _later(clone: Clone) -> None:
    clone.git("tag", "v0.10.0")


def test_what_is_in_the_way_of_a_release(clone: Clone) -> None:
    """Each thing that does not agree is named, and ends with exit status 1."""
    cases: list[tuple[Callable[[Clone], None], str]] = [
        (_version, "_version.py does not say 0.1.0"),
        (_changelog, "the CHANGELOG's first section is 0.2.0, not 0.1.0"),
        (_no_date, "does not begin with `Released YYYY-MM-DD.`"),
        (_readme, "README.md says that something is not released yet"),
        (_security, "SECURITY.md says that something is not released yet"),
        (_deprecated, "old.py has what is deprecated and should go in 0.1"),
        (_tag, "the tag v0.1.0 is there already"),
        (_later, "v0.10.0 came out before, and 0.1.0 is no patch of an earlier minor"),
    ]
    start = clone.git("rev-parse", "HEAD")
    for spoil, expected in cases:
        spoil(clone)
        clone.commit()
        status, words = clone.check_release("0.1.0")
        assert (status, words.count("\n")) == (1, 2), words
        assert expected in words
        for tag in clone.git("tag").split():
            clone.git("tag", "--delete", tag)
        clone.git("reset", "-q", "--hard", start)
    clone.write("junk.py", "")
    assert "the work tree is not clean:\n?? junk.py" in clone.check_release("0.1.0")[1]
    assert clone.check_release("v0.1")[0] == 1


RUN = """#!/bin/sh
set -e
test -s "$CONSTRAINTS"
mkdir "$DIST" && echo built >"$DIST/built"
{}
"""


def test_the_release_command_does_all_but_the_upload(clone: Clone) -> None:
    """It commits the constraints, runs what .ci/run does, tags what was tested, sends nothing."""
    clone.write(".ci/constraints", '#!/bin/sh\nmkdir -p constraints && echo "a==1" >"$1"\n')
    clone.write(".ci/run", RUN.format("exit 1"))
    clone.commit()
    assert clone.run(".ci/release", "0.1.0").returncode == 1  # a test failed
    assert clone.git("tag") == ""

    shutil.rmtree(clone.folder / "dist")
    clone.write(".ci/run", RUN.format("touch left"))
    clone.commit()
    assert clone.run(".ci/release", "0.1.0").returncode == 1  # the run changed what it tested
    assert clone.git("tag") == ""

    shutil.rmtree(clone.folder / "dist")
    (clone.folder / "left").unlink()
    clone.write(".ci/run", RUN.format(""))
    clone.commit()
    done = clone.run(".ci/release", "0.1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert clone.git("rev-parse", "v0.1.0^{commit}") == clone.git("rev-parse", "HEAD")
    assert clone.git("show", "v0.1.0:constraints/0.1.0.txt") == "a==1"
    assert 'git push origin HEAD "v0.1.0"' in done.stdout
    assert "./built" in done.stdout


def requirements(*extras: str) -> list[Requirement]:
    """What the project requires, and these extras of it."""
    optional = PROJECT["project"]["optional-dependencies"]
    lists = [PROJECT["project"]["dependencies"], *(optional[each] for each in extras)]
    return [Requirement(each) for each_list in lists for each in each_list]


def test_the_constraints_hold_every_requirement() -> None:
    """Each stands there once, in one version that the requirement allows.

    That pip installs the wheel with them, and nothing else, is seen in .ci/run.
    """
    file = ROOT / "constraints" / f"{VERSION}.txt"
    if not file.exists():
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        assert re.search(rf"^## {VERSION}\n\nNot released yet", changelog, re.MULTILINE)
        return
    text = file.read_text(encoding="utf-8")
    address = f"{PROJECT['project']['urls']['Source']}/raw/v{VERSION}/constraints/{VERSION}.txt"
    for each in (f'"plaid-processors[store,webhooks]=={VERSION}"', address):
        assert each in text
    lines = [each for each in text.splitlines() if not each.startswith("#")]
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert None not in pins, "a line that pins nothing"
    versions = {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}
    assert len(versions) == len(lines) > 15
    for each in requirements(*USER_EXTRAS):
        version = versions.get(canonicalize_name(each.name))
        assert version is not None, f"{each.name} is not there"
        assert each.specifier.contains(version), f"{each} does not allow {version}"


def test_each_requirement_has_a_lower_bound_and_no_upper_one() -> None:
    """Whoever installs it decides what is newest; what is oldest was tried."""
    operators = {
        str(each): [specifier.operator for specifier in each.specifier]
        for each in requirements(*USER_EXTRAS)
    }
    assert {name for name, each in operators.items() if each != [">="]} == set()


def test_extras_are_for_users() -> None:
    """What only this project's work needs is a dependency group, or the extra `test`."""
    assert {*PROJECT["project"]["optional-dependencies"]} == {*USER_EXTRAS, "test"}
    assert {"docs", "lint", "release"} <= {*PROJECT["dependency-groups"]}


def metadata() -> Message:
    return importlib.metadata.metadata("plaid-processors")  # type: ignore[return-value]


def test_the_classifiers_are_what_was_tried() -> None:
    """The Pythons are those of CI's matrix that may not fail, and the system is CI's."""
    classifiers = PROJECT["project"]["classifiers"]
    pythons = re.findall(r"Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)
    matrix = workflow("ci")["jobs"]["run"]["strategy"]["matrix"]
    assert pythons == matrix["python"]
    assert all(each["may-fail"] for each in matrix["include"])
    systems = [each for each in classifiers if each.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]


def test_the_addresses_are_of_one_repository() -> None:
    """The project's addresses, the site's and the links of the index's page agree."""
    repository = PROJECT["project"]["urls"]["Source"]
    assert all(each.startswith(repository) for each in PROJECT["project"]["urls"].values())
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"\nrepo_url: {repository}\n" in site
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    made = [each["replacement"] for each in hook["substitutions"] if each["replacement"]]
    assert [f"]({repository}/" in each for each in made] == [True, True]


PAGE = """[here](#a) ![shown](docs/images/demo.svg) [a page](docs/why.md#when), [there](https://a.example)

<!--- invisible-code-block: python
run()
-->

[a folder](examples)
"""


def test_the_links_of_the_index_page_are_absolute() -> None:
    """They lead to this version's files; what only the tests run is left out.

    .ci/check_dist.py looks at the page that was built.
    """
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = PAGE
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    at = "https://github.com/plaid-processors/plaid-processors"
    assert text == (
        f"[here](#a) ![shown]({at}/raw/v$HFPR_VERSION/docs/images/demo.svg) "
        f"[a page]({at}/blob/v$HFPR_VERSION/docs/why.md#when), [there](https://a.example)\n\n"
        f"[a folder]({at}/blob/v$HFPR_VERSION/examples)\n"
    )


def test_the_check_of_the_archives_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file too few or too many, and a link that leads nowhere, are seen."""
    monkeypatch.chdir(ROOT)
    check = script(ROOT / ".ci/check_dist.py")
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/plaid_processors").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wheel = package | {"plaid_processors-0.1.0.dist-info/licenses/LICENSE"}
    check.check_wheel(wheel)
    for spoiled in (wheel - {"plaid_processors/py.typed"}, wheel | {"tests/__init__.py"}):
        with pytest.raises(AssertionError, match="the wheel differs"):
            check.check_wheel(spoiled)
    for link in ("docs/why.md", f"{check.REPOSITORY}/blob/v1.0.0/docs/what.md"):
        with pytest.raises(AssertionError, match=r"leads nowhere|is not there"):
            check.check_metadata(f"Version: 1.0.0\n\n[why]({link})\n".encode())


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def workflow(name: str) -> dict[str, Any]:
    text = (ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)  # type: ignore[no-any-return]


@rows("name", [each.stem for each in WORKFLOWS])
def test_a_workflow_may_do_what_it_needs_alone(name: str) -> None:
    """It reads the repository; one job gets a token to publish with; none has a secret."""
    text = (ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert workflow(name)["permissions"] == {"contents": "read"}
    more = {
        key: job["permissions"]
        for key, job in workflow(name)["jobs"].items()
        if "permissions" in job
    }
    assert more == ({"publish": {"id-token": "write"}} if name == "release" else {})
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [each for each in used if not re.search(r"@v\d+(\.\d+\.\d+)?$", each)] == []


def commands(workflow_name: str, job: str) -> list[str]:
    """What the steps of a job run."""
    steps = workflow(workflow_name)["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step]


def code_of(path: str) -> str:
    """A script of ours without its comments; it ends where one of its commands fails."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert os.access(ROOT / path, os.X_OK), path
    assert "\nset -euo pipefail\n" in text
    return re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)


def test_the_workflows_and_sessions_call_the_scripts() -> None:
    """And `.ci/run` the other scripts: the checks are run, and a failure ends the run."""
    assert [each.stem for each in WORKFLOWS] == ["ci", "full", "release"]
    assert commands("ci", "run")[-1] == ".ci/run"
    assert commands("full", "full")[-2:] == [".ci/run", ".ci/full"]
    sessions = {
        function.name: [
            call.args[0].value
            for call in ast.walk(function)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "session.run"
            if isinstance(call.args[0], ast.Constant)
        ]
        for function in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and function.decorator_list
    }
    assert sessions == {
        "tests": ["pytest"],
        "lint": [".ci/lint"],
        "docs": ["mkdocs", "python"],
        "dist": [".ci/dist"],
        "run": [".ci/run"],
        "full": [".ci/full"],
    }
    for name in ("lint", "full", "versions", "release", "constraints"):
        assert code_of(f".ci/{name}")
    called = re.findall(r'^(?:PATH=\S+ |"\$bin/python" )?\.ci/.*', code_of(".ci/run"), re.MULTILINE)
    assert [re.findall(r"\.ci/([\w.]+)", each) for each in called] == [
        ["lint"],
        ["check_api.py"],
        ["dist"],
        ["check_constraints.py"],
        ["versions"],
    ]
    assert "|" not in "".join(called)
    assert re.search(r"^twine .*check --strict ", code_of(".ci/dist"), re.MULTILINE)
    assert re.search(r'^  cmp "\$each" "\$work/again/', code_of(".ci/dist"), re.MULTILINE)


def test_what_is_published_was_tested() -> None:
    """By a job that needs the one that runs `.ci/run`, and only if the tag is the version's."""
    jobs = workflow("release")["jobs"]
    assert list(jobs) == ["build", "publish"]
    assert (jobs["publish"]["needs"], jobs["publish"]["environment"]) == ("build", "release")
    assert commands("release", "publish") == []
    *_, agrees, run, _sums = commands("release", "build")
    assert re.search(r"^CONSTRAINTS=\S+ DIST=dist \.ci/run$", run)
    for tag, status in ((f"v{VERSION}", 0), (VERSION, 1), ("v9.9.9", 1)):
        shell = ["bash", "-e", "-c", agrees]
        done = subprocess.run(
            shell, cwd=ROOT, env={**os.environ, "GITHUB_REF_NAME": tag}, check=False
        )
        assert done.returncode == status, tag


def test_environments_are_left_out() -> None:
    """Of git and of deptry, wherever nox or a contributor makes one."""
    (pattern,) = re.findall(r"--exclude '(.+)'", code_of(".ci/lint"))
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for folder in (".nox/", ".venv/", "venv/", "build/", "dist/"):
        assert re.match(pattern, f"{folder}lib/module.py"), folder
        assert folder in ignored
    assert not any(re.match(pattern, each) for each in ("tests/dist.py", "noxfile.py", ".ci/dist"))


def test_pre_commit_needs_no_other_host() -> None:
    """Its hooks run what the environment has."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [each["repo"] for each in config["repos"]] == ["local"]
    hooks = [hook for each in config["repos"] for hook in each["hooks"]]
    assert [hook["id"] for hook in hooks] == ["ruff", "ruff-format", "mypy"]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_no_index_is_named() -> None:
    """Where packages come from is up to who installs them."""
    named = re.compile(r"index-url|https?://[\w.]*pypi|files\.pythonhosted", re.IGNORECASE)
    files = [*WORKFLOWS, *ROOT.glob("*.*"), *ROOT.glob("constraints/*"), *ROOT.glob(".ci/*")]
    texts = {each.name: each.read_text(encoding="utf-8") for each in files if each.is_file()}
    assert [name for name, text in texts.items() if named.search(text)] == []
