"""What several tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plaid_processors
from plaid_processors import PlaidProcessorsError

ERRORS = [
    each
    for each in (getattr(plaid_processors, name) for name in plaid_processors.__all__)
    if isinstance(each, type) and issubclass(each, PlaidProcessorsError)
]
"""Every exported error."""


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all that it was raised from or while handling."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__]


def strangers(error: BaseException) -> list[str]:
    """The exceptions of a chain that are not this package's."""
    return [
        f"{type(each).__module__}.{type(each).__name__}"
        for each in chain(error)
        if not isinstance(each, PlaidProcessorsError)
    ]


def link_account(account_id: str, subtype: str = "checking", **more: Any) -> dict[str, Any]:
    """An account as Link's onSuccess tells it."""
    types = {"credit card": "credit", "student": "loan", "ira": "investment"}
    return {
        "id": account_id,
        "name": f"My {subtype}",
        "mask": account_id[-4:],
        "type": types.get(subtype, "depository"),
        "subtype": subtype,
        "verification_status": None,
        "class_type": None,
        **more,
    }
