"""The senders: they hand tokens over, blocking or awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from .._engine.ports import AsyncPort, BlockingPort, run
from ..errors import ConfigurationError
from ..results import LinkResult, ProcessorToken
from ..settings import Timeout, checked_address, read_environment
from . import finix, layer
from .errors import HandoffError
from .finix import FinixSettings, PaymentInstrument
from .layer import Bearer, LayerAccount, LayerHandoff, LayerSettings
from .requests import token_text
from .sending import PartnerCall, Transport

if TYPE_CHECKING:
    from types import TracebackType

Tokens = LinkResult | Iterable[ProcessorToken]


class BaseFinixSender:
    """What both senders to Finix are: settings, connections, and what is known to be unknown."""

    def __init__(
        self,
        *,
        username: str,
        password: str,
        environment: str = "sandbox",
        base_url: str | None = None,
        version: str = finix.VERSION,
        timeout: Timeout = 30.0,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        """Set it up; nothing is sent yet.

        Args:
            username: the user name for Finix's API; each environment has its own.
            password: the password that belongs to it.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Finix's; http only on loopback.
            version: the version of Finix's API to ask for.
            timeout: seconds to connect and seconds to wait for the answer of one request, each, or
                a (connect, read) pair.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE or
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        where = read_environment(environment).value
        self._settings = FinixSettings(
            username=_checked_key("username", username),
            password=_checked_key("password", password),
            environment=where,
            base_url=finix.HOSTS[where] if base_url is None else checked_address(base_url),
            version=version,
        )
        self._unknown = _Unknown()
        self._transport = Transport(
            type(self).__name__,
            self._settings.base_url,
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
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
        """A sender from FINIX_USERNAME, FINIX_PASSWORD, FINIX_ENV and FINIX_BASE_URL.

        Args:
            environ: the variables to read; None: those of the process, ``os.environ``.
            timeout: seconds to connect and seconds to wait for the answer of one request, each, or
                a (connect, read) pair.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE or
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        given = _variables(environ, "FINIX_USERNAME", "FINIX_PASSWORD")
        return cls(
            username=given["FINIX_USERNAME"],
            password=given["FINIX_PASSWORD"],
            environment=given.get("FINIX_ENV", "sandbox"),
            base_url=given.get("FINIX_BASE_URL"),
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._settings.environment} {self._settings.base_url}>"

    async def _hand_over(
        self, call: PartnerCall, token: ProcessorToken | str, identity: str, again: bool
    ) -> PaymentInstrument:
        account = self._unknown.begin(token, identity, again=again)
        try:
            instrument = await finix.hand_over(call, self._settings, token, identity, again=again)
        except HandoffError as error:
            if not error.outcome_unknown:
                self._unknown.end(account)
            raise
        except BaseException:  # an interruption, or what was not foreseen
            if not call.may_have_acted:
                self._unknown.end(account)
            raise
        self._unknown.end(account)
        return instrument


class FinixSender(BaseFinixSender):
    """Hands a processor token to Finix: it becomes a payment instrument.

    A context manager. One sender may serve many threads.
    """

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
        return run(self._hand_over(self._call(), token, identity, again))

    def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """What an identity has: the way to find out what came of an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer.
        """
        return run(finix.list_instruments(self._call(), self._settings, identity))

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
        """End its threads and close its connections; a later call is a ConfigurationError."""
        self._transport.engine.close()

    def _call(self) -> PartnerCall:
        return self._transport.begin(BlockingPort())


class AsyncFinixSender(BaseFinixSender):
    """`FinixSender`, awaited: the same arguments, results and errors.

    An asynchronous context manager. One sender may serve several event loops.
    """

    async def hand_over(
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
        return await self._hand_over(self._call(), token, identity, again)

    async def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """What an identity has: the way to find out what came of an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer.
        """
        return await finix.list_instruments(self._call(), self._settings, identity)

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
        """End its threads and close its connections; a later call is a ConfigurationError."""
        # It waits for its threads, which must not hold the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._transport.engine.close)

    def _call(self) -> PartnerCall:
        return self._transport.begin(AsyncPort())


class _Unknown:
    """The accounts that are being handed over, and those of which the outcome is unknown."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], object] = {}

    def begin(self, token: ProcessorToken | str, identity: str, *, again: bool) -> tuple[str, str]:
        """The account's key, until `end`.

        Raises:
            HandoffRefusedError: an earlier call for it is under way, or ended unknown.
        """
        text = token_text(token, finix.FINIX)
        account = token.account.account_id if isinstance(token, ProcessorToken) else text
        key, me = (identity, account), object()
        if self._accounts.setdefault(key, me) is not me and not again:  # atomic: needs no lock
            raise finix.already_there(identity, [], unknown=True)
        return key

    def end(self, account: tuple[str, str]) -> None:
        """What came of it is known."""
        self._accounts.pop(account, None)


class BaseLayerSender:
    """What both senders to Layer are: settings, connections and the bearer token."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        environment: str = "sandbox",
        base_url: str | None = None,
        auth_url: str | None = None,
        scope: str | None = None,
        timeout: Timeout = 30.0,
        max_connections: int = 8,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        """Set it up; nothing is sent yet.

        Args:
            client_id: the client id from Layer's team.
            client_secret: the secret that belongs to it.
            environment: ``"sandbox"`` or ``"production"``.
            base_url: another address than Layer's; http only on loopback.
            auth_url: where bearer tokens come from, where that is not Layer's own address for it.
            scope: another scope than the environment's.
            timeout: seconds to connect and seconds to wait for the answer of one request, each, or
                a (connect, read) pair.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE or
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: one of these is missing or malformed.
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
        self._transport = Transport(
            type(self).__name__,
            self._settings.base_url,
            self._settings.auth_url,
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
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
        """A sender from LAYER_CLIENT_ID, LAYER_CLIENT_SECRET, LAYER_ENV and the addresses.

        The addresses are LAYER_BASE_URL and LAYER_AUTH_URL.

        Args:
            environ: the variables to read; None: those of the process, ``os.environ``.
            timeout: seconds to connect and seconds to wait for the answer of one request, each, or
                a (connect, read) pair.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE or
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: a variable is missing or malformed.
        """
        given = _variables(environ, "LAYER_CLIENT_ID", "LAYER_CLIENT_SECRET")
        return cls(
            client_id=given["LAYER_CLIENT_ID"],
            client_secret=given["LAYER_CLIENT_SECRET"],
            environment=given.get("LAYER_ENV", "sandbox"),
            base_url=given.get("LAYER_BASE_URL"),
            auth_url=given.get("LAYER_AUTH_URL"),
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._settings.environment} {self._settings.base_url}>"

    async def _hand_over(self, call: PartnerCall, tokens: Tokens, business_id: str) -> LayerHandoff:
        listed = layer.layer_tokens(tokens)
        work = layer.hand_over(call, self._settings, self._bearer, business_id, listed)
        return await call.turn(business_id, work)


class LayerSender(BaseLayerSender):
    """Hands processor tokens to Layer: it reads the accounts of a business with them.

    A context manager. One sender may serve many threads.
    """

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
        return run(self._hand_over(self._call(), tokens, business_id))

    def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            PartnerApiError: Layer refused; see ``codes``.
            PartnerConnectionError: no usable answer.
        """
        call = self._call()
        return run(layer.list_accounts(call, self._settings, self._bearer, business_id))

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
        """End its threads and close its connections; a later call is a ConfigurationError."""
        self._transport.engine.close()

    def _call(self) -> PartnerCall:
        return self._transport.begin(BlockingPort())


class AsyncLayerSender(BaseLayerSender):
    """`LayerSender`, awaited: the same arguments, results and errors.

    An asynchronous context manager. One sender may serve several event loops.
    """

    async def hand_over(self, tokens: Tokens, *, business_id: str) -> LayerHandoff:
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
        return await self._hand_over(self._call(), tokens, business_id)

    async def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            PartnerApiError: Layer refused; see ``codes``.
            PartnerConnectionError: no usable answer.
        """
        call = self._call()
        return await layer.list_accounts(call, self._settings, self._bearer, business_id)

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
        """End its threads and close its connections; a later call is a ConfigurationError."""
        # It waits for its threads, which must not hold the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._transport.engine.close)

    def _call(self) -> PartnerCall:
        return self._transport.begin(AsyncPort())


def _checked_key(name: str, value: object) -> str:
    fits = isinstance(value, str) and value.isascii() and value.isprintable()
    if not isinstance(value, str) or not fits or not value.strip():
        raise ConfigurationError(f"{name} must be a string of printable characters")
    return value


def _variables(environ: Mapping[str, str] | None, *required: str) -> dict[str, str]:
    source = os.environ if environ is None else environ
    given = {name: value.strip() for name, value in source.items() if value.strip()}
    if missing := [name for name in required if name not in given]:
        raise ConfigurationError(f"{' and '.join(missing)} not set")
    return given
