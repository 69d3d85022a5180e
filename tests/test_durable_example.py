"""The example with a database: nothing is lost, wherever it stops."""

from __future__ import annotations

import importlib.util
import math
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select, text

from plaid_processors import LinkIncompleteError, ProcessorLinker
from plaid_processors.sandbox import Linked, LocalSandbox

ROOT = Path(__file__).parent.parent
EXCHANGE = "/item/public_token/exchange"
CREATE = "/processor/token/create"


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


durable = load("examples/durable.py")


class Shop:
    """The example at work: its database, its linker, a local Plaid."""

    def __init__(self, plaid: LocalSandbox, linker: ProcessorLinker, database: Path) -> None:
        self.plaid = plaid
        self.linker = linker
        self.store = durable.Store(f"sqlite:///{database}")

    def through_link(self) -> Linked:
        token = self.linker.create_link_token("layer", client_user_id="u", client_name="Acme")
        return self.plaid.complete_link(token.link_token, masks=["0000", "3333"])

    def link(self, store: Any = None) -> Any:
        done = self.through_link()
        return durable.handle_success(
            store or self.store, self.linker, "u", done.public_token, done.metadata
        )

    def recover(self) -> None:
        durable.recover(self.store, self.linker, older_than=0)

    def row(self) -> Any:
        with self.store.engine.connect() as connection:
            return connection.execute(select(durable.links)).one()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        plaid = stack.enter_context(LocalSandbox())
        linker = stack.enter_context(ProcessorLinker(plaid.client(max_attempts=1)))
        shop = Shop(plaid, linker, tmp_path / "links.db")
        stack.callback(shop.store.engine.dispose)
        yield shop


def test_a_link_without_trouble(shop: Shop) -> None:
    """All is in the row at the end: the access token and a token for each account."""
    result = shop.link()
    assert (shop.row().state, shop.row().access_token) == ("done", result.access_token)
    assert len(result.processor_tokens) == 2


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (CREATE, {"error_code": "INTERNAL_SERVER_ERROR", "times": None}),
        (CREATE, {"error_code": "ITEM_LOGIN_REQUIRED", "skip": 1}),
        (EXCHANGE, {"error_code": "RATE_LIMIT"}),
    ],
)
def test_what_failed_is_finished_later(shop: Shop, path: str, fault: dict[str, Any]) -> None:
    """A link that Plaid's trouble stopped is done after a recovery."""
    shop.plaid.fail(path, **fault)
    assert shop.link() is None
    assert shop.row().state in ("started", "linked")
    shop.plaid.clear_faults()
    shop.recover()
    assert (shop.row().state, shop.row().access_token) == ("done", shop.plaid.items[0].access_token)


def test_a_crash_before_the_exchange(shop: Shop) -> None:
    """A link that had only begun is exchanged by the next start."""
    done = shop.through_link()
    shop.store.start("u", done.public_token, done.metadata["accounts"])
    shop.recover()
    assert shop.row().state == "done"


def test_a_crash_in_the_window(shop: Shop) -> None:
    """Where Plaid's answer came and was not committed, the next start says that it is unknown."""
    done = shop.through_link()
    shop.store.start("u", done.public_token, done.metadata["accounts"])
    shop.linker.link("layer", public_token=done.public_token, metadata=done.metadata)
    shop.recover()
    assert (shop.row().state, shop.row().public_token) == ("unknown", done.public_token)
    assert done.public_token not in shop.row().note


def test_a_crash_after_the_commit(shop: Shop) -> None:
    """An Item that is stored gets its processor tokens from the next start."""
    done = shop.through_link()
    link = shop.store.start("u", done.public_token, done.metadata["accounts"])

    class PowerCutError(BaseException):
        pass

    def die(item: Any) -> None:
        shop.store.change(
            link.id, state="linked", access_token=item.access_token, item_id=item.item_id
        )
        raise PowerCutError

    with pytest.raises(PowerCutError):
        shop.linker.link(
            "layer", public_token=done.public_token, metadata=done.metadata, on_exchange=die
        )
    shop.recover()
    assert shop.row().state == "done"
    assert len(shop.row().result["entries"]) == 2


def test_an_answer_that_never_came(shop: Shop) -> None:
    """An exchange of unknown outcome is kept as such, with what to ask Plaid."""
    shop.plaid.fail(EXCHANGE, drop="after")
    assert shop.link() is None
    assert shop.row().state == "unknown"
    assert "ask Plaid's support" in shop.row().note


def test_a_bad_public_token(shop: Shop) -> None:
    """Where Plaid says at once that the token is no good, there is no Item."""
    shop.plaid.fail(EXCHANGE, error_code="INVALID_PUBLIC_TOKEN")
    assert shop.link() is None
    assert shop.row().state == "refused"


def test_a_database_that_fails_at_the_worst_moment(shop: Shop) -> None:
    """If the commit fails, the access token is in the exception, and its text shows none."""

    class BrokenStore(durable.Store):  # type: ignore[name-defined, misc]
        def change(self, link_id: int, **values: object) -> None:
            with self.engine.begin() as connection:
                step = text("insert into nowhere values (:token)")
                connection.execute(step, {"token": values["access_token"]})

    broken = BrokenStore(str(shop.store.engine.url))
    with pytest.raises(LinkIncompleteError) as caught:
        shop.link(broken)
    broken.engine.dispose()
    assert caught.value.result.access_token == shop.plaid.items[0].access_token
    shown = "".join(traceback.format_exception(caught.value))
    assert caught.value.result.access_token not in shown
    assert "hidden" in shown


@pytest.mark.slow
def test_killed_at_random_moments() -> None:
    """Dozens of SIGKILLs lose no access token without saying so, and leave nothing undone."""
    report = load("benchmarks/kill9.py").run(kills=36)
    assert report.lost_untold == []
    assert report.strangers == []
    assert report.incomplete == 0
    assert report.kills >= 12
    # Only in the window between Plaid's answer and the commit: so many by chance, and four sigma.
    expected = 36 * max(report.windows) / (1.2 * report.link_seconds)
    assert report.lost <= expected + 4 * math.sqrt(expected)
