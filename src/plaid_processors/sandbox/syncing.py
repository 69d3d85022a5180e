"""`/transactions/sync`: the changes between two days, page by page."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from dataclasses import dataclass, replace
from typing import Literal

from .errors import invalid_field
from .model import Item
from .transactions import Entry, entries_at

Kind = Literal["added", "removed"]


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """The day up to which all is known, and the position on the way to the next day."""

    item_id: str
    known: dt.date | None = None
    target: dt.date | None = None
    offset: int = 0

    def encode(self) -> str:
        """Write it as the text that clients keep."""
        parts = (self.item_id, self.known or "", self.target or "", self.offset)
        return base64.b64encode("|".join(map(str, parts)).encode()).decode()


def read_cursor(text: str, item: Item, today: dt.date) -> Cursor:
    """Read a cursor of this Item, made until today; none means the beginning."""
    if not text:
        return Cursor(item_id=item.item_id)
    try:
        item_id, known, target, offset = base64.b64decode(text, validate=True).decode().split("|")
        cursor = Cursor(
            item_id=item_id,
            known=dt.date.fromisoformat(known) if known else None,
            target=dt.date.fromisoformat(target) if target else None,
            offset=int(offset),
        )
    except (ValueError, binascii.Error):
        raise invalid_field("cursor is not valid") from None
    if cursor.item_id != item.item_id:
        raise invalid_field("cursor not associated with access_token")
    if cursor.offset < 0 or max(cursor.known or today, cursor.target or today) > today:
        raise invalid_field("cursor is not valid")
    return cursor


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of changes."""

    changes: list[tuple[Kind, Entry]]
    cursor: Cursor
    has_more: bool


def next_page(
    item: Item, cursor: Cursor, today: dt.date, count: int, account_id: str | None = None
) -> Page:
    """Return the changes after a cursor; the pages of one sync end at the day it began on."""
    target = cursor.target or today
    changes = [
        (kind, entry)
        for kind, entry in _changes(item, cursor.known, target)
        if account_id in (None, entry.account.account_id)
    ]
    end = cursor.offset + count
    has_more = end < len(changes)
    if has_more:
        following = replace(cursor, target=target, offset=end)
    else:
        following = Cursor(item_id=item.item_id, known=target)
    return Page(changes=changes[cursor.offset : end], cursor=following, has_more=has_more)


def _changes(item: Item, known: dt.date | None, target: dt.date) -> list[tuple[Kind, Entry]]:
    """Compare two days: a posted transaction replaces its pending one."""
    before = entries_at(item, known) if known else []
    after = entries_at(item, target)
    ids_before = {entry.transaction_id for entry in before}
    ids_after = {entry.transaction_id for entry in after}
    added: list[tuple[Kind, Entry]] = [
        ("added", entry) for entry in after if entry.transaction_id not in ids_before
    ]
    removed: list[tuple[Kind, Entry]] = [
        ("removed", entry) for entry in before if entry.transaction_id not in ids_after
    ]
    return added + removed
