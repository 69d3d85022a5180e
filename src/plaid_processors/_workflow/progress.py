"""The Item and the tokens of a link so far, however the link ends."""

from __future__ import annotations

import logging
from weakref import finalize

from attrs import define, evolve, fields

from ..errors import LinkIncompleteError, PlaidApiError, PlaidProcessorsError, StoreError
from ..results import LinkedItem, LinkResult, PendingPartner, PendingToken, ProcessorToken
from .plan import Plan

logger = logging.getLogger("plaid_processors")


@define
class Exchange:
    """The exchange of a link, and the Item that it made. Outlives the link's `Progress`."""

    details: str  # for Plaid's support to find the Item
    sent: bool = False
    item: LinkedItem | None = None

    def warn(self) -> None:
        """Log that the link is over and its caller does not have the Item's access token."""
        if self.sent or self.item is not None:
            made = f"made Item {self.item.item_id}" if self.item else "may have made an Item"
            logger.warning(
                "Plaid %s in an interrupted link, and its access token was lost: ask Plaid's "
                "support to remove it, of %s",
                made,
                self.details,
            )


class Progress:
    """The Item and its tokens so far.

    Any exception that ends the link holds it, and `result` is built when it is needed: an exception
    that strikes while the first one is being raised finds it too.
    """

    def __init__(self, details: str) -> None:
        self.exchange = Exchange(details)
        self.entries: tuple[ProcessorToken | PendingToken, ...] = ()
        self.unselected: tuple[PendingPartner, ...] = ()
        self.bound: tuple[str, ...] = ()
        # Tokens of accounts that went: in the result until all is done, so that a later `refresh`
        # names these accounts.
        self.went: tuple[ProcessorToken, ...] = ()
        self.failed: dict[tuple[str, str], PlaidProcessorsError] = {}
        self.advanced = False  # whether a token was issued or narrowed
        # Not by __del__, which would run with each link, and swallow a Ctrl-C that strikes it.
        self._alarm = finalize(self, self.exchange.warn)
        self._alarm.atexit = False

    @classmethod
    def of_result(cls, result: LinkResult) -> Progress:
        progress = cls("")
        progress.disarm()  # the Item was the caller's before
        progress.take_up(result)
        return progress

    @classmethod
    def of_plan(cls, plan: Plan) -> Progress:
        """What is to come, before anything is sent."""
        progress = cls("")
        progress.disarm()
        progress.expect(plan)
        return progress

    def take_up(self, result: LinkResult) -> None:
        """The Item and its tokens so far are these."""
        self.exchange.item = result
        self.entries, self.unselected, self.bound = result.entries, result.unselected, result.bound

    def disarm(self) -> None:
        """The caller has the Item, or knows that it may exist: log no warning."""
        self._alarm.detach()

    def exchange_sent(self) -> None:
        """The exchange is being sent. On a thread."""
        self.exchange.sent = True

    def keep_item(self, item: LinkedItem) -> None:
        """Keep the Item. On a thread, as soon as the answer is read: nothing can come between."""
        self.exchange.item = item
        if not self._alarm.alive:
            logger.warning(
                "Plaid made Item %s after its link was given up: unfinished(error) has it now",
                item.item_id,
            )

    @property
    def item(self) -> LinkedItem | None:
        return self.exchange.item

    @property
    def result(self) -> LinkResult:
        """All of it, as a value, if there is an Item."""
        entries, unselected, bound = (*self.entries, *self.went), self.unselected, self.bound
        if isinstance(self.item, LinkResult):
            return evolve(self.item, entries=entries, unselected=unselected, bound=bound)
        known = {each.name: getattr(self.item, each.name) for each in fields(LinkedItem)}
        return LinkResult(**known, entries=entries, unselected=unselected, bound=bound)

    def take(self) -> LinkResult | None:
        """The result for `unfinished`; None if there is no Item."""
        if self.item is None:
            return None
        result = self.result
        self.disarm()
        return result

    def expect(self, plan: Plan) -> None:
        """What is to come: these partners' tokens."""
        self.unselected = tuple(partner for _, partner in plan.choices)
        chosen = [each.processor for each in self.unselected if each.account_ids is not None]
        self.bound = tuple(dict.fromkeys((*self.bound, *chosen)))
        self.choose(plan.pick_early())

    def choose(
        self, tokens: tuple[PendingToken, ...], left: tuple[PendingPartner, ...] = ()
    ) -> None:
        """Ask for these tokens of the partners; none: their accounts are not chosen yet.

        Those of the partners that are ``left`` are not either.
        """
        self.entries += tokens
        if tokens:
            self.unselected = left

    def settle(
        self, pending: PendingToken, outcome: ProcessorToken | PlaidProcessorsError
    ) -> ProcessorToken | None:
        """A request for a token is over; returns the token, if it is ready for the caller."""
        entry: ProcessorToken | PendingToken
        if isinstance(outcome, PlaidProcessorsError):
            self.failed[pending.key] = outcome
            code, message = type(outcome).__name__, str(outcome)
            if isinstance(outcome, PlaidApiError):
                code, message = outcome.error_code, outcome.error_message
            entry = evolve(pending, error_code=code, error_message=message)
        elif pending.permissions is not None and pending.unnarrowed is None:
            entry = evolve(pending, unnarrowed=outcome, error_code=None, error_message=None)
        else:
            entry = outcome
        self.advanced = self.advanced or isinstance(outcome, ProcessorToken)
        key = entry.key
        self.entries = tuple(entry if each.key == key else each for each in self.entries)
        return entry if isinstance(entry, ProcessorToken) else None

    @property
    def pending(self) -> tuple[PendingToken, ...]:
        return tuple(each for each in self.entries if isinstance(each, PendingToken))

    @property
    def errors(self) -> list[tuple[PendingToken, PlaidProcessorsError]]:
        """Each token that failed, with its error, in order."""
        return [(each, self.failed[each.key]) for each in self.pending if each.key in self.failed]

    @property
    def only_refused(self) -> bool:
        """Whether some tokens are issued, and Plaid itself refused all others."""
        refused = all(isinstance(error, PlaidApiError) for error in self.failed.values())
        # A token that could not be narrowed is more than an account that is refused.
        narrowed = all(each.unnarrowed is None for each in self.pending)
        return refused and narrowed and len(self.pending) < len(self.entries)

    def incomplete(self, cause: Exception) -> LinkIncompleteError:
        """The error for an Item that exists, while a later step failed."""
        # The message of a callback's own error may show what the callback was given.
        message = str(cause) if isinstance(cause, PlaidProcessorsError) else type(cause).__name__
        return LinkIncompleteError(
            f"the Item exists, but {self._missing(cause)}: {message.removesuffix('.')}. Store "
            "error.result (it holds the access token) and finish with resume(error.result).",
            result=self.result,
            errors=self.errors,
        )

    def _missing(self, cause: Exception) -> str:
        if self.unselected and not self.failed:
            names = ", ".join(each.processor for each in self.unselected)
            return f"the accounts for {names} are not chosen"
        total = len(self.entries)
        unnarrowed = sum(each.unnarrowed is not None for each in self.pending)
        if count := unnarrowed or len(self.pending):
            state = "not narrowed yet" if unnarrowed else "missing"
            verb = "is" if count == 1 else "are"
            return f"{count} of {total} processor tokens {verb} {state}"
        return "not all was stored" if isinstance(cause, StoreError) else "a callback failed"
