"""Interrupts links by real signals at spread moments, and counts what became of their Items.

`python -m benchmarks.interruptions --count 2000`. A single interruption must lose no Item without a
word and leave a client that works; double and nested ones may lose one between two statements,
where a warning names it. Exit status 1 if any was lost without a word, or a client was left broken.
"""

from __future__ import annotations

import argparse
import sys

from tests.support.interrupting import ACTIONS, HOW_OFTEN, Count, CountingPlaid, by_clock, prepared

_COLUMNS = (
    "what", "links", "interruptions", "Items made", "in hand", "told unknown", "warned of",
    "lost without a word", "clients broken",
)  # fmt: skip


def _row(count: Count) -> str:
    figures = (
        count.links, count.strikes, count.made, count.kept + count.late, count.unknown,
        count.warned, len(count.silent), len(count.broken) + len(count.slow),
    )  # fmt: skip
    return f"| {count.name} | {' | '.join(map(str, figures))} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interruptions", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="links to interrupt, in all")
    asked = parser.parse_args()
    kinds = [(world, how) for world in ACTIONS for how in HOW_OFTEN]
    each = -(-asked.count // len(kinds))
    print(f"| {' | '.join(_COLUMNS)} |\n|---{'|--:' * (len(_COLUMNS) - 1)}|")
    well = True
    with CountingPlaid() as plaid, prepared() as warned:
        for world, how in kinds:
            count = by_clock(plaid, warned, world, how, each)
            print(_row(count), flush=True)
            for fault in (*count.silent, *count.broken, *count.slow):
                print(f"    {fault}", file=sys.stderr)
            # What a signal handler raises in the event loop's own code is asyncio's to lose.
            well = well and (count.well or "raised" in world)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
