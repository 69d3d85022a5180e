"""The calls of both linkers, step by step.

Each is a coroutine that reads from top to bottom. It sends and waits by its `PlaidCall`, in which
the blocking and the asynchronous linker differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Unpack

from .._plaid import requests
from .._plaid.call import PlaidCall
from .._plaid.requests import EXCHANGE, PlaidRequest
from ..adapters.catalogue import get_adapters, products_of
from ..errors import (
    AccountSelectionError,
    ConfigurationError,
    ItemNotFoundError,
    LinkIncompleteError,
    LinkSessionError,
    PlaidProcessorsError,
    RequestError,
)
from ..life import DuplicateItemError, as_results, find_duplicates
from ..redaction import mask
from ..results import (
    Account,
    Environment,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
)
from ..sessions import LinkSession, SessionItem, SessionState, read_metadata
from .arguments import checked_token, filled_text, names, plain_mapping, text
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
    call: PlaidCall, access_token: str, *, reason_code: str | None, reason_note: str | None
) -> bool:
    token = checked_token("access_token", access_token, call.environment)
    reason = {}
    if reason_code is not None:
        reason["reason_code"] = text("reason_code", reason_code)
        if reason_code not in _REASONS:
            raise ValueError(f"reason_code must be one of {', '.join(_REASONS)}")
    if reason_note is not None:
        reason["reason_note"] = text("reason_note", reason_note)
        if len(reason_note) > _LONGEST_NOTE:
            raise ValueError(f"reason_note must be at most {_LONGEST_NOTE} characters long")
    try:
        await call.ask(requests.remove_item(token, reason))
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
    earlier: Iterable[LinkResult] | None,
    on_duplicate: str,
    **options: Unpack[Options],
) -> LinkResult:
    """Check all that can be checked, then exchange and issue."""
    origin, listed = read_metadata(metadata)
    plan = make_plan(partner, accounts_of(listed, accounts), **options)
    call.port.check_callback("on_exchange", plan.on_exchange)
    call.port.check_callback("on_token", plan.on_token)
    token = checked_token("public_token", public_token, call.environment)
    _refuse_duplicates(metadata, earlier, on_duplicate)
    if plan.on_exchange is None:
        _warn_that_nothing_is_stored()
    return await _exchange_and_issue(call, plan, token, origin)


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


async def link_session(
    begin: Callable[[], PlaidCall],
    partner: Partners,
    link_token: str,
    *,
    earlier: Iterable[LinkResult] | None,
    on_duplicate: str,
    **options: Unpack[Options],
) -> tuple[LinkResult, ...]:
    """Link each Item of a finished session, in a call of its own; one that fails holds up none."""
    adapters = get_adapters(partner)
    known = None if earlier is None else as_results(earlier)
    found = await session(begin(), link_token)
    if not found.items:
        raise LinkSessionError(_why_without_items(found), session=found)
    results: list[LinkResult] = []
    failures: list[tuple[SessionItem, PlaidProcessorsError]] = []
    for item in found.items:
        try:
            result = await link(
                begin(),
                adapters,
                public_token=item.public_token,
                accounts=None,
                metadata=item.metadata,
                earlier=None if known is None else (*known, *results),
                on_duplicate=on_duplicate,
                **options,
            )
        except PlaidProcessorsError as error:
            failures.append((item, error))
        except BaseException as interruption:
            if results or failures:
                interruption.__cause__ = _incomplete(found, results, failures)
            raise
        else:
            results.append(result)
    if not failures:
        return tuple(results)
    if len(found.items) == 1:  # as `link` raises it
        raise failures[0][1]
    raise _incomplete(found, results, failures) from failures[0][1]


def _why_without_items(found: LinkSession) -> str:
    if found.state is SessionState.WAITING:
        return "the user is not through Link yet: call again after the webhook SESSION_FINISHED"
    if found.state is SessionState.EXITED:
        code = found.error and found.error.error_code
        return f"the user left Link and connected no bank ({code or 'without an error'})"
    return "the session made no Item: after update mode, go on with the access token that you have"


def _incomplete(
    found: LinkSession,
    results: Sequence[LinkResult],
    failures: Sequence[tuple[SessionItem, PlaidProcessorsError]],
) -> LinkSessionError:
    listed = "; ".join(f"{item.institution_name or 'an Item'}: {e}" for item, e in failures)
    return LinkSessionError(
        f"{len(results)} of {len(found.items)} Items of the session are linked: store "
        f"error.results. {listed or 'The others were not tried'}",
        session=found,
        results=results,
        failures=failures,
    )


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
    check_result(call, result)
    own = own_adapters(result, partner)
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


def check_result(call: PlaidCall, result: LinkResult) -> None:
    """Refuse what is no result, or one of the other environment."""
    if not isinstance(result, LinkResult):
        raise TypeError(f"result must be a LinkResult, not {type(result).__name__}")
    if result.environment is not call.environment:
        raise ConfigurationError(
            f"the result is of the environment {result.environment.value!r}, "
            f"but this client is of {call.environment.value!r}"
        )


async def _issue_missing(call: PlaidCall, plan: Plan, known: LinkResult) -> LinkResult:
    call.port.check_callback("on_token", plan.on_token)

    async def steps(progress: Progress) -> None:
        progress.expect(plan)
        await _finish(call, progress, plan)

    return await go_on(call, known, steps)


async def go_on(
    call: PlaidCall, known: LinkResult, steps: Callable[[Progress], Coroutine[Any, Any, None]]
) -> LinkResult:
    """Take steps for an Item that was the caller's before; an error has what they achieved."""
    progress = Progress.of_result(known)
    try:
        try:
            await steps(progress)
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
    """Choose the accounts if that is still to do, then ask for the tokens."""
    call.check()
    assert progress.item is not None
    waiting: dict[PendingPartner, AccountSelectionError] = {}
    if progress.unselected:
        fetched = await call.ask(requests.get_accounts(progress.item.access_token))
        tokens, waiting = plan.pick_fetched(fetched)
        progress.choose(tokens, tuple(waiting))
    await ask_for_missing(call, progress, on_token=plan.on_token, partial=plan.partial)
    for refused in waiting.values():
        raise refused


async def ask_for_missing(
    call: PlaidCall, progress: Progress, *, on_token: OnToken | None, partial: bool
) -> None:
    """Ask for the tokens that are pending, and narrow them if asked to."""
    assert progress.item is not None
    access_token = progress.item.access_token
    creations = [
        (each, requests.create_processor_token(each.processor, access_token, each.account))
        for each in progress.pending
        if each.unnarrowed is None
    ]
    callback_errors = await _ask_for_tokens(call, progress, creations, on_token)
    # Both are pending: what was issued now, and what an earlier call left.
    narrowings = [
        (each, requests.narrow(each.unnarrowed, each.permissions or ()))
        for each in progress.pending
        if each.unnarrowed is not None
    ]
    callback_errors += await _ask_for_tokens(call, progress, narrowings, on_token)
    if callback_errors:
        raise callback_errors[0]
    errors = progress.errors
    if errors and not (partial and progress.only_refused):
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
