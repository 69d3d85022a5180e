"""Which accounts get a token for a partner. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from ..adapters.base import PartnerAdapter, refusal
from ..errors import AccountSelectionError
from ..redaction import redact
from ..results import Account, PendingPartner
from .arguments import names, text


def pick(
    adapter: PartnerAdapter, partner: PendingPartner, accounts: Sequence[Account]
) -> tuple[Account, ...]:
    """The accounts that get a token: those that the partner is bound to, else by its rule."""
    if partner.account_ids is None:
        return _by_rule(adapter, partner, accounts)
    by_ids(partner.account_ids, accounts, [adapter])
    bound = tuple(each for each in accounts if each.account_id in partner.account_ids)
    try:
        picked = _by_rule(adapter, partner, bound)
    except AccountSelectionError as refused:
        picked = _fitting(bound, [adapter])
        if len(picked) == len(bound):  # too many, or a subclass's own rule: keep the message
            refused.accounts, refused.eligible = tuple(accounts), _fitting(accounts, [adapter])
            raise
    if dropped := ", ".join(account.label for account in bound if account not in picked):
        found = f"of the accounts asked for, these do not fit: {dropped}"
        raise refusal(adapter, accounts, found)
    return picked


def _by_rule(
    adapter: PartnerAdapter, partner: PendingPartner, accounts: Sequence[Account]
) -> tuple[Account, ...]:
    if partner.first_fitting and adapter.single:
        # Each account by itself, so that a subclass's own rule decides.
        for account in accounts:
            with suppress(AccountSelectionError):
                return _select(adapter, (account,))
    return _select(adapter, accounts)


def _select(adapter: PartnerAdapter, accounts: Sequence[Account]) -> tuple[Account, ...]:
    # Each once: of an account that comes twice, one token would be lost.
    picked = tuple(dict.fromkeys(adapter.select_accounts(accounts)))
    if not picked:  # a subclass's rule may be wrong
        raise refusal(adapter, accounts, "its rule picked no account")
    return picked


def by_ids(
    account_ids: Sequence[str], accounts: Sequence[Account], adapters: Sequence[PartnerAdapter]
) -> tuple[Account, ...]:
    """The accounts of these ids, in the order of the ids; an error if one is not there."""
    known = {account.account_id: account for account in accounts}
    if missing := [account_id for account_id in account_ids if account_id not in known]:
        processor = ", ".join(adapter.processor for adapter in adapters)
        there = ", ".join(f"{each.account_id} ({each.label})" for each in accounts)
        raise AccountSelectionError(
            f"no account {_quoted(missing)} for {processor} among those of the Item: "
            f"there are {there or 'none'}. Ids are case-sensitive.",
            processor=processor,
            accounts=accounts,
            eligible=_fitting(accounts, adapters),
        )
    return tuple(known[account_id] for account_id in account_ids)


def _fitting(
    accounts: Sequence[Account], adapters: Sequence[PartnerAdapter]
) -> tuple[Account, ...]:
    return tuple(each for each in accounts if any(adapter.fits(each) for adapter in adapters))


def ids_by_partner(
    partners: Sequence[str],
    account_id: str | None,
    account_ids: Mapping[str, Iterable[str]] | None,
    *,
    own: Iterable[str] = (),
) -> dict[str, tuple[str, ...]]:
    """The accounts that the caller binds partners to: ``account_id`` is for ``own``, else all."""
    if account_id is not None:
        if account_ids is not None:
            raise ValueError(
                "pass account_id= for all partners, or account_ids= for some, not both"
            )
        account_ids = dict.fromkeys(own or partners, text("account_id", account_id))
    elif account_ids is None:
        return {}
    if not isinstance(account_ids, Mapping):
        raise TypeError('account_ids must be a mapping such as {"finix": ["…"]}')
    if unknown := [name for name in account_ids if name not in partners]:
        raise ValueError(
            f"account_ids names {_quoted(unknown)}, but the partners here are {', '.join(partners)}"
        )
    return {processor: _ids(each) for processor, each in account_ids.items()}


def _ids(ids: str | Iterable[str]) -> tuple[str, ...]:
    listed = names("account_ids", [ids] if isinstance(ids, str) else ids)
    if not listed or not all(listed):
        raise ValueError("an account id must not be empty")
    return tuple(dict.fromkeys(listed))


def _quoted(ids: Iterable[str]) -> str:
    # A token that was passed by mistake must not show.
    return ", ".join(repr(redact(str(each))) for each in ids)
