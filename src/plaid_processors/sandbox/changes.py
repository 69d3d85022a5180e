"""What the user and the bank do to an Item after Link, done by code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from . import notices
from .bank import AUTH_SUBTYPES, CURRENCIES, default_numbers, default_owner
from .ids import derived_digits
from .model import Account, Item
from .tables import table
from .world import World


@dataclass(frozen=True, kw_only=True)
class BankAccount:
    """An account that the user opened at the bank.

    Attributes:
        account_id: Plaid's id, once the user shares the account.
        name: its name.
        mask: the last digits of its number; for `masks` of `complete_link`.
        type: its type, as Plaid writes it.
        subtype: its subtype, as Plaid writes it.

    """

    account_id: str
    name: str
    mask: str
    type: str
    subtype: str


class HasAccessToken(Protocol):
    """A client's object for an Item, such as a `LinkedItem` or a `LinkResult`."""

    @property
    def access_token(self) -> str:
        """The Item's access token."""


ItemOf = str | HasAccessToken


def find_item(world: World, item: ItemOf) -> Item:
    """Return an Item by its id, its access token, or an object that has the token."""
    text = item if isinstance(item, str) else getattr(item, "access_token", None)
    found = world.items.get(str(text)) or world.access_tokens.get(str(text))
    if found is None or found.removed:
        raise ValueError("this local Plaid has no such Item, or it was removed")
    return found


def _account(item: Item, account_id: str) -> Account:
    for account in item.accounts:
        if account.account_id == account_id:
            return account
    raise ValueError("this Item has no such account")


def break_login(world: World, item: Item) -> None:
    """Break the login, as a changed password does."""
    item.error_code = "ITEM_LOGIN_REQUIRED"
    notices.item_broken(world, item)


def revoke(world: World, item: Item, account_id: str | None) -> None:
    """Withdraw the permission for the Item, or for one account."""
    if account_id is None:
        item.error_code = "USER_PERMISSION_REVOKED"
        notices.send_item_webhook(world, item, "ITEM", "USER_PERMISSION_REVOKED")
        return
    if account_id not in item.shared:
        raise ValueError("the user does not share this account")
    notices.account_revoked(world, item, account_id)
    item.shared.discard(account_id)


def open_account(
    world: World, item: Item, subtype: str, name: str | None, mask: str | None
) -> BankAccount:
    """Open an account at the bank, which the user does not share yet."""
    types = {row["subtype"]: row["type"] for row in table("accounts")}
    if subtype not in types:
        raise ValueError(f"subtype must be one of: {', '.join(types)}")
    taken = {account.mask for account in item.accounts}
    mask = mask or next(text for n in range(7000, 10_000) if (text := f"{n}") not in taken)
    if mask in taken:
        raise ValueError(f"the user has an account that ends in {mask} already")
    account = Account(
        account_id="",
        name=name or f"Plaid {subtype.title()}",
        official_name=None,
        mask=mask,
        type=types[subtype],
        subtype=subtype,
        current=100,
        available=100,
        limit=None,
        currency=CURRENCIES[item.bank.country],
        numbers=default_numbers(item.bank, mask) if subtype in AUTH_SUBTYPES else {},
        owners=[default_owner()],
    )
    world.name_account(account, item.bank, item.username, len(item.accounts))
    item.accounts.append(account)
    notices.send_item_webhook(world, item, "ITEM", "NEW_ACCOUNTS_AVAILABLE")
    return BankAccount(
        account_id=account.account_id,
        name=account.name,
        mask=mask,
        type=account.type,
        subtype=subtype,
    )


def close_account(item: Item, account_id: str) -> None:
    """Close an account at the bank. No webhook says so: https://plaid.com/docs/link/oauth/."""
    item.accounts.remove(_account(item, account_id))
    item.shared.discard(account_id)


def change_numbers(world: World, item: Item, account_id: str | None) -> None:
    """Give an account, or all, another number at the bank; its last digits stay."""
    chosen = item.shared_accounts() if account_id is None else [_account(item, account_id)]
    changed = [account for account in chosen if "ach" in account.numbers]
    if not changed:
        raise ValueError("there is no account with a US account number to change")
    for account in changed:
        old = account.numbers["ach"]["account"]
        new = derived_digits(old, length=len(old) - 4) + old[-4:]
        account.numbers["ach"] = {**account.numbers["ach"], "account": new}
    notices.numbers_changed(world, item, [account.account_id for account in changed])
