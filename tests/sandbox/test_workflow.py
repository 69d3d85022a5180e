"""From a link token to processor tokens, and what each answer holds."""

from __future__ import annotations

import datetime as dt

import pytest

from plaid_processors.sandbox import LocalSandbox

from ..support.rows import rows

MASKS = [
    "0000", "1111", "2222", "3333", "4444", "5555", "6666",
    "7777", "8888", "9001", "9002", "9003", "9004", "9999",
]  # fmt: skip


def test_link_token(api, link_request):
    """A link token lives four hours, told in whole seconds."""
    answer = api.ok("/link/token/create", **link_request)
    assert set(answer) == {"link_token", "expiration", "request_id"}
    expiration = dt.datetime.strptime(answer["expiration"], "%Y-%m-%dT%H:%M:%S%z")
    left = expiration - dt.datetime.now(dt.UTC)
    assert dt.timedelta(hours=4) - dt.timedelta(seconds=10) < left <= dt.timedelta(hours=4)


@rows(
    ("change", "code", "message"),
    [
        ({"client_name": " "}, "INVALID_FIELD", "client_name must be a non-empty string"),
        ({"products": []}, "INVALID_FIELD", "must provide at least one product"),
        ({"products": None}, "INVALID_FIELD", "must provide at least one product"),
        (
            {"products": ["balance"]},
            "INVALID_PRODUCT",
            'client is not authorized to access the following products: ["balance"]',
        ),
        (
            {"redirect_uri": ""},
            "INVALID_FIELD",
            (
                "OAuth redirect URI must be configured in the developer dashboard. "
                "See https://plaid.com/docs/#oauth-redirect-uris"
            ),
        ),
        (
            {"user": {}},
            "MISSING_FIELDS",
            "the following required fields are missing: user.client_user_id",
        ),
        ({"user": None}, "MISSING_FIELDS", "the following required fields are missing: user"),
        ({"language": "tlh"}, "INVALID_FIELD", None),
        ({"country_codes": ["XX"]}, "INVALID_FIELD", None),
        ({"webhook": "not a url"}, "INVALID_FIELD", None),
        ({"access_token": "access-sandbox-x"}, "INVALID_ACCESS_TOKEN", None),
    ],
)
def test_refused_link_tokens(api, link_request, change, code, message):
    """What Plaid refuses in a link token, in its words where they were seen."""
    _, got, words = api.error("/link/token/create", **{**link_request, **change})
    assert got == code
    assert message is None or words == message


@rows("kind", [list, tuple, iter, dict.fromkeys, frozenset])
def test_masks_of_any_kind(api, sandbox, kind):
    """An iterator works like a list, in a new link and in update mode; an empty one is refused."""

    def shown(access):
        return [account["mask"] for account in api.accounts(access)]

    access = api.linked(masks=kind(["0000", "1111"]))
    assert shown(access) == ["0000", "1111"]
    update = {"products": None, "access_token": access}
    token = api.link_token(**update, update={"account_selection_enabled": True})
    sandbox.complete_link(token, masks=kind(["1111", "3333"]))
    assert shown(access) == ["1111", "3333"]
    with pytest.raises(ValueError, match="no account to choose"):
        sandbox.complete_link(api.link_token(), masks=kind([]))
    with pytest.raises(ValueError, match="for masks \\['12'\\]"):
        sandbox.complete_link(api.link_token(), masks=kind(["0000", "12"]))


def test_complete_link(api, sandbox):
    """What the user chose in Link is what `onSuccess` tells and the Item holds."""
    done = sandbox.complete_link(
        api.link_token(), institution_id="ins_109508", masks=["0000", "3333"]
    )
    assert set(done.metadata) == {
        "institution",
        "accounts",
        "account",
        "link_session_id",
        "transfer_status",
    }
    assert done.metadata["institution"] == {
        "name": "First Platypus Bank",
        "institution_id": "ins_109508",
    }
    assert set(done.metadata["accounts"][0]) == {
        "id", "name", "mask", "type", "subtype", "verification_status", "class_type",
    }  # fmt: skip
    token = api.ok("/item/public_token/exchange", public_token=done.public_token)["access_token"]
    assert [a["account_id"] for a in api.accounts(token)] == [
        a["id"] for a in done.metadata["accounts"]
    ]
    assert [a["mask"] for a in api.accounts(token)] == ["0000", "3333"]


def test_complete_link_offers_what_the_link_token_allows(api, sandbox):
    """Auth and filters narrow the accounts; a type that no filter names is left out."""

    def masks(**more) -> list[str]:
        done = sandbox.complete_link(api.link_token(**more))
        return [account["mask"] for account in done.metadata["accounts"]]

    assert masks() == MASKS
    assert masks(products=["auth", "identity"]) == ["0000", "1111", "9002"]
    assert masks(account_filters={"credit": {"account_subtypes": ["all"]}}) == ["3333", "9999"]
    assert masks(account_filters={"depository": {"account_subtypes": ["cd", "hsa"]}}) == [
        "2222",
        "9001",
    ]


def test_complete_link_names_the_choices(api, sandbox):
    """A mask that Link would not offer, a bank or token that is not there: told as ValueError."""
    token = api.link_token(products=["auth"])
    with pytest.raises(ValueError, match="0000, 1111, 9002"):
        sandbox.complete_link(token, masks=["3333"])
    with pytest.raises(ValueError, match="INVALID_INSTITUTION"):
        sandbox.complete_link(token, institution_id="ins_0")
    with pytest.raises(ValueError, match="no such link token"):
        sandbox.complete_link("link-sandbox-x")


def test_account_ids(api):
    """Accounts can be asked for by id, and only the Item's own."""
    token, other = api.access_token(), api.access_token()
    ids = [account["account_id"] for account in api.accounts(token)]
    answer = api.ok("/accounts/get", access_token=token, options={"account_ids": ids[1:3]})
    assert [account["account_id"] for account in answer["accounts"]] == ids[1:3]
    foreign = api.accounts(other)[0]["account_id"]
    assert api.error("/accounts/get", access_token=token, options={"account_ids": [foreign]})[
        :2
    ] == (
        "INVALID_INPUT",
        "INVALID_ACCOUNT_ID",
    )


def test_tokens_of_another_client():
    """Public and access tokens are good for the client they were made for alone."""
    import urllib3

    with LocalSandbox(any_keys=True) as sandbox, urllib3.PoolManager() as pool:

        def post(path: str, client: str, **body: object) -> dict[str, str]:
            keys = {"client_id": client * 24, "secret": client * 30}
            return pool.request("POST", sandbox.url + path, json={**keys, **body}).json()

        made = post(
            "/sandbox/public_token/create",
            "a",
            institution_id="ins_109508",
            initial_products=["auth"],
        )
        theirs = post("/item/public_token/exchange", "b", public_token=made["public_token"])
        ours = post("/item/public_token/exchange", "a", public_token=made["public_token"])
        foreign = post("/item/get", "b", access_token=ours["access_token"])
    assert theirs["error_message"] == "could not find matching public token"
    assert foreign["error_message"] == "could not find matching access token"


def test_same_seed_same_tokens():
    """Two sandboxes of one seed make the same ids, two of different seeds do not."""
    import urllib3

    def first_token(seed: int) -> str:
        with LocalSandbox(seed=seed) as sandbox, urllib3.PoolManager() as pool:
            body = {
                "client_id": sandbox.client_id, "secret": sandbox.secret,
                "institution_id": "ins_109508", "initial_products": ["auth"],
            }  # fmt: skip
            url = f"{sandbox.url}/sandbox/public_token/create"
            return pool.request("POST", url, json=body).json()["public_token"]

    assert first_token(7) == first_token(7) != first_token(8)
