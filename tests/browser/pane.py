"""A person in front of Link, as the tests play one: by what is written, not by how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

BANK = "First Platypus Bank"


class Document(Protocol):
    """A page, or a frame of one."""

    def get_by_role(self, role: Any, **more: Any) -> Any: ...
    def get_by_label(self, text: str, **more: Any) -> Any: ...
    def get_by_text(self, text: str, **more: Any) -> Any: ...


class Person:
    """Goes through Link's pane."""

    def __init__(self, pane: Document) -> None:
        self.pane = pane

    def sees(self, title: str) -> None:
        self.pane.get_by_role("heading", name=title, exact=True).wait_for()

    def press(self, name: str) -> None:
        self.pane.get_by_role("button", name=name, exact=True).click()

    def choose_bank(self, name: str = BANK, search: str = "platypus") -> None:
        self.sees("Choose your bank")
        self.pane.get_by_label("Search for your bank").fill(search)
        self.press(name)

    def sign_in(self, username: str = "user_good", password: str = "pass_good") -> None:
        self.pane.get_by_label("Username").fill(username)
        self.pane.get_by_label("Password").fill(password)
        self.press("Sign in")

    def choose_accounts(self, masks: Sequence[str]) -> None:
        for mask in masks:
            self.pane.get_by_label(f"…{mask}").check()
        self.press("Go on")

    def offered(self) -> list[str]:
        """The accounts to choose from, by mask."""
        labels = self.pane.get_by_role("group").locator("label").all_inner_texts()
        return [label[-4:] for label in labels]

    def finish(self) -> None:
        self.sees("Connected")
        self.press("Finish")

    def leave(self) -> None:
        self.press("Leave")
        self.sees("Leave without connecting a bank?")
        self.press("Leave")

    def connect(self, masks: Sequence[str] = ("0000",)) -> None:
        """All of it, without a slip."""
        self.choose_bank()
        self.sign_in()
        self.choose_accounts(masks)
        self.finish()


def in_page(page: Any) -> Person:
    """A person whose Link is open over a page."""
    return Person(page.frame_locator("iframe[id^=plaid-link-iframe]"))
