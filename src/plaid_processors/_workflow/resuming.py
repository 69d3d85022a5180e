"""What is still to be done for a result, as the caller of ``resume`` now says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from ..adapters import PartnerAdapter, get_adapters
from ..results import LinkResult, PendingPartner, PendingToken, ProcessorToken
from .accounts import check_given, choices, given_accounts, permissions_of, rebind
from .arguments import flag
from .plan import Plan

if TYPE_CHECKING:
    from .plan import AccountIds, Accounts, Partners


def narrowed(result: LinkResult, narrow: bool | None, partner: Partners | None) -> LinkResult:
    """The result, with what is still to come narrowed or not, as the caller now says.

    Raises:
        ConfigurationError: what is to be narrowed, nobody says to what.
    """
    if narrow is None:
        return result
    own = {} if partner is None else {each.processor: each for each in get_adapters(partner)}
    wanted = flag("narrow", narrow)
    entries = tuple(
        _pending_narrowing(each, wanted, own) if isinstance(each, PendingToken) else each
        for each in result.entries
    )
    unselected = tuple(
        evolve(each, permissions=_permissions_for(each, wanted, own)) for each in result.unselected
    )
    return evolve(result, entries=entries, unselected=unselected)


def _pending_narrowing(
    pending: PendingToken, narrow: bool, own: Mapping[str, PartnerAdapter]
) -> PendingToken | ProcessorToken:
    if not narrow and pending.unnarrowed is not None:
        return pending.unnarrowed  # the caller's word: it goes out as it is
    return evolve(pending, permissions=_permissions_for(pending, narrow, own))


def _permissions_for(
    pending: PendingToken | PendingPartner, narrow: bool, own: Mapping[str, PartnerAdapter]
) -> tuple[str, ...] | None:
    if not narrow:
        return None
    if pending.processor in own:
        return permissions_of(own[pending.processor])
    return pending.permissions or permissions_of(get_adapters(pending.processor)[0])


def resume_plan(
    result: LinkResult,
    partner: Partners | None,
    accounts: Accounts | None,
    *,
    account_id: str | None = None,
    account_ids: AccountIds | None = None,
    verify_accounts: bool = False,
) -> Plan | None:
    """What is to be linked for the partners of a result whose accounts are not chosen yet.

    Raises:
        ValueError: something is given for partners that have their accounts, or are not in it.
    """
    given = () if partner is None else get_adapters(partner)
    _check_named(given, result)
    waiting = {each.processor: each for each in result.unselected}
    if not waiting:
        if any(each is not None for each in (accounts, account_id, account_ids)):
            raise ValueError(
                "this result's accounts are chosen already: resume(result) asks for what is pending"
            )
        return None
    if given and isinstance(account_id, str) and account_ids is None:
        account_ids = {each.processor: [account_id] for each in given}
        account_id = None
    adapters = _waiting_adapters(tuple(waiting), given)
    asked = choices(adapters, account_id=account_id, account_ids=account_ids)
    bound = tuple(rebind(choice, waiting[choice.adapter.processor]) for choice in asked)
    read = given_accounts(accounts, bound)
    check_given(bound, read)
    return Plan(choices=bound, accounts=read, verify=flag("verify_accounts", verify_accounts))


def _check_named(given: Sequence[PartnerAdapter], result: LinkResult) -> None:
    named = dict.fromkeys(each.processor for each in (*result.entries, *result.unselected))
    if unknown := [each.processor for each in given if each.processor not in named]:
        raise ValueError(
            f"{', '.join(unknown)} is not in this result, which has {', '.join(named) or 'none'}; "
            "for another partner, issue() with its access token"
        )


def _waiting_adapters(
    waiting: Sequence[str], partners: Sequence[PartnerAdapter]
) -> tuple[PartnerAdapter, ...]:
    given = {each.processor: each for each in partners}
    missing = [name for name in waiting if name not in given]
    known = {each.processor: each for each in get_adapters(missing)} if missing else {}
    return tuple(given.get(name) or known[name] for name in waiting)
