"""A link, kept in the store at each of its steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from attrs import evolve

from .._plaid.call import PlaidCall
from ..errors import (
    ConfigurationError,
    ItemNotStoredError,
    LinkInProgressError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    PublicTokenError,
    RequestError,
    StoreConflictError,
    StoreError,
    UnknownProcessorError,
)
from ..results import LinkResult, PendingPartner
from ..store.books import Books, went
from ..store.records import HandoffState, LinkQuery, LinkRecord, LinkState
from ..store.sealing import Contents, Entry, sha256, wanted_of
from .arguments import checked_token, stored_text
from .leases import leased, link_lease
from .plan import Plan, partners_of
from .progress import Progress


class Keeper:
    """Keeps one link in the store.

    Attributes:
        entry: the link, as it is stored.
        base: what is stored of the result that the call works on.
        before: what was stored of it when the call began.
        tried_before: whether an earlier attempt may have spent the public token.
        shared: whether another call may be at work on the same tokens: what is missing of them was
            perhaps not missing before it.
    """

    def __init__(
        self,
        call: PlaidCall,
        books: Books,
        entry: Entry,
        *,
        tried_before: bool = False,
    ) -> None:
        self.entry = entry
        self.before = self.base = entry.contents.result
        self._left = self.before is not None and entry.record.under_way
        self.tried_before = tried_before
        self.shared = False
        self._call = call
        self._books = books

    @property
    def result(self) -> LinkResult | None:
        """The Item and its tokens, as they are stored."""
        return self.entry.contents.result

    @property
    def handed_over(self) -> set[str]:
        """The fingerprints of the tokens that their partners have, or are being sent."""
        had = (HandoffState.DONE, HandoffState.SENDING)
        ways = (each for each in self.entry.record.handoffs if each.state in had)
        return {each.fingerprint for each in ways if each.fingerprint is not None}

    def with_given(self, result: LinkResult) -> LinkResult:
        """What is stored, with what a result of the caller's has beside it.

        That may be an old one: an account that went since does not come back by it.
        """
        assert self.result is not None
        kept = [each for each in result.entries if not went(self.entry, each)]
        return self.result.merge(evolve(result, entries=kept))

    @property
    def since(self) -> str | None:
        """When the link was first stored: its public token was to be exchanged then."""
        at = self.entry.record.created_at
        return None if at is None else at.isoformat(timespec="seconds")

    async def keep_item(self, progress: Progress) -> None:
        """The Item exists."""
        save = partial(self._save, progress, under_way=True, claim=True)
        try:
            await self._call.port.run(save)
        except Exception:
            raise
        except BaseException:
            save()  # Ctrl-C struck inside the store: once more, as the Item must not be lost
            raise

    async def keep(self, progress: Progress) -> None:
        """Tokens are to be asked for, or one has come."""
        save = partial(self._save, progress, under_way=True, claim=progress.advanced)
        await self._call.port.run(save)

    async def done(self, progress: Progress) -> None:
        """The call is over, and this is what it achieved."""
        await self._end_call(progress, progress.failed.values())
        self._call.check()

    async def failed(self, error: Exception, progress: Progress) -> None:
        """The call is over by an error, which is what its caller gets to know."""
        errors = [error, *progress.failed.values()]
        try:
            if progress.item is None:
                if self.tried_before and not isinstance(error, PublicTokenError):
                    return  # the earlier attempt may have made an Item: `recover` tries again
                unknown = isinstance(error, RequestError) and error.outcome_unknown
                state = LinkState.UNKNOWN if unknown else LinkState.REMOVED
                await self.over(state, str(error))
            elif self.before is not None and not progress.advanced:
                undone = Progress.of_result(self._before_call(self.before))
                await self._end_call(undone, errors, claim=False)
            else:
                await self._end_call(progress, errors)
                self._call.check()
        except PlaidProcessorsError as second:
            error.add_note(f"The store could not be told: {second}")

    def _before_call(self, before: LinkResult) -> LinkResult:
        """What the call has changed, as it was; what others have changed meanwhile is theirs."""
        assert self.base is not None
        keys = {each.key for each in self.base.entries}
        partners = set(partners_of(self.base))
        known = before.processor_tokens if self.shared else before.entries
        waiting = () if self.shared else before.unselected
        return evolve(
            self.base,
            entries=[each for each in known if each.key in keys],
            unselected=[each for each in waiting if each.processor in partners],
            bound=[each for each in before.bound if each in partners],
            consent_expires_at=before.consent_expires_at,
        )

    async def _end_call(
        self, progress: Progress, errors: Iterable[object], *, claim: bool = True
    ) -> None:
        """Leave what is missing to `recover`, if the call failed by what may pass."""
        missing = bool(progress.pending or progress.unselected)
        left = missing and may_pass(errors)
        await self._call.port.run(partial(self._save, progress, under_way=left, claim=claim))

    async def over(self, state: LinkState, reason: str) -> None:
        """There is no Item, any more; or nothing is known of it."""
        await self._call.port.run(partial(self._end, state, reason))
        self._call.check()

    def _end(self, state: LinkState, reason: str) -> None:
        item_id = self.entry.record.item_id
        self.entry = self._ended(self.entry, state, reason)
        if item_id is not None:
            for record in self._books.records(LinkQuery(item_id=item_id)):
                if record.state is not LinkState.REMOVED:  # the Item was linked twice
                    self._ended(self._books.read(record), state, reason)

    def _ended(self, entry: Entry, state: LinkState, reason: str) -> Entry:
        contents = evolve(entry.contents, public_token=None, wanted=None)
        return self._books.change(
            entry,
            contents=contents,
            base=contents.result,
            state=state,
            under_way=False,
            reason=reason,
            claim=True,
        )

    def _save(self, progress: Progress, *, under_way: bool, claim: bool) -> None:
        result = progress.result
        self.entry = self._books.change(
            self.entry,
            contents=Contents(result=result),
            base=self.base,
            under_way=under_way,
            left=self._left,  # what another call has left, or is still at
            claim=claim,
        )
        self.base = result


@asynccontextmanager
async def attempt(
    call: PlaidCall,
    books: Books,
    public_token: str,
    client_user_id: str,
    plan: Plan,
    origin: Mapping[str, str | None],
) -> AsyncIterator[Keeper]:
    """The link of a public token, stored before it is exchanged. No other call is at work on it.

    Raises:
        LinkInProgressError: another was, until this call's deadline.
        StoreConflictError: it is another user's, or was linked for other partners.
    """
    key = sha256(public_token)
    expected = Progress.of_plan(plan)
    wanted = wanted_of(
        expected.entries,
        expected.unselected,
        expected.bound,
        {**origin, "environment": call.environment},
    )
    contents = Contents(public_token=public_token, wanted=wanted)
    record = LinkRecord(
        key=key,
        client_id=books.client_id,
        environment=books.environment,
        client_user_id=client_user_id,
        state=LinkState.STARTED,
        under_way=True,
        sealed="",
    )

    def begin() -> Keeper:
        entry = books.find_key(key)
        if entry is None:
            return Keeper(call, books, books.add(record, contents))
        _refuse_others(entry, client_user_id, [each for _, each in plan.choices])
        if entry.contents.result is not None:
            return Keeper(call, books, entry)
        tried_before = entry.record.state is not LinkState.REMOVED
        state = LinkState.STARTED
        entry = books.change(entry, contents=contents, state=state, under_way=True)
        return Keeper(call, books, entry, tried_before=tried_before)

    async with leased(call, books, link_lease(key)):
        keeper = await call.port.run(begin)
        call.check()
        yield keeper


def _refuse_others(entry: Entry, client_user_id: str, wanted: Sequence[PendingPartner]) -> None:
    record, result = entry.record, entry.contents.result
    if record.client_user_id != client_user_id:
        raise StoreConflictError("this public token was linked for another client_user_id")
    if record.item_id is not None and record.state is LinkState.REMOVED:
        raise StoreConflictError("the Item of this public token was removed: link again")
    if result is None:
        return
    known = partners_of(result)
    if added := [each.processor for each in wanted if each.processor not in known]:
        raise StoreConflictError(
            f"this public token was linked already, for {', '.join(known)}: for "
            f"{', '.join(added)} call issue(…, item_id=…)"
        )
    for partner in wanted:
        ids = {e.account.account_id for e in result.entries if e.processor == partner.processor}
        if ids and not ids.issuperset(partner.account_ids or ()):
            raise StoreConflictError(
                f"this public token was linked already, for another account of {partner.processor}:"
                " for this one call issue(…, item_id=…)"
            )


def stored_user(client_user_id: str | None) -> str:
    """The user whose link it is, which a store needs to know."""
    if client_user_id is None:
        raise ConfigurationError("with a store, pass client_user_id=: your id of the user")
    return stored_text("client_user_id", client_user_id)


async def keeper_of(
    call: PlaidCall, books: Books | None, *, item_id: str | None, access_token: str | None
) -> Keeper | None:
    """Keeps the link of an Item; None without a store, or if it does not have the Item.

    Raises:
        ItemNotStoredError: only the id is given, and the store does not have the Item.
        ConfigurationError: only the id is given, and there is no store.
    """
    if books is None:
        if access_token is None:
            if item_id is None:
                raise ConfigurationError("pass an access token, or with a store item_id=")
            raise ConfigurationError("item_id= alone needs a store: ProcessorLinker(…, store=…)")
        return None
    if access_token is None:
        entry = await call.port.run(partial(books.get, stored_text("item_id", item_id)))
        if entry.contents.result is None:
            raise ItemNotStoredError(f"the store has no access token for the Item {item_id}")
    else:
        found = await call.port.run(partial(books.find, access_token=access_token))
        if found is None or found.contents.result is None:
            return None
        if item_id is not None and found.record.item_id not in (None, item_id):
            raise ConfigurationError("access_token= is of another Item than item_id=")
        entry = found
    call.check()
    return Keeper(call, books, entry)


@asynccontextmanager
async def taken_up(
    call: PlaidCall, books: Books | None, *, item_id: str | None, access_token: str | None
) -> AsyncIterator[Keeper | None]:
    """As `keeper_of`; where another call is at work on the link's tokens, when that is over."""
    keeper = await keeper_of(call, books, item_id=item_id, access_token=access_token)
    if books is None or keeper is None or not keeper.entry.record.under_way:
        yield keeper
        return
    async with leased(call, books, link_lease(keeper.entry.record.key)):
        yield await keeper_of(call, books, item_id=item_id, access_token=access_token)


@asynccontextmanager
async def issuing(
    call: PlaidCall,
    books: Books | None,
    processors: Iterable[str],
    *,
    item_id: str | None,
    access_token: str | None,
) -> AsyncIterator[Keeper | None]:
    """As `keeper_of`; it knows whether another call issues tokens for these partners meanwhile.

    It waits for none: after a crash that would last until the lease ends.
    """
    keeper = await keeper_of(call, books, item_id=item_id, access_token=access_token)
    if books is None or keeper is None:
        yield keeper
        return
    shared = False
    async with AsyncExitStack() as stack:
        for name in processors:
            lease = f"issue {keeper.entry.record.key} for {name}"
            try:
                await stack.enter_async_context(leased(call, books, lease, wait=False))
            except LinkInProgressError:
                shared = True
        keeper = await keeper_of(call, books, item_id=item_id, access_token=access_token)
        assert keeper is not None
        keeper.shared = shared
        yield keeper


async def access_token_of(
    call: PlaidCall, books: Books | None, access_token: str | None, item_id: str | None
) -> str:
    """The access token that was given, or that of the Item in the store."""
    if access_token is not None:
        if item_id is not None:
            raise ConfigurationError("pass access_token or item_id, not both")
        return checked_token("access_token", access_token, call.environment)
    if item_id is None:
        raise ConfigurationError("pass an access token, or with a store item_id=")
    keeper = await keeper_of(call, books, item_id=item_id, access_token=None)
    assert keeper is not None
    assert keeper.result is not None
    return keeper.result.access_token


def may_pass(errors: Iterable[object]) -> bool:
    """Whether the same may succeed later: one of them is temporary, or an adapter was missing."""
    return any(
        isinstance(each, (PlaidUnavailableError, StoreError, UnknownProcessorError))
        or (isinstance(each, RequestError) and each.retryable)
        for each in errors
    )
