"""The requests of this workflow: what is asked of Plaid, and how each answer is read. Pure.

Answers are read tolerantly: only what the workflow cannot do without is demanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Generic, TypeVar

from .adapters.lifetimes import LIFETIMES, STRIPE
from .errors import PlaidConnectionError
from .redaction import token_kind
from .results import Account, LinkToken, ProcessorToken, StripeBankAccountToken, as_accounts
from .sessions import LinkSession, read_session

T = TypeVar("T")

EXCHANGE = "/item/public_token/exchange"
_SECRET_FIELDS = ("access_token", "public_token", "processor_token", "link_token")


# Plain classes here and in the other rooms inside: making an attrs class takes a hundred times as
# long, which a cold start would pay for things that nobody compares or prints.


class Reply:
    """A successful answer of Plaid's: its JSON object, whence and when it came."""

    __slots__ = ("body", "endpoint", "received_at")

    def __init__(self, *, endpoint: str, body: Mapping[str, object], received_at: datetime) -> None:
        self.endpoint = endpoint
        self.body = body
        self.received_at = received_at

    def optional(self, name: str) -> str | None:
        """A text of the answer, or None where it is missing or null."""
        value = self.body.get(name)
        return value if isinstance(value, str) and value else None

    def text(self, name: str, *, advice: str | None = None) -> str:
        """A text of the answer that the workflow cannot do without."""
        value = self.optional(name)
        if value is None:
            raise self.unusable(name, advice=advice)
        return value

    def unusable(self, name: str, *, advice: str | None = None) -> PlaidConnectionError:
        """The error for the want of a usable field."""
        return PlaidConnectionError(
            f"its answer has no usable {name!r}",
            endpoint=self.endpoint,
            request_id=self.optional("request_id"),
            outcome_unknown=True,
            advice=advice,
        )


class Call(Generic[T]):
    """One request to Plaid, and the reader of its answer.

    Attributes:
        endpoint: the path.
        body: the JSON object, without the keys.
        read: makes the value of the answer, or raises PlaidConnectionError.
        irrevocable: whether its answer, if lost, cannot be had again.
        salvage: makes the value of an answer that is not usable, where that can still be done.
    """

    __slots__ = ("body", "endpoint", "irrevocable", "read", "salvage")

    def __init__(
        self,
        *,
        endpoint: str,
        body: Mapping[str, object],
        read: Callable[[Reply], T],
        irrevocable: bool = False,
        salvage: Callable[[bytes], T | None] = lambda _came: None,
    ) -> None:
        self.endpoint = endpoint
        self.body = body
        self.read = read
        self.irrevocable = irrevocable
        self.salvage = salvage

    @property
    def secrets(self) -> tuple[str, ...]:
        """The tokens that it sends, which must not show in what is told of it."""
        return tuple(str(self.body[name]) for name in _SECRET_FIELDS if self.body.get(name))


def create_link_token(body: Mapping[str, object]) -> Call[LinkToken]:
    """``/link/token/create``."""
    return Call(endpoint="/link/token/create", body=body, read=_link_token)


def _link_token(reply: Reply) -> LinkToken:
    return LinkToken(
        link_token=reply.text("link_token"),
        expiration=_moment(reply, "expiration"),
        request_id=reply.optional("request_id"),
        hosted_link_url=reply.optional("hosted_link_url"),
    )


def _moment(reply: Reply, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(reply.text(name))
    except ValueError:
        raise reply.unusable(name) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def get_link_session(link_token: str) -> Call[LinkSession]:
    """``/link/token/get``: how Link went."""
    return Call(endpoint="/link/token/get", body={"link_token": link_token}, read=_link_session)


def _link_session(reply: Reply) -> LinkSession:
    try:
        return read_session(reply.body.get("link_sessions"), reply.optional("request_id"))
    except (TypeError, ValueError):
        raise reply.unusable("link_sessions") from None


def create_sandbox_public_token(
    institution_id: str, products: Sequence[str], options: Mapping[str, object] | None
) -> Call[str]:
    """``/sandbox/public_token/create``: a bank linked without Link."""
    body: dict[str, object] = {
        "institution_id": institution_id,
        "initial_products": list(products),
    }
    if options is not None:  # Plaid's description: options "must not be null".
        body["options"] = dict(options)
    return Call(
        endpoint="/sandbox/public_token/create",
        body=body,
        read=lambda reply: reply.text("public_token"),
    )


def exchange(public_token: str, land: Callable[[str, str | None, str | None], T]) -> Call[T]:
    """``/item/public_token/exchange``: makes the Item.

    The Item's id is no more than a name: its want loses nothing, so it is not demanded. And an
    access token that came whole is taken even from an answer that is cut short.

    Args:
        public_token: what Link gave.
        land: takes the access token, the Item's id and the request's id, as soon as they are read.
    """

    def salvage(came: bytes) -> T | None:
        token = _quoted("access_token", came)
        kind = token_kind(token or "")
        if token is None or kind is None or kind[0] != "access":  # perhaps not Plaid's at all
            return None
        return land(token, _quoted("item_id", came), _quoted("request_id", came))

    return Call(
        endpoint=EXCHANGE,
        body={"public_token": public_token},
        read=lambda reply: land(
            reply.text("access_token"), reply.optional("item_id"), reply.optional("request_id")
        ),
        irrevocable=True,
        salvage=salvage,
    )


def _quoted(name: str, came: bytes) -> str | None:
    """A text in JSON that is not whole."""
    found = re.search(rf'"{name}"\s*:\s*"([^"\\]+)"', came.decode(errors="replace"))
    return None if found is None else found[1]


def get_accounts(access_token: str) -> Call[tuple[Account, ...]]:
    """``/accounts/get``."""
    return Call(endpoint="/accounts/get", body={"access_token": access_token}, read=_accounts)


def _accounts(reply: Reply) -> tuple[Account, ...]:
    accounts = reply.body.get("accounts")
    if not isinstance(accounts, list):
        raise reply.unusable("accounts")
    usable = [each for each in accounts if _has_an_id(each)]
    if accounts and not usable:
        raise reply.unusable("accounts")
    return as_accounts(usable)


def _has_an_id(account: object) -> bool:
    # One odd entry must not lose the others of its Item.
    try:
        return isinstance(account, Mapping) and bool(Account.from_mapping(account))
    except ValueError:
        return False


def create_processor_token(
    processor: str, access_token: str, account: Account
) -> Call[ProcessorToken]:
    """``/processor/token/create``: one partner, one account; Stripe has an endpoint of its own."""
    if processor == STRIPE:
        return _create_stripe_token(access_token, account)
    return Call(
        endpoint="/processor/token/create",
        body={
            "access_token": access_token,
            "account_id": account.account_id,
            "processor": processor,
        },
        read=lambda reply: ProcessorToken(
            processor=processor,
            account=account,
            processor_token=reply.text("processor_token"),
            request_id=reply.optional("request_id"),
            issued_at=reply.received_at,
            expires_at=_end(processor, reply.received_at),
        ),
    )


def _end(processor: str, issued_at: datetime) -> datetime | None:
    """When a partner's token ends, for the partners whose tokens do."""
    lifetime = LIFETIMES.get(processor)
    return None if lifetime is None else issued_at + lifetime


def _create_stripe_token(access_token: str, account: Account) -> Call[ProcessorToken]:
    """``/processor/stripe/bank_account_token/create``."""
    return Call(
        endpoint="/processor/stripe/bank_account_token/create",
        body={"access_token": access_token, "account_id": account.account_id},
        read=lambda reply: StripeBankAccountToken(
            processor=STRIPE,
            account=account,
            processor_token=reply.text("stripe_bank_account_token", advice=_STRIPE_ADVICE),
            request_id=reply.optional("request_id"),
            issued_at=reply.received_at,
        ),
    )


# "Stripe bank account token not returned", https://plaid.com/docs/auth/partnerships/stripe/
_STRIPE_ADVICE = (
    "Plaid leaves it out where the Stripe account and the Plaid account are not linked: link them "
    "at https://dashboard.plaid.com/developers/integrations."
)


def narrow(token: ProcessorToken, permissions: Sequence[str]) -> Call[ProcessorToken]:
    """``/processor/token/permissions/set``: the token, good for these products only."""
    return Call(
        endpoint="/processor/token/permissions/set",
        body={"processor_token": token.processor_token, "products": list(permissions)},
        read=lambda _reply: token,
    )


def remove_item(access_token: str) -> Call[None]:
    """``/item/remove``: the Item and every partner's token of it are gone."""
    return Call(
        endpoint="/item/remove", body={"access_token": access_token}, read=lambda _reply: None
    )
