"""How webhooks are signed: https://plaid.com/docs/api/webhooks/webhook-verification/."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from .errors import PlaidError
from .ids import Ids
from .wire import Json


@dataclass(kw_only=True)
class SigningKey:
    """One P-256 key; an expired key does not sign and must not be trusted."""

    kid: str
    private: ec.EllipticCurvePrivateKey
    created_at: dt.datetime
    expired_at: dt.datetime | None = None

    def public_jwk(self) -> Json:
        """Show the public key as `/webhook_verification_key/get` does."""
        point = self.private.public_key().public_numbers()
        return {
            "alg": "ES256",
            "created_at": int(self.created_at.timestamp()),
            "crv": "P-256",
            "expired_at": int(self.expired_at.timestamp()) if self.expired_at else None,
            "kid": self.kid,
            "kty": "EC",
            "use": "sig",
            "x": _coordinate(point.x),
            "y": _coordinate(point.y),
        }


def _coordinate(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


# The key id that the tests of Plaid's own clients request from the Sandbox.
FIRST_KEY_ID = "6c5516e1-92dc-479e-a8ff-5a51992e0001"


class Signer:
    """Holds the keys; the newest one signs."""

    def __init__(self, ids: Ids, now: dt.datetime):
        self._ids = ids
        self._keys: dict[str, SigningKey] = {}
        self.rotate(now)

    def rotate(self, now: dt.datetime) -> None:
        """Sign with a new key from now on; the previous one expires."""
        for key in self._keys.values():
            key.expired_at = key.expired_at or now
        kid = self._ids.uuid("kid") if self._keys else FIRST_KEY_ID
        # 31 bytes are below the curve's order and, for any seed, not zero.
        secret = int(self._ids.hexadecimal("signing", 62), 16) + 1
        private = ec.derive_private_key(secret, ec.SECP256R1())
        self._keys[kid] = SigningKey(kid=kid, private=private, created_at=now)

    def find(self, kid: str) -> SigningKey:
        """Return a key by its id, or Plaid's error."""
        try:
            return self._keys[kid]
        except KeyError:
            raise PlaidError("INVALID_WEBHOOK_VERIFICATION_KEY_ID") from None

    def sign(self, body: bytes, issued_at: int) -> str:
        """Return the `Plaid-Verification` header for a body."""
        key = list(self._keys.values())[-1]
        claims = {"iat": issued_at, "request_body_sha256": hashlib.sha256(body).hexdigest()}
        return jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.kid})
