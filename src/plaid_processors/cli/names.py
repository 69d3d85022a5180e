"""Names that a command takes, in any case; what is none of them gets a suggestion."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from difflib import get_close_matches
from importlib.resources import files

from ..adapters.catalogue import get_adapter, partners
from ..errors import UnknownProcessorError
from ..redaction import redact

TOO_MANY = "one partner at a time"


def unknown(what: str, given: str, known: Collection[str]) -> str:
    """Say that it is none of the known, and which may be meant."""
    close = get_close_matches(given.lower(), known, n=1)
    way_out = f"did you mean {close[0]!r}?" if close else f"choose {listed(known)}"
    return f"unknown {what} {redact(given)!r}: {way_out}"


def listed(names: Collection[str]) -> str:
    """Such as ``one, all or given``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def partner(text: str) -> str:
    """Plaid's name of a partner, in any case, with a space or a hyphen; or the partner's own."""
    own = {each.name.lower(): each.processor for each in partners()}
    given = " ".join(text.lower().split())
    name = own.get(given, re.sub(r"[\s-]+", "_", given))
    try:
        return get_adapter(name).processor
    except UnknownProcessorError as error:
        close = error.suggestions or _beginning_with(given)
    meant = " or ".join(map(repr, close))
    way_out = f"did you mean {meant}?" if meant else "plaid-processors partners lists them"
    raise argparse.ArgumentTypeError(f"unknown partner {redact(text)!r}: {way_out}")


def _beginning_with(given: str) -> list[str]:
    """The partners whose names begin with it; none where it says too little."""
    found = [
        each.processor
        for each in partners()
        if given and (each.processor.startswith(given) or each.name.lower().startswith(given))
    ]
    return found if len(found) <= 3 else []


def accounts(text: str) -> str:
    """How many accounts a partner takes: ``one``, ``all``, or what it is ``given``."""
    return _one_of("value", text, text.strip().lower(), ("one", "all", "given"))


def product(text: str) -> str:
    """A product that Link is opened with for some partner."""
    known = sorted({each for one in partners() for each in one.adapter.products})
    return _one_of("product", text, text.strip().lower(), known)


def subtype(text: str) -> str:
    """A subtype of Plaid's, also as plaid-python names it, such as ``CREDIT_CARD``."""
    # It is read and not imported: the local Plaid needs an extra.
    table = files(__package__.partition(".")[0]) / "sandbox" / "data" / "subtypes.tsv"
    known = {each.lower(): each for each in table.read_text(encoding="utf-8").split("\n")[1:]}
    del known[""]
    name = re.sub(r"[\s_]+", " ", text.strip().lower())
    if name not in known:
        close = get_close_matches(name, known, n=1)
        way_out = f"did you mean {known[close[0]]!r}?" if close else _SUBTYPES
        raise argparse.ArgumentTypeError(f"unknown subtype {redact(text)!r}: {way_out}")
    return known[name]


_SUBTYPES = "see https://plaid.com/docs/api/accounts/#account-type-schema"


def _one_of(what: str, given: str, name: str, known: Collection[str]) -> str:
    if name not in known:
        raise argparse.ArgumentTypeError(unknown(what, given, known))
    return name
