"""What is to be linked: the partners and their accounts, as far as they are known. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict, Unpack

from attrs import evolve, frozen

from ..adapters.base import PartnerAdapter
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
    text_in,
)
from .accounts import by_ids, ids_by_partner, pick
from .arguments import flag

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
            return self._pick(self.accounts)
        for adapter, partner in self.choices:  # the caller chose these ids, not the browser
            by_ids(partner.account_ids or (), self.accounts, [adapter])
        return ()

    def pick_fetched(self, fetched: Sequence[Account]) -> tuple[PendingToken, ...]:
        """The tokens to ask for, by the accounts that ``/accounts/get`` returned."""
        if self.accounts is not None:
            ids = [account.account_id for account in self.accounts]
            fetched = by_ids(ids, fetched, [adapter for adapter, _ in self.choices])
        return self._pick(fetched)

    def _pick(self, accounts: Sequence[Account]) -> tuple[PendingToken, ...]:
        return tuple(
            PendingToken(
                processor=partner.processor, account=account, permissions=partner.permissions
            )
            for adapter, partner in self.choices
            for account in pick(adapter, partner, accounts)
        )


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


def resume_plan(
    result: LinkResult,
    own: Mapping[str, PartnerAdapter],
    accounts: Accounts | None,
    **options: Unpack[Options],
) -> Plan:
    """The plan for the partners of a result whose accounts are not chosen yet."""
    known = dict.fromkeys(each.processor for each in (*result.entries, *result.unselected))
    if unknown := [name for name in own if name not in known]:
        raise ValueError(
            f"{', '.join(unknown)} is not in this result, which has {', '.join(known) or 'none'}; "
            "for another partner, issue() with its access token"
        )
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
    given = None if accounts is None else as_accounts(accounts)
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
        bound.append((adapter, evolve(partner, account_ids=account_ids)))
    return Plan(
        choices=bound,
        accounts=given,
        verify=flag("verify_accounts", options.get("verify_accounts", False)),
        partial=flag("partial", options["partial"]),
        on_exchange=options.get("on_exchange"),
        on_token=options["on_token"],
    )


def narrowed(
    result: LinkResult, narrow: bool | None, own: Mapping[str, PartnerAdapter]
) -> LinkResult:
    """The result with its pending tokens to be narrowed or not; None: as it was asked for."""
    if narrow is None:
        return result
    flag("narrow", narrow)

    def permissions(pending: PendingToken | PendingPartner) -> tuple[str, ...] | None:
        if not narrow:
            return None
        adapter = own.get(pending.processor)
        if adapter is None and pending.permissions:
            return pending.permissions
        return _permissions_of(adapter or get_adapter(pending.processor))

    entries: list[ProcessorToken | PendingToken] = []
    for entry in result.entries:
        if isinstance(entry, ProcessorToken):
            entries.append(entry)
        elif entry.unnarrowed is not None and not narrow:
            entries.append(entry.unnarrowed)  # the caller takes it as it is
        else:
            entries.append(evolve(entry, permissions=permissions(entry)))
    unselected = [evolve(each, permissions=permissions(each)) for each in result.unselected]
    return evolve(result, entries=entries, unselected=unselected)


def _permissions_of(adapter: PartnerAdapter) -> tuple[str, ...]:
    """The products to narrow a partner's tokens to."""
    if adapter.processor == STRIPE:
        raise ConfigurationError("Stripe's token cannot be narrowed: issue it without narrow=")
    if adapter.permissions is None:
        raise ConfigurationError(
            f"no source says what {adapter.processor} reads: pass PartnerAdapter(permissions=…)"
        )
    return adapter.permissions


def read_metadata(
    metadata: Mapping[str, object] | None, accounts: Accounts | None
) -> tuple[dict[str, str | None], Accounts | None]:
    """From Link's metadata: bank and session, by the names of `LinkedItem`; and the accounts."""
    if metadata is None:
        return {}, accounts
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be Link's metadata object, not {type(metadata).__name__}")
    institution = metadata.get("institution")
    bank: Mapping[str, object] = institution if isinstance(institution, Mapping) else {}
    origin = {
        "institution_id": text_in(bank, "institution_id"),
        "institution_name": text_in(bank, "name"),
        "link_session_id": text_in(metadata, "link_session_id"),
    }
    listed: Any = metadata.get("accounts") if accounts is None else accounts
    return origin, listed
