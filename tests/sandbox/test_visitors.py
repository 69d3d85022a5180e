"""Who may use the local Plaid: programs and its own pages, and no page of anyone else."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import urllib3

from plaid_processors.sandbox import LocalSandbox

from ..support.rows import rows
from .conftest import Api, Reply

SCRIPT = "/link/v2/stable/link-initialize.js"
PAGES = [SCRIPT, "/link/v2/stable/link.html", f"/link/{'x' * 34}", "/_sandbox/link/pane.js",
         "/_sandbox/link/bank/some-state"]  # fmt: skip
SHOWN = ["/_sandbox/health", "/_sandbox/requests", "/_sandbox/webhooks", "/_sandbox/faults"]
DONE: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/_sandbox/reset", {}),
    ("POST", "/_sandbox/clock", {"seconds": 60}),
    ("POST", "/_sandbox/faults", {"status": 503}),
    ("DELETE", "/_sandbox/faults", {}),
    ("POST", "/_sandbox/keys", {}),
    ("POST", "/_sandbox/link/open", {"token": "link-sandbox-x"}),
    ("POST", "/_sandbox/link/allow_at_bank", {"state": "x", "allow": True}),
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "203.0.113.7",
    "[2001:db8::1]:8080",
    "0.0.0.0",
    "127.0.0.1@evil.example",
    "127.0.0.1, evil.example",
    "",
    'x";alert(1)',
]
FOREIGN_SENDERS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost.evil.example:8080"},
]


def ask(api: Api, method: str, path: str, body: object = None, **headers: str) -> Reply:
    """Send these headers as they are."""
    sent = b"" if body is None else json.dumps(body).encode()
    named = {"Content-Type": "application/json", **headers}
    reply = api.pool.request(method, api.sandbox.url + path, body=sent, headers=named)
    return Reply(reply.status, reply.headers, reply.data)


@rows("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(api: Api, host: str) -> None:
    """DNS rebinding asks by the attacker's own name: nothing is shown, nothing is done."""
    before = api.item()
    told = [ask(api, "GET", path, Host=host) for path in [*SHOWN, *PAGES]]
    told += [ask(api, method, path, body, Host=host) for method, path, body in DONE]
    assert {reply.status for reply in told} == {403}
    assert all(b"public-sandbox" not in reply.data for reply in told)
    assert api.ok("/item/get", access_token=before["access_token"])  # no reset, no fault


@rows("headers", FOREIGN_SENDERS)
def test_what_another_page_sends_is_refused(api: Api, headers: dict[str, str]) -> None:
    """By the browser's own headers, of newer and of older browsers."""
    before = api.item()
    told = [ask(api, method, path, body, **headers) for method, path, body in DONE]
    told += [ask(api, "GET", path, **headers) for path in SHOWN]
    assert {reply.status for reply in told} == {403}
    assert api.ok("/item/get", access_token=before["access_token"])


@rows("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "text/json",
                       "multipart/form-data; boundary=x"])  # fmt: skip
def test_control_asks_for_json(api: Api, content_type: str) -> None:
    """A page may send any other type without asking first, in a browser of any age."""
    before = api.item()
    for method, path, body in DONE:
        if method == "POST":
            sent = json.dumps(body).encode()
            assert api.send(path, sent, Content_Type=content_type).status == 415
    assert api.ok("/item/get", access_token=before["access_token"])
    charset = "Application/JSON; charset=utf-8"
    assert api.send("/_sandbox/clock", b'{"seconds": 1}', Content_Type=charset).status == 200


def test_plaids_paths_refuse_other_pages(api: Api) -> None:
    """A page that was rebound could take any keys; a program asks by whatever name."""
    body = {**api.keys, "access_token": api.access_token()}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert ask(api, "POST", "/item/get", body, **headers).status == 403
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert ask(api, "POST", "/item/get", body, **rebound).status == 403
    assert ask(api, "POST", "/item/get", body, Host="plaid:8080").status == 200


def test_any_page_may_open_link(api: Api) -> None:
    """The pane's parts load into any page; the pane itself asks as its own origin."""
    for path in PAGES:
        assert ask(api, "GET", path, **{"Sec-Fetch-Site": "cross-site"}).status == 200
        assert ask(api, "GET", path, Origin="https://shop.example").status == 200
    own = {"Sec-Fetch-Site": "same-origin", "Origin": api.sandbox.url}
    opened = ask(api, "POST", "/_sandbox/link/open", {"token": api.link_token()}, **own)
    assert opened.json["session"]
    typed = {"Sec-Fetch-Site": "none"}
    assert ask(api, "GET", "/_sandbox/requests", **typed).status == 200


@rows(
    ("options", "hosts"),
    [
        (
            {},
            ["127.0.0.1", "127.0.0.2:9", "localhost", "LOCALHOST:1", "[::1]", "[0:0:0:0:0:0:0:1]"],
        ),
        ({"allowed_hosts": ["Plaid", "192.0.2.1"]}, ["plaid:8080", "PLAID", "192.0.2.1:80"]),
        ({"host": "localhost"}, ["localhost", "127.0.0.1"]),
        ({"host": "0.0.0.0"}, ["192.0.2.1:8080", "[2001:db8::1]", "127.0.0.1", "0.0.0.0"]),
    ],
)
def test_its_own_names(
    pool: urllib3.PoolManager, options: dict[str, Any], hosts: list[str]
) -> None:
    """The loopback's, the host that was named, and those that are allowed."""
    with LocalSandbox(**options) as sandbox:
        api = Api(sandbox, pool)
        for host in hosts:
            assert ask(api, "GET", "/_sandbox/health", Host=host).status == 200
            same = {"Host": host, "Origin": f"http://{host}"}
            assert ask(api, "POST", "/_sandbox/clock", {"seconds": 0}, **same).status == 200
            assert ask(api, "GET", SCRIPT, Host=host).status == 200
        assert ask(api, "GET", "/_sandbox/health", Host="evil.example").status == 403


def test_at_the_loopback_of_ipv6(pool: urllib3.PoolManager) -> None:
    """Its own address works in full."""
    try:
        sandbox = LocalSandbox(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with sandbox:
        api = Api(sandbox, pool)
        assert sandbox.url.startswith("http://[::1]:")
        assert ask(api, "POST", "/_sandbox/keys", {}, Origin=sandbox.url).status == 200


def test_a_program_without_a_host(api: Api) -> None:
    """HTTP/1.0 has none, and no browser speaks it."""
    port = int(api.sandbox.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /_sandbox/health HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"200"


def test_a_large_body_is_refused(api: Api) -> None:
    """By the control plane and by Link's pane as by Plaid's paths; a small one is still taken."""
    large = json.dumps({"x": "x" * 2_000_000}).encode()
    for path in ("/_sandbox/faults", "/_sandbox/link/open", "/item/get"):
        assert api.send(path, large).status == 413
    assert ask(api, "POST", "/_sandbox/clock", {"seconds": 0}).status == 200
