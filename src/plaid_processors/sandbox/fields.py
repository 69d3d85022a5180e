"""Request schemas as data, and the check of a body against them.

Problems are reported in the same order for all endpoints: missing fields, unknown fields, then
the first value that does not fit.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from .errors import PlaidError, invalid_field

Check = Callable[[Any, str], None]


@dataclass(frozen=True, kw_only=True)
class Field:
    """The schema of one field.

    Attributes:
        type: the JSON type.
        required: whether it is required.
        nullable: whether null has a meaning; otherwise null counts as absent.
        words: Plaid's own message for a wrong type, if it has one.
        check: checks a value of the right type.
        fields: the fields of an object.
        items: the elements of a list.

    """

    type: str
    required: bool = False
    nullable: bool = False
    words: str = ""
    check: Check | None = None
    fields: Mapping[str, Field] | None = None
    items: Field | None = None


def required(spec: Field) -> Field:
    """Mark a field as required."""
    return replace(spec, required=True)


def nullable(spec: Field) -> Field:
    """Mark a required field for which null has a meaning."""
    return replace(spec, nullable=True)


def text(*, nonempty: bool = False, longest: int | None = None) -> Field:
    """Describe a string."""

    def check(value: str, path: str) -> None:
        if nonempty and not value.strip():
            raise invalid_field(f"{path} must be a non-empty string")
        if longest is not None and len(value) > longest:
            raise invalid_field(f"{path} must be at most {longest} characters long")

    return Field(type="string", check=check)


def choice(options: Sequence[str]) -> Field:
    """Describe a string from a closed list."""

    def check(value: str, path: str) -> None:
        if value not in options:
            raise invalid_field(f"{path} must be one of: {', '.join(options)}")

    return Field(type="string", check=check)


def integer(low: int | None = None, high: int | None = None) -> Field:
    """Describe a whole number within bounds."""

    def check(value: int, path: str) -> None:
        if low is not None and value < low:
            raise invalid_field(f"{path} must be greater than or equal to {low}")
        if high is not None and value > high:
            raise invalid_field(f"{path} must be less than or equal to {high}")

    return Field(type="integer", check=check)


def flag() -> Field:
    """Describe true or false."""
    return Field(type="boolean")


def number() -> Field:
    """Describe any number."""
    return Field(type="number")


def anything(check: Check) -> Field:
    """Describe a value of any type."""
    return Field(type="any", check=check)


def told(words: str, fits: Callable[[Any], bool], kind: str = "string") -> Field:
    """Describe a value whose type and form are refused with the same message."""

    def check(value: Any, path: str) -> None:
        if not fits(value):
            raise invalid_field(f"{path} {words}")

    return Field(type=kind, words=words, check=check)


def url() -> Field:
    """Describe an address that a webhook can be sent to (message seen on the Sandbox, 2020)."""
    return told("must be a non-empty string URL", is_url)


# Taken by the Sandbox, as Plaid's own client tests show; "invalid-hook" and "/webhooks/x" are not.
_BARE_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?([/?]\S*)?", re.ASCII)


def is_url(value: str) -> bool:
    """Return whether this is an http or https address with a host, or begins with a domain."""
    if "://" not in value:
        return bool(_BARE_ADDRESS.fullmatch(value))
    try:
        parts = urlsplit(value)
        spaced = any(letter.isspace() for letter in value)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not spaced
        )
    except ValueError:
        return False


# Schemes that a browser or the system acts on by itself; any other can be an app's.
_NO_APP = frozenset(
    "about blob chrome chrome-extension data feed file filesystem ftp ftps intent jar javascript "
    "livescript mailto mhtml mocha moz-extension ms-its news resource sms smsto tel vbscript "
    "view-source wss ws wyciwyg".split()
)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):[^\s\x00-\x1f\x7f]+")


def return_address() -> Field:
    """Describe an address that a browser is sent to at the end: of a page, or of an app."""
    return told("must be an http, https or app URI", is_return_address)


def is_return_address(value: str) -> bool:
    """Return whether this is an http or https address, or one with an app's own scheme."""
    match = _ADDRESS.fullmatch(value)
    if not match:
        return False
    scheme = match[1].lower()
    return is_url(value) if scheme in ("http", "https") else scheme not in _NO_APP


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def date() -> Field:
    """Describe a day (message seen on the Sandbox, 2020)."""
    return told("must be a string of the format 'YYYY-MM-DD'", is_date)


def is_date(value: str) -> bool:
    """Return whether this is a day of the calendar, YYYY-MM-DD."""
    try:
        return bool(_DATE.fullmatch(value) and dt.date.fromisoformat(value))
    except ValueError:
        return False


def instant() -> Field:
    """Describe a moment in ISO 8601."""

    def check(value: str, path: str) -> None:
        try:
            dt.datetime.fromisoformat(value)
        except ValueError:
            raise invalid_field(f"{path} must be a valid ISO 8601 datetime") from None

    return Field(type="string", check=check)


def many(items: Field, *, least: int = 0) -> Field:
    """Describe a list."""

    def check(value: list[object], path: str) -> None:
        if len(value) < least:
            raise invalid_field(f"{path} must be a non-empty array")

    return Field(type="array", items=items, check=check)


def record(**fields: Field) -> Field:
    """Describe an object with these fields and no others."""
    return Field(type="object", fields=fields)


def free() -> Field:
    """Describe an object whose content is not checked."""
    return Field(type="object")


# The keys, which every request has in addition to the endpoint's fields.
_KEY = Field(type="string", required=True, words="must be a properly formatted, non-empty string")
CREDENTIALS = {"client_id": _KEY, "secret": _KEY}

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _fits(value: object, wanted: str) -> bool:
    if wanted == "any":
        return True
    if isinstance(value, bool):  # Python's bool is an int
        return wanted == "boolean"
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[wanted])


def _must_be(kind: str) -> str:
    return f"must be {'an' if kind[0] in 'aio' else 'a'} {kind}"


@dataclass
class Report:
    """The problems of a body."""

    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    mistyped: list[str] = field(default_factory=list)
    refused: list[PlaidError] = field(default_factory=list)

    def look(self, value: Any, spec: Field, path: str) -> None:
        """Check one value and its content."""
        if not _fits(value, spec.type):
            self.mistyped.append(f"{path} {spec.words or _must_be(spec.type)}")
            return
        if spec.check:
            try:
                spec.check(value, path)
            except PlaidError as error:
                self.refused.append(error)
        if spec.items:
            for number, item in enumerate(value):
                self.look(item, spec.items, f"{path}[{number}]")
        if spec.fields is not None:
            self.look_inside(value, spec.fields, f"{path}." if path else "")

    def look_inside(self, value: Mapping[str, Any], fields: Mapping[str, Field], at: str) -> None:
        """Check an object's fields; null counts as absent, unless it has a meaning."""
        for name, spec in fields.items():
            given = value.get(name)
            if given is not None:
                self.look(given, spec, at + name)
            elif spec.required and not (spec.nullable and name in value):
                self.missing.append(at + name)
        for name, given in value.items():
            if name not in fields and given is not None:
                self.unknown.append(at + name)

    def raise_first(self, odd_body: str | None) -> None:
        """Raise the first problem; `odd_body` is the code for any value of a wrong type."""
        if self.missing:
            names = ", ".join(self.missing)
            raise PlaidError(
                "MISSING_FIELDS", f"the following required fields are missing: {names}"
            )
        if self.unknown:
            names = ", ".join(sorted(self.unknown))
            words = "the following fields are not recognized by this endpoint:"
            raise PlaidError("UNKNOWN_FIELDS", f"{words} {names}")
        if self.mistyped:
            raise PlaidError(odd_body) if odd_body else invalid_field(self.mistyped[0])
        if self.refused:
            raise self.refused[0]


def checked(
    body: Mapping[str, Any], fields: Mapping[str, Field], odd_body: str | None
) -> dict[str, Any]:
    """Refuse a body that does not fit; return it without the nulls at its top level."""
    report = Report()
    report.look_inside(body, {**CREDENTIALS, **fields}, "")
    report.raise_first(odd_body)
    return {name: value for name, value in body.items() if value is not None}
