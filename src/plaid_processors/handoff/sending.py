"""One public call to a partner: its requests, each sent once."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from .._engine.call import Call, Errand
from .._engine.engine import Engine, Running
from .._engine.http import HttpFailure, HttpOutcome, HttpRequest, send
from .._engine.network import network_for
from .._engine.ports import Port
from .._engine.threads import Attempt
from .._version import USER_AGENT
from ..settings import Limits, Timeout
from .requests import HandoffRequest


class PartnerCall(Call):
    """One public call: what the hand-offs ask a partner with.

    Attributes:
        may_have_acted: whether anything that changes something was asked for.
    """

    may_have_acted = False

    async def ask(self, request: HandoffRequest, base_url: str) -> HttpOutcome:
        """Send a request, once; one that changes something only while somebody waits for it.

        Such a one, if it was sent, is waited for even when the caller interrupts.

        Args:
            request: what is asked.
            base_url: the partner's address.
        """
        self.may_have_acted |= request.changes
        came = await self.send(_PartnerErrand(request, base_url))
        self.check()
        return came


class _PartnerErrand(Errand[HttpOutcome]):
    """One request to a partner."""

    def __init__(self, request: HandoffRequest, base_url: str) -> None:
        self.once = request.changes
        self._base_url = base_url
        self._request = HttpRequest(
            method=request.method,
            base_url=base_url,
            target=request.target,
            headers={"User-Agent": USER_AGENT, **request.headers},
            body=request.content,
            once=self.once,
        )

    @override
    def attempt(
        self, running: Running, attempt: Attempt, times: tuple[float, float]
    ) -> HttpOutcome:
        return send(running.pools[self._base_url], self._request, attempt, times)

    @override
    def failed(
        self,
        failure: HttpFailure,
        number: int,
    ) -> HttpOutcome:
        return failure


class Transport:
    """The threads and connections of one sender."""

    def __init__(
        self,
        name: str,
        *base_urls: str,
        timeout: Timeout,
        max_connections: int,
        proxy: str | None,
        ca_bundle: Any,
    ) -> None:
        """Set it up; nothing is sent yet.

        Raises:
            ConfigurationError: one of these is malformed.
        """
        limits = Limits(timeout=timeout, max_connections=max_connections)
        networks = {each: network_for(each, proxy=proxy, ca_bundle=ca_bundle) for each in base_urls}

        # Now, so that certificates that cannot be read are refused now.
        contexts = {url: network.ssl_context(url) for url, network in networks.items()}

        def connect(its_own: bool) -> dict[str, Any]:
            return {
                url: network.pool(
                    max_connections, contexts[url] if its_own else network.ssl_context(url)
                )
                for url, network in networks.items()
            }

        self.engine = Engine(name, max_connections, connect)
        self._times = limits.connect_and_read

    def begin(self, port: Port) -> PartnerCall:
        """The start of a public call.

        Raises:
            ConfigurationError: the sender is closed.
        """
        return PartnerCall(self.engine, port, times=self._times, deadline=None)
