"""The last step, from the token to the partner: builders of its requests, and senders of them."""

from __future__ import annotations

from .errors import (
    HandoffError,
    HandoffRefusedError,
    PartnerApiError,
    PartnerConnectionError,
    PartnerFault,
)
from .finix import AsyncFinixSender, FinixSender, PaymentInstrument, finix_request
from .layer import AsyncLayerSender, LayerAccount, LayerHandoff, LayerSender, layer_request
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
    "finix_request",
    "layer_request",
]
