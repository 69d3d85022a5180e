"""PlaidClient: the one room with plaid-python in it.

Of plaid-python, it uses ``ApiClient`` and ``Configuration`` (keys, address, proxy, certificates,
connection pool), which have been stable since 9, and sends plain JSON: the generated models change
nearly every month, and refuse what they do not know.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from ._version import __version__
from .calls import Call, Reply
from .deadline import Deadline
from .errors import ConfigurationError, PlaidApiError, PlaidConnectionError, PlaidProcessorsError
from .results import Environment
from .retry import retry_after_seconds, wait_before_retry
from .settings import Credentials, Limits, environment_of, read_environment
from .translation import api_error
from .transport import Answer, Failure, missing_connections, open_connection, post
from .workers import Workers

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Unpack

    from .settings import LimitOptions

T = TypeVar("T")

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
        **limits: Unpack[LimitOptions],
    ) -> None:
        """Set a client up; nothing is sent yet.

        Args:
            client_id: from https://dashboard.plaid.com/developers/keys.
            secret: from the same page; each environment has its own.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Plaid's; http only on loopback.
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
        checked = Limits(**limits)
        self._set_up(_api_client(credentials, checked), credentials.environment, checked)
        self._owned = True

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Self:
        """A client from PLAID_CLIENT_ID, PLAID_SECRET, PLAID_ENV and PLAID_BASE_URL.

        Args:
            environ: the variables; the process's own when None.
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
            **limits,
        )

    @classmethod
    def from_plaid(
        cls,
        api: Any,
        *,
        environment: str | Environment | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Self:
        """A client over an existing ``plaid.ApiClient`` or ``PlaidApi``.

        Uses its keys, address, proxies, certificates and pool; not its ``retries``. `close` leaves
        it open.

        Args:
            api: the object of plaid-python's.
            environment: needed only where its address is neither Plaid's nor loopback.
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
        client._set_up(api_client, found, Limits(**limits))
        client._owned = False
        return client

    def _set_up(self, api: Any, environment: Environment, limits: Limits) -> None:
        self._api = api
        self._environment = environment
        self._limits = limits
        self._closed = False
        self._pool = api.rest_client.pool_manager
        self._renew_threads()
        _clients.add(self)

    def _renew_threads(self) -> None:
        self._places = BoundedSemaphore(self._limits.max_connections)
        self._workers = Workers(self._limits.max_connections)

    def _renew_after_fork(self) -> None:
        # The parent's threads are not here, and its connections are its own: two processes that
        # write to one socket would get each other's answers.
        self._renew_threads()
        rest_client = type(self._api.rest_client)(self._api.configuration)
        self._pool = _with_shared_certificates(rest_client.pool_manager)

    def __repr__(self) -> str:
        return f"<PlaidClient {self._environment.value} {self._api.configuration.host}>"

    @property
    def environment(self) -> Environment:
        """``sandbox`` or ``production``."""
        return self._environment

    @property
    def longest_request(self) -> float:
        """Seconds that one request may take in all."""
        return self._limits.connect_and_read[2]

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
        self._workers.close()
        if self._owned:
            self._pool.clear()

    def begin(self) -> Deadline:
        """The start of a public call: how long it may take.

        Raises:
            ConfigurationError: the client is closed.
        """
        if self._closed:
            raise ConfigurationError("this PlaidClient is closed: make a new one")
        return Deadline(self._limits.deadline)

    def send(self, call: Call[T], deadline: Deadline) -> T:
        """Send a request, again where that may help, and read its answer.

        Raises:
            PlaidApiError: Plaid answered with an error.
            PlaidConnectionError: no usable answer came.
        """
        error: PlaidApiError | PlaidConnectionError | None = None
        for attempt in range(1, self._limits.max_attempts + 1):
            outcome = self._attempt(call, deadline)
            if not isinstance(outcome, (PlaidApiError, PlaidConnectionError)):
                return outcome
            # Once Plaid may have acted, no later answer takes that back.
            outcome.outcome_unknown |= error is not None and error.outcome_unknown
            error = outcome
            wait = wait_before_retry(
                error,
                attempt=attempt,
                max_attempts=self._limits.max_attempts,
                chance=random.random(),  # noqa: S311  not for secrets
                remaining=deadline.remaining(),
            )
            if wait is None:
                break
            deadline.sleep(wait)
        assert error is not None
        raise error

    def send_all(
        self, calls: Sequence[Call[T]], deadline: Deadline
    ) -> Iterator[tuple[int, T | PlaidProcessorsError]]:
        """Send requests side by side; each one's place and outcome, as it comes."""
        if len(calls) == 1:  # no thread for one
            only = self.outcome(calls[0], deadline)
            yield 0, only
            return
        arrived: SimpleQueue[tuple[int, T | PlaidProcessorsError]] = SimpleQueue()
        for place, call in enumerate(calls):
            self.submit(call, deadline, partial(_put, arrived, place))
        for _ in calls:
            yield arrived.get()

    def outcome(self, call: Call[T], deadline: Deadline) -> T | PlaidProcessorsError:
        """As `send`, with the error as a value."""
        try:
            return self.send(call, deadline)
        except PlaidProcessorsError as error:
            return error

    def submit(
        self,
        call: Call[T],
        deadline: Deadline,
        done: Callable[[T | PlaidProcessorsError], None],
    ) -> None:
        """Send a request on one of the client's threads, which calls ``done`` with its outcome."""

        def job() -> None:
            try:
                outcome = self.outcome(call, deadline)
            except BaseException as error:  # noqa: BLE001  whoever waits must be told
                outcome = _unforeseen(call, error)
            done(outcome)

        try:
            self._workers.submit(job)
        except ConfigurationError as closed:
            done(closed)

    def prepare(self, count: int) -> None:
        """Open connections for so many requests, on the client's threads, if there are none yet.

        A kindness to what comes next: no failure of it is told, since the request itself will.
        """
        if getattr(self._pool, "proxy", None) is not None:
            return
        pool = self._pool.connection_from_url(self._api.configuration.host)
        for _ in range(missing_connections(pool, min(count, self._limits.max_connections))):
            self._workers.submit(partial(self._open_connection, pool))

    def _open_connection(self, pool: Any) -> None:
        if self._places.acquire(blocking=False):
            try:
                open_connection(pool, self._limits.connect_and_read[0])
            finally:
                self._places.release()

    def _attempt(
        self, call: Call[T], deadline: Deadline
    ) -> T | PlaidApiError | PlaidConnectionError:
        body = json.dumps(call.body).encode()
        if deadline.abandoned:
            return PlaidConnectionError("given up before it was sent", endpoint=call.endpoint)
        times = self._times(deadline)
        if times is None or not self._places.acquire(timeout=deadline.remaining()):
            return PlaidConnectionError(
                f"the deadline of {deadline.seconds} s was over before it was sent",
                endpoint=call.endpoint,
            )
        try:
            answer = post(
                self._pool,
                self._api.configuration.host.rstrip("/") + call.endpoint,
                body,
                self._headers(),
                times,
            )
        finally:
            self._places.release()
        return self._read(call, answer)

    def _times(self, deadline: Deadline) -> tuple[float, float, float] | None:
        """Seconds to connect, for one wait, and in all; None when there is no time left."""
        connect, read, total = self._limits.connect_and_read
        left = deadline.remaining()
        if left is None:
            return connect, read, total
        return (min(connect, left), min(read, left), min(total, left)) if left else None

    def _headers(self) -> dict[str, str]:
        settings = self._api.configuration.auth_settings().values()
        headers = {"Plaid-Version": PLAID_VERSION, **self._api.default_headers}
        headers.update({each["key"]: each["value"] for each in settings if each["in"] == "header"})
        if self._api.cookie:
            headers["Cookie"] = self._api.cookie
        headers.update({"Content-Type": "application/json", "Accept": "application/json"})
        return headers

    @property
    def _keys(self) -> tuple[str, ...]:
        keys = self._api.configuration.api_key
        return tuple(str(keys[name]) for name in ("clientId", "secret") if keys.get(name))

    def _read(
        self, call: Call[T], answer: Answer | Failure
    ) -> T | PlaidApiError | PlaidConnectionError:
        if isinstance(answer, Failure):
            return PlaidConnectionError(
                answer.reason,
                endpoint=call.endpoint,
                outcome_unknown=answer.sent,
                retryable=answer.passing,
            )
        body = _json_object(answer.body)
        if body is None:
            return _not_plaids(call.endpoint, answer.status)
        error = api_error(call.endpoint, answer.status, body, (*call.secrets, *self._keys))
        if error is not None:
            error.retry_after = retry_after_seconds(answer.retry_after)
            return error
        if not 200 <= answer.status < 300:
            return _not_plaids(call.endpoint, answer.status)
        try:
            return call.read(
                Reply(endpoint=call.endpoint, body=body, received_at=datetime.now(UTC))
            )
        except PlaidConnectionError as unusable:
            unusable.__context__ = None  # it may hold what came
            return unusable


def _api_client(credentials: Credentials, limits: Limits) -> Any:
    import plaid

    configuration = plaid.Configuration(
        host=credentials.base_url,
        api_key={
            "clientId": credentials.client_id,
            "secret": credentials.secret,
            "plaidVersion": PLAID_VERSION,
        },
    )
    configuration.connection_pool_maxsize = limits.max_connections
    api = plaid.ApiClient(configuration)
    _with_shared_certificates(api.rest_client.pool_manager)
    api.user_agent = f"plaid-processors/{__version__} plaid-python/{plaid.__version__}"
    return api


def _with_shared_certificates(pool: Any) -> Any:
    """The pool with one TLS context; by itself, urllib3 loads the certificates for each."""
    settings = pool.connection_pool_kw
    if not settings.get("ca_certs") and not settings.get("ssl_context"):
        from urllib3.util.ssl_ import create_urllib3_context

        context = create_urllib3_context(cert_reqs=settings.get("cert_reqs"))
        context.load_default_certs()
        settings["ssl_context"] = context
    return pool


def _put(
    arrived: SimpleQueue[tuple[int, T | PlaidProcessorsError]],
    place: int,
    outcome: T | PlaidProcessorsError,
) -> None:
    arrived.put((place, outcome))


def _unforeseen(call: Call[Any], error: BaseException) -> PlaidConnectionError:
    return PlaidConnectionError(
        f"the request could not be made ({type(error).__name__})",
        endpoint=call.endpoint,
        outcome_unknown=True,
        retryable=False,
    )


_clients: WeakSet[PlaidClient] = WeakSet()


def _after_fork() -> None:
    for client in list(_clients):
        client._renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _not_plaids(endpoint: str, status: int) -> PlaidConnectionError:
    # A refusal by something on the way (a proxy, a firewall) does not pass by itself.
    refused = 300 <= status < 500 and status not in (408, 429)
    return PlaidConnectionError(
        f"what came is not an answer of Plaid's (HTTP {status})",
        endpoint=endpoint,
        http_status=status,
        outcome_unknown=not refused and status != 429,
        retryable=not refused,
    )
