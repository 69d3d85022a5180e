"""PlaidClient: keys, address and connections. The one room with plaid-python in it.

Of plaid-python, it adopts an application's ``ApiClient`` (keys, address, proxy, certificates and
pool), which has been stable since 9, and sends plain JSON: the generated models change nearly every
month, and refuse what they do not know. A client of its own keys needs no more than plaid-python
itself stands on, urllib3: to load plaid-python besides would add a quarter to a cold start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack
from weakref import WeakSet

from ._version import __version__
from .deadline import Deadline
from .errors import ConfigurationError
from .events import OnEvent
from .results import Environment
from .settings import Credentials, LimitOptions, Limits, environment_of, read_environment

if TYPE_CHECKING:
    from types import TracebackType

    from .transport import Wire

PLAID_VERSION = "2020-09-14"
"""The version of Plaid's API that is asked for, https://plaid.com/docs/api/versioning/."""


class PlaidClient:
    """Sends requests to Plaid: with keys, time-outs, retries, and errors that help.

    One client may serve many threads. It is a context manager; `close` gives its connections back.
    """

    def __init__(
        self,
        *,
        client_id: str,
        secret: str,
        environment: str | Environment = Environment.SANDBOX,
        base_url: str | None = None,
        on_event: OnEvent | None = None,
        **limits: Unpack[LimitOptions],
    ) -> None:
        """Set a client up; nothing is sent yet.

        Args:
            client_id: from https://dashboard.plaid.com/developers/keys.
            secret: from the same page; each environment has its own.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Plaid's; http only on loopback.
            on_event: told of each request, answer and retry, on the thread that sends it.
            **limits: ``timeout``, seconds for one request or a (connect, read) pair (30);
                ``deadline``, seconds for one public call, retries and all, or None (90);
                ``max_attempts``, for one request, where 1 means no retry (3);
                ``max_connections``, how many requests run side by side at most (8).

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        credentials = Credentials.checked(
            client_id=client_id, secret=secret, environment=environment, base_url=base_url
        )
        checked = Limits.checked(limits)
        connect = partial(_own_wire, credentials, checked.max_connections)
        self._owned = True
        self._set_up(connect(), connect, credentials.environment, checked, on_event)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        on_event: OnEvent | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Self:
        """A client from PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL.

        Args:
            environ: the variables; the process's own when None.
            on_event: as for the class.
            **limits: as for the class.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        credentials = Credentials.from_environ(os.environ if environ is None else environ)
        return cls(
            client_id=credentials.client_id,
            secret=credentials.secret,
            environment=credentials.environment,
            base_url=credentials.base_url,
            on_event=on_event,
            **limits,
        )

    @classmethod
    def from_plaid(
        cls,
        api: Any,
        *,
        environment: str | Environment | None = None,
        on_event: OnEvent | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Self:
        """A client over an existing ``plaid.ApiClient`` or ``PlaidApi``.

        Uses its keys, address, proxies, certificates and pool; not its ``retries``. `close` leaves
        it open. Its address is its owner's choice: http, which sends the keys in clear, is not
        refused here as it is of ``base_url``.

        Args:
            api: the object of plaid-python's.
            environment: needed only where its address is neither Plaid's nor loopback.
            on_event: as for the class.
            **limits: as for the class.

        Raises:
            ConfigurationError: it has no keys, or its environment cannot be told.
        """
        import plaid

        api_client = getattr(api, "api_client", api)
        if not isinstance(api_client, plaid.ApiClient):
            raise TypeError(
                f"from_plaid takes a plaid.ApiClient or a PlaidApi, not {type(api).__name__}"
            )
        configuration = api_client.configuration
        missing = [name for name in ("clientId", "secret") if not configuration.api_key.get(name)]
        if missing:
            raise ConfigurationError(f"its Configuration.api_key has no {' and no '.join(missing)}")
        if environment is None:
            found = environment_of(configuration.host)
        else:
            found = read_environment(environment)
        if found is None:
            raise ConfigurationError(
                "its address is not Plaid's own: tell environment='sandbox' or 'production'"
            )
        client = cls.__new__(cls)
        client._owned = False
        shared = _wire_of(api_client, api_client.rest_client)
        reconnect = partial(_reconnected, api_client)
        client._set_up(shared, reconnect, found, Limits.checked(limits), on_event)
        return client

    def _set_up(
        self,
        wire: Wire,
        reconnect: Callable[[], Wire],
        environment: Environment,
        limits: Limits,
        on_event: OnEvent | None,
    ) -> None:
        from .sender import Sender  # with urllib3, which whoever makes no client does not need

        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {type(on_event).__name__}")
        self._environment = environment
        self._reconnect = reconnect
        self._closed = False
        self._sender = Sender(wire, limits, on_event)
        _clients.add(self)

    def _renew_after_fork(self) -> None:
        # The parent's threads are not here, and its connections are its own: two processes that
        # write to one socket would get each other's answers.
        parents = self._sender
        self._sender = type(parents)(self._reconnect(), parents.limits, parents.on_event)

    def __repr__(self) -> str:
        # An address of the caller's own plaid.ApiClient may hold a name and a password.
        host = re.sub(r"//[^/]*@", "//…@", self._sender.wire.base_url)
        return f"<PlaidClient {self._environment.value} {host}>"

    @property
    def environment(self) -> Environment:
        """``sandbox`` or ``production``."""
        return self._environment

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End its threads and connections; a later call is a ConfigurationError."""
        self._closed = True
        self._sender.close()
        if self._owned:
            self._sender.wire.clear()

    def begin(self) -> Deadline:
        """The start of a public call: how long it may take.

        Raises:
            ConfigurationError: the client is closed.
        """
        if self._closed:
            raise ConfigurationError("this PlaidClient is closed: make a new one")
        return Deadline(self._sender.limits.deadline)


def _own_wire(credentials: Credentials, connections: int) -> Wire:
    """New connections, with keys of our own."""
    from ssl import CERT_REQUIRED

    from urllib3 import PoolManager

    from .transport import Wire

    keys = (credentials.client_id, credentials.secret)
    headers = {
        "PLAID-CLIENT-ID": credentials.client_id,
        "PLAID-SECRET": credentials.secret,
        "Plaid-Version": PLAID_VERSION,
        "User-Agent": f"plaid-processors/{__version__}",
        "Content-Type": "application/json",
    }
    pool = PoolManager(maxsize=connections, cert_reqs=CERT_REQUIRED)
    _share_certificates(pool, credentials.base_url)
    return Wire(pool, credentials.base_url, lambda: headers, keys)


def _wire_of(api: Any, rest_client: Any) -> Wire:
    """The connections of a plaid.ApiClient's REST client, with its keys."""
    from .transport import Wire

    configuration = api.configuration
    keys = tuple(str(configuration.api_key[name]) for name in ("clientId", "secret"))

    def headers() -> dict[str, str]:  # asked anew for each request: its owner may change them
        settings = configuration.auth_settings().values()
        own = {"Plaid-Version": PLAID_VERSION, **api.default_headers}
        own.update({each["key"]: each["value"] for each in settings if each["in"] == "header"})
        if api.cookie:
            own["Cookie"] = api.cookie
        return {**own, "Content-Type": "application/json"}

    return Wire(rest_client.pool_manager, configuration.host.rstrip("/"), headers, keys)


def _reconnected(api: Any) -> Wire:
    """New connections, by the settings of a plaid.ApiClient."""
    rest_client = type(api.rest_client)(api.configuration)
    _share_certificates(rest_client.pool_manager, api.configuration.host)
    return _wire_of(api, rest_client)


def _share_certificates(pool: Any, base_url: str) -> None:
    """Give a pool one TLS context; urllib3 by itself loads the certificates for each connection."""
    settings = pool.connection_pool_kw
    if not base_url.startswith("https:"):
        return
    if not settings.get("ca_certs") and not settings.get("ssl_context"):
        from urllib3.util.ssl_ import create_urllib3_context

        context = create_urllib3_context(cert_reqs=settings.get("cert_reqs"))
        context.load_default_certs()
        settings["ssl_context"] = context


_clients: WeakSet[PlaidClient] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
