"""What a partner asks of a link, as data, and the choice of accounts that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from ..errors import AccountSelectionError
from ..results import Account


def _names(values: Iterable[str]) -> tuple[str, ...]:
    # What was given is not shown: it may be a token, by mistake.
    names = () if isinstance(values, str) else tuple(values)
    if isinstance(values, str) or not all(isinstance(name, str) for name in names):
        raise TypeError("expected a sequence of names such as ('auth',)")
    return names


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
        as_given: whether it takes exactly the accounts that the caller names (``account_id``,
            ``account_ids``, ``accounts``), since no source says which it takes: never all of them
            by default.
        permissions: the products that the partner reads, for ``narrow=True``; None: not known.
    """

    processor: str
    products: tuple[str, ...] = field(default=(), converter=_names)
    subtypes: tuple[str, ...] | None = field(default=None, converter=_optional_names)
    single: bool = False
    as_given: bool = field(default=False, repr=False)
    permissions: tuple[str, ...] | None = field(default=None, converter=_optional_names, repr=False)

    def __attrs_post_init__(self) -> None:
        # Here, and not on the fields: a subclass that sets a default of its own keeps the checks.
        if not isinstance(self.processor, str):
            raise TypeError(f"processor must be a string, not {type(self.processor).__name__}")
        if not self.processor.strip():
            raise ValueError("processor must be Plaid's name of the partner, not empty")
        for name in ("single", "as_given"):
            value = getattr(self, name)
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
        if self.permissions == ():
            raise ValueError("permissions is empty: to Plaid, no product means all of them")
        if self.subtypes == ():
            raise ValueError("subtypes is empty, so that no account fits: pass None for any")

    @property
    def rule(self) -> str:
        """The rule in words, such as ``one account, checking or savings``."""
        return f"{self._count}, {self._kinds}"

    @property
    def _count(self) -> str:
        if self.as_given:
            return "exactly the accounts it is given"
        return "one account" if self.single else "all accounts"

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
