"""A request to a partner, as a value. No network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import evolve, field, frozen

from ..errors import ConfigurationError
from ..redaction import mask, redact, token_kind
from ..results import ProcessorToken

_MASKED = ("authorization",)


def _shown_headers(headers: Mapping[str, str]) -> str:
    return repr({k: "…" if k.lower() in _MASKED else v for k, v in headers.items()})


def _shown_json(body: object) -> str:
    return redact(repr(body))


@frozen(kw_only=True)
class HandoffRequest:
    """The exact request that hands something over; `repr` shows no token and no key.

    Attributes:
        method: such as ``POST``.
        path: without the partner's address.
        headers: all that the call needs; the authentication, where it is known.
        json: the body, or None where there is none.
        form: a form's fields, in place of a body.
        query: what follows the path.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(factory=dict, repr=_shown_headers)
    json: Mapping[str, Any] | None = field(default=None, repr=_shown_json)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(factory=dict)

    @property
    def endpoint(self) -> str:
        """The method and the path, for messages."""
        return f"{self.method} {self.path}"

    @property
    def changes(self) -> bool:
        """Whether it changes something at the partner; a form asks for a bearer token."""
        return self.method != "GET" and self.form is None

    @property
    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        if self.json is not None:
            return json.dumps(self.json).encode()
        return None if self.form is None else urlencode(self.form).encode()

    def with_headers(self, **headers: str) -> HandoffRequest:
        """The request with more headers; an underscore stands for a hyphen."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return evolve(self, headers={**self.headers, **more})


def basic(user: str, password: str) -> str:
    """The header of HTTP's Basic authentication."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def token_text(token: ProcessorToken | str, partner: str) -> str:
    """The token's text, if it is one for this partner.

    Raises:
        ConfigurationError: it is another partner's, or no processor token.
    """
    if isinstance(token, ProcessorToken):
        if token.processor != partner:
            raise ConfigurationError(f"this token is for {token.processor}, not for {partner}")
        return token.processor_token
    if not isinstance(token, str):
        raise TypeError(
            f"the token must be a ProcessorToken or its text, not {type(token).__name__}"
        )
    kind = token_kind(token)
    if not token.strip() or (kind is not None and kind[0] != "processor"):
        raise ConfigurationError(f"this is no processor token: {mask(token)}")
    return token


def check_environment(token: str, environment: str, partner: str) -> None:
    """Refuse a token of Plaid's one environment for the partner's other.

    Raises:
        ConfigurationError: its prefix names another environment than the partner's address.
    """
    kind = token_kind(token)
    if kind is not None and kind[1] != environment:
        raise ConfigurationError(
            f"a token of Plaid's {kind[1]} environment is not sent to {partner}'s {environment}"
        )
