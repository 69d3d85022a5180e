"""What Link's SDKs hand over: in every spelling, and where it is not enough."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plaid_processors import Account, AccountSelectionError, LinkIncompleteError, ProcessorLinker

from .support.faulty import ACCESS_TOKEN, ACCOUNTS, CREATE, PUBLIC_TOKEN, FaultyPlaid, reply
from .support.rows import rows

WEB = {
    "institution": {"institution_id": "ins_3", "name": "Chase"},
    "accounts": [
        {"id": "A", "name": "Checking", "mask": "0000", "type": "depository",
         "subtype": "checking", "verification_status": "manually_verified"},
    ],
    "link_session_id": "S",
}  # fmt: skip
MOBILE = {
    "institution": {"id": "ins_3", "name": "Chase"},
    "accounts": [
        {"id": "A", "name": "Checking", "mask": "0000", "type": "depository",
         "subtype": "checking", "verificationStatus": "manually_verified"},
    ],
    "linkSessionId": "S",
    "metadataJson": "{}",
}  # fmt: skip
SAID = Account(
    account_id="A",
    name="Checking",
    mask="0000",
    type="depository",
    subtype="checking",
    verification_status="manually_verified",
)
CHECKING = {"id": "A", "type": "depository", "subtype": "checking"}


def link(linker: ProcessorLinker, partner: Any = "finix", **given: Any) -> Any:
    return linker.link(partner, public_token=PUBLIC_TOKEN, **given)


@rows(
    "metadata",
    [
        WEB,
        MOBILE,
        {**MOBILE, "link_session_id": None, "linkSessionID": "S"},
        {**MOBILE, "institution": {"institutionId": "ins_3", "name": "Chase", "logo": None}},
        {**MOBILE, "accounts": [{**MOBILE["accounts"][0], "verification_status": None}]},
        {**MOBILE, "accounts": [{**MOBILE["accounts"][0], "id": None, "accountId": "A"}]},
    ],
)
def test_every_sdks_spelling_is_read(faulty_linker: ProcessorLinker, metadata: Any) -> None:
    """Bank, session and account are the same in snake case and in camel case."""
    result = link(faulty_linker, metadata=metadata)
    known = (result.institution_id, result.institution_name, result.link_session_id)
    assert known == ("ins_3", "Chase", "S")
    assert result.token("finix").account == SAID


@rows("names", [("accountId", "officialName"), ("account_id", "official_name")])
def test_accounts_in_every_spelling(faulty_linker: ProcessorLinker, names: Any) -> None:
    """All fields of an account are read alike, in `issue` too, and `verified` is never believed."""
    given = {
        **dict(zip(names, ("A", "Own"), strict=True)),
        "persistentAccountId": "P",
        "holderCategory": "business",
        "subtype": "checking",
        "verified": True,
    }
    account = (
        faulty_linker.issue("finix", access_token=ACCESS_TOKEN, accounts=[given])
        .token("finix")
        .account
    )
    assert account == Account(
        account_id="A",
        official_name="Own",
        subtype="checking",
        persistent_account_id="P",
        holder_category="business",
    )
    assert not account.verified


def test_only_what_plaid_says_is_verified(faulty_linker: ProcessorLinker) -> None:
    """Accounts from /accounts/get are marked, and stay so when a result is stored."""
    assert all(each.verified for each in faulty_linker.accounts(ACCESS_TOKEN))
    result = link(faulty_linker, "layer")
    stored = json.loads(json.dumps(result.to_dict()))
    read = type(result).from_dict(stored)
    assert [each.account.verified for each in read.processor_tokens] == [True, True]


@rows(
    ("given", "words"),
    [
        ({"metadata": json.dumps(WEB)}, "json.loads"),
        ({"metadata": {"publicToken": PUBLIC_TOKEN, "metadata": MOBILE}}, "metadata must be"),
        ({"metadata": {**WEB, "institution": '{"id": "ins_3"}'}}, "json.loads"),
        ({"metadata": {**WEB, "accounts": json.dumps(WEB["accounts"])}}, "json.loads"),
        ({"metadata": {**WEB, "accounts": [json.dumps(CHECKING)]}}, r"accounts\[0\].*json.loads"),
        ({"accounts": json.dumps(WEB["accounts"])}, "json.loads"),
        ({"accounts": json.dumps(WEB["accounts"]).encode()}, "json.loads"),
        ({"accounts": WEB}, "metadata="),
        ({"accounts": MOBILE}, "metadata="),
    ],
)
def test_the_wrong_thing_is_refused_with_the_right_one(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, given: Any, words: str
) -> None:
    """JSON text, all of onSuccess, or the metadata as the accounts: the message says what to do."""
    with pytest.raises(TypeError, match=words) as caught:
        link(faulty_linker, **given)
    assert PUBLIC_TOKEN not in str(caught.value)
    assert faulty.requests == []


WITHOUT_ID: list[Any] = [
    [{**CHECKING, "id": None}],
    [{**CHECKING, "id": ""}],
    [{**CHECKING, "id": 5}],
    [{"type": "depository", "subtype": "checking"}],
    [CHECKING, {**CHECKING, "id": None}],
]


@rows("accounts", WITHOUT_ID)
@rows("way", ["accounts", "metadata"])
def test_accounts_without_an_id(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, accounts: Any, way: str
) -> None:
    """They are refused before any request, with both ways out; `verify_accounts` asks Plaid."""
    given = {"accounts": accounts} if way == "accounts" else {"metadata": {"accounts": accounts}}
    with pytest.raises(AccountSelectionError, match=r"verify_accounts=True, or leave .* out"):
        link(faulty_linker, **given)
    assert faulty.requests == []

    faulty.on(ACCOUNTS, reply({"accounts": [{"account_id": "P", "subtype": "savings"}]}))
    result = link(faulty_linker, **given, verify_accounts=True)
    assert result.token("finix").account == Account(
        account_id="P", subtype="savings", verified=True
    )


@rows("subtype", [None, "", {"json": "checking"}, 5])
@rows("kind", ["depository", "checking", None, {}])
def test_a_subtype_that_says_nothing(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, subtype: Any, kind: Any
) -> None:
    """An odd type or subtype is read, and `verify_accounts` asks Plaid for the right one."""
    odd = [{"id": "A", "subtype": subtype, "type": kind}]
    assert len(link(faulty_linker, "layer", accounts=odd).processor_tokens) == 1
    with pytest.raises(AccountSelectionError, match="verify_accounts=True"):
        link(faulty_linker, accounts=odd)
    faulty.on(ACCOUNTS, reply({"accounts": [{"account_id": "A", "subtype": "checking"}]}))
    assert link(faulty_linker, accounts=odd, verify_accounts=True).token("finix")


@rows(
    ("accounts", "metadata"),
    [
        ([{"id": "A"}], {"accounts": [{"id": "B"}]}),
        ([{"id": "B"}, Account(account_id="A")], {"accounts": [{"id": "B"}]}),
        (iter([{"accountId": "A"}]), {"accounts": [{"id": "a"}]}),
    ],
)
def test_accounts_that_contradict_the_metadata(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, accounts: Any, metadata: Any
) -> None:
    """An account that Link's metadata does not have is of another link."""
    with pytest.raises(ValueError, match="accounts= has an account that metadata= does not"):
        link(faulty_linker, "layer", accounts=accounts, metadata=metadata)
    assert faulty.requests == []


@rows(
    "metadata",
    [
        {"accounts": [{"id": "A"}, {"id": "B"}], "link_session_id": "S"},
        {"accounts": [{"id": None}, {"id": None}], "linkSessionId": "S"},
        {"accounts": None, "link_session_id": "S"},
        {"link_session_id": "S"},
    ],
)
def test_accounts_beside_the_metadata(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, metadata: Any
) -> None:
    """Some of the metadata's accounts, or accounts where it has none: they are the ones used."""
    result = link(faulty_linker, "layer", accounts=iter([{"id": "A"}]), metadata=metadata)
    assert [each["account_id"] for each in faulty.asked(CREATE)] == ["A"]
    assert result.link_session_id == "S"


def test_an_odd_institution_is_ignored(faulty_linker: ProcessorLinker) -> None:
    """What is no object has no id and no name, and stops no link."""
    for odd in (None, "", "Chase", 5, []):
        result = link(faulty_linker, metadata={**MOBILE, "institution": odd})
        assert (result.institution_id, result.link_session_id) == (None, "S")


def test_a_link_that_fails_after_its_exchange_knows_its_bank(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What a phone said of bank and session is in the result that is left."""
    faulty.on(CREATE, reply("no", 502))
    with pytest.raises(LinkIncompleteError) as caught:
        link(faulty_linker, metadata=MOBILE)
    assert (caught.value.result.institution_id, caught.value.result.link_session_id) == (
        "ins_3",
        "S",
    )
