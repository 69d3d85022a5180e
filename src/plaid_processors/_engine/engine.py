"""The threads and connections of one client or sender, made when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import finalize

from ..errors import ConfigurationError
from .threads import Running, world


class Engine:
    """What one client or sender sends with.

    A forked child makes threads and connections of its own: its parent's threads are not there, and
    two processes that write to one socket would get each other's answers. After gevent has patched
    the standard library, threads and queues are made again too.
    """

    def __init__(
        self,
        name: str,
        max_connections: int,
        connect: Callable[[bool], Mapping[str, Any]],
        *,
        owned: bool = True,
    ) -> None:
        """Set it up.

        Args:
            name: what it belongs to, such as ``PlaidClient``, for messages.
            max_connections: how many threads there are at most.
            connect: returns urllib3's pool manager for each address; called with False it makes
                new ones, since those that it was set up with are another process's.
            owned: whether `close` closes their connections.
        """
        self._name = name
        self._max_connections = max_connections
        self._connect = connect
        self._owned = owned
        self._set_up_in = world()
        self._made: dict[tuple[int, object], Running] = {}
        self._closed = False

    def running(self) -> Running:
        """What runs in this process now.

        Raises:
            ConfigurationError: it was closed, or this is one of its threads, where a call could
                wait for itself.
        """
        if self._closed:
            raise self.closed_error()
        here = world()
        running = self._made.get(here)
        if running is not None and running.has_thread(threading.current_thread()):
            raise ConfigurationError(
                f"on_event runs on a thread of its {self._name}: no calls there"
            )
        if running is None:
            new = Running(self._max_connections, self._connect(here == self._set_up_in))
            # Of several callers that come first at once, one wins: setdefault is atomic.
            running = self._made.setdefault(here, new)
            if running is new:
                finalize(self, new.end).atexit = False  # idle threads of a forgotten client
        return running

    def close(self) -> None:
        """End the threads and close idle connections."""
        self._closed = True
        running = self._made.get(world())  # and it stays: this may be interrupted, and called again
        if running is not None:
            running.close()
            for pool in running.pools.values() if self._owned else ():
                pool.clear()

    def closed_error(self) -> ConfigurationError:
        """What a call after `close` gets."""
        return ConfigurationError(f"this {self._name} was closed: make a new one")
