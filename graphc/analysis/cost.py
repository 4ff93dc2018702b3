"""What a graph costs: parameters, multiply-adds and bytes of activations, layer by layer.

Counts are exact expressions in the open dimensions. It draws nothing and runs nothing.

A layer is a scope that owns parameters; all that stands in it is one row. What stands elsewhere
makes a row for each name, and one for each stretch of unnamed ops in one scope.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from graphc import dims, ir
from graphc.dims import Dim
from graphc.ir import Node, Program
from graphc.ops import leaf, scan
from graphc.render import files, formulas, naming, words

_COLUMNS = ("layer", "ops", "output", "parameters", "multiply-adds", "bytes")
_OPS = 40  # characters of a row's ops


@dataclass(frozen=True, slots=True)
class Row:
    """One layer, one named tensor, or a stretch of ops without a name.

    Attributes:
        layer: its name with its scope; empty for ops without either.
        ops: what it computes, in words.
        output: the shape of its last result, as text.
        parameters: the elements of the parameters that it brings; shared ones count once.
        multiply_adds: multiplications with an addition, of one run forward.
        activation_bytes: bytes of the results of its ops; spreads and reshapes take none.
    """

    layer: str
    ops: str
    output: str
    parameters: Dim
    multiply_adds: Dim
    activation_bytes: Dim


@dataclass(frozen=True, slots=True)
class Summary:
    """A table of layers as a value: it prints as text, and saves."""

    rows: tuple[Row, ...]
    calls: Mapping[str, Dim]

    @property
    def parameters(self) -> Dim:
        """The number of elements of all parameters."""
        return dims.add(*(row.parameters for row in self.rows))

    @property
    def multiply_adds(self) -> Dim:
        """The multiply-adds of one run forward."""
        return dims.add(*(row.multiply_adds for row in self.rows))

    @property
    def activation_bytes(self) -> Dim:
        """The bytes of all results of one run forward, if all are kept."""
        return dims.add(*(row.activation_bytes for row in self.rows))

    def as_dict(self) -> dict[str, Any]:
        """Return the table as data: numbers, or text where dimensions are open."""
        return {
            "rows": [_row_data(row) for row in self.rows],
            "total": {
                "parameters": _data(self.parameters),
                "multiply_adds": _data(self.multiply_adds),
                "activation_bytes": _data(self.activation_bytes),
            },
            "calls": {name: _data(cost) for name, cost in self.calls.items()},
        }

    def __str__(self) -> str:
        return _text(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the form that the suffix names: .txt .json; missing folders are made.

        Errors: RenderError for another suffix; OSError
        """
        forms = {
            ".txt": lambda: f"{self}\n",
            ".json": lambda: json.dumps(self.as_dict(), indent=2) + "\n",
        }
        files.save(path, forms)


def summary(what: Program | Sequence[Node]) -> Summary:
    """Return the table of layers of a program, or of what some outputs compute.

    Of a program the rows show the forward pass that its functions share, without what is derived;
    ``calls`` has the multiply-adds of a whole call of each function.
    """
    if not isinstance(what, Program):
        return Summary(_rows(_forward(what)), {})
    outputs = [n for f in what.functions for n in f.outputs]
    calls = {f.name: cost(f.roots) for f in what.functions}
    return Summary(_rows(_forward(outputs)), calls)


def parameters(roots: Iterable[Node]) -> Dim:
    """Return the number of elements of the parameters that some nodes depend on."""
    return _total(n.tensor.size for n in ir.topological(roots) if n.op is leaf.PARAMETER)


def cost(roots: Iterable[Node]) -> Dim:
    """Return the multiply-adds of all that some nodes compute."""
    return _total(n.op.cost(n) for n in ir.topological(roots))


def activation_bytes(node: Node) -> Dim:
    """Return the bytes of a node's result; none for leaves, and for what only spreads or reshapes.

    Units: bytes
    """
    if not node.inputs or naming.is_passing(node) or node.op.name in ("reshape", "result"):
        return 0
    types = node.types
    return _total(dims.multiply(t.size, np.dtype(t.dtype).itemsize) for t in types)


def _forward(outputs: Iterable[Node]) -> list[Node]:
    """Return what outputs reach, without what is derived."""
    return [n for n in ir.topological(outputs) if n.note.origin is None]


@dataclass(frozen=True, slots=True)
class _Bin:
    """What a row gathers: a layer (number 0), or the ``number``-th name or stretch of ops."""

    label: str
    number: int = 0


def _rows(order: Sequence[Node]) -> tuple[Row, ...]:
    layers = {n.note.scope for n in order if n.op is leaf.PARAMETER and n.note.scope}
    members = _members(order, layers)
    bins = {n: held for held, nodes in members.items() for n in nodes}
    owned: dict[_Bin | None, list[Node]] = {}
    users = ir.users(order)
    for node in order:
        if node.op is leaf.PARAMETER:
            own = _layer(node.note.scope, layers)
            held = own if own in members else _first_bin(node, users, bins)
            owned.setdefault(held, []).append(node)
    rows = [_row(held.label, nodes, owned.get(held, ())) for held, nodes in members.items()]
    unread = owned.get(None)
    return (*rows, _row("", (), unread)) if unread else tuple(rows)


def _members(order: Sequence[Node], layers: set[tuple[str, ...]]) -> dict[_Bin, list[Node]]:
    """Return what each row gathers, in the order of first results."""
    names = naming.own_names(order)
    drawn = formulas.noise(order)
    members: dict[_Bin, list[Node]] = {}
    last: tuple[_Bin, tuple[str, ...]] | None = None
    for node in order:
        if not node.inputs or naming.is_passing(node) or node in drawn:
            continue
        scope = node.note.scope
        held = _layer(scope, layers)
        if held is not None or node in names:
            held, last = held or _Bin(names[node], len(members) + 1), None
        elif last is not None and last[1] == scope:
            held = last[0]
        else:
            held = _Bin(".".join(scope), len(members) + 1)
            last = (held, scope)
        members.setdefault(held, []).append(node)
    return members


def _layer(scope: tuple[str, ...], layers: set[tuple[str, ...]]) -> _Bin | None:
    """Return the innermost layer that a scope lies in."""
    for length in range(len(scope), 0, -1):
        if scope[:length] in layers:
            return _Bin(".".join(scope[:length]))
    return None


def _first_bin(
    node: Node, users: Mapping[Node, Sequence[Node]], bins: Mapping[Node, _Bin]
) -> _Bin | None:
    """Return the row that reads a parameter first, through plumbing."""
    waiting, seen = [node], {node}
    for current in waiting:
        for user in users[current]:
            if user in bins:
                return bins[user]
            if user not in seen:
                seen.add(user)
                waiting.append(user)
    return None


def _row(label: str, nodes: Sequence[Node], owned: Sequence[Node]) -> Row:
    said = _said(n for n in nodes if n.op is not scan.RESULT)
    return Row(
        layer=label,
        ops=words.shortened(said, _OPS),
        output=words.type_words(nodes[-1], "float32") if nodes else "",
        parameters=_total(n.tensor.size for n in owned),
        multiply_adds=_total(n.op.cost(n) for n in nodes),
        activation_bytes=_total(activation_bytes(n) for n in nodes),
    )


def _said(nodes: Iterable[Node]) -> str:
    return ", ".join(text for text, _ in groupby(map(_word, nodes)))


def _word(node: Node) -> str:
    if node.op is scan.SCAN:
        order = ir.topological(node.attrs["body"].outputs)
        inner = (n for n in order if n.inputs and not naming.is_passing(n))
        return f"loop over {dims.text(node.attrs['length'])}: {_said(inner)}"
    made = node.attrs.get("formula")
    return made.name if made is not None else words.op_words(node)


def _total(parts: Iterable[Dim]) -> Dim:
    """Return a sum; equal parts are added up as one product, since graphs repeat themselves."""
    counts = Counter(parts)
    return dims.add(0, *(dims.multiply(count, part) for part, count in counts.items()))


def _data(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else dims.text(dim)


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "layer": row.layer,
        "ops": row.ops,
        "output": row.output,
        "parameters": _data(row.parameters),
        "multiply_adds": _data(row.multiply_adds),
        "activation_bytes": _data(row.activation_bytes),
    }


def _text(table: Summary) -> str:
    body = [_cells(row) for row in table.rows]
    total = _cells(
        Row("total", "", "", table.parameters, table.multiply_adds, table.activation_bytes)
    )
    widths = [max(len(r[i]) for r in (_COLUMNS, *body, total)) for i in range(len(_COLUMNS))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(_COLUMNS, widths), rule, *(_line(r, widths) for r in body), rule]
    lines.append(_line(total, widths))
    lines += [f"{name}: {_count(cost)} multiply-adds a call" for name, cost in table.calls.items()]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.parameters, row.multiply_adds, row.activation_bytes)
    return (words.shortened(row.layer), row.ops, row.output, *map(_count, counts))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [c.ljust(w) for c, w in zip(cells[:3], widths[:3], strict=True)]
    right = [c.rjust(w) for c, w in zip(cells[3:], widths[3:], strict=True)]
    return "  ".join((*left, *right)).rstrip()


def _count(dim: Dim) -> str:
    """Return a count with its thousands set apart: ``117,600*N``."""
    text = re.sub(r"(?<![\w.])\d{4,}", lambda m: f"{int(m.group()):,}", dims.text(dim))
    return text if text != "0" else ""
