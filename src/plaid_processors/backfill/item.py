"""One Item: look at it, ask for its tokens, and have them handed over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal
from uuid import uuid4

from attrs import field, frozen

from .._workflow.arguments import text
from .._workflow.link_tokens import not_consented
from ..adapters.base import PartnerAdapter, is_pending
from ..adapters.catalogue import get_adapters
from ..errors import (
    AccountSelectionError,
    AuthenticationError,
    ConfigurationError,
    DecryptionError,
    ItemNotStoredError,
    LinkIncompleteError,
    PlaidProcessorsError,
    ProcessorNotEnabledError,
    RateLimitError,
    RequestError,
    StoreError,
)
from ..life import LinkAction, LinkStatus
from ..linker import ProcessorLinker
from ..results import Account
from ..store.books import Books, make_books
from ..store.records import HandoffState, Lease, LinkState, StoredLink
from .budget import BudgetError, RateBudget

Choose = Callable[[StoredLink, Sequence[Account]], Account | str | None]
"""Which of several accounts that fit a partner gets: the account, its id, or None to skip it."""

HandOver = Callable[[StoredLink], object]
"""Does the partner's part of an Item whose tokens were just issued."""

_TRIES = 4
"""How often the tokens of an Item are asked for, where that may help."""

_STOP = ("CREDITS_EXHAUSTED", "TRIAL_CONNECTION_LIMIT")
"""The codes of refusals that do not pass, whatever the Item."""

_STOPPING = (AuthenticationError, ProcessorNotEnabledError, StoreError)
"""The errors that do not pass either."""

_WITHOUT_BUDGET = 10.0
"""Seconds to wait after a 429, where there is no budget that slows down."""


@frozen(kw_only=True)
class BackfillOutcome:
    """What became of an Item.

    Attributes:
        item_id: Plaid's id of the Item.
        status: ``issued``, ``skipped`` or ``failed``.
        reason: why it is skipped or failed, in one word such as ``login_broken``, or Plaid's error
            code; None if it is issued.
        tokens: how many tokens were made, or in a dry run would be.
        error: the error of a failed Item, or what is wrong with a skipped one, or None.
        stops: whether no other Item will fare better, so that a run ends here.
        eligible: the accounts to choose from, where several fit a partner of one account.
    """

    item_id: str
    status: Literal["issued", "skipped", "failed"]
    reason: str | None = None
    tokens: int = 0
    error: PlaidProcessorsError | None = field(default=None, eq=False)
    stops: bool = False
    eligible: tuple[Account, ...] = field(default=(), repr=False)

    @property
    def may_pass(self) -> bool:
        """Whether the same Item may succeed in some minutes."""
        if self.status != "failed":
            return self.reason in ("claimed", "stopped")
        cause = self.error and (self.error.__cause__ or self.error)
        passing = isinstance(cause, RequestError) and cause.retryable
        of_the_item = isinstance(self.error, (DecryptionError, ItemNotStoredError))
        return passing or (isinstance(self.error, StoreError) and not of_the_item)


class _Over(Exception):  # noqa: N818  it is no error
    """The work at an Item is over without its tokens, for this reason."""

    def __init__(
        self,
        reason: str,
        error: PlaidProcessorsError | None = None,
        *,
        status: Literal["skipped", "failed"] = "skipped",
        eligible: Sequence[Account] = (),
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.error = error
        self.eligible = tuple(eligible)


def backfill_item(
    linker: ProcessorLinker,
    partner: str | PartnerAdapter,
    item_id: str,
    *,
    budget: RateBudget | None = None,
    hand_over: HandOver | None = None,
    choose: Choose | None = None,
    dry_run: bool = False,
    stop: threading.Event | None = None,
) -> BackfillOutcome:
    """Make a partner's tokens of one Item in the store, unless it has them.

    It may be called twice and by any worker: while one is at an Item, it is claimed. The Item is
    looked at first (``/item/get``, ``/accounts/get``); one that needs its user is skipped, with the
    reason.

    Args:
        linker: a linker with a store.
        partner: the partner's name, or an adapter.
        item_id: Plaid's id of the Item.
        budget: what each token is taken from, or None for no budget.
        hand_over: called with the `StoredLink` when its tokens are stored, such as a function that
            calls ``linker.hand_over``; also for tokens of an earlier call that are still due.
        choose: called with the `StoredLink` and the accounts where several fit a partner of one
            account; returns the account, its id, or None to skip the Item.
        dry_run: whether only to look.
        stop: when this is set, it waits for the budget no longer: the Item is skipped.

    Raises:
        ConfigurationError: the linker has no store, or the partner is more than one.
        UnknownProcessorError: there is no such partner.
        TypeError: the item's id is no text.
        BudgetError: the budget's storage failed.
    """
    adapter, books = one_partner(partner), books_of(linker)
    text("item_id", item_id)  # a webhook may name no Item: without an id any would be found
    claim = Lease(
        name=f"backfill {adapter.processor} {item_id}",
        owner=uuid4().hex,
        seconds=claim_seconds(linker),
    )
    try:
        try:
            if not books.lease(claim):
                return BackfillOutcome(item_id=item_id, status="skipped", reason="claimed")
            work = _Work(linker, adapter, books, item_id, claim, budget, stop or threading.Event())
            return work.run(hand_over, choose, dry_run=dry_run)
        finally:  # another's claim stays
            try:
                books.release(claim)
            except BaseException:  # as in `_workflow.leases`
                with suppress(StoreError):
                    books.release(claim)  # Ctrl-C struck inside the store: once more
                raise
    except _Over as over:
        return BackfillOutcome(
            item_id=item_id,
            status=over.status,
            reason=over.reason,
            error=over.error,
            eligible=over.eligible,
        )
    except ItemNotStoredError as error:
        return BackfillOutcome(item_id=item_id, status="failed", reason="not_stored", error=error)
    except DecryptionError as error:  # of this Item alone
        reason = type(error).__name__
        return BackfillOutcome(item_id=item_id, status="failed", reason=reason, error=error)
    except StoreError as error:
        return BackfillOutcome(
            item_id=item_id, status="failed", reason="store_failed", error=error, stops=True
        )


def claim_seconds(linker: ProcessorLinker) -> float:
    """For how long an Item is claimed: longer than one request, before which it is taken again."""
    return sum(linker.client.limits.connect_and_read) + 5.0


def one_partner(partner: str | PartnerAdapter) -> PartnerAdapter:
    """The adapter of the only partner."""
    adapters = get_adapters(partner)
    if len(adapters) != 1:
        raise ConfigurationError("backfill is for one partner at a time")
    return adapters[0]


def books_of(linker: ProcessorLinker) -> Books:
    """The linker's store."""
    if not isinstance(linker, ProcessorLinker):
        raise TypeError(f"linker must be a ProcessorLinker, not {type(linker).__name__}")
    books = make_books(linker.store, linker.client.client_id, linker.client.environment)
    if books is None:
        raise ConfigurationError("backfill needs a store: ProcessorLinker(…, store=…)")
    return books


class _Work:
    """The work at one Item, which is claimed."""

    def __init__(
        self,
        linker: ProcessorLinker,
        adapter: PartnerAdapter,
        books: Books,
        item_id: str,
        claim: Lease,
        budget: RateBudget | None,
        stop: threading.Event,
    ) -> None:
        self._linker = linker
        # Its own attempts would not go by the budget.
        self._asking_once = linker.with_options(max_attempts=1)
        self._adapter = adapter
        self._books = books
        self._item_id = item_id
        self._claim = claim
        self._budget = budget
        self._stop = stop
        self._accounts: tuple[Account, ...] = ()
        self._chosen = adapter.as_given  # whether the accounts are named, not found by the rule
        self._made = 0  # tokens

    def run(
        self, hand_over: HandOver | None, choose: Choose | None, *, dry_run: bool
    ) -> BackfillOutcome:
        stored = self._books.get(self._item_id).link()
        if stored.result is None or stored.state not in (LinkState.LINKED, LinkState.COMPLETE):
            raise _Over(str(stored.state))
        if not self._has_all(stored):
            try:
                accounts = self._look(stored, choose)
                if dry_run:
                    return self._issued(len(accounts))
                self._ask(accounts)
            except PlaidProcessorsError as error:
                if isinstance(error, (StoreError, BudgetError)):
                    raise
                return self._failed(error)
            except _Over:
                raise
            except Exception as error:  # noqa: BLE001  an adapter of the caller's may raise anything
                return self._failed_by(type(error).__name__)
        elif hand_over is None or dry_run or not self._due(stored):
            raise _Over("already_issued")
        if hand_over is not None:
            try:
                hand_over(self._books.get(self._item_id).link())
            except Exception as error:  # noqa: BLE001  the caller's code may raise anything
                known = error if isinstance(error, PlaidProcessorsError) else None
                return self._failed_by(f"hand_over: {type(error).__name__}", known)
        return self._issued(self._made)

    def _issued(self, tokens: int) -> BackfillOutcome:
        return BackfillOutcome(item_id=self._item_id, status="issued", tokens=tokens)

    def _failed_by(self, reason: str, error: PlaidProcessorsError | None = None) -> BackfillOutcome:
        return BackfillOutcome(
            item_id=self._item_id, status="failed", reason=reason, tokens=self._made, error=error
        )

    def _failed(self, error: PlaidProcessorsError) -> BackfillOutcome:
        cause = error.__cause__ if isinstance(error, LinkIncompleteError) else error
        code = getattr(cause, "error_code", None) or type(cause or error).__name__
        stops = code in _STOP or isinstance(cause, _STOPPING)
        if isinstance(cause, StoreError):  # a token was made, and could not be kept
            code = "store_failed"
        return BackfillOutcome(
            item_id=self._item_id,
            status="failed",
            reason=code,
            tokens=self._made,
            error=error,
            stops=stops,
        )

    def _has_all(self, stored: StoredLink) -> bool:
        """Whether the partner's tokens are there, and none is missing."""
        assert stored.result is not None
        name = self._adapter.processor
        entries = [each for each in stored.result.entries if each.processor == name]
        waiting = any(each.processor == name for each in stored.result.unselected)
        good = self._good(stored)
        return bool(good) and len(good) == len(entries) and not waiting

    def _good(self, stored: StoredLink) -> set[str]:
        """The accounts that need no token."""
        assert stored.result is not None
        # A token that the partner has had may expire: another would be made for nothing.
        had = {each.key for each in stored.handoffs if each.state is HandoffState.DONE}
        return {
            each.account.account_id
            for each in stored.result.processor_tokens
            if each.processor == self._adapter.processor and (not each.expired or each.key in had)
        }

    def _due(self, stored: StoredLink) -> bool:
        name = self._adapter.processor
        return any(
            each.state is HandoffState.DUE and each.processor == name for each in stored.handoffs
        )

    def _look(self, stored: StoredLink, choose: Choose | None) -> list[str]:
        """The accounts to ask tokens for, if the Item is well."""
        status = self._linker.status(item_id=self._item_id)
        if status.error is not None:
            raise _Over(_what_is_wrong(status), status.error)
        self._accounts = status.accounts
        consented = status.consented_products
        if not_consented(consented, self._adapter.products):
            raise _Over("no_consent")
        assert stored.result is not None
        name = self._adapter.processor
        before = {
            each.account.account_id for each in stored.result.entries if each.processor == name
        }
        there = [each for each in status.accounts if each.account_id in before]
        if before and not there:
            raise _Over("account_gone")
        if there and (self._adapter.single or self._adapter.as_given):
            return self._missing(stored, [each.account_id for each in there])
        fitting = self._adapter.eligible(status.accounts)
        if not fitting:
            pending = any(map(is_pending, status.accounts))
            raise _Over("not_verified" if pending else "no_fitting_account")
        if not self._adapter.as_given:
            # An adapter of the caller's own may have another rule than its fields say.
            with suppress(AccountSelectionError):
                selected = self._adapter.select_accounts(status.accounts)
                return self._missing(stored, [each.account_id for each in selected])
        try:
            chosen = None if choose is None else choose(stored, fitting)
        except Exception as error:
            raise _Over(f"choose: {type(error).__name__}", status="failed") from error
        if chosen is None:
            raise _Over("several_accounts", eligible=fitting)
        account_id = chosen.account_id if isinstance(chosen, Account) else chosen
        if account_id not in [each.account_id for each in fitting]:
            raise ConfigurationError("choose returned an account that does not fit the partner")
        self._chosen = True
        return [account_id]

    def _missing(self, stored: StoredLink, account_ids: Sequence[str]) -> list[str]:
        """Those that have no good token; if all have, what is missing is of an account that went.

        Raises:
            _Over: all have.
        """
        good = self._good(stored)
        if missing := [each for each in account_ids if each not in good]:
            return missing
        raise _Over("account_gone")

    def _ask(self, account_ids: Sequence[str]) -> None:
        """Ask for the tokens, within the budget."""
        left = list(account_ids)
        for number in range(1, _TRIES + 1):
            for _ in left:
                if self._budget is not None and not self._budget.acquire(stop=self._stop):
                    raise _Over("stopped")
            if not self._books.lease(self._claim):
                raise _Over("claimed")
            # The claim may have ended in a long wait for the budget, and another have done it.
            if self._has_all(self._books.get(self._item_id).link()):
                raise _Over("already_issued")
            try:
                accounts, named = self._named(left)
                result = self._asking_once.issue(
                    self._adapter,
                    item_id=self._item_id,
                    accounts=accounts,
                    account_ids=named,
                )
            except PlaidProcessorsError as error:
                done = (
                    error.result.processor_tokens if isinstance(error, LinkIncompleteError) else ()
                )
                self._made += len(done)
                if number == _TRIES or not self._may_pass(error):
                    raise
                got = {each.account.account_id for each in done}
                left = [each for each in left if each not in got]
            else:
                self._made += len(result.processor_tokens)
                return

    def _named(
        self, account_ids: list[str]
    ) -> tuple[Sequence[Account], dict[str, list[str]] | None]:
        """The arguments that ask for these accounts.

        Where the adapter's rule finds them, it is not bound to them by their ids: `refresh` gives
        it later accounts too.
        """
        these = [each for each in self._accounts if each.account_id in account_ids]
        for among in () if self._chosen else (self._accounts, these):
            with suppress(AccountSelectionError):
                found = self._adapter.select_accounts(among)
                if [each.account_id for each in found] == account_ids:
                    return among, None
        return these, {self._adapter.processor: account_ids}

    def _may_pass(self, error: PlaidProcessorsError) -> bool:
        """Whether the same may succeed soon; where Plaid asks for patience, all get it."""
        errors = [error]
        if isinstance(error, LinkIncompleteError):
            errors = [each for _, each in error.errors]
        for each in errors:
            if isinstance(each, RateLimitError):
                if self._budget is None:
                    self._stop.wait(_WITHOUT_BUDGET)
                    break
                self._budget.slow_down(each.retry_after)
        return bool(errors) and all(
            isinstance(each, RequestError) and each.retryable for each in errors
        )


def _what_is_wrong(status: LinkStatus) -> str:
    error = status.error
    assert error is not None
    if error.error_code == "ITEM_NOT_FOUND":
        return "item_gone"
    if status.action is LinkAction.REPAIR:
        return "login_broken"
    return "revoked" if status.action is LinkAction.STOP else error.error_code
