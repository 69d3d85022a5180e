"""``plaid-processors backfill``: a partner's tokens for all Items of a store that lack them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import TextIO

from ..backfill import BackfillOutcome, BackfillProgress, RateBudget, backfill
from .recover import UndoneError, named_linker

_EVERY = 2.0
"""Seconds between two lines of progress."""


def run(arguments: argparse.Namespace) -> None:
    """Fill in what is missing, and tell how far it is."""
    budget = RateBudget(arguments.per_minute, storage=arguments.budget)
    told = _Told()
    with ExitStack() as stack:
        linker = stack.enter_context(named_linker(arguments.linker))
        if arguments.report is not None:
            told.file = stack.enter_context(
                open(arguments.report, "a", encoding="utf-8")  # noqa: PTH123  a new run adds to it
            )
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
        print(f"{report.tokens} tokens at {budget.per_minute} a minute take {minutes:.1f} minutes")
    if report.stopped is not None:
        raise UndoneError(f"stopped, since no other Item would fare better: {report.stopped}")
    if report.failed:
        raise UndoneError(f"Items that failed: {report.failed}; run it again")


class _Told:
    """What a run has told so far."""

    def __init__(self) -> None:
        self.file: TextIO | None = None
        self._next = time.monotonic() + _EVERY
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def end(self, *, dry_run: bool) -> None:
        """What became of all Items, also if the run was interrupted."""
        counts = self._counts
        verb = "would get tokens" if dry_run else "issued"
        print(f"{counts['issued']} {verb}, {counts['skipped']} skipped, {counts['failed']} failed")
        for reason, number in self._reasons.most_common():
            print(f"  {number} {reason}")

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
        """Now and then, how far it is."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        done = progress.issued + progress.skipped + progress.failed
        left = (
            "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.1f} min left"
        )
        print(
            f"{done} of {progress.total}: {progress.issued} issued, {progress.skipped} skipped, "
            f"{progress.failed} failed, {progress.per_minute:.0f} a minute{left}",
            file=sys.stderr,
            flush=True,
        )
