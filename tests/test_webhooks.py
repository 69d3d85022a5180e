"""`verify_webhook`: what is Plaid's passes, and each forgery is refused with its reason."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from typing import Any

import jwt
import pytest
from django.http.request import HttpHeaders
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from plaid_processors import (
    AsyncProcessorLinker,
    AuthenticationError,
    ConfigurationError,
    PlaidClient,
    PlaidConnectionError,
    PlaidUnavailableError,
    ProcessorLinker,
    WebhookEvent,
    WebhookVerificationError,
)
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.webhooks import keys as key_rules

from .support.faulty import FaultyPlaid, computed, hang, refusal, reply
from .support.rows import rows
from .support.webhooks import BODY, KEY, UNKNOWN_KEY, Key, encoded, serve_keys, unsigned

HEADER = "Plaid-Verification"
NOW = 1_790_000_000

GOOD, OTHER, OLD, TINY = Key("good"), Key("other"), Key("old", expired_at=NOW), Key("tiny")
IMPOSTOR = Key("good")

# Signed by Plaid in 2020: https://stackoverflow.com/questions/62117400
PLAIDS_KEY = {
    "alg": "ES256",
    "created_at": 1560466143,
    "crv": "P-256",
    "expired_at": None,
    "kid": "6c5516e1-92dc-479e-a8ff-5a51992e0001",
    "kty": "EC",
    "use": "sig",
    "x": "35lvC8uz2QrWpQJ3TUH8t9o9DURMp7ydU518RKDl20k",
    "y": "I8BuXB2bvxelzJAd7OKhd-ZwjCst05Fx47Mb_0ugros",
}
PLAIDS_SIGNATURE = (
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IjZjNTUxNmUxLTkyZGMtNDc5ZS1hOGZmLTVhNTE5OTJlMDAwMSIsInR5cCI6Ikp"
    "XVCJ9.eyJpYXQiOjE1OTA4ODcwMDEsInJlcXVlc3RfYm9keV9zaGEyNTYiOiJiNjNhMDdiNTQ3YjAwZjk5MjU0N2Y2Ym"
    "JjOGQ5YWNjNjFhOGNjZWUxMzhiYzgyZjQ0YTZiYWEwOTY4M2E1ZDBmIn0.OOKvIihgqCj7Qrb2bmz7T3t7uK-0JyjiE"
    "qL2s1kWeJBM4MMmjaHKK8GmU_z91QolBWMzvPgs718EElY-rE3cwQ"
)
PLAIDS_BODY = json.dumps(
    {
        "error": None,
        "item_id": "yxQbxDjnD8hr69pKbQpbcKeVn3GL9QuyA7NV3",
        "new_transactions": 390,
        "webhook_code": "HISTORICAL_UPDATE",
        "webhook_type": "TRANSACTIONS",
    },
    indent=2,
    sort_keys=True,
).encode()
PLAIDS_TIME = 1590887001


def the_clock_shows(patch: pytest.MonkeyPatch, moment: float) -> None:
    patch.setattr(time, "time", lambda: float(moment))


@pytest.fixture
def keyed(faulty: FaultyPlaid, monkeypatch: pytest.MonkeyPatch) -> FaultyPlaid:
    """A server that knows the keys, at a known time."""
    the_clock_shows(monkeypatch, NOW)
    serve_keys(faulty, [GOOD, OTHER, OLD, TINY])
    return faulty


@pytest.fixture
def verify(keyed: FaultyPlaid, faulty_linker: ProcessorLinker) -> Callable[..., WebhookEvent]:
    """Verifies on the blocking linker."""
    return faulty_linker.verify_webhook


def refused(verify: Callable[..., object], *args: Any, **options: Any) -> WebhookVerificationError:
    with pytest.raises(WebhookVerificationError) as caught:
        verify(*args, **options)
    return caught.value


def awaited(client: PlaidClient, *args: Any, **options: Any) -> WebhookEvent:
    return asyncio.run(AsyncProcessorLinker(client).verify_webhook(*args, **options))


# What is Plaid's passes, however the framework gives it.


def test_the_webhook_that_plaid_signed(
    make_client: Callable[..., PlaidClient], faulty: FaultyPlaid, monkeypatch: Any
) -> None:
    """A real one, with the clock of its day; a day later it is refused."""
    faulty.on(KEY, reply({"key": PLAIDS_KEY, "request_id": "r1"}))
    client = make_client()
    verify = ProcessorLinker(client).verify_webhook
    headers = {HEADER: PLAIDS_SIGNATURE}
    the_clock_shows(monkeypatch, PLAIDS_TIME + 2)
    for event in (
        verify(PLAIDS_BODY, headers),
        awaited(client, PLAIDS_BODY.decode(), headers),
    ):
        assert event.webhook_type == "TRANSACTIONS"
        assert event.webhook_code == "HISTORICAL_UPDATE"
        assert event.item_id == "yxQbxDjnD8hr69pKbQpbcKeVn3GL9QuyA7NV3"
        assert event.body["new_transactions"] == 390
    assert faulty.asked(KEY)[0]["key_id"] == PLAIDS_KEY["kid"]
    changed = PLAIDS_BODY.replace(b"390", b"391")
    assert refused(verify, changed, headers).reason == "body_changed"
    the_clock_shows(monkeypatch, PLAIDS_TIME + 86_400)
    error = refused(verify, PLAIDS_BODY, headers)
    assert (error.reason, error.age) == ("too_old", 86_400)
    assert verify(PLAIDS_BODY, headers, max_age=90_000).item_id


def test_the_local_plaids_webhooks(local_plaid: LocalSandbox, linker: ProcessorLinker) -> None:
    """Its webhooks pass in both linkers; old, changed and rotated ones do not."""
    item_id = linker.link_sandbox("finix").item_id
    hook = local_plaid.webhook("ITEM", "ERROR", item_id=item_id)
    event = linker.verify_webhook(hook.body, hook.headers)
    assert (event.item_id, event.environment) == (item_id, "sandbox")
    assert awaited(linker.client, hook.body, hook.headers) == event
    old = local_plaid.webhook("ITEM", "ERROR", age=600)
    assert refused(linker.verify_webhook, old.body, old.headers).reason == "too_old"
    local_plaid.rotate_webhook_key()
    with ProcessorLinker(local_plaid.client()) as fresh:
        assert refused(fresh.verify_webhook, hook.body, hook.headers).reason == "expired_key"
        new = local_plaid.webhook("ITEM", "ERROR")
        assert fresh.verify_webhook(new.body, new.headers).webhook_code == "ERROR"


def test_headers_of_every_framework(verify: Callable[..., WebhookEvent]) -> None:
    """Any mapping or list of pairs, any case, text or bytes, lists of values."""
    signed = GOOD.sign()
    environ = {"HTTP_HOST": "x", "HTTP_PLAID_VERIFICATION": signed}
    message = Message()
    message["plaid-verification"] = signed
    raw = [(b"host", b"x"), (b"plaid-verification", signed.encode())]

    class Pairs(list[tuple[str, str]]):
        """As werkzeug's: no mapping, but with its methods."""

        def items(self) -> list[tuple[str, str]]:
            return list(self)

    for headers in (
        {HEADER: signed},
        {"plaid-verification": signed},
        {"PLAID-VERIFICATION": f" {signed} "},
        {b"Plaid-Verification": signed.encode()},
        {HEADER: [signed]},
        {HEADER: (signed.encode(),)},
        {HEADER: signed, "plaid-verification": signed},
        {"Host": ["x", "y"], HEADER: signed, 7: None},
        environ,  # WSGI's, and Django's request.META
        HttpHeaders(environ),  # Django's request.headers
        message,
        raw,
        iter(raw),
        Headers(raw=raw),
        Pairs([("Plaid-Verification", signed)]),
    ):
        assert verify(BODY, headers).webhook_code == "ERROR"


def test_a_body_of_every_kind(verify: Callable[..., WebhookEvent]) -> None:
    """Bytes or text."""
    text = '{"webhook_type": "ITEM", "name": "Zoë"}'
    body = text.encode()
    headers = {HEADER: GOOD.sign(body)}
    for each in (body, bytearray(body), memoryview(body), text):
        assert verify(each, headers).body["name"] == "Zoë"


def test_age(verify: Callable[..., WebhookEvent]) -> None:
    """Up to max_age, and up to a minute ahead."""
    for age in (300, 0, -60):
        assert verify(BODY, {HEADER: GOOD.sign(iat=NOW - age)})
    hour = {HEADER: GOOD.sign(iat=NOW - 3600)}
    assert refused(verify, BODY, hour).age == 3600
    assert verify(BODY, hour, max_age=3600)
    assert refused(verify, BODY, hour, max_age=3599.5).reason == "too_old"


def test_an_unknown_code_is_no_error(verify: Callable[..., WebhookEvent]) -> None:
    """Nor is a field of another type, or none at all."""
    for content in ({"webhook_type": "NEW", "webhook_code": "THING"}, {}, {"item_id": [7]}):
        body = json.dumps(content).encode()
        event = verify(body, {HEADER: GOOD.sign(body)})
        assert (event.action, event.item_id) == (None, None)


def _flipped(token: str) -> str:
    """A signature with one bit changed."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _hs256(key: bytes) -> str:
    """Signed with the public key as if it were a secret."""
    claims = {"iat": NOW, "request_body_sha256": hashlib.sha256(BODY).hexdigest()}
    head = unsigned({"alg": "HS256", "kid": "good", "typ": "JWT"}, claims).removesuffix(".")
    return f"{head}.{encoded(hmac.digest(key, head.encode(), 'sha256'))}"


def _signed(**claims: Any) -> Callable[[], str]:
    return lambda: GOOD.sign(**{"iat": NOW, **claims})


NESTED = "[" * 5_000
ES256 = {"alg": "ES256", "typ": "JWT"}

FORGERIES: dict[str, tuple[str, Callable[[], object], bytes]] = {
    "none": ("missing_signature", lambda: None, BODY),
    "empty": ("missing_signature", lambda: " ", BODY),
    "an empty list": ("missing_signature", list, BODY),
    "a number": ("missing_signature", lambda: 7, BODY),
    "a word": ("malformed", lambda: "nonsense", BODY),
    "three words": ("malformed", lambda: "a.b.c", BODY),
    "another alphabet": ("malformed", lambda: "ключ.ключ.ключ", BODY),
    "half a character": ("malformed", lambda: "\ud800", BODY),
    "two parts": ("malformed", lambda: GOOD.sign().rpartition(".")[0], BODY),
    "two signatures": ("malformed", lambda: [GOOD.sign(iat=NOW), OTHER.sign(iat=NOW)], BODY),
    "a header that is a list": ("malformed", lambda: unsigned([1]), BODY),
    "a nested header": ("malformed", lambda: f"{encoded(NESTED.encode())}.e30.AAAA", BODY),
    "no key id": ("malformed", lambda: unsigned(ES256, {}), BODY),
    "a key id of a number": ("malformed", lambda: unsigned({**ES256, "kid": 7}), BODY),
    "an empty key id": ("malformed", lambda: unsigned({**ES256, "kid": ""}), BODY),
    "a long key id": ("malformed", lambda: unsigned({**ES256, "kid": "k" * 101}), BODY),
    "no algorithm": ("algorithm", lambda: unsigned({"kid": "good"}), BODY),
    "the algorithm none": ("algorithm", lambda: unsigned({"alg": "none", "kid": "good"}), BODY),
    "HS256 with the public key": ("algorithm", lambda: _hs256(GOOD.pem), BODY),
    "HS256 with the key's JSON": (
        "algorithm",
        lambda: _hs256(json.dumps(GOOD.jwk).encode()),
        BODY,
    ),
    "ES384": ("algorithm", lambda: unsigned({"alg": "ES384", "kid": "good"}), BODY),
    "an algorithm that is a list": ("algorithm", lambda: unsigned({"alg": ["ES256"]}), BODY),
    "an unknown key": ("unknown_key", lambda: Key("nobody's").sign(iat=NOW), BODY),
    "an expired key": ("expired_key", lambda: OLD.sign(iat=NOW), BODY),
    "another key": ("bad_signature", lambda: IMPOSTOR.sign(iat=NOW), BODY),
    "a key of its own in the header": (
        "bad_signature",
        lambda: IMPOSTOR.sign_payload({"iat": NOW}, jwk=IMPOSTOR.jwk),
        BODY,
    ),
    "a bit flipped": ("bad_signature", lambda: _flipped(GOOD.sign(iat=NOW)), BODY),
    "no signature": ("bad_signature", lambda: unsigned({**ES256, "kid": "good"}), BODY),
    "a signature of zeros": (
        "bad_signature",
        lambda: unsigned({**ES256, "kid": "good"}, {}, bytes(64)),
        BODY,
    ),
    "a payload of another": (
        "bad_signature",
        lambda: ".".join([*GOOD.sign(iat=NOW).split(".")[:1], *OTHER.sign().split(".")[1:]]),
        BODY,
    ),
    "no iat": ("malformed", _signed(iat=None), BODY),
    "an iat of text": ("malformed", _signed(iat=str(NOW)), BODY),
    "an iat that is true": ("malformed", _signed(iat=True), BODY),
    "an iat that is no number": ("malformed", _signed(iat=math.nan), BODY),
    "an iat that is infinite": ("malformed", _signed(iat=math.inf), BODY),
    "an iat that no float holds": ("malformed", _signed(iat=10**400), BODY),
    "no hash": ("malformed", _signed(request_body_sha256=None), BODY),
    "a hash of a number": ("malformed", _signed(request_body_sha256=7), BODY),
    "claims that are no object": ("malformed", lambda: GOOD.sign_payload([1]), BODY),
    "claims that are nested": ("malformed", lambda: GOOD.sign_payload(NESTED.encode()), BODY),
    "claims that are no JSON": ("malformed", lambda: GOOD.sign_payload(b"\xff"), BODY),
    "stale": ("too_old", _signed(iat=NOW - 301), BODY),
    "of 1970": ("too_old", _signed(iat=0), BODY),
    "of the future": ("in_the_future", _signed(iat=NOW + 61), BODY),
    "another hash": ("body_changed", _signed(request_body_sha256="0" * 64), BODY),
    "an odd hash": ("body_changed", _signed(request_body_sha256="\ud800é"), BODY),
    "one space more": ("body_changed", _signed(), BODY + b" "),
    "a re-serialised body": ("body_changed", _signed(), json.dumps(json.loads(BODY)).encode()),
    "an empty body": ("body_changed", _signed(), b""),
    "20 MB": ("too_large", _signed(), b"x" * 20_000_000),
    "a header of 20 MB": ("too_large", lambda: "x" * 20_000_000, BODY),
    "a header of 9 KB in bytes": ("too_large", lambda: b"x" * 9_000, BODY),
    **{
        f"signed nonsense: {body[:20]!r}": ("malformed", lambda b=body: GOOD.sign(b, iat=NOW), body)
        for body in (b"", b"null", b"[1]", b'"text"', b"\xff\xfe", b"{", NESTED.encode())
    },
}


# What is forged is refused with its reason, and by no other exception.


@rows("name", FORGERIES)
def test_a_forgery(make_client: Callable[..., PlaidClient], keyed: FaultyPlaid, name: str) -> None:
    """In both linkers; nothing of it is shown."""
    reason, make, body = FORGERIES[name]
    token = make()
    headers = {} if token is None else {HEADER: token}
    with make_client() as client:
        verify = ProcessorLinker(client).verify_webhook
        for error in (
            refused(verify, body, headers),
            refused(awaited, client, body, headers),
        ):
            assert error.reason == reason
            assert (error.age is not None) or reason not in ("too_old", "in_the_future")
            if isinstance(token, str) and len(token) > 20:
                assert token[-20:] not in str(error) + repr(error)
    assert len(keyed.asked(KEY)) <= 1


def test_nothing_is_looked_up_for_what_cannot_be_plaids(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid
) -> None:
    """Size, form and algorithm come first."""
    for name in (
        "empty",
        "two parts",
        "no key id",
        "a long key id",
        "20 MB",
        "a header of 20 MB",
        "the algorithm none",
        "HS256 with the public key",
        "ES384",
    ):
        reason, make, body = FORGERIES[name]
        assert refused(verify, body, {HEADER: make()}).reason == reason
    assert keyed.asked(KEY) == []


def test_a_key_of_another_curve_is_no_key(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Nor is one whose point is not on the curve: the answer is unusable."""
    for change in ({"crv": "P-384"}, {"kty": "RSA"}, {"x": "AAAA"}, {"y": None}, {"x": 7}):
        faulty.on(KEY, reply({"key": {**GOOD.jwk, **change}}))
        with pytest.raises(PlaidConnectionError, match="no usable 'key'"):
            faulty_linker.verify_webhook(BODY, {HEADER: GOOD.sign()})
    for answer in ({}, {"key": None}, {"key": []}):
        faulty.on(KEY, reply(answer))
        with pytest.raises(PlaidConnectionError, match="no usable 'key'"):
            faulty_linker.verify_webhook(BODY, {HEADER: GOOD.sign()})


@rows(
    ("body", "headers", "named"),
    [
        ({"webhook_type": "ITEM"}, {}, "body must be the request's raw body"),
        (None, {}, "body must be the request's raw body"),
        (BODY, None, "headers must be the request's headers"),
        (BODY, "Plaid-Verification: x", "headers must be the request's headers"),
        (BODY, [1], "headers must be the request's headers"),
    ],
)
def test_a_wrong_argument_is_a_type_error(
    verify: Callable[..., WebhookEvent], body: Any, headers: Any, named: str
) -> None:
    """It is the program's mistake, and no webhook's."""
    with pytest.raises(TypeError, match=named):
        verify(body, headers)


@rows("max_age", [0, -1, math.nan, True, "300", None])
def test_a_wrong_age(verify: Callable[..., WebhookEvent], max_age: Any) -> None:
    """It would let everything pass, or nothing."""
    with pytest.raises(ConfigurationError, match="max_age"):
        verify(BODY, {}, max_age=max_age)


def test_the_error_pickles_and_says_what_to_do(verify: Callable[..., WebhookEvent]) -> None:
    """Task queues pickle exceptions."""
    error = refused(verify, BODY + b" ", {HEADER: GOOD.sign(iat=NOW - 7)})
    assert "raw body" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.age, str(copy)) == ("body_changed", 7, str(error))


TOKENS = st.one_of(
    st.text(),
    st.binary(),
    st.builds(
        unsigned,
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]),
            st.one_of(st.none(), st.booleans(), st.just("ES256"), st.just("good"), st.text()),
        ),
        st.one_of(st.none(), st.dictionaries(st.text(), st.integers())),
        st.binary(max_size=80),
    ),
    st.builds(
        lambda payload, header: GOOD.sign_payload(payload, **header),
        st.one_of(
            st.binary(),
            st.fixed_dictionaries(
                {},
                optional={
                    "iat": st.one_of(st.integers(), st.floats(), st.text(), st.none()),
                    "request_body_sha256": st.one_of(st.text(), st.integers()),
                    "exp": st.one_of(st.integers(), st.text()),
                },
            ),
        ),
        st.just({}),
    ),
)


# Whatever comes, there is an event or a refusal.


def test_headers_and_bodies(verify: Callable[..., WebhookEvent], keyed: FaultyPlaid) -> None:
    """Of any content; what passes was signed by Plaid's key."""

    @given(
        st.one_of(st.binary(), st.text(st.characters())),
        st.one_of(
            st.dictionaries(st.sampled_from([HEADER, "HTTP_PLAID_VERIFICATION", "x"]), TOKENS),
            st.dictionaries(st.just(HEADER), st.lists(TOKENS, max_size=2)),
        ),
    )
    def check(body: Any, headers: Mapping[str, Any]) -> None:
        with pytest.raises(WebhookVerificationError):
            verify(body, headers)

    check()


def test_signed_bodies(verify: Callable[..., WebhookEvent], keyed: FaultyPlaid) -> None:
    """Of any JSON: they are understood, put into a queue and taken out again."""
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
    names = "webhook_type webhook_code item_id account_id error disconnect_time public_tokens"
    errors = st.fixed_dictionaries(
        {}, optional={"error_code": values, "error_type": values, "status": values}
    )
    known = st.sampled_from(["ITEM", "ERROR", "LINK", "SESSION_FINISHED", "2026-02-30T25:00Z"])

    @given(st.dictionaries(st.sampled_from(names.split()), values | errors | known))
    def check(content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        event = verify(body, {HEADER: GOOD.sign(body, iat=NOW)})
        repr(event), str(event), event.action, hash(event)
        stored = json.loads(json.dumps(event.to_dict()))
        assert WebhookEvent.from_dict(stored).action == event.action

    check()


# Few look-ups, whatever comes; a known key is never kept waiting.


def test_a_key_is_looked_up_once_for_all(
    make_client: Callable[..., PlaidClient], keyed: FaultyPlaid
) -> None:
    """For both linkers, with other limits too; each key by its own id."""
    client = make_client()
    linker = ProcessorLinker(client)
    for key in (GOOD, OTHER, GOOD):
        for _ in range(3):
            linker.verify_webhook(BODY, {HEADER: key.sign()})
            linker.with_options(max_attempts=2).verify_webhook(BODY, {HEADER: key.sign()})
            awaited(client, BODY, {HEADER: key.sign()})
    assert [each["key_id"] for each in keyed.asked(KEY)] == ["good", "other"]


def test_forty_at_once_make_one_look_up(
    make_client: Callable[..., PlaidClient], keyed: FaultyPlaid
) -> None:
    """In threads and in an event loop, of a key that is known and of one that is not."""
    client = make_client()
    linker, signed = ProcessorLinker(client), GOOD.sign()
    with ThreadPoolExecutor(40) as pool:
        events = list(pool.map(linker.verify_webhook, [BODY] * 40, [{HEADER: signed}] * 40))
    assert len(events) == 40
    assert len(keyed.asked(KEY)) == 1

    async def many(token: str) -> list[Any]:
        again = AsyncProcessorLinker(client)
        calls = [again.verify_webhook(BODY, {HEADER: token}) for _ in range(40)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert len(set(asyncio.run(many(OTHER.sign())))) == 1
    assert len(keyed.asked(KEY)) == 2
    reasons = [each.reason for each in asyncio.run(many(Key("nobody's").sign()))]
    assert reasons == ["unknown_key"] * 40
    assert len(keyed.asked(KEY)) == 3


def test_an_unknown_key_is_remembered(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid, monkeypatch: Any
) -> None:
    """Ten webhooks of it make one look-up; after five minutes there is another."""
    for _ in range(10):
        assert refused(verify, BODY, {HEADER: Key("nobody's").sign()}).reason == "unknown_key"
    assert len(keyed.asked(KEY)) == 1
    later(monkeypatch, key_rules.REMEMBER_UNKNOWN + 1)
    refused(verify, BODY, {HEADER: Key("nobody's").sign()})
    assert len(keyed.asked(KEY)) == 2


def test_three_hundred_unknown_keys(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid, monkeypatch: Any
) -> None:
    """Ten look-ups; a known key is served meanwhile, and a new one comes through."""
    verify(BODY, {HEADER: GOOD.sign()})
    forged = Key("")
    for number in range(300):
        forged.kid = f"forged-{number}"
        assert refused(verify, BODY, {HEADER: forged.sign()}).reason == "unknown_key"
        assert verify(BODY, {HEADER: GOOD.sign()})
    assert len(keyed.asked(KEY)) == 1 + key_rules.UNKNOWN_A_MINUTE
    # Plaid sends again what was refused; then its new key is looked up.
    assert refused(verify, BODY, {HEADER: OTHER.sign()}).reason == "unknown_key"
    assert verify(BODY, {HEADER: OTHER.sign()})
    later(monkeypatch, 61)
    assert verify(BODY, {HEADER: TINY.sign()})


def test_unknown_keys_by_many_threads(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid
) -> None:
    """The bound holds there too, but for the few that are under way at once."""
    tokens = [Key(f"forged-{number}").sign() for number in range(120)]
    with ThreadPoolExecutor(24) as pool:
        errors = pool.map(lambda each: refused(verify, BODY, {HEADER: each}), tokens)
        assert {each.reason for each in errors} == {"unknown_key"}
    assert len(keyed.asked(KEY)) <= key_rules.UNKNOWN_A_MINUTE + 4


def test_what_is_remembered_is_bounded(
    keyed: FaultyPlaid, monkeypatch: Any, make_client: Callable[..., PlaidClient]
) -> None:
    """Keys, unknown ids and refused ids; what is forgotten is looked up again."""
    monkeypatch.setattr(key_rules, "MOST_KNOWN", 2)
    verify = ProcessorLinker(make_client()).verify_webhook
    for key in (GOOD, OTHER, TINY, GOOD):
        assert verify(BODY, {HEADER: key.sign()})
    assert [each["key_id"] for each in keyed.asked(KEY)] == ["good", "other", "tiny", "good"]
    for name in ("MOST_UNKNOWN", "MOST_REFUSED"):
        monkeypatch.setattr(key_rules, name, 20)
    known = key_rules.WebhookKeys()
    for number in range(100):
        known.keep_unknown(f"a-{number}")
        known.refuses(f"b-{number}")
    sizes = {len(each) for each in vars(known).values()}
    assert max(sizes) == 20


def test_a_known_key_is_looked_up_again_after_an_hour(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid, monkeypatch: Any
) -> None:
    """Whether it has expired; or is not known any more."""
    after_an_hour = [
        (GOOD, reply({"key": {**GOOD.jwk, "expired_at": NOW}}), "expired_key"),
        (OTHER, UNKNOWN_KEY, "unknown_key"),
    ]
    for key, _, _ in after_an_hour:
        assert verify(BODY, {HEADER: key.sign()})
    later(monkeypatch, key_rules.LOOK_AGAIN - 60)
    for key, _, _ in after_an_hour:
        assert verify(BODY, {HEADER: key.sign()})
    assert len(keyed.asked(KEY)) == 2
    later(monkeypatch, key_rules.LOOK_AGAIN + 1)
    for key, answer, reason in after_an_hour:
        keyed.on(KEY, answer)
        for _ in range(2):
            assert refused(verify, BODY, {HEADER: key.sign()}).reason == reason
    assert len(keyed.asked(KEY)) == 4


@pytest.mark.slow
@rows(
    "fault",
    [
        refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "", status=500),
        refusal("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", "", status=429),
        refusal("INVALID_INPUT", "INVALID_API_KEYS", "invalid client_id or secret provided"),
        reply({"unusable": True}),
        hang,
    ],
)
def test_a_known_key_serves_while_plaid_is_down(
    make_client: Callable[..., PlaidClient], keyed: FaultyPlaid, fault: Any
) -> None:
    """It is asked once a minute at most, and in few seconds."""
    serve_keys(keyed, [GOOD])
    verify = ProcessorLinker(make_client(max_attempts=3)).verify_webhook
    assert verify(BODY, {HEADER: GOOD.sign()})
    keyed.requests.clear()
    keyed.on(KEY, fault)
    with pytest.MonkeyPatch.context() as patch:
        later(patch, key_rules.LOOK_AGAIN + 1)
        for _ in range(3):
            assert verify(BODY, {HEADER: GOOD.sign()})
        assert len(keyed.asked(KEY)) == 1
        later(patch, key_rules.LOOK_AGAIN + key_rules.LOOK_AGAIN_LATER + 2)
        assert verify(BODY, {HEADER: GOOD.sign()})
        assert len(keyed.asked(KEY)) == 2


@rows(
    ("fault", "error"),
    [
        (refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "", status=500), PlaidUnavailableError),
        (refusal("INVALID_INPUT", "INVALID_API_KEYS", "wrong"), AuthenticationError),
        (reply("<html>", 502), PlaidConnectionError),
    ],
)
def test_a_key_that_cannot_be_fetched_is_the_clients_error(
    make_client: Callable[..., PlaidClient], keyed: FaultyPlaid, fault: Any, error: Any
) -> None:
    """However often: such failures do not make the key unknown, nor use up look-ups."""
    keyed.on(KEY, fault)
    client = make_client()
    for _ in range(12):
        with pytest.raises(error):
            ProcessorLinker(client).verify_webhook(BODY, {HEADER: GOOD.sign()})
    with pytest.raises(error):
        awaited(client, BODY, {HEADER: GOOD.sign()})
    serve_keys(keyed, [GOOD])
    assert awaited(client, BODY, {HEADER: GOOD.sign()})


def test_a_look_up_is_retried(make_client: Callable[..., PlaidClient], keyed: FaultyPlaid) -> None:
    """As every request of the client is."""
    down = refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "", status=500)
    keyed.on(KEY, down, reply({"key": GOOD.jwk}))
    linker = ProcessorLinker(make_client(max_attempts=2))
    assert linker.verify_webhook(BODY, {HEADER: GOOD.sign()})


def test_a_malformed_key_id_is_unknown(
    verify: Callable[..., WebhookEvent], keyed: FaultyPlaid
) -> None:
    """Plaid may say so by the code of a field."""
    keyed.on(KEY, refusal(message="key_id must be a properly formatted, non-empty string"))
    assert refused(verify, BODY, {HEADER: GOOD.sign()}).reason == "unknown_key"
    keyed.on(KEY, refusal(error_code="INVALID_HEADERS", message="no such version"))
    with pytest.raises(Exception, match="INVALID_HEADERS"):
        verify(BODY, {HEADER: OTHER.sign()})


def test_slow_look_ups_of_unknown_keys_keep_no_known_key_waiting(
    make_client: Callable[..., PlaidClient], keyed: FaultyPlaid
) -> None:
    """A known key needs no thread of the client's."""
    linker = ProcessorLinker(make_client(max_connections=1, timeout=60.0))
    assert linker.verify_webhook(BODY, {HEADER: GOOD.sign()})
    keyed.on(KEY, computed(lambda _: hang))
    with ThreadPoolExecutor(4) as pool:
        slow = [
            pool.submit(
                linker.with_options(deadline=1.0).verify_webhook,
                BODY,
                {HEADER: Key(f"slow-{number}").sign()},
            )
            for number in range(4)
        ]
        for _ in range(20):
            assert linker.verify_webhook(BODY, {HEADER: GOOD.sign()})
        assert not any(each.done() for each in slow)
        for each in slow:
            assert isinstance(each.exception(), PlaidConnectionError)


def later(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock by which keys grow old."""
    moment = time.monotonic() + seconds
    patch.setattr(key_rules, "monotonic", lambda: moment)


@rows("missing", ["jwt", "cryptography.hazmat.primitives.asymmetric.ec"])
def test_without_the_extra(
    verify: Callable[..., WebhookEvent], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The error names PyJWT and has the line that installs it; nothing is sent."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=r"PyJWT.*pip install \"plaid-processors\[webh"):
        verify(BODY, {HEADER: "a.b.c"})


def test_a_closed_client_verifies_nothing(make_client: Callable[..., PlaidClient]) -> None:
    """As it does nothing else."""
    linker = ProcessorLinker(make_client())
    linker.close()
    with pytest.raises(ConfigurationError, match="closed"):
        linker.verify_webhook(BODY, {HEADER: GOOD.sign()})


def test_a_signature_of_pyjwt_is_what_it_should_be() -> None:
    """The tests' own signer signs as Plaid does."""
    claims = jwt.decode(
        GOOD.sign(), GOOD.private.public_key(), algorithms=["ES256"], options={"verify_iat": False}
    )
    assert set(claims) == {"iat", "request_body_sha256"}
