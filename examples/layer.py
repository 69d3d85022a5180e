"""Layer: every account that the user connected, for bookkeeping.

Run it in Plaid's Sandbox with PLAID_CLIENT_ID and PLAID_SECRET, or on the local Plaid:
`plaid-processors sandbox`, and PLAID_BASE_URL set to the address that it prints.
"""

from collections.abc import Mapping

from plaid_processors import LinkedItem, LinkIncompleteError, LinkResult, ProcessorLinker


def store(item: LinkedItem) -> None:
    """Your database, encrypted, committed at once: the only key to the Item."""
    print(f"stored the access token of Item {item.item_id}")


def handle_success(
    linker: ProcessorLinker, public_token: str, metadata: Mapping[str, object]
) -> LinkResult:
    """What your server does with what Link's onSuccess sent."""
    try:
        result = linker.link(
            "layer", public_token=public_token, metadata=metadata, on_exchange=store
        )
    except LinkIncompleteError as error:
        # The Item exists: once more for what is missing. A job queue would wait a while first.
        result = linker.resume(error.result)
    show(result)
    return result


def show(result: LinkResult) -> None:
    """Your code hands these to Layer."""
    for token in result.processor_tokens:
        print(f"for Layer: {token.account.label}, token {token.fingerprint}")


def main() -> None:
    """Show it in the Sandbox, where no browser is needed."""
    with ProcessorLinker.from_env() as linker:
        result = linker.link_sandbox("layer", on_exchange=store)
        show(result)
        linker.remove(result.access_token)


if __name__ == "__main__":
    main()
