"""Webhooks: what is sent when, signed as Plaid signs, in order for each Item."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from ..support.rows import rows


@dataclass
class Receiver:
    """A server that keeps what it is sent."""

    url: str
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200

    @property
    def codes(self) -> list[str]:
        return [json.loads(body)["webhook_code"] for _, body in self.got]

    @property
    def last(self) -> dict[str, Any]:
        return json.loads(self.got[-1][1])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        yield receiver
        server.shutdown()
        thread.join()


def linked(api, receiver: Receiver) -> str:
    return api.access_token(options={"webhook": receiver.url})


def test_signature(api, sandbox, receiver):
    """The header is an ES256 JWT over the body's bytes, its key to be had from the API."""
    access = linked(api, receiver)
    api.ok("/sandbox/item/fire_webhook", access_token=access, webhook_code="NEW_ACCOUNTS_AVAILABLE")
    assert sandbox.wait_for_webhooks()
    headers, body = receiver.got[-1]
    signed = headers["Plaid-Verification"]
    head = jwt.get_unverified_header(signed)
    assert set(head) == {"alg", "kid", "typ"}
    assert (head["alg"], head["typ"]) == ("ES256", "JWT")
    key = api.ok("/webhook_verification_key/get", key_id=head["kid"])["key"]
    assert set(key) == {"alg", "created_at", "crv", "expired_at", "kid", "kty", "use", "x", "y"}
    claims = jwt.decode(signed, jwt.PyJWK(key).key, algorithms=["ES256"])
    assert claims["request_body_sha256"] == hashlib.sha256(body).hexdigest()
    assert abs(claims["iat"] - time.time()) < 60
    assert body == json.dumps(json.loads(body), indent=2, sort_keys=True).encode()


def test_keys_rotate(api, sandbox, receiver):
    """After a rotation the new key signs, and the old one is shown as expired."""
    access = linked(api, receiver)

    def kid() -> str:
        api.ok("/sandbox/item/fire_webhook", access_token=access, webhook_code="ERROR")
        sandbox.wait_for_webhooks()
        return jwt.get_unverified_header(receiver.got[-1][0]["Plaid-Verification"])["kid"]

    old = kid()
    sandbox.rotate_webhook_key()
    new = kid()
    assert old != new
    assert api.ok("/webhook_verification_key/get", key_id=old)["key"]["expired_at"]
    assert api.ok("/webhook_verification_key/get", key_id=new)["key"]["expired_at"] is None
    unknown = api.error("/webhook_verification_key/get", key_id="nothing")
    assert unknown[1] == "INVALID_WEBHOOK_VERIFICATION_KEY_ID"


def test_what_an_item_tells(api, sandbox, receiver):
    """New data, a broken login and a new address, in the order in which they came."""
    access = linked(api, receiver)
    api.ok("/sandbox/item/reset_login", access_token=access)
    api.ok("/item/webhook/update", access_token=access, webhook=receiver.url + "/2")
    assert sandbox.wait_for_webhooks()
    assert receiver.codes == [
        "INITIAL_UPDATE",
        "HISTORICAL_UPDATE",
        "ERROR",
        "WEBHOOK_UPDATE_ACKNOWLEDGED",
    ]
    error = json.loads(receiver.got[2][1])
    assert error["webhook_type"] == "ITEM"
    assert error["environment"] == "sandbox"
    assert error["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert "request_id" not in error["error"]
    assert receiver.last["new_webhook_url"] == receiver.url + "/2"
    assert api.ok("/item/get", access_token=access)["item"]["webhook"] == receiver.url + "/2"


def test_order_is_kept(api, sandbox, receiver):
    """Many webhooks of one Item arrive in the order in which they were fired."""
    access = linked(api, receiver)
    codes = ["NEW_ACCOUNTS_AVAILABLE", "LOGIN_REPAIRED", "SYNC_UPDATES_AVAILABLE", "ERROR"] * 5
    for code in codes:
        api.ok("/sandbox/item/fire_webhook", access_token=access, webhook_code=code)
    assert sandbox.wait_for_webhooks()
    assert receiver.codes[2:] == codes


def test_time_tells_too(api, sandbox, receiver):
    """A new day brings transactions, thirty of them a broken login."""
    access = linked(api, receiver)
    sandbox.advance(dt.timedelta(days=1))
    api.ok("/transactions/sync", access_token=access)
    sandbox.advance(dt.timedelta(days=1))
    sandbox.advance(dt.timedelta(days=30))
    sandbox.advance(dt.timedelta(days=1))
    assert sandbox.wait_for_webhooks()
    assert receiver.codes[2:] == [
        "DEFAULT_UPDATE",
        "SYNC_UPDATES_AVAILABLE",
        "DEFAULT_UPDATE",
        "SYNC_UPDATES_AVAILABLE",
        "ERROR",
    ]


@rows(
    ("products", "first"),
    [
        (["transactions"], ["INITIAL_UPDATE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]),
        (["auth"], ["INITIAL_UPDATE", "HISTORICAL_UPDATE", "SYNC_UPDATES_AVAILABLE"]),
    ],
)
def test_the_first_sync_is_followed_by_a_webhook(api, sandbox, receiver, products, first):
    """SYNC_UPDATES_AVAILABLE comes by itself then, once; a partner's sync brings none."""
    receiver.got.clear()
    options = {"webhook": receiver.url}
    access = api.access_token(initial_products=products, options=options)
    if "transactions" in products:
        api.ok("/processor/transactions/sync", processor_token=api.processor_token(access))
    for _ in range(2):
        api.ok("/transactions/sync", access_token=access)
        assert sandbox.wait_for_webhooks()
        assert receiver.codes == first
    assert receiver.last["initial_update_complete"] is True
    assert receiver.last["historical_update_complete"] is True


def test_a_revoked_permission_is_told_with_its_error(api, sandbox, receiver):
    """As in the description's example."""
    access = linked(api, receiver)
    code = "USER_PERMISSION_REVOKED"
    api.ok("/sandbox/item/fire_webhook", access_token=access, webhook_code=code)
    assert sandbox.wait_for_webhooks()
    error = receiver.last["error"]
    assert (error["error_type"], error["error_code"], error["status"]) == ("ITEM_ERROR", code, 400)


def test_changed_identity(api, sandbox, receiver):
    """The webhook names each account whose owner's data changed."""
    options = {"webhook": receiver.url}
    access = api.access_token(initial_products=["identity"], options=options)
    fired = {"webhook_type": "IDENTITY", "webhook_code": "DEFAULT_UPDATE"}
    api.ok("/sandbox/item/fire_webhook", access_token=access, **fired)
    assert sandbox.wait_for_webhooks()
    told = receiver.last
    assert set(told.pop("account_ids_with_updated_identity")) == {
        account["account_id"] for account in api.accounts(access)
    }
    item_id = api.shown(access)["item_id"]
    assert told == {**fired, "item_id": item_id, "error": None, "environment": "sandbox"}


def test_fire_webhook_refuses(api, receiver):
    """No address, no such code, no such product on the Item."""
    fire = "/sandbox/item/fire_webhook"
    silent = api.access_token()
    assert api.error(fire, access_token=silent, webhook_code="ERROR")[:2] == (
        "SANDBOX_ERROR",
        "SANDBOX_WEBHOOK_INVALID",
    )
    access = linked(api, receiver)
    assert api.error(fire, access_token=access, webhook_code="NOTHING")[1] == "INVALID_FIELD"
    odd = {"webhook_type": "AUTH", "webhook_code": "ERROR"}
    assert api.error(fire, access_token=access, **odd)[1] == "INVALID_FIELD"
    auth = {"webhook_type": "AUTH", "webhook_code": "DEFAULT_UPDATE"}
    assert api.error(fire, access_token=access, **auth) == (
        "SANDBOX_ERROR",
        "SANDBOX_PRODUCT_NOT_ENABLED",
        "The auth product is not enabled on this item",
    )


def test_hosted_link_finishes(api, sandbox, receiver):
    """Hosted Link tells its end by webhook, with the public token or without."""
    token = api.link_token(hosted_link={}, webhook=receiver.url)
    done = sandbox.complete_link(token)
    sandbox.exit_link(token, error_code="INVALID_CREDENTIALS")
    assert sandbox.wait_for_webhooks()
    added, won, lost = [json.loads(body) for _, body in receiver.got]
    assert (added["webhook_code"], added["public_token"]) == ("ITEM_ADD_RESULT", done.public_token)
    assert won["webhook_code"] == lost["webhook_code"] == "SESSION_FINISHED"
    assert (won["status"], won["public_tokens"]) == ("SUCCESS", [done.public_token])
    assert (lost["status"], lost["public_tokens"]) == ("EXITED", [])
    assert won["link_token"] == token


def test_processor_webhook(api, sandbox, receiver):
    """A partner's new address is acknowledged at that address."""
    token = api.processor_token(api.access_token())
    api.ok("/processor/token/webhook/update", processor_token=token, webhook=receiver.url)
    api.ok("/processor/token/webhook/update", processor_token=token, webhook=None)
    missing = api.error("/processor/token/webhook/update", processor_token=token)
    assert missing[1] == "MISSING_FIELDS"
    assert sandbox.wait_for_webhooks()
    assert receiver.codes == ["WEBHOOK_UPDATE_ACKNOWLEDGED"]
    assert receiver.last["webhook_type"] == "PROCESSOR_TOKEN"


def test_receivers_that_fail(api, sandbox, receiver):
    """An error or nobody there is noted, and holds nothing up."""
    receiver.status = 500
    linked(api, receiver)
    api.access_token(options={"webhook": "http://127.0.0.1:9/"})
    assert sandbox.wait_for_webhooks()
    answers = {(delivery.url, delivery.status) for delivery in sandbox.webhooks}
    assert answers == {(receiver.url, 500), ("http://127.0.0.1:9/", None)}
    assert all(delivery.error for delivery in sandbox.webhooks if delivery.status is None)
