"""What every store can do with links: find, list, adopt, erase, encrypt again; and to whom."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields
from cryptography.fernet import Fernet

from plaid_processors import (
    AccessTokenError,
    Account,
    AccountSelectionError,
    AsyncProcessorLinker,
    ConfigurationError,
    DecryptionError,
    ItemNotStoredError,
    LinkIncompleteError,
    LinkResult,
    PartnerAdapter,
    PendingToken,
    ProcessorLinker,
    ProcessorToken,
    StoreConflictError,
    StoreError,
)
from plaid_processors.sandbox import LocalSandbox
from plaid_processors.store import (
    Handoff,
    HandoffState,
    LinkQuery,
    LinkRecord,
    LinkState,
    MemoryStore,
    SqlStore,
    Store,
    StoredLink,
)
from plaid_processors.store.sealing import three_way

from .support.faulty import (
    ACCESS_TOKEN,
    ACCOUNTS,
    CREATE,
    EXCHANGE,
    FaultyPlaid,
    exchanged,
    refusal,
)
from .support.rows import rows

KEY = Fernet.generate_key()
TOKEN = "processor-sandbox-5e171e1c-aaaa-4bbb-8ccc-0123456789ab"
OTHER = "processor-sandbox-5e171e1d-aaaa-4bbb-8ccc-0123456789ab"
MAPPING = {"processor": "finix", "account_id": "a-checking", "processor_token": TOKEN}
ADOPTED: dict[str, Any] = {
    "access_token": ACCESS_TOKEN,
    "client_user_id": "user-42",
    "item_id": "item-1",
}


class PlainCipher:
    """Encrypts nothing, so that a test can read and change what is stored."""

    key_id = "plain"

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        return context + b"\0" + data

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        about, _, text = data.partition(b"\0")
        if about != context:
            raise DecryptionError("in another one's place")
        return text


class TryingStore(MemoryStore):
    """A store in which a test comes between: called once, before the next save."""

    before_save: Callable[[], object] | None = None

    def save(self, record: LinkRecord) -> LinkRecord | None:
        now, self.before_save = self.before_save, None
        if now is not None:
            now()
        return super().save(record)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store of the package that needs no server."""
    if request.param == "memory":
        yield MemoryStore(keys=[KEY])
        return
    with SqlStore(f"sqlite:///{tmp_path}/links.db", keys=[KEY]) as sql:
        sql.create_tables()
        yield sql


@pytest.fixture
def make(local_plaid: LocalSandbox) -> Iterator[Callable[[Store], ProcessorLinker]]:
    """Makes linkers of the local Plaid that use a store."""
    with local_plaid.client() as client:
        yield lambda store: ProcessorLinker(client, store=store)


def found(store: Store, item_id: str | None) -> StoredLink:
    link = store.find(item_id or "")
    assert link is not None
    return link


def record_of(store: Store, item_id: str | None) -> LinkRecord:
    record = store.get(found(store, item_id).key)
    assert record is not None
    return record


# --- For a store of one's own

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
LAYERS = Handoff(processor="layer", account_id="a", state=HandoffState.DUE)
FINIXS = Handoff(
    processor="finix",
    account_id="b",
    state=HandoffState.UNKNOWN,
    reference="PI1",
    target="ID1",
    fingerprint="0123",
    before=("PI0",),
    error="no answer",
    updated_at=NOON,
)
FULL = LinkRecord(
    key="0" * 64,
    client_id="client",
    environment="sandbox",
    client_user_id="Zoë 🏦",
    state=LinkState.UNKNOWN,
    under_way=True,
    item_id="item-1",
    institution_id="ins_1",
    access_hash="f" * 64,
    processors=("layer", "finix"),
    handoffs=(LAYERS, FINIXS),
    reason="a reason",
    sealed="sealed",
    sealed_by="key",
    version=7,
    created_at=NOON - timedelta(days=1),
    updated_at=NOON + timedelta(microseconds=1),
)
BARE = LinkRecord(
    key="", client_id="", environment="", client_user_id="", state=LinkState.STARTED, sealed=""
)


def test_a_record_goes_through_json() -> None:
    """All of it, whatever is known; what a later version has added is left out."""
    for each in fields(LinkRecord):
        assert getattr(FULL, each.name) != each.default
    for each in fields(Handoff):
        assert getattr(FINIXS, each.name) != each.default
    for record in (FULL, BARE, evolve(FULL, handoffs=(evolve(FINIXS, before=()),))):
        form = record.to_dict()
        assert type(form["state"]) is str
        assert json.loads(json.dumps(form)) == form
        assert LinkRecord.from_dict(form) == record
        ways: Any = form["handoffs"]
        later = {**form, "new": 1, "handoffs": [{**each, "newer": None} for each in ways]}
        assert LinkRecord.from_dict(later) == record


@rows(
    "wrong",
    [
        {},
        [],
        None,
        {**FULL.to_dict(), "key": None},
        {**FULL.to_dict(), "state": "sealed"},
        {**FULL.to_dict(), "created_at": "sealed"},
        {**FULL.to_dict(), "processors": "layer"},
        {**FULL.to_dict(), "handoffs": None},
        {**FULL.to_dict(), "handoffs": [{"state": "due"}]},
    ],
)
def test_what_is_no_record_is_refused(wrong: Any) -> None:
    """The error does not show what is stored."""
    with pytest.raises(ValueError, match=r"^not a stored link: \w+$") as refused:
        LinkRecord.from_dict(wrong)
    assert refused.value.__suppress_context__


def test_what_a_record_becomes_when_it_is_saved() -> None:
    """Its version and times, by the clock of the store; a hand-off's own if it has not changed."""
    added = FULL.saved(None, NOON)
    assert (added.version, added.created_at, added.updated_at) == (1, NOON, NOON)
    assert [each.updated_at for each in added.handoffs] == [NOON, NOON]

    later = NOON + timedelta(hours=1)
    sent = evolve(added.handoffs[0], state=HandoffState.DONE)
    changed = evolve(added, state=LinkState.COMPLETE, handoffs=(sent, added.handoffs[1]))
    saved = evolve(changed, created_at=None).saved(added, later)
    assert saved == evolve(
        changed,
        version=2,
        updated_at=later,
        handoffs=(evolve(sent, updated_at=later), added.handoffs[1]),
    )


def test_what_is_old_by_the_stores_clock() -> None:
    """Not by this machine's, unless no time is given. `check_store` proves the rest of a query."""
    query = LinkQuery(older_than=60)
    record = evolve(FULL, updated_at=NOON)
    assert query.fits(record, NOON + timedelta(seconds=61))
    assert not query.fits(record, NOON + timedelta(seconds=60))
    assert query.fits(evolve(FULL, updated_at=datetime.now(UTC) - timedelta(seconds=90)))
    assert not query.fits(evolve(FULL, updated_at=datetime.now(UTC)))
    assert not query.fits(BARE)


def test_a_time_without_a_zone_is_utc() -> None:
    """As SQLite's columns give it to a store of one's own."""
    naive = evolve(FULL, updated_at=NOON.replace(tzinfo=None))
    form = {**FULL.to_dict(), "updated_at": NOON.replace(tzinfo=None).isoformat()}
    assert LinkRecord.from_dict(form).updated_at == NOON
    for now in (NOON, NOON.replace(tzinfo=None)):
        assert LinkQuery(older_than=60).fits(naive, now + timedelta(seconds=61))
        assert not LinkQuery(older_than=60).fits(naive, now + timedelta(seconds=60))
    assert LinkQuery().fits(naive)


# --- find and links


def test_find_has_all_of_a_link(
    make: Callable[[Store], ProcessorLinker], store: Store, local_plaid: LocalSandbox
) -> None:
    """The result, whose it is, how far it is, and the way of each token."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    result = make(store).link_sandbox(["layer", "dwolla"], client_user_id="user-42")
    link = found(store, result.item_id)
    assert link.result == result
    assert (link.item_id, link.institution_id) == (result.item_id, "ins_109508")
    assert (link.client_id, link.environment) == (local_plaid.client_id, "sandbox")
    assert (link.client_user_id, link.state, link.reason) == ("user-42", "complete", None)
    assert link.version > 1
    assert link.created_at is not None
    assert link.updated_at is not None
    assert began < link.created_at <= link.updated_at < datetime.now(UTC) + timedelta(minutes=1)
    ways = [link.handoff(token) for token in result.processor_tokens]
    assert len(ways) == len(link.handoffs) == 15
    assert {(way and way.state) for way in ways} == {HandoffState.DUE}
    assert [(way and way.fingerprint) for way in ways] == [
        token.fingerprint for token in result.processor_tokens
    ]
    assert store.find("item-9") is None
    assert store.find("") is None


def test_links_by_each_filter(make: Callable[[Store], ProcessorLinker], store: Store) -> None:
    """Each filter leaves out the others; together they are narrower."""
    linker = make(store)
    layer = linker.link_sandbox("layer", client_user_id="user-1")
    finix = linker.link_sandbox("finix", client_user_id="user-2")
    store.adopt(
        access_token="access-production-1",
        client_user_id="user-2",
        item_id="item-p",
        client_id="b" * 24,
        tokens=[{**MAPPING, "processor_token": "pt", "reference": "PI1"}],
    )
    linker.remove(item_id=layer.item_id)

    def ids(**filters: Any) -> set[str | None]:
        return {each.item_id for each in store.links(**filters)}

    every = {layer.item_id, finix.item_id, "item-p"}
    assert ids() == every
    assert ids(client_user_id="user-1") == {layer.item_id}
    assert ids(processor="finix") == {finix.item_id, "item-p"}
    assert ids(state="removed") == ids(state=LinkState.REMOVED) == {layer.item_id}
    assert ids(handoff="done") == ids(handoff="done", processor="finix") == {"item-p"}
    assert ids(handoff="due", processor="finix") == {finix.item_id}
    assert ids(handoff="refused") == {layer.item_id}  # what was due when it was removed
    assert ids(environment="production") == ids(client_id="b" * 24) == {"item-p"}
    assert ids(client_user_id="user-2", environment="sandbox") == {finix.item_id}
    assert ids(state="complete", processor="layer") == set()
    assert ids(include_removed=False) == {finix.item_id, "item-p"}
    assert ids(include_removed=False, state="complete") == {finix.item_id, "item-p"}
    assert ids(include_removed=False, state="removed") == set()
    assert found(store, layer.item_id).state == "removed"
    assert store.find(layer.item_id, include_removed=False) is None
    assert store.find(finix.item_id, include_removed=False) is not None


def test_what_a_page_may_show(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """Each bank and its accounts, JSON-ready, with the tokens that are missing, and without one."""
    linker = make(store)
    token = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme")
    done = local_plaid.complete_link(token.link_token, masks=["0000", "1111"])
    local_plaid.fail("/processor/token/create", error_code="INTERNAL_SERVER_ERROR", times=None)
    with pytest.raises(LinkIncompleteError), linker.with_options(max_attempts=1) as once:
        once.link(
            "layer",
            public_token=done.public_token,
            metadata=done.metadata,
            client_user_id="user-42",
        )
    local_plaid.clear_faults()
    (link,) = store.links()
    shown = link.summary()
    checking = {"label": "checking …0000", "processor": "layer", "handoff": None}
    assert shown["accounts"][0].items() > checking.items()
    assert shown["state"] == "linked"

    changes = linker.refresh(item_id=str(link.item_id))
    shown = found(store, link.item_id).summary()
    assert json.loads(json.dumps(shown)) == shown
    assert list(shown) == [
        "item_id",
        "state",
        "institution_id",
        "institution_name",
        "created_at",
        "updated_at",
        "accounts",
    ]
    assert (shown["item_id"], shown["state"]) == (link.item_id, "complete")
    assert (shown["institution_id"], shown["institution_name"]) == (
        "ins_109508",
        "First Platypus Bank",
    )
    assert datetime.fromisoformat(shown["created_at"]) <= datetime.fromisoformat(
        shown["updated_at"]
    )
    assert [each["handoff"] for each in shown["accounts"]] == ["due", "due"]
    assert {each["account_id"] for each in shown["accounts"]} == {
        each.account.account_id for each in changes.issued
    }
    secrets = [changes.result.access_token, *(each.processor_token for each in changes.issued)]
    assert not [each for each in secrets if each in json.dumps(shown)]

    linker.remove(item_id=str(link.item_id))
    store.erase(str(link.item_id))
    shown = found(store, link.item_id).summary()
    assert (shown["state"], shown["institution_name"], shown["accounts"]) == ("removed", None, [])


@pytest.mark.slow
def test_links_come_in_pages(store: Store) -> None:
    """Several pages, each link once; the first comes before the last was read."""
    for number in range(410):
        store.adopt(
            access_token=f"access-sandbox-{number}",
            client_user_id=f"user-{number % 2}",
            item_id=f"item-{number}",
        )
    pages = 0
    read = store.page

    def page(*args: Any, **options: Any) -> Any:
        nonlocal pages
        pages += 1
        return read(*args, **options)

    store.page = page  # type: ignore[method-assign]
    links = store.links()
    assert next(links)
    assert pages == 1
    assert 1 + len(list(links)) == 410
    assert pages == 3
    assert len({each.item_id for each in store.links(client_user_id="user-1")}) == 205


@rows(
    "filters, choices",
    [
        ({"state": "done"}, "started, linked, complete, unknown, removed"),
        ({"handoff": "linked"}, "due, sending, done, refused, unknown"),
        ({"environment": "development"}, "sandbox, production"),
        ({"state": TOKEN}, "started, linked, complete, unknown, removed"),
    ],
)
def test_a_wrong_filter_is_refused_with_the_choices(filters: dict[str, str], choices: str) -> None:
    """At once, and not when the first link is read; what was passed is not shown."""
    with pytest.raises(ValueError, match=choices) as refused:
        MemoryStore().links(**filters)
    assert TOKEN not in str(refused.value)


def test_no_id_is_not_every_link(store: Store) -> None:
    """A webhook may name no Item: that must not find another user's, nor forget them all."""
    nobody: Any = None
    store.adopt(**ADOPTED)
    with pytest.raises(TypeError, match="item_id"):
        store.find(nobody)
    record = record_of(store, "item-1")
    store.save(evolve(record, state=LinkState.REMOVED))
    with pytest.raises(TypeError, match="item_id"):
        store.erase(nobody)
    assert found(store, "item-1").result is not None
    for odd in ("", "\0", "item-1\0", "\ud800", "item-1\n"):  # no database looks for all of these
        assert store.find(odd) is None


def test_another_users_item_is_not_found(store: Store) -> None:
    """Where a browser names the Item, and the session the user."""
    link = store.adopt(**ADOPTED)
    assert store.find("item-1", client_user_id=link.client_user_id) == link
    assert store.find("item-1", client_user_id="another") is None
    nobody: Any = None
    with pytest.raises(TypeError, match="client_user_id"):  # a session without a user
        store.find("item-1", client_user_id=nobody)


def test_an_item_that_was_linked_twice(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """Update mode's public token, exchanged, gives the same Item: the link saved last is found."""
    store = MemoryStore()
    linker = ProcessorLinker(make_client(), store=store)
    for number in (1, 2):
        linker.link("layer", public_token=f"public-sandbox-{number}", client_user_id="user-42")
    assert len(list(store.links())) == 2
    assert faulty.asked(EXCHANGE)[1] == {
        **faulty.asked(EXCHANGE)[0],
        "public_token": "public-sandbox-2",
    }
    first, second = sorted(store.links(), key=lambda each: str(each.updated_at))
    assert found(store, "item-1") == second
    assert first.key != second.key
    assert linker.remove(item_id="item-1")
    assert [each.state for each in store.links()] == [LinkState.REMOVED] * 2
    store.erase("item-1")
    assert [each.result for each in store.links()] == [None, None]


# --- adopt


def test_adopt_takes_over_an_item(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """Before any linker uses the store; then every call works by its id, as if linked here."""
    with ProcessorLinker(local_plaid.client()) as plain:
        old = plain.link_sandbox("finix")
    token = old.token("finix")
    mapping = {
        "processor": "finix",
        "account_id": token.account.account_id,
        "processor_token": token.processor_token,
        "reference": "PI1",
    }
    given: dict[str, Any] = {
        "access_token": old.access_token,
        "client_user_id": "user-42",
        "item_id": old.item_id,
        "tokens": [mapping],
    }
    link = store.adopt(**given)
    assert link == found(store, old.item_id)
    assert (link.client_id, link.environment, link.state) == ("", "sandbox", "complete")
    assert link.result is not None
    assert link.result.token("finix").processor_token == token.processor_token
    (way,) = link.handoffs
    assert (way.state, way.reference, way.fingerprint) == ("done", "PI1", token.fingerprint)

    linker = make(store)
    assert linker.status(item_id=old.item_id).healthy
    assert linker.accounts(item_id=old.item_id)
    linker.issue("layer", item_id=old.item_id)
    changes = linker.refresh(item_id=old.item_id)
    assert not changes.changed
    link = found(store, old.item_id)
    assert link.client_id == local_plaid.client_id  # the first linker that used it
    assert link.result is not None
    assert len(link.result.processor_tokens) == 15
    assert link.handoff(link.result.token("finix")) == way
    # Once more, as a script that was interrupted does: nothing is undone.
    again = store.adopt(**given)
    assert again == found(store, old.item_id) == link
    assert linker.remove(item_id=old.item_id)


def test_adopt_takes_token_objects(make: Callable[[Store], ProcessorLinker]) -> None:
    """A result of another time can be adopted as it is; a token without a reference is unknown."""
    old = make(MemoryStore()).link_sandbox("layer", client_user_id="user-42")
    store = MemoryStore()
    link = store.adopt(
        access_token=old.access_token,
        client_user_id="user-42",
        item_id=old.item_id or "",
        institution_id="ins_109508",
        tokens=old.processor_tokens,
    )
    assert link.result is not None
    assert link.result.processor_tokens == old.processor_tokens
    assert link.institution_id == "ins_109508"
    assert {each.state for each in link.handoffs} == {HandoffState.UNKNOWN}
    due = MemoryStore().adopt(**ADOPTED, tokens=old.processor_tokens, handoff="due")
    assert {each.state for each in due.handoffs} == {HandoffState.DUE}


def test_adopting_twice_does_no_harm(store: Store) -> None:
    """The same again changes nothing; what is new is added; what the store knows better stays."""
    first = store.adopt(**ADOPTED, tokens=[MAPPING])
    assert store.adopt(**ADOPTED, tokens=[MAPPING]) == first
    assert store.adopt(**ADOPTED) == first
    assert store.adopt(**ADOPTED, tokens=[MAPPING], handoff="done").handoffs == first.handoffs
    dwolla = {**MAPPING, "processor": "dwolla", "processor_token": OTHER}
    both = store.adopt(**ADOPTED, tokens=[MAPPING, dwolla])
    assert [each.processor for each in both.result.processor_tokens if both.result] == [
        "finix",
        "dwolla",
    ]
    (finix, _) = both.handoffs
    assert finix == first.handoffs[0]
    # The reference was found later.
    learned = store.adopt(**ADOPTED, tokens=[{**MAPPING, "reference": "PI1"}])
    assert [(each.state, each.reference) for each in learned.handoffs] == [
        ("done", "PI1"),
        ("unknown", None),
    ]
    assert store.adopt(**ADOPTED, tokens=[MAPPING]) == learned
    assert len(list(store.links())) == 1


def _with_an_account_that_went(
    linker: ProcessorLinker, local_plaid: LocalSandbox
) -> tuple[LinkResult, LinkResult]:
    """A result, and what `refresh` left of it when the first account was closed."""
    old = linker.link_sandbox("layer", client_user_id="user-42")
    local_plaid.close_account(old, old.processor_tokens[0].account.account_id)
    return old, linker.refresh(item_id=old.item_id).result


def test_an_account_that_went_does_not_come_back_by_an_old_result(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """Such as the one that a retry has, or the row of an old table that is adopted again."""
    linker = make(store)
    old, now = _with_an_account_that_went(linker, local_plaid)
    account_id = old.processor_tokens[0].account.account_id
    local_plaid.reset_login(old)
    for again in (
        lambda: linker.resume(old),
        lambda: linker.refresh(old),
        lambda: store.adopt(
            access_token=old.access_token,
            client_user_id="user-42",
            item_id=str(old.item_id),
            tokens=old.processor_tokens,
        ),
    ):
        again()
        after = found(store, old.item_id)
        assert after.result == now
        (way,) = (each for each in after.handoffs if each.account_id == account_id)
        assert way.state == "refused"


def test_an_account_that_came_back_is_kept(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """By a newer token than the one that went: of a result that could not be stored, or adopted."""
    linker = make(store)
    old, _ = _with_an_account_that_went(linker, local_plaid)
    token = old.processor_tokens[0]
    local_plaid.reset_login(old)  # so that no refresh takes it out again

    new = evolve(token, processor_token=OTHER, issued_at=datetime.now(UTC))
    resumed = linker.resume(evolve(old, entries=[new]))
    assert new in resumed.processor_tokens
    (way,) = (each for each in found(store, old.item_id).handoffs if each.key == new.key)
    assert (way.state, way.error) == ("due", None)


def test_an_adopted_token_of_an_account_that_came_back_is_kept(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """Another program made it, and the partner has it."""
    old, _ = _with_an_account_that_went(make(store), local_plaid)
    account_id = old.processor_tokens[0].account.account_id

    row = {"processor": "layer", "account_id": account_id, "processor_token": OTHER}
    store.adopt(
        access_token=old.access_token,
        client_user_id="user-42",
        item_id=str(old.item_id),
        tokens=[{**row, "reference": "L2"}],
    )
    link = found(store, old.item_id)
    assert link.result is not None
    assert OTHER in [each.processor_token for each in link.result.processor_tokens]
    (way,) = (each for each in link.handoffs if each.account_id == account_id)
    assert (way.state, way.reference) == ("done", "L2")


def test_a_reference_outlives_that_its_token_is_missing(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox
) -> None:
    """While it is made again, and where that fails."""
    store = MemoryStore(keys=[KEY])
    linker = make(store)
    link = linker.link_sandbox("dwolla", client_user_id="user-42")
    (token,) = link.processor_tokens
    linker.hand_over(str(link.item_id), lambda _: "fs1", partner="dwolla")
    again = {"item_id": link.item_id, "reissue": [token.account.account_id]}
    linker.refresh(**again)
    local_plaid.fail(CREATE, error_code="INVALID_FIELD", times=1)
    with pytest.raises(Exception, match="INVALID_FIELD"):
        linker.refresh(**again)
    linker.refresh(**again)
    (way,) = found(store, link.item_id).handoffs
    assert (way.state, way.reference) == ("due", "fs1")


def test_adopting_again_names_the_client(store: Store) -> None:
    """A script that did not name it the first time, before a linker used the Item."""
    assert store.adopt(**ADOPTED).client_id == ""
    store.adopt(**ADOPTED, client_id="mine")
    assert found(store, "item-1").client_id == "mine"
    with pytest.raises(StoreConflictError):
        store.adopt(**ADOPTED, client_id="another")


def test_adopting_again_brings_no_older_token_back(
    faulty: FaultyPlaid, make_client: Callable[..., Any], store: Store
) -> None:
    """A script that runs again after `refresh` made a new token leaves that alone."""
    store.adopt(**ADOPTED, tokens=[MAPPING], handoff="due")
    linker = ProcessorLinker(make_client(), store=store)
    newer = linker.refresh(item_id="item-1", reissue=True).result.token("finix")
    assert newer.processor_token != TOKEN
    link = store.adopt(**ADOPTED, tokens=[MAPPING])
    assert link.result is not None
    assert link.result.processor_tokens == (newer,)
    assert [(each.state, each.fingerprint) for each in link.handoffs] == [
        ("due", newer.fingerprint)
    ]
    latest = evolve(newer, processor_token=OTHER, issued_at=datetime.now(UTC) + timedelta(hours=1))
    link = store.adopt(**ADOPTED, tokens=[latest], handoff="done")
    assert link.result is not None
    assert link.result.processor_tokens == (latest,)
    assert [(each.state, each.fingerprint) for each in link.handoffs] == [
        ("done", latest.fingerprint)
    ]
    assert faulty.asked(CREATE)


def test_what_was_removed_is_not_adopted_again(
    make_client: Callable[..., Any], store: Store
) -> None:
    """Nor what was erased: its tokens do not come back by a script that runs again."""
    store.adopt(**ADOPTED, tokens=[MAPPING])
    linker = ProcessorLinker(make_client(), store=store)
    assert linker.remove(item_id="item-1")
    removed = found(store, "item-1")
    assert removed.state is LinkState.REMOVED
    dwolla = {**MAPPING, "processor": "dwolla", "processor_token": OTHER}
    assert store.adopt(**ADOPTED, tokens=[dwolla]) == found(store, "item-1") == removed
    store.erase("item-1")
    link = store.adopt(**ADOPTED, tokens=[MAPPING])
    assert (link.state, link.result) == (LinkState.REMOVED, None)
    assert found(store, "item-1") == link


def test_adopting_many(store: Store) -> None:
    """Ten Items, by two workers at once that have the same list: each is there once."""
    rows = [
        {**ADOPTED, "access_token": f"access-sandbox-{number}", "item_id": f"item-{number}"}
        for number in range(10)
    ]
    errors: list[Exception] = []

    def work() -> None:
        try:
            for row in rows:
                store.adopt(**row, tokens=[MAPPING])
        except StoreError as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert sorted(str(each.item_id) for each in store.links()) == [
        f"item-{number}" for number in range(10)
    ]


def test_another_users_or_clients_item_is_not_adopted(store: Store) -> None:
    """The store has it already, and it is left as it is."""
    first = store.adopt(**ADOPTED, client_id="a" * 24)
    for other in ({"client_user_id": "user-43"}, {"client_id": "b" * 24}):
        for tokens in ([], [MAPPING]):
            with pytest.raises(StoreConflictError):
                store.adopt(**{**ADOPTED, **other}, tokens=tokens)
    assert found(store, "item-1") == first
    assert store.adopt(**ADOPTED) == first  # of whichever client


@rows(
    "wrong",
    [
        {"access_token": TOKEN},
        {"access_token": "access-development-1"},
        {"access_token": ""},
        {"access_token": None},
        {"client_user_id": ""},
        {"client_user_id": None},
        {"item_id": " "},
        {"item_id": None},
        {"handoff": "sent"},
        {"tokens": [{}]},
        {"tokens": [{**MAPPING, "processor_token": None}]},
        {"tokens": [{**MAPPING, "processor_token": ""}]},
        {"tokens": [{**MAPPING, "account_id": 5}]},
        {"tokens": [{**MAPPING, "processor_token": ACCESS_TOKEN}]},
        {"tokens": [{**MAPPING, "processor_token": TOKEN.replace("sandbox", "production")}]},
        {"tokens": [TOKEN]},
        {"tokens": [{**MAPPING, "reference": OTHER}]},
        {"tokens": [{**MAPPING, "account_id": OTHER}]},
        {"tokens": [{**MAPPING, "processor": OTHER}]},
        {"item_id": OTHER},
        {"client_user_id": OTHER},
        {"client_id": OTHER},
        {"institution_id": OTHER},
        {"public_token": 5},
        {"public_token": b"x"},
        {"public_token": ""},
        {"public_token": ACCESS_TOKEN},
        {"tokens": [MAPPING, {**MAPPING, "processor": None}]},
    ],
)
def test_what_is_no_item_is_not_adopted(wrong: dict[str, Any]) -> None:
    """A column that was NULL, or another's, is an error that shows no token; nothing is stored."""
    store = MemoryStore()
    with pytest.raises((ValueError, TypeError)) as refused:
        store.adopt(**{**ADOPTED, **wrong})
    assert "sandbox-5e" not in str(refused.value)
    assert list(store.links()) == []


def test_of_two_tokens_for_one_account_the_newer_is_adopted() -> None:
    """A table that has old ones too can be passed whole."""
    now = datetime.now(UTC)
    old, new = (
        ProcessorToken(
            processor="finix",
            account=Account(account_id="a-checking"),
            processor_token=token,
            issued_at=now - timedelta(days=days),
        )
        for token, days in ((TOKEN, 9), (OTHER, 1))
    )
    for tokens in ([old, new], [new, old], [MAPPING, new]):
        link = MemoryStore().adopt(**ADOPTED, tokens=tokens)
        assert link.result is not None
        assert link.result.processor_tokens == (new,)
        assert [each.fingerprint for each in link.handoffs] == [new.fingerprint]


# --- erase


def test_erase_forgets_all_but_ids_and_times(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox
) -> None:
    """Refused before the Item is removed; then nothing secret is left in what was encrypted."""
    store = MemoryStore(cipher=PlainCipher())
    linker = make(store)
    token = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme")
    done = local_plaid.complete_link(token.link_token, masks=["0000"])
    result = linker.link(
        "layer",
        public_token=done.public_token,
        metadata=done.metadata,
        client_user_id="user-42",
    )
    before = found(store, result.item_id)
    with pytest.raises(StoreError, match="remove"):
        store.erase(result.item_id or "")
    assert found(store, result.item_id) == before
    linker.remove(item_id=result.item_id, reason_code="OTHER")

    erased = store.erase(result.item_id or "")
    assert found(store, result.item_id) == erased
    assert erased.result is None
    assert (erased.item_id, erased.client_user_id) == (before.item_id, "user-42")
    assert (erased.state, erased.reason, erased.created_at) == (
        "removed",
        "OTHER",
        before.created_at,
    )
    assert [each.fingerprint for each in erased.handoffs] == [
        each.fingerprint for each in result.processor_tokens
    ]
    left = _form(store, result.item_id)
    assert {key for key, value in left.items() if value} == {"format"}
    assert store.erase(result.item_id or "").result is None  # twice does no harm

    assert linker.remove(item_id=result.item_id) is False
    for call in (linker.status, linker.accounts, linker.refresh):
        with pytest.raises(ItemNotStoredError):
            call(item_id=result.item_id)
    with pytest.raises(ItemNotStoredError):
        store.erase("item-9")


def test_what_was_erased_meanwhile_does_not_come_back(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox
) -> None:
    """A slow call of another process does not write its tokens into the erased link."""
    store = TryingStore(keys=[KEY])
    linker = make(store)
    result = linker.link_sandbox("layer", client_user_id="user-42")

    def meanwhile() -> None:
        linker.remove(item_id=result.item_id)
        store.erase(result.item_id or "")

    store.before_save = meanwhile
    with pytest.raises(StoreError):
        linker.issue("finix", item_id=result.item_id, accounts=[_checking(result)])
    link = found(store, result.item_id)
    assert (link.state, link.result) == (LinkState.REMOVED, None)


def test_a_refused_link_leaves_no_names_of_accounts(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """What the browser said of a link that came to nothing is not kept: no Item's id erases it."""
    store = MemoryStore(cipher=PlainCipher())
    faulty.on(EXCHANGE, refusal("INVALID_INPUT", "INVALID_PUBLIC_TOKEN"))
    linker = ProcessorLinker(make_client(), store=store)
    account = {"id": "a", "name": "Ada's savings", "mask": "4321", "subtype": "savings"}
    with pytest.raises(Exception, match="INVALID_PUBLIC_TOKEN"):
        linker.link(
            "layer", public_token="public-sandbox-1", accounts=[account], client_user_id="user-42"
        )
    (link,) = store.links()
    record = store.get(link.key)
    assert record is not None
    sealed = base64.urlsafe_b64decode(record.sealed)
    assert b"4321" not in sealed
    assert b"public-sandbox" not in sealed


# --- encrypt again


def test_reencrypt_with_a_new_key(store: Store) -> None:
    """In steps, also from the middle; then the old key is not needed, and nothing else changed."""
    for number in range(7):
        store.adopt(**{**ADOPTED, "item_id": f"item-{number}"}, tokens=[MAPPING])
    before = list(store.links())
    new = Fernet.generate_key()
    assert store.reencrypt() == 0  # all are by the only key

    store.cipher = MemoryStore(keys=[new, KEY]).cipher
    assert list(store.links()) == before
    assert store.reencrypt(limit=3) == 3
    store.adopt(**{**ADOPTED, "item_id": "item-8"})  # another process goes on meanwhile
    assert store.reencrypt(limit=3) == 3
    assert store.reencrypt(limit=3) == 1
    assert store.reencrypt(limit=3) == 0

    store.cipher = MemoryStore(keys=[new]).cipher
    after = {each.key: each for each in store.links()}
    assert len(after) == 8
    assert [after[each.key].result for each in before] == [each.result for each in before]
    assert [after[each.key].handoffs for each in before] == [each.handoffs for each in before]

    store.cipher = MemoryStore(keys=[KEY]).cipher
    with pytest.raises(DecryptionError):
        store.find("item-1")


def test_reencrypt_while_another_process_writes(make: Callable[[Store], ProcessorLinker]) -> None:
    """What the other process saves in between is kept."""
    store = TryingStore(keys=[KEY])
    linker = make(store)
    result = linker.link_sandbox("layer", client_user_id="user-42")
    new = Fernet.generate_key()
    store.cipher = MemoryStore(keys=[new, KEY]).cipher
    store.before_save = lambda: linker.issue(
        "finix", item_id=result.item_id, accounts=[_checking(result)]
    )
    while store.reencrypt(limit=1):
        pass
    store.cipher = MemoryStore(keys=[new]).cipher
    link = found(store, result.item_id)
    assert link.result is not None
    assert {each.processor for each in link.result.processor_tokens} == {"layer", "finix"}


def test_a_link_that_cannot_be_read_does_not_hold_the_others_up(store: Store) -> None:
    """All others are encrypted again; then the error says that something is left."""
    for number in range(3):
        store.adopt(**{**ADOPTED, "item_id": f"item-{number}"})
    record = record_of(store, "item-1")
    store.save(evolve(record, sealed=record.sealed[:-8] + "AAAAAAA="))
    store.cipher = MemoryStore(keys=[Fernet.generate_key(), KEY]).cipher
    assert store.reencrypt(limit=5) == 2
    with pytest.raises(DecryptionError):
        store.reencrypt(limit=5)


def test_a_job_over_all_links_passes_over_what_cannot_be_read(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """If it says so, and with a warning that names the Item; else it is an error."""
    for number in range(3):
        store.adopt(**{**ADOPTED, "item_id": f"item-{number}"})
    sealed = record_of(store, "item-1").sealed
    for damaged in (sealed[:-8] + "AAAAAAA=", sealed[:-1], "AAA", "é", ""):
        (record,) = store.page(LinkQuery(item_id="item-1"))
        store.save(evolve(record, sealed=damaged))

        with pytest.raises(DecryptionError):
            list(store.links())
        caplog.clear()
        readable = [each.item_id for each in store.links(skip_unreadable=True)]

        assert sorted(map(str, readable)) == ["item-0", "item-2"]
        (warning,) = [each.getMessage() for each in caplog.records]
        assert "item-1" in warning
        assert "cannot be read" in warning


def test_reencrypt_needs_the_name_of_the_key() -> None:
    """A cipher of one's own without one."""

    class Nameless(PlainCipher):
        key_id = None  # type: ignore[assignment]

    store = MemoryStore(cipher=Nameless())
    store.adopt(**ADOPTED)
    with pytest.raises(ConfigurationError, match="key_id"):
        store.reencrypt()


@rows("limit", [0, -1, "500", True])
def test_reencrypt_by_none_is_not_all_done(limit: Any) -> None:
    """What it returns says whether the old keys are still needed."""
    store = MemoryStore(keys=[KEY])
    store.adopt(**ADOPTED)
    store.cipher = MemoryStore(keys=[Fernet.generate_key(), KEY]).cipher
    with pytest.raises(ValueError, match="limit"):
        store.reencrypt(limit=limit)


class Broken(PlainCipher):
    """A cipher whose service is away."""

    away = False

    def encrypt(self, data: bytes, context: bytes) -> bytes:
        if self.away:
            raise OSError("the key service is away")
        return super().encrypt(data, context)

    def decrypt(self, data: bytes, context: bytes) -> bytes:
        if self.away:
            raise OSError("the key service is away")
        return super().decrypt(data, context)


def test_a_cipher_that_fails_is_a_failure_of_the_store(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """No error of the user's own comes out of a call; nothing was sent; later it works."""
    cipher = Broken()
    store = MemoryStore(cipher=cipher)
    linker = ProcessorLinker(make_client(), store=store)
    store.adopt(**ADOPTED)
    cipher.away = True
    calls: list[Callable[[], object]] = [
        lambda: store.adopt(**{**ADOPTED, "item_id": "item-2"}),
        lambda: store.find("item-1"),
        lambda: linker.link("layer", public_token="public-sandbox-1", client_user_id="user-42"),
        lambda: linker.status(item_id="item-1"),
        lambda: store.reencrypt() or next(store.links()),
    ]
    for call in calls:
        with pytest.raises(StoreError) as failed:
            call()
        assert not isinstance(failed.value, DecryptionError)
        assert isinstance(failed.value.__cause__, OSError)
    assert faulty.paths == []
    cipher.away = False
    assert found(store, "item-1").result


# --- whose it is


def test_a_linker_sees_its_own_clients_links_alone(store: Store) -> None:
    """One database for two clients of Plaid's, even with equal ids: no call crosses over."""
    with (
        LocalSandbox(client_id="a" * 24, seed="same") as one,
        LocalSandbox(client_id="b" * 24, seed="same") as two,
        ProcessorLinker(one.client(), store=store) as first,
        ProcessorLinker(two.client(), store=store) as second,
    ):
        result = first.link_sandbox("layer", client_user_id="user-42")
        calls: list[Callable[[], object]] = [
            lambda: second.status(item_id=result.item_id),
            lambda: second.accounts(item_id=result.item_id),
            lambda: second.refresh(item_id=result.item_id),
            lambda: second.issue("layer", item_id=result.item_id),
            lambda: second.remove(item_id=result.item_id),
            lambda: second.create_link_token(
                "layer", client_user_id="user-42", client_name="Acme", item_id=result.item_id
            ),
        ]
        for call in calls:
            with pytest.raises(ItemNotStoredError):
                call()
        before = found(store, result.item_id)
        # By its access token, which the second Plaid knows too after this: its own copy.
        own = ProcessorLinker(two.client()).link_sandbox("layer")
        assert (own.access_token, own.item_id) == (result.access_token, result.item_id)
        second.issue("layer", access_token=result.access_token)
        assert second.remove(result.access_token)
        assert found(store, result.item_id) == before
        assert first.status(item_id=result.item_id).healthy


def test_a_public_token_of_another_clients_link_is_refused(
    faulty: FaultyPlaid, make_client: Callable[..., Any], store: Store
) -> None:
    """Two tenants number their users alike: what one has linked is not given to the other."""
    given: dict[str, Any] = {"public_token": "public-sandbox-1", "client_user_id": "user-42"}
    first = ProcessorLinker(make_client(client_id="a" * 24), store=store)
    second = ProcessorLinker(make_client(client_id="b" * 24), store=store)
    result = first.link("layer", **given)
    with pytest.raises(StoreConflictError):
        second.link("layer", **given)
    assert len(faulty.asked(EXCHANGE)) == 1
    assert first.link("layer", **given) == result


def test_one_item_at_two_clients(
    faulty: FaultyPlaid, make_client: Callable[..., Any], store: Store
) -> None:
    """Each has a link of its own, and changes that alone."""
    linkers = {
        client_id: ProcessorLinker(make_client(client_id=client_id), store=store)
        for client_id in ("a" * 24, "b" * 24)
    }
    for client_id, linker in linkers.items():
        faulty.on(EXCHANGE, exchanged(f"access-sandbox-{client_id}"))
        linker.link("layer", public_token=f"public-sandbox-{client_id}", client_user_id="user-42")
    assert linkers["a" * 24].remove(item_id="item-1")
    states = {each.client_id: each.state for each in store.links()}
    assert states == {"a" * 24: "removed", "b" * 24: "complete"}
    assert faulty.requests[-1].json["access_token"] == f"access-sandbox-{'a' * 24}"
    assert found(store, "item-1").client_id == "b" * 24  # the one that is there


def test_an_adopted_item_is_the_first_linkers(
    make_client: Callable[..., Any], store: Store
) -> None:
    """From then on another client does not see it."""
    store.adopt(**ADOPTED, tokens=[MAPPING])
    first = ProcessorLinker(make_client(client_id="a" * 24), store=store)
    second = ProcessorLinker(make_client(client_id="b" * 24), store=store)
    first.refresh(item_id="item-1", reissue=True)
    assert found(store, "item-1").client_id == "a" * 24
    with pytest.raises(ItemNotStoredError):
        second.refresh(item_id="item-1")


@rows("column", ["client_id", "environment", "client_user_id", "item_id", "key"])
def test_a_row_in_another_ones_place_is_not_read(column: str) -> None:
    """What a row is about is bound to what is encrypted in it."""
    store = MemoryStore(keys=[KEY])
    store.adopt(**ADOPTED)
    other = {"environment": "production"}.get(column, "f" * 64)
    record = evolve(record_of(store, "item-1"), **{column: other})
    if column == "key":
        store.add(record)
    else:
        store.save(record)
    with pytest.raises(DecryptionError) as refused:
        list(store.links())
    assert "access-sandbox" not in repr(refused.value)


# --- two versions at once


def _form(store: Store, item_id: str | None) -> Any:
    record = record_of(store, item_id)
    return json.loads(base64.urlsafe_b64decode(record.sealed).partition(b"\0")[2])


def _put(store: Store, item_id: str | None, form: object) -> None:
    record = record_of(store, item_id)
    about = base64.urlsafe_b64decode(record.sealed).partition(b"\0")[0]
    sealed = base64.urlsafe_b64encode(about + b"\0" + json.dumps(form).encode()).decode()
    assert store.save(evolve(record, sealed=sealed))


_LATER = {"a_later": {"version": ["knows", {"this": 1}]}}
# Names that this version has, but elsewhere.
_ELSEWHERE = {"name": "a later result's", "permissions": ["x"], "mask": "later"}


def test_what_a_later_version_wrote_is_kept(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox
) -> None:
    """Unknown names in every part of the stored form outlive each call of this version."""
    store = MemoryStore(cipher=PlainCipher())
    linker = make(store)
    result = linker.link_sandbox("layer", client_user_id="user-42")
    item_id = result.item_id
    form = _form(store, item_id)
    form |= _LATER
    form["result"] |= {**_LATER, **_ELSEWHERE}
    for entry in form["result"]["entries"]:
        entry |= {**_LATER, "mask": "later"}
        entry["account"] |= {**_LATER, "processor": "later", "environment": "later"}
    _put(store, item_id, form)
    assert found(store, item_id).result == result

    def check(entries: int) -> None:
        now = _form(store, item_id)
        assert now["a_later"] == _LATER["a_later"]
        for name, value in {**_LATER, **_ELSEWHERE}.items():
            assert now["result"][name] == value
        kept = [each for each in now["result"]["entries"] if "a_later" in each]
        assert len(kept) == entries
        for each in kept:
            assert each["mask"] == "later"
            assert each["account"]["a_later"] == _LATER["a_later"]
            assert each["account"]["processor"] == each["account"]["environment"] == "later"
        assert found(store, item_id).result is not None

    linker.issue("finix", item_id=item_id, accounts=[_checking(result)])
    check(14)
    linker.refresh(item_id=item_id, reissue=True)
    check(14)
    item = next(each for each in local_plaid.items if each.item_id == item_id)
    local_plaid.close_account(item, result.processor_tokens[-1].account.account_id)
    linker.refresh(item_id=item_id)
    check(13)
    linker.resume(linker.refresh(item_id=item_id).result)
    check(13)
    store.cipher.key_id = "another"  # type: ignore[attr-defined]
    assert store.reencrypt() == 1
    check(13)
    linker.remove(item_id=item_id)
    check(13)


def test_a_later_versions_names_outlive_the_exchange(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """A link that another version has begun is gone on with."""
    store = MemoryStore(cipher=PlainCipher())
    linker = ProcessorLinker(make_client(), store=store)
    given: dict[str, Any] = {"public_token": "public-sandbox-1", "client_user_id": "user-42"}
    faulty.on(CREATE, refusal("INVALID_REQUEST", "INVALID_FIELD"))
    with pytest.raises(LinkIncompleteError):
        linker.link("layer", **given)
    form = _form(store, "item-1")
    assert len(form["result"]["entries"]) == 2
    for entry in form["result"]["entries"]:
        entry |= _LATER
    _put(store, "item-1", {**form, **_LATER})
    assert found(store, "item-1").state is LinkState.LINKED
    faulty.on(CREATE)
    with FaultyPlaid() as usual:
        linker = ProcessorLinker(make_client(base_url=usual.url), store=store)
        assert linker.link("layer", **given).complete
    after = _form(store, "item-1")
    assert after["a_later"] == after["result"]["entries"][0]["a_later"] == _LATER["a_later"]


@rows("path", [(), ("result",)])
def test_a_later_format_is_refused_with_its_number(path: tuple[str, ...]) -> None:
    """By a typed error that says to update, and not by a guess."""
    store = MemoryStore(cipher=PlainCipher())
    store.adopt(**ADOPTED, tokens=[MAPPING])
    form = _form(store, "item-1")
    part = form
    for name in path:
        part = part[name]
    part["format"] = 2
    _put(store, "item-1", form)
    for call in (lambda: store.find("item-1"), lambda: list(store.links()), store.reencrypt):
        if call == store.reencrypt:
            store.cipher.key_id = "another"  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match=r"format 2.*update") as refused:
            call()
        assert not isinstance(refused.value, DecryptionError)
        assert TOKEN not in str(refused.value)


# --- two at the same moment


def _checking(result: Any) -> Account:
    return next(
        each.account for each in result.processor_tokens if each.account.subtype == "checking"
    )


def test_two_linkers_change_one_link_at_once(make: Callable[[Store], ProcessorLinker]) -> None:
    """One issues for Finix while another makes Layer's tokens again: both are kept."""
    store = TryingStore(keys=[KEY])
    linker, other = make(store), make(store)
    result = linker.link_sandbox("layer", client_user_id="user-42")
    changed: list[Any] = []
    store.before_save = lambda: changed.append(other.refresh(item_id=result.item_id, reissue=True))
    finix = linker.issue("finix", item_id=result.item_id, accounts=[_checking(result)])
    link = found(store, result.item_id)
    assert link.result is not None
    assert set(link.result.processor_tokens) == {
        *changed[0].result.processor_tokens,
        *finix.processor_tokens,
    }
    assert {each.fingerprint for each in link.handoffs} == {
        each.fingerprint for each in link.result.processor_tokens
    }
    assert link.state is LinkState.COMPLETE


def test_a_new_access_token_is_adopted(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """Once Plaid has exchanged it for another; a call that began with the old one leaves it."""
    store = TryingStore(keys=[KEY])
    linker = ProcessorLinker(make_client(), store=store)
    store.adopt(**ADOPTED, tokens=[MAPPING])
    new = {**ADOPTED, "access_token": "access-sandbox-new"}
    store.before_save = lambda: store.adopt(**new)
    linker.issue("dwolla", item_id="item-1", account_id="a-checking")
    linker.accounts(item_id="item-1")
    assert faulty.requests[-1].json["access_token"] == "access-sandbox-new"
    link = found(store, "item-1")
    assert link.result is not None
    assert len(link.result.processor_tokens) == 2


@pytest.mark.parametrize(
    "partner", ["finix", PartnerAdapter(processor="unit", products=("auth",), single=True)]
)
def test_of_two_that_are_refused_at_once_nothing_stays(
    make: Callable[[Store], ProcessorLinker],
    local_plaid: LocalSandbox,
    tmp_path: Path,
    partner: Any,
) -> None:
    """The second does not take what the first has begun for what was there before."""
    url = f"sqlite:///{tmp_path}/links.db"
    with SqlStore(url, keys=[KEY]) as one, SqlStore(url, keys=[KEY]) as another:
        one.create_tables()
        link = make(one).link_sandbox("layer", client_user_id="user-42")
        local_plaid.clear_requests()
        local_plaid.fail(ACCOUNTS, delay=0.5)

        def refused(store: Store, partner: Any) -> None:
            with pytest.raises(AccountSelectionError):  # two accounts fit
                make(store).issue(partner, item_id=link.item_id)

        save = another.save

        def save_after_the_first(record: LinkRecord) -> LinkRecord | None:
            first.result(30)
            return save(record)

        another.save = save_after_the_first  # type: ignore[method-assign]
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(refused, one, "finix")
            while found(one, link.item_id).state == "complete":
                assert not first.done()
            refused(another, partner)
        after = found(one, link.item_id)
    assert (after.state, after.result) == ("complete", link)
    assert {each.path for each in local_plaid.requests} == {ACCOUNTS}


def test_a_token_that_another_got_first_is_not_lost(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """Two ask for the same token at once, and one of them in vain: the other's is kept."""
    store = TryingStore(keys=[KEY])
    linker, other = (ProcessorLinker(make_client(), store=store) for _ in range(2))
    store.adopt(**ADOPTED)
    got: list[Any] = []

    def meanwhile() -> None:
        pending = PendingToken(processor="finix", account=Account(account_id="a-checking"))
        item = found(store, "item-1").result
        assert item is not None
        got.append(other.resume(evolve(item, entries=[pending])))
        faulty.on(CREATE, refusal("INVALID_REQUEST", "INVALID_FIELD"))

    store.before_save = meanwhile
    with pytest.raises(Exception, match="INVALID_FIELD"):
        linker.issue("finix", item_id="item-1", account_id="a-checking")
    link = found(store, "item-1")
    assert link.result is not None
    assert link.result.processor_tokens == got[0].processor_tokens
    assert (link.state, len(link.handoffs)) == (LinkState.COMPLETE, 1)


def test_an_issue_that_fails_leaves_the_token_before_it(
    faulty: FaultyPlaid, make_client: Callable[..., Any], store: Store
) -> None:
    """Asking again for a token that the store has: the new one replaces it, a failure does not."""
    linker = ProcessorLinker(make_client(), store=store)
    link = store.adopt(**ADOPTED, tokens=[MAPPING])
    faulty.on(CREATE, refusal("INVALID_REQUEST", "INVALID_FIELD"))
    with pytest.raises(Exception, match="INVALID_FIELD"):
        linker.issue("finix", item_id="item-1", account_id="a-checking")
    after = found(store, "item-1")
    assert (after.result, after.handoffs, after.state) == (link.result, link.handoffs, link.state)


def test_a_handoff_that_another_records_meanwhile_is_kept(
    make: Callable[[Store], ProcessorLinker],
) -> None:
    """One process refreshes while another hands over."""
    store = TryingStore(keys=[KEY])
    linker = make(store)
    result = linker.link_sandbox("layer", client_user_id="user-42")
    first, second, *_ = found(store, result.item_id).handoffs

    def hand_over(handoff: Any, reference: str) -> None:
        record = record_of(store, result.item_id)
        done = evolve(handoff, state="done", reference=reference)
        ways = tuple(done if each.key == done.key else each for each in record.handoffs)
        assert store.save(evolve(record, handoffs=ways))

    store.before_save = lambda: hand_over(first, "L1")
    linker.issue("finix", item_id=result.item_id, accounts=[_checking(result)])
    store.before_save = lambda: hand_over(second, "L2")
    linker.refresh(item_id=result.item_id)
    ways = {each.key: each for each in found(store, result.item_id).handoffs}
    assert (ways[first.key].state, ways[first.key].reference) == ("done", "L1")
    assert (ways[second.key].state, ways[second.key].reference) == ("done", "L2")
    assert len(ways) == 15


@rows(
    "base, mine, theirs, expected",
    [
        ("", "", "", ""),
        ("a1", "a1", "a1", "a1"),
        ("a1", "a2", "a1", "a2"),
        ("a1", "a1", "a2", "a2"),
        ("a1", "a1b1", "a1c1", "a1b1c1"),
        ("a1b1", "a1", "a1b1", "a1"),
        ("a1b1", "a1b1", "a1", "a1"),
        ("a1b1", "a1", "a1b2", "a1b2"),  # changed by the other: not taken away
        ("a1b1", "a1b2", "a1", "a1b2"),
        ("", "a1", "a2", "a2"),  # by rank
        ("a1", "a3", "a2", "a3"),
        ("a2", "a1", "a2", "a1"),  # changed by me alone, whatever the rank
        ("", "a1", "b1", "a1b1"),
    ],
)
def test_three_way(base: str, mine: str, theirs: str, expected: str) -> None:
    """What each has changed is kept."""

    def values(text: str) -> list[str]:
        return [text[at : at + 2] for at in range(0, len(text), 2)]

    merged = three_way(
        *map(values, (base, mine, theirs)), lambda each: each[0], lambda each: each[1]
    )
    assert "".join(sorted(merged)) == expected


def test_a_link_that_ends_well_has_no_reason(
    faulty: FaultyPlaid, make_client: Callable[..., Any], store: Store
) -> None:
    """What an earlier attempt failed by is forgotten once it is done."""
    linker = ProcessorLinker(make_client(), store=store)
    given: dict[str, Any] = {"public_token": "public-sandbox-1", "client_user_id": "user-42"}
    faulty.on(EXCHANGE, refusal("API_ERROR", "INTERNAL_SERVER_ERROR", status=500), exchanged())
    with pytest.raises(Exception, match="INTERNAL_SERVER_ERROR"):
        linker.link("layer", **given)
    (link,) = store.links()
    assert (link.state in ("removed", "unknown"), bool(link.reason)) == (True, True)
    linker.link("layer", **given)
    (link,) = store.links()
    assert (link.state, link.reason) == (LinkState.COMPLETE, None)


# --- nothing shows


def test_no_token_shows(
    make: Callable[[Store], ProcessorLinker], local_plaid: LocalSandbox, store: Store
) -> None:
    """`repr` and `str` of what is stored mask every token, a public one too."""
    linker = make(store)
    token = linker.create_link_token("layer", client_user_id="user-42", client_name="Acme")
    done = local_plaid.complete_link(token.link_token, masks=["0000"])
    shown: list[str] = []
    wanted = store.add

    def add(record: LinkRecord) -> LinkRecord:
        shown.append(repr(record))
        return wanted(record)

    store.add = add  # type: ignore[method-assign]
    result = linker.link(
        "layer",
        public_token=done.public_token,
        metadata=done.metadata,
        client_user_id="user-42",
        on_exchange=lambda _: shown.extend(repr(each) for each in store.links()),
    )
    link = found(store, result.item_id)
    shown += [repr(link), str(link), repr(link.handoffs), repr(record_of(store, result.item_id))]
    shown += [repr(store), repr(store.cipher), repr(linker)]
    secrets = [done.public_token, result.access_token, KEY.decode()]
    secrets += [each.processor_token for each in result.processor_tokens]
    assert [secret for secret in secrets if any(secret in each for each in shown)] == []
    assert record_of(store, result.item_id).sealed not in "".join(shown)
    assert len(shown) > 5


def test_an_async_linker_uses_the_same_store(local_plaid: LocalSandbox, store: Store) -> None:
    """What one kind of linker has stored, the other finds."""
    import asyncio

    async def main() -> Any:
        async with AsyncProcessorLinker(local_plaid.client(), store=store) as linker:
            result = await linker.link_sandbox("layer", client_user_id="user-42")
            assert (await linker.status(item_id=result.item_id)).healthy
            return result

    result = asyncio.run(main())
    assert found(store, result.item_id).result == result


def test_a_wrong_client_does_not_claim_an_adopted_item(
    faulty: FaultyPlaid, make_client: Callable[..., Any]
) -> None:
    """Plaid refuses its keys for the Item: the right client finds it all the same."""
    store = MemoryStore()
    store.adopt(**ADOPTED)
    wrong = ProcessorLinker(make_client(client_id="fedcba9876543210fedcba98"), store=store)
    faulty.on("/item/get", refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN"))
    with pytest.raises(AccessTokenError):
        wrong.refresh(item_id="item-1")
    faulty.on(CREATE, refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN"))
    with pytest.raises(AccessTokenError):
        wrong.issue("layer", item_id="item-1")
    faulty.on("/item/get")
    faulty.on(CREATE)
    right = ProcessorLinker(make_client(), store=store)
    right.refresh(item_id="item-1")
    found = store.find("item-1")
    assert found is not None
    assert found.client_id == right.client.client_id
    with pytest.raises(ItemNotStoredError):
        wrong.refresh(item_id="item-1")
