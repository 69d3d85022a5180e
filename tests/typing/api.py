"""A user's program, with every public name: checked by strict mypy and pyright, and never run.

A negative line carries ``type: ignore[code]``, with mypy's code. Should it stop being an error for
one of the two, that one reports the comment.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, assert_type

from playwright.sync_api import Page

from plaid_processors import (
    AccessTokenError,
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    AuthenticationError,
    ConfigurationError,
    DecryptionError,
    Duplicate,
    DuplicateItemError,
    Environment,
    EventKind,
    FinixAdapter,
    InvalidRequestError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    ItemNotStoredError,
    ItemNotSupportedError,
    LayerAdapter,
    LinkAction,
    LinkChanges,
    LinkedItem,
    LinkFailure,
    LinkIncompleteError,
    LinkInProgressError,
    LinkResult,
    LinkSession,
    LinkSessionError,
    LinkStatus,
    LinkToken,
    NotEnabledError,
    Partner,
    PartnerAdapter,
    PendingPartner,
    PendingToken,
    PlaidApiError,
    PlaidClient,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorLinker,
    ProcessorNotEnabledError,
    ProcessorToken,
    PublicTokenError,
    RateLimitError,
    RecoveredLink,
    RecoveryReport,
    RedactingFilter,
    RequestError,
    RequestEvent,
    SessionItem,
    SessionState,
    StoreConflictError,
    StoreError,
    StripeBankAccountToken,
    UnknownProcessorError,
    WebhookEvent,
    WebhookVerificationError,
    __version__,
    find_duplicates,
    get_adapter,
    partners,
    unfinished,
)
from plaid_processors.backfill import (
    BackfillOutcome,
    BackfillProgress,
    BackfillReport,
    RateBudget,
    backfill,
    backfill_item,
)
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    HandoffError,
    HandoffRefusedError,
    HandoffRequest,
    LayerAccount,
    LayerHandoff,
    LayerSender,
    PartnerApiError,
    PartnerConnectionError,
    PartnerFault,
    PaymentInstrument,
    finix_disable_request,
    finix_request,
    layer_archive_request,
    layer_request,
)
from plaid_processors.life import MAY_END_EARLIER
from plaid_processors.sandbox import (
    BankAccount,
    Delivery,
    Exited,
    Fault,
    FinixInstrument,
    ItemState,
    Keys,
    LayerBook,
    Linked,
    LocalFinix,
    LocalLayer,
    LocalSandbox,
    LoggedRequest,
    PartnerRequest,
    PlaidSandbox,
    SignedWebhook,
    serve,
)
from plaid_processors.store import (
    Cipher,
    FernetCipher,
    Handoff,
    HandoffState,
    Lease,
    LinkQuery,
    LinkRecord,
    LinkState,
    LinkStore,
    MemoryStore,
    SqlStore,
    Store,
    StoredLink,
    check_store,
)
from plaid_processors.testing import LinkPane


def client(api: object) -> None:
    """The ways to make a client and a linker."""
    assert_type({"version": __version__}, dict[str, str])
    assert_type(PlaidClient(client_id="", secret="", environment="production"), PlaidClient)
    PlaidClient(client_id="", secret="", environment=Environment.SANDBOX, base_url=None)
    PlaidClient(client_id="", secret="", proxy="http://proxy:3128", ca_bundle=Path("ca.pem"))
    assert_type(PlaidClient.from_env(timeout=(5.0, 20), deadline=None), PlaidClient)
    assert_type(PlaidClient.from_env({"PLAID_ENV": "sandbox"}).environment, Environment)
    assert_type(PlaidClient.from_env(on_event=happened, ca_bundle="ca.pem"), PlaidClient)
    borrowed = PlaidClient.from_plaid(api, environment="sandbox", timeout=1, max_attempts=1)
    assert_type(borrowed, PlaidClient)
    assert_type(borrowed.link_script_url, str)
    assert_type(borrowed.content_security_policy("n" * 16), str)
    assert_type(borrowed.limits.timeout, float | tuple[float, float])
    borrowed.close()
    with PlaidClient.from_env() as entered:
        assert_type(entered, PlaidClient)
        assert_type(entered.client_id, str)

    PlaidClient("", "")  # type: ignore[call-arg]
    PlaidClient(client_id="")  # type: ignore[call-arg]
    PlaidClient.from_env(retries=3)  # type: ignore[call-arg]
    PlaidClient.from_env(timeout="1")  # type: ignore[arg-type]
    PlaidClient.from_env(on_event=came)  # type: ignore[arg-type]
    PlaidClient.from_plaid(api, proxy="http://proxy:3128")  # type: ignore[call-arg]


def linkers(client: PlaidClient) -> None:
    """The ways to make a linker."""
    assert_type(ProcessorLinker.from_env(max_attempts=1, max_connections=4), ProcessorLinker)
    assert_type(AsyncProcessorLinker.from_env({}, proxy=None), AsyncProcessorLinker)
    linker = ProcessorLinker(client)
    assert_type(linker.client, PlaidClient)
    assert_type(linker.with_options(timeout=1, deadline=None, max_attempts=5), ProcessorLinker)
    linker.close()
    with ProcessorLinker(client) as entered:
        assert_type(entered, ProcessorLinker)

    ProcessorLinker("keys")  # type: ignore[arg-type]
    linker.with_options(max_connections=4)  # type: ignore[call-arg]
    linker.with_options(timeout="1")  # type: ignore[arg-type]


def happened(event: RequestEvent) -> None:
    """A hook of the caller's."""
    assert_type(event.kind, EventKind)
    assert_type(event.endpoint, str)
    assert_type(event.attempt, int)
    assert_type(event.seconds, float | None)
    assert_type(event.request_id, str | None)
    assert_type(event.error_code, str | None)
    assert_type(event.http_status, int | None)


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
    assert_type(session.finished, bool)
    assert_type(session.accounts, tuple[Account, ...])
    assert_type(session.error, LinkFailure | None)
    if session.error is not None:
        assert_type(session.error.error_code, str | None)
    assert_type(session.items, tuple[SessionItem, ...])
    for item in session.items:
        assert_type(item.public_token, str)
        assert_type(item.accounts, tuple[Account, ...])
        linker.link("layer", public_token=item.public_token, metadata=item.metadata)
    if session.public_token is not None:
        linker.link("layer", public_token=session.public_token, metadata=session.metadata)

    linked = linker.link_session("layer", token.link_token, narrow=True, on_exchange=exchanged)
    assert_type(linked, tuple[LinkResult, ...])

    linker.session()  # type: ignore[call-arg]
    linker.link_session("layer")  # type: ignore[call-arg]
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


def linked_before(linker: ProcessorLinker, seen: dict[str, object], old: LinkResult) -> None:
    """The same bank twice."""
    for each in find_duplicates(seen, [old], may_end_earlier=(*MAY_END_EARLIER, "ins_1")):
        assert_type(each, Duplicate)
        assert_type(each.result, LinkResult)
        assert_type(each.accounts, tuple[Account, ...])
        assert_type((each.same_accounts, each.earlier_may_be_dead), tuple[bool, bool])
    linker.link("layer", public_token="", metadata=seen, earlier=[old], on_duplicate="allow")

    linker.link("layer", public_token="", on_duplicate="ignore")  # type: ignore[arg-type]
    find_duplicates(seen)  # type: ignore[call-arg]


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
    assert_type(token.expired, bool)
    assert_type(token.fingerprint, str)
    assert_type(token.key, tuple[str, str])
    assert_type(token.single_use, bool)
    if isinstance(token, StripeBankAccountToken):
        assert_type(token.stripe_bank_account_token, str)

    token.processor_token = ""  # type: ignore[misc]


def other_calls(linker: ProcessorLinker, result: LinkResult) -> None:
    """The calls beside link."""
    assert_type(linker.link_sandbox("finix", institution_id="ins_109508"), LinkResult)
    assert_type(linker.issue("layer", access_token="", item_id="i"), LinkResult)
    assert_type(linker.resume(result, partner=LayerAdapter(), account_id="A"), LinkResult)
    assert_type(linker.accounts(""), tuple[Account, ...])
    assert_type(linker.remove(""), bool)
    assert_type(linker.remove("", reason_code="OTHER", reason_note="moved"), bool)

    linker.issue()  # type: ignore[call-arg]
    linker.resume("result")  # type: ignore[arg-type]
    linker.link_sandbox("layer", public_token="")  # type: ignore[call-arg]


def webhooks(linker: ProcessorLinker, raw: list[tuple[bytes, bytes]], body: memoryview) -> None:
    """A webhook, in the handler and after the queue."""
    event = linker.verify_webhook(b"", {"Plaid-Verification": ""})
    assert_type(event, WebhookEvent)
    linker.verify_webhook("", raw, max_age=60)
    linker.verify_webhook(body, {b"plaid-verification": [b""]})
    assert_type(event.webhook_code, str)
    assert_type(event.item_id, str | None)
    assert_type(event.account_ids, tuple[str, ...])
    assert_type(event.public_tokens, tuple[str, ...])
    assert_type(event.error, PlaidApiError | None)
    assert_type(event.due, datetime | None)
    assert_type(event.body, Mapping[str, object])
    assert_type(event.action, LinkAction | None)
    assert_type(WebhookEvent.from_dict(event.to_dict()), WebhookEvent)

    linker.verify_webhook({"webhook_type": "ITEM"}, {})  # type: ignore[arg-type]
    linker.verify_webhook(b"")  # type: ignore[call-arg]
    event.item_id = ""  # type: ignore[misc]


def the_life_of_a_link(linker: ProcessorLinker, result: LinkResult, event: WebhookEvent) -> None:
    """How it stands, and what follows."""
    status = linker.status(result)
    assert_type(status, LinkStatus)
    assert_type(linker.status(result.access_token).healthy, bool)
    assert_type(status.action, LinkAction | None)
    assert_type(status.error, PlaidApiError | None)
    assert_type(status.accounts, tuple[Account, ...])
    assert_type(status.products, tuple[str, ...])
    assert_type(status.consented_products, tuple[str, ...] | None)
    assert_type(status.consent_expires_at, datetime | None)
    assert_type((status.item_id, status.institution_id), tuple[str | None, str | None])
    changes = linker.refresh(result, reissue=event.account_ids, partial=True, on_token=came)
    assert_type(changes, LinkChanges)
    assert_type(linker.refresh(result, partner=LayerAdapter(), reissue=True).result, LinkResult)
    assert_type(changes.status, LinkStatus)
    assert_type(changes.added + changes.removed, tuple[Account, ...])
    assert_type(changes.issued, tuple[ProcessorToken, ...])
    assert_type(changes.changed, bool)
    assert_type(result.without(account_ids=["A"]), LinkResult)
    assert_type(result.bound, tuple[str, ...])
    assert_type(result.consent_expires_at, datetime | None)

    linker.status(item=result)  # type: ignore[call-arg]
    linker.refresh("access-…")  # type: ignore[arg-type]
    linker.refresh(result, reissue=1)  # type: ignore[arg-type]


def narrowed(linker: ProcessorLinker, result: LinkResult) -> None:
    """Least privilege."""
    assert_type(linker.link("layer", public_token="", narrow=True), LinkResult)
    assert_type(linker.resume(result, narrow=None), LinkResult)
    assert_type(result.pending[0].unnarrowed, ProcessorToken | None)

    linker.issue("layer", access_token="", narrow="yes")  # type: ignore[arg-type]


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
    assert_type([each.key for each in result.pending], list[tuple[str, str]])

    _ = result.tokens  # type: ignore[attr-defined]
    _ = result.item_id.upper()  # type: ignore[union-attr]


def made_by_hand(now: datetime) -> None:
    """A user's own tests make results of their own."""
    account = Account.from_mapping({"id": "A", "name": "Checking"})
    assert_type(account, Account)
    assert_type(account.label, str)
    LinkToken(link_token="", expiration=now)
    LinkedItem(access_token="", environment="sandbox")
    token = ProcessorToken(processor="layer", account=account, processor_token="", issued_at=now)
    pending = PendingToken(processor="layer", account=account)
    LinkResult(access_token="", environment=Environment.SANDBOX, entries=[token, pending])

    Account(id="A")  # type: ignore[call-arg]
    LinkToken(expiration=now)  # type: ignore[call-arg]
    LinkedItem(environment="sandbox")  # type: ignore[call-arg]
    ProcessorToken(processor="layer", account=account, issued_at=now)  # type: ignore[call-arg]
    LinkResult(environment="sandbox")  # type: ignore[call-arg]


def adapters(accounts: list[Account]) -> None:
    """The partners' rules."""
    assert_type(get_adapter("layer"), PartnerAdapter)
    own = PartnerAdapter(processor="dwolla", products=["auth"], subtypes=["checking"], single=True)
    assert_type(own.select_accounts(accounts), tuple[Account, ...])
    assert_type(own.fits(accounts[0]), bool)
    assert_type(own.eligible(accounts), tuple[Account, ...])
    assert_type(own.rule, str)
    PartnerAdapter(processor="x", permissions=("auth",), as_given=True)
    LayerAdapter(subtypes=("checking", "credit card"))

    PartnerAdapter()  # type: ignore[call-arg]
    PartnerAdapter(processor="dwolla", products=[1])  # type: ignore[list-item]


class OnlySavings(PartnerAdapter):
    """A rule of the user's own."""

    def select_accounts(self, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts that get a token."""
        fitting = tuple(each for each in accounts if each.subtype == "savings")
        if not fitting:
            raise AccountSelectionError("no savings", processor=self.processor, accounts=accounts)
        return fitting


def catalogue() -> None:
    """Every partner."""
    assert_type(partners(), tuple[Partner, ...])
    assert_type(partners()[0].adapter, PartnerAdapter)
    assert_type(partners()[0].source, str | None)


def errors(error: PlaidProcessorsError) -> None:
    """What an except clause works with."""
    assert_type(unfinished(error), LinkResult | None)
    match error:
        case ConfigurationError():
            assert_type(error.args, tuple[Any, ...])
        case UnknownProcessorError():
            assert_type(error.suggestions, tuple[str, ...])
        case AccountSelectionError():
            assert_type(error.eligible, tuple[Account, ...])
        case PlaidApiError():
            assert_type(error.error_code, str)
            assert_type(error.request_id, str | None)
            assert_type(error.advice, str)
            assert_type(error.retryable, bool)
            assert_type(error.retry_after, float | None)
            assert_type(what_to_do(error), str)
        case WebhookVerificationError():
            assert_type(error.reason, str)
            assert_type(error.age, float | None)
        case PlaidConnectionError():
            assert_type(error.outcome_unknown, bool)
            assert_type(error.support, Mapping[str, str] | None)
        case RequestError():
            assert_type(error.endpoint, str)
        case DuplicateItemError():
            assert_type(error.duplicates, tuple[Duplicate, ...])
            assert_type(error.advice, str)
        case LinkSessionError():
            assert_type(error.session, LinkSession)
            assert_type(error.results, tuple[LinkResult, ...])
            assert_type(error.failures, tuple[tuple[SessionItem, PlaidProcessorsError], ...])
        case LinkIncompleteError():
            assert_type(error.result, LinkResult)
            assert_type(error.errors, tuple[tuple[PendingToken, PlaidProcessorsError], ...])
        case _:
            raise error
    try:
        get_adapter("finx")
    except ValueError as refused:  # as a caller that knows nothing of this package would
        assert_type(refused, ValueError)


def what_to_do(error: PlaidApiError) -> str:
    """One class for each thing that a caller does differently."""
    match error:
        case RateLimitError() | PlaidUnavailableError():
            return "wait"
        case ItemLoginRequiredError():
            return "repair"
        case PublicTokenError() | ItemNotFoundError() | ItemNotSupportedError():
            return "link again"
        case ProcessorNotEnabledError() | NotEnabledError():
            return "enable it"
        case AuthenticationError() | AccessTokenError() | InvalidRequestError():
            return "fix the call"
        case _:
            return error.advice


def logs(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Tokens stay out of a user's own logs."""
    handler.addFilter(RedactingFilter(secrets=("…",)))
    assert_type(RedactingFilter().filter(record), bool)

    RedactingFilter(secrets=[1])  # type: ignore[list-item]


async def awaited(client: PlaidClient, result: LinkResult) -> None:
    """The same, awaited."""
    async with AsyncProcessorLinker(client) as linker:
        assert_type(linker, AsyncProcessorLinker)
        token = await linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        assert_type(token, LinkToken)
        assert_type(await linker.session(token.link_token), LinkSession)
        assert_type(await linker.link("layer", public_token="", on_token=came), LinkResult)
        await linker.link("layer", public_token="", on_exchange=awaits, on_token=came)
        assert_type(await linker.link_session("layer", "", earlier=[]), tuple[LinkResult, ...])
        assert_type(await linker.link_sandbox("layer"), LinkResult)
        assert_type(await linker.issue("layer", access_token=""), LinkResult)
        assert_type(await linker.resume(result), LinkResult)
        assert_type(await linker.accounts(""), tuple[Account, ...])
        assert_type(await linker.remove(""), bool)
        assert_type(await linker.hand_over("item", came, partner="ocrolus"), tuple[Handoff, ...])
        assert_type(await linker.verify_webhook(b"", {}), WebhookEvent)
        assert_type(linker.with_options(deadline=5.0), AsyncProcessorLinker)
        await linker.with_options(max_attempts=1).close()

        await linker.link("layer")  # type: ignore[call-arg]
        linker.remove("")  # type: ignore[unused-coroutine]
    with AsyncProcessorLinker(client):  # type: ignore[attr-defined]
        pass


async def awaits(item: LinkedItem) -> None:
    """A callback of the caller's that waits."""
    await asyncio.sleep(0)


def handed_over(token: ProcessorToken, result: LinkResult) -> None:
    """The last step."""
    request = finix_request(token, identity="ID", credentials=("u", "p"))
    assert_type(request, HandoffRequest)
    assert_type(layer_request("b", result.processor_tokens), HandoffRequest)
    assert_type(layer_archive_request("b", "a"), HandoffRequest)
    assert_type(finix_disable_request("PI", version=""), HandoffRequest)
    assert_type(request.endpoint, str)
    assert_type(request.changes, bool)
    assert_type(request.content, bytes | None)
    assert_type(request.headers, Mapping[str, str])
    finix = FinixSender(username="u", password="p", timeout=(5, 30.0), proxy=None, ca_bundle="ca")
    instrument = finix.hand_over(token, identity="ID")
    assert_type(instrument, PaymentInstrument)
    assert_type(finix.payment_instruments("ID"), tuple[PaymentInstrument, ...])
    assert_type(finix.disable(instrument), PaymentInstrument)
    finix.close()
    with LayerSender.from_env({}, timeout=1) as layer:
        assert_type(layer, LayerSender)
        done = layer.hand_over(result, business_id="b")
        assert_type(done, LayerHandoff)
        assert_type(done.changed, bool)
        assert_type([each.archived for each in layer.accounts("b")], list[bool])
        done = layer.hand_over([token], business_id="b", gone=["A", token.account, token, result])
        assert_type(done.gone, tuple[LayerAccount, ...])
        assert_type(done.missing, tuple[str, ...])

        layer.hand_over(token, business_id="b")  # type: ignore[arg-type]
    finix.hand_over(token)  # type: ignore[call-arg]
    FinixSender("u", "p")  # type: ignore[call-arg]
    LayerSender(client_id="", client_secret="", timeout="1")  # type: ignore[arg-type]


def handed_over_with_a_store(linker: ProcessorLinker, layer: AsyncLayerSender) -> None:
    """The last step, recorded; a linker takes both kinds of senders, and functions."""
    finix = FinixSender.from_env()
    assert_type(linker.hand_over("item", finix, identity="ID"), tuple[Handoff, ...])
    linker.hand_over("item", layer, business_id="b", gone=["A"], again=True)
    (done,) = linker.hand_over("item", lambda token: token.fingerprint, partner="dwolla")
    assert_type(done.reference, str | None)

    linker.hand_over("item", "finix")  # type: ignore[arg-type]
    linker.hand_over("item")  # type: ignore[call-arg]


def not_handed_over(error: HandoffError) -> None:
    """What a hand-off may end with."""
    assert_type(error.outcome_unknown, bool)
    match error:
        case HandoffRefusedError():
            assert_type(error.existing, tuple[object, ...])
        case PartnerApiError():
            assert_type(error.codes, tuple[str, ...])
            assert_type(error.faults, tuple[PartnerFault, ...])
            assert_type(error.account_ids, tuple[str, ...])
        case PartnerConnectionError():
            assert_type(error.reason, str)
            assert_type(error.http_status, int | None)
        case _:
            raise error


async def handed_over_awaited(token: ProcessorToken) -> None:
    """The last step, awaited."""
    async with AsyncFinixSender.from_env() as finix, AsyncLayerSender.from_env() as layer:
        assert_type(await finix.hand_over(token, identity="ID", again=True), PaymentInstrument)
        assert_type(await finix.payment_instruments("ID"), tuple[PaymentInstrument, ...])
        assert_type(await finix.disable("PI"), PaymentInstrument)
        assert_type(await layer.hand_over([token], business_id="b"), LayerHandoff)
        assert_type(await layer.accounts("b"), tuple[LayerAccount, ...])
        await layer.close()

        layer.accounts("b")  # type: ignore[unused-coroutine]


class OwnCipher:
    """A cipher of the user's."""

    key_id = "mine"

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        return data + context

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        return data.removesuffix(context)


class OwnStore(Store):
    """A store of the user's."""

    def __init__(self, cipher: Cipher) -> None:
        super().__init__(cipher)
        self.rows: dict[str, dict[str, object]] = {}

    def add(self, record: LinkRecord) -> LinkRecord:
        return record.saved(None, datetime.now(UTC))

    def get(self, key: str) -> LinkRecord | None:
        return LinkRecord.from_dict(self.rows[key])

    def save(self, record: LinkRecord) -> LinkRecord | None:
        self.rows[record.key] = record.saved(record, datetime.now(UTC)).to_dict()
        return None

    def page(self, query: LinkQuery, *, after: str = "", limit: int = 200) -> Sequence[LinkRecord]:
        records = [LinkRecord.from_dict(each) for each in self.rows.values()]
        return [each for each in records if query.fits(each)]

    def lease(self, lease: Lease) -> bool:
        return lease.seconds > 0

    def release(self, lease: Lease) -> None:
        return None


def stored(client: PlaidClient, token: ProcessorToken) -> None:
    """A linker with a store."""
    cipher: Cipher = OwnCipher()
    own: LinkStore = OwnStore(FernetCipher(["key", b"old"]))
    check_store(lambda: OwnStore(cipher))
    check_store(MemoryStore)
    with SqlStore("sqlite:///links.db", keys=["key"], prefix="acme_") as store:
        store.create_tables()
        linker = ProcessorLinker(client, store=store)
        assert_type(linker.store, LinkStore | None)
        ProcessorLinker.from_env(store=MemoryStore(cipher=cipher))
        ProcessorLinker(client, store=own)
        linker.link("layer", public_token="", client_user_id="u")
        linker.link_session("layer", "", client_user_id="u")
        linker.link_sandbox("layer", client_user_id="u")
        linker.create_link_token("layer", client_user_id="u", client_name="Acme", item_id="i")
        assert_type(linker.status(item_id="i"), LinkStatus)
        assert_type(linker.refresh(item_id="i"), LinkChanges)
        assert_type(linker.issue("layer", item_id="i"), LinkResult)
        assert_type(linker.accounts(item_id="i"), tuple[Account, ...])
        assert_type(linker.remove(item_id="i"), bool)
        with FinixSender.from_env() as finix, LayerSender.from_env() as layer:
            handoffs = linker.hand_over("i", finix, identity="ID", account_id="a", again=True)
            assert_type(handoffs, tuple[Handoff, ...])
            linker.hand_over("i", layer, business_id="b", gone=["A"])
        linker.hand_over("i", lambda token: token.fingerprint, partner="dwolla")
        report = linker.recover(partner=LayerAdapter(), older_than=60, limit=100)
        assert_type(report, RecoveryReport)
        for each in report.finished + report.unknown + report.failed:
            assert_type(each, RecoveredLink)
            assert_type((each.link, each.reason), tuple[StoredLink, str | None])
        assert_type(store.links(state="linked", handoff=HandoffState.DUE), Iterator[StoredLink])
        assert_type(store.erase("i"), StoredLink)
        assert_type(store.reencrypt(limit=500), int)
        link = store.adopt(
            access_token="",
            client_user_id="u",
            item_id="i",
            tokens=[token, {"processor": "finix", "account_id": "a", "processor_token": ""}],
        )
        assert_type(store.links(include_removed=False, skip_unreadable=True), Iterator[StoredLink])
        if (found := store.find("i", include_removed=False)) is not None:
            assert_type(found.summary(), dict[str, Any])
            link = found
        assert_type(link.state, LinkState)
        assert_type(link.result, LinkResult | None)
        assert_type(link.updated_at, datetime | None)
        if (way := link.handoff(token)) is not None:
            assert_type(way.state, HandoffState)
            assert_type(way.reference, str | None)

        store.find()  # type: ignore[call-arg]
        store.adopt(access_token="", client_user_id="u")  # type: ignore[call-arg]
        link.state = LinkState.LINKED  # type: ignore[misc]
        linker.hand_over("i", object(), identity="ID")  # type: ignore[arg-type]
    SqlStore()  # type: ignore[call-arg]
    ProcessorLinker(client, store="sqlite://")  # type: ignore[arg-type]


def not_stored(error: StoreError | LinkInProgressError) -> None:
    """What a call with a store may end with."""
    match error:
        case LinkInProgressError():
            assert_type(error.retry_after, float)
        case ItemNotStoredError():
            refused: LookupError = error
            raise refused
        case DecryptionError() | StoreConflictError():
            assert_type(error.args, tuple[Any, ...])
        case _:
            raise error


def local_plaid() -> None:
    """A user's own test."""
    assert issubclass(PlaidSandbox, LocalSandbox)
    with LocalSandbox(seed="mine", port=0) as sandbox:
        assert_type(sandbox.client(timeout=1), PlaidClient)
        assert_type(sandbox.url, str)
        assert_type(sandbox.environ, dict[str, str])
        done = sandbox.complete_link("link-sandbox-…", masks=["0000"])
        assert_type(done, Linked)
        assert_type(done.public_token, str)
        ProcessorLinker(sandbox.client()).link(
            "layer", public_token=done.public_token, metadata=done.metadata
        )
        assert_type(sandbox.exit_link("link-sandbox-…"), Exited)
        sandbox.fail("/processor/token/create", error_code="RATE_LIMIT", times=2)
        assert_type(sandbox.faults, tuple[Fault, ...])
        assert_type(sandbox.requests, tuple[LoggedRequest, ...])
        assert_type(sandbox.items, tuple[ItemState, ...])
        assert_type(sandbox.new_keys(), Keys)
        assert_type(sandbox.webhooks, tuple[Delivery, ...])
        assert_type(sandbox.webhook("ITEM", "ERROR", item_id="i"), SignedWebhook)
        sandbox.set_account_select("one")
        sandbox.reset_login(LinkResult(access_token="", environment="sandbox"))
        sandbox.revoke("item-id", account_id="A")
        assert_type(sandbox.new_account("item-id", "checking", mask="4242"), BankAccount)
        sandbox.close_account("item-id", "A")
        sandbox.change_numbers("item-id")
        assert_type(sandbox.connect_banks("link-sandbox-…", ["ins_56"]), tuple[Linked, ...])

        sandbox.reset_login(5)  # type: ignore[arg-type]
        sandbox.client(time_out=1)  # type: ignore[call-arg]
        sandbox.client(timeout="1")  # type: ignore[arg-type]
        sandbox.fail("/item/remove", code="RATE_LIMIT")  # type: ignore[call-arg]
        sandbox.set_account_select("two")  # type: ignore[arg-type]
    serve(port=8080)


def in_a_browser(page: Page) -> None:
    """A user's own test with Playwright."""
    pane = LinkPane(page)
    pane.connect(institution="First Platypus Bank", masks=["0000"])
    pane.repair(masks=["0000", "1111"])
    pane.leave()
    assert_type(pane.offered(), list[str])

    pane.connect("First Platypus Bank")  # type: ignore[call-arg]


def local_partners(sandbox: LocalSandbox) -> None:
    """A user's own test of the hand-off."""
    with LocalFinix(sandbox) as finix, LocalLayer(sandbox, puts="replace") as layer:
        FinixSender(username=finix.username, password=finix.password, base_url=finix.url)
        assert_type(finix.new_identity(), str)
        assert_type(finix.instruments, tuple[FinixInstrument, ...])
        assert_type(finix.requests, tuple[PartnerRequest, ...])
        assert_type(layer.books(layer.new_business()), tuple[LayerBook, ...])

        LocalLayer(sandbox, puts="add")  # type: ignore[arg-type]


def many_items(linker: ProcessorLinker) -> None:
    """A user's own back-fill."""
    budget = RateBudget(450, storage="redis://localhost:6379/0")
    assert_type(budget.acquire(), bool)

    def choose(stored: StoredLink, accounts: Sequence[Account]) -> Account | None:
        return accounts[0] if stored.client_user_id else None

    def tell(progress: BackfillProgress) -> None:
        assert_type(progress.seconds_left, float | None)

    report = backfill(linker, "finix", budget=budget, choose=choose, on_progress=tell)
    assert_type(report, BackfillReport)
    assert_type(report.reasons, Mapping[str, int])
    outcome = backfill_item(linker, "finix", "item-1", budget=budget, hand_over=print)
    assert_type(outcome, BackfillOutcome)
    assert_type(outcome.status, Literal["issued", "skipped", "failed"])

    backfill(linker, ["finix"])  # type: ignore[arg-type]
    backfill_item(linker, "finix")  # type: ignore[call-arg]
