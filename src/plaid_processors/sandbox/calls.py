"""The list of endpoints, and what an endpoint is given to answer a call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Field, checked
from .model import Item, ProcessorToken
from .wire import Json
from .world import World


@dataclass(frozen=True, kw_only=True)
class Call:
    """One admitted call: its arguments fit the endpoint's fields, its keys are good."""

    world: World
    client_id: str
    arguments: Mapping[str, Any]
    user_agent: str = ""
    # The name that the caller has for this server; without one, there is no page to open.
    host: str | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument that may be left out."""
        return self.arguments.get(name, default)

    def option(self, name: str, default: Any = None) -> Any:
        """Return one of `options`, or the default where it is unset or null."""
        value = (self.get("options") or {}).get(name)
        return default if value is None else value

    @property
    def now(self) -> dt.datetime:
        """Return the time of the call."""
        return self.world.now()

    @property
    def hosted_at(self) -> str:
        """Return where Hosted Link's pages are."""
        return f"http://{self.host}" if self.host else "https://secure.plaid.com"

    def item(self) -> Item:
        """Return the Item of `access_token`, broken or not."""
        return self.world.item_of(self["access_token"], self.client_id)

    def healthy_item(self) -> Item:
        """Return the Item of `access_token`, if its data can be had."""
        item = self.item()
        self.world.check_login(item)
        return item

    def processor_token(self) -> ProcessorToken:
        """Return the processor token that was sent."""
        return self.world.find_processor_token(self["processor_token"])


Handler = Callable[[Call], Json]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path: its fields and what answers it."""

    path: str
    fields: Mapping[str, Field]
    handler: Handler
    # The error code for a body whose values have the wrong types, where it has its own.
    odd_body: str | None = None

    def arguments(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check a body against the fields."""
        return checked(body, self.fields, self.odd_body)


ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(
    path: str, odd_body: str | None = None, /, **fields: Field
) -> Callable[[Handler], Handler]:
    """Register the decorated function as the answer to a path."""

    def register(handler: Handler) -> Handler:
        ENDPOINTS[path] = Endpoint(path=path, fields=fields, handler=handler, odd_body=odd_body)
        return handler

    return register
