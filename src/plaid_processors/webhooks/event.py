"""A webhook, understood; what each code asks for is in events.tsv.

The rows are the webhooks of https://plaid.com/docs/api/items/#webhooks, of Auth's, Identity's and
Transactions' pages and https://plaid.com/docs/api/link/#webhooks: the action, what it means for the
partners' tokens (or why there is no action), and the call to make. docs/webhooks.md shows them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pkgutil import get_data
from typing import Any

from attrs import evolve, field, frozen

from .._plaid.answers import api_error
from ..errors import PlaidApiError
from ..life import LinkAction, action_for
from ..redaction import mask, mask_repr, redact
from ..results import text_in, time_in

EVENT_FORMAT = 1  # what `WebhookEvent.to_dict` writes and `WebhookEvent.from_dict` reads

_BY_ERROR = "by its error"
_TOKENS = ("link_token", "public_token", "public_tokens")
_TEXTS = (
    "webhook_type",
    "webhook_code",
    "item_id",
    "user_id",
    "status",
    "link_session_id",
    "environment",
)
_ACCOUNTS = (
    "account_id",
    "account_ids",
    "account_ids_with_new_auth",
    "account_ids_with_updated_auth",
    "account_ids_with_updated_identity",
)


def _masked(tokens: tuple[str, ...]) -> str:
    return repr(tuple(map(mask, tokens)))


@frozen(kw_only=True)
class WebhookEvent:
    """A webhook of Plaid's, after `verify_webhook`; what is not in it is None or empty.

    It may be late, repeated or out of order: it suggests, and `refresh` decides.

    Attributes:
        webhook_type: such as ``ITEM`` or ``AUTH``.
        webhook_code: such as ``ERROR`` or ``DEFAULT_UPDATE``.
        item_id: Plaid's id of the Item; webhooks of the type ``LINK`` have none.
        account_ids: the accounts that it names, whatever the field.
        user_id: Plaid's id of the user.
        status: how a Link session or a verification ended, such as ``SUCCESS``.
        link_token: the link token of a Link session.
        public_tokens: the public tokens of a Link session.
        link_session_id: Plaid's id of a Link session.
        environment: ``sandbox`` or ``production``.
        error: the Item's error, as it would be raised.
        due: when the Item will be disconnected or its consent ends.
        body: the webhook's whole JSON object. Not compared.
    """

    webhook_type: str = ""
    webhook_code: str = ""
    item_id: str | None = None
    account_ids: tuple[str, ...] = ()
    user_id: str | None = None
    status: str | None = None
    link_token: str | None = field(default=None, repr=mask_repr)
    public_tokens: tuple[str, ...] = field(default=(), repr=_masked)
    link_session_id: str | None = None
    environment: str | None = None
    error: PlaidApiError | None = field(default=None, eq=str)
    due: datetime | None = None
    body: Mapping[str, object] = field(factory=dict, repr=False, eq=False)

    @property
    def action(self) -> LinkAction | None:
        """What it asks for, if it is still true; None where there is nothing to do."""
        row = TABLE.get((self.webhook_type, self.webhook_code))
        if row is None or not row["action"]:
            return None
        if row["action"] == _BY_ERROR:
            return LinkAction.CHECK if self.error is None else action_for(self.error)
        if self.webhook_code == "SESSION_FINISHED" and self.status != "SUCCESS":
            return None
        return LinkAction(row["action"])

    def to_dict(self) -> dict[str, object]:
        """A JSON-ready form for a queue.

        Public tokens are left out, and every other token is masked, but for the link token, with
        which `link_session` finishes the link: it is of use only together with your keys, and for a
        few hours.
        """
        body: dict[str, object] = {name: getattr(self, name) for name in _TEXTS}
        body["account_ids"] = list(self.account_ids)
        body["consent_expiration_time"] = None if self.due is None else self.due.isoformat()
        if self.error is not None:
            named = ("error_type", "error_code", "error_message", "display_message", "request_id")
            body["error"] = {name: getattr(self.error, name) for name in named}
        body = {**body, **{name: each for name, each in self.body.items() if name not in _TOKENS}}
        body = json.loads(redact(json.dumps(body)))
        return {"format": EVENT_FORMAT, "link_token": self.link_token, "body": body}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WebhookEvent:
        """Read what `to_dict` wrote; a ValueError if it is something else or of another version."""
        try:
            version, body = data["format"], data["body"]
        except (TypeError, KeyError):
            version = body = None
        if version != EVENT_FORMAT or not isinstance(body, Mapping):
            raise ValueError(f"not a stored webhook of the format {EVENT_FORMAT}")
        return evolve(read_event(body), link_token=text_in(data, "link_token"))


def read_event(body: Mapping[str, object]) -> WebhookEvent:
    """A webhook from its JSON object; odd fields are read as missing."""
    accounts = [each for name in _ACCOUNTS for each in _texts(body.get(name))]
    tokens = [*_texts(body.get("public_tokens")), *_texts(body.get("public_token"))]
    return WebhookEvent(
        webhook_type=text_in(body, "webhook_type") or "",
        webhook_code=text_in(body, "webhook_code") or "",
        item_id=text_in(body, "item_id"),
        account_ids=tuple(dict.fromkeys(accounts)),
        user_id=text_in(body, "user_id"),
        status=text_in(body, "status"),
        link_token=text_in(body, "link_token"),
        public_tokens=tuple(dict.fromkeys(tokens)),
        link_session_id=text_in(body, "link_session_id"),
        environment=text_in(body, "environment"),
        error=_error(body.get("error")),
        due=time_in(body, "disconnect_time") or time_in(body, "consent_expiration_time"),
        body=body,
    )


def _texts(value: object) -> list[str]:
    """The texts of a text, of a list, or of an object's names."""
    values = value if isinstance(value, (list, Mapping)) else [value]
    return [each for each in values if isinstance(each, str) and each]


def _error(value: object) -> PlaidApiError | None:
    if not isinstance(value, Mapping):
        return None
    status = value.get("status")
    if not isinstance(status, int) or not 100 <= status <= 599:
        status = 400
    return api_error("webhook", status, value)


def _read_table() -> dict[tuple[str, str], dict[str, str]]:
    text = get_data(__package__, "events.tsv") or b""
    header, *rows = (line.split("\t") for line in text.decode().splitlines())
    return {(row[0], row[1]): dict(zip(header, row, strict=True)) for row in rows}


TABLE = _read_table()
"""The webhooks of this workflow, by type and code."""
