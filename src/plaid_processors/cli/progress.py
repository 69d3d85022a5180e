"""How far long work is, on standard error: for people who watch, and for a log."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .output import write_error

ON_A_TERMINAL = 0.2
"""Seconds between two states of the line that is renewed."""

IN_A_LOG = 30.0
"""Seconds between two lines."""


class Progress:
    """One line that is renewed on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._every = ON_A_TERMINAL if self._terminal else IN_A_LOG
        self._next = time.monotonic() + self._every
        self._shown = 0  # characters

    def show(self, text: str) -> None:
        """Show how far it is, unless that was shown a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        if not self._terminal:
            write_error(f"{text}\n")
            return
        # A longer line would wrap, and what is wrapped is not renewed.
        text = text[: shutil.get_terminal_size().columns - 1]
        write_error(f"\r{text:<{self._shown}}")
        self._shown = len(text)

    def clear(self) -> None:
        """Take the line away, for what is printed next."""
        if self._shown:
            write_error(f"\r{'':<{self._shown}}\r")
            self._shown = 0

    @contextmanager
    def meanwhile(self, text: str) -> Iterator[None]:
        """Show a text, and for how long it has been so, while something runs."""
        ended = threading.Event()
        began = time.monotonic()

        def watch() -> None:
            while not ended.wait(self._every):
                self.show(f"{text}, for {time.monotonic() - began:.0f} s")

        thread = threading.Thread(target=watch, name="plaid-processors-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5.0)
            self.clear()
