"""Finix: payments from and to one bank account."""

from __future__ import annotations

from attrs import field, frozen

from .base import PartnerAdapter, _names, _optional_names


@frozen(kw_only=True)
class FinixAdapter(PartnerAdapter):
    """One account, checking or savings.

    Each rule can be adjusted by keyword: ``FinixAdapter(products=("auth",))``.
    """

    processor: str = "finix"
    # "You must include both auth and identity in the Plaid Link Token products array."
    # https://docs.finix.com/guides/online-payments/bank-payments/plaid-integration
    products: tuple[str, ...] = field(default=("auth", "identity"), converter=_names)
    # Tested "with any returned account ID associated with an account with the subtype checking
    # or savings"; "set Account Select to 'enabled for one account'" for a single account.
    # https://plaid.com/docs/auth/partnerships/finix/
    subtypes: tuple[str, ...] | None = field(
        default=("checking", "savings"), converter=_optional_names
    )
    single: bool = True
    # "Finix uses Plaid's Auth and Identity endpoints", says the same guide of Finix's.
    permissions: tuple[str, ...] | None = field(
        default=("auth", "identity"), converter=_optional_names, repr=False
    )
