"""The webhooks that Plaid sends, and when: https://plaid.com/docs/api/webhooks/."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable

from .clock import stamp
from .errors import PlaidError
from .model import NOTICE, Item, LinkSession, LinkToken, ProcessorToken
from .tokens import ENVIRONMENT
from .transactions import entries_at
from .wire import Json
from .world import Webhook, World

_Extra = Callable[[World, Item], Json]


def webhook_error(code: str) -> Json:
    """Write an error as in webhooks: with a status, without a request id."""
    error = PlaidError(code)
    # The description's examples; the page of errors has another type for a revoked permission.
    return {**error.body(), "error_type": "ITEM_ERROR", "status": error.status}


def _pending_disconnect(world: World, item: Item) -> Json:
    end, reason = item.consent_ends_at, "INSTITUTION_TOKEN_EXPIRATION"
    if end is None:
        end, reason = world.now() + NOTICE, "INSTITUTION_MIGRATION"
    return {"reason": reason, "disconnect_time": stamp(end)}


def _pending_expiration(world: World, item: Item) -> Json:
    return {"consent_expiration_time": stamp(item.consent_ends_at or world.now() + NOTICE)}


def _auth_update(_: World, item: Item) -> Json:
    updated = {a.account_id: ["ACCOUNT_NUMBER"] for a in item.shared_accounts() if a.numbers}
    return {
        "error": None,
        "account_ids_with_new_auth": [],
        "account_ids_with_updated_auth": updated,
    }


def _identity_update(_: World, item: Item) -> Json:
    # https://plaid.com/docs/api/products/identity/#default_update; what changed is one of the
    # names in plaid-python 46.
    updated = {account.account_id: ["addresses"] for account in item.shared_accounts()}
    return {"error": None, "account_ids_with_updated_identity": updated}


def _new_transactions(world: World, item: Item) -> Json:
    return {"error": None, "new_transactions": len(entries_at(item, world.now().date()))}


def _complete(_: World, __: Item) -> Json:
    return {"initial_update_complete": True, "historical_update_complete": True}


def _account_ids(_: World, item: Item) -> Json:
    return {"account_ids": sorted(item.shared)}


def _first_account(_: World, item: Item) -> Json:
    shared = item.shared_accounts()
    if not shared:
        raise PlaidError("NO_ACCOUNTS")
    return {"account_id": shared[0].account_id}


def _no_error(_: World, __: Item) -> Json:
    return {"error": None}


def _nothing(_: World, __: Item) -> Json:
    return {}


# What `/sandbox/item/fire_webhook` can send, with the keys of each beside the common ones.
EXTRAS: dict[tuple[str, str], _Extra] = {
    ("ITEM", "ERROR"): lambda _, __: {"error": webhook_error("ITEM_LOGIN_REQUIRED")},
    ("ITEM", "LOGIN_REPAIRED"): _nothing,
    ("ITEM", "NEW_ACCOUNTS_AVAILABLE"): _no_error,
    ("ITEM", "PENDING_DISCONNECT"): _pending_disconnect,
    ("ITEM", "USER_PERMISSION_REVOKED"): lambda _, __: {
        "error": webhook_error("USER_PERMISSION_REVOKED")
    },
    ("ITEM", "USER_ACCOUNT_REVOKED"): _first_account,
    ("ITEM", "AUTHORIZATION_GRANTED"): _no_error,
    ("AUTH", "DEFAULT_UPDATE"): _auth_update,
    ("AUTH", "SMS_MICRODEPOSITS_VERIFICATION"): lambda _, item: {
        **_first_account(_, item),
        "status": "MANUALLY_VERIFIED",
    },
    ("IDENTITY", "DEFAULT_UPDATE"): _identity_update,
    ("TRANSACTIONS", "DEFAULT_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "SYNC_UPDATES_AVAILABLE"): _complete,
    ("TRANSACTIONS", "RECURRING_TRANSACTIONS_UPDATE"): _account_ids,
    ("HOLDINGS", "DEFAULT_UPDATE"): lambda _, __: {
        "error": None,
        "new_holdings": 0,
        "updated_holdings": 0,
    },
    ("INVESTMENTS_TRANSACTIONS", "DEFAULT_UPDATE"): lambda _, __: {
        "error": None,
        "new_investments_transactions": 0,
        "canceled_investments_transactions": 0,
    },
    ("LIABILITIES", "DEFAULT_UPDATE"): lambda _, __: {
        "error": None,
        "account_ids_with_new_liabilities": [],
        "account_ids_with_updated_liabilities": {},
    },
    ("ASSETS", "PRODUCT_READY"): _nothing,
}
_SOON = {
    ("ITEM", "PENDING_EXPIRATION"): _pending_expiration,
    ("TRANSACTIONS", "INITIAL_UPDATE"): _new_transactions,
    ("TRANSACTIONS", "HISTORICAL_UPDATE"): _new_transactions,
    ("AUTH", "AUTOMATICALLY_VERIFIED"): _first_account,
    ("AUTH", "VERIFICATION_EXPIRED"): _first_account,
}


def item_webhook(world: World, item: Item, kind: str, code: str, **more: object) -> Json:
    """Write a webhook about an Item."""
    extra = {**EXTRAS, **_SOON}.get((kind, code), _nothing)
    return {
        "webhook_type": kind,
        "webhook_code": code,
        "item_id": item.item_id,
        "environment": ENVIRONMENT,
        **extra(world, item),
        **more,
    }


def send_item_webhook(world: World, item: Item, kind: str, code: str, **more: object) -> None:
    """Send a webhook about an Item, if it has an address."""
    if not item.webhook:
        return
    body = item_webhook(world, item, kind, code, **more)
    item.last_webhook = {"code_sent": code, "sent_at": stamp(world.now())}
    world.send(Webhook(url=item.webhook, body=body, order=item.item_id))


def item_linked(world: World, item: Item) -> None:
    """Send that the first data of a new Item is ready; here it is ready at once."""
    if "transactions" in item.products:
        transactions_ready(world, item)


def transactions_ready(world: World, item: Item) -> None:
    """Send that an Item's transactions can be read."""
    for code in ("INITIAL_UPDATE", "HISTORICAL_UPDATE"):
        send_item_webhook(world, item, "TRANSACTIONS", code)


def first_synced(world: World, item: Item) -> None:
    """Send that all data is there: `SYNC_UPDATES_AVAILABLE` begins with the first sync."""
    item.synced = True
    send_item_webhook(world, item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")


def time_passed(world: World, item: Item, before: dt.datetime) -> None:
    """Send the events of the days since `before`: an end, a broken login, new transactions."""
    now, consent_end, login_end = world.now(), item.consent_ends_at, item.login_ends_at
    if item.error_at(before):
        return
    if consent_end and before < consent_end - NOTICE <= now:
        # That of the US and Canada; Europe's is PENDING_EXPIRATION, and no bank here ends consent
        # there: https://plaid.com/docs/api/items/#pending_disconnect
        send_item_webhook(world, item, "ITEM", "PENDING_DISCONNECT")
    if item.error_at(now):
        # No webhook is sent when consent ends: https://plaid.com/docs/auth/
        if login_end and now >= login_end:
            item_broken(world, item)
    elif "transactions" in item.products:
        send_item_webhook(world, item, "TRANSACTIONS", "DEFAULT_UPDATE")
        if item.synced:
            send_item_webhook(world, item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE")


def account_revoked(world: World, item: Item, account_id: str) -> None:
    """Send that the user withdrew one account at the bank."""
    send_item_webhook(world, item, "ITEM", "USER_ACCOUNT_REVOKED", account_id=account_id)


def numbers_changed(world: World, item: Item, account_ids: Iterable[str]) -> None:
    """Send that account numbers changed, if the Item has Auth."""
    if "auth" in item.products:
        updated = {account_id: ["ACCOUNT_NUMBER"] for account_id in account_ids}
        more = {"account_ids_with_updated_auth": updated}
        send_item_webhook(world, item, "AUTH", "DEFAULT_UPDATE", **more)


def item_broken(world: World, item: Item) -> None:
    """Send that an Item needs its user; `/item/get` shows it as sent, even without an address."""
    send_item_webhook(world, item, "ITEM", "ERROR")
    item.last_webhook = {"code_sent": "ERROR", "sent_at": stamp(world.now())}


def webhook_updated(world: World, item: Item) -> None:
    """Acknowledge an Item's new webhook address at that address."""
    more = {"error": None, "new_webhook_url": item.webhook}
    send_item_webhook(world, item, "ITEM", "WEBHOOK_UPDATE_ACKNOWLEDGED", **more)


def processor_webhook_updated(world: World, token: ProcessorToken) -> None:
    """Acknowledge a processor token's new webhook address at that address."""
    if token.webhook:
        body = {
            "webhook_type": "PROCESSOR_TOKEN",
            "webhook_code": "WEBHOOK_UPDATE_ACKNOWLEDGED",
            "account_id": token.account_id,
            "new_webhook_url": token.webhook,
            "error": None,
            "environment": ENVIRONMENT,
        }
        world.send(Webhook(url=token.webhook, body=body, order=token.token))


def session_finished(world: World, token: LinkToken, session: LinkSession) -> None:
    """Send how a Link session ended; by default only Hosted and multi-Item Link do."""
    options = token.options
    hosted = options.get("hosted_link") is not None or options.get("enable_multi_item_link")
    if not (hosted and options.get("webhook")):
        return
    base = {
        "webhook_type": "LINK",
        "link_session_id": session.link_session_id,
        "link_token": token.token,
        "environment": ENVIRONMENT,
    }
    public_tokens = [each["public_token"] for each in session.added]
    bodies: list[Json] = [
        {**base, "webhook_code": "ITEM_ADD_RESULT", "public_token": each} for each in public_tokens
    ]
    finished: Json = {
        "webhook_code": "SESSION_FINISHED",
        "status": "SUCCESS" if public_tokens else "EXITED",
        "public_tokens": public_tokens,
    }
    if public_tokens:
        finished["public_token"] = public_tokens[0]
    bodies.append({**base, **finished})
    for body in bodies:
        world.send(Webhook(url=options["webhook"], body=body, order=token.token))
