"""A link in its first two years: each step as you, the bank and the partners see it."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3

from plaid_processors import (
    DuplicateItemError,
    LinkAction,
    LinkResult,
    WebhookEvent,
    find_duplicates,
)
from plaid_processors.handoff import (
    HandoffRequest,
    PartnerApiError,
    finix_disable_request,
    layer_archive_request,
)
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox
from plaid_processors.sandbox.partners_http import PlaidRefusedError

DAY = dt.timedelta(days=1)
# An OAuth bank of the US, where consent ends after a year: https://plaid.com/docs/link/oauth/
BANK, BANK_NAME = "ins_127989", "Bank of America"
USER = {"client_user_id": "user-42", "client_name": "Acme Books"}
Do = Callable[..., Any]
# Goes through update mode by a link token, as the user: with these accounts, if any are chosen.
Repair = Callable[[Any, "list[str] | None"], None]


class Hooks:
    """A server's address for webhooks: what came there, in order."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self.came: list[tuple[bytes, dict[str, str]]] = []
        self.sandbox = sandbox
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.came.append((body, dict(self.headers)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/plaid"

    @contextmanager
    def open(self) -> Iterator[Hooks]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def new(self) -> list[tuple[bytes, dict[str, str]]]:
        """What came since the last look."""
        assert self.sandbox.wait_for_webhooks()
        came, self.came = self.came, []
        return came


def layer_keys(layer: LocalLayer) -> dict[str, Any]:
    keys = {"client_id": layer.client_id, "client_secret": layer.client_secret}
    return {**keys, "base_url": layer.url, "auth_url": layer.url}


def finix_keys(finix: LocalFinix) -> dict[str, Any]:
    return {"username": finix.username, "password": finix.password, "base_url": finix.url}


class TwoYears:
    """The user's side of a link, of Layer first and of Finix later.

    Args:
        do: calls a linker's or a sender's method; the asynchronous ones are awaited by it.
        repair: the user in update mode.
    """

    def __init__(
        self,
        *,
        sandbox: LocalSandbox,
        layer: LocalLayer,
        finix: LocalFinix,
        linker: Any,
        to_layer: Any,
        to_finix: Any,
        do: Do,
        repair: Repair,
    ) -> None:
        self.sandbox, self.layer, self.finix = sandbox, layer, finix
        self.linker, self.to_layer, self.to_finix = linker, to_layer, to_finix
        self.do, self.repair = do, repair
        self.business, self.identity = layer.new_business(), finix.new_identity()
        self.hooks = Hooks(sandbox)
        self.result: LinkResult

    def run(self) -> None:
        """All of it, in order."""
        with self.hooks.open():
            begun = self.sandbox.now
            self.sandbox.expire_logins(False)  # each month a repair would hide the rest
            for step in (
                self.link,
                self.the_login_breaks,
                self.a_new_account,
                self.an_account_is_closed,
                self.consent_is_about_to_end,
                self.the_same_bank_again,
                self.another_partner,
                self.other_numbers,
                self.consent_is_about_to_end,
                self.the_user_withdraws,
                self.removal,
            ):
                step()
            assert self.sandbox.now - begun > 729 * DAY

    # What all steps use

    def events(self, code: str) -> WebhookEvent:
        """The one webhook of this code that came now; every one that came is verified."""
        events = [self.do(self.linker.verify_webhook, *each) for each in self.hooks.new()]
        (event,) = [each for each in events if each.webhook_code == code]
        assert event.item_id in (self.result.item_id, None)
        return WebhookEvent.from_dict(event.to_dict())  # over a queue

    def update_mode(self, masks: list[str] | None = None, partner: Any = "layer") -> None:
        more = {} if masks is None else {"account_selection_enabled": True}
        access = self.result.access_token
        self.repair(
            self.do(
                self.linker.create_link_token,
                partner,
                **USER,
                access_token=access,
                hosted_link={},
                **more,
            ),
            masks,
        )

    def refresh(self, **more: Any) -> Any:
        changes = self.do(self.linker.refresh, self.result, **more)
        self.result = LinkResult.from_dict(changes.result.to_dict())  # over the database
        assert not self.do(self.linker.refresh, self.result).changed
        return changes

    def reads(self, result: LinkResult, partner: str = "layer") -> dict[str | None, str]:
        """What the partner gets by each token, by the account's mask: "ok", or Plaid's code."""
        at = {"layer": self.layer, "finix": self.finix}[partner]
        path = {"layer": "/processor/transactions/sync", "finix": "/processor/auth/get"}[partner]
        found = {}
        for token in result.processor_tokens:
            if token.processor == partner:
                try:
                    at.read_from_plaid(path, token.processor_token)
                    found[token.account.mask] = "ok"
                except PlaidRefusedError as refused:
                    found[token.account.mask] = refused.code
        return found

    def books(self) -> list[str | None]:
        return [book.mask for book in self.layer.books(self.business) if not book.archived]

    def hand_over_to_layer(self, **more: Any) -> Any:
        return self.do(self.to_layer.hand_over, self.result, business_id=self.business, **more)

    def send(self, request: HandoffRequest, url: str) -> None:
        headers = dict(request.headers)
        if url == self.layer.url:
            keys = f"{self.layer.client_id}:{self.layer.client_secret}"
            with urllib3.PoolManager() as pool:
                answer = pool.request(
                    "POST",
                    url + "/oauth2/token",
                    fields={"grant_type": "client_credentials"},
                    encode_multipart=False,
                    headers=urllib3.make_headers(basic_auth=keys),
                )
                headers["Authorization"] = f"Bearer {json.loads(answer.data)['access_token']}"
        with urllib3.PoolManager() as pool:
            done = pool.request(
                request.method, url + request.path, body=request.content, headers=headers
            )
            assert done.status == 200, done.data

    # The steps

    def link(self) -> None:
        token = self.do(self.linker.create_link_token, "layer", **USER, webhook=self.hooks.url)
        done = self.sandbox.complete_link(token.link_token, BANK, masks=["0000", "3333"])
        self.result = self.do(
            self.linker.link, "layer", public_token=done.public_token, metadata=done.metadata
        )
        assert self.hand_over_to_layer().changed
        assert self.books() == ["0000", "3333"]
        assert self.do(self.linker.status, self.result).healthy

    def the_login_breaks(self) -> None:
        self.sandbox.advance(20 * DAY)
        self.hooks.new()
        self.sandbox.reset_login(self.result)
        assert self.events("ERROR").action is LinkAction.REPAIR
        status = self.do(self.linker.status, self.result)
        assert (status.healthy, status.action) == (False, LinkAction.REPAIR)
        assert set(self.reads(self.result).values()) == {"ITEM_LOGIN_REQUIRED"}
        assert self.do(self.linker.refresh, self.result).issued == ()
        self.update_mode()
        assert self.refresh().issued == ()
        assert self.reads(self.result) == {"0000": "ok", "3333": "ok"}
        assert not self.hand_over_to_layer().changed  # the old tokens go on

    def a_new_account(self) -> None:
        self.sandbox.advance(70 * DAY)
        self.hooks.new()
        new = self.sandbox.new_account(self.result, mask="4242")
        assert self.events("NEW_ACCOUNTS_AVAILABLE").action is LinkAction.ADD_ACCOUNTS
        assert self.refresh().added == ()  # the user has to share it first
        self.update_mode(["0000", "3333", "4242"])
        changes = self.refresh()
        assert [account.account_id for account in changes.added] == [new.account_id]
        assert len(changes.issued) == 1
        assert len(self.hand_over_to_layer().new) == 1
        assert self.books() == ["0000", "3333", "4242"]

    def an_account_is_closed(self) -> None:
        self.sandbox.advance(100 * DAY)
        old = next(t for t in self.result.processor_tokens if t.account.mask == "3333")
        self.sandbox.close_account(self.result, old.account.account_id)
        before = self.result
        changes = self.refresh()  # every night: no webhook says so
        assert [account.mask for account in changes.removed] == ["3333"]
        assert self.reads(before)["3333"] == "INVALID_ACCOUNT_ID"
        done = self.hand_over_to_layer(gone=changes.removed)
        (dead,) = done.gone
        self.send(layer_archive_request(self.business, str(dead.id)), self.layer.url)
        assert self.books() == ["0000", "4242"]
        assert not self.hand_over_to_layer().changed

    def consent_is_about_to_end(self) -> None:
        last = self.do(self.linker.status, self.result).consent_expires_at
        self.hooks.new()
        self.sandbox.advance(last - self.sandbox.now - 6 * DAY)
        event = self.events("PENDING_DISCONNECT")
        assert (event.action, event.due) == (LinkAction.REPAIR, last)
        self.update_mode()
        changes = self.refresh()
        assert changes.status.consent_expires_at > last + 300 * DAY
        assert set(self.reads(self.result).values()) == {"ok"}

    def the_same_bank_again(self) -> None:
        token = self.do(self.linker.create_link_token, "layer", **USER)
        done = self.sandbox.complete_link(token.link_token, BANK, masks=["0000"])
        (found,) = find_duplicates(done.metadata, [self.result])
        assert ([a.mask for a in found.accounts], found.earlier_may_be_dead) == (["0000"], False)
        self.sandbox.clear_requests()
        with pytest.raises(DuplicateItemError):
            self.do(
                self.linker.link,
                "layer",
                public_token=done.public_token,
                metadata=done.metadata,
                earlier=[self.result],
            )
        assert self.sandbox.requests == ()
        assert self.books() == ["0000", "4242"]

    def another_partner(self) -> None:
        access = self.result.access_token
        checking = self.result.processor_tokens[0].account.account_id
        early = self.do(self.linker.issue, "finix", access_token=access, account_id=checking)
        with pytest.raises(PartnerApiError, match="ADDITIONAL_CONSENT_REQUIRED"):
            self.do(self.to_finix.hand_over, early.token("finix"), identity=self.identity)
        self.update_mode(partner=["layer", "finix"])
        self.result = self.result.merge(early)
        self.refresh()
        self.do(self.to_finix.hand_over, self.result.token("finix"), identity=self.identity)
        assert [each.account_number[-4:] for each in self.finix.instruments] == ["0000"]
        assert self.reads(self.result) == {"0000": "ok", "4242": "ok"}

    def other_numbers(self) -> None:
        self.sandbox.advance(100 * DAY)
        self.hooks.new()
        checking = self.result.token("finix").account.account_id
        self.sandbox.change_numbers(self.result, checking)
        event = self.events("DEFAULT_UPDATE")
        assert (event.action, event.account_ids) == (LinkAction.REISSUE, (checking,))
        changes = self.refresh(reissue=event.account_ids)
        assert [token.processor for token in changes.issued] == ["layer", "finix"]
        (old,) = self.finix.instruments
        self.do(
            self.to_finix.hand_over, self.result.token("finix"), identity=self.identity, again=True
        )
        new = self.finix.instruments[-1]
        assert (new.account_id, new.account_number != old.account_number) == (checking, True)
        keys = (self.finix.username, self.finix.password)
        self.send(finix_disable_request(old.id, credentials=keys), self.finix.url)
        assert [each.enabled for each in self.finix.instruments] == [False, True]
        assert self.hand_over_to_layer().changed
        assert self.books() == ["0000", "4242"]

    def the_user_withdraws(self) -> None:
        self.sandbox.advance(100 * DAY)
        self.hooks.new()
        self.sandbox.revoke(self.result)
        assert self.events("USER_PERMISSION_REVOKED").action is LinkAction.STOP
        status = self.do(self.linker.status, self.result)
        assert (status.healthy, status.action) == (False, LinkAction.STOP)
        for partner in ("layer", "finix"):
            assert set(self.reads(self.result, partner).values()) == {"USER_PERMISSION_REVOKED"}
        assert self.do(self.linker.refresh, self.result).issued == ()

    def removal(self) -> None:
        keys = (self.finix.username, self.finix.password)
        self.send(
            finix_disable_request(self.finix.instruments[-1].id, credentials=keys), self.finix.url
        )
        for book in self.layer.books(self.business):
            if not book.archived:
                self.send(layer_archive_request(self.business, book.id), self.layer.url)
        access = self.result.access_token
        assert self.do(self.linker.remove, access, reason_code="OTHER", reason_note="left") is True
        assert self.do(self.linker.remove, access) is False
        assert self.do(self.linker.status, self.result).action is LinkAction.STOP
        assert set(self.reads(self.result).values()) == {"ITEM_NOT_FOUND"}
        assert (self.books(), [each.enabled for each in self.finix.instruments]) == (
            [],
            [False, False],
        )
        other = self.do(self.linker.link_sandbox, "layer")  # the user's next bank
        done = self.do(
            self.to_layer.hand_over, other, business_id=self.business, gone=[self.result]
        )
        assert len(done.new) == len(self.books()) == 14
