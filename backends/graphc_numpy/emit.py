"""From a canonical program to the text of a Python module that imports NumPy only.

A function of the program becomes a function ``name(state, inputs…, *, sizes…)`` that returns its
outputs and, last of all, sets the new states at once. Each op's own text stands in `table`.

A user's names reach the text as identifiers of letters, digits and underscores, as quoted
strings, or in comments of one line. The text depends on the program alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from graphc import ir
from graphc.ir import Function, Node, Program
from graphc.ops.scalar import Argument
from graphc_numpy import comments, library, standalone
from graphc_numpy.body import Body
from graphc_numpy.expression import array_text
from graphc_numpy.names import Names, comment, quoted
from graphc_numpy.table import TABLE

# What an exported module's other half calls its own; a function of such a name gets another.
_FACE = tuple(name for name in vars(standalone) if not name.startswith("_"))
BOUND = ("input", "parameter", "state")  # leaves that a function gets, and does not compute
_WRITTEN_OUT = 64  # elements of a constant; larger ones are handed in beside the source
_FREEING = 200  # statements from which on arrays are let go after their last use


@dataclass(frozen=True, slots=True)
class Entry:
    """A function of the source.

    Attributes:
        name: what it is called there.
        sizes: ``(name of a dimension, keyword)`` pairs that it takes.
    """

    name: str
    sizes: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Source:
    """A module in the making, and then what is known of it.

    Attributes:
        text: the source.
        body: what stands in it behind the imports, whoever hands in ``constants``.
        entries: the functions by their names in the program.
        constants: large arrays, which the module reads as ``constants[i]``.
        used: the runtime functions that it calls.
    """

    text: str = ""
    body: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    constants: list[npt.NDArray[np.generic]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    _lines: list[str] = field(default_factory=list)
    _names: dict[Node, str] = field(default_factory=dict)

    def constant(self, node: Node) -> str:
        """Return the module's name of a constant array."""
        if node not in self._names:
            # No identifier made from a user's name begins with an underscore.
            name = self._names[node] = f"_c{len(self._names) + 1}"
            array = node.attrs["value"]
            if array.size <= _WRITTEN_OUT:
                self._lines.append(f"{name} = {array_text(array)}")
            else:
                self._lines.append(f"{name} = constants[{len(self.constants)}]  # {node.type}")
                self.constants.append(array)
        return self._names[node]

    def finish(self, head: str, functions: Sequence[str]) -> None:
        """Put the module together."""
        parts = [*library.texts(self.used), *functions]
        self.body = "\n\n\n".join(["\n".join(self._lines), *parts] if self._lines else parts)
        top = f"{head}\n\nimport numpy as np"
        if self.constants:
            top += "\n\n# `constants` is handed in: the arrays of more than 64 elements."
        gap = "\n\n" if self._lines else "\n\n\n"
        self.text = f"{top}{gap}{self.body}\n"


def emit(program: Program) -> Source:
    """Return a program as Python source."""
    source = Source()
    names = Names((*library.NAMES, *_FACE, "constants"))
    entries = [names.fresh(f.name) for f in program.functions]
    functions = [
        _function(function, name, Names((*library.NAMES, "constants", *entries)), source)
        for function, name in zip(program.functions, entries, strict=True)
    ]
    head = (
        f"# {comment(program.name)}: written by graphc. `state` holds parameters and states by\n"
        "# name; a call exchanges arrays of it, and changes none in place."
    )
    source.finish(head, functions)
    return source


# ---------------------------------------------------------------- one function


def _function(function: Function, name: str, names: Names, source: Source) -> str:
    """Return the text of one function."""
    order = ir.topological(function.roots)
    roots: dict[Node, str | None] = {new: f"new_{s.attrs['name']}" for s, new in function.updates}
    body = Body(source, names, TABLE, order, roots | dict.fromkeys(function.outputs))
    arguments = [body.bind(node, node.attrs["name"]) for node in function.inputs]
    lines = []
    for node in order:
        if node.op.name in BOUND and node not in function.inputs:
            held = node.attrs["name"]
            lines.append(f"{body.bind(node, held)} = state[{quoted(held)}]")
    body.run()
    ends = _ends(function, body)
    freeing = len(body.lines) > _FREEING
    lines += comments.rendered(body.lines, freeing=freeing, kept=ends)
    lines = lines if lines and lines[0] else lines[1:]
    if lines and len(lines) + len(ends) > 2:
        lines.append("")
    source.entries[function.name] = Entry(name, body.sizes)
    keywords = ["*", *(keyword for _, keyword in body.sizes)] if body.sizes else []
    head = f"def {name}({', '.join(['state', *arguments, *keywords])}):"
    return "\n".join([head, *(f"    {line}" if line else "" for line in [*lines, *ends])])


def _ends(function: Function, body: Body) -> list[str]:
    """Return the statements that set the new states and return the outputs.

    Nothing that leaves the function shares memory with an input, a state, a constant, or with
    another thing that leaves it.
    """
    given: set[Node] = set()
    outputs = [_own(n, body, given) for n in function.outputs]
    lines = []
    if function.updates:
        lines.append("state.update({")
        for state, new in function.updates:
            text = _own(new, body, given)
            if new.shape == () and not text.startswith("np.array("):
                text = f"np.asarray({text})"
            lines.append(f"    {quoted(state.attrs['name'])}: {text},")
        lines.append("})")
    return [*lines, f"return ({', '.join(outputs)}{',' * (len(outputs) == 1)})"]


_MOVES = ("reshape", "transpose", "flip", "slice", "broadcast_to")
_KEEPING = ("reshape", "transpose")


def _own(node: Node, body: Body, given: set[Node]) -> str:
    """Return a value as something that nobody else holds."""
    text = body.name(node).text
    root, whole = node, True
    while root.op.name in _MOVES or _passed_on(root) is not None:
        whole = whole and (root.op.name in _KEEPING or _passed_on(root) is not None)
        root = _passed_on(root) or root.inputs[0]
    # What a loop gives may be an array that it was given.
    copied = not whole or not root.inputs or root in given or root.op.name == "result"
    given.add(root)
    return f'np.array({text}, order="C")' if copied else text


def _passed_on(node: Node) -> Node | None:
    """Return the argument that a formula returns as it is, as x -> x does."""
    tree = node.attrs["formula"].tree if node.op.name == "elementwise" else None
    return node.inputs[tree.index] if isinstance(tree, Argument) else None
