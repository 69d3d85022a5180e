"""Delivers webhooks in the background: one after the other for each Item."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .wire import Json, to_json
from .world import Webhook

# https://plaid.com/docs/api/webhooks/: how long Plaid waits for an answer.
PATIENCE = 10


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook that was sent, or that could not be delivered.

    Attributes:
        url: the address it was sent to.
        body: its body.
        status: the HTTP status of the answer; None if there was none.
        error: why there was no answer.

    """

    url: str
    body: Json
    status: int | None
    error: str | None = None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Courier:
    """Sends webhooks in daemon threads, one for each order that has some waiting."""

    def __init__(self, sign: Callable[[bytes, int], str]):
        self._sign = sign
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirects()
        ).open
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Webhook]] = {}
        self._done: list[Delivery] = []

    def send(self, webhook: Webhook) -> None:
        """Queue a webhook; it is sent after those before it in its order."""
        with self._changed:
            queue = self._waiting.get(webhook.order)
            if queue is not None:
                queue.append(webhook)
                return
            self._waiting[webhook.order] = deque([webhook])
        threading.Thread(
            target=self._drain, args=(webhook.order,), name="local-plaid-webhooks", daemon=True
        ).start()

    def _drain(self, order: str) -> None:
        while True:
            with self._changed:
                queue = self._waiting[order]
                if not queue:
                    del self._waiting[order]
                    self._changed.notify_all()
                    return
                webhook = queue.popleft()
            delivery = self._deliver(webhook)
            with self._changed:
                self._done.append(delivery)
                self._changed.notify_all()

    def _deliver(self, webhook: Webhook) -> Delivery:
        body = to_json(webhook.body)
        headers = {
            "Content-Type": "application/json",
            # The machine's clock, because receivers compare the time with theirs.
            "Plaid-Verification": self._sign(body, int(time.time())),
        }
        try:
            # The scheme was checked when the address was given.
            request = urllib.request.Request(webhook.url, body, headers)  # noqa: S310
            with self._open(request, timeout=PATIENCE) as answer:
                return Delivery(url=webhook.url, body=webhook.body, status=answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return Delivery(url=webhook.url, body=webhook.body, status=error.code)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Delivery(url=webhook.url, body=webhook.body, status=None, error=str(error))

    def deliveries(self) -> tuple[Delivery, ...]:
        """Return the deliveries so far, in the order in which they ended."""
        with self._changed:
            return tuple(self._done)

    def wait(self, timeout: float) -> bool:
        """Wait until all are sent; return False if the time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def clear(self) -> None:
        """Forget all deliveries, and those that still wait."""
        with self._changed:
            self._done.clear()
            for queue in self._waiting.values():
                queue.clear()
