"""The whole workflow through plaid-python, any major from 8 on.

Run by the Python of an environment that has it, with the local Plaid's address:

    python workflow_plaid_python.py http://127.0.0.1:8080 [client_id secret]

It uses the generated models on both sides, so that an answer which they cannot read
fails here. What a major does not know yet is left out and named at the end.
"""

from __future__ import annotations

import datetime
import importlib
import json
import sys
import urllib.request
from typing import Any

import plaid
from plaid.api import plaid_api

KEYS = ("5f3d7e6a9b1c2d4e6f708192", "0123456789abcdef0123456789abcd")


class MissingError(Exception):
    """This major of plaid-python does not have the endpoint."""


def model(name: str, *args: Any, **kwargs: Any) -> Any:
    """Make one of plaid-python's models by its name."""
    module = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
    try:
        return getattr(importlib.import_module(f"plaid.model.{module}"), name)(*args, **kwargs)
    except ModuleNotFoundError:
        raise MissingError(name) from None


class Workflow:
    """Calls by path, with the models of the installed major."""

    def __init__(self, host: str, client_id: str, secret: str):
        self.host = host
        configuration = plaid.Configuration(
            host=host,
            api_key={"clientId": client_id, "secret": secret, "plaidVersion": "2020-09-14"},
        )
        self.http = plaid.ApiClient(configuration)
        self.api = plaid_api.PlaidApi(self.http)
        self.calls = 0
        self.left_out: list[str] = []

    def call(self, path: str, **fields: Any) -> Any:
        """Call an endpoint through its generated method."""
        words = path.strip("/").replace("/", "_").split("_")
        method = getattr(self.api, "_".join(words), None)
        if method is None:
            self.left_out.append(path)
            raise MissingError(path)
        request = model("".join(word.title() for word in words) + "Request", **fields)
        self.calls += 1
        return method(request)

    def try_call(self, path: str, **fields: Any) -> Any:
        """Call an endpoint, if this major has it."""
        try:
            return self.call(path, **fields)
        except MissingError:
            return None

    def error(self, path: str, **fields: Any) -> str:
        """Call an endpoint and return the code of the error that it answers with."""
        try:
            self.call(path, **fields)
        except plaid.ApiException as error:
            return str(json.loads(error.body)["error_code"])
        return "no error"

    def complete_link(self, link_token: str) -> Any:
        """Do the user's part, by the control plane."""
        data = json.dumps({"link_token": link_token, "masks": ["0000", "3333"]}).encode()
        url = f"{self.host}/_sandbox/complete_link"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


def through_link(flow: Workflow) -> str:
    """From a link token to the access token."""
    link_token = flow.call(
        "/link/token/create",
        client_name="Acme",
        language="en",
        country_codes=[model("CountryCode", "US")],
        user=model("LinkTokenCreateRequestUser", client_user_id="user-42"),
        products=[model("Products", "transactions")],
    )["link_token"]
    done = flow.complete_link(link_token)
    shown = flow.call("/link/token/get", link_token=link_token)
    assert shown["link_token"] == link_token
    exchanged = flow.call("/item/public_token/exchange", public_token=done["public_token"])
    accounts = flow.call("/accounts/get", access_token=exchanged["access_token"])["accounts"]
    assert [a["account_id"] for a in accounts] == [a["id"] for a in done["metadata"]["accounts"]]
    code = flow.error("/item/public_token/exchange", public_token=done["public_token"])
    assert code == "INVALID_PUBLIC_TOKEN", code
    return str(exchanged["access_token"])


def around_link(flow: Workflow) -> str:
    """The same without the browser."""
    public_token = flow.call(
        "/sandbox/public_token/create",
        institution_id="ins_109508",
        initial_products=[model("Products", name) for name in ("auth", "transactions")],
    )["public_token"]
    access_token = flow.call("/item/public_token/exchange", public_token=public_token)[
        "access_token"
    ]
    return str(access_token)


def read_everything(flow: Workflow, access_token: str) -> None:
    """Read all that is known of an Item."""
    assert len(flow.call("/accounts/get", access_token=access_token)["accounts"]) == 14
    flow.call("/accounts/balance/get", access_token=access_token)
    assert len(flow.call("/auth/get", access_token=access_token)["numbers"]["ach"]) == 3
    flow.call("/identity/get", access_token=access_token)
    flow.call("/item/get", access_token=access_token)
    today = datetime.datetime.now(datetime.timezone.utc).date()  # noqa: UP017 - Python 3.9 too
    start = today - datetime.timedelta(days=60)
    got = flow.call(
        "/transactions/get", access_token=access_token, start_date=start, end_date=today
    )
    assert got["transactions"], "no transactions"
    page = flow.try_call("/transactions/sync", access_token=access_token)
    assert page is None or page["added"]
    flow.call(
        "/institutions/get_by_id",
        institution_id="ins_109508",
        country_codes=[model("CountryCode", "US")],
    )


def hand_to_partners(flow: Workflow, access_token: str) -> None:
    """Issue processor tokens, and be the partner."""
    accounts = flow.call("/accounts/get", access_token=access_token)["accounts"]
    account_id = accounts[0]["account_id"]
    token = flow.call(
        "/processor/token/create",
        access_token=access_token,
        account_id=account_id,
        processor="dwolla",
    )["processor_token"]
    assert token.startswith("processor-sandbox-")
    wrong = flow.error(
        "/processor/token/create", access_token=access_token, account_id="x", processor="dwolla"
    )
    assert wrong == "INVALID_FIELD", wrong
    flow.call("/processor/auth/get", processor_token=token)
    flow.call("/processor/balance/get", processor_token=token)
    flow.call("/processor/identity/get", processor_token=token)
    flow.try_call("/processor/account/get", processor_token=token)
    flow.try_call("/processor/transactions/sync", processor_token=token)
    flow.try_call(
        "/processor/token/permissions/set",
        processor_token=token,
        products=[model("Products", "auth")],
    )
    flow.try_call("/processor/token/permissions/get", processor_token=token)
    flow.call(
        "/processor/stripe/bank_account_token/create",
        access_token=access_token,
        account_id=account_id,
    )
    flow.call(
        "/processor/apex/processor_token/create",
        access_token=access_token,
        account_id=account_id,
    )
    flow.call("/sandbox/processor_token/create", institution_id="ins_109508")


def break_and_end(flow: Workflow, access_token: str) -> None:
    """Break the login, rotate the token, remove the Item."""
    flow.call("/sandbox/item/reset_login", access_token=access_token)
    assert flow.error("/accounts/get", access_token=access_token) == "ITEM_LOGIN_REQUIRED"
    broken = flow.call("/item/get", access_token=access_token)["item"]
    assert broken["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    flow.call("/item/webhook/update", access_token=access_token, webhook="https://example.com/")
    flow.try_call("/item/public_token/create", access_token=access_token)
    renewed = flow.call("/item/access_token/invalidate", access_token=access_token)
    assert flow.error("/item/get", access_token=access_token) == "INVALID_ACCESS_TOKEN"
    flow.call("/item/remove", access_token=renewed["new_access_token"])
    code = flow.error("/item/get", access_token=renewed["new_access_token"])
    assert code == "ITEM_NOT_FOUND", code


def main(host: str, client_id: str = KEYS[0], secret: str = KEYS[1]) -> None:
    """Run the whole workflow."""
    flow = Workflow(host, client_id, secret)
    with flow.http:
        break_and_end(flow, through_link(flow))
        access_token = around_link(flow)
        read_everything(flow, access_token)
        hand_to_partners(flow, access_token)
        break_and_end(flow, access_token)
    left_out = ", ".join(sorted(set(flow.left_out))) or "nothing"
    print(f"plaid-python {plaid.__version__}: {flow.calls} calls; left out: {left_out}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
