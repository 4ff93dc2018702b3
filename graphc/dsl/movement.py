"""Movement of elements, reading at places, and filled tensors: NumPy's words on tensors.

Each function makes its operands strict and calls the builder of that name in `graphc.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc import dims
from graphc.dims import Dim
from graphc.dsl import convert
from graphc.dsl.location import public
from graphc.dsl.tensor import Axes, Tensor
from graphc.errors import ShapeError
from graphc.ops import indexing, leaf, linear


@public
def reshape(x: Any, shape: Any) -> Tensor:
    """Return the elements under another shape; one dimension may be -1.

    Errors: ShapeError
    """
    node = convert.node_of(x)
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
    node = convert.node_of(x)
    start = convert.axis_of("flatten", start, len(node.shape)) if node.shape else 0
    return Tensor(linear.reshape(node, (*node.shape[:start], dims.size(node.shape[start:]))))


@public
def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Return the tensor with its axes in another order (reversed by default)."""
    node = convert.node_of(x)
    rank = len(node.shape)
    if axes is None:
        return Tensor(linear.transpose(node, tuple(range(rank))[::-1]))
    given = axes if isinstance(axes, tuple | list) else (axes,)
    order = tuple(convert.axis_of("transpose", a, rank) for a in given)
    return Tensor(linear.transpose(node, order))


@public
def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """Return the tensor with two axes exchanged."""
    node = convert.node_of(x)
    order = list(range(len(node.shape)))
    a, b = (convert.axis_of("swapaxes", n, len(order)) for n in (first, second))
    order[a], order[b] = b, a
    return Tensor(linear.transpose(node, tuple(order)))


@public
def expand_dims(x: Any, axis: int) -> Tensor:
    """Return the tensor with a new axis of length 1."""
    node = convert.node_of(x)
    axis = convert.axis_of("expand_dims", axis, len(node.shape) + 1)
    return Tensor(linear.reshape(node, (*node.shape[:axis], 1, *node.shape[axis:])))


@public
def squeeze(x: Any, axis: Axes = None) -> Tensor:
    """Return the tensor without axes of length 1 (all of them by default)."""
    node = convert.node_of(x)
    units = tuple(i for i, d in enumerate(node.shape) if d == 1)
    axes = units if axis is None else convert.axes_of("squeeze", axis, len(node.shape))
    if not set(axes) <= set(units):
        raise ShapeError(
            f"squeeze: axes {axes} are not all of length 1", rows=[(node.label, str(node.type))]
        )
    return Tensor(linear.reshape(node, linear.kept_shape(node.shape, axes)))


@public
def broadcast_to(x: Any, shape: Any) -> Tensor:
    """Repeat along new leading axes and axes of length 1."""
    return Tensor(linear.broadcast_to(convert.node_of(x), convert.shape_of(shape)))


@public
def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an axis."""
    given = convert.several("concatenate", xs)
    if not given:
        raise ShapeError("concatenate: there is nothing to join")
    nodes = convert.same_dtype("concatenate", *given)
    return Tensor(
        linear.concatenate(nodes, convert.axis_of("concatenate", axis, len(nodes[0].shape)))
    )


@public
def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along a new axis."""
    return concatenate([expand_dims(x, axis) for x in convert.several("stack", xs)], axis)


@public
def split(x: Any, parts: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut along an axis into so many equal parts, or into parts of given sizes."""
    node = convert.node_of(x)
    axis = convert.axis_of("split", axis, len(node.shape))
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
    node = convert.node_of(x)
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
    node = convert.node_of(x)
    return Tensor(linear.flip(node, convert.axes_of("flip", axis, len(node.shape))))


@public
def cast(x: Any, dtype: str) -> Tensor:
    """Convert the elements; a float to an integer truncates and saturates, NaN to 0."""
    return Tensor(linear.cast(convert.node_of(x), convert.dtype_of(dtype)))


# ---------------------------------------------------------------- places, and tensors of one number


@public
def take(x: Any, index: Any, axis: int = 0) -> Tensor:
    """Read x at the places of an integer tensor along an axis.

    Errors: IndexRangeError at the call for a place outside 0 … n - 1
    """
    node = convert.node_of(x)
    return Tensor(
        indexing.take(node, convert.node_of(index), convert.axis_of("take", axis, len(node.shape)))
    )


@public
def one_hot(index: Any, depth: Any, dtype: str | None = None) -> Tensor:
    """Return rows of zeros with a one at each index."""
    return Tensor(
        indexing.one_hot(convert.node_of(index), dims.parse(depth), convert.float_or(dtype))
    )


@public
def scatter_add(base: Any, index: Any, values: Any, axis: int = 0) -> Tensor:
    """Add values into a copy of base at the places of an integer tensor; places may repeat."""
    held, added = convert.same_dtype("scatter_add", base, values)
    axis = convert.axis_of("scatter_add", axis, len(held.shape))
    return Tensor(indexing.scatter_add(held, convert.node_of(index), added, axis))


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
