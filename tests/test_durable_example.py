"""The example with a database: what one run leaves, the next one finishes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, text

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import SqlStore

EXAMPLE = Path(__file__).parent.parent / "examples" / "durable.py"


class Shop:
    """The example, its database and a local Plaid."""

    def __init__(self, plaid: LocalSandbox, database: str) -> None:
        self.plaid = plaid
        self.key = Fernet.generate_key().decode()
        self.database = database
        self.store = SqlStore(database, keys=[self.key])

    def run(self) -> str:
        """Run it as a program; what it prints."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PLAID_")}
        environ |= {
            "PLAID_CLIENT_ID": self.plaid.client_id,
            "PLAID_SECRET": self.plaid.secret,
            "PLAID_BASE_URL": self.plaid.url,
            "DATABASE_URL": self.database,
            "STORE_KEY": self.key,
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLE)],
            env=environ,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with LocalSandbox() as plaid:
        shop = Shop(plaid, f"sqlite:///{tmp_path}/links.db")
        with shop.store:
            yield shop


def test_the_example(shop: Shop) -> None:
    """It links, prints no token, and all is in the database."""
    recovered, *tokens = shop.run().splitlines()
    assert recovered == "recovered: 0 finished, 0 unknown, 0 failed"
    assert tokens[0].startswith("for Durable: checking …0000, token ")
    assert "-sandbox-" not in "".join(tokens)
    (stored,) = shop.store.links()
    assert (stored.state, stored.client_user_id) == ("complete", "Durable")
    assert stored.result is not None
    assert stored.result.access_token == shop.plaid.items[0].access_token
    assert len(tokens) == len(stored.result.processor_tokens)


def test_the_example_finishes_what_an_earlier_run_left(shop: Shop) -> None:
    """A process that died after its Item was stored: the next run makes the tokens."""

    class PowerCutError(BaseException):
        pass

    def die(_item: object) -> None:
        raise PowerCutError

    shop.store.create_tables()
    with (
        ProcessorLinker(shop.plaid.client(), store=shop.store) as linker,
        pytest.raises(PowerCutError),
    ):
        linker.link_sandbox("layer", client_user_id="killed", on_exchange=die)
    engine = create_engine(shop.database)
    with engine.begin() as connection:
        connection.execute(text("update plaid_links set updated_at = '2026-01-01 00:00:00.000000'"))
    engine.dispose()
    assert shop.run().startswith("recovered: 1 finished, 0 unknown, 0 failed\n")
    (stored,) = shop.store.links(client_user_id="killed")
    assert stored.state == "complete"
