"""The values of the package: frozen, without secrets when shown, and stored as JSON."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaid_processors import (
    Account,
    Environment,
    LinkedItem,
    LinkResult,
    LinkToken,
    PendingPartner,
    PendingToken,
    ProcessorToken,
    StripeBankAccountToken,
)

from .support.rows import rows
from .support.strategies import accounts, json_values, results

NOW = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
ACCESS = "access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab"
A = Account(account_id="A", subtype="checking", mask="0000")
B = Account(account_id="B", subtype="savings", mask="1111")


def token(account: Account = A, processor: str = "layer", *, minutes: int = 0) -> ProcessorToken:
    """A token issued so many minutes after now."""
    return ProcessorToken(
        processor=processor,
        account=account,
        processor_token=f"processor-sandbox-5e171e1a-{processor}-{account.account_id}-{minutes:012d}",
        issued_at=NOW + timedelta(minutes=minutes),
    )


def pending(account: Account = A, processor: str = "layer") -> PendingToken:
    """A token that is missing."""
    return PendingToken(processor=processor, account=account)


def result(*entries: ProcessorToken | PendingToken, **more: Any) -> LinkResult:
    """A result of one and the same Item."""
    return LinkResult(
        **{
            "access_token": ACCESS,
            "item_id": "item-1",
            "environment": Environment.SANDBOX,
            "entries": entries,
            **more,
        }
    )


VALUES = [
    A,
    token(),
    pending(),
    PendingPartner(processor="finix", account_ids=("A",)),
    result(token(), pending(B), unselected=(PendingPartner(processor="finix"),)),
    LinkedItem(access_token=ACCESS, environment=Environment.PRODUCTION),
    LinkToken(
        link_token="link-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab",
        expiration=NOW,
        hosted_link_url="https://secure.plaid.com/hl/5e171e1c",
    ),
]


@rows("value", VALUES, ids=lambda each: type(each).__name__)
def test_values_pickle_copy_and_hash(value: Any) -> None:
    """Every value survives a pickle and a copy, and can be a key."""
    for copied in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), copy.copy(value)):
        assert copied == value
        assert hash(copied) == hash(value)


@rows("value", VALUES, ids=lambda each: type(each).__name__)
def test_values_are_frozen_and_keyword_only(value: Any) -> None:
    """No value can be changed, nor made by position."""
    name = attrs.fields(type(value))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, "other")
    with pytest.raises(TypeError):
        type(value)("positional")


@rows("value", VALUES, ids=lambda each: type(each).__name__)
def test_values_show_no_secret(value: Any) -> None:
    """Neither repr, str nor format of a value shows the identifier of a token."""
    assert "5e171e1a" not in repr(value) + str(value) + format(value)
    assert "5e171e1c" not in repr(value)


@rows(
    ("kind", "options", "error"),
    [
        (Account, {"account_id": 7}, TypeError),
        (Account, {"account_id": ""}, ValueError),
        (Account, {"account_id": "A", "mask": 12}, TypeError),
        (LinkToken, {"link_token": "t", "expiration": None}, TypeError),
        (LinkToken, {"link_token": "t", "expiration": NOW.replace(tzinfo=None)}, ValueError),
        (LinkedItem, {"access_token": ACCESS, "environment": "develop"}, ValueError),
        (LinkedItem, {"access_token": ACCESS, "environment": None}, ValueError),
        (PendingToken, {"processor": "layer", "account": {"id": "A"}}, TypeError),
        (PendingPartner, {"processor": "layer", "account_ids": "A"}, TypeError),
        (PendingPartner, {"processor": "layer", "account_ids": [""]}, ValueError),
        (PendingPartner, {"processor": "layer", "first_fitting": 1}, TypeError),
        (result, {"access_token": b"access"}, TypeError),
        (result, {"item_id": 5}, TypeError),
        (result, {"entries": [1]}, TypeError),
        (result, {"entries": "text"}, TypeError),
        (result, {"unselected": ["layer"]}, TypeError),
    ],
)
def test_values_that_could_not_be_stored(
    kind: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """What could not be stored and read again is refused when it is made, and named."""
    with pytest.raises(error, match=list(options)[-1]):
        kind(**options)


@rows("value", VALUES, ids=lambda each: type(each).__name__)
def test_what_is_refused_is_not_shown(value: Any) -> None:
    """A wrong value may be a token in the wrong place: no error shows it, nor its context."""
    for each in attrs.fields(type(value)):
        for wrong in (ACCESS.encode(), [[ACCESS]], [{"access_token": ACCESS}]):
            with pytest.raises((TypeError, ValueError), match=each.name) as caught:
                attrs.evolve(value, **{each.name: wrong})
            assert "5e171e1a" not in repr(caught.value) + repr(caught.value.__context__)


def test_permissions_become_a_tuple() -> None:
    """A list of permissions leaves a value that can be a key, and a single text is refused."""
    pending = PendingToken(processor="layer", account=A, permissions=["auth"])
    assert (hash(pending), pending.permissions) == (hash(attrs.evolve(pending)), ("auth",))
    with pytest.raises(TypeError, match="permissions"):
        PendingPartner(processor="layer", permissions="auth")


def test_subclasses() -> None:
    """A subclass adds fields with rules of its own, and is taken where its base is."""

    @attrs.frozen(kw_only=True)
    class Ours(Account):
        row: str = ""

    account = Ours.from_mapping({"id": "A", "row": "not Plaid's"})
    assert type(account) is Ours
    assert result(token(account)).entries[0].account == Ours(account_id="A")
    assert LinkResult.from_dict(result(token(account)).to_dict()) == result(
        token(Account(account_id="A"))
    )
    with pytest.raises(TypeError, match="mask"):
        attrs.evolve(account, mask=12)


def test_sequences_and_names_become_what_they_stand_for() -> None:
    """Lists become tuples and an environment's name the environment, so that all are equal."""
    whole = result(
        environment="sandbox",
        entries=[token(), pending(B)],
        unselected=[PendingPartner(processor="finix", account_ids=["A"])],
    )
    assert hash(whole)
    assert whole.environment is Environment.SANDBOX
    assert LinkResult.from_dict(whole.to_dict()) == whole


def test_fingerprint() -> None:
    """A token's fingerprint is the first twelve hexadecimal digits of its SHA-256."""
    one = token()
    assert one.fingerprint == sha256(one.processor_token.encode()).hexdigest()[:12]


def test_repr_names_type_environment_and_last_four() -> None:
    """A token is shown by its type, its environment and its last four characters."""
    assert "'access-sandbox-…89ab'" in repr(result())


# --- accounts


def test_account_of_link() -> None:
    """Link calls the id `id`."""
    read = Account.from_mapping(
        {"id": "A", "name": "N", "mask": "0000", "type": "depository", "subtype": "checking",
         "verification_status": None, "class_type": None}
    )  # fmt: skip
    assert read == Account(
        account_id="A", name="N", mask="0000", type="depository", subtype="checking"
    )


def test_account_of_accounts_get() -> None:
    """`/accounts/get` calls it `account_id` and has more fields."""
    read = Account.from_mapping(
        {"account_id": "A", "official_name": "O", "persistent_account_id": "P",
         "holder_category": "business", "balances": {"available": 1}}
    )  # fmt: skip
    assert read == Account(
        account_id="A", official_name="O", persistent_account_id="P", holder_category="business"
    )


@given(
    known=st.dictionaries(
        st.sampled_from([each.name for each in attrs.fields(Account)]), json_values
    ),
    extra=st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    account_id=st.text(min_size=1, max_size=5),
)
def test_account_takes_whatever_else_there_is(
    known: dict[str, Any], extra: dict[str, Any], account_id: str
) -> None:
    """Nothing that Plaid may say besides the id breaks the reading of an account."""
    read = Account.from_mapping({**extra, **known, "account_id": account_id})
    assert read.account_id == account_id
    assert hash(read) == hash(copy.copy(read))


@rows("data", [{}, {"id": None}, {"id": ""}, {"account_id": 5}, {"name": "N"}])
def test_account_needs_an_id(data: dict[str, object]) -> None:
    """An account without an id is refused, in words that name both spellings."""
    with pytest.raises(ValueError, match=r"'id'.*'account_id'"):
        Account.from_mapping(data)


@given(account=accounts)
def test_account_label_never_fails(account: Account) -> None:
    """Every account has a short name for messages."""
    assert "…" in account.label


# --- what a result says


def test_tokens_and_pending_in_order() -> None:
    """Issued and missing tokens each keep the order of the entries."""
    one, two, missing = token(A), token(B), pending(A, "finix")
    whole = result(one, two, missing)
    assert whole.processor_tokens == (one, two)
    assert whole.pending == (missing,)
    assert not whole.complete


@rows(
    ("whole", "complete"),
    [
        (result(token()), True),
        (result(token(), pending(B)), False),
        (result(unselected=(PendingPartner(processor="finix"),)), False),
    ],
)
def test_complete(whole: LinkResult, complete: bool) -> None:
    """A result is complete when neither a token nor a choice is missing."""
    assert whole.complete is complete


def test_token_of_a_partner() -> None:
    """`token` gives the one token of a partner."""
    mine = token(A, "finix")
    assert result(token(A), token(B), mine).token("finix") == mine


@rows(("partner", "count"), [("layer", "2"), ("finix", "0"), ("nobody", "0")])
def test_token_needs_exactly_one(partner: str, count: str) -> None:
    """`token` refuses none and several, and names the partners that have tokens."""
    with pytest.raises(ValueError, match=f"{count} tokens for '{partner}'.*layer"):
        result(token(A), token(B), pending(A, "finix")).token(partner)


def test_token_of_a_token() -> None:
    """A token that is passed for the partner's name, by mistake, is not shown."""
    with pytest.raises(ValueError, match="0 tokens for 'access-sandbox-…") as caught:
        result(token(A)).token(ACCESS)
    assert ACCESS not in str(caught.value)


# --- stored


@given(whole=results())
def test_stored_and_read_again(whole: LinkResult) -> None:
    """A result comes back from JSON as it was, tokens included."""
    text = json.dumps(whole.to_dict())
    assert LinkResult.from_dict(json.loads(text)) == whole


def test_stored_form_has_a_version_and_the_tokens() -> None:
    """The stored form names its version, and holds the tokens."""
    stored = result(token()).to_dict()
    assert stored["format"] == 1
    assert ACCESS in json.dumps(stored)
    assert token().processor_token in json.dumps(stored)


@rows("version", [None, 0, 2, "1", "new"])
def test_other_versions_are_refused(version: object) -> None:
    """A form of another version is refused rather than misread."""
    with pytest.raises(ValueError, match="format"):
        LinkResult.from_dict({**result(token()).to_dict(), "format": version})


@rows("data", [None, [], "text", 5, {}, {"format": 1}])
def test_what_is_no_result_is_refused(data: Any) -> None:
    """Whatever was stored instead of a result is a ValueError."""
    with pytest.raises(ValueError, match="result"):
        LinkResult.from_dict(data)


@rows("name", ["access_token", "environment", "entries", "unselected"])
def test_what_a_stored_form_needs(name: str) -> None:
    """A form without one of these is refused, so that no token is lost in silence."""
    stored = result(token()).to_dict()
    for damaged in ({**stored, name: None}, {k: v for k, v in stored.items() if k != name}):
        with pytest.raises(ValueError, match="not a stored result") as caught:
            LinkResult.from_dict(damaged)
        assert caught.value.__context__ is None


@rows(
    "secret",
    [ACCESS, f"{ACCESS} ", [ACCESS], {"a": ACCESS}, "5e" * 15, "tok-secret", b"tok-secret", 1.5],
)
def test_a_wrong_form_is_not_shown(secret: object) -> None:
    """Whatever stands in the place of the version, token or key, is not shown."""
    with pytest.raises(ValueError, match="format is type") as caught:
        LinkResult.from_dict({"format": secret})
    assert "5e" not in str(caught.value)
    assert "secret" not in str(caught.value)


class _Hostile(Mapping[str, object]):
    """A mapping whose own code fails at one key or at all, with a secret in the error."""

    def __init__(self, fails: str, data: Mapping[str, object]) -> None:
        self._fails, self._data = fails, data

    def __getitem__(self, key: str) -> object:
        if key == self._fails:
            raise RuntimeError(ACCESS)
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        if self._fails == "all":
            raise ZeroDivisionError(ACCESS)
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


@rows("where", ["outside", "inside"])
@rows("fails", ["format", "entries", "unselected", "access_token", "all", "processor", "account"])
def test_a_hostile_mapping_is_refused(where: str, fails: str) -> None:
    """What a mapping's own code raises comes out as a ValueError, without its words."""
    stored = result(token()).to_dict()
    data: Mapping[str, Any] = _Hostile(fails, stored)
    if where == "inside" or fails in ("processor", "account"):
        entries: Any = stored["entries"]
        data = {**stored, "entries": [_Hostile("processor", entries[0])]}
    with pytest.raises(ValueError, match="not a stored result") as caught:
        LinkResult.from_dict(data)
    assert ACCESS not in str(caught.value)
    assert caught.value.__context__ is None


def test_stripes_own_token_is_read_as_one() -> None:
    """The class of Stripe's token comes back."""
    whole = result(
        StripeBankAccountToken(
            processor="stripe", account=A, processor_token="btok_5nxnX", issued_at=NOW
        )
    )
    assert LinkResult.from_dict(whole.to_dict()) == whole


def test_later_fields_are_ignored() -> None:
    """A stored result with fields of a later version is still read."""
    stored = result(token(), pending(B)).to_dict()
    stored["new"] = 1
    for entry in stored["entries"]:  # type: ignore[attr-defined]
        entry["new"] = {"nested": True}
    assert LinkResult.from_dict(stored) == result(token(), pending(B))


@st.composite
def _damaged(draw: st.DrawFn) -> Any:
    """A stored result with one value of it, anywhere, replaced or gone."""
    stored: Any = json.loads(json.dumps(draw(results()).to_dict()))
    place = stored
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not (isinstance(inner, (dict, list)) and inner and draw(st.booleans())):
            break
        place = inner
    if draw(st.booleans()):
        del place[key]
    else:
        place[key] = draw(json_values | st.just("2026-11-21T01:00:00"))
    return stored


@given(stored=_damaged(), other=results())
def test_damaged_form_is_refused_or_usable(stored: Any, other: LinkResult) -> None:
    """A damaged form is a ValueError without secrets, or gives a result that works."""
    refusal = ""
    try:
        read = LinkResult.from_dict(stored)
        read.merge(other)
    except ValueError as error:
        read, refusal = other, str(error)
    assert "5e171e1a" not in refusal
    assert hash(read) == hash(LinkResult.from_dict(read.to_dict()))
    assert "5e171e1a" not in repr(read)


# --- merged


@given(whole=results())
def test_merge_is_idempotent(whole: LinkResult) -> None:
    """A result merged with itself is itself."""
    assert whole.merge(whole) == whole


@given(one=results(), other=results())
def test_merge_loses_no_token(one: LinkResult, other: LinkResult) -> None:
    """Every account that had a token has one after, and each partner and account stands once."""
    merged = one.merge(other)
    keys = [entry.key for entry in merged.entries]
    assert len(set(keys)) == len(keys)
    assert {each.key for each in merged.processor_tokens} == {
        each.key for each in (*one.processor_tokens, *other.processor_tokens)
    }


@given(one=results(), other=results())
def test_merge_takes_the_newer_token(one: LinkResult, other: LinkResult) -> None:
    """Of two tokens for an account, the newer stays, whichever side it comes from."""
    for merged in (one.merge(other), other.merge(one)):
        for each in merged.processor_tokens:
            rivals = [
                rival.issued_at
                for rival in (*one.processor_tokens, *other.processor_tokens)
                if rival.key == each.key
            ]
            assert each.issued_at == max(rivals)


@given(one=results(), other=results())
def test_merge_keeps_partners_together(one: LinkResult, other: LinkResult) -> None:
    """Entries stay ordered by partner, and no partner is chosen and unchosen at once."""
    merged = one.merge(other)
    order = [entry.processor for entry in merged.entries]
    assert order == sorted(order, key=order.index)
    assert not {each.processor for each in merged.unselected} & set(order)


def test_merge_fills_what_is_missing() -> None:
    """An issued token takes the place of the missing one."""
    merged = result(pending(A), token(B)).merge(result(token(A)))
    assert merged == result(token(A), token(B))


def test_merge_keeps_the_bank() -> None:
    """What only one of the two knows of the Item is kept."""
    first = result(token(A), institution_id="ins_1", institution_name="Bank", link_session_id="s")
    merged = first.merge(result(token(B), item_id=None))
    assert (merged.institution_id, merged.institution_name) == ("ins_1", "Bank")
    assert (merged.link_session_id, merged.item_id) == ("s", "item-1")


@rows(
    "other",
    [
        result(item_id="item-2"),
        result(environment=Environment.PRODUCTION),
        result(item_id=None, access_token="access-sandbox-other"),
    ],
)
def test_merge_refuses_another_item(other: LinkResult) -> None:
    """Results of different Items cannot be merged."""
    with pytest.raises(ValueError, match="same Item"):
        result(token()).merge(other)


@rows("other", [None, {}, "result"])
def test_merge_refuses_what_is_no_result(other: Any) -> None:
    """A wrong argument is a TypeError."""
    with pytest.raises(TypeError):
        result(token()).merge(other)


def test_environment_is_one_of_two() -> None:
    """There are two environments, and each is its own name."""
    assert [str(each) for each in Environment] == ["sandbox", "production"]
