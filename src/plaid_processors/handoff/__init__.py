"""The last step: from the processor token to the partner.

The builders (`finix_request`, `layer_request`) make the exact request, without any network or
dependency. The senders make it and read the answer; they need the extra ``handoff``, and are loaded
when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    HandoffError,
    HandoffRefusedError,
    PartnerApiError,
    PartnerConnectionError,
    PartnerFault,
)
from .finix import PaymentInstrument
from .finix import payment_instrument as finix_request
from .layer import LayerAccount, LayerHandoff
from .layer import business_update as layer_request
from .requests import HandoffRequest

if TYPE_CHECKING:
    from .senders import AsyncFinixSender, AsyncLayerSender, FinixSender, LayerSender

__all__ = [
    "AsyncFinixSender",
    "AsyncLayerSender",
    "FinixSender",
    "HandoffError",
    "HandoffRefusedError",
    "HandoffRequest",
    "LayerAccount",
    "LayerHandoff",
    "LayerSender",
    "PartnerApiError",
    "PartnerConnectionError",
    "PartnerFault",
    "PaymentInstrument",
    "finix_request",
    "layer_request",
]

_SENDERS = ("AsyncFinixSender", "AsyncLayerSender", "FinixSender", "LayerSender")


def __getattr__(name: str) -> object:
    if name not in _SENDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import senders

    return getattr(senders, name)
