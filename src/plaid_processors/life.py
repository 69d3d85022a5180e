"""The life of a link after it was made: what it asks for, how it stands, what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from attrs import field, frozen

from .errors import ItemLoginRequiredError, ItemNotFoundError, PlaidApiError, PlaidProcessorsError
from .results import Account, LinkResult, ProcessorToken, as_accounts
from .sessions import read_metadata

__all__ = [
    "MAY_END_EARLIER",
    "Duplicate",
    "DuplicateItemError",
    "LinkAction",
    "LinkChanges",
    "LinkStatus",
    "find_duplicates",
]


class LinkAction(StrEnum):
    """What a link asks for; members may be added, so a ``match`` needs a default.

    Attributes:
        REPAIR: ``repair``: the user goes through Link's update mode.
        ADD_ACCOUNTS: ``add_accounts``: update mode with account selection.
        REISSUE: ``reissue``: new processor tokens.
        STOP: ``stop``: the link, or an account of it, is over.
        CHECK: ``check``: look with `status` or `refresh`.
        FINISH_LINK: ``finish_link``: exchange what Link has made.
    """

    REPAIR = "repair"
    ADD_ACCOUNTS = "add_accounts"
    REISSUE = "reissue"
    STOP = "stop"
    CHECK = "check"
    FINISH_LINK = "finish_link"


# How long before a consent's end Plaid sends PENDING_DISCONNECT or PENDING_EXPIRATION:
# https://plaid.com/docs/api/items/#pending_disconnect
_NOTICE = timedelta(days=7)


def action_for(error: PlaidApiError) -> LinkAction:
    """What an Item's error asks for."""
    if isinstance(error, ItemNotFoundError):
        return LinkAction.STOP
    # https://plaid.com/docs/link/update-mode/ has NO_AUTH_ACCOUNTS among those that it repairs.
    broken = isinstance(error, ItemLoginRequiredError) or error.error_code == "NO_AUTH_ACCOUNTS"
    return LinkAction.REPAIR if broken else LinkAction.CHECK


@frozen(kw_only=True)
class LinkStatus:
    """How an Item stands, by what Plaid says of it now.

    Attributes:
        error: what is wrong with the Item, as an exception that was not raised; None: nothing.
        accounts: its accounts; with an error none, because they are not asked for then.
        products: the products that were added to it.
        consented_products: the products that its user consented to; None for an older Item, of
            which Plaid has no record.
        consent_expires_at: when the user's consent ends; None where it has no end.
        item_id: Plaid's id of the Item; None if it is gone.
        institution_id: Plaid's id of the bank, if Plaid says it.
    """

    # Two errors are equal by their code, so that two looks at one Item are.
    error: PlaidApiError | None = field(default=None, eq=lambda error: error and error.error_code)
    accounts: tuple[Account, ...] = ()
    products: tuple[str, ...] = ()
    consented_products: tuple[str, ...] | None = None
    consent_expires_at: datetime | None = None
    item_id: str | None = None
    institution_id: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the Item has no error; its consent may end soon all the same."""
        return self.error is None

    @property
    def action(self) -> LinkAction | None:
        """What it asks for, or None.

        `LinkAction.REPAIR`: the user goes through Link's update mode, since the login is broken, or
        the consent ends within seven days. `LinkAction.STOP`: the Item is gone, or its user
        withdrew the permission. `LinkAction.CHECK`: another error.
        """
        if self.error is not None:
            return action_for(self.error)
        end = self.consent_expires_at
        ends_soon = end is not None and end <= datetime.now(UTC) + _NOTICE
        return LinkAction.REPAIR if ends_soon else None


@frozen(kw_only=True)
class LinkChanges:
    """What `refresh` found and did.

    Attributes:
        result: the result as it is now: store it if it has changed.
        status: how the Item stands.
        added: the accounts that came, and of which a partner gets a token.
        removed: the accounts that went; their tokens are no longer in the result.
        issued: the tokens that were made now, for the partners.
        changed: whether the result is another than before.
    """

    result: LinkResult
    status: LinkStatus
    added: tuple[Account, ...] = ()
    removed: tuple[Account, ...] = ()
    issued: tuple[ProcessorToken, ...] = ()
    changed: bool = False


_CHASE = "ins_56"
MAY_END_EARLIER = (_CHASE, "ins_13", "ins_15", "ins_11")
"""Plaid's ids of the banks where a new link may end the earlier Item, even before the exchange.

Chase, PNC, Navy Federal and Charles Schwab, in June 2026: https://plaid.com/docs/link/oauth/ and
https://support.plaid.com/hc/en-us/articles/25835578989847. No page of Plaid's has the ids of the
last two: they are from public code.
"""


@frozen(kw_only=True)
class Duplicate:
    """An earlier link of the accounts that the user has just connected again.

    Attributes:
        result: the earlier link.
        accounts: the accounts in common, as the new link has them; none where names or masks are
            missing, so that the bank alone was compared.
        same_accounts: whether both links have the same accounts, as far as the earlier result
            knows those of its Item.
        earlier_may_be_dead: whether the bank may have ended the earlier Item already.
    """

    result: LinkResult
    accounts: tuple[Account, ...]
    same_accounts: bool
    earlier_may_be_dead: bool


class DuplicateItemError(PlaidProcessorsError):
    """The user has linked these accounts before; no request was sent.

    Attributes:
        duplicates: a `Duplicate` for each earlier link that has them.
        advice: what to do next.
    """

    def __init__(self, duplicates: Iterable[Duplicate]) -> None:
        self.duplicates: tuple[Duplicate, ...] = tuple(duplicates)
        found = "; ".join(
            f"Item {each.result.item_id or '(id unknown)'} ("
            f"{', '.join(account.label for account in each.accounts) or 'the same bank'})"
            for each in self.duplicates
        )
        self.advice: str = (
            "Use the earlier Item, and do not exchange this public token. "
            'on_duplicate="allow" links it all the same.'
        )
        if any(each.earlier_may_be_dead for each in self.duplicates):
            self.advice = (
                "This bank may have ended the earlier Item already, so choose one: link the new "
                'one with on_duplicate="allow", hand over its tokens and remove the earlier Item; '
                "or put the earlier Item through update mode (create_link_token(…, "
                "access_token=…)), which ends the new one."
            )
        super().__init__(f"the user has linked these accounts before: {found}. {self.advice}")


def find_duplicates(
    metadata: Mapping[str, object],
    earlier: Iterable[LinkResult],
    *,
    may_end_earlier: Iterable[str] = MAY_END_EARLIER,
) -> tuple[Duplicate, ...]:
    """The earlier links of one user that have an account that the user has just connected.

    Pure: call it before the public token is spent. An account is the same if the bank, the name and
    the mask are; where a name, a mask or an account's id is missing, the bank alone decides
    (https://plaid.com/docs/link/duplicate-items/). Of an earlier result that does not know its
    bank, name and mask alone are compared.

    Args:
        metadata: all of onSuccess's metadata, by Link's web or mobile SDKs.
        earlier: the earlier results of this user, and of no other.
        may_end_earlier: Plaid's ids of the banks where a new link may end the earlier Item.
    """
    if metadata is None:
        raise TypeError("metadata must be Link's metadata object, not None")
    origin, listed = read_metadata(metadata)
    try:
        accounts = as_accounts(listed or ())
    except ValueError:  # no id, which Link's mobile SDKs were seen to send
        accounts = ()
    bank, new = origin["institution_id"], {_name(each) for each in accounts}
    ends = bank in tuple(may_end_earlier)
    found: list[Duplicate] = []
    for result in as_results(earlier):
        if bank is None or result.institution_id not in (bank, None):
            continue
        old = {_name(each.account) for each in result.entries}
        common = tuple(each for each in accounts if _name(each) in old - {None})
        unsure = not new or not old or None in new | old
        if common or (unsure and result.institution_id is not None):
            same = new == old and len(common) == len(accounts) > 0
            found.append(
                Duplicate(
                    result=result,
                    accounts=common,
                    same_accounts=same,
                    # https://support.plaid.com/hc/en-us/articles/25835578989847
                    earlier_may_be_dead=ends and not (bank == _CHASE and same),
                )
            )
    return tuple(found)


def as_results(earlier: object) -> tuple[LinkResult, ...]:
    """The earlier results of a user, checked."""
    if not isinstance(earlier, Iterable):
        raise TypeError(
            f"earlier must be a list of LinkResult objects, not {type(earlier).__name__}"
        )
    results: list[LinkResult] = []
    for each in earlier:
        if not isinstance(each, LinkResult):
            raise TypeError(f"earlier must have LinkResult objects, not {type(each).__name__}")
        results.append(each)
    return tuple(results)


def _name(account: Account) -> tuple[str, str] | None:
    """What an account is known by from one link to the next; None where that is not enough."""
    return (account.name, account.mask) if account.name and account.mask else None
