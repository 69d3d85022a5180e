"""Many Items: a partner's tokens for all that lack them, within one budget for all processes."""

from __future__ import annotations

from .budget import BudgetError, RateBudget
from .item import BackfillOutcome, backfill_item
from .run import BackfillProgress, BackfillReport, backfill

__all__ = [
    "BackfillOutcome",
    "BackfillProgress",
    "BackfillReport",
    "BudgetError",
    "RateBudget",
    "backfill",
    "backfill_item",
]
