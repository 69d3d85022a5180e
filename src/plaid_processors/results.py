"""The values that this package takes and returns: frozen, hashable, no secrets in their repr."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import attrs
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, min_len, optional

from .redaction import fingerprint, mask_repr, redact

AttrsT = TypeVar("AttrsT", bound=attrs.AttrsInstance)

RESULT_FORMAT = 1  # what `LinkResult.to_dict` writes and `LinkResult.from_dict` reads

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], Any]


def _instance_of(*kinds: type) -> _Validator:
    """Like `attrs.validators.instance_of`, whose message would show the value."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{attribute.name} must be of type {names}, not {type(value).__name__}")

    return check


def _has_time_zone(_instance: object, attribute: attrs.Attribute[Any], value: datetime) -> None:
    if value.tzinfo is None:
        raise ValueError(f"{attribute.name} must have a time zone")


_text: _Validator = and_(_instance_of(str), min_len(1))
_optional_text: _Validator = optional(_instance_of(str))
_texts: _Validator = optional(deep_iterable(_text, _instance_of(tuple)))
_moment: _Validator = and_(_instance_of(datetime), _has_time_zone)


def _as_texts(values: Iterable[str] | None) -> Iterable[str] | None:
    # A single text is left for the validator to refuse.
    return values if values is None or isinstance(values, str) else tuple(values)


class Environment(StrEnum):
    """Plaid's environments (``development`` was shut down in June 2024).

    Attributes:
        SANDBOX: ``sandbox``: made-up banks and users.
        PRODUCTION: ``production``: real ones.
    """

    SANDBOX = "sandbox"
    PRODUCTION = "production"


def _as_environment(value: Environment | str) -> Environment:
    # Checked here, because the enum's own error shows the value.
    if value not in list(Environment):
        raise ValueError("environment must be 'sandbox' or 'production'")
    return Environment(value)


@frozen(kw_only=True)
class Account:
    """A bank account of an Item, as Link or ``/accounts/get`` describes it.

    Attributes:
        account_id: Plaid's id (Link calls it ``id``); case-sensitive, and it may change.
        name: the account's name, by the user or the bank.
        official_name: the bank's own name for it.
        mask: the last two to four characters of its number; two accounts may share one.
        type: ``depository``, ``credit``, ``loan``, ``investment``, … as Plaid sent it.
        subtype: ``checking``, ``savings``, ``credit card``, … as Plaid sent it.
        verification_status: the state of a micro-deposit or database verification, if any.
        persistent_account_id: an id that survives linking again, at the few banks that have one.
        holder_category: ``personal``, ``business`` or ``unrecognized``, if Plaid sent it.
        verified: whether ``/accounts/get`` said this; False for what a browser or an app said.
    """

    account_id: str = field(validator=_text)
    name: str | None = field(default=None, validator=_optional_text)
    official_name: str | None = field(default=None, validator=_optional_text)
    mask: str | None = field(default=None, validator=_optional_text)
    type: str | None = field(default=None, validator=_optional_text)
    subtype: str | None = field(default=None, validator=_optional_text)
    verification_status: str | None = field(default=None, validator=_optional_text)
    persistent_account_id: str | None = field(default=None, validator=_optional_text)
    holder_category: str | None = field(default=None, validator=_optional_text)
    # Not compared: it is how the account is known, and not what it is.
    verified: bool = field(default=False, eq=False, validator=_instance_of(bool))

    @classmethod
    def from_mapping(cls, data: Mapping[str, object]) -> Self:
        """Read an account of Link's or of ``/accounts/get``; a ValueError if it has no id."""
        given_data: object = data
        if not isinstance(given_data, Mapping):
            raise TypeError(f"an account must be a mapping, not {type(data).__name__}")
        given = in_snake_case(data)
        values: dict[str, Any] = {
            each.name: text_in(given, each.name)
            for each in attrs.fields(Account)
            if each.name != "verified"  # a browser could send it
        }
        values["account_id"] = values["account_id"] or text_in(given, "id")
        if values["account_id"] is None:
            raise ValueError("it has no 'id' (Link) and no 'account_id' (/accounts/get)")
        return cls(**values)

    @property
    def label(self) -> str:
        """A short name for messages: the subtype and the mask."""
        return f"{self.subtype or self.type or 'account'} …{self.mask or self.account_id[-4:]}"


def text_in(data: Mapping[str, object], key: str) -> str | None:
    """The text under a key of Plaid's data; None where it is missing, empty or no text."""
    value = data.get(key)
    return value if isinstance(value, str) and value else None


def time_in(data: Mapping[str, object], key: str) -> datetime | None:
    """The time under a key of Plaid's data, in ISO 8601; None where there is none."""
    try:
        read = datetime.fromisoformat((text_in(data, key) or "").upper())
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def texts_in(data: Mapping[str, object], key: str) -> tuple[str, ...] | None:
    """The texts of a list under a key of Plaid's data; None where there is no list."""
    value = data.get(key)
    if not isinstance(value, list):
        return None
    return tuple(each for each in value if isinstance(each, str))


def in_snake_case(data: Mapping[Any, object]) -> dict[str, object]:
    """What Link said, by the names of its web SDK: its mobile SDKs write ``linkSessionId``."""
    return {
        _CAMEL_CASE.sub("_", key).lower(): value
        for key, value in data.items()
        if isinstance(key, str) and value not in (None, "")
    }


_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def as_accounts(accounts: Iterable[Account | Mapping[str, object]]) -> tuple[Account, ...]:
    """Typed accounts, in their order, each id once."""
    if isinstance(accounts, (str, bytes, Mapping)) or not isinstance(accounts, Iterable):
        raise TypeError(
            "accounts must be a list such as metadata['accounts'], "
            f"not {type(accounts).__name__}{_hint(accounts)}"
        )
    by_id: dict[str, Account] = {}
    for position, each in enumerate(accounts):
        if not isinstance(each, (Account, Mapping)):
            raise TypeError(
                f"accounts[{position}] must be an Account or a mapping, "
                f"not {type(each).__name__}{_hint(each)}"
            )
        try:
            account = each if isinstance(each, Account) else Account.from_mapping(each)
        except ValueError as error:
            raise ValueError(f"accounts[{position}]: {error}") from None
        by_id.setdefault(account.account_id, account)
    return tuple(by_id.values())


def _hint(accounts: object) -> str:
    if isinstance(accounts, (str, bytes)):
        return ": read JSON text with json.loads first"
    is_metadata = isinstance(accounts, Mapping) and "accounts" in accounts
    return ": pass Link's metadata as metadata=" if is_metadata else ""


@frozen(kw_only=True)
class LinkToken:
    """The token with which the browser opens Link (``/link/token/create``).

    Attributes:
        link_token: the token; valid for four hours, in update mode for thirty minutes.
        expiration: when it expires, with a time zone.
        request_id: Plaid's id of the request, for its support.
        hosted_link_url: the page to send the user to, if Hosted Link was asked for.
    """

    link_token: str = field(repr=mask_repr, validator=_text)
    expiration: datetime = field(validator=_moment)
    request_id: str | None = field(default=None, validator=_optional_text)
    # Anyone who has this address can go through Link.
    hosted_link_url: str | None = field(default=None, repr=False, validator=_optional_text)


@frozen(kw_only=True)
class LinkedItem:
    """A linked Item, the moment it exists (``/item/public_token/exchange``).

    Attributes:
        access_token: the key to the Item; store it: only with it can the Item be used or removed.
        item_id: Plaid's id of the Item; None after `issue` if it was not given.
        request_id: Plaid's id of the exchange, for its support.
        environment: ``sandbox`` or ``production``.
        institution_id: Plaid's id of the bank, if Link's metadata has it.
        institution_name: the bank's name, if Link's metadata has it.
        link_session_id: Plaid's id of the Link session, if Link's metadata has it.
    """

    access_token: str = field(repr=mask_repr, validator=_text)
    item_id: str | None = field(default=None, validator=_optional_text)
    request_id: str | None = field(default=None, validator=_optional_text)
    environment: Environment = field(converter=_as_environment)
    institution_id: str | None = field(default=None, validator=_optional_text)
    institution_name: str | None = field(default=None, validator=_optional_text)
    link_session_id: str | None = field(default=None, validator=_optional_text)


@frozen(kw_only=True)
class ProcessorToken:
    """The right of one partner to one account (``/processor/token/create``).

    Attributes:
        processor: Plaid's name of the partner.
        account: the account that the token opens.
        processor_token: the token, for the partner.
        request_id: Plaid's id of the request, for its support.
        issued_at: when the answer arrived, in UTC.
        expires_at: when the token expires; None for most partners, whose tokens do not.
        permissions: the products it was narrowed to; None: all of the Item's.
        single_use: whether it can be used only once, as Stripe's can.
    """

    single_use: ClassVar[bool] = False
    processor: str = field(validator=_text)
    account: Account = field(validator=_instance_of(Account))
    processor_token: str = field(repr=mask_repr, validator=_text)
    request_id: str | None = field(default=None, validator=_optional_text)
    issued_at: datetime = field(validator=_moment)
    expires_at: datetime | None = field(default=None, validator=optional(_moment))
    permissions: tuple[str, ...] | None = field(default=None, converter=_as_texts, validator=_texts)

    @property
    def expired(self) -> bool:
        """Whether it has expired by now; `resume` asks for a new one."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    @property
    def key(self) -> tuple[str, str]:
        """The partner and the account's id."""
        return self.processor, self.account.account_id

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of its SHA-256, which name it in logs and tickets."""
        return fingerprint(self.processor_token)


class StripeBankAccountToken(ProcessorToken):
    """Stripe's own token for one account (``/processor/stripe/bank_account_token/create``)."""

    __slots__ = ()
    single_use = True

    @property
    def stripe_bank_account_token(self) -> str:
        """The ``processor_token``, by the name that Plaid gives it."""
        return self.processor_token


@frozen(kw_only=True)
class PendingToken:
    """A processor token that is missing, or that was issued and is not narrowed yet.

    Attributes:
        processor: Plaid's name of the partner.
        account: the account that the token is for.
        error_code: Plaid's code, or the kind of failure; None if it was not asked for yet.
        error_message: Plaid's message, or the failure in words.
        permissions: the products to narrow the token to, if that was asked for.
        unnarrowed: the token, if it was issued and narrowing it failed: it still opens all of the
            Item's products, so it is not among ``processor_tokens``.
    """

    processor: str = field(validator=_text)
    account: Account = field(validator=_instance_of(Account))
    error_code: str | None = field(default=None, validator=_optional_text)
    error_message: str | None = field(default=None, validator=_optional_text)
    permissions: tuple[str, ...] | None = field(default=None, converter=_as_texts, validator=_texts)
    unnarrowed: ProcessorToken | None = field(
        default=None, validator=optional(_instance_of(ProcessorToken))
    )

    @property
    def key(self) -> tuple[str, str]:
        """The partner and the account's id."""
        return self.processor, self.account.account_id


@frozen(kw_only=True)
class PendingPartner:
    """A partner whose accounts are not chosen yet.

    Attributes:
        processor: Plaid's name of the partner.
        account_ids: the accounts asked for, or None to choose by the partner's rule.
        among: the accounts to choose from, or None for all of the Item's.
        first_fitting: whether a partner of one account gets the first that its rule allows.
        permissions: the products to narrow its tokens to, if that was asked for.
    """

    processor: str = field(validator=_text)
    account_ids: tuple[str, ...] | None = field(default=None, converter=_as_texts, validator=_texts)
    among: tuple[str, ...] | None = field(default=None, converter=_as_texts, validator=_texts)
    first_fitting: bool = field(default=False, validator=_instance_of(bool))
    permissions: tuple[str, ...] | None = field(default=None, converter=_as_texts, validator=_texts)


_Entry = ProcessorToken | PendingToken


# mypy infers from these what may be passed.
def _as_entries(values: Iterable[_Entry]) -> tuple[_Entry, ...]:
    return tuple(values)


def _as_partners(values: Iterable[PendingPartner]) -> tuple[PendingPartner, ...]:
    return tuple(values)


def _as_names(values: Iterable[str]) -> Iterable[str]:
    return values if isinstance(values, str) else tuple(values)  # a text is refused


@frozen(kw_only=True)
class LinkResult(LinkedItem):
    """The outcome of a link: the attributes of `LinkedItem`, and the partners' tokens.

    Attributes:
        entries: the tokens, issued and missing, ordered by partner, then account.
        unselected: the partners whose accounts could not be chosen yet, or are gone.
        bound: the partners whose accounts you chose; `refresh` gives these no others.
        consent_expires_at: when the user's consent ends, as `refresh` saw it last, or None.
    """

    entries: tuple[ProcessorToken | PendingToken, ...] = field(
        default=(),
        converter=_as_entries,
        validator=deep_iterable(_instance_of(ProcessorToken, PendingToken)),
    )
    unselected: tuple[PendingPartner, ...] = field(
        default=(), converter=_as_partners, validator=deep_iterable(_instance_of(PendingPartner))
    )
    bound: tuple[str, ...] = field(
        default=(), converter=_as_names, validator=deep_iterable(_text, _instance_of(tuple))
    )
    consent_expires_at: datetime | None = field(default=None, validator=optional(_moment))

    @property
    def processor_tokens(self) -> tuple[ProcessorToken, ...]:
        """The issued tokens, ordered by partner, then account."""
        return tuple(each for each in self.entries if isinstance(each, ProcessorToken))

    @property
    def pending(self) -> tuple[PendingToken, ...]:
        """The missing tokens, in the same order."""
        return tuple(each for each in self.entries if isinstance(each, PendingToken))

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, and no token has expired by now."""
        expired = any(each.expired for each in self.processor_tokens)
        return not (self.pending or self.unselected or expired)

    def token(self, processor: str) -> ProcessorToken:
        """The one token for a partner; a ValueError if there is none, or more than one."""
        found = [token for token in self.processor_tokens if token.processor == processor]
        if len(found) != 1:
            partners = dict.fromkeys(token.processor for token in self.processor_tokens)
            raise ValueError(
                f"{len(found)} tokens for {redact(str(processor))!r}, not one; "
                f"processor_tokens has tokens for {', '.join(partners) or 'no partner'}"
            )
        return found[0]

    def merge(self, other: LinkResult) -> LinkResult:
        """Both results of one Item as one; the newer token of an account wins.

        The access token is that of ``other``, the later one. A ValueError if the Items differ.
        """
        if not isinstance(other, LinkResult):
            raise TypeError(f"other must be a LinkResult, not {type(other).__name__}")
        same_item = self.access_token == other.access_token
        if self.item_id and other.item_id:
            same_item = self.item_id == other.item_id
        if not same_item or self.environment is not other.environment:
            raise ValueError("only results of the same Item can be merged")
        known = {
            each.name: getattr(other, each.name) or getattr(self, each.name)
            for each in attrs.fields(LinkedItem)
        }
        both = (*self.entries, *other.entries)
        best = {entry.key: entry for entry in sorted(both, key=rank)}  # the last of a key stays
        partners = [entry.processor for entry in both]
        in_order = sorted(both, key=lambda entry: partners.index(entry.processor))
        unselected = {each.processor: each for each in (*self.unselected, *other.unselected)}
        return attrs.evolve(
            other,
            **known,
            entries=tuple(best[key] for key in dict.fromkeys(entry.key for entry in in_order)),
            unselected=tuple(each for name, each in unselected.items() if name not in partners),
            bound=dict.fromkeys((*self.bound, *other.bound)),
            consent_expires_at=other.consent_expires_at or self.consent_expires_at,
        )

    def without(self, *, account_ids: Iterable[str]) -> LinkResult:
        """This result without the tokens, issued and missing, of the accounts of these ids.

        A partner that is left without any is ``unselected`` then. `refresh` gives a partner of all
        accounts a token again, as long as the account is there.
        """
        if isinstance(account_ids, (str, bytes)):
            raise TypeError("account_ids must be a sequence of ids")
        gone = set(account_ids)
        kept = [each for each in self.entries if each.account.account_id not in gone]
        with_tokens = {each.processor for each in kept}
        left = {each.processor: each for each in self.entries if each.processor not in with_tokens}
        unselected = [
            PendingPartner(processor=name, permissions=each.permissions)
            for name, each in left.items()
        ]
        return attrs.evolve(self, entries=kept, unselected=(*self.unselected, *unselected))

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready form, **tokens included**: encrypt it before it is stored."""
        data = attrs.asdict(self, value_serializer=_to_json)
        return {"format": RESULT_FORMAT, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinkResult:
        """Read what `to_dict` wrote; a ValueError if it is something else or of another version."""
        try:
            version = data["format"]
            if isinstance(version, int) and version == RESULT_FORMAT:
                entries = [
                    _read_token(each) if "processor_token" in each else _read(PendingToken, each)
                    for each in data["entries"]
                ]
                unselected = [_read(PendingPartner, each) for each in data["unselected"]]
                return _read(LinkResult, {**data, "entries": entries, "unselected": unselected})
            # Not shown if it is no number: it may be a secret.
            found = version if isinstance(version, int) else f"type {type(version).__name__}"
            fault = f"its format is {found}, not {RESULT_FORMAT}"
        except Exception as error:  # noqa: BLE001  a mapping's own code may raise anything
            # Neither shown nor chained, since its text may hold a secret.
            fault = f"{type(error).__name__} in its fields"
        raise ValueError(f"not a stored result: {fault}")


UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""When a token was issued whose time is not known: any token that the linkers make is newer."""


def rank(entry: ProcessorToken | PendingToken) -> tuple[int, datetime]:
    """Orders the entries of one account: missing, not narrowed, an older token, a newer one."""
    if isinstance(entry, ProcessorToken):
        return 2, entry.issued_at
    return int(entry.unnarrowed is not None), datetime.min.replace(tzinfo=UTC)


def _to_json(_owner: object, _field: object, value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Environment) else value


def _read(kind: type[AttrsT], stored: Mapping[str, Any]) -> AttrsT:
    """A value from its stored form; unknown fields are ignored, null stands for "not given"."""
    given: dict[str, Any] = {}
    for each in attrs.fields(kind):
        value = stored.get(each.name)
        if value is not None:
            read = _READERS.get(each.name)
            given[each.name] = read(value) if read else value
    return kind(**given)


def _read_token(stored: Mapping[str, Any]) -> ProcessorToken:
    kind = StripeBankAccountToken if stored["processor"] == "stripe" else ProcessorToken
    return _read(kind, stored)


# The fields whose stored form is not their value.
_READERS: dict[str, Callable[[Any], object]] = {
    "account": partial(_read, Account),
    "unnarrowed": _read_token,
    "issued_at": datetime.fromisoformat,
    "expires_at": datetime.fromisoformat,
    "consent_expires_at": datetime.fromisoformat,
}
