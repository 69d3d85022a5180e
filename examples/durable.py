"""Layer, with a database: a link that survives `kill -9` at any moment.

Each step is committed before the next request is sent, and whatever stopped, a crash too, goes on
from the last commit at the next start. Run it like the other examples, with SQLAlchemy installed;
SQLite by default, another database by its URL: DATABASE_URL=postgresql+psycopg://user@host/name.
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

# state: started (nothing but the public token), linked (the Item is ours), done, refused (there is
# no Item), unknown (there may be one: ask Plaid). Encrypt the tokens and the result in earnest.
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
    """The table. Each call is a transaction of its own, on a connection of its own."""

    def __init__(self, url: str) -> None:
        # hide_parameters: an error of the database must not show a token.
        self.engine = create_engine(url, hide_parameters=True)
        with self.engine.begin() as connection:
            connection.execute(CreateTable(links, if_not_exists=True))

    def start(self, user_id: str, public_token: str, accounts: Sequence[Any] | None) -> Row[Any]:
        """Before anything is sent: what a crash would otherwise forget."""
        values = {"user_id": user_id, "public_token": public_token, "accounts": accounts}
        new = insert(links).values(**values, state="started", changed_at=time.time())
        with self.engine.begin() as connection:
            return connection.execute(new.returning(links)).one()

    def change(self, link_id: int, **values: object) -> None:
        """One step further."""
        with self.engine.begin() as connection:
            step = update(links).where(links.c.id == link_id)
            connection.execute(step.values(**values, changed_at=time.time()))

    def unfinished(self, older_than: float) -> Sequence[Row[Any]]:
        """What stopped on its way, and is not another process's work of this moment."""
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
    """What your server does with what Link's onSuccess sent."""
    return go_on(store, linker, store.start(user_id, public_token, metadata.get("accounts")))


def recover(store: Store, linker: ProcessorLinker, older_than: float = 120.0) -> None:
    """At every start, and every few minutes: go on with what stopped."""
    for link in store.unfinished(older_than):
        go_on(store, linker, link, again=True)


def go_on(
    store: Store, linker: ProcessorLinker, link: Row[Any], *, again: bool = False
) -> LinkResult | None:
    """Take a link on from where it stopped."""
    try:
        result = _next_step(store, linker, link)
    except LinkIncompleteError as error:
        try:
            store.change(link.id, **_kept(error.result), state="linked", note=str(error))
        except SQLAlchemyError:
            raise error from error.__cause__  # it holds the last copy of the access token
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
    """What is known of the Item when an exchange failed."""
    spent = isinstance(error, PublicTokenError)
    if getattr(error, "outcome_unknown", False) or (spent and again):
        # It may be spent because an exchange worked whose answer a crash kept from us: the error
        # says what to ask Plaid's support, and the row has the public token and the time.
        return "unknown"
    return "refused" if spent else "started"


def sandbox_public_token() -> str:
    """Plaid's Sandbox needs no browser: what the user would do in Link."""
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
    """Finish what an earlier run left, then link one more."""
    store = Store(os.environ.get("DATABASE_URL", "sqlite:///links.db"))
    with ProcessorLinker.from_env() as linker:
        recover(store, linker)
        user = "Durable"
        result = handle_success(store, linker, user, sandbox_public_token(), {})
        for token in result.processor_tokens if result else ():
            print(f"for {user}: {token.account.label}, token {token.fingerprint}")


if __name__ == "__main__":
    main()
