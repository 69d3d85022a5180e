"""Plaid's errors and ours: the right class, what to do next, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

import plaid_processors
from plaid_processors import (
    AccessTokenError,
    Account,
    AccountSelectionError,
    AuthenticationError,
    ConfigurationError,
    Duplicate,
    DuplicateItemError,
    Environment,
    InvalidRequestError,
    ItemLoginRequiredError,
    ItemNotFoundError,
    ItemNotSupportedError,
    LinkIncompleteError,
    LinkInProgressError,
    LinkResult,
    LinkSession,
    LinkSessionError,
    NotEnabledError,
    PendingToken,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorLinker,
    ProcessorNotEnabledError,
    PublicTokenError,
    RateLimitError,
    RequestError,
    SessionItem,
    SessionState,
    UnknownProcessorError,
    WebhookVerificationError,
    unfinished,
)
from plaid_processors._plaid.answers import api_error

from .support.checks import ERRORS
from .support.faulty import ACCESS_TOKEN, ACCOUNTS, EXCHANGE, PUBLIC_TOKEN, FaultyPlaid, refusal
from .support.rows import rows

A = Account(account_id="A", subtype="checking", mask="0000")
RESULT = LinkResult(
    access_token=ACCESS_TOKEN,
    environment=Environment.SANDBOX,
    entries=(PendingToken(processor="layer", account=A),),
)
_PLAIDS: dict[str, Any] = {
    "error_type": "INVALID_INPUT",
    "error_code": "INVALID_FIELD",
    "error_message": "what is wrong",
    "display_message": "for the user",
    "request_id": "r1",
    "http_status": 400,
    "documentation_url": "https://plaid.com/docs/errors/",
    "endpoint": "/accounts/get",
    "retryable": True,
    "outcome_unknown": True,
}


def _example(kind: type[PlaidProcessorsError]) -> PlaidProcessorsError:
    """An error of a class, with every attribute set."""
    if issubclass(kind, PlaidApiError):
        return kind(**_PLAIDS)
    if issubclass(kind, PlaidConnectionError):
        return kind("reset", endpoint="/x", http_status=502, outcome_unknown=True, retryable=False)
    if issubclass(kind, RequestError):
        return kind(endpoint="/x", advice="wait")
    if issubclass(kind, LinkIncompleteError):
        inner = PublicTokenError(**_PLAIDS)
        return kind("incomplete", result=RESULT, errors=[(RESULT.pending[0], inner)])
    if issubclass(kind, DuplicateItemError):
        found = Duplicate(
            result=RESULT, accounts=(A,), same_accounts=True, earlier_may_be_dead=True
        )
        return kind([found])
    if issubclass(kind, LinkSessionError):
        failure = (SessionItem(public_token="p"), PublicTokenError(**_PLAIDS))
        session = LinkSession(state=SessionState.SUCCESS)
        return kind("1 of 2", session=session, results=[RESULT], failures=[failure])
    if issubclass(kind, AccountSelectionError):
        return kind("refused", processor="finix", accounts=[A], eligible=[A])
    if issubclass(kind, UnknownProcessorError):
        return kind("finx", suggestions=["finix"], known=["finix", "layer"])
    if issubclass(kind, WebhookVerificationError):
        return kind("too_old", age=301.5)
    if issubclass(kind, LinkInProgressError):
        return kind("another is at it", retry_after=30.5)
    return kind("words")


def _state(error: BaseException) -> object:
    """All that an error carries, comparable."""

    def comparable(value: object) -> object:
        if isinstance(value, BaseException):
            return _state(value)
        return tuple(map(comparable, value)) if isinstance(value, tuple) else value

    kept = {name: comparable(value) for name, value in vars(error).items()}
    return type(error), str(error), error.args, kept


@rows("kind", ERRORS, ids=lambda each: each.__name__)
def test_errors_pickle(kind: type[PlaidProcessorsError]) -> None:
    """Every exported error survives a pickle, attributes and words."""
    error = _example(kind)
    assert _state(pickle.loads(pickle.dumps(error))) == _state(error)


@rows("kind", [ConfigurationError, UnknownProcessorError, AccountSelectionError])
def test_mistakes_are_value_errors(kind: type[Exception]) -> None:
    """What the caller got wrong is a ValueError too."""
    assert issubclass(kind, ValueError)


def test_all_that_is_exported_shares_the_base() -> None:
    """Each exception that can be imported is a PlaidProcessorsError."""
    exported = [getattr(plaid_processors, name) for name in plaid_processors.__all__]
    exceptions = [e for e in exported if isinstance(e, type) and issubclass(e, BaseException)]
    assert len(exceptions) >= 18
    assert all(issubclass(each, PlaidProcessorsError) for each in exceptions)


@rows(
    "kind", [each for each in ERRORS if issubclass(each, PlaidApiError)], ids=lambda e: e.__name__
)
def test_words_of_an_api_error(kind: type[PlaidApiError]) -> None:
    """An error of Plaid's says type, code, message, place, request id and advice."""
    error = kind(**_PLAIDS)
    for part in ("INVALID_INPUT", "INVALID_FIELD", "what is wrong", "/accounts/get", "r1"):
        assert part in str(error)
    assert error.advice in str(error)
    assert error.advice.strip()


# --- Plaid's answer → the exception

_CASES: list[tuple[str, str, type[PlaidApiError]]] = [
    ("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", PublicTokenError),
    ("INVALID_INPUT", "INVALID_ACCESS_TOKEN", AccessTokenError),
    ("INVALID_INPUT", "INVALID_API_KEYS", AuthenticationError),
    ("INVALID_INPUT", "INVALID_PROCESSOR", InvalidRequestError),
    ("INVALID_REQUEST", "MISSING_FIELDS", InvalidRequestError),
    ("INVALID_REQUEST", "UNKNOWN_FIELDS", InvalidRequestError),
    ("ITEM_ERROR", "ITEM_LOGIN_REQUIRED", ItemLoginRequiredError),
    ("ITEM_ERROR", "ITEM_NOT_FOUND", ItemNotFoundError),
    ("ITEM_ERROR", "ITEM_NOT_SUPPORTED", ItemNotSupportedError),
    ("ITEM_ERROR", "A_CODE_OF_NEXT_YEAR", PlaidApiError),
    ("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", RateLimitError),
    ("RATE_LIMIT_EXCEEDED", "A_LIMIT_OF_NEXT_YEAR", RateLimitError),
    ("RATE_LIMIT_EXCEEDED", "CREDITS_EXHAUSTED", NotEnabledError),
    ("API_ERROR", "INTERNAL_SERVER_ERROR", PlaidUnavailableError),
    ("API_ERROR", "A_FAULT_OF_NEXT_YEAR", PlaidUnavailableError),
    ("INSTITUTION_ERROR", "INSTITUTION_DOWN", PlaidUnavailableError),
    ("INVALID_REQUEST", "A_CHECK_OF_NEXT_YEAR", InvalidRequestError),
    ("A_TYPE_OF_NEXT_YEAR", "A_CODE_OF_NEXT_YEAR", PlaidApiError),
]


@rows(("error_type", "code", "kind"), _CASES)
def test_class_of_an_error(error_type: str, code: str, kind: type[PlaidApiError]) -> None:
    """The code decides, else the type; what is new is still an error of Plaid's."""
    body = {"error_type": error_type, "error_code": code, "error_message": "m"}
    error = api_error("/accounts/get", 400, body)
    assert type(error) is kind


@rows(
    "body",
    [
        {},
        {"error_type": "X"},
        {"error_type": None, "error_code": None},
        {"error_type": 5, "error_code": ["X"]},
    ],
)
def test_what_is_no_error_of_plaids(body: dict[str, object]) -> None:
    """A body without a code is not taken for an error."""
    assert api_error("/accounts/get", 400, body) is None


@rows("more", [{}, {"error_type": None}, {"error_type": 5}], ids=repr)
def test_an_error_without_a_type(more: dict[str, object]) -> None:
    """The code alone tells the class, and what to do next."""
    error = api_error("/item/remove", 400, {"error_code": "ITEM_NOT_FOUND", **more})
    assert type(error) is ItemNotFoundError
    assert error.error_type == ""
    assert str(error).startswith("ITEM_NOT_FOUND [/item/remove")


@rows(
    ("code", "message", "kind"),
    [
        ("INVALID_FIELD", "client_id must be a properly formatted, non-empty string", True),
        ("INVALID_FIELD", "secret must be a properly formatted, non-empty string", True),
        ("MISSING_FIELDS", "the following required fields are missing: client_id, secret", True),
        ("MISSING_FIELDS", "the following required fields are missing: client_name", False),
        ("INVALID_FIELD", "user.client_user_id must be a non-empty string", False),
        ("UNKNOWN_FIELDS", "the following fields are not recognized: secret", False),
    ],
)
def test_mistyped_keys(code: str, message: str, kind: bool) -> None:
    """A wrong or missing key is told by its name alone, and means: check the keys."""
    body = {"error_type": "INVALID_REQUEST", "error_code": code, "error_message": message}
    expected = AuthenticationError if kind else InvalidRequestError
    assert type(api_error("/accounts/get", 400, body)) is expected


@rows("odd", [None, 5, [], {}, True])
def test_odd_values_in_an_error(odd: object) -> None:
    """Nulls and odd values beside type and code do not break an error."""
    names = ("error_message", "display_message", "request_id", "documentation_url", "new")
    body = {"error_type": "T", "error_code": "C", **dict.fromkeys(names, odd)}
    error = api_error("/accounts/get", 400, body)
    assert error is not None
    assert (error.error_message, error.display_message, error.request_id) == ("", None, None)
    assert "T / C" in str(error)


def test_an_error_keeps_all_that_plaid_said(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Type, code, messages, request id, status and page arrive in the exception."""
    faulty.on(
        ACCOUNTS,
        refusal(
            "ITEM_ERROR",
            "ITEM_LOGIN_REQUIRED",
            "the login details of this item have changed",
            display_message="Please sign in again",
            documentation_url="https://plaid.com/docs/errors/item/#item_login_required",
        ),
    )
    with pytest.raises(ItemLoginRequiredError, match="update mode") as caught:
        faulty_linker.accounts(ACCESS_TOKEN)
    error = caught.value
    assert (error.error_type, error.error_code) == ("ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
    assert error.error_message == "the login details of this item have changed"
    assert error.display_message == "Please sign in again"
    assert (error.request_id, error.http_status) == ("req-refused", 400)
    assert error.documentation_url == "https://plaid.com/docs/errors/item/#item_login_required"
    assert error.endpoint == ACCOUNTS
    assert not error.outcome_unknown


@rows(
    ("path", "kind"),
    [
        ("/processor/token/create", ProcessorNotEnabledError),
        ("/processor/stripe/bank_account_token/create", ProcessorNotEnabledError),
        ("/link/token/create", NotEnabledError),
    ],
)
def test_invalid_product(path: str, kind: type[PlaidApiError]) -> None:
    """INVALID_PRODUCT means a partner that is not enabled only where a partner's token is made."""
    error = api_error(path, 400, {"error_type": "INVALID_INPUT", "error_code": "INVALID_PRODUCT"})
    assert type(error) is kind


@rows(
    ("status", "code", "unknown"),
    [
        (400, "C", False),
        (400, "INTERNAL_SERVER_ERROR", True),
        (429, "C", False),
        (499, "C", False),
        (500, "C", True),
        (503, "C", True),
    ],
)
def test_outcome_of_an_error(status: int, code: str, unknown: bool) -> None:
    """After a server's own fault it is unknown whether Plaid acted."""
    body = {"error_type": "API_ERROR", "error_code": code, "request_id": "req-1"}
    error = api_error("/x", status, body)
    assert error is not None
    assert error.outcome_unknown is unknown
    assert (error.http_status, error.request_id, error.endpoint) == (status, "req-1", "/x")


# --- decided on what Plaid sent

FORMAT = (
    "provided public token is in an invalid format. expected format: "
    "public-<environment>-<identifier>"
)


@rows(
    "placeholder",
    [
        "PUBLIC_TOKEN",
        "INVALID_PUBLIC_TOKEN",
        "INVALID_INPUT",
        "TOKEN",
        "public token",
        "provided public token is in",
        "invalid format",
        "I",
        "_",
    ],
)
def test_placeholders_do_not_change_the_error(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, placeholder: str
) -> None:
    """Whatever stands where the public token belongs, Plaid's refusal keeps its class and code."""
    faulty.on(EXCHANGE, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", FORMAT))
    with pytest.raises(PublicTokenError, match="INVALID_INPUT / INVALID_PUBLIC_TOKEN") as caught:
        faulty_linker.link("layer", public_token=placeholder)
    assert caught.value.error_code == "INVALID_PUBLIC_TOKEN"
    assert "as Link gave it" in caught.value.advice


@rows("placeholder", ["access_token", "ACCESS_TOKEN", "INVALID_ACCESS_TOKEN", "access", "ITEM"])
def test_placeholders_of_access_tokens(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, placeholder: str
) -> None:
    """An access token is no different, and its message is shown as it came."""
    message = "could not find matching access token"
    faulty.on(ACCOUNTS, refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN", message))
    with pytest.raises(AccessTokenError, match=message) as caught:
        faulty_linker.accounts(placeholder)
    assert caught.value.error_code == "INVALID_ACCESS_TOKEN"


@rows(
    ("client_id", "secret"),
    [
        ("client_id", "secret"),
        ("YOUR_CLIENT_ID", "YOUR_SECRET"),
        ("INVALID", "INVALID_API_KEYS"),
        ("or", "provided"),
        ("must", "string"),
        ("plaid-client-id", "client_id or secret"),
    ],
)
@rows(
    ("code", "message"),
    [
        ("INVALID_API_KEYS", "invalid client_id or secret provided"),
        ("INVALID_FIELD", "client_id must be a properly formatted, non-empty string"),
        ("MISSING_FIELDS", "the following required fields are missing: client_id, secret"),
    ],
)
def test_placeholders_of_keys(
    faulty: FaultyPlaid, make_client: Any, client_id: str, secret: str, code: str, message: str
) -> None:
    """Keys that are words of Plaid's message are wrong keys, and the message is legible."""
    faulty.on(ACCOUNTS, refusal("INVALID_REQUEST", code, message))
    keys = {"client_id": client_id, "secret": secret.replace(" ", "-")}
    linker = ProcessorLinker(make_client(**keys))
    with pytest.raises(AuthenticationError, match=message) as caught:
        linker.accounts(ACCESS_TOKEN)
    assert caught.value.error_code == code


def test_a_secret_is_masked_in_texts_and_not_in_codes(
    faulty: FaultyPlaid, make_client: Any
) -> None:
    """What can be a secret is masked wherever Plaid repeats it; a token in every place."""
    secret = "5e" * 15
    more = {"display_message": f"for {secret}", "documentation_url": f"https://x/{secret}"}
    code = f"CODE_{ACCESS_TOKEN}"
    faulty.on(ACCOUNTS, refusal("INVALID_INPUT", code, f"wrong {secret} {PUBLIC_TOKEN}", **more))
    with pytest.raises(InvalidRequestError) as caught:
        ProcessorLinker(make_client(secret=secret)).accounts(ACCESS_TOKEN)
    shown = f"{caught.value} {vars(caught.value)}"
    for each in (secret, ACCESS_TOKEN, PUBLIC_TOKEN):
        assert each not in shown
    assert "wrong …" in caught.value.error_message


@rows("name", ["error_type", "error_code"])
def test_a_secret_in_a_code(name: str) -> None:
    """Letters alone are a code, whatever the key; what has a digit is none, and is masked."""
    for secret, shown in (("CORRECT_HORSE_BATTERY_STAPLE", "same"), ("5E" * 15, "…")):
        body = {"error_type": "T", "error_code": "C", name: secret}
        error = api_error("/x", 400, body, (secret,))
        assert getattr(error, name) == (secret if shown == "same" else shown)


@rows(
    ("path", "code", "message", "said", "not_said"),
    [
        ("/link/token/create", "INVALID_PRODUCT",
         'client is not authorized to access the following products: ["balance"]',
         "Leave balance out", "access to"),
        ("/sandbox/public_token/create", "INVALID_PRODUCT",
         'client is not authorized to access the following products: ["auth", "balance"]',
         "Leave balance out", "access to"),
        ("/link/token/create", "INVALID_PRODUCT",
         'client is not authorized to access the following products: ["balance_plus"]',
         "products that Plaid's message names", "balance"),
        ("/link/token/create", "INVALID_PRODUCT",
         'client is not authorized to access the following products: ["identity_verification"]',
         "products that Plaid's message names", "balance"),
        ("/processor/token/create", "INVALID_PRODUCT",
         "The provided API keys are not enabled for the Straddle integration.",
         "Enable the partner", "message names"),
        ("/link/token/create", "PRODUCTS_NOT_SUPPORTED",
         "the following products are not supported by this institution: [auth]",
         "leave them out", "another account"),
        ("/item/public_token/exchange", "INVALID_PUBLIC_TOKEN", FORMAT,
         "as Link gave it", "exchanged before"),
        ("/item/public_token/exchange", "INVALID_PUBLIC_TOKEN",
         "provided public token is for the wrong Plaid environment",
         "environment", "go through Link again"),
        ("/item/public_token/exchange", "INVALID_PUBLIC_TOKEN",
         "could not find matching public token", "go through Link again", "format"),
        ("/link/token/create", "INVALID_FIELD", "client_name must be a non-empty string",
         "Plaid's message says", "product"),
    ],
)  # fmt: skip
def test_advice_does_not_contradict_the_message(
    path: str, code: str, message: str, said: str, not_said: str
) -> None:
    """Where Plaid's message says more than the code, the advice follows it."""
    body = {"error_type": "INVALID_INPUT", "error_code": code, "error_message": message}
    error = api_error(path, 400, body)
    assert error is not None
    assert said in error.advice
    assert not_said not in error.advice


# --- unfinished


def test_unfinished_of_an_incomplete_link() -> None:
    """A LinkIncompleteError gives its result, also from deep inside a chain or a group."""
    inner = LinkIncompleteError("incomplete", result=RESULT)
    outer = RuntimeError("mine")
    outer.__cause__ = inner
    group = BaseExceptionGroup("several", [KeyError("a"), outer])
    assert [unfinished(each) for each in (inner, outer, group)] == [RESULT] * 3


@rows("error", [None, ValueError("x"), KeyboardInterrupt()])
def test_unfinished_of_anything_else(error: BaseException | None) -> None:
    """Where no link was under way there is no result."""
    assert unfinished(error) is None


def test_unfinished_of_a_circle() -> None:
    """A chain that bites its tail ends all the same."""
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert unfinished(one) is None


def _raised_while_handling(error: BaseException, last: BaseException) -> BaseException:
    last.__context__ = error  # as Python does without "from"
    return last


@rows("last", [ValueError("B's own"), KeyboardInterrupt(), TimeoutError()])
def test_unfinished_is_not_of_another_link(last: BaseException) -> None:
    """What fails while one link's error is handled does not give that link's Item."""
    of_another = LinkIncompleteError("incomplete", result=RESULT)
    assert unfinished(_raised_while_handling(of_another, last)) is None


def _with_item(error: BaseException) -> BaseException:
    """As a link leaves an exception that it lets out."""
    error.__plaid_processors_unfinished__ = SimpleNamespace(take=lambda: RESULT)  # type: ignore[attr-defined]
    return error


def test_unfinished_of_a_cancellation_that_became_another_error() -> None:
    """The KeyboardInterrupt that asyncio.run makes of a cancellation has its Item."""
    cancelled = _with_item(asyncio.CancelledError())
    became = _raised_while_handling(cancelled, KeyboardInterrupt())
    assert unfinished(became) == RESULT
    became.__suppress_context__ = True
    assert unfinished(became) is None
    assert unfinished(_raised_while_handling(cancelled, ValueError("mine"))) is None


def test_unfinished_of_a_second_interruption() -> None:
    """Ctrl-C that is pressed again while the first comes out has the first one's Item."""
    first = _with_item(KeyboardInterrupt())
    assert unfinished(_raised_while_handling(first, KeyboardInterrupt())) == RESULT
    assert unfinished(_raised_while_handling(first, SystemExit())) == RESULT
    assert unfinished(_raised_while_handling(first, ValueError("mine"))) is None


def test_the_error_of_a_failed_link_pickles(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What the link keeps on it, for `unfinished` to find, does not go along."""
    faulty.on(EXCHANGE, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "no"))
    with pytest.raises(PublicTokenError) as caught:
        faulty_linker.link("layer", public_token=PUBLIC_TOKEN)
    came = pickle.loads(pickle.dumps(caught.value))
    assert (type(came), str(came)) == (PublicTokenError, str(caught.value))
    kept = "__plaid_processors_unfinished__"
    assert set(vars(caught.value)) - set(vars(came)) == {kept}
