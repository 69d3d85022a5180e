"""A local Plaid: the Sandbox's endpoints over HTTP, with real state."""

from . import needs  # noqa: F401  before all others: it names what is missing
from .changes import BankAccount
from .courier import Delivery
from .engine import ItemState, Keys
from .faults import Fault
from .journal import LoggedRequest
from .linking import Exited, Linked
from .local import LocalSandbox
from .partners_finix import FinixInstrument, LocalFinix
from .partners_http import PartnerRequest
from .partners_layer import LayerBook, LocalLayer
from .pytest_kit import PlaidSandbox
from .serving import serve
from .webhooks import SignedWebhook

__all__ = [
    "BankAccount",
    "Delivery",
    "Exited",
    "Fault",
    "FinixInstrument",
    "ItemState",
    "Keys",
    "LayerBook",
    "Linked",
    "LocalFinix",
    "LocalLayer",
    "LocalSandbox",
    "LoggedRequest",
    "PartnerRequest",
    "PlaidSandbox",
    "SignedWebhook",
    "serve",
]
