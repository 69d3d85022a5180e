"""Links in Django's database: a store of your own, by the ORM (docs/store.md)."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import models, transaction
from django.db.models.functions import Now

from plaid_processors.store import Lease, LinkQuery, LinkRecord, Store

SEARCHED = ("client_user_id", "item_id", "access_hash", "under_way")  # few rows have the same


class LinkRow(models.Model):
    """A `LinkRecord` in JSON, and the columns by which the database finds it."""

    key = models.CharField(max_length=64, primary_key=True)
    version = models.IntegerField(default=0)
    client_user_id = models.TextField(null=True, db_index=True)
    item_id = models.TextField(null=True, db_index=True)
    access_hash = models.TextField(null=True, db_index=True)
    under_way = models.BooleanField(null=True, db_index=True)
    state = models.TextField(null=True, db_index=True)
    handoffs = models.TextField(null=True)  # their states, so that what is due is found
    data = models.JSONField(null=True)  # the tokens in it are encrypted


class LeaseRow(models.Model):
    """Who is at work on what, and until when."""

    name = models.CharField(max_length=200, primary_key=True)
    owner = models.TextField()
    ends_at = models.DateTimeField()


class DjangoStore(Store):
    """Keeps links, by the database's clock; no transaction is open while Plaid is asked."""

    @transaction.atomic(durable=True)
    def add(self, record: LinkRecord) -> LinkRecord:
        """Add a record, unless there is one of this key; return the one that is there then."""
        LinkRow.objects.bulk_create([LinkRow(key=record.key)], ignore_conflicts=True)
        self._replace(record, version=0)  # which is the version of a row that is new
        return LinkRecord.from_dict(LinkRow.objects.get(key=record.key).data)

    def get(self, key: str) -> LinkRecord | None:
        """Return the record of a key."""
        row = LinkRow.objects.filter(key=key).first()
        return LinkRecord.from_dict(row.data) if row else None

    @transaction.atomic(durable=True)
    def save(self, record: LinkRecord) -> LinkRecord | None:
        """Replace the record of this key, if it has this version still; else return None."""
        return self._replace(record, record.version)

    def _replace(self, record: LinkRecord, version: int) -> LinkRecord | None:
        row = LinkRow.objects.filter(key=record.key, version=version)
        for before, now in row.values_list("data", Now()):
            saved = record.saved(before and LinkRecord.from_dict(before), now)
            values = {name: getattr(saved, name) for name in ("version", "state", *SEARCHED)}
            values["handoffs"] = " ".join(each.state for each in saved.handoffs)
            if row.update(data=saved.to_dict(), **values):  # no other process was quicker
                return saved
        return None

    def page(self, query: LinkQuery, *, after: str = "", limit: int = 200) -> Sequence[LinkRecord]:
        """Return the records that fit, in the order of their keys, that come after a key."""
        wanted = {name: getattr(query, name) for name in SEARCHED}
        wanted |= {"state__in": query.states, "handoffs__contains": query.handoff}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        rows = LinkRow.objects.filter(**wanted).order_by("key").values_list("data", Now())
        found: list[LinkRecord] = []
        while len(found) < limit and (some := list(rows.filter(key__gt=after)[:200])):
            records = [(LinkRecord.from_dict(data), now) for data, now in some]
            found += [record for record, now in records if query.fits(record, now)]
            after = records[-1][0].key
        return found[:limit]

    @transaction.atomic(durable=True)
    def lease(self, lease: Lease) -> bool:
        """Take or extend a lease; False while another owner has it."""
        mine = {"owner": lease.owner, "ends_at": Now() + timedelta(seconds=lease.seconds)}
        LeaseRow.objects.bulk_create([LeaseRow(name=lease.name, **mine)], ignore_conflicts=True)
        free = models.Q(owner=lease.owner) | models.Q(ends_at__lte=Now())
        return bool(LeaseRow.objects.filter(free, name=lease.name).update(**mine))

    @transaction.atomic(durable=True)
    def release(self, lease: Lease) -> None:
        """Give a lease back, if this owner has it."""
        LeaseRow.objects.filter(name=lease.name, owner=lease.owner).delete()
