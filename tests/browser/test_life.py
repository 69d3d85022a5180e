"""The two years of a link, each repair done by a person in Link's pane."""

from __future__ import annotations

from typing import Any

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.handoff import FinixSender, LayerSender
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
from plaid_processors.testing import LinkPane

from ..support.two_years import TwoYears, finix_keys, layer_keys

pytestmark = pytest.mark.browser


def test_two_years(page: Any, sandbox: LocalSandbox, linker: ProcessorLinker) -> None:
    """The bank has a page of its own: the user allows the access there each time."""

    def repair(token: Any, masks: list[str] | None) -> None:
        page.goto(token.hosted_link_url)
        pane = LinkPane(page)
        pane.repair(masks=masks)
        pane.sees("Done")

    with (
        LocalLayer(sandbox) as layer,
        LocalFinix(sandbox) as finix,
        LayerSender(**layer_keys(layer)) as to_layer,
        FinixSender(**finix_keys(finix)) as to_finix,
    ):
        TwoYears(
            sandbox=sandbox,
            layer=layer,
            finix=finix,
            linker=linker,
            to_layer=to_layer,
            to_finix=to_finix,
            do=lambda call, *args, **more: call(*args, **more),
            repair=repair,
        ).run()


def _late(route: Any) -> None:
    """Answer with a script that begins half a second later."""
    answer = route.fetch()
    wait = "await new Promise((go) => setTimeout(go, 500));"
    route.fulfill(response=answer, body=f"{wait}\n{answer.text()}")


def test_connect_at_a_bank_with_a_page_of_its_own(page: Any, linker: ProcessorLinker) -> None:
    """`connect` goes through the bank's window, by name or id, and `leave` leaves."""
    user = {"client_user_id": "user-42", "client_name": "Acme", "hosted_link": {}}
    token = linker.create_link_token("layer", **user)
    page.goto(token.hosted_link_url)
    LinkPane(page).connect(institution="Platypus OAuth Bank", masks=["0000", "3333"])
    LinkPane(page).sees("Done")
    session = linker.session(token.link_token)
    assert session.institution_name == "Platypus OAuth Bank"
    assert [account.mask for account in session.accounts] == ["0000", "3333"]

    # The bank's script comes late: what is pressed before it is there must not be lost.
    page.context.route("**/bank.js", _late)
    token = linker.create_link_token("layer", **user)
    page.goto(token.hosted_link_url)
    LinkPane(page).connect(institution="ins_56")  # one of two named Chase
    LinkPane(page).sees("Done")
    assert linker.session(token.link_token).institution_id == "ins_56"

    page.goto(linker.create_link_token("layer", **user).hosted_link_url)
    LinkPane(page).leave()
    LinkPane(page).sees("Left")
