"""Names what the local Plaid needs and is not installed; imported before all else of it."""
# ruff: noqa: F401  they are only tried

from __future__ import annotations

_NEEDED = ("cryptography", "jwt", "starlette", "uvicorn")
_DISTRIBUTIONS = {"jwt": "PyJWT"}  # the distribution `jwt` is another project

try:
    import cryptography
    import starlette
    import uvicorn
    from jwt import PyJWK  # the other project has a module `jwt` too, without this
except ImportError as error:
    if error.name not in _NEEDED:
        raise  # it is there, and broken
    _name = _DISTRIBUTIONS.get(error.name, error.name)
    raise ModuleNotFoundError(
        f'the local Plaid needs {_name}: pip install "plaid-processors[sandbox]"', name=error.name
    ) from None
