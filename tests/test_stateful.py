"""Links, failures, resumes and removals, interleaved: no Item that its owner does not know of."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from plaid_processors import (
    LinkedItem,
    LinkResult,
    PlaidApiError,
    PlaidConnectionError,
    PlaidProcessorsError,
    ProcessorLinker,
    unfinished,
)
from plaid_processors.sandbox import ItemState, LocalSandbox

EXCHANGE = "/item/public_token/exchange"
CREATE = "/processor/token/create"
ACCOUNTS = "/accounts/get"
REMOVE = "/item/remove"

faults = st.sampled_from(
    [
        {"drop": "unread"},
        {"drop": "before"},
        {"drop": "after"},
        {"cut": 30},
        {"cut": 90},
        {"json": {}, "status": 200, "work": True},
        {"json": [], "status": 200},
        {"status": 502, "work": True},
        {"status": 502},
        {"error_code": "INTERNAL_SERVER_ERROR", "work": True},
        {"error_code": "INSTITUTION_DOWN"},
        {"error_code": "RATE_LIMIT"},
        {"error_code": "CREDITS_EXHAUSTED"},
        {"error_code": "INVALID_API_KEYS"},
        {"error_code": "ITEM_LOGIN_REQUIRED"},
    ]
)
often = st.sampled_from([1, 1, 1, 2, None])
masks = st.sampled_from([["0000"], ["0000", "3333"], ["0000", "1111", "3333"]])


class ShopError(Exception):
    """The caller's own callback fails."""


class PowerCutError(BaseException):
    """What is no Exception, as KeyboardInterrupt is."""


class Shop(RuleBasedStateMachine):
    """A caller that keeps what it is told, against a local Plaid that knows the truth.

    `known` is what the caller holds: by access token, the latest result. `told` are the public
    tokens of the exchanges whose outcome is unknown, and `in_doubt` the access tokens of removals
    of which it is.
    """

    items = Bundle("items")

    @initialize(attempts=st.sampled_from([1, 2]))
    def open(self, attempts: int) -> None:
        self.plaid = LocalSandbox()
        self.plaid.start()
        client = self.plaid.client(max_attempts=attempts, timeout=5.0)
        self.linker = ProcessorLinker(client)
        self.link_token = self.linker.create_link_token(
            "layer", client_user_id="u", client_name="Acme"
        ).link_token
        self.known: dict[str, LinkResult] = {}
        self.told: set[str] = set()
        self.in_doubt: set[str] = set()
        self.public_tokens: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "plaid"):
            self.linker.close()
            self.plaid.close()

    @rule(
        target=items,
        masks=masks,
        given=st.booleans(),
        callback=st.sampled_from(["stores", "stores", "stores", "fails", "is cut off"]),
    )
    def link(self, masks: list[str], given: bool, callback: str) -> str | None:
        """Link a user; whatever happens, the caller keeps what it is told."""
        done = self.plaid.complete_link(self.link_token, masks=masks)
        for account in done.metadata["accounts"]:
            self.public_tokens[account["id"]] = done.public_token
        calls: list[LinkedItem] = []

        def on_exchange(item: LinkedItem) -> None:
            calls.append(item)
            if callback == "fails":
                raise ShopError
            if callback == "is cut off":
                raise PowerCutError

        accounts = done.metadata["accounts"] if given else None
        try:
            result: LinkResult | None = self.linker.link(
                "layer", public_token=done.public_token, accounts=accounts, on_exchange=on_exchange
            )
        except (PlaidProcessorsError, PowerCutError) as error:
            result = unfinished(error)
            if result is None:
                self._not_linked(error, done.public_token)
        if result is None:
            assert calls == []
            return None
        assert [each.access_token for each in calls] == [result.access_token]
        self.known[result.access_token] = result
        return result.access_token

    def _not_linked(self, error: BaseException, public_token: str) -> None:
        assert isinstance(error, (PlaidApiError, PlaidConnectionError))
        if error.outcome_unknown:
            assert error.support is not None
            assert error.support["public_token"][-4:] == public_token[-4:]
            self.told.add(public_token)

    @rule(item=items)
    def resume(self, item: str | None) -> None:
        """Ask for what is missing; what was there stays."""
        if item is None or item not in self.known:
            return
        before = self.known[item]
        try:
            after = self.linker.resume(LinkResult.from_dict(before.to_dict()))
            assert after.complete
        except PlaidProcessorsError as error:
            after = unfinished(error) or before
        assert set(before.processor_tokens) <= set(after.processor_tokens)
        self.known[item] = after

    @rule(item=consumes(items))
    def remove(self, item: str | None) -> None:
        """Remove an Item; where the answer is lost, it is in doubt until asked again."""
        if item is None or item not in self.known:
            return
        del self.known[item]
        self.in_doubt.add(item)
        self._settle(item)

    @rule()
    def remove_again(self) -> None:
        """Ask once more for all that is in doubt."""
        for item in sorted(self.in_doubt):
            self._settle(item)

    def _settle(self, item: str) -> None:
        try:
            assert self.linker.remove(item) in (True, False)
        except (PlaidApiError, PlaidConnectionError):
            return
        self.in_doubt.discard(item)

    @rule(path=st.sampled_from([EXCHANGE, CREATE, ACCOUNTS, REMOVE]), fault=faults, times=often)
    def trouble_ahead(self, path: str, fault: dict[str, Any], times: int | None) -> None:
        """Something will go wrong."""
        self.plaid.fail(path, times=times, **fault)

    @rule()
    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.plaid.clear_faults()

    @invariant()
    def plaid_has_what_the_caller_knows(self) -> None:
        """Every Item at Plaid is in the caller's hands, or the caller was told of it."""
        if not hasattr(self, "known"):
            return
        alive = {
            each.access_token: each
            for each in self.plaid.items
            if each.exchanged and not each.removed
        }
        assert set(self.known) <= set(alive)
        unknown = set(alive) - set(self.known) - self.in_doubt
        assert {self._public_token(alive[each]) for each in unknown} <= self.told

    def _public_token(self, item: ItemState) -> str:
        return self.public_tokens[item.account_ids[0]]

    @invariant()
    def tokens_are_plaids(self) -> None:
        """Every processor token that the caller holds was issued for that very Item."""
        if not hasattr(self, "known"):
            return
        issued = {each.access_token: set(each.processor_tokens) for each in self.plaid.items}
        for token, result in self.known.items():
            held = {each.processor_token for each in result.processor_tokens}
            assert held <= issued[token]


TestShop = Shop.TestCase
TestShop.__doc__ = "Whatever order things go wrong in, Plaid's Items are those the caller knows of."
TestShop.settings = settings(
    max_examples=40,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
