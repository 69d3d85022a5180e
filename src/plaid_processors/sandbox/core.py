"""The local Plaid without I/O: a request in, an answer out."""

from __future__ import annotations

from typing import Any

from . import endpoints  # noqa: F401 - fills the list of endpoints
from .calls import ENDPOINTS, Call, Endpoint
from .errors import PlaidError
from .wire import API_VERSION, API_VERSIONS, Answer, Json, Request, from_json, json_answer
from .world import World


def dispatch(world: World, request: Request) -> Answer:
    """Answer one request. Errors are answers too: it never raises."""
    request_id = world.ids.hexadecimal("request", 15)  # the form seen since September 2026
    version = request.headers.get("plaid-version", "")
    try:
        body = _answer(world, request)
        status = 200
    except PlaidError as error:
        return json_answer(error.status, error.body(request_id), _echo(version))
    return json_answer(status, {**body, "request_id": request_id}, _echo(version))


def _echo(version: str) -> str:
    return version if version in API_VERSIONS else API_VERSION


def _answer(world: World, request: Request) -> Json:
    found = find_endpoint(request)
    _check_headers(request)
    body = read_body(request, found)
    arguments = found.arguments(body)
    client_id = arguments.pop("client_id")
    world.admit(client_id, arguments.pop("secret"))
    world.limits.check(found.path, client_id, arguments.get("access_token"), world.now())
    call = Call(
        world=world,
        client_id=client_id,
        arguments=arguments,
        user_agent=request.headers.get("user-agent", ""),
        host=request.headers.get("host"),
    )
    return found.handler(call)


def find_endpoint(request: Request) -> Endpoint:
    """Return the endpoint of a request; Plaid accepts only POST."""
    if request.method != "POST" or request.path not in ENDPOINTS:
        raise PlaidError("NOT_FOUND")
    return ENDPOINTS[request.path]


def _check_headers(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not media_type:
        raise PlaidError("INVALID_HEADERS", "Content-Type header must be set to application/json")
    if media_type != "application/json":
        # 415 for a form was seen in 2017, its body was not.
        words = "Content-Type header must be application/json"
        raise PlaidError("INVALID_HEADERS", words, status=415)
    version = request.headers.get("plaid-version")
    if version is not None and version not in API_VERSIONS:
        raise PlaidError("INVALID_HEADERS", "Plaid-Version header is not a valid API version")


def read_body(request: Request, found: Endpoint) -> dict[str, Any]:
    """Read the body, with the keys from the headers if it has none."""
    try:
        body = from_json(request.body)
    except ValueError:
        raise PlaidError("INVALID_BODY") from None
    if not isinstance(body, dict):
        raise PlaidError(found.odd_body or "INVALID_BODY")
    for name, header in (("client_id", "plaid-client-id"), ("secret", "plaid-secret")):
        if body.get(name) is None and request.headers.get(header):
            body[name] = request.headers[header]
    return body
