"""``plaid-processors doctor``: checks a set-up step by step, as the partners' pages list the steps.

Keys, environment, proxy and certificates, Link's products, a whole link in the Sandbox, the
partner's integration. In production it asks for link tokens and for nothing else: they make nothing
and cost nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from ._engine.network import network_for
from .adapters import PartnerAdapter, get_adapters
from .errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    LinkIncompleteError,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    ProcessorNotEnabledError,
)
from .linker import ProcessorLinker
from .results import Environment, LinkResult
from .settings import Credentials, checked_address, read_environment

KEYS_PAGE = "https://dashboard.plaid.com/developers/keys"


@frozen(kw_only=True)
class Finding:
    """What came of one check.

    Attributes:
        check: what was looked at.
        good: True, False, or None where it was not looked at.
        detail: what was found.
        remedy: what to do, where something is wrong.
    """

    check: str
    good: bool | None
    detail: str = ""
    remedy: str = ""


def examine(environ: Mapping[str, str], adapters: Sequence[PartnerAdapter]) -> Iterator[Finding]:
    """Check after check, each told as it is done.

    Args:
        environ: where Plaid's variables are read; the proxy and the certificates are those of this
            process, as for any client.
        adapters: the partners to check.
    """
    settings = list(_settings(environ))
    if all(each.good for each in settings):
        settings += _network(environ)
    yield from settings
    if not all(each.good for each in settings):
        yield from _skipped(adapters, "the settings come first", keys=True)
        return
    with ProcessorLinker.from_env(environ) as linker:
        yield from _Examination(linker, adapters).findings()


def _settings(environ: Mapping[str, str]) -> Iterator[Finding]:
    yield _keys(environ)
    yield _setting("environment", "PLAID_ENV", environ, "sandbox", read_environment)
    if environ.get("PLAID_BASE_URL", "").strip():
        yield _setting("address", "PLAID_BASE_URL", environ, "", checked_address)


def _keys(environ: Mapping[str, str]) -> Finding:
    check, wrong = "the keys in PLAID_CLIENT_ID and PLAID_SECRET", ""
    keys = {name: environ.get(name, "") for name in ("PLAID_CLIENT_ID", "PLAID_SECRET")}
    try:
        Credentials.from_environ(keys)
    except ConfigurationError as error:
        wrong = str(error)
    remedy = f"Copy them from {KEYS_PAGE}."
    return Finding(check=check, good=not wrong, detail=wrong, remedy=remedy)


def _setting(
    check: str,
    name: str,
    environ: Mapping[str, str],
    default: str,
    read: Callable[[object], object],
) -> Finding:
    value = environ.get(name, "").strip() or default
    try:
        read(value)
    except ConfigurationError as error:
        return Finding(check=check, good=False, detail=str(error), remedy=f"Set {name} anew.")
    return Finding(check=check, good=True, detail=value)


def _network(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Which proxy and which certificates are used, and what named them."""
    check, remedy = "environment and address", "Set PLAID_ENV or PLAID_BASE_URL anew."
    try:
        base_url = Credentials.from_environ(environ).base_url
        check, remedy = "proxy and certificates", "Set this variable anew, or unset it."
        network = network_for(base_url)
        network.ssl_context(base_url)
    except ConfigurationError as error:
        yield Finding(check=check, good=False, detail=str(error), remedy=remedy)
        return
    proxy = f"{network.shown_proxy}, by {network.proxy_source}" if network.shown_proxy else "none"
    yield Finding(check="proxy", good=True, detail=proxy)
    if base_url.startswith("https:"):
        named = [f"{path}, by {source}" for source, path in network.certificates.items()]
        yield Finding(
            check="certificates", good=True, detail="; ".join(named) or "those of the system"
        )


class _Examination:
    """The checks that ask Plaid."""

    def __init__(self, linker: ProcessorLinker, adapters: Sequence[PartnerAdapter]) -> None:
        self._linker = linker
        self._adapters = adapters
        self._sandbox = linker.client.environment is Environment.SANDBOX
        self._keys_told = False

    def findings(self) -> Iterator[Finding]:
        for place, adapter in enumerate(self._adapters):
            products = self._products(adapter)
            yield from self._keys(products)
            if _of_keys(products):
                yield from _skipped(self._adapters[place:], "Plaid has to answer first")
                return
            yield _finding(f"Link's products for {adapter.processor}", products, _words(adapter))
            if products is not None:
                yield from _skipped_link(adapter, "its products come first")
            elif not self._sandbox:
                yield from _skipped_link(adapter, "not in production")
            else:
                yield from self._link(adapter)

    def _keys(self, error: PlaidProcessorsError | None) -> Iterator[Finding]:
        """Whether Plaid answers and takes the keys, told once."""
        if not self._keys_told:
            self._keys_told = True
            connection = error if isinstance(error, PlaidConnectionError) else None
            yield _finding("the way to Plaid", connection)
            if connection is None:
                yield _finding("the keys at Plaid", error if _of_keys(error) else None)

    def _products(self, adapter: PartnerAdapter) -> PlaidProcessorsError | None:
        try:
            self._linker.create_link_token(
                adapter, client_user_id="plaid-processors-doctor", client_name="plaid-processors"
            )
        except PlaidProcessorsError as error:
            return error
        return None

    def _link(self, adapter: PartnerAdapter) -> Iterator[Finding]:
        """A whole link, and its end."""
        result, error = self._linked(adapter)
        enabled = error if isinstance(error, ProcessorNotEnabledError) else None
        yield _finding(f"a Sandbox link for {adapter.processor}", None if enabled else error)
        if error is None or enabled:
            yield _finding(f"the integration with {adapter.processor}", enabled)
        else:
            yield Finding(
                check=f"the integration with {adapter.processor}",
                good=None,
                detail="the link comes first",
            )
        if result is not None:
            yield from self._removed(result)

    def _linked(self, adapter: PartnerAdapter) -> tuple[LinkResult | None, BaseException | None]:
        if adapter.as_given:  # no rule is known: any one account will do to try it
            adapter = evolve(adapter, as_given=False, single=True)
        try:
            return self._linker.link_sandbox(adapter), None
        except LinkIncompleteError as error:
            return error.result, error.__cause__ or error
        except PlaidProcessorsError as error:
            return None, error

    def _removed(self, result: LinkResult) -> Iterator[Finding]:
        try:
            self._linker.remove(result.access_token)
        except PlaidProcessorsError as error:
            yield _finding(f"clean-up: Item {result.item_id} is left in the Sandbox", error)


def _of_keys(error: PlaidProcessorsError | None) -> bool:
    """Whether nothing more can be asked: no answer, or the keys are refused."""
    if isinstance(error, InvalidRequestError):
        return error.error_message.startswith(("client_id ", "secret "))
    return isinstance(error, (AuthenticationError, PlaidConnectionError))


def _finding(check: str, error: BaseException | None, detail: str = "") -> Finding:
    if error is None:
        return Finding(check=check, good=True, detail=detail)
    if isinstance(error, PlaidApiError):
        said = f"{error.error_code}: {error.error_message} (request_id {error.request_id})"
        return Finding(check=check, good=False, detail=said, remedy=error.advice)
    if isinstance(error, PlaidConnectionError):
        said = f"{error.endpoint}: {error.reason}"
        return Finding(check=check, good=False, detail=said, remedy=error.advice)
    return Finding(check=check, good=False, detail=str(error))


def _words(adapter: PartnerAdapter) -> str:
    return ", ".join(adapter.products)


def _skipped(
    adapters: Sequence[PartnerAdapter], why: str, *, keys: bool = False
) -> Iterator[Finding]:
    if keys:
        yield Finding(check="the keys at Plaid", good=None, detail=why)
    for adapter in adapters:
        yield Finding(check=f"Link's products for {adapter.processor}", good=None, detail=why)
        yield from _skipped_link(adapter, why)


def _skipped_link(adapter: PartnerAdapter, why: str) -> Iterator[Finding]:
    for check in ("a Sandbox link for", "the integration with"):
        yield Finding(check=f"{check} {adapter.processor}", good=None, detail=why)


def run(arguments: argparse.Namespace) -> None:
    """Check, and print each finding as it comes.

    Raises:
        ConfigurationError: something is wrong; it is named.
    """
    wrong: list[str] = []
    for finding in examine(os.environ, get_adapters(arguments.partners)):
        mark = {True: "✓", False: "✗", None: "-"}[finding.good]
        print(f"{mark} {finding.check}{': ' if finding.detail else ''}{finding.detail}")
        if finding.good is False:
            wrong.append(finding.check)
            if finding.remedy:
                print(f"    {finding.remedy}")
    if wrong:
        count = "1 thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
        raise ConfigurationError(f"{count} wrong: {'; '.join(wrong)}")
