"""The example with Celery: forked workers, a real Redis, and a store in PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benchmarks.backfill import Plaid
from cryptography.fernet import Fernet

from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import SqlStore

pytestmark = [pytest.mark.full, pytest.mark.server]
FOLDER = Path(__file__).parent.parent / "examples" / "backfill_celery"


class Team:
    """A local Plaid, a store with Items of it, and the programs of the example.

    Attributes:
        plaid: the local Plaid.
        store: the store, in which no Item has a token.
    """

    def __init__(self, plaid: LocalSandbox, database: str, redis_url: str, folder: Path) -> None:
        self.plaid = plaid
        self.redis_url = redis_url
        self._log = folder / "log"
        key = Fernet.generate_key().decode()
        self.store = SqlStore(database, keys=[key])
        self.store.create_tables()
        environ = {name: value for name, value in os.environ.items() if name[:6] != "PLAID_"}
        self._environ = environ | {
            **plaid.environ,
            "DATABASE_URL": database,
            "STORE_KEY": key,
            "REDIS_URL": redis_url,
            "TOKENS_PER_MINUTE": "6000",
        }

    def link(self, count: int) -> None:
        """Adopt so many new Items, each with one account and consent for Finix."""
        for item in Plaid(self.plaid.environ).new_items(count):
            self.store.adopt(
                access_token=item.access_token, client_user_id="user-42", item_id=item.item_id
            )

    def queue(self) -> None:
        """Queue each Item that lacks Finix, as the example's README says."""
        subprocess.run(
            [sys.executable, "tasks.py", "finix"],
            cwd=FOLDER,
            env=self._environ,
            check=True,
            timeout=60,
        )

    @property
    def queued(self) -> int:
        """How many tasks no worker has taken yet."""
        import redis

        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.llen("backfill"))

    @contextmanager
    def workers(self) -> Iterator[int]:
        """Two forked workers, by their parent's process id; at the end they finish their tasks."""
        command = ("-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "2")
        with self._log.open("wb") as log:
            celery = subprocess.Popen(
                [sys.executable, *command, "--loglevel", "info"],
                cwd=FOLDER,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield celery.pid
                celery.terminate()
                assert celery.wait(timeout=60) == 0, self.log
            finally:
                if celery.poll() is None:
                    os.killpg(celery.pid, signal.SIGKILL)
                    celery.wait()

    @property
    def log(self) -> str:
        """What the workers have printed."""
        return self._log.read_text(encoding="utf-8")

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds; a failure shows what the workers printed."""
        end = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    @property
    def at_plaid(self) -> list[str]:
        """All processor tokens that Plaid has made."""
        return [token for item in self.plaid.items for token in item.processor_tokens]

    @property
    def stored(self) -> list[str]:
        """All processor tokens in the store."""
        return [
            token.processor_token
            for each in self.store.links()
            if each.result is not None
            for token in each.result.processor_tokens
        ]


@pytest.fixture
def team(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Team]:
    with LocalSandbox() as plaid:
        team = Team(plaid, postgres_url, redis_url, tmp_path)
        with team.store:
            yield team


def test_sixty_tasks_on_forked_workers_issue_sixty_tokens(team: Team) -> None:
    """Each Item has one token, at Plaid and in the store; queueing again adds none."""
    team.link(60)
    team.queue()
    assert team.queued == 60
    with team.workers():
        team.wait_until(lambda: len(team.at_plaid) >= 60)
    assert team.queued == 0
    assert [len(each.processor_tokens) for each in team.plaid.items] == [1] * 60
    assert sorted(team.stored) == sorted(team.at_plaid)
    assert not [token for token in team.at_plaid if token in team.log]

    team.queue()
    assert team.queued == 0


def test_what_passes_for_no_item_stops_the_workers_and_leaves_the_tasks(team: Team) -> None:
    """They take no more tasks; once they may go on, each Item gets its token."""
    team.link(6)
    team.plaid.fail("/processor/token/create", error_code="CREDITS_EXHAUSTED", times=None)
    team.queue()
    with team.workers():
        team.wait_until(lambda: "CREDITS_EXHAUSTED" in team.log)
    assert team.at_plaid == []
    assert team.queued == 6

    team.plaid.clear_faults()
    with team.workers():
        team.wait_until(lambda: len(team.at_plaid) >= 6)
    assert sorted(team.stored) == sorted(team.at_plaid)
    assert [len(each.processor_tokens) for each in team.plaid.items] == [1] * 6


def test_the_task_of_a_worker_that_is_killed_is_done_again(team: Team) -> None:
    """Once its claim has ended; the store has one token for each Item."""
    team.link(4)
    team.plaid.fail("/processor/token/create", delay=20, times=2)
    team.queue()
    with team.workers() as parent:
        team.wait_until(lambda: not team.plaid.unspent_faults)
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        team.wait_until(lambda: len(team.stored) >= 4)
    assert "Retry in 30s" in team.log
    assert len(set(team.stored)) == 4
    assert all(len(each.processor_tokens) in (1, 2) for each in team.plaid.items)
    assert set(team.stored) <= set(team.at_plaid)
