"""All Items of a store that lack a partner's tokens, on threads."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial as bound
from math import inf

from attrs import field, frozen

from ..adapters.base import PartnerAdapter
from ..linker import ProcessorLinker
from ..store.books import Books, guarded
from ..store.records import HandoffState, LinkQuery, LinkRecord, LinkState
from .budget import RateBudget
from .item import (
    BackfillOutcome,
    Choose,
    HandOver,
    backfill_item,
    books_of,
    claim_seconds,
    one_partner,
)

_BETWEEN_CLAIMS = 0.5
"""Seconds between two looks at Items that other processes have claimed."""

_LIVING = (LinkState.LINKED, LinkState.COMPLETE)


@frozen(kw_only=True)
class BackfillProgress:
    """How far a run is.

    Attributes:
        issued: how many Items have their tokens now.
        skipped: how many were passed over.
        failed: how many failed.
        total: how many there were to look at when the run began.
        tokens: how many tokens were made.
        per_minute: how many Items a minute are done.
        seconds_left: how long the rest will take at this pace; None before the first is done.
    """

    issued: int
    skipped: int
    failed: int
    total: int
    tokens: int
    per_minute: float
    seconds_left: float | None


@frozen(kw_only=True)
class BackfillReport:
    """What a run has done.

    Attributes:
        issued: how many Items got their tokens, or in a dry run would.
        skipped: how many were passed over.
        failed: how many failed.
        reasons: how many were skipped or failed for each reason.
        tokens: how many tokens were made, or in a dry run would be.
        seconds: how long it took.
        stopped: why it ended before its end, or None.
    """

    issued: int
    skipped: int
    failed: int
    reasons: Mapping[str, int] = field(factory=dict)
    tokens: int = 0
    seconds: float = 0.0
    stopped: str | None = None


def backfill(
    linker: ProcessorLinker,
    partner: str | PartnerAdapter,
    *,
    budget: RateBudget | None = None,
    workers: int = 8,
    on_outcome: Callable[[BackfillOutcome], object] | None = None,
    on_progress: Callable[[BackfillProgress], object] | None = None,
    hand_over: HandOver | None = None,
    choose: Choose | None = None,
    limit: int | None = None,
    dry_run: bool = False,
) -> BackfillReport:
    """Make a partner's tokens for all Items of the linker's store that lack them.

    Run again, it does only what is missing. Several processes may run it at once, on one budget.
    Ctrl-C ends it when the Items under way are done.

    Args:
        linker: a linker with a store.
        partner: the partner's name, or an adapter.
        budget: what each token is taken from; None: one of this process alone, `RateBudget`'s
            default.
        workers: how many Items are worked at side by side.
        on_outcome: called with each `BackfillOutcome`, on this thread.
        on_progress: called with the `BackfillProgress` after each Item, on this thread.
        hand_over: as for `backfill_item`; called on the workers' threads.
        choose: as for `backfill_item`; called on the workers' threads.
        limit: how many Items at most.
        dry_run: whether only to look.

    Raises:
        ConfigurationError: the linker has no store, or the partner is more than one.
        UnknownProcessorError: there is no such partner.
        StoreError: the store failed.
        BudgetError: the budget's storage failed.
    """
    adapter, books = one_partner(partner), books_of(linker)
    if type(workers) is not int or workers < 1:
        raise ValueError("workers must be a whole number, 1 or more")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError("limit must be a whole number, 1 or more, or None")
    stop = threading.Event()
    work = bound(
        backfill_item,
        linker,
        adapter,
        budget=RateBudget() if budget is None and not dry_run else budget,
        hand_over=hand_over,
        choose=choose,
        dry_run=dry_run,
        stop=stop,
    )
    lacking = bound(_lacking, books, adapter.processor, due=hand_over is not None)
    run = _Run(sum(1 for _ in lacking(start="")) if on_progress is not None else 0, limit)

    def take(outcome: BackfillOutcome) -> None:
        run.count(outcome)
        if outcome.stops:
            run.stopped = run.stopped or f"{outcome.reason}: {outcome.error}"
            stop.set()
        if on_outcome is not None:
            on_outcome(outcome)
        if on_progress is not None:
            on_progress(run.progress())

    # Several processes begin at different places, so that they do not meet at each Item.
    records = lacking(start=secrets.token_hex(32))
    waiting: Iterator[str] = (each.item_id for each in records if each.item_id is not None)
    claimed: list[str] = []
    patience: float | None = None
    outcomes: Outcomes = queue.SimpleQueue()
    try:
        with _workers(workers, work, stop, outcomes) as jobs:
            while not stop.is_set():
                # Few at a time, so that a million Items take no more memory than a hundred.
                while run.may_begin(2 * workers) and (item_id := next(waiting, None)) is not None:
                    run.under_way += 1
                    jobs.put(item_id)
                if run.under_way:
                    with suppress(queue.Empty):  # in slices: a signal waits for the end of each
                        outcome = outcomes.get(timeout=0.5)
                        if isinstance(outcome, BaseException):
                            raise outcome  # noqa: TRY301
                        run.under_way -= 1
                        if outcome.reason == "claimed" and time.monotonic() < (patience or inf):
                            claimed.append(outcome.item_id)  # another process is at it: see below
                        else:
                            take(outcome)
                    continue
                if not claimed:
                    break
                # Until then the claim of a process that was killed has ended.
                patience = patience or time.monotonic() + claim_seconds(linker)
                waiting, claimed = iter(claimed), []
                stop.wait(_BETWEEN_CLAIMS)
    except BaseException:
        for each in _left(outcomes):
            with suppress(Exception):  # the first error is the one to raise
                take(each)
        raise
    for each in _left(outcomes):
        take(each)
    return run.report()


Jobs = queue.SimpleQueue[str | None]
Outcomes = queue.SimpleQueue[BackfillOutcome | BaseException]


@contextmanager
def _workers(
    number: int,
    work: Callable[[str], BackfillOutcome],
    stop: threading.Event,
    outcomes: Outcomes,
) -> Iterator[Jobs]:
    """Threads that work at Items. However it ends, they end with the Items under way.

    Not a ThreadPoolExecutor: an exception of a signal handler may strike inside its locks.
    """
    jobs: Jobs = queue.SimpleQueue()

    def go() -> None:
        while (item_id := jobs.get()) is not None and not stop.is_set():
            try:
                outcomes.put(work(item_id))
            except BaseException as error:  # noqa: BLE001  it is raised where the run was called
                outcomes.put(error)

    threads = [
        threading.Thread(target=go, name=f"plaid-processors-backfill-{each}", daemon=True)
        for each in range(number)
    ]
    try:
        for each in threads:
            each.start()
        yield jobs
    finally:
        for _ in threads:  # first, as this takes no lock
            jobs.put(None)
        stop.set()
        for each in threads:
            while each.is_alive():  # in slices: on Windows, Ctrl-C is handled only between two
                each.join(0.5)


def _left(outcomes: Outcomes) -> Iterator[BackfillOutcome]:
    """What became of the Items that were under way when the run ended."""
    while not outcomes.empty():
        outcome = outcomes.get_nowait()
        if isinstance(outcome, BackfillOutcome):
            yield outcome


def _lacking(books: Books, processor: str, *, start: str, due: bool) -> Iterator[LinkRecord]:
    """The records of Items that lack a partner's tokens, or whose tokens are due, from a key on."""
    query = LinkQuery(client_id=books.client_id, environment=books.environment, states=_LIVING)
    after, wrapped = start, not start
    while True:
        page = guarded(bound(books.store.page, query, after=after))
        for record in page:
            if wrapped and start and record.key > start:
                return
            states = [each.state for each in record.handoffs if each.processor == processor]
            if (
                not states
                or record.state is LinkState.LINKED
                or (due and HandoffState.DUE in states)
            ):
                yield record
        if page:
            after = page[-1].key
        elif wrapped:
            return
        else:
            after, wrapped = "", True


class _Run:
    """What a run has counted so far."""

    def __init__(self, total: int, limit: int | None) -> None:
        self.under_way = 0
        self.stopped: str | None = None
        self._total = total
        self._limit = limit
        self._began = time.monotonic()
        self._statuses: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._tokens = 0

    def may_begin(self, most: int) -> bool:
        """Whether one more Item may be worked at, of so many at most at a time."""
        begun = self._statuses.total() + self.under_way
        return self.under_way < most and (self._limit is None or begun < self._limit)

    def count(self, outcome: BackfillOutcome) -> None:
        self._statuses[outcome.status] += 1
        self._tokens += outcome.tokens
        if outcome.reason is not None:
            self._reasons[outcome.reason] += 1

    def progress(self) -> BackfillProgress:
        done, seconds = self._statuses.total(), time.monotonic() - self._began
        total = self._total if self._limit is None else min(self._total, self._limit)
        left = max(0, total - done)
        return BackfillProgress(
            issued=self._statuses["issued"],
            skipped=self._statuses["skipped"],
            failed=self._statuses["failed"],
            total=max(total, done),
            tokens=self._tokens,
            per_minute=60 * done / seconds if seconds else 0.0,
            seconds_left=left * seconds / done if done else None,
        )

    def report(self) -> BackfillReport:
        return BackfillReport(
            issued=self._statuses["issued"],
            skipped=self._statuses["skipped"],
            failed=self._statuses["failed"],
            reasons=dict(self._reasons.most_common()),
            tokens=self._tokens,
            seconds=time.monotonic() - self._began,
            stopped=self.stopped,
        )
