"""What the user and the bank do to an Item after Link: as it is seen by you and by the partner."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace

import pytest

from ..support.rows import rows

DAY = dt.timedelta(days=1)
# Nothing listens there: what was to be sent is read from the list of deliveries.
HOOK = "http://127.0.0.1:9/hook"


def control(api, path: str, **body: object):
    return api.send(f"/_sandbox{path}", json.dumps(body).encode())


def sent(sandbox) -> list[tuple[str, str]]:
    """The webhooks so far, by type and code."""
    assert sandbox.wait_for_webhooks()
    return [(each.body["webhook_type"], each.body["webhook_code"]) for each in sandbox.webhooks]


def codes(sandbox) -> list[str]:
    return [code for kind, code in sent(sandbox) if kind in ("ITEM", "AUTH")]


def update_mode(api, access: str, *, accounts: bool = False) -> str:
    more = {"update": {"account_selection_enabled": True}} if accounts else {}
    return api.link_token(access_token=access, products=None, **more)


def masks(api, access: str) -> list[str]:
    return [account["mask"] for account in api.accounts(access)]


@rows("named", ["item_id", "access_token", "object", "http"])
def test_a_login_breaks(api, sandbox, named):
    """By whatever the Item is named; update mode repairs it, and the tokens go on."""
    sandbox.reset()
    access = api.linked({"webhook": HOOK})
    token = api.processor_token(access)
    item_id = api.shown(access)["item_id"]
    if named == "http":
        assert control(api, "/reset_login", item=item_id).status == 200
    else:
        whole = SimpleNamespace(access_token=access)
        sandbox.reset_login({"item_id": item_id, "access_token": access, "object": whole}[named])
    assert api.shown(access)["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert api.error("/processor/balance/get", processor_token=token)[1] == "ITEM_LOGIN_REQUIRED"
    assert codes(sandbox) == ["ERROR"]
    sandbox.complete_link(update_mode(api, access))
    assert api.ok("/processor/balance/get", processor_token=token)
    assert api.shown(access)["error"] is None
    assert codes(sandbox) == ["ERROR"]  # one's own update mode ends without a webhook


@rows("bank", ["ins_109508", "ins_13"])
def test_the_permission_is_revoked(api, sandbox, bank):
    """All is refused until update mode; at PNC the tokens stay void, and new ones are needed."""
    sandbox.reset()
    access = api.linked({"webhook": HOOK}, institution_id=bank)
    token = api.processor_token(access)
    sandbox.revoke(access)
    assert codes(sandbox) == ["USER_PERMISSION_REVOKED"]
    assert sandbox.webhooks[-1].body["error"]["error_code"] == "USER_PERMISSION_REVOKED"
    assert api.shown(access)["error"]["error_code"] == "USER_PERMISSION_REVOKED"
    assert api.error("/accounts/get", access_token=access)[1] == "USER_PERMISSION_REVOKED"
    refused = api.error("/processor/balance/get", processor_token=token)
    assert refused[1] == "USER_PERMISSION_REVOKED"
    sandbox.complete_link(update_mode(api, access))
    again = api.post("/processor/balance/get", processor_token=token)
    assert again.status == (400 if bank == "ins_13" else 200)
    assert api.ok("/processor/balance/get", processor_token=api.processor_token(access))


@rows("how", ["revoke", "close"])
def test_an_account_goes(api, sandbox, how):
    """A revoked one with a webhook, and it can be shared again; a closed one in silence."""
    sandbox.reset()
    access = api.linked({"webhook": HOOK}, masks=["0000", "1111"])
    token = api.processor_token(access, "1111")
    gone = next(a["account_id"] for a in api.accounts(access) if a["mask"] == "1111")
    if how == "revoke":
        sandbox.revoke(access, account_id=gone)
    else:
        sandbox.close_account(access, gone)
    assert masks(api, access) == ["0000"]
    assert api.error("/processor/balance/get", processor_token=token)[1] == "INVALID_ACCOUNT_ID"
    assert codes(sandbox) == (["USER_ACCOUNT_REVOKED"] if how == "revoke" else [])
    choose = update_mode(api, access, accounts=True)
    if how == "revoke":
        assert sandbox.webhooks[-1].body["account_id"] == gone
        sandbox.complete_link(choose, masks=["0000", "1111"])
        assert api.ok("/processor/balance/get", processor_token=token)
    else:
        with pytest.raises(ValueError, match="1111"):
            sandbox.complete_link(choose, masks=["0000", "1111"])


def test_a_new_account_is_shared_by_update_mode_with_account_selection_alone(api, sandbox):
    """Neither at once nor by a repair; at a bank with tokenized numbers it has one too."""
    for bank in ("ins_109508", "ins_56"):
        sandbox.reset()
        link = {"webhook": HOOK, "products": ["auth"]}
        access = api.linked(link, institution_id=bank, masks=["0000"])
        new = sandbox.new_account(api.shown(access)["item_id"], name="Rainy days")
        assert (new.name, new.type, new.subtype) == ("Rainy days", "depository", "savings")
        assert codes(sandbox) == ["NEW_ACCOUNTS_AVAILABLE"]
        refused = api.error(
            "/processor/token/create",
            access_token=access,
            account_id=new.account_id,
            processor="layer",
        )
        assert refused[1] == "INVALID_FIELD"
        sandbox.complete_link(update_mode(api, access))
        assert masks(api, access) == ["0000"]
        sandbox.complete_link(update_mode(api, access, accounts=True), masks=["0000", new.mask])
        assert masks(api, access) == ["0000", new.mask]
        number = api.numbers(access)[new.mask]["account"]
        assert number.endswith(new.mask) is (bank == "ins_109508")
        assert api.processor_token(access, new.mask)


@rows(
    ("given", "mask", "kind"),
    [
        ({}, "7000", ("depository", "savings")),
        ({"subtype": "checking", "mask": "4242"}, "4242", ("depository", "checking")),
        ({"subtype": "credit card"}, "7000", ("credit", "credit card")),
        ({"subtype": "mortgage", "name": "House"}, "7000", ("loan", "mortgage")),
    ],
)
def test_new_accounts_over_http(api, given, mask, kind):
    """From another language it is the same."""
    access = api.linked()
    told = control(api, "/new_account", item=access, **given).json
    assert (told["mask"], (told["type"], told["subtype"])) == (mask, kind)
    again = control(api, "/new_account", item=access, **{**given, "mask": None}).json
    assert again["mask"] not in (mask if mask == "7000" else None, "0000")


def test_numbers_change(api, sandbox):
    """AUTH / DEFAULT_UPDATE names the accounts, if the Item has Auth; tokens read the new ones."""
    access = api.linked({"webhook": HOOK, "products": ["auth"]}, masks=["0000", "1111"])
    before, account = api.numbers(access), api.accounts(access)[0]["account_id"]
    token = api.processor_token(access, "0000")
    assert control(api, "/change_numbers", item=access, account_id=account).status == 200
    after = api.numbers(access)
    assert (after["0000"] != before["0000"], after["1111"]) == (True, before["1111"])
    assert after["0000"]["account"].endswith("0000")
    read = api.ok("/processor/auth/get", processor_token=token)["numbers"]["ach"]
    assert read["account"] == after["0000"]["account"]
    assert codes(sandbox) == ["DEFAULT_UPDATE"]
    told = sandbox.webhooks[-1].body["account_ids_with_updated_auth"]
    assert told == {account: ["ACCOUNT_NUMBER"]}
    sandbox.change_numbers(access)
    assert set(sandbox.webhooks[-1].body["account_ids_with_updated_auth"]) <= {
        each["account_id"] for each in api.accounts(access)
    }
    without = api.linked({"webhook": HOOK})
    sandbox.change_numbers(without)
    assert codes(sandbox) == ["DEFAULT_UPDATE"] * 2


@rows(
    "bank",
    ["ins_13", "ins_127989"],
)
def test_consent_ends(api, sandbox, bank):
    """A week before, a webhook; at the end none; update mode moves the end by a year."""
    sandbox.reset()
    assert control(api, "/logins", enabled=False).status == 200
    access = api.linked({"webhook": HOOK, "products": ["auth"]}, institution_id=bank)
    token, end = api.processor_token(access), api.shown(access)["consent_expiration_time"]
    sandbox.advance(357 * DAY)
    assert codes(sandbox) == []
    sandbox.advance(2 * DAY)
    assert codes(sandbox) == ["PENDING_DISCONNECT"]
    assert sandbox.webhooks[-1].body["disconnect_time"] == end
    assert sandbox.webhooks[-1].body["reason"] == "INSTITUTION_TOKEN_EXPIRATION"
    sandbox.complete_link(update_mode(api, access))  # in time: nothing is lost
    later = api.shown(access)["consent_expiration_time"]
    assert later > end
    assert api.ok("/processor/balance/get", processor_token=token)
    sandbox.advance(366 * DAY)
    assert codes(sandbox) == ["PENDING_DISCONNECT"] * 2
    assert api.shown(access)["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    sandbox.complete_link(update_mode(api, access))
    again = api.post("/processor/balance/get", processor_token=token)
    assert again.status == (400 if bank == "ins_13" else 200)


def test_logins_last_a_month_unless_switched_off(api, sandbox):
    """For Items made meanwhile; those of before keep theirs."""
    monthly = api.linked()
    sandbox.expire_logins(False)
    lasting = api.linked()
    sandbox.expire_logins()
    sandbox.advance(31 * DAY)
    assert api.error("/accounts/get", access_token=monthly)[1] == "ITEM_LOGIN_REQUIRED"
    assert masks(api, lasting)
    sandbox.advance(700 * DAY)
    assert masks(api, lasting)


@rows(
    ("path", "body"),
    [
        ("/reset_login", {}),
        ("/reset_login", {"item": 5}),
        ("/revoke", {"account_id": "no such account"}),
        ("/revoke", {"account_id": ["a"]}),
        ("/new_account", {"subtype": "no such subtype"}),
        ("/new_account", {"mask": "0000"}),
        ("/close_account", {}),
        ("/close_account", {"account_id": "no such account"}),
        ("/change_numbers", {"account_id": "no such account"}),
        ("/connect_banks", {"link_token": "link-sandbox-x", "institution_ids": ["ins_56"]}),
    ],
)
def test_a_slip_changes_nothing(api, path, body):
    """It is refused with words, also for an Item that is not there any more."""
    access = api.linked()
    before = api.accounts(access)
    item = {} if body.get("item") or path in ("/connect_banks",) else {"item": access}
    reply = control(api, path, **(item if body or path == "/close_account" else {}), **body)
    assert (reply.status, bool(reply.json["error"])) == (400, True)
    assert api.accounts(access) == before
    api.ok("/item/remove", access_token=access)
    gone = control(api, path, **{"item": access, "account_id": "a", "subtype": "savings", **body})
    assert gone.status == 400


def test_an_item_without_accounts(api, sandbox):
    """Nothing breaks when the last account goes."""
    access = api.linked({"webhook": HOOK, "products": ["auth"]}, masks=["0000"])
    (only,) = api.accounts(access)
    sandbox.revoke(access, account_id=only["account_id"])
    assert api.accounts(access) == []
    with pytest.raises(ValueError, match="no account"):
        sandbox.change_numbers(access)
    fired = api.error(
        "/sandbox/item/fire_webhook", access_token=access, webhook_code="USER_ACCOUNT_REVOKED"
    )
    assert fired[1] == "NO_ACCOUNTS"


def test_several_banks_in_one_session(api, sandbox):
    """Multi-Item Link: each Item has its public token, in the session and in the webhooks."""
    wanted = {"enable_multi_item_link": True, "webhook": HOOK, "user_id": "usr_1"}
    token = api.link_token(**wanted)
    done = sandbox.connect_banks(token, ["ins_109508", "ins_56"])
    assert [each.metadata["institution"]["name"] for each in done] == [
        "First Platypus Bank",
        "Chase",
    ]
    public_tokens = [each.public_token for each in done]
    (session,) = api.ok("/link/token/get", link_token=token)["link_sessions"]
    results = session["results"]["item_add_results"]
    assert [each["public_token"] for each in results] == public_tokens
    assert "on_success" not in session
    assert sent(sandbox) == [("LINK", "ITEM_ADD_RESULT")] * 2 + [("LINK", "SESSION_FINISHED")]
    assert sandbox.webhooks[-1].body["public_tokens"] == public_tokens
    items = [api.ok("/item/public_token/exchange", public_token=each) for each in public_tokens]
    assert len({each["item_id"] for each in items}) == 2
    assert control(api, "/connect_banks", link_token=token, institution_ids=["ins_109511"]).json[
        "linked"
    ][0]["public_token"]
    with pytest.raises(ValueError, match="enable_multi_item_link"):
        sandbox.connect_banks(api.link_token(), ["ins_56"])
    with pytest.raises(TypeError, match="a list"):
        sandbox.connect_banks(token, "ins_56")
    with pytest.raises(ValueError, match="INVALID_INSTITUTION"):
        sandbox.connect_banks(token, ["ins_109508", "ins_117650"])
