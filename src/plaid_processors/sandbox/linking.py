"""The user's part of Link, from a link token to `onSuccess`, done by code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from . import notices
from .bank import AUTH_SUBTYPES, BANK_PRODUCTS, bank_to_link, find_bank
from .errors import PlaidError
from .model import Account, Bank, Item, LinkSession, LinkToken
from .products import scopes_of
from .users import GOOD_PASSWORD, GOOD_USER, accounts_of_user, log_in_again
from .views import link_account_view
from .wire import Json
from .world import World

DEFAULT_CUSTOMIZATION = "default"
DEFAULT_BANK = "ins_109508"
_KEPT_SESSIONS = 100  # of one link token, the latest
# Update mode adds these only for the clients that Plaid enabled for it.
_NOT_ADDED = frozenset({"auth", "identity"})


@dataclass(frozen=True, kw_only=True)
class Linked:
    """What the browser sends when Link is complete.

    Attributes:
        public_token: the first argument of `onSuccess`.
        metadata: its second argument, JSON-ready.

    """

    public_token: str = field(repr=False)
    metadata: Json


@dataclass(frozen=True, kw_only=True)
class Exited:
    """What the browser sends when the user leaves Link.

    Attributes:
        error: the first argument of `onExit`, None if there was no error.
        metadata: its second argument, JSON-ready.

    """

    error: Json | None
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
    """Apply the filters; a type without a filter is left out."""
    subtypes = (filters.get(account.type) or {}).get("account_subtypes") or ()
    return "all" in subtypes or account.subtype in subtypes


class HasLinkToken(Protocol):
    """A client's object for the answer to `/link/token/create`."""

    @property
    def link_token(self) -> str:
        """The token."""


def find_link_token(world: World, link_token: str | HasLinkToken) -> LinkToken:
    """Return a link token that still opens Link."""
    text: object = getattr(link_token, "link_token", link_token)
    token = world.link_tokens.get(text) if isinstance(text, str) else None
    if token is None:
        raise ValueError("this local Plaid made no such link token")
    if world.now() >= token.expires_at:
        raise ValueError("the link token is expired")
    if token.update_item is not None and token.update_item.removed:
        raise ValueError("the Item of this link token was removed")
    return token


def complete_link(
    world: World,
    link_token: str | HasLinkToken,
    *,
    institution_id: str | None = None,
    masks: Iterable[str] | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Linked:
    """Do what the user does in Link: choose the bank, log in, choose accounts."""
    if isinstance(masks, str):
        raise TypeError(f'masks must be a list such as ["{masks}"], not a string')
    masks = None if masks is None else tuple(masks)  # an iterator can be read only once
    token = find_link_token(world, link_token)
    item = token.update_item
    if item is not None:
        if institution_id not in (None, item.bank.institution_id):
            own = item.bank.institution_id
            raise ValueError(f"update mode is for the Item's own bank, {own}")
        log_in_again(item, username or item.username, password or item.password)
        mend(world, token, item, _choose_anew(world, token, item, masks))
    else:
        bank = bank_for_token(token, institution_id or DEFAULT_BANK)
        login = (username or GOOD_USER, password or GOOD_PASSWORD)
        accounts = accounts_of_user(bank, *login)
        chosen = _choose(world, token, allowed_accounts(token, accounts), masks)
        item = connect(world, token, bank, login, accounts, chosen)
    return succeed(world, token, begin(world, token), item)


def connect_banks(
    world: World, link_token: str | HasLinkToken, institution_ids: Sequence[str]
) -> tuple[Linked, ...]:
    """Do what the user does in multi-Item Link: connect several banks in one session."""
    if isinstance(institution_ids, str):
        raise TypeError(f'institution_ids must be a list such as ["{institution_ids}"]')
    token = find_link_token(world, link_token)
    if token.update_item is not None or not token.options.get("enable_multi_item_link"):
        raise ValueError("this link token was made without enable_multi_item_link")
    login = (GOOD_USER, GOOD_PASSWORD)
    user: list[tuple[Bank, list[Account], list[Account]]] = []
    for institution_id in institution_ids:
        bank = bank_for_token(token, institution_id)
        accounts = accounts_of_user(bank, *login)
        user.append(
            (bank, accounts, _choose(world, token, allowed_accounts(token, accounts), None))
        )
    if not user:
        raise ValueError("institution_ids names no bank")
    session = begin(world, token)
    done = tuple(
        _add(world, session, connect(world, token, bank, login, accounts, chosen))
        for bank, accounts, chosen in user
    )
    _finish(world, token, session)
    return done


def exit_link(
    world: World,
    link_token: str | HasLinkToken,
    *,
    institution_id: str | None = None,
    error_code: str | None = None,
    status: str | None = None,
) -> Exited:
    """Leave Link without an Item, with or without an error."""
    token = find_link_token(world, link_token)
    bank = find_bank(institution_id) if institution_id else None
    error = PlaidError(error_code) if error_code else None
    return leave(world, token, begin(world, token), bank, error, status)


def begin(world: World, token: LinkToken) -> LinkSession:
    """Open Link."""
    session = LinkSession(link_session_id=world.ids.uuid("session"), started_at=world.now())
    if len(token.sessions) == _KEPT_SESSIONS:
        world.link_runs.pop(token.sessions.pop(0).link_session_id, None)
    token.sessions.append(session)
    return session


def bank_for_token(token: LinkToken, institution_id: str) -> Bank:
    """Return the bank, if Link shows it for this link token and it allows new Items."""
    bank = bank_to_link(institution_id)
    countries = token.options["country_codes"]
    if bank.country not in countries:
        shown = ", ".join(countries)
        words = f"{bank.name} is in {bank.country}; this link token's country_codes: {shown}"
        raise PlaidError("INVALID_INSTITUTION", words)
    return bank


def connect(
    world: World,
    token: LinkToken,
    bank: Bank,
    login: tuple[str, str],
    accounts: list[Account],
    chosen: Sequence[Account],
) -> Item:
    """Make the Item of a user who shares the chosen accounts."""
    options = token.options
    item = world.add_item(
        client_id=token.client_id,
        bank=bank,
        accounts=accounts,
        username=login[0],
        password=login[1],
        products=[
            *(options.get("products") or ()),
            *_supported(options.get("required_if_supported_products")),
        ],
        optional=_supported(options.get("optional_products")),
        consented=options.get("additional_consented_products") or (),
        webhook=options.get("webhook") or "",
        days_requested=(options.get("transactions") or {}).get("days_requested") or 90,
    )
    item.shared = {account.account_id for account in chosen}
    item.through_link = True
    item.client_user_id = (options.get("user") or {}).get("client_user_id")
    if bank.ends_earlier:
        _end_earlier(world, item)
    return item


def _supported(products: Sequence[str] | None) -> list[str]:
    return [name for name in products or () if name in BANK_PRODUCTS]


def _end_earlier(world: World, item: Item) -> None:
    """Break the same user's earlier Items that share other accounts.

    https://plaid.com/docs/link/duplicate-items/ and
    https://support.plaid.com/hc/en-us/articles/25835578989847
    """
    for other in world.items.values():
        if (
            other is not item
            and other.through_link
            and not other.removed
            and _owner(other) == _owner(item)
            and _names(other) != _names(item)
        ):
            other.error_code = "ITEM_LOGIN_REQUIRED"
            notices.item_broken(world, other)


def _owner(item: Item) -> tuple[object, ...]:
    return item.client_id, item.bank.institution_id, item.username, item.client_user_id


def _names(item: Item) -> set[tuple[object, ...]]:
    return {(account.name, account.mask) for account in item.shared_accounts()}


def mend(world: World, token: LinkToken, item: Item, chosen: Sequence[Account] | None) -> None:
    """Repair an Item; change its accounts, if they were chosen again; note what is consented to."""
    if chosen is not None:
        kept = item.shared if item.bank.keeps_accounts else set()
        item.shared = {account.account_id for account in chosen} | kept
    end = item.consent_ends_at
    over = item.error_code == "USER_PERMISSION_REVOKED" or (end and world.now() >= end)
    if over and item.bank.renews_tokens:  # https://plaid.com/docs/auth/
        item.renewals += 1
    item.error_code = None
    item.mended_at = world.now()
    asked: Sequence[str] = token.options.get("products") or ()
    added = [name for name in asked if name not in _NOT_ADDED]
    item.products = sorted({*item.products, *added})
    if item.scopes is not None:
        more: Sequence[str] = token.options.get("additional_consented_products") or ()
        item.scopes |= scopes_of([*added, *more])


def succeed(world: World, token: LinkToken, session: LinkSession, item: Item) -> Linked:
    """End a session with an Item."""
    done = _add(world, session, item)
    _finish(world, token, session)
    return done


def _add(world: World, session: LinkSession, item: Item) -> Linked:
    """Add an Item to a session."""
    public_token = world.add_public_token(item).token
    metadata = _success_metadata(session.link_session_id, item)
    session.metadata = session.metadata or metadata
    shown = {name: metadata[name] for name in ("accounts", "institution")}
    session.added.append({**shown, "public_token": public_token})
    return Linked(public_token=public_token, metadata=metadata)


def leave(
    world: World,
    token: LinkToken,
    session: LinkSession,
    bank: Bank | None,
    error: PlaidError | None,
    status: str | None,
) -> Exited:
    """End a session without an Item."""
    request_id = world.ids.hexadecimal("request", 15)
    session.error = error.body(request_id) if error else None
    session.metadata = {
        "institution": institution_view(bank) if bank else None,
        "status": status,
        "link_session_id": session.link_session_id,
        "request_id": request_id,
    }
    _finish(world, token, session)
    return Exited(error=link_error(session.error), metadata=session.metadata)


def link_error(error: Json | None) -> Json | None:
    """Show an error as in Link's callbacks, with four of its keys."""
    kept = ("error_type", "error_code", "error_message", "display_message")
    return {name: error[name] for name in kept} if error else None


def _finish(world: World, token: LinkToken, session: LinkSession) -> None:
    session.finished_at = world.now()
    if run := world.link_runs.get(session.link_session_id):
        run.accounts, run.offered = [], []
    notices.session_finished(world, token, session)


def selects_one(world: World, token: LinkToken) -> bool:
    """Return whether the customization's Account Select is "enabled for one account"."""
    name = token.options.get("link_customization_name") or DEFAULT_CUSTOMIZATION
    return name in world.single_account


def selects_anew(token: LinkToken) -> bool:
    """Return whether update mode lets the user choose the accounts again."""
    return bool((token.options.get("update") or {}).get("account_selection_enabled"))


def _choose_anew(
    world: World, token: LinkToken, item: Item, masks: Sequence[str] | None
) -> Sequence[Account] | None:
    if masks is None:
        return None
    if not selects_anew(token):
        raise ValueError("accounts can only be chosen with update.account_selection_enabled")
    return _choose(world, token, allowed_accounts(token, item.accounts), masks)


def _choose(
    world: World, token: LinkToken, accounts: list[Account], masks: Sequence[str] | None
) -> list[Account]:
    """Return the accounts with these masks; by default all that may be chosen together."""
    offered = [account.mask for account in accounts]
    if not accounts:
        raise ValueError("no account of this user passes the link token's products and filters")
    one = selects_one(world, token)
    if masks is None:
        return accounts[:1] if one else accounts
    absent = [mask for mask in masks if mask not in offered]
    if absent or not masks:
        shown = ", ".join(str(mask) for mask in offered)
        raise ValueError(f"no account to choose for masks {absent}; there are: {shown}")
    chosen = [account for account in accounts if account.mask in masks]
    if one and len(chosen) > 1:
        raise ValueError("Account Select is enabled for one account here: choose one mask")
    return chosen


def institution_view(bank: Bank) -> Json:
    """Show a bank as in Link's metadata."""
    return {"name": bank.name, "institution_id": bank.institution_id}


def _success_metadata(session_id: str, item: Item) -> Json:
    accounts = [link_account_view(account) for account in item.shared_accounts()]
    return {
        "institution": institution_view(item.bank),
        "accounts": accounts,
        "account": accounts[0] if len(accounts) == 1 else None,
        "link_session_id": session_id,
        "transfer_status": None,
    }
