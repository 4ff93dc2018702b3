"""A sketch as DOT: shapes, colours, labels, clusters.

The one file that knows how a picture looks. Every text of a user is escaped here: in labels,
which are HTML-like, and in tips, which are quoted strings.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field

import graphviz

from graphc.render import words
from graphc.render.sketch import Arrow, Box, Sketch

_FONT = "Helvetica"
_INK, _GREY = "#1f2933", "#5f6b7a"
_DEEPEST = 5  # clusters inside one another; deeper scopes share the innermost
_LINE = 38  # characters of a line of words
_LINES = 6
_NUMBERS = 80  # characters of a line of small print
_SPINE = "8"  # how much straighter arrows from op to op are than those from leaves
_SPINE_KINDS = ("op", "group", "gradient")
_ROUND = "rounded,filled"


@dataclass(frozen=True, slots=True)
class Look:
    """How a kind of box looks: its form says the same as its colour.

    Colours are of Okabe and Ito's set, lightened, which colour-blind readers tell apart.
    """

    fill: str
    line: str
    shape: str = "box"
    style: str = _ROUND
    word: str = ""


LOOKS = {
    "input": Look("#d9ebf9", "#0072b2", "ellipse", "filled", "input"),
    "parameter": Look("#fdecc8", "#b97900", "box", "filled", "parameter"),
    "state": Look("#d6efe6", "#00795a", "cylinder", "filled", "state"),
    "constant": Look("#eceff2", "#8a94a0", "note", "filled", "constant"),
    "op": Look("#ffffff", "#4b5563", word="operation"),
    "output": Look("#f3e1ed", "#9c3f76", word="output"),
    "gradient": Look("#fbe0d3", "#c04a00", "box", _ROUND, "gradient"),
    "group": Look("#e5e8ec", "#4b5563", "box3d", "filled", "block"),
    "factor": Look("#fbe0d3", "#c04a00", word="factor"),
    "reused": Look("#f7c9b0", "#c04a00", word="factor, re-used by other chains"),
}

_ARROWS = {
    "forward": {"color": "#4b5563"},
    "backward": {"color": "#c04a00", "dir": "back", "penwidth": "1.2"},
    "factor": {"color": "#c04a00", "dir": "back"},
    "reused": {"color": "#c04a00", "dir": "back"},
    "read": {"color": "#9aa5b1", "style": "dashed", "constraint": "false", "arrowsize": "0.5"},
}


@dataclass(slots=True)
class _Block:
    """The boxes directly in a scope, and the scopes inside it."""

    boxes: list[Box] = field(default_factory=list)
    inner: dict[str, _Block] = field(default_factory=dict)


def text(sketch: Sketch) -> str:
    """Return the DOT of a sketch; equal sketches give equal text."""
    graph = graphviz.Digraph("graphc")
    graph.attr("graph", **_graph_look(sketch))
    graph.attr("node", fontname=_FONT, fontsize="11", fontcolor=_INK, penwidth="1.1")
    graph.attr("node", margin="0.12,0.06", height="0.3", width="0.3")
    graph.attr("edge", fontname=_FONT, fontsize="9", fontcolor=_GREY, arrowsize="0.65")
    _add_block(graph, _blocks(sketch), "")
    _add_pairs(graph, sketch)
    boxes = {box.key: box for box in sketch.boxes}
    for arrow in sketch.arrows:
        _add_arrow(graph, arrow, boxes)
    return str(graph.source)


def escaped(name: str) -> str:
    r"""Return text for an HTML-like label, with nothing left that the engine would read.

    The engine puts names in the place of ``\N``, ``\G`` and the like even there, but not across
    the border of an element.
    """
    safe = html.escape(words.printable(name), quote=True)
    return safe.replace("\\", "<font>&#92;</font>")


def _graph_look(sketch: Sketch) -> dict[str, str]:
    return {
        "rankdir": "TB",
        "newrank": "true",
        "bgcolor": "white",
        "fontname": _FONT,
        "fontsize": "13",
        "fontcolor": _INK,
        "labelloc": "t",
        "nodesep": "0.28",
        "ranksep": "0.34",
        "pad": "0.2",
        "label": _caption(sketch),
    }


def _caption(sketch: Sketch) -> str:
    """Return the title over a legend of the kinds that occur."""
    kinds = {_kind(box) for box in sketch.boxes} | {arrow.kind for arrow in sketch.arrows}
    cells = [
        f'<td border="1" color="{look.line}" bgcolor="{look.fill}">'
        f'<font point-size="9">{look.word}</font></td>'
        for kind, look in LOOKS.items()
        if kind in kinds
    ]
    title = f"<b>{escaped(words.shortened(sketch.title, 80))}</b>" if sketch.title else ""
    rows = [f'<tr><td colspan="{max(len(cells), 1)}">{title}</td></tr>'] if title else []
    rows += [f"<tr>{''.join(cells)}</tr>"] if cells else []
    if not rows:
        return ""
    return (
        '<<table border="0" cellborder="0" cellspacing="4" cellpadding="3">'
        + "".join(rows)
        + "</table>>"
    )


def _blocks(sketch: Sketch) -> _Block:
    root = _Block()
    for box in sketch.boxes:
        block = root
        for word in box.scope[:_DEEPEST]:
            block = block.inner.setdefault(word, _Block())
        block.boxes.append(box)
    return root


def _add_block(graph: graphviz.Digraph, block: _Block, path: str) -> None:
    for box in block.boxes:
        _add_box(graph, box)
    for number, (word, inner) in enumerate(block.inner.items()):
        name = f"{path}{number}_"
        with graph.subgraph(name=f"cluster_{name}") as cluster:
            cluster.attr(
                label=f"<{escaped(words.shortened(word))}>",
                style=_ROUND,
                color="#b8c2cc",
                fillcolor="#f7f9fb" if path.count("_") % 2 == 0 else "#eef2f6",
                fontsize="10",
                fontcolor=_GREY,
                labeljust="r",
                margin="10",
            )
            _add_block(cluster, inner, name)


def _add_pairs(graph: graphviz.Digraph, sketch: Sketch) -> None:
    for box in sketch.boxes:
        if box.partner:
            with graph.subgraph() as row:
                row.attr(rank="same")
                row.edge(box.partner, box.key, style="invis")


def _add_box(graph: graphviz.Digraph, box: Box) -> None:
    look = LOOKS[_kind(box)]
    is_sign = box.kind == "op" and box.words in ("+", "−", "×", "÷") and not box.title
    attributes = {
        "shape": look.shape,
        "style": look.style,
        "fillcolor": look.fill,
        "color": look.line,
    }
    if is_sign:
        attributes |= {"shape": "box", "margin": "0.08,0.02"}
    if box.is_output:
        attributes |= {"peripheries": "2", "penwidth": "1.4"}
    if box.tip:
        attributes["tooltip"] = graphviz.escape(words.shortened(box.tip, 400))
    graph.node(box.key, label=f"<{_label(box)}>", **attributes)


def _kind(box: Box) -> str:
    return "output" if box.is_output and box.kind == "op" else box.kind


def _label(box: Box) -> str:
    lines = []
    if box.title:
        title = escaped(words.shortened(box.title))
        lines.append(f"<b>{title}</b>" if box.is_named else f"<i>{title}</i>")
    lines += [escaped(line) for line in wrapped(box.words)]
    if box.shape:
        lines.append(_small(box.shape, _GREY))
    if box.value:
        lines.append(_small(box.value, "#0b5d8a"))
    if box.slope:
        lines.append(_small(box.slope, LOOKS["gradient"].line))
    return "<br/>".join(lines)


def _small(line: str, colour: str) -> str:
    return (
        f'<font point-size="9" color="{colour}">{escaped(words.shortened(line, _NUMBERS))}</font>'
    )


def wrapped(text: str) -> list[str]:
    """Return words in lines, broken at spaces; what is too much ends in dots."""
    lines: list[str] = []
    for word in (words.shortened(w, _LINE) for w in words.printable(text).split(" ")):
        if lines and len(lines[-1]) + len(word) < _LINE:
            lines[-1] += f" {word}"
        elif word:
            lines.append(word)
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "…"]


def _add_arrow(graph: graphviz.Digraph, arrow: Arrow, boxes: Mapping[str, Box]) -> None:
    look = dict(_ARROWS[arrow.kind])
    # A gradient flows against the arrows of its forward pass, but is laid out along them.
    ends = (arrow.source, arrow.target)
    upper, lower = (boxes[key] for key in (reversed(ends) if arrow.kind == "backward" else ends))
    if arrow.kind != "read":
        if boxes[arrow.source].kind in _SPINE_KINDS:
            look["weight"] = _SPINE
        # Room for the leaves of a block above its first op, so that blocks stand in one column.
        if lower.scope and upper.scope[: len(lower.scope)] != lower.scope:
            look["minlen"] = "2"
    if arrow.kind in LOOKS:
        look["label"] = f"<{_factor_label(arrow)}>"
    elif arrow.label:
        look["label"] = f"< {escaped(words.shortened(arrow.label))} >"
    graph.edge(upper.key, lower.key, **look)


def _factor_label(arrow: Arrow) -> str:
    """Return a small box for the way back: the symbol, the rule, the number."""
    look = LOOKS[arrow.kind]
    lines = [f"<b>{escaped(words.shortened(arrow.label))}</b>"]
    lines += [escaped(line) for line in wrapped(arrow.words)]
    lines += [_small(arrow.value, "#0b5d8a")] if arrow.value else []
    lines += [_small("re-used", look.line)] if arrow.kind == "reused" else []
    inside = "<br/>".join(lines)
    return (
        '<table border="0" cellborder="0" cellspacing="4"><tr>'
        f'<td border="1" color="{look.line}" bgcolor="{look.fill}" cellpadding="3">'
        f'<font color="{_INK}">{inside}</font></td></tr></table>'
    )
