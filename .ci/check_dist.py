"""Checks what the built wheel and sdist hold: `check_dist.py FOLDER`."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

SOURCE = Path("src/plaid_processors")
REPOSITORY = "https://github.com/plaid-processors/plaid-processors"


def main(folder: Path) -> None:
    """Compare both archives with the source tree."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        check_wheel(set(archive.namelist()))
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        check_metadata(archive.read(metadata))
    with tarfile.open(sdist) as packed:
        check_sdist({each.name.partition("/")[2] for each in packed if each.isfile()})
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


def check_metadata(metadata: bytes) -> None:
    """The page of the package index: its links lead to files of this version, from anywhere."""
    message = message_from_bytes(metadata)
    page = message.get_payload()
    assert isinstance(page, str)
    assert "<!--" not in page, "code that only the tests run is on the index's page"
    links = re.findall(r"\]\(([^)]+)\)", page)
    version = message["Version"]
    for link in links:
        assert re.match(r"https?://|#", link), f"{link} leads nowhere on the index's page"
        found = re.match(rf"{REPOSITORY}/(?:blob|raw)/v{re.escape(version)}/([^#]+)", link)
        assert found is None or Path(found[1]).exists(), f"{found[1]} is not there"
    relative = re.findall(r"\]\((?!\w+:|#)[^)]+\)", Path("README.md").read_text(encoding="utf-8"))
    ours = [link for link in links if f"/v{version}/" in link]
    assert len(ours) == len(relative) > 0, f"{len(ours)} links were made of {len(relative)}"


def check_sdist(names: set[str]) -> None:
    """The whole repository, of which its own tests read much, and what hatchling adds."""
    wanted = {"PKG-INFO", *(repository() if Path(".git").exists() else names)}
    assert "pyproject.toml" in names, "the sdist has no pyproject.toml"
    assert names == wanted, f"the sdist differs by {sorted(names ^ wanted)}"


def repository() -> list[str]:
    """Each file that git knows, or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and Path(name).is_file()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
