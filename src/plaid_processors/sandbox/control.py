"""The control plane over HTTP, under its own path, for tests in any language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .clock import stamp
from .engine import Engine
from .faults import Fault
from .journal import LoggedRequest
from .wire import Json, from_json

Action = Callable[[Engine, Json], Any]
_FAULT_NAMES = frozenset(field.name for field in fields(Fault))


def _reset(engine: Engine, body: Json) -> Json:
    engine.reset(**body)
    return {}


def _time(engine: Engine, _: Json) -> Json:
    return {"now": stamp(engine.now)}


def _advance(engine: Engine, body: Json) -> Json:
    return {"now": stamp(engine.advance(float(body["seconds"])))}


def _partner(engine: Engine, body: Json) -> Json:
    switch = engine.enable_partner if body["enabled"] else engine.disable_partner
    switch(body["processor"])
    return {}


def _show_request(entry: LoggedRequest) -> Json:
    return {**asdict(entry), "at": stamp(entry.at)}


def _requests(engine: Engine, _: Json) -> Json:
    return {"requests": [_show_request(entry) for entry in engine.requests]}


def _clear_requests(engine: Engine, _: Json) -> Json:
    engine.clear_requests()
    return {}


def _faults(engine: Engine, _: Json) -> Json:
    return {"faults": [fault.to_dict() for fault in engine.faults]}


def _add_fault(engine: Engine, body: Json) -> Json:
    unknown = sorted(set(body) - _FAULT_NAMES)
    if unknown:
        known = ", ".join(sorted(_FAULT_NAMES))
        raise ValueError(f"a fault has no {', '.join(unknown)}; it has: {known}")
    engine.fail(**body)
    return {}


def _clear_faults(engine: Engine, _: Json) -> Json:
    engine.clear_faults()
    return {}


def _limits(engine: Engine, body: Json) -> Json:
    engine.limit_rates(body["enabled"], body.get("per_client"))
    return {}


def _webhooks(engine: Engine, _: Json) -> Json:
    engine.wait_for_webhooks()
    return {"webhooks": [asdict(delivery) for delivery in engine.webhooks]}


def _complete_link(engine: Engine, body: Json) -> Json:
    done = engine.complete_link(**body)
    return {"public_token": done.public_token, "metadata": done.metadata}


def _exit_link(engine: Engine, body: Json) -> Json:
    left = engine.exit_link(**body)
    return {"error": left.error, "metadata": left.metadata}


def _account_select(engine: Engine, body: Json) -> Json:
    engine.set_account_select(**body)
    return {}


def _new_keys(engine: Engine, _: Json) -> Json:
    return asdict(engine.new_keys())


def _health(engine: Engine, _: Json) -> Json:
    return {"ok": True, "now": stamp(engine.now)}


ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "/health"): _health,
    ("POST", "/reset"): _reset,
    ("GET", "/clock"): _time,
    ("POST", "/clock"): _advance,
    ("POST", "/partners"): _partner,
    ("POST", "/keys"): _new_keys,
    ("GET", "/requests"): _requests,
    ("DELETE", "/requests"): _clear_requests,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
    ("POST", "/rate_limits"): _limits,
    ("GET", "/webhooks"): _webhooks,
    ("POST", "/complete_link"): _complete_link,
    ("POST", "/exit_link"): _exit_link,
    ("POST", "/account_select"): _account_select,
}


def _route(engine: Engine, method: str, path: str, action: Action) -> Route:
    async def answer(request: Request) -> Response:
        try:
            body = from_json(await request.body() or b"{}")
            if not isinstance(body, dict):
                raise TypeError("the body is a JSON object")  # noqa: TRY301 - answered as below
            return JSONResponse(await run_in_threadpool(action, engine, body))
        except KeyError as error:
            return JSONResponse({"error": f"{error} is missing"}, status_code=400)
        except (TypeError, ValueError, OverflowError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    return Route(path, answer, methods=[method])


def control_app(engine: Engine) -> Starlette:
    """Make the application of the control plane."""
    return Starlette(
        routes=[_route(engine, method, path, action) for (method, path), action in ACTIONS.items()]
    )
