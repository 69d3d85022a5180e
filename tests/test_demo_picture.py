"""The picture in the README is one of the demo as it is today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.svg"


def test_the_picture_is_what_the_demo_prints_today() -> None:
    """The script makes the committed file again, byte for byte, from another run."""
    script = runpy.run_path(str(PICTURE.with_name("demo.py")))
    again = script["picture"](script["shown"](script["demo"]()))
    assert again == PICTURE.read_text(encoding="utf-8"), "run: python docs/images/demo.py"


def test_the_picture_is_text_and_loads_nothing() -> None:
    """It can be read, light and dark, without fonts or images of another host."""
    source = PICTURE.read_text(encoding="utf-8")
    root = ElementTree.fromstring(source)
    words = " ".join(each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text"))
    assert 'create_link_token("layer", …)' in words
    assert 'link("finix", …, on_exchange=…)' in words
    assert "prefers-color-scheme: dark" in source
    assert re.findall(r"https?://[^\"]+", source) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(image|script|use|a)\b|@import|@font-face|url\(", source)


def test_the_picture_is_shown() -> None:
    """The README shows it, and says in words what it shows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"!\[([^\]]+)\]\(docs/images/demo\.svg\)", readme)
    assert [len(words) > 20 for words in found] == [True]
