"""The form of Plaid's tokens, `<type>-<environment>-<identifier>`, and the errors for bad ones."""

from __future__ import annotations

import re

from .errors import PlaidError

ENVIRONMENT = "sandbox"

_FORM = re.compile(r"([a-z_]+)-(sandbox|development|production)-(\S+)", re.ASCII)
_TYPES = frozenset({"access", "public", "link", "processor", "asset", "user", "item"})
_CODES = {
    "access": "INVALID_ACCESS_TOKEN",
    "public": "INVALID_PUBLIC_TOKEN",
    "processor": "INVALID_PROCESSOR_TOKEN",
}


def new_token(kind: str, identifier: str) -> str:
    """Write a token of this Sandbox."""
    return f"{kind}-{ENVIRONMENT}-{identifier}"


def check_form(token: str, kind: str) -> None:
    """Refuse a token whose form is wrong."""
    match = _FORM.fullmatch(token)
    if not match or match[1] not in _TYPES:
        words = f"provided {kind} token is in an invalid format. expected format:"
        raise PlaidError(_CODES[kind], f"{words} {kind}-<environment>-<identifier>")
    if match[1] != kind:
        words = f'provided token is the wrong type. expected "{kind}", got "{match[1]}"'
        raise PlaidError(_CODES[kind], words)
    if match[2] != ENVIRONMENT:
        words = f"provided {kind} token is for the wrong Plaid environment."
        words = f'{words} expected "{ENVIRONMENT}", got "{match[2]}"'
        raise PlaidError(_CODES[kind], words)


def unknown(kind: str) -> PlaidError:
    """Return the error for a token that does not exist, is of other keys, or is spent."""
    return PlaidError(_CODES[kind], f"could not find matching {kind} token")


def expired_public_token() -> PlaidError:
    """Return the error for a public token after its thirty minutes."""
    return PlaidError(
        _CODES["public"],
        "provided public token is expired. Public tokens expire 30 minutes after creation "
        "at which point they can no longer be exchanged",
    )
