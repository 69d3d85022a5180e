"""Every partner of Plaid's, with what Plaid's page for each says. The data is in catalogue.tsv.

The names are those of plaid-python 46, and Stripe. Where no page says which accounts a partner
takes, its adapter takes exactly those that the caller names, and never all of them by default.
"""

from __future__ import annotations

from functools import cache

from attrs import frozen

from . import OWN
from .base import PartnerAdapter

# plaid-python 44.0.0: https://github.com/plaid/plaid-python/pull/586
_RENAMED = {"paynote": "seamlessach"}

_NEAR = 0.6
"""How like a known name a wrong one must be for that name to be suggested."""
_MARGIN = 0.15
"""How much less alike than the nearest the other suggestions may be."""


@frozen(kw_only=True)
class Partner:
    """One partner of Plaid's, as the catalogue knows it.

    Attributes:
        processor: Plaid's name of it.
        name: its own name.
        adapter: its rule.
        source: Plaid's page that says the rule, or None where there is none.
        permissions_source: where its permissions are from, or None where they are not known.
        note: what else there is to know, or None.
    """

    processor: str
    name: str
    adapter: PartnerAdapter
    source: str | None
    permissions_source: str | None
    note: str | None


def partners() -> tuple[Partner, ...]:
    """Every partner in the catalogue, by name."""
    return tuple(_catalogue().values())


def find(processor: str) -> PartnerAdapter | None:
    """The adapter of that name, if the catalogue has it."""
    found = _catalogue().get(processor)
    return None if found is None else found.adapter


def names() -> list[str]:
    """The names in the catalogue."""
    return list(_catalogue())


def nearest(processor: str) -> list[str]:
    """The names that may have been meant, the nearest first, at most three."""
    wrong = _folded(processor)
    if wrong in _RENAMED:
        return [_RENAMED[wrong]]
    scores = {each.processor: _likeness(wrong, each) for each in partners()}
    best = max(scores.values())
    near = [name for name in scores if scores[name] >= max(_NEAR, best - _MARGIN)]
    return sorted(near, key=lambda name: -scores[name])[:3]


def _likeness(wrong: str, partner: Partner) -> float:
    from difflib import SequenceMatcher

    known = (partner.processor, _folded(partner.name))
    return max(SequenceMatcher(None, wrong, each).ratio() for each in known)


def _folded(name: str) -> str:
    return "_".join(name.lower().replace("-", " ").split())


@cache
def _catalogue() -> dict[str, Partner]:
    import csv
    from importlib.resources import files

    text = files(__package__).joinpath("catalogue.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["processor"]: _partner(row) for row in rows}


def _partner(row: dict[str, str]) -> Partner:
    return Partner(
        processor=row["processor"],
        name=row["name"],
        adapter=OWN.get(row["processor"]) or _adapter(row),
        source=row["source"] or None,
        permissions_source=row["permissions_source"] or None,
        note=row["note"] or None,
    )


def _adapter(row: dict[str, str]) -> PartnerAdapter:
    any_type = row["subtypes"] == "any"
    permissions = tuple(row["permissions"].split())
    return PartnerAdapter(
        processor=row["processor"],
        products=row["products"].split(),
        subtypes=None if any_type else row["subtypes"].split(),
        single=row["accounts"] == "one",
        as_given=row["accounts"] == "given",
        permissions=permissions or None,
    )
