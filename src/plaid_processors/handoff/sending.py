"""The base of all senders: threads and connections, one request sent once, its answer read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Self

from attrs import define
from typing_extensions import override

from .._engine.call import Call, Errand
from .._engine.engine import Engine
from .._engine.http import HttpFailure, HttpOutcome, HttpRequest, send
from .._engine.network import network_for
from .._engine.ports import Port
from .._engine.threads import Attempt, Running
from .._version import USER_AGENT
from ..errors import ConfigurationError
from ..redaction import redact
from ..settings import Limits, Timeout, checked_address, read_environment
from .errors import PartnerApiError, PartnerConnectionError, PartnerFault
from .requests import HandoffRequest, basic

Json = dict[str, Any]

_RETRYABLE = (408, 429, 500, 502, 503, 504)
_LATER = "Nothing was changed: call again later."
_KEYS = "Check the keys, and that they belong to this environment of the partner's."
_FIX = "Nothing was changed: fix what the answer names."


class Sender:
    """The base of all senders, whose constructors explain the arguments."""

    _partner: ClassVar[str]
    _hosts: ClassVar[Mapping[str, str]]  # the address of each environment
    _variables: ClassVar[Mapping[str, str]]  # the arguments for `from_env`, the two keys first
    _if_unknown: ClassVar[str]  # the advice where the partner may have acted all the same

    def __init__(
        self,
        *other_urls: str,
        keys: Mapping[str, str],
        environment: str,
        base_url: str | None,
        timeout: Timeout,
        max_connections: int,
        proxy: str | None,
        ca_bundle: str | os.PathLike[str] | None,
    ) -> None:
        user, password = (_checked_key(name, value) for name, value in keys.items())
        self._keys = (user, password)
        self._secrets = (password, basic(user, password))  # masked in all texts
        self._environment = read_environment(environment).value
        own = self._hosts[self._environment]
        self._base_url = own if base_url is None else checked_address(base_url)
        self._times = Limits(timeout=timeout, max_connections=max_connections).connect_and_read
        urls = (self._base_url, *other_urls)
        networks = {url: network_for(url, proxy=proxy, ca_bundle=ca_bundle) for url in urls}

        def connect(_its_own: bool) -> dict[str, Any]:
            return {url: network.pool(max_connections, url) for url, network in networks.items()}

        connect(True)  # certificates that cannot be read are refused now
        self._engine = Engine(type(self).__name__, max_connections, connect)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: Timeout = 30.0,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> Self:
        """A sender from environment variables.

        For Finix these are FINIX_USERNAME, FINIX_PASSWORD, FINIX_ENV and FINIX_BASE_URL; for Layer
        LAYER_CLIENT_ID, LAYER_CLIENT_SECRET, LAYER_ENV, LAYER_BASE_URL and LAYER_AUTH_URL.

        Args:
            environ: the variables to read; None: those of the process, ``os.environ``.
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair;
                one call may take four times their sum.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        source = os.environ if environ is None else environ
        named = {argument: source.get(name, "") for argument, name in cls._variables.items()}
        given: dict[str, Any] = {k: value.strip() for k, value in named.items() if value.strip()}
        keys = list(cls._variables)[:2]
        if missing := [cls._variables[key] for key in keys if key not in given]:
            raise ConfigurationError(f"{' and '.join(missing)} not set")
        return cls(
            **given,
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._environment} {self._base_url}>"

    def _call(self, port: Port) -> Call:
        """The start of a public call; its deadline is four times the time of one request."""
        return Call(self._engine, port, times=self._times, deadline=4 * sum(self._times))

    async def _ask(
        self,
        call: Call,
        request: HandoffRequest,
        *,
        base_url: str | None = None,
        secrets: tuple[str, ...] = (),
    ) -> tuple[int, Json]:
        """Send a request once; return the status and the JSON object of a good answer."""
        base_url = base_url or self._base_url
        http_request = HttpRequest(
            method=request.method,
            url=base_url + request.path,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **request.headers},
            body=request.content,
        )
        outcome = await call.send(_PartnerErrand(http_request, base_url, request.changes))
        call.check()
        if isinstance(outcome, HttpFailure):
            raise self._no_answer(request, outcome.reason, sent=outcome.sent)
        body: Any = None
        with suppress(ValueError, RecursionError):
            body = json.loads(outcome.body)
        read = self._faults(body) if isinstance(body, dict) else []
        faults = tuple(PartnerFault(**masked(each, (*self._secrets, *secrets))) for each in read)
        # A gateway's page does not say whether the partner itself was reached.
        if faults or not 200 <= outcome.status < 300:
            raise self._api_error(request, outcome.status, faults)
        if not isinstance(body, dict):
            raise self._unusable(request, outcome.status, "not JSON")
        return outcome.status, body

    def _faults(self, body: Json) -> list[dict[str, str | None]]:
        """The errors that an answer of this partner's lists: the fields of a `PartnerFault`."""
        raise NotImplementedError

    def _api_error(
        self, request: HandoffRequest, status: int, faults: tuple[PartnerFault, ...]
    ) -> PartnerApiError:
        unknown = request.changes and (status >= 500 or status == 408 or 200 <= status < 300)
        if unknown:
            advice = self._if_unknown
        elif status in (401, 403):
            advice = _KEYS
        else:
            advice = _LATER if status in _RETRYABLE else _FIX
        message = f"{self._partner} refused {request.endpoint}, HTTP {status}"
        if faults:
            message += ": " + "; ".join(f"{each.code}: {each.message}" for each in faults)
        return PartnerApiError(
            message,
            partner=self._partner,
            advice=advice,
            outcome_unknown=unknown,
            retryable=status in _RETRYABLE and not unknown,
            endpoint=request.endpoint,
            http_status=status,
            faults=faults,
        )

    def _unusable(self, request: HandoffRequest, status: int, why: str) -> PartnerConnectionError:
        """The error for an answer that means success and cannot be used."""
        return self._no_answer(request, f"its answer is {why} (HTTP {status})", status=status)

    def _no_answer(
        self, request: HandoffRequest, reason: str, *, sent: bool = True, status: int | None = None
    ) -> PartnerConnectionError:
        unknown = request.changes and sent
        return PartnerConnectionError(
            f"no usable answer from {self._partner} to {request.endpoint}: {reason}",
            partner=self._partner,
            advice=self._if_unknown if unknown else _LATER,
            outcome_unknown=unknown,
            retryable=status is None or not unknown,
            reason=reason,
            endpoint=request.endpoint,
            http_status=status,
        )


class BlockingSender(Sender):
    """What the blocking senders share."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its threads and close its connections; a later call is a ConfigurationError."""
        self._engine.close()


class AwaitedSender(Sender):
    """What the awaited senders share."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End its threads and close its connections; a later call is a ConfigurationError."""
        # It waits for its threads, which must not hold the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._engine.close)


@define(slots=False, eq=False)
class _PartnerErrand(Errand[HttpOutcome]):
    """One request to a partner, sent once."""

    request: HttpRequest
    base_url: str
    once: bool

    @override
    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> HttpOutcome:
        return send(running.pools[self.base_url], self.request, attempt, times)

    @override
    def failed(self, failure: HttpFailure, number: int) -> HttpOutcome:
        return failure


def text_of(data: object, key: str) -> str | None:
    """A text of a JSON object; None where it is missing, or where there is no object."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, str) and value else None


def objects(value: object) -> list[Json]:
    """The JSON objects of a list; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """A JSON value without tokens and these secrets."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {key: masked(each, secrets) for key, each in value.items()}
    return [masked(each, secrets) for each in value] if isinstance(value, list) else value


def _checked_key(name: str, value: object) -> str:
    """A key that a header can carry."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and value.strip():
        return value
    raise ConfigurationError(f"{name} must be a string of printable characters")
