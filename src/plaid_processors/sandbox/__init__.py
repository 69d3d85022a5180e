"""A local Plaid: the Sandbox's endpoints with real state behind them, over HTTP."""

from .courier import Delivery
from .engine import ItemState, Keys
from .faults import Fault
from .journal import LoggedRequest
from .linking import Exited, Linked
from .local import LocalSandbox, serve

__all__ = [
    "Delivery",
    "Exited",
    "Fault",
    "ItemState",
    "Keys",
    "Linked",
    "LocalSandbox",
    "LoggedRequest",
    "serve",
]
