"""Update mode: who may log in, where, and what can be changed."""

from __future__ import annotations

import json

import pytest

from ..support.rows import rows

CUSTOM = json.dumps({"override_accounts": [{"type": "depository", "subtype": "checking"}]})


@rows(
    ("choices", "code"),
    [
        ({"password": "wrong"}, "INVALID_CREDENTIALS"),
        ({"password": "error_ITEM_LOCKED"}, "ITEM_LOCKED"),
        ({"password": "error_USER_SETUP_REQUIRED"}, "USER_SETUP_REQUIRED"),
        ({"username": "user_other"}, "INVALID_UPDATED_USERNAME"),
        ({"username": "nobody", "password": "wrong"}, "INVALID_UPDATED_USERNAME"),
        ({"username": "user_custom", "password": CUSTOM}, "INVALID_UPDATED_USERNAME"),
        ({"institution_id": "ins_109511"}, "own bank, ins_109508"),
        ({"institution_id": "ins_56"}, "own bank, ins_109508"),
    ],
)
def test_update_mode_is_for_the_items_own_user_at_its_bank(api, sandbox, choices, code):
    """Whoever else logs in, or wrongly, mends nothing; the user does."""
    for access in (api.access_token(), api.linked()):
        api.ok("/sandbox/item/reset_login", access_token=access)
        token = api.link_token(access_token=access, products=None)
        with pytest.raises(ValueError, match=code):
            sandbox.complete_link(token, **choices)
        assert api.error("/accounts/get", access_token=access)[1] == "ITEM_LOGIN_REQUIRED"
        own = {"institution_id": "ins_109508", "username": "user_good", "password": "pass_good"}
        assert sandbox.complete_link(token, **own)
        assert api.accounts(access)


@rows(
    ("user", "wrong"),
    [
        ({"username": "user_custom", "password": CUSTOM}, '{"force_error": "ITEM_LOCKED"}'),
        ({"username": "user_good", "password": "mfa_device"}, "error_ITEM_LOCKED"),
    ],
)
def test_update_mode_of_other_test_users(api, sandbox, user, wrong):
    """Without a name, the Item's own user logs in; another is refused, `user_good` too."""
    access = api.linked(institution_id="ins_109511", **user)
    token = api.link_token(access_token=access, products=None)
    assert sandbox.complete_link(token).metadata["institution"]["institution_id"] == "ins_109511"
    with pytest.raises(ValueError, match="ITEM_LOCKED"):
        sandbox.complete_link(token, password=wrong)
    if user["username"] != "user_good":
        with pytest.raises(ValueError, match="INVALID_UPDATED_USERNAME"):
            sandbox.complete_link(token, username="user_good", password="pass_good")


def test_update_mode_in_the_pane(api):
    """A person cannot choose another bank there, nor log in as another user or wrongly."""
    access = api.linked()
    token = api.link_token(access_token=access, products=None)

    def act(action: str, **body: object) -> tuple[int, str | None]:
        reply = api.send(f"/_sandbox/link/{action}", json.dumps(body).encode())
        told = reply.json.get("error") or {}
        return reply.status, told.get("error_code") or reply.json.get("session")

    _, session = act("open", token=token)
    assert act("choose_bank", session=session, institution_id="ins_56")[1] == "INVALID_INSTITUTION"
    login = {"session": session, "username": "user_good", "password": "pass_good"}
    for change, code in (
        ({"username": "user_other"}, "INVALID_UPDATED_USERNAME"),
        ({"password": "error_ITEM_LOCKED"}, "ITEM_LOCKED"),
        ({"password": "wrong"}, "INVALID_CREDENTIALS"),
    ):
        assert act("log_in", **{**login, **change})[1] == code
        assert act("finish", session=session)[0] == 400
    assert act("log_in", **login)[0] == 200
    assert act("finish", session=session)[0] == 200


@rows("products", [["assets"], ["transactions", "assets"]])
def test_accounts_of_an_item_with_assets_are_not_chosen_again(api, sandbox, products):
    """Nor when update mode is to add Assets; a repair alone is possible."""
    access = api.access_token(initial_products=products)
    update = {"access_token": access, "update": {"account_selection_enabled": True}}
    body = {
        "client_name": "Acme",
        "language": "en",
        "country_codes": ["US"],
        "user": {"client_user_id": "user-42"},
    }
    words = "account select update is not supported for the assets product"
    assert api.error("/link/token/create", **body, **update)[2] == words
    assert api.ok("/link/token/create", **body, access_token=access)
    plain = {**update, "access_token": api.access_token(initial_products=["auth"])}
    assert api.error("/link/token/create", **body, **plain, products=["assets"])[2] == words
    assert api.ok("/link/token/create", **body, **plain)


def test_products_that_update_mode_adds(api, sandbox):
    """Assets is added, and is not billed yet; Auth is not, unless Plaid enabled that."""
    access = api.access_token()
    token = api.link_token(access_token=access, products=["assets", "auth"])
    sandbox.complete_link(token)
    item = api.shown(access)
    assert (item["products"], item["billed_products"]) == (
        ["assets", "transactions"],
        ["transactions"],
    )
