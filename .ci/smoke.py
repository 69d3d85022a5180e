"""One run through an installed wheel, by the standard library's asserts: `smoke.py [--extras]`.

Without `--extras` it runs at a local Plaid with its partners, which the environment variables name,
and checks that each missing extra is named by its line. With it, at a local Plaid of its own.
`.ci/versions` runs it on each Python, with the lowest and with the newest dependencies.
"""

import asyncio
import base64
import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

# urllib3 1.26 imports its copy of six in a way that Python 3.11 warns of.
warnings.filterwarnings("ignore", "_SixMetaPathImporter", ImportWarning)

import plaid_processors  # noqa: E402
from plaid_processors import (  # noqa: E402
    AsyncProcessorLinker,
    ConfigurationError,
    LinkResult,
    ProcessorLinker,
    PublicTokenError,
)
from plaid_processors.handoff import FinixSender, LayerSender  # noqa: E402
from plaid_processors.store import MemoryStore  # noqa: E402

PRODUCTS = ["auth", "identity", "transactions"]
USED = ("plaid-python", "urllib3", "attrs", "typing-extensions")
EXTRAS = ("starlette", "uvicorn", "PyJWT", "cryptography", "SQLAlchemy", "limits", "redis")


class Plain:
    """A cipher that needs no package, and keeps no secret."""

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        """Encode it."""
        return base64.b64encode(context + data)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        """Decode it."""
        return base64.b64decode(data)[len(context) :]


def check_result(result: LinkResult, seen: list[str | None]) -> None:
    """Both partners have their tokens, and the Item was told of."""
    assert result.complete
    assert seen == [result.item_id]
    assert result.token("finix").account.subtype == "checking"
    assert {token.processor for token in result.processor_tokens} == {"finix", "layer"}
    assert "processor-sandbox-" + "0" not in repr(result)
    assert LinkResult.from_dict(result.to_dict()) == result


def link(linker: ProcessorLinker) -> LinkResult:
    """The blocking linker, from link token to removal."""
    seen: list[str | None] = []
    token = linker.create_link_token("layer", client_user_id="user-1", client_name="Smoke")
    assert token.link_token.startswith("link-sandbox-")
    result = linker.link_sandbox(
        ["finix", "layer"],
        products=PRODUCTS,
        client_user_id="user-1",
        on_exchange=lambda item: seen.append(item.item_id),
    )
    check_result(result, seen)
    assert linker.status(result).healthy
    assert not linker.refresh(result).changed
    try:
        linker.link("layer", public_token="public-sandbox-00000000-0000-0000-0000-000000000000")
    except PublicTokenError as error:
        assert error.error_code == "INVALID_PUBLIC_TOKEN"
    else:
        raise AssertionError("an unknown public token was taken")
    return result


async def link_awaited(linker: AsyncProcessorLinker) -> None:
    """The awaited linker, several links at once."""
    seen: list[str | None] = []
    links = (
        linker.link_sandbox("layer", on_exchange=lambda item: seen.append(item.item_id))
        for _ in range(3)
    )
    for result in await asyncio.gather(*links):
        assert result.item_id in seen
        assert result.complete
        assert (await linker.status(result)).healthy
        assert await linker.remove(result.access_token)


def keep_and_hand_over(linker: ProcessorLinker, layer: LayerSender, business: str) -> str:
    """A linker with a store: link, find, hand over once, recover."""
    assert linker.store is not None
    result = linker.link_sandbox("layer", client_user_id="user-2")
    assert result.item_id is not None
    done = linker.hand_over(result.item_id, layer, business_id=business)
    assert {each.state for each in done} == {"done"}
    assert linker.hand_over(result.item_id, layer, business_id=business) == done
    report = linker.recover(older_than=0)
    assert not report.failed
    assert not report.unknown
    return result.item_id


def without_extras() -> None:
    """At the local Plaid that the environment names, with the runtime dependencies alone."""
    for name in EXTRAS:
        assert not has(name), f"{name} is here: this is not the wheel alone"
    with ProcessorLinker.from_env() as linker:
        result = link(linker)
        asyncio.run(link_awaited(AsyncProcessorLinker(linker.client)))
        with FinixSender.from_env() as finix:
            identity = os.environ["DEMO_FINIX_IDENTITIES"].split(",")[0]
            assert finix.hand_over(result.token("finix"), identity=identity).id
        stored = ProcessorLinker(linker.client, store=MemoryStore(cipher=Plain()))
        with LayerSender.from_env() as layer:
            business = os.environ["DEMO_LAYER_BUSINESSES"].split(",")[0]
            item_id = keep_and_hand_over(stored, layer, business)
        assert stored.remove(item_id=item_id)
        assert linker.remove(result.access_token)
        assert not linker.remove(result.access_token)
        told("webhooks", lambda: linker.verify_webhook(b"{}", {"Plaid-Verification": "a.b.c"}))
    from plaid_processors.backfill import RateBudget
    from plaid_processors.store import FernetCipher, SqlStore

    told("sandbox", lambda: importlib.import_module("plaid_processors.sandbox"))
    told("sandbox", lambda: importlib.import_module("plaid_processors.sandbox.faults"))
    told("store", lambda: SqlStore("sqlite://", cipher=Plain()))
    told("store", lambda: FernetCipher(["key"]))
    told("store", MemoryStore)
    told("backfill", RateBudget)
    for name in ("demo", "sandbox"):
        status, words = command(name)
        assert (status, line("sandbox") in words) == (1, True), words
    for arguments in (("doctor",), ("partners",), ("partners", "finix"), ("--version",)):
        status, words = command(*arguments)
        assert status == 0, words


def with_extras() -> None:
    """At a local Plaid of its own, with each extra."""
    from cryptography.fernet import Fernet

    from plaid_processors.backfill import RateBudget, backfill
    from plaid_processors.sandbox import LocalLayer, LocalSandbox
    from plaid_processors.store import SqlStore

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalSandbox() as plaid,
        LocalLayer(plaid) as local_layer,
        SqlStore(f"sqlite:///{Path(folder, 'links.db')}", keys=[Fernet.generate_key()]) as store,
        ProcessorLinker(plaid.client(), store=store) as linker,
        LayerSender(
            client_id=local_layer.client_id,
            client_secret=local_layer.client_secret,
            base_url=local_layer.url,
            auth_url=local_layer.url,
        ) as layer,
    ):
        store.create_tables()
        token = linker.create_link_token(
            "layer", client_user_id="user-1", client_name="Smoke", products=PRODUCTS
        )
        done = plaid.complete_link(token.link_token)
        result = linker.link(
            "layer",
            public_token=done.public_token,
            metadata=done.metadata,
            client_user_id="user-1",
        )
        assert result.complete
        link(ProcessorLinker(linker.client))
        asyncio.run(link_awaited(AsyncProcessorLinker(linker.client)))
        item_id = keep_and_hand_over(linker, layer, local_layer.new_business())
        hook = plaid.webhook("ITEM", "ERROR", item_id=item_id)
        assert linker.verify_webhook(hook.body, hook.headers).item_id == item_id
        report = backfill(
            linker, "dwolla", budget=RateBudget(), choose=lambda _stored, accounts: accounts[0]
        )
        assert (report.issued, report.failed) == (2, 0), report
        stored = store.find(item_id)
        assert stored is not None
        assert stored.result is not None
        assert stored.result.token("dwolla").processor_token
        store.reencrypt()
    status, words = command("demo")
    assert (status, "Done." in words) == (0, True), words


def has(name: str) -> bool:
    """Whether a distribution is installed."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def line(extra: str) -> str:
    """What installs an extra."""
    return f'pip install "plaid-processors[{extra}]"'


def told(extra: str, work: Callable[[], object]) -> None:
    """A missing extra is named by its line."""
    try:
        work()
    except (ConfigurationError, ModuleNotFoundError) as error:
        assert line(extra) in str(error), error
        assert "needs jwt" not in str(error)
    else:
        raise AssertionError(f"{extra} is here")


def command(*arguments: str) -> tuple[int, str]:
    """The command's exit status, and all that it printed, on a stream that takes ASCII alone."""
    done = subprocess.run(
        [sys.executable, "-m", "plaid_processors", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode("ascii")


def main() -> None:
    """Run one of the two."""
    assert all(hasattr(plaid_processors, name) for name in plaid_processors.__all__)
    extras = "--extras" in sys.argv
    (with_extras if extras else without_extras)()
    names = USED + EXTRAS if extras else USED
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"Python {platform.python_version()}: all well with {versions}")


if __name__ == "__main__":
    main()
