"""A link after it was made: how it stands, and what follows from that."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve

from .._plaid import requests
from .._plaid.answers import api_error
from .._plaid.call import PlaidCall
from .._plaid.requests import Body
from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import get_adapter
from ..errors import (
    AccountSelectionError,
    ConfigurationError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    PlaidApiError,
    PlaidUnavailableError,
    StoreError,
)
from ..life import LinkChanges, LinkStatus
from ..redaction import secrets_among
from ..results import (
    Account,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    text_in,
    texts_in,
    time_in,
)
from ..store.books import Books, is_erased
from ..store.records import LinkState
from .accounts import pick
from .arguments import flag, names, text
from .keeping import Keeper, access_token_of, keeper_of, taken_up
from .link import ask_for_missing, check_result, go_on
from .plan import OnToken, Partners, left_to_do, missing_again, own_adapters, partners_of
from .progress import Progress

# PNC wants new processor tokens after update mode: https://plaid.com/docs/auth/
_PNC = "ins_13"


async def status(
    call: PlaidCall,
    books: Books | None,
    access_token: str | LinkResult | None,
    item_id: str | None,
) -> LinkStatus:
    """How the Item stands."""
    if isinstance(access_token, LinkResult):
        check_result(call, access_token)
        access_token = access_token.access_token
    return await _look(call, await access_token_of(call, books, access_token, item_id))


async def refresh(
    call: PlaidCall,
    books: Books | None,
    result: LinkResult | None,
    *,
    item_id: str | None,
    partner: Partners | None,
    reissue: bool | Iterable[str],
    partial: bool,
    on_token: OnToken | None,
) -> LinkChanges:
    """Look, leave out what is gone, ask for the tokens that are missing."""
    call.port.check_callback("on_token", on_token)
    again = reissue if isinstance(reissue, bool) else names("reissue", reissue)
    flag("partial", partial)
    if (result is None) == (item_id is None):
        raise ConfigurationError("pass the result, or with a store item_id=, but not both")
    if result is not None:
        check_result(call, result)
    token = None if result is None else result.access_token
    # A webhook may come before `link` is through, which is to make the same tokens.
    async with taken_up(call, books, item_id=item_id, access_token=token) as keeper:
        known = result
        if keeper is not None and keeper.result is not None:
            known = keeper.result if result is None else keeper.with_given(result)
        assert known is not None
        return await _refreshed(call, known, keeper, partner, again, partial, on_token)


async def _refreshed(
    call: PlaidCall,
    result: LinkResult,
    keeper: Keeper | None,
    partner: Partners | None,
    again: bool | Collection[str],
    partial: bool,
    on_token: OnToken | None,
) -> LinkChanges:
    own = own_adapters(result, partner)
    adapters = {name: own.get(name) or get_adapter(name) for name in partners_of(result)}
    status = LinkStatus()

    async def steps(progress: Progress) -> None:
        nonlocal status
        status = await _look(call, result.access_token)
        if status.healthy:
            present = {each.account_id for each in status.accounts}
            tokens = result.processor_tokens
            handed_over = () if keeper is None else keeper.handed_over
            progress.take_up(_what_follows(result, status, adapters, again, handed_over))
            progress.went = tuple(each for each in tokens if each.account.account_id not in present)
            await ask_for_missing(call, progress, keeper, on_token=on_token, partial=partial)
            progress.went = ()

    changes = _changes(result, await go_on(call, result, steps, keeper), status)
    if keeper is not None and _is_gone(status):
        await keeper.over(LinkState.REMOVED, "ITEM_NOT_FOUND")
    return changes


def _is_gone(status: LinkStatus) -> bool:
    return status.error is not None and status.error.error_code == "ITEM_NOT_FOUND"


async def _look(call: PlaidCall, access_token: str) -> LinkStatus:
    item: Body = {}
    accounts: tuple[Account, ...] = ()
    error: PlaidApiError | None
    try:
        item = await call.ask(requests.get_item(access_token))
        error = _error_in(item, secrets_among(access_token, *call.access.keys()))
        if error is None:
            accounts = await call.ask(requests.get_accounts(access_token))
    except PlaidApiError as answer:
        about_item = isinstance(answer, (ItemLoginRequiredError, ItemNotFoundError))
        # Also a code that is new; but not that data is still being fetched.
        if not about_item and (answer.error_type != "ITEM_ERROR" or _passes(answer)):
            raise
        error = answer.with_traceback(None)
    return LinkStatus(
        error=error,
        accounts=accounts,
        products=texts_in(item, "products") or (),
        consented_products=texts_in(item, "consented_products"),
        consent_expires_at=time_in(item, "consent_expiration_time"),
        item_id=text_in(item, "item_id"),
        institution_id=text_in(item, "institution_id"),
    )


def _passes(error: PlaidApiError) -> bool:
    return error.retryable or isinstance(error, PlaidUnavailableError)


def _error_in(item: Body, secrets: tuple[str, ...]) -> PlaidApiError | None:
    error = item.get("error")
    return api_error("/item/get", 400, error, secrets) if isinstance(error, Mapping) else None


def _what_follows(
    result: LinkResult,
    status: LinkStatus,
    adapters: Mapping[str, PartnerAdapter],
    again: bool | Collection[str],
    handed_over: Collection[str],
) -> LinkResult:
    """The result without the accounts that went, and with the tokens to ask for as pending."""
    result = left_to_do(result, None, {}, handed_over=handed_over)
    consent_ends = status.consent_expires_at
    renewed = status.institution_id == _PNC and consent_ends not in (
        None,
        result.consent_expires_at,
    )
    present = {account.account_id for account in status.accounts}
    to_reissue = present if again is True or renewed else set(again or ())
    entries: list[ProcessorToken | PendingToken] = []
    unselected: list[PendingPartner] = []
    for name, adapter in adapters.items():
        before = [each for each in result.entries if each.processor == name]
        kept = [each for each in before if each.account.account_id in present]
        takes_all = not (adapter.single or adapter.as_given or name in result.bound)
        if before:
            # A partner whose account went stays bound to it: never guess which one to pay.
            ids = None if takes_all else [each.account.account_id for each in before]
            permissions = before[0].permissions
            partner = PendingPartner(processor=name, account_ids=ids, permissions=permissions)
        else:
            partner = next(each for each in result.unselected if each.processor == name)
        picked = _picked(adapter, partner, status.accounts) if takes_all or not kept else ()
        if not kept and not picked:
            unselected.append(partner)
        known = {each.account.account_id for each in kept}
        entries += [
            missing_again(each) if each.account.account_id in to_reissue else each for each in kept
        ]
        entries += [
            PendingToken(processor=name, account=account, permissions=partner.permissions)
            for account in picked
            if account.account_id not in known
        ]
    return evolve(result, entries=entries, unselected=unselected, consent_expires_at=consent_ends)


def _picked(
    adapter: PartnerAdapter, partner: PendingPartner, accounts: Sequence[Account]
) -> tuple[Account, ...]:
    """The accounts of a partner; none where its rule refuses, or is not known."""
    if adapter.as_given and partner.account_ids is None:
        return ()
    try:
        return pick(adapter, partner, accounts)
    except AccountSelectionError:
        return ()


def _changes(before: LinkResult, after: LinkResult, status: LinkStatus) -> LinkChanges:
    was = {each.account.account_id: each.account for each in before.entries}
    now = {each.account.account_id: each.account for each in after.entries}
    return LinkChanges(
        result=after,
        status=status,
        added=tuple(account for account_id, account in now.items() if account_id not in was),
        removed=tuple(account for account_id, account in was.items() if account_id not in now),
        issued=tuple(each for each in after.processor_tokens if each not in before.entries),
        changed=after != before,
    )


async def accounts(
    call: PlaidCall, books: Books | None, access_token: str | None, item_id: str | None
) -> tuple[Account, ...]:
    token = await access_token_of(call, books, access_token, item_id)
    return await call.ask(requests.get_accounts(token))


# https://plaid.com/docs/api/items/#item-remove-request-reason-code
_REASONS = (
    "FRAUD_FIRST_PARTY",
    "FRAUD_FALSE_IDENTITY",
    "FRAUD_ABUSE",
    "FRAUD_OTHER",
    "CONNECTION_IS_NON_FUNCTIONAL",
    "OTHER",
)
_LONGEST_NOTE = 512


async def remove(
    call: PlaidCall,
    books: Books | None,
    access_token: str | None,
    *,
    item_id: str | None,
    reason_code: str | None,
    reason_note: str | None,
) -> bool:
    if books is not None and access_token is None and item_id is not None:
        entry = await call.port.run(functools.partial(books.find, item_id=item_id))
        call.check()
        if entry is not None and is_erased(entry):
            return False
    token = await access_token_of(call, books, access_token, item_id)
    keeper = await keeper_of(call, books, item_id=item_id, access_token=token)
    reason = {}
    if reason_code is not None:
        reason["reason_code"] = text("reason_code", reason_code)
        if reason_code not in _REASONS:
            raise ValueError(f"reason_code must be one of {', '.join(_REASONS)}")
    if reason_note is not None:
        reason["reason_note"] = text("reason_note", reason_note)
        if len(reason_note) > _LONGEST_NOTE:
            raise ValueError(f"reason_note must be at most {_LONGEST_NOTE} characters long")
    removed = True
    try:
        await call.ask(requests.remove_item(token, reason))
    except ItemNotFoundError as error:
        if error.error_code != "ITEM_NOT_FOUND":
            raise
        # Gone by an attempt of this call whose answer was lost, or gone before.
        removed = error.outcome_unknown
    if keeper is not None:
        try:
            await keeper.over(LinkState.REMOVED, reason_code or "removed")
        except StoreError as error:
            error.add_note("Plaid has removed the Item, but that could not be stored: call again.")
            raise
    return removed
