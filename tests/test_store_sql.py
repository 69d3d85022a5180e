"""`SqlStore` on SQLite and on a real PostgreSQL, `MemoryStore`, and the test of any store."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cryptography.fernet import Fernet
from sqlalchemy import Engine, MetaData, create_engine, event, select, text
from sqlalchemy.pool import StaticPool

from plaid_processors import ConfigurationError, ProcessorLinker
from plaid_processors.sandbox import Linked, LocalSandbox
from plaid_processors.store import (
    FernetCipher,
    Handoff,
    HandoffState,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    LinkStore,
    MemoryStore,
    SqlStore,
    check_store,
)

from .support.postgres import Postgres
from .support.rows import rows

KEY = Fernet.generate_key().decode()
LONG = 600.0  # seconds of a lease that does not end in a test

needs_server = pytest.mark.server
both_databases = pytest.mark.parametrize("kind", ["sqlite", pytest.param("pg", marks=needs_server)])


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the test's kind."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/links.db"
    made: str = request.getfixturevalue("postgres_url")
    return made


@pytest.fixture
def make_store() -> Iterator[Callable[..., SqlStore]]:
    """Makes stores with their tables, and closes them."""
    with ExitStack() as stack:

        def make(database: str | Engine, **options: Any) -> SqlStore:
            store = stack.enter_context(SqlStore(database, keys=[KEY], **options))
            store.create_tables()
            return store

        yield make


@pytest.fixture
def make_engine() -> Iterator[Callable[..., Engine]]:
    """Makes Engines as a user does, and disposes of them."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> Engine:
            engine = create_engine(url, **options)
            stack.callback(engine.dispose)
            return engine

        yield make


def record(number: int | str, **values: Any) -> LinkRecord:
    known = {
        "key": sha256(str(number).encode()).hexdigest(),
        "client_id": "client",
        "environment": "sandbox",
        "client_user_id": "user-42",
        "state": LinkState.STARTED,
        "sealed": "sealed",
    }
    return LinkRecord(**{**known, **values})


def test_memory() -> None:
    """The store for tests keeps what every store promises."""
    check_store(MemoryStore)


Check = Callable[..., None]


@pytest.fixture
def check(make_store: Callable[..., SqlStore]) -> Check:
    """Checks a store in one database; each of those that are made has tables of its own."""
    numbers = itertools.count()

    def run(database: str | Engine, **options: Any) -> None:
        check_store(lambda: make_store(database, prefix=f"Our-{next(numbers)}_", **options))

    return run


@both_databases
def test_a_database(url: str, check: Check) -> None:
    """SqlStore keeps what every store promises."""
    check(url)


@pytest.mark.slow
def test_sqlite_in_memory_serves_several_threads(make_store: Callable[..., SqlStore]) -> None:
    """It has one connection, for which threads wait."""
    check_store(lambda: make_store("sqlite://"))


@needs_server
def test_a_schema(postgres_url: str, make_engine: Callable[..., Engine], check: Check) -> None:
    """Its tables can be in a schema of their own."""
    with make_engine(postgres_url).begin() as connection:
        connection.execute(text("CREATE SCHEMA vault"))
    check(postgres_url, schema="vault")


@needs_server
def test_psycopg2(postgres_url: str, check: Check) -> None:
    """PostgreSQL's other driver does too."""
    check(postgres_url.replace("+psycopg:", "+psycopg2:"))


@needs_server
def test_pgbouncer(postgres: Postgres, pgbouncer: int, check: Check) -> None:
    """It works where each transaction may get another session."""
    check(postgres.new_url().replace(f":{postgres.port}/", f":{pgbouncer}/"))


@needs_server
def test_a_serializable_engine(
    postgres_url: str, make_engine: Callable[..., Engine], check: Check
) -> None:
    """Calls that meet wait for each other, whatever the isolation of a given Engine."""
    check(make_engine(postgres_url, isolation_level="SERIALIZABLE"))


@both_databases
@pytest.mark.parametrize("given", [False, True])
def test_all_or_nothing(
    url: str,
    given: bool,
    make_engine: Callable[..., Engine],
    make_store: Callable[..., SqlStore],
) -> None:
    """A link and its hand-offs are stored together, on an Engine that commits at once too."""
    store = make_store(make_engine(url, isolation_level="AUTOCOMMIT") if given else url)
    added = store.add(record(1))

    @event.listens_for(store._database.engine, "before_cursor_execute")
    def fail(_c: object, _u: object, statement: str, *_: object) -> None:
        if "INSERT INTO plaid_handoffs" in statement:
            raise TimeoutError("the database is gone")

    handoff = Handoff(processor="finix", account_id="a", state=HandoffState.DUE)
    with pytest.raises(TimeoutError):
        store.save(evolve(added, handoffs=(handoff,), reason="changed"))
    with pytest.raises(TimeoutError):
        store.add(record(2, handoffs=(handoff,)))
    assert store.get(added.key) == added
    assert store.get(record(2).key) is None


@both_databases
def test_a_given_engine_is_left_as_it_is(
    url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """Its pool stays open, and its connections come back with their isolation."""
    engine = make_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        session = connection.connection.dbapi_connection
    with make_store(engine) as store:
        store.add(record(1))
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is session
        connection.execute(text("UPDATE plaid_links SET reason = 'commits at once'"))
    (there,) = store.page(LinkQuery())
    assert there.reason == "commits at once"


def test_an_engine_of_its_own_is_closed(
    tmp_path: Path, make_store: Callable[..., SqlStore]
) -> None:
    """With the last connection SQLite's -wal and -shm go; the store can be used again."""
    with make_store(f"sqlite:///{tmp_path}/links.db") as store:
        store.add(record(1))
        assert len(list(tmp_path.iterdir())) == 3
    assert [each.name for each in tmp_path.iterdir()] == ["links.db"]
    assert store.get(record(1).key) is not None
    store.close()


def test_ctrl_c_between_a_write_and_its_commit(
    tmp_path: Path, make_store: Callable[..., SqlStore]
) -> None:
    """It comes out at once, and the file is not locked, though the exception is kept."""
    store = make_store(f"sqlite:///{tmp_path}/links.db")
    statements: list[str] = []

    def press(*arguments: Any) -> None:
        statements.append(arguments[2])
        if statements[-1].startswith("SELECT") and statements[0].startswith("INSERT"):
            event.remove(Engine, "after_cursor_execute", press)
            raise KeyboardInterrupt

    event.listen(Engine, "after_cursor_execute", press)
    with pytest.raises(KeyboardInterrupt) as caught:
        store.add(record(1))
    assert store.get(record(1).key) is None
    store.add(record(1))
    assert store.get(record(1).key) is not None
    assert caught.value.__traceback__ is not None


class _Careless(MemoryStore):
    """A store that breaks the promise named."""

    broken = ""

    def add(self, record: LinkRecord) -> LinkRecord:
        if self.broken == "add":
            self._records.pop(record.key, None)
        return super().add(record)

    def save(self, record: LinkRecord) -> LinkRecord | None:
        stored = self._records.get(record.key)
        if self.broken == "version" and stored is not None:
            record = evolve(record, version=stored.version)
        if self.broken == "handoffs":
            record = evolve(record, handoffs=record.handoffs[:1])
        return super().save(record)

    def page(self, query: LinkQuery, *, after: str = "", limit: int = 200) -> Any:
        if self.broken == "order":
            return super().page(query, after=after, limit=limit)[::-1]
        if self.broken == "short":
            some = super().page(LinkQuery(), after=after, limit=limit)
            return [each for each in some if query.fits(each)]
        if self.broken == "limit":
            return super().page(query, after=after)
        if self.broken == "scope":
            return super().page(evolve(query, client_id=None), after=after, limit=limit)
        if self.broken in {"item_id", "access_hash", "under_way", "older_than", "handoff"}:
            query = evolve(query, **{self.broken: None})
        return super().page(query, after=after, limit=limit)

    def lease(self, lease: Lease) -> bool:
        if self.broken == "lease":
            super().lease(lease)
            return True
        if self.broken == "end":
            lease = evolve(lease, seconds=LONG)
        return super().lease(lease)

    def release(self, lease: Lease) -> None:
        if self.broken == "release":
            self._leases.pop(lease.name, None)
        super().release(lease)


@pytest.mark.slow
@rows(
    ("broken", "told"),
    [
        ("add", "the record that is there"),
        ("version", "save with an old version"),
        ("handoffs", "other hand-offs"),
        ("order", "in the order of their keys"),
        ("limit", "limit 7"),
        ("short", "a short page ends the search"),
        ("scope", "client_id='mine'"),
        ("item_id", "item_id='item'"),
        ("access_hash", "access_hash='hash'"),
        ("under_way", "under_way=True"),
        ("older_than", "older than an hour"),
        ("handoff", "handoff=<HandoffState.DONE"),
        ("lease", "a second owner"),
        ("release", "does not have it"),
    ],
)
def test_a_careless_store_does_not_pass(broken: str, told: str) -> None:
    """The test of any store says which promise is broken."""

    class Broken(_Careless):
        pass

    Broken.broken = broken
    with pytest.raises(AssertionError, match=re.escape(told)):
        check_store(Broken)


@pytest.mark.slow
def test_a_lease_that_never_ends_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead process has leased has to become free."""
    monkeypatch.setattr("plaid_processors.store.checks._PATIENCE", 1.0)
    monkeypatch.setattr(_Careless, "broken", "end")
    with pytest.raises(AssertionError, match="has ended, for another owner"):
        check_store(_Careless)


# Processes


_barrier: Any = None


def _meet(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _create_tables(url: str) -> None:
    with SqlStore(url, keys=[KEY]) as store:
        _barrier.wait()
        store.create_tables()


def _race(url: str, number: int) -> tuple[list[str], list[bool]]:
    """Add the same keys, count, and lease the same things; what came of it."""
    with SqlStore(url, keys=[KEY]) as store:
        _barrier.wait()
        owner = f"process-{number}"
        added = [store.add(record(each, client_user_id=owner)) for each in range(20)]
        leased = [
            store.lease(Lease(name=str(each), owner=owner, seconds=LONG)) for each in range(20)
        ]
        done = 0
        while done < 20:
            there = store.get(record("count").key)
            assert there is not None
            counted = str(int(there.reason or 0) + 1)
            handoff = Handoff(processor="finix", account_id=counted, state=HandoffState.DUE)
            saved = store.save(evolve(there, reason=counted, handoffs=(handoff,)))
            done += saved is not None
            if saved is not None:  # a record and its hand-offs are of one moment
                assert saved.handoffs[0].account_id == counted
            (seen,) = store.page(LinkQuery(client_user_id="counter"))
            assert seen.reason is None or [each.account_id for each in seen.handoffs] == [
                seen.reason
            ]
        return [each.client_user_id for each in added], leased


@pytest.fixture
def side_by_side() -> Iterator[Callable[..., list[Any]]]:
    """Runs a function in three new processes at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, context, _meet, (context.Barrier(3),)) as pool:
        yield lambda work, *values: list(pool.map(work, *values))


@pytest.mark.slow
@both_databases
def test_processes_create_the_tables_at_once(
    url: str, side_by_side: Callable[..., list[Any]]
) -> None:
    """Each may do so at its start, also on a new database."""
    side_by_side(_create_tables, [url] * 3)
    with SqlStore(url, keys=[KEY]) as store:
        store.create_tables()
        store.add(record(1))


@pytest.mark.slow
@both_databases
def test_processes_race(
    url: str, make_store: Callable[..., SqlStore], side_by_side: Callable[..., list[Any]]
) -> None:
    """Of each key one add wins and of each lease one owner; no change is lost."""
    store = make_store(url)
    store.add(record("count", client_user_id="counter"))
    added, leased = zip(*side_by_side(_race, [url] * 3, range(3)), strict=True)
    assert added[0] == added[1] == added[2]
    assert [sum(each) for each in zip(*leased, strict=True)] == [1] * 20
    counted = store.get(record("count").key)
    assert counted is not None
    assert (counted.reason, counted.version) == ("60", 61)


FORK = """
import faulthandler, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy import create_engine
from plaid_processors.store import LinkQuery, LinkRecord, SqlStore

url, key, given = sys.argv[1:]
patient = {"timeout": 60} if url.startswith("sqlite") else {}
database = create_engine(url, connect_args=patient) if given else url
store = SqlStore(database, keys=[key])
store.create_tables()

def add(number):
    store.add(LinkRecord(key=f"{number:04}", client_id="c", environment="sandbox",
                         client_user_id="u", state="started", sealed="s"))

def add_many(first):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(first, first + 40)))

add_many(0)
pool = store._database.engine.pool
while os.path.exists("/proc/self/task") and len(os.listdir("/proc/self/task")) > 1:
    time.sleep(0.001)  # a joined thread may still be ending, with a lock that a child would inherit
children = []
for child in range(1, 4):
    process = os.fork()
    if process == 0:
        status = 1
        faulthandler.dump_traceback_later(60, exit=True)  # whoever hangs says where
        try:
            add_many(100 * child)
            assert store._database.engine.pool is not pool
            if given:
                with database.connect() as connection:
                    connection.exec_driver_sql("SELECT 1")
            status = 0
        finally:
            os._exit(status)
    children.append(process)
faulthandler.dump_traceback_later(90, exit=True)
add_many(400)
assert store._database.engine.pool is pool
assert [os.waitpid(each, 0)[1] for each in children] == [0, 0, 0]
add_many(500)
print(len({each.key for each in store.page(LinkQuery(), limit=1000)}))
store.close()
"""


@pytest.mark.slow
@both_databases
@pytest.mark.parametrize("given", ["", "given"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_with_a_used_store(kind: str, given: str, url: str) -> None:
    """Parent and children go on with one store, each by connections of its own."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, url, KEY, given], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.returncode) == ("240\n", 0), done.stderr
    if kind == "sqlite":
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


# The database


def test_sqlite_files_are_set_up(
    tmp_path: Path, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """WAL, full synchronization and patience, on an Engine of its own; not on a given one."""
    pragmas = ("journal_mode", "synchronous", "busy_timeout")

    def settings(engine: Engine) -> list[Any]:
        with engine.connect() as connection:
            return [connection.exec_driver_sql(f"PRAGMA {each}").scalar() for each in pragmas]

    own = make_store(f"sqlite:///{tmp_path}/own.db")
    assert settings(own._database.engine) == ["wal", 2, 30_000]
    impatient = make_store(f"sqlite:///{tmp_path}/own.db?timeout=7")
    assert settings(impatient._database.engine)[2] == 7_000
    given = make_engine(f"sqlite:///{tmp_path}/given.db")
    before = settings(given)
    make_store(given).add(record(1))
    assert settings(given) == before


@both_databases
def test_nothing_stays_open_between_calls(
    kind: str,
    url: str,
    make_engine: Callable[..., Engine],
    make_store: Callable[..., SqlStore],
) -> None:
    """After each call all connections are back in the pool, outside of a transaction."""
    engine = make_engine(url, pool_size=1, max_overflow=0)
    store = make_store(engine)
    lease = Lease(name="work", owner="me", seconds=LONG)
    added = store.add(record(1))
    for call in (
        lambda: store.add(added),
        lambda: store.get(added.key),
        lambda: store.save(added),
        lambda: store.save(added),  # refused now
        lambda: store.page(LinkQuery()),
        lambda: store.lease(lease),
        lambda: store.lease(evolve(lease, owner="another")),
        lambda: store.release(lease),
        lambda: store.release(lease),
    ):
        call()
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        if kind == "pg":
            with make_engine(url).connect() as connection:
                statement = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
                assert connection.scalar(text(statement)) == 0
        else:
            with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0) as other:
                other.execute("BEGIN EXCLUSIVE")
            other.close()


@both_databases
def test_the_clock_is_the_databases(
    url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """No time of this machine's is sent: leases and ages hold on machines whose clocks differ."""
    engine = make_engine(url)
    store = make_store(engine)
    sent: list[object] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _u: object, _s: str, values: Any, _x: object, _many: bool) -> None:
        sent.extend(values.values() if isinstance(values, dict) else values)

    handoff = Handoff(processor="finix", account_id="a", state=HandoffState.DUE)
    added = store.add(record(1, handoffs=(handoff,)))
    changed = evolve(added.handoffs[0], state=HandoffState.DONE)
    store.save(evolve(added, handoffs=(changed,)))
    store.lease(Lease(name="work", owner="me", seconds=LONG))
    list(store.page(LinkQuery(older_than=5)))
    assert len(sent) > 20
    year = re.compile(r"\b20\d\d-")
    assert [each for each in sent if isinstance(each, datetime) or year.search(str(each))] == []


@both_databases
def test_columns_of_a_later_version_stay(
    url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """Columns that this version does not know are neither read nor wiped."""
    store = make_store(url)
    one = Handoff(processor="finix", account_id="a", state=HandoffState.DUE)
    added = store.add(record(1, handoffs=(one,)))
    engine = make_engine(url)
    with engine.begin() as connection:
        for table in ("plaid_links", "plaid_handoffs", "plaid_leases"):
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN later TEXT"))
            connection.execute(text(f"UPDATE {table} SET later = 'kept'"))
    changed = evolve(added.handoffs[0], state=HandoffState.DONE)
    saved = store.save(evolve(added, handoffs=(changed,), sealed="other"))
    assert saved == store.get(added.key)
    with engine.connect() as connection:
        for table in ("plaid_links", "plaid_handoffs"):
            assert connection.scalar(text(f"SELECT later FROM {table}")) == "kept"


@both_databases
def test_a_missing_index_is_created(
    url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """Where a later version has added one, or a process was killed between table and index."""
    store = make_store(url)
    with make_engine(url).begin() as connection:
        connection.execute(text("DROP INDEX plaid_links_item_id"))
    store.create_tables()
    with make_engine(url).begin() as connection:
        connection.execute(text("DROP INDEX plaid_links_item_id"))  # it is there again


def test_metadata_for_alembic() -> None:
    """All tables are in `metadata`, with the schema and the names that were asked for."""
    store = SqlStore("postgresql+psycopg://127.0.0.1:1/none", keys=[KEY], schema="a", prefix="b_")
    assert isinstance(store.metadata, MetaData)
    assert set(store.metadata.tables) == {"a.b_links", "a.b_handoffs", "a.b_leases"}
    assert {each.name for each in store.metadata.tables["a.b_links"].indexes} == {
        f"b_links_{each}"
        for each in ("access_hash", "client_user_id", "item_id", "state", "under_way")
    }
    plain = SqlStore("sqlite://", keys=[KEY])
    assert set(plain.metadata.tables) == {"plaid_links", "plaid_handoffs", "plaid_leases"}


@needs_server
def test_the_clock_of_a_session_elsewhere(
    postgres_url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """Times come out in UTC, whatever the time zone of the database's sessions."""
    with make_engine(postgres_url).begin() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Asia/Kathmandu'"))
    added = make_store(postgres_url).add(record(1))
    assert added.updated_at is not None
    assert str(added.updated_at.tzinfo) == "UTC"


# What is refused


@rows(
    ("database", "told"),
    [
        ("postgresql+asyncpg://u:s3cr3t-@h/d", "postgresql+psycopg://…"),
        ("postgresql+psycopg_async://u:s3cr3t-@h/d", "postgresql+psycopg://…"),
        ("sqlite+aiosqlite:///links.db", "sqlite:///…"),
        ("mysql+pymysql://u:s3cr3t-@h/d", "not with mysql"),
        ("oracle://u:s3cr3t-@h/d", "not with oracle"),
        ("postgres://u:s3cr3t-@h/d", "not with postgres"),
        ("nonsense://u:s3cr3t-@h/d", "not with nonsense"),
        ("postgresql+nonsense://u:s3cr3t-@h/d", 'pip install "psycopg[binary]"'),
        ("postgresql+pg8000://u:s3cr3t-@h/d", 'pip install "psycopg[binary]"'),
        ("", "database is no URL"),
        ("links.db", "database is no URL"),
        ("s3cr3t-:s3cr3t-@h", "database is no URL"),
        ("postgresql://u:s3c@r3t-@h/d", "@ is written %40"),
        ("postgresql://u:s3cr3t-@h:s3cr3t-/d", "database is no URL"),
        ("postgresql://u:@s3cr3t-:s3cr3t-@h/d", "database is no URL"),
    ],
)
def test_an_unusable_url(database: str, told: str) -> None:
    """It says what to write instead, and shows no password."""
    with pytest.raises(ConfigurationError, match=re.escape(told)) as caught:
        SqlStore(database, keys=[KEY])
    assert "r3t" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_unusable_engine(tmp_path: Path, make_engine: Callable[..., Engine]) -> None:
    """An asynchronous one, or one with which threads would share a transaction."""
    from sqlalchemy.ext.asyncio import create_async_engine

    asynchronous = create_async_engine("postgresql+psycopg://u:s3cr3t@h/d")
    for engine in (asynchronous, asynchronous.sync_engine):
        with pytest.raises(ConfigurationError, match=re.escape("postgresql+psycopg://…")):
            SqlStore(engine, keys=[KEY])  # type: ignore[arg-type]
    shared = make_engine(f"sqlite:///{tmp_path}/links.db", poolclass=StaticPool)
    for engine in (make_engine("sqlite://"), shared):
        with pytest.raises(ConfigurationError, match="one connection for all threads"):
            SqlStore(engine, keys=[KEY])


@rows("database", [None, 5, Path("links.db"), object()])
def test_what_is_no_database(database: Any) -> None:
    """What is neither a URL nor an Engine is a TypeError."""
    with pytest.raises(TypeError, match="must be a URL or an SQLAlchemy Engine"):
        SqlStore(database, keys=[KEY])


def test_one_of_keys_and_cipher() -> None:
    """What encrypts has to be given, once."""
    for options in ({}, {"keys": [KEY], "cipher": FernetCipher([KEY])}):
        with pytest.raises(ConfigurationError, match="pass keys= or cipher=, one of them"):
            SqlStore("sqlite://", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="keys is empty"):
        SqlStore("sqlite://", keys=[])


@pytest.mark.slow
@rows(
    ("missing", "call", "told"),
    [
        ("sqlalchemy", "store.SqlStore('sqlite://', cipher=object())", "SqlStore needs SQLAlchemy"),
        ("cryptography", "store.FernetCipher(['k'])", "FernetCipher needs cryptography"),
        ("cryptography", "store.MemoryStore()", "FernetCipher needs cryptography"),
        ("psycopg", "store.SqlStore('postgresql+psycopg://h/d', cipher=object())", "psycopg[bin"),
        ("psycopg2", "store.SqlStore('postgresql+psycopg2://h/d', cipher=object())", "psycopg[bin"),
    ],
)
def test_what_is_not_installed(missing: str, call: str, told: str) -> None:
    """Package and store are imported without the extra; what needs it says how to get it."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
import plaid_processors
from plaid_processors import store
assert not {{"sqlalchemy", "cryptography", "psycopg"}} & {{*sys.modules}} - {{{missing!r}}}
store.MemoryStore(cipher=object())
try:
    {call}
except plaid_processors.ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told in done.stdout, done.stderr
    assert "pip install" in done.stdout


# Secrets


@pytest.fixture
def linked(local_plaid: LocalSandbox) -> Callable[[LinkStore], list[str]]:
    """Links a bank with a store; what must not show: tokens, public tokens, the key, names."""

    def link(store: LinkStore) -> list[str]:
        with ProcessorLinker(local_plaid.client(), store=store) as linker:
            secrets = [KEY]
            for partner in ("layer", "finix"):
                token = linker.create_link_token(
                    partner, client_user_id="user-42", client_name="Acme"
                )
                done: Linked = local_plaid.complete_link(token.link_token, masks=["0000"])
                result = linker.link(
                    partner,
                    public_token=done.public_token,
                    metadata=done.metadata,
                    client_user_id="user-42",
                )
                tokens = [each.processor_token for each in result.processor_tokens]
                names = [each.account.name for each in result.processor_tokens]
                secrets += [done.public_token, result.access_token, *tokens, *filter(None, names)]
        assert len(secrets) >= 9
        return secrets

    return link


def _in_clear(store: SqlStore, engine: Engine) -> list[str]:
    """All texts of the tables that are not encrypted or hashed."""
    hashed = {"key", "link_key", "access_hash", "sealed", "sealed_by", "fingerprint"}
    with engine.connect() as connection:
        return [
            value
            for table in store.metadata.sorted_tables
            for row in connection.execute(select(table)).mappings()
            for name, value in row.items()
            if isinstance(value, str) and name not in hashed
        ]


@both_databases
def test_nothing_secret_is_stored_or_logged(
    kind: str,
    url: str,
    linked: Callable[[LinkStore], list[str]],
    make_engine: Callable[..., Engine],
    make_store: Callable[..., SqlStore],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """No token, key, name or number of an account, in the files, the tables and the logs."""
    caplog.set_level(logging.DEBUG)
    engine = make_engine(url, echo="debug")
    store = make_store(engine)
    secrets = linked(store)
    if kind == "sqlite":
        files = sorted(Path(url.removeprefix("sqlite:///")).parent.glob("links.db*"))
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        postgres.execute("CHECKPOINT")
        files = [each for each in postgres.data.rglob("*") if each.is_file()]
    stored = b"".join(each.read_bytes() for each in files)
    shown = "\n".join((*map(str, capfd.readouterr()), caplog.text))
    assert b"user-42" in stored
    assert "INSERT INTO plaid_links" in shown
    for secret in secrets:
        assert secret.encode() not in stored
        assert secret not in shown
    texts = _in_clear(store, engine)
    assert len(texts) > 10
    (account, *_) = next(store.links(processor="finix")).result.processor_tokens  # type: ignore[union-attr]
    mask = account.account.mask
    assert mask
    assert [each for each in texts if mask in each] == []


def test_nothing_secret_is_in_sqlites_files_while_they_are_open(
    tmp_path: Path,
    linked: Callable[[LinkStore], list[str]],
    make_store: Callable[..., SqlStore],
) -> None:
    """Nor in the -wal and -shm of an Engine of the store's own."""
    store = make_store(f"sqlite:///{tmp_path}/links.db")
    secrets = linked(store)
    names = ("links.db", "links.db-wal", "links.db-shm")
    stored = b"".join((tmp_path / each).read_bytes() for each in names)
    assert b"user-42" in stored
    assert [each for each in secrets if each.encode() in stored] == []


@both_databases
def test_an_error_of_the_database_shows_no_values(
    url: str, make_engine: Callable[..., Engine], make_store: Callable[..., SqlStore]
) -> None:
    """On an Engine of the store's own, its exceptions hide what was sent."""
    store = make_store(url)
    with make_engine(url).begin() as connection:
        connection.execute(text("DROP TABLE plaid_handoffs"))
        connection.execute(text("DROP TABLE plaid_links"))
    with pytest.raises(Exception, match="plaid_links") as caught:
        store.add(record(1, sealed="what is sealed"))
    assert "what is sealed" not in str(caught.value)
