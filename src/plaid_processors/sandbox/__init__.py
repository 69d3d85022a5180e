"""A local Plaid: the Sandbox's endpoints with real state behind them, over HTTP."""

from .linking import Linked
from .local import LocalSandbox, serve

__all__ = ["Linked", "LocalSandbox", "serve"]
