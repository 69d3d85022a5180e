"""What Link's pane asks of its server, and the pages that are served; without a browser."""

from __future__ import annotations

import re
from typing import Any
from unittest import mock

import pytest

from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import LinkPane

from ..support.rows import rows
from .conftest import Api, Json

BANK = "ins_109508"
GOOD = {"username": "user_good", "password": "pass_good"}


def ask(api: Api, action: str, **body: Any) -> Json:
    reply = api.post(f"/_sandbox/link/{action}", **body)
    assert reply.status == 200, reply.data
    return reply.json


def refused(api: Api, action: str, **body: Any) -> str:
    reply = api.post(f"/_sandbox/link/{action}", **body)
    assert reply.status == 400, reply.data
    return reply.json["error"]["error_code"]


def opened(api: Api, **options: Any) -> Json:
    return ask(api, "open", token=api.link_token(**options))


def signed_in(api: Api, **options: Any) -> tuple[str, Json]:
    session = opened(api, **options)["session"]
    ask(api, "choose_bank", session=session, institution_id=BANK)
    return session, ask(api, "log_in", session=session, **GOOD)


def test_the_whole_way(api: Api) -> None:
    """Open, choose, sign in, finish; and the public token is good for an exchange."""
    session, answer = signed_in(api)
    assert [each["mask"] for each in answer["accounts"]][:2] == ["0000", "1111"]
    done = ask(api, "finish", session=session, accounts=[0, 3])
    assert [each["mask"] for each in done["metadata"]["accounts"]] == ["0000", "3333"]
    item = api.ok("/item/public_token/exchange", public_token=done["public_token"])
    assert len(api.accounts(item["access_token"])) == 2


def test_what_it_opens_with(api: Api) -> None:
    """The banks are those of the link token's countries."""
    told = opened(api, country_codes=["CA"])
    assert [bank["name"] for bank in told["banks"]] == ["Tartan-Dominion Bank of Canada"]
    assert (told["client_name"], told["update_mode"], told["bank"]) == ("Acme Books", False, None)


def test_an_open_session_is_told_as_unfinished(api: Api) -> None:
    """`/link/token/get` shows it, without an end."""
    token = api.link_token()
    session = ask(api, "open", token=token)["session"]
    (told,) = api.ok("/link/token/get", link_token=token)["link_sessions"]
    assert (told["link_session_id"], told["finished_at"]) == (session, None)
    assert {"results", "exit", "on_success", "on_exit"} & set(told) == set()


@rows("body", [{"token": "link-sandbox-none"}, {}, {"hosted": "x" * 34}])
def test_a_token_that_opens_nothing(api: Api, body: Json) -> None:
    """Link's own error."""
    assert refused(api, "open", **body) == "INVALID_LINK_TOKEN"


def test_filters_and_products_narrow_the_accounts(api: Api) -> None:
    """What the link token leaves out is not offered."""
    filters = {"depository": {"account_subtypes": ["savings"]}}
    _, answer = signed_in(api, account_filters=filters)
    assert [each["mask"] for each in answer["accounts"]] == ["1111"]
    session = opened(api, account_filters={"credit": {"account_subtypes": ["paypal"]}})["session"]
    ask(api, "choose_bank", session=session, institution_id=BANK)
    assert refused(api, "log_in", session=session, **GOOD) == "NO_ACCOUNTS"


@rows("places", [[], None, [99], ["0"], [-1], [0, 1]])
def test_accounts_that_cannot_be_chosen(api: Api, sandbox: LocalSandbox, places: Any) -> None:
    """Only what was offered, and only one where the customization says so."""
    sandbox.set_account_select("one")
    session, answer = signed_in(api)
    assert answer["select"] == "one"
    assert refused(api, "finish", session=session, accounts=places) == "INVALID_FIELD"


def test_steps_out_of_their_order(api: Api) -> None:
    """No accounts without a sign-in, no sign-in without a bank, nothing after the end."""
    session = opened(api)["session"]
    assert refused(api, "log_in", session=session, **GOOD) == "INVALID_INSTITUTION"
    assert refused(api, "finish", session=session, accounts=[0]) == "INVALID_CREDENTIALS"
    ask(api, "leave", session=session)
    assert refused(api, "choose_bank", session=session, institution_id=BANK) == "INVALID_LINK_TOKEN"
    assert refused(api, "choose_bank", session=5, institution_id=BANK) == "INVALID_LINK_TOKEN"


def test_the_code_cannot_be_left_out(api: Api) -> None:
    """A user with MFA has not signed in before the code is given."""
    session = opened(api)["session"]
    ask(api, "choose_bank", session=session, institution_id=BANK)
    answer = ask(api, "log_in", session=session, username="user_good", password="mfa_device")
    assert answer == {"code_wanted": True}
    assert refused(api, "finish", session=session, accounts=[0]) == "INVALID_CREDENTIALS"
    assert refused(api, "after_visit", session=session) == "INVALID_MFA"
    assert refused(api, "give_code", session=session, code="0000") == "INVALID_MFA"
    assert "accounts" in ask(api, "give_code", session=session, code="1234")


def test_a_bank_that_is_not_supported(api: Api) -> None:
    """It is refused when it is chosen."""
    session = opened(api)["session"]
    code = refused(api, "choose_bank", session=session, institution_id="ins_133402")
    assert code == "INSTITUTION_NO_LONGER_SUPPORTED"
    assert refused(api, "choose_bank", session=session, institution_id="x") == "INVALID_INSTITUTION"


def test_leaving_with_an_error(api: Api) -> None:
    """`/link/token/get` has the error, and what Link was waiting for."""
    token = api.link_token()
    session = ask(api, "open", token=token)["session"]
    left = ask(api, "leave", session=session, error_code="ITEM_LOCKED", status="requires_code")
    assert set(left["error"]) == {"error_type", "error_code", "error_message", "display_message"}
    (told,) = api.ok("/link/token/get", link_token=token)["link_sessions"]
    assert told["exit"]["error"]["error_code"] == "ITEM_LOCKED"
    assert told["exit"]["metadata"]["status"] == "requires_code"


@rows("status", [None, "", 5, {}])
def test_leaving_before_a_bank_was_chosen(api: Api, status: Any) -> None:
    """The browser gets no status, `/link/token/get` always has one."""
    token = api.link_token()
    session = ask(api, "open", token=token)["session"]
    left = ask(api, "leave", session=session, status=status)
    assert not left["metadata"]["status"]
    (told,) = api.ok("/link/token/get", link_token=token)["link_sessions"]
    for end in ("exit", "on_exit"):
        assert told[end]["metadata"]["status"] == "requires_credentials"


def test_events_are_kept(api: Api) -> None:
    """In the form of `/link/token/get`, which has no null in them."""
    token = api.link_token()
    session = ask(api, "open", token=token)["session"]
    told = {"timestamp": "2026-03-07T00:00:00Z", "view_name": None}
    ask(api, "event", session=session, name="OPEN", metadata=told)
    ask(api, "event", session="none", name="OPEN", metadata=told)
    (seen,) = api.ok("/link/token/get", link_token=token)["link_sessions"]
    (event,) = seen["events"]
    assert event["event_name"] == "OPEN"
    assert event["event_metadata"] == {"timestamp": "2026-03-07T00:00:00Z"}


@rows("body", [b"", b"[]", b"{", b"5"])
def test_an_odd_body(api: Api, body: bytes) -> None:
    """It is refused, and breaks nothing."""
    assert api.send("/_sandbox/link/open", body).status == 400


def test_an_unknown_action(api: Api) -> None:
    """It is refused likewise."""
    assert api.post("/_sandbox/link/nothing").status == 400


def test_the_script_knows_where_its_pane_is(api: Api, sandbox: LocalSandbox) -> None:
    """By the name that it is asked by, which has to be a name of its own."""
    script = "/link/v2/stable/link-initialize.js"
    reply = api.send(script, b"", "GET")
    assert f'"{sandbox.url}"' in reply.data.decode()
    assert reply.headers["Content-Type"].startswith("text/javascript")
    assert api.send(script, b"", "GET", Host='x";alert(1)').status == 403
    named = api.send(script, b"", "GET", Host="localhost:8080").data.decode()
    assert '"http://localhost:8080"' in named


@rows(
    "path",
    ["/link/v2/stable/link.html", f"/link/{'x' * 34}", "/_sandbox/link/bank/some-state"],
)
def test_each_page_has_its_parts(api: Api, path: str) -> None:
    """Whatever a page loads is there; it loads nothing from elsewhere, and may be framed."""
    reply = api.send(path, b"", "GET")
    parts = re.findall(r'(?:src|href)="([^"]+)"', reply.data.decode())
    wanted = [part for part in parts if part != "data:,"]
    assert wanted
    assert [api.send(part, b"", "GET").status for part in wanted] == [200] * len(wanted)
    assert "x-frame-options" not in reply.headers
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]


def test_hosted_links_address_is_the_callers(api: Api, sandbox: LocalSandbox) -> None:
    """It leads back to the name that the link token was asked for at."""
    body = {**api.keys, "client_name": "A", "language": "en", "country_codes": ["US"],
            "user": {"client_user_id": "u"}, "products": ["auth"], "hosted_link": {}}  # fmt: skip
    reply = api.post("/link/token/create", **body)
    assert re.fullmatch(
        re.escape(sandbox.url) + r"/link/[A-Za-z0-9]{34}", reply.json["hosted_link_url"]
    )


def test_a_text_is_no_list_of_masks() -> None:
    """It would be read as masks of one digit each; nothing is done in the browser."""
    page = mock.Mock()
    person = LinkPane(page)
    for call in (
        lambda: person.choose_accounts("0000"),
        lambda: person.connect(masks="0000"),
        lambda: person.repair(masks="0000"),
    ):
        with pytest.raises(TypeError, match=r'^masks must be a list such as \["0000"\], not a str'):
            call()
    assert page.mock_calls == []


def test_account_select(sandbox: LocalSandbox, api: Api) -> None:
    """One account for the customization that says so, by code as in the pane."""
    sandbox.set_account_select("one", "payments")
    token = api.link_token(link_customization_name="payments")
    assert len(sandbox.complete_link(token).metadata["accounts"]) == 1
    with pytest.raises(ValueError, match="one account"):
        sandbox.complete_link(token, masks=["0000", "1111"])
    assert len(sandbox.complete_link(api.link_token()).metadata["accounts"]) == 14
    api.send("/_sandbox/account_select", b'{"select": "many", "customization": "payments"}')
    assert len(sandbox.complete_link(token).metadata["accounts"]) == 14
    with pytest.raises(ValueError, match="one, many"):
        sandbox.set_account_select("two")  # type: ignore[arg-type]


def test_a_webhook_on_demand(sandbox: LocalSandbox, api: Api) -> None:
    """It says what Plaid would say of the Item, and more if asked to."""
    api.item()
    (item,) = sandbox.items
    hook = sandbox.webhook("ITEM", "ERROR", item_id=item.item_id, environment="production")
    assert hook.json["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert (hook.json["item_id"], hook.json["environment"]) == (item.item_id, "production")
    assert hook.headers["Plaid-Verification"] not in repr(hook.body)
    with pytest.raises(ValueError, match="no such Item"):
        sandbox.webhook("ITEM", "ERROR", item_id="none")
