"""The partners' rules as data, and the choice of accounts that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen
from attrs.converters import optional

from ..errors import AccountSelectionError
from ..results import Account, as_accounts

# The account's numbers are not verified, and will not be, or not yet. Plaid wants this checked
# before a token is passed on: https://plaid.com/docs/auth/coverage/database-auth/.
_FAILED = ("verification failed", "verification expired", "database insights fail")
_PENDING = (
    "pending automatic verification",
    "pending manual verification",
    "unsent",
    "database insights pending",
)
_UNVERIFIED = (*_FAILED, *_PENDING)


def as_names(values: Iterable[str]) -> tuple[str, ...]:
    """A converter for attrs; its error does not show the value, which may be a token."""
    read = tuple(values)
    if isinstance(values, str) or not all(isinstance(name, str) for name in read):
        raise TypeError("expected a sequence of names such as ('auth',)")
    return read


@frozen(kw_only=True)
class PartnerAdapter:
    """One partner's rules.

    Use it as it is for a partner that this package does not know, or subclass it and override
    `select_accounts` for a rule that these fields cannot say.

    Attributes:
        processor: Plaid's name of the partner, sent to ``/processor/token/create``.
        products: the products that Link must be opened with.
        subtypes: the account subtypes that fit; None: any.
        single: whether the partner takes one account, or all that fit.
        as_given: whether it takes exactly the accounts that a call names: its rule is not known.
        permissions: the products that the partner reads, for ``narrow=True``; None: not known.
    """

    processor: str
    products: tuple[str, ...] = field(default=(), converter=as_names)
    subtypes: tuple[str, ...] | None = field(default=None, converter=optional(as_names))
    single: bool = False
    as_given: bool = field(default=False, repr=False)
    permissions: tuple[str, ...] | None = field(
        default=None, converter=optional(as_names), repr=False
    )

    def __attrs_post_init__(self) -> None:
        # Not by validators: a subclass that gives a field another default would lose them.
        if not isinstance(self.processor, str):
            raise TypeError(f"processor must be a string, not {type(self.processor).__name__}")
        if not self.processor.strip():
            raise ValueError("processor must be Plaid's name of the partner, not empty")
        for name, value in (("single", self.single), ("as_given", self.as_given)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
        if self.permissions == ():
            raise ValueError("permissions is empty: to Plaid, no product means all of them")
        if self.subtypes == ():
            raise ValueError("subtypes is empty, so that no account fits: pass None for any")

    @property
    def rule(self) -> str:
        """The rule in words, such as ``one account, checking or savings``."""
        count = "one account" if self.single else "all accounts"
        if self.as_given:
            count = "exactly the accounts it is given"
        return f"{count}, {'of any type' if self.subtypes is None else ' or '.join(self.subtypes)}"

    def fits(self, account: Account) -> bool:
        """Whether the partner takes an account of this subtype and verification status."""
        of_subtype = self.subtypes is None or _folded(account.subtype) in map(
            _folded, self.subtypes
        )
        return of_subtype and not _is_unverified(self, account)

    def eligible(self, accounts: Iterable[Account]) -> tuple[Account, ...]:
        """The accounts that fit, in order: none, one or several."""
        return tuple(account for account in as_accounts(accounts) if self.fits(account))

    def select_accounts(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts that fit, in order; an AccountSelectionError if none does, or too many."""
        accounts = as_accounts(accounts)  # mappings, such as Link's, too
        eligible = self.eligible(accounts)
        if self.single and len(eligible) > 1:
            raise refusal(self, accounts, f"{_list(eligible)} fit")
        if unknown := [each for each in accounts if self.subtypes and _has_no_subtype(each)]:
            names = ", ".join(account.label for account in unknown)
            raise refusal(self, accounts, f"Link gave no subtype of {names}")
        if eligible:
            return eligible
        if len(accounts) == 1:
            raise refusal(self, accounts, f"the only account ({accounts[0].label}) does not fit")
        found = f"none of the {_list(accounts)} fits" if accounts else "there is no account"
        raise refusal(self, accounts, found)


@frozen(kw_only=True)
class FinixAdapter(PartnerAdapter):
    """One account, checking or savings; each rule can be adjusted by keyword."""

    processor: str = "finix"
    # "You must include both auth and identity in the Plaid Link Token products array."
    # https://docs.finix.com/guides/online-payments/bank-payments/plaid-integration
    products: tuple[str, ...] = field(default=("auth", "identity"), converter=as_names)
    # Tested "with any returned account ID associated with an account with the subtype checking
    # or savings"; "set Account Select to 'enabled for one account'" for a single account.
    # https://plaid.com/docs/auth/partnerships/finix/
    subtypes: tuple[str, ...] | None = field(
        default=("checking", "savings"), converter=optional(as_names)
    )
    single: bool = True
    # "Finix uses Plaid's Auth and Identity endpoints", says the same guide of Finix's.
    permissions: tuple[str, ...] | None = field(
        default=("auth", "identity"), converter=optional(as_names), repr=False
    )


@frozen(kw_only=True)
class LayerAdapter(PartnerAdapter):
    """Every account that the user connected, of any type; each rule can be adjusted by keyword.

    This is the partner Layer (layerfi.com), not Plaid's own product of that name.
    """

    processor: str = "layer"
    # Plaid lists Layer under Transactions; neither page names the products in so many words, so
    # this is read from "securely retrieve transaction data". "In most cases, you will want your
    # users to connect all of their accounts so that they can be tracked in Layer."
    # https://plaid.com/docs/transactions/partnerships/layer/
    products: tuple[str, ...] = field(default=("transactions",), converter=as_names)
    # Weak evidence for the balance: a draft in Layer's public layer-react repository (August 2026,
    # removed the same evening) has Layer's server read /processor/balance/get beside transactions.
    permissions: tuple[str, ...] | None = field(
        default=("transactions", "balance"), converter=optional(as_names), repr=False
    )


def refusal(
    adapter: PartnerAdapter, accounts: Sequence[Account], found: str
) -> AccountSelectionError:
    """The error of a partner's rule: what it takes, what was found, and the way out."""
    eligible = adapter.eligible(accounts)
    unusable = [account for account in accounts if _is_unverified(adapter, account)]
    ask = "set Account Select to 'enabled for one account' in the Dashboard (Link customization)"
    if any(map(is_pending, unusable)):
        way_out = "Call again, or resume the result, when Plaid has verified it."
    elif any(map(_has_no_subtype, accounts)):
        way_out = "Pass verify_accounts=True to ask Plaid."
    elif not adapter.single:
        way_out = "Let the user connect other accounts in Link."
    elif eligible:
        way_out = f"Pass account_id= to pick one, or {ask}."
    else:
        way_out = f"Let the user connect one that fits: {ask}, or pass its account_id=."
    found += "".join(f"; {each.label} is {each.verification_status}" for each in unusable)
    return AccountSelectionError(
        f"{adapter.processor} takes {adapter.rule}, but {found}. {way_out}",
        processor=adapter.processor,
        accounts=accounts,
        eligible=eligible,
    )


def _is_unverified(adapter: PartnerAdapter, account: Account) -> bool:
    """Whether the partner reads account numbers (``auth``) and these are not verified."""
    return "auth" in adapter.products and _folded(account.verification_status) in _UNVERIFIED


def is_pending(account: Account) -> bool:
    """Whether Plaid is still verifying the account's numbers."""
    return _folded(account.verification_status) in _PENDING


def _has_no_subtype(account: Account) -> bool:
    """Whether the browser or the app did not say what it is, and Plaid was not asked."""
    return not account.verified and _folded(account.subtype) in ("", "null", "unknown")


def _folded(text: str | None) -> str:
    """As Plaid writes it: an app may send the name of an enum's member."""
    return (text or "").strip().lower().replace("_", " ")


def _list(accounts: Sequence[Account]) -> str:
    return f"{len(accounts)} accounts ({', '.join(account.label for account in accounts)})"
