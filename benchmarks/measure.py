"""Medians of interleaved rounds, and their ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Row:
    """One line of the table: the plain code's figure, ours, and what their ratio should be."""

    name: str
    plain: float
    ours: float
    unit: str = "ms"
    aim: float | None = None
    best: float | None = None
    note: str = ""
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """How many times the plain code's figure ours goes into; for `at_most`, the reverse."""
        return self.ours / self.plain if self.at_most else self.plain / self.ours

    @property
    def verdict(self) -> str:
        if self.aim is None:
            return ""
        good = self.ratio <= self.aim if self.at_most else self.ratio >= self.aim
        return "met" if good else "NOT MET"

    @property
    def wanted(self) -> str:
        if self.aim is None:
            return ""
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.aim:g}" + ("" if self.best is None else f" ({self.best:g})")


@dataclass
class Section:
    """A heading, what is compared, and the rows."""

    title: str
    about: str
    rows: list[Row] = field(default_factory=list)


def seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def interleaved(rounds: int, *contenders: Callable[[], float], warm: int = 1) -> tuple[float, ...]:
    """Each contender's median, over rounds in which each has its turn."""
    for _ in range(warm):
        for each in contenders:
            each()
    figures: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        order = list(enumerate(contenders))
        for place, each in reversed(order) if number % 2 else order:
            figures[place].append(each())
    return tuple(median(each) for each in figures)


def table(sections: Iterable[Section]) -> str:
    """Markdown."""
    lines: list[str] = []
    for section in sections:
        lines += [f"## {section.title}", "", section.about, ""]
        lines += [
            "| | plain | ours | ratio | wanted (aim) | |",
            "|---|--:|--:|--:|---|---|",
        ]
        for row in section.rows:
            lines.append(
                f"| {row.name} | {row.plain:.4g} {row.unit} | {row.ours:.4g} {row.unit} "
                f"| {row.ratio:.2f} | {row.wanted} | {row.verdict}{row.note} |"
            )
        lines.append("")
    return "\n".join(lines)
