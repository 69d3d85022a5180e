"""`FernetCipher`, alone and under a store: keys, contexts, and rows in another row's place."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from plaid_processors import ConfigurationError, PlaidProcessorsError, ProcessorLinker
from plaid_processors.errors import DecryptionError
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import Cipher, FernetCipher, MemoryStore, SqlStore, StoredLink

from .support.rows import rows

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a database."""
    return tmp_path / "links.db"


@pytest.fixture
def make_store(path: Path) -> Iterator[Callable[..., SqlStore]]:
    """Makes stores on this file, with the keys that are given."""
    with ExitStack() as stack:

        def make(*keys: str, cipher: Cipher | None = None) -> SqlStore:
            given = keys or None
            store = SqlStore(f"sqlite:///{path}", keys=given, cipher=cipher)
            store.create_tables()
            return stack.enter_context(store)

        yield make


@pytest.fixture
def link(local_plaid: LocalSandbox) -> Callable[..., str]:
    """Links a bank for a user, with a store; the Item's id."""

    def go(store: SqlStore, user: str = "user-42") -> str:
        with ProcessorLinker(local_plaid.client(), store=store) as linker:
            result = linker.link_sandbox("layer", client_user_id=user)
        assert result.item_id is not None
        return result.item_id

    return go


def found(store: SqlStore, item_id: str) -> StoredLink:
    """The link, which is there and can be read."""
    link = store.find(item_id)
    assert link is not None
    assert link.result is not None
    assert link.result.access_token.startswith("access-sandbox-")
    return link


def sql(path: Path, statement: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def test_what_it_encrypts() -> None:
    """Any bytes, in any context, and never twice the same."""
    cipher = FernetCipher([NEW])
    for data in (b"", b"secret", bytes(range(256)), b"x" * 100_000):
        for context in (b"", b"context", bytes(range(256))):
            sealed = cipher.encrypt(data, context)
            assert cipher.decrypt(sealed, context) == data
            assert sealed != cipher.encrypt(data, context)
            assert not data or data not in sealed
            for other in (b"other", context + b"\0", context[1:] + b"!"):
                with pytest.raises(DecryptionError, match="another one's place"):
                    cipher.decrypt(sealed, other)


def test_what_was_changed_is_not_decrypted() -> None:
    """No byte can be changed, left out or added; nor is another's Fernet token taken."""
    cipher = FernetCipher([NEW])
    sealed = cipher.encrypt(b"secret", b"context")
    changed = [
        sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))
    ]
    foreign = base64.urlsafe_b64decode(Fernet(NEW).encrypt(b"secret"))
    for each in (*changed, sealed[:-1], sealed + b"\0", b"", b"nonsense", foreign):
        with pytest.raises(DecryptionError, match="a stored link cannot be read"):
            cipher.decrypt(each, b"context")


def test_all_keys_read_and_the_first_writes() -> None:
    """A new key goes first, with the old one behind it."""
    before = FernetCipher([OLD]).encrypt(b"secret", b"context")
    both = FernetCipher([NEW, OLD])
    assert both.decrypt(before, b"context") == b"secret"
    now = both.encrypt(b"secret", b"context")
    assert FernetCipher([NEW]).decrypt(now, b"context") == b"secret"
    with pytest.raises(DecryptionError, match="none of the keys fits"):
        FernetCipher([OLD]).decrypt(now, b"context")


def test_its_name_is_that_of_the_first_key() -> None:
    """However the key is written; it does not show the key."""
    name = FernetCipher([NEW]).key_id
    for keys in ([NEW, OLD], [NEW.encode()], (each for each in (NEW,)), [f" {NEW}\n"]):
        assert FernetCipher(keys).key_id == name
    assert FernetCipher([OLD, NEW]).key_id != name
    assert name not in NEW
    assert NEW[:8] not in repr(FernetCipher([NEW]))


@rows(
    ("keys", "told"),
    [
        ([], "keys is empty"),
        (NEW, "a list of keys, not a single one"),
        (NEW.encode(), "a list of keys, not a single one"),
        ([NEW[:-2]], "not of 32 bytes"),
        ([NEW[:-4]], "not of 32 bytes"),
        ([NEW, OLD + OLD], "not of 32 bytes"),
        ([f"{NEW},{OLD}"], "not of 32 bytes"),
        ([NEW.replace("=", "")], "not of 32 bytes"),
        ([NEW + "\ud800"], "not of 32 bytes"),
        ([NEW + "é"], "not of 32 bytes"),
        ([NEW, ""], "not of 32 bytes"),
        ([NEW, None], "not of 32 bytes"),
        ([5], "not of 32 bytes"),
    ],
)
def test_malformed_keys(keys: Any, told: str) -> None:
    """They are refused by all that takes keys, and not shown."""
    for make in (FernetCipher, lambda keys: MemoryStore(keys=keys)):
        with pytest.raises(ConfigurationError, match=told) as caught:
            make(keys)
        assert NEW[:8] not in f"{caught.value!r}"
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_wrong_key(make_store: Callable[..., SqlStore], link: Callable[..., str]) -> None:
    """What cannot be read is a typed error, by every way to read it; nothing is changed."""
    store = make_store(OLD)
    item_id = link(store)
    before = found(store, item_id)
    wrong = make_store(OTHER)
    for read in (lambda: wrong.find(item_id), lambda: list(wrong.links()), wrong.reencrypt):
        with pytest.raises(DecryptionError, match="none of the keys fits") as caught:
            read()
        assert before.result is not None
        assert before.result.access_token not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert found(store, item_id) == before


def test_rows_in_each_others_place(
    path: Path, make_store: Callable[..., SqlStore], link: Callable[..., str]
) -> None:
    """Who can write to the database cannot give one user another's bank."""
    store = make_store(NEW)
    mine, theirs = link(store, "me"), link(store, "another")
    rows = dict(sql(path, "SELECT item_id, sealed FROM plaid_links"))
    sql(path, "UPDATE plaid_links SET sealed = ? WHERE item_id = ?", rows[mine], theirs)
    sql(path, "UPDATE plaid_links SET sealed = ? WHERE item_id = ?", rows[theirs], mine)
    for item_id in (mine, theirs):
        with pytest.raises(DecryptionError, match="another one's place"):
            store.find(item_id)
    for item_id, sealed in rows.items():
        sql(path, "UPDATE plaid_links SET sealed = ? WHERE item_id = ?", sealed, item_id)
    found(store, mine)


@rows("column", ["client_id", "environment", "client_user_id", "item_id", "key"])
def test_a_row_that_says_it_is_anothers(
    column: str, path: Path, make_store: Callable[..., SqlStore], link: Callable[..., str]
) -> None:
    """What a row is about is bound into what is encrypted."""
    store = make_store(NEW)
    item_id = link(store)
    sql(path, "DELETE FROM plaid_handoffs")
    sql(path, f"UPDATE plaid_links SET {column} = 'another' WHERE item_id = ?", item_id)
    with pytest.raises(DecryptionError, match="another one's place"):
        list(store.links())
    sql(path, "DELETE FROM plaid_links")


@pytest.mark.slow
def test_a_new_key(make_store: Callable[..., SqlStore], link: Callable[..., str]) -> None:
    """Old and new key read all; after `reencrypt`, which can be resumed, the new one does."""
    items = [link(make_store(OLD), f"user-{each}") for each in range(3)]
    both = make_store(NEW, OLD)
    items.append(link(both))
    for each in items:
        found(both, each)
    assert [both.reencrypt(limit=2), both.reencrypt(limit=2), both.reencrypt()] == [2, 1, 0]
    for each in items:
        found(make_store(NEW), each)
    with pytest.raises(DecryptionError):
        make_store(OLD).find(items[0])


class _Box:
    """A cipher of the user's, such as one that asks a KMS."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.contexts: list[bytes] = []

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        self.contexts.append(context)
        return Fernet(NEW).encrypt(context + b"|" + data)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if self.failure is not None:
            raise self.failure
        return Fernet(NEW).decrypt(data).removeprefix(context + b"|")


def test_a_cipher_of_the_users(
    make_store: Callable[..., SqlStore], link: Callable[..., str]
) -> None:
    """It gets the bytes to encrypt and what they are about; what it raises is a typed error."""
    box = _Box()
    store = make_store(cipher=box)
    item_id = link(store)
    found(store, item_id)
    assert any(item_id.encode() in each and b"user-42" in each for each in box.contexts)
    for failure in (InvalidToken(), TimeoutError("the KMS is down"), DecryptionError("no")):
        with pytest.raises(PlaidProcessorsError):
            make_store(cipher=_Box(failure)).find(item_id)
