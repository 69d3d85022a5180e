"""How a Link session went (``/link/token/get``), for a back end without a front end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from attrs import field, fields, frozen

from .redaction import mask_repr
from .results import Account, as_accounts, in_snake_case, text_in, time_in


class NoPublicTokenError(ValueError):
    """A session added Items, and none of them has its public token."""


class SessionState(StrEnum):
    """How far the user is in Link.

    Attributes:
        WAITING: ``waiting``: the user is not through Link yet.
        SUCCESS: ``success``: the user has connected a bank.
        EXITED: ``exited``: the user has left without one.
    """

    WAITING = "waiting"
    SUCCESS = "success"
    EXITED = "exited"


@frozen(kw_only=True)
class LinkFailure:
    """What went wrong in Link before the user left it.

    Attributes:
        error_type: Plaid's type, such as ``ITEM_ERROR``.
        error_code: Plaid's code, such as ``INVALID_CREDENTIALS``.
        error_message: what it means, for developers.
        display_message: what it means, for the user.
    """

    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    display_message: str | None = None


@frozen(kw_only=True)
class SessionItem:
    """One of the Items that the user connected in a Link session.

    Attributes:
        public_token: what to `link`; valid for 30 minutes.
        accounts: the accounts that the user chose.
        institution_id: Plaid's id of the bank, or None.
        institution_name: the bank's name, or None.
        link_session_id: Plaid's id of the session, or None.
    """

    public_token: str = field(repr=mask_repr)
    accounts: tuple[Account, ...] = ()
    institution_id: str | None = None
    institution_name: str | None = None
    link_session_id: str | None = None

    @property
    def metadata(self) -> dict[str, object]:
        """The second argument of Link's onSuccess for this Item, for `link`; JSON-ready."""
        return _metadata(self)


@frozen(kw_only=True)
class LinkSession:
    """How Link went for a link token (``/link/token/get``).

    Attributes:
        state: ``waiting``, ``success`` or ``exited``.
        link_session_id: Plaid's id of the session; None if Link was not opened yet.
        items: after a success, every Item that the user connected, each to be linked by itself:
            several in multi-Item Link, none after update mode without a new Item.
        public_token: that of the first of ``items``, or None.
        accounts: those of the first of ``items``.
        institution_id: Plaid's id of the bank, if one was chosen.
        institution_name: the bank's name, if one was chosen.
        error: after an exit, what had gone wrong; None if the user just left.
        exit_status: after an exit, what Link was waiting for, such as ``requires_credentials``.
        request_id: Plaid's id of the request, for its support.
    """

    state: SessionState
    link_session_id: str | None = None
    public_token: str | None = field(default=None, repr=mask_repr)
    accounts: tuple[Account, ...] = ()
    institution_id: str | None = None
    institution_name: str | None = None
    error: LinkFailure | None = None
    exit_status: str | None = None
    request_id: str | None = None
    items: tuple[SessionItem, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the user has succeeded or left."""
        return self.state is not SessionState.WAITING

    @property
    def metadata(self) -> dict[str, object]:
        """The second argument of Link's onSuccess, for `link`; JSON-ready."""
        return _metadata(self)


def _metadata(of: SessionItem | LinkSession) -> dict[str, object]:
    bank = {"institution_id": of.institution_id, "name": of.institution_name}
    shown = ("name", "mask", "type", "subtype", "verification_status")
    return {
        "institution": bank if any(bank.values()) else None,
        # None, so that `link` asks Plaid: an empty list would mean no account.
        "accounts": [
            {"id": each.account_id, **{name: getattr(each, name) for name in shown}}
            for each in of.accounts
        ]
        or None,
        "link_session_id": of.link_session_id,
    }


def read_metadata(metadata: object) -> tuple[dict[str, str | None], Any]:
    """From Link's metadata: bank and session, by the names of `LinkedItem`; and the accounts."""
    if metadata is None:
        return {}, None
    if not isinstance(metadata, Mapping):
        raise TypeError(
            f"metadata must be Link's metadata object, not {type(metadata).__name__}: "
            "read JSON text with json.loads first"
        )
    said = in_snake_case(metadata)
    if isinstance(said.get("metadata"), Mapping):
        raise TypeError("metadata must be Link's metadata object: of onSuccess pass only that")
    institution = said.get("institution")
    if isinstance(institution, str) and institution.startswith("{"):
        raise TypeError("metadata['institution'] is JSON text: read it with json.loads first")
    # Some of Link's wrappers give the bank's fields beside the others.
    bank = in_snake_case(institution) if isinstance(institution, Mapping) else {**said, "id": None}
    origin = {
        "institution_id": text_in(bank, "institution_id") or text_in(bank, "id"),
        "institution_name": text_in(bank, "name") or text_in(bank, "institution_name"),
        "link_session_id": text_in(said, "link_session_id"),
    }
    return origin, said.get("accounts")


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def read_session(sessions: object, request_id: str | None) -> LinkSession:
    """The session that counts among those of a link token: the latest success, else the latest."""
    listed = [] if sessions is None else sessions
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise TypeError
    # As times and not as texts: fractions have up to nine digits, or none.
    in_order = sorted(listed, key=lambda each: time_in(each, "started_at") or _LONG_AGO)
    read = [_read(each, request_id) for each in in_order or [{}]]
    succeeded = [each for each in read if each.state is SessionState.SUCCESS]
    return (succeeded or read)[-1]


def _read(session: Mapping[str, Any], request_id: str | None) -> LinkSession:
    session_id = text_in(session, "link_session_id")
    items = tuple(_read_item(each, session_id) for each in _added(session))
    left = {} if items else _mapping(session.get("exit") or session.get("on_exit"))
    state = SessionState.EXITED if left else SessionState.WAITING
    if items or (not left and text_in(session, "finished_at")):  # update mode adds no Item
        state = SessionState.SUCCESS
    metadata = _mapping(left.get("metadata"))
    institution = _mapping(metadata.get("institution"))
    error = _mapping(left.get("error"))
    failure = LinkFailure(**{each.name: text_in(error, each.name) for each in fields(LinkFailure)})
    first = items[0] if items else None
    return LinkSession(
        state=state,
        link_session_id=session_id,
        public_token=first.public_token if first else None,
        accounts=first.accounts if first else (),
        institution_id=first.institution_id if first else text_in(institution, "institution_id"),
        institution_name=first.institution_name if first else text_in(institution, "name"),
        error=failure if failure.error_code or failure.error_type else None,
        exit_status=text_in(metadata, "status"),
        request_id=request_id,
        items=items,
    )


def _read_item(added: Mapping[str, Any], session_id: str | None) -> SessionItem:
    institution, listed = _mapping(added.get("institution")), added.get("accounts")
    try:
        accounts = as_accounts(listed if isinstance(listed, list) else ())
    except (TypeError, ValueError):  # one without an id: the public token must not be lost
        accounts = ()
    return SessionItem(
        public_token=added["public_token"],
        accounts=accounts,
        institution_id=text_in(institution, "institution_id"),
        institution_name=text_in(institution, "name"),
        link_session_id=session_id,
    )


def _added(session: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was connected, in the newer form, else in the older one (``on_success``)."""
    results = _mapping(session.get("results")).get("item_add_results")
    if isinstance(results, list) and results:
        usable = [each for each in map(_mapping, results) if text_in(each, "public_token")]
        if not usable:
            raise NoPublicTokenError
        return usable
    older = _mapping(session.get("on_success"))
    return [{**_mapping(older.get("metadata")), **older}] if text_in(older, "public_token") else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
