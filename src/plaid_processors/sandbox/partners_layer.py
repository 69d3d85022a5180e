"""A stand-in for Layer: the accounts of businesses, by Plaid's processor tokens.

Made from Layer's published documentation. It is not known whether a PUT adds to a business's tokens
or replaces them: `puts` chooses. Nor is it known what a PUT does with a token that Plaid refuses,
such as one of an Item that was removed: `dead` chooses, and the words of the refusal are made up.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .local import LocalSandbox
from .partners_http import Asked, PartnerServer, PlaidRefusedError, json_reply
from .wire import Answer, Json

Puts = Literal["append", "replace"]
Dead = Literal["refuse", "hide", "ignore"]


@dataclass(frozen=True, kw_only=True)
class LayerBook:
    """An account of a business, with what Layer read of it at Plaid.

    Attributes:
        id: Layer's id.
        account_id: Plaid's id of the account.
        name: its name.
        mask: the last digits of its number.
        type: its type, as Plaid writes it.
        subtype: its subtype, as Plaid writes it.
        balance: its balance, held or owed.
        transactions: how many transactions Layer read.
        archived: whether Layer no longer reads it.
        processor_token: the token that it is read with.

    """

    id: str
    account_id: str
    name: str
    mask: str | None
    type: str
    subtype: str | None
    balance: float | None
    transactions: int
    archived: bool = False
    processor_token: str = field(repr=False)

    def view(self) -> Json:
        """Write it as Layer does."""
        return {
            "type": "Plaid_Account_With_Processor_Token",
            "id": self.id,
            "plaid_account_id": self.account_id,
            "plaid_processor_token": self.processor_token,
            "status": "ARCHIVED" if self.archived else "ACTIVE",
            "name": self.name,
            "mask": self.mask,
            "account_type": self.type.upper(),
            "subtype": (self.subtype or "").upper().replace(" ", "_"),
        }


class RefusedError(Exception):
    """Layer refuses the request."""

    def __init__(self, status: int, code: str, description: str):
        error = {"type": "ClientError", "description": description, "error_enum": code}
        self.answer = json_reply(status, {"errors": [error]})
        super().__init__(code)


class LocalLayer(PartnerServer):
    """A stand-in for Layer on this machine; `client_id` and `client_secret` are its keys.

    Args:
        plaid: the local Plaid where it uses processor tokens.
        puts: whether a PUT adds its tokens to the existing ones (`append`) or replaces them
            (`replace`).
        dead: whether a token that Plaid refuses makes the whole PUT refused, with the token in the
            answer (`refuse`) or without it (`hide`), or is left out (`ignore`).
        bearer_seconds: how long its bearer tokens are valid.
        options: `seed`, `host` and `port`, as for `LocalFinix`.

    """

    def __init__(
        self,
        plaid: LocalSandbox,
        *,
        puts: Puts = "append",
        dead: Dead = "refuse",
        bearer_seconds: float = 3600,
        **options: Any,
    ):
        super().__init__(plaid, **options)
        self.client_id = self._ids.word("client", 26)
        self.client_secret = self._ids.word("secret", 52)
        self.puts = puts
        self.dead = dead
        self.bearer_seconds = bearer_seconds
        self._bearers: dict[str, dt.datetime] = {}
        self._businesses: dict[str, dict[str, LayerBook]] = {}

    def new_business(self) -> str:
        """Make a business, as ``POST /v1/businesses`` does, and return its id."""
        with self._lock:
            business = self._ids.uuid("business")
            self._businesses[business] = {}
            return business

    def books(self, business_id: str) -> tuple[LayerBook, ...]:
        """Return the accounts of a business."""
        with self._lock:
            return tuple(self._businesses[business_id].values())

    def archive(self, business_id: str, account_id: str) -> None:
        """Stop reading an account, as Layer's archive call does."""
        with self._lock:
            books = self._businesses[business_id]
            books[account_id] = replace(books[account_id], archived=True)

    def forget_bearers(self) -> None:
        """Make every bearer token void."""
        with self._lock:
            self._bearers.clear()

    def answer(self, asked: Asked) -> Answer:
        """Answer a request as Layer would."""
        try:
            if (asked.method, asked.parts) == ("POST", ["oauth2", "token"]):
                return self._bearer(asked)
            self._check_bearer(asked)
            return self._answer(asked)
        except RefusedError as refused:
            return refused.answer

    def _bearer(self, asked: Asked) -> Answer:
        if asked.basic() != (self.client_id, self.client_secret):
            return json_reply(401, {"error": "invalid_client"})
        if asked.form().get("grant_type") != "client_credentials":
            return json_reply(400, {"error": "unsupported_grant_type"})
        token = self._ids.word("bearer", 40)
        now = dt.datetime.now(dt.UTC)
        self._bearers = {known: end for known, end in self._bearers.items() if end > now}
        self._bearers[token] = now + dt.timedelta(seconds=self.bearer_seconds)
        body = {"access_token": token, "expires_in": self.bearer_seconds, "token_type": "Bearer"}
        return json_reply(200, body)

    def _check_bearer(self, asked: Asked) -> None:
        _, _, token = asked.headers.get("authorization", "").partition(" ")
        end = self._bearers.get(token)
        if end is None or dt.datetime.now(dt.UTC) >= end:
            raise RefusedError(401, "Unauthorized", "no good bearer token")

    def _answer(self, asked: Asked) -> Answer:
        match asked.method, asked.parts:
            case "GET", ["whoami"]:
                who = {"type": "whoami", "clientName": "local", "clientId": self.client_id}
                return json_reply(200, {"data": who})
            case "POST", ["v1", "businesses"]:
                business = self.new_business()
                self._take(business, asked.json())
                return json_reply(200, _business(business))
            case "PUT", ["v1", "businesses", business] if business in self._businesses:
                self._take(business, asked.json())
                return json_reply(200, _business(business))
            case "GET", ["v1", "businesses", business, "plaid", "accounts"] if (
                business in self._businesses
            ):
                listed = [each.view() for each in self._businesses[business].values()]
                return json_reply(200, {"data": listed, "meta": {}})
            case "POST", ["v1", "businesses", business, "external-accounts", wanted, "archive"] if (
                business in self._businesses
            ):
                for name, book in self._businesses[business].items():
                    if book.id == wanted:
                        self.archive(business, name)
                        return json_reply(200, _external_account(book))
        raise RefusedError(404, "SpecifiedIdNotFound", "no such business or path")

    def _take(self, business: str, body: Json) -> None:
        if "plaid_processor_tokens" not in body:
            return
        try:
            tokens = [each["processor_token"] for each in body["plaid_processor_tokens"]]
            hash(tuple(tokens))  # a TypeError for a list or an object in a token's place
        except (TypeError, KeyError):
            raise RefusedError(400, "SpecifiedBadRequest", "plaid_processor_tokens") from None
        there = self._businesses[business]
        held = {book.processor_token: book for book in there.values()}
        books = [self._read(token, held.get(token)) for token in tokens]
        read = {book.account_id: book for book in books if book is not None}
        if self.puts == "replace":
            there = {name: book for name, book in there.items() if book.archived}
        known = self._businesses[business]
        for name, book in read.items():
            there[name] = replace(book, id=known[name].id) if name in known else book
        self._businesses[business] = there

    def _read(self, token: str, held: LayerBook | None) -> LayerBook | None:
        """Read an account at Plaid: its transactions, and its balance."""
        try:
            page = self.read_from_plaid("/processor/transactions/sync", token, count=500)
            balance = self.read_from_plaid("/processor/balance/get", token)
        except PlaidRefusedError as refused:
            if self.dead == "ignore":
                return held
            which = f" for {token}" if self.dead == "refuse" else ""
            words = f"Plaid: {refused.code}{which}"
            raise RefusedError(400, "SpecifiedBadRequest", words) from None
        try:
            return self._book(token, page, balance["account"])
        except (KeyError, TypeError):  # a fault changed Plaid's answer
            words = "Plaid: another form"
            raise RefusedError(400, "SpecifiedBadRequest", words) from None

    def _book(self, token: str, page: Json, account: Json) -> LayerBook:
        return LayerBook(
            id=self._ids.uuid("account"),
            account_id=account["account_id"],
            name=account["name"],
            mask=account["mask"],
            type=account["type"],
            subtype=account["subtype"],
            balance=account["balances"]["current"],
            transactions=len(page["added"]),
            processor_token=token,
        )


def _business(business_id: str) -> Json:
    return {"data": {"type": "Business", "id": business_id}, "meta": {}}


def _external_account(book: LayerBook) -> Json:
    return {
        "id": book.id,
        "external_account_external_id": book.account_id,
        "external_account_source": "PLAID",
        "external_account_name": book.name,
        "mask": book.mask,
    }
