"""From Plaid Link's public_token to the partner's processor_token, in one call."""

from typing import TYPE_CHECKING

from ._version import __version__
from .adapters import FinixAdapter, LayerAdapter, PartnerAdapter, get_adapter
from .client import PlaidClient
from .errors import (
    AccessTokenError,
    AccountSelectionError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    ItemNotSupportedError,
    LinkIncompleteError,
    NotEnabledError,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorNotEnabledError,
    PublicTokenError,
    RateLimitError,
    UnknownProcessorError,
    unfinished,
)
from .linker import ProcessorLinker
from .results import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    PendingPartner,
    PendingToken,
    ProcessorToken,
)

if TYPE_CHECKING:
    from .aio import AsyncProcessorLinker

__all__ = [
    "AccessTokenError",
    "Account",
    "AccountSelectionError",
    "AsyncProcessorLinker",
    "AuthenticationError",
    "ConfigurationError",
    "Environment",
    "FinixAdapter",
    "InvalidRequestError",
    "ItemLoginRequiredError",
    "ItemNotFoundError",
    "ItemNotSupportedError",
    "LayerAdapter",
    "LinkIncompleteError",
    "LinkResult",
    "LinkToken",
    "LinkedItem",
    "NotEnabledError",
    "PartnerAdapter",
    "PendingPartner",
    "PendingToken",
    "PlaidApiError",
    "PlaidClient",
    "PlaidConnectionError",
    "PlaidProcessorsError",
    "PlaidUnavailableError",
    "ProcessorLinker",
    "ProcessorNotEnabledError",
    "ProcessorToken",
    "PublicTokenError",
    "RateLimitError",
    "UnknownProcessorError",
    "__version__",
    "get_adapter",
    "unfinished",
]


def __getattr__(name: str) -> object:
    if name == "AsyncProcessorLinker":  # asyncio is loaded by those who use it
        from .aio import AsyncProcessorLinker

        return AsyncProcessorLinker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
