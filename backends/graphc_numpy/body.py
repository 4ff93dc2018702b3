"""The statements of one body of code in the making, and what its nodes read as.

A body asks each op's emitter for an expression; it decides whether that gets a name by a
statement, or stands inside the expression of its one reader. Knows no single op, but that a
`broadcast_to` whose reader broadcasts anyway is not written at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.ir import Node
from graphc_numpy.expression import Text, strong
from graphc_numpy.names import Names, identifier

Emitter = Callable[[Node, "Body"], Text]

_INLINE = 40  # characters of an expression that may stand inside another
_INLINE_DEPTH = 4
_REPEATED = 24  # characters of a view that may stand in several places


class Module(Protocol):
    """What a body needs of the module that it stands in."""

    used: set[str]

    def constant(self, node: Node) -> str:
        """Return the module's name of a constant array."""
        ...


@dataclass(slots=True)
class Line:
    """A statement, the node that it belongs to, and the ops whose work it does."""

    text: str
    node: Node
    ops: list[str] = field(default_factory=list)


class Body:
    """One body of code.

    Args:
        module: where runtime functions and constants are asked for.
        names: gives out the identifiers.
        emitters: an emitter for each op.
        order: the nodes, inputs before users.
        roots: the nodes whose values leave the body, and what those without a name are called.
    """

    def __init__(
        self,
        module: Module,
        names: Names,
        emitters: Mapping[str, Emitter],
        order: Sequence[Node],
        roots: Mapping[Node, str | None],
    ) -> None:
        self.module, self.lines = module, list[Line]()
        self._names, self._emitters, self._order = names, emitters, order
        self._uses = Counter(n for node in order for n in node.inputs)
        self._readers = {n: node for node in order for n in node.inputs}
        self._roots = roots
        self._texts: dict[Node, Text] = {}
        self._inside: dict[Node, list[str]] = {}  # ops of expressions that wait for their reader
        self._ops: list[str] = []
        self._checked: set[str] = set()
        self._defining: list[Node] = []  # whose emitters are at work, the inner one last
        self._sizes: dict[Dim, str] = {}
        self._keywords: dict[str, str] = {}
        self.results: dict[Node, list[str]] = {}  # the names of what nodes of several results give

    def inner(self, outputs: Sequence[Node]) -> Body:
        """Return the body of a block inside this one, such as a loop's.

        What leaves it and is read elsewhere too, in it or as another output, gets a name.
        """
        order = ir.topological(outputs)
        read = Counter([*outputs, *(n for node in order for n in node.inputs)])
        roots = {n: None for n in outputs if read[n] > 1}
        made = Body(self.module, self._names, self._emitters, order, roots)
        made._sizes, made._keywords = self._sizes, self._keywords
        return made

    @property
    def sizes(self) -> tuple[tuple[str, str], ...]:
        """The names of dimensions that the text mentions, with their identifiers."""
        return tuple(sorted(self._keywords.items()))

    def bind(self, node: Node, wanted: str) -> str:
        """Give a leaf that comes from outside an identifier, and return it."""
        name = self._names.fresh(wanted)
        self._texts[node] = Text(name)
        return name

    def alias(self, node: Node, name: str) -> None:
        """Let a leaf go by a name that there is."""
        self._texts[node] = Text(name)

    def fresh(self, word: str) -> str:
        """Return a name that is not taken yet."""
        return self._names.numbered(word)

    def write(self, *lines: str) -> None:
        """Write lines that have no value: the head of a block, and what stands in it."""
        for line in lines:
            self._statement(line, Text(""))

    def run(self) -> None:
        """Write the statements of all nodes."""
        for node in self._order:
            if node not in self._texts and node.op.name != "broadcast_to":
                self._define(node)

    # ------------------------------------------------------------ for emitters

    def text(self, node: Node) -> Text:
        """Return a node as an expression of its own dtype."""
        return strong(self.operand(node), node.dtype)

    def operand(self, node: Node) -> Text:
        """Return a node as an expression that may be a Python number, for a formula."""
        if node not in self._texts:
            self._define(node)
        self._ops += self._inside.pop(node, ())
        return self._texts[node]

    def name(self, node: Node) -> Text:
        """Return a node as a name, for a text that reads it more than once."""
        text = self.text(node)
        if not text.is_name:
            text = self._texts[node] = self._assigned(node, text)
        return text

    def repeatable(self, node: Node) -> Text:
        """Return a node as a name, a number or a view of one, whose repetition is no work."""
        text = self.operand(node)
        return text if text.is_name or text.view else self.name(node)

    def is_shared(self, node: Node) -> bool:
        """Tell whether a node has several readers."""
        return self._uses[node] > 1

    def spill(self, text: Text) -> Text:
        """Give a part of the current node's expression a name."""
        name = self._names.numbered(_word(self._defining[-1]) + "_part")
        return self._statement(f"{name} = {text.text}", Text(name))

    def check(self, claim: str, rest: str) -> None:
        """Write a statement that has no value, unless its claim stands there already."""
        if claim not in self._checked:
            self._checked.add(claim)
            self._statement(claim + rest, Text(""))

    def size(self, dim: Dim) -> str:
        """Return a size as an expression of integers."""
        if dim not in self._sizes:
            text = dims.render(dim, self._keyword, lambda n, k: f"({n} // {k})")
            self._sizes[dim] = _bare(text)
        return self._sizes[dim]

    def shape(self, shape: Shape) -> str:
        """Return a shape as a tuple."""
        sizes = [self.size(d) for d in shape]
        return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"

    def call(self, function: str, *arguments: str, **options: str) -> Text:
        """Return a call of a runtime function."""
        self.use(function)
        texts = [*arguments, *(f"{k}={v}" for k, v in options.items())]
        return Text(f"{function}({', '.join(texts)})", depth=1)

    def use(self, function: str) -> None:
        """Ask for a runtime function."""
        self.module.used.add(function)

    # ------------------------------------------------------------ statements

    def _define(self, node: Node) -> None:
        outer, self._ops = self._ops, []
        self._defining.append(node)
        text = self._emitters[node.op.name](node, self)
        if not text.is_name:
            self._ops.append(_word(node))
        if text.is_name or self._stays_inside(node, text):
            self._texts[node], self._inside[node] = text, self._ops
        else:
            self._texts[node] = self._assigned(node, text)
        self._defining.pop()
        self._ops = outer

    def _stays_inside(self, node: Node, text: Text) -> bool:
        if node.note.name is not None or node in self._roots:
            return False
        if text.view and len(text.text) <= _REPEATED:
            return True
        short = len(text.text) <= _INLINE and text.depth <= _INLINE_DEPTH
        return short and self._uses[node] == 1 and heading(node) == heading(self._readers[node])

    def _assigned(self, node: Node, text: Text) -> Text:
        step = "" if node.note.step is None else f"_t{node.note.step}"
        called = node.note.name or self._roots.get(node) or _gradient(node)
        name = self._names.fresh(called + step) if called else self._names.numbered(_word(node))
        return self._statement(f"{name} = {text.text}", Text(name), node)

    def _keyword(self, name: str) -> str:
        if name not in self._keywords:
            self._keywords[name] = self._names.fresh(name)
        return self._keywords[name]

    def _statement(self, text: str, result: Text, node: Node | None = None) -> Text:
        self.lines.append(Line(text, node or self._defining[-1], self._ops))
        self._ops = []
        return result


def heading(node: Node) -> tuple[object, ...]:
    """Return what statements have in common that stand under one comment."""
    note = node.note
    origin = None if note.origin is None else note.origin.note.path
    return (note.scope, note.where, note.step, note.origin is None, origin)


def _gradient(node: Node) -> str | None:
    """Return what the gradient of something that has a name is called."""
    origin = node.note.origin
    asked = origin is not None and origin.role == f"dL/d{origin.note.path}"
    return f"d_{origin.note.path}" if origin is not None and asked else None


def _word(node: Node) -> str:
    """Return what a node goes by: its formula's name, or its op's."""
    made = node.attrs.get("formula")
    return identifier(str(made.name).replace("'", "_prime")) if made else node.op.name


def _bare(text: str) -> str:
    """Return a text without parentheses around all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 else text
    return text
