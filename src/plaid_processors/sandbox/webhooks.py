"""Webhooks made on demand and signed as Plaid signs them, for tests of a handler."""

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
    """A webhook as your server would receive it.

    Attributes:
        headers: its HTTP headers, with `Plaid-Verification`.
        body: its body; pass it on unchanged, because these bytes are signed.
        url: where the Item's webhooks go; None without an Item or an address.

    """

    headers: dict[str, str]
    body: bytes = field(repr=False)
    url: str | None = field(default=None, repr=False)

    @property
    def json(self) -> Json:
        """The body, parsed."""
        read: Json = from_json(self.body)
        return read


def sign_webhook(
    world: World, kind: str, code: str, item_id: str | None, age: float, more: dict[str, Any]
) -> SignedWebhook:
    """Make a webhook; with an Item, it has the keys that Plaid would send."""
    url = None
    if item_id is None:
        base: Json = {"webhook_type": kind, "webhook_code": code, "environment": ENVIRONMENT}
    elif item_id in world.items:
        item = world.items[item_id]
        base = item_webhook(world, item, kind, code)
        url = item.webhook or None
    else:
        raise ValueError("this local Plaid has no such Item")
    body = to_json({**base, **more})
    # The machine's clock, because handlers compare the time with theirs.
    signature = world.signer.sign(body, int(time.time() - age))
    headers = {"Content-Type": "application/json", "Plaid-Verification": signature}
    return SignedWebhook(headers=headers, body=body, url=url)
