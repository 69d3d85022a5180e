"""Masks tokens in text, reprs and logs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from hashlib import sha256

from typing_extensions import override

# `[type]-[environment]-[identifier]`, https://plaid.com/docs/quickstart/glossary/#token.
# The identifier is documented as a UUID, but Plaid's own examples show others. The type has bounds,
# so that a long text is read in a time that grows with its length and not with its square.
_PLAID_TOKEN = re.compile(
    r"(?P<type>[a-z]{1,24}(?:[_-][a-z]{1,24}){0,3})"
    r"-(?P<environment>sandbox|development|production)-(?P<id>[A-Za-z0-9_.~-]+)"
)
# Stripe's bank account tokens, https://plaid.com/docs/auth/partnerships/stripe/.
_STRIPE_TOKEN = re.compile(r"btok_(?P<id>[A-Za-z0-9]+)")
_PUNCTUATION = re.compile(r"[\s\ufeff\u200b\"'`‘’“”«»<>()\[\]{},;\\]")  # noqa: RUF001
_WORD = re.compile(r"[A-Za-z_]{1,20}")


def mask(secret: str) -> str:
    """A token's type, environment and last four characters; of what is no token, nothing."""
    found = _PLAID_TOKEN.fullmatch(secret) or _STRIPE_TOKEN.fullmatch(secret)
    if found is None:
        return "…"
    shown = found["id"][-4:] if len(found["id"]) >= 12 else ""
    return f"{secret[: found.start('id')]}…{shown}"


def fingerprint(secret: str) -> str:
    """Twelve hexadecimal digits of its SHA-256, which name it in logs and tickets."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def mask_repr(secret: str | None) -> str:
    """For the ``repr`` of an attrs field."""
    return "None" if secret is None else f"'{mask(secret)}'"


def secrets_among(*values: str | None) -> tuple[str, ...]:
    """Those of the values that can be secrets: neither short (under 8 characters) nor a plain word.

    A placeholder such as ``YOUR_SECRET`` is a word, which messages and codes may have in them.
    """
    return tuple(each for each in values if each and len(each) >= 8 and not _WORD.fullmatch(each))


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text with every Plaid token, and each of the secrets given, masked."""
    in_order = sorted(filter(None, secrets), key=len, reverse=True)
    # A secret that is a token may have more in it than tokens have. Any other comes after them: it
    # may be a part of one, which would then be none any more.
    others = [each for each in in_order if not _PLAID_TOKEN.search(each)]
    for secret in in_order:
        if secret not in others:
            text = text.replace(secret, mask(secret))
    for token in (_PLAID_TOKEN, _STRIPE_TOKEN):
        text = token.sub(lambda found: mask(found.group()), text)
    for secret in others:
        text = text.replace(secret, mask(secret))
    return text


def has_token_inside(text: str) -> bool:
    """Whether a Plaid token stands in the text beside quotes, white space or other punctuation."""
    return bool(_PLAID_TOKEN.search(text) and _PUNCTUATION.search(text))


def token_kind(token: str) -> tuple[str, str] | None:
    """The type and environment that a token's own prefix names, if it has one."""
    found = _PLAID_TOKEN.fullmatch(token)
    return (found["type"], found["environment"]) if found else None


class RedactingFilter(logging.Filter):
    """Masks Plaid's tokens in every log record: text, exception, stack and extra fields.

    Add it to handlers, so that it sees the records of every logger. Keys have no form of their own:
    pass them as ``secrets``, and they are masked too.
    """

    def __init__(self, *, secrets: Iterable[str] = ()) -> None:
        """Mask tokens, and each of these secrets.

        Raises:
            TypeError: ``secrets`` is a text, or one of them is none.
        """
        super().__init__()
        if isinstance(secrets, (str, bytes)):
            raise TypeError("secrets must be a sequence of texts, not one text")
        self._secrets = tuple(secrets)
        given: tuple[object, ...] = self._secrets
        if kinds := {type(each).__name__ for each in given if not isinstance(each, str)}:
            raise TypeError(f"secrets must be texts, not {', '.join(sorted(kinds))}")

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; a record without a token is left as it is."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  the arguments do not fit, or their own code fails
            text = f"{_repr(record.msg)} {_repr(record.args)}"
        if (masked := redact(text, self._secrets)) != text:
            record.msg, record.args = masked, None
        # An exception cannot be masked, so its masked text takes its place.
        traceback = record.exc_text
        if traceback is None and record.exc_info:
            traceback = _FORMATTER.formatException(record.exc_info)
        if traceback and (masked := redact(traceback, self._secrets)) != traceback:
            record.exc_text, record.exc_info = masked, None
        if record.stack_info:
            record.stack_info = redact(record.stack_info, self._secrets)
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS:
                text = value if isinstance(value, str) else _repr(value)
                if (masked := redact(text, self._secrets)) != text:
                    setattr(record, name, masked)
        return True


_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FORMATTER = logging.Formatter()


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  the value's own code runs
        return f"<{type(value).__name__}>"
