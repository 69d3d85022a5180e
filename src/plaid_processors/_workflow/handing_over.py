"""Whose tokens are handed over, to whom, and by what: one after the other in all processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from .._plaid.call import PlaidCall
from ..errors import ConfigurationError, DecryptionError
from ..handoff.errors import HandoffRefusedError
from ..handoff.layer_tokens import Gone, living, what_is_dead
from ..handoff.requests import partner_id
from ..handoff.sending import Sender
from ..redaction import redact
from ..results import ProcessorToken
from ..store.books import Books
from ..store.records import Handoff, LinkQuery, LinkState
from ..store.sealing import Entry, sha256
from .arguments import filled_text, flag, stored_text
from .leases import leased
from .ledger import Hands, Ledger
from .plan import partners_of


async def hand_over(
    call: PlaidCall,
    books: Books | None,
    item_id: str,
    sender: Hands,
    *,
    identity: str | None,
    business_id: str | None,
    partner: str | None,
    account_id: str | None,
    again: bool,
    gone: Gone,
) -> tuple[Handoff, ...]:
    """Hand over what is not there yet; the hand-offs as they are stored then."""
    if books is None:
        raise ConfigurationError("hand_over needs a store: ProcessorLinker(…, store=…)")
    stored_text("item_id", item_id)
    flag("again", again)
    partner, target = _partner_and_target(
        call, books, sender, partner, {"identity": identity, "business_id": business_id}
    )
    together = isinstance(sender, Sender) and sender.api.repeatable
    own = sender.begin(call.port) if isinstance(sender, Sender) else call
    leases = [f"hand over {item_id} to {partner}"]
    if isinstance(sender, Sender):
        leases.append(f"hand over to {partner} {sha256(f'{sender.base_url} {target}')}")
    async with AsyncExitStack() as stack:
        for name in leases:
            await stack.enter_async_context(leased(own, books, name))
        entry = await own.port.run(partial(books.get, item_id))
        own.check()
        tokens = _tokens(entry, partner, account_id)
        if isinstance(sender, Sender) and not together and len(tokens) > 1:
            raise ConfigurationError(
                f"the Item has {partner} tokens of {len(tokens)} accounts: pass account_id="
            )
        dead = what_is_dead(gone, tokens)
        if dead and not together:
            raise ConfigurationError("gone= is for Layer, which is sent all tokens each time")
        if together:
            dead |= await own.port.run(partial(_known_as_dead, books, entry, partner, target))
            own.check()
        ledger = Ledger(own, books, entry, partner, target)
        for group in [living(tokens, dead)] if together else [[each] for each in tokens]:
            await ledger.hand_over(sender, group, again=again, gone=dead)
    return tuple(ledger.of(each) for each in tokens)


def _known_as_dead(books: Books, entry: Entry, partner: str, target: str | None) -> set[str]:
    """The accounts of the user's that the target has, and no Item shares any more."""
    handed: set[str] = set()
    living: set[str] = set()
    query = LinkQuery(client_user_id=entry.record.client_user_id)
    for record in books.records(query):
        ways = {each.account_id for each in record.handoffs if each.processor == partner}
        try:
            result = books.read(record).contents.result
        except DecryptionError:
            living |= ways  # it is not known
            continue
        handed |= {
            each.account_id
            for each in record.handoffs
            if each.processor == partner and each.target == target
        }
        if result is not None and record.state is not LinkState.REMOVED:
            living |= {each.account.account_id for each in result.entries}
    return handed - living


def _partner_and_target(
    call: PlaidCall,
    books: Books,
    sender: object,
    partner: str | None,
    given: Mapping[str, str | None],
) -> tuple[str, str | None]:
    """Whose tokens are handed over, and for whom."""
    targets = [name for name, value in given.items() if value is not None]
    if isinstance(sender, Sender):
        name, wanted = sender.api.name, sender.api.target
        if targets != [wanted]:
            raise ConfigurationError(f"{type(sender).__name__} needs {wanted}=, and no other id")
        if partner not in (None, name):
            raise ConfigurationError(f"{type(sender).__name__} is for {name}: leave partner= out")
        if sender.environment != books.environment:
            raise ConfigurationError(
                f"the sender is for {name}'s {sender.environment}, and the linker for Plaid's "
                f"{books.environment}"
            )
        return name, partner_id(wanted, given[wanted], name.title())
    if not callable(sender):
        raise TypeError(f"sender must be a sender or a function, not {type(sender).__name__}")
    call.port.check_callback("sender", sender)
    if targets:
        raise ConfigurationError(f"{targets[0]}= is for the package's own senders")
    if partner is None:
        raise ConfigurationError("partner= must say whose tokens the function hands over")
    return filled_text("partner", partner), None


def _tokens(entry: Entry, partner: str, account_id: str | None) -> tuple[ProcessorToken, ...]:
    """The partner's tokens of the Item."""
    if entry.record.state is LinkState.REMOVED:
        raise HandoffRefusedError(
            "the Item was removed, and its tokens are void",
            partner=partner,
            advice="Nothing was sent. Let the user link again.",
        )
    result = entry.contents.result
    assert result is not None
    tokens = [each for each in result.processor_tokens if each.processor == partner]
    if not tokens:
        name, missing = redact(partner), partner in partners_of(result)
        way = "refresh(item_id=…)" if missing else f"issue({name!r}, item_id=…)"
        raise ConfigurationError(f"the Item has no token for {name}: call {way} first")
    fitting = [each for each in tokens if account_id in (None, each.account.account_id)]
    if not fitting:
        raise ConfigurationError(f"the Item has no token for {partner} of this account_id")
    return tuple(fitting)
