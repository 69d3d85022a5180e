"""The example applications, served by the commands of their own README, in a world of their own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent.parent
APPS = {"flask_app": "flask", "fastapi_app": "uvicorn", "django_app": "manage.py"}
"""The folders, and what serves each."""

OURS = ("PLAID_", "LAYER_", "FINIX_", "DEMO_", "DJANGO_", "APP_", "LINK_", "SESSION_", "DATABASE_")
TOKENS = re.compile(r"(?:access|public|processor|link)-sandbox-[0-9a-f]")


def commands(app: str) -> list[list[str]]:
    """The commands of the README's first block: the install, the world, and those of the server."""
    text = (ROOT / "examples" / app / "README.md").read_text()
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    lines = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    return [
        command
        for line in lines
        for command in (shlex.split(part) for part in shlex.join(line).split(" '&&' "))
        if command
    ]


def until(true: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)
    return value


@contextmanager
def process(command: list[str], folder: Path, log: Path, **environ: str) -> Iterator[Any]:
    """A command of a README, with this Python, until the block ends."""
    name, *arguments = command
    program = {"python": [], "plaid-processors": ["-m", "plaid_processors"]}.get(name, ["-m", name])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    with log.open("a") as file:
        started = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=folder,
            env=clean | environ,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        stop(started, signal.SIGTERM)


def stop(started: subprocess.Popen[bytes], number: int) -> None:
    """End a process and those that it started, such as a reloader's."""
    if started.poll() is None:
        os.killpg(started.pid, number)
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


class World:
    """The local Plaid and the stand-ins that `plaid-processors sandbox --partners` serves."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / ".env").read_text().splitlines()
        pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
        self.variables = {name: value.strip("'\"") for name, _, value in pairs}
        self.url = self.variables["PLAID_BASE_URL"]
        self.business = self.variables["DEMO_LAYER_BUSINESSES"].split(",")[0]  # ada's
        self.identity = self.variables["DEMO_FINIX_IDENTITIES"].split(",")[0]

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the local Plaid's control plane."""
        url = f"{self.url}/_sandbox{path}"
        answer = httpx.request(method, url, json=body if method == "POST" else None)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def asked(self, path: str) -> list[dict[str, Any]]:
        """The requests that the local Plaid answered at a path."""
        requests = self.control("GET", "/requests")["requests"]
        return [each for each in requests if each["path"] == path]

    def books(self) -> list[str]:
        """The last digits of the accounts that Layer has of ada's business."""
        url = self.variables["LAYER_BASE_URL"]
        keys = (self.variables["LAYER_CLIENT_ID"], self.variables["LAYER_CLIENT_SECRET"])
        form = {"grant_type": "client_credentials"}
        bearer = httpx.post(f"{url}/oauth2/token", auth=keys, data=form).json()["access_token"]
        listed = httpx.get(
            f"{url}/v1/businesses/{self.business}/plaid/accounts",
            headers={"Authorization": f"Bearer {bearer}"},
        ).json()["data"]
        return sorted(each["mask"] for each in listed)

    def instruments(self) -> list[tuple[str, bool]]:
        """Ada's payment instruments at Finix: the last digits, and whether each is enabled."""
        keys = (self.variables["FINIX_USERNAME"], self.variables["FINIX_PASSWORD"])
        listed = httpx.get(
            f"{self.variables['FINIX_BASE_URL']}/payment_instruments",
            params={"owner_identity_id": self.identity},
            auth=keys,
        ).json()["_embedded"]["payment_instruments"]
        return [(each["masked_account_number"][-4:], each["enabled"]) for each in listed]


class Served:
    """A copy of an application's folder, as a team has it, and the server that runs there."""

    def __init__(self, app: str, folder: Path) -> None:
        self.app, self.folder, self.log = app, folder, folder / "server.log"
        skip = shutil.ignore_patterns(".env", "*.db*", "*.sqlite3*", "__pycache__")
        self.log.touch()
        shutil.copytree(ROOT / "examples" / app, folder / "examples" / app, ignore=skip)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = str(taken.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self, **environ: str) -> Iterator[Any]:
        """The server, from when it answers, at another port, as tests run side by side."""
        _, _, *before, server = commands(self.app)
        for command in before:
            with process(command, self.folder, self.log, **environ) as done:
                assert done.wait(120) == 0, self.log.read_text()
        command = [self.port if each == "8000" else each for each in server]
        assert self.port in command
        environ["APP_URL"] = self.url
        with process(command, self.folder, self.log, **environ) as started:
            until(lambda: self._answers() or started.poll() is not None)
            assert started.poll() is None, self.log.read_text()
            yield started

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/login").status_code == 200
        except httpx.TransportError:
            return False

    @contextmanager
    def signed_in(self, user: str = "ada") -> Iterator[httpx.Client]:
        """A user's browser without a page."""
        with httpx.Client(base_url=self.url, timeout=60) as browser:
            browser.get("/login")  # Django's token against forged requests
            browser.headers["X-CSRFToken"] = browser.cookies.get("csrftoken") or ""
            done = browser.post("/api/login", json={"user": user, "password": user})
            assert done.status_code == 204, done.text
            browser.headers["X-CSRFToken"] = browser.cookies.get("csrftoken") or ""
            yield browser

    def forget_leases(self) -> None:
        """End the leases of a process that was killed; else they last for a minute and a half."""
        databases = list((self.folder / "examples" / self.app).rglob("*.db"))
        assert databases
        for path in databases:
            database = sqlite3.connect(path)
            with database:
                names = database.execute("select name from sqlite_master where type = 'table'")
                for (name,) in list(names):
                    if "lease" in name:
                        database.execute(f'delete from "{name}"')
            database.close()

    def check_log(self) -> None:
        """The server's log shows no token and no error that nothing handled."""
        text = self.log.read_text()
        assert not TOKENS.search(text), text
        assert "Traceback" not in text, text


@contextmanager
def world(app: str, folder: Path) -> Iterator[World]:
    """What the README's second command serves, at free ports, its file in this folder."""
    command = next(each for each in commands(app) if "sandbox" in each)
    assert command == ["plaid-processors", "sandbox", "--partners", "--env-file", ".env"]
    with process([*command, "--port", "0"], folder, folder / "world.log") as started:
        until(lambda: (folder / ".env").exists() or started.poll() is not None)
        assert started.poll() is None, (folder / "world.log").read_text()
        yield World(folder)
