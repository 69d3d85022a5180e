"""Link in the browser: the stand-in for `link-initialize.js`, its pane, and Hosted Link's page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from plaid_processors.sandbox.engine import Engine
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.linking import link_error
from plaid_processors.sandbox.visitors import Hosts, RefusedError, read_order
from plaid_processors.sandbox.wire import Json, to_json

SCRIPT = "/link/v2/stable/link-initialize.js"
_PARTS = ("pane.css", "pane.js", "draw.js", "server.js", "bank.js")
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors *",
    "Referrer-Policy": "no-referrer",
}


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath("files", name).read_text(encoding="utf-8")


def _file(name: str, text: str | None = None) -> Response:
    media_type = _TYPES[name.rpartition(".")[2]]
    return Response(text or _text(name), media_type=media_type, headers=_PAGE_HEADERS)


def _script(request: Request) -> Response:
    """Write the pane's address into the script: a test may serve it from Plaid's address."""
    home = f"{request.url.scheme}://{request.headers.get('host', '')}"
    name = "link-initialize.js"
    return _file(name, _text(name).replace("{{home}}", home))


def _part(request: Request) -> Response:
    return _file(request.url.path.rpartition("/")[2])


def _page(_: Request) -> Response:
    return _file("link.html")


def _bank_page(_: Request) -> Response:
    return _file("bank.html")


def _answer(status: int, told: Json) -> Response:
    return Response(to_json(told), status, media_type="application/json")


def link_routes(engine: Engine, hosts: Hosts) -> list[Route]:
    """Make the routes of Link's pages, at Plaid's paths if Plaid has them."""

    def page(path: str, answer: Callable[[Request], Response]) -> Route:
        # Any page may load these. A host name that is allowed may be written into a script.
        async def answer_own(request: Request) -> Response:
            try:
                hosts.check_host(request.headers)
            except RefusedError as refused:
                return PlainTextResponse(str(refused), refused.status)
            return answer(request)

        return Route(path, answer_own)

    async def action(request: Request) -> Response:
        try:
            body = await read_order(request, hosts)
            answer = await run_in_threadpool(engine.link_page, request.path_params["action"], body)
        except PlaidError as error:
            return _answer(error.status, {"error": link_error(error.body())})
        except RefusedError as refused:
            return _answer(refused.status, {"error": None, "refused": str(refused)})
        except (KeyError, TypeError, ValueError, AttributeError):
            return _answer(400, {"error": None})
        return _answer(200, answer)

    return [
        page(SCRIPT, _script),
        page("/link/v2/stable/link.html", _page),
        *[page(f"/_sandbox/link/{name}", _part) for name in _PARTS],
        page("/_sandbox/link/bank/{state}", _bank_page),
        Route("/_sandbox/link/{action}", action, methods=["POST"]),
        page("/link/{page}", _page),
    ]
