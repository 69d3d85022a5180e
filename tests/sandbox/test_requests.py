"""Requests that do not fit, and the order in which that is told."""

from __future__ import annotations

import json

from plaid_processors.sandbox import LocalSandbox

from ..support.rows import rows


def test_missing_fields_are_named_together(api):
    """All that is missing is told at once."""
    assert api.error("/processor/token/create")[2] == (
        "the following required fields are missing: access_token, account_id, processor"
    )


@rows("value", [1, True, [], {}])
def test_wrong_type(api, value):
    """A value of the wrong JSON type is an INVALID_FIELD that names it."""
    assert api.error("/item/get", access_token=value) == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
        "access_token must be a string",
    )


def test_odd_body_of_link_token_create(api, link_request):
    """This endpoint answers values of the wrong type in words of its own."""
    link_request["user"] = {"client_user_id": "u", "email_address": {"value": "u@example.com"}}
    assert api.error("/link/token/create", **link_request) == (
        "INVALID_REQUEST",
        "INVALID_CONFIGURATION",
        "please ensure that the request body is formatted correctly",
    )


@rows("countries", ["US", "", [], [1], {}, 5])
def test_countries_that_are_no_list(api, link_request, countries):
    """Plaid answers these with a message that names the field."""
    link_request["country_codes"] = countries
    assert api.error("/link/token/create", **link_request) == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
        "country_codes must be a non-empty string array",
    )


@rows("countries", [["XX"], ["US", "us"]])
def test_a_country_that_does_not_exist(api, link_request, countries):
    """The message says which one."""
    link_request["country_codes"] = countries
    _, code, words = api.error("/link/token/create", **link_request)
    assert code == "INVALID_FIELD"
    assert words.startswith(f"country_codes[{len(countries) - 1}] must be one of: US, ")


def test_multi_item_link_needs_a_user_of_plaids(api, link_request):
    """The request names one by `user_id` or `user_token`; `user` alone is not enough."""
    link_request["enable_multi_item_link"] = True
    assert api.error("/link/token/create", **link_request)[:2] == (
        "INVALID_REQUEST",
        "MISSING_FIELDS",
    )
    assert api.ok("/link/token/create", **link_request, user_id="usr_1")
    assert api.ok("/link/token/create", **link_request, user_token="user-sandbox-1")
    assert api.ok("/link/token/create", **{**link_request, "enable_multi_item_link": False})


def test_signal_needs_auth(api, link_request):
    """Link is opened with Signal only together with Auth."""
    link_request["products"] = ["signal"]
    assert api.error("/link/token/create", **link_request)[:2] == (
        "INVALID_REQUEST",
        "INVALID_FIELD",
    )
    link_request["products"] = ["transactions"]
    link_request["additional_consented_products"] = ["signal"]
    assert api.ok("/link/token/create", **link_request)
    link_request["products"], link_request["additional_consented_products"] = ["signal", "auth"], []
    assert api.ok("/link/token/create", **link_request)


def test_products_that_consent_is_not_asked_for(api, link_request):
    """`additional_consented_products` takes eight products."""
    link_request["additional_consented_products"] = ["identity", "assets", "statements"]
    assert api.error("/link/token/create", **link_request) == (
        "INVALID_INPUT",
        "INVALID_PRODUCT",
        'client is not authorized to access the following products: ["assets", "statements"]',
    )
    link_request["additional_consented_products"] = [
        "auth",
        "balance_plus",
        "identity",
        "investments",
        "investments_auth",
        "liabilities",
        "signal",
    ]
    assert api.ok("/link/token/create", **link_request)


@rows(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b'{"a": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
    ],
)
def test_what_is_no_json_object(api, body):
    """Garbage is an INVALID_BODY, and the server stays up."""
    assert api.send("/item/get", body).error[1] == "INVALID_BODY"
    assert api.access_token()


def test_lone_surrogates_do_no_harm(api):
    """Half a character in a field that is told back does not break the answer."""
    reply = api.send(
        "/item/get", json.dumps({**api.keys, "\ud800": 1, "access_token": "x"}).encode()
    )
    assert reply.error[1] == "UNKNOWN_FIELDS"


def test_huge_body(api):
    """More than any request needs is a plain 413, heard by the client to its end."""
    assert api.send("/item/get", b" " * 5_000_000).status == 413
    assert api.access_token()


def test_any_well_formed_keys():
    """A sandbox for many takes all well-formed keys, and only those."""
    from collections import ChainMap

    with LocalSandbox(any_keys=True) as sandbox:
        import urllib3

        def status(**keys: str) -> int:
            body = dict(
                ChainMap({"institution_id": "ins_109508", "initial_products": ["auth"]}, keys)
            )
            with urllib3.PoolManager() as pool:
                url = f"{sandbox.url}/sandbox/public_token/create"
                return pool.request("POST", url, json=body).status

        assert status(client_id="0" * 24, secret="a" * 30) == 200
        assert status(client_id=sandbox.client_id, secret=sandbox.secret) == 200
        assert status(client_id="0" * 24, secret="a" * 29) == 400
        assert status(client_id="0" * 23, secret="a" * 30) == 400
