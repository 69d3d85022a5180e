"""The local Plaid without its server: its state, faults and log, under one lock."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Unpack

from . import changes, linking, notices, pane
from .changes import BankAccount, ItemOf
from .clock import Clock
from .core import dispatch
from .courier import Courier, Delivery
from .errors import PlaidError
from .faults import ANYWHERE, Fault, FaultFields, Faults, bent
from .ids import Ids
from .journal import Journal, LoggedRequest, masked, masked_text
from .linking import Exited, Linked
from .model import LOGIN_LIFE, Item
from .partners import STRIPE, processors
from .webhooks import SignedWebhook, sign_webhook
from .wire import Answer, Json, Request, from_json
from .world import CLIENT_ID, SECRET, World

DEFAULT_SEED = 1
AccountSelect = Literal["one", "many"]
ACCOUNT_SELECTS: tuple[AccountSelect, ...] = ("one", "many")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A client's keys."""

    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ItemState:
    """One Item as the local Plaid holds it.

    Attributes:
        item_id: its id.
        client_id: the client that it belongs to.
        access_token: its current access token.
        institution_id: its bank.
        account_ids: the accounts that the user shared.
        processor_tokens: the tokens issued for it, in order.
        exchanged: whether one of its public tokens was exchanged.
        removed: whether it was removed.

    """

    item_id: str
    client_id: str
    access_token: str = field(repr=False)
    institution_id: str
    account_ids: tuple[str, ...]
    processor_tokens: tuple[str, ...] = field(repr=False)
    exchanged: bool
    removed: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An answer, or none; and the fault that changes how it is sent."""

    answer: Answer | None
    fault: Fault | None = None


class Engine:
    """The local Plaid without the socket, and its control plane in Python."""

    def __init__(
        self,
        *,
        client_id: str | None = None,
        secret: str | None = None,
        any_keys: bool = False,
        seed: int | str = DEFAULT_SEED,
        now: dt.datetime | None = None,
        redirect_uris: Iterable[str] | None = None,
        consent: bool = True,
        remote_webhooks: bool = False,
    ):
        keys = Ids(seed)
        if client_id is None:
            client_id = keys.hexadecimal("client_id", 24)
        if secret is None:
            secret = keys.hexadecimal("secret", 30)
        if not CLIENT_ID.fullmatch(client_id):
            raise ValueError("client_id must be 24 hexadecimal digits")
        if not SECRET.fullmatch(secret):
            raise ValueError("secret must be 30 hexadecimal digits")
        self.client_id, self.secret = client_id, secret
        self._any_keys = any_keys
        self._seed = seed
        self._start_at = now
        self._redirect_uris = None if redirect_uris is None else frozenset(redirect_uris)
        self._consent = consent
        self._lock = threading.RLock()
        self._faults = Faults()
        self._journal: Journal[LoggedRequest] = Journal()
        self._courier = Courier(
            lambda body, at: self._world.signer.sign(body, at), remote=remote_webhooks
        )
        self._world = self._new_world()

    def _new_world(self) -> World:
        return World(
            ids=Ids(self._seed),
            clock=Clock(self._start_at),
            keys={self.client_id: self.secret},
            any_keys=self._any_keys,
            redirect_uris=self._redirect_uris,
            consent=self._consent,
            send=self._courier.send,
        )

    # Answering

    def fault_for(self, path: str) -> Fault | None:
        """Return the fault that strikes a request to this path, if one does."""
        return self._faults.take(path)

    def handle(self, request: Request, fault: Fault | None = None) -> Outcome:
        """Answer a request, changed by the fault that strikes it."""
        number = self._journal.next_number()
        outcome = Outcome(answer=self._answer(request, fault), fault=fault)
        self._log(number, request, outcome)
        return outcome

    def _answer(self, request: Request, fault: Fault | None) -> Answer | None:
        return bent(fault, lambda: self._dispatch(request), self._request_id)

    def _request_id(self) -> str:
        with self._lock:
            return self._world.ids.hexadecimal("request", 15)

    def _dispatch(self, request: Request) -> Answer:
        with self._lock:
            return dispatch(self._world, request)

    def _log(self, number: int, request: Request, outcome: Outcome) -> None:
        answer = outcome.answer
        told = _json_or_none(answer.body) if answer else None
        told = told if isinstance(told, dict) else {}
        self._journal.add(
            LoggedRequest(
                number=number,
                at=self.now,
                method=request.method,
                path=masked_text(request.path),
                body=masked(_json_or_none(request.body)),
                status=answer.status if answer else None,
                error_code=_text_or_none(told.get("error_code")),
                request_id=_text_or_none(told.get("request_id")),
                fault=masked(outcome.fault.to_dict()) if outcome.fault else None,
            ),
            size=len(request.path) + len(request.body),
        )

    # The user's part

    def complete_link(
        self,
        link_token: str | linking.HasLinkToken,
        institution_id: str | None = None,
        *,
        masks: Iterable[str] | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> Linked:
        """Do what the user does in Link, and return the arguments of `onSuccess`.

        Args:
            link_token: from `/link/token/create` of this sandbox; a string, or an object that
                has it as `link_token`.
            institution_id: the bank that the user chooses, by default `ins_109508`; update mode is
                at the Item's bank.
            masks: the accounts that the user chooses; by default all that Link offers.
            username: the test user that logs in, by default `user_good`; in update mode, the
                Item's.
            password: its password, by default `pass_good`; in update mode, the Item's.

        Raises:
            TypeError: `masks` is a string.
            ValueError: no such link token, bank or account, and the message lists the valid ones;
                or the bank refuses the login, and the message has Plaid's error code.

        """
        with self._lock:
            try:
                return linking.complete_link(
                    self._world,
                    link_token,
                    institution_id=institution_id,
                    masks=masks,
                    username=username,
                    password=password,
                )
            except PlaidError as error:
                raise ValueError(str(error)) from None

    def connect_banks(
        self, link_token: str | linking.HasLinkToken, institution_ids: Sequence[str]
    ) -> tuple[Linked, ...]:
        """Connect several banks in one session of multi-Item Link, with all accounts of each.

        As at Plaid, the browser gets none of the public tokens: they are in `/link/token/get` and
        in the webhook `LINK` / `SESSION_FINISHED`. Returned are those of each bank, in order.

        Args:
            link_token: one made with `enable_multi_item_link` and a `user_id` or `user_token`.
            institution_ids: the banks.

        Raises:
            TypeError: `institution_ids` is a string.
            ValueError: no such link token or bank, or the link token is for one Item.

        """
        with self._lock:
            try:
                return linking.connect_banks(self._world, link_token, institution_ids)
            except PlaidError as error:
                raise ValueError(str(error)) from None

    def exit_link(
        self,
        link_token: str | linking.HasLinkToken,
        *,
        institution_id: str | None = None,
        error_code: str | None = None,
        status: str | None = None,
    ) -> Exited:
        """Leave Link as a user does, and return the arguments of `onExit`.

        Raises:
            ValueError: no such link token, bank or error code.

        """
        with self._lock:
            try:
                return linking.exit_link(
                    self._world,
                    link_token,
                    institution_id=institution_id,
                    error_code=error_code,
                    status=status,
                )
            except (PlaidError, KeyError) as error:
                raise ValueError(str(error)) from None

    # What happens to an Item later. `item` is its id, its access token, or an object that has the
    # token, such as a LinkedItem or a LinkResult. All raise ValueError for an Item or an account
    # that is not there.

    def reset_login(self, item: ItemOf) -> None:
        """Break an Item's login, as a changed password does; `ITEM` / `ERROR` is sent.

        The Item needs update mode.
        """
        with self._lock:
            changes.break_login(self._world, changes.find_item(self._world, item))

    def revoke(self, item: ItemOf, *, account_id: str | None = None) -> None:
        """Withdraw the permission for an Item, or for one account of it, as the user can.

        `ITEM` / `USER_PERMISSION_REVOKED` or `USER_ACCOUNT_REVOKED` is sent. The Item answers
        `USER_PERMISSION_REVOKED` until update mode; an account is no longer shared.
        """
        with self._lock:
            changes.revoke(self._world, changes.find_item(self._world, item), account_id)

    def new_account(
        self,
        item: ItemOf,
        subtype: str = "savings",
        *,
        name: str | None = None,
        mask: str | None = None,
    ) -> BankAccount:
        """Open another account at the Item's bank; `ITEM` / `NEW_ACCOUNTS_AVAILABLE` is sent.

        The Item has it after update mode with account selection, as in
        `complete_link(link_token, masks=["0000", account.mask])`. It is this Item's alone: another
        link of the same user does not have it.

        Args:
            item: the Item.
            subtype: one that the default user has an account of.
            name: the account's name.
            mask: the last digits of its number; by default those of no other account.

        """
        with self._lock:
            found = changes.find_item(self._world, item)
            return changes.open_account(self._world, found, subtype, name, mask)

    def close_account(self, item: ItemOf, account_id: str) -> None:
        """Close an account at the bank: it is gone from the Item, and no webhook is sent."""
        with self._lock:
            changes.close_account(changes.find_item(self._world, item), account_id)

    def change_numbers(self, item: ItemOf, account_id: str | None = None) -> None:
        """Change the account number of one account, or of all that are shared.

        `AUTH` / `DEFAULT_UPDATE` is sent if the Item has Auth.
        """
        with self._lock:
            changes.change_numbers(self._world, changes.find_item(self._world, item), account_id)

    # Control

    def reset(self, seed: int | str | None = None) -> None:
        """Remove all Items, tokens, faults and log entries; the keys stay.

        Raises:
            TypeError: the seed is neither a number nor a text.

        """
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | str)):
            raise TypeError("a seed is a whole number or a text")
        with self._lock:
            self._seed = self._seed if seed is None else seed
            self._world = self._new_world()
            self._faults.clear()
            self._journal.clear()
            self._courier.clear()

    @property
    def now(self) -> dt.datetime:
        """The time of this Plaid's clock."""
        return self._world.now()

    def advance(self, by: dt.timedelta | float) -> dt.datetime:
        """Move the clock forward, by a timedelta or by seconds, and return the new time."""
        by = by if isinstance(by, dt.timedelta) else dt.timedelta(seconds=by)
        with self._lock:
            world, before = self._world, self._world.now()
            world.clock.advance(by)
            for item in world.items.values():
                if not item.removed and world.now().date() > before.date():
                    notices.time_passed(world, item, before)
            return world.now()

    def enable_partner(self, processor: str) -> None:
        """Enable a partner for the keys, as in the Dashboard; all are enabled by default."""
        _check_partner(processor)
        with self._lock:
            self._world.disabled_partners.discard(processor)

    def disable_partner(self, processor: str) -> None:
        """Disable a partner for the keys."""
        _check_partner(processor)
        with self._lock:
            self._world.disabled_partners.add(processor)

    def set_account_select(
        self, select: AccountSelect, customization: str = linking.DEFAULT_CUSTOMIZATION
    ) -> None:
        """Set Link's Account Select for a customization, as in the Dashboard.

        Args:
            select: `one` account, or `many` (the default).
            customization: its name, as in a link token's `link_customization_name`.

        """
        if select not in ACCOUNT_SELECTS:
            raise ValueError(f"Account Select is one of {', '.join(ACCOUNT_SELECTS)}: {select!r}")
        with self._lock:
            names = self._world.single_account
            (names.add if select == "one" else names.discard)(customization)

    def record_consent(self, enabled: bool = True) -> None:
        """Record for new Items what the user consents to (the default), or record nothing.

        Without a record, every product can be read, as with Items from before Plaid recorded it.
        """
        with self._lock:
            self._world.consent = enabled

    def expire_logins(self, enabled: bool = True) -> None:
        """Break the logins of new Items after thirty days (the default), or never.

        Without that, an Item lasts until its bank ends the user's consent.
        """
        with self._lock:
            self._world.login_life = LOGIN_LIFE if enabled else None

    def link_page(self, action: str, body: Json) -> Json:
        """Answer a request of Link's pane; the module `pane` has the actions.

        Raises:
            PlaidError: Link shows this error.

        """
        with self._lock:
            return pane.ACTIONS[action](self._world, body)

    def new_keys(self) -> Keys:
        """Make keys of another client, accepted from now on."""
        with self._lock:
            ids = self._world.ids
            keys = Keys(
                client_id=ids.hexadecimal("other_client_id", 24),
                secret=ids.hexadecimal("other_secret", 30),
            )
            self._world.keys[keys.client_id] = keys.secret
            return keys

    def fail(self, path: str = ANYWHERE, **what: Unpack[FaultFields]) -> None:
        """Set a fault for requests to a path; `what` as in `Fault`.

        Raises:
            ValueError: no such path, code or kind of fault.

        """
        self._faults.add(Fault(path=path, **what))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that can still strike."""
        return self._faults.waiting()

    @property
    def unspent_faults(self) -> tuple[tuple[Fault, int], ...]:
        """The faults that have not struck as often as set, each with how often it has."""
        return self._faults.unspent()

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """The log of requests, secrets masked, in order of arrival."""
        return tuple(sorted(self._journal.entries(), key=lambda entry: entry.number))

    def clear_requests(self) -> None:
        """Empty the log."""
        self._journal.clear()

    def limit_rates(
        self, enabled: bool = True, per_client: Mapping[str, int] | None = None
    ) -> None:
        """Switch the documented rate limits on or off; `per_client` sets others by path.

        Raises:
            TypeError: a limit is not a whole number.

        """
        with self._lock:
            self._world.limits.set(enabled, per_client)

    @property
    def webhooks(self) -> tuple[Delivery, ...]:
        """The webhooks sent so far."""
        return self._courier.deliveries()

    def wait_for_webhooks(self, timeout: float = 15) -> bool:
        """Wait until every webhook so far is sent; return False if the time ran out."""
        return self._courier.wait(timeout)

    def rotate_webhook_key(self) -> None:
        """Sign webhooks with a new key from now on."""
        with self._lock:
            self._world.signer.rotate(self._world.now())

    def webhook(
        self,
        webhook_type: str,
        webhook_code: str,
        *,
        item_id: str | None = None,
        age: float = 0,
        fields: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> SignedWebhook:
        """Make a signed webhook, headers and body, for a handler; nothing is sent.

        Args:
            webhook_type: such as `ITEM`.
            webhook_code: such as `ERROR`.
            item_id: the Item that it is about, if any.
            age: how many seconds ago it was signed; handlers refuse more than 300.
            fields: further keys of its body, of any name.
            more: the same, by keyword.

        Raises:
            ValueError: there is no such Item.

        """
        with self._lock:
            return sign_webhook(
                self._world, webhook_type, webhook_code, item_id, age, {**(fields or {}), **more}
            )

    @property
    def items(self) -> tuple[ItemState, ...]:
        """Every Item that was made; of those that were removed, at least the latest thousand."""
        with self._lock:
            tokens: dict[str, list[str]] = {}
            for token in self._world.processor_tokens.values():
                tokens.setdefault(token.item.item_id, []).append(token.token)
            return tuple(
                _item_state(item, tokens.get(item.item_id, ()))
                for item in self._world.items.values()
            )


def _item_state(item: Item, processor_tokens: Iterable[str]) -> ItemState:
    return ItemState(
        item_id=item.item_id,
        client_id=item.client_id,
        access_token=item.access_token,
        institution_id=item.bank.institution_id,
        account_ids=tuple(account.account_id for account in item.shared_accounts()),
        processor_tokens=tuple(processor_tokens),
        exchanged=item.exchanged,
        removed=item.removed,
    )


def _check_partner(processor: str) -> None:
    if processor != STRIPE and processor not in processors():
        raise ValueError(f"Plaid knows no processor {processor!r}")


def _text_or_none(value: object) -> str | None:
    return masked_text(value) if isinstance(value, str) else None


def _json_or_none(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        return None
