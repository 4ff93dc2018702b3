"""Graphs of ops as mathematics on paper: fractions, indices, products of matrices.

Holds what a formula is made of, and no markup: `typeset` writes it as LaTeX and MathML. The same
formulas as one line of text stand in `formulas`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc.ir import Node
from graphc.ops import elementwise
from graphc.ops.scalar import Argument, Number, Tree
from graphc.render import formulas, naming
from graphc.render.formulas import ATOM, COMPARISON, MATRIX, POWER, PRODUCT, SUM, UNARY, Term

_INDEX = re.compile(r"([a-z]\d*)(?: ([−+]) (\d+))?")  # t, t − 1
_HANDED = re.compile(r"(∂L/∂.+) ((?:from|for) [a-z]\d* [−+] 1)", re.DOTALL)
_SYMBOL = re.compile(r"([^\W\d_])_?(\d*)")  # one letter, and a number that becomes its index
_STEP = re.compile(r"(.+)\[([^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Math:
    """A piece of a formula.

    Attributes:
        kind: "name" (one letter, slanted), "word" (upright), "number", "sign", "space", "row",
            "fraction", "power", "index" or "root".
        text: what a name, word, number or sign says.
        parts: what the others are made of.
    """

    kind: str
    text: str = ""
    parts: tuple[Math, ...] = ()


EMPTY = Math("row")


@dataclass(frozen=True, slots=True)
class Piece:
    """A formula, how tightly it holds together, and whether it is one number."""

    math: Math
    tightness: int = ATOM
    is_scalar: bool = False

    def at(self, tightness: int) -> Math:
        """Return the formula, in brackets where it holds together more loosely."""
        return self.math if self.tightness >= tightness else bracketed(self.math)


def row(*parts: Math | str) -> Math:
    """Return parts in a row; text is a sign."""
    return Math("row", parts=tuple(sign(p) if isinstance(p, str) else p for p in parts))


def sign(text: str) -> Math:
    """Return a sign of arithmetic."""
    return Math("sign", text)


def word(text: str) -> Math:
    """Return upright text, a user's too."""
    return Math("word", text)


def fraction(above: Math, below: Math) -> Math:
    """Return one formula over another."""
    return Math("fraction", parts=(above, below))


def bracketed(math: Math) -> Math:
    """Return a formula in brackets."""
    return row("(", math, ")")


def symbol(name: str) -> Math:
    """Return a name: ``s1`` as a letter with an index, ``∂L/∂s1`` as a fraction, words upright.

    What stands in brackets at its end is an index too: ``h[t − 1]``.
    """
    handed = _HANDED.fullmatch(name)
    if handed is not None:
        return Math("index", parts=(bracketed(symbol(handed[1])), word(handed[2])))
    above, is_derivative, below = name.partition("/∂")
    if name.startswith("∂") and is_derivative:
        return fraction(symbol(above), row("∂", symbol(below)))
    if name.startswith("∂") and len(name) > 1:
        return row("∂", symbol(name[1:]))
    name = unicodedata.normalize("NFC", name)
    at_step = _STEP.fullmatch(name)
    if at_step is not None:
        return Math("index", parts=(_with_brackets(symbol(at_step[1])), _index(at_step[2])))
    found = _SYMBOL.fullmatch(name)
    if found is None:
        return word(name)
    letter = Math("name", found[1])
    return Math("index", parts=(letter, Math("number", found[2]))) if found[2] else letter


def _with_brackets(math: Math) -> Math:
    return bracketed(math) if math.kind in ("index", "fraction") else math


def _index(text: str) -> Math:
    """Return the index of a step: ``t − 1`` as a difference, other text as a word."""
    found = _INDEX.fullmatch(text)
    if found is None:
        return word(text)
    letter, between, number = found.groups()
    return row(symbol(letter), between, Math("number", number)) if between else symbol(letter)


def derivative(numerator: str, denominator: str) -> Math:
    """Return ``∂numerator/∂denominator`` as a fraction."""
    above, below = (row("∂", symbol(name)) for name in (numerator, denominator))
    return fraction(above, below)


def equated(parts: Iterable[Math]) -> Math:
    """Return ``a = b = c``."""
    first, *others = parts
    return row(first, *(p for part in others for p in (sign("="), part)))


def written(
    order: Iterable[Node],
    names: Mapping[Node, str],
    opened: Container[Node] = (),
    given: Mapping[Node, Piece] | None = None,
) -> dict[Node, Math]:
    """Return what each node of an order (inputs first) computes.

    A node without a name is written out where it is used, and so are nodes of ``opened``;
    ``given`` has names that are no single symbol.
    """
    order = list(order)
    drawn = formulas.noise(order)
    known = {n: Piece(symbol(s), is_scalar=_is_scalar(n)) for n, s in names.items()}
    known |= given or {}
    found: dict[Node, Piece] = {}
    for node in order:
        args = [known.get(n) or found[n] for n in node.inputs]
        is_drawn = node in drawn and bool(node.inputs)
        found[node] = _words(formulas.noise_words(node)) if is_drawn else _piece(node, args)
        if node in opened:
            known[node] = found[node]
    return {node: piece.math for node, piece in found.items()}


def _is_scalar(node: Node) -> bool:
    while naming.is_passing(node):
        node = node.inputs[0]
    return not isinstance(node.type, tuple) and all(d == 1 for d in node.shape)


def _words(text: str) -> Piece:
    return Piece(word(text))


def _piece(node: Node, args: Sequence[Piece]) -> Piece:
    write = _WRITERS.get(node.op.name)
    if write is not None:
        return write(node, args)
    if not node.inputs:
        literal = formulas.literal_text(node)
        return _number(literal) if literal is not None else _words(formulas.leaf_text(node))
    return _as_text(node, args)


def _number(text: str) -> Piece:
    scientific = re.fullmatch(r"(-?[\d.]+)e([+-]?\d+)", text)
    if scientific is None:
        math = Math("number", text) if _is_numeric(text) else word(text)
        tightness = ATOM if re.fullmatch(r"[\w.]+|\(.*\)", text) else SUM
        return Piece(math, UNARY if text.startswith("-") else tightness, is_scalar=True)
    mantissa, exponent = scientific.groups()
    power = Math("power", parts=(Math("number", "10"), Math("number", str(int(exponent)))))
    return Piece(row(Math("number", mantissa), "·", power), PRODUCT, is_scalar=True)


def _is_numeric(text: str) -> bool:
    return re.fullmatch(r"-?[\d.]+", text) is not None


def _as_text(node: Node, args: Sequence[Piece]) -> Piece:
    """Return an op as a call: what the text form says around its arguments."""
    marks = [Term(f"\ue000{i}\ue001") for i in range(len(args))]
    text = formulas.node_term(node, marks, formulas.PRETTY).text
    parts: list[Math] = []
    for i, part in enumerate(re.split("\ue000(\\d+)\ue001", text)):
        if i % 2:
            parts.append(args[int(part)].math)
        elif part:
            parts += _said(part)
    return Piece(row(*parts))


def _said(text: str) -> list[Math]:
    return [
        sign(part) if part in "()[]," else Math("space") if part == " " else word(part)
        for part in re.split(r"([()\[\], ])", text)
        if part
    ]


def _call(name: str, args: Sequence[Piece], *options: str) -> Piece:
    inside: list[Math] = []
    for part in (*(a.math for a in args), *(word(o) for o in options if o)):
        inside += [sign(","), part] if inside else [part]
    is_scalar = all(a.is_scalar for a in args) and not options
    return Piece(row(_function(name), "(", *inside, ")"), is_scalar=is_scalar)


def _function(name: str) -> Math:
    return Math("name", "σ") if name == "sigmoid" else word(name)


def _through(node: Node, args: Sequence[Piece]) -> Piece:
    if node.op.name == "reshape" and not formulas.is_unit_reshape(node):
        return _as_text(node, args)
    return args[0]


def _transpose(node: Node, args: Sequence[Piece]) -> Piece:
    axes: tuple[int, ...] = node.attrs["axes"]
    rank = len(axes)
    if axes != (*range(rank - 2), rank - 1, rank - 2):
        return _as_text(node, args)
    return Piece(Math("power", parts=(args[0].at(ATOM), sign("⊤"))), POWER)


def _matmul(node: Node, args: Sequence[Piece]) -> Piece:
    return Piece(row(args[0].at(MATRIX), Math("space"), args[1].at(UNARY)), MATRIX)


def _sum(node: Node, args: Sequence[Piece]) -> Piece:
    axes = formulas.axes_text(node, "axis ")
    big = Math("index", parts=(sign("Σ"), word(axes))) if axes else sign("Σ")
    return Piece(row(big, args[0].at(PRODUCT)), PRODUCT, is_scalar=not axes)


def _sum_over_steps(node: Node, args: Sequence[Piece]) -> Piece:
    big = Math("index", parts=(sign("Σ"), word("t")))
    return Piece(row(big, args[0].at(PRODUCT)), PRODUCT, args[0].is_scalar)


def _reduced(node: Node, args: Sequence[Piece]) -> Piece:
    axes = formulas.axes_text(node, "axis ")
    name = Math("index", parts=(word(node.op.name), word(axes))) if axes else word(node.op.name)
    return Piece(row(name, bracketed(args[0].math)), is_scalar=not axes)


def _elementwise(node: Node, args: Sequence[Piece]) -> Piece:
    made: elementwise.Formula = node.attrs["formula"]
    shown = [
        Piece(a.math, a.tightness, a.is_scalar or _is_scalar(n))
        for a, n in zip(args, node.inputs, strict=True)
    ]
    is_known = made == elementwise.FORMULAS.get(made.name)
    if made.name in _COMPARISONS and is_known:
        return _applied(made.name, shown)
    if "'" in made.name or made in formulas.ARITHMETIC or (made.name in _SHAPED and is_known):
        return _formula(made.tree, shown)
    return _call(made.name, shown)


def _formula(tree: Tree, args: Sequence[Piece]) -> Piece:
    """Return a formula's tree with pieces for its arguments (formulas are small: this recurses)."""
    if isinstance(tree, Argument):
        return args[tree.index]
    if isinstance(tree, Number):
        return _number(formulas.number_term(tree.value).text)
    power = formulas.power_of(tree)
    if power is not None:
        base = _formula(power[0], args)
        exponent = Math("number", str(power[1]))
        math = Math("power", parts=(base.at(ATOM), exponent))
        return Piece(math, POWER, base.is_scalar)
    return _applied(tree.name, [_formula(a, args) for a in tree.args])


def _applied(name: str, args: Sequence[Piece]) -> Piece:
    write = _APPLIED.get(name)
    is_scalar = all(a.is_scalar for a in args)
    if write is not None:
        math, tightness = write(args)
        return Piece(math, tightness, is_scalar)
    if name in _COMPARISONS:
        math = row(args[0].at(SUM), _COMPARISONS[name], args[1].at(SUM))
        return Piece(math, COMPARISON, is_scalar)
    return _call(name, args)


def _added(args: Sequence[Piece]) -> tuple[Math, int]:
    a, b = args
    if b.tightness == UNARY and b.math.kind == "row" and b.math.parts[0] == sign("−"):
        return row(a.at(SUM), *b.math.parts), SUM
    return row(a.at(SUM), "+", b.at(SUM)), SUM


def _multiplied(args: Sequence[Piece]) -> tuple[Math, int]:
    one = Math("number", "1")
    kept = [a for a in args if a.math != one]
    if len(kept) < len(args):
        return (kept[0].math, kept[0].tightness) if kept else (one, ATOM)
    times = "·" if any(a.is_scalar for a in args) else "⊙"
    return row(args[0].at(PRODUCT), times, args[1].at(PRODUCT)), PRODUCT


_Applied = Callable[[Sequence[Piece]], tuple[Math, int]]
_APPLIED: dict[str, _Applied] = {
    "negative": lambda a: (row("−", a[0].at(PRODUCT)), UNARY),
    "add": _added,
    "subtract": lambda a: (row(a[0].at(SUM), "−", a[1].at(PRODUCT)), SUM),
    "multiply": _multiplied,
    "divide": lambda a: (fraction(a[0].math, a[1].math), UNARY),
    "abs": lambda a: (row("|", a[0].math, "|"), ATOM),
    "sqrt": lambda a: (Math("root", parts=(a[0].math,)), ATOM),
}
_SHAPED = ("abs", "sqrt")
_COMPARISONS = {
    "equal": "=",
    "not_equal": "≠",
    "less": "<",
    "less_equal": "≤",
    "greater": ">",
    "greater_equal": "≥",
    "logical_and": "∧",
    "logical_or": "∨",
}

_Writer = Callable[[Node, Sequence[Piece]], Piece]
_WRITERS: dict[str, _Writer] = {
    "elementwise": _elementwise,
    **{name: _through for name in ("broadcast_to", "training_only", "reshape")},
    "transpose": _transpose,
    "matmul": _matmul,
    "sum": _sum,
    "sum_t": _sum_over_steps,
    **{name: _reduced for name in ("mean", "max", "logsumexp", "argmax")},
}
