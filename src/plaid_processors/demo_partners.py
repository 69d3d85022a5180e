"""The demo's last step: the tokens go to stand-ins for both partners, and what these then see."""

from __future__ import annotations

from collections.abc import Sequence

from .demo import _count, _heading, _line, _step, _timed
from .errors import PlaidProcessorsError
from .handoff import FinixSender, LayerSender
from .results import LinkResult
from .sandbox import LayerBook, LocalFinix, LocalLayer, LocalSandbox

_SHOWN = 4


def hand_over(plaid: LocalSandbox, layer: LinkResult, finix: LinkResult) -> None:
    """Hand both links' tokens over, and show what each partner has then."""
    _heading("From the token to the partner: local stand-ins for Layer and for Finix")
    with LocalLayer(plaid) as local_layer, LocalFinix(plaid) as local_finix:
        books = _to_layer(local_layer, layer)
        _to_finix(local_finix, finix)
        _compare(books, local_finix)


def _to_layer(partner: LocalLayer, result: LinkResult) -> tuple[LayerBook, ...]:
    business = partner.new_business()
    _step(
        "1. Your server hands Layer's tokens over", "LayerSender.hand_over(result, business_id=…)"
    )
    with LayerSender(
        client_id=partner.client_id,
        client_secret=partner.client_secret,
        base_url=partner.url,
        auth_url=partner.url,
    ) as sender:
        done, took = _timed(sender.hand_over, result, business_id=business)
        again = sender.hand_over(result, business_id=business)
    _line("→", "PUT /v1/businesses/…", f"{_count(done.sent, 'processor token')}", took)
    _line("=", "again", f"{_count(again.sent, 'token')} sent: nothing is new")
    books = partner.books(business)
    _step("   What Layer sees", "with its tokens, at the local Plaid")
    for book in books[:_SHOWN]:
        what = f"{book.balance:,.2f}, {_count(book.transactions, 'transaction')}"
        _line("·", f"{book.subtype} …{book.mask}", what)
    _line("·", f"and {len(books) - _SHOWN} more", "each account that the user connected")
    return books


def _to_finix(partner: LocalFinix, result: LinkResult) -> None:
    identity = partner.new_identity()
    _step("2. Your server hands Finix's token over", "FinixSender.hand_over(token, identity=…)")
    with FinixSender(
        username=partner.username, password=partner.password, base_url=partner.url
    ) as sender:
        made, took = _timed(sender.hand_over, result.token("finix"), identity=identity)
    _line("→", "POST /payment_instruments", f"identity …{identity[-4:]}")
    _line("←", f"instrument …{made.id[-4:]}", f"account {made.masked_account_number}", took)
    _step("   What Finix sees", "with its token, at the local Plaid")
    for seen in partner.instruments:
        owners = ", ".join(seen.owners)
        number = f"account …{seen.account_number[-4:]}, routing {seen.routing_number}"
        _line("·", f"{seen.subtype} …{seen.account_number[-4:]}", f"{number}, {owners}")


def _compare(books: Sequence[LayerBook], finix: LocalFinix) -> None:
    """Neither has an account or a token of the other's."""
    accounts = {each.account_id for each in books}
    tokens = {each.processor_token for each in books}
    for each in finix.instruments:
        if each.account_id in accounts or each.processor_token in tokens:
            raise PlaidProcessorsError("a partner sees what is the other's")
    counts = _count(len(books), "account"), _count(len(finix.instruments), "account")
    _step("   Neither sees the other's", "by account and by token")
    _line("=", "none in common", f"Layer {counts[0]}, Finix {counts[1]}")
