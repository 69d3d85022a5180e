"""`serve`, which the command runs: the local Plaid, and the partners' stand-ins beside it."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_bytes, token_hex

from .engine import DEFAULT_SEED
from .local import LocalSandbox
from .partners_finix import LocalFinix
from .partners_layer import LocalLayer
from .server import own_address

# One for each demo user of the example applications.
DEMO_USERS = 2
MARK = "# Written by plaid-processors sandbox at each start; --seed "
VARIABLES = (
    "PLAID_CLIENT_ID",
    "PLAID_SECRET",
    "PLAID_ENV",
    "PLAID_BASE_URL",
    "LAYER_CLIENT_ID",
    "LAYER_CLIENT_SECRET",
    "LAYER_ENV",
    "LAYER_BASE_URL",
    "LAYER_AUTH_URL",
    "FINIX_USERNAME",
    "FINIX_PASSWORD",
    "FINIX_ENV",
    "FINIX_BASE_URL",
    "DEMO_LAYER_BUSINESSES",
    "DEMO_FINIX_IDENTITIES",
    "LINK_KEYS",
    "SESSION_SECRET",
)
# The marked line, and those of our variables that follow it without a gap.
_OURS = re.compile(
    rb"^%b[^\n]*(?:\n|\Z)(?:(?:%b)=[^\n]*(?:\n|\Z))*"
    % (re.escape(MARK.encode()), "|".join(VARIABLES).encode()),
    re.MULTILINE,
)


def _fernet_key() -> str:
    """What Fernet takes: 32 random bytes (https://github.com/fernet/spec)."""
    return urlsafe_b64encode(token_bytes(32)).decode()


# The keys of an application's own store and sessions.
_KEYS: dict[str, Callable[[], str]] = {"LINK_KEYS": _fernet_key, "SESSION_SECRET": token_hex}


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    client_id: str | None = None,
    secret: str | None = None,
    *,
    seed: int | str = DEFAULT_SEED,
    allowed_hosts: Iterable[str] = (),
    remote_webhooks: bool = False,
    partners: bool = False,
    env_file: str | os.PathLike[str] | None = None,
) -> None:
    """Serve the local Plaid until SIGINT or SIGTERM.

    It accepts any well-formed keys, or only `client_id` and `secret` if they are given. Once it
    is ready, it prints one line that ends with its address. `seed`, `allowed_hosts` and
    `remote_webhooks` are those of `LocalSandbox`.

    Args:
        host: the address to listen at.
        port: the port; 0 takes a free one.
        client_id: the only accepted client id.
        secret: its secret.
        seed: every id, token and key is derived from it, the partners' too.
        allowed_hosts: further host names of the control plane and of Link's pages.
        remote_webhooks: whether webhooks are sent to other machines too.
        partners: whether the stand-ins of Layer and Finix are served at the next two ports. Their
            addresses are printed before Plaid's.
        env_file: a file to write environment variables to, once all answer; an application that
            reads them uses this world. It gets keys for the application's own store and sessions
            too, which stay the same at each start. Other lines of the file stay.

    Raises:
        OSError: a port is taken, `host` is no address of this machine, or the file cannot be
            written. Nothing is served then.
        ValueError: `client_id` is not 24 hexadecimal digits, `secret` is not 30, `host` is empty,
            `port` is not from 0 to 65535, or there are no two ports after it for the partners.

    """
    if partners and port > 65533:
        raise ValueError("the partners take the next two ports: port must be at most 65533")
    ports = [0, 0, 0] if port == 0 else [port, port + 1, port + 2]
    fixed = client_id is not None or secret is not None
    stopped = threading.Event()
    with _on_signals(stopped), ExitStack() as stack:
        with _naming(f"serve at {host} port {ports[0]}"):
            plaid = LocalSandbox(
                client_id=client_id,
                secret=secret,
                any_keys=not fixed,
                seed=seed,
                host=host,
                port=ports[0],
                allowed_hosts=allowed_hosts,
                remote_webhooks=remote_webhooks,
            )
        stack.enter_context(plaid)
        variables = plaid.environ
        lines = [f"Local Plaid at {plaid.url}"]
        if partners:
            with _naming(f"serve at {host} port {ports[1]}"):
                layer = stack.enter_context(LocalLayer(plaid, seed=seed, host=host, port=ports[1]))
            with _naming(f"serve at {host} port {ports[2]}"):
                finix = stack.enter_context(LocalFinix(plaid, seed=seed, host=host, port=ports[2]))
            variables |= _partners_variables(layer, finix)
            lines = [f"Local Layer at {layer.url}", f"Local Finix at {finix.url}", *lines]
        if env_file is not None:
            with _naming(f"write {env_file}"):
                write_env_file(Path(env_file), variables, seed)
        print("\n".join(lines), flush=True)  # noqa: T201 - the command's answer
        while not stopped.wait(0.5):  # on Windows, Ctrl-C is handled only between two waits
            pass


def _partners_variables(layer: LocalLayer, finix: LocalFinix) -> dict[str, str]:
    return {
        "LAYER_CLIENT_ID": layer.client_id,
        "LAYER_CLIENT_SECRET": layer.client_secret,
        "LAYER_ENV": "sandbox",
        "LAYER_BASE_URL": own_address(layer.url),
        "LAYER_AUTH_URL": own_address(layer.url),
        "FINIX_USERNAME": finix.username,
        "FINIX_PASSWORD": finix.password,
        "FINIX_ENV": "sandbox",
        "FINIX_BASE_URL": own_address(finix.url),
        "DEMO_LAYER_BUSINESSES": ",".join(layer.new_business() for _ in range(DEMO_USERS)),
        "DEMO_FINIX_IDENTITIES": ",".join(finix.new_identity() for _ in range(DEMO_USERS)),
    }


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Name what failed, such as the port that is taken."""
    try:
        yield
    except OSError as error:
        raise OSError(f"cannot {what}: {error.strerror or error}") from None


@contextmanager
def _on_signals(stopped: threading.Event) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: stopped.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_env_file(path: Path, variables: Mapping[str, str], seed: int | str) -> None:
    """Put the variables at the end of a file that only its owner may read.

    What an earlier start wrote is replaced; all other lines stay. At the end our values hold,
    whatever else the file sets, as the last line of a name counts. The application's own keys are
    kept, since what it has encrypted with them is still there.
    """
    path = path.resolve()  # a link stays a link
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    before = path.read_bytes() if path.exists() else b""
    others = _OURS.sub(b"", before)
    earlier = b"\n".join(_OURS.findall(before))
    keys = {
        name: _value_in(earlier, name) or new()
        for name, new in _KEYS.items()
        if not _value_in(others, name)
    }
    if others and not others.endswith(b"\n"):
        others += b"\n"
    lines = [f"{MARK}{seed}", *(f"{name}={value}" for name, value in {**variables, **keys}.items())]
    # A new file takes its place, so that no reader sees half of it. Its mode is 0600.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".env-", delete=False) as new:
        try:
            new.write(others + "\n".join(lines).encode() + b"\n")
            new.close()
            Path(new.name).replace(path)
        except BaseException:
            new.close()  # Windows removes no open file
            Path(new.name).unlink()
            raise


def _value_in(content: bytes, name: str) -> str:
    """The value of a variable in a file, as python-dotenv reads it; empty if there is none."""
    line = rf"^\ufeff?[ \t]*(?:export[ \t]+)?'?{name}'?[ \t]*=[ \t]*(?!#)(.*?)(?:[ \t]+#.*)?$"
    found = re.findall(line, content.decode(errors="replace"), re.MULTILINE)
    return found[-1].strip().strip("'\"") if found else ""
