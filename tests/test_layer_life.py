"""The hand-off to Layer while links live: Items go, accounts go, other processes hand over too."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from time import sleep
from typing import Any

import httpx
import pytest

from plaid_processors import (
    Account,
    ConfigurationError,
    LinkResult,
    ProcessorLinker,
    ProcessorToken,
)
from plaid_processors.handoff import (
    AsyncLayerSender,
    HandoffError,
    HandoffRequest,
    LayerHandoff,
    LayerSender,
    PartnerApiError,
    layer_archive_request,
    layer_request,
)
from plaid_processors.handoff.layer_tokens import LayerAccount, all_tokens, what_is_dead
from plaid_processors.sandbox import LocalLayer, LocalSandbox

from .support.rows import rows

Link = Callable[[], LinkResult]


class Sender:
    """Either sender of a process of its own, called alike."""

    def __init__(self, layer: LocalLayer, kind: str, **more: Any) -> None:
        self.options: dict[str, Any] = {
            "client_id": layer.client_id,
            "client_secret": layer.client_secret,
            "base_url": layer.url,
            "auth_url": layer.url,
            "timeout": 10.0,
            **more,
        }
        self.kind = kind

    def hand_over(self, *args: Any, **options: Any) -> LayerHandoff:
        if self.kind == "blocking":
            with LayerSender(**self.options) as sender:
                return sender.hand_over(*args, **options)
        return asyncio.run(self._hand_over(*args, **options))

    async def _hand_over(self, *args: Any, **options: Any) -> LayerHandoff:
        async with AsyncLayerSender(**self.options) as sender:
            return await sender.hand_over(*args, **options)


@pytest.fixture(params=["blocking", pytest.param("awaited", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


@pytest.fixture(params=["append", "replace"])
def layer(request: pytest.FixtureRequest, local_plaid: LocalSandbox) -> Iterator[LocalLayer]:
    """It is not known whether Layer's PUT appends or replaces."""
    with LocalLayer(local_plaid, puts=request.param) as partner:
        yield partner


@pytest.fixture
def link(linker: ProcessorLinker, through_link: Callable[..., Any]) -> Link:
    """Links two accounts of a bank, an Item of its own each time."""

    def go() -> LinkResult:
        done = through_link(masks=["0000", "3333"])
        return linker.link("layer", public_token=done.public_token, metadata=done.metadata)

    return go


def held(layer: LocalLayer, business: str) -> set[str]:
    return {each.processor_token for each in layer.books(business)}


def texts(*results: LinkResult) -> set[str]:
    return {each.processor_token for result in results for each in result.processor_tokens}


def accounts(result: LinkResult) -> tuple[str, ...]:
    return tuple(each.account.account_id for each in result.processor_tokens)


def puts(layer: LocalLayer) -> int:
    return [each.method for each in layer.requests].count("PUT")


# --- Items and accounts that go


def test_after_an_item_was_removed_its_tokens_are_not_sent_again(
    layer: LocalLayer, kind: str, link: Link, linker: ProcessorLinker
) -> None:
    """The refusal names the dead tokens; with `gone` the living ones reach Layer."""
    old, other, new, business = link(), link(), link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over([*old.processor_tokens, *other.processor_tokens], business_id=business)
    linker.remove(old.access_token)
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over(new, business_id=business)
    dead = old.processor_tokens[0]
    assert caught.value.account_ids == (dead.account.account_id,)
    assert f"account {dead.account.account_id} (token {dead.fingerprint})" in str(caught.value)
    assert "gone=" in caught.value.advice
    assert old.processor_tokens[1].fingerprint not in str(caught.value)
    assert not any(each in f"{caught.value} {vars(caught.value)}" for each in texts(old, new))
    assert held(layer, business) == texts(old, other)

    done = sender.hand_over(new, business_id=business, gone=old)
    assert done.new == new.processor_tokens
    assert (done.sent, done.missing) == (4, ())
    assert {each.plaid_account_id for each in done.gone} == set(accounts(old))
    assert texts(other, new) <= held(layer, business)
    if layer.puts == "replace":
        assert held(layer, business) == texts(other, new)
    assert not sender.hand_over(new, business_id=business, gone=old).changed


def test_after_an_account_went_the_others_go_on(
    layer: LocalLayer,
    kind: str,
    link: Link,
    linker: ProcessorLinker,
    local_plaid: LocalSandbox,
) -> None:
    """One account of an Item is revoked; its token is not sent again, the others' are."""
    old, business = link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    lost, kept = old.processor_tokens
    local_plaid.revoke(old, account_id=lost.account.account_id)
    again = linker.issue("layer", access_token=old.access_token, accounts=[kept.account])
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over(again, business_id=business)
    assert caught.value.account_ids == (lost.account.account_id,)
    done = sender.hand_over(again, business_id=business, gone=caught.value.account_ids)
    assert (done.new, done.sent) == (again.processor_tokens, 1)
    assert texts(again) <= held(layer, business)
    # The result that still has the dead token hands over the living one alone.
    assert not sender.hand_over(old.merge(again), business_id=business, gone=lost.account).changed


def test_after_the_last_account_went_there_is_nothing_to_send(
    layer: LocalLayer, kind: str, link: Link
) -> None:
    """What is gone can be said without any token that lives, and comes back to be archived."""
    old, business = link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    before = puts(layer)
    none_left = old.without(account_ids=accounts(old))
    done = sender.hand_over(none_left, business_id=business, gone=accounts(old))
    assert (done.sent, done.new) == (0, ())
    assert {each.plaid_account_id for each in done.gone} == set(accounts(old))
    assert puts(layer) == before
    with pytest.raises(ConfigurationError, match="no processor token"):
        sender.hand_over(none_left, business_id=business)


def test_a_broken_login_at_another_bank_is_to_be_repaired(
    layer: LocalLayer, kind: str, link: Link, local_plaid: LocalSandbox
) -> None:
    """The advice is update mode: the token is not dead."""
    broken, other, business = link(), link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(broken, business_id=business)
    local_plaid.reset_login(broken)
    with pytest.raises(PartnerApiError, match="ITEM_LOGIN_REQUIRED") as caught:
        sender.hand_over(other, business_id=business)
    assert "update mode" in caught.value.advice
    assert "dead" not in caught.value.advice


def test_a_newer_token_of_what_is_gone_is_sent(
    layer: LocalLayer, kind: str, link: Link, linker: ProcessorLinker
) -> None:
    """A result or a token that is gone says nothing of what was issued later."""
    old, business = link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    for gone in (old, [*old.processor_tokens]):
        anew = linker.issue(
            "layer",
            access_token=old.access_token,
            accounts=[each.account for each in old.processor_tokens],
        )
        assert sender.hand_over(anew, business_id=business, gone=gone).new == anew.processor_tokens
        assert held(layer, business) == texts(anew)
        old = old.merge(anew)


def test_a_layer_that_does_not_say_which_token_is_dead(
    layer: LocalLayer, kind: str, link: Link, linker: ProcessorLinker
) -> None:
    """Then all that were sent are named, as those that may be."""
    old, new, business = link(), link(), layer.new_business()
    layer.dead = "hide"
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    linker.remove(old.access_token)
    with pytest.raises(PartnerApiError) as caught:
        sender.hand_over(new, business_id=business)
    assert caught.value.account_ids == ()
    for token in (*old.processor_tokens, *new.processor_tokens):
        assert f"account {token.account.account_id} (token {token.fingerprint})" in str(
            caught.value
        )
    assert "gone=" in caught.value.advice
    assert sender.hand_over(new, business_id=business, gone=[old]).sent == 2


@rows("words", ["INVALID_ACCOUNT_ID: {account}", "ITEM_NOT_FOUND ({token}).", "'{account}'"])
def test_a_refusal_may_name_the_account_or_the_token(
    words: str, layer: LocalLayer, kind: str, link: Link
) -> None:
    """Either is found in the answer's words, which are masked."""
    result, business = link(), layer.new_business()
    dead = result.processor_tokens[1]
    said = words.format(account=dead.account.account_id, token=dead.processor_token)
    error = {"type": "ClientError", "error_enum": "SpecifiedBadRequest", "description": said}
    layer.fail(f"PUT /v1/businesses/{business}", status=400, json={"errors": [error]})
    with pytest.raises(PartnerApiError) as caught:
        Sender(layer, kind).hand_over(result, business_id=business)
    assert caught.value.account_ids == (dead.account.account_id,)
    assert dead.processor_token not in str(caught.value)


def test_a_layer_that_leaves_dead_tokens_out(
    layer: LocalLayer,
    kind: str,
    link: Link,
    linker: ProcessorLinker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is refused then; of the tokens given, those that Layer does not list are told."""
    old, new, business = link(), link(), layer.new_business()
    layer.dead = "ignore"
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    linker.remove(old.access_token)
    assert sender.hand_over(new, business_id=business).missing == ()
    assert texts(new) <= held(layer, business)
    over = link()
    linker.remove(over.access_token)
    layer.clear_requests()
    with caplog.at_level(logging.WARNING, logger="plaid_processors"):
        done = sender.hand_over(over, business_id=business)
    assert done.missing == accounts(over)
    assert puts(layer) == 3
    assert all(each in caplog.text for each in accounts(over))
    assert not any(each in caplog.text for each in texts(over))


def test_what_gone_may_be(link: Link, linker: ProcessorLinker) -> None:
    """Account ids, accounts, tokens, results, one alone or several."""
    result = link()
    first, second = result.processor_tokens
    listed = [
        LayerAccount(
            plaid_account_id=each.account.account_id, plaid_processor_token=each.processor_token
        )
        for each in result.processor_tokens
    ]

    def sent(gone: Any, tokens: tuple[ProcessorToken, ...] = ()) -> set[str]:
        return set(all_tokens("b", listed, tokens, what_is_dead(gone, tokens)))

    for one in (first, first.account, first.account.account_id, first.processor_token):
        assert sent(one) == sent([one]) == {second.processor_token}
    assert sent(result) == sent([first, second.account]) == sent(x for x in [result]) == set()
    assert sent(()) == texts(result)
    anew = linker.issue("layer", access_token=result.access_token).processor_tokens[0]
    assert anew.key == first.key
    assert sent(result, (anew,)) == {anew.processor_token}
    for wrong in (None, [None], [{"id": "a"}], 5):
        with pytest.raises(TypeError):
            sent(wrong)


def test_a_token_hidden_by_layer_may_be_gone(
    layer: LocalLayer, kind: str, link: Link, linker: ProcessorLinker
) -> None:
    """A token that Layer does not list cannot be sent; if its account is gone, it need not be."""
    old, new, business = link(), link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(old, business_id=business)
    linker.remove(old.access_token)
    rows = [{**each.view(), "plaid_processor_token": None} for each in layer.books(business)]
    layer.fail(f"GET /v1/businesses/{business}/plaid/accounts", json={"data": rows})
    assert sender.hand_over(new, business_id=business, gone=accounts(old)).sent == 2
    assert texts(new) <= held(layer, business)


# --- archiving


def test_the_request_that_archives_an_account() -> None:
    """As Layer documents it; ids that cannot be one are refused."""
    request = layer_archive_request("biz/1", "acc 2")
    assert (request.method, request.changes, request.content) == ("POST", True, None)
    assert request.path == "/v1/businesses/biz%2F1/external-accounts/acc%202/archive"
    assert request.headers["Content-Type"] == "application/json"


@rows("ids", [("", "a"), ("b", ""), ("b", " a"), ("processor-sandbox-0123456789ab", "a")])
def test_what_cannot_be_archived(ids: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        layer_archive_request(*ids)


def send(layer: LocalLayer, request: HandoffRequest) -> httpx.Response:
    """Sends a request with a client of the caller's own."""
    with httpx.Client(base_url=layer.url) as client:
        keys, form = (layer.client_id, layer.client_secret), {"grant_type": "client_credentials"}
        bearer = client.post("/oauth2/token", data=form, auth=keys).json()["access_token"]
        headers = {**request.headers, "Authorization": f"Bearer {bearer}"}
        return client.request(request.method, request.path, headers=headers, json=request.json)


def test_what_is_gone_can_be_archived(
    layer: LocalLayer, kind: str, link: Link, linker: ProcessorLinker
) -> None:
    """The partner first, then the Item: afterwards nothing of it is sent, without `gone` too."""
    old, new, business = link(), link(), layer.new_business()
    sender = Sender(layer, kind)
    for each in sender.hand_over(old, business_id=business).before:
        raise AssertionError(each)
    going = sender.hand_over(old, business_id=business, gone=old).gone
    assert len(going) == 2
    for account in going:
        assert account.id is not None
        assert send(layer, layer_archive_request(business, account.id)).status_code == 200
    linker.remove(old.access_token)
    assert all(each.archived for each in layer.books(business))
    done = sender.hand_over(new, business_id=business)
    assert (done.sent, done.gone) == (2, ())
    assert send(layer, layer_archive_request(business, "nobody")).status_code == 404


# --- other processes


def ready(_number: int) -> None:
    """Keeps one process busy, so that the other one starts too."""
    sleep(1)


@pytest.mark.slow
@rows("slow", ["PUT {}", "GET {}/plaid/accounts"])
def test_two_processes_do_not_drop_each_others_tokens_unnoticed(
    slow: str, layer: LocalLayer, link: Link
) -> None:
    """Both have read before either sends; who is dropped sees it, and sends again.

    Also where the second sends when the first has long got its answer.
    """
    banks, business = [link(), link()], layer.new_business()
    layer.fail(slow.format(f"/v1/businesses/{business}"), delay=0.6, times=2)
    # Within one process, calls for one business are one after the other.
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        hand_over = Sender(layer, "blocking").hand_over
        list(pool.map(ready, range(2)))
        layer.clear_requests()
        first = pool.submit(hand_over, banks[0], business_id=business)
        while slow.startswith("GET") and "GET" not in {each.method for each in layer.requests}:
            sleep(0.01)
        sleep(0.2 if slow.startswith("GET") else 0)
        second = pool.submit(hand_over, banks[1], business_id=business)
        assert [first.result().missing, second.result().missing] == [(), ()]
    assert held(layer, business) == texts(*banks)


@pytest.mark.slow
@rows("given", ["before", "new"])
def test_what_another_process_drops_is_sent_again(
    given: str, layer: LocalLayer, kind: str, link: Link
) -> None:
    """Whether it was there before or is new; and what the other one sent stays."""
    first, second, other, business = link(), link(), link(), layer.new_business()
    sender = Sender(layer, kind)
    sender.hand_over(first, business_id=business)
    path = f"/v1/businesses/{business}"
    stays = first if given == "new" else second
    layer.fail(f"PUT {path}", delay=0.3)

    def interfere() -> None:
        """Replaces the tokens after the PUT, as a process that knows none of them would."""
        while texts(second) - held(layer, business):
            sleep(0.01)
        request = layer_request(business, [*texts(stays, other)])
        assert send(layer, request).status_code == 200

    thread = threading.Thread(target=interfere)
    thread.start()
    done = sender.hand_over(second, business_id=business)
    thread.join()
    assert done.missing == ()
    assert held(layer, business) == texts(first, second, other)


def test_a_list_that_fails_after_the_tokens_were_sent(
    layer: LocalLayer, kind: str, link: Link
) -> None:
    """Layer has them, which the error does not deny; the next call finds nothing to do."""
    result, business = link(), layer.new_business()
    layer.fail(f"GET /v1/businesses/{business}/plaid/accounts", skip=1, status=503)
    sender = Sender(layer, kind)
    with pytest.raises(HandoffError) as caught:
        sender.hand_over(result, business_id=business)
    assert caught.value.outcome_unknown
    assert "Nothing was changed" not in str(caught.value)
    assert not sender.hand_over(result, business_id=business).changed
    assert held(layer, business) == texts(result)


def test_an_account_named_by_hand() -> None:
    """An account that the caller describes is known by its id alone."""
    assert what_is_dead(Account(account_id="a", mask="0000"), ()) == {"a"}
