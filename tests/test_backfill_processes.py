"""A back-fill by several processes on one Redis and one PostgreSQL, one of which is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import frozen
from cryptography.fernet import Fernet

from plaid_processors import PlaidClient, ProcessorLinker
from plaid_processors.backfill import BackfillReport, RateBudget, backfill
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import SqlStore

CREATE = "/processor/token/create"


@frozen(kw_only=True)
class Place:
    """What the processes share."""

    url: str
    client_id: str
    secret: str
    database: str
    key: bytes
    redis: str
    per_minute: int


def work(place: Place, reports: Any) -> None:
    """One process: all that is missing."""
    client = PlaidClient(
        client_id=place.client_id, secret=place.secret, base_url=place.url, timeout=5
    )  # so that a killed process's claims end soon
    store = SqlStore(place.database, keys=[place.key])
    budget = RateBudget(place.per_minute, storage=place.redis)
    with store, ProcessorLinker(client, store=store) as linker:
        reports.put(backfill(linker, "finix", budget=budget, workers=4))


@pytest.fixture
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as plaid:
        yield plaid


def filled(plaid: LocalSandbox, linker: ProcessorLinker, kind: str) -> str:
    """An Item of a kind in the store: its id."""
    token = linker.create_link_token(
        "layer",
        client_user_id="user-42",
        client_name="Acme",
        additional_consented_products=None if kind == "no_consent" else ["auth", "identity"],
    )
    masks = ["0000", "1111"] if kind == "several_accounts" else ["0000"]
    done = plaid.complete_link(token.link_token, masks=masks)
    linker.link(
        "layer",
        public_token=done.public_token,
        metadata=done.metadata,
        client_user_id="user-42",
    )
    if kind == "login_broken":
        plaid.reset_login(plaid.items[-1])
    return plaid.items[-1].item_id


@pytest.mark.server
@pytest.mark.parametrize(
    ("tenths", "per_minute"),
    [
        pytest.param(1, 120, marks=pytest.mark.slow),
        pytest.param(10, 120, marks=pytest.mark.full),
    ],
)
def test_three_processes_one_of_them_killed(
    plaid: LocalSandbox, postgres_url: str, redis_url: str, tenths: int, per_minute: int
) -> None:
    """Each good Item has one token, Plaid answers no 429, and the others have their reasons."""
    kinds = ["no_consent"] * 2 + ["login_broken"] + ["several_accounts"] + ["good"] * 20
    place = Place(
        url=plaid.url,
        client_id=plaid.client_id,
        secret=plaid.secret,
        database=postgres_url,
        key=Fernet.generate_key(),
        redis=redis_url,
        per_minute=per_minute,
    )
    client = PlaidClient(client_id=place.client_id, secret=place.secret, base_url=place.url)
    items: dict[str, str] = {}
    with SqlStore(postgres_url, keys=[place.key]) as store:
        store.create_tables()
        with ProcessorLinker(client, store=store) as linker:
            for kind in kinds * tenths:
                items[filled(plaid, linker, kind)] = kind
        plaid.clear_requests()
        plaid.limit_rates(True, per_client={CREATE: per_minute * 10 // 9})
        spawn = multiprocessing.get_context("spawn")
        reports = spawn.Queue()
        began = time.monotonic()
        processes = [spawn.Process(target=work, args=(place, reports)) for _ in range(3)]
        for each in processes:
            each.start()
        while sum(each.path == CREATE for each in plaid.requests) < 3 * tenths:
            time.sleep(0.01)
        os.kill(processes[0].pid or 0, signal.SIGKILL)
        processes[0].join()
        processes[0] = spawn.Process(target=work, args=(place, reports))
        processes[0].start()
        told: list[BackfillReport] = [reports.get(timeout=300) for _ in processes]
        seconds = time.monotonic() - began
        for each in processes:
            each.join(60)
        assert [each.exitcode for each in processes] == [0, 0, 0]
        asked = [each for each in plaid.requests if each.path == CREATE]
        assert [each for each in asked if each.status == 429] == []
        good = {item_id for item_id, kind in items.items() if kind == "good"}
        found = {each.item_id: each.result for each in store.links()}
        made = Counter(
            item_id
            for item_id, result in found.items()
            if result is not None
            for token in result.processor_tokens
            if token.processor == "finix"
        )
        assert made == dict.fromkeys(good, 1)
        assert len(asked) - len(good) <= max(4, len(good) // 20)  # made twice: what the kill cut
        for report in told:
            assert set(report.reasons) <= {
                "no_consent",
                "login_broken",
                "several_accounts",
                "already_issued",
            }
    if tenths == 10:  # else the claim of the killed process takes longer than all else
        assert len(asked) >= 0.8 * per_minute * (seconds - 25) / 60
