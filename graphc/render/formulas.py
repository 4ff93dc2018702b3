"""Formulas and graphs of ops as expressions in one line, ``x @ W1 + b1``.

Knows how mathematics is written down in text, and nothing of pictures or files. `Signs` says with
which signs: `PLAIN` as in Python, `PRETTY` as on paper.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graphc import dims
from graphc.ir import Node
from graphc.ops import conv, elementwise, leaf, linear, matmul, phase, pool, random, reduce, scalar
from graphc.ops.scalar import Apply, Argument, Number, Tree

# How tightly a piece of text holds together: what stands under a tighter sign gets brackets.
COMPARISON, SUM, PRODUCT, MATRIX, UNARY, POWER, ATOM = range(7)


@dataclass(frozen=True, slots=True)
class Term:
    """Text, and how tightly it holds together."""

    text: str
    tightness: int = ATOM

    def at(self, tightness: int) -> str:
        """Return the text, in brackets where it holds together more loosely."""
        return self.text if self.tightness >= tightness else f"({self.text})"


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of arithmetic."""

    minus: str
    times: str
    over: str
    square: str
    cube: str
    transposed: str


PLAIN = Signs("-", " * ", " / ", "**2", "**3", ".T")
PRETTY = Signs("−", " · ", " / ", "²", "³", "ᵀ")

_COMPARISONS = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "logical_and": "and",
    "logical_or": "or",
}


def formula_term(tree: Tree, arguments: Sequence[Term], signs: Signs) -> Term:
    """Return a formula's tree with terms for its arguments (formulas are small: this recurses)."""
    if isinstance(tree, Argument):
        return arguments[tree.index]
    if isinstance(tree, Number):
        return number_term(tree.value)
    power = power_of(tree)
    if power is not None:
        base, exponent = power
        sign = signs.square if exponent == 2 else signs.cube
        return Term(formula_term(base, arguments, signs).at(ATOM) + sign, POWER)
    return _applied(tree.name, [formula_term(a, arguments, signs) for a in tree.args], signs)


def number_term(value: float | int) -> Term:
    """Return a number in at most six digits."""
    text = str(value) if isinstance(value, int) else f"{value:.6g}"
    return Term(text, UNARY if text.startswith("-") else ATOM)


def power_of(tree: Apply) -> tuple[Tree, int] | None:
    """Return what a product of equal factors is a power of, and which."""
    if tree.name != "multiply":
        return None
    left, right = tree.args
    if left == right:
        return (left, 2)
    square = power_of(left) if isinstance(left, Apply) else None
    return (right, 3) if square == (right, 2) else None


def _applied(name: str, args: list[Term], signs: Signs) -> Term:
    if name == "negative":
        return Term(signs.minus + args[0].at(PRODUCT), UNARY)
    if name == "add":
        return _sum(args[0], args[1], signs)
    if name == "subtract":
        return Term(f"{args[0].at(SUM)} {signs.minus} {args[1].at(PRODUCT)}", SUM)
    if name == "multiply" and "1" in (args[0].text, args[1].text):
        return args[args[0].text == "1"]
    if name == "multiply":
        return Term(args[0].at(PRODUCT) + signs.times + args[1].at(PRODUCT), PRODUCT)
    if name == "divide":
        return Term(args[0].at(PRODUCT) + signs.over + args[1].at(UNARY), PRODUCT)
    if name in _COMPARISONS:
        return Term(f"{args[0].at(SUM)} {_COMPARISONS[name]} {args[1].at(SUM)}", COMPARISON)
    return called(name, args)


def _sum(a: Term, b: Term, signs: Signs) -> Term:
    second = b.at(SUM)
    if b.tightness in (UNARY, SUM) and second.startswith(signs.minus):
        return Term(f"{a.at(SUM)} {signs.minus} {second.removeprefix(signs.minus)}", SUM)
    return Term(f"{a.at(SUM)} + {second}", SUM)


def called(name: str, args: Iterable[Term], *options: str) -> Term:
    """Return ``name(args, options)``."""
    return Term(f"{name}({', '.join([*(a.text for a in args), *(o for o in options if o)])})")


def partial_text(made: elementwise.Formula, i: int, letters: Sequence[str]) -> str | None:
    """Return ``dL/dy`` times a formula's derivative by argument i; None if no gradient passes."""
    partial = made.partial(i)
    if partial == 0:
        return None
    if partial == 1:
        return "dL/dy"
    tree = scalar.tree_of(partial, (*made.arguments, elementwise.RESULT))
    if partial == -1:
        return "-dL/dy"
    term = formula_term(tree, [Term(t) for t in (*letters, "y")], PLAIN)
    return f"dL/dy * {term.at(UNARY)}"


def elementwise_term(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    """Return an elementwise node: arithmetic and derivatives in signs, functions by name."""
    made: elementwise.Formula = node.attrs["formula"]
    if made.name in _COMPARISONS and made == elementwise.FORMULAS[made.name]:
        return _applied(made.name, list(args), signs)
    if "'" in made.name or made in ARITHMETIC:
        return formula_term(made.tree, args, signs)
    return called(made.name, args)


ARITHMETIC = (
    *(elementwise.ADD, elementwise.SUBTRACT, elementwise.MULTIPLY, elementwise.DIVIDE),
    *(elementwise.NEGATIVE, elementwise.SQUARE, elementwise.RECIPROCAL),
)


def written(
    order: Iterable[Node],
    names: Mapping[Node, Term],
    signs: Signs,
    *,
    opened: Container[Node] = (),
    longest: int = 0,
) -> dict[Node, Term]:
    """Return what each node of an order (inputs first) computes.

    A node without a name is written out where it is used, so callers name what is long; so are
    nodes of ``opened`` whose text has no more than ``longest`` characters.
    """
    order, known = list(order), dict(names)
    drawn = noise(order)
    found: dict[Node, Term] = {}
    for node in order:
        args = [known.get(n) or found[n] for n in node.inputs]
        is_drawn = node in drawn and bool(node.inputs)
        found[node] = Term(noise_words(node)) if is_drawn else node_term(node, args, signs)
        if node in opened and len(found[node].text) <= longest:
            known[node] = found[node]
    return found


def noise(order: Sequence[Node]) -> dict[Node, bool]:
    """Return the nodes that only random draws and numbers lead to, and whether they are used.

    Used are those that others read; the rest is the inside of a draw, the key among it.
    """
    found: dict[Node, bool] = {}
    for node in order:
        if node is random.KEY:
            found[node] = False
            continue
        others = [n for n in node.inputs if literal_text(n) is None and n not in found]
        others = [n for n in others if not (n.op is linear.BROADCAST_TO and _is_number(n))]
        if not others and any(n in found for n in node.inputs):
            found[node] = False
            continue
        for child in node.inputs:
            if child in found and child.inputs:
                found[child] = True
    return found


def noise_words(node: Node) -> str:
    """Return what a drawn tensor is called."""
    return "random mask" if node.dtype == "bool" else "random numbers"


def _is_number(node: Node) -> bool:
    return literal_text(node.inputs[0]) is not None


def node_term(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    """Return one node in terms of its inputs."""
    write = _WRITERS.get(node.op.name)
    if write is not None:
        return write(node, args, signs)
    if not node.inputs:
        return Term(leaf_text(node))
    options = (f"{k}={_plain(v)}" for k, v in sorted(node.attrs.items()) if _is_plain(v))
    return called(node.op.name, args, *options)


def leaf_text(node: Node) -> str:
    """Return a leaf: its name, its number, its range."""
    literal = literal_text(node)
    if literal is not None:
        return literal
    if node.op is leaf.IOTA:
        return f"range({dims.text(node.attrs['length'])})"
    return node.label


def literal_text(node: Node) -> str | None:
    """Return a scalar constant or a size as text; None for other nodes."""
    if node.op is leaf.SIZE:
        size = dims.text(node.attrs["dim"])
        return size if size.isidentifier() else f"({size})"
    if node.op is leaf.CONSTANT and node.attrs["value"].size == 1:
        return number_term(node.attrs["value"].item()).text
    return None


def is_unit_reshape(node: Node) -> bool:
    """Tell whether a reshape only adds or drops axes of length 1."""
    if node.op is not linear.RESHAPE:
        return False
    before = [d for d in node.inputs[0].shape if d != 1]
    return before == [d for d in node.shape if d != 1]


def axes_text(node: Node, word: str = "axis=") -> str:
    """Return the axes of a reduction, or nothing where it takes all."""
    axes = node.attrs["axes"] if "axes" in node.attrs else (node.attrs["axis"],)
    if len(axes) == len(node.inputs[0].shape):
        return ""
    return word + (str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})")


def window_options(node: Node, sign: str = "=") -> list[str]:
    """Return what of a convolution's or pool's window is not as usual: ``padding=2``."""
    found = node.attrs.get("window") or node.attrs["pool"]
    usual = found.kernel if isinstance(found, pool.Pool) else (1, 1)
    options = []
    if found.stride != usual:
        options.append(f"stride{sign}{_pair(found.stride)}")
    if found.padding != ((0, 0), (0, 0)):
        options.append(f"padding{sign}{_pads(found.padding)}")
    if isinstance(found, conv.Window):
        if found.dilation != (1, 1):
            options.append(f"dilation{sign}{_pair(found.dilation)}")
        if found.groups != 1:
            options.append(f"groups{sign}{found.groups}")
    return options


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"({pair[0]}, {pair[1]})"


def _pads(pads: conv.Pads) -> str:
    (top, bottom), (left, right) = pads
    if top == bottom and left == right:
        return _pair((top, left))
    return f"(({top}, {bottom}), ({left}, {right}))"


def slice_text(node: Node) -> str:
    """Return the box that a slice reads, as an index: ``:, 0:5``."""
    x = node.inputs[0]
    parts = []
    for d, a, n, s in zip(
        x.shape, node.attrs["start"], node.shape, node.attrs["step"], strict=True
    ):
        if a == 0 and n == d and s == 1:
            parts.append(":")
            continue
        end = dims.add(a, dims.multiply(dims.add(n, -1), s), 1)
        parts.append(f"{dims.text(a)}:{dims.text(end)}" + (f":{s}" if s != 1 else ""))
    return ", ".join(parts)


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float | str) or (
        isinstance(value, tuple) and all(isinstance(v, int) for v in value)
    )


def _plain(value: object) -> str:
    return number_term(value).text if isinstance(value, int | float) else str(value)


def _through(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return args[0]


def _reshape(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    if is_unit_reshape(node):
        return args[0]
    return called("reshape", args, dims.shape_text(node.shape))


def _transpose(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    axes: tuple[int, ...] = node.attrs["axes"]
    rank = len(axes)
    if axes == (*range(rank - 2), rank - 1, rank - 2):
        return Term(args[0].at(ATOM) + signs.transposed)
    return called("transpose", args, str(axes))


def _reduced(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return called(node.op.name, args, axes_text(node))


def _matmul(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return Term(f"{args[0].at(MATRIX)} @ {args[1].at(UNARY)}", MATRIX)


def _windowed(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    kernel = node.attrs["pool"].kernel if "pool" in node.attrs else None
    size = "" if kernel is None else _pair(kernel)
    return called(node.op.name, args, size, *window_options(node))


def _slice(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return Term(f"{args[0].at(ATOM)}[{slice_text(node)}]")


def _take(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    before = ":, " * node.attrs["axis"]
    return Term(f"{args[0].at(ATOM)}[{before}{args[1].text}]")


def _one_hot(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return called("one_hot", args, dims.text(node.attrs["depth"]))


def _pad(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    low, high, gaps = (node.attrs[k] for k in ("low", "high", "interior"))
    widths = ", ".join(f"({dims.text(a)}, {dims.text(b)})" for a, b in zip(low, high, strict=True))
    value = node.attrs["value"]
    options = [f"[{widths}]", f"between={gaps}" if any(gaps) else ""]
    return called("pad", args, *options, f"value={number_term(value).text}" if value else "")


def _cast(node: Node, args: Sequence[Term], signs: Signs) -> Term:
    return called(node.dtype, args)


_Writer = Callable[[Node, Sequence[Term], Signs], Term]
_WRITERS: dict[str, _Writer] = {
    "elementwise": elementwise_term,
    **{op.name: _through for op in (linear.BROADCAST_TO, phase.TRAINING_ONLY)},
    "reshape": _reshape,
    "transpose": _transpose,
    **{op.name: _reduced for op in (linear.SUM, *(reduce.MEAN, reduce.MAX), reduce.LOGSUMEXP)},
    "argmax": _reduced,
    matmul.MATMUL.name: _matmul,
    **{
        op.name: _windowed
        for op in (
            *(conv.CONV2D, conv.CONV2D_INPUT_ADJOINT, conv.CONV2D_FILTER_ADJOINT),
            *(pool.MAX_POOL2D, pool.MAX_POOL2D_ADJOINT, pool.MAX_POOL2D_SELECT),
            *(pool.AVG_POOL2D, pool.AVG_POOL2D_ADJOINT),
        )
    },
    "slice": _slice,
    "take": _take,
    "cast": _cast,
    "pad": _pad,
    "one_hot": _one_hot,
}
