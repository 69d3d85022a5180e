"""A filter that keeps Plaid's tokens out of an application's own logs."""

from __future__ import annotations

import logging

from .redaction import redact

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FORMATTER = logging.Formatter()


class RedactingFilter(logging.Filter):
    """Masks Plaid's tokens in every record that passes: text, exception, stack and extra fields.

    Add it to handlers, so that it sees the records of every logger::

        handler.addFilter(RedactingFilter())

    Keys do not look like anything: pass them as ``secrets``, and they are masked too.
    """

    def __init__(self, *, secrets: tuple[str, ...] = ()) -> None:
        """Mask tokens, and each of these secrets."""
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; what holds no token is left as it is."""
        text = _message(record)
        if (masked := self._redact(text)) != text:
            record.msg, record.args = masked, None
        self._mask_exception(record)
        record.stack_info = record.stack_info and self._redact(record.stack_info)
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS:
                setattr(record, name, self._masked(value))
        return True

    def _mask_exception(self, record: logging.LogRecord) -> None:
        """The exception itself cannot be masked, so its masked text takes its place."""
        text = record.exc_text
        if text is None and record.exc_info:
            text = _FORMATTER.formatException(record.exc_info)
        if text and (masked := self._redact(text)) != text:
            record.exc_text, record.exc_info = masked, None

    def _redact(self, text: str) -> str:
        return redact(text, self._secrets)

    def _masked(self, value: object) -> object:
        """A field that the application added: as it is where it holds no token, else its text."""
        text = value if isinstance(value, str) else _repr(value)
        masked = self._redact(text)
        return value if masked == text else masked


def _message(record: logging.LogRecord) -> str:
    """What was said; where message and arguments do not fit, both.

    logging forgives such a call when it formats, but not what a filter raises.
    """
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  anything, as the arguments' own code runs
        return f"{_repr(record.msg)} {_repr(record.args)}"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  as above
        return f"<{type(value).__name__}>"
