"""From Plaid Link's public_token to the partner's processor_token, in one call.

Each name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .adapters import FinixAdapter, LayerAdapter, PartnerAdapter, get_adapter
    from .adapters.catalogue import Partner, partners
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
    from .events import EventKind, RequestEvent
    from .linker import ProcessorLinker
    from .logs import RedactingFilter
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
    from .sessions import LinkFailure, LinkSession, SessionState

__all__ = [
    "AccessTokenError",
    "Account",
    "AccountSelectionError",
    "AsyncProcessorLinker",
    "AuthenticationError",
    "ConfigurationError",
    "Environment",
    "EventKind",
    "FinixAdapter",
    "InvalidRequestError",
    "ItemLoginRequiredError",
    "ItemNotFoundError",
    "ItemNotSupportedError",
    "LayerAdapter",
    "LinkFailure",
    "LinkIncompleteError",
    "LinkResult",
    "LinkSession",
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
    "RequestEvent",
    "SessionState",
    "StripeBankAccountToken",
    "UnknownProcessorError",
    "__version__",
    "get_adapter",
    "partners",
    "unfinished",
]

_HOMES = {
    "adapters": "FinixAdapter LayerAdapter PartnerAdapter get_adapter",
    "adapters.catalogue": "Partner partners",
    "aio": "AsyncProcessorLinker",
    "client": "PlaidClient",
    "errors": (
        "AccessTokenError AccountSelectionError AuthenticationError ConfigurationError "
        "InvalidRequestError ItemLoginRequiredError ItemNotFoundError ItemNotSupportedError "
        "LinkIncompleteError NotEnabledError PlaidApiError PlaidConnectionError "
        "PlaidProcessorsError PlaidUnavailableError ProcessorNotEnabledError PublicTokenError "
        "RateLimitError UnknownProcessorError unfinished"
    ),
    "events": "EventKind RequestEvent",
    "linker": "ProcessorLinker",
    "logs": "RedactingFilter",
    "results": (
        "Account Environment LinkedItem LinkResult LinkToken PendingPartner PendingToken "
        "ProcessorToken StripeBankAccountToken"
    ),
    "sessions": "LinkFailure LinkSession SessionState",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
