"""The list of endpoints, and the call that an endpoint answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import notices
from .fields import Field, checked
from .model import Item, ProcessorToken
from .wire import Json
from .world import World


@dataclass(frozen=True, kw_only=True)
class Call:
    """One accepted call: its arguments fit the endpoint's fields, its keys are valid."""

    world: World
    client_id: str
    arguments: Mapping[str, Any]
    user_agent: str = ""
    # The server's host name as the caller wrote it; without one, there is no page to open.
    host: str | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an optional argument."""
        return self.arguments.get(name, default)

    def option(self, name: str, default: Any = None) -> Any:
        """Return one of `options`, or the default if it is unset or null."""
        value = (self.get("options") or {}).get(name)
        return default if value is None else value

    @property
    def now(self) -> dt.datetime:
        """Return the time of the call."""
        return self.world.now()

    @property
    def hosted_at(self) -> str:
        """Return the address of Hosted Link's pages."""
        return f"http://{self.host}" if self.host else "https://secure.plaid.com"

    def item(self) -> Item:
        """Return the Item of `access_token`, broken or not."""
        return self.world.item_of(self["access_token"], self.client_id)

    def healthy_item(self) -> Item:
        """Return the Item of `access_token`, if its data is available."""
        item = self.item()
        self.world.check_login(item)
        return item

    def use(self, item: Item, product: str) -> None:
        """Add the product to the Item, now that its endpoint answers."""
        new = product not in item.products
        item.add_product(product)
        if new and product == "transactions":
            item.days_requested = int(self.option("days_requested", item.days_requested))
            notices.transactions_ready(self.world, item)

    def processor_token(self) -> ProcessorToken:
        """Return the processor token that was sent."""
        return self.world.find_processor_token(self["processor_token"])


Handler = Callable[[Call], Json]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path: its fields and its handler."""

    path: str
    fields: Mapping[str, Field]
    handler: Handler
    # The error code for values of a wrong type, if the endpoint has its own.
    odd_body: str | None = None

    def arguments(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check a body against the fields."""
        return checked(body, self.fields, self.odd_body)


ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(
    path: str, odd_body: str | None = None, /, **fields: Field
) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of a path."""

    def register(handler: Handler) -> Handler:
        ENDPOINTS[path] = Endpoint(path=path, fields=fields, handler=handler, odd_body=odd_body)
        return handler

    return register
