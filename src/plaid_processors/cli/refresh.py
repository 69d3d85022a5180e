"""``plaid-processors refresh``: looks at the Items of a store, for cron."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..errors import PlaidProcessorsError
from ..life import LinkChanges
from ..linker import ProcessorLinker
from ..store.books import all_records
from ..store.records import LinkQuery, LinkRecord, LinkState
from .linker import UndoneError, named_linker
from .options import add_limits, add_linker
from .output import tell
from .progress import Progress

SUMMARY = "look at the Items of a store, and make the tokens that they lack"
EXAMPLES = """\
Every night, by cron; exit status 1 if an Item could not be looked at:
  15 3 * * *  plaid-processors refresh --linker myapp.plaid:linker"""


def add_options(command: argparse.ArgumentParser) -> None:
    add_linker(command)
    add_limits(command, "1d", "Items")


def run(arguments: argparse.Namespace) -> None:
    """Refresh each Item that was not stored for so long, and tell what changed."""
    counts = dict.fromkeys(("refreshed", "changed", "to act on", "failed"), 0)
    progress = Progress()
    with named_linker(arguments.linker) as linker:
        total = sum(1 for _ in _due(linker, arguments.older_than, arguments.limit))
        try:
            for record in _due(linker, arguments.older_than, arguments.limit):
                line = _refreshed(linker, record, counts)
                if line is not None:
                    progress.clear()
                    tell(f"Item {record.item_id} of user {record.client_user_id}: {line}")
                done = counts["refreshed"] + counts["failed"]
                progress.show(f"{done} of {max(done, total)} Items: {_in_words(counts)}")
        finally:
            progress.clear()
            tell(_in_words(counts))
    if counts["failed"]:
        raise UndoneError(f"Items that could not be refreshed: {counts['failed']}")


def _refreshed(linker: ProcessorLinker, record: LinkRecord, counts: dict[str, int]) -> str | None:
    """Refresh an Item, and count it; the line about it, if there is something to tell."""
    try:
        changes = linker.refresh(item_id=record.item_id)
    except PlaidProcessorsError as error:
        counts["failed"] += 1
        return str(error.__cause__ or error)
    counts["refreshed"] += 1
    counts["changed"] += changes.changed
    counts["to act on"] += changes.status.action is not None
    return ", ".join(_told(changes)) or None


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _due(linker: ProcessorLinker, older_than: float, limit: int | None) -> Iterator[LinkRecord]:
    assert linker.store is not None
    client = linker.client
    query = LinkQuery(
        client_id=client.client_id,
        environment=client.environment.value,
        states=(LinkState.LINKED, LinkState.COMPLETE),
        older_than=older_than,
    )
    for number, record in enumerate(all_records(linker.store, query)):
        if number == limit:
            return
        yield record


def _told(changes: LinkChanges) -> Iterator[str]:
    if changes.status.action is not None:
        error = changes.status.error
        why = f" ({error.error_code})" if error is not None else ""
        yield f"needs {changes.status.action}{why}"
    for what, accounts in (("came", changes.added), ("went", changes.removed)):
        if accounts:
            yield f"accounts that {what}: {len(accounts)}"
    if changes.issued:
        yield f"tokens made: {len(changes.issued)}"
