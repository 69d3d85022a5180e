"""What stands for a character that the output cannot encode, as on a Windows console or in cron."""

from __future__ import annotations

import codecs
import io
import sys

_INSTEAD = {
    "✓": "[ok]",
    "✗": "[failed]",
    "→": "->",
    "←": "<-",
    "…": "...",
    "─": "-",
    "—": "-",
}
_HANDLER = "plaid_processors.ascii"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(_INSTEAD.get(each, "?") for each in characters), error.end


codecs.register_error(_HANDLER, _replace)


def set_up_streams() -> None:
    """Have each character that a stream cannot encode written in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def as_printed(text: str) -> str:
    """The text as standard output will show it, to measure its width."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, _HANDLER).decode(encoding)
