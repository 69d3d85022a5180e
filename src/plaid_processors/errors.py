"""The errors of the workflow; those of a hand-off are in `handoff.errors`.

None shows a token or a key: Plaid's answers are masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime

from typing_extensions import override

from .redaction import redact
from .results import Account, LinkResult, PendingToken
from .sessions import LinkSession, SessionItem

_UNFINISHED = "__plaid_processors_unfinished__"  # the attribute with the progress of a link


class PlaidProcessorsError(Exception):
    """The base of every error that this package raises."""

    @override
    def __reduce__(self) -> tuple[object, ...]:
        # Not by the constructor, as Python does it: that passes no keyword arguments.
        state = {name: value for name, value in vars(self).items() if name != _UNFINISHED}
        return type(self).__new__, (type(self), *self.args), state


class ConfigurationError(PlaidProcessorsError, ValueError):
    """A setting or a token is missing, malformed or wrong; no request was sent."""


class UnknownProcessorError(PlaidProcessorsError, ValueError):
    """No partner of that name is known; the message names the nearest ones.

    Attributes:
        processor: the name asked for; a token that was passed by mistake is masked.
        suggestions: the nearest known names, best first.
    """

    def __init__(self, processor: str, *, suggestions: Sequence[str], known: Sequence[str]) -> None:
        self.processor: str = redact(processor)
        self.suggestions: tuple[str, ...] = tuple(suggestions)
        nearest = " or ".join(repr(name) for name in self.suggestions)
        hint = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}."
        super().__init__(
            f"unknown partner {self.processor!r}: {hint} "
            "For a new partner of Plaid's, pass PartnerAdapter(processor=…)."
        )


class AccountSelectionError(PlaidProcessorsError, ValueError):
    """A partner's rule refuses these accounts, or an account asked for is not among them.

    Attributes:
        processor: Plaid's name of the partner whose rule it is.
        accounts: the accounts that there were to choose from.
        eligible: those of them that fit the rule.
    """

    def __init__(
        self,
        message: str,
        *,
        processor: str,
        accounts: Sequence[Account] = (),
        eligible: Sequence[Account] = (),
    ) -> None:
        self.processor: str = processor
        self.accounts: tuple[Account, ...] = tuple(accounts)
        self.eligible: tuple[Account, ...] = tuple(eligible)
        super().__init__(redact(message))  # an account's fields are the browser's


@dataclass(kw_only=True, eq=False, repr=False)
class RequestError(PlaidProcessorsError):
    """What `PlaidApiError` and `PlaidConnectionError` share.

    Attributes:
        endpoint: the path of the request, such as ``/processor/token/create``.
        http_status: the HTTP status of the answer, or None without one.
        request_id: Plaid's id of the answer, which its support asks for, or None.
        advice: what to do next.
        retryable: whether the same call may succeed later, unchanged.
        outcome_unknown: whether Plaid may have done what was asked all the same.
        retry_after: seconds that the answer asks to wait, or None.
        occurred_at: when it happened, in UTC.
        support: what to send to Plaid's support, where an exchange's outcome is unknown.
    """

    endpoint: str = ""
    http_status: int | None = None
    request_id: str | None = None
    advice: str = ""
    retryable: bool = False
    outcome_unknown: bool = False
    retry_after: float | None = field(default=None, init=False)
    occurred_at: datetime | None = field(default=None, init=False)
    support: Mapping[str, str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.advice = self.advice or type(self).advice  # a class has the usual advice

    def _with_advice(self, text: str) -> str:
        unknown = " Plaid may have acted all the same." if self.outcome_unknown else ""
        return f"{text}{unknown} {self.advice}"


@dataclass(kw_only=True, eq=False, repr=False)
class PlaidApiError(RequestError):
    """Plaid answered with an error (https://plaid.com/docs/errors/); it is a `RequestError`.

    Attributes:
        error_type: Plaid's broad category, such as ``INVALID_INPUT``, or empty.
        error_code: Plaid's code, such as ``INVALID_PUBLIC_TOKEN``; decide on this, not on the text.
        error_message: Plaid's words for the developer.
        display_message: Plaid's words for the user, or None.
        documentation_url: Plaid's page about this error, or None.
    """

    error_type: str
    error_code: str
    error_message: str = ""
    display_message: str | None = None
    http_status: int = 400
    documentation_url: str | None = None

    advice = "See https://plaid.com/docs/errors/, or send the request_id to Plaid's support."

    def __post_init__(self) -> None:
        super().__post_init__()
        self.args = (f"{self.error_type} / {self.error_code}",)

    @override
    def __str__(self) -> str:
        text = f"{self.error_type} / {self.error_code}" if self.error_type else self.error_code
        if self.error_message:
            text += f": {self.error_message}"
        place = f"{self.endpoint} HTTP {self.http_status}, request_id {self.request_id}"
        return self._with_advice(f"{text} [{place}]")


class RateLimitError(PlaidApiError):
    """Too many requests: wait, then call again."""

    advice = "Wait a minute, call again: https://plaid.com/docs/errors/rate-limit-exceeded/."


class PlaidUnavailableError(PlaidApiError):
    """Plaid, or the bank behind it, cannot answer now: call again later."""

    advice = "Wait, then call again; https://status.plaid.com shows Plaid's and the banks' state."


class ItemLoginRequiredError(PlaidApiError):
    """The user has to repair the Item in Link's update mode."""

    advice = (
        "Open Link in update mode (create_link_token(…, access_token=…)), let the user sign in, "
        "and call again with the same access token."
    )


class ItemNotFoundError(PlaidApiError):
    """The Item does not exist any more: removed, or its user withdrew the permission."""

    advice = "The Item is gone and its tokens are void: forget them and let the user link again."


class ItemNotSupportedError(PlaidApiError):
    """The Item, account or bank cannot be used for this: link another one."""

    advice = "Let the user link another account or another bank; this one cannot be used here."


class PublicTokenError(PlaidApiError):
    """The public token is used, expired, malformed or of another environment or client."""

    advice = (
        "A public token works once, for 30 minutes, with the keys and environment of its link "
        "token. If it was exchanged before, use the access token stored then (if it was lost, ask "
        "Plaid's support to remove the Item); otherwise let the user go through Link again."
    )


class AccessTokenError(PlaidApiError):
    """The access token is malformed, unknown, or of another environment or client."""

    advice = "Use the access token that the exchange gave, with the same keys and environment."


class AuthenticationError(PlaidApiError):
    """The client id or the secret is wrong, or they belong to another environment."""

    advice = (
        "Check PLAID_CLIENT_ID and PLAID_SECRET at https://dashboard.plaid.com/developers/keys: "
        "are they swapped (24 and 30 hexadecimal digits)? Each environment has a secret of its own."
    )


class NotEnabledError(PlaidApiError):
    """These keys may not do this: it has to be enabled, by you or by Plaid."""

    advice = "Enable it at https://dashboard.plaid.com, or ask Plaid's support for access."


class ProcessorNotEnabledError(NotEnabledError):
    """The partner's integration is not enabled for these keys."""

    advice = (
        "Enable the partner at https://dashboard.plaid.com/developers/integrations. If it is "
        "enabled there, open Link only with products that the partner supports."
    )


class InvalidRequestError(PlaidApiError):
    """The call itself is wrong: a field is missing, unknown or malformed."""

    advice = "Fix the call: Plaid's message says what it refuses."


@dataclass(eq=False, repr=False)
class PlaidConnectionError(RequestError):
    """No usable answer: refused, reset, timed out, or not Plaid's JSON; it is a `RequestError`.

    Attributes:
        reason: what happened, in a few words.
    """

    reason: str
    _: KW_ONLY
    retryable: bool = True

    advice = "Call again later."

    def __post_init__(self) -> None:
        if not self.retryable and not self.advice:
            self.advice = "Check the address, the proxy and the certificates on the way to Plaid."
        super().__post_init__()
        self.args = (self.reason,)

    @override
    def __str__(self) -> str:
        return self._with_advice(f"no usable answer from {self.endpoint}: {self.reason}.")


class LinkIncompleteError(PlaidProcessorsError):
    """The Item exists, and something after the exchange failed: see the ``__cause__``.

    Store ``result``: it holds the access token, without which the Item can neither be used nor
    removed. ``resume(error.result)`` asks only for what is missing.

    Attributes:
        result: the access token, the tokens issued, and what is pending.
        errors: ``(PendingToken, error)`` for each processor token that failed, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        result: LinkResult,
        errors: Sequence[tuple[PendingToken, PlaidProcessorsError]] = (),
    ) -> None:
        self.result: LinkResult = result
        self.errors: tuple[tuple[PendingToken, PlaidProcessorsError], ...] = tuple(errors)
        super().__init__(message)


class LinkSessionError(PlaidProcessorsError):
    """A Link session has no Items to link, or not all of them could be linked.

    Attributes:
        session: how Link went; its ``state`` says whether the user is not through or has left.
        results: the Items that were linked: store them.
        failures: ``(SessionItem, error)`` for each other Item; a `LinkIncompleteError` among the
            errors has the ``result`` of an Item that exists.
    """

    def __init__(
        self,
        message: str,
        *,
        session: LinkSession,
        results: Sequence[LinkResult] = (),
        failures: Sequence[tuple[SessionItem, PlaidProcessorsError]] = (),
    ) -> None:
        self.session: LinkSession = session
        self.results: tuple[LinkResult, ...] = tuple(results)
        self.failures: tuple[tuple[SessionItem, PlaidProcessorsError], ...] = tuple(failures)
        super().__init__(message)


class StoreError(PlaidProcessorsError):
    """The store failed, or cannot do what was asked; see the ``__cause__``."""


class DecryptionError(StoreError):
    """A stored link cannot be read: another key, or a row that was changed or moved."""


class ItemNotStoredError(StoreError, LookupError):
    """The store has no such Item of this client's."""


class StoreConflictError(StoreError):
    """The store has this for another user, or for other partners than those asked for."""


class LinkInProgressError(PlaidProcessorsError):
    """Another call is at work on the same link or hand-off: call again later.

    Attributes:
        retry_after: seconds until it is over at the latest, if its process has died.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        self.retry_after: float = retry_after
        super().__init__(message)


class WebhookVerificationError(PlaidProcessorsError):
    """This is no webhook of Plaid's, or not as Plaid sent it, or an old one: refuse it.

    Nothing of the webhook is shown.

    Attributes:
        reason: ``missing_signature``, ``malformed``, ``algorithm``, ``unknown_key``,
            ``expired_key``, ``bad_signature``, ``too_old``, ``in_the_future``, ``body_changed`` or
            ``too_large``.
        age: how many seconds ago it was signed, where that is known to be true; else None.
    """

    def __init__(self, reason: str, *, age: float | None = None) -> None:
        self.reason: str = reason
        self.age: float | None = age
        seconds = "" if age is None else f" (signed {age:.0f} s ago)"
        super().__init__(f"the webhook is refused: {_REFUSALS[reason]}{seconds}")


_REFUSALS = {
    "missing_signature": "it has no header Plaid-Verification; pass all headers of the request",
    "malformed": "its signature or its body is not in Plaid's form",
    "algorithm": "it is not signed by ES256, as Plaid's webhooks are",
    "unknown_key": "Plaid does not know its key, or too many unknown keys were named just now; "
    "a webhook of the other environment needs a client of that environment",
    "expired_key": "its key has expired",
    "bad_signature": "its signature is not of Plaid's key",
    "too_old": "it was signed longer ago than max_age allows",
    "in_the_future": "it was signed in the future; check this machine's clock",
    "body_changed": "its body is not what was signed; pass the raw body, before any parsing",
    "too_large": "its body is larger than 1 MiB, or its signature than 8 KiB",
}


def unfinished(error: BaseException | None) -> LinkResult | None:
    """What a link had achieved when this exception ended it, or None.

    Finds it on a `LinkIncompleteError`, KeyboardInterrupt, SystemExit or cancellation, on what the
    exception was raised from, and in exception groups. ``__context__`` is followed only from one
    interruption to another (a second Ctrl-C, or the exception that ``asyncio.timeout`` and
    ``asyncio.run`` make of a cancellation): any other may be of another user's link.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, LinkIncompleteError):
            return each.result
        progress = getattr(each, _UNFINISHED, None)
        result: LinkResult | None = progress and progress.take()
        if result is not None:
            return result
        inner = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        interruption = isinstance(each, TimeoutError) or not isinstance(each, Exception)
        follows = interruption and progress is None and not each.__suppress_context__
        behind = each.__context__ if follows else None
        if isinstance(behind, Exception):
            behind = None
        waiting = [*inner, each.__cause__, behind, *waiting]
    return None
