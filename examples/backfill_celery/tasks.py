"""Back-fill a partner with Celery: a task for each Item, on as many machines as there are.

README.md, beside this file, says how to start the workers and how to queue the Items.
"""

import os
import sys
from functools import cache
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from plaid_processors import ProcessorLinker
from plaid_processors.backfill import BudgetError, RateBudget, backfill_item
from plaid_processors.store import SqlStore

QUEUE = "backfill"
AGAIN = {"default_retry_delay": 30, "max_retries": 30}  # the delay in seconds

app = Celery("backfill", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_acks_late=True,  # if a worker is killed, another one does its task again
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,  # a busy worker holds no tasks that an idle one could do
    broker_connection_retry_on_startup=True,
)


# These are made at a process's first task, which is after the fork.


@cache
def store() -> SqlStore:
    """The store of this process."""
    return SqlStore(os.environ["DATABASE_URL"], keys=os.environ["STORE_KEY"].split(","))


@cache
def linker() -> ProcessorLinker:
    """The linker of this process."""
    return ProcessorLinker.from_env(store=store())


@cache
def budget() -> RateBudget:
    """The budget that all processes share."""
    per_minute = int(os.environ.get("TOKENS_PER_MINUTE", "450"))
    return RateBudget(per_minute, storage=os.environ["REDIS_URL"])


@app.task(bind=True, name="backfill.issue", autoretry_for=(BudgetError,), **AGAIN)
def issue(task: Any, partner: str, item_id: str) -> str:
    """Make the partner's tokens of one Item, unless it has them."""
    outcome = backfill_item(linker(), partner, item_id, budget=budget())
    if outcome.may_pass:
        raise task.retry(exc=outcome.error)
    if outcome.stops:  # no other Item would fare better: all workers stop, the tasks stay queued
        app.control.cancel_consumer(QUEUE)
        raise Reject(outcome.reason, requeue=True)
    return f"{item_id}: {outcome.status} {outcome.reason or ''}"


if __name__ == "__main__":
    partner = sys.argv[1]
    for stored in store().links(skip_unreadable=True):  # read page by page
        tokens = stored.result.processor_tokens if stored.result is not None else ()
        if stored.state in ("linked", "complete") and partner not in {t.processor for t in tokens}:
            issue.delay(partner, stored.item_id)
