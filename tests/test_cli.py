"""The command line, as a user runs it: what it prints, and its exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

import pytest
import urllib3

from plaid_processors import PlaidClient, ProcessorLinker, __version__
from plaid_processors.cli import main
from plaid_processors.sandbox import LocalSandbox

from .support.rows import rows

CLIENT_ID = "0123456789abcdef01234567"
SECRET = "0123456789abcdef0123456789abcd"


def environ(**variables: str) -> dict[str, str]:
    """This process's environment without Plaid's variables, and these."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PLAID_")}
    return {**kept, "PYTHONIOENCODING": "utf-8", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A run of the command in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environ(**variables), clear=True),
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        try:
            status: Any = main(arguments)
        except SystemExit as ended:
            status = ended.code
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def run_apart(*arguments: str, code: str | None = None, **variables: str):
    """A whole run of the command, or of other code with these arguments."""
    program = ["-m", "plaid_processors"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *program, *arguments],
        env=environ(**variables),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failure is told in."""
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("plaid-processors: ").strip()


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[str]:
    """`plaid-processors sandbox` while it serves: its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "plaid_processors", "sandbox", *arguments],
        env=environ(**variables),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0


def keys_and_address(sandbox: LocalSandbox) -> dict[str, str]:
    return {
        "PLAID_CLIENT_ID": sandbox.client_id,
        "PLAID_SECRET": sandbox.secret,
        "PLAID_BASE_URL": sandbox.url,
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    """One run of the demo, read by several tests."""
    return run_apart("demo")


def test_the_version() -> None:
    """`--version` prints it, and so does `-V`."""
    for option in ("--version", "-V"):
        done = run(option)
        assert (done.returncode, done.stdout) == (0, f"plaid-processors {__version__}\n")


def test_the_demo_ends_well(demo: subprocess.CompletedProcess[str]) -> None:
    """It needs no key and no network, and complains of nothing."""
    assert (demo.returncode, demo.stderr) == (0, "")


def test_the_demo_counts_the_tokens(demo: subprocess.CompletedProcess[str]) -> None:
    """One for each account of the Item for Layer, one for Finix."""
    assert "Processor tokens: 14 for Layer, 1 for Finix." in demo.stdout
    assert len(re.findall(r"← processor-sandbox-…", demo.stdout)) == 15


def test_the_demo_shows_what_was_asked(demo: subprocess.CompletedProcess[str]) -> None:
    """Each endpoint of the flow stands in what it prints."""
    asked = re.findall(r"→ (/\S+)", demo.stdout)
    partner = ["/link/token/create", "/item/public_token/exchange", "/processor/token/create"]
    assert asked == [*partner, *partner, "/item/remove", "/item/remove"]


def test_the_demo_plays_the_partners(demo: subprocess.CompletedProcess[str]) -> None:
    """Layer reads each account's balance and transactions, Finix the numbers and the owner."""
    assert len(re.findall(r"← .* …\d{4} +balance +[\d,.]+, +\d+ transactions", demo.stdout)) == 14
    assert "account 1111222233330000, routing 011401533" in demo.stdout
    assert demo.stdout.count("account 1") == 1
    assert demo.stdout.count("owner Alberta Bobbeth Charleson") == 1


def test_the_demo_says_that_it_is_local(demo: subprocess.CompletedProcess[str]) -> None:
    """Nobody takes it for Plaid's own servers."""
    assert "Plaid is a local stand-in here, at http://127.0.0.1:" in demo.stdout


def test_the_demo_shows_what_a_rule_refuses(demo: subprocess.CompletedProcess[str]) -> None:
    """Two accounts that fit are refused for Finix, with the way out."""
    assert "✗ AccountSelectionError: finix takes one account" in demo.stdout
    assert "Pass account_id=" in demo.stdout


def test_the_demo_masks_every_token(demo: subprocess.CompletedProcess[str]) -> None:
    """What it prints can be shown around."""
    shown = re.findall(r"-sandbox-([^\s:]+)", demo.stdout)
    assert [each for each in shown if not re.fullmatch(r"…\w{4}", each)] == []


def test_the_demo_fits_a_terminal(demo: subprocess.CompletedProcess[str]) -> None:
    """No line is longer than eighty columns."""
    assert [line for line in demo.stdout.splitlines() if len(line) > 80] == []


def test_the_demo_live_against_an_address_of_the_users(demo: subprocess.CompletedProcess[str]):
    """With keys in the environment it links without a browser, and says where requests go."""
    with LocalSandbox() as sandbox:
        done = run("demo", "--live", **keys_and_address(sandbox))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Requests go to {sandbox.url}" in done.stdout
    assert "Processor tokens: 14 for Layer, 1 for Finix." in done.stdout


def test_the_demo_live_without_keys() -> None:
    """The variables that are missing are named, and where to find the keys."""
    line = told(run("demo", "--live"))
    assert line.startswith("PLAID_CLIENT_ID and PLAID_SECRET not set")


def test_the_demo_live_in_production() -> None:
    """It makes test Items, so it refuses the real environment before any request."""
    line = told(
        run(
            "demo",
            "--live",
            PLAID_CLIENT_ID=CLIENT_ID,
            PLAID_SECRET=SECRET,
            PLAID_ENV="production",
        )
    )
    assert line == "the demo makes test Items: set PLAID_ENV=sandbox"


def test_the_demo_live_with_wrong_keys() -> None:
    """Plaid's refusal is told with what to do about it."""
    with LocalSandbox() as sandbox:
        line = told(run("demo", "--live", **{**keys_and_address(sandbox), "PLAID_SECRET": SECRET}))
    assert line.startswith("INVALID_INPUT / INVALID_API_KEYS")
    assert "https://dashboard.plaid.com/developers/keys" in line


def test_the_demo_live_with_a_partner_that_is_not_enabled() -> None:
    """What failed after the exchange is told by its reason, and the Item is removed."""
    with LocalSandbox() as sandbox:
        sandbox.disable_partner("layer")
        done = run("demo", "--live", **keys_and_address(sandbox))
    line = told(done)
    assert line.startswith("INVALID_INPUT / INVALID_PRODUCT")
    assert "https://dashboard.plaid.com/developers/integrations" in line
    assert "→ /item/remove" in done.stdout


@rows(("enabled", "first"), [(True, "ITEM_LOCKED"), (False, "INVALID_PRODUCT")])
def test_the_demo_cleans_up_whatever_fails(enabled: bool, first: str) -> None:
    """Each Item is removed if it can be, and what failed first is what is told in the end."""
    with LocalSandbox() as sandbox:
        if not enabled:
            sandbox.disable_partner("finix")
        sandbox.fail("/item/remove", error_code="ITEM_LOCKED")
        done = run("demo", "--live", **keys_and_address(sandbox))
        removals = [each for each in sandbox.requests if each.path == "/item/remove"]
    assert first in told(done)
    assert len(removals) == 2
    assert done.stdout.count("was not removed: ITEM_ERROR / ITEM_LOCKED") == 1
    assert done.stdout.count("→ /item/remove") == 1


def test_the_demo_live_without_a_server() -> None:
    """An address of another machine that answers nothing is told in one line."""
    line = told(
        run(
            "demo",
            "--live",
            PLAID_CLIENT_ID=CLIENT_ID,
            PLAID_SECRET=SECRET,
            PLAID_BASE_URL=f"https://127.0.0.1:{free_port()}",
        )
    )
    assert "no usable answer from /link/token/create" in line


@pytest.mark.slow
def test_the_demo_on_a_terminal_that_has_no_arrows() -> None:
    """What the terminal cannot show becomes a question mark, not an error."""
    done = run_apart("demo", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sandbox_serves_any_wellformed_keys() -> None:
    """A client with any keys links against the address that it printed, at the port given."""
    port = free_port()
    with serving("--port", str(port)) as url:
        assert url == f"http://127.0.0.1:{port}"
        client = PlaidClient(client_id=CLIENT_ID, secret=SECRET, base_url=url)
        with ProcessorLinker(client) as linker:
            result = linker.link_sandbox("finix")
    assert result.complete


@pytest.mark.slow
def test_the_sandbox_serves_only_the_keys_that_it_is_given() -> None:
    """Fixed keys refuse all others."""
    with serving("--port", "0", "--client-id", CLIENT_ID, "--secret", SECRET) as url:
        done = run(
            "demo",
            "--live",
            PLAID_CLIENT_ID=CLIENT_ID,
            PLAID_SECRET=SECRET[::-1],
            PLAID_BASE_URL=url,
        )
    assert told(done).startswith("INVALID_INPUT / INVALID_API_KEYS")


@pytest.mark.slow
def test_the_sandbox_takes_its_secret_from_the_environment() -> None:
    """So it does not stand in the list of processes; without --client-id it counts for nothing."""
    keys = {"client_id": CLIENT_ID, "secret": SECRET}
    with serving("--port", "0", "--client-id", CLIENT_ID, PLAID_SECRET=SECRET) as url:
        assert ask(url, "/item/get", {**keys, "secret": SECRET[::-1]}) == "INVALID_API_KEYS"
        assert ask(url, "/item/get", keys) == "INVALID_ACCESS_TOKEN"
    with serving("--port", "0", PLAID_SECRET=SECRET, PLAID_CLIENT_ID=CLIENT_ID) as url:
        assert ask(url, "/item/get", {**keys, "secret": SECRET[::-1]}) == "INVALID_ACCESS_TOKEN"
    done = run("sandbox", "--client-id", CLIENT_ID, PLAID_SECRET=SECRET[:-1])
    assert (done.returncode, SECRET[:-1] in done.stderr) == (2, False)
    assert "PLAID_SECRET must be 30 hexadecimal digits" in done.stderr


def ask(url: str, path: str, body: dict[str, str], **headers: str) -> str:
    """The error code of a request with a wrong access token, or the status without one."""
    kind = {"Content-Type": "application/json", **headers}
    with urllib3.PoolManager() as pool:
        sent = {**body, "access_token": "access-sandbox-x"}
        reply = pool.request("POST", url + path, body=json.dumps(sent), headers=kind)
    return str(json.loads(reply.data).get("error_code", reply.status))


@pytest.mark.slow
def test_the_sandbox_by_another_host_name() -> None:
    """A container's name is refused by the control plane, unless it is allowed."""
    arguments = ("--port", "0", "--allow-host", "plaid", "--allow-host", "mine.test")
    with serving(*arguments, "--remote-webhooks") as url, urllib3.PoolManager() as pool:
        for host, status in (("plaid:8080", 200), ("mine.test", 200), ("other", 403)):
            reply = pool.request("GET", f"{url}/_sandbox/health", headers={"Host": host})
            assert reply.status == status


TOKEN = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"


@rows(
    "arguments",
    [
        arguments
        for secret in (TOKEN, SECRET, "hQ7dkXyzPwAbMnRt", "3f6c2a90-1111-4222-8333-444455556666")
        for arguments in (
            [secret],
            ["demo", "--foo", secret],
            ["demo", f"--foo={secret}"],
            ["sandbox", f"--secrt={secret}"],
            ["sandbox", "--secret", secret + "x"],
            ["sandbox", "--port", secret],
            ["sandbox", "--host", secret],
            ["sandbox", "--client-id", secret],
            ["partners", secret],
            ["partners", "--accounts", secret],
            ["partners", "--product", secret],
            ["partners", "--subtype", secret],
            ["partners", "finix", secret],
            ["backfill", secret, "--linker", "a:b"],
            ["backfill", "finix", "--linker", secret],
            ["recover", "--linker", f"{secret}:linker"],
            ["refresh", "--linker", "a:b", "--limit", secret],
            ["doctor", "layer", secret],
            ["sandbox", "--port", "1", "--seed", secret, "--host", "none.invalid"],
            ["trigger", secret],
            ["trigger", "ITEM", "ERROR", "--to", secret],
            ["trigger", "ITEM", "ERROR", "--to", "http://h", "--set", secret],
        )
    ],
    ids=" ".join,
)
def test_a_secret_in_a_wrong_place_is_not_shown(arguments: list[str]) -> None:
    """Whichever argument it is given as, and whichever of the two kinds of failure that is."""
    done = run(*arguments)
    secret = max(arguments, key=len).rpartition("=")[2]
    assert done.returncode in (1, 2)
    assert secret not in done.stdout + done.stderr
    assert secret[:20] not in done.stderr or secret == TOKEN  # the type and four letters show
    assert TOKEN[15:] not in done.stderr


def test_the_sandbox_on_a_taken_port() -> None:
    """The port is named."""
    with LocalSandbox() as sandbox:
        port = sandbox.url.rpartition(":")[2]
        line = told(run("sandbox", "--port", port))
    assert line == f"cannot serve at 127.0.0.1 port {port}: Address already in use"


@rows("command", ["demo", "sandbox"])
def test_without_the_extra(command: str) -> None:
    """A missing extra is told with the command that installs it."""
    code = (
        "import sys; sys.modules['starlette'] = None; sys.modules['uvicorn'] = None; "
        "from plaid_processors.cli import main; sys.exit(main())"
    )
    assert told(run_apart(command, code=code)).endswith('pip install "plaid-processors[sandbox]"')


def test_a_backfill_without_its_extra() -> None:
    """It is no wrong usage: the line to install is told, and the exit status is 1."""
    code = (
        "import sys; sys.modules['limits'] = None; "
        "from plaid_processors.cli import main; sys.exit(main())"
    )
    done = run_apart("backfill", "finix", "--linker", "myapp:linker", code=code)
    assert told(done).endswith('pip install "plaid-processors[backfill]"')


@rows(
    ("arguments", "words"),
    [
        (["dmo"], "unknown command 'dmo': did you mean 'demo'?"),
        (["demo", "layer"], "unrecognized arguments: layer"),
        (["demo", "--live", "--browser"], "not allowed with argument"),
        (["sandbox", "--port", "80a"], "must be a number from 0 to 65535"),
        (["sandbox", "--port", "65536"], "must be a number from 0 to 65535"),
        (["sandbox", "--client-id", CLIENT_ID], "the secret may be in PLAID_SECRET"),
        (["sandbox", "--secret", SECRET], "--client-id and --secret go together"),
        (["sandbox", "--client-id", "x"], "must be 24 hexadecimal digits"),
        (["sandbox", "--secret", CLIENT_ID], "must be 30 hexadecimal digits"),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    """Wrong usage ends with 2 and says what would be right."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_an_interrupt() -> None:
    """Ctrl-C during the demo ends it in one line, with no traceback."""
    code = (
        "import signal, sys; from plaid_processors.cli import demo, main; "
        "demo.run = lambda _: signal.raise_signal(signal.SIGINT); sys.exit(main())"
    )
    assert told(run_apart("demo", "--live", code=code)) == "interrupted"
