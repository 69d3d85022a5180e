"""Layer: the processor tokens of all of a business's accounts. Nothing was tried against Layer.

Whether the PUT adds to the business's tokens or replaces them, and what becomes of a token that is
sent twice, is not known. So all of its tokens are sent each time, and only where one is new.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic, time
from typing import ClassVar, TypeVar
from urllib.parse import quote

from attrs import evolve, frozen
from typing_extensions import override

from .._engine.call import Call
from .._engine.ports import AsyncPort, BlockingPort, run
from ..errors import ConfigurationError
from ..results import ProcessorToken
from ..settings import Timeout, checked_address
from .answers import (
    Json,
    PartnerApi,
    UnusableError,
    has_more,
    named_in,
    objects,
    text_of,
    texts_of,
)
from .errors import HandoffError, PartnerApiError, PartnerFault
from .layer_tokens import (
    Gone,
    LayerAccount,
    Tokens,
    all_tokens,
    is_dead,
    living,
    not_listed,
    say_what_is_dead,
    tokens_for_layer,
    what_is_dead,
)
from .requests import HandoffRequest, basic, partner_id, plain_text, token_text
from .sending import AwaitedSender, BlockingSender, Recorder, Sender

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("plaid_processors")

_TRIES = 3  # how often the tokens of a business are sent, where Layer does not list them afterwards


@frozen(kw_only=True)
class LayerHandoff:
    """The result of a hand-off to Layer.

    Attributes:
        business_id: whose accounts they are.
        new: the tokens that Layer did not have, in their order.
        sent: how many tokens were sent, those that were there included; 0 if nothing was new.
        before: the accounts that Layer listed before anything was sent.
        gone: those of them that Layer has not archived and that you said are gone: their tokens
            were not sent again. Archive them (`layer_archive_request`).
        missing: Plaid's ids of the accounts whose tokens were sent and are not listed by Layer
            afterwards: another process may have dropped them, so call again.
    """

    business_id: str
    new: tuple[ProcessorToken, ...]
    sent: int
    before: tuple[LayerAccount, ...]
    gone: tuple[LayerAccount, ...] = ()
    missing: tuple[str, ...] = ()

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


def layer_archive_request(business_id: str, external_account_id: str) -> HandoffRequest:
    """``POST …/external-accounts/{id}/archive``: Layer stops reading the account.

    Its past transactions remain at Layer
    (https://docs.layerfi.com/api-reference/v1/archive-external-account). Add the bearer token of
    Layer's OAuth2 as ``Authorization``.

    Args:
        business_id: Layer's id of the business.
        external_account_id: Layer's id of the external account.

    Raises:
        ConfigurationError: one of the ids cannot be one.
    """
    account = quote(partner_id("external_account_id", external_account_id, "Layer"), safe="")
    return HandoffRequest(
        method="POST",
        path=f"{_path_of(business_id)}/external-accounts/{account}/archive",
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )


def _path_of(business_id: object) -> str:
    return f"/v1/businesses/{quote(partner_id('business_id', business_id, 'Layer'), safe='')}"


def _check_business(business_id: str, body: Json) -> None:
    """Refuse an answer that names another business; it need not name any."""
    data = body.get("data")
    named = named_in(body, "business")
    # The answer to a PUT is not known; the kinds of data that are, name their type.
    for each in (body, *objects([data]), *objects(data)):
        kind = text_of(each, "type")
        if (kind or "").lower() == "business" or (kind is None and not isinstance(data, list)):
            named.append(text_of(each, "id") or business_id)
    if any(str(each).lower() != business_id.lower() for each in named):
        raise UnusableError("about another business")


def _read_accounts(business_id: str, body: Json) -> tuple[LayerAccount, ...]:
    listed = body.get("data")
    if not isinstance(listed, list) or len(objects(listed)) != len(listed):
        raise UnusableError("no list of accounts")
    _check_business(business_id, body)
    if has_more(body):  # a PUT without the rest might drop it
        raise UnusableError("not the whole list of accounts")
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

    api: ClassVar[PartnerApi] = PartnerApi(
        name="layer",
        target="business_id",
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
        self._refuse_other_environments("auth_url", self._auth_url)
        self._refuse_other_environments("scope", scope or "")
        usual = f"{self.api.hosts[self.environment]}/{self.environment}"
        self._scope = plain_text("scope", scope or usual)
        self._bearer = ("", 0.0)  # the bearer token, and until when it is used

    async def _hand_over(
        self,
        call: Call,
        tokens: Tokens,
        business_id: str,
        gone: Gone,
        recorder: Recorder | None = None,
    ) -> LayerHandoff:
        listed = tokens_for_layer(tokens, self.environment, none_allowed=bool(gone))
        dead = what_is_dead(gone, listed)
        left = living(listed, dead)
        partner_id("business_id", business_id, "Layer")
        turn = f"{self.base_url} {business_id}"
        return await call.turn(turn, self._send_new(call, business_id, left, dead, recorder))

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
        await self._hand_over(call, tokens, target, gone, recorder)

    async def _send_new(
        self,
        call: Call,
        business_id: str,
        tokens: Sequence[ProcessorToken],
        dead: Collection[str],
        recorder: Recorder | None,
    ) -> LayerHandoff:
        """Read back what Layer has; if any token is new, send all of the business's."""
        began = monotonic()
        before = await self._list(call, business_id)
        known = {each.plaid_processor_token for each in before}
        new = tuple(each for each in tokens if each.processor_token not in known)
        sent = all_tokens(business_id, before, tokens, dead) if new else {}
        after: tuple[LayerAccount, ...] = ()
        missing: list[str] = []
        if sent and recorder is not None:
            await recorder.sending()
        for _ in range(_TRIES if sent else 0):
            # The second time, with what another process has sent meanwhile.
            others = all_tokens(business_id, after, (), {*dead, *sent.values()})
            sent = {**others, **sent}
            await self._put(call, business_id, sent)
            # Another process that has read before this PUT may still send, without these tokens:
            # it gets as much time as this one took, if the call has so much.
            now = monotonic()
            end = min(now + (now - began), call.deadline.end - sum(call.times))
            after = await self._read_back(call, business_id, end)
            missing = not_listed(sent, after)
            began = monotonic()
            # Another time only if it can be read back too.
            if not missing or call.deadline.end - began < 2 * sum(call.times):
                break
        if missing:
            logger.warning(
                "Layer does not list %d of the %d tokens that business %s was sent: accounts %s",
                len(missing),
                len(sent),
                business_id,
                ", ".join(missing),
            )
        if recorder is not None:
            known_now = {each.account.account_id: business_id for each in tokens}
            await recorder.done(known_now, missing)
        return LayerHandoff(
            business_id=business_id,
            new=new,
            sent=len(sent),
            before=before,
            gone=tuple(each for each in before if not each.archived and is_dead(each, dead)),
            missing=tuple(missing),
        )

    async def _put(self, call: Call, business_id: str, sent: Mapping[str, str]) -> None:
        request = layer_request(business_id, sent)
        read = partial(_check_business, business_id)
        try:
            await self._ask_with_bearer(call, request, read, secrets=tuple(sent))
        except PartnerApiError as error:
            if error.faults and error.http_status in (400, 409, 422):
                say_what_is_dead(error, sent)
            raise

    async def _read_back(
        self, call: Call, business_id: str, end: float
    ) -> tuple[LayerAccount, ...]:
        """What Layer lists at that `monotonic` moment, after the tokens were sent."""
        try:
            while (left := end - monotonic()) > 0:
                await call.port.wait(left)
            return await self._list(call, business_id)
        except HandoffError as error:
            error.outcome_unknown, error.advice = True, self.api.if_unknown
            raise

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

    def hand_over(self, tokens: Tokens, *, business_id: str, gone: Gone = ()) -> LayerHandoff:
        """See that Layer has these tokens of the business, and keeps those of its other banks.

        The tokens that Layer has are read back first; nothing is sent where nothing is new. What
        was sent is read back too, and sent again where it was dropped. Hand over one result of a
        business at a time all the same: two processes at once may drop each other's.

        Args:
            tokens: a `LinkResult`, or processor tokens for Layer.
            business_id: Layer's id of the business.
            gone: what is dead and not to be sent again: account ids, accounts, processor tokens,
                or the results of Items that were removed.

        Raises:
            ConfigurationError: no token for Layer, or one of another environment.
            HandoffRefusedError: Layer does not list other accounts' tokens, and might drop them.
            PartnerApiError: Layer refused; see ``codes``, and ``account_ids`` of dead tokens.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return run(self._hand_over(self.begin(BlockingPort()), tokens, business_id, gone))

    def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            HandoffError: Layer refused, or there is no usable answer.
        """
        return run(self._list(self.begin(BlockingPort()), business_id))


class AsyncLayerSender(BaseLayerSender, AwaitedSender):
    """`LayerSender`, awaited; it may serve several event loops."""

    async def hand_over(self, tokens: Tokens, *, business_id: str, gone: Gone = ()) -> LayerHandoff:
        """See that Layer has these tokens of the business, and keeps those of its other banks.

        The tokens that Layer has are read back first; nothing is sent where nothing is new. What
        was sent is read back too, and sent again where it was dropped. Hand over one result of a
        business at a time all the same: two processes at once may drop each other's.

        Args:
            tokens: a `LinkResult`, or processor tokens for Layer.
            business_id: Layer's id of the business.
            gone: what is dead and not to be sent again: account ids, accounts, processor tokens,
                or the results of Items that were removed.

        Raises:
            ConfigurationError: no token for Layer, or one of another environment.
            HandoffRefusedError: Layer does not list other accounts' tokens, and might drop them.
            PartnerApiError: Layer refused; see ``codes``, and ``account_ids`` of dead tokens.
            PartnerConnectionError: no usable answer; calling again does no harm.
        """
        return await self._hand_over(self.begin(AsyncPort()), tokens, business_id, gone)

    async def accounts(self, business_id: str) -> tuple[LayerAccount, ...]:
        """The accounts that Layer has of a business.

        Args:
            business_id: Layer's id of the business.

        Raises:
            HandoffError: Layer refused, or there is no usable answer.
        """
        return await self._list(self.begin(AsyncPort()), business_id)
