"""How Link went, as `session` returns it: from the wire, and against the local Plaid."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from attrs import fields

from plaid_processors import (
    Account,
    AsyncProcessorLinker,
    ConfigurationError,
    InvalidRequestError,
    LinkFailure,
    LinkSession,
    LinkToken,
    PlaidConnectionError,
    ProcessorLinker,
    SessionItem,
    SessionState,
)
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.sessions import read_session

from .support.faulty import ACCOUNTS, FaultyPlaid, reply
from .support.rows import rows

PUBLIC_TOKEN = "public-sandbox-b0e2c4ee-a763-4df5-bfe9-46a46bce993d"
LINK_TOKEN = "link-sandbox-af1a0311-da53-4636-b754-dd15cc058176"
ADDED = {
    "public_token": PUBLIC_TOKEN,
    "accounts": [{"id": "A", "name": "Checking", "mask": "0000", "type": "depository",
                  "subtype": "checking", "verification_status": None}],
    "institution": {"institution_id": "ins_109508", "name": "First Platypus Bank"},
}  # fmt: skip
ITEM = SessionItem(
    link_session_id="S",
    public_token=PUBLIC_TOKEN,
    accounts=(
        Account(
            account_id="A", name="Checking", mask="0000", type="depository", subtype="checking"
        ),
    ),
    institution_id="ins_109508",
    institution_name="First Platypus Bank",
)
SUCCESS = LinkSession(
    state=SessionState.SUCCESS,
    **{each.name: getattr(ITEM, each.name) for each in fields(SessionItem)},
    request_id="R",
    items=(ITEM,),
)
OTHER_TOKEN = "public-sandbox-0d7a1f6e-3b5c-4c8e-9f0a-6a3a4c1f2b77"
LEFT = {"error": None, "metadata": {"institution": None, "status": None}}


def session(started: int = 1, **sent: Any) -> dict[str, Any]:
    return {"link_session_id": "S", "started_at": f"2026-03-07T00:00:0{started}Z", **sent}


@rows(
    ("sent", "state"),
    [
        (None, "waiting"),
        ([], "waiting"),
        ([session()], "waiting"),
        ([session(finished_at=None, events=[])], "waiting"),
        ([session(results={"item_add_results": [ADDED]})], "success"),
        ([session(finished_at="2026-03-07T00:00:09Z", results={"item_add_results": []})],
         "success"),
        ([session(exit=LEFT)], "exited"),
        ([session(on_exit=LEFT)], "exited"),
        ([session(1, exit=LEFT), session(2)], "waiting"),
        ([session(2, exit=LEFT), session(1)], "exited"),
        ([session(1, results={"item_add_results": [ADDED]}), session(2, exit=LEFT)], "success"),
    ],
)  # fmt: skip
def test_the_state(sent: Any, state: str) -> None:
    """A success counts before all; else the latest session does, whatever their order."""
    assert read_session(sent, None).state == state


def test_a_success() -> None:
    """It has what `link` needs."""
    assert read_session([session(results={"item_add_results": [ADDED]})], "R") == SUCCESS


def test_a_success_in_the_older_form() -> None:
    """`on_success` has the same facts."""
    metadata = {"accounts": ADDED["accounts"], "institution": ADDED["institution"]}
    older = session(on_success={"public_token": PUBLIC_TOKEN, "metadata": metadata})
    assert read_session([older], "R") == SUCCESS


def added(token: str, account: str, bank: str | None) -> dict[str, Any]:
    """One Item of a session, as Plaid says it."""
    institution = bank and {"institution_id": bank, "name": f"Bank {bank}"}
    return {"public_token": token, "accounts": [{"id": account}], "institution": institution}


def test_every_item_of_a_session(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Several Items connected in one session (multi-Item Link) are all there, to be linked."""
    results = [ADDED, added(OTHER_TOKEN, "B", None), {"public_token": None}, added("p", "C", "i")]
    sessions = [session(results={"item_add_results": results})]
    faulty.on("/link/token/get", reply({"link_sessions": sessions, "request_id": "R"}))
    read = faulty_linker.session(LINK_TOKEN)

    assert [each.public_token for each in read.items] == [PUBLIC_TOKEN, OTHER_TOKEN, "p"]
    assert [each.accounts[0].account_id for each in read.items] == ["A", "B", "C"]
    assert [each.institution_id for each in read.items] == ["ins_109508", None, "i"]
    assert {each.link_session_id for each in read.items} == {"S"}
    assert (read.public_token, read.accounts) == (PUBLIC_TOKEN, read.items[0].accounts)
    assert read.metadata == read.items[0].metadata
    assert OTHER_TOKEN not in repr(read)
    for item in read.items:
        result = faulty_linker.link("layer", public_token=item.public_token, metadata=item.metadata)
        assert result.token("layer").account == item.accounts[0]
        assert (result.institution_id, result.link_session_id) == (item.institution_id, "S")


@rows(
    ("sent", "tokens"),
    [
        ([], []),
        ([session()], []),
        ([session(exit=LEFT)], []),
        ([session(finished_at="2026-03-07T00:00:09Z")], []),
        ([session(on_success={"public_token": "p", "metadata": None})], ["p"]),
        ([session(1, results={"item_add_results": [added("p", "A", None), added("q", "B", None)]}),
          session(2, exit=LEFT)], ["p", "q"]),
        ([session(2, results={"item_add_results": [added("p", "A", None)]}),
          session(1, results={"item_add_results": [added("q", "B", None)]})], ["p"]),
    ],
)  # fmt: skip
def test_the_items_are_those_of_the_session_that_counts(sent: Any, tokens: list[str]) -> None:
    """Link that was opened again adds nothing to them, and an exit takes nothing away."""
    assert [each.public_token for each in read_session(sent, None).items] == tokens


@rows("results", [[{}], [{"public_token": None}], [{"public_token": ""}, 5]])
def test_a_success_without_its_token(
    faulty: FaultyPlaid, make_linker: Callable[..., ProcessorLinker], results: Any
) -> None:
    """Items were connected, and no token for any of them came: the error says what to do."""
    sessions = [session(results={"item_add_results": results})]
    faulty.on("/link/token/get", reply({"link_sessions": sessions, "request_id": "R"}))
    with pytest.raises(PlaidConnectionError, match=r"public_token.*SESSION_FINISHED") as caught:
        make_linker(max_attempts=3).session(LINK_TOKEN)
    assert not caught.value.retryable
    assert len(faulty.requests) == 1


@rows(
    ("earlier", "later"),
    [
        ("2026-03-07T00:00:36Z", "2026-03-07T00:00:36.9Z"),
        ("2026-03-07T00:00:36.522196741Z", "2026-03-07T00:00:36.6Z"),
        ("2026-03-07T00:00:36.9Z", "2026-03-07T00:00:37Z"),
        ("2026-03-07T00:00:36.09Z", "2026-03-07T00:00:36.1Z"),
        ("2026-03-07T02:00:00+02:00", "2026-03-07T00:00:01Z"),
        ("2026-03-07T00:00:00Z", "2026-03-06T23:00:00.5-02:00"),
        ("2026-03-07T00:00:00", "2026-03-07T00:00:00.000001Z"),
        ("2026-03-07t00:00:00z", "2026-03-07T00:00:01Z"),
        (None, "2026-03-07T00:00:00Z"),
        ("", "2026-03-07T00:00:00Z"),
        ("yesterday", "2026-03-07T00:00:00Z"),
        (5, "2026-03-07T00:00:00Z"),
        ("2026-12-31T23:59:60Z", "2026-03-07T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999999-12:00"),
    ],
)
def test_sessions_are_in_order_of_time(earlier: Any, later: Any) -> None:
    """As times, not as texts: fractions of any length, offsets, and no time at all, come right."""
    first = {"link_session_id": "1", "started_at": earlier, "exit": LEFT}
    last = {"link_session_id": "2", "started_at": later}
    for listed in ([first, last], [last, first]):
        read = read_session(listed, None)
        assert (read.link_session_id, read.state) == ("2", "waiting")


def test_an_exit_with_an_error() -> None:
    """The error, the bank, and what Link was waiting for."""
    error = {
        "error_type": "ITEM_ERROR",
        "error_code": "INVALID_CREDENTIALS",
        "error_message": "the provided credentials were not correct",
        "display_message": "Please try again.",
    }
    metadata = {"institution": ADDED["institution"], "status": "requires_credentials"}
    read = read_session([session(exit={"error": error, "metadata": metadata})], "R")
    assert read == LinkSession(
        state=SessionState.EXITED,
        link_session_id="S",
        institution_id="ins_109508",
        institution_name="First Platypus Bank",
        error=LinkFailure(**error),
        exit_status="requires_credentials",
        request_id="R",
    )


def test_the_metadata_is_that_of_on_success() -> None:
    """`link` takes it as it takes Link's own."""
    assert json.loads(json.dumps(SUCCESS.metadata)) == {
        "institution": ADDED["institution"],
        "accounts": ADDED["accounts"],
        "link_session_id": "S",
    }


def test_no_token_shows() -> None:
    """Its representation masks the public token."""
    assert PUBLIC_TOKEN not in repr(SUCCESS)
    assert "public-sandbox-" in repr(SUCCESS)


@rows("listed", [[{}], [{"id": None}], [None], "?", None, []])
def test_an_account_without_an_id_loses_no_public_token(
    listed: Any, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """The other Items are there, and `link` asks Plaid for the accounts of this one."""
    added = [{"public_token": PUBLIC_TOKEN, "accounts": listed}, ADDED]
    sent = [session(results={"item_add_results": added})]
    faulty.on("/link/token/get", reply({"link_sessions": sent, "request_id": "R"}))
    odd, other = faulty_linker.session(LINK_TOKEN).items
    assert len(other.accounts) == len(ADDED["accounts"])
    result = faulty_linker.link("layer", public_token=odd.public_token, metadata=odd.metadata)
    assert result.complete
    assert ACCOUNTS in [each.path for each in faulty.requests]


@rows("sent", [{}, "none", [5]])
def test_an_answer_that_cannot_be_read(
    sent: Any, faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """It is no usable answer, and no bare TypeError."""
    faulty.on("/link/token/get", reply({"link_sessions": sent, "request_id": "R"}))
    with pytest.raises(PlaidConnectionError, match="link_sessions"):
        faulty_linker.session(LINK_TOKEN)


@rows("token", ["", PUBLIC_TOKEN, LINK_TOKEN.replace("sandbox", "production")])
def test_a_token_that_is_none(linker: ProcessorLinker, token: str) -> None:
    """What cannot be a link token of here is refused before any request."""
    with pytest.raises(ConfigurationError, match="link_token"):
        linker.session(token)


def test_an_unknown_token(linker: ProcessorLinker) -> None:
    """Plaid's refusal comes as its class."""
    with pytest.raises(InvalidRequestError, match="INVALID_LINK_TOKEN"):
        linker.session(LINK_TOKEN)


def hosted(linker: ProcessorLinker, **options: Any) -> LinkToken:
    return linker.create_link_token(
        "layer", client_user_id="u", client_name="Acme", hosted_link={}, **options
    )


def test_the_whole_flow_without_a_front_end(
    linker: ProcessorLinker, local_plaid: LocalSandbox
) -> None:
    """From Hosted Link's address to the processor tokens, with the bank."""
    token = hosted(linker)
    assert not linker.session(token.link_token).finished
    local_plaid.complete_link(token.link_token, masks=["0000", "3333"])

    session = linker.session(token.link_token)
    assert session.finished
    assert session.public_token
    result = linker.link("layer", public_token=session.public_token, metadata=session.metadata)

    assert [each.account for each in result.processor_tokens] == list(session.accounts)
    assert (result.institution_id, result.link_session_id) == (
        "ins_109508",
        session.link_session_id,
    )


def test_an_exit(linker: ProcessorLinker, local_plaid: LocalSandbox) -> None:
    """The exit's error is in the session."""
    token = hosted(linker)
    local_plaid.exit_link(token.link_token, error_code="ITEM_LOCKED", status="requires_credentials")
    session = linker.session(token.link_token)
    assert session.error
    assert (session.state, session.error.error_code) == ("exited", "ITEM_LOCKED")


def test_awaited(local_plaid: LocalSandbox) -> None:
    """The async linker returns the same."""

    async def go() -> LinkSession:
        async with AsyncProcessorLinker(local_plaid.client()) as linker:
            token = await linker.create_link_token("layer", client_user_id="u", client_name="A")
            local_plaid.complete_link(token.link_token)
            return await linker.session(token.link_token)

    assert asyncio.run(go()).state is SessionState.SUCCESS


@pytest.fixture
def hooks() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address for webhooks, and what it received."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", heard
        server.shutdown()
        thread.join()


def test_session_finished_comes_by_webhook(
    linker: ProcessorLinker,
    local_plaid: LocalSandbox,
    hooks: tuple[str, list[dict[str, Any]]],
) -> None:
    """It names the link token, by which `session` finds the rest."""
    url, heard = hooks
    token = hosted(linker, webhook=url)
    done = local_plaid.complete_link(token.link_token)
    assert local_plaid.wait_for_webhooks()
    finished = heard[-1]
    assert (finished["webhook_code"], finished["status"]) == ("SESSION_FINISHED", "SUCCESS")
    assert finished["public_tokens"] == [done.public_token]
    assert linker.session(finished["link_token"]).public_token == done.public_token
