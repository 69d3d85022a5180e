"""The last step: from the processor token to the partner.

The builders (`finix_request`, `layer_request`) make the exact request, without any network. The
senders make it, send it and read the answer.
"""

from __future__ import annotations

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
