"""The data that the local Plaid keeps."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from .wire import Json

PUBLIC_TOKEN_LIFE = dt.timedelta(minutes=30)
LINK_TOKEN_LIFE = dt.timedelta(hours=4)
UPDATE_MODE_LIFE = dt.timedelta(minutes=30)
# https://support.plaid.com/hc/en-us/articles/14977241619991: most processor tokens do not expire.
PROCESSOR_TOKEN_LIVES = {"dwolla": dt.timedelta(hours=1), "unit": dt.timedelta(hours=24)}
# https://plaid.com/docs/link/hosted-link/: how long a session's data is kept.
SESSION_KEPT = dt.timedelta(hours=6)
# https://plaid.com/docs/sandbox/: Items enter ITEM_LOGIN_REQUIRED 30 days after creation.
LOGIN_LIFE = dt.timedelta(days=30)
# https://plaid.com/docs/api/items/#pending_disconnect: how long before the end it is sent.
NOTICE = dt.timedelta(days=7)

Number = int | float


@dataclass(frozen=True, kw_only=True)
class Bank:
    """An institution of the Sandbox."""

    institution_id: str
    name: str
    country: str
    oauth: bool
    health: str
    supported: bool
    tokenized_numbers: bool
    # Linking other accounts again ends the earlier Item.
    ends_earlier: bool
    # Update mode takes no account away.
    keeps_accounts: bool
    # A consent that ended or was withdrawn voids the processor tokens, also after update mode.
    renews_tokens: bool
    # How long the user's consent lasts, where the bank ends it.
    consent_life: dt.timedelta | None
    routing_numbers: tuple[str, ...]


@dataclass(kw_only=True)
class Account:
    """One account at a bank, whether or not the user shared it."""

    account_id: str
    name: str
    official_name: str | None
    mask: str | None
    type: str
    subtype: str | None
    current: Number | None
    available: Number | None
    limit: Number | None
    currency: str = "USD"
    apy: Number | None = None
    holder_category: str | None = None
    persistent_account_id: str | None = None
    verification_status: str | None = None
    numbers: Json = field(default_factory=dict)
    owners: list[Json] = field(default_factory=list)
    # None: derived from the seed; otherwise as the custom user describes them.
    given_transactions: list[Json] | None = None


@dataclass(kw_only=True)
class Item:
    """One user's login at one bank."""

    item_id: str
    client_id: str
    access_token: str
    bank: Bank
    accounts: list[Account]
    shared: set[str]
    products: list[str]
    billed: list[str]
    # What the user consented to share; None: not recorded, so that nothing is refused for it.
    scopes: frozenset[str] | None
    username: str
    password: str = field(repr=False)
    webhook: str
    created_at: dt.datetime
    mended_at: dt.datetime
    # How long a login lasts; None: for ever.
    login_life: dt.timedelta | None = LOGIN_LIFE
    # Made in Link, by the end user of this id.
    client_user_id: str | None = None
    through_link: bool = False
    days_requested: int = 90
    error_code: str | None = None
    removed: bool = False
    last_webhook: Json | None = None
    exchanged: bool = False
    # How often its processor tokens became void.
    renewals: int = 0
    synced: bool = False

    def add_product(self, name: str) -> None:
        """Add a product that was asked for, which is billed from now on."""
        self.products = sorted({*self.products, name})
        self.billed = sorted({*self.billed, name})

    def shared_accounts(self) -> list[Account]:
        """Return the accounts the user shared, in the bank's order."""
        return [account for account in self.accounts if account.account_id in self.shared]

    def error_at(self, now: dt.datetime) -> str | None:
        """Return the code of the Item's error, if it has one."""
        ends = (self.login_ends_at, self.consent_ends_at)
        if self.error_code is None and any(end is not None and now >= end for end in ends):
            return "ITEM_LOGIN_REQUIRED"
        return self.error_code

    @property
    def login_ends_at(self) -> dt.datetime | None:
        """When the user has to log in again."""
        return self.mended_at + self.login_life if self.login_life else None

    @property
    def consent_ends_at(self) -> dt.datetime | None:
        """When the user's consent ends, where the bank ends it."""
        life = self.bank.consent_life
        return self.mended_at + life if life else None


@dataclass(kw_only=True)
class PublicToken:
    """A public token: valid for one exchange within thirty minutes."""

    token: str
    item: Item
    expires_at: dt.datetime
    spent: bool = False


@dataclass(kw_only=True)
class ProcessorToken:
    """A partner's token for one account; no products listed means all."""

    token: str
    item: Item
    account_id: str
    processor: str
    renewal: int
    expires_at: dt.datetime | None = None
    products: list[str] = field(default_factory=list)
    webhook: str | None = None


@dataclass(kw_only=True)
class LinkSession:
    """One run of Link: under way in a browser, or ended with an Item or an exit."""

    link_session_id: str
    started_at: dt.datetime
    finished_at: dt.datetime | None = None
    # Of the end: what onSuccess or onExit gets; in multi-Item Link, of the first Item.
    metadata: Json = field(default_factory=dict)
    # Each Item that was connected: its public token, bank and accounts.
    added: list[Json] = field(default_factory=list)
    error: Json | None = None
    events: list[Json] = field(default_factory=list)


@dataclass(kw_only=True)
class LinkToken:
    """A link token with its options, and the sessions that it opened."""

    token: str
    client_id: str
    options: Json
    created_at: dt.datetime
    expires_at: dt.datetime
    update_item: Item | None = None
    hosted_link_url: str | None = None
    sessions: list[LinkSession] = field(default_factory=list)


@dataclass(kw_only=True)
class LinkRun:
    """The state of a browser's pane, between its opening and its end."""

    token: LinkToken
    session: LinkSession
    bank: Bank | None = None
    # The user's name and password, all accounts of the user, and those that Link offers.
    login: tuple[str, str] = field(default=("", ""), repr=False)
    accounts: list[Account] = field(default_factory=list)
    offered: list[Account] = field(default_factory=list)
    code_wanted: bool = False
    oauth_state: str | None = None
