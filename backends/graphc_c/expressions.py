"""Elementwise groups: which nodes run inside one kernel, and the expression that they make.

Fuses only what is read once by another elementwise node of the same space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc import ir
from graphc.ir import FLOATS, Node
from graphc.ops.scalar import PRIMITIVES, Apply, Argument, Number, Tree, number_dtype
from graphc_c.cwriter import SUFFIXES
from graphc_c.descriptors import Call, Expression, Extent, Literal, Read
from graphc_c.plan import View

_LARGEST = 24  # calls in one group, which bounds the depth of expressions and the registers
_READS = 12  # operands of one group


@dataclass(frozen=True, slots=True)
class Group:
    """An expression over views; without views it is the same number everywhere."""

    expression: Expression
    views: tuple[View, ...] = ()
    calls: int = 0


def inlined(roots: Sequence[Node]) -> set[Node]:
    """Return the elementwise nodes that their only reader, elementwise too, computes itself."""
    order = ir.topological(roots)
    users = ir.users(order)
    return {
        n
        for n in order
        if _is_elementwise(n)
        and n not in roots
        and len(users[n]) == 1
        and _is_elementwise(users[n][0])
    }


def _is_elementwise(node: Node) -> bool:
    return node.op.name in ("elementwise", "cast")


def grouped(node: Node, inputs: Sequence[Group]) -> Group | None:
    """Return a node's group over those of its inputs, or None if they should be stored first."""
    made = over(node, inputs)
    small = len(made.views) <= _READS and made.calls <= _LARGEST
    return made if small or not any(g.calls for g in inputs) else None


def over(node: Node, inputs: Sequence[Group]) -> Group:
    """Return a node's group over those of its inputs."""
    views: list[View] = []
    moved = []
    for group in inputs:
        places = []
        for view in group.views:
            if view not in views:
                views.append(view)
            places.append(views.index(view))
        moved.append(_renumbered(group.expression, places))
    calls = 1 + sum(g.calls for g in inputs)
    return Group(_expression(node, moved), tuple(views), calls)


def _renumbered(expression: Expression, places: Sequence[int]) -> Expression:
    if isinstance(expression, Read):
        return Read(places[expression.index], expression.dtype)
    if isinstance(expression, Call):
        args = tuple(_renumbered(a, places) for a in expression.args)
        return Call(expression.function, args, expression.dtype)
    return expression


def _expression(node: Node, inputs: Sequence[Expression]) -> Expression:
    if node.op.name == "cast":
        source = node.inputs[0].dtype
        function = f"gx_cast_{SUFFIXES[source]}_{SUFFIXES[node.dtype]}"
        return Call(function, tuple(inputs), node.dtype)
    alone = number_dtype(node.dtype, tuple(n.dtype for n in node.inputs))
    return of_tree(node.attrs["formula"].tree, inputs, alone)


def of_tree(tree: Tree, inputs: Sequence[Expression], dtype: str) -> Expression:
    """Return a formula's tree over expressions; ``dtype`` is for numbers that stand alone."""
    if isinstance(tree, Argument):
        return inputs[tree.index]
    if isinstance(tree, Number):
        return number(tree.value, dtype)
    known = _operand_dtype(tree, inputs, dtype)
    args = []
    for place, part in enumerate(tree.args):
        wanted = "bool" if tree.name == "where" and place == 0 else known
        args.append(of_tree(part, inputs, wanted))
    gives = "bool" if PRIMITIVES[tree.name].gives == "bool" else known
    return Call(f"gx_{tree.name}_{SUFFIXES[known]}", tuple(args), gives)


def _operand_dtype(tree: Apply, inputs: Sequence[Expression], dtype: str) -> str:
    """Return the dtype of a primitive's operands: that of the first which is no plain number."""
    for part in tree.args[1:] if tree.name == "where" else tree.args:
        if isinstance(part, Argument):
            return inputs[part.index].dtype
        if isinstance(part, Apply):
            if PRIMITIVES[part.name].gives == "bool":
                return "bool"
            return _operand_dtype(part, inputs, dtype)
    return dtype


def number(value: float, dtype: str) -> Literal:
    """Return a number as a literal of a dtype."""
    if dtype in FLOATS:
        return Literal(float(value).hex(), dtype)
    return Literal(str(int(value)), dtype)


def sum_of(a: Group, b: Group) -> Group:
    """Return the sum of a view and a group."""
    places = [v for v in dict.fromkeys((*a.views, *b.views))]
    left, right = (_renumbered(g.expression, [places.index(v) for v in g.views]) for g in (a, b))
    dtype = left.dtype
    call = Call(f"gx_add_{SUFFIXES[dtype]}", (left, right), dtype)
    return Group(call, tuple(places), a.calls + b.calls + 1)


def read(view: View) -> Group:
    """Return a view as a group."""
    return Group(Read(0, view.dtype), (view,))


def extents(expression: Expression) -> list[Extent]:
    """Return the dimensions that an expression holds as numbers."""
    if isinstance(expression, Extent):
        return [expression]
    if isinstance(expression, Call):
        return [e for a in expression.args for e in extents(a)]
    return []
