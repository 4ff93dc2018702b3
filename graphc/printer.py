"""The canonical text of a program, and its hash.

The text is complete: equal texts are equal programs. Comments, which hold notes, are not part of
it, and the hash leaves them out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import sympy

from graphc import dims, ir
from graphc.ir import Graph, Node, Program

_SHOWN = 16  # elements of a constant that are written out; larger ones by digest


def text(program: Program, *, notes: bool = False) -> str:
    """Return a program as text, one node a line, each function in topological order.

    With ``notes``, comments tell each node's name and the user's line.
    """
    writer = _Writer(notes)
    lines = [f"program {_quoted(program.name)}"]
    lines += [writer.line(state) for state in program.states]
    for function in program.functions:
        inputs = "".join(f" {_quoted(n.attrs['name'])}" for n in function.inputs)
        form = "training" if function.training else "test"
        lines.append(f"function {_quoted(function.name)} ({form} form):{inputs}")
        lines += writer.body((*function.inputs, *function.roots))
        lines += [f"  update {writer.ref(s)} = {writer.ref(n)}" for s, n in function.updates]
        results = ", ".join(writer.ref(n) for n in function.outputs)
        lines.append(f"  return {results} as {_value(function.structure, writer)}")
    return "\n".join(lines) + "\n"


def graph_text(*outputs: Node, notes: bool = False) -> str:
    """Return what some outputs reach as text."""
    writer = _Writer(notes)
    results = ", ".join
    lines = writer.body(outputs)
    return "\n".join([*lines, "  return " + results(writer.ref(n) for n in outputs)]) + "\n"


def digest(program: Program) -> str:
    """Return the SHA-256 of the program's canonical text, without notes."""
    return hashlib.sha256(text(program).encode()).hexdigest()


def formula_text(node: Node) -> str:
    """Return the name that a node goes by: its formula's for an elementwise one, else its op's."""
    formula = node.attrs.get("formula")
    return str(formula.name) if formula is not None else node.op.name


class _Writer:
    """Numbers nodes and streams in the order in which they are met."""

    def __init__(self, notes: bool) -> None:
        self.notes = notes
        self.numbers: dict[Node, int] = {}
        self.streams: dict[object, int] = {}

    def ref(self, node: Node) -> str:
        return f"%{self.numbers[node]}"

    def body(self, roots: Iterable[Node], indent: str = "  ") -> list[str]:
        lines = []
        for node in ir.topological(roots):
            if node not in self.numbers:
                lines.append(indent + self.line(node))
        return lines

    def line(self, node: Node) -> str:
        number = self.numbers.setdefault(node, len(self.numbers))
        inputs = ", ".join(self.ref(n) for n in node.inputs)
        attrs = "; ".join(f"{k}={_value(v, self)}" for k, v in sorted(node.attrs.items()))
        arguments = f"{inputs}; {attrs}" if inputs and attrs else inputs + attrs
        line = f"%{number} = {node.op.name}({arguments}) : {_type(node)}"
        return line + self._comment(node)

    def _comment(self, node: Node) -> str:
        parts = [p for p in (node.note.path, node.note.where) if p]
        if node.note.origin is not None:
            parts.insert(0, node.note.origin.role)
        if not self.notes or not parts:
            return ""
        return "  # " + " ".join(_quoted(p) for p in parts)


def _type(node: Node) -> str:
    if isinstance(node.type, tuple):
        return "(" + ", ".join(map(str, node.type)) + ")"
    return str(node.type)


def _quoted(name: str) -> str:
    """Return a name as it is where it is plain, else as a JSON string on one line."""
    plain = name.isascii() and all(c.isalnum() or c in "._:/" for c in name) and name
    return name if plain else json.dumps(name)


def _value(value: Any, writer: _Writer) -> str:
    for kinds, write in _WRITERS:
        if isinstance(value, kinds):
            return write(value, writer)
    if hasattr(value, "text"):
        order = f"({', '.join(map(str, value.arguments))})" if hasattr(value, "arguments") else ""
        return f"{type(value).__name__.lower()} {_quoted(value.name)}{order} {value.text}"
    if type(value).__name__ == "Stream":
        return f"stream {writer.streams.setdefault(value, len(writer.streams))}"
    return repr(value)


def _array(value: Any, writer: _Writer) -> str:
    if value.size > _SHOWN:
        held = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"{value.dtype.name}{list(value.shape)} sha256 {held}"
    numbers = [v.hex() if isinstance(v, float) else str(v) for v in value.ravel().tolist()]
    return f"{value.dtype.name}{list(value.shape)} {{{', '.join(numbers)}}}"


def _graph(value: Graph, writer: _Writer) -> str:
    inner = _Writer(notes=False)
    inner.streams = writer.streams
    lines = inner.body((*value.inputs, *value.outputs), indent="    ")
    ends = ", ".join(inner.ref(n) for n in value.outputs)
    return "{\n" + "\n".join(lines) + f"\n    yield {ends}\n  }}"


def _pair(key: object, value: Any, writer: _Writer) -> str:
    # Gradients come by parameter: what is no plain value goes by its name.
    text = json.dumps(key, default=lambda k: str(getattr(k, "name", None) or k))
    return f"{text}: {_value(value, writer)}"


_WRITERS: tuple[tuple[Any, Callable[[Any, _Writer], str]], ...] = (
    ((bool, int), lambda v, w: str(v)),
    (float, lambda v, w: v.hex()),
    (str, lambda v, w: json.dumps(v)),
    (sympy.Expr, lambda v, w: dims.text(v)),
    (np.ndarray, _array),
    (tuple, lambda v, w: "(" + ", ".join(_value(x, w) for x in v) + ")"),
    (list, lambda v, w: "[" + ", ".join(_value(x, w) for x in v) + "]"),
    (dict, lambda v, w: "{" + ", ".join(_pair(k, x, w) for k, x in v.items()) + "}"),
    (Graph, _graph),
)
