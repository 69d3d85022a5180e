"""Whether the local Plaid runs that the settings name: without it, each request would fail."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from ..errors import ConfigurationError, PlaidProcessorsError
from ..settings import checked_address, is_loopback

PORT = 8080
"""Where ``plaid-processors sandbox`` listens unless it is given another port."""


class NoLocalPlaidError(PlaidProcessorsError):
    """No local Plaid answers at this address."""

    def __init__(self, shown: str, port: int | None, why: str = "") -> None:
        start = "plaid-processors sandbox"
        if port is not None and port != PORT:
            start += f" --port {port}"
        super().__init__(f"no local Plaid at {shown}{why}: start it with {start}")


def check_local_plaid(address: str | None = None) -> None:
    """Raise a NoLocalPlaidError if nothing listens at an address of this machine.

    Args:
        address: the address; None: that in PLAID_BASE_URL. One of another machine is not looked at.
    """
    address = os.environ.get("PLAID_BASE_URL", "").strip() if address is None else address
    with suppress(ConfigurationError):  # what is wrong with it, its user says
        parts = urlsplit(checked_address(address))
        if parts.scheme != "http" or parts.hostname is None or not is_loopback(parts.hostname):
            return
        try:
            socket.create_connection((parts.hostname, parts.port or 80), timeout=2.0).close()
        except ConnectionRefusedError:
            raise NoLocalPlaidError(f"{parts.scheme}://{parts.netloc}", parts.port) from None
        except OSError:
            pass  # the first request will say it
