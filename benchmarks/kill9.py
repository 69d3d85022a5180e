"""Kills processes that link, or hand over, with a store; then recovers, and reckons.

    python -m benchmarks.kill9 --kills 500 [--postgres] [--seed 7]

A local Plaid and a local Finix run in this process and know what there is. A nursery, a process
with one thread, forks the children and kills each with SIGKILL after a random time. When the leases
of the killed are over, two processes recover at once. Then every Item that was made has its access
token in the store, or its link is `unknown` there; and each identity has one instrument, or its
hand-off is `unknown`. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
MASKS = ["0000", "1111", "2222", "3333"]
EXCHANGE = "/item/public_token/exchange"
SHORT = {"timeout": 1.0, "deadline": 2.0}
"""The children's limits: the lease of a killed one ends some 11 seconds after it was taken."""

Order = dict[str, Any]
Told = dict[str, Any]


# In the nursery and its children


def _nursery() -> None:
    """For each line, which is a list of orders: their children, side by side, and their deaths."""
    # Here, so that no child spends its time on it.
    import plaid  # noqa: F401
    import psycopg  # noqa: F401
    import sqlalchemy.dialects.postgresql
    import sqlalchemy.dialects.sqlite  # noqa: F401
    from cryptography import fernet  # noqa: F401

    from plaid_processors import store  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_lives(json.loads(line))), flush=True)


def _lives(orders: Sequence[Order]) -> list[Told]:
    began = time.monotonic()
    children: list[tuple[int, int]] = []
    for order in orders:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(order, theirs)
        os.close(theirs)
        children.append((pid, ours))
    dying = [
        (order["kill_after"], pid)
        for order, (pid, _) in zip(orders, children, strict=True)
        if order.get("kill_after") is not None
    ]
    for after, pid in sorted(dying):
        time.sleep(max(0.0, began + after - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
    died_at = time.time()
    lives: list[Told] = []
    for pid, ours in children:
        with os.fdopen(ours) as pipe:
            told = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        lives.append({"killed": killed, "at": died_at, **({} if killed else json.loads(told))})
    return lives


def _child(order: Order, theirs: int) -> None:
    """Do what the order says, and tell how it went: never returns."""
    from plaid_processors import PlaidProcessorsError

    told: Told = {}
    try:
        told = {"link": _link, "recover": _recover, "hand_over": _hand_over}[order["work"]](order)
    except PlaidProcessorsError as error:
        told = {"error": type(error).__name__}
    except BaseException as error:  # noqa: BLE001  the parent has to know
        told = {"bug": repr(error)}
    finally:
        os.write(theirs, json.dumps(told).encode())
        os._exit(0)


@contextmanager
def _linker(order: Order) -> Iterator[Any]:
    from plaid_processors import ProcessorLinker
    from plaid_processors.store import SqlStore

    with (
        SqlStore(order["database"], keys=[order["key"]]) as store,
        ProcessorLinker.from_env(store=store, **SHORT) as linker,
    ):
        yield linker


def _recover(order: Order) -> Told:
    with _linker(order) as linker:
        report = linker.recover(older_than=0)
    return {"unknown": [each.link.key for each in report.unknown], "report": str(report)}


def _link(order: Order) -> Told:
    """As an application does: at its start it recovers, then it links."""

    def committed(item: Any) -> None:
        with Path(order["times"]).open("a") as times:
            times.write(f"{item.item_id} {time.time()}\n")

    with _linker(order) as linker:
        if order["recover"]:
            linker.recover(older_than=0)
        result = linker.link(
            "layer",
            public_token=order["public_token"],
            metadata=order["metadata"],
            client_user_id=order["user"],
            on_exchange=committed,
        )
    return {"access": _sha256(result.access_token), "tokens": len(result.processor_tokens)}


def _hand_over(order: Order) -> Told:
    from plaid_processors.handoff import FinixSender

    with _linker(order) as linker, FinixSender(**order["finix"], timeout=0.5) as sender:
        (handoff,) = linker.hand_over(order["item"], sender, identity=order["identity"])
    return {"state": handoff.state, "reference": handoff.reference}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# In the process with the local Plaid


class Ground:
    """The local Plaid and Finix, the nursery, and the store."""

    def __init__(self, stack: ExitStack, database: str | None) -> None:
        from cryptography.fernet import Fernet

        from plaid_processors import ProcessorLinker
        from plaid_processors.sandbox import LocalFinix, LocalSandbox
        from plaid_processors.store import SqlStore

        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.plaid = stack.enter_context(LocalSandbox())
        self.finix = stack.enter_context(LocalFinix(self.plaid))
        self.times = Path(folder, "times")
        self.times.touch()
        self.common = {
            "database": database or f"sqlite:///{folder}/links.db",
            "key": Fernet.generate_key().decode(),
            "times": str(self.times),
        }
        self.store = stack.enter_context(
            SqlStore(self.common["database"], keys=[self.common["key"]])
        )
        self.store.create_tables()
        client = self.plaid.client()
        self.linker = stack.enter_context(ProcessorLinker(client, store=self.store))
        self._tokens = {
            partner: self.linker.create_link_token(partner, client_user_id="u", client_name="Acme")
            for partner in ("layer", "finix")
        }
        self._links: dict[str, str] = {}
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PLAID_")}
        environ |= {
            "PLAID_CLIENT_ID": self.plaid.client_id,
            "PLAID_SECRET": self.plaid.secret,
            "PLAID_BASE_URL": self.plaid.url,
        }
        self._nursery = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.kill9", "--nursery"],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def lives(self, *orders: Order) -> list[Told]:
        """Children that live side by side, and how each ended."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps([{**self.common, **each} for each in orders]) + "\n")
        self._nursery.stdin.flush()
        lives: list[Told] = json.loads(self._nursery.stdout.readline())
        bugs = [each["bug"] for each in lives if "bug" in each]
        assert not bugs, bugs
        return lives

    def through_link(self, partner: str = "layer", masks: Sequence[str] = MASKS) -> Any:
        done = self.plaid.complete_link(self._tokens[partner].link_token, masks=masks)
        for account in done.metadata["accounts"]:
            self._links[account["id"]] = _sha256(done.public_token)
        return done

    def order(self, user: str, *, recover: bool = False) -> Order:
        """To link, after another visit to Link."""
        done = self.through_link()
        link = {"public_token": done.public_token, "metadata": done.metadata, "user": user}
        return {"work": "link", "recover": recover, **link}

    def key_of(self, item: Any) -> str:
        """The key of the link that an Item came from."""
        return next(self._links[each] for each in item.account_ids if each in self._links)

    def recover(self) -> None:
        """Two processes at once, again and again, until nothing is under way."""
        from plaid_processors.store import HandoffState, LinkQuery

        left = (LinkQuery(under_way=True), LinkQuery(handoff=HandoffState.SENDING))
        end = time.monotonic() + 60
        while any(self.store.page(each, limit=1) for each in left) and time.monotonic() < end:
            self.lives({"work": "recover"}, {"work": "recover"})
            time.sleep(0.5)  # the leases of the killed are not over yet


@contextmanager
def ground(database: str | None) -> Iterator[Ground]:
    """The local Plaid and the rest, for as long as the block lasts."""
    with ExitStack() as stack:
        made = Ground(stack, database)
        assert made._nursery.stdin is not None
        stack.callback(made._nursery.stdin.close)  # before the stack waits for its end
        yield made


@dataclass
class Report:
    """What killed links came to."""

    killed: int = 0
    survived: int = 0
    link_seconds: float = 0.0
    made: int = 0
    kept: int = 0
    unknown: int = 0
    lost: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    windows: list[float] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing is lost without a word, and nothing left undone."""
        return not (self.lost or self.strangers or self.states["started"] or self.states["linked"])

    def __str__(self) -> str:
        ms = sorted(1000 * each for each in self.windows) or [0.0]
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return f"""\
links: {self.killed} killed with SIGKILL, {self.survived} done before the kill came;
    a link takes {1000 * self.link_seconds:.0f} ms with its start
{self.made} Items made, {self.kept} access tokens kept, {self.unknown} told as unknown;
    {len(self.lost)} lost without a word, {len(self.strangers)} kept that Plaid does not know
from Plaid's answer to the commit: median {median(ms):.1f} ms,
    95 % under {ms[int(len(ms) * 0.95) - 1]:.1f} ms, longest {ms[-1]:.1f} ms
links after recovery: {states}"""


def links(kills: int, database: str | None = None, seed: int | None = None) -> Report:
    """So many links, killed at moments all over their time; then the reckoning."""
    chance = random.Random(seed)
    report = Report()
    with ground(database) as at:
        report.link_seconds = min(_seconds_of_a_link(at, f"first-{n}") for n in range(4))
        answered: dict[str, float] = {}
        _note_answers(at, answered)
        user = "user"
        while report.killed < kills:
            if chance.random() < 0.75:  # else the one whose process was killed links again
                user = f"user-{report.killed + report.survived}"
            order = at.order(user, recover=True)
            order["kill_after"] = chance.uniform(0, 1.2 * report.link_seconds)
            (life,) = at.lives(order)
            report.killed += life["killed"]
            report.survived += not life["killed"]
            _note_answers(at, answered)
        for _ in range(kills // 50):  # what recovers is killed too
            time.sleep(11.5)
            times = [chance.uniform(0, 0.2) for _ in range(2)]
            at.lives(*({"work": "recover", "kill_after": each} for each in times))
        at.recover()
        _note_answers(at, answered)
        _reckon(at, report, answered)
    return report


def _seconds_of_a_link(at: Ground, user: str) -> float:
    order = at.order(user, recover=True)
    began = time.time()
    at.lives(order)
    return time.time() - began


def _note_answers(at: Ground, answered: dict[str, float]) -> None:
    """When Plaid acted on the exchanges since the last call, in the order of the Items' making."""
    requests = at.plaid.requests
    at.plaid.clear_requests()
    times = [
        each.at.timestamp() for each in requests if each.path == EXCHANGE and not each.error_code
    ]
    new = [each for each in at.plaid.items if each.exchanged and each.item_id not in answered]
    if len(new) == len(times):  # else recoveries ran side by side
        answered.update(zip((each.item_id for each in new), times, strict=True))
    else:
        answered.update(dict.fromkeys((each.item_id for each in new), 0.0))


def _reckon(at: Ground, report: Report, answered: dict[str, float]) -> None:
    stored = list(at.store.links())
    report.states.update(each.state.value for each in stored)
    kept = {each.result.access_token for each in stored if each.result is not None}
    unknown = {each.key for each in stored if each.state == "unknown" and each.reason}
    made = {each.access_token: each for each in at.plaid.items if each.exchanged}
    missing = [item for token, item in made.items() if token not in kept]
    report.made = len(made)
    report.kept = len(kept & made.keys())
    report.strangers = sorted(_sha256(each) for each in kept - made.keys())
    report.lost = [each.item_id for each in missing if at.key_of(each) not in unknown]
    report.unknown = len(missing) - len(report.lost)
    for line in at.times.read_text().splitlines():
        item_id, time_of_commit = line.split()
        if answered.get(item_id):
            report.windows.append(float(time_of_commit) - answered[item_id])


@dataclass
class HandoffReport:
    """What killed hand-offs came to."""

    killed: int = 0
    survived: int = 0
    identities: int = 0
    one: int = 0
    unknown: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether each identity has one instrument, or its hand-off is named unknown."""
        return not self.wrong

    def __str__(self) -> str:
        return f"""\
hand-offs: {self.killed} killed with SIGKILL, of two workers each, {self.survived} not killed
{self.identities} identities: {self.one} have one instrument, {self.unknown} are told as unknown;
    wrong: {"; ".join(self.wrong) or "none"}"""


def hand_offs(kills: int, database: str | None = None, seed: int | None = None) -> HandoffReport:
    """Two workers for each hand-off, of which one is killed, or both."""
    chance = random.Random(seed)
    report = HandoffReport()
    finix: dict[str, str] = {}
    with ground(database) as at:
        finix = {"username": at.finix.username, "password": at.finix.password}
        finix["base_url"] = at.finix.url
        orders: list[Order] = []
        seconds = 0.1
        while report.killed < kills:
            done = at.through_link("finix", ["0000"])
            user = f"user-{len(orders)}"
            result = at.linker.link(
                "finix", public_token=done.public_token, metadata=done.metadata, client_user_id=user
            )
            identity = at.finix.new_identity()
            order = {"work": "hand_over", "finix": finix, "item": result.item_id}
            orders.append({**order, "identity": identity})
            if len(orders) <= 3:  # how long it takes
                began = time.monotonic()
                at.lives(orders[-1])
                seconds = time.monotonic() - began
                continue
            after = [chance.uniform(0, 1.2 * seconds), None]
            if chance.random() < 0.5:
                after[1] = chance.uniform(0, 1.5 * seconds)
            lives = at.lives(*({**orders[-1], "kill_after": each} for each in after))
            report.killed += sum(each["killed"] for each in lives)
            report.survived += sum(not each["killed"] for each in lives)
        at.recover()
        for order in orders:  # the queue gives it again, to two workers, until no lease is left
            while any(
                each.get("error") == "LinkInProgressError" for each in at.lives(order, order)
            ):
                time.sleep(0.5)
        _reckon_hand_offs(at, report, orders)
    return report


def _reckon_hand_offs(at: Ground, report: HandoffReport, orders: Sequence[Order]) -> None:
    made: dict[str, list[str]] = {}
    for each in at.finix.instruments:
        made.setdefault(each.identity, []).append(each.id)
    report.identities = len(orders)
    for order in orders:
        stored = at.store.find(order["item"])
        assert stored is not None
        (handoff,) = stored.handoffs
        there = made.get(order["identity"], [])
        if handoff.state == "done" and there == [handoff.reference]:
            report.one += 1
        elif handoff.state == "unknown" and len(there) <= 1:
            report.unknown += 1
        else:
            report.wrong.append(f"{handoff.state} with {len(there)} instruments")


def main() -> int:
    """Kill, reckon, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.nursery:
        _nursery()
        return 0
    well = True
    with ExitStack() as stack:
        new_url = None
        if arguments.postgres:
            from tests.support.postgres import Postgres, Servers

            new_url = Postgres(stack.enter_context(Servers())).new_url
        for kill in (links, hand_offs):
            report = kill(arguments.kills, new_url and new_url(), arguments.seed)
            print(report, flush=True)
            well = well and report.well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
