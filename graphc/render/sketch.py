"""What a picture shows: boxes and arrows, before any drawing.

Knows nothing of graphs of nodes, colours, DOT or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.render import words

KINDS = ("input", "parameter", "state", "constant", "op", "gradient", "group")


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
        scope: the path of blocks that it stands in.
        is_output: whether it is a result.
        is_named: whether the title is the user's own, not a symbol made for the picture.
        value: its numbers, where they are known.
        slope: the loss's derivative by it, in words.
        tip: what a reader sees who points at it.
        partner: the key of the box that it stands beside.
    """

    key: str
    kind: str
    words: str
    shape: str
    title: str = ""
    name: str = ""
    scope: tuple[str, ...] = ()
    is_output: bool = False
    is_named: bool = True
    value: str = ""
    slope: str = ""
    tip: str = ""
    partner: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A value that one box hands to another.

    ``kind`` is "forward", "backward" (both ends are gradients), "read" (a gradient's rule reads
    a value of the forward pass), "factor" (of a chain: the way back) or "reused" (one that other
    chains have too). A factor has ``words`` for its rule, and a value where it is known.
    """

    source: str
    target: str
    label: str = ""
    kind: str = "forward"
    words: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture before it is drawn."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    title: str = ""


def text(sketch: Sketch) -> str:
    """Return a sketch as lines: each box, what it computes from which, its shape."""
    names = _names(sketch.boxes)
    sources: dict[str, list[str]] = {}
    for arrow in sketch.arrows:
        sources.setdefault(arrow.target, []).append(names[arrow.source])
    rows = [_row(box, names[box.key], sources.get(box.key, [])) for box in sketch.boxes]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, (*widths, 0), strict=True)).rstrip()
        for row in rows
    ]
    title = [words.shortened(sketch.title, 80)] if sketch.title else []
    return "\n".join(title + lines) + "\n"


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


def _row(box: Box, name: str, sources: list[str]) -> tuple[str, ...]:
    ring = " (output)" if box.is_output else ""
    said = box.words if box.words else box.kind
    if sources and box.kind in ("op", "group"):
        said += f" <- {', '.join(sources)}"
    return (name + ring, box.shape, said if not box.value else f"{said} ", box.value)


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
