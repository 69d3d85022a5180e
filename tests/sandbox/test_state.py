"""What happens to Items and tokens as time passes and things are done to them."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import plaid
import pytest
from plaid.model.link_token_get_response import LinkTokenGetResponse

from plaid_processors.sandbox import LocalSandbox

from ..support.rows import rows
from .conftest import ALL, Api

MINUTE = dt.timedelta(minutes=1)


def test_link_with_a_clients_own_link_token(api, sandbox):
    """What a client made of the answer is as good as the token itself."""
    answer = SimpleNamespace(link_token=api.link_token())
    assert sandbox.complete_link(answer).public_token
    assert sandbox.exit_link(answer).error is None


def test_masks_are_several(api, sandbox):
    """One mask as a plain string would be read character by character: it is refused."""
    with pytest.raises(TypeError, match=r'masks must be a list such as \["0000"\]'):
        sandbox.complete_link(api.link_token(), masks="0000")


def test_public_tokens_live_thirty_minutes(api, sandbox):
    """A token is good to the last minute, and then told to be expired."""
    good, late = api.public_token(), api.public_token()
    sandbox.advance(29 * MINUTE)
    assert api.ok("/item/public_token/exchange", public_token=good)
    sandbox.advance(MINUTE)
    assert api.error("/item/public_token/exchange", public_token=late) == (
        "INVALID_INPUT",
        "INVALID_PUBLIC_TOKEN",
        (
            "provided public token is expired. Public tokens expire 30 minutes after creation "
            "at which point they can no longer be exchanged"
        ),
    )


def test_link_tokens_live_four_hours(api, sandbox):
    """Link opens with a token for four hours, in update mode for thirty minutes."""
    fresh = api.link_token()
    update = api.link_token(access_token=api.access_token(), products=None)
    sandbox.advance(31 * MINUTE)
    assert sandbox.complete_link(fresh)
    with pytest.raises(ValueError, match="expired"):
        sandbox.complete_link(update)
    sandbox.advance(dt.timedelta(hours=4))
    with pytest.raises(ValueError, match="expired"):
        sandbox.complete_link(fresh)


def test_hosted_link_lifetimes(api, sandbox):
    """Hosted Link has an address, and lives as long as it was asked to."""

    def life(hosted: dict[str, object]) -> float:
        before = dt.datetime.now(dt.UTC)
        answer = api.ok("/link/token/create", **{**LINK, "hosted_link": hosted})
        assert answer["hosted_link_url"].startswith(f"{sandbox.url}/link/")
        expiration = dt.datetime.fromisoformat(answer["expiration"])
        return round((expiration - before).total_seconds() / 60)

    assert life({}) == 30
    assert life({"delivery_method": "sms"}) == 24 * 60
    assert life({"url_lifetime_seconds": 600}) == 10


LINK = {
    "client_name": "Acme",
    "language": "en",
    "country_codes": ["US"],
    "user": {"client_user_id": "u"},
    "products": ["transactions"],
}


def test_a_removed_item_takes_its_tokens_along(api):
    """Processor tokens die with their Item, and public tokens too."""
    access = api.access_token()
    processor = api.processor_token(access)
    public = api.ok("/item/public_token/create", access_token=access)["public_token"]
    api.ok("/item/remove", access_token=access)
    assert api.error("/processor/auth/get", processor_token=processor)[1] == "ITEM_NOT_FOUND"
    assert api.error("/item/public_token/exchange", public_token=public)[1] == "ITEM_NOT_FOUND"


def test_a_second_public_token_is_of_the_same_item(api):
    """Exchanged, it gives the Item that it was made of."""
    item = api.item()
    again = api.ok("/item/public_token/create", access_token=item["access_token"])["public_token"]
    assert api.ok("/item/public_token/exchange", public_token=again)["item_id"] == item["item_id"]


def test_invalidated_access_token(api):
    """The old token is dead at once, the new one and the processor tokens work."""
    access = api.access_token(**ALL)
    processor = api.processor_token(access)
    answer = api.ok("/item/access_token/invalidate", access_token=access)
    assert set(answer) == {"new_access_token", "request_id"}
    assert api.error("/item/get", access_token=access)[1] == "INVALID_ACCESS_TOKEN"
    assert api.ok("/item/get", access_token=answer["new_access_token"])
    assert api.ok("/processor/auth/get", processor_token=processor)


@rows(("processor", "hours"), [("dwolla", 1), ("unit", 24)])
def test_processor_tokens_that_expire(api, sandbox, processor, hours):
    """Two partners' tokens are short-lived, the others' live on."""
    access = api.access_token(**ALL)
    short, lasting = api.processor_token(access, processor=processor), api.processor_token(access)
    sandbox.advance(dt.timedelta(hours=hours) - MINUTE)
    assert api.ok("/processor/auth/get", processor_token=short)
    sandbox.advance(MINUTE)
    assert api.error("/processor/auth/get", processor_token=short)[1] == "INVALID_PROCESSOR_TOKEN"
    assert api.ok("/processor/auth/get", processor_token=lasting)


def test_reset_login(api):
    """A broken Item refuses data, its partners too, and says so in a /item/get that succeeds."""
    access = api.access_token()
    processor = api.processor_token(access)
    answer = api.ok("/sandbox/item/reset_login", access_token=access)
    assert answer == {"reset_login": True, "request_id": answer["request_id"]}
    for path in ("/accounts/get", "/accounts/balance/get", "/auth/get", "/transactions/sync"):
        assert api.error(path, access_token=access)[:2] == ("ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
    assert api.error("/processor/auth/get", processor_token=processor)[1] == "ITEM_LOGIN_REQUIRED"
    body = {"access_token": access, "account_id": "x", "processor": "layer"}
    assert api.error("/processor/token/create", **body)[1] == "ITEM_LOGIN_REQUIRED"
    shown = api.ok("/item/get", access_token=access)
    assert shown["item"]["error"]["error_code"] == "ITEM_LOGIN_REQUIRED"
    assert shown["status"]["last_webhook"]["code_sent"] == "ERROR"


def test_update_mode_mends(api, sandbox):
    """Through update mode the same access token works again, and nothing is new."""
    item = api.item()
    api.ok("/sandbox/item/reset_login", access_token=item["access_token"])
    done = sandbox.complete_link(api.link_token(access_token=item["access_token"], products=None))
    assert len(done.metadata["accounts"]) == 14
    assert api.ok("/accounts/get", access_token=item["access_token"])
    assert api.ok("/item/get", access_token=item["access_token"])["item"]["error"] is None


def test_update_mode_changes_accounts(api, sandbox):
    """With account selection the user can share others; what is taken back is gone for partners."""
    access = api.linked({"additional_consented_products": ["auth"]}, masks=["0000", "1111"])
    kept, lost = api.processor_token(access, "0000"), api.processor_token(access, "1111")
    ids = {account["mask"]: account["account_id"] for account in api.accounts(access)}
    update = {"account_selection_enabled": True}
    token = api.link_token(access_token=access, products=None, update=update)
    sandbox.complete_link(token, masks=["0000", "3333"])
    after = {account["mask"]: account["account_id"] for account in api.accounts(access)}
    assert list(after) == ["0000", "3333"]
    assert after["0000"] == ids["0000"]
    assert api.ok("/processor/auth/get", processor_token=kept)
    assert api.error("/processor/auth/get", processor_token=lost)[1] == "INVALID_ACCOUNT_ID"
    with pytest.raises(ValueError, match="account_selection_enabled"):
        sandbox.complete_link(api.link_token(access_token=access, products=None), masks=["0000"])


def test_products_in_update_mode(api):
    """Most products must be left out when an access token is given."""
    body = {**LINK, "access_token": api.access_token()}
    assert api.error("/link/token/create", **body)[1] == "INVALID_FIELD"
    assert api.ok("/link/token/create", **{**body, "products": ["assets"]})


def test_items_need_a_login_after_thirty_days(api, sandbox):
    """Sandbox Items break by themselves."""
    access = api.access_token()
    sandbox.advance(dt.timedelta(days=29))
    assert api.ok("/accounts/get", access_token=access)
    sandbox.advance(dt.timedelta(days=1))
    assert api.error("/accounts/get", access_token=access)[1] == "ITEM_LOGIN_REQUIRED"


def test_link_token_get(api, sandbox):
    """Sessions are shown for six hours, in the newer form and in the older."""
    token = api.link_token(webhook="https://example.com/hook")
    fresh = api.ok("/link/token/get", link_token=token)
    assert "link_sessions" not in fresh
    assert fresh["metadata"] == {
        "client_name": "Acme Books",
        "country_codes": ["US"],
        "initial_products": ["transactions"],
        "language": "en",
        "redirect_uri": None,
        "webhook": "https://example.com/hook",
    }
    done = sandbox.complete_link(token, masks=["0000"])
    left = sandbox.exit_link(token, institution_id="ins_109511", error_code="INVALID_CREDENTIALS")
    won, lost = api.ok("/link/token/get", link_token=token)["link_sessions"]
    (added,) = won["results"]["item_add_results"]
    assert added["public_token"] == won["on_success"]["public_token"] == done.public_token
    assert added["accounts"] == done.metadata["accounts"]
    assert lost["exit"]["error"]["error_code"] == left.error["error_code"] == "INVALID_CREDENTIALS"
    sandbox.advance(dt.timedelta(hours=6))
    assert "link_sessions" not in api.ok("/link/token/get", link_token=token)
    assert api.error("/link/token/get", link_token="link-sandbox-x")[1] == "INVALID_LINK_TOKEN"


NO_SUBTYPE = json.dumps({"override_accounts": [{"type": "depository", "starting_balance": 5}]})


def go_through_link(api: Api, link_token: str, end: str) -> None:
    """End one session of Link, or leave it open, as a person in a browser does."""

    def ask(action: str, **body: object) -> dict[str, Any]:
        return api.ok(f"/_sandbox/link/{action}", **body)

    if end == "custom":
        api.sandbox.complete_link(link_token, username="user_custom", password=NO_SUBTYPE)
    elif end == "several":
        api.sandbox.connect_banks(link_token, ["ins_109508", "ins_56"])
    else:
        session = ask("open", token=link_token)["session"]
        told = {"timestamp": "2026-03-07T00:00:00Z", "view_name": "CONSENT", "error_code": None}
        ask("event", session=session, name="TRANSITION_VIEW", metadata=told)
        if end == "error":
            ask("leave", session=session, error_code="ITEM_LOCKED", error_message=5, status=5)
        elif end == "left":
            ask("leave", session=session)


@rows("end", ["custom", "several", "open", "error", "left"])
def test_plaids_client_reads_every_end_of_link(api, end):
    """No field is null that its model does not allow to be null."""
    token = api.link_token(enable_multi_item_link=True, user_id="usr_1")
    go_through_link(api, token, end)
    answer = api.ok("/link/token/get", link_token=token)
    read = LinkTokenGetResponse._from_openapi_data(
        **answer, _spec_property_naming=True, _configuration=plaid.Configuration()
    )
    (session,) = read.to_dict()["link_sessions"]
    assert session["link_session_id"] == answer["link_sessions"][0]["link_session_id"]


def test_verification_status(api):
    """Micro-deposits of an account can be brought to an end."""
    access = api.access_token()
    account_id = api.accounts(access)[0]["account_id"]
    body = {
        "access_token": access,
        "account_id": account_id,
        "verification_status": "verification_expired",
    }
    assert api.ok("/sandbox/item/set_verification_status", **body)
    assert api.accounts(access)[0]["verification_status"] == "verification_expired"
    body["verification_status"] = "nothing"
    assert api.error("/sandbox/item/set_verification_status", **body)[1] == "INVALID_FIELD"


# https://plaid.com/docs/sandbox/test-credentials/
PASSWORD_ERRORS = [
    "COUNTRY_NOT_SUPPORTED",
    "INSTITUTION_DOWN",
    "INSTITUTION_NOT_RESPONDING",
    "INSTITUTION_NO_LONGER_SUPPORTED",
    "INSUFFICIENT_CREDENTIALS",
    "INTERNAL_SERVER_ERROR",
    "INVALID_CREDENTIALS",
    "INVALID_MFA",
    "INVALID_SEND_METHOD",
    "ITEM_LOCKED",
    "ITEM_NOT_SUPPORTED",
    "MFA_NOT_SUPPORTED",
    "NO_ACCOUNTS",
    "PAYMENT_INVALID_RECIPIENT",
    "USER_INPUT_TIMEOUT",
    "USER_SETUP_REQUIRED",
]


@rows("code", PASSWORD_ERRORS)
def test_a_password_that_ends_in_an_error(api, code):
    """Each password of Plaid's page ends in its error."""
    options = {"override_password": f"error_{code}"}
    body = {"institution_id": "ins_109508", "initial_products": ["auth"], "options": options}
    assert api.post("/sandbox/public_token/create", **body).json["error_code"] == code


@rows(
    ("username", "password", "code"),
    [
        ("user_good", "error_NO_ACCOUNTS", "NO_ACCOUNTS"),
        ("user_good", "wrong", "INVALID_CREDENTIALS"),
        ("nobody", "pass_good", "INVALID_CREDENTIALS"),
        ("user_custom", "not json", "INVALID_FIELD"),
        ("user_custom", json.dumps({"force_error": "ITEM_LOCKED"}), "ITEM_LOCKED"),
        ("user_custom", json.dumps({"override_accounts": []}), "NO_ACCOUNTS"),
        ("user_custom", json.dumps({"override_accounts": [{}]}), "MISSING_FIELDS"),
        ("user_custom", json.dumps({"override_accounts": [{"type": "shoe"}]}), "INVALID_FIELD"),
    ],
)
def test_users_that_cannot_be_linked(api, username, password, code):
    """What the name and password of a test user bring about."""
    options = {"override_username": username, "override_password": password}
    body = {"institution_id": "ins_109508", "initial_products": ["auth"], "options": options}
    assert api.error("/sandbox/public_token/create", **body)[1] == code


def test_custom_user(api):
    """A custom user's bank holds what the password says."""
    user = {
        "version": "2",
        "override_accounts": [
            {
                "type": "depository",
                "subtype": "checking",
                "starting_balance": 1234.5,
                "force_available_balance": 1000,
                "meta": {"name": "My Checking", "official_name": "Very Official", "mask": "4321"},
                "numbers": {"account": "1234567890", "ach_routing": "026009593"},
                "transactions": [
                    {
                        "date_transacted": "2026-01-02",
                        "date_posted": "2026-01-03",
                        "amount": 12.5,
                        "description": "A coffee",
                        "currency": "USD",
                    }
                ],
                "identity": {"names": ["Jane Doe"], "emails": [{"data": "jane@example.com"}]},
            },
            {"type": "credit", "subtype": "credit card", "starting_balance": 10},
        ],
    }
    now = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
    with LocalSandbox(now=now) as sandbox:
        local = type(api)(sandbox, api.pool)
        options = {"override_username": "user_custom", "override_password": json.dumps(user)}
        access = local.access_token(options=options)
        checking, card = local.accounts(access)
        assert (checking["name"], checking["mask"], checking["balances"]["available"]) == (
            "My Checking",
            "4321",
            1000,
        )
        assert card["balances"]["current"] == 10
        (numbers,) = local.ok("/auth/get", access_token=access)["numbers"]["ach"]
        assert (numbers["account"], numbers["routing"]) == ("1234567890", "026009593")
        period = {"start_date": "2025-12-01", "end_date": "2026-02-01"}
        (transaction,) = local.ok("/transactions/get", access_token=access, **period)[
            "transactions"
        ]
        assert (transaction["name"], transaction["amount"], transaction["date"]) == (
            "A coffee",
            12.5,
            "2026-01-03",
        )
        owner = local.ok("/identity/get", access_token=access)["accounts"][0]["owners"][0]
        assert owner["names"] == ["Jane Doe"]
        assert owner["emails"][0]["data"] == "jane@example.com"
