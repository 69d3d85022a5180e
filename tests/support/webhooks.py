"""Webhooks signed as Plaid signs them, by keys of our own, and as a forger would."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .faulty import Answer, FaultyPlaid, Request, computed, refusal, reply

KEY = "/webhook_verification_key/get"
BODY = json.dumps({"webhook_type": "ITEM", "webhook_code": "ERROR"}, indent=2).encode()
UNKNOWN_KEY = refusal("INVALID_INPUT", "INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id")


class Key:
    """One of Plaid's keys."""

    def __init__(self, kid: str, *, expired_at: int | None = None) -> None:
        self.kid = kid
        self.expired_at = expired_at
        self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, object]:
        """The public key, as Plaid shows it."""
        point = self.private.public_key().public_numbers()
        return {
            "alg": "ES256",
            "created_at": 1560466143,
            "crv": "P-256",
            "expired_at": self.expired_at,
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "x": encoded(point.x.to_bytes(32, "big")),
            "y": encoded(point.y.to_bytes(32, "big")),
        }

    @property
    def pem(self) -> bytes:
        """The public key, as a forger would use it for HS256."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, body: bytes = BODY, **claims: Any) -> str:
        """The value of Plaid-Verification for a body; a claim that is None is left out."""
        own = {"iat": int(time.time()), "request_body_sha256": hashlib.sha256(body).hexdigest()}
        return self.sign_payload(
            {name: value for name, value in {**own, **claims}.items() if value is not None}
        )

    def sign_payload(self, payload: object, **header: Any) -> str:
        """A JWT of any payload."""
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {"kid": self.kid, **header}
        return jwt.PyJWS().encode(content, self.private, algorithm="ES256", headers=headers)


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(header: object, payload: object = None, signature: bytes = b"") -> str:
    """A JWT by hand."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(map(encoded, parts))


def serve_keys(faulty: FaultyPlaid, keys: Iterable[Key]) -> None:
    """Have the server give these keys, and refuse all other ids."""
    known = {each.kid: each for each in keys}

    def answer(request: Request) -> Answer:
        key = known.get(request.json["key_id"])
        return UNKNOWN_KEY if key is None else reply({"key": key.jwk, "request_id": "r1"})

    faulty.on(KEY, computed(answer))
