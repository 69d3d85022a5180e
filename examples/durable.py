"""Layer, with a database: a link that survives `kill -9` at any moment.

The store keeps each step, encrypted, before the next request is sent; `recover` finishes what a
killed process left. Run it like the other examples, with "plaid-processors[store]" installed and a
key in STORE_KEY (`cryptography.fernet.Fernet.generate_key()`). It uses SQLite; set
DATABASE_URL=postgresql+psycopg://user@host/name for PostgreSQL.
"""

import os

from plaid_processors import ProcessorLinker
from plaid_processors.store import SqlStore


def main() -> None:
    """Finish the links of earlier runs, then make a new one."""
    url = os.environ.get("DATABASE_URL", "sqlite:///links.db")
    with SqlStore(url, keys=[os.environ["STORE_KEY"]]) as store:
        store.create_tables()
        with ProcessorLinker.from_env(store=store) as linker:
            print(f"recovered: {linker.recover()}")
            result = linker.link_sandbox("layer", client_user_id="Durable")
    for token in result.processor_tokens:
        print(f"for Durable: {token.account.label}, token {token.fingerprint}")


if __name__ == "__main__":
    main()
