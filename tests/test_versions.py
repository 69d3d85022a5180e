"""Other Pythons, platforms and dependencies: what can be tried on one machine.

`.ci/versions` runs the built wheel on each Python, with the lowest and the newest dependencies.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plaid_processors
from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox, server

from .support.rows import rows

ROOT = Path(__file__).parent.parent
PACKAGE = Path(plaid_processors.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def python(code: str, *options: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The lowest dependencies


def test_the_lowest_dependencies_are_read_from_the_wheel() -> None:
    """Those of the package and of its users' extras, each at its bound; one without is refused."""
    lowest = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["lowest"]
    metadata = (
        "Metadata-Version: 2.4\nRequires-Dist: attrs>=23.1\n"
        "Requires-Dist: limits[redis]<9,>=3.6; extra == 'backfill'\n"
        "Requires-Dist: plaid-processors[store]; extra == 'test'\n"
        "Requires-Dist: pytest; extra == 'test'\n"
    )
    assert lowest(metadata) == ["attrs==23.1", "limits==3.6"]
    with pytest.raises(ValueError, match="urllib3 has no lower bound"):
        lowest(f"{metadata}Requires-Dist: urllib3\n")


def test_every_dependency_of_a_user_has_a_lower_bound() -> None:
    """Else nothing is known of the oldest that pip may leave in place."""
    extras = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["EXTRAS"]
    assert set(extras) == set(PROJECT["optional-dependencies"]) - {"test"}
    needed = PROJECT["dependencies"] + [
        each for extra in extras for each in PROJECT["optional-dependencies"][extra]
    ]
    assert [each for each in needed if ">=" not in each] == []


def test_without_a_python_nothing_is_well(tmp_path: Path) -> None:
    """The runs of the wheel fail where there is nothing to run it with."""
    done = subprocess.run(
        [ROOT / ".ci/versions", ROOT / "README.md", tmp_path],
        env={**os.environ, "PYTHON": "no-such-python"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "no Python from 3.11 on is here\n")


# Windows, which was not tried: what it lacks is taken away here


def test_an_event_loop_without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local Plaid stops on one, as Windows has."""
    asked: list[int] = []

    def remove_reader(_loop: Any, number: int) -> bool:
        asked.append(number)
        raise NotImplementedError

    monkeypatch.setattr(BaseSelectorEventLoop, "remove_reader", remove_reader)
    with LocalSandbox() as sandbox, ProcessorLinker(sandbox.client()) as linker:
        assert linker.link_sandbox("layer").complete
        url = sandbox.url
    assert asked, "the test looks at nothing"
    with LocalSandbox(port=int(url.rpartition(":")[2])) as again:  # its port is free
        assert again.url == url


_TO_TAKE = {
    "os": "chown fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid "
    "getpgrp getpriority getresuid getsid getuid initgroups killpg lchown lockf mkfifo "
    "nice openpty posix_fadvise posix_spawn pread pwrite readv register_at_fork sendfile setsid "
    "setuid sync sysconf uname wait3 wait4 writev",
    "signal": "SIGALRM SIGHUP SIGKILL SIGQUIT SIGUSR1 SIGUSR2 alarm pause pthread_kill "
    "pthread_sigmask setitimer sigpending sigwait",
    "socket": "SO_REUSEPORT MSG_DONTWAIT",  # AF_UNIX is what socketpair needs on Linux
    "time": "tzset clock_gettime pthread_getcpuclockid",
}
_MODULES = "fcntl grp pwd resource syslog termios tty pty readline"


@pytest.mark.slow
def test_without_what_windows_lacks() -> None:
    """The whole way, with none of these names, on a file system whose encoding is not UTF-8."""
    taken = {module: names.split() for module, names in _TO_TAKE.items()}
    code = f"""
import asyncio, importlib, signal, sys
# What other packages take of these is theirs: they are imported before.
import cryptography.fernet, jwt, limits.storage, plaid, sqlalchemy.dialects.sqlite, uvicorn.logging
import starlette.applications, starlette.routing, starlette.responses, webbrowser, tempfile
import plaid.api.plaid_api, pickle, sqlite3, subprocess, uvicorn.lifespan.off, starlette.requests
asyncio.run(asyncio.sleep(0))
for module, names in {taken!r}.items():
    for name in names:
        vars(importlib.import_module(module)).pop(name, None)
for name in {_MODULES!r}.split():
    sys.modules[name] = None
from plaid_processors import ProcessorLinker, AsyncProcessorLinker
from plaid_processors.backfill import RateBudget, backfill
from plaid_processors.cli import main
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import SqlStore
keys = [cryptography.fernet.Fernet.generate_key()]
with LocalSandbox() as plaid, SqlStore("sqlite://", keys=keys) as store:
    store.create_tables()
    with ProcessorLinker(plaid.client(), store=store) as linker:
        result = linker.link_sandbox("layer", client_user_id="user-1")
        assert result.complete
        report = backfill(linker, "boom", budget=RateBudget())
        assert report.failed == 0, report
        hook = plaid.webhook("ITEM", "ERROR", item_id=result.item_id)
        assert linker.verify_webhook(hook.body, hook.headers).item_id == result.item_id
        awaited = AsyncProcessorLinker(linker.client)
        assert asyncio.run(awaited.link_sandbox("layer")).complete
assert main(["demo"]) == 0
assert main(["partners"]) == 0
"""
    shown = python(code, "-X", "warn_default_encoding", "-W", "error::EncodingWarning")
    assert "Done. Processor tokens" in shown


def parsed() -> Iterator[tuple[str, ast.AST]]:
    """Each node of the package's source that is not awaited, with the name of its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        awaited = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Await)}
        name = path.relative_to(PACKAGE).as_posix()
        yield from ((name, node) for node in ast.walk(tree) if id(node) not in awaited)


def test_no_wait_without_a_time_out() -> None:
    """On Windows no Ctrl-C interrupts one on the main thread."""
    on_other_threads = {
        ("_engine/threads.py", "self._waiting.get()"),
        ("backfill/run.py", "jobs.get()"),
        ("store/checks.py", "gate.wait()"),
    }
    found = {
        (name, ast.unparse(node))
        for name, node in parsed()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("wait", "join", "acquire", "get", "serve_forever")
        and not node.args
        and not node.keywords
    }
    assert found == on_other_threads


@pytest.mark.slow
def test_what_windows_lacks_is_asked_for_before_it_is_used() -> None:
    """A name that it does not have stands under `hasattr`, or nowhere."""
    lacking = {(module, name) for module, names in _TO_TAKE.items() for name in names.split()}
    used = {
        (name, f"{node.value.id}.{node.attr}")
        for name, node in parsed()
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in lacking
    }
    assert {each for _, each in used} == {"os.register_at_fork"}
    for name, each in used:
        source = (PACKAGE / name).read_text(encoding="utf-8")
        module, _, attribute = each.partition(".")
        assert f'if hasattr({module}, "{attribute}"):\n    {each}(' in source
    modules = {
        alias.name for _, node in parsed() if isinstance(node, ast.Import) for alias in node.names
    }
    assert modules & set(_MODULES.split()) == set()


def test_a_port_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """SO_REUSEADDR, which on Windows lets two servers have one port, is not set there."""
    listener = server._listen("127.0.0.1", 0)
    try:
        on = server.socket.SOL_SOCKET, server.socket.SO_REUSEADDR
        assert listener.getsockopt(*on)
    finally:
        listener.close()

    class Windows:
        name = "nt"

    monkeypatch.setattr(server, "os", Windows)
    listener = server._listen("127.0.0.1", 0)
    try:
        assert not listener.getsockopt(*on)
    finally:
        listener.close()


# Missing extras

SANDBOX, STORE = "plaid-processors[sandbox]", "plaid-processors[store]"
_VERIFY = (
    "from plaid_processors import *; "
    "ProcessorLinker.from_env({'PLAID_CLIENT_ID': '0' * 24, 'PLAID_SECRET': '0' * 30})"
    ".verify_webhook(b'{}', {'Plaid-Verification': 'a.b.c'})"
)
_MISSING = [
    ("starlette", "import plaid_processors.sandbox", "the local Plaid needs starlette", SANDBOX),
    ("uvicorn", "import plaid_processors.sandbox", "the local Plaid needs uvicorn", SANDBOX),
    ("jwt", "import plaid_processors.sandbox", "the local Plaid needs PyJWT", SANDBOX),
    ("cryptography", "import plaid_processors.sandbox", "needs cryptography", SANDBOX),
    ("starlette", "from plaid_processors.sandbox import LocalSandbox", "starlette", SANDBOX),
    ("starlette", "import plaid_processors.sandbox.faults", "needs starlette", SANDBOX),
    ("another jwt", "import plaid_processors.sandbox", "the local Plaid needs PyJWT", SANDBOX),
    ("jwt", _VERIFY, "verify_webhook needs PyJWT", "plaid-processors[webhooks]"),
    ("another jwt", _VERIFY, "verify_webhook needs PyJWT", "plaid-processors[webhooks]"),
    ("cryptography", _VERIFY, "with cryptography", "plaid-processors[webhooks]"),
    (
        "sqlalchemy",
        "from plaid_processors.store import *; SqlStore('sqlite://', cipher=object())",
        "SqlStore needs SQLAlchemy",
        STORE,
    ),
    (
        "cryptography",
        "from plaid_processors.store import *; SqlStore('sqlite://', keys=['k'])",
        "FernetCipher needs cryptography",
        STORE,
    ),
    (
        "cryptography",
        "from plaid_processors.store import *; MemoryStore()",
        "FernetCipher needs cryptography",
        STORE,
    ),
    (
        "limits",
        "from plaid_processors.backfill import *; RateBudget()",
        "RateBudget needs limits",
        "plaid-processors[backfill]",
    ),
    (
        "redis",
        "from plaid_processors.backfill import *; RateBudget(storage='redis://127.0.0.1:1')",
        "is its driver installed?",
        "plaid-processors[backfill]",
    ),
]


@pytest.mark.slow
def test_a_missing_extra_is_named_by_its_line() -> None:
    """By the import of the local Plaid, and by the first call that needs another extra."""
    code = """
import json, sys, types
cases, told = json.loads(sys.stdin.read()), []
kept = dict(sys.modules)
for missing, work in cases:
    sys.modules.clear()
    sys.modules.update(kept)
    if missing.startswith("another "):  # the distribution of that name
        name = missing.removeprefix("another ")
        sys.modules[name] = types.ModuleType(name)
    else:
        sys.modules[missing] = None
    try:
        exec(work, {})
    except Exception as error:
        told.append([type(error).__name__, isinstance(error, ImportError), str(error)])
    else:
        told.append(["nothing", False, ""])
print(json.dumps(told))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([each[:2] for each in _MISSING]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (missing, work, words, line), (kind, is_import_error, told) in zip(
        _MISSING, json.loads(done.stdout), strict=True
    ):
        case = f"{missing}: {work}: {kind}: {told}"
        assert words in told, case
        assert told.endswith(f'pip install "{line}"'), case
        assert not re.search(r"\bjwt\b", told), case
        assert is_import_error == work.startswith(("import", "from plaid_processors.sandbox")), case
        assert is_import_error or kind == "ConfigurationError", case


@pytest.mark.slow
@rows("broken", ["starlette.applications", "anyio.to_thread", "jwt.algorithms"])
def test_a_broken_install_is_no_missing_extra(broken: str) -> None:
    """What is wrong inside a package that is there is said as Python says it."""
    code = f"""
import sys
sys.modules[{broken!r}] = None
try:
    import plaid_processors.sandbox
except ImportError as error:
    print(error)
"""
    assert python(code) == f"import of {broken} halted; None in sys.modules\n"


def test_no_extra_is_needed_to_import_the_rest() -> None:
    """All else of the package is imported without any."""
    extras = ["starlette", "uvicorn", "jwt", "cryptography", "sqlalchemy", "limits", "redis"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({extras!r}))
import plaid_processors.backfill, plaid_processors.cli, plaid_processors.handoff
import plaid_processors.store, plaid_processors.testing
from plaid_processors import *
"""
    python(code)


def test_the_loop_here_is_not_that_of_windows() -> None:
    """What the tests above take away is there at all."""
    loop = asyncio.new_event_loop()
    try:
        assert isinstance(loop, BaseSelectorEventLoop)
    finally:
        loop.close()
