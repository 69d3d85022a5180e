"""Least privilege: tokens narrowed to what their partner reads, before anybody has them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import urllib3

from plaid_processors import (
    AsyncProcessorLinker,
    ConfigurationError,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PlaidApiError,
    PlaidClient,
    ProcessorLinker,
    ProcessorToken,
)
from plaid_processors.sandbox import LocalSandbox

from .support.checks import link_account
from .support.faulty import (
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    FaultyPlaid,
    close,
    refusal,
    reply,
)
from .support.rows import rows

NARROW = "/processor/token/permissions/set"
DONE = reply({"request_id": "req-narrow"})
TWO = [link_account("a"), link_account("b", "credit card")]


def permissions(sandbox: LocalSandbox, token: str) -> list[str]:
    """What a token may read, as the local Plaid has it."""
    answer = urllib3.PoolManager().request(
        "POST",
        f"{sandbox.url}/processor/token/permissions/get",
        body=json.dumps(
            {
                "client_id": sandbox.client_id,
                "secret": sandbox.secret,
                "processor_token": token,
            }
        ),
        headers={"Content-Type": "application/json"},
    )
    listed: list[str] = json.loads(answer.data)["products"]
    return listed


@rows(
    ("partner", "products"),
    [("layer", ["transactions", "balance"]), ("finix", ["auth", "identity"])],
)
def test_a_narrowed_token(
    partner: str, products: list[str], local_plaid: LocalSandbox, linker: ProcessorLinker
) -> None:
    """With `narrow` a token opens what its partner reads; without, all of the Item's products."""
    narrowed = linker.link_sandbox(partner, narrow=True).processor_tokens[0]
    assert permissions(local_plaid, narrowed.processor_token) == products
    wide = linker.link_sandbox(partner).processor_tokens[0]
    assert permissions(local_plaid, wide.processor_token) == []


def test_narrowed_before_it_is_told(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`on_token` hears of a token only once it is narrow."""
    faulty.on(NARROW, DONE)
    seen: list[tuple[str, list[str]]] = []

    def told(token: ProcessorToken) -> None:
        narrowed = [body["processor_token"] for body in faulty.asked(NARROW)]
        seen.append((token.processor_token, narrowed))

    result = faulty_linker.link(
        "layer", public_token=PUBLIC_TOKEN, accounts=TWO, narrow=True, on_token=told
    )
    assert result.complete
    assert len(seen) == 2
    assert all(token in narrowed for token, narrowed in seen)
    assert [body["products"] for body in faulty.asked(NARROW)] == [["transactions", "balance"]] * 2


@rows("stored", [False, True], ids=["at once", "from another process"])
@rows("fault", [close, refusal("API_ERROR", "INTERNAL_SERVER_ERROR", status=500)])
def test_a_failure_keeps_the_token_and_resume_narrows_it(
    fault: Any, stored: bool, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What could not be narrowed is not handed out, not lost, and not issued again."""
    faulty.on(NARROW, fault, fault, DONE)
    told: list[ProcessorToken] = []
    with pytest.raises(LinkIncompleteError, match="not narrowed yet") as caught:
        faulty_linker.link(
            "layer", public_token=PUBLIC_TOKEN, accounts=TWO, narrow=True, on_token=told.append
        )
    result = caught.value.result
    assert (result.processor_tokens, told) == ((), [])
    assert [each.unnarrowed is not None for each in result.pending] == [True, True]
    assert len(caught.value.errors) == 2
    assert "processor-sandbox-layer-0123456789-a" not in f"{result}{caught.value}"
    if stored:
        result = LinkResult.from_dict(json.loads(json.dumps(result.to_dict())))
    done = faulty_linker.resume(result, on_token=told.append)
    assert done.complete
    assert len(told) == 2
    assert len(faulty.asked(CREATE)) == 2
    assert {body["processor_token"] for body in faulty.asked(NARROW)} == {
        each.processor_token for each in done.processor_tokens
    }


def test_what_was_not_issued_is_narrowed_when_it_is(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """A token that is still missing is narrowed as it was asked for, when resume issues it."""
    faulty.on(NARROW, DONE)
    faulty.on(CREATE, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    assert faulty.asked(NARROW) == []
    faulty.on(CREATE, reply({"processor_token": "processor-sandbox-1", "request_id": "r"}))
    done = faulty_linker.resume(LinkResult.from_dict(caught.value.result.to_dict()))
    assert done.complete
    assert len(faulty.asked(NARROW)) == 1


def test_the_wish_survives_accounts_that_are_not_known(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where the accounts could not even be fetched, resume still narrows."""
    faulty.on(NARROW, DONE)
    faulty.on(ACCOUNTS, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, narrow=True)
    result = LinkResult.from_dict(caught.value.result.to_dict())
    assert faulty_linker.resume(result, accounts=TWO).complete
    assert len(faulty.asked(NARROW)) == 2


@rows("narrow", [True, False])
def test_resume_may_decide_anew(
    narrow: bool, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`narrow=` of resume decides for what is still to come."""
    faulty.on(NARROW, close, DONE)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("finix", public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    done = faulty_linker.resume(caught.value.result, narrow=narrow)
    assert done.complete
    assert len(faulty.asked(NARROW)) == (2 if narrow else 1)
    assert len(faulty.asked(CREATE)) == 1


def test_resume_narrows_what_the_link_did_not_ask_for(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """A link without `narrow` can be resumed with it."""
    faulty.on(NARROW, DONE)
    faulty.on(CREATE, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=TWO[:1])
    faulty.on(CREATE, reply({"processor_token": "processor-sandbox-1", "request_id": "r"}))
    assert faulty_linker.resume(caught.value.result, narrow=True).complete
    assert faulty.asked(NARROW)[0]["products"] == ["transactions", "balance"]


def test_resume_narrows_by_an_adapter_of_ones_own(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """For a partner that this version does not know, resume takes the adapter."""
    new = PartnerAdapter(processor="brand_new", permissions=("auth",))
    faulty.on(NARROW, DONE)
    faulty.on(CREATE, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link(new, public_token=PUBLIC_TOKEN, accounts=TWO[:1])
    faulty.on(CREATE, reply({"processor_token": "processor-sandbox-1", "request_id": "r"}))
    assert faulty_linker.resume(caught.value.result, partner=new, narrow=True).complete
    assert faulty.asked(NARROW)[0]["products"] == ["auth"]


@rows("given", [None, ("auth", "balance")], ids=["kept", "given"])
def test_resume_keeps_the_permissions_unless_an_adapter_is_given(
    given: tuple[str, ...] | None, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What the link was asked for with holds; an adapter that resume is given is newer."""
    faulty.on(NARROW, DONE)
    faulty.on(CREATE, close)
    new = PartnerAdapter(processor="brand_new", permissions=("auth",))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link(new, public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    faulty.on(CREATE, reply({"processor_token": "processor-sandbox-1", "request_id": "r"}))
    newer = None if given is None else PartnerAdapter(processor="brand_new", permissions=given)
    assert faulty_linker.resume(caught.value.result, partner=newer, narrow=True).complete
    assert faulty.asked(NARROW)[0]["products"] == [*(given or ("auth",))]


def test_resume_narrows_what_has_no_accounts_yet(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Also where the accounts could not be fetched, and the link did not ask for it."""
    faulty.on(NARROW, DONE)
    faulty.on(ACCOUNTS, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN)
    assert faulty_linker.resume(caught.value.result, accounts=TWO, narrow=True).complete
    assert len(faulty.asked(NARROW)) == 2


def test_narrow_is_yes_or_no(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A text that would count as yes is refused."""
    with pytest.raises(TypeError, match="narrow must be True or False"):
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=TWO, narrow="no")  # type: ignore[arg-type]
    assert faulty.requests == []
    faulty.on(CREATE, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=TWO)
    with pytest.raises(TypeError, match=r"^narrow must be True or False"):
        faulty_linker.resume(caught.value.result, narrow="no")  # type: ignore[arg-type]


def test_issue_that_cannot_narrow_keeps_what_it_issued(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """The tokens exist, so it is no plain error; a resume that fails again is one."""
    faulty.on(NARROW, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.issue("layer", access_token="access-1", accounts=TWO, narrow=True)
    with pytest.raises(Exception, match="no usable answer") as again:
        faulty_linker.resume(caught.value.result)
    assert not isinstance(again.value, LinkIncompleteError)
    assert len(faulty.asked(CREATE)) == 2


def test_partial_does_not_cover_a_failed_narrowing(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`partial` is for accounts that Plaid refuses, not for tokens that stay too wide."""
    faulty.on(NARROW, DONE, refusal())
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link(
            "layer", public_token=PUBLIC_TOKEN, accounts=TWO, narrow=True, partial=True
        )
    assert isinstance(caught.value.__cause__, PlaidApiError)
    assert len(caught.value.result.processor_tokens) == 1


@rows(
    ("partner", "words"),
    [
        ("brale", r"what brale reads: pass PartnerAdapter\(permissions="),
        ("moov", r"what moov reads: pass PartnerAdapter\(permissions="),
        ("stripe", "Stripe's token cannot be narrowed"),
        (["finix", "stripe"], "Stripe's token cannot be narrowed"),
    ],
)
def test_nobody_says_what_the_partner_reads(
    partner: Any, words: str, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where no source says what a partner reads, nothing is sent."""
    with pytest.raises(ConfigurationError, match=words):
        faulty_linker.link(partner, public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    assert faulty.requests == []


def test_the_callers_own_permissions(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An adapter of one's own says what its partner reads."""
    faulty.on(NARROW, DONE)
    moov = PartnerAdapter(processor="moov", products=("auth",), permissions=("auth",))
    faulty_linker.link(moov, public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    assert faulty.asked(NARROW)[0]["products"] == ["auth"]


def test_no_permission_would_mean_all() -> None:
    """An empty list, which Plaid takes for everything, is refused."""
    with pytest.raises(ValueError, match="no product means all"):
        PartnerAdapter(processor="moov", permissions=())


def test_a_later_want_does_not_beat_an_issued_token(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Merging keeps the token that was issued and waits to be narrowed."""
    faulty.on(NARROW, close)
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.issue("layer", access_token="access-1", accounts=TWO[:1], narrow=True)
    result = caught.value.result
    faulty.on(CREATE, close)
    with pytest.raises(LinkIncompleteError) as later:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
    other = LinkResult.from_dict(
        {**later.value.result.to_dict(), "access_token": "access-1", "item_id": None}
    )
    assert result.merge(other).pending == result.pending


def test_awaited(faulty: FaultyPlaid, make_client: Callable[..., PlaidClient]) -> None:
    """The same for the linker that is awaited."""
    faulty.on(NARROW, close, DONE)

    async def main() -> LinkResult:
        linker = AsyncProcessorLinker(make_client())
        with pytest.raises(LinkIncompleteError) as caught:
            await linker.link("finix", public_token=PUBLIC_TOKEN, accounts=TWO[:1], narrow=True)
        return await linker.resume(caught.value.result)

    assert asyncio.run(main()).complete
    assert faulty.paths == [EXCHANGE, CREATE, NARROW, NARROW]
