"""The words of the language on tensors: NumPy's names, broadcasting, promotion.

Each function makes its operands strict and calls the builder of that name in `graphc.ops`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc import dims, ir
from graphc.dims import Dim
from graphc.dsl import convert
from graphc.dsl.convert import axes_of, axis_of, node_of, operands
from graphc.dsl.location import public
from graphc.dsl.names import full_name
from graphc.dsl.tensor import Axes, Tensor
from graphc.errors import DtypeError, FormulaError, GraphError, ShapeError
from graphc.ops import elementwise as formulas
from graphc.ops import indexing, leaf, linear, probe, reduce
from graphc.ops import matmul as matrix
from graphc.ops import phase as phases

# ---------------------------------------------------------------- elementwise


def _function(made: formulas.Formula, doc: str, *, floats: bool = False) -> Callable[..., Tensor]:
    """Return the user's function of a formula; ``floats``: integers become floats first."""

    def apply(*values: Any) -> Tensor:
        if len(values) != len(made.arguments):
            raise FormulaError(
                f"{made.name} takes {len(made.arguments)} arguments, not {len(values)}"
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


# ---------------------------------------------------------------- movement


@public
def reshape(x: Any, shape: Any) -> Tensor:
    """Return the elements under another shape; one dimension may be -1.

    Errors: ShapeError
    """
    node = node_of(x)
    given = list(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else [shape]
    open_places = [i for i, d in enumerate(given) if isinstance(d, int) and d == -1]
    if len(open_places) > 1:
        raise ShapeError(
            f"reshape: only one dimension can be -1, not {len(open_places)} of {tuple(given)}"
        )
    if open_places:
        place = open_places[0]
        rest = [dims.parse(d) for i, d in enumerate(given) if i != place]
        missing = dims.exact_divide(node.tensor.size, dims.size(rest))
        if missing is None:
            raise ShapeError(
                f"reshape: {dims.text(node.tensor.size)} elements do not divide by "
                f"{dims.text(dims.size(rest))}",
                rows=[(node.label, str(node.type))],
            )
        given[place] = missing
    return Tensor(linear.reshape(node, convert.shape_of(given)))


@public
def flatten(x: Any, start: int = 0) -> Tensor:
    """Join all axes from ``start`` on into one: ``flatten(x, 1)`` keeps the batch."""
    node = node_of(x)
    start = axis_of("flatten", start, len(node.shape)) if node.shape else 0
    return Tensor(linear.reshape(node, (*node.shape[:start], dims.size(node.shape[start:]))))


@public
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Return the tensor with its axes in another order (reversed by default)."""
    node = node_of(x)
    rank = len(node.shape)
    if axes is None:
        return Tensor(linear.transpose(node, tuple(range(rank))[::-1]))
    given = axes if isinstance(axes, tuple | list) else (axes,)
    order = tuple(axis_of("transpose", a, rank) for a in given)
    return Tensor(linear.transpose(node, order))


@public
def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """Return the tensor with two axes exchanged."""
    node = node_of(x)
    order = list(range(len(node.shape)))
    a, b = (axis_of("swapaxes", n, len(order)) for n in (first, second))
    order[a], order[b] = b, a
    return Tensor(linear.transpose(node, tuple(order)))


@public
def expand_dims(x: Any, axis: int) -> Tensor:
    """Return the tensor with a new axis of length 1."""
    node = node_of(x)
    axis = axis_of("expand_dims", axis, len(node.shape) + 1)
    return Tensor(linear.reshape(node, (*node.shape[:axis], 1, *node.shape[axis:])))


@public
def squeeze(x: Any, axis: Axes = None) -> Tensor:
    """Return the tensor without axes of length 1 (all of them by default)."""
    node = node_of(x)
    units = tuple(i for i, d in enumerate(node.shape) if d == 1)
    axes = units if axis is None else axes_of("squeeze", axis, len(node.shape))
    if not set(axes) <= set(units):
        raise ShapeError(
            f"squeeze: axes {axes} are not all of length 1", rows=[(node.label, str(node.type))]
        )
    return Tensor(linear.reshape(node, linear.kept_shape(node.shape, axes)))


@public
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Repeat along new leading axes and axes of length 1."""
    return Tensor(linear.broadcast_to(node_of(x), convert.shape_of(shape)))


@public
def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an axis."""
    given = convert.several("concatenate", xs)
    if not given:
        raise ShapeError("concatenate: there is nothing to join")
    nodes = convert.same_dtype("concatenate", *given)
    return Tensor(linear.concatenate(nodes, axis_of("concatenate", axis, len(nodes[0].shape))))


@public
def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along a new axis."""
    return concatenate([expand_dims(x, axis) for x in convert.several("stack", xs)], axis)


@public
def split(x: Any, parts: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into so many equal parts, or into parts of given sizes."""
    node = node_of(x)
    axis = axis_of("split", axis, len(node.shape))
    extent = node.shape[axis]
    sizes: tuple[Dim, ...]
    if not isinstance(parts, tuple | list):
        parts = convert.whole("split: the number of parts", parts)
        each = dims.exact_divide(extent, parts) if parts > 0 else None
        if each is None:
            raise ShapeError(
                f"split: {dims.text(extent)} elements do not divide into {parts} parts",
                rows=[(node.label, str(node.type))],
            )
        sizes = (each,) * parts
    else:
        sizes = tuple(dims.parse(p) for p in parts)
        if dims.equal(dims.add(*sizes), extent) is False:
            raise ShapeError(
                f"split: parts of {dims.text(dims.add(*sizes))} elements do not make "
                f"{dims.text(extent)}",
                rows=[(node.label, str(node.type))],
            )
    return tuple(Tensor(n) for n in linear.split(node, sizes, axis))


@public
def pad(x: Any, widths: Sequence[Any], value: float = 0) -> Tensor:
    """Add elements of one value before and after each axis.

    ``widths`` holds a number or a pair (before, after) for each axis.
    """
    node = node_of(x)
    if not isinstance(widths, tuple | list) or len(widths) != len(node.shape):
        raise ShapeError(
            f"pad: {len(node.shape)} widths are wanted, one for each axis, not {widths!r:.60}",
            rows=[(node.label, str(node.type))],
            hint="a width is a number, or a pair (before, after)",
        )
    held = convert.number("pad: the value", value, node.dtype)
    pairs = [convert.pair("pad", w) for w in widths]
    return Tensor(
        linear.pad(node, tuple(a for a, _ in pairs), tuple(b for _, b in pairs), None, held)
    )


@public
def flip(x: Any, axis: Axes = None) -> Tensor:
    """Reverse the order of the elements along axes (all by default)."""
    node = node_of(x)
    return Tensor(linear.flip(node, axes_of("flip", axis, len(node.shape))))


@public
def cast(x: Any, dtype: str) -> Tensor:
    """Convert the elements; a float to an integer truncates and saturates, NaN to 0."""
    return Tensor(linear.cast(node_of(x), convert.dtype_of(dtype)))


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


# ---------------------------------------------------------------- indices


@public
def take(x: Any, index: Any, axis: int = 0) -> Tensor:
    """Read x at the places of an integer tensor along an axis.

    Errors: IndexRangeError at the call for a place outside 0 … n - 1
    """
    node = node_of(x)
    return Tensor(indexing.take(node, node_of(index), axis_of("take", axis, len(node.shape))))


@public
def one_hot(index: Any, depth: Any, dtype: str | None = None) -> Tensor:
    """Return rows of zeros with a one at each index."""
    return Tensor(
        indexing.one_hot(node_of(index), dims.parse(depth), convert.float_or(dtype))
    )


@public
def scatter_add(base: Any, index: Any, values: Any, axis: int = 0) -> Tensor:
    """Add values into a copy of base at the places of an integer tensor; places may repeat."""
    held, added = convert.same_dtype("scatter_add", base, values)
    axis = axis_of("scatter_add", axis, len(held.shape))
    return Tensor(indexing.scatter_add(held, node_of(index), added, axis))


@public
def arange(length: Any, dtype: str = "int64") -> Tensor:
    """Return 0, 1, …, length - 1; the length may be a dimension."""
    return Tensor(leaf.iota(dims.parse(length), convert.dtype_of(dtype)))


@public
def zeros(shape: Any, dtype: str | None = None) -> Tensor:
    """Return zeros of a shape, which may hold dimensions."""
    return full(shape, 0, dtype)


@public
def ones(shape: Any, dtype: str | None = None) -> Tensor:
    """Return ones of a shape, which may hold dimensions."""
    return full(shape, 1, dtype)


@public
def full(shape: Any, value: float, dtype: str | None = None) -> Tensor:
    """Return one number in a shape, which may hold dimensions."""
    kind = convert.float_or(dtype)
    number = leaf.constant(convert.number("full: the value", value, kind), kind)
    return Tensor(linear.broadcast_to(number, convert.shape_of(shape)))


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
