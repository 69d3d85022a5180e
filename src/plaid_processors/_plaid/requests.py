"""The requests of this workflow: what is asked of Plaid, and how each answer is read. Pure.

Answers are read tolerantly: only the fields that the workflow needs are required.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from attrs import evolve, field, frozen

from ..adapters.catalogue import LIFETIMES, STRIPE
from ..errors import PlaidConnectionError
from ..results import (
    Account,
    Environment,
    LinkedItem,
    LinkToken,
    ProcessorToken,
    StripeBankAccountToken,
    as_accounts,
    text_in,
    time_in,
)
from ..sessions import LinkSession, NoPublicTokenError, read_session
from ..webhooks.keys import WebhookKey
from ..webhooks.verify import read_key
from .codes import meaning_of

T_co = TypeVar("T_co", covariant=True)
Body = Mapping[str, object]

EXCHANGE = "/item/public_token/exchange"
WEBHOOK_KEY = "/webhook_verification_key/get"
_SECRET_FIELDS = ("access_token", "public_token", "processor_token", "link_token")


@frozen
class PlaidRequest(Generic[T_co]):
    """One request to Plaid, and the reader of its answer, which may raise PlaidConnectionError."""

    endpoint: str
    body: Body = field(repr=False)
    read: Callable[[Body], T_co]
    once: bool = False  # see `Errand`
    on_sent: Callable[[], None] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens in its body, to be masked in all texts."""
        return tuple(str(self.body[name]) for name in _SECRET_FIELDS if self.body.get(name))


def _text(answer: Body, name: str, advice: str = "") -> str:
    value = text_in(answer, name)
    if value is None:
        raise _unusable(name, advice)
    return value


def _unusable(name: str, advice: str = "") -> PlaidConnectionError:
    """With advice, it is for the caller to mend: the same request would bring the same answer."""
    return PlaidConnectionError(
        f"its answer has no usable {name!r}",
        outcome_unknown=True,
        advice=advice,
        retryable=not advice,
    )


def create_link_token(body: Body) -> PlaidRequest[LinkToken]:
    def read(answer: Body) -> LinkToken:
        expiration = time_in(answer, "expiration")
        if expiration is None:
            raise _unusable("expiration")
        link_token = _text(answer, "link_token")
        if body.get("hosted_link") is not None:
            _text(answer, "hosted_link_url", _NO_HOSTED_LINK)
        return LinkToken(
            link_token=link_token,
            expiration=expiration,
            request_id=text_in(answer, "request_id"),
            hosted_link_url=text_in(answer, "hosted_link_url"),
        )

    return PlaidRequest("/link/token/create", body, read)


# https://github.com/plaid/plaid-python/issues/524
_NO_HOSTED_LINK = (
    "Hosted Link was asked for, but is not enabled for your team: ask your account manager at "
    "Plaid or its support (https://dashboard.plaid.com/support) for it, or leave hosted_link out."
)


def get_link_session(link_token: str) -> PlaidRequest[LinkSession]:
    return PlaidRequest("/link/token/get", {"link_token": link_token}, _link_session)


def _link_session(answer: Body) -> LinkSession:
    try:
        return read_session(answer.get("link_sessions"), text_in(answer, "request_id"))
    except NoPublicTokenError:
        advice = "Take it from the webhook SESSION_FINISHED, or let the user go through Link again."
        raise _unusable("public_token", advice) from None
    except (TypeError, ValueError):
        raise _unusable("link_sessions") from None


def create_sandbox_public_token(
    institution_id: str, products: Sequence[str], options: Body | None
) -> PlaidRequest[str]:
    body: dict[str, object] = {"institution_id": institution_id, "initial_products": products}
    if options is not None:  # Plaid's description: options "must not be null".
        body["options"] = options
    return PlaidRequest(
        "/sandbox/public_token/create", body, lambda answer: _text(answer, "public_token")
    )


def exchange(
    public_token: str,
    environment: Environment,
    origin: Mapping[str, str | None],
    keep_item: Callable[[LinkedItem], None],
    on_sent: Callable[[], None],
) -> PlaidRequest[None]:
    """Makes the Item. ``keep_item`` and ``on_sent`` are called on a thread; see `Progress`."""

    def read(answer: Body) -> None:
        keep_item(
            LinkedItem(
                access_token=_text(answer, "access_token"),
                item_id=text_in(answer, "item_id"),
                request_id=text_in(answer, "request_id"),
                environment=environment,
                **origin,
            )
        )

    body = {"public_token": public_token}
    return PlaidRequest(EXCHANGE, body, read, once=True, on_sent=on_sent)


def get_item(access_token: str) -> PlaidRequest[Body]:
    """The Item as Plaid describes it; of a broken one, its ``error`` says why."""

    def read(answer: Body) -> Body:
        item = answer.get("item")
        if not isinstance(item, Mapping):
            raise _unusable("item")
        return item

    return PlaidRequest("/item/get", {"access_token": access_token}, read)


def get_accounts(access_token: str) -> PlaidRequest[tuple[Account, ...]]:
    return PlaidRequest("/accounts/get", {"access_token": access_token}, _accounts)


def _accounts(answer: Body) -> tuple[Account, ...]:
    accounts = answer.get("accounts")
    if not isinstance(accounts, list):
        raise _unusable("accounts")
    # One odd entry must not lose the others of its Item.
    usable = [
        each
        for each in accounts
        if isinstance(each, Mapping) and (text_in(each, "account_id") or text_in(each, "id"))
    ]
    if accounts and not usable:
        raise _unusable("accounts")
    return tuple(evolve(each, verified=True) for each in as_accounts(usable))


def create_processor_token(
    processor: str, access_token: str, account: Account
) -> PlaidRequest[ProcessorToken]:
    """The token of one partner for one account; Stripe's has an endpoint of its own."""
    body = {"access_token": access_token, "account_id": account.account_id}
    kind: type[ProcessorToken]
    if processor == STRIPE:
        endpoint, name = "/processor/stripe/bank_account_token/create", "stripe_bank_account_token"
        # "Stripe bank account token not returned", https://plaid.com/docs/auth/partnerships/stripe/
        kind, advice = StripeBankAccountToken, meaning_of("INVALID_STRIPE_ACCOUNT", "").advice
    else:
        endpoint, name = "/processor/token/create", "processor_token"
        kind, advice = ProcessorToken, ""
        body["processor"] = processor

    def read(answer: Body) -> ProcessorToken:
        issued_at, lifetime = datetime.now(UTC), LIFETIMES.get(processor)
        return kind(
            processor=processor,
            account=account,
            processor_token=_text(answer, name, advice),
            request_id=text_in(answer, "request_id"),
            issued_at=issued_at,
            expires_at=None if lifetime is None else issued_at + lifetime,
        )

    return PlaidRequest(endpoint, body, read)


def narrow(token: ProcessorToken, permissions: Sequence[str]) -> PlaidRequest[ProcessorToken]:
    """Limits the token to these products."""
    body = {"processor_token": token.processor_token, "products": permissions}
    narrowed = evolve(token, permissions=permissions)
    return PlaidRequest("/processor/token/permissions/set", body, lambda _answer: narrowed)


def remove_item(access_token: str, reason: Body) -> PlaidRequest[None]:
    body = {"access_token": access_token, **reason}
    return PlaidRequest("/item/remove", body, lambda _answer: None)


def get_webhook_key(key_id: str) -> PlaidRequest[WebhookKey]:
    return PlaidRequest(WEBHOOK_KEY, {"key_id": key_id}, _webhook_key)


def _webhook_key(answer: Body) -> WebhookKey:
    try:
        return read_key(answer)
    except ValueError:
        raise _unusable("key") from None
