"""The way out: which proxy and which certificates requests use, and why."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import urllib3
from attrs import field, frozen
from urllib3.util.ssl_ import create_urllib3_context

from ..errors import ConfigurationError
from ..settings import is_loopback


@frozen(kw_only=True)
class Network:
    """How an address is reached.

    Attributes:
        proxy: the proxy's address, perhaps with its user, or None.
        proxy_source: what named it: ``proxy=`` or a variable.
        files: what names trusted certificates (``ca_bundle=`` or a variable), the file or folder
            that it names, and its time; empty: the system's are trusted.
    """

    proxy: str | None = field(default=None, repr=False)
    proxy_source: str | None = None
    files: tuple[tuple[str, str, float], ...] = ()

    @property
    def certificates(self) -> dict[str, str]:
        """The trusted certificates' places, by what names them."""
        return {source: path for source, path, _ in self.files}

    @property
    def shown_proxy(self) -> str | None:
        """The proxy's address without its user."""
        return None if self.proxy is None else _without_user(self.proxy)

    @property
    def proxy_headers(self) -> Mapping[str, str] | None:
        """The user's name and password for the proxy, where its address has them."""
        parts = urlsplit(self.proxy or "")
        if not parts.username:
            return None
        # Not by urllib3's make_headers: its error over a character such as € shows the password.
        user = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        return {"Proxy-Authorization": f"Basic {b64encode(user).decode()}"}

    def ssl_context(self, base_url: str) -> ssl.SSLContext | None:
        """What trusts these certificates, for all connections to an address; None without TLS.

        One for all: urllib3 by itself loads the certificates for each connection anew.

        Raises:
            ConfigurationError: they cannot be read.
        """
        if not base_url.startswith("https:"):
            return None
        return _context(self.files, ssl.SSLContext)

    def pool(self, connections: int, base_url: str) -> Any:
        """A urllib3 pool manager that goes this way to an address."""
        settings: dict[str, Any] = {"maxsize": connections}
        ssl_context = self.ssl_context(base_url)
        if ssl_context is not None:
            settings["ssl_context"] = ssl_context
        if self.shown_proxy is None:
            return urllib3.PoolManager(**settings)
        return urllib3.ProxyManager(
            self.shown_proxy,
            proxy_headers=self.proxy_headers,
            proxy_ssl_context=ssl_context,
            **settings,
        )


_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@cache
def _context(files: tuple[tuple[str, str, float], ...], _kind: type) -> ssl.SSLContext:
    """One for all clients that trust the same: to load a system's certificates takes 40 ms."""
    if _gevent_came_late():  # urllib3's function still makes those of before, which recurse
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:  # not Python's: with it, urllib3 1.26 cannot reach a server by its number
        context = create_urllib3_context()
    if not files:
        context.load_default_certs()
    sources = {path: source for source, path, _ in files}  # each path once
    for path, source in sources.items():
        folder = Path(path).is_dir()
        try:
            context.load_verify_locations(
                cafile=None if folder else path, capath=path if folder else None
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(f"{source} names no certificates: {reason}") from None
    return context


def _gevent_came_late() -> bool:
    """Whether gevent patched Python's TLS when urllib3 had taken what it uses of it."""
    return urllib3.util.ssl_.SSLContext is not ssl.SSLContext


def network_for(
    base_url: str,
    *,
    proxy: str | None = None,
    ca_bundle: str | os.PathLike[str] | None = None,
) -> Network:
    """How an address is reached, by what the caller says, else by the usual variables.

    These are HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in capitals or not, and
    SSL_CERT_FILE and REQUESTS_CA_BUNDLE, which are both trusted where both are set. No variable
    puts a proxy between this machine and itself where no TLS is asked for: that is the local Plaid.

    Raises:
        ConfigurationError: the proxy's address or the certificates' place cannot be used.
    """
    source = "proxy="
    if proxy is None:
        source, proxy = _proxy_of(base_url)
    certificates: dict[str, object] = {}
    if ca_bundle is not None:
        certificates["ca_bundle="] = ca_bundle
    elif base_url.startswith("https:"):
        certificates.update(_variables(*_CERTIFICATES))
    return Network(
        proxy=None if proxy is None else _checked_proxy(proxy, source),
        proxy_source=None if proxy is None else source,
        files=tuple((name, *_checked_path(value, name)) for name, value in certificates.items()),
    )


def _proxy_of(base_url: str) -> tuple[str, str | None]:
    """The variable that names a proxy for this address, and its value."""
    parts = urlsplit(base_url)
    if parts.scheme == "http" and is_loopback(parts.hostname):
        return "", None
    named = f"{parts.scheme}_proxy"
    proxies = _variables(named, named.upper(), "all_proxy", "ALL_PROXY")
    exceptions = next(iter(_variables("no_proxy", "NO_PROXY").values()), "")
    if not proxies or proxy_bypass_environment(parts.netloc, {"no": exceptions}):
        return "", None
    return next(iter(proxies.items()))


def _variables(*names: str) -> dict[str, str]:
    """Those of these variables of the environment that are set, in this order."""
    values = {name: os.environ.get(name, "").strip() for name in names}
    return {name: value for name, value in values.items() if value}


def _without_user(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _checked_proxy(value: object, source: str) -> str:
    given = value if isinstance(value, str) else ""
    address = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # With a path, a "/" in the password was meant, and the host would be a part of the user.
        usable = usable and parts.path in ("", "/") and not (parts.query or parts.fragment)
        usable = usable and address.split() == [address]
        urllib3.util.parse_url(_without_user(address))
        address.encode()
    except ValueError:  # urllib3's and that of the encoding are ValueErrors too
        usable = False
    if not given or not usable:  # its value is not shown: it may hold a password
        raise ConfigurationError(
            f"{source} must be a proxy's address, such as http://proxy.example.com:3128"
        )
    return address


def _checked_path(value: object, source: str) -> tuple[str, float]:
    """A file or folder, and when it was changed."""
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigurationError(f"{source} must be a path, not {type(value).__name__}")
    path = os.fspath(value)
    with suppress(OSError, TypeError, ValueError):  # not there; or no path: perhaps a certificate
        return str(path), Path(path or "?").stat().st_mtime
    # Its value is not shown, and no other error is behind this one: it may be a key.
    raise ConfigurationError(f"{source} names a file that is not there")
