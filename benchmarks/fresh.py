"""A fresh process: imports, the time to its first request, its peak memory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from time import monotonic

from .local_plaid import local_plaid
from .measure import Row, Section, interleaved

_ROOT = Path(__file__).resolve().parent.parent

_OURS = """
import sys
from plaid_processors import PlaidClient, ProcessorLinker
linker = ProcessorLinker(PlaidClient(client_id="0" * 24, secret="5e" * 15, base_url=sys.argv[1]))
account = {"id": "account-1", "type": "depository", "subtype": "checking"}
linker.link(
    "layer",
    public_token="public-sandbox-5e171e1b-aaaa-4bbb-8ccc-0123456789ab",
    accounts=[account],
)
"""

_PLAIN = """
import sys
import plaid
from plaid.api import plaid_api
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.processor_token_create_request import ProcessorTokenCreateRequest
keys = {"clientId": "0" * 24, "secret": "5e" * 15}
api = plaid_api.PlaidApi(plaid.ApiClient(plaid.Configuration(host=sys.argv[1], api_key=keys)))
exchanged = api.item_public_token_exchange(ItemPublicTokenExchangeRequest(
    public_token="public-sandbox-5e171e1b-aaaa-4bbb-8ccc-0123456789ab"))
api.processor_token_create(ProcessorTokenCreateRequest(
    access_token=exchanged["access_token"], account_id="account-1", processor="layer"))
"""

_PEAK = """
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""

_IMPORT = """
import time
began = time.perf_counter()
import {}
print(time.perf_counter() - began)
"""


@contextmanager
def copied(*, bytecode: bool) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python on a copy of the packages, with or without their compiled bytecode."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("plaid-python", "urllib3", "attrs", "python-dateutil", "nulltype"):
            _copy(name, Path(folder))
        for name in ("typing_extensions.py", "six.py"):
            for place in map(Path, sys.path):
                if (place / name).exists():
                    shutil.copy(place / name, folder)
                    break
        shutil.copytree(
            _ROOT / "src/plaid_processors",
            Path(folder, "plaid_processors"),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        if bytecode:
            compiling = [sys.executable, "-m", "compileall", "-q", folder]
            subprocess.run(compiling, check=True)
        environ = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
        environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}

        def start(code: str, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-S", "-c", code, *arguments]
            return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)

        yield start


def _copy(name: str, folder: Path) -> None:
    for file in distribution(name).files or ():
        if file.suffix == ".py" and ".." not in file.parts:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)


def _first_request(start: Callable[..., subprocess.Popen[str]], code: str) -> float:
    """Seconds from the start of a process to the first byte of its first request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        began = monotonic()
        with start(code, f"http://127.0.0.1:{listener.getsockname()[1]}") as process:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                took = monotonic() - began
                process.kill()
    return took


def _said(start: Callable[..., subprocess.Popen[str]], code: str, *arguments: str) -> float:
    output, _ = start(code, *arguments).communicate()
    return float(output)


def run(rounds: int = 9) -> Section:
    section = Section(
        "A fresh process",
        "Packages copied without and with compiled bytecode; the standard library has its own.",
    )
    with copied(bytecode=False) as start:
        plain, ours = interleaved(
            rounds, *(partial(_first_request, start, code) for code in (_PLAIN, _OURS))
        )
    section.rows.append(Row("start to first request, no bytecode", plain * 1e3, ours * 1e3, aim=1))
    with copied(bytecode=True) as start:
        plain, ours = interleaved(
            2 * rounds, *(partial(_first_request, start, code) for code in (_PLAIN, _OURS))
        )
        section.rows.append(Row("start to first request, bytecode", plain * 1e3, ours * 1e3, aim=1))
        with local_plaid() as url:
            plain, ours = interleaved(
                3, *(partial(_said, start, code + _PEAK, url) for code in (_PLAIN, _OURS))
            )
        section.rows.append(Row("peak memory, one link", plain / 1024, ours / 1024, "MB", aim=1))
        plain, ours = interleaved(
            2 * rounds,
            *(
                partial(_said, start, _IMPORT.format(name))
                for name in ("plaid", "plaid_processors")
            ),
        )
        section.rows.append(
            Row(
                "`import plaid` : `import plaid_processors`",
                plain * 1e3,
                ours * 1e3,
                aim=1,
                at_most=True,
            )
        )
    return section
