"""From the token to the partner: builders, senders, and what no fault may bring about."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import subprocess
import sys
import threading
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from plaid_processors import (
    Account,
    ConfigurationError,
    LinkResult,
    PlaidProcessorsError,
    ProcessorLinker,
    ProcessorToken,
)
from plaid_processors.handoff import (
    AsyncFinixSender,
    AsyncLayerSender,
    FinixSender,
    HandoffError,
    HandoffRefusedError,
    HandoffRequest,
    LayerSender,
    PartnerApiError,
    PartnerConnectionError,
    PaymentInstrument,
    finix_disable_request,
    finix_request,
    layer_request,
)
from plaid_processors.handoff.finix import _open
from plaid_processors.sandbox import LocalFinix, LocalLayer, LocalSandbox

from .support.checks import chain
from .support.faulty import FaultyPlaid, reply
from .support.rows import rows

TOKEN = "processor-sandbox-5e171e1d-aaaa-4bbb-8ccc-0123456789ab"
LIVE = TOKEN.replace("sandbox", "production")


def made_token(processor: str, text: str = TOKEN, account_id: str = "a", **more: Any):
    """A processor token as a link gives it."""
    return ProcessorToken(
        processor=processor,
        account=Account(account_id=account_id, mask="0000"),
        processor_token=text,
        issued_at=datetime.now(UTC),
        **more,
    )


# --- builders


def test_the_request_to_finix() -> None:
    """The builder makes the exact request, with Basic authentication and the version."""
    request = finix_request(made_token("finix"), identity="ID1", credentials=("USuser", "password"))
    code = b64encode(b"USuser:password").decode()
    assert (request.method, request.path) == ("POST", "/payment_instruments")
    assert request.headers == {
        "Content-Type": "application/json",
        "Accept": "application/hal+json",
        "Finix-Version": "2022-02-01",
        "Authorization": f"Basic {code}",
    }
    assert request.json == {
        "identity": "ID1",
        "third_party": "PLAID",
        "third_party_token": TOKEN,
        "type": "BANK_ACCOUNT",
    }


def test_the_request_to_layer() -> None:
    """The builder lists every token once, in order."""
    request = layer_request("biz/1", [made_token("layer"), LIVE, TOKEN])
    assert (request.method, request.path) == ("PUT", "/v1/businesses/biz%2F1")
    assert request.json == {
        "plaid_processor_tokens": [{"processor_token": TOKEN}, {"processor_token": LIVE}]
    }


def test_the_request_that_disables_an_instrument() -> None:
    """As Finix documents it, by the instrument or its id."""
    for given in ("PI1", PaymentInstrument(id="PI1")):
        request = finix_disable_request(given, credentials=("USuser", "password"))
        assert (request.method, request.path) == ("PUT", "/payment_instruments/PI1")
        assert request.json == {"enabled": False}
        assert (
            request.headers
            == finix_request(TOKEN, identity="ID1", credentials=("USuser", "password")).headers
        )
    for wrong in ("", " PI1", TOKEN):
        with pytest.raises(ConfigurationError):
            finix_disable_request(wrong)


def test_a_request_shows_no_secret() -> None:
    """What a request prints can stand in a log."""
    shown = repr(finix_request(TOKEN, identity="ID1", credentials=("USuser", "password")))
    assert "0123456789ab" not in shown
    assert b64encode(b"USuser:password").decode() not in shown
    assert "processor-sandbox-…89ab" in shown
    odd = "odd-SECRET-token-123456"  # a token that does not look like Plaid's
    for request in (finix_request(odd, identity="ID1"), layer_request("b", [odd])):
        assert "SECRET" not in repr(request)


@rows(
    "build",
    [
        lambda: finix_request(made_token("layer"), identity="ID1"),
        lambda: finix_request("access-sandbox-0123456789ab", identity="ID1"),
        lambda: finix_request(" ", identity="ID1"),
        lambda: finix_request(TOKEN, identity=""),
        lambda: layer_request("b", [made_token("finix")]),
        lambda: layer_request("b", []),
        lambda: layer_request("", [TOKEN]),
    ],
)
def test_what_a_builder_refuses(build: Callable[[], HandoffRequest]) -> None:
    """A token of another kind or partner, and a missing id, are refused."""
    with pytest.raises(ConfigurationError) as caught:
        build()
    assert "0123456789ab" not in str(caught.value)


def test_a_token_of_the_wrong_type() -> None:
    """What is no token at all is a TypeError."""
    with pytest.raises(TypeError, match="ProcessorToken or its text"):
        finix_request(5, identity="ID1")  # type: ignore[arg-type]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_handoff_needs_no_extra() -> None:
    """Builders and senders work with the package's own dependencies."""
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from plaid_processors.handoff import FinixSender, layer_request\n"
        "layer_request('b', ['t']); print(FinixSender(username='u', password='p'))"
    )
    assert python(code) == "<FinixSender sandbox https://finix.sandbox-payments-api.com>"


# --- senders


class Blocking:
    """Calls an asynchronous sender as if it were none, on one loop."""

    def __init__(self, sender: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.sender = sender
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.sender, name)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))


@pytest.fixture(scope="module")
def plaid() -> Iterator[LocalSandbox]:
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def issue(plaid: LocalSandbox) -> Iterator[Callable[..., LinkResult]]:
    """Links a bank and issues tokens."""
    with ProcessorLinker(plaid.client()) as linker:
        yield linker.link_sandbox


@pytest.fixture
def finix(plaid: LocalSandbox) -> Iterator[LocalFinix]:
    with LocalFinix(plaid) as partner:
        yield partner


@pytest.fixture(params=["blocking", pytest.param("awaited", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two kinds of senders; each meets one of the two readings of Layer's PUT."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def layer(plaid: LocalSandbox, kind: str) -> Iterator[LocalLayer]:
    """It is not known whether Layer's PUT appends or replaces."""
    with LocalLayer(plaid, puts="append" if kind == "blocking" else "replace") as partner:
        yield partner


@pytest.fixture
def make(kind: str) -> Iterator[Callable[..., Any]]:
    """Makes senders, blocking ones and awaited ones, that are called alike."""
    with ExitStack() as stack:
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)

        def make_sender(partner: LocalFinix | LocalLayer, **more: Any) -> Any:
            finix = isinstance(partner, LocalFinix)
            if finix:
                given = {"username": partner.username, "password": partner.password}
            else:
                given = {
                    "client_id": partner.client_id,
                    "client_secret": partner.client_secret,
                    "auth_url": partner.url,
                }
            given |= {"base_url": partner.url, "timeout": 5.0, **more}
            if kind == "blocking":
                return stack.enter_context(FinixSender(**given) if finix else LayerSender(**given))
            sender = AsyncFinixSender(**given) if finix else AsyncLayerSender(**given)
            stack.callback(lambda: loop.run_until_complete(sender.close()))
            return Blocking(sender, loop)

        yield make_sender


def asked(partner: LocalFinix | LocalLayer) -> list[str]:
    return [f"{each.method} {each.path.split('/')[-1]}" for each in partner.requests]


def test_finix_makes_an_instrument(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """The token becomes an instrument of the identity, and Finix read the right account."""
    token = issue("finix").token("finix")
    identity = finix.new_identity()
    instrument = make(finix).hand_over(token, identity=identity)
    assert (instrument.identity, instrument.type) == (identity, "BANK_ACCOUNT")
    assert instrument.third_party == "PLAID"
    assert instrument.masked_account_number == "XXXXX0000"
    assert [each.id for each in finix.instruments] == [instrument.id]
    seen = finix.instruments[0]
    assert (seen.account_id, seen.account_number) == (token.account.account_id, "1111222233330000")
    assert seen.routing_number == "011401533"
    assert asked(finix) == ["GET payment_instruments", "POST payment_instruments"]


def test_an_instrument_that_was_disabled_stands_in_the_way(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """After off-boarding the account counts as known; `again` makes another instrument."""
    token, identity, sender = issue("finix").token("finix"), finix.new_identity(), make(finix)
    made = sender.hand_over(token, identity=identity)
    for given in (made, made.id):  # twice does no harm
        disabled = sender.disable(given)
        assert (disabled.id, disabled.identity, disabled.enabled) == (made.id, identity, False)
    (listed,) = sender.payment_instruments(identity)
    assert (listed.id, listed.enabled) == (made.id, False)
    assert not finix.instruments[-1].enabled
    with pytest.raises(HandoffRefusedError, match="disabled"):
        sender.hand_over(token, identity=identity)
    assert sender.hand_over(token, identity=identity, again=True).enabled


@rows(
    "fault",
    [
        {"status": 500, "work": True},
        {"drop": "after"},
        {"json": {"id": "PIother", "enabled": False}},
        {"json": {"enabled": False}},
        {"field": "enabled", "value": True},
    ],
)
def test_disabling_without_a_usable_answer(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult], fault: Any
) -> None:
    """It is an error whose outcome is unknown, and the same call again does no harm."""
    token, sender = issue("finix").token("finix"), make(finix)
    made = sender.hand_over(token, identity=finix.new_identity())
    if "field" in fault:
        fault = {"json": {**dict(made.raw), fault["field"]: fault["value"]}}
    finix.fail(f"PUT /payment_instruments/{made.id}", **fault)
    with pytest.raises(HandoffError, match="Calling again does no harm") as caught:
        sender.disable(made)
    assert caught.value.outcome_unknown
    assert not sender.disable(made).enabled


def test_an_instrument_that_is_not_there_cannot_be_disabled(finix: LocalFinix, make: Any) -> None:
    """Finix's own refusal."""
    with pytest.raises(PartnerApiError) as caught:
        make(finix).disable("PInothing")
    assert caught.value.http_status == 404


def test_a_narrowed_token_serves_both_partners(
    plaid: LocalSandbox, issue: Callable[..., LinkResult], finix: LocalFinix, make: Any
) -> None:
    """What `narrow` leaves is all that the two stand-ins read."""
    result = issue(["layer", "finix"], narrow=True)
    instrument = make(finix).hand_over(result.token("finix"), identity=finix.new_identity())
    assert instrument.id
    with LocalLayer(plaid) as layer:
        assert make(layer).hand_over(result, business_id=layer.new_business()).changed


def test_twice_makes_no_second_instrument(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """Neither again, nor from another process, nor with a token that was issued anew."""
    result = issue("finix")
    identity = finix.new_identity()
    sender = make(finix)
    first = sender.hand_over(result.token("finix"), identity=identity)
    again = issue("finix", products=["auth", "identity"])
    reissued = made_token("finix", again.token("finix").processor_token)
    for other, token in ((sender, result.token("finix")), (make(finix), reissued)):
        with pytest.raises(HandoffRefusedError, match=first.id) as caught:
            other.hand_over(token, identity=identity)
        assert [each.id for each in caught.value.existing] == [first.id]
        assert not caught.value.outcome_unknown
    assert len(finix.instruments) == 1
    second = sender.hand_over(result.token("finix"), identity=identity, again=True)
    assert [each.id for each in finix.instruments] == [first.id, second.id]


def test_another_account_of_the_identity(finix: LocalFinix, make: Any, plaid: LocalSandbox) -> None:
    """No data of a partner's or of Plaid's proves that it is another: the caller says so."""
    identity = finix.new_identity()
    sender = make(finix)
    with ProcessorLinker(plaid.client()) as linker:
        made = linker.link_sandbox("layer", products=["transactions", "auth", "identity"])
        first, second = (
            linker.issue("finix", access_token=made.access_token, accounts=[each.account])
            for each in made.processor_tokens[:2]
        )
        sender.hand_over(first.token("finix"), identity=identity)
        with pytest.raises(HandoffRefusedError, match="again=True"):
            sender.hand_over(second.token("finix"), identity=identity)
        assert len(finix.instruments) == 1
        sender.hand_over(second.token("finix"), identity=identity, again=True)
    assert [each.subtype for each in finix.instruments] == ["checking", "savings"]
    assert len(sender.payment_instruments(identity)) == 2


@rows("again", ["no", "false", 1, 0, [0], None, "yes"])
def test_the_callers_word_is_true_or_false(
    again: Any, finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """A text that is true for Python is nobody's word."""
    with pytest.raises(TypeError, match="again must be True or False"):
        make(finix).hand_over(
            issue("finix").token("finix"), identity=finix.new_identity(), again=again
        )
    assert finix.requests == ()


def test_senders_side_by_side_make_one_instrument(
    finix: LocalFinix, issue: Callable[..., LinkResult]
) -> None:
    """A sender for each request, as a web server's threads have them."""
    token, identity = issue("finix").token("finix"), finix.new_identity()
    finix.fail("GET /payment_instruments", delay=0.5)  # so that the others could overtake it
    keys = {"username": finix.username, "password": finix.password, "base_url": finix.url}

    def hand_over() -> str:
        try:
            with FinixSender(**keys) as sender:
                return sender.hand_over(token, identity=identity).id
        except HandoffRefusedError:
            return "refused"

    with ThreadPoolExecutor(6) as pool:
        outcomes = [each.result() for each in [pool.submit(hand_over) for _ in range(6)]]
    assert outcomes.count("refused") == 5
    assert len(finix.instruments) == 1


@rows("partner", ["finix", "layer"])
def test_an_expired_token_is_not_handed_over(
    partner: str, finix: LocalFinix, layer: LocalLayer, make: Any
) -> None:
    """The partner could not use it."""
    old = made_token(partner, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    if partner == "finix":
        hand_over = partial(make(finix).hand_over, old, identity=finix.new_identity())
    else:
        hand_over = partial(make(layer).hand_over, [old], business_id=layer.new_business())
    with pytest.raises(ConfigurationError, match="expired"):
        hand_over()


@rows("type_", ["PAYMENT_CARD", "GOOGLE_PAY", "APPLE_PAY"])
def test_a_card_is_no_bank_account(
    type_: str, finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """It does not stand in the way."""
    there = {"id": "PI1", "type": type_, "masked_account_number": "0000"}
    finix.fail("GET /payment_instruments", json={"_embedded": {"payment_instruments": [there]}})
    made = make(finix).hand_over(issue("finix").token("finix"), identity=finix.new_identity())
    assert made.type == "BANK_ACCOUNT"


CARD = {"id": "PI1", "type": "PAYMENT_CARD"}

CHASE = {
    "type": "depository",
    "subtype": "checking",
    "starting_balance": 10,
    "numbers": {"account": "8000111122229876"},
    "meta": {"name": "Total Checking", "mask": "1234"},
}


@rows(
    ("bank", "verify"),
    [
        ("ins_56", False),
        ("ins_13", True),
        ("ins_127990", True),
        ("ins_109508", False),
        ("ins_109508", True),
        ("ins_3", True),
    ],
)
def test_digits_that_cannot_tell_make_no_second_instrument(
    bank: str, verify: bool, finix: LocalFinix, make: Any, plaid: LocalSandbox
) -> None:
    """Where each link has another number, and where only the browser told of the account.

    It is tried with new senders, a stored result, the token's text, and a token of a second link.
    """
    password = json.dumps({"override_accounts": [CHASE]})
    identity, tried = finix.new_identity(), 0
    with ProcessorLinker(plaid.client()) as linker:

        def link() -> LinkResult:
            given = linker.create_link_token("finix", client_user_id="u", client_name="Acme")
            done = plaid.complete_link(
                given.link_token, bank, username="user_custom", password=password
            )
            return linker.link(
                "finix",
                public_token=done.public_token,
                metadata=done.metadata,
                verify_accounts=verify,
            )

        result = link()
        token = result.token("finix")
        first = make(finix).hand_over(token, identity=identity)
        assert not str(first.masked_account_number).endswith("1234")
        stored = LinkResult.from_dict(json.loads(json.dumps(result.to_dict()))).token("finix")
        for again in (token, stored, token.processor_token, link().token("finix")):
            with pytest.raises(HandoffRefusedError, match="cannot tell") as caught:
                make(finix).hand_over(again, identity=identity)
            assert [each.id for each in caught.value.existing] == [first.id]
            assert "again=True" in caught.value.advice
            tried += 1
    assert tried == 4
    assert sum(each.identity == identity for each in finix.instruments) == 1


@rows(
    "there",
    [
        {"id": "PI1", "type": "BANK_ACCOUNT", "masked_account_number": "XXXXX0000"},  # typed
        {"id": "PI1", "type": "BANK_ACCOUNT", "masked_account_number": None},
        {"id": "PI1", "type": "BANK_ACCOUNT"},
        {"id": "PI1", "third_party": "OTHER", "masked_account_number": "XXXXX0000"},
        {"id": "PI1", "type": "BANK_ACCOUNT", "masked_account_number": "0000", "enabled": False},
        {"id": "PI1", "type": "VIRTUAL"},
    ],
)
def test_what_may_be_the_account_stands_in_the_way(
    there: dict[str, Any], finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """Also an instrument that was typed in, shows no digits, or is disabled."""
    finix.fail("GET /payment_instruments", json={"_embedded": {"payment_instruments": [there]}})
    with pytest.raises(HandoffRefusedError, match="PI1") as caught:
        make(finix).hand_over(issue("finix").token("finix"), identity=finix.new_identity())
    [existing] = caught.value.existing
    assert isinstance(existing, PaymentInstrument)
    assert existing.enabled == there.get("enabled", True)
    assert finix.instruments == ()


@rows(
    "answer",
    [
        {},
        {"_embedded": {}},
        {"_embedded": {"payment_instruments": None}},
        {"_embedded": {"payment_instruments": {"0": {}}}},
        {"_embedded": {"payment_instruments": [{"type": "BANK_ACCOUNT"}]}},
        {"_embedded": {"payment_instruments": ["PI1"]}},
        {"_embedded": {"payment_instruments": [{"id": "PI1", "identity": "ID-other"}]}},
        {"_embedded": {"payment_instruments": [{"id": "PI1", "identity": {"id": "other"}}]}},
        {"_embedded": {"payment_instruments": [{"id": "PI1", "owner_identity_id": "other"}]}},
        {"_embedded": {"payment_instruments": [
            {"id": "PI1", "_links": {"identity": {"href": "https://finix.example/identities/ID9"}}},
        ]}},
        # Lists that are visibly not whole.
        {"page": None},
        {"page": {"offset": 0, "limit": 20, "count": 1}},
        {"page": {"count": 2}, "_embedded": {"payment_instruments": [CARD]}},
        {"page": {"next_cursor": 5}, "_embedded": {"payment_instruments": [CARD]}},
        {"has_more": True, "_embedded": {"payment_instruments": [CARD]}},
        {"_links": {"next": {"href": "/x"}}, "_embedded": {"payment_instruments": [CARD]}},
        {"_links": {"next": {}}, "page": {"count": 9},
         "_embedded": {"payment_instruments": [CARD]}},
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_makes_no_instrument(
    answer: dict[str, Any], finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """What is there is not known then; nothing was changed."""
    finix.fail("GET /payment_instruments", json=answer)
    with pytest.raises(PartnerConnectionError) as caught:
        make(finix).hand_over(issue("finix").token("finix"), identity=finix.new_identity())
    assert not caught.value.outcome_unknown
    assert finix.instruments == ()


def test_an_instrument_on_a_later_page_is_found(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """The list is read to its end."""
    token = issue("finix").token("finix")
    identity = finix.new_identity()
    sender = make(finix)
    for _ in range(21):
        sender.hand_over(token, identity=identity, again=True)
    assert len(sender.payment_instruments(identity)) == 21
    with pytest.raises(HandoffRefusedError):
        sender.hand_over(token, identity=identity)


def test_what_finix_refuses(finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]) -> None:
    """Its errors come out typed, with their codes, and a refusal is no unknown outcome."""
    sender = make(finix)
    token = issue("finix").token("finix")
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over(token, identity="IDnobody")
    error = caught.value
    assert (error.http_status, error.codes) == (422, ("INVALID_FIELD",))
    assert (error.faults[0].field, error.outcome_unknown) == ("identity", False)
    with pytest.raises(PartnerApiError, match="INVALID_PROCESSOR_TOKEN"):
        sender.hand_over(made_token("finix"), identity=finix.new_identity())
    with pytest.raises(PartnerApiError) as wrong_keys:
        make(finix, password="wrong").hand_over(token, identity="ID1")
    assert (wrong_keys.value.http_status, wrong_keys.value.codes) == (401, ("UNKNOWN",))
    assert "Check the keys" in wrong_keys.value.advice
    assert pickle.loads(pickle.dumps(error)).codes == error.codes


def test_finix_takes_no_credit_card_and_no_token_without_identity(
    finix: LocalFinix, make: Any, plaid: LocalSandbox
) -> None:
    """The stand-in reads what Finix reads: Auth, Identity, and the subtype."""
    with ProcessorLinker(plaid.client()) as linker:
        made = linker.link_sandbox("layer")
        card = made.processor_tokens[3]
        sender = make(finix)
        for text in (card.processor_token, made.processor_tokens[2].processor_token):
            with pytest.raises(PartnerApiError):
                sender.hand_over(made_token("finix", text), identity=finix.new_identity())
    assert finix.instruments == ()


# --- Layer


def test_layer_gets_all_tokens(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """One request for all; Layer then has each account with its transactions."""
    result = issue("layer")
    business = layer.new_business()
    done = make(layer).hand_over(result, business_id=business)
    assert (done.sent, done.new, done.before) == (14, result.processor_tokens, ())
    books = layer.books(business)
    assert [each.mask for each in books][:4] == ["0000", "1111", "2222", "3333"]
    assert books[0].transactions > 0
    assert asked(layer) == ["POST token", "GET accounts", f"PUT {business}", "GET accounts"]


def test_layer_twice_sends_nothing(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """Where nothing is new, the business is left alone."""
    result, business, sender = issue("layer"), layer.new_business(), make(layer)
    sender.hand_over(result, business_id=business)
    layer.clear_requests()
    done = sender.hand_over(result.processor_tokens, business_id=business)
    assert (done.changed, done.new, done.sent, len(done.before)) == (False, (), 0, 14)
    assert asked(layer) == ["GET accounts"]


@pytest.mark.slow
def test_layer_keeps_the_business_other_banks(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """A second bank's tokens do not drop the first's, whatever a PUT means."""
    first, second, business = issue("layer"), issue("layer"), layer.new_business()
    sender = make(layer)
    sender.hand_over(first, business_id=business)
    done = sender.hand_over(second, business_id=business)
    assert (done.sent, len(done.new)) == (28, 14)
    held = {each.processor_token for each in layer.books(business)}
    tokens = (*first.processor_tokens, *second.processor_tokens)
    assert held == {each.processor_token for each in tokens}


def test_layer_gets_a_token_that_was_issued_anew(
    layer: LocalLayer, make: Any, plaid: LocalSandbox
) -> None:
    """A new token of a known account is new, and takes the place of the older one."""
    business, sender = layer.new_business(), make(layer)
    with ProcessorLinker(plaid.client()) as linker:
        result = linker.link_sandbox("layer")
        sender.hand_over(result, business_id=business)
        account = result.processor_tokens[0].account
        anew = linker.issue("layer", access_token=result.access_token, accounts=[account])
    done = sender.hand_over(anew, business_id=business)
    assert (done.new, done.sent) == (anew.processor_tokens, 14)
    books = layer.books(business)
    assert len(books) == 14
    assert anew.processor_tokens[0].processor_token in {each.processor_token for each in books}
    assert not sender.hand_over(result.merge(anew), business_id=business).changed


@pytest.mark.slow
def test_layer_leaves_what_was_archived(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """An account that was archived at Layer is not woken by the next hand-off."""
    first, second, business = issue("layer"), issue("layer"), layer.new_business()
    sender = make(layer)
    sender.hand_over(first, business_id=business)
    layer.archive(business, first.processor_tokens[0].account.account_id)
    assert not sender.hand_over(first, business_id=business).changed
    assert sender.hand_over(second, business_id=business).sent == 27
    assert sum(each.archived for each in layer.books(business)) == 1
    assert sum(each.archived for each in sender.accounts(business)) == 1


def test_layer_that_does_not_tell_its_tokens(
    layer: LocalLayer, make: Any, two_banks: tuple[LinkResult, LinkResult]
) -> None:
    """Where other accounts' tokens cannot be read back, nothing is sent that might drop them."""
    (first, second), business = two_banks, layer.new_business()
    sender = make(layer)
    sender.hand_over(first, business_id=business)
    rows = [{**each.view(), "plaid_processor_token": None} for each in layer.books(business)]
    path = f"GET /v1/businesses/{business}/plaid/accounts"
    layer.fail(path, times=None, json={"data": rows})
    with pytest.raises(HandoffRefusedError, match="2 accounts") as caught:
        sender.hand_over(second, business_id=business)
    assert len(caught.value.existing) == 2
    assert len(layer.books(business)) == 2
    both = (*first.processor_tokens, *second.processor_tokens)
    done = sender.hand_over(both, business_id=business)
    assert done.sent == 4
    assert done.missing == tuple(each.account.account_id for each in second.processor_tokens)
    assert len(layer.books(business)) == 4


def test_of_two_tokens_of_an_account_the_newer_is_sent(layer: LocalLayer) -> None:
    """A list that holds an older token too does not send it."""
    from plaid_processors.handoff.layer_tokens import tokens_for_layer

    old, new = made_token("layer"), made_token("layer", LIVE)
    old = ProcessorToken(
        processor="layer",
        account=old.account,
        processor_token=TOKEN,
        issued_at=new.issued_at - timedelta(days=1),
    )
    assert tokens_for_layer([new, old]) == (new,)


def test_the_bearer_token_is_kept_until_it_expires(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """One bearer token serves many calls; one that is withdrawn or over is asked for anew."""
    business, sender = layer.new_business(), make(layer)
    for _ in range(3):
        sender.accounts(business)
    assert asked(layer).count("POST token") == 1
    layer.forget_bearers()
    sender.accounts(business)
    assert asked(layer).count("POST token") == 2
    layer.bearer_seconds = 30
    layer.forget_bearers()
    for _ in range(2):
        sender.accounts(business)
    assert asked(layer).count("POST token") == 4


def test_what_layer_refuses(layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]) -> None:
    """Its errors come out typed, with their codes."""
    result, sender = issue("layer"), make(layer)
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over(result, business_id="nobody")
    assert (caught.value.http_status, caught.value.codes) == (404, ("SpecifiedIdNotFound",))
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over([made_token("layer")], business_id=layer.new_business())
    assert (caught.value.codes, caught.value.outcome_unknown) == (("SpecifiedBadRequest",), False)
    with pytest.raises(PartnerApiError) as caught:
        make(layer, client_secret="wrong").accounts("b")
    assert (caught.value.http_status, caught.value.codes) == (401, ("invalid_client",))


# --- what is refused before any request


@rows(("text", "environment"), [(TOKEN, "production"), (LIVE, "sandbox")], ids=["live", "sandbox"])
def test_a_token_of_another_environment_is_not_sent(
    text: str, environment: str, finix: LocalFinix, layer: LocalLayer, make: Any
) -> None:
    """A Sandbox token does not go to a live partner, nor a live one to a partner's sandbox."""
    with pytest.raises(ConfigurationError, match="is not sent to"):
        make(finix, environment=environment).hand_over(made_token("finix", text), identity="ID1")
    with pytest.raises(ConfigurationError, match="is not sent to"):
        make(finix, environment=environment).hand_over(text, identity="ID1", again=True)
    with pytest.raises(ConfigurationError, match="is not sent to"):
        make(layer, environment=environment).hand_over([made_token("layer", text)], business_id="b")
    assert (finix.requests, layer.requests) == ((), ())


@rows(
    "call",
    [
        lambda f, _: f.hand_over(made_token("layer"), identity="ID1"),
        lambda f, _: f.hand_over(TOKEN, identity=""),
        lambda _, s: s.hand_over([made_token("finix")], business_id="b"),
        lambda _, s: s.hand_over([], business_id="b"),
    ],
)
def test_what_a_sender_refuses(call: Any, finix: LocalFinix, layer: LocalLayer, make: Any) -> None:
    """Another partner's token and missing ids are refused before any request."""
    with pytest.raises(ConfigurationError):
        call(make(finix), make(layer))
    assert (finix.requests, [r for r in layer.requests if "token" not in r.path]) == ((), [])


NO_IDS = [
    "",
    " ",
    " ID1",
    "ID1\n",
    '"ID1"',
    "ID\x001",
    "ID\ud800",
    "IDé",
    TOKEN,
    f"ID-{LIVE}",
    None,
    5,
]


@rows("wrong", NO_IDS)
def test_an_id_that_cannot_be_one_is_refused_and_not_shown(
    wrong: Any, finix: LocalFinix, layer: LocalLayer, make: Any
) -> None:
    """Before anything is sent: white space, quotes, lone surrogates, or a token of Plaid's."""
    to_finix, to_layer = make(finix), make(layer)
    for call in (
        lambda: finix_request(TOKEN, identity=wrong),
        lambda: to_finix.hand_over(TOKEN, identity=wrong, again=True),
        lambda: to_finix.payment_instruments(wrong),
        lambda: layer_request(wrong, [TOKEN]),
        lambda: to_layer.hand_over([made_token("layer")], business_id=wrong),
        lambda: to_layer.accounts(wrong),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert "0123456789ab" not in "".join(traceback.format_exception(caught.value))
    assert (finix.requests, layer.requests) == ((), ())


@rows("wrong", [f'"{TOKEN}"', f"{TOKEN}\n", f" {TOKEN}", "tok-\ud800", "processor-…89ab"])
def test_a_token_with_something_around_it_is_refused(wrong: str) -> None:
    """Quotes and line breaks come from files and variables; no partner would know the token."""
    for build in (
        lambda: finix_request(wrong, identity="ID1"),
        lambda: layer_request("b", [wrong]),
    ):
        with pytest.raises(ConfigurationError, match="quotes or white space") as caught:
            build()
        assert "0123456789ab" not in str(caught.value)


@rows(
    "settings",
    [
        {"username": ""},
        {"username": " u"},
        {"username": "'u'"},
        {"password": "a\nb"},
        {"password": '"p"'},
        {"password": "p\ud800"},
        {"version": "2022\n"},
        {"environment": "live"},
        {"base_url": "http://finix.example"},
        {"timeout": 0},
    ],
)
def test_malformed_settings(settings: dict[str, Any]) -> None:
    """A sender that cannot be right is refused when it is made."""
    with pytest.raises(ConfigurationError):
        FinixSender(**{"username": "u", "password": "p", **settings})


@rows(
    ("make_one", "environment", "address"),
    [
        (FinixSender, "production", "https://finix.sandbox-payments-api.com"),
        (AsyncFinixSender, "sandbox", "https://finix.live-payments-api.com"),
        (FinixSender, "sandbox", "https://FINIX.live-payments-api.com:443/v1/"),
        (LayerSender, "sandbox", "https://api.layerfi.com"),
        (AsyncLayerSender, "production", "https://sandbox.layerfi.com/"),
    ],
)
def test_an_address_of_the_partners_other_environment(
    make_one: Any, environment: str, address: str
) -> None:
    """The two contradict each other, and the message names both."""
    names = ("username", "password") if "Finix" in make_one.__name__ else LAYERS_KEYS
    keys = dict.fromkeys(names, "k")
    with pytest.raises(ConfigurationError, match=f"environment is '{environment}'") as caught:
        make_one(**keys, environment=environment, base_url=address)
    other = {"sandbox": "production", "production": "sandbox"}[environment]
    assert f"{other} environment" in str(caught.value)
    make_one(**keys, environment=other, base_url=address)
    make_one(**keys, environment=environment, base_url="https://gateway.example")


LAYERS_KEYS = ("client_id", "client_secret")


@rows("make_one", [FinixSender, AsyncFinixSender, LayerSender, AsyncLayerSender])
def test_a_sender_that_was_not_set_up_can_be_shown_and_closed(make_one: Any) -> None:
    """Its constructor raised, or was not called."""
    halves = [make_one.__new__(make_one), make_one.__new__(make_one)]
    with pytest.raises(ConfigurationError):
        halves[1].__init__(
            **dict.fromkeys(
                ("username", "password") if "Finix" in make_one.__name__ else LAYERS_KEYS, "k"
            ),
            environment="live",
        )
    for half in halves:
        assert "not set up" in repr(half)
        closed = half.close()
        if closed is not None:
            asyncio.run(closed)


def test_settings_from_the_environment() -> None:
    """Keys, environment and addresses come from variables; a missing one is named."""
    with FinixSender.from_env({"FINIX_USERNAME": "u", "FINIX_PASSWORD": "secret-1"}) as finix:
        assert repr(finix) == "<FinixSender sandbox https://finix.sandbox-payments-api.com>"
    given = {"LAYER_CLIENT_ID": "c", "LAYER_CLIENT_SECRET": "s", "LAYER_ENV": "production"}
    with LayerSender.from_env(given) as layer:
        assert repr(layer) == "<LayerSender production https://api.layerfi.com>"
    with pytest.raises(ConfigurationError, match="LAYER_CLIENT_SECRET not set"):
        LayerSender.from_env({"LAYER_CLIENT_ID": "c"})


# --- the faults

FAULTS: dict[str, dict[str, Any]] = {
    "reset unread": {"drop": "unread"},
    "reset before the work": {"drop": "before"},
    "reset after the work": {"drop": "after"},
    "too slow": {"delay": 0.5},
    "429": {"status": 429, "json": {}},
    "500": {"status": 500, "json": {"errors": [{"type": "x", "description": "y"}]}},
    "500 after the work": {"status": 500, "json": {}, "work": True},
    "502 in HTML": {"status": 502},
    "503": {"status": 503, "body": ""},
    "504 after the work": {"status": 504, "work": True},
    "400": {"status": 400, "json": {"errors": [{"error_enum": "SpecifiedBadRequest"}]}},
    "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}, "body": ""},
    "empty": {"body": "", "work": True},
    "HTML": {"body": "<html></html>", "work": True},
    "a list": {"json": [], "work": True},
    "null": {"json": None, "work": True},
    "no field": {"json": {}, "work": True},
    "wrong types": {"json": {"id": 5, "data": 5, "access_token": 5, "_embedded": 5}, "work": True},
    "cut": {"cut": 10},
    "trickle": {"trickle": 0.05},
}
HALVES = {"blocking": [*FAULTS][::2], "awaited": [*FAULTS][1::2]}
"""Each fault at one of the two senders; at both it is tried by the tests that are marked slow."""


@contextmanager
def told(*secrets: str) -> Iterator[list[HandoffError]]:
    """A hand-off that may fail with a typed error, in which no secret shows."""
    errors: list[HandoffError] = []
    try:
        yield errors
    except HandoffError as error:
        errors.append(error)
    for each in errors:
        shown = " ".join(f"{e} {e!r} {vars(e)}" for e in chain(each))
        assert [secret for secret in secrets if secret in shown] == []
        assert [e for e in chain(each) if not isinstance(e, PlaidProcessorsError)] == []
        assert (each.advice, each.partner) != ("", "")


def second_instrument(
    method: str, fault: dict[str, Any], finix: LocalFinix, make: Any, token: ProcessorToken
) -> None:
    """After a fault, calling again and again without a word makes at most one instrument."""

    def made() -> int:
        return sum(each.identity == identity for each in finix.instruments)

    identity = finix.new_identity()
    sender = make(finix, timeout=0.3)
    finix.clear_requests()
    finix.fail(f"{method} /payment_instruments", **fault)
    with told(token.processor_token, finix.password) as first:
        sender.hand_over(token, identity=identity)
    assert asked(finix).count("POST payment_instruments") <= 1
    if first and method == "GET":
        assert not first[0].outcome_unknown
    if first and first[0].outcome_unknown:
        assert "again=True" in first[0].advice
    made_at_first = made()
    with told() as second:
        sender.hand_over(token, identity=identity)
    _open.clear()  # as in another process
    with told():
        make(finix).hand_over(token, identity=identity)
    assert made() == 1
    if first and first[0].outcome_unknown:
        assert second, "a sender that does not know asks for the caller's word"
        assert second[0].outcome_unknown
    if made_at_first:
        assert second
    make(finix).hand_over(token, identity=identity, again=True)
    assert made() == 2
    finix.clear_faults()


@pytest.mark.slow
@rows("method", ["GET", "POST"])
def test_no_fault_makes_a_second_instrument(
    method: str, kind: str, finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """Whatever strikes the list or the making of an instrument, there is none too many."""
    token = issue("finix").token("finix")
    for name in HALVES[kind]:
        second_instrument(method, FAULTS[name], finix, make, token)


@pytest.mark.slow
@rows("method", ["GET", "POST"])
@rows("fault", FAULTS.values())
def test_no_fault_at_any_sender_makes_a_second_instrument(
    method: str,
    fault: dict[str, Any],
    finix: LocalFinix,
    make: Any,
    issue: Callable[..., LinkResult],
) -> None:
    """The whole grid: both requests, each fault, both senders."""
    second_instrument(method, fault, finix, make, issue("finix").token("finix"))


def lost_token(
    place: str,
    fault: dict[str, Any],
    layer: LocalLayer,
    make: Any,
    two_banks: tuple[LinkResult, LinkResult],
) -> None:
    """After a fault, calling again ends with the tokens of both banks at Layer."""
    first, second = two_banks
    business = layer.new_business()
    make(layer).hand_over(first, business_id=business)
    path = f"/v1/businesses/{business}"
    paths = {"GET": f"GET {path}/plaid/accounts", "PUT": f"PUT {path}"}
    layer.fail(paths.get(place, place), **fault)
    sender = make(layer, timeout=0.3)
    secrets = [each.processor_token for each in second.processor_tokens]
    with told(*secrets, layer.client_secret) as errors:
        sender.hand_over(second, business_id=business)
    if errors and place != "PUT":
        assert not errors[0].outcome_unknown
    held = {each.processor_token for each in layer.books(business)}
    assert {each.processor_token for each in first.processor_tokens} <= held
    layer.clear_faults()
    make(layer).hand_over(second, business_id=business)
    held = {each.processor_token for each in layer.books(business)}
    assert held == {each.processor_token for r in two_banks for each in r.processor_tokens}


@pytest.mark.slow
def test_no_fault_drops_another_item_or_loses_a_token(
    kind: str, layer: LocalLayer, make: Any, two_banks: tuple[LinkResult, LinkResult]
) -> None:
    """Whatever strikes the request that sends the tokens, Layer has both banks' in the end."""
    for name in HALVES[kind]:
        lost_token("PUT", FAULTS[name], layer, make, two_banks)


@pytest.mark.full
@rows("place", ["POST /oauth2/token", "GET", "PUT"])
@rows("fault", FAULTS.values())
def test_no_fault_at_any_sender_drops_an_item_or_loses_a_token(
    place: str,
    fault: dict[str, Any],
    layer: LocalLayer,
    make: Any,
    two_banks: tuple[LinkResult, LinkResult],
) -> None:
    """The whole grid: every request, each fault, both senders."""
    lost_token(place, fault, layer, make, two_banks)


@pytest.fixture(scope="module")
def two_banks(plaid: LocalSandbox) -> tuple[LinkResult, LinkResult]:
    """Two Items with two accounts each."""
    results = []
    with ProcessorLinker(plaid.client()) as linker:
        for _ in range(2):
            token = linker.create_link_token("layer", client_user_id="u", client_name="Acme")
            done = plaid.complete_link(token.link_token, masks=["0000", "3333"])
            results.append(
                linker.link("layer", public_token=done.public_token, metadata=done.metadata)
            )
    return results[0], results[1]


def test_two_at_once_make_one_instrument(
    finix: LocalFinix, issue: Callable[..., LinkResult]
) -> None:
    """Of two threads that hand the same token over, one is refused."""
    token, identity = issue("finix").token("finix"), finix.new_identity()
    finix.fail("POST /payment_instruments", delay=0.3)
    outcomes: list[str] = []
    with FinixSender(
        username=finix.username, password=finix.password, base_url=finix.url
    ) as sender:

        def hand_over() -> None:
            try:
                sender.hand_over(token, identity=identity)
            except HandoffRefusedError:
                outcomes.append("refused")
            else:
                outcomes.append("made")

        threads = [threading.Thread(target=hand_over) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["made", "refused"]
    assert len(finix.instruments) == 1


@pytest.mark.slow
@rows("how", ["threads", "loops"])
@rows("form", ["objects", "texts", "both"])
def test_two_tokens_of_one_account_at_once_make_one_instrument(
    how: str, form: str, plaid: LocalSandbox, finix: LocalFinix
) -> None:
    """Calls for one identity go one after the other, since tokens do not tell their account."""
    with ProcessorLinker(plaid.client()) as linker:
        result = linker.link_sandbox("finix")
        tokens: list[Any] = [result.token("finix")]
        tokens += linker.issue(
            "finix", access_token=result.access_token, accounts=[tokens[0].account]
        ).processor_tokens
    assert tokens[0].processor_token != tokens[1].processor_token
    if form != "objects":
        tokens[1] = tokens[1].processor_token
    if form == "texts":
        tokens[0] = tokens[0].processor_token
    identity, outcomes = finix.new_identity(), []
    finix.fail("POST /payment_instruments", delay=0.3)
    keys = {"username": finix.username, "password": finix.password, "base_url": finix.url}
    blocking, awaited = FinixSender(**keys), AsyncFinixSender(**keys)

    def hand_over(token: Any) -> None:
        try:
            if how == "threads":
                blocking.hand_over(token, identity=identity)
            else:
                asyncio.run(awaited.hand_over(token, identity=identity))
        except HandoffRefusedError:
            outcomes.append("refused")
        else:
            outcomes.append("made")

    threads = [threading.Thread(target=hand_over, args=(each,)) for each in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blocking.close()
    asyncio.run(awaited.close())
    assert sorted(outcomes) == ["made", "refused"]
    assert sum(each.identity == identity for each in finix.instruments) == 1


def test_an_unknown_outcome_is_the_identitys(
    finix: LocalFinix, make: Any, plaid: LocalSandbox
) -> None:
    """Whatever token comes next; another identity is free, and a given word settles nothing."""
    with ProcessorLinker(plaid.client()) as linker:
        made = linker.link_sandbox("layer", products=["transactions", "auth", "identity"])
        both = linker.issue(
            "finix",
            access_token=made.access_token,
            accounts=[each.account for each in made.processor_tokens[:1]],
        ).merge(
            linker.issue(
                "finix",
                access_token=made.access_token,
                item_id=made.item_id,
                accounts=[made.processor_tokens[1].account],
            )
        )
    first, other = both.processor_tokens
    identity, sender = finix.new_identity(), make(finix)
    finix.fail("POST /payment_instruments", drop="unread")
    with pytest.raises(PartnerConnectionError):
        sender.hand_over(first, identity=identity)
    for token in (other, other.processor_token, first):
        with pytest.raises(HandoffRefusedError, match="earlier call") as caught:
            sender.hand_over(token, identity=identity)
        assert caught.value.outcome_unknown
    assert sender.hand_over(other, identity=finix.new_identity()).id
    assert sender.hand_over(other, identity=identity, again=True).id
    with pytest.raises(HandoffRefusedError):
        sender.hand_over(first, identity=identity)


@pytest.mark.slow
def test_two_at_once_drop_nothing(
    layer: LocalLayer, make: Any, two_banks: tuple[LinkResult, LinkResult]
) -> None:
    """Two threads with two banks of one business take turns."""
    business = layer.new_business()
    # Without turns, both would read before either sends.
    layer.fail(f"GET /v1/businesses/{business}/plaid/accounts", delay=0.3, times=2)
    with LayerSender(
        client_id=layer.client_id,
        client_secret=layer.client_secret,
        base_url=layer.url,
        auth_url=layer.url,
    ) as sender:
        threads = [
            threading.Thread(
                target=sender.hand_over, args=(bank,), kwargs={"business_id": business}
            )
            for bank in two_banks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(layer.books(business)) == 4
    methods = [each.method for each in layer.requests if each.path.startswith("/v1")]
    assert methods == ["GET", "PUT", "GET"] * 2


def test_interrupted(finix: LocalFinix, issue: Callable[..., LinkResult]) -> None:
    """A cancelled hand-off is of unknown outcome: the account needs the caller's word."""
    token, identity = issue("finix").token("finix"), finix.new_identity()
    finix.fail("POST /payment_instruments", delay=0.5)

    async def main() -> None:
        async with AsyncFinixSender(
            username=finix.username, password=finix.password, base_url=finix.url
        ) as sender:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.25):
                    await sender.hand_over(token, identity=identity)
            with pytest.raises(HandoffRefusedError) as caught:
                await sender.hand_over(token, identity=identity)
            assert caught.value.outcome_unknown
            assert [each.id for each in caught.value.existing] == [finix.instruments[0].id]
            assert finix.instruments[0].id in str(caught.value)

    asyncio.run(main())
    assert len(finix.instruments) == 1


def test_an_unknown_outcome_is_looked_up(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """The later refusal names the candidates; where these cannot be listed, it is one as well."""
    token, identity, sender = issue("finix").token("finix"), finix.new_identity(), make(finix)
    finix.fail("POST /payment_instruments", drop="after")
    with pytest.raises(PartnerConnectionError) as first:
        sender.hand_over(token, identity=identity)
    assert first.value.outcome_unknown
    finix.clear_requests()
    for failing, existing in ((False, [finix.instruments[0].id]), (True, [])):
        if failing:
            finix.fail("GET /payment_instruments", status=500)
        with pytest.raises(HandoffRefusedError) as caught:
            sender.hand_over(token, identity=identity)
        assert caught.value.outcome_unknown
        assert [each.id for each in caught.value.existing] == existing
    assert asked(finix) == ["GET payment_instruments"] * 2
    other = issue("finix").token("finix")  # of the same digits, at another bank
    finix.fail("POST /payment_instruments", drop="unread")
    with pytest.raises(PartnerConnectionError):
        sender.hand_over(other, identity=(elsewhere := finix.new_identity()))
    with pytest.raises(HandoffRefusedError) as caught:
        sender.hand_over(other, identity=elsewhere)
    assert (caught.value.outcome_unknown, caught.value.existing) == (True, ())


def test_a_refusal_does_not_settle_an_earlier_unknown_outcome(
    finix: LocalFinix, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """After it the account still needs the caller's word: the first instrument may come late."""
    token, identity, sender = issue("finix").token("finix"), finix.new_identity(), make(finix)
    finix.fail("POST /payment_instruments", drop="unread")
    with pytest.raises(PartnerConnectionError):
        sender.hand_over(token, identity=identity)
    finix.fail("POST /payment_instruments", status=422)
    with pytest.raises(PartnerApiError):
        sender.hand_over(token, identity=identity, again=True)
    with pytest.raises(HandoffRefusedError) as caught:
        sender.hand_over(token, identity=identity)
    assert caught.value.outcome_unknown
    assert sender.hand_over(token, identity=identity, again=True).identity == identity


def test_a_closed_sender(finix: LocalFinix, layer: LocalLayer, make: Any) -> None:
    """A call after `close` is told as such."""
    for sender, call in ((make(finix), "payment_instruments"), (make(layer), "accounts")):
        sender.close()
        with pytest.raises(ConfigurationError, match="closed"):
            getattr(sender, call)("x")


def test_nobody_there(finix: LocalFinix, make: Any) -> None:
    """A partner that cannot be reached has not acted."""
    sender = make(finix, base_url="http://127.0.0.1:1")
    with pytest.raises(PartnerConnectionError, match="refused") as caught:
        sender.hand_over(TOKEN, identity="ID1", again=True)
    assert (caught.value.outcome_unknown, caught.value.retryable) == (False, True)


def test_what_a_partner_echoes_is_masked(
    finix: LocalFinix, layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """A token that a partner repeats, in an error or in a good answer, does not show."""
    result = issue(["layer", "finix"])
    token = result.token("finix")
    identity = finix.new_identity()
    message = f"{token.processor_token} {finix.password}"
    listed = {"_embedded": {"errors": [{"code": "INVALID_FIELD", "message": message}]}}
    finix.fail("POST /payment_instruments", status=422, json=listed)
    with pytest.raises(PartnerApiError, match="INVALID_FIELD") as caught:
        make(finix).hand_over(token, identity=identity)
    assert token.processor_token not in f"{caught.value!r} {caught.value} {caught.value.faults}"
    assert finix.password not in str(caught.value)

    finix.fail("POST /payment_instruments", change={"third_party_token": token.processor_token})
    instrument = make(finix).hand_over(token, identity=identity)
    assert token.processor_token not in f"{instrument!r} {instrument.raw}"

    business, sender = layer.new_business(), make(layer)
    sender.hand_over(result, business_id=business)
    accounts = sender.accounts(business)
    text = result.processor_tokens[0].processor_token
    assert text in {each.plaid_processor_token for each in accounts}
    assert text not in f"{accounts!r} {sender.hand_over(result, business_id=business)!r}"


@rows("own", ["INVALID_FIELD", "INVALID", "FIELD", "D_F", "VALID_FIELD_2"])
def test_a_value_of_the_callers_masks_no_code(own: str, faulty: FaultyPlaid) -> None:
    """Placeholders that were left in place, and values that are a part of a code."""
    error = {"code": "INVALID_FIELD_2", "message": f"{own}!", "field": "f", "logref": "log-1"}
    faulty.on("/payment_instruments", reply({"_embedded": {"errors": [error]}}, 422))
    with (
        FinixSender(username=own, password=own, base_url=faulty.url) as sender,
        pytest.raises(PartnerApiError) as caught,
    ):
        sender.hand_over(own, identity="ID1", again=True)
    assert caught.value.codes == ("INVALID_FIELD_2",)
    [fault] = caught.value.faults
    assert (fault.field, fault.logref) == ("f", "log-1")
    # Only what is no plain word may be a secret: it is masked, in texts.
    assert (fault.message == f"{own}!") == (own != "VALID_FIELD_2")
    assert ("VALID_FIELD_2" in str(caught.value)) == (own != "VALID_FIELD_2")


def test_what_the_caller_gave_does_not_decide_whose_answer_it_is(
    faulty: FaultyPlaid,
) -> None:
    """A password that is a part of the identity masks nothing before it is compared."""
    made = {"id": "PI1", "identity": "IDpassword-1", "type": "BANK_ACCOUNT"}
    faulty.on("/payment_instruments", reply(made, 201))
    with FinixSender(username="u", password="password-1", base_url=faulty.url) as sender:
        assert sender.hand_over(TOKEN, identity="IDpassword-1", again=True).id == "PI1"


@rows(
    ("status", "json_body", "says", "advice"),
    [
        (502, None, "answered", "again=True"),
        (500, {}, "answered", "again=True"),
        (503, {"_embedded": {"errors": [{"code": "X", "message": "m"}]}}, "answered", "again=True"),
        (404, None, "answered", "check the address"),
        (413, {}, "answered", "check the address"),
        (302, None, "answered", "check the address"),
        (429, None, "answered", "call again later"),
        (403, None, "answered", "Check the keys"),
        (422, {"_embedded": {"errors": [{"code": "X", "message": "m"}]}}, "refused", "fix what"),
    ],
)
def test_only_a_partner_refuses(
    status: int, json_body: Any, says: str, advice: str, faulty: FaultyPlaid
) -> None:
    """A gateway's status, and a partner that fails, are named as what they are."""
    body = "<html></html>" if json_body is None else json_body
    faulty.on("/payment_instruments", reply(body, status))
    with (
        FinixSender(username="u", password="p", base_url=faulty.url) as sender,
        pytest.raises(PartnerApiError) as caught,
    ):
        sender.hand_over(TOKEN, identity="ID1", again=True)
    assert f"finix {says} POST /payment_instruments with HTTP {status}" in str(caught.value)
    assert advice in caught.value.advice
    assert caught.value.outcome_unknown == (status >= 500)


@rows(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 1999 99999999999:59:59 GMT", None),
        ("1e999", None),
        ("-1", None),
        ("soon", None),
        (None, None),
    ],
)
@rows("status", [429, 503, 200])
def test_how_long_a_partner_asks_to_wait(
    header: str | None, seconds: float | None, status: int, faulty: FaultyPlaid
) -> None:
    """`retry_after` is the header's number or date, in seconds."""
    headers = {} if header is None else {"Retry-After": header}
    faulty.on("/payment_instruments", reply([], status, headers=headers))
    with (
        FinixSender(username="u", password="p", base_url=faulty.url) as sender,
        pytest.raises(HandoffError) as caught,
    ):
        sender.payment_instruments("ID1")
    assert caught.value.retry_after == seconds
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == seconds
    assert caught.value.retryable


@pytest.mark.slow
def test_no_secret_in_any_log(
    kind: str,
    finix: LocalFinix,
    layer: LocalLayer,
    make: Any,
    issue: Callable[..., LinkResult],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With every logger at DEBUG, no log and no traceback has a token or a key, whatever fails."""
    result = issue(["layer", "finix"])
    hurried = {"timeout": 0.3}  # where some answers do not come
    failures: list[HandoffError] = []

    def hand_over_both(**fault: Any) -> None:
        identity, business = finix.new_identity(), layer.new_business()
        if fault:
            finix.fail("POST /payment_instruments", **fault)
            layer.fail(f"PUT /v1/businesses/{business}", **fault)
        for partner, given, to in (
            (finix, result.token("finix"), {"identity": identity}),
            (layer, result, {"business_id": business}),
        ):
            try:
                make(partner, **(hurried if fault else {})).hand_over(given, **to)
            except HandoffError as error:
                failures.append(error)

    with caplog.at_level(logging.DEBUG):
        hand_over_both()
        assert failures == []
        bearers = list(layer._bearers)
        basic = b64encode(f"{finix.username}:{finix.password}".encode()).decode()
        secrets = [each.processor_token for each in result.processor_tokens]
        secrets += [finix.password, layer.client_secret, basic, *bearers]
        echo = {"status": 500, "body": " ".join(secrets)}
        for fault in (echo, *(FAULTS[name] for name in HALVES[kind])):
            hand_over_both(**fault)
    failed = [each.partner for each in failures]
    assert min(failed.count("finix"), failed.count("layer")) > 5
    shown = caplog.text + "".join("".join(traceback.format_exception(each)) for each in failures)
    assert bearers
    assert [secret for secret in secrets if secret in shown] == []


def test_the_stand_ins_log_no_token(
    layer: LocalLayer, make: Any, issue: Callable[..., LinkResult]
) -> None:
    """What a stand-in tells of the requests it got can be shown around."""
    result = issue("layer")
    make(layer).hand_over(result, business_id=layer.new_business())
    shown = json.dumps([each.body for each in layer.requests])
    assert [t for t in result.processor_tokens if t.processor_token in shown] == []
