"""The settings of a client, checked once. No error shows a value that may be a key."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen
from attrs.converters import optional

from .errors import ConfigurationError
from .results import Environment

_KEYS_PAGE = "https://dashboard.plaid.com/developers/keys"

# What a header can carry (anything else is refused later, by an error that shows the value), and no
# quotes.
_KEY = re.compile(r"[!#-&(-~]+")
# As Plaid's Dashboard shows them.
_CLIENT_ID, _SECRET = re.compile(r"[0-9a-fA-F]{24}"), re.compile(r"[0-9a-fA-F]{30}")
# Scheme, host (an international one in its plain form, xn--…), port and path; no user.
_ADDRESS = re.compile(r"https?://([\w.-]+|\[[\w.:]+\])(:\d*)?(/[!-~]*)?", re.ASCII | re.IGNORECASE)

Timeout = float | tuple[float, float]


def is_positive(value: Any) -> bool:
    """Whether it is a number of seconds that a limit can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value <= sys.float_info.max  # not inf or nan, nor an int that no float can hold


def _as_pair(timeout: Any) -> Any:
    return tuple(timeout) if isinstance(timeout, list) else timeout


@frozen(kw_only=True)
class Limits:
    """How long and how often a client tries: see the arguments of `PlaidClient`."""

    timeout: Timeout = field(default=30.0, converter=_as_pair)
    deadline: float | None = field(default=90.0)
    max_attempts: int = field(default=3)
    max_connections: int = field(default=8)

    @timeout.validator
    def _check_timeout(self, _attribute: object, value: object) -> None:
        pair = value if isinstance(value, tuple) else (value, value)
        if len(pair) != 2 or not all(map(is_positive, pair)):
            raise ConfigurationError("timeout must be positive seconds, or a (connect, read) pair")

    @deadline.validator
    def _check_deadline(self, _attribute: object, value: object) -> None:
        if value is not None and not is_positive(value):
            raise ConfigurationError("deadline must be a positive number of seconds, or None")

    @max_attempts.validator
    @max_connections.validator
    def _check_count(self, attribute: Attribute[int], value: object) -> None:
        if type(value) is not int or value < 1:
            raise ConfigurationError(f"{attribute.name} must be a whole number, 1 or more")

    @property
    def connect_and_read(self) -> tuple[float, float]:
        """Seconds to connect, and to wait for the answer."""
        pair = self.timeout if isinstance(self.timeout, tuple) else (self.timeout, self.timeout)
        longest = 1e6  # beyond some 1e9 seconds, systems refuse a socket's time-out
        return min(pair[0], longest), min(pair[1], longest)


def read_environment(value: object) -> Environment:
    """The environment of that name, or a ConfigurationError that lists the two."""
    name = value.strip().lower() if isinstance(value, str) else ""
    if name == "development":
        raise ConfigurationError(
            "Plaid shut the environment 'development' down in June 2024: "
            "use 'sandbox' or 'production'"
        )
    if name in list(Environment):
        return Environment(name)
    # A word is shown; anything else may be a key that was put here by mistake.
    shown = repr(name) if name.isalpha() and len(name) <= 20 else "(not shown)"
    raise ConfigurationError(f"unknown environment {shown}: choose 'sandbox' or 'production'")


def checked_address(value: object) -> str:
    """An address without its final slash, or a ConfigurationError if none can be asked there."""
    with suppress(ValueError):  # of a port or a number in brackets that cannot be
        parts = urlsplit(value if isinstance(value, str) and _ADDRESS.fullmatch(value) else "")
        allowed = parts.scheme == "https" or is_loopback(parts.hostname)
        if allowed and parts.port != 0 and not (parts.query or parts.fragment):
            return parts.geturl().rstrip("/")
    raise ConfigurationError(
        "base_url must be an address such as https://sandbox.plaid.com, of plain characters, "
        "without user or query; http only on a loopback address such as http://127.0.0.1:8080"
    )


def environment_of(address: str) -> Environment | None:
    """The environment that an address belongs to; a local one counts as the Sandbox."""
    if (name := _plaids_own(address)) is not None:
        return read_environment(name)
    return Environment.SANDBOX if is_loopback(urlsplit(address).hostname) else None


def check_environment(name: str, address: str, environment: Environment) -> None:
    """A ConfigurationError if the address, called ``name``, is of another environment of Plaid."""
    found = _plaids_own(address)
    if found not in (None, environment.value):
        gone = ", which was shut down in June 2024" if found == "development" else ""
        raise ConfigurationError(
            f"{name} {urlsplit(address).hostname} is of Plaid's {found} environment{gone}, "
            f"but environment is {environment.value!r}: leave one of them out"
        )


def _plaids_own(address: str) -> str | None:
    """The environment in the name of one of Plaid's own hosts, however it is written."""
    hostname = (urlsplit(address).hostname or "").rstrip(".")
    found = re.fullmatch(r"(sandbox|development|production)\.plaid\.com", hostname)
    return found and found[1]


def check_keys(client_id: str, secret: str) -> None:
    """A ConfigurationError if the two keys are in each other's place, or no header takes them."""
    if not all(each.isascii() and each.isprintable() for each in (client_id, secret)):
        raise ConfigurationError("a key has a character that cannot be sent, such as a line break")
    if _SECRET.fullmatch(client_id) and _CLIENT_ID.fullmatch(secret):
        raise ConfigurationError(
            "the client id and the secret look swapped: at Plaid the client id has 24 characters "
            f"and the secret 30, see {_KEYS_PAGE}"
        )


def is_loopback(hostname: str | None) -> bool:
    """Whether a host's name or number means this machine."""
    with suppress(ValueError):  # a name, not a number
        return hostname == "localhost" or ip_address(hostname or "").is_loopback
    return False


def text_of_variable(environ: Mapping[str, str], name: str) -> str:
    """A variable's text without white space around it; empty where it is not set."""
    if not isinstance(environ, Mapping):
        raise TypeError(f"environ must be a mapping, not {type(environ).__name__}")
    value: object = environ.get(name, "")
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    return value.strip()


@frozen(kw_only=True)
class Credentials:
    """Keys, environment and, if it is not the environment's own, the address; all checked."""

    client_id: str = field(repr=False)
    secret: str = field(repr=False)
    environment: Environment = field(converter=read_environment)
    base_url: str | None = field(converter=optional(checked_address))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials:
        """Credentials from PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL."""
        names = ("PLAID_CLIENT_ID", "PLAID_SECRET", "PLAID_ENV", "PLAID_BASE_URL")
        given = {name: text_of_variable(environ, name) for name in names}
        missing = [name for name in names[:2] if not given[name]]
        if missing:
            raise ConfigurationError(f"{' and '.join(missing)} not set: see {_KEYS_PAGE}")
        return cls(
            client_id=given["PLAID_CLIENT_ID"],
            secret=given["PLAID_SECRET"],
            environment=given["PLAID_ENV"] or Environment.SANDBOX,
            base_url=given["PLAID_BASE_URL"] or None,
        )

    @client_id.validator
    @secret.validator
    def _check_key(self, attribute: Attribute[str], value: object) -> None:
        if not isinstance(value, str) or not _KEY.fullmatch(value):
            raise ConfigurationError(
                f"{attribute.name} must be a string of letters and digits alone, without quotes or "
                f"white space, from {_KEYS_PAGE}"
            )

    def __attrs_post_init__(self) -> None:
        check_keys(self.client_id, self.secret)
        check_environment("base_url", self.address, self.environment)

    @property
    def address(self) -> str:
        """Where requests go."""
        # https://plaid.com/docs/api/#api-host
        return self.base_url or f"https://{self.environment.value}.plaid.com"
