"""A hundred clients at once on one local Plaid: no wrong answer, no token of two Items.

    python benchmarks/sandbox_load.py [--clients 100] [--seconds 60]

Each client, on one kept connection, links an Item, reads its accounts, issues a
processor token for each of four, reads one back as the partner, tries to spend the
public token again, and removes every second Item. Whatever is not as it should be is
counted as wrong; afterwards no token may have been seen with two Items.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SERVE = "from plaid_processors.sandbox import serve; serve(port=0)"


@dataclass
class Tally:
    """What all clients saw."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    owners: dict[str, str] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    items: int = 0

    def own(self, token: str, item_id: str) -> None:
        with self.lock:
            if self.owners.setdefault(token, item_id) != item_id:
                self.wrong["token of two Items"] += 1

    def expect(self, what: str, fits: bool) -> None:
        if not fits:
            with self.lock:
                self.wrong[what] += 1


class Client(threading.Thread):
    """One client with keys of its own."""

    def __init__(self, number: int, url: str, until: float, tally: Tally):
        super().__init__(daemon=True)
        self.keys = {"client_id": f"{number:024x}", "secret": f"{number:030x}"}
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.until = until
        self.tally = tally
        self.times: list[float] = []

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        started = time.perf_counter()
        data = json.dumps({**self.keys, **body})
        self.connection.request("POST", path, data, {"Content-Type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        self.times.append(time.perf_counter() - started)
        return answer

    def run(self) -> None:
        rounds = 0
        while time.monotonic() < self.until:
            try:
                self.link(remove=rounds % 2 == 0)
            except Exception as error:  # noqa: BLE001 - each is a wrong answer
                self.tally.expect(f"{type(error).__name__}: {error}", False)
                self.connection.close()
            rounds += 1
        self.connection.close()
        with self.tally.lock:
            self.tally.items += rounds
            self.tally.times += self.times

    def link(self, *, remove: bool) -> None:
        link_token = self.post(
            "/link/token/create",
            client_name="Load",
            language="en",
            country_codes=["US"],
            user={"client_user_id": self.name},
            products=["transactions"],
        )["link_token"]
        done = self.post_control("/complete_link", link_token=link_token)
        public_token = done["public_token"]
        item = self.post("/item/public_token/exchange", public_token=public_token)
        access_token, item_id = item["access_token"], item["item_id"]
        for token in (link_token, public_token, access_token):
            self.tally.own(token, item_id)
        again = self.post("/item/public_token/exchange", public_token=public_token)
        self.tally.expect("spent twice", again.get("error_code") == "INVALID_PUBLIC_TOKEN")
        self.issue(access_token, item_id)
        shown = self.post("/item/get", access_token=access_token)
        self.tally.expect("another Item", shown["item"]["item_id"] == item_id)
        if remove:
            self.post("/item/remove", access_token=access_token)
            gone = self.post("/item/get", access_token=access_token)
            self.tally.expect("not removed", gone.get("error_code") == "ITEM_NOT_FOUND")

    def post_control(self, path: str, **body: Any) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", f"/_sandbox{path}", json.dumps(body), headers)
        return json.loads(self.connection.getresponse().read())

    def issue(self, access_token: str, item_id: str) -> None:
        got = self.post("/accounts/get", access_token=access_token)
        self.tally.expect("accounts of another Item", got["item"]["item_id"] == item_id)
        accounts = got["accounts"]
        self.tally.expect("not fourteen accounts", len(accounts) == 14)
        for account in accounts[:4]:
            account_id = account["account_id"]
            self.tally.own(account_id, item_id)
            body = {"access_token": access_token, "account_id": account_id, "processor": "layer"}
            token = self.post("/processor/token/create", **body)["processor_token"]
            self.tally.own(token, item_id)
        seen = self.post("/processor/account/get", processor_token=token)["account"]
        self.tally.expect("another account", seen["account_id"] == account_id)


def report(tally: Tally, seconds: float) -> int:
    times = sorted(tally.times)
    cuts = statistics.quantiles(times, n=100)
    print(f"{len(times)} requests in {seconds:.0f} s: {len(times) / seconds:.0f} a second")
    print(f"{tally.items} Items, {len(tally.owners)} tokens and ids, each of one Item alone")
    print(f"median {cuts[49] * 1e3:.1f} ms, 99 of 100 within {cuts[98] * 1e3:.1f} ms")
    for what, count in tally.wrong.items():
        print(f"WRONG {count} times: {what}")
    print("wrong answers:", sum(tally.wrong.values()))
    return 1 if tally.wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        url = server.stdout.readline().split()[-1]
        tally = Tally()
        started = time.monotonic()
        clients = [
            Client(number + 1, url, started + options.seconds, tally)
            for number in range(options.clients)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        took = time.monotonic() - started
        server.terminate()
    return report(tally, took)


if __name__ == "__main__":
    sys.exit(main())
