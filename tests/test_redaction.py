"""How secrets are spoken of."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from plaid_processors.redaction import fingerprint, mask, mask_repr, redact, secrets_among

from .support.rows import rows

types = st.sampled_from(
    ["access", "public", "link", "processor", "asset", "item-add", "user", "hosted_link"]
)
environments = st.sampled_from(["sandbox", "production", "development"])
identifiers = st.uuids().map(str) | st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~", min_size=1, max_size=40
)
tokens = st.builds("{}-{}-{}".format, types, environments, identifiers) | st.from_regex(
    r"btok_[A-Za-z0-9]{1,30}", fullmatch=True
)
odd_secrets = st.text("!#$%ABCDEFG0123456789", min_size=16, max_size=40)
texts = st.text(max_size=20)


@given(token=tokens, before=texts, after=texts)
def test_no_token_of_plaids_shape_gets_through(token: str, before: str, after: str) -> None:
    """Whatever stands around it, a token of Plaid's shape does not survive."""
    assert token not in redact(before + token + after)
    assert redact(token) == mask(token)  # no part of it is left


@rows("secret", ["access", "sandbox", "sandbox-1", "1111", "a", "-"])
def test_a_secret_that_is_a_part_of_a_token_lets_no_token_through(secret: str) -> None:
    """The token is masked first: without that part it would be none any more."""
    shown = redact("it is access-sandbox-11111111-2222-3333-4444-555555555555", (secret,))
    assert "2222" not in shown
    assert "44444" not in shown


@given(secret=odd_secrets, before=texts, after=texts)
def test_no_given_secret_gets_through(secret: str, before: str, after: str) -> None:
    """A secret of any shape does not survive where it is known."""
    assert secret not in redact(before + secret + after, (secret,))


@given(text=texts, token=tokens, secret=odd_secrets)
def test_redact_is_idempotent(text: str, token: str, secret: str) -> None:
    """What is redacted already stays as it is."""
    once = redact(f"{text} {token} {text} {secret}", (secret,))
    assert redact(once, (secret,)) == once


@given(one=odd_secrets, more=odd_secrets)
def test_a_secret_within_another(one: str, more: str) -> None:
    """Of two secrets that overlap, neither shows."""
    shown = redact(f"{one}{more} {one}", (one, one + more))
    assert one not in shown
    assert more not in shown
    assert more not in redact(f"{more}{one}", (one, more + one))


@given(text=st.text("abc XYZ,.:/…", max_size=60))
def test_plain_text_is_left_alone(text: str) -> None:
    """A text without a token is not touched."""
    assert redact(text) == text


@given(token=st.builds("{}-{}-{}".format, types, environments, identifiers))
def test_mask_shows_at_most_four_characters(token: str) -> None:
    """Of an identifier at most the last four characters show, and of a short one none."""
    head, _, identifier = token.partition(next(e for e in _AFTER if e in token))
    shown = mask(token).partition("…")[2]
    assert shown in ("", identifier[-4:])
    assert len(identifier) >= 12 or shown == ""
    assert mask(token).startswith(head)


_AFTER = ("-sandbox-", "-production-", "-development-")


@given(secret=odd_secrets)
def test_mask_of_an_odd_secret_shows_nothing(secret: str) -> None:
    """What is not of Plaid's shape shows nothing at all."""
    assert mask(secret) == "…"


@rows(
    ("secret", "shown"),
    [
        ("access-sandbox-de3ce8ef-33f8-452c-a685-8671031fc0f6", "access-sandbox-…c0f6"),
        ("processor-sandbox-0asd1-a92nc", "processor-sandbox-…"),
        ("processor-sandbox-0asd1-a92nc4", "processor-sandbox-…2nc4"),
        ("btok_5oEetfLzPklE1fwJZ7SG", "btok_…Z7SG"),
        ("5e" * 15, "…"),
        ("", "…"),
    ],
)
def test_mask_examples(secret: str, shown: str) -> None:
    """Tokens of the shapes in Plaid's docs are masked so."""
    assert mask(secret) == shown


def test_the_repr_of_a_secret_that_is_not_there() -> None:
    """None is shown as None, and any other value masked."""
    assert mask_repr(None) == "None"
    assert mask_repr("5e" * 15) == "'…'"


def test_the_fingerprint_of_any_text() -> None:
    """Half of a surrogate pair, which is no UTF-8, has one too."""
    digits = re.compile(r"[0-9a-f]{12}")
    assert digits.fullmatch(fingerprint("access-sandbox-\ud800"))
    assert fingerprint("access-sandbox-\ud800") != fingerprint("access-sandbox-\ud801")


@rows(
    ("value", "secret"),
    [
        ("5e" * 15, True),
        ("0123456789abcdef01234567", True),
        ("access-sandbox-de3ce8ef-33f8-452c-a685-8671031fc0f6", True),
        ("not of Plaid's form", True),
        ("correcthorsebatterystaple", True),
        ("PUBLIC_TOKEN", False),
        ("client_id", False),
        ("YOUR_PLAID_SECRET", False),
        ("INVALID", False),
        ("short-12", True),
        ("short-1", False),
        ("", False),
        (None, False),
    ],
)
def test_what_can_be_a_secret(value: str | None, secret: bool) -> None:
    """A short value and a plain word cannot be, and masking them would spoil messages."""
    assert secrets_among(value) == ((value,) if secret else ())
