"""The control plane over HTTP, under its own path, for tests in any language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .clock import stamp
from .engine import Engine
from .errors import PlaidError
from .faults import Fault
from .fields import Field, Report, flag, free, many, number, required, text
from .journal import LoggedRequest
from .visitors import Hosts, RefusedError, read_order
from .wire import Json, to_json

_FAULT_NAMES = frozenset(field.name for field in fields(Fault))


@dataclass(frozen=True)
class Action:
    """What one path does, and the fields of its body; None: the action checks it."""

    run: Callable[[Engine, Json], Json]
    fields: dict[str, Field] | None

    def order(self, body: Json) -> Json:
        """Refuse a body that does not fit; a null counts as absent."""
        if self.fields is None:
            return body
        report = Report()
        report.look_inside(body, self.fields, "")
        report.raise_first(None)
        return {name: value for name, value in body.items() if value is not None}


def _reset(engine: Engine, body: Json) -> Json:
    unknown = sorted(set(body) - {"seed"})
    if unknown:
        raise ValueError(f"a reset has no {', '.join(unknown)}; it has: seed")
    engine.reset(body.get("seed"))
    return {}


def _time(engine: Engine, _: Json) -> Json:
    return {"now": stamp(engine.now)}


def _advance(engine: Engine, body: Json) -> Json:
    return {"now": stamp(engine.advance(body["seconds"]))}


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


def _webhook(engine: Engine, body: Json) -> Json:
    signed = engine.webhook(**body)
    return {"url": signed.url, "headers": signed.headers, "body": signed.body.decode()}


def _complete_link(engine: Engine, body: Json) -> Json:
    done = engine.complete_link(**body)
    return {"public_token": done.public_token, "metadata": done.metadata}


def _connect_banks(engine: Engine, body: Json) -> Json:
    return {"linked": [asdict(done) for done in engine.connect_banks(**body)]}


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


def _consent(engine: Engine, body: Json) -> Json:
    engine.record_consent(body["enabled"])
    return {}


def _reset_login(engine: Engine, body: Json) -> Json:
    engine.reset_login(**body)
    return {}


def _revoke(engine: Engine, body: Json) -> Json:
    engine.revoke(**body)
    return {}


def _new_account(engine: Engine, body: Json) -> Json:
    return asdict(engine.new_account(**body))


def _close_account(engine: Engine, body: Json) -> Json:
    engine.close_account(**body)
    return {}


def _change_numbers(engine: Engine, body: Json) -> Json:
    engine.change_numbers(**body)
    return {}


def _logins(engine: Engine, body: Json) -> Json:
    engine.expire_logins(body["enabled"])
    return {}


_TEXT = required(text())
ACTIONS: dict[tuple[str, str], Action] = {
    ("GET", "/health"): Action(_health, {}),
    ("POST", "/reset"): Action(_reset, None),
    ("GET", "/clock"): Action(_time, {}),
    ("POST", "/clock"): Action(_advance, {"seconds": required(number())}),
    ("POST", "/partners"): Action(_partner, {"processor": _TEXT, "enabled": required(flag())}),
    ("POST", "/keys"): Action(_new_keys, {}),
    ("GET", "/requests"): Action(_requests, {}),
    ("DELETE", "/requests"): Action(_clear_requests, {}),
    ("GET", "/faults"): Action(_faults, {}),
    ("POST", "/faults"): Action(_add_fault, None),
    ("DELETE", "/faults"): Action(_clear_faults, {}),
    ("POST", "/rate_limits"): Action(_limits, {"enabled": required(flag()), "per_client": free()}),
    ("GET", "/webhooks"): Action(_webhooks, {}),
    ("POST", "/webhook"): Action(
        _webhook,
        {
            "webhook_type": _TEXT,
            "webhook_code": _TEXT,
            "item_id": text(),
            "age": number(),
            "fields": free(),
        },
    ),
    ("POST", "/complete_link"): Action(
        _complete_link,
        {
            "link_token": _TEXT,
            "institution_id": text(),
            "masks": many(text()),
            "username": text(),
            "password": text(),
        },
    ),
    ("POST", "/connect_banks"): Action(
        _connect_banks,
        {"link_token": _TEXT, "institution_ids": required(many(text()))},
    ),
    ("POST", "/exit_link"): Action(
        _exit_link,
        {"link_token": _TEXT, "institution_id": text(), "error_code": text(), "status": text()},
    ),
    ("POST", "/reset_login"): Action(_reset_login, {"item": _TEXT}),
    ("POST", "/revoke"): Action(_revoke, {"item": _TEXT, "account_id": text()}),
    ("POST", "/new_account"): Action(
        _new_account, {"item": _TEXT, "subtype": text(), "name": text(), "mask": text()}
    ),
    ("POST", "/close_account"): Action(_close_account, {"item": _TEXT, "account_id": _TEXT}),
    ("POST", "/change_numbers"): Action(_change_numbers, {"item": _TEXT, "account_id": text()}),
    ("POST", "/logins"): Action(_logins, {"enabled": required(flag())}),
    ("POST", "/consent"): Action(_consent, {"enabled": required(flag())}),
    ("POST", "/account_select"): Action(
        _account_select, {"select": _TEXT, "customization": text()}
    ),
}


def _reply(status: int, told: Json) -> Response:
    return Response(to_json(told), status, media_type="application/json")


def _route(engine: Engine, hosts: Hosts, method: str, path: str, action: Action) -> Route:
    async def answer(request: Request) -> Response:
        try:
            order = action.order(await read_order(request, hosts))
            return _reply(200, await run_in_threadpool(action.run, engine, order))
        except RefusedError as refused:
            return _reply(refused.status, {"error": str(refused)})
        except PlaidError as error:
            return _reply(400, {"error": error.message})
        except (TypeError, ValueError, OverflowError) as error:
            return _reply(400, {"error": str(error)})

    return Route(path, answer, methods=[method])


def control_app(engine: Engine, hosts: Hosts) -> Starlette:
    """Make the application of the control plane."""
    return Starlette(
        routes=[
            _route(engine, hosts, method, path, action)
            for (method, path), action in ACTIONS.items()
        ]
    )
