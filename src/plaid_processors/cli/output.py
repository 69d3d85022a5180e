"""Prints lines; that the reader of a pipe has gone (``| head``) is no failure."""

from __future__ import annotations

import errno
import os
import sys
from typing import TextIO


def tell(line: str = "") -> None:
    """Print a line on standard output, at once."""
    if sys.stdout is not None:
        _write(line + "\n", sys.stdout)


def warn(line: str) -> None:
    """Print a line on standard error, after the program's name."""
    write_error(f"plaid-processors: {line}\n")


def write_error(text: str) -> None:
    """Write to standard error, at once."""
    if sys.stderr is not None:
        _write(text, sys.stderr)


def finish() -> None:
    """Write what argparse has printed; Python's own flush at the end would complain."""
    if sys.stdout is not None:
        _write("", sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    """The work goes on without a reader: it may have Items to remove."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # What is still in the stream's buffer, and all that comes, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # On Windows a closed pipe is an invalid argument.
        gone = isinstance(error, BrokenPipeError) or (
            os.name == "nt" and error.errno == errno.EINVAL
        )
        if not gone:
            raise
