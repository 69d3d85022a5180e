"""What of a link is encrypted, and how: its tokens, and the names and numbers of its accounts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
from attrs import evolve, field, frozen

from ..errors import DecryptionError, PlaidProcessorsError, StoreError
from ..results import (
    RESULT_FORMAT,
    Account,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
)
from .records import Cipher, Handoff, HandoffState, LinkRecord, LinkState, StoredLink

_T = TypeVar("_T")

FORMAT = 1
"""What `seal` writes, and `unseal` reads: what is added to it does not change it."""

_NONE_YET = "none yet"
"""Stands for the access token of an Item that is still to be made."""


@frozen(kw_only=True)
class Contents:
    """What is encrypted of a link.

    Attributes:
        result: the Item and its tokens; None before the exchange.
        wanted: the tokens to ask for once there is an Item; its access token is none.
        public_token: the token to exchange; wiped when that is over.
        stored: all of it as it was read, with what a later version of the package wrote.
    """

    result: LinkResult | None = None
    wanted: LinkResult | None = None
    public_token: str | None = field(default=None, repr=False)
    stored: Mapping[str, Any] = field(factory=dict, repr=False, eq=False)


@frozen(kw_only=True)
class Entry:
    """A record, and what is encrypted in it."""

    record: LinkRecord
    contents: Contents

    def link(self) -> StoredLink:
        """The link, for the user."""
        names = {each.name for each in attrs.fields(StoredLink)} - {"result"}
        known = {name: getattr(self.record, name) for name in names}
        return StoredLink(result=self.contents.result, **known)


def sha256(text: str) -> str:
    """64 hexadecimal digits, which name a token that is never stored in clear."""
    return hashlib.sha256(text.encode()).hexdigest()


def adopted_key(environment: str, item_id: str) -> str:
    """The key of an Item that was not linked by the store."""
    return sha256(f"{environment} {item_id}")


def wanted_of(
    entries: Iterable[ProcessorToken | PendingToken],
    unselected: Iterable[PendingPartner],
    bound: Iterable[str],
    origin: Mapping[str, Any],
) -> LinkResult:
    """What is to be asked for once there is an Item."""
    return LinkResult(
        access_token=_NONE_YET, entries=entries, unselected=unselected, bound=bound, **origin
    )


def seal(cipher: Cipher, record: LinkRecord, contents: Contents) -> LinkRecord:
    """The record with these contents, encrypted, and with what of them is searched, in clear."""
    result = contents.result
    known = result or contents.wanted
    if known is not None:
        partners = dict.fromkeys(each.processor for each in (*known.entries, *known.unselected))
        record = evolve(
            record,
            processors=tuple(partners),
            institution_id=known.institution_id or record.institution_id,
        )
    if result is not None:
        record = evolve(
            record,
            item_id=result.item_id or record.item_id,
            access_hash=sha256(result.access_token),
            handoffs=_with_due(record, result),
        )
    if record.state is LinkState.REMOVED:
        record = evolve(record, handoffs=tuple(_not_due(each, record) for each in record.handoffs))
    form = {
        "format": FORMAT,
        "public_token": contents.public_token,
        "result": result and result.to_dict(),
        "wanted": contents.wanted and contents.wanted.to_dict(),
    }
    data = json.dumps(_with_unknown(contents.stored, form), separators=(",", ":")).encode()
    try:
        sealed = base64.urlsafe_b64encode(cipher.encrypt(data, _context(record))).decode()
    except PlaidProcessorsError:
        raise
    except Exception as error:
        raise StoreError(f"the cipher failed: {type(error).__name__}") from error
    return evolve(record, sealed=sealed, sealed_by=getattr(cipher, "key_id", None))


def unseal(cipher: Cipher, record: LinkRecord) -> Entry:
    """What a record holds.

    Raises:
        DecryptionError: it was encrypted with another key, or for another link, or was changed.
        StoreError: the cipher failed, or a later version of the package wrote it.
    """
    try:
        data = cipher.decrypt(_decoded(record.sealed), _context(record))
    except PlaidProcessorsError as error:
        error.add_note(f"It is the link {record.key}, of Item {record.item_id}.")
        raise
    except Exception as error:
        raise StoreError(f"the cipher failed: {type(error).__name__}") from error
    try:
        form = json.loads(data)
        _refuse_later(form["format"], FORMAT)
        for each in filter(None, (form.get("result"), form.get("wanted"))):
            _refuse_later(each["format"], RESULT_FORMAT)
        results = {
            name: form.get(name) and LinkResult.from_dict(form[name])
            for name in ("result", "wanted")
        }
        contents = Contents(public_token=form.get("public_token"), stored=form, **results)
    except PlaidProcessorsError:
        raise
    except Exception as error:  # noqa: BLE001  what another key decrypts to may be anything
        # Not chained: it may show what was decrypted.
        raise DecryptionError(f"a stored link cannot be read: {type(error).__name__}") from None
    return Entry(record=record, contents=contents)


def _decoded(sealed: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(sealed)
    except ValueError:
        raise DecryptionError("a stored link cannot be read: it was changed") from None


def _refuse_later(found: object, known: int) -> None:
    if isinstance(found, int) and found > known:
        raise StoreError(
            f"a stored link has format {found}, and this version of plaid-processors reads only "
            f"{known}: update it here before a later version writes"
        )


def _context(record: LinkRecord) -> bytes:
    """What a record is about: in another record's place, its contents are not read."""
    about = (record.client_id, record.environment, record.client_user_id, record.item_id)
    return json.dumps([record.key, *about]).encode()


_WENT = "the account is not in the Item any more"

_OPEN = (HandoffState.SENDING, HandoffState.UNKNOWN)
"""The partner may have the old token: that is to be found out before a new one is sent."""


def _with_due(record: LinkRecord, result: LinkResult) -> tuple[Handoff, ...]:
    """The way of each of the result's tokens to its partner; that of a new token begins."""
    tokens = {each.key: each for each in result.processor_tokens}
    known = {each.key: each for each in record.handoffs}
    for key, token in tokens.items():
        before = known.get(key)
        if before is None:
            before = Handoff(
                processor=token.processor,
                account_id=token.account.account_id,
                state=HandoffState.DUE,
                fingerprint=token.fingerprint,
            )
        elif before.fingerprint != token.fingerprint and before.state not in _OPEN:
            # The reference stays, so that what the partner made of the old token can be found.
            before = evolve(
                before, state=HandoffState.DUE, fingerprint=token.fingerprint, error=None
            )
        known[key] = before
    # Those without a token stay, with what the partner made of the token before.
    missing = {each.key for each in result.pending}
    for key, way in known.items():
        if way.state is HandoffState.DUE and key not in tokens:
            reason = "its token is missing" if key in missing else _WENT
            known[key] = evolve(way, state=HandoffState.REFUSED, error=reason)
    return tuple(known.values())


def _not_due(way: Handoff, record: LinkRecord) -> Handoff:
    """Of an Item that was removed, nothing is to be handed over any more."""
    if way.state is not HandoffState.DUE:
        return way
    return evolve(way, state=HandoffState.REFUSED, error=record.reason)


def _names(*kinds: type[attrs.AttrsInstance]) -> set[str]:
    return {each.name for kind in kinds for each in attrs.fields(kind)}


_KNOWN = {
    "": {"format", "public_token", "result", "wanted"},
    "result": {"format", *_names(LinkResult)},
    "wanted": {"format", *_names(LinkResult)},
    "entries": _names(ProcessorToken, PendingToken),
    "unnarrowed": _names(ProcessorToken),
    "unselected": _names(PendingPartner),
    "account": _names(Account),
}
"""The names that this version writes, in each part of the form."""


def _with_unknown(before: object, now: Any, part: str = "") -> Any:
    """The form as it is now, with what a later version of the package has added to it."""
    if isinstance(now, (list, tuple)) and isinstance(before, list):
        known = {_name(each): each for each in before}
        return [_with_unknown(known.get(_name(each)), each, part) for each in now]
    if not isinstance(now, dict) or not isinstance(before, Mapping):
        return now
    added = {name: value for name, value in before.items() if name not in _KNOWN[part]}
    return added | {name: _with_unknown(before.get(name), now[name], name) for name in now}


def _name(entry: object) -> object:
    """Which of the entries of a list this is."""
    if not isinstance(entry, Mapping):
        return entry
    account = entry.get("account")
    account_id = account.get("account_id") if isinstance(account, Mapping) else None
    return entry.get("processor"), account_id


def three_way(
    base: Iterable[_T],
    mine: Iterable[_T],
    theirs: Iterable[_T],
    key: Callable[[_T], object],
    rank: Callable[[_T], Any] | None = None,
) -> tuple[_T, ...]:
    """Their values with the changes that were made between the base and mine.

    What both have changed is mine, unless ``rank`` puts theirs above it; what they have changed
    stays, should I have taken it away.
    """
    was, now = {key(each): each for each in base}, {key(each): each for each in mine}
    there = {key(each): each for each in theirs}
    merged = {name: each for name, each in there.items() if name in now or was.get(name) != each}
    for name, each in now.items():
        if was.get(name) != each:
            other = merged.get(name, each)
            changed = other != was.get(name)
            merged[name] = max(each, other, key=rank) if rank and changed else each
    return tuple(merged.values())


def state_of(result: LinkResult) -> LinkState:
    """How far a link with this result is; an expired token does not count as missing."""
    missing = result.pending or result.unselected
    return LinkState.LINKED if missing else LinkState.COMPLETE
