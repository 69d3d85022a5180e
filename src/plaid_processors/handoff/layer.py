"""Layer: the processor tokens of all of a business's accounts. Pure: requests and their answers.

What is confirmed, by Layer's published documentation: the endpoints, ``plaid_processor_tokens`` and
its elements, the list of accounts. Not confirmed: whether the PUT adds to the business's tokens or
replaces them, and what becomes of a token that is sent twice. So all of the business's tokens are
sent each time, after a read-back, and nothing is sent where nothing is new. Nothing was tried
against Layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from attrs import field, frozen

from .._engine.http import HttpOutcome
from ..errors import ConfigurationError
from ..redaction import mask_repr
from ..results import LinkResult, ProcessorToken
from . import answers
from .answers import Json
from .errors import HandoffRefusedError, PartnerApiError, PartnerFault
from .requests import HandoffRequest, basic, check_environment, token_text
from .sending import PartnerCall

LAYER = "layer"

# https://docs.layerfi.com/api-details/authentication
AUTH_URL = "https://auth.layerfi.com"
HOSTS = {"sandbox": "https://sandbox.layerfi.com", "production": "https://api.layerfi.com"}
SCOPES = {
    "sandbox": "https://sandbox.layerfi.com/sandbox",
    "production": "https://api.layerfi.com/production",
}

_LEEWAY = timedelta(seconds=60)
"""How long before its end a bearer token is not used any more."""

UNKNOWN = (
    "Layer may have taken the tokens or not: call again; what is there already is read back first, "
    "and only what is missing makes it send again."
)


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
    """What a hand-off to Layer came to.

    Attributes:
        business_id: whose accounts they are.
        new: the tokens that Layer did not have, in their order.
        sent: every token that was sent, those that were there included; none if nothing was new.
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


def business_update(business_id: str, tokens: Iterable[ProcessorToken | str]) -> HandoffRequest:
    """``PUT /v1/businesses/{id}``: the request that hands tokens to Layer.

    Give it **all** of the business's tokens, of every bank: whether Layer adds them to those that
    it has or puts them in their place is not known.

    Raises:
        ConfigurationError: there is none, or one is no processor token for Layer.
    """
    listed = list(dict.fromkeys(token_text(each, LAYER) for each in tokens))
    if not listed:
        raise ConfigurationError("no processor token to hand to Layer")
    return HandoffRequest(
        method="PUT",
        path=_business(business_id),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        json={"plaid_processor_tokens": [{"processor_token": each} for each in listed]},
    )


def business_accounts(business_id: str) -> HandoffRequest:
    """``GET /v1/businesses/{id}/plaid/accounts``: what Layer has of a business."""
    path = f"{_business(business_id)}/plaid/accounts"
    return HandoffRequest(method="GET", path=path, headers={"Accept": "application/json"})


def bearer_request(client_id: str, client_secret: str, scope: str) -> HandoffRequest:
    """``POST /oauth2/token`` at Layer's own address for it: client credentials."""
    return HandoffRequest(
        method="POST",
        path="/oauth2/token",
        headers={
            "Authorization": basic(client_id, client_secret),
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        },
        form={"grant_type": "client_credentials", "scope": scope, "client_id": client_id},
    )


def _business(business_id: object) -> str:
    if not isinstance(business_id, str) or not business_id.strip():
        raise ConfigurationError("business_id must be Layer's id of the business")
    return f"/v1/businesses/{quote(business_id, safe='')}"


def faults(body: Json) -> list[PartnerFault]:
    """The errors that an answer of Layer's lists.

    https://docs.layerfi.com/api-details/json-data
    """
    return [
        PartnerFault(
            code=answers.text(each, "error_enum") or answers.text(each, "type"),
            message=answers.text(each, "description"),
        )
        for each in answers.objects(body.get("errors"))
    ]


@frozen(kw_only=True)
class LayerSettings:
    """Who asks Layer, and where."""

    client_id: str
    client_secret: str = field(repr=False)
    environment: str
    base_url: str
    auth_url: str
    scope: str


class Bearer:
    """Layer's access token, kept until it expires."""

    def __init__(self, settings: LayerSettings) -> None:
        self._settings = settings
        self._token: str | None = None
        self._end = datetime.min.replace(tzinfo=UTC)

    def forget(self) -> None:
        """Ask for another one next time."""
        self._token = None

    async def get(self, call: PartnerCall) -> str:
        """The token; one request where there is none that is still good."""
        if self._token is not None and datetime.now(UTC) < self._end:
            return self._token
        settings = self._settings
        request = bearer_request(settings.client_id, settings.client_secret, settings.scope)
        asked = datetime.now(UTC)
        came = await call.ask(request, settings.auth_url)
        body = answers.read(LAYER, request, came, faults_of_oauth, secrets=self.secrets)
        token, seconds = answers.text(body, "access_token"), body.get("expires_in")
        if token is None or not token.isascii() or not token.isprintable():
            raise answers.unusable(LAYER, request, came, "without an access token")
        self._token = token
        self._end = asked + _lifetime(seconds) - _LEEWAY
        return token

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in any text."""
        settings = self._settings
        header = basic(settings.client_id, settings.client_secret).removeprefix("Basic ")
        return tuple(filter(None, (settings.client_secret, header, self._token)))


def _lifetime(seconds: object) -> timedelta:
    """How long a bearer token lives; no time at all where that is not told."""
    if isinstance(seconds, (int, float)) and 0 < seconds < 10**9:
        return timedelta(seconds=seconds)
    return timedelta(0)


def faults_of_oauth(body: Json) -> list[PartnerFault]:
    """The error of an OAuth2 answer (RFC 6749, section 5.2), or Layer's own."""
    code = answers.text(body, "error")
    if code is None:
        return faults(body)
    return [PartnerFault(code=code, message=answers.text(body, "error_description"))]


async def _authorized(
    call: PartnerCall,
    settings: LayerSettings,
    bearer: Bearer,
    request: HandoffRequest,
    secrets: tuple[str, ...] = (),
) -> tuple[Json, HttpOutcome]:
    """Send a request with the bearer token; once more with a new one where it is refused."""
    for attempt in (1, 2):
        token = await bearer.get(call)
        authorized = request.with_headers(Authorization=f"Bearer {token}")
        came = await call.ask(authorized, settings.base_url)
        try:
            body = answers.read(
                LAYER,
                request,
                came,
                faults,
                secrets=(*bearer.secrets, token, *secrets),
                unknown_advice=UNKNOWN,
            )
        except PartnerApiError as error:
            # It was withdrawn before its end; a refused request changed nothing.
            if error.http_status != 401 or attempt == 2:
                raise
            bearer.forget()
        else:
            return body, came
    raise AssertionError("unreachable")


async def list_accounts(
    call: PartnerCall, settings: LayerSettings, bearer: Bearer, business_id: str
) -> tuple[LayerAccount, ...]:
    """The accounts that Layer has of a business."""
    request = business_accounts(business_id)
    body, came = await _authorized(call, settings, bearer, request)
    listed = body.get("data")
    if not isinstance(listed, list):
        raise answers.unusable(LAYER, request, came, "no list of accounts")
    accounts = answers.objects(listed)
    # Layer's list names no business; if it ever does, it has to be the one that was asked for.
    if any(answers.text(each, "business_id") not in (None, business_id) for each in accounts):
        raise answers.unusable(LAYER, request, came, "about another business")
    return tuple(_account(each) for each in accounts)


def _account(data: Json) -> LayerAccount:
    names = (
        "id", "plaid_account_id", "plaid_processor_token", "status", "name", "mask",
        "account_type", "subtype",
    )  # fmt: skip
    return LayerAccount(**{name: answers.text(data, name) for name in names})


def layer_tokens(given: LinkResult | Iterable[ProcessorToken]) -> tuple[ProcessorToken, ...]:
    """The tokens for Layer, one for each account, the newest.

    Of a result those that are Layer's, of a list all that it has.

    Raises:
        ConfigurationError: there is none, or one is another partner's.
    """
    if isinstance(given, LinkResult):
        tokens = tuple(each for each in given.processor_tokens if each.processor == LAYER)
    else:
        tokens = tuple([given] if isinstance(given, ProcessorToken) else given)
    for each in tokens:
        if not isinstance(each, ProcessorToken):
            raise TypeError(f"expected ProcessorToken objects, not {type(each).__name__}")
        token_text(each, LAYER)
    if not tokens:
        raise ConfigurationError("no processor token to hand to Layer")
    newest = {each.account.account_id: each for each in sorted(tokens, key=_issued_at)}
    return tuple(each for each in dict.fromkeys(tokens) if each in newest.values())


def _issued_at(token: ProcessorToken) -> datetime:
    return token.issued_at


async def hand_over(
    call: PartnerCall,
    settings: LayerSettings,
    bearer: Bearer,
    business_id: str,
    tokens: Sequence[ProcessorToken],
) -> LayerHandoff:
    """Read back what Layer has; if any token is new, send all of the business's.

    Raises:
        HandoffRefusedError: Layer does not tell the tokens of accounts that it reads now, so that
            sending the others might drop them.
    """
    for each in tokens:
        check_environment(each.processor_token, settings.environment, LAYER)
    before = await list_accounts(call, settings, bearer, business_id)
    known = {each.plaid_processor_token for each in before}
    new = tuple(each for each in tokens if each.processor_token not in known)
    if not new:
        return LayerHandoff(business_id=business_id, new=(), sent=0, before=before)
    everything = _everything(business_id, before, tokens)
    request = business_update(business_id, everything)
    await _authorized(call, settings, bearer, request, secrets=tuple(everything))
    return LayerHandoff(business_id=business_id, new=new, sent=len(everything), before=before)


def _everything(
    business_id: str, before: Sequence[LayerAccount], tokens: Sequence[ProcessorToken]
) -> list[str]:
    """What Layer is to have afterwards: the tokens it reads with now, and those given.

    A token that was issued anew takes the place of the older one of its account. What was archived
    stays so, unless its account is given a new token.
    """
    given: Mapping[str, str] = {each.account.account_id: each.processor_token for each in tokens}
    kept = [each for each in before if not each.archived and each.plaid_account_id not in given]
    if untold := [each for each in kept if each.plaid_processor_token is None]:
        raise HandoffRefusedError(
            f"Layer reads {len(untold)} accounts of business {business_id} whose tokens it does "
            "not tell, and they might be dropped",
            partner=LAYER,
            existing=untold,
            advice="Nothing was sent. Pass the tokens of these accounts too.",
        )
    archived = {each.plaid_processor_token for each in before if each.archived}
    there = [each.plaid_processor_token for each in kept if each.plaid_processor_token is not None]
    fresh = [token for token in given.values() if token not in archived]
    return list(dict.fromkeys([*there, *fresh]))
