"""The HTTP interface, and what happens to a link behind it."""

import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Thread
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.decorators import login_required
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie
from django.views.static import serve

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import FinixSender, HandoffRefusedError, LayerSender
from plaid_processors.store import FernetCipher, StoredLink

from .models import Step, User
from .store import DjangoStore

log = logging.getLogger(__name__)
store = DjangoStore(FernetCipher(settings.LINK_KEYS))
linker = pp.ProcessorLinker.from_env(store=store, timeout=10, deadline=20)
layer, finix = LayerSender.from_env(timeout=10), FinixSender.from_env(timeout=10)
SOME_THERE = "You have connected some of these accounts already. Use Add accounts at that bank."
WORDS = {
    pp.LinkInProgressError: (503, "This is under way. Please wait a little."),
    pp.LinkIncompleteError: (502, "The bank is connected, but not all is done yet."),
    pp.DuplicateItemError: (409, SOME_THERE),
    HandoffRefusedError: (409, "Finix may have this account already."),
}
WRONG_INPUT = (KeyError, TypeError, ValueError, RecursionError, pp.PublicTokenError)


def step(user_id: str, text: str, **seen: str) -> None:  # for the page: no token, no number
    Step.objects.create(user_id=user_id, text=text, **seen)


def links(**which: Any) -> list[StoredLink]:
    which |= {"client_id": linker.client.client_id, "include_removed": False}
    return sorted(store.links(**which), key=lambda each: str(each.created_at))


def logged(work: Callable[..., object], *args: object) -> None:  # if it fails, nothing stops
    try:
        work(*args)
    except Exception as error:
        bug = not isinstance(error, pp.PlaidProcessorsError)
        log.warning("%s%r: %r", work.__name__, args, error, exc_info=bug)
    connections.close_all()  # this thread's, which may have no request


def hand_to_layer(user_id: str, item_id: str) -> None:
    business_id = User.objects.get(pk=user_id).business_id
    done = linker.hand_over(item_id, layer, business_id=business_id)
    tokens = ", ".join(str(each.fingerprint) for each in done)
    step(user_id, f"Layer has {len(done)} accounts, by tokens with the fingerprints {tokens}")


def look_after(user_id: str, item_id: str, action: str = "", accounts: Sequence[str] = ()) -> str:
    changes = linker.refresh(item_id=item_id, reissue=accounts if action == "reissue" else ())
    health = str(changes.status.action or (action if action == "add_accounts" else "healthy"))
    step(user_id, f"Plaid says of the bank: {health}", item_id=item_id, health=health)
    if changes.changed:
        logged(hand_to_layer, user_id, item_id)
    return health


def tidy_up() -> None:  # what a crash or an outage left; it passes over what is under way
    log.info("recovered: %s", linker.recover(older_than=0))
    for state in ("due", "unknown"):  # Layer takes the same again
        for link in links(processor="layer", handoff=state, skip_unreadable=True):
            logged(hand_to_layer, link.client_user_id, link.item_id)


def keep_tidy() -> None:
    while True:
        logged(tidy_up)
        time.sleep(30)


def problem(code: int, error: str, **more: object) -> HttpResponse:
    return JsonResponse({"error": error, **more}, status=code, headers={"Retry-After": "2"})


def api(method: str, view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for JSON. The session says who asks, and who must have the Item."""

    def answer(request: HttpRequest, **named: str) -> HttpResponse:
        if request.method != method:
            return HttpResponseNotAllowed([method])
        if method != "GET" and request.content_type != "application/json":
            return problem(415, "Send JSON.")  # which a form of another site cannot
        if not request.user.is_authenticated and view is not login:
            return problem(401, "Please sign in.")
        body = request.body or "{}"  # one that is too large is refused by Django
        try:
            request.sent, request.user_id = {**json.loads(body), **named}, str(request.user.pk)
            item_id, own = request.sent.get("item_id"), partial(store.find, include_removed=False)
            request.link = item_id and own(item_id, client_user_id=request.user_id)
            if item_id and request.link is None:
                return problem(404, "You have no such bank.")
            return view(request)
        except Exception as error:
            bug = not isinstance(error, pp.PlaidProcessorsError)
            log.warning("%s: %s", type(error).__name__, error, exc_info=bug)  # without a token
            code = 400 if isinstance(error, WRONG_INPUT) else 502
            words = (code, "This did not work. Please try again later.")
            again = isinstance(error, HandoffRefusedError)
            return problem(*WORDS.get(type(error), words), again=again)

    return answer


@ensure_csrf_cookie
def page(request: HttpRequest, name: str) -> HttpResponse:
    nonce, script = secrets.token_urlsafe(), linker.client.link_script_url
    shown = {"user": request.user.username, "link_script": script, "nonce": nonce}
    answer = render(request, name, shown)
    answer["Content-Security-Policy"] = linker.client.content_security_policy(nonce)
    return answer


def login(request: HttpRequest) -> HttpResponse:
    name, password = str(request.sent["user"]), str(request.sent["password"])
    user = auth.authenticate(request, username=name, password=password)
    if user is None:
        return problem(401, "The user or the password is wrong.")
    auth.login(request, user)
    return HttpResponse(status=204)


def logout(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return HttpResponse(status=204)


def state(request: HttpRequest) -> HttpResponse:
    seen = Step.objects.filter(user=request.user).order_by("pk")
    steps = list(seen.values("at", "text", "item_id", "health"))
    health = {each["item_id"]: each["health"] for each in steps}  # as it was seen last
    shown = [
        {**each.summary(), "health": health.get(each.item_id, "healthy")}
        for each in links(client_user_id=request.user_id)
    ]
    return JsonResponse({"user": request.user.username, "links": shown, "steps": steps})


def link_token(request: HttpRequest) -> HttpResponse:
    link, more = request.link, request.sent.get("add_accounts")
    # Update mode names all partners of the Item, and what is to come.
    known = [each.processor for each in link.result.entries] if link else []
    partners = ["layer", "finix"] if "finix" in (request.sent.get("partner"), *known) else ["layer"]
    token = linker.create_link_token(
        partners, client_user_id=request.user_id, client_name="Example Books",
        item_id=link and link.item_id, account_selection_enabled=more,
        webhook=None if link else f"{settings.APP_URL}/webhooks/plaid",
    )  # fmt: skip
    step(request.user_id, f"Link token made for {' and '.join(map(str.title, partners))}")
    return JsonResponse({"link_token": token.link_token})


def link(request: HttpRequest) -> HttpResponse:
    sent, user_id = request.sent, request.user_id
    result = linker.link(
        "layer", public_token=sent["public_token"], metadata=sent["metadata"],
        client_user_id=user_id, on_exchange=lambda _: step(user_id, "The Item is in the store"),
        earlier=[each.result for each in links(client_user_id=user_id) if each.result],
    )  # fmt: skip
    logged(hand_to_layer, user_id, result.item_id)
    return JsonResponse({"item_id": result.item_id}, status=201)


def refresh(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"health": look_after(request.user_id, request.link.item_id)})


def pay(request: HttpRequest) -> HttpResponse:
    item_id, sent = request.link.item_id, request.sent
    done = backfill_item(linker, "finix", item_id, choose=lambda *_: sent.get("account_id"))
    if done.reason == "several_accounts":
        shown = [{"account_id": each.account_id, "label": each.label} for each in done.eligible]
        return problem(409, "Which account?", choose=shown)
    if done.may_pass:  # another request is at it, or Plaid is down
        raise pp.LinkInProgressError(str(done.reason), retry_after=2)
    if done.reason not in (None, "already_issued"):
        return problem(409, f"Finix: {done.reason}", consent=done.reason == "no_consent")
    ours = [each for each in request.link.handoffs if each.processor == "finix"]
    # The user's word, which counts where it is not known what Finix has.
    again = sent.get("again") is True and all(each.state != "done" for each in ours)
    identity = request.user.identity
    (handoff,) = linker.hand_over(item_id, finix, identity=identity, again=again)
    step(request.user_id, f"Finix has a payment instrument: {handoff.reference}")
    return JsonResponse({"handoff": "done"})


def disconnect(request: HttpRequest) -> HttpResponse:
    item_id = request.link.item_id
    ours = [each for each in request.link.handoffs if each.processor == "finix"]
    if any(each.state in ("sending", "unknown") for each in ours):
        return problem(409, "It is not known yet what Finix has. Press Pay with Finix first.")
    for each in ours:  # Layer keeps the books that it has
        if each.reference:
            finix.disable(each.reference)
    linker.remove(item_id=item_id, reason_code="OTHER")
    store.erase(item_id)
    step(request.user_id, "Item removed at Plaid, and its tokens forgotten")
    return HttpResponse(status=204)


@csrf_exempt  # its signature is checked
def webhook(request: HttpRequest) -> HttpResponse:
    try:
        event = linker.verify_webhook(request.body, request.headers)
    except pp.WebhookVerificationError as error:
        return problem(400, error.reason)
    if event.action and (link := store.find(str(event.item_id), include_removed=False)):
        logged(step, link.client_user_id, f"Webhook {event.webhook_type} / {event.webhook_code}")
        work = (look_after, link.client_user_id, link.item_id, event.action, event.account_ids)
        Thread(target=logged, args=work).start()  # in production a queue takes it
    return HttpResponse()


urlpatterns = [
    path("", login_required(page, None, "/login"), {"name": "index.html"}),
    path("login", page, {"name": "login.html"}),
    path("api/login", api("POST", login)),
    path("api/logout", api("POST", logout)),
    path("api/state", api("GET", state)),
    path("api/link-token", api("POST", link_token)),
    path("api/links", api("POST", link)),
    path("api/links/<item_id>", api("DELETE", disconnect)),
    path("api/links/<item_id>/refresh", api("POST", refresh)),
    path("api/links/<item_id>/finix", api("POST", pay)),
    path("webhooks/plaid", webhook),
    path("static/<path:path>", serve, {"document_root": settings.FOLDER / "static"}),
]
