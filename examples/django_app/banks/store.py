"""Links in Django's database: a store of your own, by the ORM (docs/store.md)."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from attrs import asdict, fields
from django.db import models
from django.db.models.functions import Now, StrIndex
from django.db.models.lookups import GreaterThan
from django.db.transaction import atomic

from plaid_processors.store import Handoff, Lease, LinkQuery, LinkRecord, Store


class LinkRow(models.Model):
    """A `LinkRecord`, by its attributes' names."""

    key = models.CharField(max_length=64, primary_key=True)
    client_id = models.TextField()
    environment = models.TextField()
    client_user_id = models.TextField(db_index=True)
    state = models.TextField(db_index=True)
    under_way = models.BooleanField()
    item_id = models.TextField(null=True, db_index=True)
    institution_id = models.TextField(null=True)
    access_hash = models.TextField(null=True, db_index=True)
    processors = models.TextField()  # in JSON
    handoffs = models.TextField()  # in JSON; there is no token in it
    reason = models.TextField(null=True)
    sealed = models.TextField()  # encrypted: all tokens, and the accounts' names and numbers
    sealed_by = models.TextField(null=True)
    version = models.IntegerField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()


class LeaseRow(models.Model):
    """Who is at work on what, and until when."""

    name = models.CharField(max_length=200, primary_key=True)
    owner = models.TextField()
    ends_at = models.DateTimeField()


class DjangoStore(Store):
    """Keeps links on SQLite and PostgreSQL.

    Each method is a transaction of its own, which `durable=True` enforces, so that none is open
    while Plaid is asked: leave ATOMIC_REQUESTS off. All times are the database's, by `Now()`.
    """

    @atomic(durable=True)
    def add(self, record: LinkRecord) -> LinkRecord:
        """Add a record, unless there is one of this key; return the one that is there then."""
        values = {**_values(record), "version": 1, "created_at": Now()}
        LinkRow.objects.get_or_create(key=record.key, defaults=values)
        return _record(LinkRow.objects.get(key=record.key))

    def get(self, key: str) -> LinkRecord | None:
        """Return the record of a key."""
        return next(map(_record, LinkRow.objects.filter(key=key)), None)

    @atomic(durable=True)
    def save(self, record: LinkRecord) -> LinkRecord | None:
        """Replace the record of this key, if it has this version still; else return None."""
        before = LinkRow.objects.filter(key=record.key, version=record.version)
        known = [handoff for row in before for handoff in _record(row).handoffs]
        if not before.update(**_values(record, known), version=record.version + 1):
            return None
        return self.get(record.key)

    def page(self, query: LinkQuery, *, after: str = "", limit: int = 200) -> Sequence[LinkRecord]:
        """Return the records that fit, in the order of their keys, that come after a key."""
        rows = _fitting(query).filter(key__gt=after).order_by("key")
        return [_record(row) for row in rows[:limit]]

    @atomic(durable=True)
    def lease(self, lease: Lease) -> bool:
        """Take or extend a lease; False while another owner has it."""
        row = LeaseRow.objects.filter(name=lease.name)
        mine = {"owner": lease.owner, "ends_at": Now() + timedelta(seconds=lease.seconds)}
        if row.filter(models.Q(owner=lease.owner) | models.Q(ends_at__lte=Now())).update(**mine):
            return True
        LeaseRow.objects.bulk_create([LeaseRow(name=lease.name, **mine)], ignore_conflicts=True)
        return bool(row.filter(owner=lease.owner).exists())

    @atomic(durable=True)
    def release(self, lease: Lease) -> None:
        """Give a lease back, if this owner has it."""
        LeaseRow.objects.filter(name=lease.name, owner=lease.owner).delete()


def _values(record: LinkRecord, known: Sequence[Handoff] = ()) -> dict[str, Any]:
    """What a row has of a record. A hand-off that has changed has the row's time: None here."""
    stores_own = ("key", "version", "created_at")
    handoffs = []
    for each in record.handoffs:
        at = each.updated_at if each in known else None
        # The state and the partner come first: so `_fitting` finds them.
        handoffs.append({"state": each.state, **asdict(each), "updated_at": at})
    return {
        **asdict(record, recurse=False, filter=lambda each, _: each.name not in stores_own),
        "state": record.state.value,
        "processors": json.dumps(record.processors),
        "handoffs": json.dumps(handoffs, default=str),
        "updated_at": Now(),
    }


def _record(row: LinkRow) -> LinkRecord:
    handoffs = json.loads(row.handoffs)
    for each in handoffs:
        each["before"] = None if each["before"] is None else tuple(each["before"])
        at = each["updated_at"]
        each["updated_at"] = row.updated_at if at is None else datetime.fromisoformat(at)
    values = {each.name: getattr(row, each.name) for each in fields(LinkRecord)}
    values["processors"] = tuple(json.loads(row.processors))
    return LinkRecord(**{**values, "handoffs": tuple(Handoff(**each) for each in handoffs)})


def _fitting(query: LinkQuery) -> "models.QuerySet[LinkRow]":
    same = ("environment", "client_user_id", "item_id", "access_hash", "under_way")
    given = {name: getattr(query, name) for name in same if getattr(query, name) is not None}
    rows = LinkRow.objects.filter(**given)
    if query.client_id is not None:
        rows = rows.filter(client_id__in=(query.client_id, ""))
    if query.states is not None:
        rows = rows.filter(state__in=[each.value for each in query.states])
    if query.processor is not None:
        rows = rows.filter(_has("processors", query.processor))
    if query.without_processor is not None:
        rows = rows.exclude(_has("processors", query.without_processor))
    if query.handoff is not None:
        partner = {} if query.processor is None else {"processor": query.processor}
        rows = rows.filter(_has("handoffs", {"state": query.handoff, **partner}))
    if query.older_than is not None:
        rows = rows.filter(updated_at__lt=Now() - timedelta(seconds=query.older_than))
    if query.not_sealed_by is not None:
        rows = rows.exclude(sealed_by=query.not_sealed_by)
    return rows


def _has(column: str, data: object) -> GreaterThan:
    """Whether a column of JSON has this; `contains` would take "FINIX" for "finix" on SQLite."""
    return GreaterThan(StrIndex(column, models.Value(json.dumps(data).strip("{}"))), 0)
