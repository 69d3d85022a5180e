"""``plaid-processors recover``: finishes what a crash left in a store, for cron."""

from __future__ import annotations

import argparse

from attrs import evolve

from ..linker import ProcessorLinker
from ..store.books import all_records
from ..store.records import HandoffState, LinkQuery
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
    with named_linker(arguments.linker) as linker:
        left = _left(linker, arguments.older_than)
        with Progress().meanwhile(f"links to look at: {left}"):
            report = linker.recover(older_than=arguments.older_than, limit=arguments.limit)
    for state in ("unknown", "failed"):
        for each in getattr(report, state):
            tell(f"{state}: {each}")
    tell(str(report))
    if report.unknown or report.failed:
        raise UndoneError(
            f"links that are not finished: {len(report.unknown) + len(report.failed)}"
        )


def _left(linker: ProcessorLinker, older_than: float) -> int:
    assert linker.store is not None
    client = linker.client
    mine = LinkQuery(
        client_id=client.client_id, environment=client.environment.value, older_than=older_than
    )
    queries = (evolve(mine, under_way=True), evolve(mine, handoff=HandoffState.SENDING))
    return len({each.key for query in queries for each in all_records(linker.store, query)})
