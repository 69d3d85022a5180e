"""The calls of both linkers, step by step.

Each is a coroutine that reads from top to bottom. It sends and waits by its `PlaidCall`, in which
the blocking and the asynchronous linker differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Unpack

from attrs import fields

from .._plaid import requests
from .._plaid.call import PlaidCall
from .._plaid.requests import EXCHANGE, PlaidRequest
from ..adapters.catalogue import get_adapters, products_of
from ..errors import (
    AccountSelectionError,
    ConfigurationError,
    LinkIncompleteError,
    PublicTokenError,
    RequestError,
)
from ..life import DuplicateItemError, as_results, find_duplicates
from ..redaction import mask
from ..results import (
    Environment,
    LinkedItem,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
)
from ..sessions import read_metadata
from ..store.books import Books
from ..store.sealing import sha256
from .arguments import checked_token, filled_text, names, plain_mapping
from .keeping import Keeper, attempt, issuing, stored_user, taken_up
from .plan import (
    Accounts,
    OnToken,
    Options,
    Partners,
    Plan,
    accounts_of,
    left_to_do,
    make_plan,
    own_adapters,
    partners_of,
    resume_plan,
)
from .progress import Progress

logger = logging.getLogger("plaid_processors")


async def link(
    call: PlaidCall,
    books: Books | None,
    partner: Partners,
    *,
    public_token: str,
    client_user_id: str | None,
    accounts: Accounts | None,
    metadata: Mapping[str, object] | None,
    earlier: Iterable[LinkResult] | None,
    on_duplicate: str,
    **options: Unpack[Options],
) -> LinkResult:
    """Check all that can be checked, then exchange and issue."""
    origin, listed = read_metadata(metadata)
    partner = get_adapters(partner)  # it may be an iterator
    plan = make_plan(partner, accounts_of(listed, accounts), **options)
    call.port.check_callback("on_exchange", plan.on_exchange)
    call.port.check_callback("on_token", plan.on_token)
    token = checked_token("public_token", public_token, call.environment)
    if books is not None and earlier is not None:
        earlier = await _others(call, books, token, earlier)
    _refuse_duplicates(metadata, earlier, on_duplicate)
    if books is None:
        if plan.on_exchange is None:
            _warn_that_nothing_is_stored()
        return await exchange_and_issue(call, plan, token, origin, None)
    return await _link_once(call, books, plan, token, origin, client_user_id, partner)


async def _link_once(
    call: PlaidCall,
    books: Books,
    plan: Plan,
    public_token: str,
    origin: Mapping[str, str | None],
    client_user_id: str | None,
    partner: Partners,
) -> LinkResult:
    """Link what the store does not have yet; of what it has, ask for what is missing."""
    user = stored_user(client_user_id)
    result: LinkResult | None = None
    try:
        async with attempt(call, books, public_token, user, plan, origin) as keeper:
            if keeper.result is None:
                result = await exchange_and_issue(call, plan, public_token, origin, keeper)
            else:
                result = await resume_stored(
                    call, keeper, partner, plan.partial, plan.on_token, asked=plan
                )
    except BaseException as error:
        if result is not None:  # a cancellation came at the very end
            unfinished = Progress.of_result(result)
            error.__plaid_processors_unfinished__ = unfinished  # type: ignore[attr-defined]
        raise
    return result


async def resume_stored(
    call: PlaidCall,
    keeper: Keeper,
    partner: Partners | None,
    partial: bool,
    on_token: OnToken | None,
    *,
    asked: Plan | None = None,
) -> LinkResult:
    """Ask for the tokens that are missing of a link in the store.

    Where its accounts are not chosen yet, what is ``asked`` for now may choose them.
    """
    assert keeper.result is not None
    known = partners_of(keeper.result)
    adapters = [] if partner is None else get_adapters(partner)
    own = {each.processor: each for each in adapters if each.processor in known}
    result = left_to_do(keeper.result, None, own, handed_over=keeper.handed_over)
    options: Options = {
        "account_id": None,
        "account_ids": None,
        "partial": partial,
        "narrow": None,
        "on_token": on_token,
    }
    accounts: Accounts | None = None
    if asked is not None and result.unselected:
        waiting = {each.processor for each in result.unselected}
        choices = [each for _, each in asked.choices if each.processor in waiting]
        options["account_ids"] = {
            each.processor: each.account_ids for each in choices if each.account_ids is not None
        }
        options["verify_accounts"] = asked.verify
        accounts = asked.accounts
    plan = resume_plan(result, own, accounts, **options)
    return await _issue_missing(call, plan, result, keeper)


async def _others(
    call: PlaidCall, books: Books, public_token: str, earlier: Iterable[LinkResult]
) -> list[LinkResult]:
    """The earlier results, but for what this public token has made: a double click finds that."""
    own = await call.port.run(lambda: books.find_key(sha256(public_token)))
    call.check()
    item_id = None if own is None else own.record.item_id
    return [each for each in as_results(earlier) if item_id is None or each.item_id != item_id]


def _refuse_duplicates(
    metadata: Mapping[str, object] | None,
    earlier: Iterable[LinkResult] | None,
    on_duplicate: str,
) -> None:
    if on_duplicate not in ("raise", "allow"):
        raise ValueError("on_duplicate must be 'raise' or 'allow'")
    if earlier is None or on_duplicate == "allow":
        return
    if metadata is None:
        raise ValueError("earlier= needs metadata=: it names the bank that the user connected")
    if duplicates := find_duplicates(metadata, earlier):
        raise DuplicateItemError(duplicates)


@cache  # once in a process
def _warn_that_nothing_is_stored() -> None:
    logger.warning(
        "link() without on_exchange=: if this process dies before it returns, the Item's access "
        "token is lost. Store the Item in on_exchange (docs/reliability.md)."
    )


async def link_sandbox(
    call: PlaidCall,
    books: Books | None,
    partner: Partners,
    *,
    institution_id: str,
    client_user_id: str | None,
    products: Iterable[str] | None,
    sandbox_options: Mapping[str, object] | None,
    **options: Unpack[Options],
) -> LinkResult:
    """A public token without Link, then as `link`."""
    if call.environment is not Environment.SANDBOX:
        raise ConfigurationError("link_sandbox works in the Sandbox only")
    partner = get_adapters(partner)
    plan = make_plan(partner, None, first_fitting=True, **options)
    call.port.check_callback("on_exchange", plan.on_exchange)
    call.port.check_callback("on_token", plan.on_token)
    bank = filled_text("institution_id", institution_id)
    own = products_of(adapter for adapter, _ in plan.choices)
    asked = own if products is None else names("products", products)
    body_options = None if sandbox_options is None else plain_mapping("options", sandbox_options)
    if books is not None:
        stored_user(client_user_id)  # before anything is sent
    token = await call.ask(requests.create_sandbox_public_token(bank, asked, body_options))
    origin = {"institution_id": bank}
    if books is None:
        return await exchange_and_issue(call, plan, token, origin, None)
    return await _link_once(call, books, plan, token, origin, client_user_id, partner)


async def issue(
    call: PlaidCall,
    books: Books | None,
    partner: Partners,
    *,
    access_token: str | None,
    accounts: Accounts | None,
    item_id: str | None,
    **options: Unpack[Options],
) -> LinkResult:
    """The processor tokens for an Item that exists."""
    token = None
    if access_token is not None:
        token = checked_token("access_token", access_token, call.environment)
    plan = make_plan(partner, accounts, **options)
    call.port.check_callback("on_token", plan.on_token)
    processors = [adapter.processor for adapter, _ in plan.choices]
    async with issuing(call, books, processors, item_id=item_id, access_token=token) as keeper:
        if keeper is not None and keeper.result is not None:
            item = {each.name: getattr(keeper.result, each.name) for each in fields(LinkedItem)}
            result = keeper.base = LinkResult(**item)
        else:
            assert token is not None
            result = LinkResult(access_token=token, item_id=item_id, environment=call.environment)
        return await _issue_missing(call, plan, result, keeper)


async def resume(
    call: PlaidCall,
    books: Books | None,
    result: LinkResult,
    *,
    partner: Partners | None,
    accounts: Accounts | None,
    **options: Unpack[Options],
) -> LinkResult:
    """The tokens that are missing in a result."""
    check_result(call, result)
    own = own_adapters(result, partner)
    token = result.access_token
    # `recover` may be about to make the same tokens.
    async with taken_up(call, books, item_id=result.item_id, access_token=token) as keeper:
        handed_over: Collection[str] = ()
        if keeper is not None and keeper.result is not None:
            result, handed_over = keeper.with_given(result), keeper.handed_over
        result = left_to_do(result, options["narrow"], own, handed_over=handed_over)
        plan = resume_plan(result, own, accounts, **options)
        return await _issue_missing(call, plan, result, keeper)


async def exchange_and_issue(
    call: PlaidCall,
    plan: Plan,
    public_token: str,
    origin: Mapping[str, str | None],
    keeper: Keeper | None,
    wanted: LinkResult | None = None,
) -> LinkResult:
    """Exchange, keep the Item, call back, choose the accounts, one processor token for each.

    ``wanted`` has the tokens that an earlier attempt had chosen, beside those of the plan.
    """
    details = details_of(call, public_token, origin)
    progress = Progress(_listed(details))
    if wanted is not None:
        progress.entries, progress.bound = wanted.entries, wanted.bound
    progress.expect(plan)
    try:
        try:
            await call.ask(
                requests.exchange(
                    public_token,
                    call.environment,
                    origin,
                    progress.keep_item,
                    progress.exchange_sent,
                )
            )
            if keeper is not None:
                await keeper.keep_item(progress)
                progress.disarm()
            if plan.on_exchange is not None:
                await call.tell(plan.on_exchange, progress.item, even_if_interrupted=True)
                progress.disarm()
            await _finish(call, progress, plan, keeper)
            if keeper is not None:
                await keeper.done(progress)
        except Exception as error:
            if keeper is not None and keeper.tried_before and isinstance(error, PublicTokenError):
                error.outcome_unknown = True  # an earlier attempt may have spent the token
                details["time"] = keeper.since
            _add_support(error, details)
            if keeper is not None:
                await keeper.failed(error, progress)
            call.check(error)
            if progress.item is not None:
                raise progress.incomplete(error) from error
            raise
        result = progress.result
        # A cancellation that comes after this is asyncio's to lose, with the result: be quick.
        await call.port.checkpoint()
        progress.disarm()
        return result  # noqa: TRY300  no statement may stand between it and its `except`
    except BaseException as error:
        # One assignment, before anything else: a second interruption may come at any moment.
        error.__plaid_processors_unfinished__ = progress  # type: ignore[attr-defined]
        call.leave()
        # An interruption may be swallowed on its way (by a TaskGroup, say): then a warning is left.
        if _may_exist(call, progress, error):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            error.add_note(ask_plaid({"time": now, **details}))
        elif progress.item is None or isinstance(error, LinkIncompleteError):
            progress.disarm()
        raise


def details_of(
    call: PlaidCall, public_token: str, origin: Mapping[str, str | None]
) -> dict[str, str | None]:
    """What Plaid's support can find an exchange by."""
    return {
        "endpoint": EXCHANGE,
        "environment": call.environment.value,
        "public_token": mask(public_token),
        **origin,
    }


def check_result(call: PlaidCall, result: LinkResult) -> None:
    """Refuse what is no result, or one of the other environment."""
    if not isinstance(result, LinkResult):
        raise TypeError(f"result must be a LinkResult, not {type(result).__name__}")
    if result.environment is not call.environment:
        raise ConfigurationError(
            f"the result is of the environment {result.environment.value!r}, "
            f"but this client is of {call.environment.value!r}"
        )


async def _issue_missing(
    call: PlaidCall, plan: Plan, known: LinkResult, keeper: Keeper | None
) -> LinkResult:
    call.port.check_callback("on_token", plan.on_token)

    async def steps(progress: Progress) -> None:
        progress.expect(plan)
        if keeper is not None and (progress.pending or progress.unselected):
            await keeper.keep(progress)
        await _finish(call, progress, plan, keeper)

    return await go_on(call, known, steps, keeper)


async def go_on(
    call: PlaidCall,
    known: LinkResult,
    steps: Callable[[Progress], Coroutine[Any, Any, None]],
    keeper: Keeper | None,
) -> LinkResult:
    """Take steps for an Item that was the caller's before; an error has what they achieved."""
    progress = Progress.of_result(known)
    try:
        try:
            await steps(progress)
            if keeper is not None:
                await keeper.done(progress)
        except Exception as error:
            if keeper is not None:
                await keeper.failed(error, progress)
            if not progress.advanced:
                raise
            raise progress.incomplete(error) from error
        result = progress.result
        return result  # noqa: RET504, TRY300  as above
    except BaseException as error:
        if not isinstance(error, Exception):
            error.__plaid_processors_unfinished__ = progress  # type: ignore[attr-defined]
        call.leave()
        raise


async def _finish(call: PlaidCall, progress: Progress, plan: Plan, keeper: Keeper | None) -> None:
    """Choose the accounts if that is still to do, then ask for the tokens."""
    call.check()
    assert progress.item is not None
    waiting: dict[PendingPartner, AccountSelectionError] = {}
    if progress.unselected:
        fetched = await call.ask(requests.get_accounts(progress.item.access_token))
        tokens, waiting = plan.pick_fetched(fetched)
        progress.choose(tokens, tuple(waiting))
    await ask_for_missing(call, progress, keeper, on_token=plan.on_token, partial=plan.partial)
    for refused in waiting.values():
        raise refused


async def ask_for_missing(
    call: PlaidCall,
    progress: Progress,
    keeper: Keeper | None,
    *,
    on_token: OnToken | None,
    partial: bool,
) -> None:
    """Ask for the tokens that are pending, and narrow them if asked to."""
    assert progress.item is not None
    access_token = progress.item.access_token
    creations = [
        (each, requests.create_processor_token(each.processor, access_token, each.account))
        for each in progress.pending
        if each.unnarrowed is None
    ]
    callback_errors = await _ask_for_tokens(call, progress, creations, keeper, on_token)
    # Both are pending: what was issued now, and what an earlier call left.
    narrowings = [
        (each, requests.narrow(each.unnarrowed, each.permissions or ()))
        for each in progress.pending
        if each.unnarrowed is not None
    ]
    callback_errors += await _ask_for_tokens(call, progress, narrowings, keeper, on_token)
    if callback_errors:
        raise callback_errors[0]
    errors = progress.errors
    if errors and not (partial and progress.only_refused):
        raise errors[0][1]


async def _ask_for_tokens(
    call: PlaidCall,
    progress: Progress,
    to_send: Sequence[tuple[PendingToken, PlaidRequest[ProcessorToken]]],
    keeper: Keeper | None,
    on_token: OnToken | None,
) -> list[Exception]:
    """Send these requests side by side; keep each token, and pass it on.

    Returns the errors of the store and of `on_token`.
    """
    callback_errors: list[Exception] = []
    batch = call.ask_all([request for _, request in to_send])
    for _ in to_send:
        place, outcome = await batch.next()
        token = progress.settle(to_send[place][0], outcome)
        try:
            if keeper is not None:
                await keeper.keep(progress)
                call.check()
            if token is not None and on_token is not None:
                await call.tell(on_token, token)
        except Exception as error:  # noqa: BLE001  the caller's code may raise anything
            callback_errors.append(error)
    return callback_errors


def _add_support(error: Exception, details: Mapping[str, str | None]) -> None:
    """Where Plaid may have made an Item although the exchange failed, say what to do then."""
    if isinstance(error, RequestError) and error.endpoint == EXCHANGE and error.outcome_unknown:
        time = error.occurred_at and error.occurred_at.isoformat(timespec="seconds")
        known = {"time": time, "request_id": error.request_id, **details}
        error.support = {name: value for name, value in known.items() if value}
        error.advice = ask_plaid(error.support)


def _may_exist(call: PlaidCall, progress: Progress, error: BaseException) -> bool:
    """Whether Plaid may have made an Item that this error, an interruption, does not mention."""
    if progress.item is not None or not progress.exchange.sent or isinstance(error, RequestError):
        return False
    return call.may_have_acted()


def ask_plaid(details: Mapping[str, str | None]) -> str:
    return (
        "An Item may exist whose access token was lost. Let the user link again, and ask Plaid's "
        f"support (https://dashboard.plaid.com/support) to remove that Item: {_listed(details)}."
    )


def _listed(details: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items() if value)
