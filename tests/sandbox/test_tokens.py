"""Each way in which a token can be wrong is told apart."""

from __future__ import annotations

import pytest

UNKNOWN = "5f1c1a44-0b1c-4a55-9d5d-7a1f5c1e2b3a"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (
            "nonsense",
            (
                "provided public token is in an invalid format. "
                "expected format: public-<environment>-<identifier>"
            ),
        ),
        (
            "",
            (
                "provided public token is in an invalid format. "
                "expected format: public-<environment>-<identifier>"
            ),
        ),
        (
            f"public-production-{UNKNOWN}",
            (
                "provided public token is for the wrong Plaid environment. "
                'expected "sandbox", got "production"'
            ),
        ),
        (
            f"access-sandbox-{UNKNOWN}",
            'provided token is the wrong type. expected "public", got "access"',
        ),
        (f"public-sandbox-{UNKNOWN}", "could not find matching public token"),
    ],
)
def test_public_token(api, token, message):
    """Malformed, of another environment, of another type, unknown."""
    assert api.error("/item/public_token/exchange", public_token=token) == (
        "INVALID_INPUT",
        "INVALID_PUBLIC_TOKEN",
        message,
    )


def test_public_token_is_spent_once(api):
    """A second exchange does not find the token any more."""
    token = api.public_token()
    assert api.ok("/item/public_token/exchange", public_token=token)
    assert api.error("/item/public_token/exchange", public_token=token)[2] == (
        "could not find matching public token"
    )


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (
            "nonsense",
            (
                "provided access token is in an invalid format. "
                "expected format: access-<environment>-<identifier>"
            ),
        ),
        (
            f"public-sandbox-{UNKNOWN}",
            'provided token is the wrong type. expected "access", got "public"',
        ),
        (f"access-sandbox-{UNKNOWN}", "could not find matching access token"),
    ],
)
def test_access_token(api, token, message):
    """The same sentences, about access tokens."""
    for path in ("/accounts/get", "/item/get", "/item/remove"):
        assert api.error(path, access_token=token) == (
            "INVALID_INPUT",
            "INVALID_ACCESS_TOKEN",
            message,
        )


def test_removed_item(api):
    """The access token of a removed Item is told from one that never was."""
    token = api.access_token()
    assert set(api.ok("/item/remove", access_token=token)) == {"request_id"}
    assert api.error("/item/remove", access_token=token)[:2] == ("ITEM_ERROR", "ITEM_NOT_FOUND")
    assert api.error("/accounts/get", access_token=token)[1] == "ITEM_NOT_FOUND"
