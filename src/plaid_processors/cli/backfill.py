"""``plaid-processors backfill``: a partner's tokens for all Items of a store that lack them."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import ExitStack
from typing import TextIO

from ..backfill import BackfillOutcome, BackfillProgress, RateBudget, backfill
from ..errors import ConfigurationError
from .linker import UndoneError, UsageError, named_linker
from .names import TOO_MANY, partner
from .options import add_linker, count
from .output import tell
from .progress import Progress

SUMMARY = "make a partner's tokens for all Items of a store that lack them"
EXAMPLES = """\
First look, then do it; exit status 1 if it was stopped or an Item failed:
  plaid-processors backfill finix --linker myapp.plaid:linker --dry-run
  plaid-processors backfill finix --linker myapp.plaid:linker"""


def add_options(command: argparse.ArgumentParser) -> None:
    command.set_defaults(too_many=TOO_MANY)
    command.add_argument("partner", type=partner, help="Plaid's name of the partner, such as finix")
    add_linker(command)
    command.add_argument(
        "--budget",
        default="memory://",
        metavar="URL",
        help="what all processes share the pace by, such as redis://localhost:6379/0; default: "
        "this process alone",
    )
    command.add_argument(
        "--per-minute",
        type=count,
        default=450,
        metavar="NUMBER",
        help="how many tokens a minute; default: %(default)s",
    )
    command.add_argument(
        "--workers",
        type=count,
        default=8,
        metavar="NUMBER",
        help="how many Items at once; default: %(default)s",
    )
    command.add_argument(
        "--limit", type=count, metavar="NUMBER", help="at most so many Items; default: all"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only look, and say how long it would take"
    )
    command.add_argument(
        "--report", metavar="FILE", help="add a line of JSON for each Item to this file"
    )


def run(arguments: argparse.Namespace) -> None:
    """Fill in what is missing, and tell how far it is."""
    try:
        budget = RateBudget(arguments.per_minute, storage=arguments.budget)
    except ConfigurationError as error:
        if "pip install" in str(error):
            raise  # nothing is wrong with the usage
        raise UsageError(str(error)) from None
    told = _Told()
    with ExitStack() as stack:
        linker = stack.enter_context(named_linker(arguments.linker))
        if arguments.report is not None:
            told.file = stack.enter_context(_opened(arguments.report))
        stack.callback(told.end, dry_run=arguments.dry_run)
        report = backfill(
            linker,
            arguments.partner,
            budget=budget,
            workers=arguments.workers,
            on_outcome=told.outcome,
            on_progress=told.progress,
            limit=arguments.limit,
            dry_run=arguments.dry_run,
        )
    if arguments.dry_run:
        minutes = report.tokens / budget.per_minute
        tell(f"{report.tokens} tokens at {budget.per_minute} a minute take {minutes:.1f} minutes")
    if report.stopped is not None:
        raise UndoneError(f"stopped, since no other Item would fare better: {report.stopped}")
    if report.failed:
        raise UndoneError(f"Items that failed: {report.failed}; run it again")


def _opened(name: str) -> TextIO:
    try:
        return open(name, "a", encoding="utf-8")  # noqa: PTH123  a new run adds to it
    except OSError as error:
        raise OSError(f"cannot write {name}: {error.strerror or error}") from None


class _Told:
    """What a run has told so far."""

    def __init__(self) -> None:
        self.file: TextIO | None = None
        self._progress = Progress()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def end(self, *, dry_run: bool) -> None:
        """What became of all Items, also if the run was interrupted."""
        self._progress.clear()
        counts = self._counts
        verb = "would get tokens" if dry_run else "issued"
        tell(f"{counts['issued']} {verb}, {counts['skipped']} skipped, {counts['failed']} failed")
        for reason, number in self._reasons.most_common():
            tell(f"  {number} {reason}")

    def outcome(self, outcome: BackfillOutcome) -> None:
        """A line of the report for each Item; it has no token in it."""
        self._counts[outcome.status] += 1
        if outcome.reason is not None:
            self._reasons[outcome.reason] += 1
        if self.file is not None:
            names = ("item_id", "status", "reason", "tokens")
            line = {name: getattr(outcome, name) for name in names}
            line["error"] = None if outcome.error is None else str(outcome.error)
            print(json.dumps(line), file=self.file, flush=True)

    def progress(self, progress: BackfillProgress) -> None:
        """How far it is."""
        done = progress.issued + progress.skipped + progress.failed
        left = (
            "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.1f} min left"
        )
        self._progress.show(
            f"{done} of {progress.total}: {progress.issued} issued, {progress.skipped} skipped, "
            f"{progress.failed} failed, {progress.per_minute:.0f} a minute{left}"
        )
