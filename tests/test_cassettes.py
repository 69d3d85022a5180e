"""The recorded conversations: replayed without a server, free of secrets, and still true."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from plaid_processors import (
    AsyncProcessorLinker,
    PlaidClient,
    PlaidConnectionError,
    ProcessorLinker,
)
from plaid_processors.sandbox import LocalSandbox

from . import record_cassettes
from .cassettes.flows import FLOWS, new_link_token
from .cassettes.tape import (
    CLIENT_ID,
    COMMAND,
    HERE,
    PLAID,
    SECRET,
    fake_token,
    leaks,
    recorder,
    scrub,
)
from .support.rows import rows

CASSETTES = sorted(HERE.glob("*.yaml"))
REAL = "9b1f3f60-6d1c-4c54-8f0e-2f4d8f0e6a11"


class Played:
    """Link on replay: the public tokens, as they stand on the cassette."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, *_: object) -> str:
        return fake_token("public", next(self._numbers))


class Blocking:
    """An `AsyncProcessorLinker` whose methods wait, so that the same flows drive it."""

    def __init__(self, linker: AsyncProcessorLinker, runner: asyncio.Runner) -> None:
        self._linker = linker
        self._runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def wait(*args: Any, **kwargs: Any) -> Any:
            return self._runner.run(getattr(self._linker, name)(*args, **kwargs))

        return wait


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Nothing of this test connects; what tried to is listed, and must be nothing."""
    tried: list[object] = []
    others = set(threading.enumerate()) - {threading.current_thread()}

    def refused(real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() in others:  # a local Plaid's, of another test
                return real(*args, **kwargs)
            tried.append(args)
            raise OSError("a replayed test connects to nothing")

        return connect

    for owner, name in (
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (socket, "getaddrinfo"),
    ):
        monkeypatch.setattr(owner, name, refused(getattr(owner, name)))
    yield tried
    assert tried == []


def client(**options: Any) -> PlaidClient:
    """A client of Plaid's own address, one request at a time (see docs/sandbox.md)."""
    return PlaidClient(client_id=CLIENT_ID, secret=SECRET, max_connections=1, **options)


@contextmanager
def playing(name: str, folder: Path = HERE) -> Iterator[None]:
    """Answers come from this cassette, each of them once, and all of them do."""
    with recorder().use_cassette(folder / f"{name}.yaml") as cassette:
        yield
        assert cassette.play_count == len(cassette)
        assert cassette.all_played


def test_every_flow_is_recorded() -> None:
    """Each flow has its cassette, and no cassette is left of a flow that went."""
    assert [path.stem for path in CASSETTES] == sorted(FLOWS)


@rows("base_url", [None, "http://127.0.0.1:9"], ids=["https", "http"])
@rows("name", FLOWS)
@pytest.mark.usefixtures("no_network")
def test_replay(name: str, base_url: str | None) -> None:
    """The whole flow holds with no server, by a client made before the cassette was put in."""
    with ProcessorLinker(client(base_url=base_url)) as linker, playing(name):
        FLOWS[name](linker, Played())


@rows("name", FLOWS)
@pytest.mark.usefixtures("no_network")
def test_replay_with_a_client_made_inside(name: str) -> None:
    """Nor does it matter that the client is made while the cassette plays."""
    with playing(name), ProcessorLinker(client()) as linker:
        FLOWS[name](linker, Played())


@rows("name", FLOWS)
def test_replay_async(name: str, request: pytest.FixtureRequest) -> None:
    """The awaited linker sends on the client's thread; the cassette answers there as well."""
    with asyncio.Runner() as runner:
        runner.get_loop()  # its own socket pair is no business of ours
        request.getfixturevalue("no_network")
        with playing(name):
            linker = AsyncProcessorLinker(client())
            FLOWS[name](Blocking(linker, runner), Played())  # type: ignore[arg-type]
            runner.run(linker.close())


@pytest.mark.usefixtures("no_network")
def test_what_is_not_on_the_cassette_is_refused() -> None:
    """A request that was not recorded goes nowhere: the error names what vcrpy raised."""
    with (
        recorder().use_cassette(HERE / "layer.yaml"),
        ProcessorLinker(client()) as linker,
        pytest.raises(PlaidConnectionError, match=r"/link/token/create.*CannotOverwriteExisting"),
    ):
        linker.create_link_token("layer", client_user_id="user-43", client_name="Acme Books")


def test_no_network(no_network: list[object]) -> None:
    """Without a cassette, the same client would have tried to connect, and been seen."""
    with ProcessorLinker(client(max_attempts=1)) as linker, pytest.raises(PlaidConnectionError):
        new_link_token(linker, "layer")
    assert no_network != []
    no_network.clear()


def test_a_client_outlives_a_cassette(local_plaid: LocalSandbox) -> None:
    """Before and after, the same client talks to a real server; in between, to the cassette."""
    with ProcessorLinker(local_plaid.client(max_connections=1)) as linker:
        asked = [new_link_token(linker, "layer").link_token]
        with recorder().use_cassette(HERE / "layer.yaml"):
            asked.append(new_link_token(linker, "layer").link_token)
        asked.append(new_link_token(linker, "layer").link_token)
    assert asked[1] == fake_token("link", 1)
    assert fake_token("link", 1) not in (asked[0], asked[2])


@rows("path", CASSETTES, ids=lambda path: path.stem)
def test_no_secret(path: Path) -> None:
    """Everything that could be a key, a token, an id or an address is one of the known fakes."""
    assert leaks(path.read_text(encoding="utf-8")) == []


@rows(
    "planted",
    [
        f"access-sandbox-{REAL}",
        f"link-production-{REAL}",
        "processor-sandbox-short",
        "btok_5oEetfLzPklE1fwJZ7SG",
        "5f0c3b1a2d4e6f708192a3b4",
        "x4kQ7ZpLmN9vB2cD8eF1gH3jK5wR6tY0uI8oP",
        "abcdefghijklmnopqrstuvwxyzabcdefghijk",
        "https://secure.plaid.com/hl/ls8q0f7d5c3b2a1908",
        "http://127.0.0.1:40123/accounts/get",
        "https://sandbox.plaid.com/accounts/get",
    ],
)
def test_a_leak_is_found(planted: str) -> None:
    """The search would find a real value in any place of a cassette."""
    text = (HERE / "finix.yaml").read_text(encoding="utf-8")
    assert leaks(f"{text}\n        # {planted}\n") != []


def conversation(host: str = "sandbox.plaid.com") -> list[dict[str, Any]]:
    """A link with a hosted page, as vcrpy hands it to the serializer: keys and tokens in full."""
    keys = {"PLAID-CLIENT-ID": ["5f0c3b1a2d4e6f708192a3b4"], "PLAID-SECRET": ["5e" * 15]}
    answer = {
        "hosted_link_url": "https://secure.plaid.com/hl/ls8q0f7d5c3b2a1908",
        "link_token": f"link-sandbox-{REAL}",
        "item_id": "x4kQ7ZpLmN9vB2cD8eF1gH3jK5wR6tY0uI8oP",
        "request_id": "8f3a1c5b7d9e0f2",
    }
    return [
        {
            "request": {
                "method": "POST",
                "uri": f"https://{host}/link/token/create",
                "headers": {**keys, "Cookie": ["session=1"], "user-agent": ["me"]},
                "body": f'{{"secret": "{"5e" * 15}"}}',
            },
            "response": {
                "status": {"code": 200, "message": "OK"},
                "headers": {"content-type": ["application/json"], "CF-Ray": ["9a1b2c3d4e5f-FRA"]},
                "body": {"string": json.dumps(answer)},
            },
        },
        {
            "request": {
                "method": "POST",
                "uri": f"https://{host}/link/token/get",
                "headers": keys,
                "body": f'{{"link_token": "link-sandbox-{REAL}"}}',
            },
            "response": {
                "status": {"code": 400, "message": "Bad Request"},
                "headers": {},
                "body": {"string": f'{{"error_message": "no link-sandbox-{REAL} here"}}'},
            },
        },
    ]


def test_scrubbing() -> None:
    """A value is replaced by the same fake wherever it stands; unknown headers are left out."""
    first, second = scrub(conversation())
    assert first["request"]["headers"] == {"PLAID-CLIENT-ID": [CLIENT_ID], "PLAID-SECRET": [SECRET]}
    assert first["request"]["body"] == f'{{"secret": "{SECRET}"}}'
    assert first["response"]["headers"] == {"Content-Type": ["application/json"]}
    assert json.loads(first["response"]["body"]["string"]) == {
        "hosted_link_url": "https://secure.plaid.com/hl/fake000000000001",
        "link_token": fake_token("link", 1),
        "item_id": "item000000000000000000000000000000001",
        "request_id": "000000000000001",
    }
    assert second["request"]["body"] == f'{{"link_token": "{fake_token("link", 1)}"}}'
    assert fake_token("link", 1) in second["response"]["body"]["string"]


@pytest.mark.parametrize("name", FLOWS)
def test_recording_again(name: str, tmp_path: Path) -> None:
    """The local Plaid, recorded anew, still has the conversation that is on the cassette."""
    with record_cassettes.local() as plaid:
        record_cassettes.record(plaid, name, tmp_path, record_cassettes.LOCAL)
    again = (tmp_path / f"{name}.yaml").read_text(encoding="utf-8")
    assert leaks(again) == []
    assert list(tmp_path.iterdir()) == [tmp_path / f"{name}.yaml"]
    old = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    if old["recorded"]["from"] != PLAID:
        assert outline(yaml.safe_load(again)) == outline(old), f"record them again: {COMMAND}"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_recorded_and_replayed(
    awaited: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What one linker records, both replay without a server; no secret is on the cassette."""
    path = tmp_path / "layer.yaml"
    with asyncio.Runner() as runner, LocalSandbox() as sandbox:
        plaid = record_cassettes.plaid_of(sandbox)
        secrets = [plaid.client_id, plaid.secret]

        def finish(link_token: Any, *more: Any) -> str:
            secrets.append(link_token.link_token)
            secrets.append(plaid.finish(link_token, *more))
            return secrets[-1]

        with record_cassettes.recording(plaid, path, None) as recorded:
            linker: Any = ProcessorLinker(recorded)
            if awaited:
                linker = Blocking(AsyncProcessorLinker(recorded), runner)
            FLOWS["layer"](linker, finish)
        (item,) = sandbox.items
    secrets += [item.access_token, *item.processor_tokens]
    assert len(secrets) == 4 + 1 + 14
    text = path.read_text(encoding="utf-8")
    assert [each for each in secrets if each in text] == []
    assert leaks(text) == []
    with asyncio.Runner() as runner:
        runner.get_loop()  # its own socket pair is no business of ours
        request.getfixturevalue("no_network")
        with playing("layer", tmp_path), ProcessorLinker(client()) as blocking:
            FLOWS["layer"](blocking, Played())
        with playing("layer", tmp_path):
            linker = AsyncProcessorLinker(client())
            FLOWS["layer"](Blocking(linker, runner), Played())  # type: ignore[arg-type]
            runner.run(linker.close())


def outline(cassette: dict[str, Any]) -> list[tuple[object, ...]]:
    """What was asked, in full, and how it was answered."""
    return [
        (
            each["request"]["uri"],
            json.loads(each["request"]["body"]),
            each["response"]["status"]["code"],
            sorted(json.loads(each["response"]["body"]["string"])),
        )
        for each in cassette["interactions"]
    ]


def test_nothing_is_recorded_of_a_flow_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cassette stays as it was when its flow does not hold."""
    (tmp_path / "layer.yaml").write_text("the old one", encoding="utf-8")

    def fails(linker: ProcessorLinker, finish: object) -> None:
        new_link_token(linker, "layer")
        raise AssertionError("it does not hold")

    monkeypatch.setitem(FLOWS, "layer", fails)
    with record_cassettes.local() as plaid, pytest.raises(AssertionError, match="does not hold"):
        record_cassettes.record(plaid, "layer", tmp_path, None)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]
