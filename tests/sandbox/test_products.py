"""What can be read of an Item, with an access token and with a processor token."""

from __future__ import annotations

import datetime as dt

from ..support.rows import rows
from .conftest import ALL

PERIOD = {"start_date": "2020-01-01", "end_date": "2099-12-31"}


def test_auth_numbers(api):
    """The default user's numbers, for checking, savings and cash management."""
    answer = api.ok("/auth/get", access_token=api.access_token())
    assert [account["mask"] for account in answer["accounts"]] == ["0000", "1111", "9002"]
    assert set(answer["numbers"]) == {"ach", "bacs", "eft", "international"}
    assert answer["numbers"]["ach"][0] == {
        "account": "1111222233330000",
        "account_id": answer["accounts"][0]["account_id"],
        "routing": "011401533",
        "wire_routing": "021000021",
    }
    assert answer["numbers"]["eft"] == []


def test_auth_without_auth_accounts(api, sandbox):
    """An Item of a credit card alone has no numbers to give."""
    done = sandbox.complete_link(api.link_token(), masks=["3333"])
    token = api.ok("/item/public_token/exchange", public_token=done.public_token)["access_token"]
    assert api.error("/auth/get", access_token=token)[1] == "NO_AUTH_ACCOUNTS"


def test_any_product_can_be_read(api):
    """A Sandbox Item made with one product answers for the others."""
    token = api.access_token(initial_products=["assets"])
    for path in ("/accounts/balance/get", "/auth/get", "/identity/get", "/transactions/sync"):
        assert api.ok(path, access_token=token)
    owners = api.ok("/identity/get", access_token=token)["accounts"][0]["owners"]
    assert owners[0]["names"] == ["Alberta Bobbeth Charleson"]


@rows(
    ("call", "product"),
    [
        ("/transactions/sync", "transactions"),
        ("/transactions/get", "transactions"),
        ("/auth/get", "auth"),
        ("/identity/get", "identity"),
        ("/processor/transactions/sync", "transactions"),
        ("/processor/transactions/get", "transactions"),
        ("/processor/auth/get", "auth"),
        ("/processor/identity/get", "identity"),
    ],
)
@rows("made", ["link", "sandbox"])
def test_a_product_joins_when_its_endpoint_is_called(api, call, product, made):
    """It is billed from then on, and its webhooks can be fired."""
    first = "identity" if product == "auth" else "auth"
    hook = "http://127.0.0.1:9/"
    consent = {"additional_consented_products": [product]}
    if made == "link":
        access = api.linked({"products": [first], "webhook": hook, **consent})
    elif call.startswith("/processor") and product != "identity":
        return  # without Link there is no consent to what is not among the products
    else:
        access = api.access_token(initial_products=[first], options={"webhook": hook})
    before = api.shown(access)
    assert before["products"] == before["billed_products"] == [first]
    assert product in before["available_products"]
    fire = {"access_token": access, "webhook_type": product.upper()}
    fired = {"webhook_code": "DEFAULT_UPDATE", **fire}
    assert api.error("/sandbox/item/fire_webhook", **fired)[1] == "SANDBOX_PRODUCT_NOT_ENABLED"
    period = PERIOD if call.endswith("transactions/get") else {}
    token = {"access_token": access}
    if call.startswith("/processor"):
        token = {"processor_token": api.processor_token(access)}
    assert api.ok(call, **token, **period)
    after = api.shown(access)
    assert after["products"] == after["billed_products"] == sorted([first, product])
    assert product not in after["available_products"]
    assert api.ok("/sandbox/item/fire_webhook", **fired)


def test_what_is_billed(api):
    """What was called, or is billed at once; Balance never, Assets not by being there."""
    access = api.linked(
        {
            "products": ["transactions", "assets"],
            "optional_products": ["auth"],
            "required_if_supported_products": ["identity"],
            "additional_consented_products": ["liabilities"],
        }
    )
    item = api.shown(access)
    assert item["products"] == ["assets", "auth", "identity", "transactions"]
    assert item["billed_products"] == ["identity", "transactions"]
    api.ok("/accounts/balance/get", access_token=access)
    assert api.shown(access) == item
    api.ok("/auth/get", access_token=access)
    assert api.shown(access)["billed_products"] == ["auth", "identity", "transactions"]
    refused = api.linked(masks=["3333"])
    assert api.error("/auth/get", access_token=refused)[1] == "NO_AUTH_ACCOUNTS"
    assert api.shown(refused)["products"] == ["transactions"]


def test_history_begins_with_the_product(api):
    """How far back it goes is set by the call that adds Transactions, and not later."""
    access = api.access_token(initial_products=["auth"])
    options = {"days_requested": 10}
    few = len(api.ok("/transactions/sync", access_token=access, options=options)["added"])
    options = {"days_requested": 700}
    again = api.ok("/transactions/sync", access_token=access, options=options, count=500)
    assert len(again["added"]) == few > 0


def test_transactions_refresh(api):
    """It needs an Item that has Transactions."""
    access = api.access_token(initial_products=["auth"])
    error = api.error("/transactions/refresh", access_token=access)
    assert error[:2] == ("ITEM_ERROR", "PRODUCT_NOT_ENABLED")
    api.ok("/transactions/sync", access_token=access)
    assert set(api.ok("/transactions/refresh", access_token=access)) == {"request_id"}
    api.ok("/sandbox/item/reset_login", access_token=access)
    assert api.error("/transactions/refresh", access_token=access)[1] == "ITEM_LOGIN_REQUIRED"


def test_transactions_are_stable_and_paged(api):
    """Pages add up to the whole, newest first, the same at each call."""
    token = api.access_token()
    whole = api.ok("/transactions/get", access_token=token, **PERIOD, options={"count": 500})
    assert whole["total_transactions"] == len(whole["transactions"]) > 50
    dates = [transaction["date"] for transaction in whole["transactions"]]
    assert dates == sorted(dates, reverse=True)
    pages = []
    while len(pages) < whole["total_transactions"]:
        options = {"count": 7, "offset": len(pages)}
        pages += api.ok("/transactions/get", access_token=token, **PERIOD, options=options)[
            "transactions"
        ]
    assert pages == whole["transactions"]
    ids = {transaction["transaction_id"] for transaction in pages}
    assert len(ids) == len(pages)


def test_transactions_of_one_account(api):
    """Transactions can be asked for by account."""
    token = api.access_token()
    wanted = api.accounts(token)[3]["account_id"]
    got = api.ok(
        "/transactions/get", access_token=token, **PERIOD, options={"account_ids": [wanted]}
    )
    assert {transaction["account_id"] for transaction in got["transactions"]} == {wanted}
    assert [account["account_id"] for account in got["accounts"]] == [wanted]


def test_original_description(api):
    """The bank's own words come only when asked for."""
    token = api.access_token()
    plain = api.ok("/transactions/get", access_token=token, **PERIOD)["transactions"][0]
    options = {"include_original_description": True}
    asked = api.ok("/transactions/get", access_token=token, **PERIOD, options=options)[
        "transactions"
    ][0]
    assert plain["original_description"] is None
    assert asked["original_description"]


def sync_all(api, token: str, cursor: str = "", count: int = 100) -> tuple[set[str], set[str], str]:
    """Walk to the end of the changes."""
    added: set[str] = set()
    removed: set[str] = set()
    more = True
    while more:
        page = api.ok("/transactions/sync", access_token=token, cursor=cursor, count=count)
        added |= {transaction["transaction_id"] for transaction in page["added"]}
        removed |= {transaction["transaction_id"] for transaction in page["removed"]}
        cursor, more = page["next_cursor"], page["has_more"]
    return added, removed, cursor


def test_sync(api):
    """All pages together are what /transactions/get shows; after them there is nothing new."""
    token = api.access_token()
    added, removed, cursor = sync_all(api, token, count=9)
    whole = api.ok("/transactions/get", access_token=token, **PERIOD, options={"count": 500})
    assert added == {transaction["transaction_id"] for transaction in whole["transactions"]}
    assert removed == set()
    assert sync_all(api, token, cursor)[:2] == (set(), set())


@rows("days", [1, 3, 40])
def test_sync_after_days(api, sandbox, days):
    """As the clock moves on, the changes since a cursor lead to what is there then."""
    token = api.access_token()
    known, _, cursor = sync_all(api, token)
    sandbox.advance(dt.timedelta(days=min(days, 29)))
    added, removed, _ = sync_all(api, token, cursor)
    whole = api.ok("/transactions/get", access_token=token, **PERIOD, options={"count": 500})
    assert removed <= known
    assert (known - removed) | added == {t["transaction_id"] for t in whole["transactions"]}


def test_pending_becomes_posted(api, sandbox):
    """A posted transaction names the pending one that it takes the place of."""
    token = api.access_token()
    for _ in range(28):
        known, _, cursor = sync_all(api, token)
        got = api.ok("/transactions/get", access_token=token, **PERIOD, options={"count": 500})
        pending = {t["transaction_id"] for t in got["transactions"] if t["pending"]}
        sandbox.advance(dt.timedelta(days=1))
        if pending:
            break
    assert pending <= known
    page = api.ok("/transactions/sync", access_token=token, cursor=cursor)
    gone = {transaction["transaction_id"] for transaction in page["removed"]}
    assert gone <= pending
    assert gone == {
        t["pending_transaction_id"] for t in page["added"] if t["pending_transaction_id"]
    }


def test_cursors_belong_to_their_item(api):
    """A cursor of another Item, or none at all, is refused."""
    one, other = api.access_token(), api.access_token()
    cursor = sync_all(api, one)[2]
    for wrong in (cursor, "nonsense", "bm9uc2Vuc2U="):
        assert (
            api.error("/transactions/sync", access_token=other, cursor=wrong)[1] == "INVALID_FIELD"
        )


@rows(
    "wrong",
    [
        {"start_date": "2026-02-30"},
        {"start_date": "20260101"},
        {"start_date": "2026-01-02", "end_date": "2026-01-01"},
        {"options": {"count": 0}},
        {"options": {"count": 501}},
        {"options": {"offset": -1}},
    ],
)
def test_what_transactions_get_refuses(api, wrong):
    """Days that do not exist, and numbers out of range."""
    token = api.access_token()
    assert api.error("/transactions/get", access_token=token, **{**PERIOD, **wrong})[:2] == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
    )


def test_a_processor_token_sees_one_account(api):
    """The partner gets the account it was given, and nothing of the others."""
    access = api.access_token(**ALL)
    token = api.processor_token(access, mask="1111")
    account = next(a for a in api.accounts(access) if a["mask"] == "1111")
    assert api.ok("/processor/account/get", processor_token=token)["account"] == account
    assert api.ok("/processor/account/get", processor_token=token)["institution_id"] == "ins_109508"
    assert api.ok("/processor/balance/get", processor_token=token)["account"] == account
    numbers = api.ok("/processor/auth/get", processor_token=token)["numbers"]
    assert numbers["ach"]["account"] == "1111222233331111"
    assert numbers["bacs"] is numbers["eft"] is numbers["international"] is None
    assert api.ok("/processor/identity/get", processor_token=token)["account"]["owners"]
    got = api.ok("/processor/transactions/get", processor_token=token, **PERIOD)
    page = api.ok("/processor/transactions/sync", processor_token=token)
    seen = {t["account_id"] for t in got["transactions"] + page["added"]}
    assert seen == {account["account_id"]}


def test_permissions_narrow_a_processor_token(api):
    """After permissions/set only the named products can be read; none named is all again."""
    token = api.processor_token(api.access_token(**ALL))
    assert api.ok("/processor/token/permissions/get", processor_token=token)["products"] == []
    api.ok("/processor/token/permissions/set", processor_token=token, products=["auth", "balance"])
    assert api.ok("/processor/token/permissions/get", processor_token=token)["products"] == [
        "auth",
        "balance",
    ]
    assert api.ok("/processor/auth/get", processor_token=token)
    assert api.error("/processor/identity/get", processor_token=token)[1] == "INVALID_PRODUCT"
    assert api.error("/processor/transactions/sync", processor_token=token)[1] == "INVALID_PRODUCT"
    api.ok("/processor/token/permissions/set", processor_token=token, products=[])
    assert api.ok("/processor/identity/get", processor_token=token)
    wrong = api.error(
        "/processor/token/permissions/set", processor_token=token, products=["nothing"]
    )
    assert wrong[1] == "INVALID_PRODUCT"


def test_any_keys_may_use_a_processor_token(api, sandbox):
    """The partner's keys are not the developer's; access tokens are their own client's alone."""
    access = api.access_token(**ALL)
    token = api.processor_token(access)
    partner = sandbox.new_keys()
    keys = {"client_id": partner.client_id, "secret": partner.secret}
    assert api.ok("/processor/auth/get", processor_token=token, **keys)
    for no_key_to_the_item in (access, token):
        error = api.error("/accounts/get", access_token=no_key_to_the_item, **keys)
        assert error[1] == "INVALID_ACCESS_TOKEN"


def test_processor_token_errors(api):
    """Each way in which a processor token can be wrong is told apart."""
    for wrong, words in {
        "nonsense": "invalid format",
        "access-sandbox-x": "wrong type",
        "processor-production-x": "wrong Plaid environment",
        "processor-sandbox-x": "could not find matching processor token",
    }.items():
        kind, code, message = api.error("/processor/auth/get", processor_token=wrong)
        assert (kind, code) == ("INVALID_INPUT", "INVALID_PROCESSOR_TOKEN")
        assert words in message


def test_sandbox_processor_token(api):
    """A partner tests its own side on an Item whose access token nobody sees."""
    token = api.ok("/sandbox/processor_token/create", institution_id="ins_109508")[
        "processor_token"
    ]
    assert api.ok("/processor/auth/get", processor_token=token)["account"]["mask"] == "0000"


def test_stripe_and_apex(api):
    """The two endpoints that are older than `processor`."""
    token = api.access_token(**ALL)
    by_mask = {account["mask"]: account["account_id"] for account in api.accounts(token)}
    answer = api.ok(
        "/processor/stripe/bank_account_token/create",
        access_token=token,
        account_id=by_mask["0000"],
    )
    assert answer["stripe_bank_account_token"].startswith("btok_")
    assert api.error(
        "/processor/stripe/bank_account_token/create",
        access_token=token,
        account_id=by_mask["3333"],
    ) == (
        "INVALID_INPUT",
        "INVALID_STRIPE_ACCOUNT",
        "Stripe API returned error: Routing number must have 9 digits",
    )
    apex = api.ok(
        "/processor/apex/processor_token/create", access_token=token, account_id=by_mask["0000"]
    )
    assert api.ok("/processor/auth/get", processor_token=apex["processor_token"])


def test_institutions(api):
    """A bank, with what was asked for beside it."""
    bank = api.ok("/institutions/get_by_id", institution_id="ins_109508", country_codes=["US"])[
        "institution"
    ]
    assert (bank["name"], bank["oauth"]) == ("First Platypus Bank", False)
    assert "status" not in bank
    options = {"include_status": True}
    down = api.ok(
        "/institutions/get_by_id",
        institution_id="ins_132361",
        country_codes=["US"],
        options=options,
    )
    assert down["institution"]["status"]["item_logins"]["status"] == "DOWN"
    wrong = {"institution_id": "ins_109508", "country_codes": ["CA"]}
    assert api.error("/institutions/get_by_id", **wrong)[1] == "INVALID_INSTITUTION"


def test_bank_that_takes_no_new_items(api):
    """No Item can be made at the bank that Plaid does not support any more."""
    body = {"institution_id": "ins_133402", "initial_products": ["auth"]}
    error = api.error("/sandbox/public_token/create", **body)
    assert error[:2] == ("INSTITUTION_ERROR", "INSTITUTION_NO_LONGER_SUPPORTED")
