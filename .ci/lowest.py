"""Prints constraints for the lowest dependencies that a wheel allows: `lowest.py WHEEL`.

Each requirement of the wheel and of its extras stands at its lower bound.
"""

import email
import re
import sys
import zipfile

# What a user installs. The extra `test` is this project's.
EXTRAS = ("sandbox", "store", "webhooks", "backfill")


def lowest(metadata: str) -> list[str]:
    """A line for each requirement; a ValueError for one without a lower bound."""
    found = {}
    for each in email.message_from_string(metadata).get_all("Requires-Dist", []):
        requirement, _, marker = each.partition(";")
        extra = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        name = re.match(r"[\w.-]+", requirement)
        if name is None or name[0] == "plaid-processors" or (extra and extra[1] not in EXTRAS):
            continue
        bound = re.search(r">=\s*([\w.]+)", requirement)
        if bound is None:
            raise ValueError(f"{each} has no lower bound")
        found[name[0]] = bound[1]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    with zipfile.ZipFile(sys.argv[1]) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        print("\n".join(lowest(archive.read(path).decode())))
