"""Finix: one processor token becomes one payment instrument. Nothing was tried against Finix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from attrs import field, frozen
from typing_extensions import override

from .._engine.call import Call
from .._engine.ports import AsyncPort, BlockingPort, run
from ..redaction import secrets_among
from ..results import ProcessorToken
from ..settings import Timeout
from .answers import (
    Json,
    PartnerApi,
    UnusableError,
    has_more,
    masked,
    named_in,
    objects,
    text_of,
    texts_of,
)
from .errors import HandoffError, HandoffRefusedError, PartnerFault
from .layer_tokens import Gone
from .requests import HandoffRequest, basic, partner_id, plain_text, token_text
from .sending import AwaitedSender, BlockingSender, Recorder, Sender

_VERSION = "2022-02-01"

# The other types of Finix's published description, and types to come, may be a bank account's.
_CARDS = ("PAYMENT_CARD", "PAYMENT_CARD_PRESENT", "SWIPED_PAYMENT_CARD", "APPLE_PAY", "GOOGLE_PAY")

_open: dict[object, str] = {}
"""Where each request of this process goes that is under way, or whose outcome is unknown."""


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
        enabled: False if it was disabled at Finix.
        raw: the whole of Finix's answer, with tokens masked.
    """

    id: str
    identity: str | None = None
    type: str | None = None
    third_party: str | None = None
    masked_account_number: str | None = None
    bank_account_validation_check: str | None = None
    enabled: bool = True
    raw: Mapping[str, Any] = field(factory=dict, repr=False, eq=False, hash=False)


def _read_instrument(identity: str, secrets: tuple[str, ...], data: Json) -> PaymentInstrument:
    """The instrument of an answer of Finix's."""
    if text_of(data, "id") is None:
        raise UnusableError("without an id")
    # It is to another question, and may show another customer's.
    named = [data.get("identity"), *named_in(data, "identity")]
    if any(each not in (None, identity) for each in named):
        raise UnusableError("about another identity")
    known = {"id": data["id"], "enabled": data.get("enabled") is not False}
    raw = masked(data, secrets_among(*secrets))
    return PaymentInstrument(**{**texts_of(raw, PaymentInstrument), **known, "raw": raw})


def _read_disabled(name: str, secrets: tuple[str, ...], data: Json) -> PaymentInstrument:
    """The instrument that was to be disabled."""
    instrument = _read_instrument(text_of(data, "identity") or "", secrets, data)
    if instrument.id != name:
        raise UnusableError("about another instrument")
    if instrument.enabled:
        raise UnusableError("the instrument is enabled still")
    return instrument


_COUNTS = ("count", "offset")


def _read_page(
    identity: str, secrets: tuple[str, ...], query: Json, body: Json
) -> tuple[list[PaymentInstrument], Json]:
    """The instruments of a page of Finix's list, and what the next page is asked for with."""
    # An empty list may come without `_embedded`; what has neither is no list.
    place = body.get("page")
    nothing = {"payment_instruments": list[Json]()} if isinstance(place, dict) else None
    embedded = body.get("_embedded", nothing)
    listed = embedded.get("payment_instruments") if isinstance(embedded, dict) else None
    if not isinstance(listed, list):
        raise UnusableError("no list of instruments")
    page = [_read_instrument(identity, secrets, each) for each in listed]
    # Finix's description has cursors; its examples have offsets, and a link to the next page.
    after, links = text_of(place, "next_cursor"), body.get("_links")
    following = links.get("next") if isinstance(links, dict) and listed else None
    link = following if isinstance(following, str) else text_of(following, "href")
    more = {"after_cursor": after} if after else parse_qs(urlsplit(link or "").query)
    if more and {**query, **more} == query:
        raise UnusableError("the same page again")
    # What is not listed could be of the same account.
    total, start = (place.get(name) if isinstance(place, dict) else None for name in _COUNTS)
    cut = isinstance(total, int) and total > len(page) + (start if isinstance(start, int) else 0)
    if not more and (cut or following or has_more(body)):
        raise UnusableError("not the whole list of instruments")
    return page, more


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
        "identity": partner_id("identity", identity, "Finix"),
        # Confirmed by public code of third parties only: Finix's published description is older.
        "third_party": "PLAID",
        "third_party_token": token_text(token, "finix"),
        "type": "BANK_ACCOUNT",
    }
    headers = {"Content-Type": "application/json", **_headers(credentials, version)}
    return HandoffRequest(method="POST", path="/payment_instruments", headers=headers, json=body)


def finix_disable_request(
    instrument: PaymentInstrument | str,
    *,
    credentials: tuple[str, str] | None = None,
    version: str = _VERSION,
) -> HandoffRequest:
    """``PUT /payment_instruments/{id}`` with ``enabled: false``: disables an instrument of Finix's.

    See https://docs.finix.com/guides/online-payments/fraud-and-risk/disabling-instruments.

    Args:
        instrument: the payment instrument, or Finix's id of it (``PI…``).
        credentials: Finix's user name and password; None leaves the authentication to you.
        version: the version of Finix's API to ask for.

    Raises:
        ConfigurationError: the id cannot be one.
    """
    given = instrument.id if isinstance(instrument, PaymentInstrument) else instrument
    name = quote(partner_id("instrument", given, "Finix"), safe="")
    headers = {"Content-Type": "application/json", **_headers(credentials, version)}
    path = f"/payment_instruments/{name}"
    return HandoffRequest(method="PUT", path=path, headers=headers, json={"enabled": False})


def _headers(credentials: tuple[str, str] | None, version: str) -> dict[str, str]:
    headers = {"Accept": "application/hal+json", "Finix-Version": version}
    if credentials is not None:
        headers["Authorization"] = f"Basic {basic(*credentials)}"
    return headers


def _faults(body: Json) -> list[PartnerFault]:
    # https://docs.finix.com/additional-resources/developers/implementation-and-testing/error-codes
    embedded = body.get("_embedded")
    listed = embedded.get("errors") if isinstance(embedded, dict) else None
    return [PartnerFault(**texts_of(each, PartnerFault)) for each in objects(listed)]


class BaseFinixSender(Sender):
    """What both senders to Finix share."""

    api: ClassVar[PartnerApi] = PartnerApi(
        name="finix",
        target="identity",
        # https://docs.finix.com/api/section/authentication
        hosts={
            "sandbox": "https://finix.sandbox-payments-api.com",
            "production": "https://finix.live-payments-api.com",
        },
        settings=("username", "password", "base_url"),
        if_unknown="The same call again could make a second instrument: look for the account among "
        "payment_instruments(identity), and if it is not there after a while, pass again=True.",
        repeatable=False,
        faults=_faults,
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
            timeout: seconds, or a (connect, read) pair; one call may take four times their sum.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        keys = {"username": username, "password": password}
        network = (timeout, max_connections, proxy, ca_bundle)
        super().__init__(keys, environment, base_url, *network)
        self._version = plain_text("version", version)

    async def _hand_over(
        self,
        call: Call,
        token: ProcessorToken | str,
        identity: str,
        again: bool,
        recorder: Recorder | None = None,
    ) -> PaymentInstrument:
        if not isinstance(again, bool):  # "no" would count as the caller's word
            raise TypeError(f"again must be True or False, not {type(again).__name__}")
        secret = token_text(token, "finix", self.environment)
        request = finix_request(
            token, identity=identity, credentials=self._keys, version=self._version
        )
        read = partial(_read_instrument, identity, (*self._secrets, secret))

        place = f"{self.base_url} {identity}"

        async def keep(instrument: PaymentInstrument) -> None:
            if recorder is not None and isinstance(token, ProcessorToken):
                await recorder.done({token.account.account_id: instrument.id})

        async def make() -> PaymentInstrument:
            listed: Sequence[PaymentInstrument] = ()
            if not again:
                unknown = place in _open.copy().values()
                listed = await self._refuse_a_second(call, identity, unknown=unknown)
            elif recorder is not None:
                listed = await self._list(call, identity)
            if recorder is not None:
                await recorder.sending([each.id for each in listed])
            me = object()
            _open[me] = place  # and stays so if the caller interrupts
            try:
                instrument = await self._ask(call, request, read, secrets=(secret,), keep=keep)
            except HandoffError as error:
                if not error.outcome_unknown:
                    del _open[me]
                raise
            except BaseException:
                if call.nothing_sent():
                    del _open[me]
                raise
            del _open[me]
            return instrument

        # One after the other for an identity, since any two tokens may be of one account.
        return await call.turn(place, make())

    @override
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
        for token in tokens:
            await self._hand_over(call, token, target, again, recorder)

    @override
    async def look(self, call: Call, target: str) -> Mapping[str, object]:
        listed = await self._list(call, target)
        return {each.id: each for each in listed if each.type not in _CARDS}

    async def _refuse_a_second(
        self, call: Call, identity: str, *, unknown: bool
    ) -> Sequence[PaymentInstrument]:
        """Raise if the account may have an instrument, or an earlier request may still make it.

        Else return the identity's instruments, which are cards.

        Any bank account of the identity may be this one: digits prove nothing where a bank gives
        each link another number (https://support.plaid.com/hc/en-us/articles/16121468601751), or
        where a mask is not the end of the number.
        """
        listed: Sequence[PaymentInstrument] = ()
        existing: tuple[PaymentInstrument, ...] = ()
        try:
            listed = await self._list(call, identity)
            existing = tuple(each for each in listed if each.type not in _CARDS)
        except HandoffError:
            if not unknown:  # else it is refused in any case
                raise
        if existing or unknown:
            names = [each.id if each.enabled else f"{each.id}, disabled" for each in existing]
            earlier = ", and the outcome of an earlier call is unknown" if unknown else ""
            raise HandoffRefusedError(
                f"cannot tell whether identity {identity} has this bank account already "
                f"(found: {'; '.join(names) or 'nothing'}){earlier}",
                partner="finix",
                advice="Nothing was made. Use the instrument that is there, or pass again=True: "
                "your word that it is of another account, or that you want another one.",
                outcome_unknown=unknown,
                existing=existing,
            )
        return listed

    async def _list(self, call: Call, identity: str) -> tuple[PaymentInstrument, ...]:
        owner = partner_id("identity", identity, "Finix")
        query: Json = {"owner_identity_id": owner, "limit": "100"}
        found: list[PaymentInstrument] = []
        while True:  # until the deadline
            path = f"/payment_instruments?{urlencode(query, doseq=True)}"
            headers = _headers(self._keys, self._version)
            request = HandoffRequest(method="GET", path=path, headers=headers)
            read = partial(_read_page, identity, self._secrets, query)
            page, more = await self._ask(call, request, read)
            found += page
            if not more:
                return tuple(found)
            query = {**query, **more}

    async def _disable(self, call: Call, instrument: PaymentInstrument | str) -> PaymentInstrument:
        request = finix_disable_request(instrument, credentials=self._keys, version=self._version)
        name = instrument.id if isinstance(instrument, PaymentInstrument) else instrument
        try:
            return await self._ask(call, request, partial(_read_disabled, name, self._secrets))
        except HandoffError as error:
            if error.outcome_unknown:
                error.advice = "Calling again does no harm."
            raise


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
        return run(self._hand_over(self.begin(BlockingPort()), token, identity, again))

    def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """The instruments of an identity: look here after an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            HandoffError: Finix refused, or there is no usable answer.
        """
        return run(self._list(self.begin(BlockingPort()), identity))

    def disable(self, instrument: PaymentInstrument | str) -> PaymentInstrument:
        """Disable a payment instrument: no payment can use it any more. Twice does no harm.

        See https://docs.finix.com/guides/online-payments/fraud-and-risk/disabling-instruments.

        Args:
            instrument: the payment instrument, or Finix's id of it (``PI…``).

        Returns:
            The instrument as Finix has it now.

        Raises:
            ConfigurationError: the id cannot be one.
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return run(self._disable(self.begin(BlockingPort()), instrument))


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
        return await self._hand_over(self.begin(AsyncPort()), token, identity, again)

    async def payment_instruments(self, identity: str) -> tuple[PaymentInstrument, ...]:
        """The instruments of an identity: look here after an unknown outcome.

        Args:
            identity: Finix's id of the identity (``ID…``).

        Raises:
            HandoffError: Finix refused, or there is no usable answer.
        """
        return await self._list(self.begin(AsyncPort()), identity)

    async def disable(self, instrument: PaymentInstrument | str) -> PaymentInstrument:
        """Disable a payment instrument: no payment can use it any more. Twice does no harm.

        See https://docs.finix.com/guides/online-payments/fraud-and-risk/disabling-instruments.

        Args:
            instrument: the payment instrument, or Finix's id of it (``PI…``).

        Returns:
            The instrument as Finix has it now.

        Raises:
            ConfigurationError: the id cannot be one.
            PartnerApiError: Finix refused; see ``codes``.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return await self._disable(self.begin(AsyncPort()), instrument)
