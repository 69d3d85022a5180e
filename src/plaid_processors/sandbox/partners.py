"""Which processors Plaid knows, and whether the keys are enabled for one."""

from __future__ import annotations

from functools import cache

from .errors import PlaidError
from .tables import table
from .world import World

STRIPE = "stripe"  # not a value of `processor`: it has its own endpoint


@cache
def processors() -> dict[str, str]:
    """Return the partners' names by their `processor` values."""
    names = {row["processor"]: row["name"] for row in table("processors")}
    return {value: name or value.replace("_", " ").title() for value, name in names.items()}


def check_processor(processor: str) -> None:
    """Refuse a processor that Plaid does not know."""
    if processor not in processors():
        raise PlaidError("INVALID_PROCESSOR")


def check_enabled(world: World, processor: str) -> None:
    """Refuse a partner that is disabled for the keys."""
    if processor in world.disabled_partners:
        name = processors().get(processor, processor.title())
        raise PlaidError(
            "INVALID_PRODUCT",
            f"The provided API keys are not enabled for the {name} integration. Please see "
            "https://dashboard.plaid.com/developers/integrations to enable your keys for "
            "this integration.",
        )
