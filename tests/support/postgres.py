"""A real PostgreSQL for the tests: Debian's, on loopback, in a temporary folder, not as root.

`postgres` is one server for the whole session (with xdist: of each worker), `postgres_url` a fresh
database of it. Tests that use them are marked `server`.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = secrets.token_hex(8)


def tool(name: str) -> Path | None:
    """Where a program of PostgreSQL's is; Debian's servers are not on PATH."""
    on_path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if on_path:
        return Path(on_path).resolve()
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found[-1] if found else None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Servers:
    """Programs that refuse to run as root, and the folder they may write to.

    Attributes:
        folder: theirs.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="plaid-postgres-"))
        self._user: dict[str, Any] = {"cwd": self.folder}
        self._running: list[subprocess.Popen[bytes]] = []
        if os.geteuid() == 0:
            names = {each.pw_name: each for each in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for each in reversed(self._running):
            self.stop(each)
        shutil.rmtree(self.folder)

    def write(self, name: str, text: str) -> Path:
        """A file that they can read."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        return path

    def run(self, *command: object) -> None:
        """Run a program to its end."""
        done = subprocess.run(
            [str(each) for each in command], capture_output=True, text=True, **self._user
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *command: object) -> subprocess.Popen[bytes]:
        """Start a server; its output goes to the file `log`."""
        with (self.folder / "log").open("ab") as log:
            server = subprocess.Popen(
                [str(each) for each in command],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which stops it then
                **self._user,
            )
        self._running.append(server)
        return server

    def stop(self, server: subprocess.Popen[bytes]) -> None:
        """End it at once, and wait until it has ended; its data is not needed any more."""
        server.send_signal(signal.SIGQUIT)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class Postgres:
    """A running server.

    Attributes:
        servers: what it runs in.
        data: the folder of its data.
        port: its port on 127.0.0.1.
    """

    def __init__(self, servers: Servers) -> None:
        initdb, server = tool("initdb"), tool("postgres")
        if initdb is None or server is None:
            pytest.skip("PostgreSQL is not there: apt-get install postgresql")
        self.servers = servers
        self.data = servers.folder / "data"
        self._server = server
        self._names = (f"test_{number}" for number in itertools.count())
        password = servers.write("password", PASSWORD)
        options = ("--username=tester", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")
        servers.run(initdb, *options, "--locale=C", "--encoding=UTF8", "-D", self.data)
        self._start()

    def _start(self) -> None:
        import psycopg  # here, as the other tests do without it

        for tries in reversed(range(5)):
            self.port = free_port()  # which another program may take before the server does
            process = self.servers.start(
                self._server,
                *("-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", ""),
                *("-c", "fsync=off", "-c", "max_connections=200"),
            )
            while process.poll() is None:
                try:
                    psycopg.connect(self.conninfo("postgres"), connect_timeout=5).close()
                except psycopg.OperationalError:
                    time.sleep(0.05)
                else:
                    return
            assert tries, (self.servers.folder / "log").read_text()

    def conninfo(self, name: str) -> str:
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def new_url(self) -> str:
        """The URL of a new, empty database, for SQLAlchemy with psycopg."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name}")
        return self.conninfo(name).replace("postgresql://", "postgresql+psycopg://")

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser, in the database `postgres`."""
        import psycopg

        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server; it is stopped at the end, also when tests fail."""
    with Servers() as servers:
        yield Postgres(servers)


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The URL of a new, empty database."""
    return postgres.new_url()


@pytest.fixture
def pgbouncer(postgres: Postgres) -> Iterator[int]:
    """The port of a PgBouncer before the server: it pools transactions over two connections."""
    program = tool("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not there: apt-get install pgbouncer")
    servers, port = postgres.servers, free_port()
    users = servers.write("users", f'"tester" "{PASSWORD}"\n')
    config = servers.write(
        "pgbouncer.ini",
        f"""[databases]
* = host=127.0.0.1 port={postgres.port} user=tester password={PASSWORD}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 2
""",
    )
    process = servers.start(program, config)
    try:
        while process.poll() is None:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None, (servers.folder / "log").read_text()
        yield port
    finally:
        servers.stop(process)
