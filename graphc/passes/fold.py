"""What is constant is computed at compile time, and what repeats one number is kept as it.

Rules (all exact):
    f(c1, c2)                     -> c
    f(broadcast(a), broadcast(b)) -> broadcast(f(a, b)) for scalars a and b
    move(broadcast(a))            -> broadcast(a) for a scalar a and reshape, transpose, flip, slice
    cast(c)                       -> c between floats, and from integers
"""

from __future__ import annotations

import numpy as np

from graphc import dims, ir
from graphc.ir import Node, Program
from graphc.ops import elementwise, leaf, linear, scalar
from graphc.passes import rewrite

_MOVES = (linear.RESHAPE, linear.TRANSPOSE, linear.FLIP, linear.SLICE, linear.BROADCAST_TO)


def fold(program: Program) -> Program:
    """Compute constants; keep repeated scalars scalar.

    Keeps: every value, bit for bit.
    """
    return rewrite.rewrite(program, *RULES)


def known_size(node: Node) -> Node | None:
    """size(4) -> 4, once a dimension has been bound."""
    if node.op is not leaf.SIZE or not isinstance(node.attrs["dim"], int):
        return None
    return leaf.constant(node.attrs["dim"], node.dtype)


def constant_formula(node: Node) -> Node | None:
    """f(c1, c2) -> c, for scalars."""
    if node.op is not elementwise.ELEMENTWISE or node.shape != ():
        return None
    if any(n.op is not leaf.CONSTANT for n in node.inputs):
        return None
    formula: elementwise.Formula = node.attrs["formula"]
    if elementwise.floats_of(formula)[0] is not ir.Floats.EXACT:
        return None  # back ends differ in the last place: leave it to them
    with np.errstate(all="ignore"):
        value = scalar.evaluate(formula.tree, [n.attrs["value"] for n in node.inputs])
    return leaf.constant(value, node.dtype)


def scalar_formula(node: Node) -> Node | None:
    """f(broadcast(a), broadcast(b)) -> broadcast(f(a, b)), for scalars a and b."""
    if node.op is not elementwise.ELEMENTWISE or node.shape == ():
        return None
    sources = [repeated(n) for n in node.inputs]
    if any(s is None for s in sources):
        return None
    inner = elementwise.apply(node.attrs["formula"], *(s for s in sources if s is not None))
    return linear.broadcast_to(constant_formula(inner) or inner, node.shape)


def moved_repetition(node: Node) -> Node | None:
    """move(broadcast(a)) -> broadcast(a), for a scalar a."""
    if node.op not in _MOVES or (node.op is linear.BROADCAST_TO and node.inputs[0].shape == ()):
        return None
    source = repeated(node.inputs[0])
    return None if source is None else linear.broadcast_to(source, node.shape)


def constant_cast(node: Node) -> Node | None:
    """cast(c) -> c, where NumPy's conversion is ours."""
    if node.op is not linear.CAST or node.inputs[0].op is not leaf.CONSTANT:
        return None
    if node.dtype not in ir.FLOATS and node.inputs[0].dtype in ir.FLOATS:
        return None
    with np.errstate(all="ignore"):
        return leaf.constant(node.inputs[0].attrs["value"].astype(node.dtype))


def repeated(node: Node) -> Node | None:
    """Return the scalar that a tensor repeats, or None."""
    if node.shape == ():
        return node
    if node.op is linear.BROADCAST_TO and dims.size(node.inputs[0].shape) == 1:
        return linear.reshape(node.inputs[0], ())
    return None


RULES: tuple[rewrite.Rule, ...] = (
    known_size,
    constant_formula,
    scalar_formula,
    moved_repetition,
    constant_cast,
)
