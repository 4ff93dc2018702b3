"""Statements as lines, under comments that tell each group's name, ops and the user's line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from graphc.ir import Note
from graphc_numpy.body import Line, heading
from graphc_numpy.names import comment

_SHOWN = 6  # ops that a comment names
_TOGETHER = 8  # arrays that are let go at once
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*) = ")


def rendered(lines: Sequence[Line], *, freeing: bool, kept: Iterable[str]) -> list[str]:
    """Return statements with comments, and a blank line wherever the scope changes.

    Args:
        lines: the statements.
        freeing: let go of arrays after their last use, as long functions should.
        kept: texts that stand behind the statements, whose names stay.
    """
    last = _last_uses(lines, kept) if freeing else {}
    found: list[str] = []
    scope: tuple[str, ...] | None = None
    dead: list[str] = []
    place = 0
    for _, group in groupby(lines, key=lambda line: (*heading(line.node), line.node.note.name)):
        members = list(group)
        if members[0].node.note.scope != scope:
            scope = members[0].node.note.scope
            found.append("")
        found.append(_heading(members))
        for line in members:
            found.append(line.text)
            dead += last.get(place, ())
            place += 1
            is_inside = place < len(lines) and lines[place].text.startswith(" ")  # of a loop
            if dead and not is_inside and (len(dead) >= _TOGETHER or line is members[-1]):
                found.append("del " + ", ".join(dead))
                dead = []
    return found


def _label(note: Note) -> str:
    """Return the name that a group of statements stands under."""
    if note.origin is not None:
        source = note.origin.note
        return "gradient of " + (source.path or ".".join(source.scope) or "the forward pass")
    return note.path or ".".join(note.scope)


def _heading(members: Sequence[Line]) -> str:
    note = members[0].node.note
    ops = [op for op, _ in groupby(op for line in members for op in line.ops)]
    shown = ", ".join(ops[:_SHOWN]) + (", …" if len(ops) > _SHOWN else "")
    step = "" if note.step is None else f"t = {note.step}"
    parts = (_label(note), step, shown, note.where or "")
    return "# " + "  ".join(comment(p) for p in parts if p)


def _last_uses(lines: Sequence[Line], kept: Iterable[str]) -> dict[int, list[str]]:
    """Return for each statement the names that it is the last to use."""
    last: dict[str, int] = {}
    for place, line in enumerate(lines):
        assigned = _ASSIGNED.match(line.text)
        if assigned:
            last[assigned[1]] = place
        for name in _IDENTIFIER.findall(line.text):
            if name in last:
                last[name] = place
    staying = {name for text in kept for name in _IDENTIFIER.findall(text)}
    found: dict[int, list[str]] = {}
    for name, place in last.items():
        if name not in staying:
            found.setdefault(place, []).append(name)
    return found
