"""Finix: one processor token becomes one payment instrument. Pure: requests and their answers.

What is confirmed: the endpoint, ``identity``, ``type`` and ``third_party_token`` by Finix's own
published description (https://github.com/finix-payments/finix-nodejs, openapi/finix-api.yaml);
``third_party: "PLAID"`` by public code of third parties only. Nothing was tried against Finix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .._engine.http import HttpOutcome
from ..errors import ConfigurationError
from ..redaction import redact
from ..results import ProcessorToken
from . import answers
from .answers import Json
from .errors import HandoffRefusedError, PartnerFault
from .requests import HandoffRequest, basic, check_environment, token_text
from .sending import PartnerCall

FINIX = "finix"

# https://docs.finix.com/api/section/authentication
HOSTS = {
    "sandbox": "https://finix.sandbox-payments-api.com",
    "production": "https://finix.live-payments-api.com",
}
VERSION = "2022-02-01"

_PAGE = "100"
_MOST_PAGES = 50

UNKNOWN = (
    "Finix may have made a payment instrument, and the same call again could make a second one: "
    "look among payment_instruments(identity) for the account, and use what is there; if it is "
    "not there after a while, call again with again=True."
)


@frozen(kw_only=True)
class PaymentInstrument:
    """A payment instrument of Finix's.

    Attributes:
        id: Finix's id, for ``source`` of a transfer or authorization.
        identity: the identity that it belongs to, for good.
        type: such as ``BANK_ACCOUNT``.
        third_party: where it comes from, such as ``PLAID``.
        masked_account_number: the last digits of the account, where Finix tells them.
        bank_account_validation_check: such as ``VALID`` or ``INCONCLUSIVE``, where Finix tells it.
        raw: all that Finix answered.
    """

    id: str
    identity: str | None = None
    type: str | None = None
    third_party: str | None = None
    masked_account_number: str | None = None
    bank_account_validation_check: str | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False, eq=False, hash=False)

    @classmethod
    def from_answer(
        cls, data: Mapping[str, Any], secrets: tuple[str, ...] = ()
    ) -> PaymentInstrument:
        """Read what Finix answered; tokens that it echoes are masked.

        Raises:
            ValueError: it has no id.
        """
        instrument_id = answers.text(data, "id")
        if instrument_id is None:
            raise ValueError("a payment instrument needs an id")
        masked = _masked(data, secrets)
        names = ("identity", "type", "third_party", "bank_account_validation_check")
        return cls(
            id=instrument_id,
            masked_account_number=answers.text(masked, "masked_account_number"),
            raw=masked,
            **{name: answers.text(masked, name) for name in names},
        )


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        return {key: _masked(each, secrets) for key, each in value.items()}
    return [_masked(each, secrets) for each in value] if isinstance(value, list) else value


def payment_instrument(
    token: ProcessorToken | str,
    *,
    identity: str,
    credentials: tuple[str, str] | None = None,
    version: str = VERSION,
) -> HandoffRequest:
    """``POST /payment_instruments``: the request that hands a token to Finix.

    It is **not idempotent**: sent twice, it makes two instruments.

    Args:
        token: Finix's processor token.
        identity: Finix's id of the identity that the account belongs to (``ID…``), for good.
        credentials: Finix's user name and password; None leaves the authentication to you.
        version: Finix's API version.

    Raises:
        ConfigurationError: the token is no processor token, or one for another partner.
    """
    body = {
        "identity": _checked_id("identity", identity),
        # Confirmed by public code of third parties only: Finix's published description is older.
        "third_party": "PLAID",
        "third_party_token": token_text(token, FINIX),
        "type": "BANK_ACCOUNT",
    }
    return HandoffRequest(
        method="POST",
        path="/payment_instruments",
        headers={"Content-Type": "application/json", **_headers(credentials, version)},
        json=body,
    )


def instruments_of(
    identity: str,
    *,
    credentials: tuple[str, str] | None = None,
    version: str = VERSION,
    after: str | None = None,
) -> HandoffRequest:
    """``GET /payment_instruments`` of one identity: what there is already."""
    query = {"owner_identity_id": _checked_id("identity", identity), "limit": _PAGE}
    return HandoffRequest(
        method="GET",
        path="/payment_instruments",
        headers=_headers(credentials, version),
        query={**query, "after_cursor": after} if after else query,
    )


def _headers(credentials: tuple[str, str] | None, version: str) -> dict[str, str]:
    headers = {"Accept": "application/hal+json", "Finix-Version": version}
    return {**headers, "Authorization": basic(*credentials)} if credentials else headers


def _checked_id(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be Finix's id of it, such as 'ID…'")
    return value


def faults(body: Json) -> list[PartnerFault]:
    """The errors that an answer of Finix's lists.

    https://docs.finix.com/additional-resources/developers/implementation-and-testing/error-codes
    """
    embedded = body.get("_embedded")
    listed = embedded.get("errors") if isinstance(embedded, dict) else None
    return [
        PartnerFault(
            code=answers.text(each, "code"),
            message=answers.text(each, "message"),
            field=answers.text(each, "field"),
        )
        for each in answers.objects(listed)
    ]


def may_be(instrument: PaymentInstrument, token: ProcessorToken | str) -> bool:
    """Whether an instrument may be of the token's account; where it cannot be told, it may.

    A few banks give each partner another number, so there the last digits prove nothing.
    """
    if instrument.type not in (None, "BANK_ACCOUNT"):
        return False
    shown = "".join(filter(str.isdigit, instrument.masked_account_number or ""))[-4:]
    mask = token.account.mask if isinstance(token, ProcessorToken) else None
    if not shown or not mask or not mask.isdigit():
        return True
    if isinstance(token, ProcessorToken) and token.account.persistent_account_id:
        return True
    return shown.endswith(mask[-4:]) or mask.endswith(shown)


@frozen(kw_only=True)
class FinixSettings:
    """Who asks Finix, and where."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    environment: str
    base_url: str
    version: str = VERSION

    @property
    def credentials(self) -> tuple[str, str]:
        """The user name and the password."""
        return self.username, self.password

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in any text."""
        return self.password, basic(*self.credentials).removeprefix("Basic ")


async def list_instruments(
    call: PartnerCall, settings: FinixSettings, identity: str
) -> tuple[PaymentInstrument, ...]:
    """All payment instruments of an identity."""
    found: list[PaymentInstrument] = []
    after: str | None = None
    for _ in range(_MOST_PAGES):
        request = instruments_of(
            identity, credentials=settings.credentials, version=settings.version, after=after
        )
        came = await call.ask(request, settings.base_url)
        body = answers.read(FINIX, request, came, faults, secrets=settings.secrets)
        page_of = _instruments(body, request, came, settings)
        for each in page_of:
            _check_identity(each, identity, request, came)
        found += page_of
        page = body.get("page")
        after = answers.text(page, "next_cursor") if isinstance(page, dict) else None
        if after is None:
            return tuple(found)
    raise HandoffRefusedError(
        f"identity {identity} has too many payment instruments to look through",
        partner=FINIX,
        advice="Look for the account yourself; again=True sends without looking.",
    )


def _instruments(
    body: Json, request: HandoffRequest, came: HttpOutcome, settings: FinixSettings
) -> list[PaymentInstrument]:
    embedded = body.get("_embedded", {})  # an empty list may come without it
    listed = embedded.get("payment_instruments", []) if isinstance(embedded, dict) else None
    if not isinstance(listed, list):
        raise answers.unusable(FINIX, request, came, "no list of instruments")
    return [
        PaymentInstrument.from_answer(each, settings.secrets)
        for each in answers.objects(listed)
        if answers.text(each, "id")
    ]


def _check_identity(
    instrument: PaymentInstrument, identity: str, request: HandoffRequest, came: HttpOutcome
) -> None:
    """Refuse an answer to another question: it may be another customer's."""
    if instrument.identity not in (None, identity):
        raise answers.unusable(FINIX, request, came, "about another identity", UNKNOWN)


async def create_instrument(
    call: PartnerCall, settings: FinixSettings, token: ProcessorToken | str, identity: str
) -> PaymentInstrument:
    """One request, sent once, whatever comes of it."""
    check_environment(token_text(token, FINIX), settings.environment, FINIX)
    request = payment_instrument(
        token, identity=identity, credentials=settings.credentials, version=settings.version
    )
    secrets = (*settings.secrets, token_text(token, FINIX))
    came = await call.ask(request, settings.base_url)
    body = answers.read(FINIX, request, came, faults, secrets=secrets, unknown_advice=UNKNOWN)
    try:
        instrument = PaymentInstrument.from_answer(body, secrets)
    except ValueError:
        instrument = None
    if instrument is None:
        raise answers.unusable(FINIX, request, came, "without an id", UNKNOWN)
    _check_identity(instrument, identity, request, came)
    return instrument


async def hand_over(
    call: PartnerCall,
    settings: FinixSettings,
    token: ProcessorToken | str,
    identity: str,
    *,
    again: bool,
) -> PaymentInstrument:
    """Look whether the account is there already; if not, or by the caller's word, create it.

    Raises:
        HandoffRefusedError: an instrument of the identity may be of this account.
    """
    check_environment(token_text(token, FINIX), settings.environment, FINIX)
    if not again:
        there = await list_instruments(call, settings, identity)
        if same := [each for each in there if may_be(each, token)]:
            raise already_there(identity, same)
    return await create_instrument(call, settings, token, identity)


def already_there(
    identity: str, instruments: list[PaymentInstrument], *, unknown: bool = False
) -> HandoffRefusedError:
    """The refusal to make what may be a second instrument."""
    ids = ", ".join(each.id for each in instruments) or "none that can be told"
    earlier = "; what came of an earlier call for it is unknown" if unknown else ""
    return HandoffRefusedError(
        f"identity {identity} may have this bank account already ({ids}){earlier}",
        partner=FINIX,
        existing=instruments,
        outcome_unknown=unknown,
        advice=(
            "Nothing was sent. payment_instruments(identity) lists what is there: use it, or pass "
            "again=True for another instrument."
        ),
    )
