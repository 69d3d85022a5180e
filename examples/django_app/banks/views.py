"""The HTTP interface, and what happens to a link behind it."""

import json
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.core.exceptions import BadRequest, ObjectDoesNotExist, RequestDataTooBig
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie
from django.views.static import serve

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import FinixSender, HandoffRefusedError, LayerSender
from plaid_processors.store import FernetCipher, HandoffState, LinkQuery, LinkState, StoredLink

from .models import Profile, Step
from .store import DjangoStore

Json = dict[str, Any]
log = logging.getLogger(__name__)
store = DjangoStore(FernetCipher(settings.LINK_KEYS))
# What a killed process was at work on waits for as long as its calls could have taken.
linker = pp.ProcessorLinker.from_env(store=store, timeout=10, deadline=20)
layer, finix = LayerSender.from_env(timeout=10), FinixSender.from_env(timeout=10)
# Items that could not be looked after, and after which webhook: `tidy_up` does it again.
missed: dict[tuple[str, str], pp.WebhookEvent | None] = {}

WAIT = "This is under way. Please wait a little."
UNREADABLE = "The server cannot read this request."
DUPLICATE = "You have connected some of these accounts already. Use Add accounts at that bank."
ERRORS = {  # what the user reads; the log has the error itself
    pp.LinkInProgressError: (503, WAIT),
    pp.LinkIncompleteError: (502, "The bank is connected; the rest follows by itself."),
    pp.DuplicateItemError: (409, DUPLICATE),
    pp.PublicTokenError: (400, "This is not what Link said. Please connect the bank again."),
}
TYPES = {"metadata": dict, "again": bool, "add_accounts": bool}  # in JSON; all else is text
SCRIPT = f"{settings.LINK_URL}/link/v2/stable/link-initialize.js"
# https://plaid.com/docs/link/web/#csp-directives, with a nonce; Link still sets style attributes:
# https://github.com/plaid/react-plaid-link#content-security-policy-nonce
POLICY = f"""default-src 'self' {settings.LINK_URL}; frame-src {settings.LINK_URL};
    script-src 'self' 'nonce-{{nonce}}' {SCRIPT};
    style-src 'self' 'nonce-{{nonce}}'; style-src-attr 'unsafe-inline';
    connect-src 'self' https://sandbox.plaid.com https://production.plaid.com {settings.LINK_URL};
    img-src 'self' data: {settings.LINK_URL}; base-uri 'none'; frame-ancestors 'none'"""


def step(user_id: str, text: str, **seen: str) -> None:  # for the page: no token, no number
    Step.objects.create(user_id=user_id, text=text, **seen)


def issued(user_id: str, token: pp.ProcessorToken) -> None:
    what = f"Token for {token.processor.title()}: {token.account.label}"
    step(user_id, f"{what} (fingerprint {token.fingerprint})")


def health_of(item_id: str | None) -> str:  # as it was seen last
    seen = Step.objects.filter(item_id=item_id, health__isnull=False).order_by("pk").last()
    return seen.health if seen else "healthy"


def links_of(user_id: str) -> list[StoredLink]:
    found = store.links(client_id=linker.client.client_id, client_user_id=user_id)
    there = [each for each in found if each.state != "removed"]
    return sorted(there, key=lambda each: str(each.created_at))


def link_of(item_id: str, **whose: str) -> StoredLink | None:
    found = store.find(item_id, **whose) if item_id.isprintable() else None
    return None if found is None or found.state == "removed" else found


def hand_to_layer(user_id: str, item_id: str) -> None:
    business_id = Profile.objects.get(user_id=user_id).business_id
    done = linker.hand_over(item_id, layer, business_id=business_id)
    step(user_id, f"Layer has {len(done)} accounts of this bank")


def hand_to_finix(user_id: str, item_id: str, *, again: bool = False) -> HttpResponse:
    identity = Profile.objects.get(user_id=user_id).identity
    (handoff,) = linker.hand_over(item_id, finix, identity=identity, again=again)
    step(user_id, f"Finix has a payment instrument: {handoff.reference}")
    return JsonResponse({"handoff": handoff.state})


def look_after(item_id: str, event: pp.WebhookEvent | None = None) -> str:
    """See how an Item is, after a webhook or update mode. Doing it twice does no harm."""
    link, action = link_of(item_id), event.action if event else None
    if link is None:
        return "stop"  # it was disconnected meanwhile
    user_id = link.client_user_id
    new = event.account_ids if event and action == "reissue" else ()
    changes = linker.refresh(item_id=item_id, reissue=new, on_token=partial(issued, user_id))
    more = action == "add_accounts" or (event and health_of(item_id) == "add_accounts")
    health = str(changes.status.action or ("add_accounts" if more else "healthy"))
    step(user_id, f"Plaid says of the bank: {health}", item_id=item_id, health=health)
    if changes.changed:
        tried(hand_to_layer, user_id, item_id)
    return health


def tried(work: Callable[..., object], *arguments: object) -> bool:
    """Do what no answer depends on. If it fails, that is logged, and `tidy_up` does it again."""
    try:
        work(*arguments)
    except Exception as error:
        what = f"{work.__name__}{arguments}"  # ids, and a webhook, which shows no token
        unexpected = not isinstance(error, (pp.PlaidProcessorsError, ObjectDoesNotExist))
        log.warning("%s: %s: %s", what, type(error).__name__, error, exc_info=unexpected)
        return False
    return True


def look_after_alone(item_id: str, event: pp.WebhookEvent | None) -> None:  # no request waits
    key = (item_id, event.webhook_code if event else "")
    missed.pop(key, None)
    if not tried(look_after, item_id, event):
        missed[key] = event
    connections.close_all()  # as Django does at the end of a request


def tidy_up() -> None:
    """Finish what a kill or an outage left; what another process is at work on is passed over."""
    log.info("recovered: %s", linker.recover(older_than=0))
    client_id, states = linker.client.client_id, (LinkState.LINKED, LinkState.COMPLETE)
    for (item_id, _), event in list(missed.items()):
        look_after_alone(item_id, event)
    for work, partner, state in (
        (hand_to_layer, "layer", HandoffState.DUE),
        (hand_to_layer, "layer", HandoffState.UNKNOWN),
        (hand_to_finix, "finix", HandoffState.DUE),  # of what is unknown its user decides
    ):
        query = LinkQuery(client_id=client_id, states=states, processor=partner, handoff=state)
        for record in store.page(query, limit=1000):  # not decrypted yet, which may fail too
            tried(work, record.client_user_id, record.item_id)


def keep_tidy() -> None:  # a killed process's work is free only when its limits are over
    while True:
        tried(tidy_up)
        connections.close_all()
        time.sleep(30)


def problem(status: int, error: str, **more: object) -> HttpResponse:
    return JsonResponse({"error": error, **more}, status=status, headers={"Retry-After": "2"})


def read(request: HttpRequest) -> Json:
    """The JSON object of a request."""
    try:
        sent = json.loads(request.body or "{}")
        text = json.dumps(sent, ensure_ascii=False).encode()  # which half a character cannot be
    except (RecursionError, RequestDataTooBig, ValueError) as error:
        raise BadRequest from error
    if not isinstance(sent, dict) or b"\\u0000" in text:  # PostgreSQL takes no such text
        raise BadRequest
    if any(not isinstance(sent[name], TYPES.get(name, str)) for name in sent):
        raise BadRequest
    return sent


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
            request.sent = read(request)
            request.user_id = str(request.user.pk)  # as the store has it
            item_id = item_id or request.sent.get("item_id")
            request.link = item_id and link_of(item_id, client_user_id=request.user_id)
            if item_id and request.link is None:
                return problem(404, "You have no such bank.")
            return view(request)
        except BadRequest as error:
            log.warning("refused: %s", error.__cause__)
            return problem(400, UNREADABLE)
        except pp.PlaidProcessorsError as error:
            log.warning("%s: %s", type(error).__name__, error)  # neither shows a token
            if isinstance(error, pp.LinkIncompleteError):
                missed[str(error.result.item_id), ""] = None
            again = (502, "This did not work. Please try again later.")
            return problem(*ERRORS.get(type(error), again))

    return answer


@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    if request.path == "/" and not request.user.is_authenticated:
        return redirect("/login")
    name = "login.html" if request.path == "/login" else "index.html"
    nonce = secrets.token_urlsafe(16)
    shown = {"user": request.user.username, "link_script": SCRIPT, "nonce": nonce}
    answer = render(request, name, shown)
    answer["Content-Security-Policy"] = " ".join(POLICY.format(nonce=nonce).split())
    return answer


def login(request: HttpRequest) -> HttpResponse:
    name, password = request.sent.get("user", ""), request.sent.get("password", "")
    user = auth.authenticate(request, username=name, password=password)  # hashes in any case
    if user is None:
        return problem(401, "The user or the password is wrong.")
    auth.login(request, user)
    return HttpResponse(status=204)


def logout(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return HttpResponse(status=204)


def state(request: HttpRequest) -> HttpResponse:
    shown = []
    for link in links_of(request.user_id):
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
    more = link and (request.sent.get("add_accounts") or health_of(item_id) == "add_accounts")
    token = linker.create_link_token(
        partners,
        client_user_id=request.user_id,
        client_name="Example Books",
        item_id=item_id,
        webhook=None if link else f"{settings.APP_URL}/webhooks/plaid",
        account_selection_enabled=True if more else None,
    )
    step(request.user_id, f"Link token made for {' and '.join(map(str.title, partners))}")
    return JsonResponse({"link_token": token.link_token})


def link(request: HttpRequest) -> HttpResponse:
    sent, user_id = request.sent, request.user_id
    if not {"public_token", "metadata"} <= sent.keys():
        raise BadRequest
    try:
        result = linker.link(
            "layer",
            public_token=sent["public_token"],
            metadata=sent["metadata"],
            client_user_id=user_id,
            earlier=[each.result for each in links_of(user_id) if each.result],
            on_exchange=lambda item: step(user_id, f"In the store: {item.institution_name}"),
            on_token=partial(issued, user_id),
        )
    except (TypeError, ValueError) as error:  # this is not what Link says
        raise BadRequest from error
    tried(hand_to_layer, user_id, result.item_id)
    return JsonResponse({"item_id": result.item_id}, status=201)


def refresh(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"health": look_after(request.link.item_id)})


def pay(request: HttpRequest) -> HttpResponse:
    """Make a token of one account for Finix, and a payment instrument there, unless they are."""
    item_id, chosen = request.link.item_id, request.sent.get("account_id")
    done = backfill_item(linker, "finix", item_id, choose=lambda *_: chosen)
    if done.reason in ("several_accounts", "ConfigurationError"):  # the latter: none that fits
        fit = pp.FinixAdapter().eligible(linker.accounts(item_id=item_id))
        accounts = [{"account_id": each.account_id, "label": each.label} for each in fit]
        return problem(409, "Which account?", choose=accounts)
    if done.may_pass:
        return problem(503, WAIT)
    if done.reason not in (None, "already_issued"):
        words = done.reason.replace("_", " ")
        return problem(409, f"Finix: {words}", consent=done.reason == "no_consent")
    try:
        return hand_to_finix(request.user_id, item_id)
    except HandoffRefusedError:  # the user's word helps only where Finix itself cannot tell
        if not request.sent.get("again"):
            return problem(409, "Finix may have this account already.", again=True)
        return hand_to_finix(request.user_id, item_id, again=True)


def disconnect(request: HttpRequest) -> HttpResponse:
    item_id = request.link.item_id
    there = [each for each in request.link.handoffs if each.processor == "finix"]
    if any(each.state in ("sending", "unknown") for each in there):
        return problem(409, "It is not known yet what Finix has. Press Pay with Finix first.")
    for each in there:  # Layer keeps the books that it has
        if each.reference:
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
    link = link_of(event.item_id) if event.item_id and event.action else None
    if link:
        words = f"Webhook {event.webhook_type} / {event.webhook_code}"
        tried(step, link.client_user_id, words)
        Thread(
            target=look_after_alone, args=(event.item_id, event)
        ).start()  # in production a queue
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
