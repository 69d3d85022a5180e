"""The wire format: a request, an answer, and Plaid's way of writing JSON."""

from __future__ import annotations

import json
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


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def from_json(body: bytes) -> Any:
    """Read strict JSON; raise ValueError if it cannot be read."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
