"""``plaid-processors doctor``: checks a set-up, each partner's up to the first failure.

In production it asks for link tokens only: they cost nothing and expire.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, field, frozen

from .._engine.network import network_for
from ..adapters.base import PartnerAdapter
from ..adapters.catalogue import get_adapters
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    LinkIncompleteError,
    PlaidConnectionError,
    PlaidProcessorsError,
)
from ..linker import ProcessorLinker
from ..results import Environment, LinkedItem
from ..settings import Credentials


@frozen
class Finding:
    """The outcome of one check; the detail of a failure says what to do."""

    check: str
    good: bool
    detail: str = field(converter=str)


def run(arguments: argparse.Namespace) -> None:
    wrong: list[str] = []
    for finding in examine(os.environ, get_adapters(arguments.partners)):
        print(f"{'✓' if finding.good else '✗'} {finding.check}: {finding.detail}")
        if not finding.good:
            wrong.append(finding.check)
    if wrong:
        raise ConfigurationError(f"something is wrong: {'; '.join(wrong)}")


def examine(environ: Mapping[str, str], adapters: Sequence[PartnerAdapter]) -> Iterator[Finding]:
    """Check Plaid's variables in `environ`, this process's proxy and certificates, then Plaid."""
    try:
        credentials = Credentials.from_environ(environ)
        address = credentials.address
        network = network_for(address)
        network.ssl_context(address)  # reads the certificates
    except ConfigurationError as error:
        yield Finding("the environment variables", False, error)
        return
    yield Finding("the environment variables", True, f"{credentials.environment} at {address}")
    proxy = f"{network.shown_proxy}, by {network.proxy_source}" if network.shown_proxy else "none"
    yield Finding("proxy", True, proxy)
    if address.startswith("https:"):
        named = [f"{path}, by {source}" for source, path in network.certificates.items()]
        yield Finding("certificates", True, "; ".join(named) or "those of the system")
    with ProcessorLinker.from_env(environ) as linker:
        yield from _at_plaid(linker, adapters)


def _at_plaid(linker: ProcessorLinker, adapters: Sequence[PartnerAdapter]) -> Iterator[Finding]:
    for adapter in adapters:
        products = f"Link's products for {adapter.processor}"
        try:
            linker.create_link_token(
                adapter, client_user_id="plaid-processors-doctor", client_name="plaid-processors"
            )
        except PlaidConnectionError as error:
            yield Finding("the way to Plaid", False, error)
            return
        except AuthenticationError as error:
            yield Finding("the keys at Plaid", False, error)
            return
        except PlaidProcessorsError as error:
            yield Finding(products, False, error)
            continue
        yield Finding(products, True, ", ".join(adapter.products))
        if linker.client.environment is Environment.SANDBOX:
            yield from _link(linker, adapter)


def _link(linker: ProcessorLinker, adapter: PartnerAdapter) -> Iterator[Finding]:
    """Make a whole link in the Sandbox, and remove its Item."""
    check = f"a Sandbox link and the integration with {adapter.processor}"
    if adapter.as_given:  # its rule is not known: try it with any one account
        adapter = evolve(adapter, as_given=False, single=True)
    items: list[LinkedItem] = []
    try:
        result = linker.link_sandbox(adapter, on_exchange=items.append)
    except LinkIncompleteError as error:
        yield Finding(check, False, error.__cause__ or error)
    except PlaidProcessorsError as error:
        yield Finding(check, False, error)
    else:
        yield Finding(check, True, f"processor tokens: {len(result.processor_tokens)}")
    for item in items:
        try:
            linker.remove(item.access_token)
        except PlaidProcessorsError as error:
            yield Finding(f"clean-up: Item {item.item_id} is left in the Sandbox", False, error)
