"""What the tests reach, by folder of the package: `coverage_by_room.py FILE`.

FILE is what `coverage json` writes. Prints the table of docs/quality.md.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path, PurePath

PACKAGE = "plaid_processors"
COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")


def main(file: Path) -> None:
    """Print a row for each folder, and one for all."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for path, measured in json.loads(file.read_text(encoding="utf-8"))["files"].items():
        for room in (room_of(path), "all"):
            for name in COUNTS:
                counts[room][name] += measured["summary"][name]
    total = counts.pop("all")
    print("| folder | statements | branches | reached |")
    print("|---|--:|--:|--:|")
    for room, found in sorted(counts.items()):
        print(row(f"`{room}`", found))
    print(row("all", total))


def room_of(path: str) -> str:
    """The folder in the package, such as `store/`; the package itself for a module at its top."""
    parts = PurePath(path.replace("\\", "/")).parts
    inside = parts[parts.index(PACKAGE) + 1 :]
    return f"{inside[0]}/" if len(inside) > 1 else f"{PACKAGE}/*.py"


def row(name: str, found: dict[str, int]) -> str:
    """As coverage counts: the statements and branches that ran, of all."""
    of = found["num_statements"] + found["num_branches"]
    reached = found["covered_lines"] + found["covered_branches"]
    share = f"{100 * reached / of:.1f} %" if of else "none"
    return f"| {name} | {found['num_statements']:,} | {found['num_branches']:,} | {share} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
