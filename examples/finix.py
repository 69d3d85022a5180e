"""Finix: one bank account of the user, for payments.

To run it in Plaid's Sandbox, set PLAID_CLIENT_ID and PLAID_SECRET. To run it on the local Plaid,
start `plaid-processors sandbox` and set PLAID_BASE_URL to the address that it prints.
"""

from collections.abc import Mapping

from plaid_processors import AccountSelectionError, LinkedItem, ProcessorLinker


def store(item: LinkedItem) -> None:
    """Store the access token in your database, encrypted, and commit: it is the only key."""
    print(f"stored the access token of Item {item.item_id}")


def handle_success(
    linker: ProcessorLinker,
    public_token: str,
    metadata: Mapping[str, object],
    account_id: str | None = None,
) -> dict[str, object]:
    """Handle the arguments of Link's onSuccess; `account_id` is the user's choice."""
    try:
        result = linker.link(
            "finix",
            public_token=public_token,
            metadata=metadata,
            account_id=account_id,
            on_exchange=store,
        )
    except AccountSelectionError as refused:
        # Nothing was sent, and the public token is still valid: ask the user which account.
        return {"choose_one_of": [account.account_id for account in refused.eligible]}
    token = result.token("finix")
    print(f"for Finix: {token.account.label}, token {token.fingerprint}")
    return {"linked": token.account.account_id}


def main() -> None:
    """Link in the Sandbox, where no browser is needed."""
    with ProcessorLinker.from_env() as linker:
        result = linker.link_sandbox("finix", on_exchange=store)
        print(f"for Finix: {result.token('finix').account.label}")
        linker.remove(result.access_token)


if __name__ == "__main__":
    main()
