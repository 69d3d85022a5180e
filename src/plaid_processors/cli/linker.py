"""The linker that ``--linker`` names, in the caller's code."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb

from ..errors import PlaidProcessorsError
from ..linker import ProcessorLinker
from .local import check_local_plaid


class UsageError(Exception):
    """The linker or the budget that was named cannot be loaded."""


class UndoneError(PlaidProcessorsError):
    """Something is left that a person has to look at."""


def named_linker(named: str) -> ProcessorLinker:
    """The linker that ``module:attribute`` names, or that the function there returns."""
    module, _, path = named.partition(":")
    if not module or not path:
        raise UsageError("--linker must be module:attribute, such as myapp.plaid:linker")
    sys.path.insert(0, str(Path.cwd()))
    found = _tried(f"{module} cannot be imported", lambda: importlib.import_module(module))
    for name in path.split("."):
        if not hasattr(found, name):
            raise UsageError(f"{module} has no {path}")
        found = getattr(found, name)
    if callable(found) and not isinstance(found, type):
        found = _tried(f"{named} cannot be called", found)
    if not isinstance(found, ProcessorLinker):
        raise UsageError(
            f"{named} must be a ProcessorLinker, or a function without arguments that returns one, "
            f"not {type(found).__name__}"
        )
    if found.store is None:
        raise UsageError(f"{named} has no store: ProcessorLinker(…, store=…)")
    check_local_plaid()  # after the import, as an application may read its settings from a file
    return found


def _tried(failure: str, work: Callable[[], object]) -> object:
    """What it returns; an exception of the caller's code is shown without its text, if unknown."""
    try:
        return work()
    except (PlaidProcessorsError, ImportError) as error:
        raise UsageError(f"{failure}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  the caller's code may raise anything
        # Not its text, which may show a key or a database's password.
        place = extract_tb(error.__traceback__)[-1]
        file, line = place.filename, place.lineno
        if isinstance(error, SyntaxError):  # raised by Python, of that file
            file, line = error.filename or file, error.lineno
        raise UsageError(f"{failure}: {type(error).__name__} in {file}, line {line}") from None
