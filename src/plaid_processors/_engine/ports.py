"""How a call waits, and how it calls its caller back: by blocking, or in an event loop.

The coroutines of the workflow await a port. The blocking one never suspends, so that `run` drives
them with a single step; the asyncio one awaits what the threads wake by ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any, TypeVar

T = TypeVar("T")

_SLICE = 0.5
"""Seconds that one blocking wait lasts at most."""

_LOOK_AGAIN = 2.0
"""Seconds that one wait in an event loop lasts at most."""

_UNSET = object()


class BlockingPort:
    """For `ProcessorLinker` and the blocking senders; a new one for each call.

    Attributes:
        interruption: a KeyboardInterrupt, a cancellation or the like, that has to wait until what
            must not be lost is safe.
    """

    interruption: BaseException | None = None

    def __init__(self) -> None:
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def check_callback(self, name: str, callback: object) -> None:
        """Refuse what cannot be called, before anything is sent."""
        _check_callable(name, callback)
        if is_coroutine_function(callback):
            raise TypeError(f"{name} is a coroutine function: AsyncProcessorLinker awaits it")

    def ring(self) -> None:
        """Wake `wait`. Called on the threads."""
        self._bell.put(None)

    def waits(self) -> bool:
        """Whether the caller can still be waiting. Called on the threads."""
        return True  # until it leaves

    async def wait(self, seconds: float) -> None:
        """Wait until `ring`, or so long at most."""
        # In slices: a signal that another thread got, or that came just before the wait began,
        # is not handled until it ends.
        with suppress(queue.Empty):
            self._bell.get(timeout=min(seconds, _SLICE))

    async def run(self, work: Callable[[], T]) -> T:
        """Do work that blocks, such as a database's."""
        return work()

    async def checkpoint(self) -> None:
        """Let a cancellation that came since the last wait be raised here: none comes."""

    async def call(
        self,
        callback: Callable[[Any], object],
        value: object,
        patience: float | None,  # noqa: ARG002  nothing can cancel it
    ) -> object:
        """What the caller's callback returns."""
        returned = callback(value)
        if isawaitable(returned):  # and nothing here would do its work
            if iscoroutine(returned):
                returned.close()
            raise TypeError("the callback returned an awaitable: AsyncProcessorLinker awaits it")
        return returned


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that only awaits a `BlockingPort`, and so never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("the coroutine suspended, which a blocking call cannot do")


class AsyncPort:
    """For `AsyncProcessorLinker` and the asynchronous senders: as `BlockingPort`, in the loop."""

    interruption: BaseException | None = None

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def check_callback(self, name: str, callback: object) -> None:
        _check_callable(name, callback)

    def ring(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the caller no longer waits
            self._loop.call_soon_threadsafe(self._wake)

    def waits(self) -> bool:
        return not self._loop.is_closed()

    def _wake(self) -> None:
        self._rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        if not self._rung:
            self._waiter = self._loop.create_future()
            # A signal handler's exception may strike `_wake`, and asyncio only logs it.
            timer = self._loop.call_later(min(seconds, _LOOK_AGAIN), self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
        self._rung = False

    async def run(self, work: Callable[[], T]) -> T:
        """Do it on a thread of the event loop's; a cancellation waits for it."""
        if self._loop.is_closed():  # its caller was abandoned, and gives back what it holds
            return work()
        context = contextvars.copy_context()
        future = self._loop.run_in_executor(None, context.run, work)
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as cancelled:
                self.interruption = cancelled
        return future.result()

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)  # asyncio cancels a task that returns with a cancellation to come

    async def call(
        self, callback: Callable[[Any], object], value: object, patience: float | None
    ) -> object:
        """Call it, and await what it returns; a cancellation waits so long for it, if at all."""
        returned = callback(value)
        if not isawaitable(returned):
            return returned
        if patience is None:
            return await returned
        # A task of its own, which a cancellation does not reach.
        context = contextvars.copy_context()
        task = self._loop.create_task(_awaited(returned), context=context)
        end: float | None = None
        while not task.done() and (end is None or self._loop.time() < end):
            try:
                left = None if end is None else end - self._loop.time()
                await asyncio.wait([task], timeout=left)
            except asyncio.CancelledError as cancelled:
                self.interruption = cancelled
                end = end or self._loop.time() + patience
        if not task.done():
            task.cancel()
            assert self.interruption is not None
            raise self.interruption
        for variable, changed in context.items():  # what it set holds for the caller too
            if variable.get(_UNSET) is not changed:
                variable.set(changed)
        return task.result()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


Port = BlockingPort | AsyncPort
"""How a call waits, in either world."""


def is_coroutine_function(callback: object) -> bool:
    """Whether calling it gives a coroutine; an object's ``__call__`` counts too."""
    call = getattr(type(callback), "__call__", None)  # noqa: B004  what it is, not whether
    return iscoroutinefunction(callback) or iscoroutinefunction(call)


def _check_callable(name: str, callback: object) -> None:
    if callback is not None and not callable(callback):
        raise TypeError(f"{name} must be callable, not {type(callback).__name__}")
