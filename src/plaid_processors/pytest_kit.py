"""What the pytest plugin's fixtures do, loaded when a test first asks for one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from .sandbox import LocalSandbox, LoggedRequest
from .sandbox.calls import ENDPOINTS
from .sandbox.faults import Fault

Mark = tuple[tuple[Any, ...], Mapping[str, Any]]
_SHOWN = 20


class PlaidSandbox(LocalSandbox):
    """The `LocalSandbox` of the fixture `plaid_sandbox`.

    Attributes:
        strict: whether the test fails in the end for a fault that did not strike, or a request
            for what Plaid does not have; true at the begin of each test.

    """

    strict: bool = True

    def begin(self, faults: Iterable[Mark]) -> None:
        """Make it as new, with the faults of the test's markers in wait, the outermost first."""
        self.reset()
        self.strict = True
        for args, fault in reversed(list(faults)):
            try:
                self.fail(*args, **fault)
            except (TypeError, ValueError) as error:
                known = ", ".join(Fault.__dataclass_fields__)
                raise ValueError(f"plaid_fault: {error} (a fault has: {known})") from None

    def complaint(self) -> str | None:
        """Tell what was expected and did not come, and what came that nobody can expect."""
        if not self.strict:
            return None
        unspent = [_unspent(fault, struck) for fault, struck in self.unspent_faults]
        stray = [_stray(request) for request in self.requests if _is_stray(request)]
        if not unspent and not stray:
            return None
        parts = [
            ("faults that were expected and did not strike", unspent),
            ("requests for what Plaid does not have", stray),
            ("what was asked of the local Plaid", _asked(self.requests)),
        ]
        told = [f"{title}:\n" + "\n".join(f"  {line}" for line in lines) for title, lines in parts
                if lines]  # fmt: skip
        return "\n".join(["plaid_sandbox at the end of the test:", *told, _WAY_OUT])


_WAY_OUT = "If that is meant to be so, set plaid_sandbox.strict = False in the test."


def _unspent(fault: Fault, struck: int) -> str:
    what = {name: value for name, value in fault.to_dict().items() if name not in ("path", "times")}
    shown = ", ".join(f"{name}={value!r}" for name, value in what.items())
    wanted = "at least once" if fault.times is None else f"{fault.times} times"
    return f"{fault.path} {shown}: expected {wanted}, struck {struck} times"


def _is_stray(request: LoggedRequest) -> bool:
    # A missing endpoint, asked for without a fault that explains it.
    return request.path not in ENDPOINTS and request.fault is None


def _stray(request: LoggedRequest) -> str:
    near = difflib.get_close_matches(request.path, ENDPOINTS, n=1)
    return f"{request.method} {request.path}" + (f" (is it {near[0]}?)" if near else "")


def _asked(requests: tuple[LoggedRequest, ...]) -> list[str]:
    if not requests:
        return ["nothing"]
    lines = [_line(request) for request in requests[-_SHOWN:]]
    left_out = len(requests) - len(lines)
    return [f"({left_out} earlier)", *lines] if left_out else lines


def _line(request: LoggedRequest) -> str:
    answer = "no answer" if request.status is None else str(request.status)
    why = " ".join(filter(None, [request.error_code, "(by a fault)" if request.fault else None]))
    return f"{request.number}. {request.method} {request.path} → {answer} {why}".rstrip()
