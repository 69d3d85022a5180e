"""One set of test bodies for the local Plaid and, with keys, for Plaid's own Sandbox.

`pytest -m live` with PLAID_CLIENT_ID and PLAID_SECRET runs them against Plaid's; the keys want the
partners Layer and Finix enabled. What they assert is what was seen of Plaid's Sandbox.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import urllib3
from attrs import field, frozen

from plaid_processors import AuthenticationError, ProcessorLinker

from . import record_cassettes
from .cassettes.flows import BANK, FLOWS, GONE
from .cassettes.tape import fake_token
from .support.rows import rows

Json = dict[str, Any]

LINK: Json = {
    "client_name": "Acme Books",
    "language": "en",
    "country_codes": ["US"],
    "user": {"client_user_id": "user-42"},
    "products": ["auth"],
}
ERROR_KEYS = {
    "display_message",
    "documentation_url",
    "error_code",
    "error_message",
    "error_type",
    "request_id",
    "suggested_action",
}
ITEM_KEYS = {
    "available_products",
    "billed_products",
    "consent_expiration_time",
    "error",
    "institution_id",
    "institution_name",
    "item_id",
    "products",
    "update_type",
    "webhook",
}
MASKS = [
    "0000", "1111", "2222", "3333", "4444", "5555", "6666",
    "7777", "8888", "9001", "9002", "9003", "9004", "9999",
]  # fmt: skip


@frozen(kw_only=True)
class Api:
    """A bare client, keys in the body, of one Plaid."""

    plaid: record_cassettes.Plaid
    pool: urllib3.PoolManager = field(repr=False)
    made: list[str] = field(factory=list, repr=False)

    def post(self, path: str, **body: Any) -> Any:  # of urllib3, 1.26 or 2
        keys = {"client_id": self.plaid.client_id, "secret": self.plaid.secret}
        headers = {"Plaid-Version": "2020-09-14", "Content-Type": "application/json"}
        sent = json.dumps({**keys, **body}).encode()
        return self.pool.request("POST", self.plaid.url + path, body=sent, headers=headers)

    def ok(self, path: str, **body: Any) -> Json:
        answer = self.post(path, **body)
        assert answer.status == 200, answer.data
        return dict(json.loads(answer.data))

    def refused(self, path: str, **body: Any) -> Json:
        answer = self.post(path, **body)
        assert answer.status == 400, answer.data
        return dict(json.loads(answer.data))

    def public_token(self, **more: Any) -> str:
        body = {"institution_id": BANK, "initial_products": ["auth"], **more}
        return str(self.ok("/sandbox/public_token/create", **body)["public_token"])

    def access_token(self, **more: Any) -> str:
        answer = self.ok("/item/public_token/exchange", public_token=self.public_token(**more))
        self.made.append(answer["access_token"])
        return self.made[-1]

    def account_ids(self, access_token: str) -> list[str]:
        accounts = self.ok("/accounts/get", access_token=access_token)["accounts"]
        return [account["account_id"] for account in accounts]


def _live() -> AbstractContextManager[record_cassettes.Plaid]:
    given = [os.environ.get(name, "") for name in ("PLAID_CLIENT_ID", "PLAID_SECRET")]
    if not all(given) or os.environ.get("PLAID_ENV", "sandbox") != "sandbox":
        pytest.skip("no PLAID_CLIENT_ID and PLAID_SECRET of Plaid's Sandbox in the environment")
    return record_cassettes.live()


@pytest.fixture(scope="module", params=["local", pytest.param("live", marks=pytest.mark.live)])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """One Plaid of each kind; the Items that were made there are removed in the end."""
    kind = {"local": record_cassettes.local, "live": _live}[request.param]
    with kind() as plaid, urllib3.PoolManager(retries=False, timeout=30) as pool:
        api = Api(plaid=plaid, pool=pool)
        yield api
        for access_token in api.made:
            api.post("/item/remove", access_token=access_token)


@pytest.fixture(scope="module")
def item(api: Api) -> str:
    """The access token of an Item that the tests only read."""
    return api.access_token()


@pytest.fixture
def linker(api: Api) -> Iterator[ProcessorLinker]:
    """The SDK, on the same Plaid."""
    with ProcessorLinker(api.plaid.client()) as linker:
        yield linker


@rows("name", FLOWS)
def test_flow(api: Api, linker: ProcessorLinker, name: str) -> None:
    """What is on the cassettes holds at either."""
    FLOWS[name](linker, api.plaid.finish)


def test_both_partners_at_once(api: Api, linker: ProcessorLinker) -> None:
    """One exchange, side by side a token for each account for Layer, and one for Finix."""
    result = linker.link_sandbox(["layer", "finix"])
    api.made.append(result.access_token)
    accounts = [str(token.account.mask) for token in result.processor_tokens]
    assert sorted(accounts) == sorted([*MASKS, "0000"])
    assert result.token("finix").account.subtype == "checking"


def test_the_form(api: Api, item: str) -> None:
    """Two spaces, sorted keys, no final newline, and the headers that say so."""
    answer = api.post("/accounts/get", access_token=item)
    value = json.loads(answer.data)
    assert _outline(answer.data.decode()) == _outline(json.dumps(value, indent=2, sort_keys=True))
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Plaid-Version"] == "2020-09-14"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


def _outline(text: str) -> list[str]:
    """Each line without its value, which may be written in more than one way."""
    return [line.partition(":")[0] for line in text.split("\n")]


def test_tokens(api: Api) -> None:
    """What each step of the workflow answers, and nothing else."""
    link = api.ok("/link/token/create", **LINK)
    assert set(link) == {"expiration", "link_token", "request_id"}
    assert link["expiration"].endswith("Z")
    body = {"institution_id": BANK, "initial_products": ["auth"]}
    public = api.ok("/sandbox/public_token/create", **body)
    assert set(public) == {"public_token", "request_id"}
    item = api.ok("/item/public_token/exchange", public_token=public["public_token"])
    assert set(item) == {"access_token", "item_id", "request_id"}
    access = {"access_token": item["access_token"]}
    account_id = api.account_ids(item["access_token"])[0]
    made = api.ok("/processor/token/create", **access, account_id=account_id, processor="finix")
    assert set(made) == {"processor_token", "request_id"}
    assert set(api.ok("/item/remove", **access)) == {"request_id"}
    kinds = [link["link_token"], public["public_token"], *access.values(), made["processor_token"]]
    assert [token.split("-")[:2] for token in kinds] == [
        [kind, "sandbox"] for kind in ("link", "public", "access", "processor")
    ]
    assert [len(token) - len(token.partition("-sandbox-")[0]) for token in kinds] == [45] * 4
    assert len(item["item_id"]) == len(account_id) == 37
    assert len(made["request_id"]) == 15


def test_accounts(api: Api, item: str) -> None:
    """The default user's fourteen accounts, and the Item beside them."""
    answer = api.ok("/accounts/get", access_token=item)
    assert set(answer) == {"accounts", "item", "request_id"}
    assert set(answer["item"]) >= ITEM_KEYS
    assert "created_at" not in answer["item"]
    assert [account["mask"] for account in answer["accounts"]] == MASKS
    always = {"account_id", "apy", "balances", "mask", "name", "official_name", "subtype", "type"}
    assert [always - set(account) for account in answer["accounts"]] == [set()] * len(MASKS)


def test_item(api: Api, item: str) -> None:
    """An Item as `/item/get` tells it."""
    answer = api.ok("/item/get", access_token=item)
    assert set(answer) == {"item", "request_id", "status"}
    assert answer["item"]["billed_products"] == answer["item"]["products"] == ["auth"]
    assert answer["item"]["institution_name"] == "First Platypus Bank"
    assert "created_at" in answer["item"]
    assert (answer["item"]["error"], answer["item"]["webhook"]) == (None, "")


def test_auth_numbers(api: Api, item: str) -> None:
    """The default user's numbers, of the accounts that have some."""
    numbers = api.ok("/auth/get", access_token=item)["numbers"]
    assert set(numbers) == {"ach", "bacs", "eft", "international"}
    told = [(n["account"], n["routing"], n["wire_routing"]) for n in numbers["ach"]]
    assert told == [
        (f"111122223333{mask}", "011401533", "021000021") for mask in ("0000", "1111", "9002")
    ]


@rows(
    ("path", "body", "error_type", "code", "message"),
    [
        (
            "/item/public_token/exchange",
            {"public_token": "nonsense"},
            "INVALID_INPUT",
            "INVALID_PUBLIC_TOKEN",
            (
                "provided public token is in an invalid format. "
                "expected format: public-<environment>-<identifier>"
            ),
        ),
        (
            "/item/public_token/exchange",
            {"public_token": fake_token("public", 1)},
            "INVALID_INPUT",
            "INVALID_PUBLIC_TOKEN",
            "could not find matching public token",
        ),
        (
            "/item/public_token/exchange",
            {"public_token": fake_token("public", 1).replace("sandbox", "production")},
            "INVALID_INPUT",
            "INVALID_PUBLIC_TOKEN",
            (
                "provided public token is for the wrong Plaid environment. "
                'expected "sandbox", got "production"'
            ),
        ),
        (
            "/item/public_token/exchange",
            {"public_token": fake_token("access", 1)},
            "INVALID_INPUT",
            "INVALID_PUBLIC_TOKEN",
            'provided token is the wrong type. expected "public", got "access"',
        ),
        (
            "/item/get",
            {"access_token": "nonsense"},
            "INVALID_INPUT",
            "INVALID_ACCESS_TOKEN",
            (
                "provided access token is in an invalid format. "
                "expected format: access-<environment>-<identifier>"
            ),
        ),
        (
            "/item/get",
            {"access_token": fake_token("access", 1)},
            "INVALID_INPUT",
            "INVALID_ACCESS_TOKEN",
            "could not find matching access token",
        ),
        (
            "/item/get",
            {"access_token": fake_token("public", 1)},
            "INVALID_INPUT",
            "INVALID_ACCESS_TOKEN",
            'provided token is the wrong type. expected "access", got "public"',
        ),
        (
            "/item/get",
            {},
            "INVALID_REQUEST",
            "MISSING_FIELDS",
            "the following required fields are missing: access_token",
        ),
        (
            "/item/get",
            {"access_token": fake_token("access", 1), "client_id": None},
            "INVALID_REQUEST",
            "MISSING_FIELDS",
            "the following required fields are missing: client_id",
        ),
        (
            "/item/get",
            {"access_token": fake_token("access", 1), "client_id": "nobody"},
            "INVALID_REQUEST",
            "INVALID_FIELD",
            "client_id must be a properly formatted, non-empty string",
        ),
        (
            "/item/get",
            {"access_token": fake_token("access", 1), "secret": "0" * 30},
            "INVALID_INPUT",
            "INVALID_API_KEYS",
            "invalid client_id or secret provided",
        ),
        (
            "/link/token/create",
            {**LINK, "user": {"client_user_id": "user-42", "email": "jo@example.com"}},
            "INVALID_REQUEST",
            "UNKNOWN_FIELDS",
            "the following fields are not recognized by this endpoint: user.email",
        ),
        (
            "/link/token/create",
            {**LINK, "client_name": ""},
            "INVALID_REQUEST",
            "INVALID_FIELD",
            "client_name must be a non-empty string",
        ),
        (
            "/link/token/create",
            {**LINK, "products": []},
            "INVALID_REQUEST",
            "INVALID_FIELD",
            "must provide at least one product",
        ),
        (
            "/link/token/create",
            {**LINK, "redirect_uri": ""},
            "INVALID_REQUEST",
            "INVALID_FIELD",
            (
                "OAuth redirect URI must be configured in the developer dashboard. "
                "See https://plaid.com/docs/#oauth-redirect-uris"
            ),
        ),
        (
            "/sandbox/public_token/create",
            {"institution_id": "ins_0", "initial_products": ["auth"]},
            "INVALID_INPUT",
            "INVALID_INSTITUTION",
            "invalid institution_id provided",
        ),
    ],
)
def test_refusal(api: Api, path: str, body: Json, error_type: str, code: str, message: str) -> None:
    """A request that Plaid refuses, in Plaid's type, code and words."""
    error = api.refused(path, **body)
    assert (error["error_type"], error["error_code"], error["error_message"]) == (
        error_type,
        code,
        message,
    )
    assert set(error) in (ERROR_KEYS, ERROR_KEYS - {"documentation_url"})


def test_nulls_are_as_if_absent(api: Api, item: str) -> None:
    """Generated clients send null for each option that is unset."""
    assert len(api.ok("/accounts/get", access_token=item, options=None)["accounts"]) == 14
    api.ok("/link/token/create", **LINK, access_token=None, webhook=None)


def test_a_spent_public_token(api: Api) -> None:
    """A public token is good for one exchange."""
    public_token = api.public_token()
    api.made.append(
        api.ok("/item/public_token/exchange", public_token=public_token)["access_token"]
    )
    error = api.refused("/item/public_token/exchange", public_token=public_token)
    assert error["error_message"] == "could not find matching public token"


def test_another_items_account(api: Api, item: str) -> None:
    """A processor token is for an account of this very Item."""
    foreign = api.account_ids(api.access_token())[0]
    for account_id in (foreign, "nonsense"):
        error = api.refused(
            "/processor/token/create", access_token=item, account_id=account_id, processor="finix"
        )
        assert (error["error_code"], error["error_message"]) == (
            "INVALID_FIELD",
            "account_id must be a valid account ID",
        )


def test_an_unknown_processor(api: Api, item: str) -> None:
    """No such partner."""
    account_id = api.account_ids(item)[0]
    error = api.refused(
        "/processor/token/create", access_token=item, account_id=account_id, processor="nobody"
    )
    assert (error["error_code"], error["error_message"]) == (
        "INVALID_PROCESSOR",
        "The provided processor is invalid.",
    )


def test_a_removed_item(api: Api) -> None:
    """Once removed, an Item answers nothing more, and makes no processor token."""
    access_token = api.access_token()
    body = {"account_id": api.account_ids(access_token)[0], "processor": "finix"}
    made = api.ok("/processor/token/create", access_token=access_token, **body)
    api.ok("/item/remove", access_token=access_token)
    for path, more in (
        ("/item/get", {}),
        ("/accounts/get", {}),
        ("/item/remove", {}),
        ("/processor/token/create", body),
    ):
        error = api.refused(path, access_token=access_token, **more)
        assert (error["error_code"], error["error_message"]) == ("ITEM_NOT_FOUND", GONE)
    api.refused("/processor/account/get", processor_token=made["processor_token"])


def test_the_partners_side(api: Api, item: str) -> None:
    """A processor token shows its one account, and the numbers of it alone."""
    account_id = api.account_ids(item)[1]
    made = api.ok(
        "/processor/token/create", access_token=item, account_id=account_id, processor="finix"
    )
    token = {"processor_token": made["processor_token"]}
    assert api.ok("/processor/account/get", **token)["account"]["account_id"] == account_id
    assert api.ok("/processor/balance/get", **token)["account"]["account_id"] == account_id
    numbers = api.ok("/processor/auth/get", **token)["numbers"]
    assert numbers["ach"]["account"] == "1111222233331111"


def test_an_item_that_needs_a_login(api: Api) -> None:
    """After reset_login, data and processor calls are refused; `/item/get` tells why."""
    access_token = api.access_token()
    account_id = api.account_ids(access_token)[0]
    body = {"access_token": access_token, "account_id": account_id, "processor": "finix"}
    made = api.ok("/processor/token/create", **body)
    reset = api.ok("/sandbox/item/reset_login", access_token=access_token)
    assert (set(reset), reset["reset_login"]) == ({"reset_login", "request_id"}, True)
    errors = [
        api.refused("/auth/get", access_token=access_token),
        api.refused("/processor/auth/get", processor_token=made["processor_token"]),
        api.ok("/item/get", access_token=access_token)["item"]["error"],
    ]
    assert [error["error_code"] for error in errors] == ["ITEM_LOGIN_REQUIRED"] * 3
    assert [error["error_type"] for error in errors] == ["ITEM_ERROR"] * 3


def test_a_login_that_fails(api: Api) -> None:
    """The test users' passwords can call for an error."""
    error = api.refused(
        "/sandbox/public_token/create",
        institution_id=BANK,
        initial_products=["auth"],
        options={"override_password": "error_ITEM_LOCKED"},
    )
    assert (error["error_type"], error["error_code"]) == ("ITEM_ERROR", "ITEM_LOCKED")
    assert error["display_message"]


def test_wrong_keys(api: Api) -> None:
    """Keys in headers are looked at as well, and the SDK says which setting is wrong."""
    with (
        api.plaid.client(secret="0" * 30) as client,
        pytest.raises(AuthenticationError) as wrong,
    ):
        ProcessorLinker(client).accounts(fake_token("access", 1))
    assert wrong.value.error_code == "INVALID_API_KEYS"
