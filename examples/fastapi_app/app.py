"""Connects banks to Layer and Finix, with asyncio: README.md says how to run and to change it."""

import hashlib
import logging
import os
from asyncio import TaskGroup, sleep, to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import compare_digest, token_bytes, token_hex
from typing import Annotated, Any

import sqlalchemy as sql
from cryptography.fernet import Fernet
from dotenv import dotenv_values
from fastapi import BackgroundTasks, Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.middleware.sessions import SessionMiddleware

import plaid_processors as pp
from plaid_processors.handoff import AsyncFinixSender, AsyncLayerSender
from plaid_processors.store import SqlStore, StoredLink

HERE, log = Path(__file__).parent, logging.getLogger(__name__)
Json = dict[str, Any]
Text = Annotated[str, Body(embed=True)]  # a field of the request's JSON
Opt = Annotated[str | None, Body(embed=True)]
WORDS: dict[type, tuple[int, str]] = {  # for users
    pp.LinkInProgressError: (503, "This is under way. Please wait a little."),
    pp.DuplicateItemError: (409, "You have connected these accounts already."),
    pp.WebhookVerificationError: (400, "This is no webhook of Plaid's."),
}
key = sql.Column("number", sql.Integer, primary_key=True)
texts = (sql.Column(each, sql.Text) for each in ("user", "at", "text", "item_id", "health"))
steps = sql.Table("app_steps", sql.MetaData(), key, *texts)  # the store makes its own tables


def make_app(environ: dict[str, str] | None = None) -> FastAPI:
    """The application, by the variables of the environment and of the file .env."""
    given: Json = {**dotenv_values(".env"), **os.environ} if environ is None else {**environ}
    url = sql.make_url(given.get("DATABASE_URL") or f"sqlite:///{HERE}/links.db")
    file = Path(f"{url.database}.env")  # in production a secret manager sets these two
    if url.get_backend_name() == "sqlite" and not file.exists():
        file.touch(0o600)
        file.write_text(f"LINK_KEYS={Fernet.generate_key().decode()}\nSESSION_SECRET={token_hex()}")
    env: Json = {**dotenv_values(file), **given}
    plaid_url = env.get("PLAID_BASE_URL") or "https://cdn.plaid.com"
    app_url = env.get("APP_URL") or "http://127.0.0.1:8000"
    store = SqlStore(engine := sql.create_engine(url), keys=env["LINK_KEYS"].split(","))
    # What a killed process was at work on waits for as long as its calls could have taken.
    linker = pp.AsyncProcessorLinker.from_env(env, store=store, timeout=10, deadline=20)
    layer, finix = AsyncLayerSender.from_env(env), AsyncFinixSender.from_env(env)
    # Yours is a table: your sign-up makes a business at Layer and an identity at Finix.
    kdf = partial(hashlib.scrypt, salt=token_bytes(16), n=2**14, r=8, p=5)
    users: dict[str, tuple[bytes, str, str]] = {}
    if "DEMO_LAYER_BUSINESSES" in env:
        demo = env["DEMO_LAYER_BUSINESSES"].split(","), env["DEMO_FINIX_IDENTITIES"].split(",")
        for name, business, identity in zip(("ada", "grace"), *demo, strict=True):
            users[name] = kdf(name.encode()), business, identity

    @asynccontextmanager
    async def at_work(_: FastAPI) -> AsyncIterator[None]:
        await to_thread(store.create_tables)
        await to_thread(steps.create, engine, checkfirst=True)
        async with linker, layer, finix, TaskGroup() as tasks:
            tidying = tasks.create_task(tidy_up())
            yield
            tidying.cancel()  # the store has what it was at work on
        engine.dispose()

    app, https = FastAPI(lifespan=at_work, openapi_url=None), app_url.startswith("https:")
    app.add_middleware(SessionMiddleware, env["SESSION_SECRET"], https_only=https)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    html = Jinja2Templates(HERE / "templates").TemplateResponse
    policy = f"default-src 'self' data:; script-src 'self' {plaid_url}; frame-src {plaid_url}"

    def links(user: str | None = None, **which: str) -> list[StoredLink]:  # blocks: in a thread
        found = store.links(client_id=linker.client.client_id, client_user_id=user, **which)
        there = (each for each in found if each.state != "removed")
        return sorted(there, key=lambda each: str(each.created_at))

    def steps_of(**which: str) -> list[Json]:
        with engine.connect() as db:
            found = db.execute(steps.select().filter_by(**which).order_by(key))
            return [dict(each) for each in found.mappings()]

    def step(user: str, text: str, **seen: str) -> None:  # for the page: no token, no number
        now = datetime.now(UTC).isoformat()
        with engine.begin() as db:
            db.execute(steps.insert().values(user=user, at=now, text=text, **seen))

    async def issued(user: str, token: pp.ProcessorToken) -> None:
        what = f"Token for {token.processor.title()}: {token.account.label}"
        await to_thread(step, user, f"{what} (fingerprint {token.fingerprint})")

    async def hand_to_layer(user: str, item_id: str | None) -> None:  # `tidy_up` tries again
        try:
            done = await linker.hand_over(str(item_id), layer, business_id=users[user][1])
            await to_thread(step, user, f"Layer has {len(done)} accounts of this bank")
        except pp.PlaidProcessorsError as error:
            log.warning("Layer, Item %s: %s", item_id, error)

    async def look_after(link: StoredLink, event: pp.WebhookEvent | None = None) -> str:
        user, item_id, action = link.client_user_id, str(link.item_id), event and event.action
        new = event.account_ids if event and action == "reissue" else ()
        changes = await linker.refresh(item_id=item_id, reissue=new, on_token=partial(issued, user))
        health = str(changes.status.action or (action if action == "add_accounts" else "healthy"))
        await to_thread(step, user, f"The bank is {health}", item_id=item_id, health=health)
        if changes.changed:
            await hand_to_layer(user, item_id)
        return health

    async def tidy_up() -> None:  # what a crash left: now, and later, when its time is over
        while True:  # in several processes too: each passes over what another is at work on
            try:
                log.info("recovered: %s", await linker.recover(older_than=0))
                for state in ("due", "unknown"):
                    for link in await to_thread(links, processor="layer", handoff=state):
                        await hand_to_layer(link.client_user_id, link.item_id)
            except Exception:
                log.exception("this is tried again")
            await sleep(30)

    def who(request: Request) -> str:  # the session says it; no form can send JSON
        kind, user = request.headers.get("content-type", ""), str(request.session.get("user"))
        if request.method != "GET" and not kind.startswith("application/json"):
            raise HTTPException(415, "Content-Type must be application/json.")
        if user not in users:
            raise HTTPException(401, "Please sign in.")
        return user

    def own(item_id: str, user: str = Depends(who)) -> StoredLink:
        link = store.find(item_id, client_user_id=user)
        if link is None or link.state == "removed":
            raise HTTPException(404, "You have no such bank.")
        return link

    @app.exception_handler(HTTPException)
    @app.exception_handler(pp.PlaidProcessorsError)
    async def failed(request: Request, error: Exception) -> Response:
        log.warning("%s: %s", request.url.path, error)
        code, words = WORDS.get(type(error), (502, "That did not work. Please try again."))
        code, it = getattr(error, "status_code", code), getattr(error, "detail", words)
        return JSONResponse(it if type(it) is dict else {"error": it}, code, {"Retry-After": "2"})

    @app.get("/", response_model=None)
    @app.get("/login", response_model=None)
    def page(request: Request) -> Response:
        name, user = request.url.path.strip("/") or "index", request.session.get("user")
        if name == "index" and user not in users:
            return RedirectResponse("/login")
        shown = {"user": user, "link_script": f"{plaid_url}/link/v2/stable/link-initialize.js"}
        return html(request, f"{name}.html", shown, headers={"Content-Security-Policy": policy})

    @app.post("/api/login", status_code=204)
    def login(request: Request, user: Text, password: Text) -> None:
        if not compare_digest(kdf(password.encode()), users.get(user, [b""])[0]):
            raise HTTPException(401, "The user or the password is wrong.")
        request.session["user"] = user

    @app.post("/api/logout", status_code=204, dependencies=[Depends(who)])
    def logout(request: Request) -> None:
        request.session.clear()

    @app.get("/api/state")
    def state(user: str = Depends(who)) -> Json:
        told, shown = steps_of(user=user), []
        health = {each["item_id"]: each["health"] for each in told}  # as it was seen last
        for link in links(user):
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
            seen = health.get(link.item_id) or "healthy"
            shown.append({**ids, "health": seen, "accounts": accounts})
        return {"user": user, "links": shown, "steps": told}

    @app.post("/api/link-token")
    async def start(item_id: Opt = None, partner: Opt = None, user: str = Depends(who)) -> Json:
        ways = (await to_thread(own, item_id, user)).handoffs if item_id else ()
        both = "finix" in (partner, *(each.processor for each in ways))  # update mode names all
        seen = [each["health"] for each in await to_thread(steps_of, item_id=item_id or "")]
        token = await linker.create_link_token(
            ["layer", "finix"] if both else "layer", client_user_id=user, item_id=item_id,
            client_name="Example Books", webhook=None if item_id else f"{app_url}/webhooks/plaid",
            account_selection_enabled=seen[-1:] == ["add_accounts"] or None)  # fmt: skip
        await to_thread(step, user, f"Link token made for {'Layer and Finix' if both else 'Layer'}")
        return {"link_token": token.link_token}

    @app.post("/api/links", status_code=201)
    async def link(public_token: Text, metadata: Json, user: str = Depends(who)) -> Json:
        result = await linker.link(
            "layer", public_token=public_token, metadata=metadata, client_user_id=user,
            earlier=[each.result for each in await to_thread(links, user) if each.result],
            on_exchange=lambda item: to_thread(step, user, f"Stored: {item.institution_name}"),
            on_token=partial(issued, user))  # fmt: skip
        await hand_to_layer(user, result.item_id)
        return {"item_id": result.item_id}

    @app.post("/api/links/{item_id}/refresh")
    async def refresh(link: StoredLink = Depends(own)) -> Json:  # noqa: B008
        return {"health": await look_after(link)}

    @app.post("/api/links/{item_id}/finix")
    async def pay(account_id: Opt = None, link: StoredLink = Depends(own)) -> Json:  # noqa: B008
        user, item_id = link.client_user_id, str(link.item_id)
        if all(each.processor != "finix" for each in link.handoffs):
            consented = (await linker.status(item_id=item_id)).consented_products
            if consented is not None and "auth" not in consented:  # None: an older Item
                raise HTTPException(409, {"error": "Finix needs your consent.", "consent": True})
            told = partial(issued, user)
            try:
                await linker.issue("finix", item_id=item_id, account_id=account_id, on_token=told)
            except pp.AccountSelectionError as error:
                choose = [{"account_id": it.account_id, "label": it.label} for it in error.eligible]
                raise HTTPException(409, {"error": "Which account?", "choose": choose}) from None
        (done,) = await linker.hand_over(item_id, finix, identity=users[user][2])
        await to_thread(step, user, f"Finix has a payment instrument: {done.reference}")
        return {"handoff": done.state}

    @app.delete("/api/links/{item_id}", status_code=204)
    async def disconnect(link: StoredLink = Depends(own)) -> None:  # noqa: B008
        for each in link.handoffs:  # Layer keeps the books that it has
            if each.processor == "finix" and each.reference:
                await finix.disable(each.reference)
        await linker.remove(item_id=link.item_id, reason_code="OTHER")
        await to_thread(store.erase, str(link.item_id))
        await to_thread(step, link.client_user_id, "Item removed at Plaid, its tokens forgotten")

    @app.post("/webhooks/plaid")
    async def webhook(request: Request, later: BackgroundTasks) -> None:
        event = await linker.verify_webhook(await request.body(), request.headers)
        link = await to_thread(store.find, event.item_id) if event.item_id else None
        if link and event.action and link.state != "removed":
            await to_thread(step, link.client_user_id, f"Webhook: {event.webhook_code}")
            later.add_task(look_after, link, event)  # after the answer; in production by a queue

    return app
