"""A store, as the linkers of one client use it: only what is that client's, and safely changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from inspect import isawaitable, iscoroutine
from typing import Any, TypeVar

from attrs import evolve, fields, frozen

from ..errors import (
    ItemNotStoredError,
    LinkInProgressError,
    PlaidProcessorsError,
    StoreConflictError,
    StoreError,
)
from ..results import (
    UNKNOWN_TIME,
    Environment,
    LinkedItem,
    LinkResult,
    PendingToken,
    ProcessorToken,
    rank,
)
from .records import (
    MOST_IN_A_PAGE,
    Handoff,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    LinkStore,
)
from .sealing import Contents, Entry, seal, sha256, state_of, three_way, unseal

T = TypeVar("T")

_TRIES = 20
"""How often a change is tried while other processes change the same record."""


@frozen(kw_only=True)
class Books:
    """A store, for one client of Plaid's. Its methods block."""

    store: LinkStore
    client_id: str
    environment: str

    def find(self, *, item_id: str | None = None, access_token: str | None = None) -> Entry | None:
        """The link of an Item; of several the one that was saved last."""
        query = LinkQuery(
            client_id=self.client_id,
            environment=self.environment,
            item_id=item_id,
            access_hash=None if access_token is None else sha256(access_token),
        )
        record = latest(list(self.records(query)))
        return None if record is None else self.read(record)

    def get(self, item_id: str) -> Entry:
        """The link of an Item.

        Raises:
            ItemNotStoredError: there is none.
        """
        entry = self.find(item_id=item_id)
        if entry is None:
            raise ItemNotStoredError(f"there is no Item {item_id} of this client in the store")
        return entry

    def records(self, query: LinkQuery) -> Iterator[LinkRecord]:
        """All records of this client's that fit, page by page."""
        return all_records(
            self.store,
            evolve(query, client_id=self.client_id, environment=self.environment),
        )

    def read(self, record: LinkRecord) -> Entry:
        """What a record holds."""
        return unseal(self.store.cipher, record)

    def find_key(self, key: str) -> Entry | None:
        """The link of a key.

        Raises:
            StoreConflictError: it is another client's.
        """
        record = guarded(partial(self.store.get, key))
        return None if record is None else self.read(self.own(record))

    def add(self, record: LinkRecord, contents: Contents) -> Entry:
        """Add a link, unless it is there; return the one that is there then.

        Raises:
            StoreConflictError: that is another client's.
        """
        sealed = seal(self.store.cipher, record, contents)
        return self.read(self.own(guarded(partial(self.store.add, sealed))))

    def change(
        self,
        entry: Entry,
        *,
        contents: Contents | None = None,
        base: LinkResult | None = None,
        handoffs: tuple[Handoff, ...] | None = None,
        unless_taken: bool = False,
        state: LinkState | None = None,
        under_way: bool | None = None,
        left: bool = False,
        reason: str | None = None,
        claim: bool = False,
    ) -> Entry:
        """Save changes of a link; what another process has changed meanwhile stays changed.

        ``base`` is the result that the one in ``contents`` was made from. ``left``: the link stays
        under way as long as tokens are missing. ``claim``: an adopted Item is this client's, since
        Plaid took its keys for it.

        Raises:
            LinkInProgressError: ``unless_taken``, and another process has changed one of the
                hand-offs that this would change.
        """
        latest = entry
        for _ in range(_TRIES):
            now, record = latest.contents, latest.record
            if contents is not None:
                if contents.result is not None and is_erased(latest):
                    raise ItemNotStoredError("the link was erased meanwhile")
                result = _merged(base, contents.result, now.result)
                now = evolve(contents, result=result, stored=now.stored)
            if handoffs is not None:
                if unless_taken and _changed(entry, handoffs) & _changed(entry, record.handoffs):
                    raise LinkInProgressError("another call is at work on this", retry_after=1.0)
                merged = three_way(entry.record.handoffs, handoffs, record.handoffs, _key)
                record = evolve(record, handoffs=merged)
            if state is not None:
                record = evolve(record, state=state)
            elif now.result is not None and record.state is not LinkState.REMOVED:
                record = evolve(record, state=state_of(now.result))
            if under_way is not None:
                missing = left and record.state is LinkState.LINKED
                record = evolve(record, under_way=under_way or missing)
            over = record.state in (LinkState.UNKNOWN, LinkState.REMOVED)
            record = evolve(
                self.own(record),
                client_id=self.client_id if claim else record.client_id,
                reason=reason or (record.reason if over else None),
            )
            sealed = seal(self.store.cipher, record, now)
            saved = guarded(partial(self.store.save, sealed))
            if saved is not None:
                return self.read(saved)
            there = guarded(partial(self.store.get, sealed.key))
            if there is None:
                raise ItemNotStoredError("the link is not in the store any more")
            latest = self.read(there)
        raise StoreError("the link is changed by other processes all the time")

    def lease(self, lease: Lease) -> bool:
        """Take or extend a lease; False while another has it."""
        return guarded(partial(self.store.lease, self._scoped(lease)))

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        guarded(partial(self.store.release, self._scoped(lease)))

    def own(self, record: LinkRecord) -> LinkRecord:
        """The record, if it is this client's, or was adopted before any linker used it."""
        others = record.client_id not in ("", self.client_id or record.client_id)
        if others or record.environment != self.environment:
            raise StoreConflictError("the store has this for another client of Plaid's")
        return record

    def _scoped(self, lease: Lease) -> Lease:
        return evolve(lease, name=f"{self.client_id} {self.environment} {lease.name}")


def is_erased(entry: Entry) -> bool:
    """Whether its tokens were to be forgotten: they must not come back."""
    record = entry.record
    return (
        record.state is LinkState.REMOVED
        and record.item_id is not None
        and entry.contents.result is None
    )


def went(entry: Entry, given: ProcessorToken | PendingToken) -> bool:
    """Whether it is of an account that went since, as an old result has it.

    A newer token than the link had is of an account that came back. Where its time is not known,
    as of one that is adopted, it is another token that says so.
    """
    result = entry.contents.result
    if result is None or given.key in {each.key for each in result.entries}:
        return False
    way = next((each for each in entry.record.handoffs if each.key == given.key), None)
    if way is None or isinstance(given, PendingToken):
        return way is not None
    old = way.updated_at is not None and UNKNOWN_TIME < given.issued_at <= way.updated_at
    return old or given.fingerprint == way.fingerprint


def latest(records: Sequence[LinkRecord]) -> LinkRecord | None:
    """Of several links of one Item, the one that was saved last and is not removed."""
    alive = [each for each in records if each.state is not LinkState.REMOVED] or records
    return max(alive, key=lambda each: str(each.updated_at), default=None)


def all_records(store: LinkStore, query: LinkQuery) -> Iterator[LinkRecord]:
    """All records that fit, page by page."""
    after = ""
    while True:
        page = guarded(partial(store.page, query, after=after))
        yield from page
        if len(page) < MOST_IN_A_PAGE:
            return
        after = page[-1].key


def guarded(work: Callable[[], T]) -> T:
    """What a store does; whatever it raises becomes a `StoreError`."""
    try:
        done = work()
        if isawaitable(done):
            if iscoroutine(done):
                done.close()
            raise TypeError("a store's methods are no coroutine functions")  # noqa: TRY301
        return done  # noqa: TRY300
    except PlaidProcessorsError:
        raise
    except Exception as error:
        raise StoreError(f"the store failed: {type(error).__name__}") from error


def _key(handoff: Handoff) -> tuple[str, str]:
    return handoff.key


def _changed(entry: Entry, handoffs: Iterable[Handoff]) -> set[tuple[str, str]]:
    """Which hand-offs are not as they are in the entry."""
    return {each.key for each in {*handoffs} ^ {*entry.record.handoffs}}


def _merged(
    base: LinkResult | None, mine: LinkResult | None, theirs: LinkResult | None
) -> LinkResult | None:
    """Their result, with what was changed from the base to mine."""
    if mine is None or theirs is None:
        return mine
    entries = three_way(
        base.entries if base else (), mine.entries, theirs.entries, lambda each: each.key, rank
    )
    unselected = three_way(
        base.unselected if base else (),
        mine.unselected,
        theirs.unselected,
        lambda each: each.processor,
    )
    partners = list(dict.fromkeys(each.processor for each in entries))

    def newer(name: str) -> Any:
        value, other = getattr(mine, name), getattr(theirs, name)
        changed = base is None or value != getattr(base, name)
        return (value if changed else other) or value or other

    known = {each.name: newer(each.name) for each in fields(LinkedItem)}
    return evolve(
        theirs,
        **known,
        entries=sorted(entries, key=lambda each: partners.index(each.processor)),
        unselected=[each for each in unselected if each.processor not in partners],
        bound=three_way(base.bound if base else (), mine.bound, theirs.bound, str),
        consent_expires_at=newer("consent_expires_at"),
    )


def make_books(store: object, client_id: str, environment: Environment) -> Books | None:
    """The books of a linker that is given a store, or None.

    Raises:
        TypeError: it is no store.
    """
    if store is None:
        return None
    wanted = ("add", "get", "save", "page", "lease", "release", "cipher")
    if not all(hasattr(store, name) for name in wanted):
        raise TypeError(f"store must be a LinkStore, not {type(store).__name__}")
    found: LinkStore = store  # type: ignore[assignment]
    return Books(store=found, client_id=client_id, environment=environment.value)
