"""What a client is set up with, checked once. Pure."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from .errors import ConfigurationError
from .results import Environment

if TYPE_CHECKING:
    from .events import OnEvent

HOSTS = {
    # https://plaid.com/docs/api/#api-host
    Environment.SANDBOX: "https://sandbox.plaid.com",
    Environment.PRODUCTION: "https://production.plaid.com",
}

Timeout = float | tuple[float, float]


class Keep(Enum):
    """Stands for a setting that is left as it is, where None has a meaning of its own."""

    KEEP = "as it is"


KEEP = Keep.KEEP


def _pair(given: Timeout | Sequence[float]) -> Any:
    return tuple(given) if isinstance(given, list) else given


_LONGEST = 1e6
"""Seconds that a socket is told to wait at most: beyond some 1e9 systems refuse."""


@frozen(kw_only=True)
class Limits:
    """How long and how often a client tries.

    Attributes:
        timeout: seconds to connect and seconds to wait for the answer, each, or a (connect, read)
            pair.
        deadline: seconds for one public call, retries and all; None: no limit.
        max_attempts: for one request; 1 means no retry.
        max_connections: how many requests run side by side at most.
    """

    timeout: Timeout = field(default=30.0, converter=_pair)
    deadline: float | None = 90.0
    max_attempts: int = 3
    max_connections: int = 8

    def __attrs_post_init__(self) -> None:
        given: object = self.timeout
        pair = given if isinstance(given, tuple) else (given, given)
        if len(pair) != 2 or not all(_is_positive(seconds) for seconds in pair):
            _refuse("timeout", "a positive number of seconds or a (connect, read) pair of them")
        if self.deadline is not None and not _is_positive(self.deadline):
            _refuse("deadline", "a positive number of seconds, or None")
        for name in ("max_attempts", "max_connections"):
            number = getattr(self, name)
            if type(number) is not int or number < 1:
                _refuse(name, "a whole number, 1 or more")

    @property
    def connect_and_read(self) -> tuple[float, float]:
        """Seconds to connect, and to wait for the answer."""
        pair = self.timeout if isinstance(self.timeout, tuple) else (self.timeout, self.timeout)
        connect, read = (min(each, _LONGEST) for each in pair)
        return connect, read


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of a client."""

    client_id: str
    secret: str
    environment: str | Environment
    base_url: str | None
    timeout: Timeout
    deadline: float | None
    max_attempts: int
    max_connections: int
    proxy: str | None
    ca_bundle: str | os.PathLike[str] | None
    on_event: OnEvent | None


def _is_positive(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type,operator]


def _refuse(name: str, wanted: str) -> NoReturn:
    raise ConfigurationError(f"{name} must be {wanted}")


@frozen(kw_only=True)
class Credentials:
    """Keys and address, checked.

    Attributes:
        client_id: the team's id, the same in both environments.
        secret: the key of one environment.
        environment: ``sandbox`` or ``production``.
        base_url: where requests go.
    """

    client_id: str = field(repr=False)
    secret: str = field(repr=False)
    environment: Environment
    base_url: str

    @classmethod
    def checked(
        cls, *, client_id: object, secret: object, environment: object, base_url: object
    ) -> Credentials:
        """Credentials from what a caller gave.

        Raises:
            ConfigurationError: something is missing or malformed; its value is not shown.
        """
        where = read_environment(environment)
        address = HOSTS[where] if base_url is None else checked_address(base_url)
        own = environment_of(address)
        if own not in (None, where) and not is_loopback(urlsplit(address).hostname):
            raise ConfigurationError(
                f"base_url {address} is of Plaid's {own} environment, "
                f"but environment is {where.value!r}: leave one of them out"
            )
        return cls(
            client_id=_key("client_id", client_id),
            secret=_key("secret", secret),
            environment=where,
            base_url=address,
        )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials:
        """Credentials from PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL.

        Raises:
            TypeError: not a mapping.
            ConfigurationError: a variable is missing or malformed; it is named.
        """
        if not isinstance(environ, Mapping):
            raise TypeError(f"environ must be a mapping, not {type(environ).__name__}")
        given = {name: environ.get(name, "").strip() or None for name in _VARIABLES}
        missing = [name for name in _VARIABLES[:2] if given[name] is None]
        if missing:
            raise ConfigurationError(
                f"{' and '.join(missing)} not set: the keys are at "
                "https://dashboard.plaid.com/developers/keys"
            )
        client_id, secret, environment, base_url = given.values()
        return cls.checked(
            client_id=client_id,
            secret=secret,
            environment=environment or Environment.SANDBOX,
            base_url=base_url,
        )


_VARIABLES = ("PLAID_CLIENT_ID", "PLAID_SECRET", "PLAID_ENV", "PLAID_BASE_URL")


_NAME = re.compile(r"[a-z_-]{0,20}")


def read_environment(value: object) -> Environment:
    """The environment of that name.

    Raises:
        ConfigurationError: there is none; the two are listed.
    """
    name = value.strip().lower() if isinstance(value, str) else value
    if name == "development":
        raise ConfigurationError(
            "Plaid shut the environment 'development' down in June 2024: "
            "use 'sandbox' or 'production'"
        )
    try:
        return Environment(name)  # type: ignore[arg-type]
    except ValueError:
        pass
    # A name is shown; what is no name may be a key that was put here by mistake.
    shown = repr(name) if isinstance(name, str) and _NAME.fullmatch(name) else "(not shown)"
    raise ConfigurationError(f"unknown environment {shown}: choose 'sandbox' or 'production'")


def environment_of(host: str) -> Environment | None:
    """The environment that an address belongs to; a local one counts as the Sandbox."""
    parts = urlsplit(host)
    for environment, known in HOSTS.items():
        if parts.hostname == urlsplit(known).hostname:
            return environment
    if parts.hostname == "development.plaid.com":
        return read_environment("development")
    return Environment.SANDBOX if is_loopback(parts.hostname) else None


def is_loopback(hostname: str | None) -> bool:
    """Whether a host's name or number means this machine."""
    if hostname == "localhost":
        return True
    try:
        return ip_address(hostname or "").is_loopback
    except ValueError:
        return False


# What a header can carry and Plaid's keys consist of: anything else would be refused further
# down, by an error that shows the value.
_KEY = re.compile(r"[!-~]+")


def _key(name: str, value: object) -> str:
    if not isinstance(value, str) or not _KEY.fullmatch(value):
        _refuse(
            name, "a string of letters and digits, from https://dashboard.plaid.com/developers/keys"
        )
    return value


# A name or number as it stands in an address; an international name in its plain form (xn--…).
_HOST = re.compile(r"[A-Za-z0-9._:-]*")


def checked_address(value: object) -> str:
    """An address without its final slash; http only on loopback.

    Raises:
        ConfigurationError: it is none that a request can go to.
    """
    parts = _split(value)
    if not _HOST.fullmatch(parts.hostname or "") or not _KEY.fullmatch(str(value)):
        _refuse("base_url", "an address such as https://sandbox.plaid.com, of plain characters")
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if not plain or not parts.hostname or parts.scheme not in ("http", "https"):
        _refuse("base_url", "an address such as https://sandbox.plaid.com, without user or query")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        _refuse("base_url", "https, or http on a loopback address such as http://127.0.0.1:8080")
    return parts.geturl().rstrip("/")


def _split(value: object) -> SplitResult:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        port = parts and parts.port  # an unusable port is told only when it is read
    except ValueError:
        parts = port = None
    if parts is None or port == 0:
        _refuse("base_url", "an address such as https://sandbox.plaid.com")
    return parts
