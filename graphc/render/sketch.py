"""What a picture shows: boxes and arrows, before any drawing.

Knows nothing of graphs of nodes, colours, DOT or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.render import words

KINDS = (
    *("input", "parameter", "state", "constant", "carry", "step"),
    *("op", "gradient", "group", "title"),
)

SEPARATOR = ", "  # between the parts of what a block says


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is more than a scope: a loop, one step of a loop that is unrolled.

    Attributes:
        key: what tells it from others.
        title: what stands over it.
        words: how it walks, on the lines below.
        form: "titled", a "frame" without its title, or "hidden" in pictures, not in text.
    """

    key: str
    title: str
    words: str = ""
    form: str = "titled"

    def __str__(self) -> str:
        return f"{self.title}: {self.words}" if self.words else self.title


Path = tuple[str | Block, ...]  # from the outermost block to the innermost; scopes are words


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a picture.

    Attributes:
        key: what arrows call it.
        kind: one of ``KINDS``.
        words: what it computes, in readable words.
        shape: its type in words.
        title: what stands over it: its name without its scope, or a symbol.
        name: what the text form calls it, where it has a name.
        scope: the path of blocks that it stands in, scopes and others.
        is_output: whether it is a result.
        is_named: whether the title is the user's own, not a symbol made for the picture.
        value: its numbers, where they are known.
        slope: the loss's derivative by it, in words.
        tip: what a reader sees who points at it.
        partner: the key of the box that it stands beside.
        tint: the number of its colour, where boxes that belong together share one.
        is_entry: whether a step of a loop begins here, with what the step before hands on.
    """

    key: str
    kind: str
    words: str
    shape: str
    title: str = ""
    name: str = ""
    scope: Path = ()
    is_output: bool = False
    is_named: bool = True
    value: str = ""
    slope: str = ""
    tip: str = ""
    partner: str = ""
    tint: int | None = None
    is_entry: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A value that one box hands to another.

    ``kind`` is "forward", "backward" (both ends are gradients), "read" (a gradient's rule reads
    a value of the forward pass), "loop" (a carry on its way to the next step), "time" (the same
    between two copies of a step), "border" (one that no gradient crosses), "factor" (of a chain:
    the way back) or "reused" (one that other chains have too). A factor has ``words`` for its rule,
    and a value where it is known. One that ``rises`` has its source below its target.
    """

    source: str
    target: str
    label: str = ""
    kind: str = "forward"
    words: str = ""
    value: str = ""
    rises: bool = False


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture before it is drawn.

    Attributes:
        boxes: in the order in which they are computed.
        arrows: between them.
        title: a line over the picture.
        rows: keys of boxes that stand side by side, from left to right.
        columns: keys of boxes that stand one below the other, though no arrow says so.
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    title: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    columns: tuple[tuple[str, str], ...] = ()


def text(sketch: Sketch) -> str:
    """Return a sketch as lines: each box, what it computes from which, its shape.

    Boxes of a loop stand together, indented under a line that says how it walks.
    """
    boxes = [box for box in sketch.boxes if box.kind != "title"]
    names = _names(boxes)
    sources: dict[str, list[str]] = {}
    for arrow in sketch.arrows:
        way = f" ({words.shortened(arrow.label)})" if arrow.kind == "loop" else ""
        sources.setdefault(arrow.target, []).append(names[arrow.source] + way)
    lines = [
        (depth, item if isinstance(item, Block) else _row(item, names, sources))
        for depth, item in _indented(boxes)
    ]
    rows = [("  " * d + row[0], *row[1:]) for d, row in lines if not isinstance(row, Block)]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    cells = iter(rows)
    title = [words.shortened(sketch.title, 80)] if sketch.title else []
    written = [
        "  " * depth + words.shortened(str(row), 80)
        if isinstance(row, Block)
        else "  ".join(c.ljust(w) for c, w in zip(next(cells), (*widths, 0), strict=True)).rstrip()
        for depth, row in lines
    ]
    return "\n".join(title + written) + "\n"


def _indented(boxes: Sequence[Box]) -> list[tuple[int, Box | Block]]:
    """Return boxes with their depth in loops; each block stands where its first box stood."""
    paths = {box.key: tuple(b for b in box.scope if isinstance(b, Block)) for box in boxes}
    first: dict[tuple[Block, ...], int] = {}
    for i, box in enumerate(boxes):
        for depth in range(len(paths[box.key]) + 1):
            first.setdefault(paths[box.key][:depth], i)
    places = {box.key: i for i, box in enumerate(boxes)}

    def place(box: Box) -> list[tuple[int, int]]:
        path = paths[box.key]
        inside = [(first[path[:d]], 0) for d in range(1, len(path) + 1)]
        return [*inside, (places[box.key], 1)]

    found: list[tuple[int, Box | Block]] = []
    around: tuple[Block, ...] = ()
    for box in sorted(boxes, key=place):
        path = paths[box.key]
        shared = next(
            (i for i, (a, b) in enumerate(zip(path, around, strict=False)) if a != b),
            min(len(path), len(around)),
        )
        found += [(depth, path[depth]) for depth in range(shared, len(path))]
        found.append((len(path), box))
        around = path
    return found


def _names(boxes: Sequence[Box]) -> dict[str, str]:
    found: dict[str, str] = {}
    number = 0
    for box in boxes:
        if box.name:
            found[box.key] = words.shortened(box.name)
        else:
            number += 1
            found[box.key] = f"%{number}"
    return found


def _row(box: Box, names: Mapping[str, str], sources: Mapping[str, list[str]]) -> tuple[str, ...]:
    ring = " (output)" if box.is_output else ""
    said = box.words if box.words else box.kind
    read = sources.get(box.key, [])
    if read and box.kind in ("op", "group", "carry", "step"):
        said += f" <- {', '.join(read)}"
    return (names[box.key] + ring, box.shape, said if not box.value else f"{said} ", box.value)


def without_loops(arrows: Sequence[Arrow]) -> tuple[Arrow, ...]:
    """Return arrows without those from a box to itself, and each pair once."""
    found: dict[tuple[str, str, str], Arrow] = {}
    for arrow in arrows:
        if arrow.source != arrow.target:
            key = (arrow.source, arrow.target, arrow.kind)
            held = found.get(key)
            same = held is None or held.label == arrow.label
            found[key] = arrow if same else replace(arrow, label=_both(held, arrow))
    return tuple(found.values())


def _both(held: Arrow | None, arrow: Arrow) -> str:
    labels = [a.label for a in (held, arrow) if a is not None and a.label]
    return ", ".join(labels)
