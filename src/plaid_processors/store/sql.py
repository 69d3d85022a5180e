"""A store in a database: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from typing_extensions import override

from ..errors import ConfigurationError
from .base import Store
from .cipher import FernetCipher
from .records import MOST_IN_A_PAGE, Cipher, Lease, LinkQuery, LinkRecord

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine, MetaData


class SqlStore(Store):
    """Keeps links in SQLite or PostgreSQL, by SQLAlchemy: ``plaid-processors[store]``.

    One may serve many threads and several linkers, and its process may fork. It blocks;
    `AsyncProcessorLinker` runs it on threads. No transaction is open between two of its calls.
    Times and leases go by the database's clock. See docs/store.md.
    """

    def __init__(
        self,
        database: str | URL | Engine,
        *,
        keys: Iterable[str | bytes] | None = None,
        cipher: Cipher | None = None,
        schema: str | None = None,
        prefix: str = "plaid_",
    ) -> None:
        """Set it up; it connects when it is first used.

        For a URL it makes an Engine of its own. On SQLite that uses WAL and
        ``synchronous=FULL``, and waits 30 seconds for its turn; on PostgreSQL it has 10 connections
        at most, needs no state of a session (so PgBouncer may pool transactions), and waits 10
        seconds for a connection. Options in the URL's query come first. A given Engine keeps its
        settings, but for the isolation of the store's transactions, which is READ COMMITTED, or on
        SQLite SERIALIZABLE. In a child process the Engine is disposed of right after the fork,
        without closing its parent's connections.

        Args:
            database: the URL of the database, such as ``sqlite:///links.db`` or
                ``postgresql+psycopg://user:password@host/name``, or an SQLAlchemy Engine.
                ``sqlite://``, in memory, is for tests.
            keys: Fernet keys, the newest first: `FernetCipher`.
            cipher: encrypts in place of Fernet.
            schema: the schema of its tables, which must be there; by default the database's own.
            prefix: what the names of its tables begin with.

        Raises:
            ConfigurationError: not exactly one of keys and cipher is given; a key is malformed; the
                URL is malformed, or of an asynchronous driver, or of another database than these
                two; a driver or SQLAlchemy is missing.
            TypeError: database is something else.
        """
        if (keys is None) == (cipher is None):
            raise ConfigurationError("pass keys= or cipher=, one of them")
        super().__init__(FernetCipher(keys or ()) if cipher is None else cipher)
        try:
            from .database import Database
        except ModuleNotFoundError:
            raise ConfigurationError(
                'SqlStore needs SQLAlchemy: pip install "plaid-processors[store]"'
            ) from None
        self._database = Database(database, schema=schema, prefix=prefix)

    @property
    def metadata(self) -> MetaData:
        """The tables, for Alembic: ``target_metadata = [Base.metadata, store.metadata]``."""
        return self._database.metadata

    def create_tables(self) -> None:
        """Create the tables and indexes that are missing; several processes may do so at once."""
        self._database.create_tables()

    def close(self) -> None:
        """Close its connections; those of a given Engine stay open. It can still be used."""
        if self._database.owned:
            self._database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @override
    def add(self, record: LinkRecord) -> LinkRecord:
        return self._database.add(record)

    @override
    def get(self, key: str) -> LinkRecord | None:
        return self._database.get(key)

    @override
    def save(self, record: LinkRecord) -> LinkRecord | None:
        return self._database.save(record)

    @override
    def page(
        self, query: LinkQuery, *, after: str = "", limit: int = MOST_IN_A_PAGE
    ) -> Sequence[LinkRecord]:
        return self._database.page(query, after, limit)

    @override
    def lease(self, lease: Lease) -> bool:
        return self._database.lease(lease)

    @override
    def release(self, lease: Lease) -> None:
        self._database.release(lease)
