"""A user's program: type-checked by mypy --strict, and never run.

A negative line carries ``type: ignore[code]``: should it stop being an error, strict mypy reports
the comment.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_type

from plaid_processors import (
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    Environment,
    EventKind,
    FinixAdapter,
    LayerAdapter,
    LinkedItem,
    LinkFailure,
    LinkIncompleteError,
    LinkResult,
    LinkSession,
    LinkToken,
    Partner,
    PartnerAdapter,
    PendingPartner,
    PendingToken,
    PlaidApiError,
    PlaidClient,
    PlaidConnectionError,
    PlaidProcessorsError,
    ProcessorLinker,
    ProcessorToken,
    RequestEvent,
    SessionState,
    get_adapter,
    partners,
    unfinished,
)
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    HandoffRequest,
    LayerAccount,
    LayerHandoff,
    LayerSender,
    PaymentInstrument,
    finix_request,
    layer_request,
)
from plaid_processors.sandbox import LocalSandbox


def client() -> None:
    """The ways to make a client and a linker."""
    assert_type(PlaidClient(client_id="", secret="", environment="production"), PlaidClient)
    assert_type(PlaidClient.from_env(timeout=(5.0, 20), deadline=None), PlaidClient)
    assert_type(PlaidClient.from_env({"PLAID_ENV": "sandbox"}).environment, Environment)
    assert_type(ProcessorLinker.from_env(max_attempts=1, max_connections=4), ProcessorLinker)
    assert_type(PlaidClient.from_env(on_event=happened), PlaidClient)
    with PlaidClient.from_env() as entered, ProcessorLinker(entered) as linker:
        assert_type(entered, PlaidClient)
        assert_type(linker, ProcessorLinker)
        assert_type(linker.client, PlaidClient)

    PlaidClient("", "")  # type: ignore[call-arg]
    PlaidClient(client_id="")  # type: ignore[call-arg]
    PlaidClient.from_env(retries=3)  # type: ignore[call-arg]
    PlaidClient.from_env(timeout="1")  # type: ignore[arg-type]
    PlaidClient.from_env(on_event=came)  # type: ignore[arg-type]
    ProcessorLinker("keys")  # type: ignore[arg-type]


def happened(event: RequestEvent) -> None:
    """A hook of the caller's."""
    assert_type(event.kind, EventKind)
    assert_type(event.seconds, float | None)


def link_token(linker: ProcessorLinker) -> None:
    """What the browser opens Link with."""
    token = linker.create_link_token(
        "layer", client_user_id="u", client_name="Acme", hosted_link={}
    )
    assert_type(token, LinkToken)
    assert_type(token.link_token, str)
    assert_type(token.expiration, datetime)
    assert_type(token.request_id, str | None)
    assert_type(token.hosted_link_url, str | None)
    session = linker.session(token.link_token)
    assert_type(session, LinkSession)
    assert_type(session.state, SessionState)
    assert_type(session.error, LinkFailure | None)
    linker.session()  # type: ignore[call-arg]

    linker.create_link_token("layer", client_user_id="u")  # type: ignore[call-arg]
    linker.create_link_token("layer", client_user_id="u", client_name="A", webhok="")  # type: ignore[call-arg]


def link(linker: ProcessorLinker, accounts: list[dict[str, object]], seen: Account) -> None:
    """The call that makes tokens, with everything that may go in."""
    assert_type(linker.link("finix", public_token="", accounts=accounts), LinkResult)
    linker.link(FinixAdapter(), public_token="", accounts=[seen], account_id="A")
    linker.link(["finix", LayerAdapter()], public_token="", account_ids={"finix": ["A"]})
    linker.link("layer", public_token="", accounts=(seen,), verify_accounts=True, partial=True)
    linker.link("layer", public_token="", on_exchange=exchanged, on_token=came)
    linker.link("layer", public_token="", metadata={"accounts": accounts, "institution": None})

    linker.link("layer")  # type: ignore[call-arg]
    linker.link("layer", "public-…")  # type: ignore[call-arg]
    linker.link(7, public_token="")  # type: ignore[arg-type]
    linker.link("layer", public_token="", accounts=["A"])  # type: ignore[list-item]
    linker.link("layer", public_token="", on_token=exchanged)  # type: ignore[arg-type]


def exchanged(item: LinkedItem) -> None:
    """A callback of the caller's."""
    assert_type(item.access_token, str)
    assert_type(item.item_id, str | None)
    assert_type(item.environment, Environment)


def came(token: ProcessorToken) -> None:
    """A callback of the caller's."""
    assert_type(token.processor_token, str)
    assert_type(token.account, Account)
    assert_type(token.expires_at, datetime | None)
    assert_type(token.fingerprint, str)

    token.processor_token = ""  # type: ignore[misc]


def other_calls(linker: ProcessorLinker, result: LinkResult) -> None:
    """The calls beside link."""
    assert_type(linker.link_sandbox("finix", institution_id="ins_109508"), LinkResult)
    assert_type(linker.issue("layer", access_token="", item_id="i"), LinkResult)
    assert_type(linker.resume(result, partner=LayerAdapter(), account_id="A"), LinkResult)
    assert_type(linker.accounts(""), tuple[Account, ...])
    assert_type(linker.remove(""), bool)

    linker.issue("layer")  # type: ignore[call-arg]
    linker.resume("result")  # type: ignore[arg-type]
    linker.link_sandbox("layer", public_token="")  # type: ignore[call-arg]


def results(result: LinkResult, stored: Mapping[str, object]) -> None:
    """What comes back."""
    assert_type(result.access_token, str)
    assert_type(result.processor_tokens, tuple[ProcessorToken, ...])
    assert_type(result.pending, tuple[PendingToken, ...])
    assert_type(result.unselected, tuple[PendingPartner, ...])
    assert_type(result.complete, bool)
    assert_type(result.token("finix"), ProcessorToken)
    assert_type(result.merge(result), LinkResult)
    assert_type(result.to_dict(), dict[str, object])
    assert_type(LinkResult.from_dict(stored), LinkResult)
    assert_type(result.institution_name, str | None)

    _ = result.tokens  # type: ignore[attr-defined]
    _ = result.item_id.upper()  # type: ignore[union-attr]


def adapters(accounts: list[Account]) -> None:
    """The partners' rules."""
    assert_type(get_adapter("layer"), PartnerAdapter)
    own = PartnerAdapter(processor="dwolla", products=["auth"], subtypes=["checking"], single=True)
    assert_type(own.select_accounts(accounts), tuple[Account, ...])
    assert_type(own.rule, str)

    PartnerAdapter()  # type: ignore[call-arg]
    PartnerAdapter(processor="dwolla", products=[1])  # type: ignore[list-item]


def errors(error: PlaidProcessorsError) -> None:
    """What an except clause works with."""
    assert_type(unfinished(error), LinkResult | None)
    match error:
        case PlaidApiError():
            assert_type(error.error_code, str)
            assert_type(error.request_id, str | None)
            assert_type(error.advice, str)
            assert_type(error.retryable, bool)
        case PlaidConnectionError():
            assert_type(error.outcome_unknown, bool)
        case LinkIncompleteError():
            assert_type(error.result, LinkResult)
            assert_type(error.errors, tuple[tuple[PendingToken, PlaidProcessorsError], ...])
        case AccountSelectionError():
            assert_type(error.eligible, tuple[Account, ...])
    try:
        get_adapter("finx")
    except ValueError as refused:  # as a caller that knows nothing of this package would
        assert_type(refused, ValueError)


async def awaited(client: PlaidClient) -> None:
    """The same, awaited."""
    async with AsyncProcessorLinker(client) as linker:
        assert_type(await linker.link("layer", public_token="", on_token=came), LinkResult)
        assert_type(await linker.accounts(""), tuple[Account, ...])
        assert_type(await linker.remove(""), bool)
        await linker.link("layer")  # type: ignore[call-arg]


def local_plaid() -> None:
    """A user's own test."""
    with LocalSandbox() as sandbox:
        assert_type(sandbox.client(timeout=1), PlaidClient)
        sandbox.client(time_out=1)  # type: ignore[call-arg]
        sandbox.client(timeout="1")  # type: ignore[arg-type]
        done = sandbox.complete_link("link-sandbox-…", masks=["0000"])
        assert_type(done.public_token, str)
        ProcessorLinker(sandbox.client()).link(
            "layer", public_token=done.public_token, metadata=done.metadata
        )


def catalogue() -> None:
    """Every partner."""
    assert_type(partners(), tuple[Partner, ...])
    assert_type(partners()[0].adapter, PartnerAdapter)
    assert_type(partners()[0].source, str | None)
    PartnerAdapter(processor="x", permissions=("auth",), as_given=True)


def narrowed(linker: ProcessorLinker, result: LinkResult) -> None:
    """Least privilege."""
    assert_type(linker.link("layer", public_token="", narrow=True), LinkResult)
    assert_type(linker.resume(result, narrow=None), LinkResult)
    assert_type(result.pending[0].unnarrowed, ProcessorToken | None)
    linker.issue("layer", access_token="", narrow="yes")  # type: ignore[arg-type]


def handed_over(token: ProcessorToken, result: LinkResult) -> None:
    """The last step."""
    request = finix_request(token, identity="ID", credentials=("u", "p"))
    assert_type(request, HandoffRequest)
    assert_type(layer_request("b", result.processor_tokens), HandoffRequest)
    finix = FinixSender(username="u", password="p")
    assert_type(finix.hand_over(token, identity="ID"), PaymentInstrument)
    layer = LayerSender.from_env()
    assert_type(layer.hand_over(result, business_id="b"), LayerHandoff)
    layer.hand_over([token], business_id="b")
    finix.hand_over(token)  # type: ignore[call-arg]
    FinixSender("u", "p")  # type: ignore[call-arg]


async def handed_over_awaited(token: ProcessorToken) -> None:
    """The last step, awaited."""
    async with AsyncFinixSender.from_env() as finix, AsyncLayerSender.from_env() as layer:
        assert_type(await finix.hand_over(token, identity="ID", again=True), PaymentInstrument)
        assert_type(await layer.accounts("b"), tuple[LayerAccount, ...])
