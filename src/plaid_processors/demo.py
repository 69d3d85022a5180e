"""The demo: each step of a link for Layer and for Finix, told as it happens.

It uses the public API alone, as an application would; what it prints is masked by the results.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._version import __version__
from .adapters import FinixAdapter, LayerAdapter, PartnerAdapter
from .demo_partner import PartnerSide
from .demo_user import ONE_ACCOUNT, Person, PlayedUser, User
from .errors import AccountSelectionError, ConfigurationError, PlaidProcessorsError
from .linker import ProcessorLinker
from .redaction import mask
from .results import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    ProcessorToken,
)

if TYPE_CHECKING:
    from .sandbox import LocalSandbox

P = ParamSpec("P")
T = TypeVar("T")

WIDTH = 88

_LOCAL = """\
Plaid is a local stand-in here, at {url}, written from Plaid's published
descriptions; so are Layer and Finix. Nothing is sent to any of them; the bank and the user are
made up."""

_LIVE = """\
Requests go to {url} with your keys. The bank and the user are the Sandbox's own.
Nothing is sent to Layer or to Finix."""


def show_local(local_sandbox: type[LocalSandbox], *, browser: bool = False) -> None:
    """Run it on a local Plaid, which also plays the user in Link, unless a person does."""
    with local_sandbox() as sandbox, ProcessorLinker(sandbox.client()) as linker:
        sandbox.set_account_select("one", ONE_ACCOUNT)
        user = Person(linker) if browser else PlayedUser(sandbox)
        _show(linker, _LOCAL.format(url=sandbox.url), sandbox, user)


def show_live() -> None:
    """Run it on Plaid's own Sandbox, with the keys in the environment.

    Raises:
        ConfigurationError: there are no keys, or they are not for the Sandbox.
    """
    with ProcessorLinker.from_env() as linker:
        if linker.client.environment is not Environment.SANDBOX:
            raise ConfigurationError("the demo makes test Items: set PLAID_ENV=sandbox")
        url = os.environ.get("PLAID_BASE_URL") or "https://sandbox.plaid.com"
        _show(linker, _LIVE.format(url=url), None, None)


def _show(
    linker: ProcessorLinker, where: str, sandbox: LocalSandbox | None, user: User | None
) -> None:
    began = perf_counter()
    print(f"plaid-processors {__version__}, the demo\n\n{where}")
    with _removing_items(linker) as keep:
        layer = _Walk(linker, LayerAdapter(), user, keep).all_steps()
        _show_partner(sandbox, layer, "Layer", "balance and transactions", _read_as_layer)
        finix = _Walk(linker, FinixAdapter(), user, keep).all_steps()
        _show_partner(sandbox, finix, "Finix", "the numbers to pay by", _read_as_finix)
        _show_refusals(linker, layer)
        if sandbox is not None:
            from . import demo_partners

            demo_partners.hand_over(sandbox, layer, finix)
    tokens = len(layer.processor_tokens), len(finix.processor_tokens)
    print(
        f"\nDone in {_time_since(began)}: {tokens[0]} processor tokens for Layer, "
        f"{tokens[1]} for Finix."
    )


@contextmanager
def _removing_items(linker: ProcessorLinker) -> Iterator[Callable[[LinkedItem], None]]:
    """Keeps what was linked, as an application would store it, and removes it in the end."""
    items: list[LinkedItem] = []
    try:
        yield items.append
    except BaseException:
        _remove(linker, items)  # what failed first is what is told in the end
        raise
    if failed := _remove(linker, items):
        raise failed[0]


def _remove(linker: ProcessorLinker, items: Sequence[LinkedItem]) -> list[PlaidProcessorsError]:
    """Remove each Item, whatever becomes of the others; gives what failed."""
    failed = []
    _heading("Clean-up")
    for item in items:
        began, name = perf_counter(), f"Item …{(item.item_id or '')[-4:]}"
        try:
            linker.remove(item.access_token)
        except PlaidProcessorsError as error:
            failed.append(error)
            _refused(f"{name} was not removed: {error}")
        else:
            _line("→", "/item/remove", name, _time_since(began))
    return failed


class _Walk:
    """One partner's link, step by step."""

    def __init__(
        self,
        linker: ProcessorLinker,
        partner: PartnerAdapter,
        user: User | None,
        keep: Callable[[LinkedItem], None],
    ) -> None:
        self._linker = linker
        self._partner = partner
        self._name = partner.processor
        self._user = user
        self._keep = keep
        self._began = 0.0

    def all_steps(self) -> LinkResult:
        _heading(f"{self._name.capitalize()}: {self._partner.rule}")
        link_token = self._create_link_token()
        if self._user is None:
            return self._link_without_a_browser()
        return self._link_as(self._user, link_token)

    def _create_link_token(self) -> LinkToken:
        _step("1. Your server makes a link token", f'create_link_token("{self._name}", …)')
        _line("→", "/link/token/create", f"products: {', '.join(self._partner.products)}")
        token, took = _timed(
            self._linker.create_link_token,
            self._name,
            client_user_id="user-42",
            client_name="Acme Books",
            **self._options(),
        )
        _line("←", mask(token.link_token), f"valid until {token.expiration:%H:%M %Z}", took)
        return token

    def _options(self) -> Mapping[str, Any]:
        """For a partner of one account, the customization that asks the user for one."""
        single = {"link_customization_name": ONE_ACCOUNT} if self._partner.single else {}
        return {**single, **self._user.options} if self._user else {}

    def _link_as(self, user: User, link_token: LinkToken) -> LinkResult:
        _step("2. The user goes through Link in the browser", user.said)
        session = user.connect(link_token)
        public_token, count = session.public_token or "", len(session.accounts)
        _line("←", mask(public_token), f"{session.institution_name}, {_count(count, 'account')}")

        _step("3. Your server turns that into tokens", f'link("{self._name}", public_token=…, …)')
        self._asked("/item/public_token/exchange", f"public_token: {mask(public_token)}")
        return self._summed_up(
            self._linker.link(
                self._name,
                public_token=public_token,
                metadata=session.metadata,
                on_exchange=self._exchanged,
            )
        )

    def _link_without_a_browser(self) -> LinkResult:
        _step("2. No browser here: the Sandbox's shortcut", f'link_sandbox("{self._name}")')
        self._asked("/sandbox/public_token/create", "institution_id: ins_109508")
        _line("→", "/item/public_token/exchange", "")
        return self._summed_up(self._linker.link_sandbox(self._name, on_exchange=self._exchanged))

    def _asked(self, endpoint: str, detail: str) -> None:
        _line("→", endpoint, detail)
        self._began = perf_counter()

    def _exchanged(self, item: LinkedItem) -> None:
        self._keep(item)
        _line("←", mask(item.access_token), "stored in on_exchange", _time_since(self._began))
        self._asked("/processor/token/create", f"processor: {self._name}, one for each account")

    def _summed_up(self, result: LinkResult) -> LinkResult:
        took = _time_since(self._began)
        for token in result.processor_tokens:
            _line("←", mask(token.processor_token), token.account.label)
        count = _count(len(result.processor_tokens), "processor token")
        _line("=", count, f"to hand to {self._name.capitalize()}", took)
        return result


def _show_partner(
    sandbox: LocalSandbox | None,
    result: LinkResult,
    name: str,
    what: str,
    read: Callable[[PartnerSide, ProcessorToken], None],
) -> None:
    """What the partner sees: the account of each token, and no other."""
    if sandbox is None:
        return  # the live demo has none of the partners' keys
    keys = sandbox.new_keys()
    partner = PartnerSide(
        url=sandbox.url, keys={"client_id": keys.client_id, "secret": keys.secret}
    )
    tokens = result.processor_tokens
    _step(f"4. {name} reads back, with keys of its own", what)
    for token in tokens:
        read(partner, token)
    refusal = partner.refusal_of_all_accounts(tokens[0])
    _line("=", _count(len(tokens), "account"), "each token opened its own")
    _line("✗", "the others, by /accounts/get", f"{refusal}: a token opens no other account")


def _read_as_layer(partner: PartnerSide, token: ProcessorToken) -> None:
    _line("←", token.account.label, partner.books(token))


def _read_as_finix(partner: PartnerSide, token: ProcessorToken) -> None:
    _line("←", token.account.label, partner.numbers(token))
    _line("←", "", partner.owner(token))


def _show_refusals(linker: ProcessorLinker, layer: LinkResult) -> None:
    finix = FinixAdapter()
    accounts = [token.account for token in layer.processor_tokens]
    _heading("What a partner's rule refuses, before any request")
    fitting = [account for account in accounts if finix.fits(account)]
    cards = [account for account in accounts if account.type == "credit"]
    if len(fitting) > 1:  # a person may have connected others
        _show_refusal(linker, layer, "two accounts that fit", fitting[:2])
    if cards:
        _show_refusal(linker, layer, "a credit card", cards[:1])


def _show_refusal(
    linker: ProcessorLinker, layer: LinkResult, what: str, accounts: Sequence[Account]
) -> None:
    _step(f"Finix with {what}", 'issue("finix", access_token=…, accounts=…)')
    try:
        linker.issue("finix", access_token=layer.access_token, accounts=accounts)
    except AccountSelectionError as error:
        _refused(f"AccountSelectionError: {error}")
    else:
        raise PlaidProcessorsError(f"Finix with {what} should have been refused")


def _timed(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, str]:
    began = perf_counter()
    return call(*args, **kwargs), _time_since(began)


def _heading(text: str) -> None:
    print(f"\n{text}\n{'─' * WIDTH}")


def _step(text: str, code: str) -> None:
    print(f"  {text:<{WIDTH - 2 - len(code)}}{code}")


def _line(mark: str, what: str, detail: str, time: str = "") -> None:
    print(f"     {mark} {what:<29}{detail:<{WIDTH - 36 - 9}}{time:>9}".rstrip())


def _refused(words: str) -> None:
    indent = " " * 7
    text = f"     ✗ {words}"
    print(textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _time_since(began: float) -> str:
    return f"{(perf_counter() - began) * 1000:,.0f} ms"
