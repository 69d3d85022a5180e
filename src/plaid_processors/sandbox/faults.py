"""Faults on demand: what fails, where, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from .calls import ENDPOINTS
from .errors import documented
from .journal import masked_text
from .wire import API_VERSION, Answer, Json, from_json, json_answer, to_json

ANYWHERE = "*"
Drop = Literal["unread", "before", "after"]
DROPS: tuple[Drop, ...] = ("unread", "before", "after")
_UNSET: Any = object()


class FaultFields(TypedDict, total=False):
    """The fields of a `Fault` without its path, as keywords."""

    times: int | None
    skip: int
    delay: float
    drop: Drop | None
    error_code: str | None
    error_type: str | None
    error_message: str | None
    status: int | None
    headers: Mapping[str, str]
    body: str | None
    json: Any
    work: bool
    change: Mapping[str, Any]
    remove: Sequence[str]
    cut: int | None
    trickle: float | None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A failure of a request.

    Attributes:
        path: the endpoint, or `*` for any.
        times: how many requests it strikes; None: all from now on.
        skip: how many requests it skips first.
        delay: seconds before the answer begins.
        drop: reset the connection: `unread` (before the request's body is read),
            `before` the request takes effect, or `after`.
        error_code: answer with this error; one of Plaid's, or any with `error_type`.
        error_type: the error's type; required if the code is not documented.
        error_message: the error's message, in place of the documented one.
        status: answer with this HTTP status, and a gateway's HTML page unless a body is given.
        headers: set these headers on the answer.
        body: answer with this text.
        json: answer with this value as JSON.
        work: whether the request takes effect although its answer is replaced.
        change: set these keys in the real answer.
        remove: remove these keys from the real answer.
        cut: send this many bytes of the body, then close the connection.
        trickle: seconds between the bytes of the body, sent one by one.

    """

    path: str = ANYWHERE
    times: int | None = 1
    skip: int = 0
    delay: float = 0
    drop: Drop | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    json: Any = _UNSET
    work: bool = False
    change: Mapping[str, Any] = field(default_factory=dict)
    remove: Sequence[str] = ()
    cut: int | None = None
    trickle: float | None = None

    def __post_init__(self) -> None:
        self._check_path()
        for name, fits, words in _RULES:
            if not fits(getattr(self, name)):
                raise ValueError(f"{name} is {words}, not {_shown(getattr(self, name))}")
        if self.error_code and not self.error_type and self.error_code not in documented():
            raise ValueError(f"{self.error_code} is no documented error: give its error_type too")

    def _check_path(self) -> None:
        if self.path != ANYWHERE and self.path not in ENDPOINTS:
            raise ValueError(f"no endpoint {self.path}; there are: {', '.join(sorted(ENDPOINTS))}")

    @property
    def replaces(self) -> bool:
        """Whether the real answer is replaced."""
        bodies = self.body is not None or self.json is not _UNSET
        return bool(self.error_code or self.status is not None or bodies)

    def to_dict(self) -> Json:
        """Write the fields that are set, as the control plane reads them."""
        default = Fault()
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in self.__dict__.items()
            if value is not _UNSET and value != getattr(default, name)
        }


def _shown(value: Any) -> str:
    simple = value is None or isinstance(value, str | int | float)
    return masked_text(repr(value))[:80] if simple else f"a {type(value).__name__}"


def _whole(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and isinstance(value, int) and low <= value <= high


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= LONGEST


def _is_text(value: Any) -> bool:
    # A lone surrogate cannot be sent.
    return isinstance(value, str) and not _SURROGATE.search(value)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_json(value: Any) -> bool:
    try:
        from_json(to_json(value))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _are_headers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and _HEADER_NAME.fullmatch(name)
        and name.lower() not in _FRAMING
        and (isinstance(given, str) or _is_number(given))
        and _HEADER_VALUE.fullmatch(str(given))
        for name, given in value.items()
    )


LONGEST = 24 * 60 * 60
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# https://www.rfc-editor.org/rfc/rfc9110#section-5: what a header can be. The server itself says how
# long a body is, for which there is `cut`.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("times", _or_none(_whole(1)), "a whole number, at least 1, or None for ever"),
    ("skip", _whole(0), "a whole number, not negative"),
    ("delay", _is_time, f"a number of seconds up to {LONGEST}, not negative"),
    ("trickle", _or_none(_is_time), f"a number of seconds up to {LONGEST}, not negative"),
    ("drop", lambda value: value is None or value in DROPS, f"one of {', '.join(DROPS)}"),
    ("error_code", _or_none(_is_text), "a text"),
    ("error_type", _or_none(_is_text), "a text"),
    ("error_message", _or_none(_is_text), "a text"),
    ("status", _or_none(_whole(200, 599)), "an HTTP status, a whole number from 200 to 599"),
    ("headers", _are_headers, "an object of header names and values, without the length"),
    ("body", _or_none(_is_text), "a text"),
    ("json", lambda value: value is _UNSET or _is_json(value), "a value of JSON"),
    ("work", lambda value: isinstance(value, bool), "true or false"),
    ("change", lambda value: isinstance(value, Mapping) and _is_json({**value}), "a JSON object"),
    (
        "remove",
        lambda value: isinstance(value, list | tuple) and all(map(_is_text, value)),
        "a list of keys",
    ),
    ("cut", _or_none(_whole(0)), "a whole number, not negative"),
)


def replacement(fault: Fault, request_id: str) -> Answer:
    """Write the answer that replaces the real one."""
    if fault.error_code:
        return _error_answer(fault, fault.error_code, request_id)
    headers = {"Content-Type": "application/json; charset=utf-8", "Plaid-Version": API_VERSION}
    body = fault.body.encode() if fault.body is not None else b""
    if fault.json is not _UNSET:
        body = to_json(fault.json)
    elif fault.body is None:
        headers = {"Content-Type": "text/html"}
        body = f"<html><body><h1>{fault.status} Gateway</h1></body></html>\n".encode()
    status = fault.status or 200
    return Answer(
        status=status,
        body=b"" if status in _NO_BODY else body,
        headers={**headers, **_headers(fault)},
    )


# https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1: these have no body.
_NO_BODY = (204, 205, 304)


def _headers(fault: Fault) -> dict[str, str]:
    return {name: str(value) for name, value in fault.headers.items()}


def _error_answer(fault: Fault, code: str, request_id: str) -> Answer:
    spec = documented().get(code)
    known = spec is not None and fault.error_type in (None, spec.type)
    message = spec.message if spec and known else ""
    body: Json = {
        "display_message": spec.display if spec and known else None,
        "error_code": code,
        "error_message": message if fault.error_message is None else fault.error_message,
        "error_type": spec.type if spec and known else fault.error_type,
        "request_id": request_id,
        "suggested_action": None,
    }
    if spec and known and spec.documentation_url:
        body["documentation_url"] = spec.documentation_url
    answer = json_answer(fault.status or (spec.status if spec and known else 400), body)
    return Answer(
        status=answer.status, body=answer.body, headers={**answer.headers, **_headers(fault)}
    )


def altered(fault: Fault, answer: Answer) -> Answer:
    """Change keys and headers of the real answer."""
    if not (fault.change or fault.remove or fault.headers):
        return answer
    body = from_json(answer.body)
    changed = {k: v for k, v in {**body, **fault.change}.items() if k not in fault.remove}
    return Answer(
        status=answer.status,
        body=to_json(changed),
        headers={**answer.headers, **_headers(fault)},
    )


def bent(
    fault: Fault | None, work: Callable[[], Answer], request_id: Callable[[], str]
) -> Answer | None:
    """Do the work and answer, as far as the fault allows; None: no answer."""
    if fault is None:
        return work()
    if fault.drop in ("unread", "before"):
        return None
    if fault.drop == "after":
        work()
        return None
    if not fault.replaces:
        return altered(fault, work())
    if fault.work:
        work()
    return replacement(fault, request_id())


class Faults:
    """The faults that are set, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        """Set a fault."""
        with self._lock:
            self._waiting.append((fault, [0]))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> tuple[Fault, ...]:
        """Return the faults that can still strike."""
        with self._lock:
            return tuple(fault for fault, _ in self._waiting)

    def unspent(self) -> tuple[tuple[Fault, int], ...]:
        """Return the faults that have not struck as often as set, each with how often it has."""
        with self._lock:
            counted = [(fault, max(seen[0] - fault.skip, 0)) for fault, seen in self._waiting]
        return tuple(each for each in counted if each[0].times is not None or not each[1])

    def take(self, path: str) -> Fault | None:
        """Return the fault that strikes a request to this path, if one does."""
        with self._lock:
            for entry in list(self._waiting):
                fault, seen = entry
                if fault.path not in (path, ANYWHERE):
                    continue
                seen[0] += 1
                struck = seen[0] - fault.skip
                if struck < 1:
                    continue
                if fault.times is not None and struck >= fault.times:
                    self._waiting.remove(entry)
                return fault
        return None
