"""What several commands' options have in common."""

from __future__ import annotations

import argparse
import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str) -> float:
    """Seconds, of a text such as ``90s``, ``2m``, ``1h`` or ``1d``."""
    parts = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if parts is None:
        raise argparse.ArgumentTypeError("must be a time such as 90s, 2m, 1h or 1d")
    return float(parts[1]) * _UNITS[parts[2]]


def count(text: str) -> int:
    """A whole number, 1 or more."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def add_linker(command: argparse.ArgumentParser) -> None:
    """``--linker``, which names the caller's linker with its store."""
    command.add_argument(
        "--linker",
        required=True,
        metavar="MODULE:NAME",
        help="your ProcessorLinker, with a store, or a function that returns one; the module is "
        "looked for in this folder too",
    )


def add_limits(command: argparse.ArgumentParser, age: str, what: str) -> None:
    """``--older-than`` and ``--limit``."""
    command.add_argument(
        "--older-than",
        type=duration,
        default=age,
        metavar="TIME",
        help=f"only {what} that were last stored so long ago: 90s, 2m, 1h or 1d; "
        "default: %(default)s",
    )
    command.add_argument(
        "--limit", type=count, metavar="NUMBER", help=f"at most so many {what}; default: all"
    )
