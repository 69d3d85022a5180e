"""Every partner of plaid-python 46, and Stripe. What Plaid's pages say is in catalogue.tsv."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from itertools import zip_longest
from pkgutil import get_data

from attrs import frozen

from ..errors import UnknownProcessorError
from .base import FinixAdapter, LayerAdapter, PartnerAdapter

# Not a value of `processor`: it has an endpoint of its own.
# "one-time use", https://plaid.com/docs/auth/partnerships/stripe/
STRIPE = "stripe"

# How long a token lives; those of other partners do not expire.
# "Do processor tokens expire?", https://support.plaid.com/hc/en-us/articles/14977241619991
LIFETIMES = {"dwolla": timedelta(hours=1), "unit": timedelta(hours=24)}

_OWN = {"finix": FinixAdapter(), "layer": LayerAdapter()}


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


def get_adapter(processor: str) -> PartnerAdapter:
    """The adapter for Plaid's name of a partner; an UnknownProcessorError names the nearest."""
    if not isinstance(processor, str):
        raise TypeError(f"a partner's name must be a string, not {type(processor).__name__}")
    known = _catalogue()
    if processor not in known:
        raise UnknownProcessorError(processor, suggestions=_nearest(processor), known=[*known])
    return known[processor].adapter


def get_adapters(
    partner: str | PartnerAdapter | Iterable[str | PartnerAdapter],
) -> tuple[PartnerAdapter, ...]:
    """The adapters for what was given as "the partner": a name, an adapter, or several."""
    several = [partner] if isinstance(partner, (str, PartnerAdapter)) else partner
    if not isinstance(several, Iterable):
        raise TypeError(
            "the partner must be a name, a PartnerAdapter, or a sequence of these, "
            f"not {type(partner).__name__}"
        )
    adapters = tuple(
        each if isinstance(each, PartnerAdapter) else get_adapter(each) for each in several
    )
    names = [adapter.processor for adapter in adapters]
    if not names:
        raise ValueError("no partner was given; known are finix, layer and others")
    if len(set(names)) < len(names):
        raise ValueError(f"a partner was given twice: {', '.join(names)}")
    return adapters


def products_of(adapters: Iterable[PartnerAdapter]) -> list[str]:
    """The products of all these partners, each once, in their order."""
    return list(dict.fromkeys(product for each in adapters for product in each.products))


def _nearest(processor: str) -> list[str]:
    """The names that it may be a misspelling of; none is better than another company's."""
    known = {_words(each.name): each.processor for each in partners()}
    known.update((_words(processor), processor) for processor in _catalogue())
    known["paynote",] = "seamlessach"  # https://github.com/plaid/plaid-python/pull/586
    wrong = _words(processor)
    by_letters = {"".join(words): processor for words, processor in known.items()}
    near = get_close_matches("".join(wrong), by_letters, cutoff=0.8)
    beginnings = [name for words, name in known.items() if wrong and _begins(wrong, words)]
    return list(dict.fromkeys([by_letters[each] for each in near] or beginnings))


def _words(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[^\W_]+", name.lower()))


def _begins(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


@cache
def _catalogue() -> dict[str, Partner]:
    text = get_data(__package__, "catalogue.tsv") or b""
    header, *rows = (line.split("\t") for line in text.decode().splitlines())
    return {row[0]: _partner(dict(zip_longest(header, row, fillvalue=""))) for row in rows}


def _partner(row: dict[str, str]) -> Partner:
    adapter = _OWN.get(row["processor"]) or PartnerAdapter(
        processor=row["processor"],
        products=row["products"].split(),
        subtypes=None if row["subtypes"] == "any" else row["subtypes"].split(),
        single=row["accounts"] == "one",
        as_given=row["accounts"] == "given",
        permissions=row["permissions"].split() or None,
    )
    return Partner(
        processor=row["processor"],
        name=row["name"],
        adapter=adapter,
        source=row["source"] or None,
        permissions_source=row["permissions_source"] or None,
        note=row["note"] or None,
    )
