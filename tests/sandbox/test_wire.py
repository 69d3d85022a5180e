"""The form of answers, as seen on the Sandbox."""

from __future__ import annotations

import json
import re

from ..support.rows import rows


def test_headers_of_every_answer(api):
    """Success and error come under the same headers."""
    good = api.post(
        "/sandbox/public_token/create", institution_id="ins_109508", initial_products=["auth"]
    )
    bad = api.post("/item/get", access_token="nonsense")
    for reply in (good, bad):
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert reply.headers["Plaid-Version"] == "2020-09-14"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"


def test_angle_brackets_are_escaped(api):
    """`<` and `>` in a message are written as Go's encoder writes them."""
    reply = api.post("/item/public_token/exchange", public_token="nonsense")
    assert rb"public-\u003cenvironment\u003e-\u003cidentifier\u003e" in reply.data
    assert reply.json["error_message"].endswith("public-<environment>-<identifier>")


def test_formats_of_ids_and_tokens(api):
    """Tokens are typed UUIDs, ids 37 letters and digits."""
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    public_token = api.public_token()
    item = api.ok("/item/public_token/exchange", public_token=public_token)
    processor_token = api.processor_token(item["access_token"])
    account = api.accounts(item["access_token"])[0]
    assert re.fullmatch(f"public-sandbox-{uuid}", public_token)
    assert re.fullmatch(f"access-sandbox-{uuid}", item["access_token"])
    assert re.fullmatch(f"processor-sandbox-{uuid}", processor_token)
    assert re.fullmatch(f"link-sandbox-{uuid}", api.link_token())
    assert re.fullmatch(r"[0-9A-Za-z]{37}", item["item_id"])
    assert re.fullmatch(r"[0-9A-Za-z]{37}", account["account_id"])


@rows("place", ["body", "headers", "both"])
def test_keys_in_body_headers_or_both(api, place):
    """Clients send their keys in any of the three ways."""
    body = {"institution_id": "ins_109508", "initial_products": ["auth"]}
    headers = {}
    if place != "headers":
        body |= api.keys
    if place != "body":
        headers = {"PLAID_CLIENT_ID": api.keys["client_id"], "PLAID_SECRET": api.keys["secret"]}
    reply = api.send("/sandbox/public_token/create", json.dumps(body).encode(), **headers)
    assert reply.status == 200


def test_one_packet_for_an_answer(api):
    """A kept connection answers in a few milliseconds, not in the 40 of a delayed packet."""
    import time

    token = api.access_token()
    started = time.perf_counter()
    for _ in range(20):
        api.ok("/item/get", access_token=token)
    assert (time.perf_counter() - started) / 20 < 0.03


def test_form_body_is_415(api):
    """A form instead of JSON was answered by 415."""
    reply = api.send(
        "/item/get", b"access_token=x", Content_Type="application/x-www-form-urlencoded"
    )
    assert reply.status == 415


def test_unknown_version_is_refused(api):
    """A Plaid-Version that does not exist is an INVALID_HEADERS."""
    reply = api.send("/item/get", b"{}", Plaid_Version="2021-01-01")
    assert reply.error[:2] == ("INVALID_REQUEST", "INVALID_HEADERS")


@rows("path", ["/", "/nothing", "/item/get/", "/accounts/get?x=1"])
def test_unknown_path(api, path):
    """What is no endpoint answers as an unknown path; a query changes nothing."""
    reply = api.send(path, b"{}")
    if "?" in path:
        assert reply.error[1] == "MISSING_FIELDS"
    else:
        assert (reply.status, reply.error[1]) == (404, "NOT_FOUND")


@rows("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_unknown(api, method):
    """Plaid has nothing but POST."""
    assert api.send("/item/get", b"{}", method=method).status == 404
