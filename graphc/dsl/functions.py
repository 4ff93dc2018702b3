"""The words of the language on tensors: NumPy's names, broadcasting, promotion.

Each function makes its operands strict and calls the builder of that name in `graphc.ops`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from graphc import dims, ir
from graphc.dsl import convert
from graphc.dsl.convert import axes_of, axis_of, node_of, operands
from graphc.dsl.location import public
from graphc.dsl.names import full_name
from graphc.dsl.tensor import Axes, Tensor
from graphc.errors import DtypeError, FormulaError, GraphError, ShapeError
from graphc.ops import elementwise as formulas
from graphc.ops import leaf, linear, probe, reduce
from graphc.ops import matmul as matrix
from graphc.ops import phase as phases

# ---------------------------------------------------------------- elementwise


def _function(made: formulas.Formula, doc: str, *, floats: bool = False) -> Callable[..., Tensor]:
    """Return the user's function of a formula; ``floats``: integers become floats first."""

    def apply(*values: Any) -> Tensor:
        if len(values) != len(made.arguments):
            raise FormulaError(
                f"{made.name}: {len(values)} arguments instead of {len(made.arguments)}"
            )
        nodes = operands(made.name, *values)
        if floats and nodes[0].dtype not in ir.FLOATS:
            nodes = tuple(linear.cast(n, convert.float_dtype()) for n in nodes)
        return Tensor(formulas.apply(made, *nodes))

    apply.__name__ = apply.__qualname__ = made.name
    apply.__doc__ = doc
    return public(apply)


add = _function(formulas.ADD, "Return a + b.")
subtract = _function(formulas.SUBTRACT, "Return a - b.")
multiply = _function(formulas.MULTIPLY, "Return a * b, element by element.")
divide = _function(formulas.DIVIDE, "Return a / b, as floats.", floats=True)
floor_divide = _function(formulas.FLOOR_DIVIDE, "Return floor(a / b); an integer by 0 gives 0.")
remainder = _function(formulas.REMAINDER, "Return a - b * floor(a / b); by integer 0 gives 0.")
negative = _function(formulas.NEGATIVE, "Return -x.")
reciprocal = _function(formulas.RECIPROCAL, "Return 1 / x.", floats=True)
square = _function(formulas.SQUARE, "Return x * x.")
equal = _function(formulas.EQUAL, "Return whether a = b, by element; NaN equals nothing.")
not_equal = _function(formulas.NOT_EQUAL, "Return whether a and b differ, by element.")
less = _function(formulas.LESS, "Return whether a < b, by element.")
less_equal = _function(formulas.LESS_EQUAL, "Return whether a <= b, by element.")
greater = _function(formulas.GREATER, "Return whether a > b, by element.")
greater_equal = _function(formulas.GREATER_EQUAL, "Return whether a >= b, by element.")
logical_and = _function(formulas.LOGICAL_AND, "Return a and b, by element, for bool tensors.")
logical_or = _function(formulas.LOGICAL_OR, "Return a or b, by element, for bool tensors.")
logical_not = _function(formulas.LOGICAL_NOT, "Return not x, by element, for bool tensors.")
maximum = _function(formulas.MAXIMUM, "Return the larger; NaN wins; of equals half the gradient.")
minimum = _function(formulas.MINIMUM, "Return the smaller; NaN wins; of equals half the gradient.")
abs = _function(formulas.ABS, "Return |x|; the gradient at 0 is 0.")
sign = _function(formulas.SIGN, "Return -1, 0 or 1 (the perceptron's sign(0) = 1 is gx.where).")
floor = _function(formulas.FLOOR, "Return the largest whole number that is not above x.")
sqrt = _function(formulas.SQRT, "Return the square root.", floats=True)
exp = _function(formulas.EXP, "Return e to the x.", floats=True)
expm1 = _function(formulas.EXPM1, "Return exp(x) - 1 without loss near 0.", floats=True)
log = _function(formulas.LOG, "Return the natural logarithm.", floats=True)
log1p = _function(formulas.LOG1P, "Return log(1 + x) without loss near 0.", floats=True)
tanh = _function(formulas.TANH, "Return the hyperbolic tangent; its derivative is 1 - y².")
sigmoid = _function(formulas.SIGMOID, "Return 1 / (1 + exp(-x)); its derivative is y (1 - y).")
softplus = _function(formulas.SOFTPLUS, "Return log(1 + exp(x)); its derivative is sigmoid(x).")
erf = _function(formulas.ERF, "Return the error function.")
sin = _function(formulas.SIN, "Return the sine of radians.", floats=True)
cos = _function(formulas.COS, "Return the cosine of radians.", floats=True)
atan = _function(formulas.ATAN, "Return the arc tangent in radians.", floats=True)
relu = _function(formulas.RELU, "Return max(0, x), NaN for NaN; the derivative at 0 is 0.")
silu = _function(formulas.SILU, "Return x sigmoid(x) (swish).")
gelu = _function(formulas.GELU, "Return x Φ(x), Φ the normal distribution (exact form).")


@public
def leaky_relu(x: Any, slope: Any = 0.01) -> Tensor:
    """Return x where it is not negative, else ``slope * x``; the derivative at 0 is 1.

    S0's table gives the divisor a of Xu et al.: its slope is 1 / a.
    """
    return _with_number(formulas.LEAKY_RELU, x, slope)


@public
def elu(x: Any, alpha: Any = 1.0) -> Tensor:
    """Return x where it is positive, else ``alpha * (exp(x) - 1)``."""
    return _with_number(formulas.ELU, x, alpha)


def _with_number(made: formulas.Formula, x: Any, number: Any) -> Tensor:
    return Tensor(formulas.apply(made, *operands(made.name, x, number)))


@public
def pow(base: Any, exponent: Any) -> Tensor:
    """Return the base to a power; 2 and 0.5 are computed as square and square root, as in NumPy."""
    if isinstance(exponent, int | float) and isinstance(base, Tensor):
        if exponent == 1:
            return base
        if exponent == 2:
            return square(base)
        if exponent == 0.5:
            return sqrt(base)
        if exponent == -1:
            return reciprocal(base)
    nodes = operands("pow", base, exponent)
    if nodes[0].dtype not in ir.FLOATS:
        nodes = tuple(linear.cast(n, convert.float_dtype()) for n in nodes)
    return Tensor(formulas.apply(formulas.POW, *nodes))


@public
def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return a where the condition (bool) holds, else b; gradients follow the choice."""
    chosen = node_of(condition)
    if chosen.dtype != "bool":
        raise DtypeError(
            f"where: the condition is {chosen.dtype}, not bool",
            rows=[(chosen.label, str(chosen.type))],
            hint="compare, as in x > 0",
        )
    parts = convert.same_dtype("where", a, b)
    shape = convert.broadcast_shape("where", (chosen, *parts))
    return Tensor(
        formulas.apply(formulas.WHERE, *(linear.broadcast_to(n, shape) for n in (chosen, *parts)))
    )


@public
def clip(x: Any, low: Any, high: Any) -> Tensor:
    """Return x, at least ``low`` and at most ``high``."""
    return minimum(maximum(x, low), high)


def elementwise(
    name: str,
    definition: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
) -> Callable[..., Tensor]:
    """Define an elementwise function by a formula; derivative, LaTeX and code come from it.

    ``definition`` takes sympy expressions, one an argument, and returns one, written with
    ``gx.scalar``: ``gx.elementwise("swish", lambda x: x * gx.scalar.sigmoid(x))``. Formula and
    derivative are tried in float32 on fixed points against mpmath. ``derivative(*arguments, y)``
    gives the derivative (a tuple, for several arguments) where the formula's own is not wanted.

    Errors: FormulaError for what is no formula, or is NaN or infinite where the truth is not
    """
    return _defined(name, definition, derivative)


@public
def _defined(
    name: str, definition: Callable[..., Any], derivative: Callable[..., Any] | None
) -> Callable[..., Tensor]:
    if not isinstance(name, str) or not name:
        raise FormulaError(f"elementwise: the name is a text, not {name!r:.60}")
    arity = formulas.arity_of(name, "the formula", definition)
    made = formulas.formula(name, definition, arity, derivative)
    probe.probe(made)
    return _function(made, f"Return {name} of its {arity} argument(s).", floats=True)


# ---------------------------------------------------------------- reductions and products


def _reduction(builder: Callable[..., ir.Node], x: Any, axis: Axes, keepdims: bool) -> Tensor:
    node = node_of(x)
    axes = axes_of(builder.__name__, axis, len(node.shape))
    value = builder(node, axes)
    return Tensor(reduce.put_back(value, node, axes) if keepdims else value)


@public
def sum(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Add along axes (all by default); bools are counted as int64."""
    node = node_of(x)
    counted = linear.cast(node, "int64") if node.dtype == "bool" else node
    return _reduction(linear.sum, Tensor(counted), axis, keepdims)


@public
def mean(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Average along axes (all by default), as floats."""
    node = node_of(x)
    held = node if node.tensor.is_float else linear.cast(node, convert.float_dtype())
    return _reduction(reduce.mean, Tensor(held), axis, keepdims)


@public
def max(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Return the largest along axes; NaN wins; equal maxima share the gradient."""
    return _reduction(reduce.max, x, axis, keepdims)


@public
def min(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Return the smallest along axes; NaN wins; equal minima share the gradient."""
    return negative(max(negative(x), axis, keepdims=keepdims))


@public
def argmax(x: Any, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Return the place (int64) of the first maximum; of all elements in a row by default."""
    node = node_of(x)
    if axis is None:
        node, axis = linear.reshape(node, (node.tensor.size,)), 0
    axis = axis_of("argmax", axis, len(node.shape))
    value = reduce.argmax(node, axis)
    return Tensor(reduce.put_back(value, node, (axis,)) if keepdims else value)


@public
def logsumexp(x: Any, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Return log Σ exp x along axes, without overflow."""
    return _reduction(reduce.logsumexp, x, axis, keepdims)


@public
def softmax(x: Any, axis: int = -1) -> Tensor:
    """Return exp(x) / Σ exp(x) along an axis, without overflow."""
    return exp(log_softmax(x, axis))


@public
def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Return x - log Σ exp x along an axis."""
    return subtract(x, logsumexp(x, axis, keepdims=True))


@public
def matmul(a: Any, b: Any) -> Tensor:
    """Multiply matrices, with NumPy's rules for vectors and stacks of matrices.

    Shapes: a (…, M, K) or (K,), b (…, K, N) or (K,)
    Errors: ShapeError, DtypeError
    """
    left, right = convert.same_dtype("matmul", a, b)
    if not left.shape or not right.shape:
        raise ShapeError("matmul: takes no scalars", hint="use * to multiply by a number")
    rows = len(left.shape) == 1
    columns = len(right.shape) == 1
    if rows:
        left = linear.reshape(left, (1, *left.shape))
    if columns:
        right = linear.reshape(right, (*right.shape, 1))
    if len(left.shape) > len(right.shape) == 2 and len(left.shape) > 2:
        # One matrix for a stack: one long product instead of many short ones.
        flat = linear.reshape(left, (dims.size(left.shape[:-1]), left.shape[-1]))
        value = matrix.matmul(flat, right)
        value = linear.reshape(value, (*left.shape[:-1], right.shape[-1]))
    else:
        value = matrix.matmul(*_stacks(left, right))
    drop = tuple(
        i for i, gone in ((len(value.shape) - 2, rows), (len(value.shape) - 1, columns)) if gone
    )
    return Tensor(linear.reshape(value, linear.kept_shape(value.shape, drop)))


def _stacks(left: ir.Node, right: ir.Node) -> tuple[ir.Node, ir.Node]:
    """Broadcast the batch axes of two stacks of matrices."""
    if len(left.shape) == len(right.shape) and left.shape[:-2] == right.shape[:-2]:
        return left, right
    batch = convert.broadcast_shape("matmul", (left, right), kept=2)
    return (
        linear.broadcast_to(left, (*batch, *left.shape[-2:])),
        linear.broadcast_to(right, (*batch, *right.shape[-2:])),
    )


# ---------------------------------------------------------------- phases, updates, names


@public
def phase(train: Any, test: Any) -> Tensor:
    """Return one tensor in the training form and another in the test form.

    Dropout, batch norm and random slopes are made of it; so is your own layer.
    """
    return Tensor(phases.phase(*operands("phase", train, test)))


@public
def stop_gradient(x: Any) -> Tensor:
    """Return the value; no gradient passes."""
    return Tensor(phases.stop_gradient(node_of(x)))


@public
def with_update(x: Any, updates: Mapping[Tensor, Any]) -> Tensor:
    """Return x; a training function that reaches the result also makes these updates."""
    node = node_of(x)
    for state, new in convert.by_tensor("with_update", updates).items():
        held = linear.cast(node_of(new, state.dtype), state.dtype)
        held = linear.broadcast_to(held, state.shape) if not held.shape else held
        node = phases.with_update(node, state.node, held)
    return Tensor(node)


@public
def named(x: Any, name: str) -> Tensor:
    """Return the same value under a name."""
    node = node_of(x)
    if node.op in (leaf.INPUT, *leaf.LEAVES_WITH_STATE):
        raise GraphError(f"{node.label} has the name that it was declared with")
    full_name(name)
    scope = ir.current_note().scope or node.note.scope
    return Tensor(ir.renoted(node, dataclasses.replace(node.note, name=name, scope=scope)))


UFUNCS: dict[str, Callable[..., Tensor]] = {
    **{f.__name__: f for f in (add, subtract, multiply, floor_divide, remainder, matmul)},
    **{f.__name__: f for f in (equal, not_equal, less, less_equal, greater, greater_equal)},
    **{"divide": divide, "true_divide": divide, "power": pow},
    **{"bitwise_and": logical_and, "bitwise_or": logical_or},
}
