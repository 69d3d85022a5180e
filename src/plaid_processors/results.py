"""The values that go in and come out: frozen, hashable, picklable, and silent about secrets.

What Plaid sends is read tolerantly: fields that are unknown are ignored, enum values that are new
are kept, and null stands for "not given".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Self, TypeVar

import attrs
from attrs import field, frozen

from .redaction import fingerprint, mask_repr, redact

T = TypeVar("T")

RESULT_FORMAT = 1
"""The version that `LinkResult.to_dict` writes and `LinkResult.from_dict` reads."""


class Environment(StrEnum):
    """Plaid's environments (``development`` was shut down in June 2024)."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


def _environment(value: Environment | str) -> Environment:
    try:
        return Environment(value)
    except ValueError:
        raise ValueError("environment must be 'sandbox' or 'production'") from None


def _tuple_of(kinds: tuple[type[T], ...], name: str, values: Iterable[T]) -> tuple[T, ...]:
    read = () if isinstance(values, str) else tuple(values)
    if isinstance(values, str) or not all(isinstance(each, kinds) for each in read):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{name} must be a sequence of {names}")
    return read


def _check(self: attrs.AttrsInstance) -> None:
    """Each field is of its type: what is accepted can be stored, and read again.

    Not by attrs' validators, with which a class takes a third longer to make.
    """
    for name, check, optional in _checks(type(self)):
        value = getattr(self, name)
        if not (optional and value is None):
            check(name, value)


@frozen(kw_only=True)
class Account:
    """A bank account of an Item, as Link or ``/accounts/get`` tells it.

    Attributes:
        account_id: Plaid's id (Link calls it ``id``); case-sensitive, and it may change.
        name: the account's name, by the user or the bank.
        official_name: the bank's own name for it.
        mask: the last two to four characters of its number; two accounts may share one.
        type: ``depository``, ``credit``, ``loan``, ``investment``, … as Plaid sent it.
        subtype: ``checking``, ``savings``, ``credit card``, … as Plaid sent it.
        verification_status: the state of a micro-deposit or database verification, if any.
        persistent_account_id: an id that survives linking again, at the few banks that have one.
        holder_category: ``personal``, ``business`` or ``unrecognized``, where Plaid tells.
    """

    account_id: str
    name: str | None = None
    official_name: str | None = None
    mask: str | None = None
    type: str | None = None
    subtype: str | None = None
    verification_status: str | None = None
    persistent_account_id: str | None = None
    holder_category: str | None = None

    __attrs_post_init__ = _check

    @classmethod
    def from_mapping(cls, data: Mapping[str, object]) -> Self:
        """Read what Link (``id``) or ``/accounts/get`` (``account_id``) says of an account.

        Raises:
            ValueError: it has no id.
        """
        account_id = _text(data, "account_id") or _text(data, "id")
        if account_id is None:
            raise ValueError("an account needs an 'id' (Link) or an 'account_id' (/accounts/get)")
        others = (name for name in _ACCOUNT_FIELDS if name != "account_id")
        return cls(account_id=account_id, **{name: _text(data, name) for name in others})

    @property
    def label(self) -> str:
        """A short name for messages: the subtype and the mask."""
        return f"{self.subtype or self.type or 'account'} …{self.mask or self.account_id[-4:]}"


_ACCOUNT_FIELDS = tuple(attribute.name for attribute in attrs.fields(Account))


def _text(data: Mapping[str, object], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def as_accounts(accounts: Iterable[Account | Mapping[str, object]]) -> tuple[Account, ...]:
    """Typed accounts, in their order, each id once.

    Raises:
        TypeError: not an iterable of accounts or mappings.
        ValueError: one has no id.
    """
    if isinstance(accounts, (str, bytes, Mapping)) or not isinstance(accounts, Iterable):
        raise TypeError(
            "accounts must be a list of Account objects or mappings, such as Link's "
            f"metadata['accounts'], not {type(accounts).__name__}"
        )
    by_id: dict[str, Account] = {}
    for position, account in enumerate(accounts):
        read = _as_account(account, position)
        by_id.setdefault(read.account_id, read)
    return tuple(by_id.values())


def _as_account(account: object, position: int) -> Account:
    if isinstance(account, Account):
        return account
    if not isinstance(account, Mapping):
        raise TypeError(
            f"accounts[{position}] must be an Account or a mapping, not {type(account).__name__}"
        )
    try:
        return Account.from_mapping(account)
    except ValueError as error:
        raise ValueError(f"accounts[{position}]: {error}") from None


@frozen(kw_only=True)
class LinkToken:
    """What the browser opens Link with (``/link/token/create``).

    Attributes:
        link_token: the token; four hours valid, thirty minutes in update mode.
        expiration: when it ends, with its time zone.
        request_id: what Plaid's support asks for.
        hosted_link_url: the page to send the user to, where Hosted Link was asked for.
    """

    link_token: str = field(repr=mask_repr)
    expiration: datetime
    request_id: str | None = None
    # The address lets whoever has it go through Link.
    hosted_link_url: str | None = field(default=None, repr=False)

    __attrs_post_init__ = _check


@frozen(kw_only=True)
class LinkedItem:
    """A linked Item, the moment it exists (``/item/public_token/exchange``).

    Attributes:
        access_token: the key to the Item; keep it, for nothing else can use or remove the Item.
        item_id: Plaid's id of the Item.
        request_id: what Plaid's support asks for.
        environment: ``sandbox`` or ``production``.
        institution_id: the bank, where Link's metadata told it.
        institution_name: its name, likewise.
        link_session_id: the Link session, likewise.
    """

    access_token: str = field(repr=mask_repr)
    item_id: str | None = None
    request_id: str | None = None
    environment: Environment = field(converter=_environment)
    institution_id: str | None = None
    institution_name: str | None = None
    link_session_id: str | None = None

    __attrs_post_init__ = _check


@frozen(kw_only=True)
class ProcessorToken:
    """The right of one partner to one account (``/processor/token/create``).

    Attributes:
        processor: Plaid's name of the partner.
        account: the account that the token opens.
        processor_token: the token, for the partner.
        request_id: what Plaid's support asks for.
        issued_at: when the answer came, in UTC.
        expires_at: when it ends, for the partners whose tokens do.
    """

    processor: str
    account: Account
    processor_token: str = field(repr=mask_repr)
    request_id: str | None = None
    issued_at: datetime
    expires_at: datetime | None = None

    __attrs_post_init__ = _check

    @property
    def key(self) -> tuple[str, str]:
        """The partner and the account's id."""
        return self.processor, self.account.account_id

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name the token in logs and tickets."""
        return fingerprint(self.processor_token)

    @property
    def single_use(self) -> bool:
        """Whether it is good for one use only, as Stripe's is."""
        return False


class StripeBankAccountToken(ProcessorToken):
    """Stripe's own token for one account (``/processor/stripe/bank_account_token/create``).

    It is good for one use, at Stripe; ``processor_token`` and ``stripe_bank_account_token`` are the
    same text. The attributes are those of `ProcessorToken`.
    """

    __slots__ = ()

    @property
    def stripe_bank_account_token(self) -> str:
        """The token, by the name that Plaid gives it."""
        return self.processor_token

    @property
    def single_use(self) -> bool:
        """It is: for another use, issue another."""
        return True


@frozen(kw_only=True)
class PendingToken:
    """A processor token that is still missing, or that could not be narrowed yet.

    Attributes:
        processor: Plaid's name of the partner.
        account: the account that it is for.
        error_code: Plaid's code, or the kind of failure; None if it was not asked for yet.
        error_message: what was said about it.
        permissions: the products to narrow the token to, where that was asked for.
        unnarrowed: the token, where it was issued and the narrowing failed: it still opens all of
            the Item's products, so it is not among ``processor_tokens``.
    """

    processor: str
    account: Account
    error_code: str | None = None
    error_message: str | None = None
    permissions: tuple[str, ...] | None = None
    unnarrowed: ProcessorToken | None = None

    __attrs_post_init__ = _check

    @property
    def key(self) -> tuple[str, str]:
        """The partner and the account's id."""
        return self.processor, self.account.account_id


def _ids(values: Iterable[str] | None) -> tuple[str, ...] | None:
    read = None if values is None else _tuple_of((str,), "account_ids", values)
    if read is not None and not all(read):
        raise ValueError("account_ids must not hold an empty id")
    return read


@frozen(kw_only=True)
class PendingPartner:
    """A partner whose accounts are not chosen yet.

    Attributes:
        processor: Plaid's name of the partner.
        account_ids: the accounts asked for, or None to go by the partner's rule.
        first_fitting: whether a partner of one account gets the first that its rule allows.
        permissions: the products to narrow its tokens to, where that was asked for.
    """

    processor: str
    account_ids: tuple[str, ...] | None = field(default=None, converter=_ids)
    first_fitting: bool = False
    permissions: tuple[str, ...] | None = None

    __attrs_post_init__ = _check


def _entries(
    values: Iterable[ProcessorToken | PendingToken],
) -> tuple[ProcessorToken | PendingToken, ...]:
    return _tuple_of((ProcessorToken, PendingToken), "entries", values)


def _partners(values: Iterable[PendingPartner]) -> tuple[PendingPartner, ...]:
    return _tuple_of((PendingPartner,), "unselected", values)


@frozen(kw_only=True)
class LinkResult:
    """What a link has come to: the Item's key and the partners' tokens.

    Attributes:
        access_token: the key to the Item; keep it.
        item_id: Plaid's id of the Item; None after `issue` where it was not known.
        environment: ``sandbox`` or ``production``.
        request_id: of the exchange; what Plaid's support asks for.
        entries: the tokens, those that came and those that are missing, by partner, then account.
        unselected: the partners whose accounts could not be chosen yet.
        institution_id: the bank, where Link's metadata told it.
        institution_name: its name, likewise.
        link_session_id: the Link session, likewise.
    """

    access_token: str = field(repr=mask_repr)
    item_id: str | None = None
    environment: Environment = field(converter=_environment)
    request_id: str | None = None
    entries: tuple[ProcessorToken | PendingToken, ...] = field(default=(), converter=_entries)
    unselected: tuple[PendingPartner, ...] = field(default=(), converter=_partners)
    institution_id: str | None = None
    institution_name: str | None = None
    link_session_id: str | None = None

    __attrs_post_init__ = _check

    @property
    def processor_tokens(self) -> tuple[ProcessorToken, ...]:
        """The tokens that came, ordered by partner, then account."""
        return tuple(each for each in self.entries if isinstance(each, ProcessorToken))

    @property
    def pending(self) -> tuple[PendingToken, ...]:
        """The tokens that are missing, in the same order."""
        return tuple(each for each in self.entries if isinstance(each, PendingToken))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.pending and not self.unselected

    def token(self, processor: str) -> ProcessorToken:
        """The one token for a partner.

        Raises:
            ValueError: there is none, or more than one.
        """
        found = [token for token in self.processor_tokens if token.processor == processor]
        if len(found) != 1:
            there = dict.fromkeys(token.processor for token in self.processor_tokens)
            raise ValueError(
                f"{len(found)} tokens for {redact(str(processor))!r}, not one; "
                f"processor_tokens has tokens for {', '.join(there) or 'no partner'}"
            )
        return found[0]

    def merge(self, other: LinkResult) -> LinkResult:
        """Both results of one Item as one; the newer token of an account wins.

        The access token is the one of ``other``: merge the later result into the earlier.

        Raises:
            TypeError: the other is not a result.
            ValueError: they are of different Items.
        """
        if not isinstance(other, LinkResult):
            raise TypeError(f"other must be a LinkResult, not {type(other).__name__}")
        if not self._same_item(other):
            raise ValueError("only results of the same Item can be merged")
        entries = _merged((*self.entries, *other.entries))
        chosen = {entry.processor for entry in entries}
        unselected = {each.processor: each for each in (*self.unselected, *other.unselected)}
        return attrs.evolve(
            other,
            item_id=other.item_id or self.item_id,
            request_id=other.request_id or self.request_id,
            entries=entries,
            unselected=tuple(each for name, each in unselected.items() if name not in chosen),
            institution_id=other.institution_id or self.institution_id,
            institution_name=other.institution_name or self.institution_name,
            link_session_id=other.link_session_id or self.link_session_id,
        )

    def _same_item(self, other: LinkResult) -> bool:
        if self.environment is not other.environment:
            return False
        if self.item_id and other.item_id:
            return self.item_id == other.item_id
        return self.access_token == other.access_token

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready form, **tokens included**: encrypt it before it is stored."""
        data = attrs.asdict(self, value_serializer=_to_json)
        return {"format": RESULT_FORMAT, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinkResult:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: it is not such a form, or one of another version.
        """
        return stored.from_dict(data)


def _merged(
    entries: Iterable[ProcessorToken | PendingToken],
) -> tuple[ProcessorToken | PendingToken, ...]:
    """One entry for each partner and account: a token before its want, the newer token."""
    best: dict[tuple[str, str], ProcessorToken | PendingToken] = {}
    for entry in entries:
        rival = best.get(entry.key)
        if rival is None or _beats(entry, rival):
            best[entry.key] = entry
    partners = list(dict.fromkeys(processor for processor, _ in best))
    return tuple(sorted(best.values(), key=lambda entry: partners.index(entry.processor)))


def _beats(entry: ProcessorToken | PendingToken, rival: ProcessorToken | PendingToken) -> bool:
    if isinstance(rival, PendingToken):
        # A token that was issued already is not lost to a want that came to less.
        return not isinstance(entry, PendingToken) or bool(entry.unnarrowed or not rival.unnarrowed)
    return isinstance(entry, ProcessorToken) and entry.issued_at >= rival.issued_at


def _to_json(_owner: object, _field: object, value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Environment):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _a_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty")


def _a_moment(name: str, value: object) -> None:
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValueError(f"{name} must have a time zone")


def _an(kind: type) -> _Check:
    def check(name: str, value: object) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")

    return check


_Check = Callable[[str, object], None]

# By the words of the annotation: the check, and whether None is one of its values.
_CHECKS: dict[Any, tuple[_Check, bool]] = {
    "str": (_a_text, False),
    "str | None": (_an(str), True),
    "datetime": (_a_moment, False),
    "datetime | None": (_a_moment, True),
    "bool": (_an(bool), False),
    "Account": (_an(Account), False),
    "ProcessorToken | None": (_an(ProcessorToken), True),
}


@cache
def _checks(cls: type[attrs.AttrsInstance]) -> list[tuple[str, _Check, bool]]:
    own = next(each for each in cls.__mro__ if each.__module__ == __name__)  # not a user's subclass
    checked = (each for each in attrs.fields(own) if each.type in _CHECKS)
    return [(each.name, *_CHECKS[each.type]) for each in checked]


# Its reader needs these classes. Loaded with them and not when it is first asked, since to go on
# with what was achieved must be possible when files run out, too.
from . import stored  # noqa: E402
