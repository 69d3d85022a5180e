"""A store in memory, for tests."""

from __future__ import annotations

import base64
import os
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

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
        with self._lock:
            return self._records.setdefault(record.key, record.saved(None, datetime.now(UTC)))

    @override
    def get(self, key: str) -> LinkRecord | None:
        return self._records.get(key)

    @override
    def save(self, record: LinkRecord) -> LinkRecord | None:
        with self._lock:
            before = self._records.get(record.key)
            if before is None or before.version != record.version:
                return None
            self._records[record.key] = saved = record.saved(before, datetime.now(UTC))
            return saved

    @override
    def page(
        self, query: LinkQuery, *, after: str = "", limit: int = MOST_IN_A_PAGE
    ) -> Sequence[LinkRecord]:
        with self._lock:
            listed = sorted(self._records.items())
        fitting = [record for key, record in listed if key > after and query.fits(record)]
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
