"""Reductions over axes: mean, max, argmax, logsumexp; sum stands beside its adjoint in `linear`.

``axes`` are sorted and not negative; reduced axes vanish, and builders put them back as 1 when
asked. An empty sum is 0, an empty logsumexp -inf; max and argmax need one element.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims, ir
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops import elementwise, leaf, linear

Gradients = tuple[Node | None, ...]


def _float_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    if not x.tensor.is_float:
        raise DtypeError(
            f"mean and logsumexp take floats, not {x.dtype}", rows=[(x.label, str(x.type))]
        )
    return TensorType(x.dtype, linear.reduced_shape("the reduction", x, attrs["axes"]))


def _mean_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,)
    x, axes = node.inputs[0], node.attrs["axes"]
    count = leaf.size(dims.size([x.shape[a] for a in axes]), x.dtype)
    share = elementwise.apply(elementwise.DIVIDE, g, linear.broadcast_to(count, g.shape))
    return (linear.spread(share, x, axes),)


MEAN = Op(
    "mean",
    _float_type,
    _mean_derivative,
    Floats.SUM,
    "y = Σ x / n over axes of n elements",
    "dL/dx = dL/dy / n, repeated",
)


def mean(x: Node, axes: tuple[int, ...]) -> Node:
    """Average along axes; the mean of nothing is NaN."""
    return ir.apply(MEAN, (x,), {"axes": axes}) if axes else x


def _max_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    shape = linear.reduced_shape("max", x, attrs["axes"])
    _require_elements("max", x, attrs["axes"])
    return TensorType(x.dtype, shape)


def _require_elements(name: str, x: Node, axes: tuple[int, ...]) -> None:
    where = ir.current_note().where
    for axis in axes:
        reason = f"{name}: an axis has elements"
        if not dims.require_at_least(x.shape[axis], 1, reason, where):
            raise ShapeError(f"{name}: an empty axis has no maximum", rows=[(x.label, str(x.type))])


def _max_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,)
    x, axes = node.inputs[0], node.attrs["axes"]
    wins = elementwise.apply(elementwise.EQUAL, x, linear.spread(node, x, axes))
    count = linear.sum(linear.cast(wins, x.dtype), axes)
    share = linear.spread(elementwise.apply(elementwise.DIVIDE, g, count), x, axes)
    none = elementwise.filled(0, share)
    return (elementwise.apply(elementwise.WHERE, wins, share, none),)


MAX = Op(
    "max",
    _max_type,
    _max_derivative,
    Floats.EXACT,
    "y = max x over axes",
    "dL/dx = dL/dy at the maxima, in equal shares, 0 elsewhere",
)


def max(x: Node, axes: tuple[int, ...]) -> Node:
    """Return the largest along axes; a NaN wins."""
    return ir.apply(MAX, (x,), {"axes": axes}) if axes else x


def _argmax_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    shape = linear.reduced_shape("argmax", x, (attrs["axis"],))
    _require_elements("argmax", x, (attrs["axis"],))
    return TensorType("int64", shape)


ARGMAX = Op("argmax", _argmax_type, leaf.no_gradient, Floats.EXACT, "y = argmax x along an axis")


def argmax(x: Node, axis: int) -> Node:
    """Return the place (int64) of the first maximum along an axis; a NaN counts as maximum."""
    return ir.apply(ARGMAX, (x,), {"axis": axis})


def _logsumexp_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,)
    x, axes = node.inputs[0], node.attrs["axes"]
    shifted = elementwise.apply(elementwise.SUBTRACT, x, linear.spread(node, x, axes))
    softmax = elementwise.apply(elementwise.EXP, shifted)
    return (elementwise.apply(elementwise.MULTIPLY, linear.spread(g, x, axes), softmax),)


LOGSUMEXP = Op(
    "logsumexp",
    _float_type,
    _logsumexp_derivative,
    Floats.SUM,
    "y = log Σ exp x over axes",
    "dL/dx = dL/dy ⊙ softmax(x)",
)


def logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    """Return log Σ exp x along axes, computed from the largest so that nothing overflows."""
    return ir.apply(LOGSUMEXP, (x,), {"axes": axes})


def put_back(y: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Return a reduction of x with its axes put back as 1 (``keepdims``)."""
    return linear.reshape(y, linear.unit_shape(x.shape, axes))
