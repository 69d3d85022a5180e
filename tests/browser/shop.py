"""An application with a front end: its pages, and the two calls of its back end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from plaid_processors import LinkResult, ProcessorLinker

Json = dict[str, Any]


class Shop:
    """Serves pages, makes link tokens, and links what Link's onSuccess gives."""

    def __init__(self, linker: ProcessorLinker, partner: str) -> None:
        self.linker = linker
        self.partner = partner
        self.options: Json = {}
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.results: list[LinkResult] = []
        self.linked = threading.Event()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                media_type, body = shop.pages.get(
                    self.path.partition("?")[0], ("text/plain", b"none")
                )
                self.answer(media_type, body)

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                calls: dict[str, Callable[[bytes], Json]] = {
                    "/create_link_token": shop.create_link_token,
                    "/link_accounts": shop.link_accounts,
                }
                self.answer("application/json", json.dumps(calls[self.path](sent)).encode())

            def answer(self, media_type: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def page(self, path: str, body: str, media_type: str = "text/html; charset=utf-8") -> str:
        """Serve a page; its address."""
        self.pages[path] = (media_type, body.encode())
        return self.url + path

    def create_link_token(self, _: bytes) -> Json:
        token = self.linker.create_link_token(
            self.partner, client_user_id="user-42", client_name="Acme Books", **self.options
        )
        return {"link_token": token.link_token}

    def link_accounts(self, sent: bytes) -> Json:
        result = self.linker.link(self.partner, **json.loads(sent))
        self.results.append(result)
        self.linked.set()
        return {"labels": [token.account.label for token in result.processor_tokens]}

    @property
    def result(self) -> LinkResult:
        """What the one link of the test has come to."""
        assert self.linked.wait(10), "nothing was linked"
        (result,) = self.results
        return result

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
