"""Tables in one case: for rows that have no story of their own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .faulty import FaultyPlaid

Test = Callable[..., None]


def rows(names: str | Iterable[str], values: Iterable[Any], ids: object = None) -> Any:
    """Run a test once for each row, as one case; a failure names its row.

    It takes what `pytest.mark.parametrize` takes. The rows share the test's fixtures, but each has
    a `monkeypatch` of its own, and finds the requests of a `FaultyPlaid` forgotten.
    """
    wanted = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]
    table = list(values)

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            for row in table:
                given = dict(zip(wanted, row if len(wanted) > 1 else (row,), strict=True))
                try:
                    _run_row(test, *args, **fixtures, **given)
                except BaseException as error:
                    error.add_note(f"the row: {row!r}")
                    raise

        signature = inspect.signature(test)
        others = [each for each in signature.parameters.values() if each.name not in wanted]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def _run_row(test: Test, *args: Any, **given: Any) -> None:
    for each in given.values():
        if isinstance(each, FaultyPlaid):
            each.requests.clear()
    if "monkeypatch" not in given:
        test(*args, **given)
        return
    with given["monkeypatch"].context() as patch:
        test(*args, **{**given, "monkeypatch": patch})
