"""Expressions of Python as text, with parentheses where they are needed, and scalar primitives.

Knows formulas as trees of primitives and how each reads in NumPy; knows no node and no statement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graphc.errors import UnsupportedError
from graphc.ir import FLOATS, INTEGERS
from graphc.ops.scalar import Apply, Argument, Number, Tree

# How strongly the operators of Python bind.
COMPARE, OR, AND, SUM, PRODUCT, SIGN, ATOM = range(7)

_LONGEST = 72  # characters of an expression before its parts get names
_DEEPEST = 8  # levels of an expression; CPython's own parser gives up at about a hundred


@dataclass(frozen=True, slots=True)
class Text:
    """An expression.

    Attributes:
        text: how it reads.
        level: how strongly its outermost operator binds.
        weak: whether it is a Python number, which takes the dtype of what it stands beside.
        depth: how many levels of expressions it holds.
        view: whether it only looks at a name in another way, which costs nothing.
    """

    text: str
    level: int = ATOM
    weak: bool = False
    depth: int = 0
    view: bool = False

    def at(self, level: int) -> str:
        """Return the text for a place that takes what binds at least so strongly."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def is_name(self) -> bool:
        """Whether it is a name or number, so that repeating it repeats no work."""
        return self.depth == 0


class Writer(Protocol):
    """What a formula needs of the body that it stands in."""

    def spill(self, text: Text) -> Text:
        """Give an expression a name by a statement of its own."""
        ...

    def use(self, function: str) -> None:
        """Ask for a runtime function."""
        ...


def dtype_text(dtype: str) -> str:
    """Return a dtype as source."""
    return "np.bool_" if dtype == "bool" else f"np.{dtype}"


def literal(value: float, dtype: str) -> Text:
    """Return a number as a Python number that converts to exactly this value of a dtype."""
    if dtype == "bool":
        return Text(str(bool(value)), weak=True)
    if dtype in INTEGERS:
        return _signed(str(wrapped(value, dtype)))
    if math.isnan(value):
        return Text("np.nan", weak=True)
    if math.isinf(value):
        return _signed("np.inf" if value > 0 else "-np.inf")
    short = str(np.dtype(dtype).type(value)) if dtype in FLOATS else repr(value)
    exact = dtype in FLOATS and np.dtype(dtype).type(float(short)) == np.dtype(dtype).type(value)
    return _signed(short if exact else repr(float(value)))


def wrapped(value: float, dtype: str) -> int:
    """Return a number as an integer dtype holds it: truncated and wrapped."""
    info = np.iinfo(dtype)
    return (int(value) - int(info.min)) % (int(info.max) - int(info.min) + 1) + int(info.min)


def strong(value: Text, dtype: str) -> Text:
    """Return a Python number as a NumPy scalar of a dtype."""
    return Text(f"{dtype_text(dtype)}({value.text})", depth=1) if value.weak else value


def array_text(array: np.ndarray) -> str:
    """Return a constant array as source."""
    dtype = array.dtype.name
    if array.size == 0:
        return f"np.zeros({array.shape}, {dtype_text(dtype)})"
    rows = [literal(v, dtype).text for v in array.ravel().tolist()]
    for extent in array.shape[::-1]:
        rows = ["[" + ", ".join(rows[i : i + extent]) + "]" for i in range(0, len(rows), extent)]
    return f"np.array({rows[0]}, {dtype_text(dtype)})"


def _signed(text: str) -> Text:
    return Text(text, SIGN if text.startswith("-") else ATOM, weak=True)


# ---------------------------------------------------------------- primitives

_OPERATORS = {
    "add": ("+", SUM),
    "subtract": ("-", SUM),
    "multiply": ("*", PRODUCT),
    "divide": ("/", PRODUCT),
    "floor_divide": ("//", PRODUCT),
    "remainder": ("%", PRODUCT),
    "equal": ("==", COMPARE),
    "not_equal": ("!=", COMPARE),
    "less": ("<", COMPARE),
    "less_equal": ("<=", COMPARE),
    "logical_and": ("&", AND),
    "logical_or": ("|", OR),
}
_SIGNS = {"negative": "-", "logical_not": "~"}
_FUNCTIONS = {
    **{name: f"np.{name}" for name in ("abs", "sign", "floor", "sqrt", "exp", "expm1", "log")},
    **{name: f"np.{name}" for name in ("log1p", "tanh", "sin", "cos", "maximum", "minimum")},
    **{"pow": "np.power", "atan": "np.arctan", "where": "np.where"},
}
_RUNTIME = ("sigmoid", "softplus", "erf")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal")


def primitive(name: str, args: Sequence[Text], dtype: str, writer: Writer) -> Text:
    """Return a primitive of expressions; ``dtype`` is that of what it computes with."""
    depth = 1 + max(a.depth for a in args)
    if name in _OPERATORS:
        sign, level = _OPERATORS[name]
        left = args[0].at(level + (level == COMPARE))  # a < b < c would chain
        return Text(f"{left} {sign} {args[1].at(level + 1)}", level, depth=depth)
    if name in _SIGNS:
        return Text(_SIGNS[name] + args[0].at(SIGN), SIGN, depth=depth)
    own = name in _RUNTIME or (name == "where" and dtype in FLOATS)
    if own:
        writer.use(name)
    elif name not in _FUNCTIONS:
        raise UnsupportedError(f"the NumPy back end has no scalar primitive {name!r}")
    function = name if own else _FUNCTIONS[name]
    return Text(f"{function}({', '.join(a.text for a in args)})", depth=depth)


# ---------------------------------------------------------------- formulas


@dataclass(frozen=True, slots=True)
class Formula:
    """A tree with equal parts shared.

    Attributes:
        parts: ``(tree, positions of its arguments)``, arguments before users; the last is it.
        uses: how often each part is read.
    """

    parts: tuple[tuple[Tree, tuple[int, ...]], ...]
    uses: tuple[int, ...]

    def reads(self, argument: int) -> int:
        """Return how often an argument of the formula is read."""
        return sum(
            uses
            for (tree, _), uses in zip(self.parts, self.uses, strict=True)
            if isinstance(tree, Argument) and tree.index == argument
        )


def shared(tree: Tree) -> Formula:
    """Return a tree with each of its different parts once."""
    parts: list[tuple[Tree, tuple[int, ...]]] = []
    uses: list[int] = []
    places: dict[object, int] = {}
    seen: dict[int, int] = {}

    def visit(part: Tree) -> int:
        if id(part) not in seen:
            below = tuple(visit(a) for a in part.args) if isinstance(part, Apply) else ()
            key = (part.name, below) if isinstance(part, Apply) else (part, _kind(part))
            if key not in places:
                places[key] = len(parts)
                parts.append((part, below))
                uses.append(0)
                for k in below:
                    uses[k] += 1
            seen[id(part)] = places[key]
        return seen[id(part)]

    uses[visit(tree)] += 1
    return Formula(tuple(parts), tuple(uses))


def _kind(part: Argument | Number) -> str:
    # 0 == -0.0 and 1 == 1.0, but not in source.
    return repr(part.value) if isinstance(part, Number) else ""


def formula_text(
    made: Formula,
    arguments: Sequence[Text | None],
    dtypes: Sequence[str],
    alone: str,
    writer: Writer,
) -> Text:
    """Return a formula of expressions; parts that are read twice or grow long get names.

    ``arguments`` holds None for what the formula does not read; ``alone`` is the dtype of what is
    computed from plain numbers alone.
    """
    texts: list[Text] = []
    held: list[str | None] = []
    for place, (tree, below) in enumerate(made.parts):
        if isinstance(tree, Argument):
            argument = arguments[tree.index]
            assert argument is not None
            texts.append(argument)
            held.append(dtypes[tree.index])
        elif isinstance(tree, Number):
            texts.append(Text("", weak=True))
            held.append(None)
        else:
            operands, dtype = _operands(made, below, tree.name, texts, held, alone)
            text = primitive(tree.name, _short(operands, writer), dtype, writer)
            held.append("bool" if tree.name in _COMPARISONS else dtype)
            texts.append(writer.spill(text) if made.uses[place] > 1 else text)
    return texts[-1]


def _operands(
    made: Formula,
    below: tuple[int, ...],
    name: str,
    texts: Sequence[Text],
    held: Sequence[str | None],
    alone: str,
) -> tuple[list[Text], str]:
    """Return the operands of a primitive, its numbers written for the dtype that they take."""
    decisive = below[1:] if name == "where" else below
    dtype = next((d for d in (held[k] for k in decisive) if d is not None), alone)
    operands = []
    for k in below:
        tree = made.parts[k][0]
        taken = "bool" if name == "where" and k == below[0] and len(below) == 3 else dtype
        if isinstance(tree, Number):
            exact = name in _COMPARISONS and dtype in INTEGERS
            operands.append(literal(tree.value, "int64" if exact else taken))
        else:
            operands.append(texts[k])
    first = len(below) - len(decisive)
    if all(o.weak for o in operands[first:]):
        operands[first] = strong(operands[first], dtype)
    return operands, dtype


def _short(operands: list[Text], writer: Writer) -> list[Text]:
    """Return operands that together make a short expression."""
    while True:
        longest = max(
            range(len(operands)), key=lambda k: (operands[k].depth > 0, len(operands[k].text))
        )
        fits = sum(len(o.text) for o in operands) <= _LONGEST
        if operands[longest].is_name or (fits and all(o.depth < _DEEPEST for o in operands)):
            return operands
        operands[longest] = writer.spill(operands[longest])
