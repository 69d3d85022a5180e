"""The partners: each one's rules, in a module of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import UnknownProcessorError
from .base import PartnerAdapter
from .finix import FinixAdapter
from .layer import LayerAdapter

__all__ = [
    "FinixAdapter",
    "LayerAdapter",
    "PartnerAdapter",
    "get_adapter",
    "get_adapters",
    "products_of",
]

OWN: dict[str, PartnerAdapter] = {"finix": FinixAdapter(), "layer": LayerAdapter()}
"""The partners with an adapter class of their own."""


def get_adapter(processor: str) -> PartnerAdapter:
    """The adapter for a partner, by Plaid's name for it.

    Raises:
        UnknownProcessorError: no partner is known by that name; the nearest are named.
    """
    if not isinstance(processor, str):
        raise TypeError(f"a partner's name must be a string, not {type(processor).__name__}")
    if processor in OWN:
        return OWN[processor]
    from . import catalogue  # when a name is asked for that is not here: an import stays cheap

    adapter = catalogue.find(processor)
    if adapter is None:
        raise UnknownProcessorError(
            processor, suggestions=catalogue.nearest(processor), known=catalogue.names()
        )
    return adapter


def get_adapters(
    partner: str | PartnerAdapter | Iterable[str | PartnerAdapter],
) -> tuple[PartnerAdapter, ...]:
    """The adapters for what was given as "the partner": a name, an adapter, or several.

    Raises:
        UnknownProcessorError: a name is not known.
        ValueError: none was given, or one partner twice.
    """
    several = [partner] if isinstance(partner, (str, PartnerAdapter)) else partner
    if not isinstance(several, Iterable):
        raise TypeError(
            "the partner must be a name, a PartnerAdapter, or a sequence of these, "
            f"not {type(partner).__name__}"
        )
    adapters = tuple(
        each if isinstance(each, PartnerAdapter) else get_adapter(each) for each in several
    )
    names = [adapter.processor for adapter in adapters]
    if not names:
        raise ValueError(f"no partner was given; known are {', '.join(OWN)} and others")
    if len(set(names)) < len(names):
        raise ValueError(f"a partner was given twice: {', '.join(names)}")
    return adapters


def products_of(adapters: Sequence[PartnerAdapter]) -> list[str]:
    """The products of all these partners, each once, in their order."""
    return list(dict.fromkeys(product for each in adapters for product in each.products))
