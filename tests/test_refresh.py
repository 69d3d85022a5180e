"""A link after it was made: how it stands, what follows, and the consent for another partner."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from plaid_processors import (
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    ConfigurationError,
    LayerAdapter,
    LinkAction,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PendingToken,
    PlaidApiError,
    PlaidClient,
    PlaidConnectionError,
    PlaidUnavailableError,
    ProcessorLinker,
    ProcessorToken,
    RateLimitError,
    UnknownProcessorError,
    get_adapter,
    unfinished,
)
from plaid_processors.sandbox import Linked, LocalSandbox

from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    ITEM,
    LINK_TOKEN,
    REMOVE,
    FaultyPlaid,
    account,
    hang,
    item,
    refusal,
    refusing,
    reply,
)
from .support.rows import rows

Through = Callable[..., Linked]

PNC = "ins_13"
PERMISSIONS = "/processor/token/permissions/set"


def shown(**more: object) -> Any:
    """What `/item/get` answers."""
    return reply({"item": item(**more), "status": None, "request_id": "req-item"})


def listed(*accounts: dict[str, Any]) -> Any:
    """What `/accounts/get` answers."""
    return reply({"accounts": list(accounts), "item": item(), "request_id": "req-accounts"})


def error(code: str, error_type: str = "ITEM_ERROR", message: str = "no") -> dict[str, Any]:
    """An Item's error, as `/item/get` shows it."""
    return {
        "display_message": None,
        "error_code": code,
        "error_message": message,
        "error_type": error_type,
        "status": 400,
    }


def update(
    sandbox: LocalSandbox,
    linker: ProcessorLinker,
    result: LinkResult,
    partner: Any = "layer",
    masks: Iterable[str] | None = None,
) -> None:
    """The user goes through update mode, and chooses accounts anew."""
    token = linker.create_link_token(
        partner,
        client_user_id="user-42",
        client_name="Acme",
        access_token=result.access_token,
        account_selection_enabled=None if masks is None else True,
        account_filters={},
    )
    sandbox.complete_link(token.link_token, masks=None if masks is None else list(masks))


def linked(
    linker: ProcessorLinker, done: Linked, partner: Any = "layer", **more: Any
) -> LinkResult:
    return linker.link(partner, public_token=done.public_token, metadata=done.metadata, **more)


def masks_of(result: LinkResult, partner: str = "layer") -> list[str | None]:
    return [each.account.mask for each in result.processor_tokens if each.processor == partner]


# --- status


def test_status_of_an_item_that_works(linker: ProcessorLinker, through_link: Through) -> None:
    """It has accounts, products, consent and ids; a result is as good as its access token."""
    result = linked(linker, through_link("layer", masks=["0000", "3333"]))
    status = linker.status(result.access_token)
    assert (status.healthy, status.action, status.error) == (True, None, None)
    assert [(each.mask, each.verified) for each in status.accounts] == [
        ("0000", True),
        ("3333", True),
    ]
    assert status.products == ("transactions",)
    assert {"transactions", "identity"} <= set(status.consented_products or ())
    assert "auth" not in (status.consented_products or ())
    assert (status.item_id, status.institution_id) == (result.item_id, "ins_109508")
    assert status.consent_expires_at is None
    assert linker.status(result) == status
    assert pickle.loads(pickle.dumps(status)) == status
    assert hash(status) == hash(evolve(status))


def test_status_of_an_older_item(linker: ProcessorLinker) -> None:
    """Where Plaid has no record of the consent, there is none, which is not an empty one."""
    result = linker.link_sandbox("layer")
    assert linker.status(result).consented_products is None


def test_status_of_a_broken_and_of_a_removed_item(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """Neither raises: the status says what it asks for."""
    result = linked(linker, through_link("layer", masks=["0000"]))
    local_plaid.reset_login(result.access_token)
    broken = linker.status(result)
    assert (broken.healthy, broken.action, broken.accounts) == (False, LinkAction.REPAIR, ())
    assert broken.error is not None
    assert broken.error.error_code == "ITEM_LOGIN_REQUIRED"
    update(local_plaid, linker, result)
    assert linker.status(result).healthy
    linker.remove(result.access_token)
    gone = linker.status(result)
    assert (gone.healthy, gone.action, gone.item_id) == (False, LinkAction.STOP, None)
    assert gone.error is not None
    assert gone.error.error_code == "ITEM_NOT_FOUND"


@rows(
    ("code", "action"),
    [
        ("ITEM_LOGIN_REQUIRED", LinkAction.REPAIR),
        ("ITEM_LOCKED", LinkAction.REPAIR),
        ("ACCESS_NOT_GRANTED", LinkAction.REPAIR),
        ("ADDITIONAL_CONSENT_REQUIRED", LinkAction.REPAIR),
        ("NO_AUTH_ACCOUNTS", LinkAction.REPAIR),
        ("USER_PERMISSION_REVOKED", LinkAction.STOP),
        ("ITEM_NOT_FOUND", LinkAction.STOP),
        ("ITEM_CONCURRENTLY_DELETED", LinkAction.STOP),
        ("NO_ACCOUNTS", LinkAction.CHECK),
        ("INSTITUTION_NO_LONGER_SUPPORTED", LinkAction.CHECK),
        ("INSTITUTION_NOT_RESPONDING", LinkAction.CHECK),
        ("A_CODE_OF_NEXT_YEAR", LinkAction.CHECK),
    ],
)
def test_an_items_error_is_a_status(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, code: str, action: LinkAction
) -> None:
    """Each error of an Item has its action, and its accounts are not asked for."""
    faulty.on(ITEM, shown(error=error(code, message=f"of {ACCESS_TOKEN}")))
    status = faulty_linker.status(ACCESS_TOKEN)
    assert (status.healthy, status.action) == (False, action)
    assert status.error is not None
    assert status.error.error_code == code
    assert ACCESS_TOKEN not in repr(status) + str(status.error)
    assert faulty.paths == [ITEM]


@rows(
    ("path", "error_type", "code", "action"),
    [
        (ITEM, "ITEM_ERROR", "ITEM_NOT_FOUND", LinkAction.STOP),
        (ITEM, "ITEM_ERROR", "ITEM_CONCURRENTLY_DELETED", LinkAction.STOP),
        (ITEM, "ITEM_ERROR", "USER_PERMISSION_REVOKED", LinkAction.STOP),
        # As Plaid's page of this error has it: https://plaid.com/docs/errors/invalid-input/
        (ITEM, "INVALID_INPUT", "USER_PERMISSION_REVOKED", LinkAction.STOP),
        (ITEM, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", LinkAction.REPAIR),
        (ACCOUNTS, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED", LinkAction.REPAIR),
        (ACCOUNTS, "ITEM_ERROR", "ITEM_NOT_FOUND", LinkAction.STOP),
        (ACCOUNTS, "ITEM_ERROR", "NO_ACCOUNTS", LinkAction.CHECK),
    ],
)
def test_an_answer_about_the_item_is_a_status(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    path: str,
    error_type: str,
    code: str,
    action: LinkAction,
) -> None:
    """So it is where Plaid answers with the error, also between the two questions."""
    faulty.on(ITEM, shown())
    faulty.on(path, refusal(error_type, code, "no"))
    status = faulty_linker.status(ACCESS_TOKEN)
    assert (status.healthy, status.action, status.accounts) == (False, action, ())
    assert status.error is not None
    assert status.error.error_code == code
    assert status.error.__traceback__ is None


@rows("call", ["status", "refresh"])
@rows("path", [ITEM, ACCOUNTS])
@rows(
    ("error_type", "code"),
    [
        ("INVALID_INPUT", "INVALID_ACCESS_TOKEN"),
        ("INVALID_INPUT", "INVALID_API_KEYS"),
        ("API_ERROR", "INTERNAL_SERVER_ERROR"),
        ("INSTITUTION_ERROR", "INSTITUTION_DOWN"),
        ("RATE_LIMIT_EXCEEDED", "ITEM_GET_LIMIT"),
        ("INVALID_REQUEST", "INVALID_FIELD"),
    ],
)
def test_what_says_nothing_of_the_item_raises(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    call: str,
    path: str,
    error_type: str,
    code: str,
) -> None:
    """A wrong token, wrong keys and outages are no status."""
    faulty.on(ITEM, shown())
    faulty.on(ACCOUNTS, listed(account("a-checking")))
    faulty.on(path, refusal(error_type, code, "no"))
    with pytest.raises(PlaidApiError) as caught:
        getattr(faulty_linker, call)(layer_result())
    assert caught.value.error_code == code


@rows("body", [{}, {"item": None}, {"item": []}, {"item": "x"}])
def test_status_without_an_item(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, body: dict[str, Any]
) -> None:
    """An answer without an Item is no usable one."""
    faulty.on(ITEM, reply(body))
    with pytest.raises(PlaidConnectionError, match="item"):
        faulty_linker.status(ACCESS_TOKEN)


@rows(
    "odd",
    [
        {"error": {}},
        {"error": "no"},
        {"products": None, "consented_products": None},
        {"products": "auth", "consented_products": {"auth": 1}},
        {"consent_expiration_time": "soon", "institution_id": 5, "item_id": ""},
        {"new": [{}]},
    ],
)
def test_status_with_odd_fields(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, odd: dict[str, Any]
) -> None:
    """What cannot be read counts as not said."""
    faulty.on(ITEM, shown(**odd))
    status = faulty_linker.status(ACCESS_TOKEN)
    assert (status.healthy, status.action, status.consented_products) == (True, None, None)


@rows(
    ("days", "action"),
    [(-1, LinkAction.REPAIR), (6, LinkAction.REPAIR), (8, None), (300, None)],
)
def test_consent_that_ends_soon(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, days: int, action: LinkAction | None
) -> None:
    """Seven days before its end, as with Plaid's own webhooks, the user should renew it."""
    end = datetime.now(UTC) + timedelta(days=days)
    faulty.on(ITEM, shown(consent_expiration_time=end.isoformat()))
    status = faulty_linker.status(ACCESS_TOKEN)
    assert (status.healthy, status.action, status.consent_expires_at) == (True, action, end)


def test_a_status_of_another_environment(make_client: Callable[..., PlaidClient]) -> None:
    """A result of Production is not asked for in the Sandbox, and neither is its token."""
    linker = ProcessorLinker(make_client())
    for given in (evolve(layer_result(), environment="production"), "access-production-1"):
        with pytest.raises(ConfigurationError):
            linker.status(given)


# --- refresh: accounts


def old_token(partner: str, account_id: str, **more: Any) -> ProcessorToken:
    """A token that was made a while ago."""
    return ProcessorToken(
        processor=partner,
        account=Account(account_id=account_id, subtype="checking"),
        processor_token=f"processor-sandbox-old-{account_id}",
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    )


def held(*entries: ProcessorToken | PendingToken, **more: Any) -> LinkResult:
    """A stored result of the faulty server's."""
    return LinkResult(
        access_token=ACCESS_TOKEN, item_id="item-1", environment="sandbox", entries=entries, **more
    )


def layer_result(*account_ids: str, partner: str = "layer", **more: Any) -> LinkResult:
    """A stored result with a token for each account."""
    return held(*[old_token(partner, each) for each in account_ids or ("a-checking",)], **more)


def test_accounts_that_came_and_went(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """Layer gets a token of each account that came; those that went leave the result."""
    result = linked(linker, through_link("layer", masks=["0000", "1111"]))
    update(local_plaid, linker, result, masks=["1111", "3333", "8888"])
    seen: list[Any] = []
    changes = linker.refresh(result, on_token=seen.append)
    assert [each.mask for each in changes.added] == ["3333", "8888"]
    assert [each.mask for each in changes.removed] == ["0000"]
    assert [each.account.mask for each in changes.issued] == ["3333", "8888"]
    assert sorted(seen, key=lambda each: each.account.mask) == list(changes.issued)
    assert masks_of(changes.result) == ["1111", "3333", "8888"]
    assert changes.result.processor_tokens[0] == result.processor_tokens[1]
    assert (changes.changed, changes.status.healthy) == (True, True)
    again = linker.refresh(changes.result)
    assert (again.changed, again.added, again.removed, again.issued) == (False, (), (), ())
    assert again.result == changes.result


def test_a_partner_of_one_account_gets_no_other(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """Its account went: the partner is named, and which account to pay is never guessed."""
    done = through_link("layer", masks=["0000", "3333"])
    result = linked(linker, done, ["finix", "layer"])
    update(local_plaid, linker, result, masks=["0000", "1111", "3333"])
    came = linker.refresh(result)
    assert (masks_of(came.result, "finix"), len(came.issued)) == (["0000"], 1)

    update(local_plaid, linker, result, masks=["1111", "3333"])
    went = linker.refresh(came.result)
    assert [each.mask for each in went.removed] == ["0000"]
    assert (went.issued, went.added) == ((), ())
    assert [each.processor for each in went.result.unselected] == ["finix"]
    assert not went.result.complete
    stored = LinkResult.from_dict(json.loads(json.dumps(went.result.to_dict())))
    assert not linker.refresh(stored).changed
    with pytest.raises(AccountSelectionError) as caught:  # resume does not guess either
        linker.resume(stored)
    assert [each.mask for each in caught.value.eligible] == ["1111"]

    chosen = linker.resume(stored, account_id=caught.value.eligible[0].account_id)
    assert masks_of(chosen, "finix") == ["1111"]
    assert chosen.complete
    update(local_plaid, linker, result, masks=["0000", "3333"])
    assert masks_of(linker.refresh(stored).result, "finix") == ["0000"]  # it came back


def test_what_the_user_and_the_bank_do(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """Accounts that are revoked, closed or opened, and an Item whose permission is withdrawn."""
    result = linked(linker, through_link("layer", masks=["0000", "1111", "3333"]))
    first, second, _ = [each.account.account_id for each in result.processor_tokens]
    local_plaid.revoke(result.access_token, account_id=first)
    local_plaid.close_account(result.access_token, second)
    opened = local_plaid.new_account(result.access_token, "checking")
    went = linker.refresh(result)
    assert [each.account_id for each in went.removed] == [first, second]
    assert (went.issued, masks_of(went.result)) == ((), ["3333"])  # it is not shared yet

    update(local_plaid, linker, went.result, masks=["3333", str(opened.mask)])
    came = linker.refresh(went.result)
    assert [each.mask for each in came.added] == [opened.mask]
    assert masks_of(came.result) == ["3333", opened.mask]

    local_plaid.revoke(result.access_token)
    over = linker.refresh(came.result)
    assert (over.status.action, over.changed) == (LinkAction.STOP, False)
    assert over.status.error is not None
    assert "update mode" in over.status.error.advice
    update(local_plaid, linker, came.result)
    assert not linker.refresh(came.result).changed


def test_all_accounts_went(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The partner stays in the result, and gets what comes later."""
    faulty.on(ACCOUNTS, listed(), listed(account("b-new", "savings")))
    gone = faulty_linker.refresh(layer_result("a-1", "a-2"))
    assert [each.account_id for each in gone.removed] == ["a-1", "a-2"]
    assert (gone.result.entries, gone.result.unselected[0].processor) == ((), "layer")
    came = faulty_linker.refresh(gone.result)
    assert [each.account.account_id for each in came.issued] == ["b-new"]


@rows("partners", ["layer", ["layer", "marqeta"]])
def test_accounts_that_the_caller_chose_are_not_added_to(
    linker: ProcessorLinker, through_link: Through, partners: Any
) -> None:
    """What was left out by `account_ids=` stays out."""
    done = through_link("layer", masks=["0000", "1111", "3333"])
    first = done.metadata["accounts"][0]["id"]
    result = linked(linker, done, partners, account_ids={"layer": [first]})
    stored = LinkResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert stored.bound == ("layer",)
    changes = linker.refresh(stored)
    assert (changes.changed, masks_of(changes.result)) == (False, ["0000"])


def test_an_adapter_of_ones_own(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The rule that is given decides in place of the catalogue's; an unknown one is asked for."""
    faulty.on(ACCOUNTS, listed(account("a-checking"), account("b-card", "credit card")))
    own = LayerAdapter(subtypes=("checking",))
    assert not faulty_linker.refresh(layer_result(), partner=own).changed
    assert len(faulty_linker.refresh(layer_result()).issued) == 1
    faulty.requests.clear()
    unknown = layer_result(partner="newco")
    with pytest.raises(UnknownProcessorError):
        faulty_linker.refresh(unknown)
    with pytest.raises(ValueError, match="finix is not in this result"):
        faulty_linker.refresh(layer_result(), partner="finix")
    assert faulty.paths == []
    newco = PartnerAdapter(processor="newco", products=["auth"])
    assert len(faulty_linker.refresh(unknown, partner=newco).issued) == 1


@rows("partner", ["adyen_ca", "stripe", "dwolla", "finix"])
def test_partners_that_do_not_take_all(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, partner: str
) -> None:
    """A partner of one account, and one whose rule nobody knows, get no further token."""
    faulty.on(ACCOUNTS, listed(account("a-checking"), account("b-new")))
    changes = faulty_linker.refresh(layer_result(partner=partner))
    assert (changes.changed, changes.issued, changes.added) == (False, (), ())


def test_a_partner_whose_rule_is_not_known_keeps_its_choice(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """Without an account it waits for the caller."""
    faulty.on(ACCOUNTS, listed(account("b-new")))
    assert get_adapter("adyen_ca").as_given
    changes = faulty_linker.refresh(layer_result(partner="adyen_ca"))
    assert [each.account_ids for each in changes.result.unselected] == [("a-checking",)]
    assert CREATE not in faulty.paths


def test_narrow_stays_narrow(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The token of an account that came is as narrow as the partner's others."""
    faulty.on(PERMISSIONS, reply({"request_id": "r"}))
    faulty.on(ACCOUNTS, listed(account("a-checking"), account("b-new")))
    narrow = old_token("layer", "a-checking", permissions=("transactions",))
    changes = faulty_linker.refresh(held(narrow))
    assert [each.permissions for each in changes.issued] == [("transactions",)]
    assert len(faulty.asked(PERMISSIONS)) == 1


# --- refresh: tokens made again


@rows(
    ("reissue", "again"),
    [
        (False, []),
        (True, ["a-1", "a-2"]),
        (("a-2",), ["a-2"]),
        (["a-2", "of-another-item"], ["a-2"]),
        ((), []),
    ],
)
def test_reissue(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    reissue: bool | Iterable[str],
    again: list[str],
) -> None:
    """All tokens, or those of the accounts that a webhook names."""
    faulty.on(ACCOUNTS, listed(account("a-1"), account("a-2")))
    result = layer_result("a-1", "a-2")
    changes = faulty_linker.refresh(result, reissue=reissue)
    assert [each.account.account_id for each in changes.issued] == again
    assert (changes.changed, changes.added, changes.removed) == (bool(again), (), ())
    assert [each.key for each in changes.result.entries] == [each.key for each in result.entries]


@rows("reissue", ["a-1", None, 1, [1], b"a-1"])
def test_wrong_reissue(faulty: FaultyPlaid, faulty_linker: ProcessorLinker, reissue: Any) -> None:
    """A single id that is not in a list would be read letter by letter."""
    with pytest.raises(TypeError, match="reissue"):
        faulty_linker.refresh(layer_result(), reissue=reissue)
    assert faulty.paths == []


def test_pnc_after_update_mode() -> None:
    """The tokens are made again when the consent's end has moved, once, Finix's too."""
    with (
        LocalSandbox(now=datetime.now(UTC)) as sandbox,
        ProcessorLinker(sandbox.client()) as linker,
    ):
        token = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme")
        done = sandbox.complete_link(token.link_token, PNC, masks=["0000", "3333"])
        result = linked(linker, done, ["finix", "layer"])
        first = linker.refresh(result)
        assert len(first.issued) == 3
        assert first.result.consent_expires_at == first.status.consent_expires_at is not None
        stored = LinkResult.from_dict(json.loads(json.dumps(first.result.to_dict())))
        assert not linker.refresh(stored).changed
        sandbox.advance(timedelta(days=20))
        assert not linker.refresh(stored).changed
        update(sandbox, linker, stored)
        second = linker.refresh(stored)
        assert len(second.issued) == 3
        assert (second.added, second.removed) == ((), ())
        assert not linker.refresh(second.result).changed


@rows(
    ("institution_id", "end"), [(PNC, None), ("ins_127989", "2030-01-01T00:00:00Z"), (None, None)]
)
def test_other_banks_and_older_items(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, institution_id: str, end: str | None
) -> None:
    """Without an end of consent, or at another bank, no token is made again."""
    shown_item = shown(institution_id=institution_id, consent_expiration_time=end)
    faulty.on(ITEM, shown_item)
    faulty.on(ACCOUNTS, listed(account("a-checking")))
    changes = faulty_linker.refresh(layer_result())
    assert changes.issued == ()
    assert not faulty_linker.refresh(changes.result).changed


def test_expired_and_pending_tokens_are_asked_for(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """As `resume` does; what is neither stays."""
    faulty.on(ACCOUNTS, listed(account("a-1"), account("a-2"), account("a-3")))
    over = datetime(2026, 1, 1, 1, tzinfo=UTC)
    missing = PendingToken(processor="layer", account=Account(account_id="a-2"), error_code="X")
    kept = [old_token("layer", each) for each in ("a-1", "a-3")]
    expired = old_token("dwolla", "a-1", expires_at=over)
    changes = faulty_linker.refresh(held(expired, missing, *kept))
    assert [each.key for each in changes.issued] == [("dwolla", "a-1"), ("layer", "a-2")]
    assert changes.result.complete
    assert set(kept) <= set(changes.result.entries)


# --- refresh: what goes wrong


def test_nothing_is_done_for_a_broken_item(
    linker: ProcessorLinker, through_link: Through, local_plaid: LocalSandbox
) -> None:
    """The status says what to do; the result stays."""
    result = linked(linker, through_link("layer", masks=["0000"]))
    local_plaid.reset_login(result.access_token)
    before = len(local_plaid.requests)
    changes = linker.refresh(result, reissue=True)
    assert (changes.status.action, changes.changed) == (LinkAction.REPAIR, False)
    assert (changes.result, changes.issued, changes.removed) == (result, (), ())
    assert [each.path for each in local_plaid.requests[before:]] == [ITEM]


def test_some_tokens_fail(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """What was issued is kept; doing it again asks for the rest only."""
    new = [account(f"b-{number}") for number in range(3)]
    faulty.on(ACCOUNTS, listed(*new))
    faulty.on(CREATE, refusing({"b-1": refusal("API_ERROR", "INTERNAL_SERVER_ERROR", "x")}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.refresh(layer_result("a-gone"))
    kept = caught.value.result
    # What went stays until all is done, for the next call to name it.
    assert [each.account.account_id for each in kept.processor_tokens] == ["b-0", "b-2", "a-gone"]
    assert [each.account.account_id for each in kept.pending] == ["b-1"]
    assert "1 of 3 processor tokens is missing" in str(caught.value)
    faulty.on(CREATE, refusing({}))
    rest = faulty_linker.refresh(kept)
    assert [each.account.account_id for each in rest.issued] == ["b-1"]
    assert faulty_linker.resume(kept).complete


def test_a_refresh_that_fails_half_way_forgets_nothing_that_went(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """From its result too the next refresh names the accounts that went."""
    faulty.on(ACCOUNTS, listed(account("A"), account("B")))
    before = faulty_linker.issue("layer", access_token=ACCESS_TOKEN)
    faulty.on(ACCOUNTS, listed(account("B"), account("C"), account("D")))
    faulty.on(CREATE, refusing({"C": refusal()}))
    with pytest.raises(LinkIncompleteError) as caught:
        faulty_linker.refresh(before)
    stored = LinkResult.from_dict(caught.value.result.to_dict())
    faulty.on(CREATE, refusing({}))
    changes = faulty_linker.refresh(stored)
    assert [each.account_id for each in changes.removed] == ["A"]
    assert {each.account.account_id for each in changes.result.entries} == {"B", "C", "D"}
    assert changes.result.complete
    assert not faulty_linker.refresh(changes.result).changed


def test_a_new_code_of_an_items_error_is_a_status(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What Plaid says of the Item is no exception; that data is still being fetched is one."""
    faulty.on(ITEM, refusal("ITEM_ERROR", "BRAND_NEW"))
    status = faulty_linker.status(ACCESS_TOKEN)
    assert status.error is not None
    assert (status.error.error_code, status.action) == ("BRAND_NEW", LinkAction.CHECK)
    faulty.on(ITEM, refusal("ITEM_ERROR", "PRODUCT_NOT_READY"))
    with pytest.raises(PlaidUnavailableError):
        faulty_linker.status(ACCESS_TOKEN)


def test_a_partner_left_without_tokens_is_not_forgotten(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """A result without all of a partner's accounts names the partner, and is not complete."""
    faulty.on(ACCOUNTS, listed(account("A"), account("B")))
    result = faulty_linker.issue("layer", access_token=ACCESS_TOKEN)
    left = result.without(account_ids=["A", "B"])
    assert not left.complete
    assert [each.processor for each in left.unselected] == ["layer"]
    assert len(faulty_linker.refresh(left).issued) == 2
    assert result.without(account_ids=["A"]).complete


def test_the_message_names_the_tokens_where_a_partner_has_no_account_too(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """What failed is what the message is about."""
    faulty.on(ACCOUNTS, listed(account("b-0"), account("b-1")))
    faulty.on(CREATE, refusing({"b-1": refusal()}))
    both = held(old_token("finix", "a-gone"), old_token("layer", "a-gone"))
    with pytest.raises(LinkIncompleteError, match="1 of 2 processor tokens") as caught:
        faulty_linker.refresh(both)
    assert [each.processor for each in caught.value.result.unselected] == ["finix"]


def test_no_token_is_issued(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """The plain error; the result that was stored is still true."""
    faulty.on(ACCOUNTS, listed(account("a-checking"), account("b-new")))
    faulty.on(CREATE, refusal("RATE_LIMIT_EXCEEDED", "RATE_LIMIT", "x", status=429))
    with pytest.raises(RateLimitError):
        faulty_linker.refresh(layer_result())


def test_what_plaid_refuses_for_good_is_left_pending(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """With `partial` the refused account holds up nothing, and the second time nothing changes."""
    faulty.on(ACCOUNTS, listed(account("a-checking"), account("b-new")))
    faulty.on(CREATE, refusing({"b-new": refusal()}))
    changes = faulty_linker.refresh(layer_result(), partial=True)
    assert [each.error_code for each in changes.result.pending] == ["INVALID_FIELD"]
    assert [each.account_id for each in changes.added] == ["b-new"]
    assert not faulty_linker.refresh(changes.result, partial=True).changed


@rows("awaited", [False, True])
def test_an_interruption_has_what_was_issued(
    faulty: FaultyPlaid, make_client: Callable[..., PlaidClient], awaited: bool
) -> None:
    """As in `resume`: Ctrl-C comes out as itself, with the result so far."""
    faulty.on(ACCOUNTS, listed(account("b-0"), account("b-1")))

    def stop(_token: object) -> None:
        raise KeyboardInterrupt

    client = make_client()

    def go() -> None:
        result = layer_result("a-gone")
        if awaited:
            asyncio.run(AsyncProcessorLinker(client).refresh(result, on_token=stop))
        else:
            ProcessorLinker(client).refresh(result, on_token=stop)

    with pytest.raises(KeyboardInterrupt) as caught:
        go()
    left = unfinished(caught.value)
    assert left is not None
    assert left.processor_tokens
    assert {each.account.account_id for each in left.entries} == {"b-0", "b-1", "a-gone"}


def test_cancelled_while_it_looks(
    faulty: FaultyPlaid, make_client: Callable[..., PlaidClient]
) -> None:
    """Nothing was done yet: what is left is the result that there was."""
    faulty.on(ITEM, hang)

    async def go() -> BaseException:
        linker = AsyncProcessorLinker(make_client())
        task = asyncio.create_task(linker.refresh(layer_result()))
        while not faulty.paths:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value

    assert unfinished(asyncio.run(go())) == layer_result()


def test_refresh_of_what_is_no_result(faulty: FaultyPlaid, faulty_linker: ProcessorLinker) -> None:
    """A token alone does not say which tokens there are."""
    wrong: Any = ACCESS_TOKEN
    with pytest.raises(TypeError, match="LinkResult"):
        faulty_linker.refresh(wrong)
    with pytest.raises(ConfigurationError, match="production"):
        faulty_linker.refresh(evolve(layer_result(), environment="production"))
    assert faulty.paths == []


# --- results


def test_without() -> None:
    """The tokens of the accounts leave the result, issued and missing; unknown ids do no harm."""
    result = layer_result("a-1", "a-2")
    assert [each.key for each in result.without(account_ids=["a-1", "x"]).entries] == [
        ("layer", "a-2")
    ]
    assert result.without(account_ids=()) == result
    wrong: Any = "a-1"
    with pytest.raises(TypeError, match="account_ids"):
        result.without(account_ids=wrong)


def test_merge_keeps_choice_and_consent() -> None:
    """A partner added later takes nothing away."""
    end = datetime(2027, 1, 1, tzinfo=UTC)
    one = layer_result(bound=["layer"], consent_expires_at=end)
    both = one.merge(layer_result(partner="finix"))
    assert (both.bound, both.consent_expires_at) == (("layer",), end)
    assert hash(both)


def test_eligible() -> None:
    """The accounts that fit, however many, without an error."""
    accounts = [Account(account_id=each, subtype=each) for each in ("checking", "savings", "ira")]
    finix = get_adapter("finix")
    assert [each.subtype for each in finix.eligible(accounts)] == ["checking", "savings"]
    assert finix.eligible([]) == ()


# --- update mode: consent for another partner


def asked(faulty: FaultyPlaid, linker: ProcessorLinker, partner: Any, **more: Any) -> Any:
    """What Link is opened with in update mode."""
    linker.create_link_token(
        partner, client_user_id="u", client_name="Acme", access_token=ACCESS_TOKEN, **more
    )
    return faulty.asked(LINK_TOKEN)[-1]


@rows(
    ("first", "second", "gained"),
    [("layer", "finix", {"auth"}), ("finix", "layer", {"transactions"})],
)
def test_another_partner_later(
    linker: ProcessorLinker,
    through_link: Through,
    local_plaid: LocalSandbox,
    first: str,
    second: str,
    gained: set[str],
) -> None:
    """Update mode asks the user for what the second partner reads."""
    result = linked(linker, through_link(first, masks=["0000"]), first)
    before = set(linker.status(result).consented_products or ())
    update(local_plaid, linker, result, [first, second])
    after = set(linker.status(result).consented_products or ())
    assert gained <= after - before
    both = result.merge(linker.issue(second, access_token=result.access_token))
    assert [each.processor for each in both.processor_tokens] == [first, second]


@rows(
    ("partner", "consented", "more", "wanted"),
    [
        ("finix", ["balance", "identity", "transactions"], {}, ["auth"]),
        ("finix", ["transactions"], {}, ["auth"]),  # Identity's scopes are among them
        ("layer", ["auth", "identity"], {}, ["transactions"]),
        (["layer", "finix"], ["balance"], {}, ["transactions", "auth", "identity"]),
        ("finix", [], {}, ["auth", "identity"]),
        ("finix", ["auth", "identity"], {}, None),
        ("finix", None, {}, None),  # an older Item
        ("finix", ["transactions"], {"additional_consented_products": ["liabilities"]},
         ["liabilities", "auth"]),
        ("finix", ["transactions"], {"additional_consented_products": ["auth"]}, ["auth"]),
        ("finix", ["transactions"], {"products": ["auth"]}, None),
        ("finix", ["transactions"], {"additional_consented_products": []}, []),
        ("ocrolus", ["auth"], {}, None),  # assets cannot be asked for so
        ("adyen_ca", ["auth"], {}, None),  # nobody knows what it reads
    ],
)  # fmt: skip
def test_consent_that_is_asked_for(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    partner: Any,
    consented: list[str] | None,
    more: dict[str, Any],
    wanted: list[str] | None,
) -> None:
    """What the partners' products lack, by Plaid's data scopes; and no products."""
    faulty.on(ITEM, shown(**({} if consented is None else {"consented_products": consented})))
    body = asked(faulty, faulty_linker, partner, **more)
    assert body.get("additional_consented_products") == wanted
    assert body.get("products") == more.get("products")


@rows("code", ["ITEM_NOT_FOUND", "USER_PERMISSION_REVOKED", "ITEM_LOGIN_REQUIRED"])
def test_update_mode_of_an_item_that_cannot_be_read(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker, code: str
) -> None:
    """Whether update mode helps is Plaid's to say."""
    faulty.on(ITEM, refusal("ITEM_ERROR", code, "no"))
    assert "additional_consented_products" not in asked(faulty, faulty_linker, "finix")


def test_nothing_is_sent_for_wrong_arguments(
    faulty: FaultyPlaid, faulty_linker: ProcessorLinker
) -> None:
    """The Item is looked at last."""
    with pytest.raises(ValueError, match="extra"):
        asked(faulty, faulty_linker, "finix", extra={"client_name": "x"})
    assert faulty.paths == []


# --- the end


@rows(
    ("reason", "sent"),
    [
        ({}, {}),
        ({"reason_code": "OTHER"}, {"reason_code": "OTHER"}),
        ({"reason_code": None, "reason_note": None}, {}),
        ({"reason_code": "FRAUD_ABUSE", "reason_note": "x" * 512},
         {"reason_code": "FRAUD_ABUSE", "reason_note": "x" * 512}),
        ({"reason_note": ""}, {"reason_note": ""}),
    ],
)  # fmt: skip
def test_remove_with_a_reason(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    reason: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    """The reason goes to Plaid as it was given."""
    assert faulty_linker.remove(ACCESS_TOKEN, **reason) is True
    assert faulty.asked(REMOVE) == [{"access_token": ACCESS_TOKEN, **sent}]


@rows(
    ("reason", "refused"),
    [
        ({"reason_code": "other"}, ValueError),
        ({"reason_code": ""}, ValueError),
        ({"reason_code": 1}, TypeError),
        ({"reason_note": "x" * 513}, ValueError),
        ({"reason_note": 1}, TypeError),
    ],
)
def test_remove_with_a_reason_that_cannot_be(
    faulty: FaultyPlaid,
    faulty_linker: ProcessorLinker,
    reason: dict[str, Any],
    refused: type[Exception],
) -> None:
    """It is refused before any request, with the choices."""
    with pytest.raises(refused, match=next(iter(reason))):
        faulty_linker.remove(ACCESS_TOKEN, **reason)
    assert faulty.paths == []


def test_the_local_plaid_takes_every_reason(linker: ProcessorLinker) -> None:
    """Each of the reasons that are listed is one of Plaid's."""
    with pytest.raises(ValueError, match="one of") as caught:
        linker.remove(ACCESS_TOKEN, reason_code="?")
    for code in str(caught.value).partition("one of ")[2].split(", "):
        result = linker.link_sandbox("layer")
        assert linker.remove(result.access_token, reason_code=code, reason_note="it ended") is True
