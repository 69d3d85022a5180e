"""``plaid-processors recover`` and ``refresh``: what a store's links need, for cron."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import extract_tb

from ..errors import PlaidProcessorsError
from ..life import LinkChanges
from ..linker import ProcessorLinker
from ..store.books import all_records
from ..store.records import LinkQuery, LinkRecord, LinkState

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class UsageError(Exception):
    """The linker that was named cannot be had."""


class UndoneError(PlaidProcessorsError):
    """Something is left that a person has to look at."""


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


def run(arguments: argparse.Namespace) -> None:
    """Recover, and tell of each link that is not finished."""
    with named_linker(arguments.linker) as linker:
        report = linker.recover(older_than=arguments.older_than, limit=arguments.limit)
    for state in ("unknown", "failed"):
        for each in getattr(report, state):
            print(f"{state}: {each}")
    print(report)
    if report.unknown or report.failed:
        raise UndoneError(
            f"links that are not finished: {len(report.unknown) + len(report.failed)}"
        )


def refresh(arguments: argparse.Namespace) -> None:
    """Refresh each Item that was not stored for so long, and tell what changed."""
    counts = dict.fromkeys(("refreshed", "changed", "to act on", "failed"), 0)
    with named_linker(arguments.linker) as linker:
        try:
            for record in _due(linker, arguments.older_than, arguments.limit):
                named = f"Item {record.item_id} of user {record.client_user_id}"
                try:
                    changes = linker.refresh(item_id=record.item_id)
                except PlaidProcessorsError as error:
                    counts["failed"] += 1
                    print(f"{named}: {error.__cause__ or error}")
                    continue
                counts["refreshed"] += 1
                counts["changed"] += changes.changed
                counts["to act on"] += changes.status.action is not None
                if told := ", ".join(_told(changes)):
                    print(f"{named}: {told}")
        finally:
            print(", ".join(f"{number} {name}" for name, number in counts.items()))
    if counts["failed"]:
        raise UndoneError(f"Items that could not be refreshed: {counts['failed']}")


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


def named_linker(named: str) -> ProcessorLinker:
    """The linker that ``module:attribute`` names, or that the function there returns."""
    module, _, path = named.partition(":")
    if not module or not path:
        raise UsageError("--linker must be module:attribute, such as myapp.plaid:linker")
    sys.path.insert(0, str(Path.cwd()))
    found = _tried(f"{module} cannot be imported", lambda: importlib.import_module(module))
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{module} has no {path}")
        found = getattr(found, name)
    if callable(found) and not isinstance(found, type):
        found = _tried(f"{named} cannot be called", found)
    if not isinstance(found, ProcessorLinker):
        raise UsageError(
            f"{named} must be a ProcessorLinker, or a function without arguments that returns one, "
            f"not {type(found).__name__}"
        )
    if found.store is None:
        raise UsageError(f"{named} has no store: ProcessorLinker(…, store=…)")
    return found


def _tried(failure: str, work: Callable[[], object]) -> object:
    """What it returns; an exception of the caller's code is shown without its text, if unknown."""
    try:
        return work()
    except (PlaidProcessorsError, ImportError) as error:
        raise UsageError(f"{failure}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  the caller's code may raise anything
        # Not its text, which may show a key or a database's password.
        place = extract_tb(error.__traceback__)[-1]
        raise UsageError(
            f"{failure}: {type(error).__name__} in {place.filename}, line {place.lineno}"
        ) from None
