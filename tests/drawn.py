"""Pictures read back from their DOT: boxes, arrows and clusters, as a reader sees them.

Knows DOT as graphc writes it, one statement a line, and nothing of how a sketch is made.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_BOX = re.compile(r'^("[^"]+"|\w+) \[label=<(.*)> (.*)\]$')
_ARROW = re.compile(r'^("[^"]+"|\w+) -> ("[^"]+"|\w+) \[(.*)\]$')


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the DOT: the lines of its label, its attributes, the clusters around it."""

    lines: tuple[str, ...]
    look: str
    clusters: tuple[str, ...]

    @property
    def title(self) -> str:
        """The first line."""
        return self.lines[0]

    @property
    def fill(self) -> str:
        """The colour inside."""
        found = re.search(r'fillcolor="([^"]*)"', self.look)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, read back.

    Attributes:
        boxes: by key.
        arrows: source, target and attributes, in the direction in which they point.
        clusters: the tooltip or label of each cluster, with those around it.
        rows: keys that stand side by side.
    """

    boxes: dict[str, Box]
    arrows: list[tuple[str, str, str]]
    clusters: list[tuple[str, ...]]
    rows: list[list[str]]

    def titles(self) -> list[str]:
        """Return the first line of each box."""
        return [box.title for box in self.boxes.values()]

    def named(self, title: str) -> Box:
        """Return the one box of a title."""
        (found,) = [box for box in self.boxes.values() if box.title == title]
        return found

    def pairs(self, holding: str = "") -> set[tuple[str, str]]:
        """Return the first lines of the two ends of each arrow whose attributes hold a text."""
        return {
            (self.boxes[a].title, self.boxes[b].title)
            for a, b, look in self.arrows
            if holding in look
        }


def read(dot: str) -> Drawn:
    """Read DOT that graphc wrote."""
    made = Drawn({}, [], [], [])
    around: list[str] = []
    row: list[str] | None = None
    for line in map(str.strip, dot.splitlines()[1:-1]):
        if line.startswith("subgraph"):
            around.append("")
        elif line == "{":
            around.append("{")
        elif line == "}":
            around.pop()
            row = None
        elif line == "rank=same":
            row = []
            made.rows.append(row)
        elif (arrow := _ARROW.match(line)) is not None:
            _read_arrow(made, row, arrow)
        elif (box := _BOX.match(line)) is not None:
            inside = tuple(a for a in around if a != "{")
            made.boxes[box[1]] = Box(_lines(box[2]), box[3], inside)
        elif around and around[-1] == "" and "fillcolor" in line:
            around[-1] = _cluster(line)
            made.clusters.append(tuple(a for a in around if a != "{"))
    return made


def _read_arrow(made: Drawn, row: list[str] | None, arrow: re.Match[str]) -> None:
    a, b, look = arrow.groups()
    if "style=invis" in look:
        if row is not None:
            row += [k for k in (a, b) if k not in row]
        return
    made.arrows.append((b, a, look) if "dir=back" in look else (a, b, look))


def _cluster(line: str) -> str:
    tip = re.search(r'tooltip="((?:[^"\\]|\\.)*)"', line)
    label = re.search(r"label=<(.*?)> ", line)
    return tip[1] if tip else _lines(label[1])[0] if label else ""


def _lines(label: str) -> tuple[str, ...]:
    plain = [re.sub(r"<[^>]*>", "", part) for part in re.split(r"<br[^>]*>", label)]
    return tuple(html.unescape(part) for part in plain if part)
