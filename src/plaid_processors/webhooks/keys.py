"""The keys that webhooks are signed with, kept between calls.

A webhook's sender chooses the id of the key that is looked up, and anyone can send one. So ids that
Plaid does not know are remembered, and few are looked up; keys that are known are never affected.
By dictionaries and deques alone, whose single steps are atomic, and no lock (see `_engine.threads`
for why): several threads at once may look up a few more.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from attrs import frozen

MOST_KNOWN = 100
MOST_UNKNOWN = 1_000
MOST_REFUSED = 10_000

LOOK_AGAIN = 3600.0  # seconds after which a known key is looked up again: it may have expired
LOOK_AGAIN_LATER = 60.0  # when that failed
REMEMBER_UNKNOWN = 300.0

UNKNOWN_A_MINUTE = 10
FAILURES_A_MINUTE = 20


@frozen
class WebhookKey:
    """A public key of Plaid's; one that has expired is not to be trusted."""

    public_key: Any  # PyJWT's, of P-256
    expired: bool


class WebhookKeys:
    """The keys that one client knows, by their ids, and the ids that Plaid does not know."""

    def __init__(self) -> None:
        self._known: dict[str, WebhookKey] = {}
        self._look_again: dict[str, float] = {}
        self._unknown: dict[str, float] = {}
        self._refused: dict[str, None] = {}
        self._failures: deque[float] = deque(maxlen=FAILURES_A_MINUTE)
        # When Plaid last said of an id that it is unknown; of one that came before, apart.
        self._answers: tuple[deque[float], ...] = tuple(
            deque(maxlen=UNKNOWN_A_MINUTE) for _ in range(2)
        )

    def get(self, key_id: str) -> WebhookKey | None:
        """The key, if it is known."""
        return self._known.get(key_id)

    def is_due(self, key_id: str) -> bool:
        """Whether a known key is to be looked up again by this caller; it serves the others."""
        now = monotonic()
        due = self._look_again.get(key_id, now) <= now
        if due:
            self._look_again[key_id] = now + LOOK_AGAIN_LATER
        return due

    def refuses(self, key_id: str) -> bool:
        """Whether an id that is not known is not to be looked up now.

        One that was refused and comes again has a second chance that new ids do not use up, so that
        garbage does not keep a new key of Plaid's out.
        """
        now = monotonic()
        if self._unknown.get(key_id, now) > now:
            return True
        answers = self._answers[key_id in self._refused]
        if len(answers) < UNKNOWN_A_MINUTE or answers[0] <= now - 60:
            return False
        self._refused[key_id] = None
        _shorten(self._refused, MOST_REFUSED)
        return True

    @property
    def failing(self) -> bool:
        """Whether so many look-ups have failed in the last minute that no new id is looked up."""
        failures = self._failures
        return len(failures) == failures.maxlen and failures[0] > monotonic() - 60

    def keep_failure(self) -> None:
        """A look-up of an id that is not known failed."""
        self._failures.append(monotonic())

    def keep(self, key_id: str, key: WebhookKey) -> None:
        """Plaid answered with the key."""
        self._refused.pop(key_id, None)
        self._look_again[key_id] = monotonic() + LOOK_AGAIN
        self._known[key_id] = key
        for gone in _shorten(self._known, MOST_KNOWN):
            self._look_again.pop(gone, None)

    def keep_unknown(self, key_id: str) -> None:
        """Plaid answered that there is no such key."""
        now = monotonic()
        self._answers[key_id in self._refused].append(now)
        self._known.pop(key_id, None)
        self._refused.pop(key_id, None)
        self._unknown[key_id] = now + REMEMBER_UNKNOWN
        _shorten(self._unknown, MOST_UNKNOWN)


def _shorten(entries: dict[str, Any], most: int) -> list[str]:
    """Forget the oldest entries; returns their keys."""
    surplus = list(entries)[: max(0, len(entries) - most)] if len(entries) > most else []
    for each in surplus:
        entries.pop(each, None)
    return surplus
