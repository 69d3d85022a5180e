"""The stored form of a result, read with suspicion. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from .results import (
    RESULT_FORMAT,
    Account,
    Environment,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    StripeBankAccountToken,
)


def from_dict(data: Mapping[str, Any]) -> LinkResult:
    """Read what `LinkResult.to_dict` wrote.

    Raises:
        ValueError: it is not such a form, or one of another version.
    """
    version = data.get("format") if hasattr(data, "get") else type(data).__name__
    if version != RESULT_FORMAT:
        raise ValueError(
            f"not a result that this version can read: format {version!r}, expected {RESULT_FORMAT}"
        )
    try:
        return _result_from(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # The values are secrets: only the kind of fault is told.
        fault = type(error).__name__
    raise ValueError(f"not a stored result: {fault} in its fields")


def _result_from(data: Mapping[str, Any]) -> LinkResult:
    own = ("access_token", "environment", "entries", "unselected")
    names = [each.name for each in attrs.fields(LinkResult) if each.name not in own]
    return LinkResult(
        access_token=_stored_text(data["access_token"]),
        environment=Environment(data["environment"]),
        entries=tuple(_entry_from(each) for each in data["entries"]),
        unselected=tuple(_partner_from(each) for each in data["unselected"]),
        **{name: _optional_text(data.get(name)) for name in names},
    )


def _stored_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _optional_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError


def _stored_moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _entry_from(data: Mapping[str, Any]) -> ProcessorToken | PendingToken:
    return _token_from(data) if "processor_token" in data else _pending_from(data)


def _token_from(data: Mapping[str, Any]) -> ProcessorToken:
    expires_at = data.get("expires_at")
    kind = StripeBankAccountToken if data["processor"] == "stripe" else ProcessorToken
    return kind(
        processor=_stored_text(data["processor"]),
        account=_account_from(data["account"]),
        processor_token=_stored_text(data["processor_token"]),
        request_id=_optional_text(data.get("request_id")),
        issued_at=_stored_moment(data["issued_at"]),
        expires_at=None if expires_at is None else _stored_moment(expires_at),
    )


def _pending_from(data: Mapping[str, Any]) -> PendingToken:
    return PendingToken(
        processor=_stored_text(data["processor"]),
        account=_account_from(data["account"]),
        error_code=_optional_text(data.get("error_code")),
        error_message=_optional_text(data.get("error_message")),
        permissions=_optional_texts(data.get("permissions")),
        unnarrowed=None if data.get("unnarrowed") is None else _token_from(data["unnarrowed"]),
    )


def _account_from(data: Mapping[str, Any]) -> Account:
    others = [each.name for each in attrs.fields(Account) if each.name != "account_id"]
    return Account(
        account_id=_stored_text(data["account_id"]),
        **{name: _optional_text(data.get(name)) for name in others},
    )


def _partner_from(data: Mapping[str, Any]) -> PendingPartner:
    return PendingPartner(
        processor=_stored_text(data["processor"]),
        first_fitting=data.get("first_fitting") is True,
        account_ids=_optional_texts(data.get("account_ids")),
        permissions=_optional_texts(data.get("permissions")),
    )


def _optional_texts(values: Iterable[object] | None) -> tuple[str, ...] | None:
    if isinstance(values, str):
        raise TypeError
    return None if values is None else tuple(_stored_text(each) for each in values)
