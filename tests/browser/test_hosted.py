"""Hosted Link in a browser: the whole flow of a back end that has no front end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import ProcessorLinker, SessionState
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import LinkPane

from .shop import Shop

pytestmark = pytest.mark.browser


def begin(linker: ProcessorLinker, partner: str = "layer", **hosted: Any) -> Any:
    return linker.create_link_token(
        partner, client_user_id="user-42", client_name="Acme Books", hosted_link=hosted
    )


def test_success(page: Any, linker: ProcessorLinker) -> None:
    """The page ends, and `session` has what `link` needs."""
    token = begin(linker)
    page.goto(token.hosted_link_url)
    person = LinkPane(page)
    person.sees("Choose your bank")
    assert linker.session(token.link_token).state is SessionState.WAITING
    person.choose_bank()
    person.sign_in(password="pass_bad")
    person.frame.get_by_role("alert").wait_for()
    person.sign_in()
    person.choose_accounts(["0000", "3333"])
    person.finish()
    person.sees("Done")

    session = linker.session(token.link_token)
    assert session.public_token
    result = linker.link("layer", public_token=session.public_token, metadata=session.metadata)
    assert [each.account.mask for each in result.processor_tokens] == ["0000", "3333"]


def test_finix(page: Any, linker: ProcessorLinker, sandbox: LocalSandbox) -> None:
    """One account, one token."""
    sandbox.set_account_select("one")
    token = begin(linker, "finix")
    page.goto(token.hosted_link_url)
    LinkPane(page).connect(masks=["0000"])
    LinkPane(page).sees("Done")
    session = linker.session(token.link_token)
    assert session.public_token
    result = linker.link("finix", public_token=session.public_token, accounts=session.accounts)
    assert result.token("finix").account.subtype == "checking"


def test_leaving(page: Any, linker: ProcessorLinker) -> None:
    """The exit's error is told, with what Link was waiting for."""
    token = begin(linker)
    page.goto(token.hosted_link_url)
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="error_ITEM_LOCKED")
    person.sees("That did not work")
    person.leave()
    person.sees("Left")

    session = linker.session(token.link_token)
    assert session.error
    assert (session.state, session.error.error_code) == (SessionState.EXITED, "ITEM_LOCKED")
    assert (session.institution_name, session.exit_status) == (
        "First Platypus Bank",
        "requires_credentials",
    )


def test_the_completion_redirect_uri(
    page: Any, linker: ProcessorLinker, open_shop: Callable[[str], Shop]
) -> None:
    """It is followed on success and on exit."""
    back = open_shop("layer").page("/back", "<!doctype html><title>Back</title>")
    for act in ("connect", "leave"):
        token = begin(linker, completion_redirect_uri=back)
        page.goto(token.hosted_link_url)
        LinkPane(page).sees("Choose your bank")
        getattr(LinkPane(page), act)()
        page.wait_for_url(back)


def test_session_finished(
    page: Any, linker: ProcessorLinker, sandbox: LocalSandbox, open_shop: Callable[[str], Shop]
) -> None:
    """The webhook comes, with the link token that tells whose it is."""
    token = linker.create_link_token(
        "layer",
        client_user_id="user-42",
        client_name="Acme Books",
        hosted_link={},
        webhook=open_shop("layer").url + "/nobody",
    )
    page.goto(token.hosted_link_url)
    LinkPane(page).connect()
    LinkPane(page).sees("Done")
    assert sandbox.wait_for_webhooks()
    body = sandbox.webhooks[-1].body
    assert (body["webhook_code"], body["link_token"]) == ("SESSION_FINISHED", token.link_token)
    assert "accounts" not in json.dumps(body)


def test_an_address_that_leads_nowhere(page: Any, sandbox: LocalSandbox) -> None:
    """An unknown page is told as Link tells a bad token."""
    page.goto(f"{sandbox.url}/link/{'x' * 34}")
    LinkPane(page).sees("That did not work")
    page.get_by_text("INVALID_LINK_TOKEN").wait_for()
