"""A real Redis for the tests: Debian's, on loopback, in a temporary folder, nothing on disk.

`redis_server` is one server for the whole session (with xdist: of each worker), `redis_url` the
address of its emptied database. Tests that use them are marked `server`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .postgres import free_port


class RedisServer:
    """A running server, for as long as the `with` block lasts.

    Attributes:
        url: its address.
    """

    def __init__(self) -> None:
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("Redis is not there: apt-get install redis-server")
        self._program = found
        self._folder = Path(tempfile.mkdtemp(prefix="plaid-redis-"))

    def __enter__(self) -> RedisServer:
        import redis  # here, as the other tests do without it

        log = self._folder / "log"
        for tries in reversed(range(5)):
            port = free_port()  # which another program may take before the server does
            command = (self._program, "--bind", "127.0.0.1", "--port", str(port))
            options = ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, *options],
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for pytest, which stops it then
                )
            self.url = f"redis://127.0.0.1:{port}/0"
            while self._process.poll() is None:
                try:
                    self.flush()
                except redis.ConnectionError:
                    time.sleep(0.05)
                else:
                    return self
            assert tries, log.read_text()
        raise AssertionError

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def flush(self) -> None:
        """Remove all that is in it."""
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.flushall()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server; it is stopped at the end, also when tests fail."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty database."""
    redis_server.flush()
    return redis_server.url
