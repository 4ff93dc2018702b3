"""From a canonical program to the text of a Python module that imports NumPy only.

A function of the program becomes a function ``name(state, inputs…, *, sizes…)`` that returns its
outputs and, last of all, sets the new states at once. Each op's own text stands in `table`.

A user's names reach the text as identifiers of letters, digits and underscores, as quoted
strings, or in comments of one line. The text depends on the program alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.ir import Function, Node, Program
from graphc_numpy import comments, library
from graphc_numpy.expression import Text, array_text, strong
from graphc_numpy.names import Names, comment, identifier, quoted
from graphc_numpy.table import TABLE

BOUND = ("input", "parameter", "state")  # leaves that a function gets, and does not compute
_WRITTEN_OUT = 64  # elements of a constant; larger ones are handed in beside the source
_INLINE = 40  # characters of an expression that may stand inside another
_INLINE_DEPTH = 4
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
        entries: the functions by their names in the program.
        constants: large arrays, which the module reads as ``constants[i]``.
    """

    text: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    constants: list[npt.NDArray[np.generic]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    _lines: list[str] = field(default_factory=list)
    _names: dict[Node, str] = field(default_factory=dict)

    def constant(self, node: Node) -> str:
        """Return the module's name of a constant array."""
        if node not in self._names:
            # No other identifier begins with an underscore.
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
        parts = [head + "\n\nimport numpy as np"]
        if self.constants:
            parts[0] += "\n\n# `constants` is handed in: the arrays of more than 64 elements."
        if self._lines:
            parts[0] += "\n\n" + "\n".join(self._lines)
        parts += [*library.texts(self.used), *functions]
        self.text = "\n\n\n".join(parts) + "\n"


def emit(program: Program) -> Source:
    """Return a program as Python source."""
    source = Source()
    names = Names((*library.NAMES, "constants"))
    functions = []
    for function in program.functions:
        name = names.fresh(function.name)
        functions.append(_function(function, name, source))
    head = (
        f"# {comment(program.name)}: written by graphc. `state` holds parameters and states by\n"
        "# name; a call replaces entries of it, and no array changes in place."
    )
    source.finish(head, functions)
    return source


# ---------------------------------------------------------------- one function


def _function(function: Function, name: str, source: Source) -> str:
    """Return the text of one function."""
    order = ir.topological(function.roots)
    names = Names((*library.NAMES, "constants", *(e.name for e in source.entries.values()), name))
    body = Body(source, names, order, function.roots)
    arguments = [body.bind(node, node.attrs["name"]) for node in function.inputs]
    leaves = [n for n in order if n.op.name in ("parameter", "state")]
    reads = [f"{body.bind(n, n.attrs['name'])} = state[{quoted(n.attrs['name'])}]" for n in leaves]
    body.run(order)
    ends = _ends(function, body)
    used = body.used_sizes()
    source.entries[function.name] = Entry(name, used)
    lines = [*reads, *comments.rendered(body.lines, freeing=len(body.lines) > _FREEING), *ends]
    if len(lines) > len(ends) and ends:
        lines.insert(len(lines) - len(ends), "")
    keywords = ["*", *(k for _, k in used)] if used else []
    head = f"def {name}({', '.join(['state', *arguments, *keywords])}):"
    title = f'    """{function.name}'
    del title
    return "\n".join([head, *(f"    {line}" if line else "" for line in lines)])


def _ends(function: Function, body: Body) -> list[str]:
    """Return the statements that set the new states and return the outputs.

    Nothing that leaves the function shares memory with an input, a state, a constant or with
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
    while root.op.name in _MOVES or _passes_on(root):
        whole = whole and root.op.name in _KEEPING
        root = root.inputs[0]
    copied = not whole or not root.inputs or root in given
    given.add(root)
    return f'np.array({text}, order="C")' if copied else text


def _passes_on(node: Node) -> bool:
    """Tell whether a node is a formula that only returns an argument, as x -> x does."""
    return node.op.name == "elementwise" and not hasattr(node.attrs["formula"].tree, "args")
