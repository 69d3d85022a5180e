"""`LocalSandbox`, the local Plaid with an HTTP server."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from .app import make_app
from .engine import DEFAULT_SEED, Engine
from .server import ThreadedServer, own_address
from .visitors import Hosts

if TYPE_CHECKING:
    from plaid_processors.client import PlaidClient
    from plaid_processors.events import OnEvent


class ClientOptions(TypedDict, total=False):
    """The arguments of a `PlaidClient`."""

    client_id: str
    secret: str
    environment: str
    base_url: str | None
    timeout: float | tuple[float, float]
    deadline: float | None
    max_attempts: int
    max_connections: int
    proxy: str | None
    ca_bundle: str | os.PathLike[str] | None
    on_event: OnEvent | None


class LocalSandbox(Engine):
    """Plaid's Sandbox on this machine, for as long as the `with` block lasts.

    Args:
        client_id: the only accepted client id; derived from the seed by default.
        secret: its secret; derived from the seed by default.
        any_keys: whether any other well-formed keys are accepted too.
        seed: every id, token and key is derived from it.
        host: the address to listen at; the loopback by default.
        port: the port; 0 takes a free one.
        now: stops the clock at this time; by default the machine's clock is used.
        redirect_uris: the Dashboard's list of redirect URIs; by default any valid one is accepted.
        consent: whether new Items record what the user consents to; see `record_consent`.
        allowed_hosts: further host names by which the control plane and Link's pages may be asked;
            the loopback's and `host` are always allowed.
        remote_webhooks: whether webhooks are sent to other machines too.

    Raises:
        OSError: the port is taken, or `host` is no address of this machine.
        ValueError: `client_id` is not 24 hexadecimal digits, `secret` is not 30, `host` is empty,
            or `port` is not from 0 to 65535.

    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        secret: str | None = None,
        any_keys: bool = False,
        seed: int | str = DEFAULT_SEED,
        host: str = "127.0.0.1",
        port: int = 0,
        now: dt.datetime | None = None,
        redirect_uris: Iterable[str] | None = None,
        consent: bool = True,
        allowed_hosts: Iterable[str] = (),
        remote_webhooks: bool = False,
    ):
        super().__init__(
            client_id=client_id,
            secret=secret,
            any_keys=any_keys,
            seed=seed,
            now=now,
            redirect_uris=redirect_uris,
            consent=consent,
            remote_webhooks=remote_webhooks,
        )
        if isinstance(allowed_hosts, str):
            raise TypeError(f'allowed_hosts must be a list such as ["{allowed_hosts}"]')
        hosts = Hosts(host, *allowed_hosts)
        self._server = ThreadedServer(make_app(self, hosts), host, port)
        hosts.allow(self._server.host)  # the address of a host that was given by its name

    @property
    def url(self) -> str:
        """The address that it listens at, to point a Plaid client at.

        With `host="0.0.0.0"` or `"::"`, which stand for every address, `client` and `environ` have
        the loopback's instead.
        """
        return self._server.url

    def start(self) -> None:
        """Start the server, as entering the `with` block does.

        Raises:
            RuntimeError: it was started or closed before; a new one is needed.

        """
        self._server.start()

    def close(self) -> None:
        """Stop the server and close every connection."""
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that point an application at this sandbox."""
        return {
            "PLAID_CLIENT_ID": self.client_id,
            "PLAID_SECRET": self.secret,
            "PLAID_ENV": "sandbox",
            "PLAID_BASE_URL": own_address(self.url),
        }

    def client(self, **options: Unpack[ClientOptions]) -> PlaidClient:
        """Make a `PlaidClient` with this sandbox's keys and address."""
        # The sandbox's only import from the SDK, for convenience.
        from plaid_processors.client import PlaidClient

        given: ClientOptions = {
            "client_id": self.client_id,
            "secret": self.secret,
            "base_url": own_address(self.url),
            **options,
        }
        return PlaidClient(**given)
