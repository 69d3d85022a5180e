"""Context variables reach every request: OpenTelemetry's own instrumentation sees no orphan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from plaid_processors import AsyncProcessorLinker, PlaidClient, ProcessorLinker

from .support.checks import link_account
from .support.faulty import (
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    Connection,
    FaultyPlaid,
    Request,
    issued,
    refusal,
)

MakeClient = Callable[..., PlaidClient]

COUNT = 6


class Spans:
    """OpenTelemetry of this test alone."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("my.shop")

    def of(self, kind: SpanKind) -> list[ReadableSpan]:
        return [each for each in self._exporter.get_finished_spans() if each.kind is kind]

    def parents(self) -> list[int | None]:
        """The parent's id of each request's span; None for an orphan."""
        return [each.parent and each.parent.span_id for each in self.of(SpanKind.CLIENT)]


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    instrumentor = URLLib3Instrumentor()
    instrumentor.instrument(tracer_provider=spans.provider)
    yield spans
    instrumentor.uninstrument()
    spans.provider.shutdown()


@pytest.fixture
def client(faulty: FaultyPlaid, make_client: MakeClient) -> PlaidClient:
    """A client whose request for the first account is refused once, and sent again."""
    refused: list[str] = []

    def once(connection: Connection, request: Request) -> bool | None:
        account_id = request.json["account_id"]
        if account_id == "a-0" and account_id not in refused:
            refused.append(account_id)
            limited = refusal(
                "RATE_LIMIT_EXCEEDED", "RATE_LIMIT", status=429, headers={"Retry-After": "0.05"}
            )
            return limited(connection, request)
        return issued(request)(connection, request)

    faulty.on(CREATE, once)
    return make_client(max_attempts=2, max_connections=3)


def of_link(accounts: int = COUNT) -> dict[str, Any]:
    return {
        "public_token": PUBLIC_TOKEN,
        "accounts": [link_account(f"a-{number}") for number in range(accounts)],
    }


def check(spans: Spans, faulty: FaultyPlaid, parent: Any) -> None:
    """Each request has a span below the caller's, and carried it to the server."""
    context = parent.get_span_context()
    assert len(faulty.requests) == 1 + COUNT + 1  # the exchange, the tokens, and one of them again
    assert spans.parents() == [context.span_id] * len(faulty.requests)
    sent = {each.headers["traceparent"].split("-")[2] for each in faulty.requests}
    assert sent == {
        f"{each.context.span_id:016x}" for each in spans.of(SpanKind.CLIENT) if each.context
    }
    assert len(sent) == len(faulty.requests)


def test_a_link(spans: Spans, faulty: FaultyPlaid, client: PlaidClient) -> None:
    """All requests of a link are below the caller's span: side by side, and sent again."""
    with spans.tracer.start_as_current_span("order") as order:
        assert ProcessorLinker(client).link("layer", **of_link()).complete
    check(spans, faulty, order)


def test_an_awaited_link(spans: Spans, faulty: FaultyPlaid, client: PlaidClient) -> None:
    """It is the same where the link is awaited."""

    async def main() -> Any:
        with spans.tracer.start_as_current_span("order") as order:
            assert (await AsyncProcessorLinker(client).link("layer", **of_link())).complete
        return order

    check(spans, faulty, asyncio.run(main()))


def test_each_call_has_its_own_span(
    spans: Spans, faulty: FaultyPlaid, make_client: MakeClient
) -> None:
    """Links that are awaited side by side over the same threads do not mix their spans."""
    linker = AsyncProcessorLinker(make_client(max_connections=3))

    async def order(number: int) -> int:
        with spans.tracer.start_as_current_span(f"order {number}") as span:
            await linker.link("layer", **of_link(3))
            return span.get_span_context().span_id

    async def main() -> list[int]:
        return await asyncio.gather(*(order(number) for number in range(5)))

    orders = asyncio.run(main())
    assert sorted(spans.parents(), key=str) == sorted(orders * 4, key=str)


def test_the_span_of_a_callback(spans: Spans, faulty: FaultyPlaid, make_client: MakeClient) -> None:
    """A call made in a callback is below the span that the callback opened."""
    linker = ProcessorLinker(make_client())
    opened: list[int] = []

    def on_exchange(result: Any) -> None:
        with spans.tracer.start_as_current_span("store") as store:
            opened.append(store.get_span_context().span_id)
            linker.accounts(result.access_token)

    with spans.tracer.start_as_current_span("order") as order:
        linker.link("layer", on_exchange=on_exchange, **of_link(1))
    assert faulty.paths == [EXCHANGE, ACCOUNTS, CREATE]
    outer = order.get_span_context().span_id
    assert spans.parents() == [outer, opened[0], outer]


def test_no_span_shows_a_secret(spans: Spans, faulty: FaultyPlaid, client: PlaidClient) -> None:
    """Keys and tokens are in headers and bodies, which spans leave out: none is in an address."""
    with spans.tracer.start_as_current_span("order"):
        result = ProcessorLinker(client).link("layer", **of_link())
    text = " ".join(each.to_json() for each in spans.of(SpanKind.CLIENT))
    tokens = [each.processor_token for each in result.processor_tokens]
    secrets = [PUBLIC_TOKEN, result.access_token, *tokens, "5e" * 15]
    assert [each for each in secrets if each in text] == []
