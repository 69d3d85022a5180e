"""Checks that a wheel and its extras can be installed with the constraints of its version.

`check_constraints.py WHEEL`: pip resolves, and installs nothing. All that it would install must
stand in the file, in that version. Another Python may need less.
"""

import json
import subprocess
import sys
from pathlib import Path

EXTRAS = "backfill,sandbox,store,webhooks"


def main(wheel: Path) -> None:
    """Compare what pip would install with what the file has."""
    version = wheel.name.split("-")[1]
    file = Path("constraints", f"{version}.txt")
    if not file.exists():
        print(f"{file} is not there yet: .ci/release makes it")
        return
    wanted = {_plain(line) for line in file.read_text(encoding="utf-8").splitlines()}
    command = ["install", "-q", "--dry-run", "--ignore-installed", "--report", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command, "-c", file, f"{wheel}[{EXTRAS}]"],
        stdout=subprocess.PIPE,
        check=True,
    )
    installed = [each["metadata"] for each in json.loads(done.stdout)["install"]]
    found = {_plain(f"{each['name']}=={each['version']}") for each in installed}
    found.remove(f"plaid-processors=={version}")
    missing = sorted(found - wanted)
    assert found, "pip would install nothing"
    assert not missing, f"{file} lacks {missing}: make it again by .ci/constraints"
    print(f"{file} has all {len(found)} that the wheel and its extras need")


def _plain(line: str) -> str:
    return line.lower().replace("_", "-")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
