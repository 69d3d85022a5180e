"""Where links are kept, so that nothing is lost and nothing is done twice: docs/store.md.

`SqlStore` and `FernetCipher` need ``plaid-processors[store]``.
"""

from __future__ import annotations

from .base import Store
from .checks import check_store
from .cipher import FernetCipher
from .memory import MemoryStore
from .records import (
    Cipher,
    Handoff,
    HandoffState,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    LinkStore,
    RecoveredLink,
    RecoveryReport,
    StoredLink,
)
from .sql import SqlStore

__all__ = [
    "Cipher",
    "FernetCipher",
    "Handoff",
    "HandoffState",
    "Lease",
    "LinkQuery",
    "LinkRecord",
    "LinkState",
    "LinkStore",
    "MemoryStore",
    "RecoveredLink",
    "RecoveryReport",
    "SqlStore",
    "Store",
    "StoredLink",
    "check_store",
]
