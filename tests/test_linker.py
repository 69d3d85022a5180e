"""The facade against the local Plaid: the whole workflow, as a developer lives it."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import plaid_processors
from plaid_processors import (
    AccessTokenError,
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    AuthenticationError,
    ConfigurationError,
    Environment,
    FinixAdapter,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PlaidApiError,
    PlaidConnectionError,
    ProcessorLinker,
    PublicTokenError,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    EXCHANGE,
    LINK_TOKEN,
    PUBLIC_TOKEN,
    REMOVE,
    SANDBOX_TOKEN,
    FaultyPlaid,
    refusal,
    reply,
)
from .support.rows import rows

Through = Callable[..., Linked]
Make = Callable[..., ProcessorLinker]

ANSWER = {
    "link_token": "link-sandbox-5e171e1c-aaaa-4bbb-8ccc-0123456789ab",
    "expiration": "2026-11-21T05:00:00Z",
    "request_id": "R",
}


def _default_accounts() -> list[tuple[str, str, str, str]]:
    table = Path(plaid_processors.__file__).parent / "sandbox" / "data" / "accounts.tsv"
    with table.open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source, delimiter="\t"))
    return [(row["name"], row["mask"], row["type"], row["subtype"]) for row in rows]


# --- link tokens


def test_link_token(linker: ProcessorLinker) -> None:
    """A link token comes with an aware end, four hours ahead."""
    token = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme Books")
    assert token.link_token.startswith("link-sandbox-")
    assert token.expiration.utcoffset() == timedelta(0)
    assert timedelta(hours=3) < token.expiration - datetime.now(UTC) < timedelta(hours=5)
    assert token.request_id
    assert token.hosted_link_url is None


def test_hosted_link(linker: ProcessorLinker) -> None:
    """Hosted Link gives the page to send the user to."""
    token = linker.create_link_token(
        "layer", client_user_id="user-42", client_name="Acme Books", hosted_link={}
    )
    assert token.hosted_link_url
    assert token.hosted_link_url not in repr(token)


@rows(
    ("partner", "products", "filtered"),
    [
        ("layer", ["transactions"], False),
        ("finix", ["auth", "identity"], True),
        (["dwolla", "finix"], ["auth", "identity"], True),
        (["layer", "boom"], ["transactions"], False),
        (PartnerAdapter(processor="p", products=("auth",)), ["auth"], False),
    ],
    ids=["layer", "finix", "two that filter", "two that do not", "own"],
)
def test_what_link_is_opened_with(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    partner: Any,
    products: list[str],
    filtered: bool,
) -> None:
    """The partners tell the products, each once, and what accounts Link shows."""
    faulty_linker.create_link_token(partner, client_user_id="user-42", client_name="Acme")
    body = faulty.asked(LINK_TOKEN)[-1]
    filters = {"depository": {"account_subtypes": ["checking", "savings"]}}
    assert body == {
        "client_name": "Acme",
        "language": "en",
        "country_codes": ["US"],
        "user": {"client_user_id": "user-42"},
        "products": products,
        **({"account_filters": filters} if filtered else {}),
    }


def test_options_of_a_link_token(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Options go to Plaid under its own names, and any other by `extra`."""
    options: dict[str, Any] = {
        "products": ["auth"],
        "language": "es",
        "country_codes": ["US", "ES"],
        "webhook": "https://example.com/plaid",
        "redirect_uri": "https://example.com/oauth",
        "link_customization_name": "one account",
        "account_filters": {"depository": {"account_subtypes": ["savings"]}},
        "additional_consented_products": ["identity"],
    }
    faulty_linker.create_link_token(
        "finix",
        client_user_id="user-42",
        client_name="Acme",
        user={"phone_number": "+12025550123"},
        extra={"transactions": {"days_requested": 730}},
        **options,
    )
    assert faulty.asked(LINK_TOKEN) == [
        {
            "client_name": "Acme",
            "user": {"client_user_id": "user-42", "phone_number": "+12025550123"},
            "transactions": {"days_requested": 730},
            **options,
        }
    ]


def test_update_mode(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """With an access token Link opens in update mode, for the Item that exists."""
    done = through_link()
    result = linker.link("layer", public_token=done.public_token, metadata=done.metadata)
    token = linker.create_link_token(
        "layer", client_user_id="user-42", client_name="Acme", access_token=result.access_token
    )
    assert local_plaid.complete_link(token.link_token).metadata["accounts"]


@rows(
    ("options", "error"),
    [
        ({"client_user_id": ""}, ValueError),
        ({"client_user_id": 42}, TypeError),
        ({"client_name": " "}, ValueError),
        ({"client_name": None}, TypeError),
        ({"products": "auth"}, TypeError),
        ({"country_codes": "US"}, TypeError),
        ({"extra": {"client_name": "Other"}}, ValueError),
        ({"access_token": PUBLIC_TOKEN}, ConfigurationError),
        ({"webhok": "https://example.com"}, TypeError),
        ({"user": "user-42"}, TypeError),
        ({"user": {"client_user_id": "other"}}, ValueError),
        ({"extra": ["a"]}, TypeError),
        ({"extra": {"auth": {"limit": math.nan}}}, ValueError),
        ({"extra": {"auth": [{"at": datetime(2026, 11, 21, tzinfo=UTC)}]}}, TypeError),
        ({"user": {5: "x"}}, TypeError),
        ({"account_filters": {"depository": {1, 2}}}, TypeError),
        ({"hosted_link": "yes"}, TypeError),
        ({"country_codes": None}, TypeError),
        ({"country_codes": [1]}, TypeError),
        ({"products": PUBLIC_TOKEN}, TypeError),
        ({"language": None}, TypeError),
        ({"webhook": 5}, TypeError),
        ({"account_selection_enabled": "no"}, TypeError),
        ({"account_selection_enabled": True}, ValueError),
        ({"extra": {"access_token": ACCESS_TOKEN}}, ValueError),
        ({"extra": {"optional_products": ["balance"]}}, ValueError),
        ({"extra": {"products": ["auth"]}}, ValueError),
        ({"extra": {"update": {"account_selection_enabled": True}}}, ValueError),
        ({"extra": {"secret": "s"}}, ValueError),
    ],
    ids=repr,
)
def test_wrong_options_of_a_link_token(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    """What cannot be right is refused before anything is sent."""
    given_ = {"client_user_id": "user-42", "client_name": "Acme", **options}
    (name,) = options
    with pytest.raises(error, match=name) as caught:
        faulty_linker.create_link_token("layer", **given_)
    assert faulty.requests == []
    assert PUBLIC_TOKEN not in str(caught.value)


def test_mappings_of_any_kind(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Read-only mappings and tuples are as good as dicts and lists, at any depth."""
    within = MappingProxyType({"products": ("auth",), "limit": 1.5, "none": None})
    shown = {"products": ["auth"], "limit": 1.5, "none": None}
    faulty.on(LINK_TOKEN, reply({**ANSWER, "hosted_link_url": "https://secure.plaid.com/link/x"}))
    faulty_linker.create_link_token(
        "layer",
        client_user_id="user-42",
        client_name="Acme",
        **{
            name: MappingProxyType({"within": within})
            for name in ("user", "account_filters", "hosted_link", "extra")
        },
    )
    faulty_linker.link_sandbox("layer", options=MappingProxyType({"within": within}))
    (body,), (sandbox_body,) = faulty.asked(LINK_TOKEN), faulty.asked(SANDBOX_TOKEN)
    assert body["user"] == {"client_user_id": "user-42", "within": shown}
    assert body["account_filters"] == body["hosted_link"] == {"within": shown}
    assert body["within"] == shown
    assert sandbox_body["options"] == {"within": shown}


@rows(
    ("said", "read"),
    [
        ("2026-11-21T05:00:00Z", datetime(2026, 11, 21, 5, tzinfo=UTC)),
        ("2026-11-21T05:00:00.123456789Z", datetime(2026, 11, 21, 5, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-21T05:00:00.5Z", datetime(2026, 11, 21, 5, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-21T06:30:00+01:30", datetime(2026, 11, 21, 5, tzinfo=UTC)),
        ("2026-11-21t05:00:00z", datetime(2026, 11, 21, 5, tzinfo=UTC)),
        ("2026-11-21T05:00:00", datetime(2026, 11, 21, 5, tzinfo=UTC)),
    ],
)
def test_the_expiration_in_every_form(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, said: str, read: datetime
) -> None:
    """It is a time with a zone, whatever fraction and offset it has."""
    faulty.on(LINK_TOKEN, reply({**ANSWER, "expiration": said}))
    token = faulty_linker.create_link_token("layer", client_user_id="u", client_name="A")
    assert token.expiration == read
    assert token.expiration.tzinfo is not None


@rows("more", [{}, {"hosted_link_url": None}, {"hosted_link_url": ""}, {"hosted_link_url": 5}])
@rows(
    "asked",
    [
        {"hosted_link": {}},
        {"hosted_link": {"url_lifetime_seconds": 900}},
    ],
)
def test_an_asked_for_thing_that_is_missing(
    faulty: FaultyPlaid, make_linker: Make, more: dict[str, Any], asked: dict[str, Any]
) -> None:
    """A team without Hosted Link gets a link token and no address: an error with the way out."""
    faulty.on(LINK_TOKEN, reply({**ANSWER, **more}))
    linker = make_linker(max_attempts=3)
    with pytest.raises(PlaidConnectionError, match="hosted_link_url") as caught:
        linker.create_link_token("layer", client_user_id="u", client_name="A", **asked)
    assert "not enabled for your team" in caught.value.advice
    assert not caught.value.retryable
    assert len(faulty.requests) == 1
    # Where it was not asked for, nothing is missing.
    assert linker.create_link_token("layer", client_user_id="u", client_name="A").link_token


@rows(
    ("options", "name"),
    [
        ({"products": ["balance"]}, "products"),
        ({"products": ["transactions", "balance"]}, "products"),
        ({"required_if_supported_products": ["balance"]}, "required_if_supported_products"),
        ({"optional_products": ["auth", "balance"]}, "optional_products"),
        ({"additional_consented_products": ["balance"]}, "additional_consented_products"),
        ({"partner": PartnerAdapter(processor="mine", products=["auth", "balance"])}, "products"),
    ],
)
def test_balance_is_not_asked_for_in_link(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, options: dict[str, Any], name: str
) -> None:
    """Plaid refuses it as if it were not enabled, so it is refused before, by its name."""
    given_ = {"partner": "layer", "client_user_id": "u", "client_name": "A", **options}
    with pytest.raises(ConfigurationError, match=f"{name} has 'balance'.*leave it out"):
        faulty_linker.create_link_token(**given_)
    assert faulty.requests == []


def test_nesting_without_end(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A mapping that holds itself is refused, in plain words."""
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(ValueError, match="extra is nested too deep"):
        faulty_linker.create_link_token(
            "layer", client_user_id="user-42", client_name="Acme", extra=endless
        )
    assert faulty.requests == []


def test_no_filter_at_all(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An empty mapping switches the partner's own filter off."""
    for filters in (None, {}):
        faulty_linker.create_link_token(
            "finix", client_user_id="user-42", client_name="Acme", account_filters=filters
        )
    assert ["account_filters" in body for body in faulty.asked(LINK_TOKEN)] == [True, False]


# --- link


def test_layer(linker: ProcessorLinker, through_link: Through) -> None:
    """Layer gets a token for every account of Link's metadata, in order, whatever its type."""
    done = through_link("layer")
    result = linker.link(
        "layer", public_token=done.public_token, accounts=done.metadata["accounts"]
    )
    told = [token.account for token in result.processor_tokens]
    assert [(a.name, a.mask, a.type, a.subtype) for a in told] == _default_accounts()
    assert [a.account_id for a in told] == [each["id"] for each in done.metadata["accounts"]]
    assert len({token.processor_token for token in result.processor_tokens}) == len(told) == 14
    assert {token.processor for token in result.processor_tokens} == {"layer"}
    assert result.complete
    assert result.pending == ()


def test_result_of_a_link(linker: ProcessorLinker, through_link: Through) -> None:
    """A result tells Item, bank and session, and each token its account and request."""
    done = through_link("finix", masks=["0000"])
    result = linker.link("finix", public_token=done.public_token, metadata=done.metadata)
    assert result.access_token.startswith("access-sandbox-")
    assert result.item_id
    assert result.request_id
    assert result.environment is Environment.SANDBOX
    assert (result.institution_id, result.institution_name) == ("ins_109508", "First Platypus Bank")
    assert result.link_session_id == done.metadata["link_session_id"]
    token = result.token("finix")
    assert token.processor_token.startswith("processor-sandbox-")
    assert token.account.mask == "0000"
    assert token.request_id != result.request_id
    assert token.issued_at.utcoffset() == timedelta(0)
    assert token.expires_at is None


def test_finix(linker: ProcessorLinker, through_link: Through) -> None:
    """Finix gets one token, for the account that is checking or savings."""
    done = through_link("layer", masks=["3333", "1111", "8888"])
    result = linker.link("finix", public_token=done.public_token, metadata=done.metadata)
    assert result.token("finix").account.subtype == "savings"


def test_several_partners(linker: ProcessorLinker, through_link: Through) -> None:
    """Several partners share one exchange; tokens come by partner, then account."""
    done = through_link("layer", masks=["0000", "3333"])
    result = linker.link(["finix", "layer"], public_token=done.public_token, metadata=done.metadata)
    first, second = (each["id"] for each in done.metadata["accounts"])
    assert [token.key for token in result.processor_tokens] == [
        ("finix", first),
        ("layer", first),
        ("layer", second),
    ]


def test_fetched_accounts_are_those_of_link(linker: ProcessorLinker, through_link: Through) -> None:
    """Fetched accounts are those that the user chose in Link, in the same order."""
    done = through_link("layer", masks=["0000", "1111"])
    result = linker.link("layer", public_token=done.public_token)
    assert [each.account.account_id for each in result.processor_tokens] == [
        each["id"] for each in done.metadata["accounts"]
    ]


@rows(
    ("metadata", "known"),
    [
        ({}, (None, None, None)),
        ({"institution": None, "link_session_id": None}, (None, None, None)),
        ({"institution": {"name": "B", "institution_id": "ins_1"}}, ("ins_1", "B", None)),
        ({"institution": {"name": 5}, "link_session_id": "s", "new": []}, (None, None, "s")),
        ({"institution": "B", "accounts": None}, (None, None, None)),
    ],
)
def test_metadata(
    faulty_linker: ProcessorLinker, metadata: dict[str, Any], known: tuple[str | None, ...]
) -> None:
    """Whatever Link's metadata lacks, the link works; its accounts are fetched then."""
    seen: list[Any] = []
    result = faulty_linker.link(
        "layer", public_token=PUBLIC_TOKEN, metadata=metadata, on_exchange=seen.append
    )
    for each in (result, *seen):
        assert (each.institution_id, each.institution_name, each.link_session_id) == known
    assert len(result.processor_tokens) == 2


# --- refused tokens and keys


@rows(
    ("token", "words"),
    [
        ("access-sandbox-de3ce8ef-33f8-452c-a685-8671031fc0f6", "'access'.*'public'"),
        ("link-sandbox-de3ce8ef-33f8-452c-a685-8671031fc0f6", "'link'.*'public'"),
        ("public-production-de3ce8ef-33f8-452c-a685-8671031fc0f6", "'production'.*'sandbox'"),
        ("public-development-de3ce8ef-33f8-452c-a685-8671031fc0f6", "'development'"),
    ],
)
def test_public_token_of_another_kind(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, token: str, words: str
) -> None:
    """A token whose prefix tells that it is another one is refused before any request."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        faulty_linker.link("layer", public_token=token)
    assert "de3ce8ef" not in str(caught.value)
    assert faulty.requests == []


@rows("token", [PUBLIC_TOKEN, "access-production-de3ce8ef-33f8-452c", "", " "])
@rows("call", ["issue", "accounts", "remove"])
def test_access_token_of_another_kind(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, token: str, call: str
) -> None:
    """The same holds for access tokens, in every call that takes one."""
    calls: dict[str, Callable[[str], object]] = {
        "issue": lambda token: faulty_linker.issue("layer", access_token=token),
        "accounts": faulty_linker.accounts,
        "remove": faulty_linker.remove,
    }
    with pytest.raises(ConfigurationError, match="access_token"):
        calls[call](token)
    assert faulty.requests == []


UUID = "de3ce8ef-33f8-452c-a685-8671031fc0f6"


@rows(
    "around",
    ['"{}"', "'{}'", "{}\n", " {}", "{}\r\n", "Bearer {}", "bearer {}", "“{}”", "`{}`", "<{}>",
     "{},", '{{"public_token": "{}"}}', "b'{}'", "\ufeff{}", "{}\\n", "{}\u200b"],
)  # fmt: skip
@rows(
    ("kind", "call"),
    [
        ("public", lambda linker, token: linker.link("layer", public_token=token)),
        ("access", lambda linker, token: linker.issue("layer", access_token=token)),
        ("access", lambda linker, token: linker.accounts(token)),
        ("access", lambda linker, token: linker.remove(token)),
        ("access", lambda linker, token: linker.create_link_token(
            "layer", client_user_id="u", client_name="A", access_token=token)),
        ("link", lambda linker, token: linker.session(token)),
    ],
)  # fmt: skip
def test_a_good_token_with_something_around_it(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    around: str,
    kind: str,
    call: Callable[[ProcessorLinker, str], object],
) -> None:
    """Quotes, white space or "Bearer" are refused by name, before the token is wasted."""
    with pytest.raises(ConfigurationError, match=f"{kind}_token .*token alone") as caught:
        call(faulty_linker, around.format(f"{kind}-sandbox-{UUID}"))
    assert UUID[-4:] not in str(caught.value)
    assert faulty.requests == []


@rows("token", ["odd", "public-5", "public-sandbox-1/2+3==", "public_sandbox_1", "ü"])
def test_odd_tokens_are_sent_as_they_are(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, token: str
) -> None:
    """What does not look like a token of Plaid's is for Plaid to judge."""
    faulty_linker.link("layer", public_token=token)
    assert faulty.requests[0].json == {"public_token": token}


LONE = "lone \ud800 surrogate"


@rows(
    "call",
    [
        lambda linker: linker.link("layer", public_token=LONE),
        lambda linker: linker.link("layer", public_token=PUBLIC_TOKEN, accounts=[{"id": LONE}]),
        lambda linker: linker.link("layer", public_token=PUBLIC_TOKEN, metadata={
            "institution": {"id": LONE, "name": LONE}, "linkSessionId": LONE, LONE: LONE}),
        lambda linker: linker.link("layer", public_token=PUBLIC_TOKEN, account_id=LONE),
        lambda linker: linker.link(LONE, public_token=PUBLIC_TOKEN),
        lambda linker: linker.link(PartnerAdapter(processor=LONE), public_token=PUBLIC_TOKEN),
        lambda linker: linker.link_sandbox("layer", institution_id=LONE, products=[LONE]),
        lambda linker: linker.link_sandbox("layer", options={LONE: LONE}),
        lambda linker: linker.issue("layer", access_token=LONE, item_id=LONE),
        lambda linker: linker.accounts(LONE),
        lambda linker: linker.remove(LONE),
        lambda linker: linker.session(LONE),
        lambda linker: linker.create_link_token(
            "layer", client_user_id=LONE, client_name=LONE, language=LONE, country_codes=[LONE],
            webhook=LONE, user={LONE: LONE}, extra={LONE: [LONE]}, access_token=LONE),
    ],
)  # fmt: skip
@rows("answer", [None, refusal("INVALID_INPUT", "INVALID_FIELD", LONE)])
def test_lone_surrogates(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    call: Callable[[ProcessorLinker], object],
    answer: Any,
) -> None:
    """They are refused in typed words, or sent as JSON escapes; nothing untyped comes out."""
    if answer is not None:
        for path in (EXCHANGE, ACCOUNTS, REMOVE, LINK_TOKEN, SANDBOX_TOKEN, "/link/token/get"):
            faulty.on(path, answer)
    with suppress(plaid_processors.PlaidProcessorsError):
        call(faulty_linker)
    assert all(each.body.isascii() for each in faulty.requests)


def test_unknown_and_used_public_tokens(linker: ProcessorLinker, through_link: Through) -> None:
    """A foreign public token, and one that was used, are told as such."""
    done = through_link()
    linker.link("layer", public_token=done.public_token)
    for token in (done.public_token, PUBLIC_TOKEN, "public"):
        with pytest.raises(PublicTokenError, match="Link again") as caught:
            linker.link("layer", public_token=token)
        assert caught.value.error_code == "INVALID_PUBLIC_TOKEN"
        assert unfinished(caught.value) is None


def test_expired_public_token(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """An expired public token says so, and that the user has to link again."""
    faulty.on(
        "/item/public_token/exchange",
        refusal(
            "INVALID_INPUT",
            "INVALID_PUBLIC_TOKEN",
            "provided public token is expired. Public tokens expire 30 minutes after creation at "
            "which point they can no longer be exchanged",
        ),
    )
    with pytest.raises(PublicTokenError, match="expired"):
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN)


def test_unknown_access_token(linker: ProcessorLinker) -> None:
    """An access token of another Plaid is an AccessTokenError."""
    with pytest.raises(AccessTokenError):
        linker.accounts(ACCESS_TOKEN)


def test_wrong_keys(local_plaid: LocalSandbox) -> None:
    """Wrong keys are an AuthenticationError that names where to look."""
    with (
        ProcessorLinker(local_plaid.client(secret="ab" * 15)) as linker,
        pytest.raises(AuthenticationError, match="PLAID_SECRET") as caught,
    ):
        linker.link_sandbox("layer")
    assert caught.value.error_code == "INVALID_API_KEYS"
    assert "ab" * 15 not in str(caught.value)


def test_malformed_client_id(local_plaid: LocalSandbox) -> None:
    """A client id that is none is Plaid's to refuse, and the keys are to be checked."""
    with (
        ProcessorLinker(local_plaid.client(client_id="me")) as linker,
        pytest.raises(AuthenticationError, match=r"client_id.*PLAID_SECRET"),
    ):
        linker.link_sandbox("layer")


# --- the Sandbox without a browser


def test_link_sandbox_for_layer(linker: ProcessorLinker) -> None:
    """Without a browser, Layer gets a token for each account of the Item."""
    result = linker.link_sandbox("layer")
    assert len(result.processor_tokens) == 14
    assert result.institution_id == "ins_109508"


def test_link_sandbox_for_finix(linker: ProcessorLinker) -> None:
    """Without a browser, Finix gets the first account that its rule allows."""
    result = linker.link_sandbox("finix", institution_id="ins_109509")
    assert result.token("finix").account.subtype == "checking"
    assert result.institution_id == "ins_109509"
    other = linker.link_sandbox(FinixAdapter(subtypes=("savings",)))
    assert other.token("finix").account.subtype == "savings"


def test_link_sandbox_resumes_with_the_same_choice(linker: ProcessorLinker) -> None:
    """What nobody could be asked at first is not asked when the link goes on, here or elsewhere."""

    def fail(_item: object) -> None:
        raise OSError("the database is down")

    with pytest.raises(LinkIncompleteError) as caught:
        linker.link_sandbox("finix", on_exchange=fail)
    stored = LinkResult.from_dict(json.loads(json.dumps(caught.value.result.to_dict())))
    assert linker.resume(stored).token("finix").account.mask == "0000"


def test_link_sandbox_products(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The Item is made with the partners' products, or with those asked for."""
    faulty_linker.link_sandbox(["layer", "finix"])
    faulty_linker.link_sandbox("layer", products=["auth"], options={"webhook": "https://e.com"})
    assert faulty.asked(SANDBOX_TOKEN) == [
        {
            "institution_id": "ins_109508",
            "initial_products": ["transactions", "auth", "identity"],
        },
        {
            "institution_id": "ins_109508",
            "initial_products": ["auth"],
            "options": {"webhook": "https://e.com"},
        },
    ]


def test_link_sandbox_bound_to_an_account(faulty_linker: ProcessorLinker) -> None:
    """An account that is asked for goes before the first that fits."""
    result = faulty_linker.link_sandbox("layer", account_id="a-card")
    assert [each.key for each in result.processor_tokens] == [("layer", "a-card")]


def test_link_sandbox_where_none_fits(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Where no account fits, the Item exists all the same, and its token is not lost."""
    accounts = [{"account_id": "card", "subtype": "credit card"}]
    faulty.on("/accounts/get", reply({"accounts": accounts}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.link_sandbox("finix")
    assert isinstance(caught.value.__cause__, AccountSelectionError)
    assert caught.value.result.access_token == ACCESS_TOKEN


def test_link_sandbox_of_an_unknown_bank(linker: ProcessorLinker) -> None:
    """An unknown bank is told with one that exists."""
    with pytest.raises(PlaidApiError, match="ins_109508") as caught:
        linker.link_sandbox("layer", institution_id="ins_none")
    assert caught.value.error_code == "INVALID_INSTITUTION"


@rows(
    ("options", "error"),
    [
        ({"institution_id": ""}, ValueError),
        ({"institution_id": None}, TypeError),
        ({"products": "auth"}, TypeError),
        ({"on_exchange": 5}, TypeError),
        ({"options": 5}, TypeError),
        ({"options": {"at": math.inf}}, ValueError),
        ({"partial": "no"}, TypeError),
    ],
    ids=repr,
)
def test_wrong_options_of_link_sandbox(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    """What cannot be right is refused before anything is sent."""
    with pytest.raises(error):
        faulty_linker.link_sandbox("layer", **options)
    assert faulty.requests == []


def test_link_sandbox_in_production(faulty: FaultyPlaid, make_linker: Make) -> None:
    """A production client makes no Items of a Sandbox."""
    with pytest.raises(ConfigurationError, match="Sandbox"):
        make_linker(environment="production").link_sandbox("layer")
    assert faulty.requests == []


# --- an Item that exists


def test_issue(linker: ProcessorLinker, through_link: Through) -> None:
    """Another partner is added to an Item that exists."""
    done = through_link("layer", masks=["0000"])
    first = linker.link("layer", public_token=done.public_token, metadata=done.metadata)
    second = linker.issue("finix", access_token=first.access_token, item_id=first.item_id)
    assert second.token("finix").account.mask == "0000"
    assert (second.item_id, second.access_token) == (first.item_id, first.access_token)
    merged = first.merge(second)
    assert [token.processor for token in merged.processor_tokens] == ["layer", "finix"]
    assert merged.institution_name == "First Platypus Bank"


def test_issue_with_accounts(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Accounts that are known are not fetched."""
    result = faulty_linker.issue("layer", access_token=ACCESS_TOKEN, accounts=[{"id": "mine"}])
    assert [each.account.account_id for each in result.processor_tokens] == ["mine"]
    assert result.item_id is None
    assert faulty.paths == ["/processor/token/create"]


def test_issue_with_an_id_of_another_type(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """An Item's id that could not be stored is refused before anything is sent."""
    with pytest.raises(TypeError, match="item_id"):
        faulty_linker.issue("layer", access_token=ACCESS_TOKEN, item_id=5)  # type: ignore[arg-type]
    assert faulty.requests == []


def test_accounts(linker: ProcessorLinker) -> None:
    """The Item's accounts come as a tuple of Account."""
    result = linker.link_sandbox("layer")
    accounts = linker.accounts(result.access_token)
    assert isinstance(accounts, tuple)
    assert accounts == tuple(token.account for token in result.processor_tokens)
    assert [(a.name, a.mask, a.type, a.subtype) for a in accounts] == _default_accounts()
    assert {a.holder_category for a in accounts} == {"personal", "business", None}


def test_accounts_beside_odd_entries(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A null, or an entry without an id, does not lose the Item's other accounts."""
    odd = [None, 5, {"name": "N"}, {"account_id": None}, {"account_id": ""}]
    faulty.on(ACCOUNTS, reply({"accounts": [odd[0], {"account_id": "A"}, *odd[1:]]}))
    assert faulty_linker.accounts(ACCESS_TOKEN) == (Account(account_id="A"),)


def test_accounts_with_nulls_and_news(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """Nulls, new enum values and new fields in an answer are no error."""
    odd = {"account_id": "A", "type": "crypto", "subtype": None, "name": None, "mask": 5, "n": []}
    faulty.on("/accounts/get", reply({"accounts": [odd], "item": None, "new": {"a": 1}}))
    assert faulty_linker.accounts(ACCESS_TOKEN) == (Account(account_id="A", type="crypto"),)


def test_remove(linker: ProcessorLinker) -> None:
    """An Item is removed once; then it was gone already, and its tokens are void."""
    result = linker.link_sandbox("finix")
    assert linker.remove(result.access_token) is True
    assert linker.remove(result.access_token) is False
    with pytest.raises(PlaidApiError) as caught:
        linker.accounts(result.access_token)
    assert caught.value.error_code == "ITEM_NOT_FOUND"


@rows(
    ("error_type", "code"),
    [
        ("INVALID_INPUT", "INVALID_ACCESS_TOKEN"),
        ("ITEM_ERROR", "ITEM_CONCURRENTLY_DELETED"),
        ("INVALID_INPUT", "USER_PERMISSION_REVOKED"),
        ("API_ERROR", "INTERNAL_SERVER_ERROR"),
    ],
)
def test_remove_raises_all_else(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, error_type: str, code: str
) -> None:
    """Only ITEM_NOT_FOUND means that the Item was gone already."""
    faulty.on(REMOVE, refusal(error_type, code, "no"))
    with pytest.raises(PlaidApiError) as caught:
        faulty_linker.remove(ACCESS_TOKEN)
    assert caught.value.error_code == code


# --- resumed elsewhere

_RESUME = """
import json, sys
from plaid_processors import LinkResult, ProcessorLinker
with ProcessorLinker.from_env() as linker:
    result = linker.resume(LinkResult.from_dict(json.load(sys.stdin)))
print(json.dumps(result.to_dict()))
"""


def test_resume_in_another_process(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """A result that was stored is finished by another process."""

    def stop(_token: object) -> None:
        raise KeyboardInterrupt

    done = through_link("layer", masks=["0000", "1111", "3333"])
    with pytest.raises(KeyboardInterrupt) as caught:
        linker.link(
            "layer", public_token=done.public_token, metadata=done.metadata, on_exchange=stop
        )
    stored = unfinished(caught.value)
    assert stored is not None
    environ = {
        "PLAID_CLIENT_ID": local_plaid.client_id,
        "PLAID_SECRET": local_plaid.secret,
        "PLAID_BASE_URL": local_plaid.url,
        "PYTHONPATH": ":".join(sys.path),
    }
    ended = subprocess.run(
        [sys.executable, "-c", _RESUME],
        input=json.dumps(stored.to_dict()),
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    result = LinkResult.from_dict(json.loads(ended.stdout))
    assert result.complete
    assert [each.key for each in result.processor_tokens] == [each.key for each in stored.pending]
    assert result.access_token == stored.access_token


# --- the linker itself


@rows("client", [None, "client", object()])
def test_a_linker_needs_a_client(client: Any) -> None:
    """Anything but a PlaidClient is a TypeError."""
    with pytest.raises(TypeError, match="PlaidClient"):
        ProcessorLinker(client)


@rows(
    ("args", "kwargs", "words"),
    [
        (("layer",), {"public_token": "x", "acounts": []}, "unexpected keyword argument 'acounts'"),
        (("layer",), {}, "missing 1 required keyword-only argument: 'public_token'"),
        (("layer", "x"), {"public_token": "x"}, "takes 2 positional arguments but 3"),
    ],
)
@rows("kind", [ProcessorLinker, AsyncProcessorLinker])
def test_arguments_that_are_none(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    kind: Any,
    args: Any,
    kwargs: Any,
    words: str,
) -> None:
    """A misspelled or missing argument is told in the name of the method that was called."""

    async def call() -> None:
        linked = kind(faulty_linker.client).link(*args, **kwargs)
        if kind is AsyncProcessorLinker:
            await linked

    with pytest.raises(TypeError, match=rf"^{kind.__name__}\.link\(\) (got an )?{words}"):
        asyncio.run(call())
    assert faulty.requests == []


def test_closing_the_linker_closes_its_client(local_plaid: LocalSandbox) -> None:
    """A linker is a context manager; its client ends with it."""
    with ProcessorLinker(local_plaid.client()) as linker:
        access_token = linker.link_sandbox("finix").access_token
    with pytest.raises(ConfigurationError, match="closed"):
        linker.accounts(access_token)
