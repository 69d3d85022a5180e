"""What a partner asks of a link, as data, and the choice of accounts that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from ..errors import AccountSelectionError

if TYPE_CHECKING:
    from ..results import Account


def _names(values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(
            f"expected a sequence of names such as ('auth',), not the string {values!r}"
        )
    return tuple(values)


def _optional_names(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else _names(values)


@frozen(kw_only=True)
class PartnerAdapter:
    """One partner's rules.

    Use it as it is for a partner that this package does not know, or subclass it and override
    `select_accounts` for a rule that these fields cannot say.

    Attributes:
        processor: Plaid's name of the partner, sent to ``/processor/token/create``.
        products: what Link must be opened with.
        subtypes: the account subtypes that fit; None: any.
        single: whether the partner takes one account, or all that fit.
    """

    processor: str = field()
    products: tuple[str, ...] = field(default=(), converter=_names)
    subtypes: tuple[str, ...] | None = field(default=None, converter=_optional_names)
    single: bool = False

    @processor.validator
    def _check_processor(self, _attribute: object, value: object) -> None:
        if not isinstance(value, str):
            raise TypeError(f"processor must be a string, not {type(value).__name__}")
        if not value.strip():
            raise ValueError("processor must be Plaid's name of the partner, not empty")

    @property
    def rule(self) -> str:
        """The rule in words, such as ``one account, checking or savings``."""
        count = "one account" if self.single else "all accounts"
        return f"{count}, {self._kinds}"

    @property
    def _kinds(self) -> str:
        return "of any type" if self.subtypes is None else " or ".join(self.subtypes)

    def fits(self, account: Account) -> bool:
        """Whether the partner takes an account of this subtype."""
        return self.subtypes is None or account.subtype in self.subtypes

    def select_accounts(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts that get a token, in their order.

        Keeps those that fit. A partner of one account needs exactly one left.

        Raises:
            AccountSelectionError: none fits, or more than one where one is taken.
        """
        eligible = tuple(account for account in accounts if self.fits(account))
        if not eligible:
            raise self._refusal(accounts, eligible, _none_fits(accounts))
        if self.single and len(eligible) > 1:
            raise self._refusal(accounts, eligible, f"{_list(eligible)} fit")
        return eligible

    def _refusal(
        self, accounts: Sequence[Account], eligible: Sequence[Account], found: str
    ) -> AccountSelectionError:
        ask = (
            "set Account Select to 'enabled for one account' in Plaid's Dashboard (Link "
            "customization), so that Link asks the user for it"
        )
        if not self.single:
            way_out = "Let the user connect other accounts in Link."
        elif eligible:
            way_out = f"Pass account_id= to pick one, or {ask}."
        else:
            way_out = f"Let the user connect one that fits: {ask}, or pass its account_id=."
        return AccountSelectionError(
            f"{self.processor} takes {self.rule}, but {found}. {way_out}",
            processor=self.processor,
            accounts=accounts,
            eligible=eligible,
        )


def _none_fits(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return f"the only account ({accounts[0].label}) does not fit"
    return f"none of the {_list(accounts)} fits" if accounts else "there is no account"


def _list(accounts: Sequence[Account]) -> str:
    shown = ", ".join(account.label for account in accounts)
    return f"{len(accounts)} accounts ({shown})"
