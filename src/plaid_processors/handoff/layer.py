"""Layer: the processor tokens of all of a business's accounts. Nothing was tried against Layer.

Whether the PUT adds to the business's tokens or replaces them, and what becomes of a token that is
sent twice, is not known. So all of its tokens are sent each time, and only where one is new.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from time import time
from typing import TypeVar
from urllib.parse import quote

from attrs import evolve, field, frozen

from .._engine.call import Call
from .._engine.ports import AsyncPort, BlockingPort, run
from ..errors import ConfigurationError
from ..redaction import mask_repr
from ..results import LinkResult, ProcessorToken
from ..settings import Timeout, checked_address
from .answers import Json, PartnerApi, UnusableError, objects, text_of, texts_of
from .errors import HandoffRefusedError, PartnerApiError, PartnerFault
from .requests import HandoffRequest, basic, partner_id, plain_text, token_text
from .sending import AwaitedSender, BlockingSender, Sender

T = TypeVar("T")
Tokens = LinkResult | Iterable[ProcessorToken]


@frozen(kw_only=True)
class LayerAccount:
    """An account as Layer lists it for a business.

    Attributes:
        id: Layer's id of it.
        plaid_account_id: Plaid's id of it.
        plaid_processor_token: the token that Layer reads it with, as Layer echoes it.
        status: ``ACTIVE`` or ``ARCHIVED``.
        name: its name.
        mask: the last digits of its number.
        account_type: such as ``DEPOSITORY`` or ``CREDIT``.
        subtype: such as ``CHECKING``, as Layer writes it.
    """

    id: str | None = None
    plaid_account_id: str | None = None
    plaid_processor_token: str | None = field(default=None, repr=mask_repr)
    status: str | None = None
    name: str | None = None
    mask: str | None = None
    account_type: str | None = None
    subtype: str | None = None

    @property
    def archived(self) -> bool:
        """Whether Layer no longer reads it."""
        return self.status == "ARCHIVED"


@frozen(kw_only=True)
class LayerHandoff:
    """The result of a hand-off to Layer.

    Attributes:
        business_id: whose accounts they are.
        new: the tokens that Layer did not have, in their order.
        sent: how many tokens were sent, those that were there included; 0 if nothing was new.
        before: the accounts that Layer listed before anything was sent.
    """

    business_id: str
    new: tuple[ProcessorToken, ...]
    sent: int
    before: tuple[LayerAccount, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was sent."""
        return self.sent > 0


def layer_request(business_id: str, tokens: Iterable[ProcessorToken | str]) -> HandoffRequest:
    """``PUT /v1/businesses/{id}``: the request that hands tokens to Layer.

    Give it **all** of the business's tokens: whether Layer adds them or replaces all is not known.

    Args:
        business_id: Layer's id of the business.
        tokens: processor tokens for Layer, or their texts.

    Raises:
        ConfigurationError: there is none, or one is no processor token for Layer.
    """
    listed = list(dict.fromkeys(token_text(each, "layer") for each in tokens))
    if not listed:
        raise ConfigurationError("no processor token to hand to Layer")
    return HandoffRequest(
        method="PUT",
        path=_path_of(business_id),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        json={"plaid_processor_tokens": [{"processor_token": each} for each in listed]},
    )


def _path_of(business_id: object) -> str:
    return f"/v1/businesses/{quote(partner_id('business_id', business_id, 'Layer'), safe='')}"


def layer_tokens(given: Tokens, environment: str | None = None) -> tuple[ProcessorToken, ...]:
    """The tokens for Layer, the newest of each account: of a result Layer's, of a list all."""
    if isinstance(given, LinkResult):
        tokens = tuple(each for each in given.processor_tokens if each.processor == "layer")
    else:
        tokens = tuple([given] if isinstance(given, ProcessorToken) else given)
    for each in tokens:
        if not isinstance(each, ProcessorToken):
            raise TypeError(f"expected ProcessorToken objects, not {type(each).__name__}")
        token_text(each, "layer", environment)
    if not tokens:
        raise ConfigurationError("no processor token to hand to Layer")
    by_age = sorted(tokens, key=attrgetter("issued_at"))
    newest = {each.account.account_id: each for each in by_age}
    return tuple(each for each in dict.fromkeys(tokens) if each in newest.values())


def _all_tokens(
    business_id: str, before: Sequence[LayerAccount], tokens: Sequence[ProcessorToken]
) -> list[str]:
    """What Layer is to have afterwards: the tokens it reads with now, and those given.

    A newer token replaces the older one of its account. An archived account stays archived, unless
    a new token is given for it.
    """
    given = {each.account.account_id: each.processor_token for each in tokens}
    kept = [each for each in before if not each.archived and each.plaid_account_id not in given]
    hidden = tuple(each for each in kept if each.plaid_processor_token is None)
    if hidden:
        raise HandoffRefusedError(
            f"Layer reads {len(hidden)} accounts of business {business_id} whose tokens it does "
            "not list, and they might be dropped",
            partner="layer",
            existing=hidden,
            advice="Nothing was sent. Pass the tokens of these accounts too.",
        )
    known = [each.plaid_processor_token for each in kept if each.plaid_processor_token is not None]
    archived = {each.plaid_processor_token for each in before if each.archived}
    fresh = [token for token in given.values() if token not in archived]
    return list(dict.fromkeys([*known, *fresh]))


def _check_business(business_id: str, body: Json) -> None:
    """Refuse an answer that names another business; it need not name any."""
    data = body.get("data")
    entries = [*objects(data), *objects([data])]
    named = [text_of(each, "business_id") for each in entries]
    # The answer to a PUT is not known; the kinds of data that are, name their type.
    if text_of(data, "type") in (None, "Business"):
        named.append(text_of(data, "id"))
    if any(each.lower() != business_id.lower() for each in named if each is not None):
        raise UnusableError("about another business")


def _read_accounts(business_id: str, body: Json) -> tuple[LayerAccount, ...]:
    listed = body.get("data")
    if not isinstance(listed, list) or len(objects(listed)) != len(listed):
        raise UnusableError("no list of accounts")
    _check_business(business_id, body)
    return tuple(LayerAccount(**texts_of(each, LayerAccount)) for each in listed)


def _read_bearer(body: Json) -> tuple[str, float]:
    """The bearer token, and for how many seconds it can be used."""
    token, seconds = text_of(body, "access_token"), body.get("expires_in")
    if token is None or not token.isascii() or not token.isprintable():
        raise UnusableError("without an access token")
    return token, seconds if isinstance(seconds, (int, float)) and 0 < seconds < 1e9 else 0


def _faults(body: Json) -> list[PartnerFault]:
    # OAuth2's own form: RFC 6749, section 5.2.
    if code := text_of(body, "error"):
        return [PartnerFault(code=code, message=text_of(body, "error_description"))]
    # https://docs.layerfi.com/api-details/json-data
    return [
        PartnerFault(
            code=text_of(each, "error_enum") or text_of(each, "type"),
            message=text_of(each, "description"),
        )
        for each in objects(body.get("errors"))
    ]


class BaseLayerSender(Sender):
    """What both senders to Layer share."""

    _api = PartnerApi(
        name="layer",
        # https://docs.layerfi.com/api-details/authentication
        hosts={"sandbox": "https://sandbox.layerfi.com", "production": "https://api.layerfi.com"},
        settings=("client_id", "client_secret", "base_url", "auth_url"),
        if_unknown="Call again: it reads back what Layer has, and sends only what is missing.",
        repeatable=True,
        faults=_faults,
    )

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
            auth_url: another address for bearer tokens than Layer's; http only on loopback.
            scope: another scope than the environment's.
            timeout: seconds, or a (connect, read) pair; one call may take four times their sum.
            max_connections: how many requests of this sender run side by side at most.
            proxy: the address of a proxy; by default the variables HTTPS_PROXY and NO_PROXY decide.
            ca_bundle: a file or folder of trusted certificates; by default REQUESTS_CA_BUNDLE and
                SSL_CERT_FILE, else the system's.

        Raises:
            ConfigurationError: one of these is missing or malformed.
        """
        own = "https://auth.layerfi.com"
        self._auth_url = own if auth_url is None else checked_address(auth_url)
        keys = {"client_id": client_id, "client_secret": client_secret}
        network = (timeout, max_connections, proxy, ca_bundle)
        super().__init__(keys, environment, base_url, *network, self._auth_url)
        usual = f"{self._api.hosts[self._environment]}/{self._environment}"
        self._scope = plain_text("scope", scope or usual)
        self._bearer = ("", 0.0)  # the bearer token, and until when it is used

    async def _hand_over(self, call: Call, tokens: Tokens, business_id: str) -> LayerHandoff:
        listed = layer_tokens(tokens, self._environment)
        partner_id("business_id", business_id, "Layer")
        return await call.turn(business_id, self._send_new(call, business_id, listed))

    async def _send_new(
        self, call: Call, business_id: str, tokens: Sequence[ProcessorToken]
    ) -> LayerHandoff:
        """Read back what Layer has; if any token is new, send all of the business's."""
        before = await self._list(call, business_id)
        known = {each.plaid_processor_token for each in before}
        new = tuple(each for each in tokens if each.processor_token not in known)
        everything = _all_tokens(business_id, before, tokens) if new else []
        if everything:
            request = layer_request(business_id, everything)
            read = partial(_check_business, business_id)
            await self._ask_with_bearer(call, request, read, secrets=tuple(everything))
        return LayerHandoff(business_id=business_id, new=new, sent=len(everything), before=before)

    async def _list(self, call: Call, business_id: str) -> tuple[LayerAccount, ...]:
        request = HandoffRequest(method="GET", path=f"{_path_of(business_id)}/plaid/accounts")
        return await self._ask_with_bearer(call, request, partial(_read_accounts, business_id))

    async def _ask_with_bearer(
        self,
        call: Call,
        request: HandoffRequest,
        read: Callable[[Json], T],
        secrets: tuple[str, ...] = (),
    ) -> T:
        """Send a request with the bearer token; once more with a new one where it is refused."""
        again = False
        while True:
            bearer = await self._bearer_token(call)
            headers = {**request.headers, "Authorization": f"Bearer {bearer}"}
            authorized = evolve(request, headers=headers)
            try:
                return await self._ask(call, authorized, read, secrets=(bearer, *secrets))
            except PartnerApiError as error:
                # It was withdrawn before its end; a refused request changed nothing.
                if error.http_status != 401 or again:
                    raise
                again = True
                self._bearer = ("", 0.0)

    async def _bearer_token(self, call: Call) -> str:
        """The bearer token: the one that is kept, or a new one when that expires."""
        kept, end = self._bearer
        if time() < end:
            return kept
        headers = {
            "Authorization": f"Basic {basic(*self._keys)}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        client_id, grant = self._keys[0], "client_credentials"
        form = {"grant_type": grant, "scope": self._scope, "client_id": client_id}
        request = HandoffRequest(method="POST", path="/oauth2/token", headers=headers, form=form)
        asked = time()
        token, lasts = await self._ask(call, request, _read_bearer, base_url=self._auth_url)
        self._bearer = token, asked + lasts - 60  # seconds: not used shortly before its end
        return token


class LayerSender(BaseLayerSender, BlockingSender):
    """Hands a business's processor tokens to Layer; it may serve many threads."""

    def hand_over(self, tokens: Tokens, *, business_id: str) -> LayerHandoff:
        """See that Layer has these tokens of the business, and keeps those of its other banks.

        The tokens that Layer has are read back first; nothing is sent where nothing is new. Hand
        over one result of a business at a time: two processes at once may drop each other's.

        Args:
            tokens: a `LinkResult`, or processor tokens for Layer.
            business_id: Layer's id of the business.

        Raises:
            ConfigurationError: no token for Layer, or one of another environment.
            HandoffRefusedError: Layer does not list other accounts' tokens, and might drop them.
            PartnerApiError: Layer refused; see ``codes``.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return run(self._hand_over(self._call(BlockingPort()), tokens, business_id))

    def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            HandoffError: Layer refused, or there is no usable answer.
        """
        return run(self._list(self._call(BlockingPort()), business_id))


class AsyncLayerSender(BaseLayerSender, AwaitedSender):
    """`LayerSender`, awaited; it may serve several event loops."""

    async def hand_over(self, tokens: Tokens, *, business_id: str) -> LayerHandoff:
        """See that Layer has these tokens of the business, and keeps those of its other banks.

        The tokens that Layer has are read back first; nothing is sent where nothing is new. Hand
        over one result of a business at a time: two processes at once may drop each other's.

        Args:
            tokens: a `LinkResult`, or processor tokens for Layer.
            business_id: Layer's id of the business.

        Raises:
            ConfigurationError: no token for Layer, or one of another environment.
            HandoffRefusedError: Layer does not list other accounts' tokens, and might drop them.
            PartnerApiError: Layer refused; see ``codes``.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return await self._hand_over(self._call(AsyncPort()), tokens, business_id)

    async def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            HandoffError: Layer refused, or there is no usable answer.
        """
        return await self._list(self._call(AsyncPort()), business_id)
