"""What a hand-off may end with, besides its value.

::

    PlaidProcessorsError
    └── HandoffError                     the partner does not have what was to be handed over
        ├── HandoffRefusedError          not sent: it could make something twice, or drop something
        ├── PartnerApiError              the partner answered with an error
        └── PartnerConnectionError       no usable answer came

No error holds a token or a key in its text: what the partner answered is masked first.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import PlaidProcessorsError


class HandoffError(PlaidProcessorsError):
    """A hand-off did not come to its end.

    Attributes:
        partner: ``finix`` or ``layer``.
        outcome_unknown: whether the partner may have acted all the same.
        retryable: whether the same call may succeed later, unchanged.
        advice: what to do next.
    """

    def __init__(
        self,
        message: str,
        *,
        partner: str,
        advice: str,
        outcome_unknown: bool = False,
        retryable: bool = False,
    ) -> None:
        self.message = message
        self.partner = partner
        self.advice = advice
        self.outcome_unknown = outcome_unknown
        self.retryable = retryable
        super().__init__(message)

    def __str__(self) -> str:
        unknown = f" {self.partner} may have acted all the same." if self.outcome_unknown else ""
        return f"{self.message}.{unknown} {self.advice}"


class HandoffRefusedError(HandoffError):
    """Not sent: it could make something a second time, or take something away.

    Attributes:
        existing: what the partner has that stands in the way, such as payment instruments.
    """

    def __init__(
        self,
        message: str,
        *,
        partner: str,
        advice: str,
        existing: Sequence[object] = (),
        outcome_unknown: bool = False,
    ) -> None:
        self.existing = tuple(existing)
        super().__init__(message, partner=partner, advice=advice, outcome_unknown=outcome_unknown)


@frozen(kw_only=True)
class PartnerFault:
    """One error of a partner's answer.

    Attributes:
        code: its code, such as ``INVALID_FIELD`` (Finix) or ``SpecifiedIdNotFound`` (Layer).
        message: its words.
        field: the field that it is about, where it tells.
    """

    code: str | None = None
    message: str | None = None
    field: str | None = None


class PartnerApiError(HandoffError):
    """The partner answered with an error.

    Attributes:
        http_status: the status of the answer.
        endpoint: the method and the path that were asked.
        faults: the errors that the answer lists.
        codes: their codes: decide on these, not on the words.
    """

    def __init__(
        self,
        *,
        partner: str,
        endpoint: str,
        http_status: int,
        faults: Sequence[PartnerFault] = (),
        advice: str,
        outcome_unknown: bool = False,
        retryable: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.http_status = http_status
        self.faults = tuple(faults)
        listed = "; ".join(f"{each.code}: {each.message}" for each in self.faults)
        super().__init__(
            f"{partner} refused {endpoint}, HTTP {http_status}{': ' if listed else ''}{listed}",
            partner=partner,
            advice=advice,
            outcome_unknown=outcome_unknown,
            retryable=retryable,
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the errors that the answer lists."""
        return tuple(each.code for each in self.faults if each.code is not None)


class PartnerConnectionError(HandoffError):
    """No usable answer came: refused, reset, timed out, or not the partner's JSON.

    Attributes:
        endpoint: the method and the path that were asked.
        reason: what happened, in a few words.
        http_status: the status of the answer, where one came.
    """

    def __init__(
        self,
        reason: str,
        *,
        partner: str,
        endpoint: str,
        advice: str,
        http_status: int | None = None,
        outcome_unknown: bool = False,
        retryable: bool = True,
    ) -> None:
        self.reason = reason
        self.endpoint = endpoint
        self.http_status = http_status
        super().__init__(
            f"no usable answer from {partner} to {endpoint}: {reason}",
            partner=partner,
            advice=advice,
            outcome_unknown=outcome_unknown,
            retryable=retryable,
        )
