"""The calls of both linkers, step by step.

Each is a coroutine that reads from top to bottom. It sends and waits by its `PlaidCall`, in which
the blocking and the asynchronous linker differ.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Unpack

from .._plaid import requests
from .._plaid.call import PlaidCall
from .._plaid.requests import EXCHANGE, PlaidRequest
from ..adapters.catalogue import get_adapters, products_of
from ..errors import ConfigurationError, ItemNotFoundError, LinkIncompleteError, RequestError
from ..redaction import mask
from ..results import Account, Environment, LinkResult, PendingToken, ProcessorToken
from ..sessions import LinkSession
from .arguments import checked_token, filled_text, names, plain_mapping
from .plan import (
    Accounts,
    OnToken,
    Options,
    Partners,
    Plan,
    left_to_do,
    make_plan,
    read_metadata,
    resume_plan,
)
from .progress import Progress

logger = logging.getLogger("plaid_processors")


async def session(call: PlaidCall, link_token: str) -> LinkSession:
    token = checked_token("link_token", link_token, call.environment)
    return await call.ask(requests.get_link_session(token))


async def accounts(call: PlaidCall, access_token: str) -> tuple[Account, ...]:
    token = checked_token("access_token", access_token, call.environment)
    return await call.ask(requests.get_accounts(token))


async def remove(call: PlaidCall, access_token: str) -> bool:
    token = checked_token("access_token", access_token, call.environment)
    try:
        await call.ask(requests.remove_item(token))
    except ItemNotFoundError as error:
        if error.error_code != "ITEM_NOT_FOUND":
            raise
        # Gone by an attempt of this call whose answer was lost, or gone before.
        return error.outcome_unknown
    return True


async def link(
    call: PlaidCall,
    partner: Partners,
    *,
    public_token: str,
    accounts: Accounts | None,
    metadata: Mapping[str, object] | None,
    **options: Unpack[Options],
) -> LinkResult:
    """Check all that can be checked, then exchange and issue."""
    origin, listed = read_metadata(metadata, accounts)
    plan = make_plan(partner, listed, **options)
    call.port.check_callback("on_exchange", plan.on_exchange)
    call.port.check_callback("on_token", plan.on_token)
    token = checked_token("public_token", public_token, call.environment)
    if plan.on_exchange is None:
        _warn_that_nothing_is_stored()
    return await _exchange_and_issue(call, plan, token, origin)


@cache  # once in a process
def _warn_that_nothing_is_stored() -> None:
    logger.warning(
        "link() without on_exchange=: if this process dies before it returns, the Item's access "
        "token is lost. Store the Item in on_exchange (docs/reliability.md)."
    )


async def link_sandbox(
    call: PlaidCall,
    partner: Partners,
    *,
    institution_id: str,
    products: Iterable[str] | None,
    sandbox_options: Mapping[str, object] | None,
    **options: Unpack[Options],
) -> LinkResult:
    """A public token without Link, then as `link`."""
    if call.environment is not Environment.SANDBOX:
        raise ConfigurationError("link_sandbox works in the Sandbox only")
    plan = make_plan(partner, None, first_fitting=True, **options)
    call.port.check_callback("on_exchange", plan.on_exchange)
    call.port.check_callback("on_token", plan.on_token)
    bank = filled_text("institution_id", institution_id)
    own = products_of(adapter for adapter, _ in plan.choices)
    asked = own if products is None else names("products", products)
    body_options = None if sandbox_options is None else plain_mapping("options", sandbox_options)
    token = await call.ask(requests.create_sandbox_public_token(bank, asked, body_options))
    return await _exchange_and_issue(call, plan, token, {"institution_id": bank})


async def issue(
    call: PlaidCall,
    partner: Partners,
    *,
    access_token: str,
    accounts: Accounts | None,
    item_id: str | None,
    **options: Unpack[Options],
) -> LinkResult:
    """The processor tokens for an Item that exists."""
    token = checked_token("access_token", access_token, call.environment)
    result = LinkResult(access_token=token, item_id=item_id, environment=call.environment)
    plan = make_plan(partner, accounts, **options)
    return await _issue_missing(call, plan, result)


async def resume(
    call: PlaidCall,
    result: LinkResult,
    *,
    partner: Partners | None,
    accounts: Accounts | None,
    **options: Unpack[Options],
) -> LinkResult:
    """The tokens that are missing in a result."""
    if not isinstance(result, LinkResult):
        raise TypeError(f"result must be a LinkResult, not {type(result).__name__}")
    if result.environment is not call.environment:
        raise ConfigurationError(
            f"the result is of the environment {result.environment.value!r}, "
            f"but this client is of {call.environment.value!r}"
        )
    adapters = () if partner is None else get_adapters(partner)
    own = {adapter.processor: adapter for adapter in adapters}
    result = left_to_do(result, options["narrow"], own)
    return await _issue_missing(call, resume_plan(result, own, accounts, **options), result)


async def _exchange_and_issue(
    call: PlaidCall, plan: Plan, public_token: str, origin: Mapping[str, str | None]
) -> LinkResult:
    """Exchange, keep the Item, call back, choose the accounts, one processor token for each."""
    details = {
        "endpoint": EXCHANGE,
        "environment": call.environment.value,
        "public_token": mask(public_token),
        **origin,
    }
    progress = Progress(_listed(details))
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
            if plan.on_exchange is not None:
                await call.tell(plan.on_exchange, progress.item, even_if_interrupted=True)
                progress.disarm()
            await _finish(call, progress, plan)
        except Exception as error:
            _add_support(error, details)
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
            error.add_note(_ask_plaid({"time": now, **details}))
        elif progress.item is None or isinstance(error, LinkIncompleteError):
            progress.disarm()
        raise


async def _issue_missing(call: PlaidCall, plan: Plan, known: LinkResult) -> LinkResult:
    """The rest of a link, for an Item that was the caller's before."""
    call.port.check_callback("on_token", plan.on_token)
    progress = Progress.of_result(known)
    progress.expect(plan)
    try:
        try:
            await _finish(call, progress, plan)
        except Exception as error:
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


async def _finish(call: PlaidCall, progress: Progress, plan: Plan) -> None:
    """Choose the accounts if that is still to do, ask for the tokens, narrow them if asked to."""
    call.check()
    assert progress.item is not None
    access_token = progress.item.access_token
    if progress.unselected:
        fetched = await call.ask(requests.get_accounts(access_token))
        progress.choose(plan.pick_fetched(fetched))
    creations = [
        (each, requests.create_processor_token(each.processor, access_token, each.account))
        for each in progress.pending
        if each.unnarrowed is None
    ]
    callback_errors = await _ask_for_tokens(call, progress, creations, plan.on_token)
    # Both are pending: what was issued now, and what an earlier call left.
    narrowings = [
        (each, requests.narrow(each.unnarrowed, each.permissions or ()))
        for each in progress.pending
        if each.unnarrowed is not None
    ]
    callback_errors += await _ask_for_tokens(call, progress, narrowings, plan.on_token)
    if callback_errors:
        raise callback_errors[0]
    errors = progress.errors
    if errors and not (plan.partial and progress.only_refused):
        raise errors[0][1]


async def _ask_for_tokens(
    call: PlaidCall,
    progress: Progress,
    to_send: Sequence[tuple[PendingToken, PlaidRequest[ProcessorToken]]],
    on_token: OnToken | None,
) -> list[Exception]:
    """Send these requests side by side; pass each token on. Returns the errors of `on_token`."""
    callback_errors: list[Exception] = []
    batch = call.ask_all([request for _, request in to_send])
    for _ in to_send:
        place, outcome = await batch.next()
        token = progress.settle(to_send[place][0], outcome)
        if token is not None and on_token is not None:
            try:
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
        error.advice = _ask_plaid(error.support)


def _may_exist(call: PlaidCall, progress: Progress, error: BaseException) -> bool:
    """Whether Plaid may have made an Item that this error, an interruption, does not mention."""
    if progress.item is not None or not progress.exchange.sent or isinstance(error, RequestError):
        return False
    return call.may_have_acted()


def _ask_plaid(details: Mapping[str, str | None]) -> str:
    return (
        "An Item may exist whose access token was lost. Let the user link again, and ask Plaid's "
        f"support (https://dashboard.plaid.com/support) to remove that Item: {_listed(details)}."
    )


def _listed(details: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items() if value)
