"""``plaid-processors doctor``: checks a set-up, each partner's up to the first failure.

In production it asks for link tokens only: they cost nothing and expire.
"""

from __future__ import annotations

import argparse
import json
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
from .local import NoLocalPlaidError, check_local_plaid
from .names import partner
from .output import tell

SUMMARY = "check your set-up, and say what is wrong"
EXAMPLES = """\
With your keys in PLAID_CLIENT_ID and PLAID_SECRET. In the Sandbox it makes a
whole link for each partner, in production link tokens only. Exit status 1 if
something is wrong:
  plaid-processors doctor layer finix"""


def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "partners",
        nargs="*",
        type=partner,
        default=["layer", "finix"],
        help="Plaid's names of the partners to check; default: layer finix",
    )
    command.add_argument("--json", action="store_true", help="print the checks in JSON")


@frozen
class Finding:
    """The outcome of one check.

    Attributes:
        name: its name for programs.
        check: what was checked, in words.
        good: whether all is well.
        detail: what was found; of a failure, what to do.
        partner: the partner that it is about, or None.
    """

    name: str
    check: str
    good: bool
    detail: str = field(converter=str)
    partner: str | None = None


def run(arguments: argparse.Namespace) -> None:
    findings: list[Finding] = []
    for finding in examine(os.environ, get_adapters(dict.fromkeys(arguments.partners))):
        findings.append(finding)
        if not arguments.json:
            tell(f"{'✓' if finding.good else '✗'} {finding.check}: {finding.detail}")
    wrong = [each.check for each in findings if not each.good]
    if arguments.json:
        checks = [_record(each) for each in findings]
        tell(json.dumps({"ok": not wrong, "checks": checks}, indent=2))
    if wrong:
        raise ConfigurationError(f"something is wrong: {'; '.join(wrong)}")


def _record(finding: Finding) -> dict[str, str | bool | None]:
    return {
        "name": finding.name,
        "partner": finding.partner,
        "ok": finding.good,
        "check": finding.check,
        "detail": finding.detail,
    }


def examine(environ: Mapping[str, str], adapters: Sequence[PartnerAdapter]) -> Iterator[Finding]:
    """Check Plaid's variables in `environ`, this process's proxy and certificates, then Plaid."""
    try:
        credentials = Credentials.from_environ(environ)
        address = credentials.address
        network = network_for(address)
        network.ssl_context(address)  # reads the certificates
    except ConfigurationError as error:
        yield Finding("variables", "the environment variables", False, error)
        return
    yield Finding(
        "variables", "the environment variables", True, f"{credentials.environment} at {address}"
    )
    proxy = f"{network.shown_proxy}, by {network.proxy_source}" if network.shown_proxy else "none"
    yield Finding("proxy", "proxy", True, proxy)
    if address.startswith("https:"):
        named = [f"{path}, by {source}" for source, path in network.certificates.items()]
        yield Finding(
            "certificates", "certificates", True, "; ".join(named) or "those of the system"
        )
    try:
        check_local_plaid(address)
    except NoLocalPlaidError as error:
        yield Finding("connection", "the way to Plaid", False, error)
        return
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
            yield Finding("connection", "the way to Plaid", False, error)
            return
        except AuthenticationError as error:
            yield Finding("keys", "the keys at Plaid", False, error)
            return
        except PlaidProcessorsError as error:
            yield Finding("products", products, False, error, adapter.processor)
            continue
        yield Finding("products", products, True, ", ".join(adapter.products), adapter.processor)
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
        yield Finding("link", check, False, error.__cause__ or error, adapter.processor)
    except PlaidProcessorsError as error:
        yield Finding("link", check, False, error, adapter.processor)
    else:
        yield Finding(
            "link",
            check,
            True,
            f"processor tokens: {len(result.processor_tokens)}",
            adapter.processor,
        )
    for item in items:
        try:
            linker.remove(item.access_token)
        except PlaidProcessorsError as error:
            left = f"clean-up: Item {item.item_id} is left in the Sandbox"
            yield Finding("clean_up", left, False, error, adapter.processor)
