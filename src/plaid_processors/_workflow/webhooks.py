"""A webhook, verified: its key is looked up where it is not known yet."""

from __future__ import annotations

from .._plaid import requests
from .._plaid.call import PlaidCall
from ..errors import (
    ConfigurationError,
    InvalidRequestError,
    PlaidApiError,
    PlaidConnectionError,
    RequestError,
    WebhookVerificationError,
)
from ..settings import Limits, is_positive
from ..webhooks.event import WebhookEvent, read_event
from ..webhooks.keys import WebhookKey
from ..webhooks.verify import WebhookBody, WebhookHeaders, read_webhook

_LANES = 4
"""How many ids that are not known are looked up side by side at most."""

_SHORT = 2.0
"""Seconds that a webhook of a known key waits at most, once an hour, for that key's state."""


async def verify_webhook(
    call: PlaidCall, body: WebhookBody, headers: WebhookHeaders, *, max_age: float
) -> WebhookEvent:
    if not is_positive(max_age):
        raise ConfigurationError("max_age must be a positive number of seconds")
    webhook = read_webhook(body, headers)
    key = await _find_key(call, webhook.key_id)
    return read_event(webhook.check(key, max_age))


async def _find_key(call: PlaidCall, key_id: str) -> WebhookKey:
    keys = call.access.webhook_keys
    key = keys.get(key_id)
    if key is not None:
        return await _look_again(call, key_id, key) if keys.is_due(key_id) else key
    if keys.refuses(key_id):
        raise WebhookVerificationError("unknown_key")
    # One id is always in the same lane, so that many calls at once look it up once.
    lane = f"webhook keys {id(keys)} {hash(key_id) % _LANES}"
    return await call.turn(lane, _look_up_unless_known(call, key_id))


async def _look_up_unless_known(call: PlaidCall, key_id: str) -> WebhookKey:
    keys = call.access.webhook_keys
    key = keys.get(key_id)  # another call may have fetched it meanwhile
    if key is not None:
        return key
    if keys.refuses(key_id):
        raise WebhookVerificationError("unknown_key")
    if keys.failing:
        raise PlaidConnectionError(
            "its look-ups of keys have failed: no other for up to a minute",
            endpoint=requests.WEBHOOK_KEY,
        )
    try:
        return await _look_up(call, key_id)
    except RequestError:
        keys.keep_failure()
        raise


async def _look_again(call: PlaidCall, key_id: str, known: WebhookKey) -> WebhookKey:
    """The key as it is now; as it was known, where Plaid cannot say so at once."""
    seconds = max(0.001, min(_SHORT, call.deadline.remaining))
    short = Limits(timeout=seconds, deadline=seconds, max_attempts=1)
    try:
        return await _look_up(PlaidCall(call.access, call.port, short), key_id)
    except RequestError:
        return known


async def _look_up(call: PlaidCall, key_id: str) -> WebhookKey:
    keys = call.access.webhook_keys
    try:
        key = await call.ask(requests.get_webhook_key(key_id))
    except PlaidApiError as error:
        malformed = isinstance(error, InvalidRequestError) and "key_id" in error.error_message
        if error.error_code != _UNKNOWN and not malformed:
            raise
        keys.keep_unknown(key_id)
        raise WebhookVerificationError("unknown_key") from error
    keys.keep(key_id, key)
    return key


_UNKNOWN = "INVALID_WEBHOOK_VERIFICATION_KEY_ID"  # https://plaid.com/docs/errors/invalid-input/
