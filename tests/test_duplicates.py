"""The same bank twice: found by Link's metadata, before the public token is spent."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from plaid_processors import (
    AsyncProcessorLinker,
    Duplicate,
    DuplicateItemError,
    ItemLoginRequiredError,
    LinkResult,
    PlaidClient,
    ProcessorLinker,
    find_duplicates,
)
from plaid_processors.life import MAY_END_EARLIER
from plaid_processors.sandbox import Linked

from .support.checks import link_account
from .support.faulty import PUBLIC_TOKEN, FaultyPlaid
from .support.rows import rows

CHASE, PNC, OTHER = "ins_56", "ins_13", "ins_109508"

Go = Callable[..., Linked]


def metadata(*accounts: dict[str, Any], bank: str | None = OTHER) -> dict[str, Any]:
    institution = {"institution_id": bank, "name": "Bank"} if bank else None
    return {"institution": institution, "accounts": list(accounts), "link_session_id": "S"}


def in_camel_case(given: dict[str, Any]) -> dict[str, Any]:
    """As Link's mobile SDKs spell it."""
    return {
        "institution": {"id": given["institution"]["institution_id"], "name": "Bank"},
        "accounts": given["accounts"],
        "linkSessionId": "S",
    }


CHECKING = link_account("a-1111")
SAVINGS = link_account("b-2222", "savings")
CHECKING_AGAIN = {**CHECKING, "id": "another-id"}
SAVINGS_AGAIN = {**SAVINGS, "id": "yet-another-id"}


@pytest.fixture
def earlier(faulty_linker: ProcessorLinker, faulty: FaultyPlaid) -> Callable[..., LinkResult]:
    """Makes an earlier link with these accounts."""

    def make(*accounts: dict[str, Any], bank: str | None = OTHER) -> LinkResult:
        seen = metadata(*accounts, bank=bank)
        result = faulty_linker.link("layer", public_token=PUBLIC_TOKEN, metadata=seen)
        faulty.requests.clear()
        return result

    return make


def test_an_account_is_the_same_by_bank_name_and_mask(
    earlier: Callable[..., LinkResult],
) -> None:
    """Its id differs in each link; what Link's mobile SDKs say counts as well."""
    old = earlier(CHECKING, SAVINGS)
    again = metadata(CHECKING_AGAIN)
    for seen in (again, in_camel_case(again)):
        (found,) = find_duplicates(seen, [earlier(CHECKING, bank=CHASE), old, earlier(SAVINGS)])
        assert found.result is old
        assert [each.account_id for each in found.accounts] == ["another-id"]
        assert not found.same_accounts
        assert not found.earlier_may_be_dead
    (found,) = find_duplicates(metadata(SAVINGS_AGAIN, CHECKING_AGAIN), iter([old]))
    assert len(found.accounts) == 2
    assert found.same_accounts


@rows(
    "seen",
    [
        metadata(CHECKING_AGAIN, bank=PNC),
        metadata({**CHECKING_AGAIN, "mask": "9999"}),
        metadata({**CHECKING_AGAIN, "name": "Another"}),
        metadata(SAVINGS_AGAIN),
        metadata(CHECKING_AGAIN, bank=None),  # micro-deposits: no bank is known
    ],
)
def test_another_account_is_no_duplicate(seen: Any, earlier: Callable[..., LinkResult]) -> None:
    """Another bank, name or mask is another account."""
    assert find_duplicates(seen, [earlier(CHECKING)]) == ()
    assert find_duplicates(seen, []) == ()


@rows(
    "seen",
    [
        metadata({**CHECKING_AGAIN, "mask": None}),
        metadata({**CHECKING_AGAIN, "name": None}),
        metadata({**CHECKING_AGAIN, "name": "", "mask": ""}),
        metadata({**CHECKING, "id": None}),
        metadata(),
        {"institution": {"id": OTHER}},
    ],
)
def test_where_names_or_masks_are_missing_the_bank_alone_decides(
    seen: Any, earlier: Callable[..., LinkResult]
) -> None:
    """As Plaid advises for the accounts of one user."""
    (found,) = find_duplicates(seen, [earlier(CHECKING), earlier(CHECKING, bank=PNC)])
    assert (found.result.institution_id, found.accounts, found.same_accounts) == (OTHER, (), False)
    (found,) = find_duplicates(metadata(SAVINGS), [earlier({**CHECKING, "mask": None})])
    assert found.accounts == ()


def test_an_earlier_result_that_does_not_know_its_bank(
    earlier: Callable[..., LinkResult],
) -> None:
    """Made without Link's metadata, it is known by the names and masks alone."""
    old = earlier(CHECKING, bank=None)
    (found,) = find_duplicates(metadata(CHECKING_AGAIN, bank=CHASE), [old])
    assert found.result is old
    for seen in (metadata(SAVINGS), metadata(), metadata({**CHECKING, "mask": None})):
        assert find_duplicates(seen, [old]) == ()


@rows(
    ("bank", "seen", "may_be_dead"),
    [
        (CHASE, [CHECKING_AGAIN, SAVINGS_AGAIN], False),
        (CHASE, [CHECKING_AGAIN], True),
        (CHASE, [{**CHECKING_AGAIN, "mask": None}], True),
        (PNC, [CHECKING_AGAIN, SAVINGS_AGAIN], True),
        (MAY_END_EARLIER[2], [CHECKING_AGAIN], True),
        (MAY_END_EARLIER[3], [CHECKING_AGAIN], True),
        (OTHER, [CHECKING_AGAIN], False),
    ],
)
def test_banks_where_a_new_link_may_end_the_earlier_item(
    bank: str, seen: Any, may_be_dead: bool, earlier: Callable[..., LinkResult]
) -> None:
    """Chase, PNC, Navy Federal and Schwab; at Chase not where the accounts are the same."""
    old = earlier(CHECKING, SAVINGS, bank=bank)
    (found,) = find_duplicates(metadata(*seen, bank=bank), [old])
    assert found.earlier_may_be_dead is may_be_dead
    more = (*MAY_END_EARLIER, OTHER)
    (found,) = find_duplicates(metadata(*seen, bank=bank), [old], may_end_earlier=more)
    assert found.earlier_may_be_dead is (may_be_dead or bank == OTHER)


@rows(
    ("seen", "old"),
    [
        (None, []),
        ("{}", []),
        ({"accounts": "[]"}, []),
        (metadata(CHECKING), ["result"]),
        (metadata(CHECKING), "result"),
        (metadata(CHECKING), 5),
    ],
)
def test_what_is_no_metadata_or_no_result(seen: Any, old: Any) -> None:
    """A wrong argument is a TypeError, and not "no duplicates"."""
    with pytest.raises(TypeError):
        find_duplicates(seen, old)


@pytest.fixture(params=["blocking", "awaited"])
def link(request: pytest.FixtureRequest) -> Callable[..., LinkResult]:
    """Either linker's `link`, called alike."""

    def call(client: PlaidClient, **options: Any) -> LinkResult:
        if request.param == "blocking":
            return ProcessorLinker(client).link("layer", **options)
        return asyncio.run(AsyncProcessorLinker(client).link("layer", **options))

    return call


def test_a_duplicate_is_refused_before_any_request(
    link: Callable[..., LinkResult],
    earlier: Callable[..., LinkResult],
    make_client: Callable[..., PlaidClient],
    faulty: FaultyPlaid,
) -> None:
    """The error has what was found and both ways to go on; "allow" links all the same."""
    old, client = earlier(CHECKING), make_client()
    options = {"public_token": PUBLIC_TOKEN, "metadata": metadata(CHECKING_AGAIN)}
    with pytest.raises(DuplicateItemError) as caught:
        link(client, **options, earlier=[old])
    assert faulty.requests == []
    (found,) = caught.value.duplicates
    assert isinstance(found, Duplicate)
    assert found.result == old
    assert "checking …1111" in str(caught.value)
    assert "do not exchange" in caught.value.advice
    assert old.access_token not in f"{caught.value} {caught.value.duplicates!r}"
    assert pickle.loads(pickle.dumps(caught.value)).duplicates == caught.value.duplicates
    assert link(client, **options, earlier=[old], on_duplicate="allow").complete
    assert link(client, **options, earlier=[]).complete
    assert link(client, **options).complete


def test_where_the_earlier_item_may_be_dead_the_advice_offers_a_choice(
    link: Callable[..., LinkResult],
    earlier: Callable[..., LinkResult],
    make_client: Callable[..., PlaidClient],
) -> None:
    """Not to exchange could leave the user with no Item at all."""
    old = earlier(CHECKING, SAVINGS, bank=CHASE)
    seen = metadata(CHECKING_AGAIN, bank=CHASE)
    with pytest.raises(DuplicateItemError) as caught:
        link(make_client(), public_token=PUBLIC_TOKEN, metadata=seen, earlier=[old])
    assert "do not exchange" not in caught.value.advice
    assert 'on_duplicate="allow"' in caught.value.advice
    assert "remove the earlier Item" in caught.value.advice
    assert "update mode" in caught.value.advice


def test_what_the_check_cannot_work_with_is_refused(
    link: Callable[..., LinkResult],
    earlier: Callable[..., LinkResult],
    make_client: Callable[..., PlaidClient],
    faulty: FaultyPlaid,
) -> None:
    """Without the metadata, with another word or another value, nothing is sent."""
    old, client = earlier(CHECKING), make_client()
    with pytest.raises(ValueError, match="metadata="):
        link(client, public_token=PUBLIC_TOKEN, accounts=[CHECKING], earlier=[old])
    with pytest.raises(ValueError, match="'raise' or 'allow'"):
        link(client, public_token=PUBLIC_TOKEN, metadata=metadata(CHECKING), on_duplicate="ignore")
    with pytest.raises(TypeError, match="LinkResult"):
        link(
            client, public_token=PUBLIC_TOKEN, metadata=metadata(CHECKING), earlier=[old.to_dict()]
        )
    assert faulty.requests == []


def test_the_same_bank_twice_at_the_local_plaid(linker: ProcessorLinker, through_link: Go) -> None:
    """At PNC the earlier Item is broken by the time the duplicate is found; the new one works."""
    done = through_link(institution_id=PNC, masks=["0000", "1111"])
    old = linker.link("layer", public_token=done.public_token, metadata=done.metadata)
    done = through_link(institution_id=PNC, masks=["0000"])
    options: dict[str, Any] = {"public_token": done.public_token, "metadata": done.metadata}
    with pytest.raises(DuplicateItemError) as caught:
        linker.link("layer", **options, earlier=[old])
    assert caught.value.duplicates[0].earlier_may_be_dead
    with pytest.raises(ItemLoginRequiredError):
        linker.accounts(old.access_token)
    new = linker.link("layer", **options, earlier=[old], on_duplicate="allow")
    assert new.complete
    assert linker.remove(old.access_token)
