"""The pane by keyboard and for a screen reader: axe-core's rules, focus, and names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import ProcessorLinker
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import BANK, LinkPane

pytestmark = pytest.mark.browser

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 640}}


@pytest.fixture
def token(linker: ProcessorLinker) -> str:
    """A link token for Layer."""
    made = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme Books")
    return made.link_token


def views(person: LinkPane) -> Any:
    """Goes through every view of the pane, and stops at each."""
    person.sees("Choose your bank")
    yield "banks"
    person.frame.get_by_label("Search for your bank").fill("nothing of the kind")
    yield "no bank"
    person.choose_bank("Platypus OAuth Bank")
    person.sees("Platypus OAuth Bank has its own page")
    yield "bank's own page"
    person.press("Choose another bank")
    person.choose_bank()
    person.sign_in(password="pass_bad")
    person.frame.get_by_role("alert").wait_for()
    yield "wrong password"
    person.press("Leave")
    yield "exit"
    person.press("Go on")
    person.sign_in(password="error_ITEM_LOCKED")
    person.sees("That did not work")
    yield "error"
    person.press("Try again")
    person.sign_in(password="mfa_device")
    person.sees("Enter the code")
    yield "code"
    person.frame.get_by_label("Code", exact=True).fill("1234")
    person.press("Go on")
    person.sees("Choose accounts")
    person.press("Go on")
    person.frame.get_by_role("alert").get_by_text("Choose at least one").wait_for()
    yield "accounts"
    person.choose_accounts(["0000"])
    person.sees("Connected")
    yield "connected"


def violations(frame: Any, axe: str) -> list[str]:
    frame.evaluate(axe)
    found = frame.evaluate("axe.run().then(({ violations }) => violations)")
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(
    page: Any, recording: Callable[..., Any], module: Callable[[str], str], token: str, size: str
) -> None:
    """No view of the pane breaks a rule of axe-core's, best practices included."""
    axe = module("axe-core/axe.min.js")
    page.set_viewport_size(SIZES[size])
    recording(token)
    page.click("#open")
    found = {}
    for view in views(LinkPane(page)):
        frame = page.frames[1]
        found[view] = violations(frame, axe)
        overflow = "document.documentElement.scrollWidth > innerWidth"
        assert not frame.evaluate(overflow), f"{view} is wider than the window"
    assert {view: each for view, each in found.items() if each} == {}
    assert len(found) == 9


def test_axe_finds_nothing_in_the_pages(
    page: Any,
    context: Any,
    linker: ProcessorLinker,
    module: Callable[[str], str],
) -> None:
    """Nor in Hosted Link's page, in the beginning and in the end, nor in the bank's."""
    axe = module("axe-core/axe.min.js")
    made = linker.create_link_token("layer", client_user_id="u", client_name="A", hosted_link={})
    page.goto(made.hosted_link_url)
    person = LinkPane(page)
    person.choose_bank("Platypus OAuth Bank")
    with context.expect_page() as window:
        person.press("Go to the bank")
    window.value.wait_for_load_state()
    assert violations(window.value, axe) == []
    window.value.get_by_role("button", name="Allow").click()
    person.choose_accounts(["0000"])
    person.finish()
    person.sees("Done")
    assert violations(page, axe) == []


def focused(page: Any) -> str:
    """What has the focus inside the pane: its label or its text."""
    return page.frames[1].evaluate(
        "(document.activeElement.labels?.[0] ?? document.activeElement).innerText"
    )


def tab_to(page: Any, name: str) -> None:
    for _ in range(40):
        if focused(page).strip() == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {name}")


def test_by_keyboard_alone(page: Any, recording: Callable[..., Any], token: str) -> None:
    """From the page's button to onSuccess without a mouse."""
    calls = recording(token)
    page.focus("#open")
    page.keyboard.press("Enter")
    person = LinkPane(page)
    person.sees("Choose your bank")
    tab_to(page, "Search for your bank")
    page.keyboard.type("first platypus bank")
    tab_to(page, BANK)
    page.keyboard.press("Enter")
    person.sees(f"Sign in to {BANK}")
    assert focused(page) == f"Sign in to {BANK}"
    tab_to(page, "Password")
    page.keyboard.type("pass_good")
    page.keyboard.press("Enter")
    person.sees("Choose accounts")
    tab_to(page, "Plaid Checking\nchecking …0000")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    person.sees("Connected")
    tab_to(page, "Finish")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="hidden")
    assert calls("onSuccess")[0][1]["account"]["mask"] == "0000"
    assert page.evaluate("document.activeElement.id") == "open"


def test_tab_stays_in_the_pane(page: Any, recording: Callable[..., Any], token: str) -> None:
    """The page behind is out of reach, in both directions."""
    recording(token)
    page.click("#open")
    LinkPane(page).sees("Choose your bank")
    seen = set()
    for key in ["Tab"] * 30 + ["Shift+Tab"] * 30:
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.tagName") == "IFRAME"
        seen.add(focused(page).strip())
    assert {"Leave", "Search for your bank", BANK} <= seen


def test_escape_asks_before_it_leaves(page: Any, recording: Callable[..., Any], token: str) -> None:
    """Escape asks; a second one goes on where one was."""
    calls = recording(token)
    page.click("#open")
    person = LinkPane(page)
    person.choose_bank()
    person.sees(f"Sign in to {BANK}")
    page.keyboard.press("Escape")
    person.sees("Leave without connecting a bank?")
    page.keyboard.press("Escape")
    person.sees(f"Sign in to {BANK}")
    assert calls("onExit") == []


def test_it_says_what_it_is(
    page: Any, recording: Callable[..., Any], sandbox: LocalSandbox, token: str
) -> None:
    """Every view says that it is a local stand-in; so does the iframe's name."""
    recording(token)
    page.click("#open")
    for _ in views(LinkPane(page)):
        assert LinkPane(page).frame.get_by_text("Local stand-in for Plaid Link.").is_visible()
        assert "local stand-in" in page.frames[1].title()
    assert page.locator("iframe").get_attribute("title") == "Plaid Link (local stand-in)"
