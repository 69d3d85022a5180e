"""A test that any store has to pass: `check_store`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar

from attrs import asdict, evolve, fields

from ..errors import DecryptionError
from .records import (
    MOST_IN_A_PAGE,
    Handoff,
    HandoffState,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    LinkStore,
)

_T = TypeVar("_T")

_THREADS = 8

_LONG = 600.0
"""Seconds of a lease that does not end during a check."""

_PATIENCE = 30.0
"""Seconds until something has to happen that the store's clock brings about."""


def check_store(make_store: Callable[[], LinkStore]) -> None:
    """Check a store of your own, in a test of yours: ``check_store(make_my_store)``.

    It checks what `LinkStore` promises, and takes some seconds. Times have to be within ten minutes
    of this machine's.

    Args:
        make_store: makes an empty store, ready for use. It is called several times.

    Raises:
        AssertionError: the store breaks a promise, which the message names.
    """
    for check in (
        _check_add,
        _check_save,
        _check_all_is_kept,
        _check_times,
        _check_pages,
        _check_queries,
        _check_leases,
        _check_threads,
        _check_cipher,
    ):
        check(make_store())


def _check_add(store: LinkStore) -> None:
    record = _record(1)
    _same(store.get(record.key), None, "get of a key that is not there")
    added = store.add(evolve(record, version=7))
    _same(added.version, 1, "the version after add")
    _same(_content(added), _content(record), "what add returns")
    _same(store.get(record.key), added, "what get returns after add")
    again = store.add(evolve(record, client_user_id="another", handoffs=(_handoff("new"),)))
    _same(again, added, "what add returns for a key that is there: the record that is there")
    _same(store.get(record.key), added, "what is stored after a second add of a key")


def _check_save(store: LinkStore) -> None:
    first = store.add(_record(1))
    other = store.add(_record(2))
    changed = evolve(first, state=LinkState.COMPLETE, item_id="item", sealed="new", under_way=True)
    saved = _there(store.save(changed), "save with the version that is stored")
    _same(saved.version, 2, "the version after save")
    _same(_content(saved), _content(changed), "what save returns")
    _same(store.get(first.key), saved, "what get returns after save")
    _same(store.save(changed), None, "save with an old version")
    _same(store.save(evolve(changed, version=3)), None, "save with a version that is not there yet")
    _same(store.get(first.key), saved, "what is stored after a save that was refused")
    _same(store.get(other.key), other, "another record after a save")
    _same(store.save(_record(3)), None, "save of a key that is not there")
    _same(store.get(_key(3)), None, "get after a save of a key that is not there")


def _check_all_is_kept(store: LinkStore) -> None:
    handoffs = (
        Handoff(
            processor="layer",
            account_id="acc Ω '\"\\%_",
            state=HandoffState.UNKNOWN,
            reference="ref",
            target="business",
            fingerprint="abc",
            before=("a", "b,c", ""),
            error="it broke:\n🏦",
        ),
        Handoff(processor="finix", account_id="z", state=HandoffState.DUE, before=()),
        Handoff(processor="finix", account_id="a", state=HandoffState.SENDING),
    )
    full = evolve(
        _record(1),
        client_user_id="Zoë 🏦 '\"\\%_; --",
        state=LinkState.UNKNOWN,
        under_way=True,
        item_id="Item",
        institution_id="ins_1",
        access_hash="f" * 64,
        processors=("layer", "a, b", "finix"),
        handoffs=handoffs,
        reason="a\nreason",
        sealed="s" * 100_000,
        sealed_by="key",
    )
    added = store.add(full)
    _same(_content(added), _content(full), "all of a record, after add")
    _same(store.get(full.key), added, "all of a record, by get")
    _same(list(store.page(LinkQuery())), [added], "all of a record, by page")
    fewer = evolve(added, handoffs=(_handoff("new"), added.handoffs[1]), processors=())
    saved = _there(store.save(fewer), "save")
    _same(_content(saved), _content(fewer), "all of a record, after save with other hand-offs")
    _same(store.get(full.key), saved, "all of a record, by get after save")
    times = ("created_at", "updated_at")
    unknown: dict[str, Any] = {
        each.name: None
        for each in fields(LinkRecord)
        if each.default is None and each.name not in times
    }
    bare = evolve(saved, handoffs=(), **unknown)
    kept = _there(store.save(bare), "save")
    _same(_content(kept), _content(bare), "a record of which little is known, after save")
    _same(store.get(full.key), kept, "a record of which little is known, by get")


def _check_times(store: LinkStore) -> None:
    odd = datetime(2001, 1, 1, tzinfo=UTC)
    first = store.add(
        evolve(_record(1), created_at=odd, updated_at=odd, handoffs=(_handoff("a"), _handoff("b")))
    )
    times = [first.created_at, first.updated_at, *(each.updated_at for each in first.handoffs)]
    for each in times:
        found = _there(each, "a time of a record, and of its hand-offs")
        _same(found.utcoffset(), timedelta(0), "the UTC offset of a time")
        away = abs(datetime.now(UTC) - found)
        _true(away < timedelta(minutes=10), f"a time of a new record is {away} away from now")
    time.sleep(0.05)
    kept, changed = first.handoffs
    changed = evolve(changed, state=HandoffState.DONE)
    saved = _there(store.save(evolve(first, created_at=odd, handoffs=(kept, changed))), "save")
    _same(saved.created_at, first.created_at, "created_at after save")
    _later(saved.updated_at, first.updated_at, "updated_at after save")
    _same(saved.handoffs[0], kept, "a hand-off that has not changed, with its updated_at")
    _later(saved.handoffs[1].updated_at, changed.updated_at, "updated_at of a changed hand-off")
    _same(_keys(store, LinkQuery(older_than=3600)), set(), "what is older than an hour")
    _soon(lambda: _keys(store, LinkQuery(older_than=0.01)), "what is older than 10 ms")


def _check_pages(store: LinkStore) -> None:
    count = MOST_IN_A_PAGE + 25
    records = [store.add(_record(each)) for each in range(count)]
    wanted = sorted(records, key=lambda each: each.key)
    first = list(store.page(LinkQuery()))
    _same(len(first), MOST_IN_A_PAGE, "how many records a page has at most")
    rest = list(store.page(LinkQuery(), after=first[-1].key))
    _same([*first, *rest], wanted, "all records, by two pages, in the order of their keys")
    by_seven: list[LinkRecord] = []
    while page := store.page(LinkQuery(), after=by_seven[-1].key if by_seven else "", limit=7):
        _true(len(page) <= 7, f"a page of limit 7 has {len(page)} records")
        by_seven += page
    _same(by_seven, wanted, "all records, by pages of 7")
    between = wanted[9].key[:-1]  # no record has this key
    _same(list(store.page(LinkQuery(), after=between, limit=1)), wanted[9:10], "after a lost key")
    _same(list(store.page(LinkQuery(), after=wanted[-1].key)), [], "after the last key")
    rare = _there(store.save(evolve(wanted[-1], processors=("finix",))), "save")
    found = list(store.page(LinkQuery(processor="finix")))
    _same(found, [rare], "the one record that fits, the last of many: a short page ends the search")


def _check_queries(store: LinkStore) -> None:
    finix, layer = _handoff("a", "finix", "done"), _handoff("b", "layer", "due")
    records: dict[str, dict[str, Any]] = {
        "mine": {"client_id": "mine", "processors": ("finix", "layer"), "handoffs": (finix, layer)},
        "other": {"client_id": "other", "environment": "production", "processors": ("a_b",)},
        "none": {"client_id": "", "item_id": "item", "access_hash": "hash", "sealed_by": "key"},
        "user": {"client_user_id": "user", "state": "complete", "processors": ("axb", "finix2")},
        "busy": {"under_way": True, "state": "unknown", "sealed_by": "old", "handoffs": (finix,)},
    }
    names: dict[str, str] = {}
    for number, (name, values) in enumerate(records.items()):
        record = evolve(_record(number), client_id="another")
        names[store.add(evolve(record, **values)).key] = name
    complete, unknown = LinkState.COMPLETE, LinkState.UNKNOWN
    due, done, refused = HandoffState.DUE, HandoffState.DONE, HandoffState.REFUSED
    for query, wanted in (
        (LinkQuery(), "mine other none user busy"),
        (LinkQuery(client_id="mine"), "mine none"),
        (LinkQuery(client_id="unheard of"), "none"),
        (LinkQuery(environment="production"), "other"),
        (LinkQuery(client_user_id="user"), "user"),
        (LinkQuery(client_user_id="USER"), ""),
        (LinkQuery(item_id="item"), "none"),
        (LinkQuery(access_hash="hash"), "none"),
        (LinkQuery(states=(complete, unknown)), "user busy"),
        (LinkQuery(states={LinkState.STARTED}), "mine other none"),
        (LinkQuery(states=()), ""),
        (LinkQuery(processor="finix"), "mine"),
        (LinkQuery(processor="a_b"), "other"),
        (LinkQuery(processor="FINIX"), ""),
        (LinkQuery(without_processor="finix"), "other none user busy"),
        (LinkQuery(without_processor="a_b"), "mine none user busy"),
        (LinkQuery(handoff=done), "mine busy"),
        (LinkQuery(handoff=due), "mine"),
        (LinkQuery(handoff=refused), ""),
        (LinkQuery(handoff=done, processor="finix"), "mine"),
        (LinkQuery(handoff=due, processor="finix"), ""),
        (LinkQuery(under_way=True), "busy"),
        (LinkQuery(under_way=False), "mine other none user"),
        (LinkQuery(not_sealed_by="key"), "mine other user busy"),
        (LinkQuery(client_id="mine", item_id="item"), "none"),
        (LinkQuery(client_id="mine", client_user_id="user"), ""),
        (LinkQuery(older_than=3600), ""),
    ):
        found = {names[key] for key in _keys(store, query)}
        _same(found, set(wanted.split()), f"what fits {_words(query)}")


def _check_leases(store: LinkStore) -> None:
    mine = Lease(name="work", owner="me", seconds=_LONG)
    other = evolve(mine, owner="another")
    _true(store.lease(mine), "a lease that nobody has is refused")
    _true(not store.lease(other), "a lease is given to a second owner")
    _true(store.lease(evolve(other, name="other work")), "a lease of another name is refused")
    _true(store.lease(mine), "a lease is not extended for its owner")
    store.release(other)
    _true(not store.lease(other), "a lease was released by one who does not have it")
    store.release(mine)
    store.release(mine)
    _true(store.lease(other), "a lease that was released is refused")

    short = evolve(mine, name="short", seconds=0.2)
    _true(store.lease(short), "a lease that nobody has is refused")
    _true(store.lease(evolve(short, seconds=_LONG)), "a lease is not extended for its owner")
    time.sleep(0.4)
    _true(not store.lease(evolve(other, name="short")), "an extended lease ends at its first end")

    ending = evolve(short, name="ending")
    _true(store.lease(ending), "a lease that nobody has is refused")
    successor = evolve(ending, owner="another", seconds=_LONG)
    _soon(lambda: store.lease(successor), "a lease that has ended, for another owner")
    _true(not store.lease(ending), "an owner whose lease has ended takes it from the next")
    store.release(ending)
    _true(not store.lease(ending), "an owner whose lease has ended releases the next one's")


def _check_threads(store: LinkStore) -> None:
    records = [evolve(_record(1), client_user_id=f"user-{each}") for each in range(_THREADS)]
    there = _side_by_side(store.add, records)
    _same(there, there[:1] * _THREADS, "what add returns to threads that add one key: one record")

    def count(_thread: int) -> None:
        done = 0
        while done < 5:
            record = _there(store.get(_key(1)), "get")
            if store.save(evolve(record, reason=str(int(record.reason or 0) + 1))) is not None:
                done += 1

    _side_by_side(count, range(_THREADS))
    counted = _there(store.get(_key(1)), "get")
    _same(counted.reason, str(5 * _THREADS), f"what {_THREADS} threads have counted to, 5 each")
    _same(counted.version, 5 * _THREADS + 1, "the version after that")

    leases = [Lease(name="work", owner=str(each), seconds=_LONG) for each in range(_THREADS)]
    _same(sum(_side_by_side(store.lease, leases)), 1, "how many threads got a lease")


def _check_cipher(store: LinkStore) -> None:
    sealed = store.cipher.encrypt(b"secret", b"context")
    _true(b"secret" not in sealed, "the cipher does not encrypt")
    _same(store.cipher.decrypt(sealed, b"context"), b"secret", "what the cipher decrypts")
    try:
        store.cipher.decrypt(sealed, b"another")
    except DecryptionError:
        return
    raise AssertionError("the cipher decrypts what was encrypted in another context")


def _key(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def _record(number: int) -> LinkRecord:
    return LinkRecord(
        key=_key(number),
        client_id="client",
        environment="sandbox",
        client_user_id="user-42",
        state=LinkState.STARTED,
        sealed="sealed",
    )


def _handoff(account_id: str, processor: str = "finix", state: str = "due") -> Handoff:
    return Handoff(processor=processor, account_id=account_id, state=HandoffState(state))


def _content(record: LinkRecord) -> dict[str, Any]:
    """All of a record but what the store sets."""
    set_by_store = dict.fromkeys(("version", "created_at", "updated_at"))
    handoffs = tuple(evolve(each, updated_at=None) for each in record.handoffs)
    return {**asdict(record, recurse=False), **set_by_store, "handoffs": handoffs}


def _keys(store: LinkStore, query: LinkQuery) -> set[str]:
    return {each.key for each in store.page(query)}


def _words(query: LinkQuery) -> str:
    given = asdict(query, recurse=False).items()
    return ", ".join(f"{name}={value!r}" for name, value in given if value is not None) or "all"


def _side_by_side(work: Callable[[Any], _T], values: Iterable[Any]) -> list[_T]:
    """What each call returns, of threads that begin together."""
    listed = list(values)
    gate = threading.Barrier(len(listed))
    done: dict[int, _T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            gate.wait()
            done[number] = work(listed[number])
        except BaseException as error:  # noqa: BLE001  raised below, on the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in range(len(listed))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # in slices: on Windows, Ctrl-C is handled only between two
            thread.join(0.5)
    for error in errors:
        raise AssertionError(f"the store failed on one of several threads: {error!r}") from error
    return [done[each] for each in range(len(listed))]


# Not by `assert`, which `python -O` leaves out, and pytest explains only in test modules.


def _true(fact: bool, otherwise: str) -> None:
    if not fact:
        raise AssertionError(otherwise)


def _same(found: object, wanted: object, what: str) -> None:
    _true(found == wanted, f"{what}: it is\n{found!r}\nand should be\n{wanted!r}")


def _there(found: _T | None, what: str) -> _T:
    if found is None:
        raise AssertionError(f"{what}: it is None")
    return found


def _later(found: datetime | None, before: datetime | None, what: str) -> None:
    later = found is not None and before is not None and found > before
    _true(later, f"{what}: it is {found}, and should be later than {before}")


def _soon(happens: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not happens():
        _true(time.monotonic() < end, f"{what}: not there within {_PATIENCE:g} s")
        time.sleep(0.02)
