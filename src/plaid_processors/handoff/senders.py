"""The senders: they hand tokens over, blocking or awaited. They need the extra ``handoff``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigurationError
from ..results import LinkResult, ProcessorToken
from ..settings import checked_address, read_environment
from . import finix, layer
from .errors import HandoffError
from .finix import FinixSettings, PaymentInstrument
from .http import drive, drive_awaited, httpx_module
from .layer import Bearer, LayerAccount, LayerHandoff, LayerSettings
from .requests import Steps, token_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    import httpx

T = TypeVar("T")
Tokens = LinkResult | Iterable[ProcessorToken]


class _Blocking:
    """What drives the steps with blocking calls."""

    def __init__(self, timeout: float) -> None:
        self._timeout = _checked_timeout(timeout)
        self._http = httpx_module().Client()
        self._one_at_a_time = threading.Lock()

    def _run(self, steps: Steps[T]) -> T:
        _check_open(self._http)
        return drive(steps, self._http, self._timeout)

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
        """End its connections."""
        self._http.close()


class _Awaited:
    """What drives the steps, awaiting each."""

    def __init__(self, timeout: float) -> None:
        self._timeout = _checked_timeout(timeout)
        self._http = httpx_module().AsyncClient()
        self._one_at_a_time = asyncio.Lock()

    async def _run(self, steps: Steps[T]) -> T:
        _check_open(self._http)
        return await drive_awaited(steps, self._http, self._timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()


class _Finix:
    """What both senders to Finix are: settings, and the accounts handed over so far."""

    def __init__(
        self,
        *,
        username: str,
        password: str,
        environment: str = "sandbox",
        base_url: str | None = None,
        version: str = finix.VERSION,
        timeout: float = 30.0,
    ) -> None:
        """Set it up; nothing is sent yet.

        Args:
            username: of Finix's API, with ``password``; each environment has its own.
            password: as said.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Finix's; http only on loopback.
            version: Finix's API version.
            timeout: seconds for one request.

        Raises:
            ConfigurationError: one of these is missing or malformed, or httpx is not installed.
        """
        where = read_environment(environment).value
        self._settings = FinixSettings(
            username=_checked_key("username", username),
            password=_checked_key("password", password),
            environment=where,
            base_url=finix.HOSTS[where] if base_url is None else checked_address(base_url),
            version=version,
        )
        self._under_way = _UnderWay()
        super().__init__(timeout)  # type: ignore[call-arg]

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, timeout: float = 30.0) -> Self:
        """A sender from FINIX_USERNAME, FINIX_PASSWORD, FINIX_ENV and FINIX_BASE_URL."""
        given = _variables(environ, "FINIX_USERNAME", "FINIX_PASSWORD")
        return cls(
            username=given["FINIX_USERNAME"],
            password=given["FINIX_PASSWORD"],
            environment=given.get("FINIX_ENV", "sandbox"),
            base_url=given.get("FINIX_BASE_URL"),
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._settings.environment} {self._settings.base_url}>"

    def _steps(
        self, token: ProcessorToken | str, identity: str, again: bool
    ) -> Steps[PaymentInstrument]:
        return finix.hand_over(self._settings, token, identity, again=again)


class FinixSender(_Finix, _Blocking):
    """Hands a processor token to Finix: it becomes a payment instrument."""

    def hand_over(
        self, token: ProcessorToken | str, *, identity: str, again: bool = False
    ) -> PaymentInstrument:
        """Make a payment instrument of the token's account, unless there may be one already.

        What the identity has is looked through first. The request that makes the instrument is
        sent once and never repeated by itself.

        Args:
            token: Finix's processor token.
            identity: Finix's id of the identity (``ID…``) that the account belongs to, for good.
            again: your word to make an instrument, whatever is there already.

        Raises:
            ConfigurationError: the token is another partner's, or of another environment.
            HandoffRefusedError: the account may be there already, or what came of an earlier call
                is unknown; nothing was sent.
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer; see ``outcome_unknown``.
        """
        with self._under_way.only_once(token, identity, again):
            return self._run(self._steps(token, identity, again))

    def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """What an identity has: the way to find out what came of an unknown outcome."""
        return self._run(finix.list_instruments(self._settings, identity))


class AsyncFinixSender(_Finix, _Awaited):
    """`FinixSender`, awaited: the same arguments, results and errors."""

    async def hand_over(
        self, token: ProcessorToken | str, *, identity: str, again: bool = False
    ) -> PaymentInstrument:
        """As `FinixSender.hand_over`."""
        with self._under_way.only_once(token, identity, again):
            return await self._run(self._steps(token, identity, again))

    async def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """As `FinixSender.payment_instruments`."""
        return await self._run(finix.list_instruments(self._settings, identity))


class _UnderWay:
    """The accounts that a sender is handing over, and those of which it does not know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unknown: set[tuple[str, str]] = set()

    @contextmanager
    def only_once(self, token: ProcessorToken | str, identity: str, again: bool) -> Iterator[None]:
        """Refuse an account of which an earlier call is under way, or ended nobody knows how."""
        text = token_text(token, finix.FINIX)
        account = token.account.account_id if isinstance(token, ProcessorToken) else text
        key = (identity, account)
        with self._lock:
            if key in self._unknown and not again:
                raise finix.already_there(identity, [], unknown=True)
            self._unknown.add(key)
        try:
            yield
        except HandoffError as error:
            if not error.outcome_unknown:
                self._unknown.discard(key)
            raise
        except ConfigurationError:  # before anything was sent
            self._unknown.discard(key)
            raise
        # An interruption, a cancellation, or whatever nobody foresaw leaves it unknown.
        self._unknown.discard(key)


class _Layer:
    """What both senders to Layer are: settings, and the bearer token."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        environment: str = "sandbox",
        base_url: str | None = None,
        auth_url: str | None = None,
        scope: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Set it up; nothing is sent yet.

        Args:
            client_id: from Layer's team, with ``client_secret``.
            client_secret: as said.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Layer's; http only on loopback.
            auth_url: where bearer tokens come from, where that is not Layer's own address for it.
            scope: another scope than the environment's.
            timeout: seconds for one request.

        Raises:
            ConfigurationError: one of these is missing or malformed, or httpx is not installed.
        """
        where = read_environment(environment).value
        self._settings = LayerSettings(
            client_id=_checked_key("client_id", client_id),
            client_secret=_checked_key("client_secret", client_secret),
            environment=where,
            base_url=layer.HOSTS[where] if base_url is None else checked_address(base_url),
            auth_url=layer.AUTH_URL if auth_url is None else checked_address(auth_url),
            scope=scope or layer.SCOPES[where],
        )
        self._bearer = Bearer(self._settings)
        super().__init__(timeout)  # type: ignore[call-arg]

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, timeout: float = 30.0) -> Self:
        """A sender from LAYER_CLIENT_ID, LAYER_CLIENT_SECRET, LAYER_ENV and the addresses.

        These are LAYER_BASE_URL and LAYER_AUTH_URL.
        """
        given = _variables(environ, "LAYER_CLIENT_ID", "LAYER_CLIENT_SECRET")
        return cls(
            client_id=given["LAYER_CLIENT_ID"],
            client_secret=given["LAYER_CLIENT_SECRET"],
            environment=given.get("LAYER_ENV", "sandbox"),
            base_url=given.get("LAYER_BASE_URL"),
            auth_url=given.get("LAYER_AUTH_URL"),
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._settings.environment} {self._settings.base_url}>"

    def _steps(self, tokens: Tokens, business_id: str) -> Steps[LayerHandoff]:
        return layer.hand_over(
            self._settings, self._bearer, business_id, layer.layer_tokens(tokens)
        )

    def _accounts(self, business_id: str) -> Steps[tuple[LayerAccount, ...]]:
        return layer.list_accounts(self._settings, self._bearer, business_id)


class LayerSender(_Layer, _Blocking):
    """Hands processor tokens to Layer: it reads the accounts of a business with them."""

    def hand_over(self, tokens: Tokens, *, business_id: str) -> LayerHandoff:
        """See that Layer has these tokens of the business, and keeps those of its other banks.

        What Layer has is read back first; nothing is sent where nothing is new. Hand over one
        result of a business at a time: two processes that do so at once may drop each other's.

        Args:
            tokens: a `LinkResult`, or processor tokens for Layer.
            business_id: Layer's id of the business.

        Raises:
            ConfigurationError: no token for Layer, or one of another environment.
            HandoffRefusedError: Layer does not tell the tokens of other accounts, which might be
                dropped; nothing was sent.
            PartnerApiError: Layer refused; see ``codes``.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        steps = self._steps(tokens, business_id)
        with self._one_at_a_time:
            return self._run(steps)

    def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business."""
        return self._run(self._accounts(business_id))


class AsyncLayerSender(_Layer, _Awaited):
    """`LayerSender`, awaited: the same arguments, results and errors."""

    async def hand_over(self, tokens: Tokens, *, business_id: str) -> LayerHandoff:
        """As `LayerSender.hand_over`."""
        steps = self._steps(tokens, business_id)
        async with self._one_at_a_time:
            return await self._run(steps)

    async def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """As `LayerSender.accounts`."""
        return await self._run(self._accounts(business_id))


def _check_open(client: httpx.Client | httpx.AsyncClient) -> None:
    if client.is_closed:
        raise ConfigurationError("this sender is closed: make a new one")


def _checked_key(name: str, value: object) -> str:
    fits = isinstance(value, str) and value.isascii() and value.isprintable()
    if not isinstance(value, str) or not fits or not value.strip():
        raise ConfigurationError(f"{name} must be a string of printable characters")
    return value


def _checked_timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ConfigurationError("timeout must be a positive number of seconds")
    return float(value)


def _variables(environ: Mapping[str, str] | None, *required: str) -> dict[str, str]:
    source = os.environ if environ is None else environ
    given = {name: value.strip() for name, value in source.items() if value.strip()}
    if missing := [name for name in required if name not in given]:
        raise ConfigurationError(f"{' and '.join(missing)} not set")
    return given
