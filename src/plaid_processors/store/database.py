"""The tables of `SqlStore` and its statements, for SQLite and PostgreSQL alike.

Each method is one transaction. It begins with what it writes, so that SQLite waits for its turn
there, and reads in one SELECT, which sees one moment.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet, finalize

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    QueuePool,
    StaticPool,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..errors import ConfigurationError
from .records import Handoff, Lease, LinkQuery, LinkRecord

_TIME: DateTime = DateTime(timezone=True)

_LINK = (
    "key client_id environment client_user_id state under_way item_id institution_id access_hash "
    "processors reason sealed sealed_by version created_at updated_at"
).split()
_HANDOFF = "processor account_id state reference target fingerprint before error updated_at".split()

_ISOLATION = {"postgresql": "READ COMMITTED", "sqlite": "SERIALIZABLE"}
"""A given Engine may have another, with which the statements would not wait for each other."""

_SYNCHRONOUS = {"postgresql": "postgresql+psycopg://…", "sqlite": "sqlite:///…"}

_CONNECT: dict[str, dict[str, Any]] = {
    # Without prepared statements, which a session of PgBouncer's may not have.
    "psycopg": {"connect_timeout": 10, "prepare_threshold": None},
    "psycopg2": {"connect_timeout": 10},
    "pysqlite": {"timeout": 30},
}
"""How each driver connects; times in seconds."""

_SWITCH_WITHIN = 30
"""Seconds in which a file has to be switched to WAL."""

_databases: WeakSet[Database] = WeakSet()


class Database:
    """The tables, in one database.

    Attributes:
        metadata: the tables.
        owned: whether the Engine was made here.
        engine: the Engine.
    """

    def __init__(self, database: str | URL | Engine, *, schema: str | None, prefix: str) -> None:
        self.owned = not isinstance(database, Engine)
        self.engine = _checked(database) if isinstance(database, Engine) else _make(database)
        name = self.engine.dialect.name
        self._sqlite = name == "sqlite"
        self._insert = sqlite.insert if self._sqlite else postgresql.insert
        self._at_work = self.engine.execution_options(
            isolation_level=_ISOLATION[name],
            preserve_rowcount=True,  # of an INSERT, whether there was one
        )
        self.metadata = MetaData(schema=schema)
        self._links = _links(self.metadata, prefix)
        self._handoffs = _handoffs(self.metadata, prefix, self._links)
        self._leases = Table(
            f"{prefix}leases",
            self.metadata,
            Column("name", Text, primary_key=True),
            Column("owner", Text, nullable=False),
            Column("ends_at", _TIME, nullable=False),
        )
        _databases.add(self)
        if self.owned:  # Python 3.13 warns of connections that are open when they are collected
            finalize(self, self.engine.dispose).atexit = False

    def create_tables(self) -> None:
        tables = self.metadata.sorted_tables
        indexes = [index for table in tables for index in table.indexes]
        tries = len(tables) + len(indexes) + 1
        with self._at_work.connect() as connection:
            for left in reversed(range(tries)):
                try:
                    with connection.begin():
                        self.metadata.create_all(connection)
                        for index in indexes:  # such as one that a later version has added
                            index.create(connection, checkfirst=True)
                except DBAPIError:  # another process may have been quicker with one of them
                    if not left:
                        raise
                else:
                    return

    def add(self, record: LinkRecord) -> LinkRecord:
        now = self._now()
        values = {**_link_values(record), "version": 1, "created_at": now, "updated_at": now}
        statement = self._insert(self._links).values(values).on_conflict_do_nothing()
        with self._at_work.begin() as connection:
            if connection.execute(statement).rowcount:
                self._keep_handoffs(connection, record, ())
            (there,) = self._read(connection, self._links.c.key == record.key)
        return there

    def get(self, key: str) -> LinkRecord | None:
        with self._at_work.connect() as connection:
            return next(iter(self._read(connection, self._links.c.key == key)), None)

    def save(self, record: LinkRecord) -> LinkRecord | None:
        links = self._links
        version = record.version + 1
        values = {**_link_values(record), "version": version, "updated_at": self._now()}
        statement = update(links).where(
            links.c.key == record.key, links.c.version == record.version
        )
        with self._at_work.begin() as connection:
            if not connection.execute(statement.values(values)).rowcount:
                return None
            (there,) = self._read(connection, links.c.key == record.key)
            self._keep_handoffs(connection, record, there.handoffs)
            (there,) = self._read(connection, links.c.key == record.key)
        return there

    def page(self, query: LinkQuery, after: str, limit: int) -> Sequence[LinkRecord]:
        where = self._where(query)
        with self._at_work.connect() as connection:
            return self._read(connection, self._links.c.key > after, *where, limit=limit)

    def lease(self, lease: Lease) -> bool:
        leases = self._leases
        new = self._insert(leases).values(
            name=lease.name, owner=lease.owner, ends_at=self._now(lease.seconds)
        )
        free = (leases.c.ends_at <= self._now()) | (leases.c.owner == new.excluded.owner)
        statement = new.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"owner": new.excluded.owner, "ends_at": new.excluded.ends_at},
            where=free,
        )
        with self._at_work.begin() as connection:
            return connection.execute(statement).rowcount > 0

    def release(self, lease: Lease) -> None:
        leases = self._leases
        mine = leases.c.name == lease.name, leases.c.owner == lease.owner
        with self._at_work.begin() as connection:
            connection.execute(delete(leases).where(*mine))

    def _now(self, seconds: float = 0.0) -> ColumnElement[datetime]:
        """The time by the database's clock, so many seconds from now."""
        if self._sqlite:  # in the form in which SQLAlchemy stores times there
            form = "%Y-%m-%d %H:%M:%f000"
            return func.strftime(form, "now", f"{seconds:+.3f} seconds", type_=_TIME)
        return func.clock_timestamp(type_=_TIME) + timedelta(seconds=seconds)

    def _read(
        self, connection: Connection, *where: ColumnElement[bool], limit: int | None = None
    ) -> list[LinkRecord]:
        links, handoffs = self._links, self._handoffs
        page = select(links).where(*where).order_by(links.c.key).limit(limit).subquery()
        statement = (
            select(page, *(handoffs.c[name] for name in _HANDOFF))
            .outerjoin(handoffs, handoffs.c.link_key == page.c.key)
            .order_by(page.c.key, handoffs.c.position)
        )
        found: dict[str, tuple[dict[str, Any], list[Handoff]]] = {}
        for row in connection.execute(statement):
            link = dict(zip(_LINK, row, strict=False))
            handoff = dict(zip(_HANDOFF, row[len(_LINK) :], strict=True))
            _, known = found.setdefault(link["key"], (link, []))
            if handoff["processor"] is not None:
                known.append(_handoff(handoff))
        return [_record(link, known) for link, known in found.values()]

    def _keep_handoffs(
        self, connection: Connection, record: LinkRecord, before: Sequence[Handoff]
    ) -> None:
        """Store a link's hand-offs; the time of one that has not changed stays."""
        table = self._handoffs
        known = {each.key: each for each in before}
        for position, each in enumerate(record.handoffs):
            was = known.pop(each.key, None)
            if was == each and [*before[position : position + 1]] == [was]:
                continue
            values: dict[str, Any] = {name: getattr(each, name) for name in _HANDOFF}
            values |= {
                "state": each.state.value,
                "before": None if each.before is None else json.dumps(each.before),
                "position": position,
                "updated_at": each.updated_at if was == each else self._now(),
            }
            key = {"link_key": record.key, **{name: values.pop(name) for name in _HANDOFF[:2]}}
            # Not deleted and inserted: a later version of the package may have added a column.
            statement = self._insert(table).values(**key, **values)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=table.primary_key.columns,
                    set_={name: statement.excluded[name] for name in values},
                )
            )
        for gone in known.values():
            connection.execute(
                delete(table).where(
                    table.c.link_key == record.key,
                    table.c.processor == gone.processor,
                    table.c.account_id == gone.account_id,
                )
            )

    def _where(self, query: LinkQuery) -> list[ColumnElement[bool]]:
        link, handoff = self._links.c, self._handoffs.c
        where = [
            link[name] == getattr(query, name)
            for name in ("environment", "client_user_id", "item_id", "access_hash", "under_way")
            if getattr(query, name) is not None
        ]
        if query.client_id is not None:
            where.append(link.client_id.in_((query.client_id, "")))
        if query.states is not None:
            where.append(link.state.in_([str(each) for each in query.states]))
        if query.processor is not None:
            where.append(self._names(query.processor) > 0)
        if query.without_processor is not None:
            where.append(self._names(query.without_processor) == 0)
        if query.handoff is not None:
            sent = select(handoff.link_key).where(handoff.state == str(query.handoff))
            if query.processor is not None:
                sent = sent.where(handoff.processor == query.processor)
            where.append(link.key.in_(sent))
        if query.older_than is not None:
            where.append(link.updated_at < self._now(-query.older_than))
        if query.not_sealed_by is not None:
            where.append(link.sealed_by.is_distinct_from(query.not_sealed_by))
        return where

    def _names(self, processor: str) -> ColumnElement[int]:
        """Where the list of a link's partners names this one; 0: nowhere."""
        find = func.instr if self._sqlite else func.strpos
        return find(self._links.c.processors, json.dumps(processor), type_=Integer)


def _links(metadata: MetaData, prefix: str) -> Table:
    # An index for each thing of which few links have the same. What many share, such as a partner,
    # is looked for page by page in the order of the keys.
    searched = ("client_user_id", "item_id", "access_hash", "state", "under_way")
    return Table(
        f"{prefix}links",
        metadata,
        Column("key", Text, primary_key=True),
        Column("client_id", Text, nullable=False),
        Column("environment", Text, nullable=False),
        Column("client_user_id", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("under_way", Boolean, nullable=False),
        Column("item_id", Text),
        Column("institution_id", Text),
        Column("access_hash", Text),
        # A list in JSON: it keeps its order, and is only searched together with other things.
        Column("processors", Text, nullable=False),
        Column("reason", Text),
        Column("sealed", Text, nullable=False),
        Column("sealed_by", Text),
        Column("version", Integer, nullable=False),
        Column("created_at", _TIME, nullable=False),
        Column("updated_at", _TIME, nullable=False),
        *(Index(f"{prefix}links_{name}", name, "key") for name in searched),
    )


def _handoffs(metadata: MetaData, prefix: str, links: Table) -> Table:
    return Table(
        f"{prefix}handoffs",
        metadata,
        Column("link_key", ForeignKey(links.c.key, ondelete="CASCADE"), primary_key=True),
        Column("processor", Text, primary_key=True),
        Column("account_id", Text, primary_key=True),
        Column("position", Integer, nullable=False),
        Column("state", Text, nullable=False),
        Column("reference", Text),
        Column("target", Text),
        Column("fingerprint", Text),
        Column("before", Text),
        Column("error", Text),
        Column("updated_at", _TIME, nullable=False),
        Index(f"{prefix}handoffs_state", "state", "processor"),
    )


def _link_values(record: LinkRecord) -> dict[str, Any]:
    """The columns of a link; not those that only the store sets."""
    values = {name: getattr(record, name) for name in _LINK[:-3]}
    processors = json.dumps(record.processors)
    return {**values, "state": record.state.value, "processors": processors}


def _record(link: dict[str, Any], handoffs: Sequence[Handoff]) -> LinkRecord:
    times = {name: _utc(link[name]) for name in ("created_at", "updated_at")}
    processors = tuple(json.loads(link["processors"]))
    return LinkRecord(**{**link, **times, "processors": processors, "handoffs": tuple(handoffs)})


def _handoff(row: dict[str, Any]) -> Handoff:
    before = row["before"] and tuple(json.loads(row["before"]))
    return Handoff(**{**row, "before": before, "updated_at": _utc(row["updated_at"])})


def _utc(time: datetime) -> datetime:
    """SQLite's times have no zone, and PostgreSQL's have the session's."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _checked(engine: Engine) -> Engine:
    """An Engine of the user's."""
    _check_dialect(engine.dialect.name, engine.dialect.is_async)
    if isinstance(engine.pool, StaticPool) or _in_memory(engine.url):
        raise ConfigurationError(
            "this Engine has one connection for all threads, or a database for each: pass the URL "
            "sqlite:// for a database in memory, or a MemoryStore in place of SqlStore"
        )
    return engine


def _make(database: object) -> Engine:
    """An Engine for a URL. No error shows the URL, which may hold a password."""
    if not isinstance(database, str | URL):
        if hasattr(database, "sync_engine"):
            _check_dialect(database.sync_engine.dialect.name, is_async=True)
        kind = type(database).__name__
        raise TypeError(f"database must be a URL or an SQLAlchemy Engine, not {kind}")
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or ""):
        raise ConfigurationError(
            "database is no URL such as sqlite:///links.db or "
            "postgresql+psycopg://user:password@host/name; in a password, @ is written %40, / is "
            "%2F and : is %3A"
        )
    name = url.get_backend_name()
    _check_dialect(name)
    try:
        _check_dialect(name, is_async=url.get_dialect().is_async)
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, **_options(url))
    except (ImportError, ArgumentError):
        raise ConfigurationError(
            f"the driver {url.drivername} is not there: for PostgreSQL, pip install "
            '"psycopg[binary]" and begin the URL with postgresql+psycopg://; SQLite\'s is part of '
            "Python, and its URL begins with sqlite://"
        ) from None
    if name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "invalidate", _roll_back)
    return engine


def _options(url: URL) -> dict[str, Any]:
    given = _CONNECT.get(url.get_dialect().driver, {})
    connect = {name: value for name, value in given.items() if name not in url.query}
    if _in_memory(url):  # one connection, for which threads wait
        connect["check_same_thread"] = False
        return {
            "poolclass": QueuePool,
            "pool_size": 1,
            "max_overflow": 0,
            "connect_args": connect,
        }
    return {"poolclass": QueuePool, "pool_size": 5, "max_overflow": 5, "connect_args": connect}


def _check_dialect(name: str, is_async: bool = False) -> None:
    if name not in _SYNCHRONOUS:
        raise ConfigurationError(
            f"SqlStore works with SQLite (sqlite:///…) and PostgreSQL (postgresql+psycopg://…), "
            f"not with {name}"
        )
    if is_async:
        raise ConfigurationError(
            "SqlStore needs the synchronous driver, also for AsyncProcessorLinker, which runs it "
            f"on threads: pass the URL {_SYNCHRONOUS[name]}"
        )


def _in_memory(url: URL) -> bool:
    if url.get_backend_name() != "sqlite":
        return False
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory"


def _roll_back(connection: Any, *_: object) -> None:
    """SQLAlchemy drops a connection that Ctrl-C has struck: what it has begun must not go on.

    SQLite would keep the file locked for as long as the exception's frames hold a cursor of it.
    """
    with suppress(sqlite3.Error):
        connection.rollback()


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for a writer, and what is committed survives a loss of power."""
    end = monotonic() + _SWITCH_WITHIN
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # A new file is switched by one process alone, and SQLite does not wait for its turn.
            if monotonic() > end:
                raise
            sleep(0.02)
        else:
            break
    connection.execute("PRAGMA synchronous=FULL")


def _leave_connections() -> None:
    """In a child process: its parent's connections are not its own, and stay open."""
    for each in _databases:
        each.engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_connections)
