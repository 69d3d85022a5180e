"""The threads of one client: started at the first need, gone with its end.

The standard library's pool joins its threads when the interpreter exits, so that a request that
hangs would hold the exit up; these are daemons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic

from .errors import ConfigurationError

Job = Callable[[], None]

_JOIN_SECONDS = 1.0
"""How long `Workers.close` waits for threads that are in the middle of a request."""


_RESTING_AT_MOST = 64
"""How many threads may be added for those that wait: a rate limit must not make a thousand."""


class Workers:
    """Runs jobs on at most so many threads. A job must not raise."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._resting = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._idle = 0
        self._lock = Lock()
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run the job as soon as a thread is free.

        Raises:
            ConfigurationError: the client is closed.
        """
        with self._lock:
            if self._closed:
                raise ConfigurationError("this PlaidClient was closed")
            self._jobs.put(job)
            if self._idle > 0:
                self._idle -= 1
            else:
                self._start_if_allowed()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While a job waits for its next attempt, another thread may do what is left to do."""
        with self._lock:
            self._resting += 1
            if self._idle == 0 and not self._jobs.empty() and not self._closed:
                self._start_if_allowed()
        try:
            yield
        finally:
            with self._lock:
                self._resting -= 1

    def _start_if_allowed(self) -> None:
        if len(self._threads) < self._most + min(self._resting, _RESTING_AT_MOST):
            self._start()

    def _start(self) -> None:
        thread = Thread(
            target=self._work, name=f"plaid-processors-{len(self._threads)}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # and with it what it holds: tokens, answers

    def _next(self) -> Job | None:
        # Under the lock, so that a thread counts as idle only where no job waits for it.
        with self._lock:
            try:
                return self._jobs.get_nowait()
            except Empty:
                self._idle += 1
        return self._jobs.get()

    def dismiss(self) -> None:
        """Let the threads end, after the jobs that they have. Takes no lock, waits for nobody."""
        for _ in self._threads:
            self._jobs.put(None)

    def close(self) -> None:
        """End the threads, after the jobs that they have."""
        with self._lock:
            self._closed = True
            self.dismiss()
            threads, self._threads = self._threads, []
        end = monotonic() + _JOIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - monotonic()))
