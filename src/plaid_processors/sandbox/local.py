"""`LocalSandbox`: the local Plaid behind a socket, and `serve`, as a command runs it."""

from __future__ import annotations

import datetime as dt
import signal
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from .app import make_app
from .engine import DEFAULT_SEED, Engine
from .server import ThreadedServer

if TYPE_CHECKING:
    from plaid_processors.client import PlaidClient
    from plaid_processors.settings import ClientOptions


class LocalSandbox(Engine):
    """Plaid's Sandbox on this machine, for as long as the `with` block lasts.

    Args:
        client_id: the only client id that is admitted; made from the seed if not given.
        secret: its secret; made from the seed if not given.
        any_keys: admit any other well-formed keys as well.
        seed: what every id, token and key is made from.
        host: the address to listen at; the loopback unless told otherwise.
        port: the port; 0 takes a free one.
        now: the time at which the clock stands still; the machine's clock if not given.
        redirect_uris: the Dashboard's list of redirect URIs; any fit one if not given.

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
    ):
        super().__init__(
            client_id=client_id,
            secret=secret,
            any_keys=any_keys,
            seed=seed,
            now=now,
            redirect_uris=redirect_uris,
        )
        self._server = ThreadedServer(make_app(self), host, port)

    @property
    def url(self) -> str:
        """The address to point a Plaid client at."""
        return self._server.url

    def start(self) -> None:
        """Start to answer, as entering the `with` block does."""
        self._server.start()

    def close(self) -> None:
        """Stop answering and close every connection."""
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
        """The environment variables of an application that is to talk to this sandbox."""
        return {
            "PLAID_CLIENT_ID": self.client_id,
            "PLAID_SECRET": self.secret,
            "PLAID_ENV": "sandbox",
            "PLAID_BASE_URL": self.url,
        }

    def client(self, **options: Unpack[ClientOptions]) -> PlaidClient:
        """Make a `PlaidClient` with this sandbox's keys and address."""
        # The one tie to the SDK: a convenience, not a reading of Plaid.
        from plaid_processors.client import PlaidClient

        given: ClientOptions = {
            "client_id": self.client_id,
            "secret": self.secret,
            "environment": "sandbox",
            "base_url": self.url,
            **options,
        }
        return PlaidClient(**given)


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    client_id: str | None = None,
    secret: str | None = None,
    *,
    seed: int | str = DEFAULT_SEED,
) -> None:
    """Serve the local Plaid until SIGINT or SIGTERM.

    It admits any well-formed keys, unless `client_id` and `secret` fix them. Once it
    answers, it prints one line that ends in its address.
    """
    fixed = client_id is not None or secret is not None
    sandbox = LocalSandbox(
        client_id=client_id, secret=secret, any_keys=not fixed, seed=seed, host=host, port=port
    )
    stopped = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with sandbox:
            print(f"Local Plaid at {sandbox.url}", flush=True)  # noqa: T201 - the command's answer
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
