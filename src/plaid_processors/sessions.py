"""How a Link session went, as ``/link/token/get`` tells it: for a back end without a front end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from .redaction import mask_repr
from .results import Account, as_accounts


class SessionState(StrEnum):
    """What a Link session has come to."""

    WAITING = "waiting"
    """Nobody has opened Link yet, or the user is still in it."""
    SUCCESS = "success"
    """The user has connected a bank: `link` what they chose."""
    EXITED = "exited"
    """The user has left without connecting a bank."""


@frozen(kw_only=True)
class LinkFailure:
    """What went wrong in Link before the user left it.

    Attributes:
        error_type: Plaid's type, such as ``ITEM_ERROR``.
        error_code: Plaid's code, such as ``INVALID_CREDENTIALS``.
        error_message: what it means, for developers.
        display_message: likewise, for the user.
    """

    error_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    display_message: str | None = None


@frozen(kw_only=True)
class LinkSession:
    """How Link went for a link token (``/link/token/get``).

    Attributes:
        state: ``waiting``, ``success`` or ``exited``.
        link_session_id: Plaid's id of the session; None if Link was not opened yet.
        public_token: after a success, what to `link`; 30 minutes valid. None after an update mode
            that handed over nothing.
        accounts: after a success, the accounts that the user chose.
        institution_id: the bank, where one was chosen.
        institution_name: its name, likewise.
        error: after an exit, what had gone wrong; None if the user just left.
        exit_status: after an exit, what Link was waiting for, such as ``requires_credentials``.
        request_id: what Plaid's support asks for.
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

    @property
    def finished(self) -> bool:
        """Whether the user is through, one way or the other."""
        return self.state is not SessionState.WAITING

    @property
    def metadata(self) -> dict[str, object]:
        """The second argument of Link's onSuccess, for `link`; JSON-ready."""
        shown = ("name", "mask", "type", "subtype", "verification_status")
        return {
            "institution": {"institution_id": self.institution_id, "name": self.institution_name}
            if self.institution_id
            else None,
            "accounts": [
                {"id": each.account_id, **{name: getattr(each, name) for name in shown}}
                for each in self.accounts
            ],
            "link_session_id": self.link_session_id,
        }


def read_session(sessions: object, request_id: str | None) -> LinkSession:
    """The session that counts, of those that a link token has opened.

    One that succeeded counts before all others; else the latest does.

    Raises:
        TypeError, ValueError: they cannot be read.
    """
    told = [_read(each, request_id) for each in _mappings(sessions)]
    succeeded = [each for each in told if each.state is SessionState.SUCCESS]
    waiting = LinkSession(state=SessionState.WAITING, request_id=request_id)
    return (succeeded or told or [waiting])[-1]


def _mappings(values: object) -> Sequence[Mapping[str, Any]]:
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(each, Mapping) for each in values):
        raise TypeError
    return sorted(values, key=lambda each: _text(each, "started_at") or "")


def _read(session: Mapping[str, Any], request_id: str | None) -> LinkSession:
    waiting = LinkSession(
        state=SessionState.WAITING,
        link_session_id=_text(session, "link_session_id"),
        request_id=request_id,
    )
    if added := _added(session):
        return evolve(
            _at_bank(waiting, added),
            state=SessionState.SUCCESS,
            public_token=_text(added, "public_token"),
            accounts=as_accounts(_accounts(added)),
        )
    if ended := _mapping(session.get("exit") or session.get("on_exit")):
        metadata = _mapping(ended.get("metadata"))
        return evolve(
            _at_bank(waiting, metadata),
            state=SessionState.EXITED,
            error=_failure(_mapping(ended.get("error"))),
            exit_status=_text(metadata, "status"),
        )
    # Ended without an Item and without an exit: update mode, which has nothing to hand over.
    ended_well = _text(session, "finished_at") is not None
    return evolve(waiting, state=SessionState.SUCCESS) if ended_well else waiting


def _at_bank(session: LinkSession, told: Mapping[str, Any]) -> LinkSession:
    institution = _mapping(told.get("institution"))
    return evolve(
        session,
        institution_id=_text(institution, "institution_id"),
        institution_name=_text(institution, "name"),
    )


def _added(session: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What was connected: in the newer form, else in the older one (``on_success``)."""
    results = _mapping(session.get("results")).get("item_add_results")
    if isinstance(results, list) and results:
        return _mapping(results[0])
    older = _mapping(session.get("on_success"))
    return {**_mapping(older.get("metadata")), **older} if older.get("public_token") else None


def _accounts(added: Mapping[str, Any]) -> Iterable[Any]:
    accounts = added.get("accounts")
    return accounts if isinstance(accounts, list) else ()


def _failure(error: Mapping[str, Any]) -> LinkFailure | None:
    names = ("error_type", "error_code", "error_message", "display_message")
    told = {name: _text(error, name) for name in names}
    return LinkFailure(**told) if told["error_code"] or told["error_type"] else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(data: Mapping[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) and value else None
