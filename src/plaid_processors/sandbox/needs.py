"""Names what the local Plaid needs and is not installed; imported before all else of it."""
# ruff: noqa: F401  they are only tried

from __future__ import annotations

_DISTRIBUTIONS = {"jwt": "PyJWT"}  # the distribution `jwt` is another project

try:
    import cryptography.hazmat.primitives.asymmetric.ec
    import starlette.applications
    import uvicorn
    from jwt import PyJWK  # the other project has a module `jwt` too, without this
except ImportError as error:
    _module = (error.name or "a package").partition(".")[0]
    _name = _DISTRIBUTIONS.get(_module, _module)
    raise ModuleNotFoundError(
        f'the local Plaid needs {_name}: pip install "plaid-processors[sandbox]"', name=_module
    ) from None
