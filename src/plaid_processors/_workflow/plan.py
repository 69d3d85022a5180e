"""What is to be linked: the partners and their accounts, as far as they are known. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NotRequired, TypedDict, Unpack

from attrs import evolve, frozen

from ..adapters.base import PartnerAdapter, is_pending
from ..adapters.catalogue import STRIPE, get_adapter, get_adapters
from ..errors import AccountSelectionError, ConfigurationError
from ..results import (
    Account,
    LinkedItem,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    as_accounts,
)
from .accounts import by_ids, ids_by_partner, pick
from .arguments import flag, given_accounts

Partners = str | PartnerAdapter | Iterable[str | PartnerAdapter]
Accounts = Iterable[Account | Mapping[str, object]]
AccountIds = Mapping[str, Iterable[str]]
OnExchange = Callable[[LinkedItem], object]
OnToken = Callable[[ProcessorToken], object]
Choice = tuple[PartnerAdapter, PendingPartner]  # a partner's rules, and what the caller asked for


class Options(TypedDict):
    """The arguments that the calls have in common; see `ProcessorLinker.link`."""

    account_id: str | None
    account_ids: AccountIds | None
    verify_accounts: NotRequired[bool]
    partial: bool
    narrow: bool | None  # None only in `resume`: as it was asked for
    on_exchange: NotRequired[OnExchange | None]
    on_token: OnToken | None


@frozen(kw_only=True)
class Plan:
    """What is to be linked, and how."""

    choices: Sequence[Choice]  # of the partners whose accounts are to be chosen
    accounts: tuple[Account, ...] | None  # those that the caller gave; None: to be fetched
    verify: bool  # whether `/accounts/get` is to confirm them
    partial: bool  # whether tokens that Plaid refuses are left pending
    on_exchange: OnExchange | None
    on_token: OnToken | None

    def pick_early(self) -> tuple[PendingToken, ...]:
        """The tokens to ask for, if that can be decided before any request; else none."""
        if self.accounts is None:
            return ()
        if not self.verify:
            try:
                return self._pick(self.accounts)
            except AccountSelectionError:
                # Would the rule take them once Plaid has verified them, they are exchanged all the
                # same: that takes days, and a public token lives for 30 minutes.
                if not any(map(is_pending, self.accounts)):
                    raise
                self._pick([evolve(each, verification_status=None) for each in self.accounts])
                return ()
        for adapter, partner in self.choices:  # the caller chose these ids, not the browser
            by_ids(partner.account_ids or (), self.accounts, [adapter])
        return ()

    def pick_fetched(
        self, fetched: Sequence[Account]
    ) -> tuple[tuple[PendingToken, ...], dict[PendingPartner, AccountSelectionError]]:
        """The tokens to ask for, by the accounts that ``/accounts/get`` returned.

        And the partners whose account Plaid is still verifying: the others do not wait for it.
        """
        tokens: list[PendingToken] = []
        waiting: dict[PendingPartner, AccountSelectionError] = {}
        for choice in self.choices:
            adapter, partner = choice
            among = fetched
            if partner.among is not None:
                among = by_ids(partner.among, fetched, [adapter])
            try:
                tokens += _tokens_for(choice, among)
            except AccountSelectionError as refused:
                if not any(map(is_pending, refused.accounts)):
                    raise
                waiting[partner] = refused
        return tuple(tokens), waiting

    def _pick(self, accounts: Sequence[Account]) -> tuple[PendingToken, ...]:
        return tuple(each for choice in self.choices for each in _tokens_for(choice, accounts))


def _tokens_for(choice: Choice, accounts: Sequence[Account]) -> list[PendingToken]:
    adapter, partner = choice
    return [
        PendingToken(processor=partner.processor, account=account, permissions=partner.permissions)
        for account in pick(adapter, partner, accounts)
    ]


def make_plan(
    partner: Partners,
    accounts: Accounts | None,
    *,
    first_fitting: bool = False,
    **options: Unpack[Options],
) -> Plan:
    narrow = flag("narrow", options["narrow"])
    choices: list[Choice] = []
    for adapter in get_adapters(partner):
        pending = PendingPartner(
            processor=adapter.processor,
            first_fitting=first_fitting,
            permissions=_permissions_of(adapter) if narrow else None,
        )
        choices.append((adapter, pending))
    return _plan(choices, accounts, {}, **options)


def partners_of(result: LinkResult) -> list[str]:
    """The partners of a result, in order."""
    return list(dict.fromkeys(each.processor for each in (*result.entries, *result.unselected)))


def own_adapters(result: LinkResult, partner: Partners | None) -> dict[str, PartnerAdapter]:
    """The adapters that the caller gave for partners of a result, by partner."""
    own = {each.processor: each for each in (() if partner is None else get_adapters(partner))}
    known = partners_of(result)
    if unknown := [name for name in own if name not in known]:
        raise ValueError(
            f"{', '.join(unknown)} is not in this result, which has {', '.join(known) or 'none'}; "
            "for another partner, issue() with its access token"
        )
    return own


def resume_plan(
    result: LinkResult,
    own: Mapping[str, PartnerAdapter],
    accounts: Accounts | None,
    **options: Unpack[Options],
) -> Plan:
    """The plan for the partners of a result whose accounts are not chosen yet."""
    chosen = (accounts, options["account_id"], options["account_ids"])
    if not result.unselected and any(each is not None for each in chosen):
        raise ValueError("the accounts are chosen already: resume(result) asks for what is pending")
    choices = [
        (own.get(each.processor) or get_adapter(each.processor), each) for each in result.unselected
    ]
    return _plan(choices, accounts, own, **options)


def _plan(
    choices: Sequence[Choice],
    accounts: Accounts | None,
    own: Mapping[str, PartnerAdapter],
    **options: Unpack[Options],
) -> Plan:
    names = [partner.processor for _, partner in choices]
    ids = ids_by_partner(names, options["account_id"], options["account_ids"], own=own)
    verify = flag("verify_accounts", options.get("verify_accounts", False))
    given = given_accounts(accounts, verify, names)
    if given == ():
        raise AccountSelectionError(
            "accounts is empty: pass at least one, or None to ask /accounts/get",
            processor=", ".join(names),
        )
    bound: list[Choice] = []
    for adapter, partner in choices:
        account_ids = ids.get(partner.processor, partner.account_ids)
        if adapter.as_given and given is None and account_ids is None:
            raise AccountSelectionError(
                f"{adapter.processor} takes {adapter.rule}: no source says which accounts, so pass "
                "account_id=, account_ids= or accounts=, or a PartnerAdapter with its rule",
                processor=adapter.processor,
            )
        among = None if partner.processor in ids else partner.among  # the caller's choice is newer
        if given is not None:
            among = tuple(each.account_id for each in given)
        bound.append((adapter, evolve(partner, account_ids=account_ids, among=among)))
    return Plan(
        choices=bound,
        accounts=given,
        verify=verify,
        partial=flag("partial", options["partial"]),
        on_exchange=options.get("on_exchange"),
        on_token=options["on_token"],
    )


def left_to_do(
    result: LinkResult,
    narrow: bool | None,
    own: Mapping[str, PartnerAdapter],
    *,
    handed_over: Collection[str] = (),
) -> LinkResult:
    """What to ask for, expired tokens too, to be narrowed or not; None: as it was asked for.

    A token that was ``handed_over``, by its fingerprint, is not missing when it expires: another
    would have the partner make a second instrument of the account.
    """
    if narrow is not None:
        flag("narrow", narrow)

    def permissions(pending: PendingToken | PendingPartner) -> tuple[str, ...] | None:
        if narrow is None:
            return pending.permissions
        if not narrow:
            return None
        adapter = own.get(pending.processor)
        if adapter is None and pending.permissions:
            return pending.permissions
        return _permissions_of(adapter or get_adapter(pending.processor))

    entries: list[ProcessorToken | PendingToken] = []
    for known in result.entries:
        had = isinstance(known, ProcessorToken) and known.fingerprint in handed_over
        entry = known if had else _unless_expired(known)
        if isinstance(entry, ProcessorToken):
            entries.append(entry)
        elif entry.unnarrowed is not None and narrow is False:
            entries.append(entry.unnarrowed)  # the caller takes it as it is
        else:
            entries.append(evolve(entry, permissions=permissions(entry)))
    unselected = [evolve(each, permissions=permissions(each)) for each in result.unselected]
    return evolve(result, entries=entries, unselected=unselected)


def _unless_expired(entry: ProcessorToken | PendingToken) -> ProcessorToken | PendingToken:
    """The entry; one whose token has expired is missing again."""
    token = entry if isinstance(entry, ProcessorToken) else entry.unnarrowed
    return entry if token is None or not token.expired else missing_again(entry)


def missing_again(entry: ProcessorToken | PendingToken) -> PendingToken:
    """What to ask for to get another token for the same account, as narrow."""
    return PendingToken(
        processor=entry.processor, account=entry.account, permissions=entry.permissions
    )


def _permissions_of(adapter: PartnerAdapter) -> tuple[str, ...]:
    """The products to narrow a partner's tokens to."""
    if adapter.processor == STRIPE:
        raise ConfigurationError("Stripe's token cannot be narrowed: issue it without narrow=")
    if adapter.permissions is None:
        raise ConfigurationError(
            f"no source says what {adapter.processor} reads: pass PartnerAdapter(permissions=…)"
        )
    return adapter.permissions


def accounts_of(listed: Accounts | None, accounts: Accounts | None) -> Accounts | None:
    """The accounts that the caller gave, else those that Link's metadata lists."""
    if accounts is None or listed is None:
        return listed if accounts is None else accounts
    accounts = [*accounts] if isinstance(accounts, Iterator) else accounts
    try:
        ids, known = ({each.account_id for each in as_accounts(one)} for one in (accounts, listed))
    except ValueError:  # an account without an id: they cannot be compared
        return accounts
    if not ids <= known:
        raise ValueError("accounts= has an account that metadata= does not have: leave one out")
    return accounts
