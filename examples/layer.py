"""Layer: every account that the user connected, for bookkeeping.

To run it in Plaid's Sandbox, set PLAID_CLIENT_ID and PLAID_SECRET. To run it on the local Plaid,
start `plaid-processors sandbox` and set PLAID_BASE_URL to the address that it prints.
"""

from collections.abc import Mapping

from plaid_processors import LinkedItem, LinkIncompleteError, LinkResult, ProcessorLinker


def store(item: LinkedItem) -> None:
    """Store the access token in your database, encrypted, and commit: it is the only key."""
    print(f"stored the access token of Item {item.item_id}")


def handle_success(
    linker: ProcessorLinker, public_token: str, metadata: Mapping[str, object]
) -> LinkResult:
    """Handle the arguments of Link's onSuccess, as your server would."""
    try:
        result = linker.link(
            "layer", public_token=public_token, metadata=metadata, on_exchange=store
        )
    except LinkIncompleteError as error:
        # The Item exists: request what is missing. A job queue would wait a while first.
        result = linker.resume(error.result)
    show(result)
    return result


def show(result: LinkResult) -> None:
    """Show the tokens. Your code would hand them to Layer."""
    for token in result.processor_tokens:
        print(f"for Layer: {token.account.label}, token {token.fingerprint}")


def main() -> None:
    """Link in the Sandbox, where no browser is needed."""
    with ProcessorLinker.from_env() as linker:
        result = linker.link_sandbox("layer", on_exchange=store)
        show(result)
        linker.remove(result.access_token)


if __name__ == "__main__":
    main()
