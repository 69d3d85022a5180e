"""What every store can do with links, by the six methods that keep records."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from functools import partial
from typing import TypeVar

from attrs import evolve

from .._workflow.arguments import filled_text, stored_text, text
from ..errors import (
    ConfigurationError,
    DecryptionError,
    ItemNotStoredError,
    StoreConflictError,
    StoreError,
)
from ..redaction import redact, token_kind
from ..results import (
    UNKNOWN_TIME,
    Account,
    Environment,
    LinkResult,
    ProcessorToken,
    StripeBankAccountToken,
    rank,
)
from .books import Books, all_records, guarded, latest, went
from .records import (
    MOST_IN_A_PAGE,
    Cipher,
    Handoff,
    HandoffState,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    StoredLink,
)
from .sealing import Contents, Entry, adopted_key, seal, sha256, state_of, unseal

logger = logging.getLogger("plaid_processors")

_Name = TypeVar("_Name", bound=StrEnum)


class Anyone(Enum):
    """No matter whose link it is. Not None, which a session without a user may give."""

    ANYONE = "anyone"


class Store(ABC):
    """The base of all stores: a subclass keeps the records, as `LinkStore` says."""

    def __init__(self, cipher: Cipher) -> None:
        """Set it up with what encrypts the records' secrets."""
        self.cipher = cipher

    @abstractmethod
    def add(self, record: LinkRecord) -> LinkRecord:
        """See `LinkStore.add`."""

    @abstractmethod
    def get(self, key: str) -> LinkRecord | None:
        """See `LinkStore.get`."""

    @abstractmethod
    def save(self, record: LinkRecord) -> LinkRecord | None:
        """See `LinkStore.save`."""

    @abstractmethod
    def page(
        self, query: LinkQuery, *, after: str = "", limit: int = MOST_IN_A_PAGE
    ) -> Sequence[LinkRecord]:
        """See `LinkStore.page`."""

    @abstractmethod
    def lease(self, lease: Lease) -> bool:
        """See `LinkStore.lease`."""

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """See `LinkStore.release`."""

    def find(
        self,
        item_id: str,
        *,
        client_user_id: str | Anyone = Anyone.ANYONE,
        include_removed: bool = True,
    ) -> StoredLink | None:
        """The link of an Item, or None.

        Args:
            item_id: Plaid's id of the Item.
            client_user_id: your id of the user who asks, where a browser names the Item: another
                user's link is not found. None, as of a session without a user, is a TypeError.
            include_removed: whether an Item that was removed is found too.

        Raises:
            StoreError: the store failed, or the link cannot be read.
        """
        # Without an id the query would be for all links: a webhook may name no Item.
        anyone = client_user_id is Anyone.ANYONE
        user = None if anyone else stored_text("client_user_id", client_user_id)
        if not text("item_id", item_id).isprintable():
            return None  # a browser may send anything: databases refuse to look for this
        query = LinkQuery(item_id=item_id, client_user_id=user)
        record = latest(list(all_records(self, query)))
        if record is None or (record.state is LinkState.REMOVED and not include_removed):
            return None
        return unseal(self.cipher, record).link()

    def links(
        self,
        *,
        client_user_id: str | None = None,
        processor: str | None = None,
        state: LinkState | str | None = None,
        handoff: HandoffState | str | None = None,
        client_id: str | None = None,
        environment: Environment | str | None = None,
        include_removed: bool = True,
        skip_unreadable: bool = False,
    ) -> Iterator[StoredLink]:
        """All links that fit, in no particular order; read page by page.

        Args:
            client_user_id: those of this user.
            processor: those with tokens, issued or missing, for this partner.
            state: those in this state: started, linked, complete, unknown or removed.
            handoff: those with a token (for ``processor``, if that is named) whose way to the
                partner is in this state: due, sending, done, refused or unknown.
            client_id: those of this client of Plaid's, where the store has several.
            environment: ``"sandbox"`` or ``"production"``.
            include_removed: whether those of Items that were removed are among them.
            skip_unreadable: whether a link that none of the keys decrypts is left out, with a
                warning in the log of ``plaid_processors``, and not raised as an error. So one bad
                row does not end a job over all of them.

        Raises:
            ValueError: there is no such state or environment.
            DecryptionError: a link cannot be read.
            StoreError: the store failed.
        """
        states = None if state is None else {_named(LinkState, state)}
        if not include_removed:
            states = (states or set(LinkState)) - {LinkState.REMOVED}
        query = LinkQuery(
            client_id=client_id,
            environment=None if environment is None else _named(Environment, environment).value,
            client_user_id=client_user_id,
            processor=processor,
            states=states,
            handoff=None if handoff is None else _named(HandoffState, handoff),
        )
        return self._unsealed(query, skip_unreadable)

    def _unsealed(self, query: LinkQuery, skip_unreadable: bool) -> Iterator[StoredLink]:
        for record in all_records(self, query):
            try:
                link = unseal(self.cipher, record).link()
            except DecryptionError as error:
                if not skip_unreadable:
                    raise
                logger.warning("Item %s is passed over: %s", record.item_id, error)
            else:
                yield link

    def adopt(
        self,
        *,
        access_token: str,
        client_user_id: str,
        item_id: str,
        tokens: Iterable[ProcessorToken | Mapping[str, object]] = (),
        handoff: HandoffState | str = HandoffState.UNKNOWN,
        client_id: str | None = None,
        institution_id: str | None = None,
        public_token: str | None = None,
    ) -> StoredLink:
        """Take over an Item that was linked without this store; doing it twice does no harm.

        Args:
            access_token: the Item's access token.
            client_user_id: your id of the user.
            item_id: Plaid's id of the Item.
            tokens: the processor tokens that were made of it: `ProcessorToken` objects, or mappings
                with ``processor``, ``account_id`` and ``processor_token``, and perhaps
                ``reference``, the partner's id of what it made of the token. Of an account for
                which the store has a newer token, that one stays; a mapping has no time.
            handoff: how far tokens without a reference are on their way to the partner: ``"done"``,
                ``"due"``, or ``"unknown"``, so that `hand_over` looks there first.
            client_id: the client of Plaid's whose Item it is; None: that of the first linker that
                uses it. Name it where the store has several.
            institution_id: Plaid's id of the bank, where you know it.
            public_token: the token that it was exchanged from, if `link` made it while the store
                was down: so the attempt that is stored is over too.

        Returns:
            The link. An Item that was removed, or erased, is left as it is.

        Raises:
            ConfigurationError: an id is empty, or a token is none; or the access token's
                environment is not known.
            StoreConflictError: the store has the Item for another user or client.
            StoreError: the store failed.
        """
        stored_text("client_user_id", client_user_id)
        stored_text("item_id", item_id)
        for name, value in {"client_id": client_id, "institution_id": institution_id}.items():
            if value is not None:
                stored_text(name, value)
        if public_token is not None:
            kind = token_kind(filled_text("public_token", public_token))
            if kind is not None and kind[0] != "public":
                raise ConfigurationError("public_token is no public token (public-sandbox-…)")
        result, handoffs = _adopted(
            access_token, item_id, institution_id, tokens, _named(HandoffState, handoff)
        )
        environment = result.environment.value
        books = Books(store=self, client_id=client_id or "", environment=environment)
        there = latest(list(all_records(self, LinkQuery(item_id=item_id, environment=environment))))
        attempt = None if public_token is None else guarded(partial(self.get, sha256(public_token)))
        if there is None and attempt is not None and attempt.item_id is None:
            entry = _refuse_another(books.read(books.own(attempt)), client_user_id)
            contents = Contents(result=result)
            return books.change(entry, contents=contents, handoffs=handoffs, under_way=False).link()
        if there is None:
            record = LinkRecord(
                key=adopted_key(environment, item_id),
                client_id=client_id or "",
                environment=environment,
                client_user_id=client_user_id,
                state=state_of(result),
                handoffs=handoffs,
                sealed="",
            )
            entry = books.add(record, Contents(result=result))
        else:
            entry = books.read(books.own(there))
        _refuse_another(entry, client_user_id)
        base = entry.contents.result
        if base is None or entry.record.state is LinkState.REMOVED:
            return entry.link()
        stored = {each.fingerprint for each in base.processor_tokens}
        new = [
            each
            for each in result.processor_tokens
            if each.fingerprint not in stored and not went(entry, each)
        ]
        merged = base.merge(evolve(result, entries=new))
        now = _with_adopted(entry.record.handoffs, handoffs, merged)
        named = client_id not in (None, entry.record.client_id)
        if merged != base or now != entry.record.handoffs or named:
            contents = Contents(result=merged)
            claim = client_id is not None
            entry = books.change(entry, contents=contents, base=base, handoffs=now, claim=claim)
        return entry.link()

    def erase(self, item_id: str) -> StoredLink:
        """Forget the tokens and accounts of an Item that was removed.

        Its ids, the fingerprints of its tokens, the times and the reason stay.

        Args:
            item_id: Plaid's id of the Item.

        Raises:
            ItemNotStoredError: there is no such Item.
            StoreError: it was not removed yet (`remove` first), or the store failed.
        """
        records = list(all_records(self, LinkQuery(item_id=text("item_id", item_id))))
        if not records:
            raise ItemNotStoredError(f"there is no Item {item_id} in the store")
        if any(each.state is not LinkState.REMOVED for each in records):
            raise StoreError(f"the Item {item_id} is not removed: call remove(item_id=…) first")
        erased = [self._erase(record) for record in records]
        return erased[-1].link()

    def _erase(self, record: LinkRecord) -> Entry:
        # Not by `Books.change`, which keeps what it does not know.
        saved = guarded(partial(self.save, seal(self.cipher, record, Contents())))
        if saved is None:
            raise StoreError("the link was changed meanwhile: call erase again")
        return Entry(record=saved, contents=Contents())

    def reencrypt(self, *, limit: int | None = None) -> int:
        """Encrypt links again that are not encrypted with the first key yet.

        Args:
            limit: how many at most; None: all.

        Returns:
            How many were encrypted now. 0: all are, so that the old keys are not needed any more.

        Raises:
            ConfigurationError: the cipher does not name its key, so that nothing is known.
            ValueError: ``limit`` is no number, or less than 1.
            DecryptionError: all that are left cannot be read: none of the keys fits.
            StoreError: the store failed.
        """
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError("limit must be a whole number, 1 or more, or None")
        key_id = getattr(self.cipher, "key_id", None)
        if key_id is None:
            raise ConfigurationError("reencrypt needs a cipher with a key_id, which names its key")
        count, unread = 0, None
        for record in all_records(self, LinkQuery(not_sealed_by=key_id)):
            if limit is not None and count >= limit:
                break
            try:
                contents = unseal(self.cipher, record).contents
            except DecryptionError as error:
                unread = error
                continue
            # A link that is changed meanwhile is encrypted by the one who changes it.
            guarded(partial(self.save, seal(self.cipher, record, contents)))
            count += 1
        if unread is not None and not count:
            raise unread
        return count


def _refuse_another(entry: Entry, client_user_id: str) -> Entry:
    if entry.record.client_user_id != client_user_id:
        raise StoreConflictError("the store has this Item for another client_user_id")
    return entry


def _with_adopted(
    known: tuple[Handoff, ...], adopted: tuple[Handoff, ...], result: LinkResult
) -> tuple[Handoff, ...]:
    """The known ways of the result's tokens, with what is learned of them now."""
    merged = {each.key: each for each in known}
    tokens = {each.fingerprint for each in result.processor_tokens}
    for each in adopted:
        before = merged.get(each.key)
        same = before is not None and before.fingerprint == each.fingerprint
        learned = each.reference is not None and before is not None and before.reference is None
        if each.fingerprint in tokens and (learned or not same):
            merged[each.key] = each
    return tuple(merged.values())


def _adopted(
    access_token: str,
    item_id: str,
    institution_id: str | None,
    given: Iterable[ProcessorToken | Mapping[str, object]],
    state: HandoffState,
) -> tuple[LinkResult, tuple[Handoff, ...]]:
    """The result and the hand-offs of an Item that was linked without the store."""
    kind = token_kind(filled_text("access_token", access_token))
    if kind is None or kind[0] != "access" or kind[1] not in list(Environment):
        raise ConfigurationError(
            "access_token is no access token of the Sandbox or of production (access-sandbox-…)"
        )
    found: dict[tuple[str, str], tuple[ProcessorToken, Handoff]] = {}
    for each in given:
        token = each if isinstance(each, ProcessorToken) else _token_of(each)
        if token_kind(token.processor_token) not in (None, ("processor", kind[1])):
            raise ConfigurationError(f"a token is no processor token of {kind[1]}")
        given_reference = None if isinstance(each, ProcessorToken) else each.get("reference")
        reference = str(given_reference) if given_reference else None
        if reference is not None and redact(reference) != reference:
            raise ConfigurationError(
                "a reference is a token: pass the partner's id of what it made"
            )
        handoff = Handoff(
            processor=token.processor,
            account_id=token.account.account_id,
            state=HandoffState.DONE if reference else state,
            reference=reference,
            fingerprint=token.fingerprint,
        )
        if token.key not in found or rank(token) >= rank(found[token.key][0]):
            found[token.key] = token, handoff
    result = LinkResult(
        access_token=access_token,
        item_id=item_id,
        environment=Environment(kind[1]),
        institution_id=institution_id,
        entries=[token for token, _ in found.values()],
    )
    return result, tuple(handoff for _, handoff in found.values())


def _token_of(given: Mapping[str, object]) -> ProcessorToken:
    try:
        processor, account_id = (stored_text(n, given[n]) for n in ("processor", "account_id"))
        secret = filled_text("processor_token", given["processor_token"])
        kind = StripeBankAccountToken if processor == "stripe" else ProcessorToken
        account = Account(account_id=account_id)
        return kind(
            processor=processor, account=account, processor_token=secret, issued_at=UNKNOWN_TIME
        )
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(
            "tokens must be ProcessorToken objects, or mappings with processor, account_id and "
            "processor_token, which are texts"
        ) from None


def _named(kind: type[_Name], value: str) -> _Name:
    """A member of an enumeration, by its name."""
    if value not in list(kind):
        raise ValueError(f"expected one of: {', '.join(kind)}")
    return kind(value)
