"""Link in a browser that Playwright drives, for tests against the local Plaid.

Only types of Playwright's are named here: the module does not import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

__all__ = ["LinkPane"]

BANK = "First Platypus Bank"
USER, PASSWORD = "user_good", "pass_good"


class LinkPane:
    """The user in front of Link, as the local Plaid serves it.

    Each method waits until Link shows what it needs, at most Playwright's default time-out.

    Args:
        page: Playwright's page (of its sync API) with Link open in it, or Hosted Link's own page.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    @property
    def frame(self) -> Page | FrameLocator:
        """Where Link is: its frame in your page, or Hosted Link's page itself."""
        if urlsplit(self._page.url).path.startswith("/link/"):
            return self._page
        return self._page.frame_locator("iframe[id^=plaid-link-iframe]")

    def connect(
        self,
        *,
        institution: str = BANK,
        masks: Iterable[str] = ("0000",),
        username: str = USER,
        password: str = PASSWORD,
    ) -> None:
        """Go through all of Link: choose the bank, log in, choose accounts, finish.

        Args:
            institution: the bank's name, or Plaid's id of it (``ins_…``); of two with one name,
                the first is chosen.
            masks: the last digits of the accounts to choose.
            username: the test user; a bank with a page of its own asks for none.
            password: its password.

        Raises:
            TypeError: `masks` is a string.
        """
        _refuse_text(masks)
        self.choose_bank(institution)
        self._log_in(username, password)
        self.choose_accounts(masks)
        self.finish()

    def repair(
        self,
        *,
        masks: Iterable[str] | None = None,
        username: str = USER,
        password: str = PASSWORD,
    ) -> None:
        """Go through all of update mode: log in again, choose the accounts anew, finish.

        Args:
            masks: all accounts to share from now on; None: Link does not ask for them, since the
                link token has no ``account_selection_enabled``.
            username: the Item's user.
            password: its password.

        Raises:
            TypeError: `masks` is a string.
        """
        _refuse_text(masks)
        self._log_in(username, password)
        if masks is not None:
            wanted = set(masks)
            self.frame.get_by_role("group").wait_for()
            for mask in self.offered():
                self.frame.get_by_label(f"…{mask}").set_checked(mask in wanted)
            self.press("Go on")
        self.sees("The connection is good again")
        self.press("Finish")

    def leave(self) -> None:
        """Leave Link without connecting a bank."""
        self.press("Leave")
        self.sees("Leave without connecting a bank?")
        self.press("Leave")

    def sees(self, title: str) -> None:
        """Wait until Link shows the view with this title."""
        self.frame.get_by_role("heading", name=title, exact=True).wait_for()

    def press(self, name: str) -> None:
        """Press a button."""
        self.frame.get_by_role("button", name=name, exact=True).first.click()

    def choose_bank(self, name: str = BANK, *, search: str | None = None) -> None:
        """Search for a bank, and choose it, by its name or its id (``ins_…``)."""
        self.sees("Choose your bank")
        if name.startswith("ins_"):
            self.frame.locator(f'[data-institution="{name}"]').click()
            return
        self.frame.get_by_label("Search for your bank").fill(name if search is None else search)
        self.press(name)

    def sign_in(self, username: str = USER, password: str = PASSWORD) -> None:
        """Log in, in Link itself."""
        self.frame.get_by_label("Username").fill(username)
        self.frame.get_by_label("Password").fill(password)
        self.press("Sign in")

    def visit_bank(self, *, allow: bool = True) -> None:
        """Go to the page of an OAuth bank, in a window of its own; allow the access or refuse it.

        With the link token's ``redirect_uri`` there is no such window: press "Go to the bank", and
        then "Allow" in the page.
        """
        with self._page.expect_popup() as window:
            self.press("Go to the bank")
        window.value.get_by_role("button", name="Allow" if allow else "Refuse").click()

    def choose_accounts(self, masks: Iterable[str]) -> None:
        """Choose accounts by their last digits, beside those that are chosen, and go on.

        Raises:
            TypeError: `masks` is a string.
        """
        _refuse_text(masks)
        for mask in masks:
            self.frame.get_by_label(f"…{mask}").check()
        self.press("Go on")

    def offered(self) -> list[str]:
        """The last digits of the accounts that Link offers."""
        labels = self.frame.get_by_role("group").locator("label").all_inner_texts()
        return [label.rpartition("…")[2] for label in labels]

    def finish(self) -> None:
        """Finish, once Link says that it is connected."""
        self.sees("Connected")
        self.press("Finish")

    def _log_in(self, username: str, password: str) -> None:
        title = self.frame.get_by_role(
            "heading", name=re.compile("^Sign in to | has its own page$")
        )
        title.wait_for()
        if (title.text_content() or "").startswith("Sign in to "):
            self.sign_in(username, password)
        else:
            self.visit_bank()


def _refuse_text(masks: Iterable[str] | None) -> None:
    if isinstance(masks, str):
        raise TypeError(f'masks must be a list such as ["{masks}"], not a string')
