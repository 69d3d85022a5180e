"""Delivers webhooks in the background: one after the other for each Item."""

from __future__ import annotations

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from .journal import KEPT
from .wire import Json, to_json
from .world import Webhook

# https://plaid.com/docs/api/webhooks/: how long Plaid waits for an answer.
PATIENCE = 10
MOST_AT_ONCE = 16


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook that was sent, or that could not be delivered or was not sent.

    Attributes:
        url: the address it is for.
        body: its body.
        status: the HTTP status of the answer; None if there was none.
        error: why there was no answer, or why it was not sent.

    """

    url: str
    body: Json
    status: int | None
    error: str | None = None


class Courier:
    """Sends webhooks in daemon threads; those of one order wait for each other.

    They go to this machine only, unless `remote`: a server that any page may ask must not be one
    that asks others.
    """

    def __init__(self, sign: Callable[[bytes, int], str], *, remote: bool = False):
        self._sign = sign
        self._remote = remote
        self._changed = threading.Condition()
        self._threads = 0
        self._waiting: dict[str, deque[Webhook]] = {}  # by order; one is being sent of each
        self._ready: deque[str] = deque()  # the orders whose next webhook no thread has
        self._done: deque[Delivery] = deque(maxlen=KEPT)  # made anew by `clear`

    def send(self, webhook: Webhook) -> None:
        """Queue a webhook; it is sent after those before it in its order."""
        with self._changed:
            if webhook.order in self._waiting:
                self._waiting[webhook.order].append(webhook)
                return
            self._waiting[webhook.order] = deque([webhook])
            self._ready.append(webhook.order)
            if self._threads == MOST_AT_ONCE:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="local-plaid-webhooks", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._ready:
                    self._threads -= 1
                    return
                order = self._ready.popleft()
                queue = self._waiting[order]
                webhook = queue.popleft()
                done = self._done
            delivery = self._deliver(webhook)
            with self._changed:
                done.append(delivery)
                if queue:
                    self._ready.append(order)
                else:
                    del self._waiting[order]
                self._changed.notify_all()

    def _deliver(self, webhook: Webhook) -> Delivery:
        try:
            status = self._post(webhook.url, to_json(webhook.body))
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Delivery(url=webhook.url, body=webhook.body, status=None, error=str(error))
        return Delivery(url=webhook.url, body=webhook.body, status=status)

    def _post(self, url: str, body: bytes) -> int:
        # The scheme was checked when the address was given; a domain alone is taken too.
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host = parts.hostname or ""
        if not (self._remote or _is_this_machine(host)):
            raise ValueError(
                f"not sent: {host} is not this machine. To send to others, use "
                "remote_webhooks=True of LocalSandbox, or --remote-webhooks"
            )
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        headers = {
            "Content-Type": "application/json",
            # The machine's clock, because receivers compare the time with theirs.
            "Plaid-Verification": self._sign(body, int(time.time())),
        }
        connection = connect(host, parts.port, timeout=PATIENCE)
        try:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            connection.request("POST", target, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

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
            self._done = deque(maxlen=KEPT)  # one that is being sent goes to the old list
            for order in self._ready:
                del self._waiting[order]
            self._ready.clear()
            for queue in self._waiting.values():
                queue.clear()  # behind one that is being sent
            self._changed.notify_all()
