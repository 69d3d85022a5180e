"""AsyncProcessorLinker: the same flow, awaited. Requests run on the client's threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial, wraps
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from .calls import Call
from .client import PlaidClient
from .errors import PlaidProcessorsError
from .flow import Flow, Next, Prepare, Start, Step, Tell
from .linker import BaseLinker, begun, present
from .operations import Operations

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
P = ParamSpec("P")


def _awaited(
    operation: Callable[Concatenate[Operations, P], Flow[T]],
) -> Callable[Concatenate[AsyncProcessorLinker, P], Coroutine[Any, Any, T]]:
    """The operation as a coroutine method."""

    @wraps(operation)
    async def method(self: AsyncProcessorLinker, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(begun(operation, self, *args, **kwargs))

    return present(method, operation, "AsyncProcessorLinker")


class AsyncProcessorLinker(BaseLinker):
    """`ProcessorLinker`, awaited: the same arguments, results and errors.

    Callbacks may be functions or coroutine functions; the latter are awaited. Cancelling waits for
    an exchange under way, at most for the client's ``timeout``, and for ``on_exchange``, so that no
    Item is lost; what was achieved is in ``unfinished(error)``.
    """

    create_link_token = _awaited(Operations.create_link_token)
    session = _awaited(Operations.session)
    link = _awaited(Operations.link)
    link_sandbox = _awaited(Operations.link_sandbox)
    issue = _awaited(Operations.issue)
    resume = _awaited(Operations.resume)
    accounts = _awaited(Operations.accounts)
    remove = _awaited(Operations.remove)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the client."""
        # It waits for its threads, which must not hold the event loop.
        await asyncio.get_running_loop().run_in_executor(None, self._client.close)

    async def _run(self, steps: Flow[T]) -> T:
        shell = _Shell(self._client)
        try:
            return await shell.run(steps)
        finally:
            shell.abandon()


class _Shell:
    """Does the steps of one flow, awaiting each."""

    def __init__(self, client: PlaidClient) -> None:
        self._sender = client._sender
        self._deadline = client.begin()
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        self._cancelled: asyncio.CancelledError | None = None

    async def run(self, steps: Flow[T]) -> T:
        try:
            return await self._drive(steps)
        except Exception as error:
            if self._cancelled is not None:
                # What was irrevocable failed, but the caller is still owed the cancellation.
                raise self._cancelled from error
            raise

    async def _drive(self, steps: Flow[T]) -> T:
        step = next(steps)
        while True:
            came, failed = await self._outcome(step)
            try:
                step = steps.send(came) if failed is None else steps.throw(failed)
            except StopIteration as end:
                value: T = end.value
                return value

    async def _outcome(self, step: Step) -> tuple[object, BaseException | None]:
        try:
            return await self._do(step), None
        except BaseException as error:  # noqa: BLE001  the flow decides what it means
            return None, error

    def abandon(self) -> None:
        """Nobody waits any more: what was started and not sent yet is not sent."""
        self._deadline.abandon()

    async def _do(self, step: Step) -> object:
        irrevocable = isinstance(step, (Call, Tell)) and step.irrevocable
        if self._cancelled is not None and not irrevocable:
            # It came while something irrevocable was under way, and was put off until now.
            raise self._cancelled
        match step:
            case Call():
                return await self._unless_cancelled(self._sent(step), irrevocable)
            case Prepare(count):
                self._sender.prepare(count)
            case Start(calls):
                for place, call in enumerate(calls):
                    self._sender.submit(call, self._deadline, partial(self._arrive, place))
            case Next():
                return await self._arrived.get()
            case Tell(callback, value):
                with self._deadline.paused():
                    came = callback(value)
                    if isawaitable(came):
                        came = await self._unless_cancelled(came, irrevocable)
                    return came
        return None

    async def _sent(self, call: Call[Any]) -> object:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._sender.submit(call, self._deadline, partial(self._hand_over, future))
        outcome = await future
        if isinstance(outcome, PlaidProcessorsError):
            raise outcome
        return outcome

    def _hand_over(self, future: asyncio.Future[Any], outcome: object) -> None:
        """On a client's thread: give an outcome to the loop, if it is still there."""
        self._soon(lambda: None if future.done() else future.set_result(outcome))

    def _arrive(self, place: int, outcome: object) -> None:
        """On a client's thread: one of the started requests came."""
        self._soon(lambda: self._arrived.put_nowait((place, outcome)))

    def _soon(self, callback: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback)

    async def _unless_cancelled(self, work: Awaitable[T], irrevocable: bool) -> T:
        """The work's result; what is irrevocable is waited for even when cancelled."""
        if not irrevocable:
            return await work
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if task.cancelled():
                raise
            self._cancelled = cancelled
            self._deadline.abandon()  # what is under way is waited for, but nothing is sent again
        return await self._within_timeout(task)

    async def _within_timeout(self, task: asyncio.Future[T]) -> T:
        assert self._cancelled is not None
        end = self._loop.time() + self._sender.limits.connect_and_read[2]
        while not task.done() and (left := end - self._loop.time()) > 0:
            try:
                await asyncio.wait([task], timeout=left)
            except asyncio.CancelledError as again:
                self._cancelled = again
        if task.done():
            return task.result()
        task.cancel()
        raise self._cancelled
