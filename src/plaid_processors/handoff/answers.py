"""A partner's answer → its value, or the error that says what to do next. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import AttrsInstance, asdict, fields, frozen

from .._engine.http import HttpFailure, HttpOutcome
from ..redaction import redact
from .errors import HandoffError, PartnerApiError, PartnerConnectionError, PartnerFault
from .requests import HandoffRequest

T = TypeVar("T")
Json = dict[str, Any]

_RETRYABLE = (408, 429, 500, 502, 503, 504)
_LATER = "Nothing was changed: call again later."
_KEYS = "Check the keys, and that they belong to this environment of the partner's."
_FIX = "Nothing was changed: fix what the answer names."
_WAY = "Nothing was changed: check the address, the proxy and the certificates on the way."


class UnusableError(Exception):
    """An answer that means success cannot be used; its text is the reason."""


@frozen(kw_only=True)
class PartnerApi:
    """What a partner's API is like."""

    name: str
    target: str  # the argument that says whom tokens are handed over for
    hosts: Mapping[str, str]  # the address of each environment
    settings: tuple[str, ...]  # the arguments for `from_env`, the two keys first
    if_unknown: str  # the advice where the partner may have acted all the same
    repeatable: bool  # whether the same call may follow an unknown outcome
    faults: Callable[[Json], list[PartnerFault]]  # the errors that an answer lists, as they are


def outcome_of(
    api: PartnerApi,
    request: HandoffRequest,
    read: Callable[[Json], T],
    secrets: tuple[str, ...],
    outcome: HttpOutcome,
) -> T | HandoffError:
    """What ``read`` makes of a good answer, or the error; ``read`` may raise `UnusableError`."""
    known: dict[str, Any] = {"partner": api.name, "endpoint": request.endpoint}
    if isinstance(outcome, HttpFailure):
        return _no_answer(api, request.changes, outcome, known)
    known["http_status"] = status = outcome.status
    try:
        body = json.loads(outcome.body)
    except (ValueError, RecursionError):
        body = None
    error: HandoffError
    faults = api.faults(body) if isinstance(body, dict) else []
    # A gateway's page does not say whether the partner itself was reached.
    if faults or not 200 <= status < 300:
        error = _api_error(api, request.changes, faults, known, secrets)
    else:
        try:
            if isinstance(body, dict):
                return read(body)
            why = "not JSON"
        except UnusableError as unusable:
            why = str(unusable)
        failure = HttpFailure(reason=f"its answer is {why} (HTTP {status})", sent=True)
        error = _no_answer(api, request.changes, failure, known)
    error.retry_after = outcome.retry_after
    return error


def _api_error(
    api: PartnerApi, changes: bool, faults: list[PartnerFault], known: Json, masks: tuple[str, ...]
) -> PartnerApiError:
    status = known["http_status"]
    unknown = changes and (status >= 500 or status == 408 or 200 <= status < 300)
    advice = _FIX if faults else _WAY
    if unknown:
        advice = api.if_unknown
    elif status in (401, 403):
        advice = _KEYS
    elif status in _RETRYABLE:
        advice = _LATER
    # 5xx, and what lists no fault, is a gateway's, or of a partner that fails.
    verb = "refused" if faults and 400 <= status < 500 else "answered"
    message = f"{api.name} {verb} {known['endpoint']} with HTTP {status}"
    if faults:
        message += ": " + "; ".join(f"{each.code}: {each.message}" for each in faults)
    return PartnerApiError(
        redact(message, masks),
        advice=advice,
        outcome_unknown=unknown,
        retryable=status in _RETRYABLE and (api.repeatable or not unknown),
        faults=tuple(_masked(each, masks) for each in faults),
        **known,
    )


def _masked(fault: PartnerFault, masks: tuple[str, ...]) -> PartnerFault:
    # Decisions are made on the code: no value of the caller's is masked in it.
    code = fault.code and redact(fault.code)
    return PartnerFault(**{**masked(asdict(fault), masks), "code": code})


def _no_answer(
    api: PartnerApi, changes: bool, failure: HttpFailure, known: Json
) -> PartnerConnectionError:
    unknown = changes and failure.sent
    advice = _LATER if failure.passing else _WAY
    return PartnerConnectionError(
        f"no usable answer from {api.name} to {known['endpoint']}: {failure.reason}",
        advice=api.if_unknown if unknown else advice,
        outcome_unknown=unknown,
        retryable=failure.passing and (api.repeatable or not unknown),
        reason=failure.reason,
        **known,
    )


def text_of(data: object, key: str) -> str | None:
    """A text of a JSON object; None where it is missing, or where there is no object."""
    value = data.get(key) if isinstance(data, Mapping) else None
    return value if isinstance(value, str) and value else None


def texts_of(data: Json, kind: type[AttrsInstance]) -> dict[str, Any]:
    """The texts of a JSON object for the fields of an attrs class."""
    return {each.name: text_of(data, each.name) for each in fields(kind)}


def named_in(body: Json, kind: str) -> list[object]:
    """The ids of the things of this kind that an answer names, however deep.

    As ``{kind}_id``, in camel case or not, as an object with an id, or as a link to it.
    """
    found: list[object] = []
    waiting: list[object] = [body]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        for key, value in each.items() if isinstance(each, dict) else ():
            waiting.append(value)
            name = key.lower().replace("_", "")
            if name in (f"{kind}id", f"owner{kind}id"):
                found.append(value)
            elif name == kind and isinstance(value, dict):
                last_part = (text_of(value, "href") or "").rstrip("/").rpartition("/")[2]
                found += [text_of(value, "id"), text_of(value.get("data"), "id"), last_part or None]
    return [each for each in found if each is not None]


def has_more(body: Json) -> bool:
    """Whether a list says, in one of the usual ways, that there are further pages."""
    places = [body, *(body.get(name) for name in ("meta", "page", "pagination", "links"))]
    places += [place.get("pagination") for place in places if isinstance(place, dict)]
    names = ("has_more", "hasMore", "next", "next_cursor", "next_page")
    return any(place.get(name) for place in places if isinstance(place, dict) for name in names)


def objects(value: object) -> list[Json]:
    """The JSON objects of a list; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def masked(data: Json, secrets: tuple[str, ...]) -> Json:
    """A JSON object in which tokens and these secrets are masked from now on, however deep."""
    waiting: list[Any] = [data]
    while waiting:
        each = waiting.pop()
        for key, value in each.items() if isinstance(each, dict) else enumerate(each):
            if isinstance(value, str):
                each[key] = redact(value, secrets)
            elif isinstance(value, (dict, list)):
                waiting.append(value)
    return data
