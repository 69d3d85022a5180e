"""The base of all senders: threads and connections, and one request sent once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

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
from ..redaction import secrets_among
from ..settings import Limits, Timeout, checked_address, read_environment, text_of_variable
from .answers import Json, PartnerApi, outcome_of
from .errors import HandoffError
from .requests import HandoffRequest, basic, plain_text

T = TypeVar("T")


class Sender:
    """The base of all senders, whose constructors explain the arguments."""

    _api: ClassVar[PartnerApi]
    _shown = "not set up"

    def __init__(
        self,
        keys: Mapping[str, str],
        environment: str,
        base_url: str | None,
        timeout: Timeout,
        max_connections: int,
        proxy: str | None,
        ca_bundle: str | os.PathLike[str] | None,
        *other_urls: str,
    ) -> None:
        user, password = (plain_text(name, value) for name, value in keys.items())
        self._keys = (user, password)
        self._secrets = (password, basic(user, password))  # masked in all texts
        self._environment = read_environment(environment).value
        own = self._api.hosts[self._environment]
        self._base_url = own if base_url is None else checked_address(base_url)
        self._refuse_other_environments("base_url", self._base_url)
        self._times = Limits(timeout=timeout, max_connections=max_connections).connect_and_read
        urls = (self._base_url, *other_urls)
        networks = {url: network_for(url, proxy=proxy, ca_bundle=ca_bundle) for url in urls}

        def connect(_its_own: bool) -> dict[str, Any]:
            return {url: network.pool(max_connections, url) for url, network in networks.items()}

        connect(True)  # certificates that cannot be read are refused now
        self._engine = Engine(type(self).__name__, max_connections, connect)
        self._shown = f"{self._environment} {self._base_url}"

    def _refuse_other_environments(self, name: str, address: str) -> None:
        host = (urlsplit(address).hostname or "").rstrip(".")
        for environment, own in self._api.hosts.items():
            if environment != self._environment and host == urlsplit(own).hostname:
                raise ConfigurationError(
                    f"{name} {host} is of {self._api.name}'s {environment} environment, but "
                    f"environment is {self._environment!r}: leave one of them out"
                )

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
            timeout: seconds, or a (connect, read) pair; one call may take four times their sum.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        source = os.environ if environ is None else environ
        names = {name: f"{cls._api.name}_{name}".upper() for name in cls._api.settings}
        names["environment"] = f"{cls._api.name}_ENV".upper()
        named = {name: text_of_variable(source, variable) for name, variable in names.items()}
        given: dict[str, Any] = {name: value for name, value in named.items() if value}
        if missing := [names[key] for key in cls._api.settings[:2] if key not in given]:
            raise ConfigurationError(f"{' and '.join(missing)} not set")
        return cls(
            **given,
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shown}>"

    def _close(self) -> None:
        if hasattr(self, "_engine"):  # else its constructor raised
            self._engine.close()

    def _call(self, port: Port) -> Call:
        """The start of a public call; its deadline is four times the time of one request."""
        return Call(self._engine, port, times=self._times, deadline=4 * sum(self._times))

    async def _ask(
        self,
        call: Call,
        request: HandoffRequest,
        read: Callable[[Json], T],
        *,
        base_url: str | None = None,
        secrets: tuple[str, ...] = (),
    ) -> T:
        """Send a request once; return what ``read`` makes of the JSON object of a good answer."""
        masks = secrets_among(*self._secrets, *secrets)
        read_answer = partial(outcome_of, self._api, request, read, masks)
        errand = _PartnerErrand(request, base_url or self._base_url, read_answer)
        try:
            value = await call.send(errand)
        except HandoffError as error:
            call.check(error)
            raise
        call.check()
        return value


class BlockingSender(Sender):
    """What the blocking senders share."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its threads and close its connections; a later call is a ConfigurationError."""
        self._close()


class AwaitedSender(Sender):
    """What the awaited senders share."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End its threads and close its connections; a later call is a ConfigurationError."""
        # It waits for its threads, which must not hold the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._close)


@define(slots=False, eq=False, repr=False)
class _PartnerErrand(Errand[T]):
    """One request to a partner, sent once.

    Its answer is read on the thread, where whatever goes wrong is an error of the attempt.
    """

    request: HandoffRequest
    base_url: str
    outcome_of: Callable[[HttpOutcome], T | HandoffError]

    def __attrs_post_init__(self) -> None:
        self.once = self.request.changes

    @override
    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> T | HandoffError:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **self.request.headers}
        url, body = self.base_url + self.request.path, self.request.content
        request = HttpRequest(method=self.request.method, url=url, headers=headers, body=body)
        return self.outcome_of(send(running.pools[self.base_url], request, attempt, times))

    @override
    def failed(self, failure: HttpFailure, number: int) -> T | HandoffError:
        return self.outcome_of(failure)
