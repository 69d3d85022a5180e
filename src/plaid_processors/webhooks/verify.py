"""Whether a webhook is Plaid's: https://plaid.com/docs/api/webhooks/webhook-verification/. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from ..errors import ConfigurationError, WebhookVerificationError
from .keys import WebhookKey

WebhookBody = bytes | bytearray | memoryview | str
"""A request's body, as it came."""

WebhookHeaders = Mapping[Any, Any] | Iterable[tuple[Any, Any]]
"""A request's headers, as any framework gives them."""

MOST_BODY = 2**20
MOST_HEADER = 8 * 2**10
MOST_KEY_ID = 100
MOST_AHEAD = 60
"""Bytes, characters, and seconds that the clocks of two machines may differ."""

_HEADER = "plaid-verification"


def import_jwt() -> Any:
    """PyJWT, with what it needs for ES256."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ec  # noqa: F401  without it, no ES256
        import jwt
        from jwt import PyJWK, PyJWS  # noqa: F401  another distribution has a module jwt too
    except ImportError:
        raise ConfigurationError(
            'verify_webhook needs PyJWT with cryptography: pip install "plaid-processors[webhooks]"'
        ) from None
    return jwt


def read_key(answer: Mapping[str, object]) -> WebhookKey:
    """The key of an answer; a ValueError if it is none for ES256."""
    jwt, found = import_jwt(), answer.get("key")
    if not isinstance(found, Mapping) or (found.get("kty"), found.get("crv")) != ("EC", "P-256"):
        raise ValueError("no key of P-256")
    point = {name: str(found.get(name)) for name in ("kty", "crv", "x", "y")}
    try:
        public_key = jwt.PyJWK(point, algorithm="ES256").key
    except jwt.PyJWTError:
        raise ValueError("no point of P-256") from None
    return WebhookKey(public_key, expired=found.get("expired_at") is not None)


@frozen
class SignedWebhook:
    """A webhook whose signature is still to be checked.

    Attributes:
        body: its body.
        token: the JWT in its header.
        key_id: the id of the key that it is said to be signed with.
    """

    body: bytes
    token: str
    key_id: str

    def check(self, key: WebhookKey, max_age: float) -> dict[str, object]:
        """The body's JSON object, if Plaid signed it and it is fresh."""
        jwt = import_jwt()
        if key.expired:
            raise WebhookVerificationError("expired_key")
        try:
            # The signature alone: PyJWT's checks of claims refuse clocks that differ by a second.
            payload = jwt.PyJWS().decode(self.token, key.public_key, algorithms=["ES256"])
        except (jwt.PyJWTError, ValueError):
            raise WebhookVerificationError("bad_signature") from None
        claims = _json_object(payload)
        issued_at, digest = claims.get("iat"), claims.get("request_body_sha256")
        # A time that no clock shows would overflow below.
        if isinstance(issued_at, bool) or not isinstance(issued_at, (int, float)):
            raise WebhookVerificationError("malformed")
        if not abs(issued_at) <= 1e12 or not isinstance(digest, str):  # nan, too
            raise WebhookVerificationError("malformed")
        age = time.time() - issued_at
        if age > max_age:
            raise WebhookVerificationError("too_old", age=age)
        if age < -MOST_AHEAD:
            raise WebhookVerificationError("in_the_future", age=age)
        own = hashlib.sha256(self.body).hexdigest()
        if not hmac.compare_digest(own.encode(), _encoded(digest)):
            raise WebhookVerificationError("body_changed", age=age)
        return _json_object(self.body, age=age)


def read_webhook(body: WebhookBody, headers: WebhookHeaders) -> SignedWebhook:
    """What can be read before the key is known."""
    content, token = _content(body), _signature(headers)
    jwt = import_jwt()
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise WebhookVerificationError("malformed") from None
    if header.get("alg") != "ES256":
        raise WebhookVerificationError("algorithm")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MOST_KEY_ID or not key_id.isascii():
        raise WebhookVerificationError("malformed")
    return SignedWebhook(content, token, key_id)


def _content(body: WebhookBody) -> bytes:
    if not isinstance(body, (bytes, bytearray, memoryview, str)):
        raise TypeError(
            f"body must be the request's raw body, bytes or text, not {type(body).__name__}"
        )
    if (body.nbytes if isinstance(body, memoryview) else len(body)) > MOST_BODY:
        raise WebhookVerificationError("too_large")
    return _encoded(body) if isinstance(body, str) else bytes(body)


def _signature(headers: WebhookHeaders) -> str:
    """The one value of Plaid's header, whatever the case of its name."""
    pairs = getattr(headers, "items", None)
    try:
        # Mappings, and lists of pairs as ASGI has them.
        listed = [(name, value) for name, value in (pairs() if callable(pairs) else headers)]
    except (TypeError, ValueError):
        raise TypeError(
            f"headers must be the request's headers, a mapping, not {type(headers).__name__}"
        ) from None
    values: set[str] = set()
    for name, value in listed:
        if _is_plaids(name):
            # Some frameworks list a header's values.
            values.update(map(_text, value if isinstance(value, (list, tuple)) else [value]))
    values.discard("")
    if not values:
        raise WebhookVerificationError("missing_signature")
    if max(map(len, values)) > MOST_HEADER:
        raise WebhookVerificationError("too_large")
    token = values.pop()
    if values or not token.isascii():
        raise WebhookVerificationError("malformed")
    return token


def _is_plaids(name: object) -> bool:
    # WSGI's environ, which is Django's request.META, has HTTP_PLAID_VERIFICATION.
    return _text(name).lower().replace("_", "-").removeprefix("http-") == _HEADER


def _text(value: object) -> str:
    """A header's name or value; what is neither text nor bytes is none."""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip()
    return value.strip() if isinstance(value, str) else ""


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json_object(content: bytes, age: float | None = None) -> dict[str, object]:
    try:
        read = json.loads(content)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise WebhookVerificationError("malformed", age=age)
    return read
