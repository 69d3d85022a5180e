"""Connects banks to Layer and Finix, with asyncio: README.md says how to run and to change it."""

import logging
import os
from asyncio import TaskGroup, sleep, to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import scrypt
from pathlib import Path
from secrets import compare_digest, token_bytes, token_urlsafe
from typing import Annotated, Any

import sqlalchemy as sql
from dotenv import dotenv_values
from fastapi import BackgroundTasks, Body, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.middleware.sessions import SessionMiddleware

import plaid_processors as pp
from plaid_processors.backfill import backfill_item
from plaid_processors.handoff import AsyncFinixSender, AsyncLayerSender, HandoffRefusedError
from plaid_processors.store import SqlStore, StoredLink

HERE, log = Path(__file__).parent, logging.getLogger(__name__)
Json = dict[str, Any]
Text = Annotated[str, Body(embed=True, pattern=r"^[^\x00]*$")]  # what PostgreSQL can keep
Flag = Annotated[bool, Body(embed=True, strict=True)]
ANSWERS: dict[type[Exception], tuple[int, Json]] = {
    RequestValidationError: (400, {"error": "The server does not understand this request."}),
    pp.WebhookVerificationError: (400, {"error": "This is no webhook of Plaid's."}),
    pp.DuplicateItemError: (409, {"error": "Connected already. Use Add accounts at that bank."}),
    HandoffRefusedError: (409, {"error": "Finix may have this account already.", "again": True}),
    pp.LinkIncompleteError: (502, {"error": "The bank is connected, but not all is done yet."}),
    pp.LinkInProgressError: (503, {"error": "This is under way. Please wait a little."}),
}
hashed = partial(scrypt, salt=token_bytes(16), n=2**14, r=8, p=5)  # yours: a salt for each user


def make_app(environ: dict[str, str] | None = None) -> FastAPI:
    given: Json = {**dotenv_values(".env"), **os.environ} if environ is None else {**environ}
    url = sql.make_url(given.get("DATABASE_URL") or f"sqlite:///{HERE}/links.db")
    env = {name: value for name, value in given.items() if value}
    app_url = env.get("APP_URL", "http://127.0.0.1:8000")
    engine = sql.create_engine(url)
    store = SqlStore(engine, keys=env["LINK_KEYS"].split(","))
    texts = [sql.Column(name, sql.Text) for name in ("user", "at", "text", "item_id", "health")]
    steps = sql.Table("app_steps", store.metadata, *texts)  # beside the store's tables
    store.create_tables()
    linker = pp.AsyncProcessorLinker.from_env(env, store=store, timeout=10, deadline=20)
    layer = AsyncLayerSender.from_env(env, timeout=10)
    finix = AsyncFinixSender.from_env(env, timeout=10)
    backfill = partial(backfill_item, pp.ProcessorLinker(linker.client, store=store), "finix")
    demo = "DEMO_LAYER_BUSINESSES" in env and linker.client.environment == "sandbox"
    passwords = {name: hashed(name.encode()) for name in ("ada", "grace") if demo}  # yours: rows
    businesses = dict(zip(passwords, env.get("DEMO_LAYER_BUSINESSES", "").split(","), strict=False))
    identities = dict(zip(passwords, env.get("DEMO_FINIX_IDENTITIES", "").split(","), strict=False))

    @asynccontextmanager
    async def at_work(_: FastAPI) -> AsyncIterator[None]:
        async with linker, layer, finix, TaskGroup() as tasks:
            tidying = tasks.create_task(tidy_up())
            yield
            tidying.cancel()  # the store has what it was at work on
        engine.dispose()

    app = FastAPI(lifespan=at_work, openapi_url=None, max_body_size=1_000_000)
    app.add_middleware(SessionMiddleware, env["SESSION_SECRET"], https_only=app_url[:5] == "https")
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    render = Jinja2Templates(HERE / "templates").TemplateResponse

    find = partial(store.find, include_removed=False)

    def links(user: str | None = None, **which: Any) -> list[StoredLink]:
        which |= {"client_id": linker.client.client_id, "include_removed": False}
        found = store.links(client_user_id=user, **which)
        return sorted(found, key=lambda each: str(each.created_at))

    def step(user: str, text: str, **seen: str) -> None:  # for the page: no token, no number
        now = datetime.now(UTC).isoformat()
        with engine.begin() as db:
            db.execute(steps.insert().values(user=user, at=now, text=text, **seen))

    async def hand_to_layer(user: str, item_id: str) -> None:
        try:
            done = await linker.hand_over(item_id, layer, business_id=businesses[user])
            await to_thread(step, user, f"Layer has {len(done)} accounts of this bank")
        except Exception as error:  # noqa: BLE001  whatever it is, `tidy_up` tries again
            log.warning("Layer, Item %s: %s: %s", item_id, type(error).__name__, error)

    async def look_after(link: StoredLink, event: pp.WebhookEvent | None = None) -> str:
        user, item_id, action = link.client_user_id, str(link.item_id), event and event.action
        new = event.account_ids if event and action == "reissue" else ()
        changes = await linker.refresh(item_id=item_id, reissue=new)
        health = str(changes.status.action or (action if action == "add_accounts" else "healthy"))
        await to_thread(step, user, f"The bank is {health}", item_id=item_id, health=health)
        await hand_to_layer(user, item_id)
        return health

    async def tidy_up() -> None:  # what a crash or a failure left, and no other process has in hand
        while True:
            try:
                log.info("recovered: %s", await linker.recover(older_than=0))
                found = partial(links, processor="layer", skip_unreadable=True)
                for state in ("due", "unknown"):  # what Layer may have can be sent again
                    for link in await to_thread(found, handoff=state):
                        await hand_to_layer(link.client_user_id, str(link.item_id))
            except Exception:
                log.exception("this is tried again")
            await sleep(30)

    def who(request: Request) -> str:  # the session says it; no form of another site sends JSON
        if request.method != "GET" and request.headers.get("content-type") != "application/json":
            raise HTTPException(415, "Content-Type must be application/json.")
        if (user := request.session.get("user")) not in passwords:
            raise HTTPException(401, "Please sign in.")
        return str(user)

    def own(item_id: str, user: str = Depends(who)) -> StoredLink:
        link = find(item_id, client_user_id=user)
        if link is None:
            raise HTTPException(404, "You have no such bank.")
        return link

    OwnLink = Annotated[StoredLink, Depends(own)]  # noqa: N806  a type

    @app.exception_handler(HTTPException)
    @app.exception_handler(RequestValidationError)
    @app.exception_handler(pp.PlaidProcessorsError)
    async def failed(request: Request, error: Exception) -> Response:
        status, body = ANSWERS.get(type(error), (502, {"error": "That did not work. Try again."}))
        if isinstance(error, HTTPException):
            status, body = error.status_code, {"error": error.detail}
        if not isinstance(error, RequestValidationError):  # which shows a password that was sent
            log.warning("%s: %r", request.url.path, error.__cause__ or error)
        return JSONResponse(body, status, {"Retry-After": "2"})

    @app.get("/")
    @app.get("/login")
    def page(request: Request) -> Response:
        name, user = request.url.path.strip("/") or "index", request.session.get("user")
        if name == "index" and user not in passwords:
            return RedirectResponse("/login")
        nonce, client = token_urlsafe(), linker.client
        shown = {"user": user, "link_script": client.link_script_url, "nonce": nonce}
        policy = {"Content-Security-Policy": client.content_security_policy(nonce)}
        return render(request, f"{name}.html", shown, headers=policy)

    @app.post("/api/login", status_code=204)
    def login(request: Request, user: Text, password: Text) -> None:
        if not compare_digest(hashed(password.encode()), passwords.get(user, b"")):
            raise HTTPException(401, "The user or the password is wrong.")
        request.session["user"] = user

    @app.post("/api/logout", status_code=204, dependencies=[Depends(who)])
    def logout(request: Request) -> None:
        request.session.clear()

    @app.get("/api/state")
    def state(user: str = Depends(who)) -> Json:
        with engine.connect() as db:
            rows = db.execute(steps.select().filter_by(user=user).order_by("at")).mappings().all()
        health = {each["item_id"]: each["health"] for each in rows}  # as it was seen last
        shown = [
            {**each.summary(), "health": health.get(each.item_id) or "healthy"}
            for each in links(user)
        ]
        return {"user": user, "links": shown, "steps": [dict(each) for each in rows]}

    @app.post("/api/link-token")
    async def link_token(
        item_id: Text = "", partner: Text = "", add_accounts: Flag = False, user: str = Depends(who)
    ) -> Json:
        handoffs = (await to_thread(own, item_id, user)).handoffs if item_id else ()
        both = "finix" in (partner, *(each.processor for each in handoffs))
        token = await linker.create_link_token(
            ["layer", "finix"] if both else "layer", client_user_id=user, item_id=item_id or None,
            client_name="Example Books", account_selection_enabled=add_accounts or None,
            webhook=None if item_id else f"{app_url}/webhooks/plaid")  # fmt: skip
        await to_thread(step, user, f"Link token made for {'Layer and Finix' if both else 'Layer'}")
        return {"link_token": token.link_token}

    @app.post("/api/links", status_code=201)
    async def link(public_token: Text, metadata: Json, user: str = Depends(who)) -> Json:
        try:
            result = await linker.link("layer", public_token=public_token, metadata=metadata,
                earlier=[each.result for each in await to_thread(links, user) if each.result],
                on_exchange=lambda item: to_thread(step, user, f"Stored: {item.institution_name}"),
                on_token=lambda new: to_thread(step, user, f"Token, fingerprint {new.fingerprint}"),
                client_user_id=user)  # fmt: skip
        except (pp.PublicTokenError, KeyError, TypeError, ValueError) as error:
            raise HTTPException(400, "This is no result of Link's that can be used.") from error
        await hand_to_layer(user, str(result.item_id))
        return {"item_id": result.item_id}

    @app.post("/api/links/{item_id}/refresh")
    async def refresh(link: OwnLink) -> Json:
        return {"health": await look_after(link)}

    @app.post("/api/links/{item_id}/finix")
    async def pay(link: OwnLink, account_id: Text = "", again: Flag = False) -> Response:
        user, item_id = link.client_user_id, str(link.item_id)
        made = await to_thread(backfill, item_id, choose=lambda *_: account_id or None)
        if made.reason == "claimed":  # by another click
            raise pp.LinkInProgressError("Finix's token is being made", retry_after=2)
        if made.reason == "no_consent":
            return JSONResponse({"error": "Finix needs your consent.", "consent": True}, 409)
        if made.reason == "several_accounts":
            named = [{"account_id": each.account_id, "label": each.label} for each in made.eligible]
            return JSONResponse({"error": "Which account?", "choose": named}, 409)
        if made.reason not in (None, "already_issued"):
            raise made.error or HTTPException(409, f"Finix cannot have this bank: {made.reason}")
        unpaid = all(each.processor != "finix" or each.state != "done" for each in link.handoffs)
        await linker.hand_over(item_id, finix, identity=identities[user], again=again and unpaid)
        return JSONResponse({"handoff": "done"})

    @app.delete("/api/links/{item_id}", status_code=204)
    async def disconnect(link: OwnLink) -> None:
        at_finix = [each for each in link.handoffs if each.processor == "finix"]
        if any(each.state in ("sending", "unknown") for each in at_finix):
            raise HTTPException(409, "It is not known yet what Finix has. Pay with Finix first.")
        for reference in [each.reference for each in at_finix if each.reference]:
            await finix.disable(reference)
        await linker.remove(item_id=link.item_id, reason_code="OTHER")  # Layer keeps its books
        await to_thread(store.erase, str(link.item_id))

    @app.post("/webhooks/plaid")
    async def webhook(request: Request, later: BackgroundTasks) -> None:
        event = await linker.verify_webhook(await request.body(), request.headers)
        if event.action and (link := await to_thread(find, str(event.item_id))):
            later.add_task(look_after, link, event)  # after the answer; in production by a queue

    return app
