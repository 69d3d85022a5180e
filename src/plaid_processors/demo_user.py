"""Who goes through Link in the demo: the local Plaid by itself, or you in your browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Any, Protocol

from .errors import PlaidProcessorsError
from .linker import ProcessorLinker
from .results import LinkToken, as_accounts
from .sessions import LinkSession, SessionState

if TYPE_CHECKING:
    from .sandbox import LocalSandbox

ONE_ACCOUNT = "one-account"
"""The Link customization whose Account Select is enabled for one account, as Finix asks for."""
_LOOK_EVERY = 0.5  # seconds; a server would wait for the webhook SESSION_FINISHED


class User(Protocol):
    """Who goes through Link."""

    said: str
    options: Mapping[str, Any]

    def connect(self, link_token: LinkToken) -> LinkSession:
        """Go through Link, and tell how it went."""
        ...


class PlayedUser:
    """The local Plaid plays the user, who connects all accounts, or one for Finix."""

    said = "played by the local Plaid"
    options: Mapping[str, Any] = {}

    def __init__(self, sandbox: LocalSandbox) -> None:
        self._sandbox = sandbox

    def connect(self, link_token: LinkToken) -> LinkSession:
        """Connect at once."""
        done = self._sandbox.complete_link(link_token.link_token)
        bank = done.metadata["institution"]
        return LinkSession(
            state=SessionState.SUCCESS,
            link_session_id=done.metadata["link_session_id"],
            public_token=done.public_token,
            accounts=as_accounts(done.metadata["accounts"]),
            institution_id=bank["institution_id"],
            institution_name=bank["name"],
        )


class Person:
    """You, in your browser, by Hosted Link: the program here has no page of its own."""

    said = "your turn, in the browser"
    options: Mapping[str, Any] = {"hosted_link": {}}

    def __init__(self, linker: ProcessorLinker) -> None:
        self._linker = linker

    def connect(self, link_token: LinkToken) -> LinkSession:
        """Open the browser, and wait until you are through."""
        url = link_token.hosted_link_url or ""
        print(f"\n     Open {url}\n", flush=True)
        webbrowser.open(url)
        while not (session := self._linker.session(link_token.link_token)).finished:
            if datetime.now(UTC) > link_token.expiration:
                raise PlaidProcessorsError("nobody went through Link in time")
            sleep(_LOOK_EVERY)
        if session.state is SessionState.EXITED:
            why = f": {session.error.error_code}" if session.error else ""
            raise PlaidProcessorsError(f"Link was left without connecting a bank{why}")
        return session
