"""Finix: one bank account of the user, for payments.

Run it in Plaid's Sandbox with PLAID_CLIENT_ID and PLAID_SECRET, or on the local Plaid:
`plaid-processors sandbox`, and PLAID_BASE_URL set to the address that it prints.
"""

from collections.abc import Mapping

from plaid_processors import AccountSelectionError, LinkedItem, ProcessorLinker


def store(item: LinkedItem) -> None:
    """Your database, encrypted, committed at once: the only key to the Item."""
    print(f"stored the access token of Item {item.item_id}")


def handle_success(
    linker: ProcessorLinker,
    public_token: str,
    metadata: Mapping[str, object],
    account_id: str | None = None,
) -> dict[str, object]:
    """What your server does with what Link's onSuccess sent; `account_id` is the user's choice."""
    try:
        result = linker.link(
            "finix",
            public_token=public_token,
            metadata=metadata,
            account_id=account_id,
            on_exchange=store,
        )
    except AccountSelectionError as refused:
        # Nothing was sent, and the public token is still good: ask the user which account.
        return {"choose_one_of": [account.account_id for account in refused.eligible]}
    token = result.token("finix")
    print(f"for Finix: {token.account.label}, token {token.fingerprint}")
    return {"linked": token.account.account_id}


def main() -> None:
    """Show it in the Sandbox, where no browser is needed."""
    with ProcessorLinker.from_env() as linker:
        result = linker.link_sandbox("finix", on_exchange=store)
        print(f"for Finix: {result.token('finix').account.label}")
        linker.remove(result.access_token)


if __name__ == "__main__":
    main()
