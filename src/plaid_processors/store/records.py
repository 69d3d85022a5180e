"""What a store keeps of a link, and what a store is. Values and two protocols."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from attrs import asdict, evolve, field, fields, frozen

from ..results import LinkResult, ProcessorToken

_Kept = TypeVar("_Kept", "Handoff", "LinkRecord")

MOST_IN_A_PAGE = 200
"""How many records a page of `LinkStore.page` has at most, unless it is asked for fewer."""


class LinkState(StrEnum):
    """How far a link is.

    Attributes:
        STARTED: ``started``: the attempt is stored, and the Item is not yet.
        LINKED: ``linked``: the Item is stored, and tokens are missing.
        COMPLETE: ``complete``: nothing is missing.
        UNKNOWN: ``unknown``: there may be an Item whose access token is lost; the ``reason`` says
            what to ask Plaid.
        REMOVED: ``removed``: there is no Item (any more).
    """

    STARTED = "started"
    LINKED = "linked"
    COMPLETE = "complete"
    UNKNOWN = "unknown"
    REMOVED = "removed"


class HandoffState(StrEnum):
    """How far a token is on its way to the partner.

    Attributes:
        DUE: ``due``: it was not sent.
        SENDING: ``sending``: a process is at it, or was when it ended.
        DONE: ``done``: the partner has it.
        REFUSED: ``refused``: the partner or the sender refused it, or the Item or its account was
            gone before it was sent.
        UNKNOWN: ``unknown``: the partner may have it.
    """

    DUE = "due"
    SENDING = "sending"
    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class Handoff:
    """The way of one account's token to its partner.

    Attributes:
        processor: Plaid's name of the partner.
        account_id: Plaid's id of the account.
        state: due, sending, done, refused or unknown.
        reference: the partner's id of what was made of it, such as Finix's payment instrument.
        target: the partner's id of whom it was sent for: Finix's identity, or Layer's business.
        fingerprint: names the token that this is about (`ProcessorToken.fingerprint`).
        before: the references that the partner had for the target before the token was sent; None
            if that is not known.
        error: why it is refused or unknown.
        updated_at: when this was last stored.
    """

    processor: str
    account_id: str
    state: HandoffState = field(converter=HandoffState)
    reference: str | None = None
    target: str | None = None
    fingerprint: str | None = None
    before: tuple[str, ...] | None = None
    error: str | None = None
    updated_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The partner and the account's id."""
        return self.processor, self.account_id


@frozen(kw_only=True)
class LinkRecord:
    """A link as a store keeps it: what is searched, in clear, and the rest, encrypted.

    Attributes:
        key: 64 hexadecimal digits that name the link: the SHA-256 of its public token, or for an
            adopted Item of its id.
        client_id: Plaid's id of your team; empty for an Item that was adopted before any linker
            used it.
        environment: ``sandbox`` or ``production``.
        client_user_id: your id of the user.
        state: started, linked, complete, unknown or removed.
        under_way: whether a call is at work on it, or has left something to `recover`.
        item_id: Plaid's id of the Item, as soon as there is one.
        institution_id: Plaid's id of the bank, where it is known.
        access_hash: the SHA-256 of the access token, by which an Item is found.
        processors: the partners that have, or are to get, tokens.
        handoffs: the way of each token to its partner.
        reason: why it is unknown or removed.
        sealed: all else, encrypted: tokens, names and numbers of accounts.
        sealed_by: which key it is encrypted with (`Cipher.key_id`).
        version: 1 for a new record, and one more each time that it is saved.
        created_at: when it was added, by the store's clock.
        updated_at: when it was last saved, by the store's clock.
    """

    key: str
    client_id: str
    environment: str
    client_user_id: str
    state: LinkState = field(converter=LinkState)
    under_way: bool = False
    item_id: str | None = None
    institution_id: str | None = None
    access_hash: str | None = None
    processors: tuple[str, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    reason: str | None = None
    sealed: str = field(repr=False)
    sealed_by: str | None = None
    version: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def saved(self, before: LinkRecord | None, now: datetime) -> LinkRecord:
        """The record that `LinkStore.add` and `LinkStore.save` keep: with its version and times.

        A hand-off that has changed gets the time; one that has not keeps its own.

        Args:
            before: the record of this key that is stored, whose version this one has; None if this
                one is added.
            now: the time, by the store's clock.
        """
        known = {each.key: each for each in before.handoffs} if before else {}
        return evolve(
            self,
            version=before.version + 1 if before else 1,
            created_at=before.created_at if before else now,
            updated_at=now,
            handoffs=tuple(
                each if each == known.get(each.key) else evolve(each, updated_at=now)
                for each in self.handoffs
            ),
        )

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready form: texts, numbers, lists; times in ISO 8601.

        The tokens in it are encrypted, as they are in ``sealed``.
        """
        return asdict(self, value_serializer=_to_json)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinkRecord:
        """Read what `to_dict` wrote.

        What a later version of the package added is left out, and lost if this one saves the
        record.

        Args:
            data: the form, such as from a column of JSON.

        Raises:
            ValueError: this is no such form, or has a state of a later version.
        """
        try:
            handoffs = tuple(_read(Handoff, each) for each in data["handoffs"])
            return _read(cls, {**data, "handoffs": handoffs})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The error's own text may show what is stored.
            raise ValueError(f"not a stored link: {type(error).__name__}") from None


def _to_json(_owner: object, _field: object, value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [*value]
    return value.value if isinstance(value, StrEnum) else value


def _read(kind: type[_Kept], stored: Mapping[str, Any]) -> _Kept:
    given = {each.name: stored.get(each.name) for each in fields(kind)}
    known = {name: value for name, value in given.items() if value is not None}
    for name in {"created_at", "updated_at"} & known.keys():
        known[name] = _utc(datetime.fromisoformat(known[name]))
    for name in {"before", "processors"} & known.keys():
        if not isinstance(known[name], list):
            raise TypeError(name)
        known[name] = tuple(known[name])
    return kind(**known)


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


@frozen(kw_only=True)
class LinkQuery:
    """Which records are asked for; what is None does not matter.

    Attributes:
        client_id: those of this client of Plaid's, and those that have none yet.
        environment: those of this environment.
        client_user_id: those of this user.
        item_id: those of this Item.
        access_hash: those whose access token has this SHA-256.
        states: those in one of these states.
        processor: those with tokens, issued or missing, for this partner.
        without_processor: those without.
        handoff: those of which a token's way to the partner (to ``processor``, if that is named) is
            in this state.
        under_way: those that a call is at work on, or has left to `recover`; or the others.
        older_than: those that were last saved more than so many seconds ago, by the store's clock.
        not_sealed_by: those that are encrypted with another key.
    """

    client_id: str | None = None
    environment: str | None = None
    client_user_id: str | None = None
    item_id: str | None = None
    access_hash: str | None = None
    states: Collection[LinkState] | None = None
    processor: str | None = None
    without_processor: str | None = None
    handoff: HandoffState | None = None
    under_way: bool | None = None
    older_than: float | None = None
    not_sealed_by: str | None = None

    def fits(self, record: LinkRecord, now: datetime | None = None) -> bool:
        """Whether a record is one of those that are asked for.

        A store may search what its database can search, and leave the rest to this.

        Args:
            record: a record that is stored.
            now: the time, by the store's clock; None: by this machine's. A time without a zone is
                UTC.
        """
        handoffs = [
            each.state
            for each in record.handoffs
            if self.processor is None or each.processor == self.processor
        ]
        age = 0.0
        if self.older_than is not None and record.updated_at is not None:
            age = (_utc(now or datetime.now(UTC)) - _utc(record.updated_at)).total_seconds()
        return (
            self.client_id in (None, record.client_id or self.client_id)
            and self.environment in (None, record.environment)
            and self.client_user_id in (None, record.client_user_id)
            and self.item_id in (None, record.item_id)
            and self.access_hash in (None, record.access_hash)
            and (self.states is None or record.state in self.states)
            and (self.processor is None or self.processor in record.processors)
            and self.without_processor not in record.processors
            and (self.handoff is None or self.handoff in handoffs)
            and self.under_way in (None, record.under_way)
            and (self.older_than is None or age > self.older_than)
            and (self.not_sealed_by is None or record.sealed_by != self.not_sealed_by)
        )


@frozen(kw_only=True)
class Lease:
    """The right to do a piece of work alone, for some time.

    Attributes:
        name: what is to be done.
        owner: a random name of the one who does it.
        seconds: how long the lease lasts, by the store's clock.
    """

    name: str
    owner: str
    seconds: float


class Cipher(Protocol):
    """Encrypts what a store keeps. It may serve many threads.

    It may have a ``key_id`` too, a text that names the key that it encrypts with: `Store.reencrypt`
    needs it.
    """

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        """The data encrypted, and bound to the context."""
        ...

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """What was encrypted.

        Raises:
            DecryptionError: by another key, or in another context.
        """
        ...


class LinkStore(Protocol):
    """Keeps records of links for all processes of an application. It may serve many threads.

    Each method is a transaction of its own, and is durable when it returns. What it raises comes
    out of the linkers' calls as a `StoreError`.

    Attributes:
        cipher: encrypts the records' secrets before they reach the store.
    """

    cipher: Cipher

    def add(self, record: LinkRecord) -> LinkRecord:
        """Add a record, unless there is one of this key; return the one that is there then.

        Its times are the store's, and its version is 1.
        """
        ...

    def get(self, key: str) -> LinkRecord | None:
        """The record of a key."""
        ...

    def save(self, record: LinkRecord) -> LinkRecord | None:
        """Replace the record of this key, if it has this version still; return what is stored.

        That has the next version, and the store's time. None: it has another version.
        """
        ...

    def page(
        self, query: LinkQuery, *, after: str = "", limit: int = MOST_IN_A_PAGE
    ) -> Sequence[LinkRecord]:
        """The records that fit, in the order of their keys, that come after a key.

        A page of fewer than ``limit`` records is the last one.
        """
        ...

    def lease(self, lease: Lease) -> bool:
        """Take or extend a lease; False while another owner has it."""
        ...

    def release(self, lease: Lease) -> None:
        """Give a lease back, if this owner has it."""
        ...


@frozen(kw_only=True)
class StoredLink:
    """A link as it is stored.

    Attributes:
        item_id: Plaid's id of the Item; None as long as there is none.
        client_id: Plaid's id of your team.
        environment: ``sandbox`` or ``production``.
        client_user_id: your id of the user.
        state: started, linked, complete, unknown or removed.
        result: the access token, and the partners' tokens; None without an Item, or if it was
            erased.
        handoffs: the way of each token to its partner.
        version: how often it was stored.
        updated_at: when it was last stored, by the store's clock.
        created_at: when it was first stored.
        institution_id: Plaid's id of the bank, where it is known.
        reason: why it is unknown or removed, and what to ask Plaid.
        key: names the link, also before there is an Item.
    """

    item_id: str | None
    client_id: str
    environment: str
    client_user_id: str
    state: LinkState
    result: LinkResult | None
    handoffs: tuple[Handoff, ...] = ()
    version: int = 1
    updated_at: datetime | None = None
    created_at: datetime | None = None
    institution_id: str | None = None
    reason: str | None = None
    key: str = ""

    def summary(self) -> dict[str, Any]:
        """What a page may show the link's user, JSON-ready and without a token.

        Returns:
            ``item_id``, ``state``, ``institution_id``, ``institution_name``, ``created_at`` and
            ``updated_at`` (ISO 8601), and ``accounts``: for each token, issued or pending, its
            ``account_id``, ``label`` (its subtype and last digits), ``processor``, and
            ``handoff``, the state of its way to the partner, or None.
        """
        ways = {each.key: each.state.value for each in self.handoffs}
        accounts = [
            {
                "account_id": each.account.account_id,
                "label": each.account.label,
                "processor": each.processor,
                "handoff": ways.get(each.key),
            }
            for each in (self.result.entries if self.result else ())
        ]
        return {
            "item_id": self.item_id,
            "state": self.state.value,
            "institution_id": self.institution_id,
            "institution_name": self.result and self.result.institution_name,
            "created_at": self.created_at and self.created_at.isoformat(),
            "updated_at": self.updated_at and self.updated_at.isoformat(),
            "accounts": accounts,
        }

    def handoff(self, token: ProcessorToken) -> Handoff | None:
        """The way of this token's account to its partner, or None."""
        key = token.key
        return next((each for each in self.handoffs if each.key == key), None)


@frozen(kw_only=True)
class RecoveredLink:
    """What `recover` did with one link.

    Attributes:
        link: the link as it is stored now.
        reason: in words, why it is unknown or failed, and what to do; None if it is finished.
        error: what failed, where something did. A `LinkIncompleteError` whose ``__cause__`` is a
            `StoreError` has the only copy of the access token, in its ``result``.
    """

    link: StoredLink
    reason: str | None = None
    error: Exception | None = field(default=None, repr=False)

    def __str__(self) -> str:
        link = self.link
        named = f"Item {link.item_id}" if link.item_id else f"link {link.key[:12]}"
        return f"{named} of user {link.client_user_id}: {self.reason or link.state}"


@frozen(kw_only=True)
class RecoveryReport:
    """What `recover` did.

    Attributes:
        finished: the links that are complete now.
        unknown: those of which nobody can know how they ended; the ``reason`` says what to do.
        failed: those that failed; what may pass is tried again by the next `recover`.
    """

    finished: tuple[RecoveredLink, ...] = ()
    unknown: tuple[RecoveredLink, ...] = ()
    failed: tuple[RecoveredLink, ...] = ()

    def __str__(self) -> str:
        return (
            f"{len(self.finished)} finished, {len(self.unknown)} unknown, {len(self.failed)} failed"
        )
