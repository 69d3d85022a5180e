"""How a secret may be spoken of: masks, fingerprints, and text cleared of tokens."""

from __future__ import annotations

import re

_ENVIRONMENTS = "sandbox|development|production"

# `[type]-[environment]-[identifier]`, https://plaid.com/docs/quickstart/glossary/#token.
# The identifier is documented as a UUID, but Plaid's own examples show others. The type has bounds,
# so that a long text is read in a time that grows with its length and not with its square.
_PLAID_TOKEN = re.compile(
    r"(?P<type>[a-z]{1,24}(?:[_-][a-z]{1,24}){0,3})"
    rf"-(?P<environment>{_ENVIRONMENTS})-(?P<id>[A-Za-z0-9_.~-]+)"
)
# Stripe's bank account tokens, https://plaid.com/docs/auth/partnerships/stripe/.
_STRIPE_TOKEN = re.compile(r"(?P<type>btok)_(?P<id>[A-Za-z0-9]+)")

_TAIL = 4
_SHORT = 12
"""An identifier shorter than this shows none of its characters."""


def _tail(identifier: str) -> str:
    return "…" + identifier[-_TAIL:] if len(identifier) >= _SHORT else "…"


def mask(secret: str | None) -> str:
    """The type, the environment and at most the last four characters of a token.

    What does not look like a token of Plaid's shows nothing at all.
    """
    if secret is None:
        return "None"
    if plaid := _PLAID_TOKEN.fullmatch(secret):
        return f"{plaid['type']}-{plaid['environment']}-{_tail(plaid['id'])}"
    if stripe := _STRIPE_TOKEN.fullmatch(secret):
        return f"btok_{_tail(stripe['id'])}"
    return "…"


def mask_repr(secret: str | None) -> str:
    """A mask in the form that a field takes in a ``repr``."""
    return "None" if secret is None else f"'{mask(secret)}'"


def fingerprint(secret: str) -> str:
    """Twelve hexadecimal digits of the SHA-256: a name for a token in logs and tickets."""
    from hashlib import sha256

    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text with every Plaid token, and each of the secrets given, masked."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, mask(secret))
    text = _PLAID_TOKEN.sub(lambda found: mask(found.group()), text)
    return _STRIPE_TOKEN.sub(lambda found: mask(found.group()), text)


def token_kind(token: str) -> tuple[str, str] | None:
    """The type and environment that a token's own prefix names, if it has one."""
    found = _PLAID_TOKEN.fullmatch(token)
    return (found["type"], found["environment"]) if found else None
