"""ProcessorLinker: the facade, and the shell that drives the flow with blocking calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import isawaitable, iscoroutine, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from .calls import Call
from .client import PlaidClient
from .deadline import Deadline
from .events import OnEvent
from .flow import Flow, Next, Prepare, Start, Step, Tell
from .operations import Operations
from .settings import LimitOptions

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
P = ParamSpec("P")
M = TypeVar("M", bound=Callable[..., object])


class BaseLinker:
    """What both linkers are: a client, and the operations of its environment."""

    def __init__(self, client: PlaidClient) -> None:
        """Work with this client."""
        if not isinstance(client, PlaidClient):
            raise TypeError(f"client must be a PlaidClient, not {type(client).__name__}")
        self._client = client
        self._operations = Operations(client.environment)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        on_event: OnEvent | None = None,
        **limits: Unpack[LimitOptions],
    ) -> Self:
        """A linker of its own client; the arguments are those of `PlaidClient.from_env`."""
        return cls(PlaidClient.from_env(environ, on_event=on_event, **limits))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r})"

    @property
    def client(self) -> PlaidClient:
        """The client that it works with."""
        return self._client


def begun(
    operation: Callable[Concatenate[Operations, P], Flow[T]],
    linker: BaseLinker,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Flow[T]:
    """The operation's flow; arguments that it does not take are told in the public method's name.

    Raises:
        TypeError: an argument is unknown, missing or of the wrong type.
    """
    try:
        return operation(linker._operations, *args, **kwargs)
    except TypeError:
        _check_call(f"{type(linker).__name__}.{operation.__name__}", operation, args, kwargs)
        raise


def _check_call(
    name: str,
    operation: Callable[..., object],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> None:
    try:
        signature(operation).bind(None, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}() {error}") from None


def present(method: M, operation: Callable[..., object], owner: str) -> M:
    """Show a method's users its value, not the flow that leads to it."""
    signed = signature(operation)
    value = str(signed.return_annotation).removeprefix("Flow[").removesuffix("]")
    method.__signature__ = signed.replace(return_annotation=value)  # type: ignore[attr-defined]
    method.__annotations__ = {**operation.__annotations__, "return": value}
    method.__qualname__ = f"{owner}.{operation.__name__}"
    return method


def _blocking(
    operation: Callable[Concatenate[Operations, P], Flow[T]],
) -> Callable[Concatenate[ProcessorLinker, P], T]:
    """The operation as a method that returns when it is done."""

    @wraps(operation)
    def method(self: ProcessorLinker, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for name in ("on_exchange", "on_token"):
            if iscoroutinefunction(kwargs.get(name)):
                raise TypeError(f"{name} is a coroutine function: AsyncProcessorLinker awaits it")
        return self._run(begun(operation, self, *args, **kwargs))

    return present(method, operation, "ProcessorLinker")


class ProcessorLinker(BaseLinker):
    """From Link's public token to the partners' processor tokens.

    A context manager; closing it closes its client. One linker may serve many threads.
    """

    create_link_token = _blocking(Operations.create_link_token)
    session = _blocking(Operations.session)
    link = _blocking(Operations.link)
    link_sandbox = _blocking(Operations.link_sandbox)
    issue = _blocking(Operations.issue)
    resume = _blocking(Operations.resume)
    accounts = _blocking(Operations.accounts)
    remove = _blocking(Operations.remove)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _run(self, steps: Flow[T]) -> T:
        shell = _Shell(self._client)
        try:
            return shell.run(steps)
        finally:
            shell.abandon()


class _Shell:
    """Does the steps of one flow, with blocking calls."""

    def __init__(self, client: PlaidClient) -> None:
        self._sender = client._sender
        self._deadline: Deadline = client.begin()
        self._started: Iterator[tuple[int, Any]] = iter(())

    def run(self, steps: Flow[T]) -> T:
        try:
            return self._drive(steps)
        except BaseException as error:
            # A KeyboardInterrupt may come between two steps: the flow has to know of it too. One
            # that has ended by this very error gives it back.
            steps.throw(error)
            raise

    def _drive(self, steps: Flow[T]) -> T:
        step = next(steps)
        while True:
            came, failed = self._outcome(step)
            try:
                step = steps.send(came) if failed is None else steps.throw(failed)
            except StopIteration as end:
                value: T = end.value
                return value

    def _outcome(self, step: Step) -> tuple[object, BaseException | None]:
        try:
            return self._do(step), None
        except BaseException as error:  # noqa: BLE001  the flow decides what it means
            return None, error

    def abandon(self) -> None:
        """Nobody waits any more: what was started and not sent yet is not sent."""
        self._deadline.abandon()

    def _do(self, step: Step) -> object:
        match step:
            case Call():
                return self._sender.send(step, self._deadline)
            case Prepare(count):
                self._sender.prepare(count)
                return None
            case Start(calls):
                self._started = self._sender.send_all(calls, self._deadline)
                return None
            case Next():
                return next(self._started)
            case Tell(callback, value):
                with self._deadline.paused():
                    return _done(callback(value))


def _done(came: object) -> object:
    """What a callback returned, unless its work is still to do: nobody would."""
    if isawaitable(came):
        if iscoroutine(came):
            came.close()
        raise TypeError("the callback returned an awaitable: AsyncProcessorLinker awaits it")
    return came
