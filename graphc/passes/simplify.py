"""Exact algebra: every rule leaves each value as it is, bit for bit (x + 0 -> x is none)."""

from __future__ import annotations

from graphc.ir import Node, Program
from graphc.ops import elementwise, leaf, linear
from graphc.passes import rewrite


def simplify(program: Program) -> Program:
    """Take away what changes nothing.

    Keeps: every value, bit for bit, signs of zeros and NaNs included.
    """
    return rewrite.rewrite(program, *RULES)


def times_one(node: Node) -> Node | None:
    """X * 1 -> x, x / 1 -> x, x - 0 -> x, x * -1 -> -x."""
    if node.op is not elementwise.ELEMENTWISE or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    made = node.attrs["formula"]
    if made == elementwise.MULTIPLY:
        for x, c in ((a, b), (b, a)):
            if leaf.is_constant(c, 1):
                return x
            if leaf.is_constant(c, -1):
                return elementwise.apply(elementwise.NEGATIVE, x)
    if made == elementwise.DIVIDE and leaf.is_constant(b, 1):
        return a
    return a if made == elementwise.SUBTRACT and leaf.is_constant(b, 0) else None


def twice_negative(node: Node) -> Node | None:
    """-(-x) -> x."""
    if not elementwise.is_formula(node, elementwise.NEGATIVE):
        return None
    (x,) = node.inputs
    return x.inputs[0] if elementwise.is_formula(x, elementwise.NEGATIVE) else None


def plus_negative(node: Node) -> Node | None:
    """X + (-y) -> x - y, x - (-y) -> x + y."""
    if node.op is not elementwise.ELEMENTWISE or len(node.inputs) != 2:
        return None
    made = node.attrs["formula"]
    other = {elementwise.ADD: elementwise.SUBTRACT, elementwise.SUBTRACT: elementwise.ADD}.get(made)
    x, y = node.inputs
    if other is None or not elementwise.is_formula(y, elementwise.NEGATIVE):
        return None
    return elementwise.apply(other, x, y.inputs[0])


def same_move_twice(node: Node) -> Node | None:
    """reshape(reshape(x)) -> reshape(x), and so for transpose, broadcast_to and flip."""
    if not node.inputs or node.inputs[0].op is not node.op:
        return None
    inner = node.inputs[0]
    x = inner.inputs[0]
    if node.op is linear.RESHAPE:
        return linear.reshape(x, node.shape)
    if node.op is linear.TRANSPOSE:
        axes = tuple(inner.attrs["axes"][a] for a in node.attrs["axes"])
        return linear.transpose(x, axes)
    if node.op is linear.BROADCAST_TO:
        return linear.broadcast_to(x, node.shape)
    if node.op is linear.FLIP and node.attrs["axes"] == inner.attrs["axes"]:
        return x
    return None


def sum_of_units(node: Node) -> Node | None:
    """sum(x) over axes of length 1 -> reshape(x)."""
    if node.op is not linear.SUM:
        return None
    (x,) = node.inputs
    if any(x.shape[a] != 1 for a in node.attrs["axes"]):
        return None
    return linear.reshape(x, node.shape)


def movement_of_nothing(node: Node) -> Node | None:
    """Movement that keeps the type and every place -> x (after dimensions were bound)."""
    if node.op in (linear.RESHAPE, linear.BROADCAST_TO) and node.type == node.inputs[0].type:
        return node.inputs[0]
    if node.op is linear.CAST and node.type == node.inputs[0].type:
        return node.inputs[0]
    return None


RULES: tuple[rewrite.Rule, ...] = (
    times_one,
    twice_negative,
    plus_negative,
    same_move_twice,
    sum_of_units,
    movement_of_nothing,
)
