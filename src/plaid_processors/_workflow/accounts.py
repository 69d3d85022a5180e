"""Which accounts get a token for which partner. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..adapters import PartnerAdapter
from ..adapters.lifetimes import STRIPE
from ..errors import AccountSelectionError, ConfigurationError
from ..redaction import redact
from ..results import Account, PendingPartner, as_accounts


class Choice(NamedTuple):
    """One partner, and what the caller said of its accounts.

    Attributes:
        adapter: the partner's rules.
        account_ids: the accounts it is bound to, or None to go by the rule.
        first_fitting: whether a partner of one account gets the first that its rule allows, where
            nobody can be asked.
        permissions: the products to narrow its tokens to, or None to leave them as they are.
    """

    adapter: PartnerAdapter
    account_ids: tuple[str, ...] | None = None
    first_fitting: bool = False
    permissions: tuple[str, ...] | None = None

    def pick(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts that get a token.

        Raises:
            AccountSelectionError: the partner's rule refuses, or an account is not there.
        """
        if self.account_ids is None:
            return self._by_rule(accounts)
        self.bound(accounts)
        bound = tuple(each for each in accounts if each.account_id in self.account_ids)
        try:
            picked = self._by_rule(bound)
        except AccountSelectionError as refused:
            picked = self._fitting(bound)
            if len(picked) == len(bound):  # too many, or a rule of a subclass's: its words hold
                refused.accounts, refused.eligible = tuple(accounts), self._fitting(accounts)
                raise
        if dropped := [account for account in bound if account not in picked]:
            fitting = self._fitting(accounts)
            raise self.adapter._refusal(accounts, fitting, _do_not_fit(dropped))
        return picked

    def bound(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts that it is bound to, if all are there.

        Raises:
            AccountSelectionError: one is not there.
        """
        fitting = self._fitting(accounts)
        return by_ids(self.account_ids or (), accounts, self.adapter.processor, eligible=fitting)

    def _fitting(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        return tuple(account for account in accounts if self.adapter.fits(account))

    def _by_rule(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        if self.first_fitting and self.adapter.single:
            accounts = self._first(accounts) or accounts
        return _checked(self.adapter, self.adapter.select_accounts(accounts), accounts)

    def _first(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        # Asked one by one, so that a subclass's own rule decides.
        for account in accounts:
            try:
                return _checked(self.adapter, self.adapter.select_accounts((account,)), (account,))
            except AccountSelectionError:
                continue
        return ()

    def as_pending(self) -> PendingPartner:
        """The choice as a result keeps it."""
        return PendingPartner(
            processor=self.adapter.processor,
            account_ids=self.account_ids,
            first_fitting=self.first_fitting,
            permissions=self.permissions,
        )


def _checked(
    adapter: PartnerAdapter, picked: Iterable[Account], accounts: Sequence[Account]
) -> tuple[Account, ...]:
    """What a rule picked, if it picked anything: a subclass's may be wrong."""
    result = tuple(picked)
    if not all(isinstance(account, Account) for account in result):
        raise TypeError(f"{adapter.processor}'s rule must pick of the accounts that it is given")
    if not result:
        raise AccountSelectionError(
            f"{adapter.processor}'s rule picked no account",
            processor=adapter.processor,
            accounts=accounts,
            eligible=tuple(account for account in accounts if adapter.fits(account)),
        )
    return result


def _do_not_fit(accounts: Sequence[Account]) -> str:
    shown = ", ".join(account.label for account in accounts)
    if len(accounts) == 1:
        return f"the account asked for ({shown}) does not fit"
    return f"the accounts asked for ({shown}) do not fit"


def by_ids(
    account_ids: Sequence[str],
    accounts: Sequence[Account],
    processor: str,
    *,
    eligible: Sequence[Account] = (),
) -> tuple[Account, ...]:
    """The accounts of these ids, in the order of the ids.

    Raises:
        AccountSelectionError: one is not there.
    """
    known = {account.account_id: account for account in accounts}
    missing = [account_id for account_id in account_ids if account_id not in known]
    if missing:
        there = ", ".join(f"{each.account_id} ({each.label})" for each in accounts)
        raise AccountSelectionError(
            f"no account {_quoted(missing)} for {processor} among those of the Item: "
            f"there are {there or 'none'}. Ids are case-sensitive.",
            processor=processor,
            accounts=accounts,
            eligible=eligible,
        )
    return tuple(known[account_id] for account_id in account_ids)


def _quoted(names: Iterable[str]) -> str:
    # A token that was passed by mistake must not show.
    return ", ".join(repr(redact(str(name))) for name in names)


def choices(
    adapters: Sequence[PartnerAdapter],
    *,
    account_id: str | None = None,
    account_ids: Mapping[str, Iterable[str]] | None = None,
    first_fitting: bool = False,
    narrow: bool = False,
) -> tuple[Choice, ...]:
    """One choice for each partner.

    Raises:
        ConfigurationError: its tokens are to be narrowed, and nobody says to what.
        TypeError: an id is not a string.
        ValueError: both ways of binding at once, no id, or a partner that is not in the link.
    """
    if account_id is not None and account_ids is not None:
        raise ValueError(
            "pass account_id= (for every partner) or account_ids= (for some), not both"
        )
    if account_id is not None and not isinstance(account_id, str):
        raise TypeError("account_id must be a string; for several, pass account_ids=")
    bound = {} if account_ids is None else _bound(account_ids)
    names = [adapter.processor for adapter in adapters]
    if unknown := [name for name in bound if name not in names]:
        raise ValueError(
            f"account_ids names {_quoted(unknown)}, but the partners here are {', '.join(names)}"
        )
    everywhere = None if account_id is None else _ids(account_id)
    return tuple(
        Choice(
            adapter=adapter,
            account_ids=bound.get(adapter.processor, everywhere),
            first_fitting=first_fitting,
            permissions=permissions_of(adapter) if narrow else None,
        )
        for adapter in adapters
    )


def permissions_of(adapter: PartnerAdapter) -> tuple[str, ...]:
    """The products to narrow a partner's tokens to.

    Raises:
        ConfigurationError: they are not known, or its token is none that can be narrowed.
    """
    if adapter.processor == STRIPE:
        raise ConfigurationError(
            "Stripe's bank account token cannot be narrowed: issue it in a call without narrow="
        )
    if adapter.permissions is None:
        raise ConfigurationError(
            f"no source says which products {adapter.processor} reads: ask the partner, and pass "
            f"PartnerAdapter(processor={adapter.processor!r}, permissions=(…), …)"
        )
    return adapter.permissions


def given_accounts(
    accounts: Iterable[Account | Mapping[str, object]] | None, bound: Sequence[Choice]
) -> tuple[Account, ...] | None:
    """The accounts that the caller gave for these partners, or None to ask for them.

    Raises:
        AccountSelectionError: there are none.
    """
    if accounts is None:
        return None
    read = as_accounts(accounts)
    if not read:
        raise AccountSelectionError(
            "accounts is empty: pass at least one, or None to ask /accounts/get",
            processor=", ".join(choice.adapter.processor for choice in bound),
        )
    return read


def check_given(bound: Sequence[Choice], accounts: Sequence[Account] | None) -> None:
    """Refuse to choose for a partner that takes exactly what it is given, where nothing is.

    Raises:
        AccountSelectionError: no accounts and no ids are given for such a partner.
    """
    for choice in bound:
        if choice.adapter.as_given and accounts is None and choice.account_ids is None:
            name = choice.adapter.processor
            raise AccountSelectionError(
                f"{name} takes {choice.adapter.rule}: no source says which accounts, so none is "
                "chosen by default. Pass account_id=, account_ids= or accounts=, or say the rule "
                f"yourself: PartnerAdapter(processor={name!r}, …)",
                processor=name,
            )


def _bound(account_ids: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    if not isinstance(account_ids, Mapping):
        raise TypeError('account_ids must be a mapping such as {"finix": ["…"]}')
    return {processor: _ids(ids) for processor, ids in account_ids.items()}


def _ids(ids: str | Iterable[str]) -> tuple[str, ...]:
    listed = tuple(dict.fromkeys([ids] if isinstance(ids, str) else ids))
    if not all(isinstance(each, str) for each in listed):
        raise TypeError("an account id must be a string")
    if not all(listed) or not listed:
        raise ValueError("an account id must not be empty")
    return listed


def rebind(choice: Choice, pending: PendingPartner) -> Choice:
    """The choice, with what an earlier call was told where nothing is said now."""
    return choice._replace(
        account_ids=choice.account_ids or pending.account_ids,
        first_fitting=pending.first_fitting,
        permissions=choice.permissions or pending.permissions,
    )
