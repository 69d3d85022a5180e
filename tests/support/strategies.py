"""Hypothesis strategies for the values of the package."""

from __future__ import annotations

from datetime import UTC

from hypothesis import strategies as st

from plaid_processors import (
    Account,
    Environment,
    LinkResult,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    StripeBankAccountToken,
)

words = st.text(min_size=1, max_size=12)
maybe = st.none() | st.text(max_size=12)
moments = st.datetimes(timezones=st.just(UTC))
kinds = st.sampled_from(["checking", "savings", "credit card", "moon purse"]) | maybe

accounts = st.builds(
    Account,
    account_id=st.sampled_from(["A", "B", "C", "a", "account-four"]),
    name=maybe,
    official_name=maybe,
    mask=maybe,
    type=maybe,
    subtype=kinds,
    verification_status=maybe,
    persistent_account_id=maybe,
    holder_category=maybe,
)

_processors = st.sampled_from(["layer", "finix", "dwolla"])
_tokens = st.builds(
    ProcessorToken,
    processor=_processors,
    account=accounts,
    processor_token=st.uuids().map(lambda each: f"processor-sandbox-{each}"),
    request_id=maybe,
    issued_at=moments,
    expires_at=st.none() | moments,
) | st.builds(
    StripeBankAccountToken,
    processor=st.just("stripe"),
    account=accounts,
    processor_token=st.uuids().map(lambda each: f"btok_{each.hex}"),
    issued_at=moments,
)
_pending = st.builds(
    PendingToken, processor=_processors, account=accounts, error_code=maybe, error_message=maybe
)
_partners = st.builds(
    PendingPartner,
    processor=_processors,
    account_ids=st.none() | st.lists(words, min_size=1, max_size=3).map(tuple),
)


@st.composite
def results(draw: st.DrawFn) -> LinkResult:
    """Results as the linker makes them: entries by partner, nobody both chosen and not."""
    entries = draw(st.lists(_tokens | _pending, max_size=6, unique_by=lambda each: each.key))
    order = list(dict.fromkeys(each.processor for each in entries))
    entries.sort(key=lambda each: order.index(each.processor))
    unselected = draw(st.lists(_partners, max_size=2, unique_by=lambda each: each.processor))
    return LinkResult(
        access_token="access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab",
        item_id=draw(st.none() | st.just("item-1")),
        environment=Environment.SANDBOX,
        request_id=draw(maybe),
        entries=tuple(entries),
        unselected=tuple(each for each in unselected if each.processor not in order),
        institution_id=draw(maybe),
        institution_name=draw(maybe),
        link_session_id=draw(maybe),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
