"""Ids, tokens and keys, all derived from one seed."""

from __future__ import annotations

import hashlib
import random
import string
import uuid

LETTERS_AND_DIGITS = string.ascii_letters + string.digits


class Ids:
    """Draws ids; each kind has its own stream, so that one does not shift another."""

    def __init__(self, seed: int | str):
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def _stream(self, kind: str) -> random.Random:
        if kind not in self._streams:
            self._streams[kind] = random.Random(f"{self.seed}/{kind}")  # noqa: S311 - not secrets
        return self._streams[kind]

    def hexadecimal(self, kind: str, digits: int) -> str:
        """Draw a string of lowercase hexadecimal digits."""
        return f"{self._stream(kind).getrandbits(4 * digits):0{digits}x}"

    def word(self, kind: str, length: int) -> str:
        """Draw a string of letters and digits, as Plaid's ids are."""
        return "".join(self._stream(kind).choices(LETTERS_AND_DIGITS, k=length))

    def uuid(self, kind: str) -> str:
        """Draw a UUID."""
        return str(uuid.UUID(int=self._stream(kind).getrandbits(128), version=4))


def derived_word(*parts: object, length: int = 37) -> str:
    """Derive letters and digits from the parts: the same parts give the same word."""
    value, letters = _derived(*parts), []
    for _ in range(length):
        value, index = divmod(value, len(LETTERS_AND_DIGITS))
        letters.append(LETTERS_AND_DIGITS[index])
    return "".join(letters)


def derived_digits(*parts: object, length: int) -> str:
    """Derive decimal digits from the parts."""
    return f"{_derived(*parts) % 10**length:0{length}}"


def _derived(*parts: object) -> int:
    digest = hashlib.sha512("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest, "big")
