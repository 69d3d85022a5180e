"""What the test suites of Plaid's own clients expect of the Sandbox, endpoint by endpoint.

Read from plaid-python, plaid-node, plaid-ruby, plaid-go and plaid-java, and from the
recordings that plaid-ruby keeps.
"""

from __future__ import annotations

import datetime as dt

from ..support.rows import rows

NOT_REAL = "totally-invalid-stuff"
PERIOD = {"start_date": "2020-01-01", "end_date": "2099-12-31"}


@rows("path", ["/accounts/get", "/auth/get", "/identity/get"])
@rows("account_ids", ["ABCDEFG1234567", ["fake-not-real"], []])
def test_malformed_account_ids(api, path, account_ids):
    """Account ids that are no list, no ids, or none, are told in one sentence."""
    options = {"account_ids": account_ids}
    assert api.error(path, access_token=api.access_token(), options=options) == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
        "options.account_ids must be a non-empty array of valid account ids",
    )


def test_malformed_dates(api):
    """A day that is none is told with the form that it should have."""
    wrong = {"start_date": "ABCDEFG1234567", "end_date": "ABCDEFG1234567"}
    assert api.error("/transactions/get", access_token=api.access_token(), **wrong)[1:] == (
        "INVALID_FIELD",
        "start_date must be a string of the format 'YYYY-MM-DD'",
    )


def test_malformed_count(api):
    """A count that is no number."""
    options = {"count": "ABCDEFG1234567"}
    token = api.access_token()
    assert api.error("/transactions/get", access_token=token, **PERIOD, options=options)[1:] == (
        "INVALID_FIELD",
        "options.count must be an integer",
    )


def test_malformed_webhook(api):
    """An address that is none."""
    body = {"access_token": api.access_token(), "webhook": "ABCDEFG1234567"}
    assert api.error("/item/webhook/update", **body)[1:] == (
        "INVALID_FIELD",
        "webhook must be a non-empty string URL",
    )


@rows(
    ("address", "taken"),
    [
        ("examplewebhook.com", True),
        ("www.example.co.uk/hooks/plaid?x=1", True),
        ("example.com:8443", True),
        ("https://example.com/hook", True),
        ("http://localhost:3000/hook", True),
        ("invalid-hook", False),
        ("/webhooks/x", False),
        ("/webhooks/x.php", False),
        ("webhooks/x.php", False),
        ("", False),
        (" ", False),
        ("example.com/a b", False),
        ("https://exa mple.com", False),
        ("ftp://example.com", False),
        ("https://", False),
        ("javascript:alert(1.5)", False),
    ],
)
def test_addresses_for_webhooks(api, link_request, address, taken):
    """A domain is enough; what has no dot is none."""
    access = api.access_token()
    link_request["webhook"] = address
    item = {"institution_id": "ins_109508", "initial_products": ["auth"]}
    for path, body in (
        ("/link/token/create", link_request),
        ("/sandbox/public_token/create", {**item, "options": {"webhook": address}}),
        ("/item/webhook/update", {"access_token": access, "webhook": address}),
    ):
        reply = api.post(path, **body)
        if taken:
            assert reply.status == 200
        else:
            assert reply.error[1] == "INVALID_FIELD"
            assert reply.error[2].endswith("webhook must be a non-empty string URL")


@rows("product", ["balance", "BAD"])
def test_products_that_link_is_not_opened_with(api, link_request, product):
    """Link is opened neither with Balance nor with a product that does not exist."""
    link_request["products"] = [product]
    words = f'client is not authorized to access the following products: ["{product}"]'
    assert api.error("/link/token/create", **link_request) == (
        "INVALID_INPUT",
        "INVALID_PRODUCT",
        words,
    )


NOT_A_LIST = (
    "INVALID_REQUEST",
    "INVALID_FIELD",
    "initial_products must be a list of strings containing at least one product",
)
NOT_SUPPORTED = "the following products are not supported by this institution:"


@rows(
    ("products", "error"),
    [
        ("ABCDEFG1234567", NOT_A_LIST),
        ([], NOT_A_LIST),
        ({}, NOT_A_LIST),
        ([5], NOT_A_LIST),
        (
            ["ABCDEFG1234567"],
            ("ITEM_ERROR", "PRODUCTS_NOT_SUPPORTED", f'{NOT_SUPPORTED} ["ABCDEFG1234567"]'),
        ),
        (
            ["auth", "BAD", "ARRAY"],
            ("ITEM_ERROR", "PRODUCTS_NOT_SUPPORTED", f'{NOT_SUPPORTED} ["BAD", "ARRAY"]'),
        ),
        (
            ["auth", "balance"],
            (
                "INVALID_INPUT",
                "INVALID_PRODUCT",
                'client is not authorized to access the following products: ["balance"]',
            ),
        ),
    ],
)
def test_products_that_no_item_is_made_with(api, products, error):
    """The first and the fifth were recorded from the Sandbox by plaid-ruby."""
    body = {"institution_id": "ins_109508", "initial_products": products}
    assert api.error("/sandbox/public_token/create", **body) == error


@rows(
    ("one", "other"),
    [
        ("products", "optional_products"),
        ("products", "additional_consented_products"),
        ("required_if_supported_products", "optional_products"),
        ("required_if_supported_products", "additional_consented_products"),
        ("optional_products", "additional_consented_products"),
    ],
)
def test_products_in_two_lists(api, link_request, one, other):
    """The four lists of a link token have no product in common."""
    body = {**link_request, one: ["auth"], other: ["auth"]}
    _, code, words = api.error("/link/token/create", **body)
    assert (code, words) == ("INVALID_FIELD", f'{one} and {other} must not overlap: ["auth"]')


def test_malformed_link_token(api):
    """A link token that has not the form of one is an INVALID_FIELD, not an INVALID_LINK_TOKEN."""
    assert api.error("/link/token/get", link_token="bad token")[:2] == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
    )


@rows(
    "path",
    ["/item/get", "/item/remove", "/accounts/balance/get", "/item/access_token/invalidate"],
)
def test_access_tokens_that_are_none(api, path):
    """Every suite sends nonsense for an access token."""
    assert api.error(path, access_token=NOT_REAL)[:2] == ("INVALID_INPUT", "INVALID_ACCESS_TOKEN")


@rows("number", ["+1 415 555 0123", "2025550165", "4155558888"])
def test_phone_numbers(api, link_request, number):
    """Phone numbers are taken with and without a plus, and stamps with nanoseconds."""
    link_request["user"] = {
        "client_user_id": "1732155600.123",
        "phone_number": number,
        "phone_number_verified_time": "2020-01-01T00:00:00.123456789Z",
        "email_address": "example@plaid.com",
        "email_address_verified_time": "2020-01-01T00:00:00+02:00",
        "ssn": "123-22-1234",
    }
    assert api.ok("/link/token/create", **link_request)


@rows("user", [{"phone_number": "not a number"}, {"email_address": "nobody"}])
def test_malformed_identity(api, link_request, user):
    """What is no phone number or e-mail address is refused with a 403."""
    link_request["user"] = {"client_user_id": "u", **user}
    reply = api.post("/link/token/create", **link_request)
    assert (reply.status, *reply.error[:2]) == (403, "USER_ERROR", "INVALID_USER_IDENTITY_DATA")


def test_the_sandbox_key(api):
    """The key id that is written into every suite is known here too."""
    key_id = "6c5516e1-92dc-479e-a8ff-5a51992e0001"
    key = api.ok("/webhook_verification_key/get", key_id=key_id)["key"]
    assert (key["kid"], key["kty"], key["crv"]) == (key_id, "EC", "P-256")


def test_balances_with_a_date(api):
    """One test bank says when its balances were last brought up to date."""
    access = api.access_token(institution_id="ins_130016")
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    early = {"min_last_updated_datetime": (now - dt.timedelta(days=2)).isoformat()}
    answer = api.ok("/accounts/balance/get", access_token=access, options=early)
    assert answer["accounts"][0]["balances"]["last_updated_datetime"]
    late = {"min_last_updated_datetime": now.isoformat()}
    assert api.error("/accounts/balance/get", access_token=access, options=late)[:2] == (
        "INVALID_RESULT",
        "LAST_UPDATED_DATETIME_OUT_OF_RANGE",
    )


def test_history_as_asked(api):
    """A start date in the options of a Sandbox Item gives two years of history."""
    start = (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=700)).isoformat()
    access = api.access_token(options={"transactions": {"start_date": start}})
    end = (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=600)).isoformat()
    body = {"access_token": access, "start_date": start, "end_date": end}
    got = api.ok("/transactions/get", **body, options={"count": 2, "offset": 1})
    assert len(got["transactions"]) == 2


def test_metadata_of_banks(api):
    """Colour and address come only when asked for; payment terms for a British bank."""
    body = {"institution_id": "ins_109511", "country_codes": ["US"]}
    assert "primary_color" not in api.ok("/institutions/get_by_id", **body)["institution"]
    options = {"include_optional_metadata": True}
    bank = api.ok("/institutions/get_by_id", **body, options=options)["institution"]
    assert bank["primary_color"]
    assert bank["url"]
    british = {"institution_id": "ins_117650", "country_codes": ["GB"]}
    options = {"include_payment_initiation_metadata": True}
    bank = api.ok("/institutions/get_by_id", **british, options=options)["institution"]
    assert bank["payment_initiation_metadata"]["maximum_payment_amount"]


def test_status_of_products(api):
    """An Item with investments shows their status beside that of transactions."""
    products = ["transactions", "auth", "assets", "investments", "statements"]
    status = api.ok("/item/get", access_token=api.access_token(initial_products=products))["status"]
    assert status["transactions"]
    assert status["investments"]
    assert status["last_webhook"] is None
