"""The last step, from the token to the partner: builders of its requests, and senders of them."""

from __future__ import annotations

from .errors import (
    HandoffError,
    HandoffRefusedError,
    PartnerApiError,
    PartnerConnectionError,
    PartnerFault,
)
from .finix import (
    AsyncFinixSender,
    FinixSender,
    PaymentInstrument,
    finix_disable_request,
    finix_request,
)
from .layer import (
    AsyncLayerSender,
    LayerHandoff,
    LayerSender,
    layer_archive_request,
    layer_request,
)
from .layer_tokens import LayerAccount
from .requests import HandoffRequest

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
    "finix_disable_request",
    "finix_request",
    "layer_archive_request",
    "layer_request",
]
