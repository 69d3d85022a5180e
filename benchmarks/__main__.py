"""`python -m benchmarks`: all of it, as a table; with names, these sections alone."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .measure import Section, table

_HERE = Path(__file__).parent
_NAMES = ("warm", "cold", "costs", "fresh", "many")


def _heading() -> str:
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("plaid-python", "urllib3", "attrs")
    )
    return (
        "# Measured\n\n"
        f"{datetime.now(UTC):%d %B %Y}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {libraries}.\n\n"
        'Repeat it with `pip install -e ".[test]"` and `python -m benchmarks --write`; figures '
        "are medians of interleaved rounds. “Plain” is the loop of Plaid's page written with "
        "plaid-python over one kept-alive connection, unless the row says otherwise; the server "
        "is a tiny local one in a process of its own.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(_NAMES))
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    asked = parser.parse_args()
    if wrong := set(asked.names) - set(_NAMES):
        parser.error(f"no such section: {', '.join(sorted(wrong))}; there are {', '.join(_NAMES)}")

    from .local_plaid import certificate

    with certificate() as (chain, bundle):
        os.environ["SSL_CERT_FILE"] = str(bundle)  # before any TLS context is made
        os.environ.pop("REQUESTS_CA_BUNDLE", None)
        from . import costs, fresh, links, many

        sections: dict[str, Callable[[], Section]] = {
            "warm": lambda: links.warm(chain),
            "cold": lambda: links.cold(chain),
            "costs": costs.run,
            "fresh": fresh.run,
            "many": many.run,
        }
        done = []
        for name in asked.names or _NAMES:
            done.append(sections[name]())
            print(table(done[-1:]), flush=True)
    if asked.write:
        (_HERE / "RESULTS.md").write_text(_heading() + "\n" + table(done))


if __name__ == "__main__":
    main()
