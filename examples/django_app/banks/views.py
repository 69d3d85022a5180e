"""The HTTP interface, and what happens to a link behind it."""

import json
import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Thread

from django.conf import settings
from django.contrib import auth
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie
from django.views.static import serve

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import FinixSender, LayerSender
from plaid_processors.store import FernetCipher, StoredLink

from .models import Profile, Step
from .store import DjangoStore

log = logging.getLogger(__name__)
store = DjangoStore(FernetCipher(settings.LINK_KEYS))
# What a killed process was at work on waits for as long as its calls could have taken.
linker = pp.ProcessorLinker.from_env(store=store, timeout=10, deadline=20)
layer, finix = LayerSender.from_env(timeout=10), FinixSender.from_env(timeout=10)

ERRORS = {  # what the user reads; the log has the error itself
    pp.LinkInProgressError: (503, "This is under way."),
    pp.DuplicateItemError: (409, "You have connected these accounts already."),
}
POLICY = (  # https://plaid.com/docs/link/web/#csp-directives
    f"default-src 'self'; script-src 'self' {settings.PLAID_URL}; frame-src {settings.PLAID_URL}; "
    "img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
)


def step(user_id: str, text: str, **seen: str) -> None:  # for the page: no token, no number
    Step.objects.create(user_id=user_id, text=text, **seen)


def issued(user_id: str, token: pp.ProcessorToken) -> None:
    what = f"Token for {token.processor.title()}: {token.account.label}"
    step(user_id, f"{what} (fingerprint {token.fingerprint})")


def health_of(item_id: str | None) -> str:  # as it was seen last
    seen = Step.objects.filter(item_id=item_id, health__isnull=False).order_by("pk").last()
    return seen.health if seen else "healthy"


def links(**which: str) -> list[StoredLink]:
    found = store.links(client_id=linker.client.client_id, **which)
    there = [each for each in found if each.state != "removed"]
    return sorted(there, key=lambda each: str(each.created_at))


def hand_to_layer(user_id: str, item_id: str | None) -> None:  # `tidy_up` tries again
    business_id = Profile.objects.get(user_id=user_id).business_id
    try:
        done = linker.hand_over(str(item_id), layer, business_id=business_id)
        step(user_id, f"Layer has {len(done)} accounts of this bank")
    except pp.PlaidProcessorsError as error:
        log.warning("Layer, Item %s: %s", item_id, error)


def look_after(link: StoredLink, event: pp.WebhookEvent | None = None) -> str:
    """See how an Item is, after a webhook or update mode. Doing it twice does no harm."""
    user_id, action = link.client_user_id, event.action if event else None
    new = event.account_ids if event and action == "reissue" else ()
    changes = linker.refresh(item_id=link.item_id, reissue=new, on_token=partial(issued, user_id))
    more = action == "add_accounts" or (event and health_of(link.item_id) == "add_accounts")
    health = str(changes.status.action or ("add_accounts" if more else "healthy"))
    step(user_id, f"Plaid says of the bank: {health}", item_id=str(link.item_id), health=health)
    if changes.changed:
        hand_to_layer(user_id, link.item_id)
    return health


def tidy_up() -> None:
    """Finish what a kill left. What another call is at work on, in any process, is passed over."""
    log.info("recovered: %s", linker.recover(older_than=0))
    for state in ("due", "unknown"):
        for link in links(processor="layer", handoff=state):
            hand_to_layer(link.client_user_id, link.item_id)


def keep_tidy() -> None:  # a killed process's work is free only when its limits are over
    while True:
        in_thread(tidy_up)
        time.sleep(30)


def in_thread(work: Callable[..., object], *arguments: object) -> None:
    """Do work that no request waits for; at a request's end Django closes its connections."""
    try:
        work(*arguments)
    except Exception:
        log.exception("work after a request failed")
    finally:
        connections.close_all()


def problem(status: int, error: str, **more: object) -> HttpResponse:
    return JsonResponse({"error": error, **more}, status=status, headers={"Retry-After": "2"})


def api(method: str, view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for JSON, with the signed-in user, and the link that is named if it is the user's."""

    def answer(request: HttpRequest, item_id: str | None = None) -> HttpResponse:
        if request.method != method:
            return HttpResponseNotAllowed([method])
        if method != "GET" and request.content_type != "application/json":
            return problem(415, "Send JSON.")  # which a form of another site cannot
        if view is not login and not request.user.is_authenticated:
            return problem(401, "Please sign in.")
        try:
            request.sent = json.loads(request.body or "{}")
            request.user_id = str(request.user.pk)  # as the store has it
            item_id = item_id or request.sent.get("item_id")
            request.link = item_id and store.find(item_id, client_user_id=request.user_id)
            if item_id and (request.link is None or request.link.state == "removed"):
                return problem(404, "You have no such bank.")
            return view(request)
        except json.JSONDecodeError:
            return problem(400, "Send JSON.")
        except pp.PlaidProcessorsError as error:
            log.warning("%s: %s", type(error).__name__, error)  # neither shows a token
            again = (502, "This did not work. Please try again later.")
            return problem(*ERRORS.get(type(error), again))

    return answer


@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    if request.path == "/" and not request.user.is_authenticated:
        return redirect("/login")
    name = "login.html" if request.path == "/login" else "index.html"
    script = f"{settings.PLAID_URL}/link/v2/stable/link-initialize.js"
    answer = render(request, name, {"user": request.user.username, "link_script": script})
    answer["Content-Security-Policy"] = POLICY
    return answer


def login(request: HttpRequest) -> HttpResponse:
    name, password = request.sent.get("user"), request.sent.get("password")
    user = auth.authenticate(request, username=name, password=password)
    if user is None:
        return problem(401, "The user or the password is wrong.")
    auth.login(request, user)
    return HttpResponse(status=204)


def logout(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return HttpResponse(status=204)


def state(request: HttpRequest) -> HttpResponse:
    shown = []
    for link in links(client_user_id=request.user_id):
        ways = {each.key: each.state for each in link.handoffs}
        accounts = [{
            "account_id": each.account.account_id, "label": each.account.label,
            "partner": each.processor, "handoff": ways.get(each.key),
        } for each in (link.result.entries if link.result else ())]  # fmt: skip
        shown.append({
            "item_id": link.item_id, "bank": link.result and link.result.institution_name,
            "state": link.state, "health": health_of(link.item_id), "accounts": accounts,
        })  # fmt: skip
    steps = Step.objects.filter(user=request.user).order_by("pk").values("at", "text")
    name = request.user.username
    return JsonResponse({"user": name, "links": shown, "steps": list(steps)})


def link_token(request: HttpRequest) -> HttpResponse:
    link, item_id = request.link, request.sent.get("item_id")
    # Update mode names all partners of the Item, and the one that is to come.
    known = [each.processor for each in link.result.entries] if link else []
    partners = ["layer", "finix"] if "finix" in (request.sent.get("partner"), *known) else ["layer"]
    token = linker.create_link_token(
        partners,
        client_user_id=request.user_id,
        client_name="Example Books",
        item_id=item_id,
        webhook=None if link else f"{settings.APP_URL}/webhooks/plaid",
        account_selection_enabled=health_of(item_id) == "add_accounts" or None,
    )
    step(request.user_id, f"Link token made for {' and '.join(map(str.title, partners))}")
    return JsonResponse({"link_token": token.link_token})


def link(request: HttpRequest) -> HttpResponse:
    user_id = request.user_id
    result = linker.link(
        "layer",
        public_token=request.sent.get("public_token", ""),
        metadata=request.sent.get("metadata"),
        client_user_id=user_id,
        earlier=[each.result for each in links(client_user_id=user_id) if each.result],
        on_exchange=lambda item: step(user_id, f"In the store: {item.institution_name}"),
        on_token=partial(issued, user_id),
    )
    hand_to_layer(user_id, result.item_id)
    return JsonResponse({"item_id": result.item_id}, status=201)


def refresh(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"health": look_after(request.link)})


def pay(request: HttpRequest) -> HttpResponse:
    """Make a token of one account for Finix, and a payment instrument there, unless they are."""
    item_id, identity = request.link.item_id, request.user.profile.identity
    chosen = request.sent.get("account_id")
    done = backfill_item(linker, "finix", item_id, choose=lambda *_: chosen)
    if done.reason == "several_accounts":
        fit = pp.FinixAdapter().eligible(linker.accounts(item_id=item_id))
        choose = [{"account_id": each.account_id, "label": each.label} for each in fit]
        return problem(409, "Which account?", choose=choose)
    if done.reason not in (None, "already_issued"):
        words, consent = done.reason.replace("_", " "), done.reason == "no_consent"
        return problem(503 if done.may_pass else 409, f"Finix: {words}", consent=consent)
    (handoff,) = linker.hand_over(item_id, finix, identity=identity)
    step(request.user_id, f"Finix has a payment instrument: {handoff.reference}")
    return JsonResponse({"handoff": handoff.state})


def disconnect(request: HttpRequest) -> HttpResponse:
    item_id = request.link.item_id
    for each in request.link.handoffs:  # Layer keeps the books that it has
        if each.processor == "finix" and each.reference:
            finix.disable(each.reference)
    linker.remove(item_id=item_id, reason_code="OTHER")
    store.erase(item_id)
    step(request.user_id, "Item removed at Plaid, and its tokens forgotten")
    return HttpResponse(status=204)


@csrf_exempt  # Plaid sends no CSRF token: its signature is checked
def webhook(request: HttpRequest) -> HttpResponse:
    try:
        event = linker.verify_webhook(request.body, request.headers)
    except pp.WebhookVerificationError as error:
        return problem(400, error.reason)
    link = store.find(event.item_id) if event.item_id and event.action else None
    if link and link.state != "removed":
        step(link.client_user_id, f"Webhook {event.webhook_type} / {event.webhook_code}")
        Thread(target=in_thread, args=(look_after, link, event)).start()  # in production a queue
    return HttpResponse()


urlpatterns = [
    path("", page),
    path("login", page),
    path("api/login", api("POST", login)),
    path("api/logout", api("POST", logout)),
    path("api/state", api("GET", state)),
    path("api/link-token", api("POST", link_token)),
    path("api/links", api("POST", link)),
    path("api/links/<item_id>", api("DELETE", disconnect)),
    path("api/links/<item_id>/refresh", api("POST", refresh)),
    path("api/links/<item_id>/finix", api("POST", pay)),
    path("webhooks/plaid", webhook),
    # Your web server does this in production.
    path("static/<path:path>", serve, {"document_root": settings.FOLDER / "static"}),
]
