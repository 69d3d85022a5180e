"""PlaidClient: keys, address and connections, on plaid-python's ApiClient.

The only module with plaid-python in it. Of it the ``Configuration`` and the ``ApiClient`` are used:
keys, headers, address and the pool manager. Requests are sent as plain JSON over that (see
`_engine.http`): the generated models change nearly every month, and raise on fields that are null.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from copy import copy
from functools import partial
from http.client import HTTPConnection
from typing import Any, Self

import urllib3

from ._engine.engine import Engine
from ._engine.network import Network, network_for
from ._engine.ports import Port, is_coroutine_function
from ._plaid import browser
from ._plaid.call import Access, PlaidCall
from ._version import USER_AGENT
from .errors import ConfigurationError
from .events import OnEvent
from .results import Environment
from .settings import (
    Credentials,
    Limits,
    Timeout,
    check_environment,
    check_keys,
    environment_of,
    read_environment,
)

PLAID_VERSION = "2020-09-14"
"""The version of Plaid's API that is asked for, https://plaid.com/docs/api/versioning/."""


class PlaidClient:
    """Sends requests to Plaid: with keys, time-outs, retries, and errors that help.

    One client may serve many threads, event loops and linkers. It is a context manager; `close`
    ends its threads and closes its connections.
    """

    def __init__(
        self,
        *,
        client_id: str,
        secret: str,
        environment: str | Environment = Environment.SANDBOX,
        base_url: str | None = None,
        timeout: Timeout = 30.0,
        deadline: float | None = 90.0,
        max_attempts: int = 3,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        """Set a client up; nothing is sent yet.

        Args:
            client_id: your team's id, from https://dashboard.plaid.com/developers/keys.
            secret: the key of this environment, from https://dashboard.plaid.com/developers/keys;
                each environment has its own.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Plaid's, such as a local Plaid's; http only on loopback.
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair.
            deadline: seconds for one public call, retries and all, or None for no limit; time spent
                in your own callbacks does not count.
            max_attempts: how often one request is sent at most; 1 means no retry.
            max_connections: how many requests of the client run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.
            on_event: called with a `RequestEvent` for each request, answer, failure and retry.

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        credentials = Credentials(
            client_id=client_id, secret=secret, environment=environment, base_url=base_url
        )
        limits = Limits(
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            max_connections=max_connections,
        )
        network = network_for(credentials.address, proxy=proxy, ca_bundle=ca_bundle)
        api = _make_api_client(credentials, network, max_connections)
        self._set_up(api, credentials.environment, limits, on_event, network)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: Timeout = 30.0,
        deadline: float | None = 90.0,
        max_attempts: int = 3,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        on_event: OnEvent | None = None,
    ) -> Self:
        """A client from PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL.

        Args:
            environ: the variables to read; None: those of the process, ``os.environ``.
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair.
            deadline: seconds for one public call, retries and all, or None for no limit; time spent
                in your own callbacks does not count.
            max_attempts: how often one request is sent at most; 1 means no retry.
            max_connections: how many requests of the client run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.
            on_event: called with a `RequestEvent` for each request, answer, failure and retry.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        credentials = Credentials.from_environ(os.environ if environ is None else environ)
        return cls(
            client_id=credentials.client_id,
            secret=credentials.secret,
            environment=credentials.environment,
            base_url=credentials.base_url,
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
            on_event=on_event,
        )

    @classmethod
    def from_plaid(
        cls,
        api: Any,
        *,
        environment: str | Environment | None = None,
        timeout: Timeout = 30.0,
        deadline: float | None = 90.0,
        max_attempts: int = 3,
        max_connections: int = 8,
        on_event: OnEvent | None = None,
    ) -> Self:
        """A client over an existing ``plaid.ApiClient`` or ``PlaidApi``.

        Uses its keys, address, headers, proxies, certificates and pool as they are; not its
        ``Configuration.retries``. `close` leaves it open. Its address is its owner's choice: http,
        which sends the keys in clear, is not refused here as it is of ``base_url``.

        Args:
            api: a ``plaid.ApiClient``, or a ``PlaidApi``, whose ApiClient is used.
            environment: ``"sandbox"`` or ``"production"``; needed only where the address is neither
                Plaid's nor loopback.
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair.
            deadline: seconds for one public call, retries and all, or None for no limit; time spent
                in your own callbacks does not count.
            max_attempts: how often one request is sent at most; 1 means no retry.
            max_connections: how many requests of the client run side by side at most.
            on_event: called with a `RequestEvent` for each request, answer, failure and retry.

        Raises:
            TypeError: ``api`` is something else.
            ConfigurationError: it has no keys, or its environment is not known or contradicts
                ``environment``.
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
        check_keys(*(str(configuration.api_key[name]) for name in ("clientId", "secret")))
        if environment is None:
            found = environment_of(configuration.host)
        else:
            found = read_environment(environment)
            check_environment("its address", configuration.host, found)
        if found is None:
            raise ConfigurationError(
                "its address is not Plaid's own: pass environment='sandbox' or 'production'"
            )
        limits = Limits(
            timeout=timeout,
            deadline=deadline,
            max_attempts=max_attempts,
            max_connections=max_connections,
        )
        client = cls.__new__(cls)
        client._set_up(api_client, found, limits, on_event, None)
        return client

    def _set_up(
        self,
        api: Any,
        environment: Environment,
        limits: Limits,
        on_event: OnEvent | None,
        network: Network | None,
    ) -> None:
        """The rest of all constructors; ``network`` is None for an ApiClient of the caller's."""
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event must be callable, not {type(on_event).__name__}")
        if is_coroutine_function(on_event):
            raise TypeError("on_event must not be a coroutine function: it runs on a thread")
        base_url = api.configuration.host.rstrip("/")
        self._limits = limits
        self._access = Access(
            engine=Engine(
                "PlaidClient",
                limits.max_connections,
                partial(_pools, api, base_url, network, limits.max_connections),
                owned=network is not None,
            ),
            environment=environment,
            base_url=base_url,
            headers=partial(_headers, api),
            keys=partial(_keys, api),
            on_event=on_event,
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_access"):  # its constructor has raised
            return f"<{type(self).__name__}, not set up>"
        # An address of the caller's own plaid.ApiClient may hold a name and a password.
        host = re.sub(r"//[^/]*@", "//…@", self._access.base_url)
        return f"<PlaidClient {self.environment.value} {host}>"

    @property
    def environment(self) -> Environment:
        """``sandbox`` or ``production``."""
        return self._access.environment

    @property
    def client_id(self) -> str:
        """Plaid's id of your team."""
        return self._access.keys()[0]

    @property
    def link_script_url(self) -> str:
        """The address of Link's script, for the pages of your application.

        It is Plaid's own, or a local Plaid's if this client asks one on this machine. A page loads
        it from there itself (https://plaid.com/docs/link/web/#installation).
        """
        return browser.script_url(self._access.base_url)

    def content_security_policy(self, nonce: str) -> str:
        """The ``Content-Security-Policy`` header of a page that opens Link.

        It allows your own scripts, styles and requests, what Link needs, and no other site; a
        script or a style in the page itself needs the nonce. What else your page loads, such as
        analytics, needs a policy of your own: this one shows what it must have for Link
        (https://plaid.com/docs/link/web/#csp-directives).

        Args:
            nonce: at least 16 random letters and digits, new for each page, such as
                ``secrets.token_urlsafe()``. Pass it to ``Plaid.create`` as ``cspNonce`` too.

        Raises:
            ValueError: this is no nonce.
        """
        return browser.security_policy(self._access.base_url, nonce)

    @property
    def limits(self) -> Limits:
        """How long and how often its calls try."""
        return self._limits

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its threads and close its connections; a later call is a ConfigurationError."""
        if hasattr(self, "_access"):
            self._access.engine.close()

    def begin(self, port: Port, limits: Limits) -> PlaidCall:
        """The start of a public call. For the linkers.

        Raises:
            ConfigurationError: the client is closed.
        """
        return PlaidCall(self._access, port, limits)


def _make_api_client(credentials: Credentials, network: Network, connections: int) -> Any:
    """plaid-python's client, with these keys."""
    import plaid

    keys = {"clientId": credentials.client_id, "secret": credentials.secret}
    # A Configuration sets these for the whole process, but they are the application's.
    levels = {name: logging.getLogger(name).level for name in ("plaid", "urllib3")}
    debuglevel = HTTPConnection.debuglevel
    configuration = plaid.Configuration(host=credentials.address, api_key=keys)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    HTTPConnection.debuglevel = debuglevel
    api = plaid.ApiClient(configuration)
    # Its own would trust the certificates of one file alone, and load them for each connection.
    api.rest_client.pool_manager = network.pool(connections, credentials.address)
    api.user_agent = USER_AGENT
    return api


def _pools(
    api: Any, base_url: str, network: Network | None, connections: int, its_own: bool
) -> dict[str, Any]:
    """The ApiClient's pool manager, by its address; for a forked child, one like it."""
    pool = api.rest_client.pool_manager
    if not its_own and network is not None:
        pool = network.pool(connections, base_url)
    elif not its_own:  # as its owner has set it up, without its connections
        if not issubclass(type(pool), urllib3.PoolManager):  # its connections cannot be told apart
            raise ConfigurationError(
                f"the ApiClient's pool manager is a {type(pool).__name__}, none of urllib3's, and "
                "cannot be used after a fork: make the client in each process"
            )
        pool = copy(pool)
        pool.pools = urllib3.PoolManager().pools
    return {base_url: pool}


def _keys(api: Any) -> tuple[str, str]:
    """The keys, read anew for each request too: a secret may be rotated."""
    keys = api.configuration.api_key
    return str(keys.get("clientId", "")), str(keys.get("secret", ""))


def _headers(api: Any) -> dict[str, str]:
    """The headers of a request: made for each, since the ApiClient's owner may change them."""
    headers = {"Plaid-Version": PLAID_VERSION, **api.default_headers}
    for each in api.configuration.auth_settings().values():
        if each["in"] == "header":
            headers[each["key"]] = each["value"]
    if api.cookie:
        headers["Cookie"] = api.cookie
    return {**headers, "Content-Type": "application/json"}
