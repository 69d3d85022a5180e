"""A request to a partner, as a value, and the token that it carries."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen

from ..errors import ConfigurationError
from ..redaction import mask, redact, token_kind
from ..results import ProcessorToken


def _shown_headers(headers: Mapping[str, str]) -> str:
    return repr({k: "…" if k.lower() == "authorization" else v for k, v in headers.items()})


def _shown_json(body: object) -> str:
    return repr(_masked(body))


def _masked(value: object) -> object:
    """The body with its tokens masked: by their field, since a token may have any form."""
    if isinstance(value, Mapping):
        return {
            name: mask(each) if "token" in name and isinstance(each, str) else _masked(each)
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(each) for each in value]
    return redact(value) if isinstance(value, str) else value


@frozen(kw_only=True)
class HandoffRequest:
    """The exact request that hands something over; `repr` shows no token and no key.

    Attributes:
        method: such as ``POST``.
        path: the path and the query, without the partner's address.
        headers: all headers that the request needs; the authentication too, where it is known.
        json: the body as a JSON object, or None.
        form: the body as the fields of a form, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(factory=dict, repr=_shown_headers)
    json: Mapping[str, Any] | None = field(default=None, repr=_shown_json)
    form: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """The method and the path, for messages."""
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def changes(self) -> bool:
        """Whether it changes something at the partner; a form asks for a bearer token."""
        return self.method != "GET" and self.form is None

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        if self.json is not None:
            return json.dumps(self.json).encode()
        return None if self.form is None else urlencode(self.form).encode()


def basic(user: str, password: str) -> str:
    """What HTTP's Basic authentication sends."""
    return b64encode(f"{user}:{password}".encode()).decode()


def token_text(token: ProcessorToken | str, partner: str, environment: str | None = None) -> str:
    """The text of a token, which has to be for this partner and, where given, environment."""
    if isinstance(token, ProcessorToken):
        if token.processor != partner:
            raise ConfigurationError(f"this token is for {token.processor}, not for {partner}")
        text = token.processor_token
    elif isinstance(token, str):
        text = token
    else:
        raise TypeError(
            f"the token must be a ProcessorToken or its text, not {type(token).__name__}"
        )
    kind, of_environment = token_kind(text) or ("processor", environment)
    if not text.strip() or kind != "processor":
        raise ConfigurationError(f"this is no processor token: {mask(text)}")
    if environment not in (None, of_environment):
        raise ConfigurationError(
            f"a token of Plaid's {of_environment} environment is not sent to {partner}'s "
            f"{environment}"
        )
    return text
