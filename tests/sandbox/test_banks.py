"""What is special at some banks, and how banks are found."""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64decode
from typing import Any

import pytest

from ..support.rows import rows

TAN_BANKS = ["ins_56", "ins_13", "ins_127990"]
CUSTOM = json.dumps(
    {
        "override_accounts": [
            {
                "type": "depository",
                "subtype": subtype,
                "starting_balance": 10,
                "numbers": {"account": number},
                "meta": {"name": "Total Account", "mask": mask},
            }
            for subtype, number, mask in (
                ("checking", "8000111122229876", "1234"),
                ("savings", "8000111122221234", "1234"),
                ("cash management", "12", "8"),
            )
        ]
    }
)
USERS: list[dict[str, str]] = [{}, {"username": "user_custom", "password": CUSTOM}]
AUTH = {"products": ["auth"]}


@rows("bank", TAN_BANKS)
@rows("user", USERS)
def test_numbers_that_are_tokens(api, bank, user):
    """Each link of an account has a number of its own; none ends as the mask does."""
    one, other = (api.linked(AUTH, institution_id=bank, **user) for _ in range(2))
    numbers = [api.ok("/auth/get", access_token=each)["numbers"]["ach"] for each in (one, other)]
    accounts = [api.accounts(each) for each in (one, other)]
    payable = [account for account in accounts[0] if account["subtype"] != "cd"]
    assert len(numbers[0]) == len(payable) == 3
    for shown, mine, yours in zip(payable, *numbers, strict=True):
        assert mine["is_tokenized_account_number"] is True
        assert mine["account"] != yours["account"]
        for each in (mine, yours):
            assert each["account"].isdigit()
            assert not each["account"].endswith(shown["mask"])
    assert len({each["account"] for each in [*numbers[0], *numbers[1]]}) == 6
    lasting = [[account["persistent_account_id"] for account in each] for each in accounts]
    assert lasting[0] == lasting[1]
    assert len(set(lasting[0])) == 3
    assert api.ok("/auth/get", access_token=one)["numbers"]["ach"] == numbers[0]


@rows("bank", [*TAN_BANKS, "ins_109508"])
def test_only_plaid_tells_the_persistent_id(api, sandbox, bank):
    """Link's metadata has none, nor has `/link/token/get`; another user's account has another."""
    token = api.link_token(products=["auth"])
    done = sandbox.complete_link(token, bank, masks=["0000"])
    session = api.ok("/link/token/get", link_token=token)["link_sessions"]
    assert "persistent_account_id" not in json.dumps([done.metadata, session])
    access = api.ok("/item/public_token/exchange", public_token=done.public_token)["access_token"]
    (mine,) = api.accounts(access)
    processor = api.processor_token(access)
    partners = api.ok("/processor/account/get", processor_token=processor)["account"]
    assert mine.get("persistent_account_id") == partners.get("persistent_account_id")
    assert ("persistent_account_id" in mine) is (bank in TAN_BANKS)
    theirs = api.accounts(api.linked(AUTH, institution_id=bank, username="user_other"))[0]
    assert bank not in TAN_BANKS or theirs["persistent_account_id"] != mine["persistent_account_id"]


def test_numbers_elsewhere_are_the_accounts_own(api):
    """At other banks, every link shows the same number, and it ends as the mask does."""
    one, other = (api.linked(AUTH) for _ in range(2))
    assert api.numbers(one)["1111"]["account"] == "1111222233331111"
    assert [each["account"] for each in api.numbers(one).values()] == [
        each["account"] for each in api.numbers(other).values()
    ]
    custom = {"username": "user_custom", "password": CUSTOM}
    given = api.ok("/auth/get", access_token=api.linked(AUTH, **custom))["numbers"]["ach"]
    assert [each["account"] for each in given] == ["8000111122229876", "8000111122221234", "12"]


def test_canadian_numbers(api):
    """As on Plaid's page of Auth."""
    access = api.access_token(institution_id="ins_43", initial_products=["auth"])
    first = api.ok("/auth/get", access_token=access)["numbers"]["eft"][0]
    del first["account_id"]
    assert first == {"account": "111122220000", "institution": "114", "branch": "01533"}


@rows(
    ("bank", "masks", "broken"),
    [
        ("ins_56", (["0000"], ["0000", "1111"]), True),
        ("ins_3", (["0000"], ["1111"]), True),
        ("ins_13", (["0000"], ["0000", "1111"]), True),
        ("ins_13", (["0000"], ["0000"]), False),
        ("ins_56", (["0000"], ["0000"]), False),
        ("ins_127990", (["0000"], ["1111"]), False),
        ("ins_109508", (["0000"], ["1111"]), False),
    ],
)
def test_linking_again_can_end_the_earlier_item(api, bank, masks, broken):
    """At Chase and PNC, other accounts end it before any exchange; that of another user stays."""
    other = {**AUTH, "user": {"client_user_id": "user-43"}}
    theirs = api.linked(other, institution_id=bank, masks=masks[0])
    first = api.linked(AUTH, institution_id=bank, masks=masks[0])
    api.sandbox.complete_link(api.link_token(**AUTH), bank, masks=masks[1])
    error = api.shown(first)["error"]
    assert (error is not None and error["error_code"] == "ITEM_LOGIN_REQUIRED") is broken
    assert api.shown(theirs)["error"] is None


def test_update_mode_takes_no_account_away_at_chase(api, sandbox):
    """There it only adds; elsewhere the user takes back what is not chosen."""
    for bank, left in (("ins_56", ["0000", "1111"]), ("ins_127990", ["1111"])):
        access = api.linked(AUTH, institution_id=bank, masks=["0000"])
        update = {"account_selection_enabled": True}
        token = api.link_token(access_token=access, products=None, update=update)
        sandbox.complete_link(token, masks=["1111"])
        assert [account["mask"] for account in api.accounts(access)] == left


@rows(("bank", "days"), [("ins_13", 365), ("ins_127989", 365), ("ins_109508", None)])
def test_consent_ends_at_some_banks(api, sandbox, bank, days):
    """A year after the login; update mode renews it."""

    def left(access: str) -> int | None:
        end = api.shown(access)["consent_expiration_time"]
        return end and round((dt.datetime.fromisoformat(end) - sandbox.now).total_seconds() / 86400)

    access = api.linked(AUTH, institution_id=bank)
    assert left(access) == days
    sandbox.advance(dt.timedelta(days=20))
    assert left(access) == (days and days - 20)
    sandbox.complete_link(api.link_token(access_token=access, products=None))
    assert left(access) == days


@rows("bank", ["ins_135842", "ins_90"])
def test_banks_of_public_suites(api, bank):
    """Items are made at the banks that Plaid's clients use in their own tests."""
    body = {"institution_id": bank, "initial_products": ["income_verification"]}
    assert api.ok("/sandbox/public_token/create", **body)


def test_metadata_has_a_logo(api):
    """A PNG in base64."""
    body = {"institution_id": "ins_109508", "country_codes": ["US"]}
    options = {"include_optional_metadata": True}
    bank = api.ok("/institutions/get_by_id", **body, options=options)["institution"]
    assert b64decode(bank["logo"]).startswith(b"\x89PNG\r\n")


def test_banks_page_by_page(api):
    """Pages add up to the total, in one order, each bank once; a country has its own."""
    body = {"country_codes": ["US"], "count": 3}
    pages: list[dict[str, Any]] = []
    while True:
        answer = api.ok("/institutions/get", **body, offset=len(pages))
        if not answer["institutions"]:
            break
        assert len(answer["institutions"]) <= 3
        pages += answer["institutions"]
    assert len(pages) == answer["total"] == len({bank["institution_id"] for bank in pages}) > 10
    assert all(bank["country_codes"] == ["US"] for bank in pages)
    both = api.ok("/institutions/get", country_codes=["US", "CA"], count=500, offset=0)
    assert both["total"] == len(pages) + 1


def test_banks_by_their_properties(api):
    """By OAuth, products and routing numbers; a number that is none is left out."""

    def found(**options: Any) -> list[dict[str, Any]]:
        body = {"country_codes": ["US"], "count": 500, "offset": 0, "options": options}
        return api.ok("/institutions/get", **body)["institutions"]

    oauth, other = found(oauth=True), found(oauth=False)
    assert {bank["oauth"] for bank in oauth} == {True}
    assert len(oauth) + len(other) == len(found()) == len(found(products=["auth"]))
    assert found(products=["payment_initiation"]) == []
    usual = found(routing_numbers=["011401533", "123"])
    others = {bank["name"] for bank in found() if bank not in usual}
    assert others == {"Bank of America", "Houndstooth Bank"}
    assert found(routing_numbers=["021000021"]) == []
    assert found(include_optional_metadata=True)[0]["logo"]
    body = {"country_codes": ["US"], "count": 1, "offset": 0}
    for options in ({"routing_numbers": ["123456789"]}, {"routing_numbers": ["x"]}):
        assert api.error("/institutions/get", **body, options=options)[1] == "INVALID_FIELD"


def test_the_banks_that_plaids_suites_count_on(api):
    """plaid-go and plaid-java look up Bank of America, and a page of British OAuth banks."""

    def page(country: str, count: int, offset: int, **options: Any) -> list[dict[str, Any]]:
        body = {"country_codes": [country], "count": count, "offset": offset, "options": options}
        return api.ok("/institutions/get", **body)["institutions"]

    numbers = ["021200339", "052001633"]
    (bank,) = page("US", 1, 0, routing_numbers=numbers)
    assert (bank["name"], bank["routing_numbers"]) == ("Bank of America", numbers)
    assert page("US", 1, 0, routing_numbers=[*numbers, "011401533"]) == []
    (bank,) = page("US", 9, 0, routing_numbers=["011200365"])
    assert bank["name"] == "Houndstooth Bank"
    british = page("GB", 3, 1, oauth=True)
    assert len(british) == 3
    assert all(bank["oauth"] and bank["country_codes"] == ["GB"] for bank in british)
    assert all(bank["routing_numbers"] == [] for bank in british)


@rows(
    ("query", "names"),
    [
        ("First Platypus Bank", ["First Platypus Bank"]),
        ("tartan", ["Tartan Bank"]),
        ("houndstooth bank", ["Houndstooth Bank"]),
        ("chase", ["Chase", "Chase"]),
        ("no such bank", []),
    ],
)
def test_search_for_a_bank(api, query, names):
    """By a part of its name, in either case."""
    for products in ({}, {"products": None}, {"products": ["transactions"]}):
        answer = api.ok("/institutions/search", query=query, country_codes=["US"], **products)
        assert [bank["name"] for bank in answer["institutions"]] == names
    many = api.ok("/institutions/search", query="a", country_codes=["US"])["institutions"]
    assert len(many) == 10


@rows(
    ("path", "change", "error"),
    [
        (
            "/institutions/search",
            {"products": "ABCDEFG1234567"},
            (
                "INVALID_INPUT",
                "INVALID_PRODUCT",
                (
                    "products must either be null or a list of strings containing at least one "
                    "valid product"
                ),
            ),
        ),
        (
            "/institutions/search",
            {"products": ["ABCDEFG1234567"]},
            ("INVALID_INPUT", "INVALID_PRODUCT", 'invalid product in products: "ABCDEFG1234567"'),
        ),
        *[
            ("/institutions/search", {"products": odd}, ("INVALID_INPUT", "INVALID_PRODUCT", None))
            for odd in ([], [["auth"]], [{}], [None], [5], {}, 5, True, "", "auth")
        ],
        ("/institutions/search", {"query": " "}, ("INVALID_REQUEST", "INVALID_FIELD", None)),
        (
            "/institutions/get",
            {"count": "ABCDEFG1234567", "offset": "ABCDEFG1234567"},
            ("INVALID_REQUEST", "INVALID_FIELD", "count must be an integer"),
        ),
        ("/institutions/get", {"count": 501}, ("INVALID_REQUEST", "INVALID_FIELD", None)),
        ("/institutions/get", {"country_codes": []}, ("INVALID_REQUEST", "INVALID_FIELD", None)),
        ("/institutions/get", {"offset": None}, ("INVALID_REQUEST", "MISSING_FIELDS", None)),
    ],
)
def test_what_the_lists_of_banks_refuse(api, path, change, error):
    """In the words that were seen, where some were."""
    good = {
        "/institutions/search": {"query": "Tartan", "country_codes": ["US"]},
        "/institutions/get": {"count": 3, "offset": 1, "country_codes": ["US"]},
    }
    got = api.error(path, **{**good[path], **change})
    assert got[:2] == error[:2]
    assert error[2] in (None, got[2])


def test_link_shows_the_banks_of_its_countries(api, sandbox):
    """A bank of another country cannot be chosen."""
    with pytest.raises(ValueError, match=r"INVALID_INSTITUTION.*country_codes: US"):
        sandbox.complete_link(api.link_token(), "ins_43")
    assert sandbox.complete_link(api.link_token(country_codes=["US", "CA"]), "ins_43")
