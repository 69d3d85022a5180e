"""Kills the durable example with SIGKILL at random moments, and looks for lost access tokens.

    python -m benchmarks.kill9 --kills 500 [--database postgresql+psycopg://…]

A local Plaid runs in this process and knows which Items there are. A nursery, a process with one
thread, forks a child for each link and kills it after a random time; the next child begins, as the
example does, with what the killed one left. At the end every Item that was exchanged has to stand
in the database with its access token; or, if the kill came in the instant between Plaid's answer
and the commit of `on_exchange`, as `unknown`, with what to ask Plaid.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
MASKS = ["0000", "1111", "2222", "3333"]


def durable() -> ModuleType:
    """The example."""
    spec = importlib.util.spec_from_file_location("durable", ROOT / "examples" / "durable.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# In the nursery and its children


def _nursery() -> None:
    """For each order: a child that links, and its death."""
    # Here, so that no child spends its time on it.
    import plaid  # noqa: F401
    import sqlalchemy.dialects.sqlite  # noqa: F401

    with suppress(ImportError):
        import psycopg  # noqa: F401

    example = durable()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(example, order)
        if order["kill_after"] is not None:
            time.sleep(order["kill_after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        died = os.WIFSIGNALED(status)
        print(json.dumps({"killed": died, "at": time.time(), "status": status}), flush=True)


def _child(example: ModuleType, order: dict[str, Any]) -> None:
    from plaid_processors import ProcessorLinker

    times = os.open(order["times"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    class TimedStore(example.Store):  # type: ignore[name-defined, misc]
        def change(self, link_id: int, **values: object) -> None:
            super().change(link_id, **values)
            if values.get("state") == "linked":
                os.write(times, f"{values['item_id']} {time.time()}\n".encode())

    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    store = TimedStore(order["database"])
    with ProcessorLinker.from_env() as linker:
        example.recover(store, linker, older_than=0)
        if order["public_token"]:
            metadata = {"accounts": order["accounts"]}
            example.handle_success(store, linker, "u", order["public_token"], metadata)
    os._exit(0)


# In the process with the local Plaid


@dataclass
class Report:
    """What the kills came to."""

    kills: int = 0
    survived: int = 0
    exchanged: int = 0
    kept: int = 0
    told: int = 0
    lost_untold: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    incomplete: int = 0
    states: dict[str, int] = field(default_factory=dict)
    windows: list[float] = field(default_factory=list)
    link_seconds: float = 0.0
    after_the_answer: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.exchanged - self.kept

    def __str__(self) -> str:
        ms = sorted(1000 * each for each in self.windows) or [0.0]
        killed_at = ", ".join(f"{1000 * each:.1f} ms" for each in self.after_the_answer)
        return f"""\
{self.kills} killed with SIGKILL, {self.survived} done before the kill came;
    a link takes {1000 * self.link_seconds:.0f} ms with its start
{self.exchanged} Items made, {self.kept} access tokens kept;
    {self.lost} lost in the window, {self.told} of them told as unknown, {len(self.lost_untold)} not
from Plaid's answer to the commit: median {median(ms):.1f} ms,
    95 % under {ms[int(len(ms) * 0.95) - 1]:.1f} ms, longest {ms[-1]:.1f} ms
the lost ones were dead so long after Plaid's answer: {killed_at or "-"}
rows by state after recovery: {self.states}"""


class Range:
    """The local Plaid, the nursery and the database."""

    def __init__(self, plaid: Any, database: str, times: Path) -> None:
        self.plaid = plaid
        self.database = database
        self.times = times
        self.public_tokens: dict[str, str] = {}
        environ = {
            **os.environ,
            "PLAID_CLIENT_ID": plaid.client_id,
            "PLAID_SECRET": plaid.secret,
            "PLAID_BASE_URL": plaid.url,
            "PLAID_ENV": "sandbox",
        }
        self._nursery = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "--nursery"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        self._nursery.wait()
        self._nursery.stdout.close()

    def link_token(self) -> str:
        from plaid_processors import ProcessorLinker

        with ProcessorLinker(self.plaid.client()) as linker:
            return linker.create_link_token(
                "layer", client_user_id="u", client_name="Acme"
            ).link_token

    def child(self, link_token: str | None, kill_after: float | None) -> dict[str, Any]:
        """One child's life; without a link token it only recovers."""
        order: dict[str, Any] = {"public_token": None, "accounts": None}
        if link_token is not None:
            done = self.plaid.complete_link(link_token, masks=MASKS)
            order = {"public_token": done.public_token, "accounts": done.metadata["accounts"]}
            self.public_tokens[order["accounts"][0]["id"]] = done.public_token
        order.update(kill_after=kill_after, database=self.database, times=str(self.times))
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        answer: dict[str, Any] = json.loads(self._nursery.stdout.readline())
        return answer

    def public_token_of(self, item: Any) -> str:
        return next(
            self.public_tokens[each] for each in item.account_ids if each in self.public_tokens
        )


@contextmanager
def _range(database: str | None) -> Iterator[Range]:
    from plaid_processors.sandbox import LocalSandbox

    with tempfile.TemporaryDirectory() as folder, LocalSandbox() as plaid:
        url = database or f"sqlite:///{folder}/links.db"
        ground = Range(plaid, url, Path(folder, "times"))
        try:
            yield ground
        finally:
            ground.close()


def run(kills: int, database: str | None = None, seed: int | None = None) -> Report:
    """So many children, killed at moments all over a link's time; then the reckoning."""
    chance = random.Random(seed)
    report = Report()
    with _range(database) as ground:
        link_token = ground.link_token()
        report.link_seconds = min(_seconds_of_a_link(ground, link_token) for _ in range(4))
        answered: dict[str, float] = {}
        killed: dict[str, float] = {}
        for _ in range(kills):
            death = ground.child(link_token, chance.uniform(0, 1.2 * report.link_seconds))
            report.kills += death["killed"]
            report.survived += not death["killed"]
            _note_answers(ground, answered, killed, death["at"])
        for _ in range(3):
            ground.child(None, None)
        _note_answers(ground, answered, killed, time.time())
        _reckon(ground, report, answered, killed)
    return report


def _seconds_of_a_link(ground: Range, link_token: str) -> float:
    began = time.time()
    ground.child(link_token, None)
    return time.time() - began


def _note_answers(
    ground: Range, answered: dict[str, float], killed: dict[str, float], death: float
) -> None:
    """When Plaid acted on the exchanges since the last call, in the order of the Items' making."""
    times = [
        each.at.timestamp()
        for each in ground.plaid.requests
        if each.path == "/item/public_token/exchange" and each.status == 200
    ]
    ground.plaid.clear_requests()
    new = [each for each in ground.plaid.items if each.exchanged and each.item_id not in answered]
    for item, at in zip(new, times, strict=True):
        answered[item.item_id] = at
        killed[item.item_id] = death


def _reckon(
    ground: Range, report: Report, answered: dict[str, float], killed: dict[str, float]
) -> None:
    from sqlalchemy import create_engine, select

    example = durable()
    with create_engine(ground.database).connect() as connection:
        rows = connection.execute(select(example.links)).all()
    there = {each.access_token: each for each in ground.plaid.items if each.exchanged}
    kept = {row.access_token for row in rows if row.access_token}
    unknown = {row.public_token for row in rows if row.state == "unknown"}
    lost = [item for token, item in there.items() if token not in kept]
    untold = [item for item in lost if ground.public_token_of(item) not in unknown]
    report.exchanged = len(there)
    report.kept = len(kept & set(there))
    report.strangers = sorted(kept - set(there))
    report.lost_untold = [item.item_id for item in untold]
    report.told = len(lost) - len(untold)
    report.after_the_answer = [killed[each.item_id] - answered[each.item_id] for each in lost]
    for row in rows:
        report.states[row.state] = report.states.get(row.state, 0) + 1
    report.incomplete = report.states.get("started", 0) + report.states.get("linked", 0)
    commits: dict[str, float] = {}
    for line in ground.times.read_text().splitlines():
        item_id, at = line.split()
        commits.setdefault(item_id, float(at))
    report.windows = [at - answered[item] for item, at in commits.items() if item in answered]


def main() -> None:
    """Kill, reckon, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--database", help="another database than an SQLite file of its own")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.nursery:
        _nursery()
        return
    report = run(arguments.kills, arguments.database, arguments.seed)
    print(report)
    if report.lost_untold or report.incomplete or report.strangers:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
