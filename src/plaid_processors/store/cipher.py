"""Fernet, by the library ``cryptography``: https://cryptography.io/en/latest/fernet/."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigurationError, DecryptionError


class FernetCipher:
    """Encrypts by the first of its keys, and decrypts by any of them.

    What is encrypted is bound to its context, whose SHA-256 it begins with: for another one it is
    not decrypted.

    Attributes:
        key_id: names the first key.
    """

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        """Set it up.

        Args:
            keys: keys as ``cryptography.fernet.Fernet.generate_key()`` makes them, the newest
                first.

        Raises:
            ConfigurationError: there is none, one is malformed, or ``cryptography`` is missing.
        """
        fernet = _import_fernet()
        if isinstance(keys, (str, bytes)):
            raise ConfigurationError("keys must be a list of keys, not a single one")
        try:
            # Strictly: two keys in one text must not be taken as the first.
            raw = [base64.b64decode(each.strip(), altchars=b"-_", validate=True) for each in keys]
            listed = [fernet.Fernet(base64.urlsafe_b64encode(each)) for each in raw]
        except (AttributeError, TypeError, ValueError):
            raise ConfigurationError(
                "a key is not of 32 bytes as URL-safe base64: Fernet.generate_key() makes one"
            ) from None  # whose text may show the key
        if not listed:
            raise ConfigurationError("keys is empty: Fernet.generate_key() makes one")
        self._fernet = fernet.MultiFernet(listed)
        self.key_id: str = hashlib.sha256(raw[0]).hexdigest()[:12]
        self._invalid = fernet.InvalidToken

    def __repr__(self) -> str:
        return f"<FernetCipher {self.key_id}>"

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        """The data encrypted by the first key, with its context."""
        bound = hashlib.sha256(context).digest() + data
        return base64.urlsafe_b64decode(self._fernet.encrypt(bound))

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """What was encrypted by any of the keys.

        Raises:
            DecryptionError: by another key, or in another context; or it was changed.
        """
        try:
            bound: bytes = self._fernet.decrypt(base64.urlsafe_b64encode(data))
        except self._invalid:
            raise DecryptionError(
                "a stored link cannot be read: none of the keys fits, or it was changed"
            ) from None
        about = hashlib.sha256(context).digest()
        if not bound.startswith(about):
            raise DecryptionError("a stored link cannot be read: it is in another one's place")
        return bound[len(about) :]


def _import_fernet() -> Any:
    try:
        from cryptography import fernet
    except ImportError:
        raise ConfigurationError(
            'FernetCipher needs cryptography: pip install "plaid-processors[store]"'
        ) from None
    return fernet
