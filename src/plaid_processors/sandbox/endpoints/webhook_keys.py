"""The keys that webhooks are signed with.

https://plaid.com/docs/api/webhooks/webhook-verification/
"""

from __future__ import annotations

from plaid_processors.sandbox.calls import Call, endpoint
from plaid_processors.sandbox.fields import required, text
from plaid_processors.sandbox.wire import Json


@endpoint("/webhook_verification_key/get", key_id=required(text()))
def webhook_key(call: Call) -> Json:
    """Show a key."""
    return {"key": call.world.signer.find(call["key_id"]).public_jwk()}
