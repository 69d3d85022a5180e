"""The base of all senders: threads and connections, and one request sent once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, Self, TypeVar
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
from ..results import ProcessorToken
from ..settings import Limits, Timeout, checked_address, read_environment, text_of_variable
from .answers import Json, PartnerApi, outcome_of
from .errors import HandoffError
from .layer_tokens import Gone
from .requests import HandoffRequest, basic, plain_text

T = TypeVar("T")


class Recorder(Protocol):
    """Keeps what becomes of a hand-off, while a sender is at it."""

    async def sending(self, before: Collection[str] | None = None) -> None:
        """Tokens are about to be sent; ``before`` is what the partner has now, where that matters.

        What it raises stops the hand-off.
        """
        ...

    async def done(self, references: Mapping[str, str], missing: Collection[str] = ()) -> None:
        """The partner has the tokens of these accounts, by its references; others are missing."""
        ...


class Sender:
    """The base of all senders, whose constructors explain the arguments.

    Attributes:
        api: what the partner's API is like.
        environment: ``sandbox`` or ``production``.
        base_url: the partner's address.
    """

    api: ClassVar[PartnerApi]
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
        self.environment: str = read_environment(environment).value
        own = self.api.hosts[self.environment]
        self.base_url: str = own if base_url is None else checked_address(base_url)
        self._refuse_other_environments("base_url", self.base_url)
        self._times = Limits(timeout=timeout, max_connections=max_connections).connect_and_read
        urls = (self.base_url, *other_urls)
        networks = {url: network_for(url, proxy=proxy, ca_bundle=ca_bundle) for url in urls}

        def connect(_its_own: bool) -> dict[str, Any]:
            return {url: network.pool(max_connections, url) for url, network in networks.items()}

        connect(True)  # certificates that cannot be read are refused now
        self._engine = Engine(type(self).__name__, max_connections, connect)
        self._shown = f"{self.environment} {self.base_url}"

    def _refuse_other_environments(self, name: str, address: str) -> None:
        host = (urlsplit(address).hostname or "").rstrip(".")
        for environment, own in self.api.hosts.items():
            if environment != self.environment and host == urlsplit(own).hostname:
                raise ConfigurationError(
                    f"{name} {host} is of {self.api.name}'s {environment} environment, but "
                    f"environment is {self.environment!r}: leave one of them out"
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
        names = {name: f"{cls.api.name}_{name}".upper() for name in cls.api.settings}
        names["environment"] = f"{cls.api.name}_ENV".upper()
        named = {name: text_of_variable(source, variable) for name, variable in names.items()}
        given: dict[str, Any] = {name: value for name, value in named.items() if value}
        if missing := [names[key] for key in cls.api.settings[:2] if key not in given]:
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

    def begin(self, port: Port) -> Call:
        """The start of a public call; its deadline is four times the time of one request."""
        return Call(self._engine, port, times=self._times, deadline=4 * sum(self._times))

    async def deliver(
        self,
        call: Call,
        tokens: Sequence[ProcessorToken],
        target: str,
        recorder: Recorder,
        *,
        again: bool,
        gone: Gone,
    ) -> None:
        """Hand tokens over, and tell the recorder each step. For the linkers."""
        raise NotImplementedError

    async def look(self, call: Call, target: str) -> Mapping[str, object]:
        """What the partner has that tokens may have become, by its references. For the linkers."""
        raise NotImplementedError

    async def _ask(
        self,
        call: Call,
        request: HandoffRequest,
        read: Callable[[Json], T],
        *,
        base_url: str | None = None,
        secrets: tuple[str, ...] = (),
        keep: Callable[[T], Awaitable[None]] | None = None,
    ) -> T:
        """Send a request once; return what ``read`` makes of the JSON object of a good answer.

        That is kept before an interruption that came meanwhile is raised.
        """
        masks = secrets_among(*self._secrets, *secrets)
        read_answer = partial(outcome_of, self.api, request, read, masks)
        errand = _PartnerErrand(request, base_url or self.base_url, read_answer)
        try:
            value = await call.send(errand)
        except HandoffError as error:
            call.check(error)
            raise
        if keep is not None:
            await keep(value)
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
