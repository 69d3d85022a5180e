"""What Plaid's error codes mean: the table is codes.tsv.

Its rows are the codes of https://plaid.com/docs/errors/ by name, then their types, for any other
code. The class says what the caller does next; `PlaidApiError` itself is for what only Plaid can
mend. Retried "5xx" is what an error of that HTTP status is. An empty advice is that of the class.
"""

from __future__ import annotations

from pkgutil import get_data

from attrs import frozen

from .. import errors


@frozen
class Meaning:
    """What a code means."""

    error: type[errors.PlaidApiError] = errors.PlaidApiError
    retried: str = "5xx"  # "always", "never" or "5xx"
    advice: str = ""


def meaning_of(error_code: str, error_type: str) -> Meaning:
    return _TABLE.get(error_code) or _TABLE.get(error_type) or Meaning()


def _read_table() -> dict[str, Meaning]:
    text = get_data(__package__, "codes.tsv") or b""
    _header, *rows = (line.split("\t") for line in text.decode().splitlines())
    return {
        name: Meaning(getattr(errors, error), retried, *advice)
        for name, error, retried, *advice in rows
    }


_TABLE = _read_table()  # now: at the first error, files may have run out
