"""A back-fill of many Items against the local Plaid, with its rate limits on.

    python -m benchmarks.backfill [--items 1000] [--postgres] [--limit 500] [--no-memory]

First the pace: plaid-python in the naive loop that tries again on a 429, then `backfill` in 1, 2
and 4 processes that share a Redis and a store. Then the memory of one process, without limits, at
1,000 and 10,000 Items. The local Plaid runs in a process of its own, and counts the requests.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

ROOT = Path(__file__).parent.parent
CREATE = "/processor/token/create"
WORKERS = 8
LONGEST_WAIT = 32.0
KEYS = {
    "PLAID_CLIENT_ID": "0123456789abcdef01234567",
    "PLAID_SECRET": "5e" * 15,
    "PLAID_ENV": "sandbox",
}
SERVE = """
from plaid_processors.sandbox import journal, serve
journal.KEPT, journal.KEPT_BYTES = 1_000_000, 1 << 30
serve(port=0)
"""

Order = dict[str, Any]


@dataclass(frozen=True)
class NewItem:
    """An Item with one account, a checking account, and consent for Finix."""

    item_id: str
    access_token: str
    account_id: str


class Plaid:
    """A local Plaid, asked over HTTP."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._pool = urllib3.PoolManager()

    def ask(self, path: str, **body: Any) -> Any:
        keys = {
            "client_id": self.environ["PLAID_CLIENT_ID"],
            "secret": self.environ["PLAID_SECRET"],
        }
        return self.control("POST", path, {**keys, **body})

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._pool.request(method, self.environ["PLAID_BASE_URL"] + path, json=body)
        assert answer.status == 200, answer.data
        return answer.json()

    def new_items(self, count: int) -> Iterator[NewItem]:
        """Items of users that went through Link."""
        link_token = self.ask(
            "/link/token/create",
            client_name="Acme",
            language="en",
            country_codes=["US"],
            user={"client_user_id": "u"},
            products=["auth", "identity"],
        )["link_token"]
        for _ in range(count):
            through = {"link_token": link_token, "masks": ["0000"]}
            done = self.control("POST", "/_sandbox/complete_link", through)
            made = self.ask("/item/public_token/exchange", public_token=done["public_token"])
            account_id = done["metadata"]["accounts"][0]["id"]
            yield NewItem(made["item_id"], made["access_token"], account_id)

    def limit(self, per_minute: int | None) -> None:
        """Let it make so many processor tokens a minute; None: without any limit."""
        own = {} if per_minute is None else {CREATE: per_minute}
        body = {"enabled": per_minute is not None, "per_client": own}
        self.control("POST", "/_sandbox/rate_limits", body)

    def count(self) -> tuple[int, int]:
        """How many requests it had since the last call, and how many of them it refused by 429."""
        seen = self.control("GET", "/_sandbox/requests")["requests"]
        self.control("DELETE", "/_sandbox/requests")
        return len(seen), sum(each["status"] == 429 for each in seen)


@contextmanager
def local_plaid() -> Iterator[Plaid]:
    """A local Plaid in a process of its own, for as long as the block lasts."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            yield Plaid({**KEYS, "PLAID_BASE_URL": server.stdout.readline().split()[-1]})
        finally:
            server.terminate()


# In the processes that do the work


def _process(order: Order) -> None:
    """Back-fill when a line comes in; print what it came to."""
    from plaid_processors import ProcessorLinker
    from plaid_processors.backfill import RateBudget, backfill
    from plaid_processors.store import SqlStore

    with (
        SqlStore(order["database"], keys=[order["key"]]) as store,
        ProcessorLinker.from_env(store=store) as linker,
    ):
        budget = RateBudget(order["per_minute"], storage=order["storage"])
        print(flush=True)
        sys.stdin.readline()
        report = backfill(linker, "finix", budget=budget, workers=WORKERS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"issued": report.issued, "failed": report.failed, "peak": peak}), flush=True)


@contextmanager
def _processes(
    count: int, order: Order, environ: Mapping[str, str]
) -> Iterator[Callable[[], list[dict[str, float]]]]:
    """So many processes that are ready: a function that lets them work, and returns their ends."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.backfill", "--process", json.dumps(order)],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]

    def work() -> list[dict[str, float]]:
        for each in started:
            print(file=each.stdin, flush=True)
        return [json.loads(each.stdout.readline()) for each in started if each.stdout]

    try:
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        yield work
    finally:
        for each in started:
            each.kill()
            each.communicate()


# In the process that measures


class Ground:
    """A local Plaid, a Redis, and new databases."""

    def __init__(self, stack: ExitStack, *, postgres: bool) -> None:
        from tests.support.postgres import Postgres, Servers
        from tests.support.redis_server import RedisServer

        self.plaid = stack.enter_context(local_plaid())
        self.redis = stack.enter_context(RedisServer())
        self._folder = stack.enter_context(tempfile.TemporaryDirectory())
        self._new_url: Callable[[], str] | None = None
        if postgres:
            self._new_url = Postgres(stack.enter_context(Servers())).new_url

    def stored(self, items: Sequence[NewItem], *, sqlite: bool = False) -> Order:
        """A new store that has these Items: its database and its key."""
        from cryptography.fernet import Fernet

        from plaid_processors.store import SqlStore

        path = Path(self._folder, f"{time.monotonic_ns()}.db")
        database = self._new_url() if self._new_url and not sqlite else f"sqlite:///{path}"
        key = Fernet.generate_key().decode()
        with SqlStore(database, keys=[key]) as store:
            store.create_tables()
            for item in items:
                store.adopt(
                    access_token=item.access_token, item_id=item.item_id, client_user_id="u"
                )
        return {"database": database, "key": key}


def naive(plaid: Plaid, items: Sequence[NewItem]) -> None:
    """Ask for each Item's token by plaid-python, on as many threads as a back-fill has."""
    import plaid as library
    from plaid.api import plaid_api
    from plaid.model.processor_token_create_request import ProcessorTokenCreateRequest

    keys = {"clientId": KEYS["PLAID_CLIENT_ID"], "secret": KEYS["PLAID_SECRET"]}
    configuration = library.Configuration(host=plaid.environ["PLAID_BASE_URL"], api_key=keys)
    configuration.connection_pool_maxsize = WORKERS
    api = plaid_api.PlaidApi(library.ApiClient(configuration))

    def ask(item: NewItem) -> None:
        request = ProcessorTokenCreateRequest(
            access_token=item.access_token, account_id=item.account_id, processor="finix"
        )
        wait = 1.0
        while True:
            try:
                api.processor_token_create(request)
            except library.ApiException as error:
                if error.status != 429:
                    raise
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                return

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(ask, items))


def pace(ground: Ground, count: int, limit: int, processes: Sequence[int]) -> str:
    """Requests, 429s and time of so many Items."""
    plaid, budget = ground.plaid, limit * 9 // 10
    about = (
        "The naive loop knows each account, asks for nothing but the token, and after a 429 waits "
        f"1, 2, 4 seconds and so on, up to {LONGEST_WAIT:g}. At the start Plaid has made no token "
        f"for a minute, so that the loop's first {limit} come at once. Ours looks at each Item "
        f"first; its budget, over all processes, is {budget} a minute. Both have {WORKERS} threads "
        "a process."
    )
    lines = [
        f"## {count:,} Items, one token each, at {limit} tokens a minute",
        "",
        about,
        "",
        "| | requests | 429s | seconds | tokens a minute | of the budget |",
        "|---|--:|--:|--:|--:|--:|",
    ]

    def measured(name: str, work: Callable[[], Any]) -> tuple[Any, float]:
        plaid.limit(limit)
        plaid.count()
        began = time.monotonic()
        told = work()
        took = time.monotonic() - began
        plaid.limit(None)
        requests, refused = plaid.count()
        rate = count / took * 60
        lines.append(
            f"| {name} | {requests:,} | {refused:,} | {took:.0f} | {rate:.0f} "
            f"| {rate / budget:.0%} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
        return told, rate

    items = list(plaid.new_items(count))
    measured("naive loop, 1 process", lambda: naive(plaid, items))
    rate = 0.0
    for number in processes:
        order = ground.stored(list(plaid.new_items(count)))
        ground.redis.flush()
        order |= {"per_minute": budget, "storage": ground.redis.url}
        with _processes(number, order, plaid.environ) as work:
            name = f"`backfill`, {number} process" + ("es" if number > 1 else "")
            told, rate = measured(name, work)
        assert not any(each["failed"] for each in told), told
        twice = sum(each["issued"] for each in told) - count
        assert twice >= 0, told
        if twice:
            lines.append(f"| (of which made twice: {twice:g}) | | | | | |")
    million = (
        f"A million Items with one token each: 1,000,000 / {rate:.0f} a minute = "
        f"{1e6 / rate / 60:.1f} hours; at Plaid's limit itself, {1e6 / limit / 60:.1f} hours."
    )
    return "\n".join([*lines, "", million])


def memory(ground: Ground, counts: Sequence[int]) -> str:
    """The most memory that one process takes, by the number of Items."""
    lines = [
        "## Memory of one process",
        "",
        f"Its peak, by the number of Items in its SQLite; {WORKERS} threads, no limits.",
        "",
        "| | peak | seconds |",
        "|---|--:|--:|",
    ]
    for count in counts:
        order = ground.stored(list(ground.plaid.new_items(count)), sqlite=True)
        order |= {"per_minute": 1_000_000, "storage": "memory://"}
        with _processes(1, order, ground.plaid.environ) as work:
            began = time.monotonic()
            (told,) = work()
            took = time.monotonic() - began
        assert told["issued"] == count, told
        lines.append(f"| {count:,} Items | {told['peak']:.1f} MB | {took:.0f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backfill", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--limit", type=int, default=500, help="tokens a minute at the local Plaid")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--memory", type=int, nargs="+", default=[1000, 10_000], metavar="ITEMS")
    parser.add_argument("--no-memory", action="store_true", help="measure the pace alone")
    parser.add_argument("--no-pace", action="store_true", help="measure the memory alone")
    parser.add_argument("--postgres", action="store_true", help="keep the store in PostgreSQL")
    parser.add_argument("--process", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.process:
        _process(asked.process)
        return 0
    with ExitStack() as stack:
        ground = Ground(stack, postgres=asked.postgres)
        if not asked.no_pace:
            print(pace(ground, asked.items, asked.limit, asked.processes), end="\n\n", flush=True)
        if not asked.no_memory:
            print(memory(ground, asked.memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
