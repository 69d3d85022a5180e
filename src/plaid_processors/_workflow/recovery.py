"""What a crash left in the store: it is finished, or it is said what cannot be known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

from attrs import evolve, fields, frozen

from .._plaid.call import PlaidCall
from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import get_adapters
from ..errors import (
    ConfigurationError,
    LinkIncompleteError,
    LinkInProgressError,
    PlaidProcessorsError,
    StoreError,
)
from ..results import LinkedItem
from ..settings import is_positive
from ..store.books import Books
from ..store.records import (
    Handoff,
    HandoffState,
    LinkQuery,
    LinkRecord,
    LinkState,
    RecoveredLink,
    RecoveryReport,
)
from ..store.sealing import Contents, Entry, adopted_key
from .keeping import Keeper, may_pass
from .leases import leased, link_lease
from .link import ask_plaid, details_of, exchange_and_issue, resume_stored
from .plan import Options, Partners, resume_plan

_LIFETIME = 1800.0
"""Seconds that a public token lives (https://plaid.com/docs/api/items/)."""


_LONG_AGO = datetime.min.replace(tzinfo=UTC)

_OPTIONS: Options = {
    "account_id": None,
    "account_ids": None,
    "partial": False,
    "narrow": None,
    "on_token": None,
}


@frozen
class _Left:
    """What a crash left, as it was found.

    Attributes:
        record: the link.
        expired: whether its public token can no longer be exchanged.
        handoff: whether it is about its hand-offs.
    """

    record: LinkRecord
    expired: bool = False
    handoff: bool = False


async def recover(
    begin: Callable[[], PlaidCall],
    books: Books | None,
    *,
    partner: Partners | None,
    older_than: float,
    limit: int | None,
) -> RecoveryReport:
    """Go on with what a crash left, each link in a call of its own; one that fails stops none."""
    if books is None:
        raise ConfigurationError("recover needs a store: ProcessorLinker(…, store=…)")
    if older_than != 0 and not is_positive(older_than):
        raise ValueError("older_than must be a number of seconds, 0 or more")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError("limit must be a whole number, 1 or more, or None")
    adapters = [] if partner is None else get_adapters(partner)
    call = begin()
    waiting = await call.port.run(partial(_all_left, books, older_than))
    call.check()
    outcomes: list[RecoveredLink] = []
    for left in waiting:
        if len(outcomes) == limit:
            break
        call = begin()
        outcome = await _recover(call, books, left, adapters)
        call.check(None if outcome is None else outcome.error)
        if outcome is not None:
            outcomes.append(outcome)
            if outcome.error is not None and isinstance(outcome.error.__cause__, StoreError):
                break  # it may have the only copy of an access token, which is the caller's now
    return RecoveryReport(
        finished=tuple(each for each in outcomes if each.reason is None),
        unknown=tuple(each for each in outcomes if each.reason is not None and each.error is None),
        failed=tuple(each for each in outcomes if each.error is not None),
    )


def _all_left(books: Books, older_than: float) -> list[_Left]:
    """The longest untouched come first, so that none waits for ever behind a ``limit``."""

    def found(query: LinkQuery) -> list[LinkRecord]:
        return sorted(books.records(query), key=lambda each: each.updated_at or _LONG_AGO)

    links = LinkQuery(under_way=True, older_than=older_than)
    expired = LinkQuery(under_way=True, older_than=_LIFETIME, states=(LinkState.STARTED,))
    sending = LinkQuery(handoff=HandoffState.SENDING, older_than=older_than)
    keys = {each.key for each in found(expired)}
    return [
        *(_Left(each, expired=each.key in keys) for each in found(links)),
        *(_Left(each, handoff=True) for each in found(sending)),
    ]


async def _recover(
    call: PlaidCall, books: Books, left: _Left, adapters: Sequence[PartnerAdapter]
) -> RecoveredLink | None:
    """One link; None if another call is at work on it, or was meanwhile."""
    record = left.record
    names = [link_lease(record.key)]
    if left.handoff:  # the leases of `hand_over`
        partners = {
            each.processor for each in record.handoffs if each.state is HandoffState.SENDING
        }
        names = [f"hand over {record.item_id} to {each}" for each in partners]
    try:
        async with AsyncExitStack() as stack:
            for name in names:
                await stack.enter_async_context(leased(call, books, name, wait=False))
            entry = await call.port.run(partial(books.find_key, record.key))
            call.check()
            if entry is None or entry.record.version != record.version:
                return None
            if left.handoff:
                return await _give_up_handoffs(call, books, entry)
            return await _go_on(call, books, entry, adapters, expired=left.expired)
    except LinkInProgressError:
        return None
    except PlaidProcessorsError as error:
        unread = Entry(record=record, contents=Contents())
        return RecoveredLink(link=unread.link(), reason=str(error), error=error)


async def _go_on(
    call: PlaidCall,
    books: Books,
    entry: Entry,
    adapters: Sequence[PartnerAdapter],
    *,
    expired: bool,
) -> RecoveredLink | None:
    result = entry.contents.result
    keeper = Keeper(call, books, entry, tried_before=True)
    try:
        if result is not None:
            await resume_stored(call, keeper, adapters or None, False, None)
        else:
            since = await call.port.run(partial(_links_since, books, entry.record))
            if any(each.state is LinkState.STARTED for each in since):
                return None  # first that one: it may turn out that it made no Item
            await _exchange(call, keeper, adapters, expired=expired, linked_since=bool(since))
    except PlaidProcessorsError as error:
        if keeper.entry.record.state is not LinkState.UNKNOWN:
            await _keep_failure(call, books, keeper, error)
            shown = str(error.__cause__ or error) if keeper.result is not None else str(error)
            return RecoveredLink(link=keeper.entry.link(), reason=shown, error=error)
    link = keeper.entry.link()
    return RecoveredLink(link=link, reason=link.reason if link.state is LinkState.UNKNOWN else None)


async def _exchange(
    call: PlaidCall,
    keeper: Keeper,
    adapters: Sequence[PartnerAdapter],
    *,
    expired: bool,
    linked_since: bool,
) -> None:
    """Exchange a public token that may be spent, unless the user has no use for the Item."""
    wanted, token = keeper.entry.contents.wanted, keeper.entry.contents.public_token
    if wanted is None or token is None:
        raise StoreError("the stored link has no public token to exchange")
    names = {each.name for each in fields(LinkedItem)}
    names -= {"access_token", "item_id", "request_id", "environment"}
    origin = {name: getattr(wanted, name) for name in names}
    if expired or linked_since:
        why = "the user has linked this bank since" if linked_since else "30 minutes have passed"
        details = {"time": keeper.since, **details_of(call, token, origin)}
        text = f"{why}, so the public token is not exchanged any more. {ask_plaid(details)}"
        await keeper.over(LinkState.UNKNOWN, text)
        return
    own = {each.processor: each for each in adapters}
    plan = resume_plan(wanted, own, None, **_OPTIONS)
    await exchange_and_issue(call, plan, token, origin, keeper, wanted)


async def _keep_failure(
    call: PlaidCall, books: Books, keeper: Keeper, error: PlaidProcessorsError
) -> None:
    """Leave the link to a later run, if that may have more luck."""
    later = keeper.result is None or _may_pass(error)
    if keeper.entry.record.under_way is not later:
        change = partial(books.change, keeper.entry, under_way=later)
        try:
            keeper.entry = await call.port.run(change)
        except StoreError as second:
            error.add_note(f"The store could not be told: {second}")


def _may_pass(error: PlaidProcessorsError) -> bool:
    causes: list[object] = [error]
    if isinstance(error, LinkIncompleteError):
        causes = [error.__cause__, *(each for _, each in error.errors)]
    return may_pass(causes)


def _links_since(books: Books, record: LinkRecord) -> list[LinkRecord]:
    """The later links of the same user, perhaps of the same bank, that made an Item, or may yet."""
    states = (LinkState.STARTED, LinkState.LINKED, LinkState.COMPLETE, LinkState.REMOVED)
    banks = (record.institution_id, None)
    return [
        each
        for each in books.records(LinkQuery(client_user_id=record.client_user_id, states=states))
        if _birth(each) > _birth(record)
        # An adopted Item was linked before it was stored.
        and each.key != adopted_key(each.environment, each.item_id or "")
        and (record.institution_id is None or each.institution_id in banks)
        and (each.state is not LinkState.REMOVED or each.item_id is not None)
    ]


def _birth(record: LinkRecord) -> tuple[datetime, str]:
    return record.created_at or _LONG_AGO, record.key


async def _give_up_handoffs(call: PlaidCall, books: Books, entry: Entry) -> RecoveredLink | None:
    """Say of tokens that a process was sending when it ended that the partner may have them."""
    sending = [each for each in entry.record.handoffs if each.state is HandoffState.SENDING]
    given_up: list[Handoff] = []
    for each in sending:
        reason = (
            f"{each.processor} may have the token of account {each.account_id}: the process that "
            "sent it ended. hand_over looks at the partner first"
        )
        given_up.append(evolve(each, state=HandoffState.UNKNOWN, error=reason))
    changed = {each.key: each for each in given_up}
    handoffs = tuple(changed.get(each.key, each) for each in entry.record.handoffs)
    entry = await call.port.run(partial(books.change, entry, handoffs=handoffs))
    return RecoveredLink(link=entry.link(), reason="; ".join(str(each.error) for each in given_up))
