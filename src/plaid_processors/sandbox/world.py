"""The state of the local Plaid: accepted keys, Items and tokens."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .bank import tokenize
from .clock import Clock
from .errors import PlaidError
from .ids import Ids, derived_word
from .limits import Limits
from .model import (
    LOGIN_LIFE,
    PROCESSOR_TOKEN_LIVES,
    PUBLIC_TOKEN_LIFE,
    Account,
    Bank,
    Item,
    LinkRun,
    LinkToken,
    ProcessorToken,
    PublicToken,
)
from .products import BILLED_AT_ONCE, scopes_of
from .signing import Signer
from .tokens import check_form, expired_public_token, new_token, unknown
from .wire import Json

CLIENT_ID = re.compile(r"[0-9a-fA-F]{24}")
SECRET = re.compile(r"[0-9a-fA-F]{30}")


# How many link tokens, and how many removed Items with their tokens, are kept at least. The oldest
# are forgotten, so that memory is bounded where Items are removed.
KEPT_LINK_TOKENS = 5_000
KEPT_REMOVED = 1_000


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook to send; those of one `order` are sent in the order they were made."""

    url: str
    body: Json
    order: str


@dataclass(kw_only=True)
class World:
    """The whole state of one local Plaid. Not locked: its owner lets one call in at a time."""

    ids: Ids
    clock: Clock
    keys: dict[str, str]
    any_keys: bool = False
    # Whether the Items made from now on record what the user consented to.
    consent: bool = True
    # How long the logins of the Items made from now on last; None: for ever.
    login_life: dt.timedelta | None = LOGIN_LIFE
    redirect_uris: frozenset[str] | None = None
    disabled_partners: set[str] = field(default_factory=set)
    items: dict[str, Item] = field(default_factory=dict)
    access_tokens: dict[str, Item] = field(default_factory=dict)
    public_tokens: dict[str, PublicToken] = field(default_factory=dict)
    processor_tokens: dict[str, ProcessorToken] = field(default_factory=dict)
    link_tokens: dict[str, LinkToken] = field(default_factory=dict)
    link_runs: dict[str, LinkRun] = field(default_factory=dict)
    removed: list[Item] = field(default_factory=list)
    # The customizations whose Account Select is "enabled for one account".
    single_account: set[str] = field(default_factory=set)
    limits: Limits = field(default_factory=Limits)
    signer: Signer = field(init=False)
    send: Callable[[Webhook], None] = lambda _: None

    def __post_init__(self) -> None:
        self.signer = Signer(self.ids, self.now())

    def now(self) -> dt.datetime:
        """Return the time of this world."""
        return self.clock.now()

    def admit(self, client_id: str, secret: str) -> None:
        """Refuse keys that are unknown or not well-formed."""
        for name, value, form in (("client_id", client_id, CLIENT_ID), ("secret", secret, None)):
            if not value or (form and not form.fullmatch(value)):
                raise PlaidError(
                    "INVALID_FIELD", f"{name} must be a properly formatted, non-empty string"
                )
        if self.keys.get(client_id) == secret:
            return
        if not (self.any_keys and SECRET.fullmatch(secret)):
            raise PlaidError("INVALID_API_KEYS")

    def add_item(
        self,
        *,
        client_id: str,
        bank: Bank,
        accounts: list[Account],
        username: str,
        password: str,
        products: Iterable[str],
        optional: Iterable[str] = (),
        consented: Iterable[str] = (),
        webhook: str = "",
        days_requested: int = 90,
    ) -> Item:
        """Make an Item of these accounts, all of them shared.

        `optional` products are billed when they are first used; those `consented` are not added,
        but may be used.
        """
        item_id = self.ids.word("item", 37)
        for place, account in enumerate(accounts):
            self.name_account(account, bank, username, place)
        added = {*products, *optional}
        # https://plaid.com/docs/link/data-transparency-messaging-migration-guide/: US and CA.
        asked = self.consent and bank.country in ("US", "CA")
        item = Item(
            item_id=item_id,
            client_id=client_id,
            access_token=new_token("access", self.ids.uuid("access")),
            bank=bank,
            accounts=accounts,
            shared={account.account_id for account in accounts},
            products=sorted(added),
            billed=sorted(BILLED_AT_ONCE.intersection(products)),
            scopes=scopes_of([*added, *consented]) if asked else None,
            username=username,
            password=password,
            webhook=webhook,
            created_at=self.now(),
            mended_at=self.now(),
            login_life=self.login_life,
            days_requested=days_requested,
        )
        self.items[item_id] = item
        self.access_tokens[item.access_token] = item
        return item

    def name_account(self, account: Account, bank: Bank, username: str, place: int) -> None:
        """Give an account its ids, and a tokenized number where the bank has these."""
        account.account_id = self.ids.word("account", 37)
        if bank.tokenized_numbers and account.type == "depository":
            own = (account.name, account.mask, account.numbers.get("ach"))
            account.persistent_account_id = derived_word(bank.institution_id, username, place, *own)
        if bank.tokenized_numbers and account.numbers:
            tokenize(account)

    def rotate_access_token(self, item: Item) -> None:
        """Give the Item a new access token; the old one is void at once."""
        del self.access_tokens[item.access_token]
        item.access_token = new_token("access", self.ids.uuid("access"))
        self.access_tokens[item.access_token] = item

    def add_link_token(self, token: LinkToken) -> None:
        """Keep a link token; one too many forgets the oldest, with its sessions."""
        self.link_tokens[token.token] = token
        if len(self.link_tokens) > KEPT_LINK_TOKENS:
            oldest = self.link_tokens.pop(next(iter(self.link_tokens)))
            for session in oldest.sessions:
                self.link_runs.pop(session.link_session_id, None)

    def remove(self, item: Item) -> None:
        """Remove an Item: its tokens are void, its data is gone."""
        item.removed = True
        item.password = ""
        for account in item.accounts:
            account.numbers, account.owners, account.given_transactions = {}, [], None
        self.removed.append(item)
        if len(self.removed) > 2 * KEPT_REMOVED:
            self._forget(self.removed[:-KEPT_REMOVED])
            del self.removed[:-KEPT_REMOVED]

    def _forget(self, items: Iterable[Item]) -> None:
        gone = {item.item_id for item in items}
        for item_id in gone:
            del self.items[item_id]
        for text in [t for t, item in self.access_tokens.items() if item.item_id in gone]:
            del self.access_tokens[text]
        for text in [t for t, each in self.public_tokens.items() if each.item.item_id in gone]:
            del self.public_tokens[text]
        for text in [t for t, each in self.processor_tokens.items() if each.item.item_id in gone]:
            del self.processor_tokens[text]

    def add_public_token(self, item: Item) -> PublicToken:
        """Make a public token for an Item."""
        token = PublicToken(
            token=new_token("public", self.ids.uuid("public")),
            item=item,
            expires_at=self.now() + PUBLIC_TOKEN_LIFE,
        )
        self.public_tokens[token.token] = token
        return token

    def add_processor_token(self, item: Item, account_id: str, processor: str) -> ProcessorToken:
        """Make a processor token; each call makes a new one, the older ones stay valid."""
        life = PROCESSOR_TOKEN_LIVES.get(processor)
        token = ProcessorToken(
            token=new_token("processor", self.ids.uuid("processor")),
            item=item,
            account_id=account_id,
            processor=processor,
            renewal=item.renewals,
            expires_at=self.now() + life if life else None,
        )
        self.processor_tokens[token.token] = token
        return token

    def spend_public_token(self, token: str, client_id: str) -> Item:
        """Exchange a public token for its Item, once."""
        check_form(token, "public")
        found = self.public_tokens.get(token)
        if found is None or found.item.client_id != client_id or found.spent:
            raise unknown("public")
        if found.item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        if self.now() >= found.expires_at:
            raise expired_public_token()
        found.spent = True
        return found.item

    def item_of(self, access_token: str, client_id: str) -> Item:
        """Find the Item of an access token, whatever its state."""
        check_form(access_token, "access")
        item = self.access_tokens.get(access_token)
        if item is None or item.client_id != client_id:
            raise unknown("access")
        if item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        return item

    def find_processor_token(self, token: str) -> ProcessorToken:
        """Find a processor token; any partner's keys are accepted."""
        check_form(token, "processor")
        found = self.processor_tokens.get(token)
        if found is None or (found.expires_at and self.now() >= found.expires_at):
            raise unknown("processor")
        if found.renewal < found.item.renewals:
            raise unknown("processor")
        if found.item.removed:
            raise PlaidError("ITEM_NOT_FOUND")
        return found

    def check_login(self, item: Item) -> None:
        """Refuse the data of a broken Item."""
        code = item.error_at(self.now())
        if code is not None:
            raise PlaidError(code)
