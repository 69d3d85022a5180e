"""Odd requests at the local Plaid and its partners: none may end in a 5xx, or harm the next one.

    python -m benchmarks.sandbox_fuzz [--count 100000] [--seed 1]

The requests go to Plaid's paths, the control plane, Link's pane and pages, and the stand-ins for
Finix and Layer: good ones changed in a few places, and bad ones from the start. They are nested,
large, of wrong types, of numbers that no float holds and of halves of surrogate pairs; with odd
methods, paths, headers and encodings. The same seed sends the same requests. Afterwards the servers
must live, have logged no exception, link as always, and show their log.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

SERVE = """
import base64, json, sys
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
def basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()
with LocalSandbox() as plaid, LocalFinix(plaid) as finix, LocalLayer(plaid) as layer:
    print(json.dumps({
        "plaid": plaid.url, "client_id": plaid.client_id, "secret": plaid.secret,
        "finix": finix.url, "finix_keys": basic(finix.username, finix.password),
        "identity": finix.new_identity(),
        "layer": layer.url, "layer_keys": basic(layer.client_id, layer.client_secret),
        "business": layer.new_business(),
    }), flush=True)
    sys.stdin.read()
"""
MOST_FAILURES = 20
# Good requests, by group: a method, a path, and a body with names for what is known.
REQUESTS: dict[str, list[tuple[str, str, str]]] = {}
for _line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
    _group, _method, _path, _body = _line.split(" ", 3)
    REQUESTS.setdefault(_group, []).append((_method, _path, _body))
Json = dict[str, Any]


class Raw(str):
    """A fragment that is written into JSON as it is."""

    __slots__ = ()


def nested(depth: int, way: str = "list") -> Raw:
    before, after = {"list": ("[", "]"), "object": ('{"a":', "}")}[way]
    return Raw(before * depth + "1" + after * depth)


DEEP = [
    nested(depth, way)
    for depth in (60, 99, 150, 450, 900, 5000, 60_000)
    for way in ("list", "object")
]
NUMBERS = [
    *map(
        Raw,
        ("1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400, "9" * 5000, "-0", "1e-400"),
    ),
    *(0, 1, -1, 2, 1.5, 1e308, 2**31, 2**63, 10**300, True),
]
TEXTS = [
    Raw(r'"\ud800"'),
    Raw(r'"\udfff\ud800 x"'),
    Raw(r'"\u0000"'),
    Raw(r'"\ud83d\ude00"'),
    "",
    " ",
    "x",
    "ü",
    "\x7f",
    "'\"<>&\u2028",
    "a" * 40,
    "../../etc/passwd",
    "%00",
    "null",
    "a@" + "." * 5000 + "@",
    "access-sandbox-" + "a-" * 500,
    "+1" + "5" * 5000,
    "0001-01-01",
    "9999-12-31",
    "2026-02-30",
    "2026-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-W01-1",
    "http://[",
    "http://x:99999",
    "https://user@[::1]/",
    "http://127.0.0.1:1/",
    "javascript:alert(1)",
    "ins_109508",
    "ins_56",
    "user_good",
    "pass_good",
    "user_custom",
    "error_ITEM_LOCKED",
    "mfa_device",
    "transactions",
    "auth",
    "US",
    "en",
    "1234",
]
SHAPES: list[Any] = [None, [], {}, [None], [[]], {"": 1}, [1, "x", None], {"a": None}]
PASSWORDS: list[Json] = [
    {
        "override_accounts": [
            {
                "type": "depository",
                "subtype": "checking",
                "starting_balance": 10,
                "meta": {"name": "A", "mask": "1"},
                "numbers": {"account": "1", "ach_routing": "2"},
                "identity": {"names": ["N"], "addresses": [{"data": {"street": "S"}}]},
                "transactions": [
                    {
                        "date_transacted": "2026-01-01",
                        "date_posted": "9999-12-31",
                        "amount": 1,
                        "description": "d",
                    }
                ],
            }
        ]
    },
    {"force_error": "ITEM_LOCKED"},
]


def written(value: object) -> str:
    """Write JSON, with the raw fragments as they are."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def places(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in a JSON value, as a path of keys."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    return [at, *(place for key, inner in entries for place in places(inner, (*at, key)))]


def inside(value: Any, at: tuple[Any, ...]) -> Any:
    """Return what is at this place."""
    for key in at:
        value = value[key]
    return value


def replaced(value: Any, at: tuple[Any, ...], new: object) -> Any:
    """Return the value with another at this place."""
    if not at:
        return new
    key, *rest = at
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], tuple(rest), new)
    return copy


@dataclass
class Fuzz:
    """What is sent, and what came of it."""

    place: Json
    random: random.Random
    known: dict[str, list[str]] = field(default_factory=dict)
    connections: dict[str, http.client.HTTPConnection] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def keys(self) -> Json:
        return {"client_id": self.place["client_id"], "secret": self.place["secret"]}

    # Sending

    def send(
        self, server: str, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Send a request; a closed connection counts as status 0."""
        connection = self.connections.get(server)
        if connection is None:
            netloc = urlsplit(self.place[server]).netloc
            connection = self.connections[server] = http.client.HTTPConnection(netloc, timeout=30)
        try:
            connection.putrequest(
                method, path, skip_host="Host" in headers, skip_accept_encoding=True
            )
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError:
            self.failures.append(f"no answer in time: {method} {server}{path[:200]} {body[:200]!r}")
        except (OSError, http.client.HTTPException, ValueError):
            pass
        connection.close()
        del self.connections[server]
        return 0, b""

    def ask(self, server: str, path: str, body: object, **headers: str) -> Any:
        """Send a good request, and return the JSON of its answer."""
        kind = {"Content-Type": "application/json", **headers}
        status, answer = self.send(server, "POST", path, written(body).encode(), kind)
        if status != 200:
            raise AssertionError(f"{path}: {status} {answer[:300]!r}")
        return json.loads(answer)

    def odd(
        self, server: str, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> None:
        """Send an odd request, which may end in anything but a 5xx."""
        status, answer = self.send(server, method, path, body, headers)
        self.statuses[f"{server} {status}"] += 1
        if status >= 500 or answer == b"Internal Server Error":
            self.failures.append(
                f"{status}: {method} {server}{path[:200]} {headers} {body[:300]!r}: {answer[:99]!r}"
            )

    # Making

    def value(self) -> Any:
        """Make an odd value."""
        kind = self.random.random()
        if kind < 0.05:
            return self.random.choice(DEEP)
        if kind < 0.3:
            return self.random.choice(NUMBERS)
        if kind < 0.55:
            return self.random.choice(TEXTS)
        if kind < 0.7:
            return self.random.choice(SHAPES)
        if kind < 0.72:
            return "x" * self.random.choice((1000, 100_000, 1_100_000))
        if kind < 0.77:
            return [self.value() for _ in range(self.random.randrange(4))]
        if kind < 0.82:
            return {self.random.choice(("a", "type", "é", "")): self.value()}
        if kind < 0.86:
            return written(self.changed(self.random.choice(PASSWORDS)))
        if kind < 0.9:
            return self.cursor()
        return self.random.choice(self.random.choice(list(self.known.values())))

    def cursor(self) -> str:
        days = ("", "0001-01-01", "2026-01-01", "9999-12-31", "x")
        parts = [
            self.random.choice((*self.known["item_id"], "x")),
            *self.random.choices(days, k=2),
            self.random.choice(("0", "-5", "9" * 30, "1e3", "x")),
        ]
        return base64.b64encode("|".join(parts).encode()).decode()

    def changed(self, body: Any) -> Any:
        """Change a body at up to three places, and perhaps add or take away a field."""
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3))):
            # Rarely the whole, mostly something inside.
            where = places(body)
            at = self.random.choice(where[1:] if len(where) > 1 else where)
            body = replaced(body, at, self.value())
        objects = [at for at in places(body) if isinstance(inside(body, at), dict)]
        if objects and self.random.random() < 0.2:
            at = self.random.choice(objects)
            name = self.random.choice(("extra", "options", "a", "é", "name"))
            body = replaced(body, at, {**inside(body, at), name: self.value()})
        return self.value() if self.random.random() < 0.02 else body

    def one(self, kind: str) -> str:
        return self.random.choice(self.known[kind])

    def good(self, group: str) -> tuple[str, str, Any]:
        """Return the method, path and body of a good request of this group."""
        method, path, body = self.random.choice(REQUESTS[group])
        path = path.replace("$business", self.place["business"])
        filled = self.filled(json.loads(body))
        return method, path, {**self.keys, **filled} if group == "plaid" else filled

    def filled(self, value: Any) -> Any:
        """Put what is known in the places of the names."""
        if isinstance(value, dict):
            return {name: self.filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.filled(inner) for inner in value]
        if value == "$cursor":
            return self.cursor()
        if value == "$password":
            return written(self.changed(self.random.choice(PASSWORDS)))
        if isinstance(value, str) and value.startswith("$"):
            return self.one(value[1:])
        return value

    # The rounds

    def learn(self) -> None:
        """Make an Item and tokens, for the requests to come."""
        link_token = self.ask(
            "plaid",
            "/link/token/create",
            {
                **self.keys,
                "client_name": "A",
                "language": "en",
                "country_codes": ["US"],
                "user": {"client_user_id": "u"},
                "products": ["transactions", "auth"],
            },
        )["link_token"]
        done = self.ask("plaid", "/_sandbox/complete_link", {"link_token": link_token})
        spent = {**self.keys, "public_token": done["public_token"]}
        item = self.ask("plaid", "/item/public_token/exchange", spent)
        access = {**self.keys, "access_token": item["access_token"]}
        accounts = self.ask("plaid", "/accounts/get", access)["accounts"]
        chosen = {**access, "account_id": accounts[0]["account_id"], "processor": "finix"}
        token = self.ask("plaid", "/processor/token/create", chosen)["processor_token"]
        self.ask("plaid", "/processor/account/get", {**self.keys, "processor_token": token})
        session = self.ask("plaid", "/_sandbox/link/open", {"token": link_token})["session"]
        keys = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"Basic {self.place['layer_keys']}",
        }
        grant = b"grant_type=client_credentials"
        _, answer = self.send("layer", "POST", "/oauth2/token", grant, keys)
        self.known = {
            "bearer": [json.loads(answer)["access_token"]],
            "identity": [self.place["identity"]],
            "access_token": [item["access_token"]],
            "public_token": [done["public_token"]],
            "link_token": [link_token],
            "processor_token": [token],
            "item_id": [item["item_id"]],
            "account_id": [account["account_id"] for account in accounts],
            "session": [session],
        }

    def body(self, value: object) -> bytes:
        """Write a body, at times in a way that is not JSON."""
        text = written(value)
        kind = self.random.random()
        if kind < 0.94:
            return text.encode("utf-8", "surrogatepass")
        odd = (
            text.encode("utf-16"),
            b"\xef\xbb\xbf" + text.encode(),
            text.encode()[:-1],
            b"",
            b"\xff\xfe",
            text.encode() + b"x",
            b"\x1f\x8b\x08\x00" + text.encode(),
            b"\x00" * 10,
            b"'" + text.encode(),
            b"a=1&b=2",
        )
        return self.random.choice(odd)

    def headers(self) -> dict[str, str]:
        named = {"Content-Type": "application/json"}
        if self.random.random() < 0.1:
            named[
                self.random.choice(
                    (
                        "Content-Type",
                        "Host",
                        "Origin",
                        "Sec-Fetch-Site",
                        "Plaid-Version",
                        "PLAID-CLIENT-ID",
                        "PLAID-SECRET",
                        "Authorization",
                        "User-Agent",
                        "Upgrade",
                        "Connection",
                        "Expect",
                        "Content-Encoding",
                        "X-Forwarded-For",
                        "X-Forwarded-Proto",
                        "Cookie",
                        "Accept",
                    )
                )
            ] = self.random.choice(
                (
                    "",
                    "x",
                    "null",
                    "evil.example",
                    "[",
                    "[::1]",
                    "127.0.0.1:99999999",
                    "\xe9\xff",
                    "cross-site",
                    "text/plain",
                    "2018-05-22",
                    "Basic \xe9",
                    "Basic eA==",
                    "gzip",
                    "websocket",
                    "100-continue",
                    "close",
                    "x" * 5000,
                    "Plaid Python v8.0.0",
                    "https",
                    "Bearer ",
                )
            )
        return named

    def round(self) -> None:
        """Send one odd request."""
        groups = ("plaid", "control", "pane", "oddly", "finix", "layer")
        (group,) = self.random.choices(groups, (45, 20, 15, 12, 4, 4))
        headers = {**self.authorization(group), **self.headers()}
        if group == "oddly":
            self.odd("plaid", *self.oddly(), headers)
            return
        method, path, body = self.good(group)
        server = group if group in ("finix", "layer") else "plaid"
        self.odd(server, method, path, self.body(self.changed(body)), headers)
        if path == "/_sandbox/faults":
            self.strike()
        elif path == "/_sandbox/rate_limits":
            self.ask("plaid", path, {"enabled": False})

    def authorization(self, group: str) -> dict[str, str]:
        """Return the partner's own."""
        if group == "finix":
            return {"Authorization": f"Basic {self.place['finix_keys']}"}
        return {"Authorization": f"Bearer {self.one('bearer')}"} if group == "layer" else {}

    def strike(self) -> None:
        """If a fault was taken, let it strike, as far as that is soon; then take it back."""
        _, told = self.send("plaid", "GET", "/_sandbox/faults", b"", {})
        for fault in json.loads(told)["faults"]:
            wait = max(fault.get("delay") or 0, fault.get("trickle") or 0)
            if wait or (fault.get("skip") or 0) > 3:
                continue
            path = fault.get("path", "/item/get")
            for _ in range((fault.get("skip") or 0) + 1):
                status, answer = self.send(
                    "plaid",
                    "POST",
                    "/item/get" if path == "*" else path,
                    b"{}",
                    {"Content-Type": "application/json"},
                )
                if answer == b"Internal Server Error":
                    self.failures.append(f"{status}: the fault {fault!r:.300}")
        self.send("plaid", "DELETE", "/_sandbox/faults", b"", {})

    def oddly(self) -> tuple[str, str, bytes]:
        """Make an odd method, path and body."""
        method = self.random.choice(
            ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "POST", "get")
        )
        start = self.random.choice(
            (
                "/",
                "/item/get",
                "/_sandbox",
                "/_sandbox/",
                "/_sandbox/requests",
                "/_sandbox/health",
                "/_sandbox/faults",
                "/_sandbox/webhooks",
                "/_sandbox/link/",
                "/_sandbox/link/bank/",
                "/link/",
                "/link/v2/stable/link.html",
                "/link/v2/stable/link-initialize.js",
                "//",
                "*",
                "http://evil.example/_sandbox/health",
                "/processor/token/create",
                "",
            )
        )
        more = self.random.choice(
            (
                "",
                "",
                "/",
                "?x=1",
                "?" + "x" * 2000,
                "/..",
                "/%2e%2e/",
                "%00",
                "%ff%fe",
                "%",
                "//",
                ";x",
                "%ed%a0%80",
                "#x",
                "/" + "y" * 3000,
                "/" + quote("ü"),
                "[",
                "?%5b=%5d&&=",
                "@x",
            )
        )
        body = self.body(self.value()) if self.random.random() < 0.5 else b""
        return method, (start + more) or "/", body


@contextmanager
def serving() -> Iterator[tuple[Json, subprocess.Popen[str], Any]]:
    """The servers in a process of their own, and what it writes to its standard error."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            yield json.loads(process.stdout.readline()), process, errors
        finally:
            process.terminate()


def run(count: int, seed: str) -> list[str]:
    """Send so many odd requests; return what went wrong."""
    with serving() as (place, process, errors):
        fuzz = Fuzz(place, random.Random(seed))
        started = time.monotonic()
        for number in range(count):
            if number % 1000 == 0:
                fuzz.learn()  # the healthy link
            fuzz.round()
            if len(fuzz.failures) >= MOST_FAILURES or process.poll() is not None:
                break
        fuzz.learn()
        for path in ("requests", "faults", "webhooks", "health"):
            status, answer = fuzz.send("plaid", "GET", f"/_sandbox/{path}", b"", {})
            if status != 200 or not isinstance(json.loads(answer), dict):
                fuzz.failures.append(f"/_sandbox/{path} cannot be read: {status}")
        for connection in fuzz.connections.values():
            connection.close()
        if process.poll() is not None:
            fuzz.failures.append("the server is gone")
        errors.seek(0)
        logged = errors.read()
        if "Traceback" in logged:
            fuzz.failures.append(f"the server logged an exception:\n{logged[-3000:]}")
        print(f"{count} requests in {time.monotonic() - started:.0f} s, seed {seed}")
        for status, times in sorted(fuzz.statuses.items()):
            print(f"  {status}: {times}")
    return fuzz.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    failures = run(options.count, options.seed)
    for failure in failures:
        print("WRONG", failure)
    print("wrong answers:", len(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
