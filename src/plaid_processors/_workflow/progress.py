"""What a link has come to so far, whatever happens next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from weakref import finalize

from attrs import evolve, fields

from ..errors import LinkIncompleteError, PlaidApiError, PlaidProcessorsError
from ..results import LinkedItem, LinkResult, PendingPartner, PendingToken, ProcessorToken
from .plan import Plan

logger = logging.getLogger("plaid_processors")


class Landing:
    """Where the Item lands, and whether anybody has it. Outlives the link that it belongs to.

    Attributes:
        asked: whether an exchange was sent.
        known: the fields of a `LinkedItem`; empty as long as there is no Item.
        told: what to name the link by, where there is no Item's id.
    """

    def __init__(self, told: str) -> None:
        """Nothing yet."""
        self.asked = False
        self.known: Mapping[str, Any] = {}
        self.told = told

    def warn(self) -> None:
        """Say that the link is over and nobody has taken its Item's access token."""
        if self.known:
            logger.warning(
                "Plaid made Item %s, and nobody took its access token from the interrupted link: "
                "ask Plaid's support to remove it",
                self.known.get("item_id"),
            )
        elif self.asked:
            logger.warning(
                "Plaid may have made an Item in an interrupted link: ask its support, of %s",
                self.told,
            )


class Progress:
    """The Item and its tokens, as they come.

    Not a result, which would be made anew with each step. It is attached to whatever exception ends
    the link, and `result` is made when somebody asks: an exception that comes while the first is
    on its way out finds it too.

    Attributes:
        entries: the tokens, those that came and those that are missing.
        unselected: the partners whose accounts are not chosen yet.
        failed: why tokens did not come.
    """

    def __init__(self, told: str = "") -> None:
        """Nothing yet; ``told`` is what to name the link by in a warning."""
        self.entries: tuple[ProcessorToken | PendingToken, ...] = ()
        self.unselected: tuple[PendingPartner, ...] = ()
        self.failed: dict[tuple[str, str], PlaidProcessorsError] = {}
        self.landing = Landing(told)
        # Not by __del__, which would run with each link, and swallow a Ctrl-C that strikes it.
        self._alarm = finalize(self, self.landing.warn)
        self._alarm.atexit = False

    @classmethod
    def of_result(cls, result: LinkResult) -> Progress:
        """Go on from a result."""
        progress = cls()
        progress.in_hand()  # the Item was the caller's before
        progress.landing.known = {
            each.name: getattr(result, each.name) for each in fields(LinkedItem)
        }
        progress.entries, progress.unselected = result.entries, result.unselected
        return progress

    def in_hand(self) -> None:
        """The caller has the Item, or knows that it may exist: no warning when this is dropped."""
        self._alarm.detach()

    def asked(self) -> None:
        """The exchange is being sent. On a thread."""
        self.landing.asked = True

    def land(self, known: Mapping[str, Any]) -> None:
        """Keep the Item. On a thread, the moment the answer is read: nothing can come between."""
        self.landing.known = known
        if not self._alarm.alive:
            logger.warning(
                "Plaid made Item %s after its link was given up: unfinished(error) has it now",
                known.get("item_id"),
            )

    def take(self) -> LinkResult | None:
        """The result so far, for `unfinished`; None as long as there is no Item."""
        result = self.result
        if result is not None:
            self.in_hand()
        return result

    @property
    def known(self) -> Mapping[str, Any]:
        """The fields of a `LinkedItem`; empty as long as there is no Item."""
        return self.landing.known

    def expect(self, plan: Plan, picked: tuple[PendingToken, ...] | None) -> None:
        """What is to come: these tokens, or some for these partners."""
        if picked is None:
            self.unselected = tuple(choice.as_pending() for choice in plan.choices)
        else:
            self.choose(picked)

    def choose(self, tokens: tuple[PendingToken, ...]) -> None:
        """The accounts are chosen: these tokens are to come."""
        chosen = {each.processor for each in tokens}
        self.entries += tokens
        self.unselected = tuple(each for each in self.unselected if each.processor not in chosen)

    def arrived(
        self, wanted: PendingToken, outcome: ProcessorToken | PlaidProcessorsError
    ) -> ProcessorToken | None:
        """A token came, or the reason why it did not; the token, if `on_token` is to get it."""
        entry: ProcessorToken | PendingToken
        if not isinstance(outcome, ProcessorToken):
            self.failed[wanted.key] = outcome
            entry = _with_reason(wanted, outcome)
        elif wanted.permissions is not None and wanted.unnarrowed is None:
            entry = evolve(wanted, unnarrowed=outcome, error_code=None, error_message=None)
        else:
            entry = outcome
        key = entry.key
        self.entries = tuple(entry if each.key == key else each for each in self.entries)
        return entry if isinstance(entry, ProcessorToken) else None

    @property
    def item(self) -> LinkedItem:
        """The Item."""
        return LinkedItem(**self.known)

    @property
    def result(self) -> LinkResult | None:
        """All of it, as a value; None as long as there is no Item."""
        if not self.known:
            return None
        return LinkResult(**self.known, entries=self.entries, unselected=self.unselected)

    @property
    def access_token(self) -> str:
        """The Item's."""
        token: str = self.known["access_token"]
        return token

    @property
    def pending(self) -> tuple[PendingToken, ...]:
        """The tokens that are missing."""
        return tuple(each for each in self.entries if isinstance(each, PendingToken))

    @property
    def unnarrowed(self) -> int:
        """How many tokens came that are still to be narrowed."""
        return sum(each.unnarrowed is not None for each in self.pending)

    @property
    def issued(self) -> int:
        """How many tokens there are; one that is narrowed counts twice, as it got further."""
        return 2 * (len(self.entries) - len(self.pending)) + self.unnarrowed

    @property
    def errors(self) -> list[tuple[PendingToken, PlaidProcessorsError]]:
        """Each token that did not come, with its error, in order."""
        return [(each, self.failed[each.key]) for each in self.pending if each.key in self.failed]

    @property
    def only_refused(self) -> bool:
        """Whether some tokens came, and Plaid itself refused the others."""
        refused = all(isinstance(error, PlaidApiError) for error in self.failed.values())
        return refused and len(self.pending) < len(self.entries)

    def incomplete(self, cause: Exception) -> LinkIncompleteError:
        """The error for an Item that exists while what came after failed."""
        result = self.result
        assert result is not None
        return LinkIncompleteError(
            f"the Item exists, but {_what_is_missing(result)}: {_words(cause)} Store "
            "error.result (it holds the access token) and finish with resume(error.result).",
            result=result,
            errors=self.errors,
        )


def _what_is_missing(result: LinkResult) -> str:
    if result.unselected:
        names = ", ".join(each.processor for each in result.unselected)
        return f"the accounts for {names} are not chosen"
    if unnarrowed := sum(each.unnarrowed is not None for each in result.pending):
        return f"{unnarrowed} of {len(result.entries)} processor tokens are not narrowed yet"
    if result.pending:
        return f"{len(result.pending)} of {len(result.entries)} processor tokens are missing"
    return "a callback failed"


def _words(error: Exception) -> str:
    # The words of a callback's own error may hold what the callback was given.
    words = str(error) if isinstance(error, PlaidProcessorsError) else type(error).__name__
    return words if words.endswith(".") else f"{words}."


def _with_reason(wanted: PendingToken, error: PlaidProcessorsError) -> PendingToken:
    if isinstance(error, PlaidApiError):
        return evolve(wanted, error_code=error.error_code, error_message=error.error_message)
    return evolve(wanted, error_code=type(error).__name__, error_message=str(error))
