"""How the command line treats a person who mistypes, and a program that reads what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from plaid_processors import partners
from plaid_processors.cli import progress
from plaid_processors.cli.parser import make_parser
from plaid_processors.sandbox import LocalSandbox

from .support.rows import rows
from .test_cli import CLIENT_ID, SECRET, environ, free_port, keys_and_address, run, told

COMMANDS = [
    "demo",
    "sandbox",
    "trigger",
    "partners",
    "doctor",
    "backfill",
    "recover",
    "refresh",
]

APPLICATION = """
from plaid_processors import PlaidClient, ProcessorLinker
from plaid_processors.store import SqlStore

store = SqlStore({database!r}, keys=[{key!r}])
store.create_tables()

def make():
    client = PlaidClient(client_id={client_id!r}, secret={secret!r}, base_url={url!r})
    return ProcessorLinker(client, store=store)
"""


@pytest.fixture(scope="module")
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def shop(plaid: LocalSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an application whose store has three Items; the current folder."""
    from cryptography.fernet import Fernet

    plaid.reset()
    text = APPLICATION.format(
        client_id=plaid.client_id,
        secret=plaid.secret,
        url=plaid.url,
        database=f"sqlite:///{tmp_path}/links.db",
        key=Fernet.generate_key().decode(),
    )
    (tmp_path / "shop_app.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import shop_app  # type: ignore[import-not-found]

    with shop_app.make() as linker:
        for _ in range(3):
            linker.link_sandbox("layer", client_user_id="user-42")
    yield tmp_path
    shop_app.store.close()
    del sys.modules["shop_app"]


# --- help


def test_without_a_command() -> None:
    """The help, on standard error, since nothing was done."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert [each for each in COMMANDS if f"\n    {each} " not in done.stderr] == []
    assert done.stderr == run("--help").stdout


@rows("columns", [80, 40])
@rows("command", ["", *COMMANDS])
def test_the_help(command: str, columns: int) -> None:
    """Each fits the terminal; each has an example, which stays in one piece."""
    done = run(*filter(None, [command]), "--help", COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    usage, _, text = done.stdout.partition("\n\n")
    text, _, examples = text.rstrip().rpartition(":\n")
    # argparse breaks no group of options, and the sentences are as they are written.
    lines = [*usage.split("\n"), *text.split("\n")]
    if columns < 80:
        lines = [each for each in text.split("\n") if each.startswith("  ")]
    lines = [each for each in lines if "  plaid-processors " not in each]
    assert [each for each in lines if len(each) > columns] == []
    assert [each for each in examples.split("\n") if len(each) > 78] == []
    assert f"plaid-processors {command}" in examples


def test_the_examples_are_commands() -> None:
    """Each example of a help is one that the parser takes."""
    for command in COMMANDS:
        text = run(command, "--help").stdout.replace("\\\n", "")
        examples = [
            line.split("plaid-processors ")[1].split()
            for line in text.splitlines()
            if line.startswith("  ") and " plaid-processors " in line
        ]
        assert examples, command
        for words in examples:
            assert words[0] == command
            make_parser().parse_args(words)


# --- slips


@rows(
    ("arguments", "words"),
    [
        (["partner"], "unknown command 'partner': did you mean 'partners'?"),
        (["DEMO"], "unknown command 'DEMO': did you mean 'demo'?"),
        (["zzz"], "unknown command 'zzz': choose demo, sandbox,"),
        (["help"], "did you mean --help?"),
        (["--verson"], "unrecognized arguments: --verson: did you mean --version?"),
        (["partners", "--jsn"], "unrecognized arguments: --jsn: did you mean --json?"),
        (["partners", "--jso"], "unrecognized arguments: --jso: did you mean --json?"),
        (["partners", "--product", "auht"], "unknown product 'auht': did you mean 'auth'?"),
        (["partners", "--product", "x"], "choose assets, auth, identity or transactions"),
        (["partners", "--subtype", "chekcing"], "did you mean 'checking'?"),
        (["partners", "--subtype", "x"], "see https://plaid.com/docs/api/accounts/"),
        (["partners", "--accounts", "al"], "unknown value 'al': did you mean 'all'?"),
        (["partners", "--accounts", "x"], "choose one, all or given"),
        (["partners", "finx"], "unknown partner 'finx': did you mean 'finix'?"),
        (["partners", "zzz"], "unknown partner 'zzz': plaid-processors partners lists them"),
        (["partners", "fin"], "unknown partner 'fin': did you mean 'finix'?"),
        (["partners", "Silicon V"], "did you mean 'svb_api'?"),
        (["partners", "a"], "unknown partner 'a': plaid-processors partners lists them"),
        (["doctor", "lay"], "did you mean 'layer'?"),
        (["partners", "finix", "dwolla"], "one partner at a time: leave out dwolla"),
        (["backfill", "finix", "unit", "--linker", "a:b"], "one partner at a time: leave out unit"),
        (["partners", "finix", "--jsn"], "unrecognized arguments: --jsn: did you mean --json?"),
        (["doctor", "lyer"], "unknown partner 'lyer': did you mean 'layer'?"),
        (["backfill", "finx", "--linker", "a:b"], "did you mean 'finix'?"),
        (["partners", "finix", "--product", "auth"], "leave out --product"),
        (["partners", "finix", "--accounts", "one"], "leave out --accounts"),
        (["partners", "finix", "--subtype", "checking"], "leave out --subtype"),
        (["recover"], "required: --linker"),
    ],
    ids=" ".join,
)
def test_a_slip(arguments: list[str], words: str) -> None:
    """What may be meant is suggested, on standard error, with status 2; nothing is done."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    usage, _, told_last = done.stderr.rstrip("\n").rpartition("\n")
    assert words in told_last
    assert usage.startswith("usage: plaid-processors")


@rows(
    ("one", "other"),
    [
        (["FINIX"], ["finix"]),
        (["Modern Treasury"], ["modern_treasury"]),
        (["modern-treasury"], ["modern_treasury"]),
        (["TabaPay"], ["taba_pay"]),
        (["checkout.com"], ["checkout"]),
        (["Roll by ADP"], ["adp_roll"]),
        (["silicon  valley bank"], ["svb_api"]),
        (["--product", "AUTH"], ["--product", "auth"]),
        (["--subtype", "CREDIT_CARD"], ["--subtype", "credit card"]),
        (["--accounts", "One"], ["--accounts", "one"]),
    ],
)
def test_names_in_any_case(one: list[str], other: list[str]) -> None:
    """A name in another case is the same name."""
    done = run("partners", *one)
    assert done.returncode == 0
    assert done.stdout == run("partners", *other).stdout


def test_partners_by_their_own_names() -> None:
    """Each name that the list prints is taken."""
    for each in partners():
        (one,) = json.loads(run("partners", each.name, "--json").stdout)
        assert one["processor"] == each.processor


def test_doctor_takes_names_in_any_case(plaid: LocalSandbox) -> None:
    """And one that is named twice is checked once."""
    plaid.reset()
    done = run("doctor", "Layer", "LAYER", **keys_and_address(plaid))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Link's products for layer") == 1
    assert "finix" not in done.stdout


@pytest.mark.usefixtures("shop")
def test_backfill_takes_a_name_in_any_case() -> None:
    done = run("backfill", "Finix", "--linker", "shop_app:make", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_filter_that_nothing_fits() -> None:
    """All its words are right, so that it is an answer."""
    done = run("partners", "--accounts", "all", "--product", "assets")
    assert (done.returncode, done.stdout) == (0, "0 partners\n")
    assert run("partners", "--product", "assets").stdout.endswith("\n1 partner\n")


def test_the_subtypes_are_plaids() -> None:
    """Each subtype of the installed plaid-python is taken."""
    from plaid.model.account_subtype import AccountSubtype

    gone = {"recurring", "rewards", "safe deposit"}  # in old versions of plaid-python alone
    for subtype in AccountSubtype.allowed_values[("value",)].values():
        if subtype not in (None, "null", *gone):
            assert run("partners", "--subtype", subtype).returncode == 0, subtype


# --- for programs


def test_doctor_as_json(plaid: LocalSandbox) -> None:
    """The form that the page describes, with the same exit status."""
    plaid.reset()
    variables = keys_and_address(plaid)
    done = run("doctor", "finix", "--json", **variables)
    read = json.loads(done.stdout)
    assert (done.returncode, done.stderr, read["ok"]) == (0, "", True)
    names = [(each["name"], each["partner"], each["ok"]) for each in read["checks"]]
    assert names == [
        ("variables", None, True),
        ("proxy", None, True),
        ("products", "finix", True),
        ("link", "finix", True),
    ]
    plaid.disable_partner("finix")
    done = run("doctor", "finix", "--json", **variables)
    read = json.loads(done.stdout)
    assert (done.returncode, done.stderr.count("\n"), read["ok"]) == (1, 1, False)
    last = read["checks"][-1]
    assert list(last) == ["name", "partner", "ok", "check", "detail"]
    assert (last["name"], last["ok"]) == ("link", False)
    assert "https://dashboard.plaid.com/developers/integrations" in last["detail"]
    assert plaid.secret not in done.stdout + done.stderr


def test_partners_as_json() -> None:
    """A list of records, also for one, with the keys that the page names."""
    page = Path(__file__).parents[1] / "docs" / "reference" / "command-line.md"
    told_keys = page.read_text(encoding="utf-8")
    (one,) = json.loads(run("partners", "dwolla", "--json").stdout)
    assert (one["processor"], one["token_seconds"], one["single_use"]) == ("dwolla", 3600, False)
    assert [each for each in one if f"`{each}`" not in told_keys] == []
    every = json.loads(run("partners", "--json", "--accounts", "all").stdout)
    assert {each["accounts"] for each in every} == {"all"}
    assert {tuple(each) for each in every} == {tuple(one)}


@rows(("columns", "there"), [(80, True), (60, False)])
def test_the_list_fits_a_terminal(columns: int, there: bool) -> None:
    """In a narrow one the partners' own names are left out."""
    done = run("partners", COLUMNS=str(columns))
    assert [each for each in done.stdout.splitlines() if len(each) > columns] == []
    assert ("Modern Treasury" in done.stdout) is there


# --- a pipe that is closed, a disk that is full


def run_into(
    output: int,
    *arguments: str,
    program: Sequence[str] = ("-m", "plaid_processors"),
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """A whole run of the command, or of another program, into an open file."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        env=environ(**variables),
        stdout=output,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


@pytest.fixture
def closed() -> Iterator[int]:
    """The end for writing of a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


_FORKED = """
import json, os, sys
import plaid, uvicorn.logging, plaid_processors.store  # what each would import
from plaid_processors.cli import main
for words in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        sys.exit(main(words))
    print(*words, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
def test_a_pipe_that_is_closed(closed: int, plaid: LocalSandbox) -> None:
    """`… | head` is no error: status 0, and not a word.

    All but the first are forked by one process, which has imported what they need.
    """
    variables = keys_and_address(plaid)
    done = run_into(closed, "partners", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    commands = [
        "demo",
        "sandbox --port 0",
        "partners --json",
        "doctor finix",
        "doctor finix --json",
        "recover --linker shop_app:make",
        "refresh --linker shop_app:make --older-than 0s",
        "backfill layer --linker shop_app:make --dry-run",
        "--help",
    ]
    words = json.dumps([each.split() for each in commands])
    done = run_into(closed, words, program=["-c", _FORKED], **variables)
    assert done.stderr.splitlines() == [f"{each} 0" for each in commands]


def test_a_failure_into_a_pipe_that_is_closed(closed: int) -> None:
    """It is a failure all the same."""
    done = run_into(closed, "doctor")
    assert done.returncode == 1
    assert done.stderr == "plaid-processors: something is wrong: the environment variables\n"


def test_the_demo_into_a_pipe_that_closes(plaid: LocalSandbox) -> None:
    """In the middle of it: it goes on to remove what it made, without a word."""
    plaid.reset()
    process = subprocess.Popen(
        [sys.executable, "-m", "plaid_processors", "demo", "--live"],
        env=environ(**keys_and_address(plaid)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    while "/item/public_token/exchange" not in process.stdout.readline():
        pass
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), complaints) == (0, "")
    assert [each.removed for each in plaid.items] == [True, True]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@rows("arguments", [["partners"], ["--help"]])
def test_a_disk_that_is_full(arguments: list[str]) -> None:
    """One line, and a failure."""
    with Path("/dev/full").open("w") as full:
        done = run_into(full.fileno(), *arguments)
    assert told(done) == "No space left on device"


# --- how far it is


@pytest.mark.usefixtures("shop")
@rows(
    ("arguments", "words"),
    [
        (["refresh", "--linker", "shop_app:make", "--older-than", "0s"], "1 of 3 Items: 1 refr"),
        (["backfill", "finix", "--linker", "shop_app:make"], "1 of 3: 0 issued, 1 skipped"),
    ],
)
def test_progress_in_a_log(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line now and then, on standard error; none where the work is short."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.setattr(progress, "IN_A_LOG", 0.0)
    lines = run(*arguments).stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(words)


class PowerCutError(BaseException):
    """The process dies here."""


@pytest.mark.slow
@pytest.mark.usefixtures("shop")
def test_progress_of_recover(plaid: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """For how long it has been at work."""
    import shop_app

    def cut(_item: object) -> None:
        raise PowerCutError

    with shop_app.make() as linker, pytest.raises(PowerCutError):
        linker.link_sandbox("layer", client_user_id="user-43", on_exchange=cut)
    plaid.fail("/processor/token/create", delay=0.5, times=None)
    monkeypatch.setattr(progress, "IN_A_LOG", 0.05)
    done = run("recover", "--linker", "shop_app:make", "--older-than", "0s")
    assert done.stdout == "1 finished, 0 unknown, 0 failed\n"
    assert done.stderr.startswith("finishing what was left, for 0 s\n")


@pytest.mark.usefixtures("shop")
def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, which is renewed, fits the terminal, and is gone in the end."""
    monkeypatch.setattr(progress, "ON_A_TERMINAL", 0.0)
    monkeypatch.setenv("COLUMNS", "20")
    main_end, other_end = os.openpty()
    with os.fdopen(other_end, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        shown = progress.Progress()
        shown.show("1 of 3 Items: none failed")
        shown.show("2 of 3")
        shown.clear()
        shown.clear()
    read = b""
    with suppress(OSError):  # the other end is closed, and all was read
        while part := os.read(main_end, 10_000):
            read += part
    os.close(main_end)
    assert read.decode() == "\r1 of 3 Items: none " + f"\r{'2 of 3':<19}" + f"\r{'':<6}\r"


# --- a newcomer


NOTHING = {"PLAID_CLIENT_ID": CLIENT_ID, "PLAID_SECRET": SECRET}


@rows(
    "arguments",
    [
        ["demo", "--live"],
        ["backfill", "finix", "--linker", "shop_app:make"],
        ["recover", "--linker", "shop_app:make"],
        ["refresh", "--linker", "shop_app:make"],
        ["trigger", "ITEM", "ERROR", "--to", "http://127.0.0.1:1/hook"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("shop")
def test_a_local_plaid_that_is_not_running(arguments: list[str]) -> None:
    """One line, with the command that starts it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    done = run(*arguments, **NOTHING, PLAID_BASE_URL=url)
    start = f"start it with plaid-processors sandbox --port {port}"
    assert told(done) == f"no local Plaid at {url}: {start}"
    assert done.stdout == ""


def test_doctor_without_a_local_plaid() -> None:
    """Its check says so."""
    url = f"http://localhost:{free_port()}"
    done = run("doctor", **NOTHING, PLAID_BASE_URL=url)
    assert told(done) == "something is wrong: the way to Plaid"
    assert f"✗ the way to Plaid: no local Plaid at {url}: start it with" in done.stdout


@rows(
    ("arguments", "status", "words"),
    [
        (["demo", "--live"], 1, "PLAID_CLIENT_ID and PLAID_SECRET not set"),
        (["doctor"], 1, "something is wrong: the environment variables"),
        (["recover", "--linker", "shop:linker"], 2, "No module named 'shop'"),
        (["backfill", "finix", "--linker", "a:b", "--budget", "foo://"], 2, "storage must be mem"),
        (["backfill", "finix", "--linker", "json:loads"], 2, "json:loads cannot be called"),
        (["sandbox", "--port", "0", "--env-file", "none/.env"], 1, "cannot write none/.env: No"),
        (["trigger", "ITEM", "ERROR", "--to", "http://h"], 1, "no local Plaid at http://127.0"),
    ],
)
def test_in_an_empty_folder(
    arguments: list[str], status: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without keys and without an application, each failure is one plain line."""
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "trigger":
        arguments = [*arguments, "--at", f"http://127.0.0.1:{free_port()}"]
    done = run(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert words in done.stderr


@pytest.mark.usefixtures("shop")
def test_a_report_that_cannot_be_written() -> None:
    """The file is named, and nothing is done."""
    options = ["--linker", "shop_app:make", "--report", "none/report.jsonl"]
    done = run("backfill", "finix", *options)
    assert told(done) == "cannot write none/report.jsonl: No such file or directory"
