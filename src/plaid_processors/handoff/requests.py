"""A request to a partner, as a value, and the token that it carries."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from attrs import field, frozen

from ..errors import ConfigurationError
from ..redaction import mask, redact, token_kind
from ..results import ProcessorToken

_PLAIN = re.compile(r"(?![ '\"])[ -~]+(?<![ '\"])")


def _shown(value: object) -> str:
    return repr(_masked(value))


def _masked(value: object, name: str = "") -> object:
    """The body or the headers with tokens and keys masked: by name, since they have any form."""
    if isinstance(value, str):
        secret = "token" in name or name.lower() == "authorization"
        return mask(value) if secret else redact(value)
    if isinstance(value, Mapping):
        return {key: _masked(each, key) for key, each in value.items()}
    return [_masked(each, name) for each in value] if isinstance(value, (list, tuple)) else value


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
    headers: Mapping[str, str] = field(factory=dict, repr=_shown)
    json: Mapping[str, Any] | None = field(default=None, repr=_shown)
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


def plain_text(name: str, value: object) -> str:
    """A text that a header and a URL can carry, or a ConfigurationError that does not show it."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    raise ConfigurationError(
        f"{name} must be a string of printable ASCII characters, with no quotes or white space "
        "around it"
    )


def partner_id(name: str, value: object, partner: str) -> str:
    """A partner's id of something, which URLs and messages show: no token of Plaid's."""
    text = plain_text(name, value)
    if redact(text) != text:
        raise ConfigurationError(f"{name} is a token of Plaid's: pass {partner}'s id")
    return text


def token_text(token: ProcessorToken | str, partner: str, environment: str | None = None) -> str:
    """The text of a token, which has to be for this partner and, where given, environment."""
    if isinstance(token, ProcessorToken):
        if token.processor != partner:
            processor = redact(token.processor)
            raise ConfigurationError(f"this token is for {processor}, not for {partner}")
        if token.expired:
            raise ConfigurationError("this token has expired: resume(result) asks for a new one")
        text = token.processor_token
    elif isinstance(token, str):
        text = token
    else:
        raise TypeError(
            f"the token must be a ProcessorToken or its text, not {type(token).__name__}"
        )
    kind, of_environment = token_kind(plain_text("the token", text)) or ("processor", environment)
    if kind != "processor":
        raise ConfigurationError(f"this is no processor token: {mask(text)}")
    if environment not in (None, of_environment):
        raise ConfigurationError(
            f"a token of Plaid's {of_environment} environment is not sent to {partner}'s "
            f"{environment}"
        )
    return text
