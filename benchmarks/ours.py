"""The same link with this SDK, and with bare urllib3."""

from __future__ import annotations

import json
from typing import Any

import urllib3

from plaid_processors import AsyncProcessorLinker, PlaidClient, ProcessorLinker

from .plain import CLIENT_ID, PUBLIC_TOKEN, SECRET


def make_client(url: str, connections: int = 8) -> PlaidClient:
    return PlaidClient(
        client_id=CLIENT_ID, secret=SECRET, base_url=url, max_connections=connections
    )


def accounts(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"account-{each}", "type": "depository", "subtype": "checking"}
        for each in range(count)
    ]


def link(linker: ProcessorLinker, wanted: list[dict[str, Any]]) -> list[str]:
    result = linker.link("layer", public_token=PUBLIC_TOKEN, accounts=wanted)
    return [each.processor_token for each in result.processor_tokens]


async def link_awaited(linker: AsyncProcessorLinker, wanted: list[dict[str, Any]]) -> list[str]:
    result = await linker.link("layer", public_token=PUBLIC_TOKEN, accounts=wanted)
    return [each.processor_token for each in result.processor_tokens]


def link_bare(pool: urllib3.PoolManager, url: str, account_ids: list[str]) -> list[str]:
    """No checks, no results, no errors: the least that a link can cost with urllib3."""
    headers = {
        "PLAID-CLIENT-ID": CLIENT_ID,
        "PLAID-SECRET": SECRET,
        "Plaid-Version": "2020-09-14",
        "User-Agent": "bare",
    }

    def post(path: str, body: dict[str, str]) -> Any:
        answer = pool.request(
            "POST",
            url + path,
            body=json.dumps(body),
            headers={**headers, "Content-Type": "application/json"},
            timeout=urllib3.Timeout(30),
            retries=False,
        )
        return json.loads(answer.data)

    exchanged = post("/item/public_token/exchange", {"public_token": PUBLIC_TOKEN})
    return [
        post(
            "/processor/token/create",
            {
                "access_token": exchanged["access_token"],
                "account_id": each,
                "processor": "layer",
            },
        )["processor_token"]
        for each in account_ids
    ]
