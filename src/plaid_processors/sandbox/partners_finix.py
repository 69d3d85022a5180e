"""A stand-in for Finix: payment instruments of bank accounts, by Plaid's processor tokens.

Made from Finix's published description and, for ``third_party: "PLAID"``, from public code of third
parties. Finix's answer to an invalid token is not known. The errors for it are made up, and so is
the refusal of an instrument if auth or identity cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from .local import LocalSandbox
from .partners_http import Asked, PartnerServer, PlaidRefusedError, json_reply
from .wire import Answer, Json

_TAKEN = ("checking", "savings")
_LIMIT = 20


@dataclass(frozen=True, kw_only=True)
class FinixInstrument:
    """A payment instrument, with what Finix read of its account at Plaid.

    Attributes:
        id: Finix's id.
        identity: the identity that it belongs to.
        account_id: Plaid's id of the account.
        subtype: the account's subtype.
        account_number: the account's number.
        routing_number: the bank's routing number.
        owners: the names of the account's owners.
        processor_token: the token that it was made with.
        enabled: False if it was disabled.

    """

    id: str
    identity: str
    account_id: str
    subtype: str
    account_number: str = field(repr=False)
    routing_number: str
    owners: tuple[str, ...]
    processor_token: str = field(repr=False)
    enabled: bool = True

    def view(self) -> Json:
        """Write it as Finix does."""
        return {
            "id": self.id,
            "identity": self.identity,
            "type": "BANK_ACCOUNT",
            "instrument_type": "BANK_ACCOUNT",
            "third_party": "PLAID",
            "currency": "USD",
            "enabled": self.enabled,
            "masked_account_number": "XXXXX" + self.account_number[-4:],
            "bank_code": self.routing_number,
            "name": ", ".join(self.owners),
        }


class RefusedError(Exception):
    """Finix refuses the request."""

    def __init__(self, status: int, code: str, message: str, field_name: str | None = None):
        self.answer = json_reply(status, _errors(code, message, field_name))
        super().__init__(code)


def _errors(code: str, message: str, field_name: str | None) -> Json:
    error = {"code": code, "message": message, "logref": "local-finix"}
    if field_name:
        error["field"] = field_name
    return {"total": 1, "_embedded": {"errors": [error]}}


def _changed(instrument: FinixInstrument, body: Json) -> FinixInstrument:
    enabled = body.get("enabled", instrument.enabled)
    if not isinstance(enabled, bool):
        raise RefusedError(422, "INVALID_FIELD", "must be true or false", "enabled")
    return replace(instrument, enabled=enabled)


class LocalFinix(PartnerServer):
    """A stand-in for Finix on this machine; `username` and `password` are its keys."""

    def __init__(self, plaid: LocalSandbox, **options: Any):
        super().__init__(plaid, **options)
        self.username = f"US{self._ids.word('user', 22)}"
        self.password = self._ids.uuid("password")
        self._identities: set[str] = set()
        self._instruments: list[FinixInstrument] = []

    def new_identity(self) -> str:
        """Make an identity, as ``POST /identities`` does, and return its id."""
        with self._lock:
            identity = f"ID{self._ids.word('identity', 22)}"
            self._identities.add(identity)
            return identity

    @property
    def instruments(self) -> tuple[FinixInstrument, ...]:
        """Every instrument, in the order they were made."""
        with self._lock:
            return tuple(self._instruments)

    def answer(self, asked: Asked) -> Answer:
        """Answer a request as Finix would."""
        try:
            return self._answer(asked)
        except RefusedError as refused:
            return refused.answer

    def _answer(self, asked: Asked) -> Answer:
        if asked.basic() != (self.username, self.password):
            raise RefusedError(401, "UNKNOWN", "Unauthorized")
        match asked.method, asked.parts:
            case "POST", ["identities"]:
                return json_reply(201, {"id": self.new_identity(), **asked.json()})
            case "POST", ["payment_instruments"]:
                return json_reply(201, self._create(asked.json()).view())
            case "GET", ["payment_instruments"]:
                return json_reply(200, self._list(asked))
            case "GET", ["payment_instruments", wanted]:
                for each in self._instruments:
                    if each.id == wanted:
                        return json_reply(200, each.view())
            case "PUT", ["payment_instruments", wanted]:
                for place, each in enumerate(self._instruments):
                    if each.id == wanted:
                        self._instruments[place] = _changed(each, asked.json())
                        return json_reply(200, self._instruments[place].view())
        raise RefusedError(404, "NOT_FOUND", f"nothing at {asked.path}")

    def _list(self, asked: Asked) -> Json:
        owner, after = asked.query.get("owner_identity_id"), asked.query.get("after_cursor")
        listed = [each for each in self._instruments if owner in (None, each.identity)]
        ids = [each.id for each in listed]
        start = ids.index(after) + 1 if after in ids else 0
        asked_limit = asked.query.get("limit", str(_LIMIT))
        if not re.fullmatch(r"[1-9][0-9]{0,3}", asked_limit):
            raise RefusedError(400, "BAD_REQUEST", "limit must be a number, at least 1")
        limit = min(int(asked_limit), _LIMIT)
        page = listed[start : start + limit]
        more = page and start + limit < len(listed)
        return {
            "_embedded": {"payment_instruments": [each.view() for each in page]},
            "page": {"limit": limit, "next_cursor": page[-1].id if more else None},
        }

    def _create(self, body: Json) -> FinixInstrument:
        if body.get("type") != "BANK_ACCOUNT" or body.get("third_party") != "PLAID":
            raise RefusedError(400, "BAD_REQUEST", "only bank accounts of Plaid's are known here")
        identity, token = body.get("identity"), body.get("third_party_token")
        if not isinstance(identity, str) or identity not in self._identities:
            raise RefusedError(422, "INVALID_FIELD", "no such identity", "identity")
        if not isinstance(token, str):
            raise RefusedError(422, "INVALID_FIELD", "is missing", "third_party_token")
        instrument = self._read(identity, token)
        self._instruments.append(instrument)
        return instrument

    def _read(self, identity: str, token: str) -> FinixInstrument:
        """Read the account at Plaid, as Finix's guide says: Auth and Identity."""
        try:
            auth = self.read_from_plaid("/processor/auth/get", token)
            owned = self.read_from_plaid("/processor/identity/get", token)
        except PlaidRefusedError as refused:
            raise RefusedError(
                422, "UNPROCESSABLE_ENTITY", f"Plaid refused: {refused.code}", "third_party_token"
            ) from None
        try:
            return self._instrument(identity, token, auth, owned)
        except (KeyError, TypeError, AttributeError):  # a fault changed Plaid's answer
            words = "Plaid's answer has another form"
            raise RefusedError(422, "UNPROCESSABLE_ENTITY", words, "third_party_token") from None

    def _instrument(self, identity: str, token: str, auth: Json, owned: Json) -> FinixInstrument:
        account, numbers = auth["account"], auth["numbers"].get("ach")
        if account["subtype"] not in _TAKEN or numbers is None:
            words = f"an account of subtype {account['subtype']} cannot be used"
            raise RefusedError(422, "UNPROCESSABLE_ENTITY", words, "third_party_token")
        owners = owned["account"]["owners"]
        return FinixInstrument(
            id=f"PI{self._ids.word('instrument', 22)}",
            identity=identity,
            account_id=account["account_id"],
            subtype=account["subtype"],
            account_number=numbers["account"],
            routing_number=numbers["routing"],
            owners=tuple(name for owner in owners for name in owner["names"]),
            processor_token=token,
        )
