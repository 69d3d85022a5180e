"""What the tests of the local Plaid share: one, and a bare HTTP client for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from plaid_processors.sandbox import LocalSandbox

Json = dict[str, Any]


@dataclass
class Reply:
    """An HTTP answer, read."""

    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.data)

    @property
    def error(self) -> tuple[str, str, str]:
        body = self.json
        return body["error_type"], body["error_code"], body["error_message"]


@dataclass
class Api:
    """Speaks to the local Plaid as any client would, keys in the body."""

    sandbox: LocalSandbox
    pool: urllib3.PoolManager

    @property
    def keys(self) -> Json:
        return {"client_id": self.sandbox.client_id, "secret": self.sandbox.secret}

    def send(self, path: str, body: bytes, method: str = "POST", **headers: str) -> Reply:
        named = {
            "Content-Type": "application/json",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        named = {name: value for name, value in named.items() if value}
        reply = self.pool.request(method, self.sandbox.url + path, body=body, headers=named)
        return Reply(reply.status, reply.headers, reply.data)

    def post(self, path: str, **body: Any) -> Reply:
        return self.send(path, json.dumps({**self.keys, **body}).encode())

    def ok(self, path: str, **body: Any) -> Json:
        reply = self.post(path, **body)
        assert reply.status == 200, reply.data
        return reply.json

    def error(self, path: str, **body: Any) -> tuple[str, str, str]:
        reply = self.post(path, **body)
        assert reply.status == 400, reply.data
        return reply.error

    def public_token(self, **more: Any) -> str:
        body = {"institution_id": "ins_109508", "initial_products": ["transactions"], **more}
        return self.ok("/sandbox/public_token/create", **body)["public_token"]

    def item(self, **more: Any) -> Json:
        return self.ok("/item/public_token/exchange", public_token=self.public_token(**more))

    def access_token(self, **more: Any) -> str:
        return self.item(**more)["access_token"]

    def linked(self, link: Json | None = None, **choices: Any) -> str:
        """Go through Link, with these fields of the link token and these choices of the user."""
        done = self.sandbox.complete_link(self.link_token(**(link or {})), **choices)
        exchanged = self.ok("/item/public_token/exchange", public_token=done.public_token)
        return exchanged["access_token"]

    def shown(self, access_token: str) -> Json:
        return self.ok("/item/get", access_token=access_token)["item"]

    def numbers(self, access_token: str) -> dict[str, Json]:
        """The numbers of the accounts at a US bank, by mask."""
        answer = self.ok("/auth/get", access_token=access_token)
        masks = {account["account_id"]: account["mask"] for account in answer["accounts"]}
        return {masks[each["account_id"]]: each for each in answer["numbers"]["ach"]}

    def accounts(self, access_token: str) -> list[Json]:
        return self.ok("/accounts/get", access_token=access_token)["accounts"]

    def processor_token(
        self, access_token: str, mask: str = "0000", processor: str = "finix"
    ) -> str:
        account = next(a for a in self.accounts(access_token) if a["mask"] == mask)
        return self.ok(
            "/processor/token/create",
            access_token=access_token,
            account_id=account["account_id"],
            processor=processor,
        )["processor_token"]

    def link_token(self, **more: Any) -> str:
        return self.ok("/link/token/create", **{**LINK, **more})["link_token"]


LINK: Json = {
    "client_name": "Acme Books",
    "language": "en",
    "country_codes": ["US"],
    "user": {"client_user_id": "user-42"},
    "products": ["transactions"],
}


# With both, a partner may read whatever it asks for.
ALL = {"initial_products": ["auth", "transactions"]}


@pytest.fixture(scope="session")
def running() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        yield pool


@pytest.fixture
def sandbox(running: LocalSandbox) -> LocalSandbox:
    """One server for all tests, new for each."""
    running.reset(seed=1)
    running.limit_rates(False)
    return running


@pytest.fixture
def api(sandbox: LocalSandbox, pool: urllib3.PoolManager) -> Api:
    return Api(sandbox, pool)


@pytest.fixture
def link_request() -> Json:
    return dict(LINK)
