"""Hand tokens over to Layer and to Finix, and show what the partners have.

It runs without keys, against local stand-ins for Plaid, Layer and Finix. In your own code, make the
senders with `LayerSender.from_env()` and `FinixSender.from_env()`.
"""

from plaid_processors import LinkResult, ProcessorLinker
from plaid_processors.handoff import (
    FinixSender,
    HandoffError,
    HandoffRefusedError,
    LayerSender,
)
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox


def hand_to_layer(sender: LayerSender, result: LinkResult, business_id: str) -> None:
    """Hand the tokens over. Call it at any time: it sends nothing if no token is new."""
    done = sender.hand_over(result, business_id=business_id)
    print(f"for Layer: {len(done.new)} new tokens, {done.sent} sent")


def hand_to_finix(sender: FinixSender, result: LinkResult, identity: str) -> str | None:
    """Return the instrument's id, or None if a person has to check for an existing one."""
    token = result.token("finix")
    try:
        instrument = sender.hand_over(token, identity=identity)
    except HandoffRefusedError as refused:
        print(f"for Finix: {token.account.label} is there already, {len(refused.existing)} time")
        return None
    except HandoffError as error:
        if error.outcome_unknown:  # do not retry automatically: let a person check
            print(f"for Finix: unknown. {error.advice}")
            return None
        raise
    print(f"for Finix: {token.account.label}, instrument {instrument.id[:2]}…")
    return instrument.id  # store it: it is the `source` of your transfers


def main() -> None:
    """Run it on this machine."""
    with (
        LocalSandbox() as plaid,
        LocalLayer(plaid) as layer,
        LocalFinix(plaid) as finix,
        ProcessorLinker(plaid.client()) as linker,
        LayerSender(
            client_id=layer.client_id,
            client_secret=layer.client_secret,
            base_url=layer.url,
            auth_url=layer.url,
        ) as to_layer,
        FinixSender(
            username=finix.username, password=finix.password, base_url=finix.url
        ) as to_finix,
    ):
        result = linker.link_sandbox(["layer", "finix"], narrow=True)
        business, identity = layer.new_business(), finix.new_identity()
        for _ in range(2):  # the second time changes nothing
            hand_to_layer(to_layer, result, business)
            hand_to_finix(to_finix, result, identity)
        for book in layer.books(business)[:3]:
            print(f"Layer sees {book.subtype} …{book.mask}: {book.transactions} transactions")
        for seen in finix.instruments:
            print(f"Finix sees {seen.subtype} of {', '.join(seen.owners)}, and no other account")
        linker.remove(result.access_token)


if __name__ == "__main__":
    main()
