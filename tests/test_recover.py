"""What a crash leaves in the store, and what `recover` makes of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
from attrs import evolve

from plaid_processors import (
    AsyncProcessorLinker,
    AuthenticationError,
    ConfigurationError,
    DecryptionError,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    PlaidUnavailableError,
    ProcessorLinker,
    RateLimitError,
    RecoveryReport,
    UnknownProcessorError,
)
from plaid_processors.sandbox import Linked, LocalSandbox
from plaid_processors.store import Lease, LinkQuery, LinkRecord, MemoryStore, StoredLink

from .support.rows import rows
from .test_cli import run

EXCHANGE = "/item/public_token/exchange"
CREATE = "/processor/token/create"
ACCOUNTS = "/accounts/get"


class PowerCutError(BaseException):
    """The process dies here: no code of the package's gets to say how the link ended."""


def _nothing() -> None:
    """What another process does meanwhile."""


class CutStore(MemoryStore):
    """A store in which the power can be cut, and time can pass."""

    def __init__(self) -> None:
        super().__init__()
        self.later = 0.0
        self.cut_after_add = False
        self.broken = False
        self.interrupt_at: int | None = None
        self.after_add: Callable[[], object] = _nothing
        self.before_lease: Callable[[], object] = _nothing
        self.after_release: Callable[[], object] = _nothing

    def add(self, record: LinkRecord) -> LinkRecord:
        there = super().add(record)
        if self.cut_after_add:
            raise PowerCutError
        self.after_add()
        return there

    def lease(self, lease: Lease) -> bool:
        act, self.before_lease = self.before_lease, _nothing
        act()
        return super().lease(lease)

    def release(self, lease: Lease) -> None:
        super().release(lease)
        self.after_release()
        time.sleep(0.01)  # so that what it does comes before the call goes on

    def save(self, record: LinkRecord) -> LinkRecord | None:
        if self.broken:
            raise OSError("the database is down")
        saved = super().save(record)
        if self.interrupt_at is not None:
            self.interrupt_at -= 1
            if self.interrupt_at == 0:
                self.interrupt_at = None
                raise KeyboardInterrupt
        return saved

    def page(self, query: LinkQuery, *, after: str = "", limit: int = 200) -> Sequence[LinkRecord]:
        if query.older_than is not None:
            query = evolve(query, older_than=query.older_than - self.later)
        return super().page(query, after=after, limit=limit)


class Shop:
    """A team's application on a local Plaid, with a store."""

    def __init__(self, plaid: LocalSandbox) -> None:
        self.plaid = plaid
        self.store = CutStore()
        self.linker = ProcessorLinker(plaid.client(max_attempts=1), store=self.store)

    def through_link(self, partner: Any = "layer", **choices: Any) -> Linked:
        products = ["transactions", "auth", "identity"] if isinstance(partner, list) else None
        token = self.linker.create_link_token(
            partner, client_user_id="u", client_name="Acme", products=products
        )
        return self.plaid.complete_link(token.link_token, **{"masks": ["0000", "1111"], **choices})

    def cut_before_the_exchange(
        self, done: Linked, partner: Any = "layer", **options: Any
    ) -> StoredLink:
        """A link that ends right after its attempt was stored."""
        self.store.cut_after_add = True
        with pytest.raises(PowerCutError):
            self.link(done, partner, **options)
        self.store.cut_after_add = False
        return self.of(done)

    def cut_after_the_exchange(
        self, done: Linked, partner: Any = "layer", **options: Any
    ) -> StoredLink:
        """A link that ends right after its Item was stored."""

        def cut(_item: object) -> None:
            raise PowerCutError

        with pytest.raises(PowerCutError):
            self.link(done, partner, on_exchange=cut, **options)
        return self.of(done)

    def of(self, done: Linked) -> StoredLink:
        """The link of this public token, as it is stored."""
        key = hashlib.sha256(done.public_token.encode()).hexdigest()
        (link,) = [each for each in self.store.links() if each.key == key]
        return link

    def link(self, done: Linked, partner: Any = "layer", user: str = "u", **options: Any) -> Any:
        return self.linker.link(
            partner,
            public_token=done.public_token,
            **{"metadata": done.metadata, "client_user_id": user, **options},
        )

    def recover(self, **options: Any) -> RecoveryReport:
        self.passes(200)
        return self.linker.recover(**options)

    def passes(self, seconds: float) -> None:
        """Time passes, by the store's clock."""
        self.store.later += seconds

    def count(self, path: str) -> int:
        return sum(each.path == path for each in self.plaid.requests)


@contextmanager
def opened() -> Iterator[Shop]:
    """A new one, for each row of a table."""
    with LocalSandbox() as plaid:
        shop = Shop(plaid)
        with shop.linker:
            yield shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    with opened() as shop:
        yield shop


def test_a_link_that_had_only_begun(shop: Shop) -> None:
    """Its public token is exchanged, and all that was asked for is made."""
    shop.cut_before_the_exchange(shop.through_link())
    (done,) = shop.recover().finished
    assert (done.link.state, done.reason, done.error) == ("complete", None, None)
    result = done.link.result
    assert result is not None
    assert result.access_token == shop.plaid.items[0].access_token
    assert [each.account.mask for each in result.processor_tokens] == ["0000", "1111"]
    assert (result.institution_id, result.link_session_id is None) == ("ins_109508", False)
    assert shop.recover() == RecoveryReport()


@rows(
    "partner,choice,tokens",
    [
        ("layer", {}, [("layer", "0000"), ("layer", "1111")]),
        ("layer", {"metadata": None}, [("layer", "0000"), ("layer", "1111")]),
        ("layer", {"narrow": True}, [("layer", "0000"), ("layer", "1111")]),
        ("layer", {"account_id": "1111"}, [("layer", "1111")]),
        ("finix", {"account_id": "0000", "metadata": None}, [("finix", "0000")]),
        (
            ["layer", "finix"],
            {"account_ids": "0000"},
            [("layer", "0000"), ("layer", "1111"), ("finix", "0000")],
        ),
        (["layer", "finix"], {"account_id": "0000"}, [("layer", "0000"), ("finix", "0000")]),
    ],
)
def test_what_was_asked_for_is_what_comes(
    partner: Any, choice: dict[str, Any], tokens: list[tuple[str, str]], shop: Shop
) -> None:
    """The accounts and partners that the killed process had chosen, and no other."""
    done = shop.through_link(partner)
    ids = {each["mask"]: each["id"] for each in done.metadata["accounts"]}
    options = dict(choice)
    if "account_id" in options:
        options["account_id"] = ids[options["account_id"]]
    if "account_ids" in options:
        options["account_ids"] = {"finix": [ids[options["account_ids"]]]}
    shop.cut_before_the_exchange(done, partner, **options)
    (found,) = shop.recover().finished
    result = found.link.result
    assert result is not None
    assert [(each.processor, each.account.mask) for each in result.processor_tokens] == tokens
    assert ("narrow" in options) is all(each.permissions for each in result.processor_tokens)
    chosen = {"account_id": tokens, "account_ids": [("finix", "")]}
    bound = {name for key in chosen.keys() & options.keys() for name, _ in chosen[key]}
    assert set(result.bound) == bound


def test_a_crash_after_the_item_was_stored(shop: Shop) -> None:
    """Only the tokens are asked for; nothing is exchanged again."""
    shop.cut_after_the_exchange(shop.through_link())
    (done,) = shop.recover().finished
    assert done.link.state == "complete"
    assert shop.count(EXCHANGE) == 1
    assert len(done.link.result.processor_tokens) == 2  # type: ignore[union-attr]


def test_a_spent_public_token_is_told_as_unknown(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plaid's answer came and was not stored: the link says what to ask Plaid, without secrets."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(minutes=10)

    done = shop.through_link()
    with monkeypatch.context() as patch:
        patch.setattr("plaid_processors.store.memory.datetime", Earlier)
        started = shop.cut_before_the_exchange(done)
    without_store = ProcessorLinker(shop.linker.client)
    lost = without_store.link("layer", public_token=done.public_token, metadata=done.metadata)
    report = shop.recover()
    (unknown,) = report.unknown
    assert (unknown.link.state, unknown.link.result) == ("unknown", None)
    assert unknown.reason == unknown.link.reason
    assert started.created_at is not None
    told = [
        "ask Plaid's support",
        f"time {started.created_at.isoformat(timespec='seconds')}",
        f"endpoint {EXCHANGE}",
        "institution_id ins_109508",
        f"link_session_id {done.metadata['link_session_id']}",
        "public_token public-sandbox-…",
    ]
    assert [each for each in told if each not in unknown.reason] == []
    for shown in (repr(report), str(report), str(unknown), repr(unknown.link)):
        assert done.public_token not in shown
        assert lost.access_token not in shown
    assert shop.recover() == RecoveryReport()


def test_a_public_token_older_than_30_minutes_is_not_tried(shop: Shop) -> None:
    """It cannot be exchanged: the link is unknown, and its public token is forgotten."""
    done = shop.through_link()
    shop.cut_before_the_exchange(done)
    shop.passes(1801)
    (unknown,) = shop.recover().unknown
    assert unknown.link.state == "unknown"
    assert "30 minutes have passed" in str(unknown.reason)
    assert "ask Plaid's support" in str(unknown.reason)
    assert shop.count(EXCHANGE) == 0
    record = shop.store.get(unknown.link.key)
    assert record is not None
    kept = shop.store.cipher.decrypt  # what is stored of it, as `recover` would read it
    assert done.public_token.encode() not in _decrypted(kept, record)


def _decrypted(decrypt: Callable[[bytes, bytes], bytes], record: LinkRecord) -> bytes:
    from base64 import urlsafe_b64decode

    about = [
        record.key,
        record.client_id,
        record.environment,
        record.client_user_id,
        record.item_id,
    ]
    return decrypt(urlsafe_b64decode(record.sealed), json.dumps(about).encode())


@rows(
    "user,bank,after,state",
    [
        ("u", "ins_109508", "link", "unknown"),
        ("u", "ins_109508", "link and remove", "unknown"),
        ("u", "ins_109508", "link and fail", "unknown"),
        ("u", None, "link", "unknown"),
        ("u", "ins_109508", "refused", "complete"),
        ("u", "ins_109512", "link", "complete"),
        ("other", "ins_109508", "link", "complete"),
        ("u", "ins_109508", "nothing", "complete"),
    ],
)
def test_a_bank_that_the_user_has_linked_since(
    user: str, bank: str | None, after: str, state: str
) -> None:
    """The old attempt is never exchanged, as that would make a second Item of the same bank."""
    with opened() as shop:
        first = shop.cut_before_the_exchange(shop.through_link())
        if after != "nothing":
            again = shop.through_link(institution_id=bank)
            fault = {"refused": EXCHANGE, "link and fail": CREATE}.get(after)
            if fault is not None:
                shop.plaid.fail(fault, error_code="INVALID_PUBLIC_TOKEN", times=None)
            with suppress(PlaidApiError, LinkIncompleteError):
                shop.link(again, user=user, metadata=again.metadata if bank else None)
            shop.plaid.clear_faults()
        if after == "link and remove":
            shop.linker.remove(item_id=shop.plaid.items[-1].item_id)
        exchanged = shop.count(EXCHANGE)
        report = shop.recover()
        (found,) = report.finished + report.unknown
        assert (found.link.key, found.link.state) == (first.key, state)
        assert shop.count(EXCHANGE) - exchanged == (state == "complete")
        assert ("linked this bank since" in str(found.reason)) is (state == "unknown")


def test_a_later_attempt_of_the_user_comes_first(shop: Shop) -> None:
    """Of two attempts of one bank that were cut only one becomes an Item, whichever comes first."""
    first = shop.cut_before_the_exchange(shop.through_link())
    shop.cut_before_the_exchange(shop.through_link())
    reports = [shop.recover(), shop.recover()]
    assert sum(len(each.finished) for each in reports) == 1
    (unknown,) = [each for report in reports for each in report.unknown]
    assert unknown.link.key == first.key
    assert shop.count(EXCHANGE) == 1


def test_a_later_attempt_that_is_under_way(shop: Shop) -> None:
    """The earlier one waits; it is exchanged if the later one has made no Item."""
    first = shop.cut_before_the_exchange(shop.through_link())
    reports: list[RecoveryReport] = []
    later = shop.through_link()
    shop.plaid.fail(EXCHANGE, error_code="RATE_LIMIT")
    shop.store.after_add = lambda: reports.append(shop.recover())
    with pytest.raises(RateLimitError):
        shop.link(later)
    assert reports == [RecoveryReport()]
    (done,) = shop.recover().finished
    assert done.link.key == first.key


@rows(
    "cut,path,fault,error",
    [
        ("before", EXCHANGE, {"error_code": "RATE_LIMIT"}, RateLimitError),
        ("before", EXCHANGE, {"error_code": "INSTITUTION_DOWN"}, PlaidUnavailableError),
        ("before", EXCHANGE, {"error_code": "PLANNED_MAINTENANCE"}, PlaidUnavailableError),
        ("before", EXCHANGE, {"drop": "before"}, PlaidConnectionError),
        ("before", EXCHANGE, {"error_code": "INVALID_API_KEYS"}, AuthenticationError),
        ("before", ACCOUNTS, {"error_code": "INSTITUTION_DOWN"}, LinkIncompleteError),
        ("after", ACCOUNTS, {"error_code": "INSTITUTION_DOWN"}, PlaidUnavailableError),
        ("after", ACCOUNTS, {"drop": "before"}, PlaidConnectionError),
        ("before", CREATE, {"error_code": "INSTITUTION_DOWN"}, LinkIncompleteError),
        ("after", CREATE, {"error_code": "RATE_LIMIT"}, LinkIncompleteError),
        ("after", CREATE, {"error_code": "RATE_LIMIT", "times": 2}, RateLimitError),
    ],
)
def test_what_may_pass_is_tried_again_later(
    cut: str, path: str, fault: dict[str, Any], error: type[Exception]
) -> None:
    """What Plaid cannot do now is left to the next run; an Item is exchanged once."""
    with opened() as shop:
        done = shop.through_link()
        getattr(shop, f"cut_{cut}_the_exchange")(done, metadata=None)
        shop.plaid.fail(path, **fault)
        (failed,) = shop.recover().failed
        assert type(failed.error) is error
        assert failed.link.state == ("started" if path == EXCHANGE else "linked")
        shop.plaid.clear_faults()
        (finished,) = shop.recover().finished
        assert finished.link.state == "complete"
        assert len([each for each in shop.plaid.items if each.exchanged]) == 1


@rows(
    "path,fault",
    [
        (ACCOUNTS, {"error_code": "INSTITUTION_DOWN"}),
        (CREATE, {"error_code": "INTERNAL_SERVER_ERROR", "times": 2}),
        (CREATE, {"drop": "before"}),
    ],
)
def test_a_link_that_failed_temporarily(path: str, fault: dict[str, Any]) -> None:
    """Its caller has the error; `recover` makes the tokens, however often the caller tried."""
    with opened() as shop:
        done = shop.through_link()
        options = {"metadata": None} if path == ACCOUNTS else {}
        for _ in range(2):
            shop.plaid.fail(path, **fault)
            with pytest.raises((LinkIncompleteError, PlaidUnavailableError, PlaidConnectionError)):
                shop.link(done, **options)
            shop.plaid.clear_faults()
        assert shop.of(done).state == "linked"
        (finished,) = shop.recover().finished
        assert finished.link.result is not None
        assert len(finished.link.result.processor_tokens) == 2
        assert shop.of(done).state == "complete"
        assert shop.recover() == RecoveryReport()
        assert shop.count(EXCHANGE) == 1


def failed_temporarily(shop: Shop) -> LinkResult:
    """What the store has of a link that failed so."""
    both = shop.through_link(["layer", "finix"], masks=["0000"])
    shop.plaid.fail(CREATE, error_code="INTERNAL_SERVER_ERROR", times=None)
    with pytest.raises(LinkIncompleteError) as caught:
        shop.link(both)
    shop.plaid.clear_faults()
    return caught.value.result


def test_a_partial_link_that_failed_temporarily(shop: Shop) -> None:
    """What `partial=True` returned is whole after the recovery."""
    shop.plaid.fail(CREATE, error_code="INTERNAL_SERVER_ERROR")
    result = shop.link(shop.through_link(), partial=True)
    assert (len(result.processor_tokens), len(result.pending)) == (1, 1)
    (finished,) = shop.recover().finished
    assert finished.link.result is not None
    assert len(finished.link.result.processor_tokens) == 2


@rows("what", ["issue", "issue fails", "refresh", "refresh fails", "resume fails"])
def test_what_is_left_to_recover_stays(what: str) -> None:
    """Until the tokens are there, whatever another call does with the Item."""
    with opened() as shop:
        result = failed_temporarily(shop)
        call, _, fails = what.partition(" ")
        if fails:
            code = "INVALID_FIELD" if call == "resume" else "INTERNAL_SERVER_ERROR"
            shop.plaid.fail(CREATE, error_code=code, times=None)
        elif call == "refresh":
            shop.plaid.reset_login(result.item_id)
        work: dict[str, Callable[[], object]] = {
            "issue": lambda: shop.linker.issue("finix", item_id=result.item_id),
            "refresh": lambda: shop.linker.refresh(item_id=result.item_id),
            "resume": lambda: shop.linker.resume(result),
        }
        with pytest.raises(PlaidProcessorsError) if fails else nullcontext():
            work[call]()
        shop.plaid.clear_faults()
        if (call, fails) == ("refresh", ""):
            token = shop.linker.create_link_token(
                ["layer", "finix"], client_user_id="u", client_name="Acme", item_id=result.item_id
            )
            shop.plaid.complete_link(token.link_token)
        (finished,) = shop.recover().finished
        assert finished.link.state == "complete"
        assert finished.link.result is not None
        assert finished.link.result.token("layer")


def test_a_resume_waits_for_the_recovery(shop: Shop) -> None:
    """The tokens are made once, and both have them."""
    result = failed_temporarily(shop)
    before = shop.count(CREATE)
    shop.plaid.fail(CREATE, delay=0.5)
    with ThreadPoolExecutor() as pool:
        report = pool.submit(shop.recover)
        while shop.count(CREATE) == before and not report.done():
            time.sleep(0.01)
        resumed = shop.linker.resume(result)
        assert report.result().finished[0].link.result == resumed
    assert shop.count(CREATE) == before + 1


@rows("error_code", ["ITEM_LOGIN_REQUIRED", "INVALID_PRODUCT"])
def test_a_link_that_failed_for_good(error_code: str) -> None:
    """It is its caller's: `recover` does not ask the same again and again."""
    with opened() as shop:
        done = shop.through_link()
        shop.plaid.fail(CREATE, error_code=error_code, times=None)
        with pytest.raises(LinkIncompleteError):
            shop.link(done)
        shop.plaid.clear_requests()
        assert shop.recover() == RecoveryReport()
        assert shop.plaid.requests == ()


def test_a_refresh_that_failed_leaves_nothing_to_recover(shop: Shop) -> None:
    """No token was missing before."""
    result = shop.link(shop.through_link())
    shop.plaid.fail("/item/get", error_code="INTERNAL_SERVER_ERROR")
    with pytest.raises(PlaidProcessorsError):
        shop.linker.refresh(item_id=result.item_id)
    assert shop.recover() == RecoveryReport()


@rows("cut", ["before", "after"])
def test_what_does_not_pass_is_told_once(cut: str) -> None:
    """An Item that its user has to repair is stored, and `recover` does not come back to it."""
    with opened() as shop:
        getattr(shop, f"cut_{cut}_the_exchange")(shop.through_link())
        shop.plaid.fail(CREATE, error_code="ITEM_LOGIN_REQUIRED", times=None)
        (failed,) = shop.recover().failed
        assert "ITEM_LOGIN_REQUIRED" in str(failed.reason)
        assert failed.link.result is not None
        assert failed.link.result.access_token == shop.plaid.items[0].access_token
        assert shop.recover() == RecoveryReport()


def test_an_answer_that_is_lost_in_the_recovery(shop: Shop) -> None:
    """The next run finds the public token spent, and says that it is unknown."""
    shop.cut_before_the_exchange(shop.through_link())
    shop.plaid.fail(EXCHANGE, drop="after")
    (failed,) = shop.recover().failed
    assert "Plaid may have acted all the same" in str(failed.reason)
    (unknown,) = shop.recover().unknown
    assert unknown.link.state == "unknown"
    assert "ask Plaid's support" in str(unknown.reason)


@rows("cut", ["before", "after"])
def test_a_partner_that_only_the_caller_knows(cut: str) -> None:
    """Without its adapter the link fails and waits; the others are finished."""
    own = PartnerAdapter(processor="paynote", products=("auth",), single=True)
    with opened() as shop:
        getattr(shop, f"cut_{cut}_the_exchange")(
            shop.through_link(own, masks=["0000"]), own, metadata=None
        )
        shop.cut_after_the_exchange(shop.through_link(), user="v")
        report = shop.recover()
        assert [each.link.client_user_id for each in report.finished] == ["v"]
        (failed,) = report.failed
        assert isinstance(failed.error, UnknownProcessorError)
        assert [type(each.error) for each in shop.recover().failed] == [UnknownProcessorError]
        (done,) = shop.recover(partner=own).finished
        assert done.link.result is not None
        assert [each.processor for each in done.link.result.processor_tokens] == ["paynote"]


def test_a_link_that_cannot_be_read(shop: Shop) -> None:
    """It is a failure that shows nothing, and the others are finished."""
    shop.cut_before_the_exchange(shop.through_link())
    broken = shop.cut_before_the_exchange(shop.through_link(), user="v")
    record = shop.store.get(broken.key)
    assert record is not None
    shop.store.save(evolve(record, sealed=record.sealed[:-8] + "AAAAAAA="))
    report = shop.recover()
    assert [each.link.client_user_id for each in report.finished] == ["u"]
    (failed,) = report.failed
    assert isinstance(failed.error, DecryptionError)
    assert failed.link.client_user_id == "v"


def test_a_store_that_fails_after_the_exchange(shop: Shop) -> None:
    """The run ends, and the report has the access token, of which there is no other copy."""
    for user in "uvw":
        shop.cut_before_the_exchange(shop.through_link(), user=user)
    shop.store.broken = True
    report = shop.recover()
    (failed,) = report.failed
    assert isinstance(failed.error, LinkIncompleteError)
    (item,) = [each for each in shop.plaid.items if each.exchanged]
    assert failed.error.result.access_token == item.access_token
    assert item.access_token not in repr(report) + str(failed)
    assert report.finished == report.unknown == ()


def test_only_what_is_old_enough(shop: Shop) -> None:
    """A link that was stored just now is another process's, which is alive."""
    shop.cut_before_the_exchange(shop.through_link())
    assert shop.linker.recover() == RecoveryReport()
    assert shop.linker.recover(older_than=3600) == RecoveryReport()
    shop.passes(121)
    assert len(shop.linker.recover().finished) == 1


def test_at_most_so_many(shop: Shop) -> None:
    """``limit`` counts what was done; the rest waits for the next run, and none waits for ever."""
    for user in "uvwxy":
        shop.cut_after_the_exchange(shop.through_link(), user=user)
    shop.plaid.fail(CREATE, error_code="INSTITUTION_DOWN", times=8)
    first, second = shop.recover(limit=2), shop.recover(limit=2)
    assert [len(each.failed) for each in (first, second)] == [2, 2]
    assert len({each.link.key for each in first.failed + second.failed}) == 4
    third = shop.recover(limit=2)
    assert len(third.finished) == 2
    assert len(shop.recover().finished) == 3


def test_what_another_call_is_at_work_on_is_passed_over(shop: Shop) -> None:
    """A lease that is taken is not waited for."""
    started = shop.cut_before_the_exchange(shop.through_link())
    lease = Lease(
        name=f"{started.client_id} sandbox link {started.key}", owner="another", seconds=60
    )
    assert shop.store.lease(lease)
    assert shop.recover() == RecoveryReport()
    shop.store.release(lease)
    assert len(shop.recover().finished) == 1


def test_what_another_process_has_finished_meanwhile(shop: Shop) -> None:
    """Between the list and the lease: it is not done again, and not reported twice."""
    shop.cut_before_the_exchange(shop.through_link())
    others: list[RecoveryReport] = []
    shop.store.before_lease = lambda: others.append(shop.linker.recover())
    assert shop.recover() == RecoveryReport()
    assert [len(each.finished) for each in others] == [1]
    assert shop.count(CREATE) == 2


def test_several_processes_at_once(shop: Shop) -> None:
    """Of links that four recover at once each is finished once."""
    for user in "stuvwxyz":
        shop.cut_before_the_exchange(shop.through_link(), user=user)
    shop.passes(200)
    with ThreadPoolExecutor(4) as pool:
        reports = [each.result() for each in [pool.submit(shop.linker.recover) for _ in range(4)]]
    assert [each.failed + each.unknown for each in reports] == [()] * 4
    assert sum(len(each.finished) for each in reports) == 8
    assert shop.count(EXCHANGE) == 8
    assert shop.count(CREATE) == 16


def test_an_interruption_ends_the_run_and_loses_nothing(shop: Shop) -> None:
    """What was exchanged is stored; the next run goes on with it."""
    for user in "uvw":
        shop.cut_before_the_exchange(shop.through_link(), user=user)
    shop.store.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        shop.recover()
    assert shop.count(EXCHANGE) < 3
    shop.recover()
    there = {each.access_token for each in shop.plaid.items if each.exchanged}
    kept = {each.result.access_token for each in shop.store.links() if each.result}
    assert kept == there
    assert {str(each.state) for each in shop.store.links()} == {"complete"}


def test_the_awaited_linker_recovers_too(shop: Shop) -> None:
    """With the same report, and the same refusals."""
    shop.cut_before_the_exchange(shop.through_link())
    shop.passes(200)

    async def recover() -> RecoveryReport:
        async with AsyncProcessorLinker(shop.plaid.client(), store=shop.store) as linker:
            return await linker.recover(limit=5)

    (done,) = asyncio.run(recover()).finished
    assert done.link.state == "complete"


def test_a_cancellation_ends_the_run_and_loses_nothing(shop: Shop) -> None:
    """Also one that comes while the store is at work: no other link is begun."""
    for user in "uv":
        shop.cut_before_the_exchange(shop.through_link(), user=user)
    shop.passes(200)

    async def recover() -> None:
        async with AsyncProcessorLinker(shop.plaid.client(), store=shop.store) as linker:
            loop, task = asyncio.get_running_loop(), asyncio.create_task(linker.recover())
            shop.store.after_release = lambda: loop.call_soon_threadsafe(task.cancel)
            await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(recover())
    assert shop.count(EXCHANGE) == 1
    shop.store.after_release = _nothing
    assert len(shop.recover().finished) == 1
    assert {str(each.state) for each in shop.store.links()} == {"complete"}


def test_without_a_store(shop: Shop) -> None:
    """There is nothing to recover."""
    with pytest.raises(ConfigurationError, match="store="):
        ProcessorLinker(shop.linker.client).recover()


@rows(
    "options",
    [{"older_than": -1}, {"older_than": "2m"}, {"limit": 0}, {"limit": True}, {"limit": 1.5}],
)
def test_limits_that_are_none(options: dict[str, Any], shop: Shop) -> None:
    """Each is refused before anything is done."""
    with pytest.raises(ValueError, match="must be a"):
        shop.linker.recover(**options)


# --- hand-offs


def test_a_hand_off_that_was_cut_is_unknown(shop: Shop) -> None:
    """The partner may have the token: the link is listed, and `hand_over` is left to look."""
    result = shop.link(shop.through_link(masks=["0000"]))

    def cut(_token: object) -> None:
        raise PowerCutError

    with pytest.raises(PowerCutError):
        shop.linker.hand_over(result.item_id, cut, partner="layer")
    assert shop.linker.recover() == RecoveryReport()  # it may be under way
    (unknown,) = shop.recover().unknown
    (handoff,) = unknown.link.handoffs
    assert (unknown.link.state, handoff.state) == ("complete", "unknown")
    assert "hand_over looks at the partner first" in str(handoff.error)
    assert unknown.reason == handoff.error
    assert shop.recover() == RecoveryReport()
    assert [each.item_id for each in shop.store.links(handoff="unknown")] == [result.item_id]


def test_a_hand_off_that_another_call_is_at_work_on(shop: Shop) -> None:
    """As long as its lease lasts, it is not touched, however old it is."""
    result = shop.link(shop.through_link(masks=["0000"]))
    reports: list[RecoveryReport] = []

    def slow(_token: object) -> str:
        reports.append(shop.recover())
        return "account-1"

    (handoff,) = shop.linker.hand_over(result.item_id, slow, partner="layer")
    assert reports == [RecoveryReport()]
    assert (handoff.state, handoff.reference) == ("done", "account-1")


# --- the command line


@pytest.fixture
def myapp(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """An application that the commands find, in the current folder."""
    module = ModuleType("myapp")
    client = shop.plaid.client
    module.make = lambda: ProcessorLinker(client(max_attempts=1), store=shop.store)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "myapp", module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return module


def test_the_command_recover(shop: Shop, myapp: ModuleType) -> None:
    """Counts, one line for each link that is not finished, no secret; 1 if there is one."""
    shop.cut_before_the_exchange(shop.through_link())
    shop.passes(121)
    done = run("recover", "--linker", "myapp:make")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "1 finished, 0 unknown, 0 failed\n",
        "",
    )

    lost, down = shop.through_link(), shop.through_link()
    shop.cut_before_the_exchange(lost, user="lost")
    shop.cut_after_the_exchange(down, user="down")
    ProcessorLinker(shop.linker.client).link("layer", public_token=lost.public_token)
    shop.plaid.fail(CREATE, error_code="INSTITUTION_DOWN", times=None)
    done = run("recover", "--linker", "myapp:make", "--older-than", "1h")
    assert (done.returncode, done.stdout) == (0, "0 finished, 0 unknown, 0 failed\n")
    done = run("recover", "--linker", "myapp:make", "--older-than", "0s")
    unknown, failed, counts = done.stdout.splitlines()
    assert counts == "0 finished, 1 unknown, 1 failed"
    assert unknown.startswith("unknown: link ")
    assert "of user lost: " in unknown
    assert "ask Plaid's support" in unknown
    assert failed.startswith(f"failed: Item {shop.of(down).item_id} of user down: ")
    assert "INSTITUTION_DOWN" in failed
    assert (done.returncode, done.stderr) == (
        1,
        "plaid-processors: links that are not finished: 2\n",
    )
    secrets = [
        lost.public_token,
        down.public_token,
        *(each.access_token for each in shop.plaid.items),
    ]
    assert [each for each in secrets if each in done.stdout + done.stderr] == []


def test_the_command_recover_does_at_most_so_many(shop: Shop, myapp: ModuleType) -> None:
    """``--limit``, and an attribute in place of a function."""
    for user in "uvw":
        shop.cut_after_the_exchange(shop.through_link(), user=user)
    myapp.linker = myapp.make()
    done = run("recover", "--linker", "myapp:linker", "--older-than", "0s", "--limit", "2")
    assert (done.returncode, done.stdout) == (0, "2 finished, 0 unknown, 0 failed\n")


def test_the_command_refresh(shop: Shop, myapp: ModuleType) -> None:
    """Each Item is looked at, one that fails holds up none, and what is to be done is told."""
    results = {user: shop.link(shop.through_link(), user=user) for user in "abcde"}
    items = {user: result.item_id for user, result in results.items()}
    shop.plaid.close_account(items["b"], results["b"].entries[0].account.account_id)
    shop.plaid.reset_login(items["c"])
    ProcessorLinker(shop.linker.client).remove(results["d"].access_token)
    (record,) = shop.store.page(LinkQuery(client_user_id="e"))
    shop.store.save(evolve(record, sealed=record.sealed[:-8] + "AAAAAAA="))
    assert run("refresh", "--linker", "myapp:make").stdout.startswith("0 refreshed")
    shop.passes(86401)
    done = run("refresh", "--linker", "myapp:make", "--older-than", "1d")
    *told, counts = done.stdout.splitlines()
    unreadable = "a stored link cannot be read: none of the keys fits, or it was changed"
    assert sorted(told, key=lambda line: line.split(" of user ")[1]) == [
        f"Item {items['b']} of user b: accounts that went: 1",
        f"Item {items['c']} of user c: needs repair (ITEM_LOGIN_REQUIRED)",
        f"Item {items['d']} of user d: needs stop (ITEM_NOT_FOUND)",
        f"Item {items['e']} of user e: {unreadable}",
    ]
    assert counts == "4 refreshed, 1 changed, 2 to act on, 1 failed"
    assert (done.returncode, done.stderr) == (
        1,
        "plaid-processors: Items that could not be refreshed: 1\n",
    )
    assert [
        each.access_token for each in results.values() if each.access_token in done.stdout
    ] == []


def test_the_command_refresh_is_interrupted(shop: Shop, myapp: ModuleType) -> None:
    """Ctrl-C ends it with its counts, and what was refreshed stays."""
    for user in "abc":
        shop.link(shop.through_link(), user=user)
    shop.passes(86401)
    shop.store.interrupt_at = 2
    done = run("refresh", "--linker", "myapp:make")
    assert (done.returncode, done.stderr) == (1, "plaid-processors: interrupted\n")
    assert done.stdout == "1 refreshed, 0 changed, 0 to act on, 0 failed\n"


@pytest.mark.usefixtures("myapp")
@rows(
    "named,words",
    [
        ("myapp", "must be module:attribute"),
        (":linker", "must be module:attribute"),
        ("nowhere.at_all:linker", "No module named 'nowhere'"),
        ("broken:linker", "broken cannot be imported: KeyError in"),
        ("wrong:linker", "wrong cannot be imported: cannot import name"),
        ("unfinished:linker", "SyntaxError in"),
        ("leaving:linker", "leaving cannot be imported: SystemExit in"),
        ("unset:linker", "unset cannot be imported: PLAID_CLIENT_ID"),
        ("shop:nothing", "shop has no nothing"),
        ("shop:number", "must be a ProcessorLinker, or a function"),
        ("shop:Shop", "must be a ProcessorLinker, or a function"),
        ("shop:number_of", "shop:number_of cannot be called: TypeError in"),
        ("shop:failing", "shop:failing cannot be called: ValueError in"),
        ("shop:awaited", "not AsyncProcessorLinker"),
        ("shop:bare", "shop:bare has no store"),
    ],
)
def test_a_linker_that_cannot_be_had(named: str, words: str, tmp_path: Path) -> None:
    """Each way to be wrong is one plain line, with status 2, without a foreign error's text."""
    (tmp_path / "broken.py").write_text("{}['postgresql://me:hunter22@db']\n")
    (tmp_path / "wrong.py").write_text("from plaid_processors import Nothing\n")
    (tmp_path / "unfinished.py").write_text("client = (\n'hunter22'\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "unset.py").write_text(
        "from plaid_processors import ProcessorLinker\nlinker = ProcessorLinker.from_env({})\n"
    )
    (tmp_path / "shop.py").write_text(SHOP)
    for command in ("recover", "refresh"):
        done = run(command, "--linker", named)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("plaid-processors: ")
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
        assert "hunter22" not in done.stderr
    for each in ("broken", "wrong", "leaving", "unset", "shop"):
        sys.modules.pop(each, None)


SHOP = """
from plaid_processors import AsyncProcessorLinker, PlaidClient, ProcessorLinker
from plaid_processors.store import MemoryStore

number = 5
client = PlaidClient(client_id="0123456789abcdef01234567", secret="5e" * 15)
awaited = AsyncProcessorLinker(client, store=MemoryStore())
bare = ProcessorLinker(client)

class Shop: ...

def number_of(what): ...

def failing():
    raise ValueError("postgresql://me:hunter22@db")
"""


@pytest.mark.usefixtures("myapp")
@rows(
    "option,value",
    [
        *(("--older-than", value) for value in ("2", "m", "-2m", "1.5h", "2 m", "1w", "")),
        *(("--limit", value) for value in ("0", "-1", "many", "1.5")),
    ],
)
def test_times_and_limits_that_are_none(option: str, value: str) -> None:
    """Wrong usage, which says what would be right."""
    done = run("recover", "--linker", "myapp:make", f"{option}={value}")
    assert done.returncode == 2
    assert ("such as 90s, 2m" if option == "--older-than" else "whole number") in done.stderr


def test_an_item_that_was_adopted_since() -> None:
    """It was linked before it was stored, whenever that was: the attempt is exchanged."""
    with opened() as shop:
        cut = shop.cut_before_the_exchange(shop.through_link())
        shop.store.adopt(
            access_token="access-sandbox-5e171e1a-aaaa-4bbb-8ccc-0123456789ab",
            client_user_id=cut.client_user_id,
            item_id="item-of-old",
        )
        report = shop.linker.recover(older_than=0)
        assert [each.link.key for each in report.finished] == [cut.key]
