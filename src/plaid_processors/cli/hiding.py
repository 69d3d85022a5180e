"""What the command line does not show."""

from __future__ import annotations

import re

from ..redaction import redact

# No command, option or partner is written so, but keys and tokens are.
_MAY_BE_SECRET = re.compile(r"(?=.*[0-9]|.*[a-z].*[A-Z]|.*[A-Z].*[a-z])[A-Za-z0-9_-]{12,}")


def hidden(text: str, given: str) -> str:
    """Mask tokens, and each word of what was given that may be a secret in a wrong place."""
    words = re.findall(r"[\w-]+", given)
    return redact(text, tuple(filter(_MAY_BE_SECRET.fullmatch, words)))
