"""Webhooks made on demand, signed as Plaid signs them, to be fed to a handler without a socket."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .notices import item_webhook
from .tokens import ENVIRONMENT
from .wire import Json, from_json, to_json
from .world import World


@dataclass(frozen=True, kw_only=True)
class SignedWebhook:
    """A webhook as it would arrive.

    Attributes:
        headers: its HTTP headers, `Plaid-Verification` among them.
        body: its body, to be handed on byte for byte: the signature is over these bytes.

    """

    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Json:
        """What it says."""
        read: Json = from_json(self.body)
        return read


def sign_webhook(
    world: World, kind: str, code: str, item_id: str | None, age: float, more: dict[str, Any]
) -> SignedWebhook:
    """Make a webhook; about an Item it says what Plaid would say of it."""
    if item_id is None:
        base: Json = {"webhook_type": kind, "webhook_code": code, "environment": ENVIRONMENT}
    elif item_id in world.items:
        base = item_webhook(world, world.items[item_id], kind, code)
    else:
        raise ValueError("this local Plaid has no such Item")
    body = to_json({**base, **more})
    # The machine's clock: handlers compare it with theirs, not with a moved one.
    signature = world.signer.sign(body, int(time.time() - age))
    headers = {"Content-Type": "application/json", "Plaid-Verification": signature}
    return SignedWebhook(headers=headers, body=body)
