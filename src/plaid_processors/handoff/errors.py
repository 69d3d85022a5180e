"""The errors of a hand-off. None shows a token or a key: what a partner answers is masked first."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from attrs import frozen
from typing_extensions import override

from ..errors import PlaidProcessorsError


@dataclass(eq=False, repr=False)
class HandoffError(PlaidProcessorsError):
    """A hand-off failed.

    Attributes:
        message: what happened.
        partner: ``finix`` or ``layer``.
        advice: what to do next.
        outcome_unknown: whether the partner may have acted all the same.
        retryable: whether the same call may succeed later, unchanged.
        retry_after: seconds that the answer asks to wait, or None.
    """

    message: str
    _: KW_ONLY
    partner: str
    advice: str
    outcome_unknown: bool = False
    retryable: bool = False
    retry_after: float | None = field(default=None, init=False)

    @override
    def __str__(self) -> str:
        unknown = f" {self.partner} may have acted all the same." if self.outcome_unknown else ""
        return f"{self.message}.{unknown} {self.advice}"


@dataclass(kw_only=True, eq=False, repr=False)
class HandoffRefusedError(HandoffError):
    """Not sent: it could make something a second time, or take something away.

    Attributes:
        existing: what the partner has that stands in the way, such as payment instruments.
    """

    existing: tuple[object, ...] = ()


@frozen(kw_only=True)
class PartnerFault:
    """One error of a partner's answer.

    Attributes:
        code: its code, such as ``INVALID_FIELD`` (Finix) or ``SpecifiedIdNotFound`` (Layer).
        message: its words.
        field: the field that it is about, or None.
        logref: Finix's id of it, for its support, or None.
    """

    code: str | None = None
    message: str | None = None
    field: str | None = None
    logref: str | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class PartnerApiError(HandoffError):
    """The partner answered with an error.

    Attributes:
        endpoint: the method and the path of the request.
        http_status: the HTTP status of the answer.
        faults: the errors that the answer lists.
        account_ids: Plaid's ids of the accounts whose tokens a refusal of Layer's names: if these
            are over, pass them as ``gone=``.
    """

    endpoint: str
    http_status: int
    faults: tuple[PartnerFault, ...] = ()
    account_ids: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors that the answer lists: decide on these, not on the words."""
        return tuple(each.code for each in self.faults if each.code is not None)


@dataclass(kw_only=True, eq=False, repr=False)
class PartnerConnectionError(HandoffError):
    """No usable answer: refused, reset, timed out, or not the partner's JSON.

    Attributes:
        reason: what happened, in a few words.
        endpoint: the method and the path of the request.
        http_status: the HTTP status of the answer, or None without one.
    """

    reason: str
    endpoint: str
    http_status: int | None = None
