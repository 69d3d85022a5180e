"""``plaid-processors demo``: a link for Layer and for Finix, each step printed as it happens."""

from __future__ import annotations

import argparse
import os
import textwrap
import webbrowser
from datetime import UTC, datetime
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from attrs import define, field

from .._version import __version__
from ..adapters.base import FinixAdapter, LayerAdapter, PartnerAdapter
from ..errors import AccountSelectionError, ConfigurationError, PlaidProcessorsError
from ..handoff import FinixSender, LayerSender
from ..linker import ProcessorLinker
from ..redaction import mask
from ..results import Environment, LinkedItem, LinkResult, LinkToken
from ..sessions import LinkSession
from ..settings import Credentials
from .local import check_local_plaid
from .marks import as_printed
from .output import tell

if TYPE_CHECKING:
    from ..sandbox import LocalSandbox

LOCAL = """\
Plaid is a local stand-in here, at {url}.
So are Layer and Finix. Nothing is sent to any of them.
The bank and the user are made up."""
LIVE = """\
Requests go to {url} with your keys.
The bank and the user are the Sandbox's own.
Nothing is sent to Layer or to Finix."""

WIDTH = 79

SUMMARY = "show a link for Layer and for Finix, on a local Plaid"
EXAMPLES = """\
Without keys and without a network; then on Plaid's Sandbox, with your keys in
PLAID_CLIENT_ID and PLAID_SECRET:
  plaid-processors demo
  plaid-processors demo --live"""


def add_options(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group()
    where.add_argument("--browser", action="store_true", help="you go through Link yourself")
    where.add_argument("--live", action="store_true", help="on Plaid's own Sandbox, with your keys")


def run(arguments: argparse.Namespace) -> None:
    if arguments.live:
        credentials = Credentials.from_environ(os.environ)
        if credentials.environment is not Environment.SANDBOX:
            raise ConfigurationError("the demo makes test Items: set PLAID_ENV=sandbox")
        check_local_plaid(credentials.address)
        with ProcessorLinker.from_env() as linker:
            _Demo(linker).show(LIVE.format(url=credentials.address))
    else:
        from ..sandbox import LocalSandbox

        with LocalSandbox() as plaid, ProcessorLinker(plaid.client()) as linker:
            _Demo(linker, plaid, arguments.browser).show(LOCAL.format(url=plaid.url))


@define
class _Demo:
    """Without `plaid` it runs on Plaid's Sandbox; with `browser` a person goes through Link."""

    linker: ProcessorLinker
    plaid: LocalSandbox | None = None
    browser: bool = False
    items: list[LinkedItem] = field(factory=list[LinkedItem])
    printed_at: float = 0

    def show(self, where: str) -> None:
        tell(f"plaid-processors {__version__}, the demo\n\n{where}")
        try:
            layer = self.link(LayerAdapter())
            if self.plaid is not None:
                self.plaid.set_account_select("one")  # as Finix's guide asks
            finix = self.link(FinixAdapter())
            self.show_refusal(layer)
            if self.plaid is not None:  # there are no keys of the real partners here
                self.hand_over(self.plaid, layer, finix)
        finally:
            errors = self.remove_items()
        if errors:
            raise errors[0]
        counts = f"{len(layer.processor_tokens)} for Layer, {len(finix.processor_tokens)} for Finix"
        tell(f"\nDone. Processor tokens: {counts}.")

    def link(self, adapter: PartnerAdapter) -> LinkResult:
        name = adapter.processor

        def on_exchange(item: LinkedItem) -> None:
            self.items.append(item)
            stored = f"{mask(item.access_token)} stored"
            self.answer("/item/public_token/exchange", stored)

        _heading(f"{name.capitalize()}: {adapter.rule}")
        self.step("1. Your server makes a link token", f'create_link_token("{name}", …)')
        link_token = self.linker.create_link_token(
            name,
            client_user_id="user-42",
            client_name="Acme Books",
            hosted_link={} if self.browser else None,
        )
        products = ", ".join(adapter.products)
        self.answer("/link/token/create", f"{mask(link_token.link_token)}: {products}")

        if self.plaid is None:
            self.step("2. No browser here: /sandbox/public_token/create", f'link_sandbox("{name}")')
            result = self.linker.link_sandbox(name, on_exchange=on_exchange)
        else:
            session = self.go_through_link(self.plaid, link_token)
            if session.public_token is None:
                why = f": {session.error.error_code}" if session.error else ""
                raise PlaidProcessorsError(f"Link was left without connecting a bank{why}")
            self.step("3. Your server turns that into tokens", f'link("{name}", …, on_exchange=…)')
            result = self.linker.link(
                name,
                public_token=session.public_token,
                metadata=session.metadata,
                on_exchange=on_exchange,
            )
        self.answer("/processor/token/create", f"tokens: {len(result.processor_tokens)}")
        for each in result.processor_tokens:
            _detail(mask(each.processor_token), each.account.label)
        return result

    def go_through_link(self, plaid: LocalSandbox, link_token: LinkToken) -> LinkSession:
        if self.browser:
            self.step("2. You go through Link in the browser", "hosted_link_url")
            tell(f"\n     Open {link_token.hosted_link_url}\n")
            webbrowser.open(link_token.hosted_link_url or "")
        else:
            self.step("2. The user goes through Link in the browser", "played by the local Plaid")
            plaid.complete_link(link_token.link_token)
        while not (session := self.linker.session(link_token.link_token)).finished:
            if datetime.now(UTC) > link_token.expiration:
                raise PlaidProcessorsError("Link was not finished in time")
            sleep(0.5)  # a server would wait for the webhook SESSION_FINISHED
        return session

    def show_refusal(self, layer: LinkResult) -> None:
        _heading("What a partner's rule refuses, before any request")
        self.step("Finix with all of Layer's accounts", "FinixAdapter().select_accounts(…)")
        try:
            FinixAdapter().select_accounts([token.account for token in layer.processor_tokens])
        except AccountSelectionError as error:
            _refused(f"AccountSelectionError: {error}")

    def hand_over(self, plaid: LocalSandbox, layer: LinkResult, finix: LinkResult) -> None:
        from ..sandbox import LocalFinix, LocalLayer

        _heading("From the token to the partner: local stand-ins for Layer and for Finix")
        with LocalLayer(plaid) as local_layer:
            to_layer = LayerSender(
                client_id=local_layer.client_id,
                client_secret=local_layer.client_secret,
                base_url=local_layer.url,
                auth_url=local_layer.url,
            )
            business = local_layer.new_business()
            self.step(
                "1. Your server hands over Layer's tokens", "LayerSender.hand_over(result, …)"
            )
            with to_layer:
                done = to_layer.hand_over(layer, business_id=business)
            self.answer("PUT /v1/businesses/…", f"tokens: {done.sent}")
            self.step(
                "2. Layer reads balance and transactions", "with its tokens, at the local Plaid"
            )
            for book in local_layer.books(business):
                what = f"balance {book.balance:>10,.2f}, {book.transactions:>3} transactions"
                _detail(f"{book.subtype} …{book.mask}", what)
        with LocalFinix(plaid) as local_finix:
            to_finix = FinixSender(
                username=local_finix.username,
                password=local_finix.password,
                base_url=local_finix.url,
            )
            identity = local_finix.new_identity()
            self.step("3. Your server hands over Finix's token", "FinixSender.hand_over(token, …)")
            with to_finix:
                made = to_finix.hand_over(finix.token("finix"), identity=identity)
            self.answer("POST /payment_instruments", f"instrument …{made.id[-4:]}")
            self.step(
                "4. Finix reads the numbers and the owner", "with its token, at the local Plaid"
            )
            for seen in local_finix.instruments:
                numbers = f"account {seen.account_number}, routing {seen.routing_number}"
                _detail(f"owner {', '.join(seen.owners)}")
                _detail(numbers)

    def remove_items(self) -> list[PlaidProcessorsError]:
        errors: list[PlaidProcessorsError] = []
        _heading("Clean-up")
        for item in self.items:
            name = f"Item …{(item.item_id or '')[-4:]}"
            self.step(name, "remove(access_token)")
            try:
                self.linker.remove(item.access_token)
                self.answer("/item/remove", "removed")
            except PlaidProcessorsError as error:
                errors.append(error)
                _refused(f"{name} was not removed: {error}")
        return errors

    def step(self, text: str, code: str) -> None:
        code = as_printed(code)  # in ASCII it may be longer
        tell(f"  {text:<{WIDTH - 2 - len(code)}}{code}")
        self.printed_at = perf_counter()

    def answer(self, endpoint: str, answer: str) -> None:
        """An endpoint's answer, and the time since the step or the answer before it."""
        now = perf_counter()
        endpoint = as_printed(endpoint)
        tell(f"     → {endpoint:<27}{(now - self.printed_at) * 1000:>6,.0f} ms ← {answer}")
        self.printed_at = now


def _heading(text: str) -> None:
    tell(f"\n{text}\n{'─' * WIDTH}")


def _detail(what: str, detail: str = "") -> None:
    tell(f"     ← {as_printed(what):<34}{detail}".rstrip())


def _refused(words: str) -> None:
    tell(textwrap.fill(as_printed(f"     ✗ {words}"), WIDTH, subsequent_indent=" " * 7))
