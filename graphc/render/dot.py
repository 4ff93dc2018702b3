"""A sketch as DOT: shapes, colours, labels, clusters.

The one file that knows DOT. Every text of a user is escaped here: in labels,
which are HTML-like, and in tips, which are quoted strings.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import graphviz

from graphc.render import words
from graphc.render.looks import ARROWS, FONT, GREY, INK, LOOKS, LOOP, NUMBERS, TINTS, Look
from graphc.render.sketch import SEPARATOR, Arrow, Block, Box, Sketch

_DEEPEST = 5  # clusters inside one another; deeper scopes share the innermost
_LINE = 38  # characters of a line of words
_LINES = 6
_NUMBERS = 80  # characters of a line of small print
_SPINE = "8"  # how much straighter arrows from op to op are than those from leaves
_COLUMN = "20"  # the same, inside one step of an unrolled loop
_SPINE_KINDS = ("op", "group", "gradient", "carry")
_NOTES = {
    "read": "dashed: kept for the backward pass",
    "loop": "dashed: to the next step",
    "border": "dashed: no gradient passes",
}


@dataclass(slots=True)
class _Block:
    """The boxes directly in a scope, and the scopes inside it."""

    boxes: list[Box] = field(default_factory=list)
    inner: dict[str | Block, _Block] = field(default_factory=dict)


def text(sketch: Sketch) -> str:
    """Return the DOT of a sketch; equal sketches give equal text."""
    graph = graphviz.Digraph("graphc")
    graph.attr("graph", **_graph_look(sketch))
    graph.attr("node", fontname=FONT, fontsize="11", fontcolor=INK, penwidth="1.1")
    graph.attr("node", margin="0.12,0.06", height="0.3", width="0.3")
    graph.attr("edge", fontname=FONT, fontsize="9", fontcolor=GREY, arrowsize="0.65")
    _add_block(graph, _blocks(sketch), "")
    _add_pairs(graph, sketch)
    _add_rows(graph, sketch)
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
        "fontname": FONT,
        "fontsize": "13",
        "fontcolor": INK,
        "labelloc": "t",
        "nodesep": "0.28",
        "ranksep": "0.34",
        "pad": "0.2",
        "label": _caption(sketch),
    }


def _caption(sketch: Sketch) -> str:
    """Return the title over a legend of the kinds that occur."""
    kinds = {_kind(box) for box in sketch.boxes} | {arrow.kind for arrow in sketch.arrows}
    tinted = {_kind(box) for box in sketch.boxes if box.tint is not None}
    cells = [_cell(kind, look, kind in tinted) for kind, look in LOOKS.items() if kind in kinds]
    cells += [
        f'<td border="0"><font point-size="9" color="{ARROWS[kind]["color"]}">{note}</font></td>'
        for kind, note in _NOTES.items()
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


def _cell(kind: str, look: Look, is_tinted: bool) -> str:
    word = f"{look.word}, coloured as what it is of" if is_tinted and kind == "gradient" else ""
    fill = "#ffffff" if is_tinted else look.fill
    return (
        f'<td border="1" color="{look.line}" bgcolor="{fill}">'
        f'<font point-size="9">{word or look.word}</font></td>'
    )


def _blocks(sketch: Sketch) -> _Block:
    root = _Block()
    for box in sketch.boxes:
        block = root
        for word in itertools.takewhile(_is_drawn, box.scope[:_DEEPEST]):
            block = block.inner.setdefault(word, _Block())
        block.boxes.append(box)
    return root


def _is_drawn(word: str | Block) -> bool:
    return isinstance(word, str) or word.form != "hidden"


def _add_block(graph: graphviz.Digraph, block: _Block, path: str) -> None:
    for box in block.boxes:
        _add_box(graph, box)
    for number, (word, inner) in enumerate(block.inner.items()):
        name = f"{path}{number}_"
        with graph.subgraph(name=f"cluster_{name}") as cluster:
            cluster.attr(**_cluster_look(word, path.count("_")))
            _add_block(cluster, inner, name)
            if isinstance(word, Block) and word.form == "titled":
                _add_title(cluster, word, name, inner.boxes)


def _add_title(cluster: graphviz.Digraph, word: Block, name: str, boxes: list[Box]) -> None:
    """Add what a loop is called as a node beside its carries: arrows avoid nodes, not labels."""
    key = f"title_{name}"
    with cluster.subgraph() as row:
        row.attr(rank="same")
        row.node(key, **_title_look(word.title, word.words))
        ends = [box.key for box in boxes if box.is_entry]
        for end in ends:
            row.node(end)
        if ends:
            row.edge(key, ends[0], style="invis")
    if boxes and not ends:
        cluster.edge(key, boxes[0].key, style="invis")


def _title_look(title: str, more: str) -> dict[str, str]:
    lines = [f"<b>{escaped(words.shortened(title))}</b>"]
    lines += [_small(line, LOOP) for line in more.split(SEPARATOR)] if more else []
    end = '<br align="left"/>' if len(lines) > 1 else ""
    label = "".join(line + end for line in lines)
    return {"label": f"<{label}>", "shape": "plain", "fontcolor": LOOP, "fontsize": "10"}


def _cluster_look(word: str | Block, depth: int) -> dict[str, str]:
    fill = "#f7f9fb" if depth % 2 == 0 else "#eef2f6"
    look = {"style": "rounded,filled", "fillcolor": fill, "fontsize": "10", "margin": "10"}
    if isinstance(word, str):
        label = escaped(words.shortened(word))
        return look | {
            "label": f"<{label}>",
            "color": "#b8c2cc",
            "fontcolor": GREY,
            "labeljust": "r",
        }
    return look | {
        "label": "",  # its title is a node, see `_add_title`
        "tooltip": _quoted(str(word)),
        "color": LOOP,
        "penwidth": "1.4",
        "margin": "40",  # labels of arrows back stand out of the column of boxes
    }


def _quoted(text: str) -> str:
    return str(graphviz.escape(words.shortened(text, 400)))


def _add_pairs(graph: graphviz.Digraph, sketch: Sketch) -> None:
    for box in sketch.boxes:
        if box.partner:
            with graph.subgraph() as row:
                row.attr(rank="same")
                row.edge(box.partner, box.key, style="invis")


def _add_rows(graph: graphviz.Digraph, sketch: Sketch) -> None:
    for keys in sketch.rows:
        with graph.subgraph() as row:
            row.attr(rank="same")
            for left, right in itertools.pairwise(keys):
                row.edge(left, right, style="invis")
    for upper, lower in sketch.columns:
        graph.edge(upper, lower, style="invis", weight=_COLUMN)


def _add_box(graph: graphviz.Digraph, box: Box) -> None:
    if box.kind == "title":
        fill = {} if box.tint is None else {"style": "filled", "color": _fill(box, "")}
        graph.node(box.key, **_title_look(box.title, box.words), **fill)
        return
    look = LOOKS[_kind(box)]
    is_sign = box.kind == "op" and box.words in ("+", "−", "×", "÷") and not box.title
    attributes = {
        "shape": look.shape,
        "style": look.style,
        "fillcolor": _fill(box, look.fill),
        "color": look.line,
    }
    if is_sign:
        attributes |= {"shape": "box", "margin": "0.08,0.02"}
    if box.is_output:
        attributes |= {"peripheries": "2", "penwidth": "1.4"}
    if box.tip:
        attributes["tooltip"] = _quoted(box.tip)
    graph.node(box.key, label=f"<{_label(box)}>", **attributes)


def _fill(box: Box, usual: str) -> str:
    return usual if box.tint is None else TINTS[box.tint % len(TINTS)]


def _kind(box: Box) -> str:
    return "output" if box.is_output and box.kind == "op" else box.kind


def _label(box: Box) -> str:
    lines = []
    if box.title:
        title = escaped(words.shortened(box.title))
        lines.append(f"<b>{title}</b>" if box.is_named else f"<i>{title}</i>")
    lines += [escaped(line) for line in wrapped(box.words)]
    if box.shape:
        lines.append(_small(box.shape, GREY))
    if box.value:
        lines.append(_small(box.value, NUMBERS))
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
    look = dict(ARROWS[arrow.kind])
    # A gradient flows against the arrows of its forward pass, but is laid out along them.
    ends = (arrow.source, arrow.target)
    is_upward = arrow.kind == "backward" or arrow.rises
    if arrow.kind == "loop":
        is_upward = boxes[arrow.target].kind == "carry"
    if is_upward:
        look["dir"] = "back"
    upper, lower = (boxes[key] for key in (reversed(ends) if is_upward else ends))
    if "constraint" not in look:
        look |= _weight(arrow, boxes)
        # Room for the leaves of a block above its first op, so that blocks stand in one column.
        if lower.scope and upper.scope[: len(lower.scope)] != lower.scope:
            look["minlen"] = "2"
    if arrow.kind in LOOKS:
        look["label"] = f"<{_factor_label(arrow)}>"
    elif arrow.label:
        look["label"] = f"< {escaped(words.shortened(arrow.label))} >"
    graph.edge(upper.key, lower.key, **look)


def _weight(arrow: Arrow, boxes: Mapping[str, Box]) -> dict[str, str]:
    """Return how straight an arrow is: inside a step most, from one step to the next least."""
    source, target = boxes[arrow.source], boxes[arrow.target]
    if arrow.kind in ("loop", "time", "border"):
        return {"weight": "0"}
    if arrow.kind == "forward" and _is_in_step(source) != _is_in_step(target):
        return {"weight": "1"}
    if arrow.kind == "forward" and _is_in_step(target):
        return {"weight": _COLUMN}
    return {"weight": _SPINE} if source.kind in _SPINE_KINDS else {}


def _is_in_step(box: Box) -> bool:
    return any(isinstance(word, Block) and word.form == "hidden" for word in box.scope)


def _factor_label(arrow: Arrow) -> str:
    """Return a small box for the way back: the symbol, the rule, the number."""
    look = LOOKS[arrow.kind]
    lines = [f"<b>{escaped(words.shortened(arrow.label))}</b>"]
    lines += [escaped(line) for line in wrapped(arrow.words)]
    lines += [_small(arrow.value, NUMBERS)] if arrow.value else []
    lines += [_small("re-used", look.line)] if arrow.kind == "reused" else []
    inside = "<br/>".join(lines)
    return (
        '<table border="0" cellborder="0" cellspacing="4"><tr>'
        f'<td border="1" color="{look.line}" bgcolor="{look.fill}" cellpadding="3">'
        f'<font color="{INK}">{inside}</font></td></tr></table>'
    )
