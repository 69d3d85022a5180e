"""The sandbox of the pytest plugin's fixtures, imported when a test first uses one."""

from __future__ import annotations

from .calls import ENDPOINTS
from .faults import Fault
from .journal import LoggedRequest
from .local import LocalSandbox


class PlaidSandbox(LocalSandbox):
    """The `LocalSandbox` of the fixture `plaid_sandbox`.

    Attributes:
        strict: whether the test fails at its end for a fault that did not strike, or for a
            request to an endpoint that Plaid does not have; True at the start of each test.
    """

    strict: bool = True

    def complaint(self) -> str | None:
        """Faults that did not strike, and requests to unknown endpoints; None if there are none."""
        wrong = [
            f"the fault on {fault.path} ({_fields(fault)}) struck {struck} times"
            for fault, struck in self.unspent_faults
        ]
        wrong += [
            f"Plaid has no endpoint {request.path}"
            for request in self.requests
            if request.path not in ENDPOINTS and request.fault is None
        ]
        if not wrong or not self.strict:
            return None
        lines = [
            "plaid_sandbox at the end of the test:",
            *wrong,
            "requests to the local Plaid:",
            *[_line(request) for request in self.requests],
            "If that is meant to be so, set plaid_sandbox.strict = False in the test.",
        ]
        return "\n".join(lines)


def _fields(fault: Fault) -> str:
    return ", ".join(
        f"{name}={value!r}" for name, value in fault.to_dict().items() if name != "path"
    )


def _line(request: LoggedRequest) -> str:
    answer = request.error_code or request.status or "no answer"
    why = " (by a fault)" if request.fault else ""
    return f"  {request.number}. {request.method} {request.path} → {answer}{why}"
