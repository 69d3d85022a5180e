"""Layer, with a database: a link that survives `kill -9` at any moment.

Each step is committed before the next request is sent. At the next start, interrupted links
continue from their last commit. Run it like the other examples, with SQLAlchemy installed. It uses
SQLite; set DATABASE_URL=postgresql+psycopg://user@host/name for another database.
"""

import json
import os
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Float,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateTable

from plaid_processors import (
    LinkIncompleteError,
    LinkResult,
    PlaidProcessorsError,
    ProcessorLinker,
    PublicTokenError,
)

# state: started (only the public token is stored), linked (the Item is stored), done, refused
# (there is no Item), unknown (there may be one: ask Plaid). In production, encrypt the tokens and
# the result.
links = Table(
    "plaid_links",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("user_id", String(100), nullable=False),
    Column("state", String(10), nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("public_token", String(100)),
    Column("accounts", JSON(none_as_null=True)),
    Column("access_token", String(100)),
    Column("item_id", String(100)),
    Column("result", JSON(none_as_null=True)),
    Column("note", Text),
)


class Store:
    """The table. Each method uses its own transaction on its own connection."""

    def __init__(self, url: str) -> None:
        # hide_parameters: a database error must not show a token.
        self.engine = create_engine(url, hide_parameters=True)
        with self.engine.begin() as connection:
            connection.execute(CreateTable(links, if_not_exists=True))

    def start(self, user_id: str, public_token: str, accounts: Sequence[Any] | None) -> Row[Any]:
        """Store a link before anything is sent, so that a crash does not lose it."""
        values = {"user_id": user_id, "public_token": public_token, "accounts": accounts}
        new = insert(links).values(**values, state="started", changed_at=time.time())
        with self.engine.begin() as connection:
            return connection.execute(new.returning(links)).one()

    def change(self, link_id: int, **values: object) -> None:
        """Store one step of a link."""
        with self.engine.begin() as connection:
            step = update(links).where(links.c.id == link_id)
            connection.execute(step.values(**values, changed_at=time.time()))

    def unfinished(self, older_than: float) -> Sequence[Row[Any]]:
        """Return the links that were interrupted, without those that another process works on."""
        waiting = links.c.state.in_(["started", "linked"])
        quiet = links.c.changed_at <= time.time() - older_than
        with self.engine.begin() as connection:
            return connection.execute(select(links).where(waiting, quiet)).all()


def handle_success(
    store: Store,
    linker: ProcessorLinker,
    user_id: str,
    public_token: str,
    metadata: Mapping[str, Any],
) -> LinkResult | None:
    """Handle the arguments of Link's onSuccess, as your server would."""
    return go_on(store, linker, store.start(user_id, public_token, metadata.get("accounts")))


def recover(store: Store, linker: ProcessorLinker, older_than: float = 120.0) -> None:
    """Continue interrupted links: call it at every start, and every few minutes."""
    for link in store.unfinished(older_than):
        go_on(store, linker, link, again=True)


def go_on(
    store: Store, linker: ProcessorLinker, link: Row[Any], *, again: bool = False
) -> LinkResult | None:
    """Continue a link from its last step."""
    try:
        result = _next_step(store, linker, link)
    except LinkIncompleteError as error:
        try:
            store.change(link.id, **_kept(error.result), state="linked", note=str(error))
        except SQLAlchemyError:
            raise error from error.__cause__  # it has the last copy of the access token
    except PlaidProcessorsError as error:
        state = link.state if link.access_token else _after_no_exchange(error, again)
        store.change(link.id, state=state, note=str(error))
        print(f"link {link.id} is {state}: {error}")
    else:
        store.change(link.id, **_kept(result), state="done", note=None)
        return result
    return None


def _next_step(store: Store, linker: ProcessorLinker, link: Row[Any]) -> LinkResult:
    if link.result is not None:
        return linker.resume(LinkResult.from_dict(link.result))
    if link.access_token is not None:
        return linker.issue(
            "layer", access_token=link.access_token, item_id=link.item_id, accounts=link.accounts
        )
    return linker.link(
        "layer",
        public_token=link.public_token,
        accounts=link.accounts,
        on_exchange=lambda item: store.change(
            link.id, state="linked", access_token=item.access_token, item_id=item.item_id
        ),
    )


def _kept(result: LinkResult) -> dict[str, object]:
    return {
        "access_token": result.access_token,
        "item_id": result.item_id,
        "result": result.to_dict(),
    }


def _after_no_exchange(error: PlaidProcessorsError, again: bool) -> str:
    """Return the state of a link whose exchange failed."""
    spent = isinstance(error, PublicTokenError)
    if getattr(error, "outcome_unknown", False) or (spent and again):
        # The token may be spent because an exchange succeeded whose answer a crash lost. The error
        # says what to ask Plaid's support; the row has the public token and the time.
        return "unknown"
    return "refused" if spent else "started"


def sandbox_public_token() -> str:
    """Make a public token in Plaid's Sandbox, which needs no browser."""
    body = {
        "client_id": os.environ["PLAID_CLIENT_ID"],
        "secret": os.environ["PLAID_SECRET"],
        "institution_id": "ins_109508",
        "initial_products": ["transactions"],
    }
    request = urllib.request.Request(  # noqa: S310  the address is ours
        os.environ.get("PLAID_BASE_URL", "https://sandbox.plaid.com")
        + "/sandbox/public_token/create",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return str(json.load(answer)["public_token"])


def main() -> None:
    """Continue the links of earlier runs, then make a new one."""
    store = Store(os.environ.get("DATABASE_URL", "sqlite:///links.db"))
    with ProcessorLinker.from_env() as linker:
        recover(store, linker)
        user = "Durable"
        result = handle_success(store, linker, user, sandbox_public_token(), {})
        for token in result.processor_tokens if result else ():
            print(f"for {user}: {token.account.label}, token {token.fingerprint}")


if __name__ == "__main__":
    main()
