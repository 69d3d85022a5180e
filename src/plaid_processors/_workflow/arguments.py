"""What callers pass, checked before anything is sent and made plain. Pure.

No message shows what was given: it may be a token, by mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..redaction import token_kind

if TYPE_CHECKING:
    from ..results import Environment


def names(name: str, values: object) -> list[str]:
    """Several texts."""
    several = isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping))
    listed: list[Any] = list(values) if several else [None]  # type: ignore[call-overload]
    if not all(isinstance(each, str) for each in listed):
        raise TypeError(f"{name} must be a sequence of strings")
    return listed


def flag(name: str, value: object) -> bool:
    """Yes or no; ``"no"`` would count as yes."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def text(name: str, value: object) -> str:
    """A text, perhaps an empty one: Plaid says what it thinks of that."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return value


def filled_text(name: str, value: object) -> str:
    """A text that must not be missing."""
    given = text(name, value)
    if not given.strip():
        raise ValueError(f"{name} must not be empty")
    return given


def checked_token(name: str, value: object, wanted: str, environment: Environment) -> str:
    """The token, if nothing about it says that it is another one than is wanted here.

    Plaid's tokens are ``<type>-<environment>-…``; what does not look like that is sent as it is.

    Raises:
        TypeError: it is not a string.
        ConfigurationError: it is empty, or of another type or environment.
    """
    given = text(name, value)
    if not given.strip():
        raise ConfigurationError(f"{name} is empty")
    kind = token_kind(given)
    if kind is not None and kind[0] != wanted:
        raise ConfigurationError(f"{name} is a token of type {kind[0]!r}, expected {wanted!r}")
    if kind is not None and kind[1] != environment:
        raise ConfigurationError(
            f"{name} is of the environment {kind[1]!r}, but this client is of {environment.value!r}"
        )
    return given


def plain_mapping(name: str, value: object) -> dict[str, Any]:
    """A mapping as JSON has it, of whatever mappings and sequences it is made."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        return {key: _plain(name, each) for key, each in _by_text(name, value)}
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None


def _plain(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(name, each) for key, each in _by_text(name, value)}
    if isinstance(value, (list, tuple)):
        return [_plain(name, each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} has a number that JSON does not have: {value}")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{name} has a value that JSON does not have: {type(value).__name__}")


def _by_text(name: str, value: Mapping[Any, object]) -> Iterable[tuple[str, object]]:
    if not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} has a key that is not a string")
    return value.items()
