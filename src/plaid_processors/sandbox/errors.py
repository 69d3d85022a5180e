"""Plaid's errors: the documented table, and the exception that ends a call with one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .tables import table
from .wire import Json

DOCS = "https://plaid.com/docs/errors"


@dataclass(frozen=True, kw_only=True)
class ErrorSpec:
    """One documented error; `page` is its page in Plaid's docs, empty if it has none."""

    code: str
    type: str
    status: int
    page: str
    message: str
    display: str | None

    @property
    def documentation_url(self) -> str | None:
        """Its page in Plaid's docs, in the form used in answers since 2026."""
        return f"{DOCS}/{self.page}/#{self.code.lower()}" if self.page else None


@cache
def documented() -> dict[str, ErrorSpec]:
    """Every documented error by its code; for a code with two types, the more common type."""
    specs: dict[str, ErrorSpec] = {}
    for row in table("errors"):
        spec = ErrorSpec(
            code=row["code"],
            type=row["type"],
            status=int(row["status"]),
            page=row["page"],
            message=row["message"],
            display=row["display"] or None,
        )
        specs.setdefault(spec.code, spec)
    return specs


class PlaidError(Exception):
    """Ends a call with an error of Plaid's as the answer."""

    def __init__(self, code: str, message: str | None = None, *, status: int | None = None):
        self.spec = documented()[code]
        self.message = self.spec.message if message is None else message
        self.status = status or self.spec.status
        super().__init__(f"{self.spec.type} / {code}: {self.message}")

    def body(self, request_id: str | None = None) -> Json:
        """Write the error object; in webhooks and Items it has no request id."""
        body: Json = {
            "display_message": self.spec.display,
            "error_code": self.spec.code,
            "error_message": self.message,
            "error_type": self.spec.type,
        }
        # Seen without it for a few older codes.
        if self.spec.documentation_url:
            body["documentation_url"] = self.spec.documentation_url
        if request_id is not None:
            body["request_id"] = request_id
            # Not in Items, where plaid-python 8 cannot read the null.
            body["suggested_action"] = None
        return body


def invalid_field(message: str) -> PlaidError:
    """Refuse one field's value, in a message that names the field."""
    return PlaidError("INVALID_FIELD", message)
