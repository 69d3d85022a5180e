"""Connects banks to Layer and Finix: README.md says how to run it, and what a team must change."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from dotenv import dotenv_values
from flask import Flask, abort, g, redirect, render_template, request, session
from flask.typing import ResponseReturnValue as Answer
from werkzeug.exceptions import HTTPException
from werkzeug.security import check_password_hash, generate_password_hash

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import FinixSender, HandoffRefusedError, LayerSender
from plaid_processors.store import SqlStore, StoredLink

# What the page shows; the newest step with a health says how the Item is.
texts = [sql.Column(name, sql.Text) for name in ("user", "at", "text", "item_id", "health")]
steps = sql.Table("steps", sql.MetaData(), sql.Column("id", sql.Integer, primary_key=True), *texts)
SOME_THERE = "You have connected some of these accounts already. Use Add accounts at that bank."
WORDS = {
    pp.LinkInProgressError: (503, "This is under way. Please wait a little."),
    pp.LinkIncompleteError: (502, "The bank is connected, but not all is done yet."),
    pp.DuplicateItemError: (409, SOME_THERE),
    HandoffRefusedError: (409, "Finix may have this account already."),
}
WRONG_INPUT = (KeyError, TypeError, ValueError, pp.PublicTokenError, pp.WebhookVerificationError)


def make_app(environ: dict[str, str] | None = None) -> Flask:
    """The application, by the variables of the environment and of the file .env."""
    given = {**dotenv_values(".env"), **os.environ} if environ is None else environ
    env = {name: value for name, value in given.items() if value}
    url = sql.make_url(env.get("DATABASE_URL", f"sqlite:///{Path(__file__).parent}/links.db"))
    app, app_url = Flask(__name__), env.get("APP_URL", "http://127.0.0.1:8000")
    app.config.update(SECRET_KEY=env["SESSION_SECRET"], SESSION_COOKIE_SAMESITE="Lax")
    app.config.update(SESSION_COOKIE_SECURE=app_url.startswith("https:"), MAX_CONTENT_LENGTH=10**6)

    engine = sql.create_engine(url)
    store = SqlStore(engine, keys=env["LINK_KEYS"].split(","))
    store.create_tables()
    steps.metadata.create_all(engine)
    linker = pp.ProcessorLinker.from_env(env, store=store, timeout=10, deadline=20)
    layer, finix = LayerSender.from_env(env, timeout=10), FinixSender.from_env(env, timeout=10)
    users: dict[str, dict[str, str]] = {}  # yours are a table; your sign-up makes both ids
    if "DEMO_LAYER_BUSINESSES" in env and env.get("PLAID_ENV", "sandbox") == "sandbox":
        ids = [env[name].split(",") for name in ("DEMO_LAYER_BUSINESSES", "DEMO_FINIX_IDENTITIES")]
        for name, business, person in zip(("ada", "grace"), *ids, strict=True):
            users[name] = {"hash": generate_password_hash(name), "layer": business, "finix": person}

    def step(user: str, text: str, **seen: str) -> None:  # for the page: no token, no number
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with engine.begin() as db:
            db.execute(steps.insert().values(user=user, at=now, text=text, **seen))

    own = partial(store.find, include_removed=False)

    def links(**which: Any) -> list[StoredLink]:
        which |= {"client_id": linker.client.client_id, "include_removed": False}
        return sorted(store.links(**which), key=lambda each: str(each.created_at))

    def logged(work: Callable[..., object], *args: object) -> None:  # if it fails, nothing stops
        try:
            work(*args)
        except Exception as error:
            bug = not isinstance(error, pp.PlaidProcessorsError)
            app.logger.warning("%s%r: %r", work.__name__, args, error, exc_info=bug)

    def hand_to_layer(user: str, item_id: str) -> None:
        done = linker.hand_over(item_id, layer, business_id=users[user]["layer"])
        tokens = ", ".join(str(each.fingerprint) for each in done)
        step(user, f"Layer has {len(done)} accounts, by tokens with the fingerprints {tokens}")

    def look_after(user: str, item_id: str, action: str = "", accounts: Sequence[str] = ()) -> str:
        changes = linker.refresh(item_id=item_id, reissue=accounts if action == "reissue" else ())
        health = str(changes.status.action or (action if action == "add_accounts" else "healthy"))
        step(user, f"Plaid says of the bank: {health}", item_id=item_id, health=health)
        if changes.changed:
            logged(hand_to_layer, user, item_id)
        return health

    def tidy_up() -> None:  # what a crash or an outage left; it passes over what is under way
        app.logger.info("recovered: %s", linker.recover(older_than=0))
        for state in ("due", "unknown"):  # at Layer the same again does no harm
            for link in links(processor="layer", handoff=state, skip_unreadable=True):
                logged(hand_to_layer, link.client_user_id, link.item_id)

    def keep_tidy() -> None:
        while True:
            logged(tidy_up)
            time.sleep(30)

    @app.before_request
    def guard() -> None:  # the session says who asks, and who must have the Item
        if request.path.startswith("/api/"):
            g.body = {} if request.method == "GET" else request.get_json()  # no form can send JSON
            if session.get("user") not in users and request.path != "/api/login":
                abort(401, "Please sign in.")
            item_id = {**g.body, **(request.view_args or {})}.get("item_id")
            g.link = own(str(item_id), client_user_id=session["user"]) if item_id else None
            if item_id and g.link is None:
                abort(404, "You have no such bank.")

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Answer:
        bug = not isinstance(error, (HTTPException, pp.PlaidProcessorsError))
        app.logger.warning("%s: %s", type(error).__name__, error, exc_info=bug)  # without a token
        if isinstance(error, HTTPException):
            return {"error": error.description}, error.code or 500
        other = 400 if isinstance(error, WRONG_INPUT) else 502
        code, words = WORDS.get(type(error), (other, "This did not work. Please try again later."))
        answer = {"error": words, "again": isinstance(error, HandoffRefusedError)}
        return answer, code, {"Retry-After": "2"} if code == 503 else {}

    @app.get("/")
    @app.get("/login")
    def page() -> Answer:
        if request.path == "/" and session.get("user") not in users:
            return redirect("/login")
        name = "login.html" if request.path == "/login" else "index.html"
        nonce, client = secrets.token_urlsafe(), linker.client
        shown = {"link_script": client.link_script_url, "nonce": nonce}
        html = render_template(name, user=session.get("user"), **shown)
        return html, {"Content-Security-Policy": client.content_security_policy(nonce)}

    @app.post("/api/login")
    def login() -> Answer:
        user, password = str(g.body["user"]), str(g.body["password"])
        session.clear()
        if user not in users or not check_password_hash(users[user]["hash"], password):
            abort(401, "The user or the password is wrong.")
        session["user"] = user
        return "", 204

    @app.post("/api/logout")
    def logout() -> Answer:
        session.clear()
        return "", 204

    @app.get("/api/state")
    def state() -> Answer:
        user = session["user"]
        with engine.connect() as db:
            query = steps.select().filter_by(user=user).order_by(steps.c.id)
            log = [dict(row) for row in db.execute(query).mappings()]
        health = {row["item_id"]: row["health"] for row in log}  # as it was seen last
        shown = [
            {**each.summary(), "health": health.get(each.item_id, "healthy")}
            for each in links(client_user_id=user)
        ]
        return {"user": user, "links": shown, "steps": log}

    @app.post("/api/link-token")
    def link_token() -> Answer:  # update mode names all partners of the Item, and what is to come
        known = [each.processor for each in g.link.result.entries] if g.link else []
        partners = ["layer", "finix"] if "finix" in (g.body.get("partner"), *known) else ["layer"]
        token = linker.create_link_token(
            partners, client_user_id=session["user"], client_name="Example Books",
            item_id=g.link and g.link.item_id, account_selection_enabled=g.body.get("add_accounts"),
            webhook=None if g.link else f"{app_url}/webhooks/plaid",
        )  # fmt: skip
        step(session["user"], f"Link token made for {' and '.join(map(str.title, partners))}")
        return {"link_token": token.link_token}

    @app.post("/api/links")
    def link() -> Answer:
        user = session["user"]
        result = linker.link(
            "layer", public_token=g.body["public_token"], metadata=g.body["metadata"],
            client_user_id=user, on_exchange=lambda _: step(user, "The Item is in the store"),
            earlier=[each.result for each in links(client_user_id=user) if each.result],
        )  # fmt: skip
        logged(hand_to_layer, user, result.item_id)
        return {"item_id": result.item_id}, 201

    @app.post("/api/links/<item_id>/refresh")
    def refresh(item_id: str) -> Answer:
        return {"health": look_after(session["user"], item_id)}

    @app.post("/api/links/<item_id>/finix")
    def pay(item_id: str) -> Answer:
        user = session["user"]
        done = backfill_item(linker, "finix", item_id, choose=lambda *_: g.body.get("account_id"))
        if done.reason == "several_accounts":
            shown = [{"account_id": each.account_id, "label": each.label} for each in done.eligible]
            return {"error": "Which account?", "choose": shown}, 409
        if done.may_pass:  # another request is at it, or Plaid is down
            raise pp.LinkInProgressError(str(done.reason), retry_after=2)
        if done.reason not in (None, "already_issued"):
            return {"error": f"Finix: {done.reason}", "consent": done.reason == "no_consent"}, 409
        there = any(each.processor == "finix" and each.state == "done" for each in g.link.handoffs)
        again = g.body.get("again") is True and not there  # the user's word, where it is not known
        (handoff,) = linker.hand_over(item_id, finix, identity=users[user]["finix"], again=again)
        step(user, f"Finix has a payment instrument: {handoff.reference}")
        return {"handoff": "done"}

    @app.delete("/api/links/<item_id>")
    def disconnect(item_id: str) -> Answer:
        ours = [each for each in g.link.handoffs if each.processor == "finix"]
        if any(each.state in ("sending", "unknown") for each in ours):
            abort(409, "It is not known yet what Finix has. Press Pay with Finix first.")
        for each in ours:  # Layer keeps the books that it has
            if each.reference:
                finix.disable(each.reference)
        linker.remove(item_id=item_id, reason_code="OTHER")
        store.erase(item_id)
        step(session["user"], "Item removed at Plaid, and its tokens forgotten")
        return "", 204

    @app.post("/webhooks/plaid")
    def webhook() -> Answer:
        event = linker.verify_webhook(request.get_data(), request.headers)
        if event.action and (link := own(str(event.item_id))):
            step(link.client_user_id, f"Webhook {event.webhook_type} / {event.webhook_code}")
            work = (look_after, link.client_user_id, link.item_id, event.action, event.account_ids)
            threading.Thread(target=logged, args=work).start()  # in production a queue takes it
        return "", 200

    app.extensions.update(tidy_up=tidy_up, parts=(linker, layer, finix, engine))  # for the tests
    if environ is None:
        threading.Thread(target=keep_tidy, daemon=True).start()
    return app
