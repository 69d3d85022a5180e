"""What a web page needs to open Link: its script, and what the browser must allow."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..results import Environment
from ..settings import is_loopback

_PLAIDS = "https://cdn.plaid.com"
"""Where Plaid serves Link, in both environments (https://plaid.com/docs/link/web/)."""


def script_url(base_url: str) -> str:
    """The address of Link's script, for a client of this base URL."""
    return f"{_origin(base_url)}/link/v2/stable/link-initialize.js"


def security_policy(base_url: str, nonce: str) -> str:
    """The ``Content-Security-Policy`` of a page that opens Link.

    The sources are those of https://plaid.com/docs/link/web/#csp-directives, but scripts of
    the page itself need the nonce.

    Raises:
        ValueError: the nonce is none.
    """
    if not re.fullmatch(r"[\w+/-]{16,}={0,2}", str(nonce), re.ASCII):
        raise ValueError("nonce must be 16 or more random letters and digits, new for each page")
    link = _origin(base_url)
    apis = " ".join(f"https://{each.value}.plaid.com" for each in Environment)
    return "; ".join(
        (
            f"default-src 'self' {link}",
            f"script-src 'self' 'nonce-{nonce}' {script_url(base_url)}",
            f"style-src 'self' 'nonce-{nonce}' {link}",
            "style-src-attr 'unsafe-inline'",  # which Link sets
            f"frame-src {link}",
            f"connect-src 'self' {apis} {link}",
            f"img-src 'self' data: {link}",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _origin(base_url: str) -> str:
    """Who serves Link: a local Plaid itself, and else Plaid, also behind a proxy of its API."""
    parts = urlsplit(base_url)
    if not is_loopback(parts.hostname):
        return _PLAIDS
    # A policy cannot name an IPv6 address (https://www.w3.org/TR/CSP3/#grammardef-host-part).
    host = "localhost" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
