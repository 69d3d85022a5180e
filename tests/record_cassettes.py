"""Records the cassettes again: `python -m tests.record_cassettes [--live]`, at the project's root.

From a local Plaid; with ``--live`` and PLAID_CLIENT_ID and PLAID_SECRET in the environment from
Plaid's own Sandbox, which wants both partners enabled for these keys. Nothing is kept of a flow
that does not hold.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from attrs import field, frozen
from vcr.patch import force_reset

from plaid_processors import (
    ConfigurationError,
    Environment,
    LinkToken,
    PlaidClient,
    ProcessorLinker,
    __version__,
)
from plaid_processors.sandbox import LocalSandbox

from .cassettes.flows import BANK, FLOWS, Finish, Options
from .cassettes.tape import HERE, recorder

LOCAL = f"the local Plaid of plaid-processors {__version__}"
PLAIDS_OWN = "https://sandbox.plaid.com"


@frozen(kw_only=True)
class Plaid:
    """A Plaid to talk to: where, as whom, and how a user goes through Link there."""

    url: str
    client_id: str = field(repr=False)
    secret: str = field(repr=False)
    finish: Finish

    def client(self, **options: Any) -> PlaidClient:
        """A client of it."""
        keys = {"client_id": self.client_id, "secret": self.secret}
        return PlaidClient(**{**keys, "base_url": self.url, **options})


def plaid_of(sandbox: LocalSandbox) -> Plaid:
    """A local Plaid, which plays the user in Link itself."""

    def finish(link_token: LinkToken, _: object, options: Options) -> str:
        login = {name.removeprefix("override_"): value for name, value in (options or {}).items()}
        done = sandbox.complete_link(link_token.link_token, institution_id=BANK, **login)
        return done.public_token

    return Plaid(url=sandbox.url, client_id=sandbox.client_id, secret=sandbox.secret, finish=finish)


@contextmanager
def local() -> Iterator[Plaid]:
    """A local Plaid, always with the same ids."""
    with LocalSandbox(seed="cassettes") as sandbox:
        yield plaid_of(sandbox)


@contextmanager
def live() -> Iterator[Plaid]:
    """Plaid's own Sandbox, with the keys in the environment; there, nobody opens Link.

    Raises:
        ConfigurationError: there are no keys, or they are not for the Sandbox.
    """
    with PlaidClient.from_env() as client:
        if client.environment is not Environment.SANDBOX:
            raise ConfigurationError("these flows make test Items: set PLAID_ENV=sandbox")
    keys = {"client_id": os.environ["PLAID_CLIENT_ID"], "secret": os.environ["PLAID_SECRET"]}
    url = os.environ.get("PLAID_BASE_URL") or PLAIDS_OWN

    def finish(_: object, products: tuple[str, ...], options: Options) -> str:
        body: dict[str, Any] = {"institution_id": BANK, "initial_products": products, **keys}
        if options is not None:
            body["options"] = options
        # What the user does in the browser is no part of the conversation.
        with force_reset(), urllib3.PoolManager() as pool:
            answer = pool.request("POST", f"{url}/sandbox/public_token/create", json=body).json()
        if "public_token" not in answer:
            raise RuntimeError(f"Plaid refused the test user: {answer.get('error_code')}")
        return str(answer["public_token"])

    yield Plaid(url=url, **keys, finish=finish)


@contextmanager
def recording(plaid: Plaid, path: Path, source: str | None) -> Iterator[PlaidClient]:
    """Record what this client asks, in place of what was there; nothing if the block fails."""
    fresh = path.with_suffix(".new.yaml")
    fresh.unlink(missing_ok=True)
    tape = recorder(source).use_cassette(fresh, record_mode="all", record_on_exception=False)
    # vcrpy takes its patches off, for all threads, whenever it connects: one request at a time.
    with tape, plaid.client(max_connections=1) as client:
        yield client
    fresh.replace(path)


def record(plaid: Plaid, name: str, folder: Path, source: str | None) -> None:
    """Record one flow, in place of what was there."""
    with recording(plaid, folder / f"{name}.yaml", source) as client:
        FLOWS[name](ProcessorLinker(client), plaid.finish)


def main() -> None:
    """Record every flow."""
    parser = argparse.ArgumentParser(prog="python -m tests.record_cassettes")
    parser.add_argument("--live", action="store_true", help="from Plaid's own Sandbox")
    from_plaid: bool = parser.parse_args().live
    try:
        with live() if from_plaid else local() as plaid:
            for name in FLOWS:
                record(plaid, name, HERE, None if from_plaid else LOCAL)
    except ConfigurationError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
