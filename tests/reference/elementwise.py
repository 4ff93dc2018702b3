"""Formulas: trees of scalar primitives, on numbers and on symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir import Node
from graphc.ops.scalar import Argument, Number, Tree
from reference.context import Array, Context, Rule


def _elementwise(context: Context, node: Node, inputs: list[Any]) -> Array:
    made = node.attrs["formula"]
    if context.symbolic:
        return _symbolic_tree(context, made.tree, inputs)
    value = tree_value(made.tree, inputs)
    return np.broadcast_to(np.asarray(value, dtype=_tree_dtype(made.tree, inputs)), inputs[0].shape)


def tree_value(tree: Tree, arguments: Sequence[Array]) -> Any:
    """Return a tree of scalar primitives on arrays, each primitive rounded to their dtype."""
    if isinstance(tree, Argument):
        return arguments[tree.index]
    if isinstance(tree, Number):
        return tree.value
    parts = [tree_value(a, arguments) for a in tree.args]
    dtype = _operand_dtype(tree.name, tree.args, arguments)
    first = tree.name == "where"
    operands = [p if first and i == 0 else np.asarray(p, dtype) for i, p in enumerate(parts)]
    if tree.name in EXACT:
        return EXACT[tree.name](*operands)
    wide = [p.astype(np.longdouble) for p in operands]
    return np.asarray(ROUNDED[tree.name](*wide)).astype(dtype)


def _tree_dtype(tree: Tree, arguments: Sequence[Array]) -> np.dtype[Any] | None:
    if isinstance(tree, Argument):
        return arguments[tree.index].dtype
    if isinstance(tree, Number):
        return None
    if tree.name in _CLAIMS:
        return np.dtype("bool")
    return _operand_dtype(tree.name, tree.args, arguments)


def _operand_dtype(name: str, args: Sequence[Tree], arguments: Sequence[Array]) -> np.dtype[Any]:
    """Return the dtype that a primitive's operands share; numbers take it."""
    operands = args[1:] if name == "where" else args
    known = [_tree_dtype(a, arguments) for a in operands]
    return next((d for d in known if d is not None), arguments[0].dtype)


_CLAIMS = ("equal", "not_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not")


def _nan(x: Array) -> Any:
    return np.isnan(x) if x.dtype.kind == "f" else False


EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "floor_divide": lambda a, b: a // b,
    "remainder": lambda a, b: a % b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "logical_and": lambda a, b: a & b,
    "logical_or": lambda a, b: a | b,
    "logical_not": lambda a: ~a,
    "where": np.where,
    "maximum": lambda a, b: np.where((a >= b) | _nan(a), a, b),
    "minimum": lambda a, b: np.where((a <= b) | _nan(a), a, b),
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "sqrt": np.sqrt,
}


def _sigmoid(x: Array) -> Any:
    decay = np.exp(-np.abs(x))
    return np.where(x < 0, decay, 1) / (1 + decay)


def _erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x.ravel()], np.longdouble).reshape(x.shape)


ROUNDED: dict[str, Callable[..., Any]] = {
    "pow": np.power,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.where(x > 0, x, 0) + np.log1p(np.exp(-np.abs(x))),
    "erf": _erf,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
}


def _symbolic_tree(context: Context, tree: Tree, inputs: list[Array]) -> Array:
    shape = inputs[0].shape
    first = [_symbolic(context, tree, [x[place] for x in inputs]) for place in np.ndindex(shape)]
    claims = all(isinstance(v, bool | np.bool_) for v in first)
    y = np.empty(shape, bool if claims and first else object)
    for place, value in zip(np.ndindex(shape), first, strict=True):
        y[place] = value
    return y


def _symbolic(context: Context, tree: Tree, arguments: Sequence[Any]) -> Any:
    """Return a tree on symbols: arithmetic is theirs, choices go by the numbers they carry."""
    if isinstance(tree, Argument):
        return arguments[tree.index]
    if isinstance(tree, Number):
        return context.exact(tree.value)
    parts = [_symbolic(context, a, arguments) for a in tree.args]
    assert context.number is not None
    if tree.name in ("add", "subtract", "multiply", "divide", "negative"):
        return EXACT[tree.name](*parts)
    if tree.name == "where":
        return parts[1] if parts[0] else parts[2]
    carried = [p if isinstance(p, bool | np.bool_) else context.number(p) for p in parts]
    if tree.name in ("maximum", "minimum"):
        better = carried[0] >= carried[1] if tree.name == "maximum" else carried[0] <= carried[1]
        return parts[0] if better else parts[1]
    if tree.name == "abs":
        return parts[0] if carried[0] >= 0 else -parts[0]
    if tree.name == "sign":
        return context.exact(int(np.sign(carried[0])))
    if tree.name in _CLAIMS:
        return bool(EXACT[tree.name](*map(np.asarray, carried)))
    raise NotImplementedError(f"{tree.name} is not computed on symbols")


RULES: dict[str, Rule] = {
    "elementwise": _elementwise,
}
