"""Finix: one processor token becomes one payment instrument. Nothing was tried against Finix."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from attrs import field, fields, frozen
from typing_extensions import override

from .._engine.call import Call
from .._engine.ports import AsyncPort, BlockingPort, run
from ..errors import ConfigurationError
from ..results import ProcessorToken
from ..settings import Timeout
from .errors import HandoffError, HandoffRefusedError
from .requests import HandoffRequest, basic, token_text
from .sending import AwaitedSender, BlockingSender, Json, Sender, masked, objects, text_of

_VERSION = "2022-02-01"


@frozen(kw_only=True)
class PaymentInstrument:
    """A payment instrument of Finix's.

    Attributes:
        id: Finix's id, for ``source`` of a transfer or authorization.
        identity: the identity that it belongs to, for good.
        type: such as ``BANK_ACCOUNT``.
        third_party: where it comes from, such as ``PLAID``.
        masked_account_number: the last digits of the account, or None.
        bank_account_validation_check: such as ``VALID`` or ``INCONCLUSIVE``, or None.
        raw: the whole of Finix's answer, with tokens masked.
    """

    id: str
    identity: str | None = None
    type: str | None = None
    third_party: str | None = None
    masked_account_number: str | None = None
    bank_account_validation_check: str | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False, eq=False, hash=False)


def _read_instrument(data: Json, secrets: tuple[str, ...]) -> PaymentInstrument:
    """An instrument of an answer of Finix's, which has an id."""
    raw = masked(data, secrets)
    names = [each.name for each in fields(PaymentInstrument) if each.name not in ("id", "raw")]
    return PaymentInstrument(id=data["id"], raw=raw, **{name: text_of(raw, name) for name in names})


def finix_request(
    token: ProcessorToken | str,
    *,
    identity: str,
    credentials: tuple[str, str] | None = None,
    version: str = _VERSION,
) -> HandoffRequest:
    """``POST /payment_instruments``: the request that hands a token to Finix.

    It is **not idempotent**: sent twice, it makes two instruments.

    Args:
        token: Finix's processor token.
        identity: Finix's id of the identity that the account belongs to (``ID…``), for good.
        credentials: Finix's user name and password; None leaves the authentication to you.
        version: the version of Finix's API to ask for.

    Raises:
        ConfigurationError: the token is no processor token, or one for another partner.
    """
    # https://github.com/finix-payments/finix-nodejs, openapi/finix-api.yaml
    body = {
        "identity": _checked_identity(identity),
        # Confirmed by public code of third parties only: Finix's published description is older.
        "third_party": "PLAID",
        "third_party_token": token_text(token, "finix"),
        "type": "BANK_ACCOUNT",
    }
    headers = {"Content-Type": "application/json", **_headers(credentials, version)}
    return HandoffRequest(method="POST", path="/payment_instruments", headers=headers, json=body)


def _headers(credentials: tuple[str, str] | None, version: str) -> dict[str, str]:
    headers = {"Accept": "application/hal+json", "Finix-Version": version}
    if credentials is not None:
        headers["Authorization"] = f"Basic {basic(*credentials)}"
    return headers


def _checked_identity(identity: object) -> str:
    if not isinstance(identity, str) or not identity.strip():
        raise ConfigurationError("identity must be Finix's id of it, such as 'ID…'")
    return identity


def may_be(instrument: PaymentInstrument, token: ProcessorToken | str) -> bool:
    """True if it could be of the token's account, also where the data is inconclusive.

    A few banks give each partner another number, so there the last digits prove nothing.
    """
    if instrument.type not in (None, "BANK_ACCOUNT"):
        return False
    account = token.account if isinstance(token, ProcessorToken) else None
    shown = "".join(filter(str.isdigit, instrument.masked_account_number or ""))[-4:]
    if not shown or account is None or not account.mask or not account.mask.isdigit():
        return True
    if account.persistent_account_id:
        return True
    return shown.endswith(account.mask[-4:]) or account.mask.endswith(shown)


class BaseFinixSender(Sender):
    """What both senders to Finix share."""

    # https://docs.finix.com/api/section/authentication
    _hosts: ClassVar = {
        "sandbox": "https://finix.sandbox-payments-api.com",
        "production": "https://finix.live-payments-api.com",
    }
    _partner = "finix"
    _variables: ClassVar = {
        "username": "FINIX_USERNAME",
        "password": "FINIX_PASSWORD",
        "environment": "FINIX_ENV",
        "base_url": "FINIX_BASE_URL",
    }
    _if_unknown = (
        "The same call again could make a second instrument: look for the account among "
        "payment_instruments(identity), and if it is not there after a while, pass again=True."
    )

    def __init__(
        self,
        *,
        username: str,
        password: str,
        environment: str = "sandbox",
        base_url: str | None = None,
        version: str = _VERSION,
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
            timeout: seconds to connect and to wait for one answer, each, or a (connect, read) pair;
                one call may take four times their sum.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        super().__init__(
            keys={"username": username, "password": password},
            environment=environment,
            base_url=base_url,
            timeout=timeout,
            max_connections=max_connections,
            proxy=proxy,
            ca_bundle=ca_bundle,
        )
        self._version = version
        self._unsettled: dict[tuple[str, str], object] = {}  # under way, or of unknown outcome

    async def _hand_over(
        self, call: Call, token: ProcessorToken | str, identity: str, again: bool
    ) -> PaymentInstrument:
        secret = token_text(token, self._partner, self._environment)
        request = finix_request(
            token, identity=identity, credentials=self._keys, version=self._version
        )
        account = token.account.account_id if isinstance(token, ProcessorToken) else secret
        key, me = (identity, account), object()
        unknown = self._unsettled.setdefault(key, me) is not me  # atomic: needs no lock
        settled = not unknown
        try:
            if not again:
                await self._refuse_a_second(call, token, identity, unknown=unknown)
            settled = False  # and stays so if the caller interrupts
            status, body = await self._ask(call, request, secrets=(secret,))
            if text_of(body, "id") is None:
                raise self._unusable(request, status, "without an id")
            instrument = _read_instrument(body, (*self._secrets, secret))
            if instrument.identity not in (None, identity):
                raise self._unusable(request, status, "about another identity")
            settled = True
        except HandoffError as error:
            settled = not (unknown or error.outcome_unknown)  # an earlier call's stays so
            raise
        finally:
            if settled:
                self._unsettled.pop(key, None)
        return instrument

    async def _refuse_a_second(
        self, call: Call, token: ProcessorToken | str, identity: str, *, unknown: bool
    ) -> None:
        """Raise if the account may have an instrument; ``unknown``: an earlier call may make it."""
        candidates: tuple[PaymentInstrument, ...] = ()
        try:
            listed = await self._list(call, identity)
            candidates = tuple(each for each in listed if may_be(each, token))
        except HandoffError:
            if not unknown:  # else it is refused in any case
                raise
        if candidates or unknown:
            ids = ", ".join(each.id for each in candidates) or "none was found"
            earlier = "; the outcome of an earlier call for it is unknown" if unknown else ""
            raise HandoffRefusedError(
                f"identity {identity} may have this bank account already ({ids}){earlier}",
                partner=self._partner,
                advice="Nothing was made. payment_instruments(identity) lists what is there: use "
                "it, or pass again=True for another instrument.",
                outcome_unknown=unknown,
                existing=candidates,
            )

    async def _list(self, call: Call, identity: str) -> tuple[PaymentInstrument, ...]:
        found: list[PaymentInstrument] = []
        query = {"owner_identity_id": _checked_identity(identity), "limit": "100"}
        while True:  # until the deadline
            path = f"/payment_instruments?{urlencode(query)}"
            headers = _headers(self._keys, self._version)
            request = HandoffRequest(method="GET", path=path, headers=headers)
            status, body = await self._ask(call, request)
            embedded = body.get("_embedded", {})  # an empty list may come without it
            listed = embedded.get("payment_instruments", []) if isinstance(embedded, dict) else None
            if not isinstance(listed, list):
                raise self._unusable(request, status, "no list of instruments")
            with_id = [each for each in objects(listed) if text_of(each, "id")]
            found += [_read_instrument(each, self._secrets) for each in with_id]
            # Such an answer is to another question, and may show another customer's.
            if any(each.identity not in (None, identity) for each in found):
                raise self._unusable(request, status, "about another identity")
            after = text_of(body.get("page"), "next_cursor")
            if after is None:
                return tuple(found)
            if after == query.get("after_cursor"):
                raise self._unusable(request, status, "the same page again")
            query = {**query, "after_cursor": after}

    @override
    def _faults(self, body: Json) -> list[dict[str, str | None]]:
        # https://docs.finix.com/additional-resources/developers/implementation-and-testing/error-codes
        embedded = body.get("_embedded")
        listed = embedded.get("errors") if isinstance(embedded, dict) else None
        names = ("code", "message", "field")
        return [{name: text_of(each, name) for name in names} for each in objects(listed)]


class FinixSender(BaseFinixSender, BlockingSender):
    """Makes payment instruments at Finix of processor tokens; it may serve many threads."""

    def hand_over(
        self, token: ProcessorToken | str, *, identity: str, again: bool = False
    ) -> PaymentInstrument:
        """Make a payment instrument of the token's account, unless there may be one already.

        The identity's instruments are listed first; the request that makes one is never repeated.

        Args:
            token: Finix's processor token.
            identity: Finix's id of the identity (``ID…``) that the account belongs to, for good.
            again: your word to make an instrument, whatever is there already.

        Raises:
            ConfigurationError: the token is another partner's, or of another environment.
            HandoffRefusedError: it may be there (``existing``), or an earlier outcome is unknown.
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer; see ``outcome_unknown``.
        """
        return run(self._hand_over(self._call(BlockingPort()), token, identity, again))

    def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """The instruments of an identity: look here after an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            HandoffError: Finix refused, or there is no usable answer.
        """
        return run(self._list(self._call(BlockingPort()), identity))


class AsyncFinixSender(BaseFinixSender, AwaitedSender):
    """`FinixSender`, awaited; it may serve several event loops."""

    async def hand_over(
        self, token: ProcessorToken | str, *, identity: str, again: bool = False
    ) -> PaymentInstrument:
        """Make a payment instrument of the token's account, unless there may be one already.

        The identity's instruments are listed first; the request that makes one is never repeated.

        Args:
            token: Finix's processor token.
            identity: Finix's id of the identity (``ID…``) that the account belongs to, for good.
            again: your word to make an instrument, whatever is there already.

        Raises:
            ConfigurationError: the token is another partner's, or of another environment.
            HandoffRefusedError: it may be there (``existing``), or an earlier outcome is unknown.
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer; see ``outcome_unknown``.
        """
        return await self._hand_over(self._call(AsyncPort()), token, identity, again)

    async def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """The instruments of an identity: look here after an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            HandoffError: Finix refused, or there is no usable answer.
        """
        return await self._list(self._call(AsyncPort()), identity)
