"""The local Plaid's memory over many links whose Items are removed: it is bounded.

    python -m benchmarks.sandbox_memory [--links 10000]

It reads the server process's resident memory (Linux). With fewer links, the server keeps less in
proportion, so that its limits are reached at the same share of the run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FULL = 10_000
WARM = 0.6  # of the links; by then all that is bounded is full
SLACK_MB = 10
SERVE = """
import sys
from plaid_processors.sandbox import journal, serve, world
share = min(int(sys.argv[1]) / 10_000, 1)
journal.KEPT = int(journal.KEPT * share)
world.KEPT_LINK_TOKENS = int(world.KEPT_LINK_TOKENS * share)
world.KEPT_REMOVED = int(world.KEPT_REMOVED * share)
serve(port=0)
"""
KEYS = {"client_id": "0" * 24, "secret": "0" * 30}
LINK = {
    "client_name": "Memory",
    "language": "en",
    "country_codes": ["US"],
    "user": {"client_user_id": "u"},
    "products": ["transactions"],
}


def resident(pid: int) -> float:
    """Return a process's resident memory in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def run(links: int, *, remove: bool = True) -> list[float]:
    """Link so often; return the memory after each twentieth of the links."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(links)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        url = server.stdout.readline().split()[-1]
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

        def post(path: str, **body: Any) -> Any:
            kind = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), kind)
            answer = connection.getresponse()
            read = json.loads(answer.read())
            assert answer.status == 200, read
            return read

        seen = []
        for number in range(1, links + 1):
            link_token = post("/link/token/create", **KEYS, **LINK)["link_token"]
            public_token = post("/_sandbox/complete_link", link_token=link_token)["public_token"]
            access = post("/item/public_token/exchange", **KEYS, public_token=public_token)
            item = {**KEYS, "access_token": access["access_token"]}
            for account in post("/accounts/get", **item)["accounts"][:2]:
                chosen = {"account_id": account["account_id"], "processor": "layer"}
                post("/processor/token/create", **item, **chosen)
            if remove:
                post("/item/remove", **item)
            if number % max(links // 20, 1) == 0:
                seen.append(resident(server.pid))
        connection.close()
        server.terminate()
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--links", type=int, default=FULL)
    parser.add_argument("--keep-items", action="store_true", help="remove none: what an Item costs")
    options = parser.parse_args()
    seen = run(options.links, remove=not options.keep_items)
    print(f"{options.links} links; MB after each twentieth:", *(f"{each:.0f}" for each in seen))
    if options.keep_items:
        print(f"KB an Item: {(seen[-1] - seen[0]) * 1024 / (options.links * 0.95):.0f}")
        return 0
    warm = max(seen[: int(len(seen) * WARM)])
    grown = seen[-1] - warm
    print(f"grown since {WARM:.0%} of the links: {grown:.1f} MB, allowed {SLACK_MB}")
    return 1 if grown > SLACK_MB else 0


if __name__ == "__main__":
    sys.exit(main())
