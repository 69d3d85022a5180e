"""The requests of this workflow: what is asked of Plaid, and how each answer is read. Pure.

Answers are read tolerantly: only what the workflow cannot do without is demanded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from attrs import field, frozen

from ..adapters.lifetimes import LIFETIMES, STRIPE
from ..errors import PlaidConnectionError
from ..results import Account, LinkToken, ProcessorToken, StripeBankAccountToken, as_accounts
from ..sessions import LinkSession, read_session

T = TypeVar("T")

EXCHANGE = "/item/public_token/exchange"
_SECRET_FIELDS = ("access_token", "public_token", "processor_token", "link_token")


@frozen(kw_only=True)
class PlaidAnswer:
    """A successful answer of Plaid's.

    Attributes:
        endpoint: the path that was asked.
        body: its JSON object.
        received_at: when it came, in UTC.
    """

    endpoint: str
    body: Mapping[str, object] = field(repr=False)
    received_at: datetime

    def optional(self, name: str) -> str | None:
        """A text of the answer, or None where it is missing or null."""
        value = self.body.get(name)
        return value if isinstance(value, str) and value else None

    def text(self, name: str, *, advice: str | None = None) -> str:
        """A text of the answer that the workflow cannot do without.

        Raises:
            PlaidConnectionError: it is missing.
        """
        value = self.optional(name)
        if value is None:
            raise self.unusable(name, advice=advice)
        return value

    def unusable(self, name: str, *, advice: str | None = None) -> PlaidConnectionError:
        """The error for a field that is missing or cannot be read."""
        return PlaidConnectionError(
            f"its answer has no usable {name!r}",
            endpoint=self.endpoint,
            request_id=self.optional("request_id"),
            outcome_unknown=True,
            advice=advice,
        )


@frozen(kw_only=True)
class PlaidRequest(Generic[T]):
    """One request to Plaid, and the reader of its answer.

    Attributes:
        endpoint: the path.
        body: the JSON object, without the keys.
        read: makes the value of the answer, or raises PlaidConnectionError.
        once: whether its answer, if lost, cannot be had again.
        sent: called on a thread when one that is `once` is being sent, or None.
    """

    endpoint: str
    body: Mapping[str, object] = field(repr=False)
    read: Callable[[PlaidAnswer], T]
    once: bool = False
    sent: Callable[[], None] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens that it sends, which must not show in what is said of it."""
        return tuple(str(self.body[name]) for name in _SECRET_FIELDS if self.body.get(name))


def create_link_token(body: Mapping[str, object]) -> PlaidRequest[LinkToken]:
    """``/link/token/create``."""
    return PlaidRequest(endpoint="/link/token/create", body=body, read=_link_token)


def _link_token(answer: PlaidAnswer) -> LinkToken:
    return LinkToken(
        link_token=answer.text("link_token"),
        expiration=_moment(answer, "expiration"),
        request_id=answer.optional("request_id"),
        hosted_link_url=answer.optional("hosted_link_url"),
    )


def _moment(answer: PlaidAnswer, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(answer.text(name))
    except ValueError:
        raise answer.unusable(name) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def get_link_session(link_token: str) -> PlaidRequest[LinkSession]:
    """``/link/token/get``: how Link went."""
    return PlaidRequest(
        endpoint="/link/token/get", body={"link_token": link_token}, read=_link_session
    )


def _link_session(answer: PlaidAnswer) -> LinkSession:
    try:
        return read_session(answer.body.get("link_sessions"), answer.optional("request_id"))
    except (TypeError, ValueError):
        raise answer.unusable("link_sessions") from None


def create_sandbox_public_token(
    institution_id: str, products: Sequence[str], options: Mapping[str, object] | None
) -> PlaidRequest[str]:
    """``/sandbox/public_token/create``: a bank linked without Link."""
    body: dict[str, object] = {
        "institution_id": institution_id,
        "initial_products": list(products),
    }
    if options is not None:  # Plaid's description: options "must not be null".
        body["options"] = dict(options)
    return PlaidRequest(
        endpoint="/sandbox/public_token/create",
        body=body,
        read=lambda answer: answer.text("public_token"),
    )


def exchange(
    public_token: str,
    land: Callable[[str, str | None, str | None], None],
    sent: Callable[[], None],
) -> PlaidRequest[None]:
    """``/item/public_token/exchange``: makes the Item. ``item_id`` is optional in the answer.

    Args:
        public_token: what Link gave.
        land: takes the access token, the Item's id and the request's id, as soon as they are read.
        sent: called when it is being sent.
    """
    return PlaidRequest(
        endpoint=EXCHANGE,
        body={"public_token": public_token},
        read=lambda answer: land(
            answer.text("access_token"), answer.optional("item_id"), answer.optional("request_id")
        ),
        once=True,
        sent=sent,
    )


def get_accounts(access_token: str) -> PlaidRequest[tuple[Account, ...]]:
    """``/accounts/get``."""
    return PlaidRequest(
        endpoint="/accounts/get", body={"access_token": access_token}, read=_accounts
    )


def _accounts(answer: PlaidAnswer) -> tuple[Account, ...]:
    accounts = answer.body.get("accounts")
    if not isinstance(accounts, list):
        raise answer.unusable("accounts")
    usable = [each for each in accounts if _has_an_id(each)]
    if accounts and not usable:
        raise answer.unusable("accounts")
    return as_accounts(usable)


def _has_an_id(account: object) -> bool:
    # One odd entry must not lose the others of its Item.
    try:
        return isinstance(account, Mapping) and bool(Account.from_mapping(account))
    except ValueError:
        return False


def create_processor_token(
    processor: str, access_token: str, account: Account
) -> PlaidRequest[ProcessorToken]:
    """``/processor/token/create``: one partner, one account; Stripe has an endpoint of its own."""
    if processor == STRIPE:
        return _create_stripe_token(access_token, account)
    return PlaidRequest(
        endpoint="/processor/token/create",
        body={
            "access_token": access_token,
            "account_id": account.account_id,
            "processor": processor,
        },
        read=lambda answer: ProcessorToken(
            processor=processor,
            account=account,
            processor_token=answer.text("processor_token"),
            request_id=answer.optional("request_id"),
            issued_at=answer.received_at,
            expires_at=_end(processor, answer.received_at),
        ),
    )


def _end(processor: str, issued_at: datetime) -> datetime | None:
    """When a partner's token ends, for the partners whose tokens do."""
    lifetime = LIFETIMES.get(processor)
    return None if lifetime is None else issued_at + lifetime


def _create_stripe_token(access_token: str, account: Account) -> PlaidRequest[ProcessorToken]:
    """``/processor/stripe/bank_account_token/create``."""
    return PlaidRequest(
        endpoint="/processor/stripe/bank_account_token/create",
        body={"access_token": access_token, "account_id": account.account_id},
        read=lambda answer: StripeBankAccountToken(
            processor=STRIPE,
            account=account,
            processor_token=answer.text("stripe_bank_account_token", advice=_STRIPE_ADVICE),
            request_id=answer.optional("request_id"),
            issued_at=answer.received_at,
        ),
    )


# "Stripe bank account token not returned", https://plaid.com/docs/auth/partnerships/stripe/
_STRIPE_ADVICE = (
    "Plaid leaves it out where the Stripe account and the Plaid account are not linked: link them "
    "at https://dashboard.plaid.com/developers/integrations."
)


def narrow(token: ProcessorToken, permissions: Sequence[str]) -> PlaidRequest[ProcessorToken]:
    """``/processor/token/permissions/set``: the token, good for these products only."""
    return PlaidRequest(
        endpoint="/processor/token/permissions/set",
        body={"processor_token": token.processor_token, "products": list(permissions)},
        read=lambda _answer: token,
    )


def remove_item(access_token: str) -> PlaidRequest[None]:
    """``/item/remove``: the Item and every partner's token of it are gone."""
    return PlaidRequest(
        endpoint="/item/remove", body={"access_token": access_token}, read=lambda _answer: None
    )
