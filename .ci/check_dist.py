"""Checks what the built wheel and sdist hold: `check_dist.py FOLDER`."""

import sys
import tarfile
import zipfile
from pathlib import Path

SOURCE = Path("src/plaid_processors")


def main(folder: Path) -> None:
    """Compare both archives with the source tree."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    check_wheel(set(zipfile.ZipFile(wheel).namelist()))
    with tarfile.open(sdist) as archive:
        check_sdist({name.partition("/")[2] for name in archive.getnames()})
    print(f"{wheel.name} and {sdist.name} hold what they should")


def check_wheel(names: set[str]) -> None:
    """The package's files and its metadata, and nothing else."""
    package = {
        path.relative_to("src").as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in names if ".dist-info/" not in name}
    assert found == package, f"the wheel differs by {sorted(found ^ package)}"
    assert "plaid_processors/py.typed" in found
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def check_sdist(names: set[str]) -> None:
    """What is needed to build it and to run its tests."""
    wanted = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "conftest.py"}
    wanted |= {"src/plaid_processors/py.typed", "tests/test_package.py", "docs/index.md"}
    assert not wanted - names, f"the sdist lacks {sorted(wanted - names)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
