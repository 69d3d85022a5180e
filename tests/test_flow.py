"""After the exchange: whatever fails, the Item is not lost, and what is missing can be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest

from plaid_processors import (
    Account,
    AccountSelectionError,
    ConfigurationError,
    Environment,
    InvalidRequestError,
    ItemLoginRequiredError,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PendingPartner,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorLinker,
    ProcessorNotEnabledError,
    ProcessorToken,
    UnknownProcessorError,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.checks import link_account, strangers
from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    PUBLIC_TOKEN,
    Answer,
    FaultyPlaid,
    account,
    close,
    cut,
    hang,
    http,
    processor_token,
    raw,
    refusal,
    refusing,
    reply,
    reset,
)
from .support.rows import rows

Make = Callable[..., ProcessorLinker]
Through = Callable[..., Linked]

A, B, C = (link_account(name) for name in "ABC")
CARD = link_account("card", "credit card")

login_required = refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED", "the login details have changed")
bad_account = refusal()
down = refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "unexpected", status=500)

FAULTS: dict[str, tuple[Answer, type[PlaidProcessorsError]]] = {
    "refused": (login_required, ItemLoginRequiredError),
    "down": (down, PlaidUnavailableError),
    "html": (reply("<html>Bad Gateway</html>", 502), PlaidConnectionError),
    "list": (reply([]), PlaidConnectionError),
    "null": (reply(b"null"), PlaidConnectionError),
    "missing field": (reply({"request_id": "r"}), PlaidConnectionError),
    "null field": (reply({"processor_token": None, "accounts": None}), PlaidConnectionError),
    "empty field": (reply({"processor_token": "", "accounts": ""}), PlaidConnectionError),
    "closed": (close, PlaidConnectionError),
    "reset": (reset, PlaidConnectionError),
    "cut": (cut({"processor_token": "processor-sandbox-1"}), PlaidConnectionError),
    "hangs": (hang, PlaidConnectionError),
}


def incomplete(
    linker: ProcessorLinker, partner: Any = "layer", **options: Any
) -> LinkIncompleteError:
    """Link, and hand back the LinkIncompleteError that comes of it."""
    options = {"public_token": PUBLIC_TOKEN, **options}
    with pytest.raises(LinkIncompleteError) as caught:
        linker.link(partner, **options)
    return caught.value


# --- what fails, and what is kept


@rows("fault", FAULTS)
def test_a_failed_exchange_is_told_as_itself(
    faulty: FaultyPlaid, make_linker: Make, fault: str
) -> None:
    """Where the exchange fails there is no Item: its own error comes out."""
    answer, kind = FAULTS[fault]
    faulty.on(EXCHANGE, answer)
    with pytest.raises(kind) as caught:
        make_linker(timeout=0.5).link("layer", public_token=PUBLIC_TOKEN)
    assert strangers(caught.value) == []
    assert unfinished(caught.value) is None
    assert faulty.paths == [EXCHANGE]


def test_an_item_without_an_id(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An exchange that gives no item_id gives the access token: nothing is lost."""
    faulty.on(EXCHANGE, reply({"access_token": ACCESS_TOKEN, "item_id": None, "new": {}}))
    result = faulty_linker.link("layer", public_token=PUBLIC_TOKEN)
    assert (result.access_token, result.item_id, result.request_id) == (ACCESS_TOKEN, None, None)


_EXCHANGED = {"access_token": ACCESS_TOKEN, "item_id": "item-1", "request_id": "r"}


@rows("length", [5, 40, 90, None], ids=["start", "in the token", "after", "all"])
def test_an_exchange_whose_answer_was_cut(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, length: int | None
) -> None:
    """An answer that is cut short is none: the error says that an Item may exist."""
    part = json.dumps(_EXCHANGED).encode()[:length]
    faulty.on(EXCHANGE, raw(http(part, length=200)))
    with pytest.raises(PlaidConnectionError, match=r"cut short.* An Item may exist") as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN)
    assert caught.value.outcome_unknown
    assert caught.value.support
    assert unfinished(caught.value) is None
    assert strangers(caught.value) == []
    assert ACCESS_TOKEN not in str(caught.value)


def test_some_tokens_fail(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Tokens that came are kept; those that did not are told, in order, with the reason."""
    faulty.on(CREATE, refusing({"A": close, "C": bad_account}))
    error = incomplete(faulty_linker, accounts=[A, B, C])
    assert [each.key for each in error.result.processor_tokens] == [("layer", "B")]
    assert [each.account.account_id for each in error.result.pending] == ["A", "C"]
    assert [type(each) for _, each in error.errors] == [PlaidConnectionError, InvalidRequestError]
    assert [pending for pending, _ in error.errors] == list(error.result.pending)
    assert error.__cause__ is error.errors[0][1]
    refused = error.result.pending[1]
    assert refused.error_code == "INVALID_FIELD"
    assert refused.error_message == "account_id must be a valid account ID"


def test_words_of_an_incomplete_link(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The error says how much is missing, why, and how to go on."""
    faulty.on(CREATE, refusing({"A": bad_account}))
    words = str(incomplete(faulty_linker, accounts=[A, B]))
    for part in ("1 of 2", "INVALID_FIELD", "error.result", "resume"):
        assert part in words


def test_a_partner_that_is_not_enabled(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A partner that is not enabled for the keys is told with the page that enables it."""
    message = (
        "The provided API keys are not enabled for the Straddle integration. Please see "
        "https://dashboard.plaid.com/developers/integrations to enable your keys"
    )
    faulty.on(CREATE, refusal("INVALID_INPUT", "INVALID_PRODUCT", message))
    error = incomplete(faulty_linker)
    cause = error.__cause__
    assert isinstance(cause, ProcessorNotEnabledError)
    assert "https://dashboard.plaid.com/developers/integrations" in cause.advice
    assert "https://dashboard.plaid.com/developers/integrations" in str(error)


def test_an_account_of_another_item(linker: ProcessorLinker, through_link: Through) -> None:
    """Plaid's own refusal of a foreign account is told for that account alone."""
    done = through_link("layer", masks=["0000"])
    error = incomplete(
        linker, public_token=done.public_token, accounts=[*done.metadata["accounts"], A]
    )
    assert [each.account.mask for each in error.result.processor_tokens] == ["0000"]
    assert [each.account.account_id for each in error.result.pending] == ["A"]
    assert error.result.pending[0].error_code == "INVALID_FIELD"


# --- partial


def test_partial(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """With `partial=True` refused accounts stay pending, and the others' tokens are returned."""
    faulty.on(CREATE, refusing({"A": bad_account}))
    result = faulty_linker.link(
        ["layer", "finix"],
        public_token=PUBLIC_TOKEN,
        accounts=[A, B],
        account_ids={"finix": ["A"]},
        partial=True,
    )
    assert [each.key for each in result.processor_tokens] == [("layer", "B")]
    assert [(each.key, each.error_code) for each in result.pending] == [
        (("layer", "A"), "INVALID_FIELD"),
        (("finix", "A"), "INVALID_FIELD"),
    ]
    assert not result.complete


@rows("refused", [{"A": bad_account, "B": bad_account}, {"A": close}, {"B": hang}])
def test_partial_is_for_refusals_of_single_accounts(
    faulty: FaultyPlaid, make_linker: Make, refused: dict[str, Answer]
) -> None:
    """Where nothing came, or the network failed, `partial=True` hides nothing."""
    faulty.on(CREATE, refusing(refused))
    error = incomplete(make_linker(timeout=0.5), accounts=[A, B], partial=True)
    assert len(error.errors) == len(refused)


# --- callbacks


def test_on_exchange_comes_once_and_first(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`on_exchange` is told the Item once, before any processor token is asked for."""
    told: list[LinkedItem] = []
    asked: list[list[str]] = []

    def store(item: LinkedItem) -> None:
        told.append(item)
        asked.append(list(faulty.paths))

    faulty_linker.link(
        "layer",
        public_token=PUBLIC_TOKEN,
        metadata={
            "accounts": [A, B],
            "institution": {"name": "Bank", "institution_id": "ins_1"},
            "link_session_id": "session",
        },
        on_exchange=store,
    )
    assert asked == [[EXCHANGE]]
    assert told == [
        LinkedItem(
            access_token=ACCESS_TOKEN,
            item_id="item-1",
            request_id="req-exchange",
            environment=Environment.SANDBOX,
            institution_id="ins_1",
            institution_name="Bank",
            link_session_id="session",
        )
    ]


def test_on_exchange_comes_before_accounts_are_fetched(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """The Item is told before anything else can fail."""
    asked: list[list[str]] = []
    faulty_linker.link_sandbox("layer", on_exchange=lambda _: asked.append(list(faulty.paths)))
    assert [paths[-1] for paths in asked] == [EXCHANGE]


@rows("call", ["link", "issue", "link_sandbox"])
def test_on_token_for_each(faulty_linker: ProcessorLinker, call: str) -> None:
    """`on_token` is told every token that came, once."""
    told: list[ProcessorToken] = []
    given_: dict[str, dict[str, Any]] = {
        "link": {"public_token": PUBLIC_TOKEN},
        "issue": {"access_token": ACCESS_TOKEN},
        "link_sandbox": {},
    }
    result = getattr(faulty_linker, call)("layer", on_token=told.append, **given_[call])
    assert {each.key: each for each in told} == {each.key: each for each in result.processor_tokens}
    assert len(told) == 2


@rows("failure", [RuntimeError("mine"), OSError(5, "disk full")])
def test_on_exchange_that_raises(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, failure: Exception
) -> None:
    """A callback that raises ends the link; the Item and what was asked for are kept."""

    def store(_item: LinkedItem) -> None:
        raise failure

    error = incomplete(faulty_linker, accounts=[A, B], on_exchange=store)
    assert error.__cause__ is failure
    assert error.result.access_token == ACCESS_TOKEN
    assert [each.key for each in error.result.pending] == [("layer", "A"), ("layer", "B")]
    assert error.errors == ()
    assert faulty.paths == [EXCHANGE]
    assert faulty_linker.resume(error.result).complete


@rows("callback", ["on_exchange", "on_token"])
def test_a_callback_that_raises_stop_iteration(
    faulty_linker: ProcessorLinker, callback: str
) -> None:
    """No coroutine can raise a StopIteration: it is the cause of the RuntimeError in its place."""

    def store(_told: object) -> None:
        raise StopIteration("mine")

    error = incomplete(faulty_linker, accounts=[A, B], **{callback: store})
    assert isinstance(error.__cause__, RuntimeError)
    assert isinstance(error.__cause__.__cause__, StopIteration)
    assert error.result.access_token == ACCESS_TOKEN


def test_on_token_that_raises(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A callback that raises at one token takes no other token along."""
    told: list[str] = []

    def store(token: ProcessorToken) -> None:
        told.append(token.account.account_id)
        if token.account.account_id == "B":
            raise RuntimeError("database down")

    error = incomplete(faulty_linker, accounts=[A, B, C], on_token=store)
    assert isinstance(error.__cause__, RuntimeError)
    assert sorted(told) == ["A", "B", "C"]
    assert error.result.complete
    assert [each.account.account_id for each in error.result.processor_tokens] == ["A", "B", "C"]


async def _storing(_told: object) -> None:
    raise AssertionError("nobody awaits it")


def test_callbacks_whose_work_is_still_to_do(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """An awaitable that nobody would await is refused before any token, and none is left over."""
    error = incomplete(faulty_linker, on_exchange=lambda item: _storing(item))
    assert isinstance(error.__cause__, TypeError)
    assert "AsyncProcessorLinker awaits it" in str(error.__cause__)
    assert faulty.paths == [EXCHANGE]
    error = incomplete(faulty_linker, on_token=lambda token: _storing(token))
    assert isinstance(error.__cause__, TypeError)


def test_words_of_a_callback_are_not_repeated(faulty_linker: ProcessorLinker) -> None:
    """What a callback says of its failure may hold a token: our own words do not repeat it."""

    def store(item: LinkedItem) -> None:
        raise RuntimeError(f"cannot store {item.access_token}")

    assert ACCESS_TOKEN not in str(incomplete(faulty_linker, on_exchange=store))


@rows("kind", [KeyboardInterrupt, SystemExit])
@rows("callback", ["on_exchange", "on_token"])
def test_leaving_from_a_callback(
    faulty_linker: ProcessorLinker, callback: str, kind: type[BaseException]
) -> None:
    """KeyboardInterrupt and SystemExit come out as themselves, and bring the result."""

    def leave(_told: object) -> None:
        raise kind("bye")

    with pytest.raises(kind) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=[A, B], **{callback: leave})
    result = unfinished(caught.value)
    assert result is not None
    assert result.access_token == ACCESS_TOKEN
    assert {each.key for each in result.entries} == {("layer", "A"), ("layer", "B")}
    if callback == "on_token":
        assert result.processor_tokens


def test_time_in_callbacks_does_not_count(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A callback that takes longer than the deadline does not use it up."""
    result = make_linker(deadline=0.4).link(
        "layer", public_token=PUBLIC_TOKEN, accounts=[A, B], on_exchange=lambda _: sleep(0.6)
    )
    assert result.complete


def test_the_deadline_is_for_the_call(faulty: FaultyPlaid, make_linker: Make) -> None:
    """However many requests a call makes, they share its deadline; then nothing new is sent."""
    faulty.on(CREATE, hang)
    began = monotonic()
    error = incomplete(make_linker(deadline=0.5, timeout=10, max_connections=1), accounts=[A, B, C])
    assert monotonic() - began < 1.5
    assert len(error.errors) == 3
    assert faulty.paths == [EXCHANGE, CREATE]
    assert [each.outcome_unknown for _, each in error.errors] == [True, False, False]  # type: ignore[attr-defined]


# --- verified accounts


def test_a_lying_browser(linker: ProcessorLinker, through_link: Through) -> None:
    """With `verify_accounts` a credit card that the browser calls checking is none for Finix."""
    done = through_link("layer", masks=["3333"])
    lie = {**done.metadata["accounts"][0], "type": "depository", "subtype": "checking"}
    error = incomplete(
        linker, "finix", public_token=done.public_token, accounts=[lie], verify_accounts=True
    )
    cause = error.__cause__
    assert isinstance(cause, AccountSelectionError)
    assert cause.accounts[0].subtype == "credit card"
    assert [each.processor for each in error.result.unselected] == ["finix"]


def test_the_accounts_to_verify_are_remembered(
    local_plaid: LocalSandbox, linker: ProcessorLinker, through_link: Through
) -> None:
    """A partner gets no others when the link is gone on with; unless the caller chooses one."""
    done = through_link("layer", masks=["0000", "1111", "3333"])
    first, second, _ = done.metadata["accounts"]
    local_plaid.fail("/accounts/get", error_code="INSTITUTION_DOWN", times=3)
    error = incomplete(
        linker,
        ["layer", "finix"],
        public_token=done.public_token,
        accounts=[first],
        verify_accounts=True,
    )
    local_plaid.clear_faults()
    left = LinkResult.from_dict(error.result.to_dict())
    done_with = linker.resume(left, account_ids={"finix": [second["id"]]})
    assert [token.account.account_id for token in done_with.processor_tokens] == [
        first["id"],
        second["id"],
    ]


def test_verified_accounts_are_plaids(linker: ProcessorLinker, through_link: Through) -> None:
    """What `/accounts/get` says replaces what the browser said; its choice and order stay."""
    done = through_link("layer", masks=["0000", "1111", "3333"])
    first, _, third = done.metadata["accounts"]
    result = linker.link(
        "layer",
        public_token=done.public_token,
        accounts=[{"id": third["id"], "name": "Lie"}, first],
        verify_accounts=True,
    )
    told = [token.account for token in result.processor_tokens]
    assert [(each.account_id, each.mask) for each in told] == [
        (third["id"], "3333"),
        (first["id"], "0000"),
    ]
    assert told[0].official_name == "Plaid Diamond 12.5% APR Interest Credit Card"


def test_verified_accounts_must_be_the_items(
    linker: ProcessorLinker, through_link: Through
) -> None:
    """An account of another Item is refused by us where accounts are verified."""
    done = through_link("layer", masks=["0000"])
    error = incomplete(
        linker,
        public_token=done.public_token,
        accounts=[*done.metadata["accounts"], A],
        verify_accounts=True,
    )
    assert isinstance(error.__cause__, AccountSelectionError)
    assert "'A'" in str(error.__cause__)
    assert error.result.access_token


def test_issue_verifies_too(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`issue` verifies as well, and refuses plainly where no token was issued."""
    faulty.on(ACCOUNTS, reply({"accounts": [account("A", "credit card")]}))
    with pytest.raises(AccountSelectionError):
        faulty_linker.issue("finix", access_token=ACCESS_TOKEN, accounts=[A], verify_accounts=True)
    assert faulty.paths == [ACCOUNTS]


# --- issue


def test_issue_that_fails_altogether(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`issue` raises the plain error where no token was issued."""
    faulty.on(CREATE, login_required)
    with pytest.raises(ItemLoginRequiredError):
        faulty_linker.issue("layer", access_token=ACCESS_TOKEN, accounts=[A, B])


def test_issue_that_fails_in_part(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`issue` raises LinkIncompleteError where some tokens were issued."""
    faulty.on(CREATE, refusing({"A": bad_account}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.issue("layer", access_token=ACCESS_TOKEN, accounts=[A, B])
    assert [each.key for each in caught.value.result.processor_tokens] == [("layer", "B")]


def test_issue_where_no_account_can_be_had(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`issue` raises the plain error of `/accounts/get`."""
    faulty.on(ACCOUNTS, login_required)
    with pytest.raises(ItemLoginRequiredError):
        faulty_linker.issue("layer", access_token=ACCESS_TOKEN)


# --- resume


def test_resume_asks_only_for_what_is_missing(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`resume` sends one request for each missing token, and no other."""
    faulty.on(CREATE, refusing({"A": close, "C": bad_account}))
    error = incomplete(faulty_linker, accounts=[A, B, C])
    faulty.on(CREATE)
    faulty.requests.clear()
    result = faulty_linker.resume(error.result)
    assert sorted(body["account_id"] for body in faulty.asked(CREATE)) == ["A", "C"]
    assert len(faulty.requests) == 2
    assert [each.key for each in result.processor_tokens] == [
        ("layer", "A"),
        ("layer", "B"),
        ("layer", "C"),
    ]
    assert result.complete
    assert result.processor_tokens[1] == error.result.processor_tokens[0]


def test_resume_of_a_complete_result(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Where nothing is missing nothing is asked, and the result is the same."""
    result = faulty_linker.link("layer", public_token=PUBLIC_TOKEN)
    faulty.requests.clear()
    assert faulty_linker.resume(result) == result
    assert faulty.requests == []


def test_resume_that_fails_altogether(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`resume` raises the plain error where it issued no token, even where earlier ones exist."""
    faulty.on(CREATE, refusing({"A": bad_account}))
    error = incomplete(faulty_linker, accounts=[A, B])
    with pytest.raises(InvalidRequestError):
        faulty_linker.resume(error.result)


def test_resume_that_fails_in_part(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`resume` raises LinkIncompleteError where it issued some tokens; nothing is lost."""
    faulty.on(CREATE, bad_account)
    error = incomplete(faulty_linker, accounts=[A, B, C])
    faulty.on(CREATE, refusing({"C": bad_account}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.resume(error.result)
    assert [each.account.account_id for each in caught.value.result.processor_tokens] == ["A", "B"]
    faulty.on(CREATE)
    assert faulty_linker.resume(caught.value.result).complete


def test_resume_tells_its_tokens(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """`on_token` is told the new tokens alone."""
    faulty.on(CREATE, refusing({"A": bad_account}))
    error = incomplete(faulty_linker, accounts=[A, B])
    faulty.on(CREATE)
    told: list[ProcessorToken] = []
    faulty_linker.resume(error.result, on_token=told.append)
    assert [each.account.account_id for each in told] == ["A"]


def test_a_resumed_result_forgets_the_failure(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """`partial=True` holds in `resume` too, with the newest reason."""
    faulty.on(CREATE, bad_account)
    error = incomplete(faulty_linker, accounts=[A, B])
    faulty.on(CREATE, refusing({"A": login_required}))
    result = faulty_linker.resume(error.result, partial=True)
    assert [each.error_code for each in result.pending] == ["ITEM_LOGIN_REQUIRED"]


def _unselected(linker: ProcessorLinker, partner: Any = "finix", **options: Any) -> LinkResult:
    """A result whose accounts could not be chosen: two fit."""
    return incomplete(linker, partner, **options).result


@pytest.fixture
def two_fit(faulty: FaultyPlaid) -> FaultyPlaid:
    """A Plaid whose Item has two accounts that fit Finix."""
    faulty.on(ACCOUNTS, reply({"accounts": [account("A"), account("B", "savings")]}))
    return faulty


def test_partners_without_accounts_are_kept(
    two_fit: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Where a rule refuses fetched accounts, the result keeps the partners asked for."""
    error = incomplete(faulty_linker, ["layer", "finix"])
    assert isinstance(error.__cause__, AccountSelectionError)
    names = [each.processor for each in error.result.unselected]
    assert names == ["layer", "finix"]
    assert not error.result.complete
    assert two_fit.paths == [EXCHANGE, ACCOUNTS]


def test_ids_asked_for_are_kept(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Where the accounts could not be fetched, the ids asked for are kept, and used later."""
    faulty.on(ACCOUNTS, down)
    result = _unselected(faulty_linker, ["layer", "finix"], account_ids={"layer": ["a-card"]})
    assert result.unselected == (
        PendingPartner(processor="layer", account_ids=("a-card",)),
        PendingPartner(processor="finix"),
    )
    stored = LinkResult.from_dict(result.to_dict())
    faulty.on(ACCOUNTS)
    assert [each.key for each in faulty_linker.resume(stored).processor_tokens] == [
        ("layer", "a-card"),
        ("finix", "a-checking"),
    ]


@rows(
    ("options", "fetches"),
    [
        ({"account_id": "B"}, 1),
        ({"account_ids": {"finix": ["B"]}}, 1),
        ({"accounts": [link_account("B", "savings")]}, 0),
        ({"accounts": [Account(account_id="B", subtype="savings"), A], "account_id": "B"}, 0),
        ({"partner": "finix", "account_id": "B"}, 1),
    ],
    ids=repr,
)
def test_resume_takes_what_was_missing(
    two_fit: FaultyPlaid, faulty_linker: ProcessorLinker, options: dict[str, Any], fetches: int
) -> None:
    """`resume` takes the choice that was missing, and finishes the link."""
    result = _unselected(faulty_linker)
    two_fit.requests.clear()
    finished = faulty_linker.resume(result, **options)
    assert finished.token("finix").account.account_id == "B"
    assert finished.access_token == ACCESS_TOKEN
    assert two_fit.paths.count(ACCOUNTS) == fetches
    assert finished.complete


def test_resume_without_the_choice_is_refused_again(
    two_fit: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Without the choice, the rule refuses again, plainly."""
    result = _unselected(faulty_linker)
    with pytest.raises(AccountSelectionError, match="account_id="):
        faulty_linker.resume(result)


def test_resume_with_an_adapter_of_ones_own(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """A partner that only its adapter knows is resumed with that adapter."""
    mine = PartnerAdapter(processor="new_partner", subtypes=("credit card",))
    faulty.on(ACCOUNTS, down)
    result = _unselected(faulty_linker, [mine, "layer"])
    faulty.on(ACCOUNTS)
    with pytest.raises(UnknownProcessorError, match="PartnerAdapter"):
        faulty_linker.resume(result)
    assert [each.key for each in faulty_linker.resume(result, partner=mine).processor_tokens] == [
        ("new_partner", "a-card"),
        ("layer", "a-checking"),
        ("layer", "a-card"),
    ]


@rows(
    ("options", "error"),
    [
        ({"partner": "layer"}, ValueError),
        ({"account_ids": {"layer": ["B"]}}, ValueError),
        ({"accounts": []}, ValueError),
        ({"accounts": [CARD]}, AccountSelectionError),
        ({"accounts": [A], "account_id": "B"}, AccountSelectionError),
        ({"partner": "finx"}, UnknownProcessorError),
        ({"account_id": 5}, TypeError),
        ({"on_token": 5}, TypeError),
    ],
    ids=repr,
)
def test_resume_with_what_does_not_fit(
    two_fit: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    """What does not fit the result is refused before any request."""
    result = _unselected(faulty_linker)
    two_fit.requests.clear()
    with pytest.raises(error):
        faulty_linker.resume(result, **options)
    assert two_fit.requests == []


def test_account_id_is_for_the_partners_given(
    two_fit: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """With `partner=`, `account_id=` binds that partner and leaves the others to their rules."""
    result = _unselected(faulty_linker, ["layer", "finix"])
    finished = faulty_linker.resume(result, partner="finix", account_id="A")
    assert [each.key for each in finished.processor_tokens] == [
        ("layer", "A"),
        ("layer", "B"),
        ("finix", "A"),
    ]


def test_resume_with_the_adapter_of_a_choice_that_is_made(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """A caller who always passes their own adapter need not know what a result lacks."""
    mine = PartnerAdapter(processor="new_partner")
    faulty.on(CREATE, bad_account)
    error = incomplete(faulty_linker, mine, accounts=[A])
    faulty.on(CREATE)
    assert faulty_linker.resume(error.result, partner=mine).complete
    with pytest.raises(ValueError, match="layer is not in this result, which has new_partner"):
        faulty_linker.resume(error.result, partner="layer")


@rows(
    "options", [{"accounts": [A]}, {"account_id": "A"}, {"account_ids": {"layer": "A"}}], ids=repr
)
def test_resume_with_a_choice_that_is_made(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, options: dict[str, Any]
) -> None:
    """Where the accounts are chosen already, choosing again is a ValueError."""
    faulty.on(CREATE, bad_account)
    result = incomplete(faulty_linker, accounts=[A]).result
    with pytest.raises(ValueError, match="chosen"):
        faulty_linker.resume(result, **options)


@rows("result", [None, {}, "result", 5], ids=repr)
def test_resume_of_what_is_no_result(faulty_linker: ProcessorLinker, result: Any) -> None:
    """Anything but a LinkResult is a TypeError that says what is wanted."""
    with pytest.raises(TypeError, match="LinkResult"):
        faulty_linker.resume(result)


def test_resume_of_another_environment(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A result of production is not sent to the Sandbox."""
    result = LinkResult(
        access_token="odd token",
        environment=Environment.PRODUCTION,
        unselected=(PendingPartner(processor="layer"),),
    )
    with pytest.raises(ConfigurationError, match=r"'production'.*'sandbox'"):
        faulty_linker.resume(result)
    assert faulty.requests == []


def test_tokens_are_the_servers(faulty_linker: ProcessorLinker) -> None:
    """Each token stands by the account that it was asked for, however the answers come."""
    accounts = [link_account(f"account-{number}") for number in range(20)]
    result = faulty_linker.link("layer", public_token=PUBLIC_TOKEN, accounts=accounts)
    for token, given_ in zip(result.processor_tokens, accounts, strict=True):
        assert token.processor_token == processor_token("layer", given_["id"])
        assert token.request_id == f"req-{given_['id']}"


def test_errors_of_single_tokens(linker: ProcessorLinker, through_link: Through) -> None:
    """Each error of a single token is one of Plaid's, with type, code and request id."""
    done = through_link("layer", masks=["0000"])
    error = incomplete(linker, public_token=done.public_token, accounts=[A, B])
    for _, each in error.errors:
        assert isinstance(each, PlaidApiError)
        assert (each.error_type, each.request_id is None) == ("INVALID_REQUEST", False)
    assert linker.remove(error.result.access_token) is True


# --- state that Plaid named: the end of a token's life


def _expiring(result: LinkResult, **changes: Any) -> LinkResult:
    """The result some hours later, as another process reads it."""
    data = json.loads(json.dumps(result.to_dict()))
    for entry in data["entries"]:
        token = entry if "processor_token" in entry else entry["unnarrowed"]
        token.update({"expires_at": "2026-01-01T00:00:00+00:00", **changes})
    return LinkResult.from_dict(data)


@pytest.mark.parametrize("partner", ["dwolla", "unit"])
def test_an_expired_token_is_missing(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, partner: str
) -> None:
    """A result whose token has expired is not complete, and resume asks for that token again."""
    fresh = faulty_linker.issue(partner, access_token=ACCESS_TOKEN, account_id="a-checking")
    token = fresh.token(partner)
    assert fresh.complete
    assert not token.expired
    old = _expiring(fresh)
    assert not old.complete
    assert old.token(partner).expired
    faulty.requests.clear()
    again = faulty_linker.resume(old)
    assert [each.path for each in faulty.requests] == [CREATE]
    assert again.complete
    assert again.token(partner).issued_at > token.issued_at
    faulty.requests.clear()
    assert faulty_linker.resume(again) == again
    assert faulty.requests == []


@pytest.mark.parametrize("narrowed", [True, False])
def test_an_expired_token_comes_back_as_narrow_as_it_was(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, narrowed: bool
) -> None:
    """Also where the old one was issued and not narrowed any more before it expired."""
    set_ = "/processor/token/permissions/set"
    if not narrowed:
        faulty.on(set_, refusal())
    try:
        result = faulty_linker.issue(
            "layer", access_token=ACCESS_TOKEN, account_id="a-checking", narrow=True
        )
    except LinkIncompleteError as error:
        result = error.result
    faulty.on(set_, reply({"request_id": "r"}))
    faulty.requests.clear()
    again = faulty_linker.resume(_expiring(result))
    assert [each.path for each in faulty.requests] == [CREATE, set_]
    assert again.token("layer").permissions == ("transactions", "balance")
