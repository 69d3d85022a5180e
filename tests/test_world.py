"""The world to develop in: `sandbox --partners`, its file of variables, seeds, and `trigger`."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3
from dotenv import dotenv_values

from plaid_processors import PlaidClient, ProcessorLinker, WebhookVerificationError
from plaid_processors.handoff import FinixSender, LayerSender
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.sandbox.serving import write_env_file
from plaid_processors.store import FernetCipher

from .support.rows import rows
from .test_cli import CLIENT_ID, SECRET, TOKEN, environ, run, run_apart, told

PLAID = ["PLAID_CLIENT_ID", "PLAID_SECRET", "PLAID_ENV", "PLAID_BASE_URL"]
LAYER = "LAYER_CLIENT_ID LAYER_CLIENT_SECRET LAYER_ENV LAYER_BASE_URL LAYER_AUTH_URL".split()
FINIX = "FINIX_USERNAME FINIX_PASSWORD FINIX_ENV FINIX_BASE_URL".split()
DEMO = ["DEMO_LAYER_BUSINESSES", "DEMO_FINIX_IDENTITIES"]
KEYS = ["LINK_KEYS", "SESSION_SECRET"]
OURS = [*PLAID, *LAYER, *FINIX, *DEMO, *KEYS]
SECRETS = ["PLAID_SECRET", "LAYER_CLIENT_SECRET", "FINIX_PASSWORD"]


class World(NamedTuple):
    """What a running `plaid-processors sandbox` printed and wrote."""

    lines: list[str]
    file: Path
    variables: dict[str, str]


@contextmanager
def world(
    folder: Path, *arguments: str, lines: int = 3, port: int = 0, by: int = signal.SIGINT
) -> Iterator[World]:
    """The command while it serves, with a file of variables; then it is stopped and ends well."""
    file = folder / ".env"
    command = ["sandbox", "--port", str(port), "--env-file", str(file), *arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "plaid_processors", *command],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            printed = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
            yield World(printed, file, read(file))
        finally:
            process.send_signal(by)
            ended = process.wait(timeout=20)
            rest = process.stdout.read() + process.stderr.read()
    assert (ended, rest) == (0, "")


def read(file: Path) -> dict[str, str]:
    """The variables of a file, as a shell reads them."""
    script = 'set -a; . "$1"; exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(file), sys.executable],
        env={},
        capture_output=True,
        check=True,
    )
    named = json.loads(done.stdout)
    return {name: value for name, value in named.items() if name in OURS}


def address(line: str) -> str:
    return line.split()[-1]


def takes(url: str) -> bool:
    """Whether something listens there."""
    parts = urllib3.util.parse_url(url)
    with socket.socket() as caller:
        return caller.connect_ex((parts.host, parts.port)) == 0


def ports_in_a_row() -> int:
    """The first of three free ports."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, 3):
        try:
            with ExitStack() as stack:
                for port in range(first, first + 3):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for several tests."""
    with world(tmp_path_factory.mktemp("world"), "--partners") as serving:
        yield serving


@pytest.fixture
def linker(running: World) -> Iterator[ProcessorLinker]:
    with ProcessorLinker.from_env(running.variables) as linker:
        yield linker


# The world


def test_the_addresses_are_printed_and_written(running: World) -> None:
    """Plaid's is the last line, and each line ends with an address."""
    layer, finix, plaid = running.lines
    assert layer.startswith("Local Layer at http://127.0.0.1:")
    assert finix.startswith("Local Finix at http://127.0.0.1:")
    assert plaid.startswith("Local Plaid at http://127.0.0.1:")
    assert running.variables["LAYER_BASE_URL"] == running.variables["LAYER_AUTH_URL"]
    assert running.variables["LAYER_BASE_URL"] == address(layer)
    assert running.variables["FINIX_BASE_URL"] == address(finix)
    assert running.variables["PLAID_BASE_URL"] == address(plaid)


def test_the_variables_are_enough_for_a_link_and_both_partners(running: World) -> None:
    """A client and both senders take them as they are; each demo user has a target of his own."""
    variables = running.variables
    businesses = variables["DEMO_LAYER_BUSINESSES"].split(",")
    identities = variables["DEMO_FINIX_IDENTITIES"].split(",")
    assert (len(set(businesses)), len(set(identities))) == (2, 2)
    with (
        ProcessorLinker.from_env(variables) as linker,
        LayerSender.from_env(variables) as layer,
        FinixSender.from_env(variables) as finix,
    ):
        for business, identity in zip(businesses, identities, strict=True):
            token = linker.create_link_token("layer", client_user_id="ada", client_name="Acme")
            done = control(variables, "/complete_link", link_token=token.link_token)
            linked = linker.link(
                "layer", public_token=done["public_token"], metadata=done["metadata"]
            )
            assert layer.hand_over(linked, business_id=business).sent == 14
            paid = linker.link_sandbox("finix")
            assert finix.hand_over(paid.token("finix"), identity=identity).identity == identity


def test_only_its_owner_can_read_the_file(running: World) -> None:
    """And no secret in it is printed."""
    assert stat.S_IMODE(running.file.stat().st_mode) == 0o600
    printed = "\n".join(running.lines)
    assert [name for name in SECRETS if running.variables[name] in printed] == []


def test_all_variables_are_written(running: World) -> None:
    """Those of the partners too, and what the example applications' demo users need."""
    assert sorted(running.variables) == sorted(OURS)


@pytest.mark.slow
@rows("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_three(number: int, tmp_path: Path) -> None:
    """The ports are those after `--port`, and free again in the end."""
    port = ports_in_a_row()
    with world(tmp_path, "--partners", port=port, by=number) as serving:
        named = [address(line) for line in serving.lines]
        assert all(map(takes, named))
    assert named == [f"http://127.0.0.1:{port + step}" for step in (1, 2, 0)]
    assert not any(map(takes, named))


@rows("taken", [0, 1, 2])
def test_a_taken_port_leaves_nothing_half_started(taken: int, tmp_path: Path) -> None:
    """The port is named in one line, the other two are free again, and no file is written."""
    port, threads = ports_in_a_row(), threading.active_count()
    file = tmp_path / ".env"
    arguments = ("--partners", "--port", str(port), "--env-file", str(file))
    with socket.create_server(("127.0.0.1", port + taken)):
        line = told(run("sandbox", *arguments))
    assert line == f"cannot serve at 127.0.0.1 port {port + taken}: Address already in use"
    assert not any(takes(f"http://127.0.0.1:{port + step}") for step in range(3))
    assert threading.active_count() == threads
    assert not file.exists()


@pytest.mark.slow
def test_without_partners_there_is_one_line(tmp_path: Path) -> None:
    """And the file has Plaid's variables and the application's keys alone."""
    with world(tmp_path, lines=1) as serving:
        assert serving.lines == [f"Local Plaid at {serving.variables['PLAID_BASE_URL']}"]
        assert sorted(serving.variables) == sorted([*PLAID, *KEYS])
        with ProcessorLinker.from_env(serving.variables) as linker:
            assert linker.link_sandbox("finix").complete


@pytest.mark.slow
def test_the_keys_that_are_given_are_written(tmp_path: Path) -> None:
    given = ("--client-id", CLIENT_ID, "--secret", SECRET)
    with world(tmp_path, *given, lines=1) as serving:
        assert serving.variables["PLAID_CLIENT_ID"] == CLIENT_ID
        assert serving.variables["PLAID_SECRET"] == SECRET


@pytest.mark.slow
def test_at_every_address_the_file_has_the_loopbacks(tmp_path: Path) -> None:
    """A client refuses plain HTTP to any other address."""
    with world(tmp_path, "--partners", "--host", "0.0.0.0") as serving:
        assert "http://0.0.0.0:" in serving.lines[-1]
        for name in ("PLAID_BASE_URL", "LAYER_BASE_URL", "LAYER_AUTH_URL", "FINIX_BASE_URL"):
            assert serving.variables[name].startswith("http://127.0.0.1:")
        with ProcessorLinker.from_env(serving.variables) as linker:
            assert linker.link_sandbox("finix").complete


@pytest.mark.slow
def test_other_lines_of_the_file_stay(tmp_path: Path) -> None:
    """What an earlier start wrote is replaced, and what the file sets besides counts no more."""
    file = tmp_path / ".env"
    file.write_bytes(b"# mine\r\nAPP_URL=http://localhost:9\r\nPLAID_SECRET=mine")
    with world(tmp_path, "--partners") as first:
        assert first.variables["PLAID_SECRET"] != "mine"
        assert first.file.read_bytes().startswith(b"# mine\r\nAPP_URL=http://localhost:9\r\n")
    with file.open("a") as more:
        more.write("PLAID_OTHER=1\nLAYER_ENV=production\n")
    with world(tmp_path, lines=1) as second:
        text = second.file.read_text()
    assert sorted(second.variables) == sorted([*PLAID, *KEYS, "LAYER_ENV"])
    assert second.variables["PLAID_SECRET"] != "mine"
    assert second.variables["LAYER_ENV"] == "production"
    assert text.count("PLAID_SECRET=") == 2
    assert text.count("Written by plaid-processors") == 1
    assert "PLAID_SECRET=mine\nPLAID_OTHER=1\nLAYER_ENV=production\n# Written by" in text
    assert "LAYER_CLIENT_ID" not in text


@pytest.mark.slow
def test_an_applications_keys_stay(tmp_path: Path) -> None:
    """What it has encrypted is still there after a new start; a key of its own is not replaced."""
    with world(tmp_path, lines=1) as first:
        keys = [first.variables[name] for name in KEYS]
        FernetCipher(keys[:1])
    with world(tmp_path, "--partners") as second:
        assert [second.variables[name] for name in KEYS] == keys
        assert second.variables["PLAID_SECRET"] != first.variables["PLAID_SECRET"]


@rows(
    ("line", "kept"),
    [
        ("LINK_KEYS=mine,older", "mine,older"),
        ("export LINK_KEYS='mine'", "mine"),
        ("  LINK_KEYS = mine # of the team", "mine"),
        ("'LINK_KEYS'=mine", "mine"),
        ("\ufeffLINK_KEYS=mine", "mine"),
        ("LINK_KEYS=older\nLINK_KEYS=mine", "mine"),
        ("LINK_KEYS=", None),
        ("LINK_KEYS=''", None),
        ("LINK_KEYS= # none", None),
        ("LINK_KEYS=  ", None),
        ("# LINK_KEYS=mine", None),
        ("NO_LINK_KEYS=mine", None),
    ],
)
def test_a_key_of_your_own_is_not_replaced(line: str, kept: str | None, tmp_path: Path) -> None:
    """However it is written, and at each start; one that is empty is none."""
    file = tmp_path / ".env"
    file.write_text(line + "\n", encoding="utf-8")
    made = set()
    for _ in range(2):
        write_env_file(file, {"PLAID_ENV": "sandbox"}, 7)
        with file.open(encoding="utf-8-sig") as stream:
            read = dotenv_values(stream=stream)["LINK_KEYS"]
        made.add(read)
        assert read == kept or (kept is None and read and len(read) == 44)
    assert len(made) == 1
    file.write_text(line.replace("mine", "new,mine") + "\n" + "".join(block(file)), "utf-8")
    write_env_file(file, {"PLAID_ENV": "sandbox"}, 7)
    with file.open(encoding="utf-8-sig") as stream:
        after = dotenv_values(stream=stream)["LINK_KEYS"]
    assert after == (kept.replace("mine", "new,mine") if kept else made.pop())


def block(file: Path) -> list[str]:
    """The lines that the command has written."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    (start,) = (place for place, each in enumerate(lines) if "Written by" in each)
    return lines[start:]


def test_a_value_that_is_no_text_is_no_failure(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"OTHER=\xff\nSESSION_SECRET=\xff\n")
    write_env_file(file, {"PLAID_ENV": "sandbox"}, 7)
    assert file.read_bytes().startswith(b"OTHER=\xff\nSESSION_SECRET=\xff\n# Written by")
    assert b"\nSESSION_SECRET" not in file.read_bytes().partition(b"# Written by")[2]


@pytest.mark.slow
def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (tmp_path / ".env").symlink_to(real)
    with world(tmp_path, lines=1) as serving:
        assert serving.file.is_symlink()
        assert "PLAID_SECRET" in real.read_text()


@pytest.mark.slow
@rows(
    ("name", "words"), [("none/.env", "No such file or directory"), ("folder", "it is not a file")]
)
def test_a_file_that_cannot_be_written(name: str, words: str, tmp_path: Path) -> None:
    """It is one line, and nothing is served."""
    (tmp_path / "folder").mkdir(exist_ok=True)
    done = run_apart("sandbox", "--port", "0", "--env-file", str(tmp_path / name))
    assert done.stdout == ""
    line = told(done)
    assert line.startswith("cannot write /")
    assert line.endswith(f"/{name}: {words}")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@rows(
    ("arguments", "words"),
    [
        (["--partners", "--port", "65534"], "--port must be at most 65533"),
        (["--seed", ""], "must be a number or a text"),
        (["--seed", "a\nb"], "must be a number or a text"),
        # The port is wrong too, so that a host that is taken is a failure and not a server.
        (["--host", "", "--port", "x"], "argument --host: must not be empty"),
    ],
)
def test_wrong_usage_of_sandbox(arguments: list[str], words: str) -> None:
    done = run("sandbox", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.slow
@rows("host", [b"\xff", "ü".encode() * 70, b"256.1.1.1", b"none.invalid", b"a" * 70, b"::x"])
def test_a_host_that_is_none(host: bytes) -> None:
    """Whatever the bytes, it is one line that names the port."""
    line = told(run_apart("sandbox", "--port", "0", "--host", os.fsdecode(host)))
    assert line.startswith("cannot serve at ")
    assert " port 0: " in line


# Seeds


def public_token(variables: Mapping[str, str]) -> str:
    with PlaidClient.from_env(variables) as client, ProcessorLinker(client) as linker:
        token = linker.create_link_token("layer", client_user_id="ada", client_name="Acme")
        done = control(variables, "/complete_link", link_token=token.link_token)
        return str(done["public_token"])


@pytest.mark.slow
def test_after_a_restart_all_is_new(tmp_path: Path) -> None:
    """So a database that is kept never gets the same id twice; `--seed random` is the default."""
    seen = []
    for arguments in ((), ("--seed", "random")):
        with world(tmp_path, "--partners", *arguments) as serving:
            variables = serving.variables
            same = ("PLAID_ENV", "LAYER_ENV", "FINIX_ENV", *KEYS)
            made = {value for name, value in variables.items() if name not in same}
            seen.append({*made, public_token(variables)})
    assert seen[0] & seen[1] == set()


@pytest.mark.slow
def test_a_seed_gives_the_same_again(tmp_path: Path) -> None:
    """It may be copied from the file of an earlier start, and is that of `LocalSandbox`."""
    with world(tmp_path, "--partners") as first:
        ids = [first.variables[name] for name in (*SECRETS, *DEMO)]
        ids.append(public_token(first.variables))
        mark = next(line for line in first.file.read_text().splitlines() if "--seed " in line)
    seed = mark.split("--seed ")[1]
    with world(tmp_path, "--partners", "--seed", seed) as second:
        assert [second.variables[name] for name in (*SECRETS, *DEMO)] == ids[:-1]
        assert public_token(second.variables) == ids[-1]
    with world(tmp_path, "--seed", "7", lines=1) as third, LocalSandbox(seed=7) as plaid:
        assert third.variables["PLAID_CLIENT_ID"] == plaid.client_id
        assert third.variables["PLAID_SECRET"] == plaid.secret


# Triggered webhooks


class Receiver(ThreadingHTTPServer):
    """Your server: it keeps what it gets, and answers with the status that the path names."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, bytes, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, body, dict(self.headers)))
        last = self.path.partition("?")[0].rpartition("/")[2]
        self.send_response(int(last) if last.isdigit() else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def control(variables: Mapping[str, str], path: str, **body: Any) -> dict[str, Any]:
    with urllib3.PoolManager() as pool:
        url = f"{variables['PLAID_BASE_URL']}/_sandbox{path}"
        kind = {"Content-Type": "application/json"}
        reply = pool.request("POST", url, body=json.dumps(body), headers=kind)
    told: dict[str, Any] = json.loads(reply.data)
    return told


def trigger(running: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("trigger", *arguments, PLAID_BASE_URL=running.variables["PLAID_BASE_URL"])


def test_a_triggered_webhook_is_verified(
    running: World, linker: ProcessorLinker, receiver: Receiver
) -> None:
    """By the linker, with the local Plaid's key; it is what Plaid would send of this Item."""
    item_id = linker.link_sandbox("finix").item_id
    assert item_id is not None
    at = running.variables["PLAID_BASE_URL"]
    to = f"{receiver.url}/hook?from=trigger"
    arguments = ("ITEM", "ERROR", "--item", item_id, "--to", to, "--at", at)
    done = run_apart("trigger", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ITEM / ERROR sent to {receiver.url}/hook: 200\n"
    [(path, body, headers)] = receiver.got
    assert path == "/hook?from=trigger"
    event = linker.verify_webhook(body, headers)
    assert (event.webhook_type, event.webhook_code, event.item_id) == ("ITEM", "ERROR", item_id)
    assert event.error is not None
    assert event.error.error_code == "ITEM_LOGIN_REQUIRED"


def test_it_goes_to_the_items_own_address(
    running: World, linker: ProcessorLinker, receiver: Receiver
) -> None:
    """Where there is one; where there is none, it says how to name one."""
    token = linker.create_link_token(
        "layer", client_user_id="ada", client_name="Acme", webhook=f"{receiver.url}/own"
    )
    done = control(running.variables, "/complete_link", link_token=token.link_token)
    item_id = linker.link("layer", public_token=done["public_token"]).item_id
    assert item_id is not None
    shown = trigger(running, "ITEM", "LOGIN_REPAIRED", "--item", item_id)
    assert shown.stdout == f"ITEM / LOGIN_REPAIRED sent to {receiver.url}/own: 200\n"
    codes = [json.loads(body)["webhook_code"] for _, body, _ in receiver.got]
    assert codes.count("LOGIN_REPAIRED") == 1
    other = linker.link_sandbox("finix").item_id
    assert other is not None
    line = told(trigger(running, "ITEM", "ERROR", "--item", other))
    assert line == "this Item has no webhook address: name one with --to"


def test_fields_and_age(running: World, linker: ProcessorLinker, receiver: Receiver) -> None:
    """`--set` adds JSON or text, `--age` makes it an old one."""
    fields = (
        "status=SUCCESS",
        "item_id=of-another",
        'public_tokens=["public-sandbox-1"]',
        "count=2",
        "odd=NaN",
        "equation=a=b",
        "empty=",
    )
    given = [part for each in fields for part in ("--set", each)]
    done = trigger(running, "LINK", "SESSION_FINISHED", "--to", receiver.url, *given)
    assert (done.returncode, done.stderr) == (0, "")
    assert "public-sandbox" not in done.stdout
    [(_, body, headers)] = receiver.got
    assert json.loads(body) == {
        "webhook_type": "LINK",
        "webhook_code": "SESSION_FINISHED",
        "environment": "sandbox",
        "status": "SUCCESS",
        "item_id": "of-another",
        "public_tokens": ["public-sandbox-1"],
        "count": 2,
        "odd": "NaN",
        "equation": "a=b",
        "empty": "",
    }
    assert linker.verify_webhook(body, headers).status == "SUCCESS"
    for age, reason in (("600", "too_old"), ("-600", "in_the_future")):
        trigger(running, "ITEM", "ERROR", "--to", receiver.url, "--age", age)
        with pytest.raises(WebhookVerificationError) as refused:
            linker.verify_webhook(*receiver.got[-1][1:])
        assert refused.value.reason == reason


@rows("arguments", [("item", "Error"), ("ITEM", "ERROR"), ("item", "error", "--as-is")])
def test_a_code_in_any_case(arguments: tuple[str, ...], running: World, receiver: Receiver) -> None:
    """It is sent as Plaid writes it, unless it is wanted as it is written."""
    receiver.got.clear()
    done = trigger(running, *arguments, "--to", receiver.url)
    assert (done.returncode, done.stderr) == (0, "")
    ((_, body, _),) = receiver.got
    sent = json.loads(body)
    wanted = ("item", "error") if "--as-is" in arguments else ("ITEM", "ERROR")
    assert (sent["webhook_type"], sent["webhook_code"]) == wanted


def test_a_code_that_is_not_known_is_sent(running: World, receiver: Receiver) -> None:
    """Plaid adds codes, so it is a warning."""
    receiver.got.clear()
    done = trigger(running, "SOMETHING", "NEW", "--to", receiver.url)
    assert (done.returncode, len(receiver.got)) == (0, 1)
    assert done.stderr == (
        "plaid-processors: SOMETHING / NEW is none of the webhooks of this workflow; "
        "it is sent as it is\n"
    )


def test_a_code_that_is_a_slip(running: World, receiver: Receiver) -> None:
    """It is not sent, and the code that may be meant is named; `--as-is` sends it all the same."""
    receiver.got.clear()
    done = trigger(running, "ITEM", "EROR", "--to", receiver.url)
    assert (done.returncode, done.stdout, receiver.got) == (2, "", [])
    assert "did you mean ITEM ERROR? --as-is sends it" in done.stderr
    done = trigger(running, "ITEM", "EROR", "--to", receiver.url, "--as-is")
    assert (done.returncode, done.stderr, len(receiver.got)) == (0, "", 1)


@rows("status", [301, 400, 404, 500, 503])
def test_a_receiver_that_refuses(status: int, running: World, receiver: Receiver) -> None:
    """Any answer but a 2xx is a failure; a redirect is not followed."""
    receiver.got.clear()
    line = told(trigger(running, "ITEM", "ERROR", "--to", f"{receiver.url}/{status}"))
    assert line == f"{receiver.url}/{status} answered {status} to ITEM / ERROR"
    assert len(receiver.got) == 1


def test_a_receiver_that_is_not_there(running: World) -> None:
    line = told(trigger(running, "ITEM", "ERROR", "--to", "http://127.0.0.1:1/hook"))
    assert line == "http://127.0.0.1:1/hook cannot be reached: Connection refused"


def test_no_local_plaid(receiver: Receiver) -> None:
    """The command that starts one is named; another server is no local Plaid."""
    to = ("ITEM", "ERROR", "--to", receiver.url)
    line = told(run("trigger", *to, "--at", "http://127.0.0.1:1"))
    start = "start it with plaid-processors sandbox --port"
    assert line == f"no local Plaid at http://127.0.0.1:1: {start} 1"
    line = told(run("trigger", *to, "--at", f"{receiver.url}/x"))
    assert line.startswith(f"no local Plaid at {receiver.url}/x (it answered 200): {start} ")
    assert [path for path, _, _ in receiver.got] == ["/x/_sandbox/webhook"]


def test_what_the_local_plaid_refuses(running: World, receiver: Receiver) -> None:
    line = told(trigger(running, "ITEM", "ERROR", "--to", receiver.url, "--item", "none"))
    assert line == "the local Plaid did not sign it: this local Plaid has no such Item"
    assert receiver.got == []


@rows(
    ("arguments", "words"),
    [
        (["ITEM"], "WEBHOOK_CODE"),
        (["ITEM", "ERROR"], "--to or --item is needed"),
        (["ITEM", "ERROR", "--to", "localhost:8000"], "must be an address such as http://"),
        (["ITEM", "ERROR", "--to", "ftp://localhost"], "must be an address such as http://"),
        (["ITEM", "ERROR", "--to", "http://h:99999"], "must be an address such as http://"),
        (["ITEM", "ERROR", "--to", "http://me:word@h"], "must be an address such as http://"),
        (["ITEM", "ERROR", "--to", "http://h", "--set", "status"], "must be NAME=VALUE"),
        (["ITEM", "ERROR", "--to", "http://h", "--age", "old"], "must be a number of seconds"),
        (["ITEM", "ERROR", "--to", "http://h", "--age", "inf"], "must be a number of seconds"),
    ],
)
def test_wrong_usage_of_trigger(arguments: list[str], words: str) -> None:
    done = run("trigger", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_wrong_variable() -> None:
    line = told(run("trigger", "ITEM", "ERROR", "--to", "http://h", PLAID_BASE_URL="plaid"))
    assert line.startswith("PLAID_BASE_URL must be an address such as")


@rows("secret", [TOKEN, SECRET, "hQ7dkXyzPwAbMnRt"])
def test_a_secret_is_not_printed(secret: str, running: World, receiver: Receiver) -> None:
    """Neither in the place of another word, nor of the address that is called."""
    key = secret[-16:]
    to = f"{receiver.url}/{key}?key={key}"
    for arguments in (
        (secret, "ERROR", "--to", to),
        ("ITEM", secret, "--to", to),
        ("ITEM", "ERROR", "--to", to, "--set", f"access_token={secret}"),
        ("ITEM", "ERROR", "--to", f"{to}/404"),
        ("ITEM", "ERROR", "--to", to, "--item", secret),
        ("ITEM", "ERROR", "--to", to, "--set", secret),
        ("ITEM", "ERROR", "--to", f"http://127.0.0.1:1/{key}"),
    ):
        done = trigger(running, *arguments)
        assert key not in done.stdout + done.stderr, arguments
        assert done.stdout + done.stderr


def test_trigger_needs_no_extra(running: World, receiver: Receiver) -> None:
    """The packages of the extras "sandbox" and "webhooks" are not imported."""
    code = (
        "import sys; "
        "sys.modules.update(dict.fromkeys(['starlette', 'uvicorn', 'jwt', 'cryptography'])); "
        "from plaid_processors.cli import main; sys.exit(main())"
    )
    at = running.variables["PLAID_BASE_URL"]
    done = run_apart("trigger", "ITEM", "ERROR", "--to", receiver.url, "--at", at, code=code)
    assert (done.returncode, done.stderr) == (0, "")
