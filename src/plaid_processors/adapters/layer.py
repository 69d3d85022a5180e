"""Layer: bookkeeping over all of a business's accounts."""

from __future__ import annotations

from attrs import field, frozen

from .base import PartnerAdapter, _names, _optional_names


@frozen(kw_only=True)
class LayerAdapter(PartnerAdapter):
    """Every account that the user connected, of any type, one token each.

    Each rule can be adjusted by keyword: ``LayerAdapter(subtypes=("checking", "credit card"))``.
    This is the partner Layer (layerfi.com), not Plaid's own product of that name.
    """

    processor: str = "layer"
    # Plaid lists Layer under Transactions; neither page names the products in so many words, so
    # this is read from "securely retrieve transaction data". "In most cases, you will want your
    # users to connect all of their accounts so that they can be tracked in Layer."
    # https://plaid.com/docs/transactions/partnerships/layer/
    products: tuple[str, ...] = field(default=("transactions",), converter=_names)
    # Weak evidence for the balance: a draft in Layer's public layer-react repository (August 2026,
    # removed the same evening) has Layer's server read /processor/balance/get beside transactions.
    permissions: tuple[str, ...] | None = field(
        default=("transactions", "balance"), converter=_optional_names, repr=False
    )
