"""Compares the public API with the last release's, the tag ``v*`` before this commit.

Compared is what modules list in ``__all__``, with the members and signatures of its classes, and
the pytest plugin's fixtures by name. A break ends with exit status 1: in a patch always, in a new
minor version (until 1.0; then a major one) unless the CHANGELOG's section of the version names it,
in backticks under Changed or Removed: an argument, a field and a member by their own names.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
PACKAGE = "plaid_processors"
PLUGIN = f"{PACKAGE}.pytest_plugin"


def main() -> int:
    """Print what would break for those who upgrade, and return the exit status."""
    if not (ROOT / ".git").exists():
        print("not compared: this is no git repository")
        return 0
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE))
    version = _version((ROOT / "src" / PACKAGE / "_version.py").read_text(encoding="utf-8"))
    tag = _last_release(version)
    if not tag:
        if len(sections) > 1:
            print("the CHANGELOG has earlier releases, but no tag is here: git fetch --tags")
            return 1
        print("no release yet: the first one sets the base")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(_git("archive", tag, "src"))) as archive:
            archive.extractall(folder, filter="data")
        found = sorted(set(breaks(Path(folder, "src"), ROOT / "src")))
    told = _named(sections.get(version, "")) if _may_break(tag.removeprefix("v"), version) else ()
    untold = [each for each in found if each[1] not in told]
    for path, _, words in found:
        print(f"{path}: {words}")
    print(f"{version} against {tag}: breaks: {len(found)}, not allowed: {len(untold)}")
    if untold:
        print("see docs/upgrading.md: a patch breaks nothing; a minor version says so")
    return 1 if untold else 0


def breaks(old: Path, new: Path) -> Iterator[tuple[str, str, str]]:
    """Each break between two source folders: where, the argument or member, and what."""
    before, after = exported(old), exported(new)
    for path in before.keys() - after.keys():
        yield path, path.rpartition(".")[2], "is not exported any more"
    both = before.keys() & after.keys()
    either = _holder(before, both), _holder(after, both)
    for each in griffe.find_breaking_changes(*either):
        value = each.old_value or each.new_value
        of = value.name if isinstance(value, griffe.Parameter) else each.obj.name
        yield each.obj.path, of, f"{each.kind.value}: {of}"
    for path in both:
        if (was := before[path]) and (now := after[path]):
            yield from _other_breaks(was, now)


def _other_breaks(was: griffe.Object, now: griffe.Object) -> Iterator[tuple[str, str, str]]:
    """What griffe does not compare: `async`, what is returned, and the values of a StrEnum."""
    if isinstance(was, griffe.Class) and isinstance(now, griffe.Class):
        for name, member in was.all_members.items():
            other = now.all_members.get(name)
            if other is not None and not name.startswith("_"):
                yield from _other_breaks(_itself(member), _itself(other))
    for what, of in (("async", _is_async), ("type", _type), ("value", _value)):
        if (before := of(was)) is not None and before != (after := of(now)):
            yield now.path, now.name, f"its {what} was {before}, and is {after}"


def _is_async(each: griffe.Object) -> str | None:
    return ("yes" if "async" in each.labels else "no") if each.is_function else None


def _type(each: griffe.Object) -> str | None:
    """Of what a function returns, or of a field or property, without the names of modules."""
    known = isinstance(each, griffe.Function | griffe.Attribute) and each.annotation is not None
    return re.sub(r"\b\w+\.", "", str(each.annotation)) if known else None


def _value(each: griffe.Object) -> str | None:
    holder = each.parent
    if isinstance(holder, griffe.Class) and "StrEnum" in " ".join(map(str, holder.bases)):
        return str(each.value) if isinstance(each, griffe.Attribute) else None
    return None


def exported(source: Path) -> dict[str, griffe.Object | None]:
    """Each public name with its object; fixtures have none, as only their names count."""
    extensions = griffe.load_extensions(f"{ROOT}/docs/_site/signatures.py:Signatures")
    loader = griffe.GriffeLoader(search_paths=[source], extensions=extensions)
    package = loader.load(PACKAGE)
    assert isinstance(package, griffe.Module)
    loader.resolve_aliases(implicit=True, external=False)
    names: dict[str, griffe.Object | None] = {}
    for module in _modules(package):
        for name in module.exports or ():
            member = module.members.get(str(name))
            if member is not None:
                found = _itself(member)
                if not found.is_module:
                    names[f"{module.path}.{name}"] = found
    for fixture in package.modules[PLUGIN.partition(".")[2]].functions.values():
        shown = not fixture.name.startswith("_")
        if shown and any("fixture" in str(each.value) for each in fixture.decorators):
            names[fixture.path] = None
    return names


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    yield module
    for each in module.modules.values():
        if not each.is_alias and not each.name.startswith("_"):
            yield from _modules(each)


def _itself(member: griffe.Object | griffe.Alias) -> griffe.Object:
    return member.final_target if isinstance(member, griffe.Alias) else member


def _holder(names: dict[str, griffe.Object | None], wanted: set[str]) -> griffe.Module:
    """A module with these objects and nothing else, to compare with another."""
    holder = griffe.Module(PACKAGE)
    for path in sorted(wanted):
        if found := names[path]:
            found.public = True
            holder.members[path] = found
    return holder


def _last_release(version: str) -> str:
    """Its tag; where this commit is the release itself, the tag before."""
    released = f"v{version}" in _git("tag", "--points-at", "HEAD", fails=True).decode().split()
    own = ["--exclude", f"v{version}"] if released else []
    command = ["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", *own]
    return _git(*command, fails=True).decode().strip()


def _named(section: str) -> set[str]:
    """The names in backticks under Changed and Removed of a version's section."""
    parts = re.findall(r"^### (?:Changed|Removed)\n(.*?)(?=^### |\Z)", section, re.DOTALL | re.M)
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", "".join(parts)))))


def _version(text: str) -> str:
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def _may_break(old: str, new: str) -> bool:
    """Whether the new version is one that may break: until 1.0 a minor one, then a major one."""
    before, after = ([int(part) for part in each.split(".")] for each in (old, new))
    return after[0] > before[0] or (after[0] == before[0] == 0 and after[1] > before[1])


def _git(*arguments: str, fails: bool = False) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode and not fails:
        raise SystemExit(done.stderr.decode())
    return done.stdout if not done.returncode else b""


if __name__ == "__main__":
    sys.exit(main())
