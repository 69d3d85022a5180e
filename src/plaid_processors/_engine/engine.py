"""The threads and connections of one client or sender, made when first needed."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Mapping
from typing import Any
from weakref import finalize

from ..errors import ConfigurationError
from .threads import Attempt, Threads

_forks = 0
"""How many forks lie between this process and the one that imported this module."""


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _world() -> tuple[int, object]:
    """What threads and queues depend on: the process, and whether gevent has patched it."""
    return _forks, queue.SimpleQueue


class Running:
    """What runs in this process.

    Attributes:
        threads: the threads.
        pools: urllib3's pool manager for each address.
        turns: who is at work on what; see `Call.turn`.
    """

    def __init__(self, threads: Threads, pools: Mapping[str, Any]) -> None:
        self.threads = threads
        self.pools = pools
        self.turns: dict[str, object] = {}
        self._made_in = _world()

    def leave(self, attempt: Attempt) -> None:
        """The caller no longer waits for an attempt; a forked child leaves its parent's alone."""
        if not self.lost:
            self.threads.leave(attempt)

    @property
    def lost(self) -> bool:
        """Whether it is of another process, or from before gevent patched this one."""
        return self._made_in != _world()


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
        self._set_up_in = _world()
        self._made: dict[tuple[int, object], Running] = {}
        self._closed = False

    def running(self) -> Running:
        """What runs in this process now.

        Raises:
            ConfigurationError: closed.
        """
        if self._closed:
            raise self.closed_error()
        world = _world()
        running = self._made.get(world)
        if running is None:
            threads = Threads(self._max_connections)
            # Of several callers that come first at once, one wins: setdefault is atomic.
            pools = self._connect(world == self._set_up_in)
            running = self._made.setdefault(world, Running(threads, pools))
            if running.threads is threads:
                finalize(self, threads.end).atexit = False  # idle threads of a forgotten client
            for other in [each for each in self._made.copy() if each != world]:
                self._made.pop(other, None)
        return running

    def close(self) -> None:
        """End the threads and close idle connections."""
        self._closed = True
        running = self._made.pop(_world(), None)
        if running is not None:
            running.threads.close()
            for pool in running.pools.values() if self._owned else ():
                pool.clear()

    def closed_error(self) -> ConfigurationError:
        """What a call after `close` gets."""
        return ConfigurationError(f"this {self._name} was closed: make a new one")
