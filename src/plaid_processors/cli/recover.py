"""``plaid-processors recover``: finishes what a crash left in a store, for cron."""

from __future__ import annotations

import argparse

from .linker import UndoneError, named_linker
from .options import add_limits, add_linker
from .output import tell
from .progress import Progress

SUMMARY = "finish what a crash left in a store"
EXAMPLES = """\
Every few minutes, by cron; exit status 1 if something is unknown or failed:
  */5 * * * *  plaid-processors recover --linker myapp.plaid:linker"""


def add_options(command: argparse.ArgumentParser) -> None:
    add_linker(command)
    add_limits(command, "2m", "links")


def run(arguments: argparse.Namespace) -> None:
    """Recover, and tell of each link that is not finished."""
    with named_linker(arguments.linker) as linker, Progress().meanwhile("finishing what was left"):
        report = linker.recover(older_than=arguments.older_than, limit=arguments.limit)
    for state in ("unknown", "failed"):
        for each in getattr(report, state):
            tell(f"{state}: {each}")
    tell(str(report))
    if report.unknown or report.failed:
        raise UndoneError(
            f"links that are not finished: {len(report.unknown) + len(report.failed)}"
        )
