"""From Plaid Link's public_token to the partner's processor_token, in one call."""

from __future__ import annotations

from ._version import __version__
from .adapters.base import FinixAdapter, LayerAdapter, PartnerAdapter
from .adapters.catalogue import Partner, get_adapter, partners
from .aio import AsyncProcessorLinker
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
    LinkSessionError,
    NotEnabledError,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorNotEnabledError,
    PublicTokenError,
    RateLimitError,
    RequestError,
    UnknownProcessorError,
    WebhookVerificationError,
    unfinished,
)
from .events import EventKind, RequestEvent
from .life import (
    Duplicate,
    DuplicateItemError,
    LinkAction,
    LinkChanges,
    LinkStatus,
    find_duplicates,
)
from .linker import ProcessorLinker
from .redaction import RedactingFilter
from .results import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    StripeBankAccountToken,
)
from .sessions import LinkFailure, LinkSession, SessionItem, SessionState
from .webhooks.event import WebhookEvent

__all__ = [
    "AccessTokenError",
    "Account",
    "AccountSelectionError",
    "AsyncProcessorLinker",
    "AuthenticationError",
    "ConfigurationError",
    "Duplicate",
    "DuplicateItemError",
    "Environment",
    "EventKind",
    "FinixAdapter",
    "InvalidRequestError",
    "ItemLoginRequiredError",
    "ItemNotFoundError",
    "ItemNotSupportedError",
    "LayerAdapter",
    "LinkAction",
    "LinkChanges",
    "LinkFailure",
    "LinkIncompleteError",
    "LinkResult",
    "LinkSession",
    "LinkSessionError",
    "LinkStatus",
    "LinkToken",
    "LinkedItem",
    "NotEnabledError",
    "Partner",
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
    "RedactingFilter",
    "RequestError",
    "RequestEvent",
    "SessionItem",
    "SessionState",
    "StripeBankAccountToken",
    "UnknownProcessorError",
    "WebhookEvent",
    "WebhookVerificationError",
    "__version__",
    "find_duplicates",
    "get_adapter",
    "partners",
    "unfinished",
]
