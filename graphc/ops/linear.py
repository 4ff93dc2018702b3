"""Movement of elements, and casts: each op beside its adjoint.

All are linear; all but the sum, the adjoint of ``broadcast_to``, are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType

Gradients = tuple[Node | None, ...]


def _where() -> str | None:
    return ir.current_note().where


# ---------------------------------------------------------------- reshape


def _reshape_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    shape: Shape = attrs["shape"]
    if not dims.require_equal(dims.size(x.shape), dims.size(shape), "reshape keeps size", _where()):
        raise ShapeError(
            f"reshape: {dims.text(x.tensor.size)} elements do not fill the shape "
            f"{dims.shape_text(shape)} of {dims.text(dims.size(shape))}",
            rows=[(x.label, str(x.type))],
            hint="-1 stands for the dimension that fits",
        )
    return TensorType(x.dtype, shape)


def _reshape_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    return (None if g is None else reshape(g, node.inputs[0].shape),)


RESHAPE = Op(
    "reshape",
    _reshape_type,
    _reshape_derivative,
    Floats.EXACT,
    "y = the elements of x in row-major order under another shape",
    "dL/dx = dL/dy, reshaped back",
)


def reshape(x: Node, shape: Shape) -> Node:
    """Return the elements, in row-major order, under another shape of the same size."""
    return x if x.shape == shape else ir.apply(RESHAPE, (x,), {"shape": shape})


# ---------------------------------------------------------------- transpose


def _transpose_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    axes: tuple[int, ...] = attrs["axes"]
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(
            f"transpose: {axes} is no order of the {len(x.shape)} axes",
            rows=[(x.label, str(x.type))],
        )
    return TensorType(x.dtype, tuple(x.shape[a] for a in axes))


def _transpose_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    axes: tuple[int, ...] = node.attrs["axes"]
    back = tuple(axes.index(i) for i in range(len(axes)))
    return (None if g is None else transpose(g, back),)


TRANSPOSE = Op(
    "transpose",
    _transpose_type,
    _transpose_derivative,
    Floats.EXACT,
    "y = x with its axes in another order",
    "dL/dx = dL/dy with its axes put back",
)


def transpose(x: Node, axes: tuple[int, ...]) -> Node:
    """Return the tensor with its axes in another order; axis i is the old ``axes[i]``."""
    return x if axes == tuple(range(len(axes))) else ir.apply(TRANSPOSE, (x,), {"axes": axes})


# ---------------------------------------------------------------- broadcast_to


def expanded_axes(source: Shape, target: Shape) -> tuple[int, ...]:
    """Return the axes of the target along which a broadcast source repeats itself."""
    lead = len(target) - len(source)
    repeated = [i for i, d in enumerate(source) if d == 1 and target[lead + i] != 1]
    return (*range(lead), *(lead + i for i in repeated))


def _broadcast_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    shape: Shape = attrs["shape"]
    lead = len(shape) - len(x.shape)
    fits = lead >= 0 and all(
        d == 1 or dims.require_equal(d, shape[lead + i], "broadcast_to fits", _where())
        for i, d in enumerate(x.shape)
    )
    if not fits:
        raise ShapeError(
            f"broadcast_to: {dims.shape_text(x.shape)} does not broadcast to "
            f"{dims.shape_text(shape)}",
            rows=[(x.label, str(x.type))],
        )
    return TensorType(x.dtype, shape)


def _broadcast_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,)
    x = node.inputs[0]
    axes = expanded_axes(x.shape, node.shape)
    return (reshape(sum(g, axes), x.shape),)


BROADCAST_TO = Op(
    "broadcast_to",
    _broadcast_type,
    _broadcast_derivative,
    Floats.EXACT,
    "y = x repeated along new axes and axes of length 1",
    "dL/dx = Σ dL/dy over the repeated axes",
)


def broadcast_to(x: Node, shape: Shape) -> Node:
    """Repeat along leading new axes and along axes whose length is the number 1."""
    return x if x.shape == shape else ir.apply(BROADCAST_TO, (x,), {"shape": shape})


# ---------------------------------------------------------------- sum


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """Return the shape without the reduced axes."""
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def unit_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """Return the shape with 1 at the reduced axes."""
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def spread(g: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Repeat a reduced tensor along the axes that were reduced."""
    return broadcast_to(reshape(g, unit_shape(x.shape, axes)), x.shape)


def reduced_shape(name: str, x: Node, axes: tuple[int, ...]) -> Shape:
    """Return the shape that a reduction leaves.

    Errors: ShapeError for axes that are none, or not sorted
    """
    if any(not 0 <= a < len(x.shape) for a in axes) or list(axes) != sorted(set(axes)):
        raise ShapeError(
            f"{name}: {axes} are no axes of a tensor of rank {len(x.shape)}",
            rows=[(x.label, str(x.type))],
        )
    return kept_shape(x.shape, axes)


def _sum_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    if x.dtype == "bool":
        raise DtypeError("sum does not take bool", hint='count with .astype("int64").sum()')
    return TensorType(x.dtype, reduced_shape("sum", x, attrs["axes"]))


def _sum_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    return (None if g is None else spread(g, node.inputs[0], node.attrs["axes"]),)


SUM = Op(
    "sum", _sum_type, _sum_derivative, Floats.SUM, "y = Σ x over axes", "dL/dx = dL/dy, repeated"
)


def sum(x: Node, axes: tuple[int, ...]) -> Node:
    """Add along axes."""
    return ir.apply(SUM, (x,), {"axes": axes}) if axes else x


# ---------------------------------------------------------------- slice and pad


def _slice_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    start, shape, step = attrs["start"], attrs["shape"], attrs["step"]
    for axis, (d, a, n, s) in enumerate(zip(x.shape, start, shape, step, strict=True)):
        end = dims.add(a, dims.multiply(dims.add(n, -1), s), 1) if n != 0 else a
        inside = dims.require_at_least(a, 0, "slice starts inside", _where())
        if s < 1 or not inside or not dims.require_at_least(d, end, "slice ends inside", _where()):
            raise ShapeError(
                f"slice: axis {axis} of length {dims.text(d)} does not hold {dims.text(n)} "
                f"elements from {dims.text(a)} in steps of {s}",
                rows=[(x.label, str(x.type))],
            )
    return TensorType(x.dtype, shape)


def _slice_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,)
    start, step = node.attrs["start"], node.attrs["step"]
    high = []
    for d, a, n, s in zip(node.inputs[0].shape, start, node.shape, step, strict=True):
        used = dims.add(dims.multiply(dims.add(n, -1), s), 1) if n != 0 else 0
        high.append(dims.add(d, dims.multiply(-1, dims.add(a, used))))
    return (pad(g, start, tuple(high), tuple(s - 1 for s in step)),)


SLICE = Op(
    "slice",
    _slice_type,
    _slice_derivative,
    Floats.EXACT,
    "y[i] = x[start + step·i]",
    "dL/dx = dL/dy at the places read, 0 elsewhere",
)


def slice(
    x: Node, start: tuple[Dim, ...], shape: Shape, step: tuple[int, ...] | None = None
) -> Node:
    """Read a box: ``shape`` elements an axis, from ``start`` on, in positive steps."""
    step = step or (1,) * len(shape)
    if shape == x.shape and all(a == 0 for a in start) and all(s == 1 for s in step):
        return x
    return ir.apply(SLICE, (x,), {"start": start, "shape": shape, "step": step})


def _pad_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (x,) = inputs
    low, high, interior = attrs["low"], attrs["high"], attrs["interior"]
    shape = []
    for d, a, b, gap in zip(x.shape, low, high, interior, strict=True):
        inside = dims.require_at_least(a, 0, "pad adds", _where())
        if gap < 0 or not inside or not dims.require_at_least(b, 0, "pad adds", _where()):
            raise ShapeError(
                f"pad: widths {dims.text(a)}, {dims.text(b)} and gap {gap} may not be negative",
                rows=[(x.label, str(x.type))],
            )
        gaps = 0 if d == 0 else dims.multiply(dims.add(d, -1), gap)
        shape.append(dims.add(d, a, b, gaps))
    return TensorType(x.dtype, tuple(shape))


def _pad_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    step = tuple(i + 1 for i in node.attrs["interior"])
    shape = node.inputs[0].shape
    return (None if g is None else slice(g, node.attrs["low"], shape, step),)


PAD = Op(
    "pad",
    _pad_type,
    _pad_derivative,
    Floats.EXACT,
    "y = x with a constant before, after and between its elements",
    "dL/dx = dL/dy at the places of x",
)


def pad(
    x: Node,
    low: tuple[Dim, ...],
    high: tuple[Dim, ...],
    interior: tuple[int, ...] | None = None,
    value: float = 0,
) -> Node:
    """Add ``low`` elements before, ``high`` after and ``interior`` between, of one value."""
    interior = interior or (0,) * len(low)
    if all(w == 0 for w in (*low, *high, *interior)):
        return x
    attrs = {"low": low, "high": high, "interior": interior, "value": value}
    return ir.apply(PAD, (x,), attrs)


# ---------------------------------------------------------------- flip


def _flip_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    return inputs[0].tensor


def _flip_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    return (None if g is None else flip(g, node.attrs["axes"]),)


FLIP = Op(
    "flip",
    _flip_type,
    _flip_derivative,
    Floats.EXACT,
    "y[i] = x[n − 1 − i]",
    "dL/dx = dL/dy reversed back",
)


def flip(x: Node, axes: tuple[int, ...]) -> Node:
    """Reverse the order of the elements along axes."""
    return ir.apply(FLIP, (x,), {"axes": axes}) if axes else x


# ---------------------------------------------------------------- concatenate and split


def _concatenate_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    axis: int = attrs["axis"]
    first = inputs[0]
    rows = [(n.label, str(n.type)) for n in inputs]
    for x in inputs[1:]:
        if len(x.shape) != len(first.shape) or x.dtype != first.dtype:
            raise ShapeError("concatenate: the tensors have one dtype and rank", rows=rows)
        for place, (m, n) in enumerate(zip(first.shape, x.shape, strict=True)):
            said = "concatenate: other axes agree"
            if place != axis and not dims.require_equal(m, n, said, _where()):
                raise ShapeError(
                    f"concatenate: {dims.text(m)} and {dims.text(n)} elements do not fit together "
                    f"at axis {place}; only axis {axis} may differ",
                    rows=rows,
                    hint="axis= says along which axis they are joined",
                )
    shape = list(first.shape)
    shape[axis] = dims.add(*(x.shape[axis] for x in inputs))
    return TensorType(first.dtype, tuple(shape))


def _concatenate_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    if g is None:
        return (None,) * len(node.inputs)
    return split(g, tuple(x.shape[node.attrs["axis"]] for x in node.inputs), node.attrs["axis"])


CONCATENATE = Op(
    "concatenate",
    _concatenate_type,
    _concatenate_derivative,
    Floats.EXACT,
    "y = the tensors one after the other along an axis",
    "dL/dxᵢ = its part of dL/dy",
)


def concatenate(xs: Sequence[Node], axis: int) -> Node:
    """Join tensors along an axis."""
    return xs[0] if len(xs) == 1 else ir.apply(CONCATENATE, tuple(xs), {"axis": axis})


def split(x: Node, sizes: tuple[Dim, ...], axis: int) -> tuple[Node, ...]:
    """Cut a tensor along an axis into parts of these sizes; the adjoint of ``concatenate``."""
    parts, offset = [], 0
    for n in sizes:
        start = tuple(offset if i == axis else 0 for i in range(len(x.shape)))
        shape = tuple(n if i == axis else d for i, d in enumerate(x.shape))
        parts.append(slice(x, start, shape))
        offset = dims.add(offset, n)
    return tuple(parts)


# ---------------------------------------------------------------- cast


def _cast_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    return TensorType(attrs["dtype"], inputs[0].shape)


def _cast_derivative(node: Node, cotangents: Cotangents, _: Differentiate) -> Gradients:
    (g,) = cotangents
    x = node.inputs[0]
    return (cast(g, x.dtype) if g is not None and x.tensor.is_float else None,)


CAST = Op(
    "cast",
    _cast_type,
    _cast_derivative,
    Floats.EXACT,
    "y = x in another dtype (a float to an integer truncates and saturates, NaN to 0)",
    "dL/dx = dL/dy, cast back, between floats",
)


def cast(x: Node, dtype: str) -> Node:
    """Convert the elements; integers wrap, floats to integers truncate and saturate."""
    if dtype not in ir.DTYPES:
        raise DtypeError(f"there is no dtype {dtype!r}", hint="use one of " + ", ".join(ir.DTYPES))
    return x if x.dtype == dtype else ir.apply(CAST, (x,), {"dtype": dtype})
