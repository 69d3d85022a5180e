"""Every error of this package.

::

    PlaidProcessorsError
    ├── ConfigurationError (ValueError)       a setting is missing or wrong
    ├── UnknownProcessorError (ValueError)    no such partner
    ├── AccountSelectionError (ValueError)    a partner's rule refuses these accounts
    ├── PlaidApiError                         Plaid answered with an error
    │   ├── RateLimitError                    wait, then call again
    │   ├── PlaidUnavailableError             Plaid or the bank is down: call again later
    │   ├── ItemLoginRequiredError            open Link in update mode
    │   ├── ItemNotFoundError                 the Item is gone: link again
    │   ├── ItemNotSupportedError             link another account or another bank
    │   ├── PublicTokenError                  link again, for a new public token
    │   ├── AccessTokenError                  use the Item's own access token
    │   ├── AuthenticationError               check the keys
    │   ├── NotEnabledError                   have it enabled for your keys
    │   │   └── ProcessorNotEnabledError      enable the partner in Plaid's Dashboard
    │   └── InvalidRequestError               fix the call
    ├── PlaidConnectionError                  no usable answer came
    └── LinkIncompleteError                   the Item exists, what came after failed

No error holds a token or a key in its text: what Plaid answered is masked first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from .redaction import redact
from .results import Account, LinkResult, PendingToken


class PlaidProcessorsError(Exception):
    """The base of every error that this package raises."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not pickle by themselves.
        state = {name: value for name, value in vars(self).items() if name != _UNFINISHED}
        return _rebuild, (type(self), self.args, state)


def _rebuild(
    cls: type[PlaidProcessorsError], args: tuple[object, ...], state: dict[str, object]
) -> PlaidProcessorsError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(PlaidProcessorsError, ValueError):
    """A setting or a token is missing, malformed or for another environment.

    No request was sent.
    """


class UnknownProcessorError(PlaidProcessorsError, ValueError):
    """No partner of that name is known; the message names the nearest ones.

    Attributes:
        processor: the name asked for; a token that was passed by mistake is masked.
        suggestions: the nearest known names, best first.
    """

    def __init__(self, processor: str, *, suggestions: Sequence[str], known: Sequence[str]) -> None:
        self.processor = redact(processor)
        self.suggestions = tuple(suggestions)
        nearest = " or ".join(repr(name) for name in self.suggestions)
        hint = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}."
        super().__init__(
            f"no partner is called {self.processor!r}: {hint} For a partner that this version "
            "does not know, pass PartnerAdapter(processor=…) with Plaid's name for it."
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
        self.processor = processor
        self.accounts = tuple(accounts)
        self.eligible = tuple(eligible)
        super().__init__(message)


class PlaidApiError(PlaidProcessorsError):
    """Plaid answered with an error (https://plaid.com/docs/errors/).

    Attributes:
        error_type: Plaid's broad category, such as ``INVALID_INPUT``; empty where it told none.
        error_code: Plaid's code, such as ``INVALID_PUBLIC_TOKEN``; decide on this, not on the text.
        error_message: Plaid's words for the developer.
        display_message: Plaid's words for the user, or None.
        request_id: what Plaid's support asks for.
        http_status: the HTTP status of the answer.
        documentation_url: Plaid's page about this error, or None.
        endpoint: the path that was asked, such as ``/processor/token/create``.
        advice: what to do next.
        retryable: whether the same call may succeed later, unchanged.
        outcome_unknown: whether Plaid may have done what was asked all the same.
        retry_after: seconds that the answer asks to wait, where it does.
        occurred_at: when it came, in UTC.
        support: what Plaid's support asks for, where an exchange's outcome is unknown.
    """

    retry_after: float | None = None
    occurred_at: datetime | None = None
    support: Mapping[str, str] | None = None
    default_advice: ClassVar[str] = (
        "Look the code up at https://plaid.com/docs/errors/; if it is not explained there, "
        "send the request_id to Plaid's support."
    )

    def __init__(
        self,
        *,
        error_type: str,
        error_code: str,
        error_message: str = "",
        display_message: str | None = None,
        request_id: str | None = None,
        http_status: int = 400,
        documentation_url: str | None = None,
        endpoint: str = "",
        advice: str | None = None,
        retryable: bool = False,
        outcome_unknown: bool = False,
    ) -> None:
        self.error_type = error_type
        self.error_code = error_code
        self.error_message = error_message
        self.display_message = display_message
        self.request_id = request_id
        self.http_status = http_status
        self.documentation_url = documentation_url
        self.endpoint = endpoint
        self.advice = advice or self.default_advice
        self.retryable = retryable
        self.outcome_unknown = outcome_unknown
        super().__init__(f"{error_type} / {error_code}")

    def __str__(self) -> str:
        text = f"{self.error_type} / {self.error_code}" if self.error_type else self.error_code
        if self.error_message:
            text += f": {self.error_message}"
        text += f" [{self.endpoint} HTTP {self.http_status}, request_id {self.request_id}]"
        if self.outcome_unknown:
            text += " Plaid may have acted all the same."
        return f"{text} {self.advice}"


class RateLimitError(PlaidApiError):
    """Too many requests: wait, then call again."""

    default_advice = (
        "Wait a minute and call again; the limits are at "
        "https://plaid.com/docs/errors/rate-limit-exceeded/."
    )


class PlaidUnavailableError(PlaidApiError):
    """Plaid, or the bank behind it, cannot answer now: call again later."""

    default_advice = (
        "Nothing is wrong with the call: make it again later; https://status.plaid.com shows "
        "Plaid's and the banks' state."
    )


class ItemLoginRequiredError(PlaidApiError):
    """The user has to repair the Item in Link's update mode."""

    default_advice = (
        "Open Link in update mode (create_link_token(…, access_token=…)), let the user sign in, "
        "and call again with the same access token: "
        "https://plaid.com/docs/link/update-mode/."
    )


class ItemNotFoundError(PlaidApiError):
    """The Item does not exist any more: removed, or its user withdrew the permission."""

    default_advice = (
        "The Item is gone and its tokens are void: forget them and let the user link again."
    )


class ItemNotSupportedError(PlaidApiError):
    """The Item, account or bank cannot be used for this: link another one."""

    default_advice = (
        "Let the user link another account or another bank; this one cannot be used here."
    )


class PublicTokenError(PlaidApiError):
    """The public token is used, expired, malformed or of another environment or client."""

    default_advice = (
        "A public token lives 30 minutes and can be exchanged once, in the environment and with "
        "the keys that it was made with. If it was exchanged before, use the access token stored "
        "then, or, if that answer was lost, ask Plaid's support to remove the Item; otherwise let "
        "the user go through Link again."
    )


class AccessTokenError(PlaidApiError):
    """The access token is malformed, unknown, or of another environment or client."""

    default_advice = (
        "Use the access token that the exchange gave for this Item, with the keys and in the "
        "environment that it was made with."
    )


class AuthenticationError(PlaidApiError):
    """The client id or the secret is wrong, or they belong to another environment."""

    default_advice = (
        "Check PLAID_CLIENT_ID and PLAID_SECRET against https://dashboard.plaid.com/developers/keys;"
        " each environment has a secret of its own."
    )


class NotEnabledError(PlaidApiError):
    """These keys may not do this: it has to be enabled, by you or by Plaid."""

    default_advice = (
        "Your Plaid account is not enabled for this: see https://dashboard.plaid.com "
        "(Products, Integrations), or ask Plaid's support for access."
    )


class ProcessorNotEnabledError(NotEnabledError):
    """The partner's integration is not enabled for these keys."""

    default_advice = (
        "Enable the partner at https://dashboard.plaid.com/developers/integrations, with the team "
        "that these keys belong to. If it is enabled, check that Link was opened only with "
        "products that the partner supports."
    )


class InvalidRequestError(PlaidApiError):
    """The call itself is wrong: a field is missing, unknown or malformed."""

    default_advice = "Fix the call: Plaid's message says what it refuses."


class PlaidConnectionError(PlaidProcessorsError):
    """No usable answer came: refused, reset, timed out, or not Plaid's JSON.

    Attributes:
        endpoint: the path that was asked.
        reason: what happened, in a few words.
        http_status: the status of the answer, where one came.
        request_id: Plaid's id of the answer, where one could be read.
        outcome_unknown: whether Plaid may have done what was asked all the same.
        retryable: whether the same call may succeed later, unchanged.
        advice: what to do next.
        retry_after: seconds that the answer asks to wait, where it does.
        occurred_at: when it came, in UTC.
        support: what Plaid's support asks for, where an exchange's outcome is unknown.
    """

    retry_after: float | None = None
    occurred_at: datetime | None = None
    support: Mapping[str, str] | None = None

    def __init__(
        self,
        reason: str,
        *,
        endpoint: str = "",
        http_status: int | None = None,
        request_id: str | None = None,
        outcome_unknown: bool = False,
        retryable: bool = True,
        advice: str | None = None,
    ) -> None:
        self.reason = reason
        self.endpoint = endpoint
        self.http_status = http_status
        self.request_id = request_id
        self.outcome_unknown = outcome_unknown
        self.retryable = retryable
        self.advice = advice or (
            "Call again later."
            if retryable
            else "Check the address, the proxy and the certificates between here and Plaid."
        )
        super().__init__(reason)

    def __str__(self) -> str:
        text = f"no usable answer from {self.endpoint}: {self.reason}."
        if self.outcome_unknown:
            text += " Plaid may have acted all the same."
        return f"{text} {self.advice}"


class LinkIncompleteError(PlaidProcessorsError):
    """The Item exists, and something after the exchange failed.

    Store ``result``: it holds the access token, without which the Item can neither be used nor
    removed. ``resume(error.result)`` asks only for what is missing. What failed first is the
    ``__cause__``.

    Attributes:
        result: what there is: the access token, the tokens issued, what is pending.
        errors: ``(PendingToken, error)`` for each processor token that failed, in order.
    """

    def __init__(
        self,
        message: str,
        *,
        result: LinkResult,
        errors: Sequence[tuple[PendingToken, PlaidProcessorsError]] = (),
    ) -> None:
        self.result = result
        self.errors = tuple(errors)
        super().__init__(message)


_UNFINISHED = "__plaid_processors_unfinished__"
"""The attribute by which an exception holds what its link had achieved, to `take` it from."""


def unfinished(error: BaseException | None) -> LinkResult | None:
    """What a link had achieved when this exception ended it, or None.

    Looks at the exception, at what it was raised from, and into exception groups: a
    `LinkIncompleteError`, and KeyboardInterrupt, SystemExit or a cancellation (also as the
    TimeoutError that ``asyncio.timeout`` makes of it, or the KeyboardInterrupt that ``asyncio.run``
    does) that came after an exchange. An error that was raised while another was handled is
    another matter, perhaps of another user's Item: what it followed is not looked at.
    """
    return _unfinished(error, set())


def _unfinished(error: BaseException | None, seen: set[int]) -> LinkResult | None:
    if error is None or id(error) in seen:
        return None
    seen.add(id(error))
    if isinstance(error, LinkIncompleteError):
        return error.result
    progress = getattr(error, _UNFINISHED, None)
    result: LinkResult | None = None if progress is None else progress.take()
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    behind = _interruption_behind(error) if progress is None else None
    for other in (*inner, error.__cause__, behind):
        if result is not None:
            break
        result = _unfinished(other, seen)
    return result


def _interruption_behind(error: BaseException) -> BaseException | None:
    """The interruption that was on its way out when this error came, or became this error.

    A second Ctrl-C; and ``asyncio.run`` and ``asyncio.timeout``, which raise without "from".
    """
    behind = error.__context__
    if behind is None or isinstance(behind, Exception) or error.__suppress_context__:
        return None
    return behind if isinstance(error, TimeoutError) or not isinstance(error, Exception) else None
