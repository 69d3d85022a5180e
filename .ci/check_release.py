"""Checks that this commit can be released as a version: `check_release.py X.Y.Z`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(version: str) -> int:
    """Print what is in the way, and return the exit status."""
    found = [*complaints(version)]
    print(*found, f"{len(found)} things are in the way of {version}", sep="\n")
    return 1 if found else 0


def complaints(version: str) -> Iterator[str]:
    """What must be mended before the release."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        yield f"{version} is no version of the form X.Y.Z"
        return
    if changed := _git("status", "--porcelain"):
        yield f"the work tree is not clean:\n{changed}"
    source = _read("src/plaid_processors/_version.py")
    if f'__version__ = "{version}"\n' not in source:
        yield f"src/plaid_processors/_version.py does not say {version}"
    yield from _of_changelog(version)
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        # The first is looked at above, the other says how to release.
        own = page.name in ("CHANGELOG.md", "releasing.md")
        if not own and "not released yet" in " ".join(_read(page).lower().split()):
            yield f"{page.relative_to(ROOT)} says that something is not released yet"
    for path in sorted((ROOT / "src").rglob("*.py")):
        for end in re.findall(r"goes in (\d+\.\d+)", path.read_text(encoding="utf-8")):
            if _order(version) >= _order(end):
                yield f"{path.relative_to(ROOT)} has what is deprecated and should go in {end}"
    tags = _git("tag", "--list", "v[0-9]*").split()
    later = [tag for tag in tags if _order(tag[1:]) >= _order(version)]
    if f"v{version}" in tags:
        yield f"the tag v{version} is there already"
    elif later and not _is_patch(version, tags):
        yield f"{', '.join(later)} came out before, and {version} is no patch of an earlier minor"


def _of_changelog(version: str) -> Iterator[str]:
    first, _, rest = _read("CHANGELOG.md").partition("\n## ")[2].partition("\n")
    if first != version:
        yield f"the CHANGELOG's first section is {first}, not {version}"
    elif not re.match(r"\nReleased \d{4}-\d\d-\d\d\.", rest):
        yield f"under {version} the CHANGELOG does not begin with `Released YYYY-MM-DD.`"


def _is_patch(version: str, tags: list[str]) -> bool:
    """Whether it follows the last patch of a minor version that came out before."""
    major, minor, patch = _order(version)
    return patch > 0 and f"v{major}.{minor}.{patch - 1}" in tags


def _order(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _read(path: str | Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
