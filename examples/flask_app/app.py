"""Connects banks to Layer and Finix: README.md says how to run it, and what a team must change."""

import os
import threading
import time
from functools import partial
from pathlib import Path

import sqlalchemy as sql
from cryptography.fernet import Fernet
from dotenv import dotenv_values, load_dotenv
from flask import Flask, abort, g, redirect, render_template, request, session
from flask.typing import ResponseReturnValue as Answer
from werkzeug.exceptions import HTTPException
from werkzeug.security import check_password_hash, generate_password_hash

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import FinixSender, LayerSender
from plaid_processors.store import SqlStore, StoredLink

tables = sql.MetaData()  # our own; the store makes its tables itself
# Of a user: the hashed password, and the ids of the business at Layer and the identity at Finix.
users = sql.Table("users", tables, sql.Column("name", sql.Text, primary_key=True))
steps = sql.Table("steps", tables, sql.Column("id", sql.Integer, primary_key=True))
for table, names in ((users, "hash layer finix"), (steps, "user at text item_id health")):
    for name in names.split():
        table.append_column(sql.Column(name, sql.Text, index=name == "user"))


def make_app(environ: dict[str, str] | None = None) -> Flask:
    """The application, by the variables of the environment and of the file .env."""
    if environ is None:
        load_dotenv(".env")
    env = dict(os.environ if environ is None else environ)
    url = sql.make_url(env.get("DATABASE_URL") or f"sqlite:///{Path(__file__).parent}/links.db")
    if url.get_backend_name() == "sqlite":  # in production a secret manager sets these two
        if not (file := Path(f"{url.database}.env")).exists():
            file.touch(0o600)
            new = {each: Fernet.generate_key().decode() for each in ("LINK_KEYS", "SESSION_SECRET")}
            file.write_text("\n".join(f"{name}={value}" for name, value in new.items()))
        env = {name: value for name, value in dotenv_values(file).items() if value} | env
    app, app_url = Flask(__name__), env.get("APP_URL") or "http://127.0.0.1:8000"
    app.config.update(SECRET_KEY=env["SESSION_SECRET"], SESSION_COOKIE_SAMESITE="Lax")
    app.config["SESSION_COOKIE_SECURE"] = app_url.startswith("https:")
    plaid_url = env.get("PLAID_BASE_URL") or "https://cdn.plaid.com"
    policy = f"script-src 'self' {plaid_url}; frame-src {plaid_url}; img-src 'self' data:; "
    policy += "default-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    engine = sql.create_engine(url)
    store = SqlStore(engine, keys=env["LINK_KEYS"].split(","))
    store.create_tables()
    tables.create_all(engine)
    # What a killed process was at work on waits for as long as its calls could have taken.
    linker = pp.ProcessorLinker.from_env(env, store=store, timeout=10, deadline=20)
    layer, finix = LayerSender.from_env(env, timeout=10), FinixSender.from_env(env, timeout=10)
    app.extensions["close"] = (linker.close, layer.close, finix.close, engine.dispose)
    if "DEMO_LAYER_BUSINESSES" in env:  # a local world; your sign-up makes both ids, and keeps them
        ids = env["DEMO_LAYER_BUSINESSES"].split(","), env["DEMO_FINIX_IDENTITIES"].split(",")
        with engine.begin() as db:
            for name, *row in zip(("ada", "grace"), *ids, strict=True):
                db.execute(users.delete().filter_by(name=name))
                db.execute(users.insert().values((name, generate_password_hash(name), *row)))

    def rows(table: sql.Table, **values: str | None) -> list[sql.RowMapping]:
        query = table.select().filter_by(**values).order_by(*table.primary_key)
        with engine.connect() as db:
            return list(db.execute(query).mappings())

    def step(user: str, text: str, **seen: str) -> None:  # for the page: no token, no number
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with engine.begin() as db:
            db.execute(steps.insert().values(user=user, at=now, text=text, **seen))

    def issued(user: str, token: pp.ProcessorToken) -> None:
        what = f"Token for {token.processor.title()}: {token.account.label}"
        step(user, f"{what} (fingerprint {token.fingerprint})")

    def links(**which: str) -> list[StoredLink]:
        found = store.links(client_id=linker.client.client_id, **which)
        return [each for each in found if each.state != "removed"]

    def hand_to_layer(user: str, item_id: str | None) -> None:  # `tidy_up` tries again
        (row,) = rows(users, name=user)
        try:
            done = linker.hand_over(str(item_id), layer, business_id=row["layer"])
            step(user, f"Layer has {len(done)} accounts of this bank")
        except pp.PlaidProcessorsError as error:
            app.logger.warning("Layer, Item %s: %s", item_id, error)

    def look_after(link: StoredLink, event: pp.WebhookEvent | None = None) -> str:
        user, action = link.client_user_id, event.action if event else None
        new = event.account_ids if event and action == "reissue" else ()
        changes = linker.refresh(item_id=link.item_id, reissue=new, on_token=partial(issued, user))
        health = str(changes.status.action or (action if action == "add_accounts" else "healthy"))
        step(user, f"Plaid says of the bank: {health}", item_id=str(link.item_id), health=health)
        if changes.changed:
            hand_to_layer(user, link.item_id)
        return health

    def tidy_up() -> None:  # what a crash left: now, and later, as a killed process's is free then
        while True:  # in several processes too: each passes over what another is at work on
            try:
                app.logger.info("recovered: %s", linker.recover(older_than=0))
                for state in ("due", "unknown"):
                    for link in links(processor="layer", handoff=state):
                        hand_to_layer(link.client_user_id, link.item_id)
            except Exception:
                app.logger.exception("this is tried again")
            time.sleep(30)

    @app.before_request
    def guard() -> None:  # the session says who asks, and who must have the Item
        g.user = next(iter(rows(users, name=session.get("user"))), None)
        if request.path.startswith("/api/"):
            body = {} if request.method == "GET" else request.get_json()  # no form can send JSON
            if request.path != "/api/login" and g.user is None:
                abort(401, "Please sign in.")
            item_id = {**body, **(request.view_args or {})}.get("item_id")
            g.link = None
            if item_id:
                g.link = store.find(str(item_id), client_user_id=session["user"])
                if g.link is None or g.link.state == "removed":
                    abort(404, "You have no such bank.")

    @app.errorhandler(KeyError)  # a field that the request does not have
    @app.errorhandler(HTTPException)
    @app.errorhandler(pp.PlaidProcessorsError)
    def failed(error: Exception) -> Answer:
        app.logger.warning("%s: %s", type(error).__name__, error)  # neither shows a token
        words = getattr(error, "description", "This did not work. Please try again later.")
        codes = {KeyError: 400, pp.LinkInProgressError: 503, pp.DuplicateItemError: 409}
        code = codes.get(type(error), 502)
        words = "You have connected these accounts already." if code == 409 else words
        return {"error": words}, getattr(error, "code", code), {"Retry-After": "2"}

    @app.get("/")
    @app.get("/login")
    def page() -> Answer:
        if request.path == "/" and g.user is None:
            return redirect("/login")
        name, user = "login.html" if request.path == "/login" else "index.html", g.user or {}
        script = f"{plaid_url}/link/v2/stable/link-initialize.js"
        html = render_template(name, user=user.get("name"), link_script=script)
        return html, {"Content-Security-Policy": policy}  # plaid.com/docs/link/web/#csp-directives

    @app.post("/api/login")
    @app.post("/api/logout")
    def sign() -> Answer:
        session.clear()
        for row in rows(users, name=request.json.get("user")):
            if check_password_hash(row["hash"], request.json["password"]):
                session["user"] = row["name"]
        fails = request.path == "/api/login" and not session
        return ({"error": "The user or the password is wrong."}, 401) if fails else ("", 204)

    @app.get("/api/state")
    def state() -> Answer:
        user, shown, log = g.user["name"], [], rows(steps, user=g.user["name"])
        health = {row["item_id"]: row["health"] for row in log}  # as it was seen last
        for link in sorted(links(client_user_id=user), key=lambda each: str(each.created_at)):
            ways = {each.key: str(each.state) for each in link.handoffs}
            accounts = [
                {
                    "account_id": each.account.account_id,
                    "label": each.account.label,
                    "partner": each.processor,
                    "handoff": ways.get(each.key),
                }
                for each in (link.result.entries if link.result else ())
            ]
            bank = link.result and link.result.institution_name
            ids = {"item_id": link.item_id, "bank": bank, "state": link.state}
            seen = health.get(link.item_id or "", "healthy")
            shown.append({**ids, "health": seen, "accounts": accounts})
        return {"user": user, "links": shown, "steps": [dict(row) for row in log]}

    @app.post("/api/link-token")
    def link_token() -> Answer:
        body, user = request.json, g.user["name"]
        # Update mode names all partners of the Item, and the one that is to come.
        known = [each.processor for each in g.link.result.entries] if g.link else []
        partners = ["layer", "finix"] if "finix" in (body.get("partner"), *known) else ["layer"]
        seen = [row["health"] for row in rows(steps, item_id=body.get("item_id", ""))]
        token = linker.create_link_token(
            partners, client_user_id=user, client_name="Example Books", item_id=body.get("item_id"),
            webhook=None if g.link else f"{app_url}/webhooks/plaid",
            account_selection_enabled=seen[-1:] == ["add_accounts"] or None,
        )  # fmt: skip
        step(user, f"Link token made for {' and '.join(map(str.title, partners))}")
        return {"link_token": token.link_token}

    @app.post("/api/links")
    def link() -> Answer:
        user, body = g.user["name"], request.json
        result = linker.link(
            "layer", public_token=body["public_token"], metadata=body["metadata"],
            client_user_id=user, on_token=partial(issued, user),
            on_exchange=lambda item: step(user, f"In the store: {item.institution_name}"),
            earlier=[old for each in links(client_user_id=user) if (old := each.result)],
        )  # fmt: skip
        hand_to_layer(user, result.item_id)
        return {"item_id": result.item_id}, 201

    @app.post("/api/links/<item_id>/refresh")
    def refresh(item_id: str) -> Answer:  # noqa: ARG001  `guard` has read it
        return {"health": look_after(g.link)}

    @app.post("/api/links/<item_id>/finix")
    def pay(item_id: str) -> Answer:
        chosen = request.json.get("account_id")
        done = backfill_item(linker, "finix", item_id, choose=lambda *_: chosen)
        if done.reason == "several_accounts":
            fit = pp.FinixAdapter().eligible(linker.accounts(item_id=item_id))
            choose = [{"account_id": each.account_id, "label": each.label} for each in fit]
            return {"error": "Which account?", "choose": choose}, 409
        if done.reason not in (None, "already_issued"):
            words, consent = done.reason.replace("_", " "), done.reason == "no_consent"
            return {"error": f"Finix: {words}", "consent": consent}, 503 if done.may_pass else 409
        (handoff,) = linker.hand_over(item_id, finix, identity=g.user["finix"])
        step(g.user["name"], f"Finix has a payment instrument: {handoff.reference}")
        return {"handoff": handoff.state}

    @app.delete("/api/links/<item_id>")
    def disconnect(item_id: str) -> Answer:
        for each in g.link.handoffs:  # Layer keeps the books that it has
            if each.processor == "finix" and each.reference:
                finix.disable(each.reference)
        linker.remove(item_id=item_id, reason_code="OTHER")
        store.erase(item_id)
        step(g.user["name"], "Item removed at Plaid, and its tokens forgotten")
        return "", 204

    @app.post("/webhooks/plaid")
    def webhook() -> Answer:
        try:
            event = linker.verify_webhook(request.get_data(), request.headers)
        except pp.WebhookVerificationError as error:
            return error.reason, 400
        link = store.find(event.item_id) if event.item_id and event.action else None
        if link and link.state != "removed":  # in production a queue takes it
            step(link.client_user_id, f"Webhook {event.webhook_type} / {event.webhook_code}")
            threading.Thread(target=look_after, args=(link, event)).start()
        return "", 200

    if environ is None:
        threading.Thread(target=tidy_up, daemon=True).start()
    return app
