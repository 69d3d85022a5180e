"""The callers' arguments, checked before anything is sent and made plain. Pure.

No message shows a value: it may be a token, by mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import AccountSelectionError, ConfigurationError
from ..redaction import has_token_inside, redact, token_kind
from ..results import Account, Environment, as_accounts


def names(name: str, values: object) -> list[str]:
    if isinstance(values, Iterable) and not isinstance(values, (str, Mapping)):
        listed = list(values)
        if all(isinstance(each, str) for each in listed):
            return listed
    raise TypeError(f"{name} must be a sequence of strings")


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):  # "no" would count as yes
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def text(name: str, value: object) -> str:
    """A text, perhaps an empty one: Plaid decides whether it takes that."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return value


def filled_text(name: str, value: object) -> str:
    given = text(name, value)
    if not given.strip():
        raise ConfigurationError(f"{name} is empty")
    return given


def stored_text(name: str, value: object) -> str:
    """A text that every database can keep and look for."""
    given = filled_text(name, value)
    if not given.isprintable():  # a lone surrogate is not printable
        raise ConfigurationError(f"{name} has a character that cannot be printed")
    if redact(given) != given:  # it would stand there in clear
        raise ConfigurationError(f"{name} has a token in it")
    return given


def given_accounts(
    accounts: Iterable[Account | Mapping[str, object]] | None,
    verify: bool,
    processors: Iterable[str],
) -> tuple[Account, ...] | None:
    """The accounts that the caller gave; None: ask ``/accounts/get``."""
    try:
        return None if accounts is None else as_accounts(accounts)
    except ValueError as error:  # no id, which Link's mobile SDKs were seen to send
        if verify:
            return None
        raise AccountSelectionError(
            f"{error}: pass verify_accounts=True, or leave the accounts out, to ask Plaid",
            processor=", ".join(processors),
        ) from None


def checked_token(name: str, value: object, environment: Environment) -> str:
    """The token, unless it is of another type than its name says, or of another environment.

    Plaid's tokens are ``<type>-<environment>-…``; what does not look like that is sent as it is.
    """
    given, expected = filled_text(name, value), name.removesuffix("_token")
    if has_token_inside(given):
        raise ConfigurationError(
            f"{name} has more than the token in it (quotes, white space, 'Bearer' or the like): "
            "pass the token alone"
        )
    kind, where = token_kind(given) or (expected, environment)
    if (kind, where) != (expected, environment):
        raise ConfigurationError(
            f"{name} is a token of type {kind!r} and environment {where!r}, "
            f"not {expected!r} and {environment.value!r}"
        )
    return given


def plain_mapping(name: str, value: object) -> dict[str, Any]:
    """A copy of a mapping, made of JSON's own types."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        plain: dict[str, Any] = _plain(name, value)
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
    return plain


def _plain(name: str, value: object) -> Any:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"{name} has a key that is not a string")
        return {key: _plain(name, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(name, each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} has a number that JSON does not have: {value}")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{name} has a value that JSON does not have: {type(value).__name__}")
