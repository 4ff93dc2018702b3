"""The picture of loops unrolled: time from left to right, a column a step, weights once.

Copies boxes of the forward picture; no copy of a node is made, so that a loop of many steps, whose
middle is one box, costs no more than a short one. Knows no colours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from graphc.ir import Node
from graphc.render import forward, loops, naming, words
from graphc.render.columns import Column, Place, Rows, cut, index_of, is_border, joined
from graphc.render.forward import Plan, Values
from graphc.render.loops import Loop
from graphc.render.sketch import Arrow, Block, Box, Path, Sketch, without_loops

_COLUMNS = (16, 7, 5, 3)  # the most columns of a loop, tried in turn


def sketch(outputs: Mapping[str, Node], title: str, values: Values) -> Sketch:
    """Return the picture of some outputs, all lengths of whose loops are numbers.

    ``values`` of a node inside a loop are those of all its steps, stacked.
    """
    return Unroller(forward.planned(outputs, values), values).sketch(title)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a value comes from: the key and node of its box, and what it passes on the way."""

    key: str
    node: Node | None = None
    kind: str = "forward"

    def passing(self, kind: str) -> _Source:
        """Return the same source with one more passage; borders outweigh."""
        return self if self.kind == "border" else replace(self, kind=kind)


class Unroller:
    """One picture in the making."""

    def __init__(self, plan: Plan, values: Values) -> None:
        self.plan, self.opened = plan, plan.opened
        every = dict.fromkeys(
            plan.opened.loops[n] for n in plan.opened.order if n in plan.opened.loops
        )
        self.values = {n: values[raw] for x in every for raw, n in x.inner.items() if raw in values}
        self.stand = plan.folded.stand
        self.shown = [n for n in plan.folded.shown if n.op is not loops.CARRY]
        self.around = {n: self.opened.around(n) for n in self.opened.order}
        outside = {n: self.opened.paths[n] for n in self.shown if not self.around[n]}
        self.groups = forward.grouping(outside, set(plan.outputs.values()), None)
        self.keys = forward.box_keys(plan.folded.shown, self.groups)
        self.firsts: dict[str, Box] = {}
        self.passed: set[str] = set()  # stacks, which steps of other loops may read past
        self.columns = self._columns()
        self.shown = [n for n in self.shown if self.same_step(n) is None]

    def _columns(self) -> dict[Loop, tuple[Column, ...]]:
        """Return the columns of each loop: as many as fit, the middle one box."""
        every = dict.fromkeys(loop for found in self.around.values() for loop in found)
        for most in _COLUMNS:
            columns = {loop: cut(loop.walk, most) for loop in every}
            count = sum(
                math.prod(len(columns[loop]) for loop in self.around[n]) for n in self.shown
            )
            if count <= forward.BUDGET:
                return columns
        return {
            loop: tuple(replace(c, is_open=False) for c in cut) for loop, cut in columns.items()
        }

    def sketch(self, title: str) -> Sketch:
        """Return the picture."""
        outside = [n for n in self.shown if n in self.groups]
        boxes = {
            key: replace(box, scope=())
            for key, box in forward.group_boxes(outside, self.groups, self.keys).items()
        }
        arrows: list[Arrow] = []
        layout = Rows(self)
        for node in self.shown:
            for place in self.places(node):
                self._add_box(boxes, node, place)
                arrows += self._arrows(node, place, layout.layers)
        kept = without_loops(arrows)
        read = {arrow.source for arrow in kept}
        boxes = {**self.firsts, **boxes}
        drawn = {key: box for key, box in boxes.items() if key in read or key not in self.passed}
        ends = tuple(a for a in kept if a.source in drawn and a.target in drawn)
        rows, titles, columns = layout.laid_out(set(drawn))
        return Sketch((*titles, *drawn.values()), ends, title, rows, columns)

    # ---------------------------------------------------------------- places

    def places(self, node: Node) -> Iterator[Place]:
        """Yield each place where a node has a copy: one inside each column, from left to right."""
        for place in itertools.product(*(self.columns[loop] for loop in self.around[node])):
            # Within a closed column, all inner columns are the same box.
            closed = next((i for i, c in enumerate(place) if not c.is_open), len(place))
            inner = zip(self.around[node][closed + 1 :], place[closed + 1 :], strict=True)
            if all(column == self.columns[loop][0] for loop, column in inner):
                yield place

    def key(self, node: Node, place: Place) -> str:
        """Return the key of the copy of a shown node at a place."""
        loop_of = self.around[node]
        for depth, column in enumerate(place):
            if not column.is_open:
                name = loop_of[depth].block.key.replace(" ", "")
                return joined(name, place[: depth + 1])
        return joined(self.keys[node], place)

    def source(self, node: Node, place: Place) -> _Source | None:
        """Return where the value of a node, at a place or around it, comes from."""
        place = place[: len(self.around[node])]
        around = place[:-1] if node.op is loops.CARRY else place
        if any(not column.is_open for column in around):
            return _Source(self.key(node, place), self._spine(node, place))
        if node.op is loops.CARRY:
            return self._carried(node, place)
        direct = self.same_step(node)
        if direct is not None:
            return self.source(direct, place)
        shown = self.stand[node]
        return None if shown is None else _Source(self.key(shown, place), shown)

    def _spine(self, node: Node, place: Place) -> Node | None:
        """Return the node beside whose copies a closed column stands."""
        closed = next(i for i, column in enumerate(place) if not column.is_open)
        renewed = self.around[node][closed].renewed
        return self.stand[renewed[0]] if renewed else None

    def same_step(self, node: Node) -> Node | None:
        """Return the value in the loop before that a step of a stacked sequence is."""
        if node.op is not loops.STEP:
            return None
        stacked = self.stand[node.inputs[0]]
        if stacked is None or stacked.op is not loops.STACKED:
            return None
        inner, outer = self.around[stacked.inputs[0]], self.around[node]
        if len(inner) != len(outer) or inner[:-1] != outer[:-1]:
            return None
        return stacked.inputs[0] if inner[-1].walk.length == outer[-1].walk.length else None

    def _carried(self, carry: Node, place: Place) -> _Source | None:
        """Return where a carry comes from: the column before, or what the loop begins with."""
        loop = self.around[carry][-1]
        walk = loop.walk
        columns = self.columns[loop]
        i = columns.index(place[-1]) + (1 if walk.reverse else -1)
        if not 0 <= i < len(columns):
            return self._first(carry, place)
        kind = "border" if is_border(walk, place[-1]) else "time"
        before = (*place[:-1], columns[i])
        new = self.opened.returns[carry]
        if not columns[i].is_open:
            return _Source(self.key(carry, before), self._spine(carry, before), kind)
        found = self.source(new, before)
        return found if found is None else found.passing(kind)

    def _first(self, carry: Node, place: Place) -> _Source | None:
        """Return what a loop begins with; a number gets a box of its own."""
        first, loop = carry.inputs[0], self.around[carry][-1]
        number = self.plan.folded.numbers.get(first)
        if number is None:
            return self.source(first, place[:-1])
        key = f"{joined(self.keys[carry], place[:-1])}_first"
        position = loop.walk.length if loop.walk.reverse else -1
        mark = f"[{loop.letter} {'+' if loop.walk.reverse else '−'} 1]"
        name = self.plan.names[carry].removesuffix(mark)
        name = f"{name}{index_of(place[:-1])}[{position}]".replace("[-", "[−")
        self.firsts[key] = replace(
            self.plan.box(carry, key),
            words=number,
            title=forward.local_name(carry, name),
            name=name,
            scope=self._path(carry, place[:-1])[:-1],
            is_entry=False,
        )
        return _Source(key)

    # ---------------------------------------------------------------- boxes

    def _add_box(self, boxes: dict[str, Box], node: Node, place: Place) -> None:
        if node in self.groups:
            return
        key = self.key(node, place)
        if key in boxes:
            return
        closed = next((i for i, c in enumerate(place) if not c.is_open), None)
        if closed is not None:
            boxes[key] = self._closed_box(key, node, place[: closed + 1])
            return
        made = self.plan.box(node, key)
        name = self._name(node, place)
        if node.op is loops.STACKED and not made.is_output:
            self.passed.add(key)
        boxes[key] = replace(
            made,
            words=self._words(node, place) if made.words else "",
            title=forward.local_name(node, name) if place else name,
            name=name,
            scope=self._path(node, place),
            is_entry=False,
            tint=place[0].first if place else None,
            value=self._value(node, place) if place else made.value,
        )

    def _value(self, node: Node, place: Place) -> str:
        known = len(place) == 1 and node in self.values
        return words.value_words(self.values[node][place[0].first]) if known else ""

    def _closed_box(self, key: str, node: Node, place: Place) -> Box:
        column, loop = place[-1], self.around[node][len(place) - 1]
        count = column.last - column.first + 1
        said = f"… {count:,} steps …" if count > 1 else f"{loop.letter} = {column.first}"
        inside = sum(loop in self.around[n] for n in self.shown)
        path = self._path(node, place)
        more = "" if count > 1 else f"{inside:,} operations"
        return Box(key, "group", more, "", title=said, scope=path)

    def _name(self, node: Node, place: Place) -> str:
        """Return a node's name with its steps: ``h[3]``, and ``xs[3]`` for what was ``xs[t]``."""
        name = self.plan.names.get(node, "")
        if not name or node.op is not loops.STEP:
            return name + index_of(place) if name else ""
        tail = ""
        for loop, column in reversed([*zip(self.around[node], place, strict=True)]):
            mark = f"[{loop.letter}]"
            if name.endswith(mark):
                name, tail = name.removesuffix(mark), f"[{column.first}]{tail}"
        return name + tail

    def _words(self, node: Node, place: Place) -> str:
        numbers = self.plan.numbers(node)
        clocks = {loop.index: c for loop, c in zip(self.around[node], place, strict=True)}
        for i, number in enumerate(numbers):
            read = node.inputs[i]
            while naming.is_passing(read):
                read = read.inputs[0]
            if read in clocks and number is not None:
                numbers[i] = str(clocks[read].first)
        return self.plan.words(node, numbers)

    def _path(self, node: Node, place: Place) -> Path:
        """Return the blocks of a copy: the loop, in it the step, in it the next loop.

        They are for the text: the engine keeps the order of rows only where there is no cluster.
        """
        path_of: list[str | Block] = []
        for i, loop in enumerate(self.around[node][: len(place) + 1]):
            outer = place[:i]
            key = loop.block.key + index_of(outer)
            path_of.append(replace(loop.block, key=key, form="hidden"))
            if i < len(place) and place[i].is_open:
                title = f"{loop.letter} = {place[i].first}"
                path_of.append(Block(joined(key, place[i : i + 1]), title, "", "hidden"))
        return tuple(path_of)

    # ---------------------------------------------------------------- arrows and rows

    def _arrows(self, node: Node, place: Place, layers: Mapping[Node, int]) -> Iterator[Arrow]:
        target = self.keys[node] if node in self.groups else self.key(node, place)
        for read, label, kind in self.plan.reads(node, node in self.groups):
            for at in self._read_at(node, read, place):
                source = self.source(read, at)
                if source is not None and kind != "loop":
                    rises = source.kind in ("time", "border") and self._is_lower(
                        source, node, layers
                    )
                    yield Arrow(source.key, target, label, source.kind, rises=rises)

    def _is_lower(self, source: _Source, node: Node, layers: Mapping[Node, int]) -> bool:
        """Tell whether a carry comes from a layer below the one that reads it."""
        if source.node is None or node not in layers:
            return False
        return layers.get(source.node, layers[node]) > layers[node]

    def _read_at(self, node: Node, read: Node, place: Place) -> Iterator[Place]:
        """Yield the places of the copies that a node reads: of a loop's results, many."""
        inner = self.around[read][len(place) :]
        if not inner:
            yield place
        elif node.op is loops.LAST:
            columns = self.columns[inner[0]]
            yield (*place, columns[0 if inner[0].walk.reverse else -1])
        else:
            yield from ((*place, column) for column in self.columns[inner[0]])
