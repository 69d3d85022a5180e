"""What happens between a link token and `onSuccess`: the user's part, done by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .bank import AUTH_SUBTYPES, BANK_PRODUCTS
from .model import Account, Bank, Item, LinkSession, LinkToken
from .users import accounts_of_user
from .views import link_account_view
from .wire import Json
from .world import World


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What the browser hands over when Link is done.

    Attributes:
        public_token: the first argument of `onSuccess`.
        metadata: its second argument, JSON-ready.

    """

    public_token: str = field(repr=False)
    metadata: Json


def allowed_accounts(token: LinkToken, accounts: Sequence[Account]) -> list[Account]:
    """Return the accounts that Link would offer for this link token."""
    filters = token.options.get("account_filters")
    auth = "auth" in (token.options.get("products") or ())
    return [
        account
        for account in accounts
        if (not filters or _passes(filters, account))
        and (not auth or account.subtype in AUTH_SUBTYPES)
    ]


def _passes(filters: Json, account: Account) -> bool:
    """Apply the filters; a type that none is given for is left out."""
    subtypes = (filters.get(account.type) or {}).get("account_subtypes") or ()
    return "all" in subtypes or account.subtype in subtypes


def find_link_token(world: World, link_token: str) -> LinkToken:
    """Return a link token that Link would still open."""
    token = world.link_tokens.get(link_token)
    if token is None:
        raise ValueError("this local Plaid made no such link token")
    if world.now() >= token.expires_at:
        raise ValueError("the link token is expired")
    return token


def complete_link(
    world: World,
    link_token: str,
    *,
    institution_id: str = "ins_109508",
    masks: Sequence[str] | None = None,
    username: str = "user_good",
    password: str = "pass_good",  # noqa: S107 - the Sandbox's, printed in Plaid's docs
) -> Linked:
    """Do what the user does in Link: choose the bank, log in, choose accounts."""
    token = find_link_token(world, link_token)
    started = world.now()
    if token.update_item is not None:
        item = _update(world, token, token.update_item, masks)
    else:
        item = _connect(world, token, world.bank(institution_id), masks, (username, password))
    public_token = world.add_public_token(item).token
    session = LinkSession(
        link_session_id=world.ids.uuid("session"), started_at=started, finished_at=world.now()
    )
    session.public_token = public_token
    session.metadata = _success_metadata(session, item)
    token.sessions.append(session)
    return Linked(public_token=public_token, metadata=session.metadata)


def _connect(
    world: World,
    token: LinkToken,
    bank: Bank,
    masks: Sequence[str] | None,
    credentials: tuple[str, str],
) -> Item:
    accounts = accounts_of_user(bank, *credentials)
    chosen = _choose(allowed_accounts(token, accounts), masks)
    options = token.options
    item = world.add_item(
        client_id=token.client_id,
        bank=bank,
        accounts=accounts,
        products=_initial_products(options),
        webhook=options.get("webhook") or "",
        days_requested=(options.get("transactions") or {}).get("days_requested") or 90,
    )
    item.shared = {account.account_id for account in chosen}
    return item


def _initial_products(options: Json) -> list[str]:
    """Return the products asked for, with those that the bank happens to support."""
    if_supported = options.get("required_if_supported_products") or ()
    return [
        *(options.get("products") or ()),
        *(name for name in if_supported if name in BANK_PRODUCTS),
    ]


def _update(world: World, token: LinkToken, item: Item, masks: Sequence[str] | None) -> Item:
    """Mend the Item and, where the link token says so, change its accounts."""
    selecting = (token.options.get("update") or {}).get("account_selection_enabled")
    if selecting and masks is not None:
        chosen = _choose(allowed_accounts(token, item.accounts), masks)
        item.shared = {account.account_id for account in chosen}
    elif masks is not None:
        raise ValueError("accounts can only be chosen with update.account_selection_enabled")
    item.error_code = None
    item.mended_at = world.now()
    return item


def _choose(accounts: list[Account], masks: Sequence[str] | None) -> list[Account]:
    """Return the accounts with these masks, or all that are on offer."""
    offered = [account.mask for account in accounts]
    if not accounts:
        raise ValueError("no account of this user passes the link token's products and filters")
    if masks is None:
        return accounts
    absent = [mask for mask in masks if mask not in offered]
    if absent or not masks:
        shown = ", ".join(str(mask) for mask in offered)
        raise ValueError(f"no account to choose for masks {absent}; there are: {shown}")
    return [account for account in accounts if account.mask in masks]


def _success_metadata(session: LinkSession, item: Item) -> Json:
    accounts = [link_account_view(account) for account in item.shared_accounts()]
    return {
        "institution": {"name": item.bank.name, "institution_id": item.bank.institution_id},
        "accounts": accounts,
        "account": accounts[0] if len(accounts) == 1 else None,
        "link_session_id": session.link_session_id,
        "transfer_status": None,
    }
