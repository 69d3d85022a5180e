"""The calls of both linkers, step by step: what is asked of Plaid, and what becomes of the answers.

Each is a coroutine that reads from top to bottom. It sends and waits by the `PlaidCall` that it is
given, which is how the blocking and the asynchronous linker differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from .._plaid import requests
from .._plaid.answers import RequestError
from .._plaid.call import PlaidCall
from .._plaid.requests import PlaidRequest
from ..adapters import products_of
from ..errors import ConfigurationError, ItemNotFoundError, LinkIncompleteError
from ..redaction import mask
from ..results import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    PendingToken,
    ProcessorToken,
)
from ..sessions import LinkSession
from .arguments import checked_token, filled_text, flag, names, plain_mapping
from .plan import AccountIds, Accounts, Origin, Partners, Plan, make_plan, read_metadata
from .progress import Progress
from .resuming import narrowed, resume_plan

OnExchange = Callable[[LinkedItem], object]
OnToken = Callable[[ProcessorToken], object]


async def create_link_token(call: PlaidCall, body: Mapping[str, object]) -> LinkToken:
    """One request."""
    return await call.ask(requests.create_link_token(body))


async def session(call: PlaidCall, environment: Environment, link_token: str) -> LinkSession:
    """One request."""
    token = checked_token("link_token", link_token, "link", environment)
    return await call.ask(requests.get_link_session(token))


async def accounts(
    call: PlaidCall, environment: Environment, access_token: str
) -> tuple[Account, ...]:
    """One request."""
    token = checked_token("access_token", access_token, "access", environment)
    return await call.ask(requests.get_accounts(token))


async def remove(call: PlaidCall, environment: Environment, access_token: str) -> bool:
    """One request; an Item that is already gone is no error."""
    token = checked_token("access_token", access_token, "access", environment)
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
    environment: Environment,
    partner: Partners,
    *,
    public_token: str,
    accounts: Accounts | None,
    metadata: Mapping[str, object] | None,
    account_id: str | None,
    account_ids: AccountIds | None,
    verify_accounts: bool,
    partial: bool,
    narrow: bool,
    on_exchange: OnExchange | None,
    on_token: OnToken | None,
) -> LinkResult:
    """Check all that can be checked, then exchange and issue."""
    origin, listed = read_metadata(metadata, accounts)
    call.port.check_callback("on_exchange", on_exchange)
    call.port.check_callback("on_token", on_token)
    plan = make_plan(
        partner,
        listed,
        account_id=account_id,
        account_ids=account_ids,
        verify_accounts=verify_accounts,
        narrow=narrow,
    )
    token = checked_token("public_token", public_token, "public", environment)
    partial = flag("partial", partial)
    return await _exchange_and_issue(
        call, environment, plan, token, origin, partial, on_exchange, on_token
    )


async def link_sandbox(
    call: PlaidCall,
    environment: Environment,
    partner: Partners,
    *,
    institution_id: str,
    products: Iterable[str] | None,
    options: Mapping[str, object] | None,
    account_id: str | None,
    account_ids: AccountIds | None,
    partial: bool,
    narrow: bool,
    on_exchange: OnExchange | None,
    on_token: OnToken | None,
) -> LinkResult:
    """A public token without Link, then as `link`."""
    if environment is not Environment.SANDBOX:
        raise ConfigurationError("link_sandbox works in the Sandbox only")
    call.port.check_callback("on_exchange", on_exchange)
    call.port.check_callback("on_token", on_token)
    plan = make_plan(
        partner,
        None,
        account_id=account_id,
        account_ids=account_ids,
        first_fitting=True,
        narrow=narrow,
    )
    partial = flag("partial", partial)
    bank = filled_text("institution_id", institution_id)
    own = products_of([choice.adapter for choice in plan.choices])
    public_token = await call.ask(
        requests.create_sandbox_public_token(
            bank,
            own if products is None else names("products", products),
            None if options is None else plain_mapping("options", options),
        )
    )
    origin = Origin(institution_id=bank)
    return await _exchange_and_issue(
        call, environment, plan, public_token, origin, partial, on_exchange, on_token
    )


async def issue(
    call: PlaidCall,
    environment: Environment,
    partner: Partners,
    *,
    access_token: str,
    accounts: Accounts | None,
    item_id: str | None,
    account_id: str | None,
    account_ids: AccountIds | None,
    verify_accounts: bool,
    partial: bool,
    narrow: bool,
    on_token: OnToken | None,
) -> LinkResult:
    """The processor tokens for an Item that exists."""
    call.port.check_callback("on_token", on_token)
    result = LinkResult(
        access_token=checked_token("access_token", access_token, "access", environment),
        item_id=item_id,
        environment=environment,
    )
    plan = make_plan(
        partner,
        accounts,
        account_id=account_id,
        account_ids=account_ids,
        verify_accounts=verify_accounts,
        narrow=narrow,
    )
    progress = Progress.of_result(result)
    progress.expect(plan, plan.picked_early())
    return await _go_on(call, progress, plan, flag("partial", partial), on_token)


async def resume(
    call: PlaidCall,
    environment: Environment,
    result: LinkResult,
    *,
    partner: Partners | None,
    accounts: Accounts | None,
    account_id: str | None,
    account_ids: AccountIds | None,
    verify_accounts: bool,
    partial: bool,
    narrow: bool | None,
    on_token: OnToken | None,
) -> LinkResult:
    """What is missing of a result."""
    if not isinstance(result, LinkResult):
        raise TypeError(f"result must be a LinkResult, not {type(result).__name__}")
    if result.environment is not environment:
        raise ConfigurationError(
            f"the result is of the environment {result.environment.value!r}, "
            f"but this client is of {environment.value!r}"
        )
    call.port.check_callback("on_token", on_token)
    result = narrowed(result, narrow, partner)
    plan = resume_plan(
        result,
        partner,
        accounts,
        account_id=account_id,
        account_ids=account_ids,
        verify_accounts=verify_accounts,
    )
    progress = Progress.of_result(result)
    if plan is not None and (picked := plan.picked_early()) is not None:
        progress.choose(picked)
    return await _go_on(call, progress, plan, flag("partial", partial), on_token)


async def _exchange_and_issue(
    call: PlaidCall,
    environment: Environment,
    plan: Plan,
    public_token: str,
    origin: Origin,
    partial: bool,
    on_exchange: OnExchange | None,
    on_token: OnToken | None,
) -> LinkResult:
    """Exchange, keep the Item, call back, choose the accounts, one processor token for each."""
    session = f"Link session {origin.link_session_id}, public token {mask(public_token)}"
    progress = Progress(session)
    progress.expect(plan, plan.picked_early())

    def land(access_token: str, item_id: str | None, request_id: str | None) -> None:
        progress.land(
            {
                "access_token": access_token,
                "item_id": item_id,
                "request_id": request_id,
                "environment": environment,
                **origin._asdict(),
            }
        )

    try:
        try:
            await call.ask(requests.exchange(public_token, land, progress.asked))
            if on_exchange is not None:
                await call.tell(on_exchange, progress.item, even_if_interrupted=True)
                progress.in_hand()
            await _finish(call, progress, plan, partial, on_token)
        except Exception as error:
            _add_support(error, environment, origin, public_token)
            call.check(error)
            if progress.known:
                raise progress.incomplete(error) from error
            raise
        await call.port.checkpoint()
        result = progress.result
        assert result is not None
        progress.in_hand()
        return result  # noqa: TRY300  no statement may stand between it and its `except`
    except BaseException as error:
        # One assignment, before anything else: a second interruption may come at any moment.
        error.__plaid_processors_unfinished__ = progress  # type: ignore[attr-defined]
        call.leave()
        # An interruption may be swallowed on its way (by a TaskGroup, say): then a warning is left.
        if _may_exist(progress, error):
            _add_note(error, environment, origin, public_token)
        elif not progress.known or isinstance(error, LinkIncompleteError):
            progress.in_hand()
        raise


async def _go_on(
    call: PlaidCall,
    progress: Progress,
    plan: Plan | None,
    partial: bool,
    on_token: OnToken | None,
) -> LinkResult:
    """The rest of a link, for an Item that was the caller's before."""
    before = progress.issued
    try:
        try:
            await _finish(call, progress, plan, partial, on_token)
        except Exception as error:
            if progress.issued == before:
                raise  # nothing was achieved
            raise progress.incomplete(error) from error
        result = progress.result
        assert result is not None
        return result  # noqa: TRY300  as above
    except BaseException as error:
        if not isinstance(error, Exception):
            error.__plaid_processors_unfinished__ = progress  # type: ignore[attr-defined]
        call.leave()
        raise


async def _finish(
    call: PlaidCall,
    progress: Progress,
    plan: Plan | None,
    partial: bool,
    on_token: OnToken | None,
) -> None:
    """Choose the accounts where that is still to do, ask for the tokens, narrow them if asked to.

    Raises:
        Exception: what failed first: a callback, a request, or a partner's rule.
    """
    call.check()
    if plan is not None and progress.unselected:
        fetched = await call.ask(requests.get_accounts(progress.access_token))
        progress.choose(plan.pick_fetched(fetched))
    wanted = [each for each in progress.pending if each.unnarrowed is None]
    creations = [
        requests.create_processor_token(each.processor, progress.access_token, each.account)
        for each in wanted
    ]
    failed_callbacks = await _ask_for_tokens(call, progress, wanted, creations, on_token)
    # Both are pending: what was issued now, and what an earlier call left.
    unnarrowed = [each for each in progress.pending if each.unnarrowed is not None]
    narrowings = [
        requests.narrow(each.unnarrowed, each.permissions or ())
        for each in unnarrowed
        if each.unnarrowed is not None
    ]
    failed_callbacks += await _ask_for_tokens(call, progress, unnarrowed, narrowings, on_token)
    if failed_callbacks:
        raise failed_callbacks[0]
    errors = progress.errors
    # A token that could not be narrowed is more than an account that is refused.
    if errors and not (partial and progress.only_refused and not progress.unnarrowed):
        raise errors[0][1]


async def _ask_for_tokens(
    call: PlaidCall,
    progress: Progress,
    wanted: Sequence[PendingToken],
    asked: Sequence[PlaidRequest[ProcessorToken]],
    on_token: OnToken | None,
) -> list[Exception]:
    """Send these requests side by side, and pass each token on as it comes.

    Returns:
        What `on_token` raised: the other tokens are passed on all the same.
    """
    failed: list[Exception] = []
    batch = call.ask_all(asked)
    for _ in asked:
        place, outcome = await batch.next()
        token = progress.arrived(wanted[place], outcome)
        if token is not None and on_token is not None:
            try:
                await call.tell(on_token, token)
            except Exception as error:  # noqa: BLE001  the caller's code may raise anything
                failed.append(error)
    return failed


def _add_support(
    error: Exception, environment: Environment, origin: Origin, public_token: str
) -> None:
    """Where Plaid may have made an Item although the exchange failed, say what to do then."""
    if not isinstance(error, RequestError) or error.endpoint != requests.EXCHANGE:
        return
    if error.outcome_unknown:
        known = {
            "time": error.occurred_at and error.occurred_at.isoformat(timespec="seconds"),
            "request_id": error.request_id,
            **_known(environment, origin, public_token),
        }
        error.support = {name: value for name, value in known.items() if value}
        error.advice = _ask_plaid(error.support)


def _may_exist(progress: Progress, error: BaseException) -> bool:
    """Whether Plaid may have made an Item of which this error, an interruption, says nothing."""
    if progress.known or not progress.landing.asked or isinstance(error, RequestError):
        return False
    behind = (error.__cause__, error.__context__)
    failures = [each for each in behind if isinstance(each, RequestError)]
    return not failures or failures[0].outcome_unknown


def _add_note(
    error: BaseException, environment: Environment, origin: Origin, public_token: str
) -> None:
    """Say what to ask Plaid."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    error.add_note(_ask_plaid({"time": now, **_known(environment, origin, public_token)}))


def _known(environment: Environment, origin: Origin, public_token: str) -> dict[str, str | None]:
    """What is known of an exchange without its answer."""
    return {
        "endpoint": requests.EXCHANGE,
        "environment": environment.value,
        "public_token": mask(public_token),
        **origin._asdict(),
    }


def _ask_plaid(known: Mapping[str, str | None]) -> str:
    details = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    return (
        "An Item may exist whose access token nobody has. Let the user link again; and ask "
        "Plaid's support (https://dashboard.plaid.com/support) whether there is such an Item, "
        f"and to remove it: {details}."
    )
