"""Link in the browser: the stand-in for `link-initialize.js`, its pane, and Hosted Link's page."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plaid_processors.sandbox.engine import Engine
from plaid_processors.sandbox.errors import PlaidError
from plaid_processors.sandbox.linking import link_error
from plaid_processors.sandbox.wire import from_json

SCRIPT = "/link/v2/stable/link-initialize.js"
_PARTS = ("pane.css", "pane.js", "draw.js", "server.js", "bank.js")
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
# A host name and port that may be written into a script.
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
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


async def _script(request: Request) -> Response:
    """Write the pane's address into the script: a test may serve it from Plaid's address."""
    home = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if not _HOST.fullmatch(request.headers.get("host", "")):
        return Response("Bad Request", status_code=400)
    name = "link-initialize.js"
    return _file(name, _text(name).replace("{{home}}", home))


async def _part(request: Request) -> Response:
    return _file(request.url.path.rpartition("/")[2])


async def _page(_: Request) -> Response:
    return _file("link.html")


async def _bank_page(_: Request) -> Response:
    return _file("bank.html")


def link_routes(engine: Engine) -> list[Route]:
    """Make the routes of Link's pages, at Plaid's paths if Plaid has them."""

    async def action(request: Request) -> Response:
        try:
            body = from_json(await request.body())
            answer = await run_in_threadpool(engine.link_page, request.path_params["action"], body)
        except PlaidError as error:
            told = {"error": link_error(error.body())}
            return JSONResponse(told, status_code=error.status)
        except (KeyError, TypeError, ValueError, AttributeError):
            return JSONResponse({"error": None}, status_code=400)
        return JSONResponse(answer)

    return [
        Route(SCRIPT, _script),
        Route("/link/v2/stable/link.html", _page),
        *[Route(f"/_sandbox/link/{name}", _part) for name in _PARTS],
        Route("/_sandbox/link/bank/{state}", _bank_page),
        Route("/_sandbox/link/{action}", action, methods=["POST"]),
        Route("/link/{page}", _page),
    ]
