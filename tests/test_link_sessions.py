"""Every Item of a finished Link session, linked by one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import (
    AccountSelectionError,
    AsyncProcessorLinker,
    DuplicateItemError,
    LinkedItem,
    LinkIncompleteError,
    LinkResult,
    LinkSessionError,
    PlaidClient,
    PlaidConnectionError,
    PlaidProcessorsError,
    ProcessorLinker,
    PublicTokenError,
    SessionState,
    UnknownProcessorError,
    unfinished,
)
from plaid_processors.sandbox import LocalSandbox

from .support.checks import link_account
from .support.faulty import (
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    Answer,
    Connection,
    FaultyPlaid,
    Request,
    close,
    computed,
    exchanged,
    refusal,
    refusing,
    reply,
)
from .support.rows import rows

GET = "/link/token/get"
LINK_TOKEN = "link-sandbox-af1a0311-da53-4636-b754-dd15cc058176"

Call = Callable[..., tuple[LinkResult, ...]]


def public(name: str) -> str:
    return f"public-sandbox-{name}-0123456789"


def access(name: str) -> str:
    return f"access-sandbox-{name}-0123456789"


def added(name: str, **more: Any) -> dict[str, Any]:
    """An Item of a session, with one account."""
    return {
        "public_token": public(name),
        "accounts": [link_account(f"{name}-1111")],
        "institution": {"institution_id": f"ins_{name}", "name": f"Bank {name}"},
        **more,
    }


def with_items(faulty: FaultyPlaid, *items: dict[str, Any], **failing: Answer) -> None:
    """A session with these Items; the exchanges of those named fail."""
    session = {
        "link_session_id": "S",
        "started_at": "2026-03-07T00:00:00Z",
        "finished_at": "2026-03-07T00:05:00Z",
        "results": {"item_add_results": list(items)},
    }
    faulty.on(GET, reply({"link_sessions": [session], "request_id": "R"}))

    def choose(request: Request) -> Answer:
        name = request.json["public_token"].split("-")[2]
        return failing.get(name) or exchanged(access(name))

    faulty.on(EXCHANGE, computed(choose))


@pytest.fixture(params=["blocking", "awaited"])
def link_session(request: pytest.FixtureRequest, make_client: Callable[..., PlaidClient]) -> Call:
    """Either linker's `link_session`, called alike."""
    client = make_client()

    def call(partner: Any = "layer", **options: Any) -> tuple[LinkResult, ...]:
        if request.param == "blocking":
            return ProcessorLinker(client).link_session(partner, LINK_TOKEN, **options)
        linker = AsyncProcessorLinker(client)
        return asyncio.run(linker.link_session(partner, LINK_TOKEN, **options))

    return call


def test_every_item_of_a_session_is_linked(faulty: FaultyPlaid, link_session: Call) -> None:
    """Each as `link` does: in order, with its bank and session, and with the callbacks."""
    with_items(faulty, added("A"), added("B"), added("C"))
    items: list[str] = []
    tokens: list[str] = []
    results = link_session(
        iter(["layer"]),
        on_exchange=lambda item: items.append(item.access_token),
        on_token=lambda token: tokens.append(token.account.account_id),
    )
    assert [each.access_token for each in results] == [access(name) for name in "ABC"]
    assert [each.institution_id for each in results] == ["ins_A", "ins_B", "ins_C"]
    assert {each.link_session_id for each in results} == {"S"}
    assert all(each.complete for each in results)
    assert items == [access(name) for name in "ABC"]
    assert tokens == ["A-1111", "B-1111", "C-1111"]
    assert faulty.paths.count(GET) == 1


def test_one_item_that_fails_does_not_lose_the_others(
    faulty: FaultyPlaid, link_session: Call
) -> None:
    """The error has the results of the others, and each failure with its Item of the session."""
    failing: dict[str, Answer] = {
        "A": refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN"),
        "D": close,
    }
    with_items(faulty, *map(added, "ABCDE"), **failing)
    faulty.on(CREATE, refusing({"C-1111": refusal()}))
    with pytest.raises(LinkSessionError) as caught:
        link_session()
    error = caught.value
    assert [each.access_token for each in error.results] == [access("B"), access("E")]
    assert [item.public_token for item, _ in error.failures] == [public(name) for name in "ACD"]
    kinds = [PublicTokenError, LinkIncompleteError, PlaidConnectionError]
    assert [type(each) for _, each in error.failures] == kinds
    incomplete, unknown = error.failures[1][1], error.failures[2][1]
    assert isinstance(incomplete, LinkIncompleteError)
    assert incomplete.result.access_token == access("C")
    assert isinstance(unknown, PlaidConnectionError)
    assert unknown.outcome_unknown
    assert error.session.state is SessionState.SUCCESS
    assert error.__cause__ is error.failures[0][1]
    assert "2 of 5 Items" in str(error)
    assert "Bank A" in str(error)
    for name in "ABCDE":
        assert public(name) not in f"{error} {error!r}"
        assert access(name) not in f"{error} {error!r}"


@rows(
    ("results", "kind"),
    [
        ([], AccountSelectionError),
        ([added("A", accounts=[link_account("a", "credit card")])], AccountSelectionError),
    ],
)
def test_the_only_item_fails_as_with_link(
    results: Any, kind: type[PlaidProcessorsError], faulty: FaultyPlaid, link_session: Call
) -> None:
    """Where there are no others, the error is that of `link`."""
    with_items(faulty, *(results or [added("A", accounts=[])]))
    faulty.on(ACCOUNTS, reply({"accounts": [], "item": {}, "request_id": "R"}))
    with pytest.raises((kind, LinkIncompleteError)) as caught:
        link_session("finix")
    assert not isinstance(caught.value, LinkSessionError)


def test_an_item_without_accounts_has_them_fetched(faulty: FaultyPlaid, link_session: Call) -> None:
    """The session need not have them."""
    with_items(faulty, added("A", accounts=[]))
    (result,) = link_session()
    assert len(result.processor_tokens) == 2
    assert faulty.paths.count(ACCOUNTS) == 1


@rows(
    ("sent", "state", "words"),
    [
        ([], "waiting", "not through Link yet"),
        ([{"link_session_id": "S"}], "waiting", "not through Link yet"),
        ([{"exit": {"error": None, "metadata": {}}}], "exited", "without an error"),
        (
            [{"exit": {"error": {"error_code": "ITEM_LOCKED"}, "metadata": {}}}],
            "exited",
            "ITEM_LOCKED",
        ),
        ([{"finished_at": "2026-03-07T00:05:00Z", "results": {}}], "success", "update mode"),
    ],
)
def test_a_session_without_items_says_why(
    sent: Any, state: str, words: str, faulty: FaultyPlaid, link_session: Call
) -> None:
    """Not finished, left, or update mode: one error, with the session."""
    faulty.on(GET, reply({"link_sessions": sent, "request_id": "R"}))
    with pytest.raises(LinkSessionError, match=words) as caught:
        link_session()
    assert caught.value.session.state == state
    assert (caught.value.results, caught.value.failures) == ((), ())
    assert EXCHANGE not in faulty.paths


def test_a_wrong_partner_is_refused_before_any_request(
    faulty: FaultyPlaid, link_session: Call
) -> None:
    """It is no failure of each Item."""
    with pytest.raises(UnknownProcessorError):
        link_session("finx")
    assert faulty.requests == []


def test_one_earlier_result_is_no_list_of_them(faulty: FaultyPlaid, link_session: Call) -> None:
    """It is refused by name, before the session is asked for."""
    earlier = LinkResult(access_token=access("old"), environment="sandbox")
    with pytest.raises(TypeError, match="earlier must be a list of LinkResult objects"):
        link_session(earlier=earlier)
    assert faulty.requests == []


def test_the_same_bank_twice_in_sessions(faulty: FaultyPlaid, link_session: Call) -> None:
    """Each Item is compared with the earlier ones, and with those of this session."""
    with_items(faulty, added("A"), added("B"))
    old = link_session()
    twice = added("C", institution={"institution_id": "ins_C", "name": "Bank C"})
    again = {**twice, "public_token": public("D")}
    with_items(faulty, added("A"), twice, again)
    with pytest.raises(LinkSessionError) as caught:
        link_session(earlier=iter(old))
    assert [each.institution_id for each in caught.value.results] == ["ins_C"]
    failed = [(item.institution_id, type(error)) for item, error in caught.value.failures]
    assert failed == [("ins_A", DuplicateItemError), ("ins_C", DuplicateItemError)]
    assert len(link_session(earlier=old, on_duplicate="allow")) == 3


def test_an_interruption_keeps_what_is_linked(faulty: FaultyPlaid, link_session: Call) -> None:
    """It comes out as itself; its cause has the results, `unfinished` the Item under way."""
    with_items(faulty, added("A"), added("B"), added("C"))

    def stop(item: LinkedItem) -> None:
        if item.institution_id == "ins_B":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        link_session(on_exchange=stop)
    cause = caught.value.__cause__
    assert isinstance(cause, LinkSessionError)
    assert [each.access_token for each in cause.results] == [access("A")]
    under_way = unfinished(caught.value)
    assert under_way is not None
    assert under_way.access_token == access("B")


def test_a_cancellation_keeps_what_is_linked(
    faulty: FaultyPlaid, make_client: Callable[..., PlaidClient]
) -> None:
    """As an interruption does."""
    with_items(faulty, added("A"), added("B"), added("C"))

    async def go() -> None:
        linker = AsyncProcessorLinker(make_client())
        reached = asyncio.Event()

        async def wait(item: LinkedItem) -> None:
            if item.institution_id == "ins_B":
                reached.set()
                await asyncio.sleep(0.1)

        task = asyncio.create_task(linker.link_session("layer", LINK_TOKEN, on_exchange=wait))
        await reached.wait()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(go())
    cause = caught.value.__cause__
    assert isinstance(cause, LinkSessionError)
    assert [each.access_token for each in cause.results] == [access("A")]
    under_way = unfinished(caught.value)
    assert under_way is not None
    assert under_way.access_token == access("B")


@pytest.mark.slow
def test_each_item_has_a_deadline_of_its_own(
    faulty: FaultyPlaid, make_client: Callable[..., PlaidClient]
) -> None:
    """Many Items do not run out of time because they are many."""

    def slow(connection: Connection, request: Request) -> bool | None:
        connection.stopped.wait(0.7)
        return exchanged(access("A"))(connection, request)

    with_items(faulty, *map(added, "ABCD"), **dict.fromkeys("ABCD", slow))
    linker = ProcessorLinker(make_client(deadline=2.5))
    assert len(linker.link_session("layer", LINK_TOKEN)) == 4


def test_a_session_of_the_local_plaid(local_plaid: LocalSandbox, linker: ProcessorLinker) -> None:
    """Hosted Link to the end; a second call says that the public token is spent."""
    token = linker.create_link_token(
        ["layer"], client_user_id="u", client_name="Acme", hosted_link={}
    )
    with pytest.raises(LinkSessionError, match="not through"):
        linker.link_session("layer", token.link_token)
    local_plaid.complete_link(token.link_token, masks=["0000"])
    (result,) = linker.link_session("layer", token.link_token, narrow=True)
    assert result.token("layer").permissions is not None
    with pytest.raises(PublicTokenError, match="exchanged before"):
        linker.link_session("layer", token.link_token)
    left = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
    local_plaid.exit_link(left.link_token)
    with pytest.raises(LinkSessionError, match="left Link"):
        linker.link_session("layer", left.link_token)
