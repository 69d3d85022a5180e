"""Makes demo.svg, the picture in the README, from a run of `plaid-processors demo`.

    python docs/images/demo.py

The demo really runs. The picture leaves out its times and how many transactions there are, which
the day decides, and its tokens end in made-up digits, so that the file changes only when the demo
does; tests/test_demo_picture.py makes it again and compares. What a rule refuses, the clean-up and
most of the accounts are left out, too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from pathlib import Path

from plaid_processors import cli

PICTURE = Path(__file__).with_name("demo.svg")
PARTS = ("Layer", "Finix", "From the token to the partner")
ACCOUNTS_SHOWN = 2

COLUMN, ROW, EDGE = 8.4, 20, 24  # pixels; a letter of 14 pixels is 8.4 wide
WIDTH = 88

STYLE = """\
text { font: 14px ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace }
.paper { fill: #f6f8fa; stroke: #d0d7de } .rule { stroke: #d0d7de }
.plain { fill: #1f2328 } .head { fill: #1f2328; font-weight: bold } .dim { fill: #59636e }
.code { fill: #0550ae } .sent { fill: #8250df } .got { fill: #116329 }
@media (prefers-color-scheme: dark) {
.paper { fill: #151b23; stroke: #3d444d } .rule { stroke: #3d444d }
.plain, .head { fill: #f0f6fc } .dim { fill: #9198a1 }
.code { fill: #79c0ff } .sent { fill: #d2a8ff } .got { fill: #7ee787 }
}"""


def demo() -> str:
    """What the demo prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = cli.main(["demo"])
    if status:
        raise SystemExit(status)
    return printed.getvalue()


def shown(printed: str) -> list[str]:
    """The lines of the picture: some of the demo's, without what differs from run to run."""
    first, *rest = re.split(r"\n\n(?=.*\n─+\n)", printed.rstrip())
    assert first.startswith("plaid-processors")
    last = rest[-1].splitlines()[-1]
    lines = ["$ plaid-processors demo"]
    for part in rest:
        if part.startswith(PARTS):
            lines += ["", *_few_accounts(part.splitlines())]
    lines += ["", last]
    count = itertools.count()
    steady = [re.sub(r"(→ .*?) +[\d,]+ ms +←", lambda to: f"{to[1]:<34} ←", line) for line in lines]
    steady = [re.sub(r"(?<=, ) *\d+ (?=transactions)", "", line) for line in steady]
    steady = [re.sub(r"(?<=-sandbox-…)\w{4}", lambda _: _digits(next(count)), e) for e in steady]
    return [re.sub(r"(?<=instrument …)\w{4}", _digits(0), line) for line in steady]


def _digits(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:4]


def _few_accounts(lines: list[str]) -> Iterator[str]:
    """The lines of one part; of many accounts the first ones, and how many more there are."""
    for is_account, group in itertools.groupby(lines, lambda line: line.startswith("     ← ")):
        block = list(group)
        if is_account and len(block) > ACCOUNTS_SHOWN + 1:
            yield from block[:ACCOUNTS_SHOWN]
            yield f"     ⋮ {len(block) - ACCOUNTS_SHOWN} more"
        else:
            yield from block


def picture(lines: list[str]) -> str:
    """The lines as a picture. Each piece of text has its width, whatever font is there."""
    wide, high = WIDTH * COLUMN + 2 * EDGE, len(lines) * ROW + 2 * EDGE - 6
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" role="img">',
        "<title>plaid-processors demo: link tokens, processor tokens, hand-off</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" x=".5" y=".5" width="{wide - 1:.0f}" height="{high - 1}" rx="8"/>',
    ]
    for row, line in enumerate(lines):
        y = EDGE + row * ROW + 10
        if line.startswith("─"):
            svg.append(
                f'<line class="rule" x1="{EDGE}" x2="{wide - EDGE:.0f}" y1="{y - 5}" y2="{y - 5}"/>'
            )
            continue
        heads = row + 1 < len(lines) and lines[row + 1].startswith("─")
        for column, piece, kind in _pieces(line, heads=heads):
            x, length = EDGE + column * COLUMN, len(piece) * COLUMN
            svg.append(
                f'<text class="{kind}" x="{x:.1f}" y="{y}" textLength="{length:.1f}">'
                f"{escape(piece, quote=False)}</text>"
            )
    return "\n".join([*svg, "</svg>", ""])


def _pieces(line: str, *, heads: bool) -> Iterator[tuple[int, str, str]]:
    """The pieces of a line between wider gaps: where, what, and in which colour."""
    pieces = [(match.start(), match.group()) for match in re.finditer(r"\S+(?: \S+)*", line)]
    for index, (column, piece) in enumerate(pieces):
        if heads:
            kind = "head"
        elif piece.startswith("→"):
            kind = "sent"
        elif line.lstrip().startswith("←") or piece.startswith("←"):
            kind = "got"
        elif line.startswith("  ") and index:
            kind = "code"
        elif piece.startswith(("$", "⋮")):
            kind = "dim"
        else:
            kind = "plain"
        yield column, piece, kind


if __name__ == "__main__":
    PICTURE.write_text(picture(shown(demo())), encoding="utf-8")
