"""The page that both documents print, in a browser, with the script's address changed.

What the printed page leaves out is supplied: `linkHandler` declared outside of the function,
jQuery, and `sendDataToBackendServer`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors.sandbox import LocalSandbox
from plaid_processors.testing import LinkPane

from ..support.reference import REFERENCE
from .shop import Shop

pytestmark = pytest.mark.browser

SEEDS = REFERENCE / "seeds"
PRINTED_SCRIPT = "https://cdn.plaid.com/link/v2/stable/link-initialize.js"
LEFT_OUT = """
<!doctype html><html lang="en"><title>The printed page</title>
<script src="/jquery.js"></script>
<script>
  var linkHandler, exits = [];
  const sendDataToBackendServer = (data) => fetch("/link_accounts", {
    method: "POST", body: JSON.stringify(data),
  });
</script>
"""


def printed_page(partner: str) -> str:
    """The page of a document: its lines are printed one after the other, numbered."""
    if not SEEDS.exists():
        pytest.skip("the documents are not here")
    wanted = f"Add {partner.capitalize()} to your app"
    texts = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt"))]
    (text,) = [text for text in texts if text.startswith(wanted)]
    rest = text[text.index('1<button id="linkButton">') :]
    lines = []
    for number in range(2, 39):
        line, rest = rest.split(str(number), 1) if number > 2 else rest[1:].split("2", 1)
        lines.append(line)
    return "\n".join([*lines, rest[: rest.index("</script>")] + "</script>"])


def completed(printed: str, script: str) -> str:
    """The printed page with the script's address changed, and what it leaves out."""
    assert PRINTED_SCRIPT in printed
    page = printed.replace(PRINTED_SCRIPT, script)
    page, declared = re.subn(r"\bvar linkHandler\b", "linkHandler", page)
    assert declared == 1
    return LEFT_OUT + page


@pytest.fixture
def open_page(
    page: Any, sandbox: LocalSandbox, open_shop: Callable[..., Shop], module: Callable[[str], str]
) -> Callable[[str], Shop]:
    def go(partner: str) -> Shop:
        shop = open_shop(partner)
        shop.page("/jquery.js", module("jquery/dist/jquery.min.js"), "text/javascript")
        script = f"{sandbox.url}/link/v2/stable/link-initialize.js"
        url = shop.page("/", completed(printed_page(partner), script))
        with page.expect_response("**/create_link_token"):
            page.goto(url)
        page.wait_for_function("window.linkHandler")
        page.click("#linkButton")
        return shop

    return go


def test_finix(page: Any, open_page: Callable[[str], Shop]) -> None:
    """A bank, a failed and a good sign-in, one account, and a processor token for Finix."""
    shop = open_page("finix")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in(password="pass_bad")
    person.frame.get_by_role("alert").get_by_text("credentials were not correct").wait_for()
    person.sign_in()
    person.sees("Choose accounts")
    assert person.offered() == ["0000", "1111"]
    person.choose_accounts(["1111"])
    person.finish()

    assert shop.result.token("finix").account.mask == "1111"


def test_finix_enabled_for_one_account(
    page: Any, sandbox: LocalSandbox, open_page: Callable[[str], Shop]
) -> None:
    """With Account Select as the document asks for, one account can be chosen and no more."""
    sandbox.set_account_select("one")
    shop = open_page("finix")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in()
    person.sees("Choose one account")
    person.frame.get_by_label("…0000").check()
    person.choose_accounts(["1111"])
    person.finish()

    assert [token.account.mask for token in shop.result.processor_tokens] == ["1111"]


def test_layer(page: Any, open_page: Callable[[str], Shop]) -> None:
    """All of the user's accounts, one processor token for each."""
    shop = open_page("layer")
    person = LinkPane(page)
    person.choose_bank()
    person.sign_in()
    person.press("All of them")
    person.choose_accounts([])
    person.finish()

    assert len(shop.result.processor_tokens) == 14


def test_the_user_leaves(page: Any, open_page: Callable[[str], Shop]) -> None:
    """Link closes, the page is there again, and can open it once more."""
    shop = open_page("layer")
    person = LinkPane(page)
    person.choose_bank()
    person.leave()
    page.wait_for_selector("dialog", state="hidden")
    page.click("#linkButton")
    person.connect(masks=["3333"])

    assert [token.account.subtype for token in shop.result.processor_tokens] == ["credit card"]
