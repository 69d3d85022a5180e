"""How a conversation gets onto a cassette: without a secret, and with its origin on the label."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import vcr
import yaml

HERE = Path(__file__).parent
COMMAND = "python -m tests.record_cassettes"
PLAID = "Plaid's own Sandbox, sandbox.plaid.com"

CLIENT_ID = "0" * 24
SECRET = "0" * 30
HOST = "plaid.invalid"
"""Stands on the cassettes in place of the server's address; it can belong to nobody."""

# All else stays off the cassette: cookies, addresses, whatever a gateway adds.
_REQUEST_HEADERS = ("Content-Type", "PLAID-CLIENT-ID", "PLAID-SECRET", "Plaid-Version")
_ANSWER_HEADERS = ("Content-Type", "Plaid-Version", "Retry-After")
_KEYS = {"plaid-client-id": CLIENT_ID, "plaid-secret": SECRET}

_TOKEN = re.compile(r"\b([a-z]+(?:_[a-z]+)*)-(?:sandbox|development|production)-[\w.~-]+")
_FAKES = {
    "client_id": lambda _: CLIENT_ID,
    "secret": lambda _: SECRET,
    "request_id": "{:015d}".format,
    "item_id": "item{:033d}".format,
    "account_id": "account{:030d}".format,
    "persistent_account_id": "{:064d}".format,
    "link_session_id": "00000000-0000-4000-8000-{:012d}".format,
    "hosted_link_url": "https://secure.plaid.com/hl/fake{:012d}".format,
}
_FAKE_WORD = re.compile(r"(?:item|account|fake)?0{8}[0-9]*")
_FAKE_TOKEN = re.compile(r"[a-z_]+-sandbox-0{8}-0000-4000-8000-[0-9]{12}")
# A key, an id or a part of a token: long, and with a digit in it or longer than any name.
_WORD = re.compile(r"(?=[A-Za-z]*[0-9])[A-Za-z0-9]{12,}|[A-Za-z0-9]{24,}|btok_\w+")
_HOST = re.compile(r"https?://([^/\s\"']+)")
_HOSTS = {HOST, "plaid.com", "secure.plaid.com"}  # the docs, and Hosted Link


def fake_token(kind: str, number: int) -> str:
    """A token in Plaid's form that nobody can take for a real one."""
    return f"{kind}-sandbox-00000000-0000-4000-8000-{number:012d}"


def leaks(text: str) -> list[str]:
    """What in a cassette's text is not one of the known fake values, but looks like one's place."""
    tokens = [each.group() for each in _TOKEN.finditer(text)]
    found = [token for token in tokens if not _FAKE_TOKEN.fullmatch(token)]
    found += [word for word in _WORD.findall(text) if not _FAKE_WORD.fullmatch(word)]
    return found + [host for host in _HOST.findall(text) if host not in _HOSTS]


def scrub(interactions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same conversation with made-up values, each real one always by the same."""
    interactions = [_readable(each) for each in interactions]
    fakes: dict[str, str] = {}
    numbers: Counter[str] = Counter()

    def replace(kind: str, real: str, fake: Any) -> None:
        known = _FAKE_WORD.fullmatch(real) or _FAKE_TOKEN.fullmatch(real)
        if real and not known and real not in fakes:
            numbers[kind] += 1
            fakes[real] = fake(numbers[kind])

    for text, headers in (part for each in interactions for part in _parts(each)):
        for name, value in headers:
            if name.lower() in _KEYS:
                replace(name, value, lambda _, name=name: _KEYS[name.lower()])
        for name, value in _named(json.loads(text)):
            if name in _FAKES:
                replace(name, value, _FAKES[name])
        for token in _TOKEN.finditer(text):
            replace(token[1], token.group(), lambda number, kind=token[1]: fake_token(kind, number))

    def clean(text: str) -> str:
        for real in sorted(fakes, key=len, reverse=True):
            text = text.replace(real, fakes[real])
        return text

    return [_cleaned(each, clean) for each in interactions]


def _readable(interaction: dict[str, Any]) -> dict[str, Any]:
    """The interaction with both bodies as texts.

    Raises:
        TypeError: one of them is none.
    """
    request, answer = interaction["request"], interaction["response"]
    asked, answered = request["body"], answer["body"]["string"]
    if not isinstance(asked, (str, bytes)):  # the exchange's is an iterator: read once, then empty
        asked = b"".join(asked).decode()
    if not (isinstance(asked, str) and isinstance(answered, str)):
        raise TypeError("only text can be looked through for secrets")
    return {"request": {**request, "body": asked}, "response": {**answer, "body": answered}}


def _parts(interaction: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Bodies and headers, the request's first."""
    for side in (interaction["request"], interaction["response"]):
        headers = [(name, value) for name, values in side["headers"].items() for value in values]
        yield side["body"], headers


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value with the name under which it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                yield name, inner
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def _cleaned(interaction: dict[str, Any], clean: Any) -> dict[str, Any]:
    request, answer = interaction["request"], interaction["response"]

    def kept(headers: dict[str, list[str]], names: tuple[str, ...]) -> dict[str, list[str]]:
        given = {name.lower(): values for name, values in headers.items()}
        return {
            name: [clean(value) for value in given[name.lower()]]
            for name in names
            if name.lower() in given
        }

    return {
        "request": {
            "method": request["method"],
            "uri": f"https://{HOST}{clean(urlsplit(request['uri']).path)}",
            "headers": kept(request["headers"], _REQUEST_HEADERS),
            "body": clean(request["body"]),
        },
        "response": {
            "status": answer["status"],
            "headers": kept(answer["headers"], _ANSWER_HEADERS),
            "body": {"string": clean(answer["body"])},
        },
    }


class _Dumper(yaml.SafeDumper):
    """Bodies as blocks, to be read and compared line by line."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


class Labelled:
    """A serializer of vcrpy's: scrubs, and says what the conversation was recorded from."""

    def __init__(self, source: str | None) -> None:
        """Label what is recorded from ``source``; None: from whom the requests went to."""
        self._source = source

    def serialize(self, cassette: dict[str, Any]) -> str:
        """The cassette's text."""
        interactions = cassette["interactions"]
        hosts = {urlsplit(each["request"]["uri"]).netloc for each in interactions}
        if hosts == {"sandbox.plaid.com"}:
            source = PLAID
        else:
            source = self._source or f"a server that is not Plaid's: {', '.join(sorted(hosts))}"
        label = {"from": source, "date": f"{datetime.now(UTC):%Y-%m-%d}", "by": COMMAND}
        return yaml.dump(
            {"recorded": label, "version": 1, "interactions": scrub(interactions)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=100,
        )

    def deserialize(self, text: str) -> Any:
        """The cassette's interactions; vcrpy passes over the label."""
        return yaml.safe_load(text)


def recorder(source: str | None = None) -> vcr.VCR:
    """The vcrpy that records and replays these cassettes."""
    made = vcr.VCR(match_on=("method", "path", "body"), record_mode="none", serializer="labelled")
    made.register_serializer("labelled", Labelled(source))
    return made
