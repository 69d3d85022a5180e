"""What is to be linked: the partners and their accounts, as far as they are known. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..adapters import PartnerAdapter, get_adapters
from ..results import Account, PendingToken
from .accounts import Choice, by_ids, check_given, choices, given_accounts
from .arguments import flag

Partners = str | PartnerAdapter | Iterable[str | PartnerAdapter]
Accounts = Iterable[Account | Mapping[str, object]]
AccountIds = Mapping[str, Iterable[str]]


class Plan(NamedTuple):
    """What is to be linked.

    Attributes:
        choices: the partners, and what was said of their accounts.
        accounts: the accounts, or None to ask ``/accounts/get``.
        verify: whether ``/accounts/get`` is to confirm what the browser said of them.
    """

    choices: tuple[Choice, ...]
    accounts: tuple[Account, ...] | None = None
    verify: bool = False

    def pick(self, accounts: Sequence[Account]) -> tuple[PendingToken, ...]:
        """The tokens to ask for, ordered by partner, then account.

        Raises:
            AccountSelectionError: a partner's rule refuses.
        """
        return tuple(
            PendingToken(
                processor=choice.adapter.processor, account=account, permissions=choice.permissions
            )
            for choice in self.choices
            for account in choice.pick(accounts)
        )

    def picked_early(self) -> tuple[PendingToken, ...] | None:
        """The tokens to ask for, where that is known before any request.

        Raises:
            AccountSelectionError: a partner's rule refuses.
        """
        if self.accounts is None:
            return None
        if not self.verify:
            return self.pick(self.accounts)
        for choice in self.choices:  # ids are the caller's word, not the browser's
            choice.bound(self.accounts)
        return None

    def pick_fetched(self, fetched: Sequence[Account]) -> tuple[PendingToken, ...]:
        """The tokens to ask for, by what ``/accounts/get`` said.

        Raises:
            AccountSelectionError: a partner's rule refuses, or an account is not the Item's.
        """
        if self.accounts is None:
            return self.pick(fetched)
        ids = [account.account_id for account in self.accounts]
        names = ", ".join(choice.adapter.processor for choice in self.choices)
        return self.pick(by_ids(ids, fetched, names))


def make_plan(
    partner: Partners,
    accounts: Accounts | None,
    *,
    account_id: str | None = None,
    account_ids: AccountIds | None = None,
    verify_accounts: bool = False,
    first_fitting: bool = False,
    narrow: bool = False,
) -> Plan:
    """The plan, from what the caller of `link` or `issue` gave.

    Raises:
        UnknownProcessorError: a partner's name is not known.
        AccountSelectionError: no accounts where some are needed.
        TypeError, ValueError: an argument is wrong.
    """
    bound = choices(
        get_adapters(partner),
        account_id=account_id,
        account_ids=account_ids,
        first_fitting=first_fitting,
        narrow=flag("narrow", narrow),
    )
    given = given_accounts(accounts, bound)
    check_given(bound, given)
    return Plan(choices=bound, accounts=given, verify=flag("verify_accounts", verify_accounts))


class Origin(NamedTuple):
    """What Link's metadata says of where the Item comes from."""

    institution_id: str | None = None
    institution_name: str | None = None
    link_session_id: str | None = None


def read_metadata(
    metadata: Mapping[str, object] | None, accounts: Accounts | None
) -> tuple[Origin, Accounts | None]:
    """The origin, and the accounts: those given, else those of Link's metadata."""
    if metadata is None:
        return Origin(), accounts
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be Link's metadata object, not {type(metadata).__name__}")
    institution = metadata.get("institution")
    bank = institution if isinstance(institution, Mapping) else {}

    def text(value: object) -> str | None:
        return value if isinstance(value, str) and value else None

    origin = Origin(
        institution_id=text(bank.get("institution_id")),
        institution_name=text(bank.get("name")),
        link_session_id=text(metadata.get("link_session_id")),
    )
    listed: Any = metadata.get("accounts") if accounts is None else accounts
    return origin, listed
