"""Made-up transactions: a pure function of account and day.

Nothing is stored: an Item's transactions on a day follow from its accounts' ids and that day, so
that paging, cursors and a moved clock always agree.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .ids import derived_word
from .model import Account, Item
from .tables import table
from .wire import Json

DAY = dt.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Habit:
    """A monthly transaction of accounts of one subtype."""

    days: frozenset[int]
    amount: float
    jitter: int  # in cents
    settles: int  # days from the purchase to the posting
    name: str
    merchant: str | None
    website: str | None
    channel: str
    primary: str
    detailed: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One transaction as it is on one day."""

    account: Account
    key: str
    authorized: dt.date
    posted: dt.date
    pending: bool
    amount: float
    currency: str
    habit: Habit

    @property
    def day(self) -> dt.date:
        """The day it is shown under."""
        return self.authorized if self.pending else self.posted

    @property
    def transaction_id(self) -> str:
        """Its id, which changes when it is posted."""
        return self._id(pending=self.pending)

    @property
    def pending_transaction_id(self) -> str | None:
        """The id that it had while pending, if it was pending."""
        was_pending = not self.pending and self.posted > self.authorized
        return self._id(pending=True) if was_pending else None

    def _id(self, *, pending: bool) -> str:
        return derived_word(self.account.account_id, self.key, pending)


@cache
def habits(subtype: str) -> tuple[Habit, ...]:
    """Return the monthly transactions of a subtype."""
    return tuple(
        Habit(
            days=frozenset(int(day) for day in row["days"].split(",")),
            amount=float(row["amount"]),
            jitter=int(row["jitter"]),
            settles=int(row["settles"]),
            name=row["name"],
            merchant=row["merchant"] or None,
            website=row["website"] or None,
            channel=row["channel"],
            primary=row["primary"],
            detailed=row["detailed"],
        )
        for row in table("habits")
        if row["subtype"] == subtype
    )


def entries_at(item: Item, day: dt.date) -> list[Entry]:
    """Return the transactions of an Item's shared accounts on a day, oldest first."""
    first = item.created_at.date() - item.days_requested * DAY
    found = [
        entry
        for account in item.shared_accounts()
        for entry in _entries(account, first, day)
        if first <= entry.authorized <= day
    ]
    return sorted(found, key=lambda entry: (entry.day, entry.transaction_id))


def _entries(account: Account, first: dt.date, day: dt.date) -> Iterator[Entry]:
    if account.given_transactions is not None:
        yield from _given(account, day)
        return
    for number in range((day - first).days + 1):
        authorized = first + number * DAY
        for habit in habits(account.subtype or ""):
            if authorized.day in habit.days:
                yield _made_up(account, habit, authorized, day)


def _made_up(account: Account, habit: Habit, authorized: dt.date, day: dt.date) -> Entry:
    key = f"{authorized}/{habit.name}"
    cents = _derived_number(account.account_id, key) % (habit.jitter + 1)
    posted = authorized + habit.settles * DAY
    return Entry(
        account=account,
        key=key,
        authorized=authorized,
        posted=posted,
        pending=posted > day,
        amount=round(habit.amount + cents / 100, 2),
        currency=account.currency,
        habit=habit,
    )


def _derived_number(*parts: str) -> int:
    return int.from_bytes(derived_word(*parts, length=6).encode(), "big")


def _given(account: Account, day: dt.date) -> Iterator[Entry]:
    """Read the transactions of a custom user."""
    for number, given in enumerate(account.given_transactions or ()):
        posted = dt.date.fromisoformat(given["date_posted"])
        authorized = dt.date.fromisoformat(given.get("date_transacted") or given["date_posted"])
        yield Entry(
            account=account,
            key=f"given/{number}",
            authorized=authorized,
            posted=posted,
            pending=posted > day,
            amount=given["amount"],
            currency=given.get("currency") or account.currency,
            habit=_unsorted(given["description"]),
        )


def _unsorted(name: str) -> Habit:
    return Habit(
        days=frozenset(),
        amount=0,
        jitter=0,
        settles=0,
        name=name,
        merchant=None,
        website=None,
        channel="other",
        primary="OTHER",
        detailed="OTHER_OTHER",
    )


_NO_LOCATION: Json = dict.fromkeys(
    ("address", "city", "region", "postal_code", "country", "lat", "lon", "store_number")
)
_NO_PAYMENT_META: Json = dict.fromkeys(
    (
        "reference_number",
        "ppd_id",
        "payee",
        "by_order_of",
        "payer",
        "payment_method",
        "payment_processor",
        "reason",
    )
)
_TYPES = {"online": "digital", "in store": "place", "other": "special"}


def entry_view(entry: Entry, *, original: bool = False) -> Json:
    """Show a transaction as Plaid does."""
    habit = entry.habit
    return {
        "account_id": entry.account.account_id,
        "account_owner": None,
        "amount": entry.amount,
        "authorized_date": entry.authorized.isoformat(),
        "authorized_datetime": None,
        "category": None,
        "category_id": None,
        "check_number": None,
        "counterparties": _counterparties(habit),
        "date": entry.day.isoformat(),
        "datetime": None,
        "iso_currency_code": entry.currency,
        "location": _NO_LOCATION,
        "logo_url": None,
        "merchant_entity_id": _entity_id(habit),
        "merchant_name": habit.merchant,
        "name": habit.name,
        "original_description": habit.name if original else None,
        "payment_channel": habit.channel,
        "payment_meta": _NO_PAYMENT_META,
        "pending": entry.pending,
        "pending_transaction_id": entry.pending_transaction_id,
        "personal_finance_category": {
            "confidence_level": "VERY_HIGH" if habit.merchant else "LOW",
            "detailed": habit.detailed,
            "primary": habit.primary,
        },
        "personal_finance_category_icon_url": (
            f"https://plaid-category-icons.plaid.com/PFC_{habit.primary}.png"
        ),
        "transaction_code": None,
        "transaction_id": entry.transaction_id,
        "transaction_type": _TYPES[habit.channel],
        "unofficial_currency_code": None,
        "website": habit.website,
    }


def _entity_id(habit: Habit) -> str | None:
    return derived_word("merchant", habit.merchant) if habit.merchant else None


def _counterparties(habit: Habit) -> list[Json]:
    if not habit.merchant:
        return []
    return [
        {
            "confidence_level": "VERY_HIGH",
            "entity_id": _entity_id(habit),
            "logo_url": None,
            "name": habit.merchant,
            "type": "merchant",
            "website": habit.website,
        }
    ]
