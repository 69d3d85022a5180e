"""A store in memory, for tests."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from typing_extensions import override

from .base import Store
from .cipher import FernetCipher
from .records import (
    MOST_IN_A_PAGE,
    Cipher,
    Lease,
    LinkQuery,
    LinkRecord,
)


class MemoryStore(Store):
    """Keeps links as long as the process lives: for tests, and to see what a store keeps."""

    def __init__(
        self, *, keys: Iterable[str | bytes] | None = None, cipher: Cipher | None = None
    ) -> None:
        """Set it up; it is empty.

        Args:
            keys: Fernet keys; by default a random one.
            cipher: encrypts in place of Fernet.
        """
        random = [base64.urlsafe_b64encode(os.urandom(32))]
        super().__init__(cipher or FernetCipher(random if keys is None else keys))
        self._lock = threading.Lock()
        self._records: dict[str, LinkRecord] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    @override
    def add(self, record: LinkRecord) -> LinkRecord:
        now = datetime.now(UTC)
        with self._lock:
            new = _stamped(evolve(record, version=1, created_at=now), None, now)
            return self._records.setdefault(record.key, new)

    @override
    def get(self, key: str) -> LinkRecord | None:
        return self._records.get(key)

    @override
    def save(self, record: LinkRecord) -> LinkRecord | None:
        with self._lock:
            before = self._records.get(record.key)
            if before is None or before.version != record.version:
                return None
            saved = _stamped(record, before, datetime.now(UTC))
            saved = evolve(saved, version=record.version + 1, created_at=before.created_at)
            self._records[record.key] = saved
            return saved

    @override
    def page(
        self, query: LinkQuery, *, after: str = "", limit: int = MOST_IN_A_PAGE
    ) -> Sequence[LinkRecord]:
        with self._lock:
            listed = sorted(self._records.items())
        fitting = [record for key, record in listed if key > after and _fits(query, record)]
        return fitting[:limit]

    @override
    def lease(self, lease: Lease) -> bool:
        now = time.monotonic()
        with self._lock:
            owner, end = self._leases.get(lease.name, (lease.owner, 0.0))
            if owner != lease.owner and end > now:
                return False
            self._leases[lease.name] = lease.owner, now + lease.seconds
            return True

    @override
    def release(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.name, ("", 0.0))[0] == lease.owner:
                del self._leases[lease.name]


def _stamped(record: LinkRecord, before: LinkRecord | None, now: datetime) -> LinkRecord:
    """The record with the time of this change, on it and on the hand-offs that were changed."""
    known: dict[Any, Any] = {} if before is None else {each.key: each for each in before.handoffs}
    handoffs = tuple(
        each if each == known.get(each.key) else evolve(each, updated_at=now)
        for each in record.handoffs
    )
    return evolve(record, handoffs=handoffs, updated_at=now)


def _fits(query: LinkQuery, record: LinkRecord) -> bool:
    handoffs = [
        each.state
        for each in record.handoffs
        if query.processor is None or each.processor == query.processor
    ]
    age = 0.0 if record.updated_at is None else time.time() - record.updated_at.timestamp()
    return (
        query.client_id in (None, record.client_id or query.client_id)
        and query.environment in (None, record.environment)
        and query.client_user_id in (None, record.client_user_id)
        and query.item_id in (None, record.item_id)
        and query.access_hash in (None, record.access_hash)
        and (query.states is None or record.state in query.states)
        and (query.processor is None or query.processor in record.processors)
        and query.without_processor not in record.processors
        and (query.handoff is None or query.handoff in handoffs)
        and query.under_way in (None, record.under_way)
        and (query.older_than is None or age > query.older_than)
        and (query.not_sealed_by is None or record.sealed_by != query.not_sealed_by)
    )
