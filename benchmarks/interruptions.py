"""Interrupts links at spread moments, and looks for lost Items and for clients left broken.

    python -m benchmarks.interruptions --count 2000

Real signals strike a link on the main thread, once, twice, or three times in a row: Ctrl-C, a time
limit that a signal handler raises, and, in an event loop, a cancellation. A third of the links has
a server that refuses a token or breaks the connection before the answer to the exchange. After
each, the same client has to link once more.

With `--every-moment`, the signals come at each moment in turn at which CPython calls a signal's
handler, and at each line by a trace function, which may raise where no signal can.

The status is 1 if an Item was lost without a word, or a client or a link hung; what becomes of an
exception that is raised in the middle of asyncio's own code is shown, but not judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from tests.support.interrupting import (
    ACTIONS,
    HOW_OFTEN,
    Count,
    CountingPlaid,
    Fate,
    TimeLimitError,
    Warned,
    at_lines,
    at_moments,
    by_clock,
    cancelling_at_once,
    prepared,
    raising,
)

from plaid_processors import AsyncProcessorLinker, ProcessorLinker

JUDGED = ("sync", "async")

_COLUMNS = {
    "links struck": "links",
    "interruptions": "strikes",
    "Items made": "made",
    "with the caller": "kept",
    "told as unknown": "unknown",
    "came late, with a warning": "late",
    "lost, with a warning": "warned",
    "lost without a word": "silent",
    "clients broken": "broken",
    "links hung": "slow",
    "asyncio hung": "asyncio_hung",
}


def heading() -> str:
    """The table's first lines."""
    return f"| | {' | '.join(_COLUMNS)} |\n|---|{'--:|' * len(_COLUMNS)}"


def row(count: Count) -> str:
    """One line of the table."""
    values = [getattr(count, name) for name in _COLUMNS.values()]
    shown = [str(len(each) if isinstance(each, list) else each) for each in values]
    return f"| {count.name} | {' | '.join(shown)} |"


def clocked(
    plaid: CountingPlaid, warned: Warned, links: int, seed: int
) -> Iterable[tuple[Count, bool]]:
    """Each row of the table, and whether it is judged."""
    kinds = [(world, how) for world in ACTIONS for how in HOW_OFTEN]
    for number, (world, how) in enumerate(kinds):
        count = by_clock(plaid, warned, world, how, max(1, links // len(kinds)), seed + number)
        yield count, world in JUDGED or how == "single"


def every_moment(plaid: CountingPlaid, warned: Warned) -> Iterable[tuple[Count, bool]]:
    """One row for each kind of link and of interruption."""
    for fate in Fate:
        for name, action in (
            ("KeyboardInterrupt", raising(KeyboardInterrupt)),
            ("a time limit", raising(TimeLimitError)),
        ):
            for cold in (False, True):
                count = at_moments(plaid, warned, ProcessorLinker, fate, action, cold=cold)
                count.name = f"{fate.name.lower()}, {name}, {'new' if cold else 'used'} client"
                yield count, True
            count = at_lines(plaid, warned, ProcessorLinker, fate, action)
            count.name = f"{fate.name.lower()}, {name}, at each line by a trace function"
            yield count, False
        count = at_moments(plaid, warned, AsyncProcessorLinker, fate, cancelling_at_once)
        count.name = f"{fate.name.lower()}, async, cancelled in the middle of a step"
        yield count, True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interruptions", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="how many links are struck in all")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--every-moment", action="store_true", help="each moment and each line")
    asked = parser.parse_args()
    failed: list[str] = []
    print(heading())
    with prepared() as warned, CountingPlaid() as plaid:
        counts = (
            every_moment(plaid, warned)
            if asked.every_moment
            else clocked(plaid, warned, asked.count, asked.seed)
        )
        for count, judged in counts:
            print(row(count), flush=True)
            if judged and not count.well:
                failed += [f"{count.name}: {each}" for each in (*count.silent, *count.broken)]
                failed += [f"{count.name}, hung: {each}" for each in count.slow]
    print(f"\nInterruptions that came in a destructor, which cannot raise: {len(warned.swallowed)}")
    if failed:
        print("\nLost without a word, broken or hung:", *failed, sep="\n")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
