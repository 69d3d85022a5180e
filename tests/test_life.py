"""A link walked through two years, its clock moved, at Plaid's and the partners' stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from plaid_processors import AsyncProcessorLinker, ProcessorLinker
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    LayerSender,
)
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox

from .support.two_years import TwoYears, finix_keys, layer_keys


@pytest.fixture
def sandbox() -> Iterator[LocalSandbox]:
    """A local Plaid whose clock this test alone moves."""
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("puts", ["append", pytest.param("replace", marks=pytest.mark.slow)])
def test_two_years(sandbox: LocalSandbox, puts: Any) -> None:
    """Blocking, whichever way Layer's PUT works."""
    with (
        LocalLayer(sandbox, puts=puts) as layer,
        LocalFinix(sandbox) as finix,
        ProcessorLinker(sandbox.client()) as linker,
        LayerSender(**layer_keys(layer)) as to_layer,
        FinixSender(**finix_keys(finix)) as to_finix,
    ):
        TwoYears(
            sandbox=sandbox,
            layer=layer,
            finix=finix,
            linker=linker,
            to_layer=to_layer,
            to_finix=to_finix,
            do=lambda call, *args, **more: call(*args, **more),
            repair=lambda token, masks: sandbox.complete_link(token, masks=masks),
        ).run()


@pytest.mark.slow
def test_two_years_in_asyncio(sandbox: LocalSandbox) -> None:
    """The same, awaited."""
    with (
        asyncio.Runner() as runner,
        LocalLayer(sandbox) as layer,
        LocalFinix(sandbox) as finix,
        sandbox.client() as client,
    ):

        async def awaited(call: Any, *args: Any, **more: Any) -> Any:
            return await call(*args, **more)

        TwoYears(
            sandbox=sandbox,
            layer=layer,
            finix=finix,
            linker=AsyncProcessorLinker(client),
            to_layer=(to_layer := AsyncLayerSender(**layer_keys(layer))),
            to_finix=(to_finix := AsyncFinixSender(**finix_keys(finix))),
            do=lambda call, *args, **more: runner.run(awaited(call, *args, **more)),
            repair=lambda token, masks: sandbox.complete_link(token, masks=masks),
        ).run()
        for sender in (to_layer, to_finix):
            runner.run(sender.__aexit__(None, None, None))
