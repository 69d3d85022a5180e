"""Which tokens of a business Layer is to have. Pure.

Whether Layer's PUT adds tokens or replaces them is not known, so all that live are sent each time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

from attrs import field, frozen

from ..errors import ConfigurationError
from ..redaction import fingerprint, mask, mask_repr
from ..results import Account, LinkResult, ProcessorToken
from .errors import HandoffRefusedError, PartnerApiError
from .requests import token_text

Tokens = LinkResult | Iterable[ProcessorToken]
Gone = LinkResult | ProcessorToken | Account | Iterable[LinkResult | ProcessorToken | Account | str]


@frozen(kw_only=True)
class LayerAccount:
    """An account as Layer lists it for a business.

    Attributes:
        id: Layer's id of it.
        plaid_account_id: Plaid's id of it.
        plaid_processor_token: the token that Layer reads it with, as Layer echoes it.
        status: ``ACTIVE`` or ``ARCHIVED``.
        name: its name.
        mask: the last digits of its number.
        account_type: such as ``DEPOSITORY`` or ``CREDIT``.
        subtype: such as ``CHECKING``, as Layer writes it.
    """

    id: str | None = None
    plaid_account_id: str | None = None
    plaid_processor_token: str | None = field(default=None, repr=mask_repr)
    status: str | None = None
    name: str | None = None
    mask: str | None = None
    account_type: str | None = None
    subtype: str | None = None

    @property
    def archived(self) -> bool:
        """Whether Layer no longer reads it."""
        return self.status == "ARCHIVED"


def tokens_for_layer(
    given: Tokens, environment: str | None = None, *, none_allowed: bool = False
) -> tuple[ProcessorToken, ...]:
    """The tokens for Layer, the newest of each account: of a result Layer's, of a list all."""
    if isinstance(given, LinkResult):
        tokens = tuple(each for each in given.processor_tokens if each.processor == "layer")
    else:
        tokens = tuple([given] if isinstance(given, ProcessorToken) else given)
    for each in tokens:
        if not isinstance(each, ProcessorToken):
            raise TypeError(f"expected ProcessorToken objects, not {type(each).__name__}")
        token_text(each, "layer", environment)
    if not tokens and not none_allowed:
        raise ConfigurationError("no processor token to hand to Layer")
    by_age = sorted(tokens, key=attrgetter("issued_at"))
    newest = {each.account.account_id: each for each in by_age}
    return tuple(each for each in dict.fromkeys(tokens) if each in newest.values())


def what_is_dead(gone: Gone, tokens: Sequence[ProcessorToken]) -> set[str]:
    """The tokens, and the ids of the accounts, that are not to be sent any more."""
    dead: set[str] = set()
    alone = (LinkResult, ProcessorToken, Account, str)
    for each in [gone] if isinstance(gone, alone) else gone:
        if isinstance(each, LinkResult):
            over = {token.processor_token for token in each.processor_tokens}
            # An account of its Item may have got a new token since, which lives.
            living = {
                token.account.account_id for token in tokens if token.processor_token not in over
            }
            dead |= over | ({entry.account.account_id for entry in each.entries} - living)
        elif isinstance(each, ProcessorToken):
            dead.add(each.processor_token)
        elif isinstance(each, Account):
            dead.add(each.account_id)
        elif isinstance(each, str):
            dead.add(each)
        else:
            raise TypeError(
                "gone must have account ids, accounts, processor tokens or results, "
                f"not {type(each).__name__}"
            )
    return dead


def living(tokens: Sequence[ProcessorToken], dead: Collection[str]) -> list[ProcessorToken]:
    """The tokens but for the dead."""
    return [
        each
        for each in tokens
        if each.processor_token not in dead and each.account.account_id not in dead
    ]


def is_dead(account: LayerAccount, dead: Collection[str]) -> bool:
    """Whether its id, or the token that Layer reads it with, is among what is dead."""
    return account.plaid_account_id in dead or account.plaid_processor_token in dead


def all_tokens(
    business_id: str,
    before: Sequence[LayerAccount],
    tokens: Sequence[ProcessorToken],
    dead: Collection[str],
) -> dict[str, str]:
    """The tokens that Layer is to have, and the id of each one's account ("": not known).

    These are the tokens that it reads with now, but for those of ``dead``, and those given. A newer
    token replaces the older one of its account. An archived account stays archived, unless a new
    token is given for it.
    """
    given = {each.account.account_id: each.processor_token for each in tokens}
    kept = [
        each
        for each in before
        if not (each.archived or each.plaid_account_id in given or is_dead(each, dead))
    ]
    hidden = tuple(each for each in kept if each.plaid_processor_token is None)
    if hidden:
        raise HandoffRefusedError(
            f"Layer reads {len(hidden)} accounts of business {business_id} whose tokens it does "
            "not list, and they might be dropped",
            partner="layer",
            existing=hidden,
            advice="They were not sent. Pass the tokens of these accounts too.",
        )
    archived = {each.plaid_processor_token for each in before if each.archived}
    known = {
        each.plaid_processor_token: each.plaid_account_id or ""
        for each in kept
        if each.plaid_processor_token is not None
    }
    fresh = {token: account for account, token in given.items() if token not in archived}
    return {**known, **fresh}


def not_listed(sent: Mapping[str, str], after: Sequence[LayerAccount]) -> list[str]:
    """The accounts of tokens that were sent and are not listed afterwards, by Plaid's ids."""
    listed = {each.plaid_processor_token for each in after}
    hidden = {each.plaid_account_id for each in after if each.plaid_processor_token is None}
    return [
        account for token, account in sent.items() if token not in listed and account not in hidden
    ]


def say_what_is_dead(refused: PartnerApiError, sent: Mapping[str, str]) -> None:
    """Name the tokens that a refusal is about, and say what to do if they are dead.

    Layer's answer to a dead token is not known: it may name the token, the account, or neither.
    """
    text = " ".join(each.message or "" for each in refused.faults)
    words = re.findall(r"[\w-]+", text)
    named = {
        token: account
        for token, account in sent.items()
        if account in words or (len(mask(token)) > 1 and mask(token) in text)
    }
    listed = ", ".join(
        f"account {account or '(id unknown)'} (token {fingerprint(token)})"
        for token, account in (named or sent).items()
    )
    refused.account_ids = tuple(filter(None, named.values()))
    if "ITEM_LOGIN_REQUIRED" in f"{text} {refused.codes}":
        refused.advice = (
            f"Nothing was changed. A bank login is broken ({listed}): let the user repair that "
            "Item in update mode, then hand over again. Until then its tokens can be left out with "
            "gone=, if you hand them over again after the repair."
        )
        return
    refused.advice += (
        f" {'It names' if named else 'It names none of the tokens sent:'} {listed}. If the Item of "
        "a token was removed, or its account is no longer shared, the token is dead: pass the "
        "account's id in gone=."
    )
