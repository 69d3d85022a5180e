"""The wire format: a request, an answer, and Plaid's way of writing JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

API_VERSION = "2020-09-14"
# https://plaid.com/docs/api/versioning/: the versions that exist; answers are those of the last.
API_VERSIONS = frozenset({"2017-03-08", "2018-05-22", "2019-05-29", API_VERSION})

# Go's JSON encoder, which Plaid appears to use, escapes these inside strings.
_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request, fully read; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One HTTP answer, not yet sent."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def to_json(value: object) -> bytes:
    """Write JSON as Plaid does: two spaces, sorted keys, no final newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.translate(_ESCAPES).encode("utf-8", "replace")


def json_answer(status: int, value: Json, version: str = API_VERSION) -> Answer:
    """Answer in JSON with the headers that Plaid sends."""
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Plaid-Version": version,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return Answer(status=status, body=to_json(value), headers=headers)


# Plaid's requests nest a few levels; what recurses over a value stays far from Python's limit.
DEEPEST = 100
_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")


def from_json(body: bytes) -> Any:
    """Read strict JSON; raise ValueError if it cannot be read, or is nested too deeply.

    As in Go, a number must fit into a float, and an escape for half of a surrogate pair is read as
    U+FFFD.
    """
    text = body.decode("utf-8")
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return _mended(value) if "\\ud" in text.lower() else value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a number of JSON")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise _too_deep()


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return _HALF_A_PAIR.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    return value


def _too_deep() -> ValueError:
    return ValueError(f"nested more than {DEEPEST} levels deep")
