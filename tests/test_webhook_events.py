"""`WebhookEvent`: what each webhook says, and what it asks for."""

from __future__ import annotations

import json
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plaid_processors import LinkAction, LinkStatus, ProcessorLinker, WebhookEvent
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.webhooks.event import TABLE, read_event

from .support.rows import rows

PAGE = Path(__file__).parent.parent / "docs" / "webhooks.md"

PUBLIC = "public-sandbox-b0e2c4ee-a763-4df5-bfe9-46a46bce993d"
SECOND = "public-sandbox-c0e2c4ee-a763-4df5-bfe9-46a46bce993d"
LINK = "link-sandbox-af1a0311-da53-4636-b754-dd15cc058176"

# Of this workflow, in Plaid's description 2020-09-14_1.697.4 and the models of plaid-python 46.
OF_PLAIDS_DESCRIPTION = """
    ITEM ERROR LOGIN_REPAIRED NEW_ACCOUNTS_AVAILABLE PENDING_DISCONNECT PENDING_EXPIRATION
    ITEM USER_PERMISSION_REVOKED USER_ACCOUNT_REVOKED WEBHOOK_UPDATE_ACKNOWLEDGED
    ITEM AUTHORIZATION_GRANTED
    AUTH AUTOMATICALLY_VERIFIED VERIFICATION_EXPIRED DEFAULT_UPDATE SMS_MICRODEPOSITS_VERIFICATION
    AUTH PRODUCT_PERMISSIONS_REQUIRED
    IDENTITY DEFAULT_UPDATE PRODUCT_PERMISSIONS_REQUIRED
    LINK SESSION_FINISHED ITEM_ADD_RESULT EVENTS
    TRANSACTIONS SYNC_UPDATES_AVAILABLE INITIAL_UPDATE HISTORICAL_UPDATE DEFAULT_UPDATE
    TRANSACTIONS TRANSACTIONS_REMOVED RECURRING_TRANSACTIONS_UPDATE
    PROCESSOR_TOKEN WEBHOOK_UPDATE_ACKNOWLEDGED
"""
WEBHOOKS = {
    (kind, code)
    for kind, *codes in map(str.split, OF_PLAIDS_DESCRIPTION.strip().splitlines())
    for code in codes
}


def event(kind: str, code: str, **more: Any) -> WebhookEvent:
    return read_event({"webhook_type": kind, "webhook_code": code, "environment": "x", **more})


def error(code: str, kind: str = "ITEM_ERROR", **more: Any) -> dict[str, Any]:
    return {"error_code": code, "error_type": kind, "error_message": "words", **more}


def test_every_webhook_of_plaids_description_stands_in_the_table() -> None:
    """With an action, or with the reason why there is none; and each says what it means."""
    assert set(TABLE) == WEBHOOKS
    for row in TABLE.values():
        assert row["meaning"]
        assert row["call"]
        assert row["action"] in ("", "by its error", *LinkAction)
        assert (row["action"] == "") == (row["call"] == "nothing")


def test_the_page_has_the_table() -> None:
    """Row by row, in its order."""
    told = re.findall(r"^\| ([A-Z_]+) / ([A-Z_]+) \| (.+?) \| (.+?) \| (.+?) \|$", _page(), re.M)
    assert told == [
        (
            row["type"],
            row["code"],
            f"`{row['action']}`" if row["action"] in list(LinkAction) else row["action"] or "none",
            row["meaning"],
            row["call"],
        )
        for row in TABLE.values()
    ]


def _page() -> str:
    return PAGE.read_text(encoding="utf-8")


@rows(
    ("kind", "code", "more", "action"),
    [
        ("ITEM", "ERROR", {"error": error("ITEM_LOGIN_REQUIRED")}, LinkAction.REPAIR),
        ("ITEM", "ERROR", {"error": error("INSUFFICIENT_CREDENTIALS")}, LinkAction.REPAIR),
        ("ITEM", "ERROR", {"error": error("USER_PERMISSION_REVOKED")}, LinkAction.STOP),
        (
            "ITEM",
            "ERROR",
            {"error": error("USER_PERMISSION_REVOKED", "INVALID_INPUT")},
            LinkAction.STOP,
        ),
        ("ITEM", "ERROR", {"error": error("ITEM_NOT_FOUND")}, LinkAction.STOP),
        ("ITEM", "ERROR", {"error": error("INSTITUTION_DOWN")}, LinkAction.CHECK),
        ("ITEM", "ERROR", {"error": error("SOMETHING_NEW")}, LinkAction.CHECK),
        ("ITEM", "ERROR", {"error": None}, LinkAction.CHECK),
        ("ITEM", "ERROR", {"error": "text"}, LinkAction.CHECK),
        ("ITEM", "LOGIN_REPAIRED", {}, LinkAction.CHECK),
        ("ITEM", "NEW_ACCOUNTS_AVAILABLE", {"error": None}, LinkAction.ADD_ACCOUNTS),
        ("ITEM", "PENDING_DISCONNECT", {}, LinkAction.REPAIR),
        ("ITEM", "PENDING_EXPIRATION", {}, LinkAction.REPAIR),
        ("ITEM", "USER_PERMISSION_REVOKED", {}, LinkAction.STOP),
        ("ITEM", "USER_ACCOUNT_REVOKED", {}, LinkAction.STOP),
        ("AUTH", "DEFAULT_UPDATE", {}, LinkAction.REISSUE),
        ("AUTH", "AUTOMATICALLY_VERIFIED", {}, LinkAction.CHECK),
        ("AUTH", "VERIFICATION_EXPIRED", {}, LinkAction.CHECK),
        ("AUTH", "SMS_MICRODEPOSITS_VERIFICATION", {}, LinkAction.CHECK),
        ("AUTH", "PRODUCT_PERMISSIONS_REQUIRED", {}, LinkAction.REPAIR),
        ("IDENTITY", "PRODUCT_PERMISSIONS_REQUIRED", {}, LinkAction.REPAIR),
        ("IDENTITY", "DEFAULT_UPDATE", {}, LinkAction.CHECK),
        ("LINK", "SESSION_FINISHED", {"status": "SUCCESS"}, LinkAction.FINISH_LINK),
        ("LINK", "SESSION_FINISHED", {"status": "EXITED"}, None),
        ("LINK", "SESSION_FINISHED", {}, None),
        ("LINK", "ITEM_ADD_RESULT", {}, LinkAction.FINISH_LINK),
        ("LINK", "EVENTS", {}, None),
        ("TRANSACTIONS", "DEFAULT_UPDATE", {}, None),
        ("TRANSACTIONS", "ERROR", {"error": error("ITEM_LOGIN_REQUIRED")}, None),
        ("PROCESSOR_TOKEN", "WEBHOOK_UPDATE_ACKNOWLEDGED", {}, None),
        ("NEW", "THING", {}, None),
        ("", "", {}, None),
    ],
)
def test_what_it_asks_for(kind: str, code: str, more: Any, action: LinkAction | None) -> None:
    """By its type and code, and for an error by what that error asks for."""
    assert event(kind, code, **more).action is action


def test_the_fields_of_an_items_webhook() -> None:
    """As Plaid sends them; an error is the exception that a call would raise."""
    told = event(
        "ITEM",
        "ERROR",
        item_id="item-1",
        user_id="usr_1",
        error=error("ITEM_LOGIN_REQUIRED", status=400, display_message=None),
    )
    assert (told.webhook_type, told.webhook_code, told.item_id) == ("ITEM", "ERROR", "item-1")
    assert (told.user_id, told.environment) == ("usr_1", "x")
    assert told.error is not None
    assert (told.error.error_code, told.error.http_status) == ("ITEM_LOGIN_REQUIRED", 400)
    assert "update mode" in told.error.advice


@rows(
    ("more", "due"),
    [
        ({"disconnect_time": "2026-01-15T13:25:17.766Z"}, (15, 13, 766000)),
        ({"consent_expiration_time": "2026-01-15T13:25:17Z"}, (15, 13, 0)),
        ({"consent_expiration_time": "2026-01-15T13:25:17"}, (15, 13, 0)),
    ],
)
def test_when_it_ends(more: Any, due: tuple[int, int, int]) -> None:
    """An aware time, whichever webhook says so; older ones lack it."""
    told = event("ITEM", "PENDING_DISCONNECT", **more).due
    assert told == datetime(2026, 1, due[0], due[1], 25, 17, due[2], tzinfo=UTC)


@rows(
    ("more", "account_ids"),
    [
        ({"account_id": "A"}, ("A",)),
        ({"account_ids": ["A", "B"]}, ("A", "B")),
        (
            {
                "account_ids_with_new_auth": ["B", "A"],
                "account_ids_with_updated_auth": {"A": ["ACCOUNT_NUMBER"], "C": []},
            },
            ("B", "A", "C"),
        ),
        ({"account_ids_with_updated_identity": {"A": ["PHONES"]}}, ("A",)),
        ({"account_ids_with_updated_identity": None, "account_id": ""}, ()),
        ({"account_ids": [None, 7, "", "A"], "account_id": {"B": 1}}, ("B", "A")),
    ],
)
def test_the_accounts_that_it_names(more: Any, account_ids: tuple[str, ...]) -> None:
    """Wherever they stand, each once."""
    assert event("AUTH", "DEFAULT_UPDATE", **more).account_ids == account_ids


@rows("value", [None, 7, 1.5, True, [], {}, "", [[]], {"a": None}])
def test_odd_fields_are_read_as_missing(value: Any) -> None:
    """What Plaid changes, or a signed text of another kind, raises nothing."""
    names = "webhook_type webhook_code item_id user_id status link_token link_session_id error"
    told = read_event(dict.fromkeys([*names.split(), "disconnect_time", "environment"], value))
    assert told == WebhookEvent(body={})


def test_an_error_with_an_odd_status() -> None:
    """The status is a hint alone."""
    for status in (None, "400", 7, 10**30, True, [400]):
        told = event("ITEM", "ERROR", error=error("ITEM_LOGIN_REQUIRED", status=status))
        assert told.error is not None
        assert told.error.http_status == 400


def finished() -> WebhookEvent:
    return event(
        "LINK",
        "SESSION_FINISHED",
        status="SUCCESS",
        link_session_id="session-1",
        link_token=LINK,
        public_token=PUBLIC,
        public_tokens=[PUBLIC, SECOND],
        note=f"odd: {SECOND}",
    )


def test_it_shows_no_token() -> None:
    """Not in repr or str, nor in a failed comparison."""
    told = finished()
    assert (told.link_token, told.public_tokens) == (LINK, (PUBLIC, SECOND))
    shown = f"{told!r} {told} {[told]}"
    for token in (LINK, PUBLIC, SECOND):
        assert token not in shown
    assert "link-sandbox-…8176" in shown


def test_through_a_queue() -> None:
    """JSON without public tokens; the link token stays, to finish the link with."""
    told = finished()
    stored = json.dumps(told.to_dict())
    for token in (PUBLIC, SECOND):
        assert token not in stored
    assert stored.count(LINK) == 1
    again = WebhookEvent.from_dict(json.loads(stored))
    assert (again.link_token, again.public_tokens) == (LINK, ())
    assert (again.action, again.link_session_id) == (LinkAction.FINISH_LINK, "session-1")
    assert LINK not in json.dumps(again.body)
    assert again.to_dict() == told.to_dict()
    other = event("ITEM", "ERROR", item_id="item-1", error=error("ITEM_LOGIN_REQUIRED"))
    assert WebhookEvent.from_dict(json.loads(json.dumps(other.to_dict()))) == other


@rows(
    "data",
    [{}, {"format": 2, "body": {}}, {"format": 1}, {"format": 1, "body": [LINK]}, LINK, None, [1]],
)
def test_what_was_not_stored_by_it(data: Any) -> None:
    """It is refused, and not shown."""
    with pytest.raises(ValueError, match="not a stored webhook") as caught:
        WebhookEvent.from_dict(data)
    assert LINK not in str(caught.value)


def test_it_is_a_value() -> None:
    """Frozen, comparable, hashable and picklable; the body is not compared."""
    told = event("ITEM", "ERROR", error=error("ITEM_LOGIN_REQUIRED"), other=1)
    same = event("ITEM", "ERROR", error=error("ITEM_LOGIN_REQUIRED"), other=2)
    third = event("ITEM", "ERROR", error=error("USER_PERMISSION_REVOKED"), other=1)
    assert (told, hash(told)) == (same, hash(same))
    assert told != third
    copy = pickle.loads(pickle.dumps(finished()))
    assert (copy, copy.body) == (finished(), finished().body)
    with pytest.raises(AttributeError):
        told.item_id = "other"  # type: ignore[misc]


def test_what_the_local_plaid_sends(local_plaid: LocalSandbox, linker: ProcessorLinker) -> None:
    """Of each kind that it knows, verified and understood."""
    result = linker.link_sandbox("finix")
    for kind, code in sorted(WEBHOOKS):
        hook = local_plaid.webhook(kind, code, item_id=result.item_id)
        told = linker.verify_webhook(hook.body, hook.headers)
        assert (told.webhook_type, told.webhook_code) == (kind, code)
        assert told.body == hook.json
    hook = local_plaid.webhook("AUTH", "DEFAULT_UPDATE", item_id=result.item_id)
    changed = linker.verify_webhook(hook.body, hook.headers)
    assert result.token("finix").account.account_id in changed.account_ids


def test_an_event_made_by_hand_goes_through_a_queue_too() -> None:
    """Its typed fields are written, and not only the body that it came from."""
    made = WebhookEvent(
        webhook_type="ITEM",
        webhook_code="PENDING_DISCONNECT",
        item_id="I",
        account_ids=("A", "B"),
        user_id="U",
        environment="sandbox",
        due=datetime(2027, 1, 1, tzinfo=UTC),
        error=read_event({"error": {"error_type": "ITEM_ERROR", "error_code": "X"}}).error,
    )
    again = WebhookEvent.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert again.action == made.action == LinkAction.REPAIR


def test_an_error_asks_for_the_same_in_a_webhook_and_in_a_status() -> None:
    """NO_AUTH_ACCOUNTS is repaired by update mode, wherever Plaid says it."""
    error = {"error_type": "ITEM_ERROR", "error_code": "NO_AUTH_ACCOUNTS"}
    event = read_event({"webhook_type": "ITEM", "webhook_code": "ERROR", "error": error})
    assert event.action == LinkStatus(error=event.error).action == LinkAction.REPAIR
