"""Where the boxes of unrolled loops stand: a column a step, in it a row a layer.

Knows which box reads which, and nothing of how they look.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc.ir import Node
from graphc.ops import scan
from graphc.render import loops
from graphc.render.loops import Loop
from graphc.render.sketch import SEPARATOR, Box

if TYPE_CHECKING:
    from graphc.render.unrolled import Unroller

_SIDE = 3  # steps on each side of a gap
_SWEEPS = 8  # times that boxes are moved to the mean of what they are joined with


@dataclass(frozen=True, slots=True)
class Column:
    """One step of a loop, or several that are one box.

    Attributes:
        first: the position of the first.
        last: the position of the last.
        is_open: whether the inside of the step is drawn.
    """

    first: int
    last: int
    is_open: bool = True


Place = tuple[Column, ...]  # one column of each loop around a box, the outermost first


def joined(name: str, place: Place) -> str:
    """Return the key of what is called by a name and stands at a place."""
    return name + "".join(f"_{c.first}" for c in place)


def index_of(place: Place) -> str:
    """Return the steps of a place as an index: ``[2][3]``."""
    return "".join(f"[{c.first}]" for c in place)


def cut(walk: scan.Walk, most: int) -> tuple[Column, ...]:
    """Return the columns of a loop, from left to right, with a gap where there are too many."""
    length = int(walk.length)
    if length <= most:
        return tuple(Column(t, t) for t in range(length))
    side = min(_SIDE, (most - 1) // 2)
    ends = [Column(t, t) for t in (*range(side), *range(length - side, length))]
    return (*ends[:side], Column(side, length - side - 1, False), *ends[side:])


def is_border(walk: scan.Walk, column: Column) -> bool:
    """Tell whether no gradient passes from the column before, in the order of the walk."""
    if not walk.truncate:
        return False
    steps = int(walk.length) - 1 - column.last if walk.reverse else column.first
    return steps > 0 and steps % walk.truncate == 0


class Rows:
    """Which boxes stand side by side: all copies of the boxes of one layer, column by column.

    The engine is told the order of all of them: left to itself, it mixes columns.
    """

    def __init__(self, unroller: Unroller) -> None:
        self.unroller = unroller
        self.around = unroller.around
        self.inside = [n for n in unroller.shown if self.around[n]]
        self.sources = {n: self._sources(n) for n in self.inside}
        self.layers = self._layers()
        self.ranks = self._ranks()

    def laid_out(
        self, keys: set[str]
    ) -> tuple[tuple[tuple[str, ...], ...], tuple[Box, ...], tuple[tuple[str, str], ...]]:
        """Return the rows, the titles of loops and steps, and what these stand over."""
        cells: dict[tuple[Loop, int], dict[str, tuple[int, ...]]] = {}
        for node in self.inside:
            root = self.around[node][0]
            for place in self.unroller.places(node):
                key = self.unroller.key(node, place)
                is_own = all(c.is_open for c in place)
                spine = self.around[node][-1].renewed[:1]
                if key in keys and (is_own or node in spine or not spine):
                    row = cells.setdefault((root, self.layers[node]), {})
                    row.setdefault(key, self._order(node, place))
        titles: list[Box] = []
        columns: list[tuple[str, str]] = []
        for loop in dict.fromkeys(loop for n in self.inside for loop in self.around[n]):
            self._add_titles(loop, cells, titles, columns)
        rows = (tuple(sorted(row, key=lambda k: row[k])) for row in cells.values())
        return tuple(r for r in rows if len(r) > 1), tuple(titles), tuple(columns)

    def _add_titles(
        self,
        loop: Loop,
        cells: dict[tuple[Loop, int], dict[str, tuple[int, ...]]],
        titles: list[Box],
        columns: list[tuple[str, str]],
    ) -> None:
        """Add a title over each step; the first says what the loop is called."""
        members = [n for n in self.inside if loop in self.around[n]]
        around = self.unroller.opened.around(members[0])
        around = around[: around.index(loop) + 1]
        top = min(members, key=lambda n: self.layers[n])
        row = cells.setdefault((around[0], self.layers[top] - 1), {})
        name = loop.block.key
        said = loop.block.words.split(SEPARATOR)[1:]
        for place in itertools.product(*(self.unroller.columns[x] for x in around)):
            if all(c.is_open for c in place):
                key = f"title {joined(name, place)}"
                step = f"{loop.letter} = {place[-1].first}"
                is_first = all(c.first == 0 for c in place)
                title = f"{loop.block.title}: {step}" if is_first else step
                more = SEPARATOR.join(said) if is_first else ""
                titles.append(Box(key, "title", more, "", title, tint=place[0].first))
                row[key] = (*self._order(members[0], place)[: 2 * len(place)], -1)
                inner = self.around[top][len(place) :]
                first = (self.unroller.columns[x][0] for x in inner)
                columns.append((key, self.unroller.key(top, (*place, *first))))

    def _order(self, node: Node, place: Place) -> tuple[int, ...]:
        """Return what the boxes of a row are sorted by: column, then place in the column."""
        found: list[int] = []
        for column in place:
            found += [0, column.first]
        inside = (1 if len(place) < len(self.around[node]) else 0, self.ranks.get(node, 0))
        return (*found, *inside)

    def _sources(self, node: Node) -> list[Node]:
        """Return what a node reads in its step, in the same outermost loop."""
        found = []
        for read, _, kind in self.unroller.plan.reads(node):
            is_near = self.around[read] and self.around[read][0] is self.around[node][0]
            if is_near and read.op is not loops.CARRY and kind != "loop":
                found.append(read)
        return [n for n in found if self.unroller.same_step(n) is None]

    def _layers(self) -> dict[Node, int]:
        """Return how far down each box stands: as high as it can, what begins there low."""
        found: dict[Node, int] = {}
        lowest: dict[Node, int] = {}
        for node in self.inside:
            found[node] = 1 + max((found[n] for n in self.sources[node]), default=-1)
        for node in reversed(self.inside):
            if not self.sources[node] and node in lowest:
                found[node] = lowest[node] - 1
            for source in self.sources[node]:
                lowest[source] = min(lowest.get(source, found[node]), found[node])
        return found

    def _ranks(self) -> dict[Node, int]:
        """Return the place of each box in its layer: near the mean of what it is joined with."""
        layers: dict[tuple[Loop, int], list[Node]] = {}
        for node in self.inside:
            layers.setdefault((self.around[node][0], self.layers[node]), []).append(node)
        joined: dict[Node, list[Node]] = {n: list(self.sources[n]) for n in self.inside}
        for node in self.inside:
            for source in self.sources[node]:
                joined[source].append(node)
        places = {n: (i - (len(row) - 1) / 2) for row in layers.values() for i, n in enumerate(row)}
        for _ in range(_SWEEPS):
            for row in layers.values():
                row.sort(key=lambda n: _mean([places[m] for m in joined[n]], places[n]))
                places |= {n: i - (len(row) - 1) / 2 for i, n in enumerate(row)}
        return {n: i for row in layers.values() for i, n in enumerate(row)}


def _mean(values: Sequence[float], usual: float) -> float:
    return sum(values) / len(values) if values else usual
