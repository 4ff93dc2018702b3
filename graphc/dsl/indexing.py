"""NumPy's brackets on tensors: numbers, slices, None, Ellipsis and integer tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from graphc import dims, ir
from graphc.dims import Dim, Shape
from graphc.dsl import convert
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import DtypeError, ShapeError, UnsupportedError
from graphc.ir import Node
from graphc.ops import elementwise, leaf, linear
from graphc.ops import indexing as ops


@public
def getitem(x: Tensor, index: Any) -> Tensor:
    """Return ``x[index]`` with NumPy's rules.

    Errors: ShapeError for too many indices or a place outside a numbered axis; UnsupportedError
        for boolean masks (their result's size depends on values) and separated integer tensors
    """
    node = x.node
    parts = _expanded(node, index if isinstance(index, tuple) else (index,))
    node, parts = _boxed(node, parts)
    node, parts = _without_numbers(node, parts)
    return Tensor(_gathered(node, parts))


def _expanded(node: Node, index: tuple[Any, ...]) -> list[Any]:
    """Return one part for each axis of the tensor, and None for each new axis."""
    used = sum(1 for p in index if p is not None and p is not Ellipsis)
    if used > len(node.shape):
        raise ShapeError(
            f"{used} indices for a tensor of {len(node.shape)} axes",
            rows=[(node.label, str(node.type))],
        )
    rest: list[Any] = [slice(None)] * (len(node.shape) - used)
    parts: list[Any] = []
    dots = [i for i, p in enumerate(index) if p is Ellipsis]
    if len(dots) > 1:
        raise ShapeError("an index holds more than one Ellipsis")
    for part in index:
        parts += rest if part is Ellipsis else [_checked(part)]
    return parts if dots else parts + rest


def _checked(part: Any) -> Any:
    if isinstance(part, list | np.ndarray | Tensor):
        node = convert.node_of(part, "int64" if isinstance(part, list) and not part else None)
        if node.dtype == "bool":
            raise UnsupportedError(
                "an index of bools gives a result whose size depends on values",
                hint="gx.where(mask, x, 0) keeps the size",
            )
        if node.dtype not in ir.INTEGERS:
            raise DtypeError(f"an index holds integers, not {node.dtype}")
        return node
    if part is None or isinstance(part, slice | sympy.Expr):
        return part
    try:
        if not isinstance(part, bool):
            return operator.index(part)
    except TypeError:
        pass
    raise DtypeError(f"an index is a number, a slice, None, ... or integers, not {part!r:.60}")


def _boxed(node: Node, parts: list[Any]) -> tuple[Node, list[Any]]:
    """Apply slices and numbers as one box; numbers stay as axes of length 1 for now."""
    start: list[Dim] = []
    shape: list[Dim] = []
    step: list[int] = []
    flips: list[int] = []
    for axis, part in enumerate(p for p in parts if p is not None):
        extent = node.shape[axis]
        if isinstance(part, slice):
            a, n, s = _slice(part, extent)
            if s < 0:
                flips.append(axis)
                a, s = dims.add(a, dims.multiply(dims.add(n, -1), s)), -s
        elif isinstance(part, Node):
            a, n, s = 0, extent, 1
        else:
            a, n, s = _place(part, extent, axis), 1, 1
        start.append(a)
        shape.append(n)
        step.append(s)
    boxed = linear.slice(node, tuple(start), tuple(shape), tuple(step))
    return linear.flip(boxed, tuple(flips)), parts


def _slice(part: slice, extent: Dim) -> tuple[Dim, Dim, int]:
    """Return (first place, count, step) of a slice of an axis."""
    step = 1 if part.step is None else convert.whole("the step of a slice", part.step)
    if step == 0:
        raise ShapeError("a slice may not have step 0")
    begin, end = _limit(part.start), _limit(part.stop)
    if all(v is None or isinstance(v, int) for v in (extent, begin, end)):
        places = range(*slice(begin, end, step).indices(int(extent)))
        return (places[0] if places else 0), len(places), step
    backwards = step < 0
    first = dims.add(extent, -1) if backwards else 0
    start = first if begin is None else _bound(begin, extent)
    stop = (-1 if backwards else extent) if end is None else _bound(end, extent)
    room = (
        dims.add(start, dims.multiply(-1, stop))
        if backwards
        else dims.add(stop, dims.multiply(-1, start))
    )
    return start, dims.ceil_divide(room, abs(step)), step


def _limit(value: Any) -> Any:
    """Return a bound of a slice as the user means it: None, a whole number, or a dimension."""
    if value is None or isinstance(value, str | sympy.Expr):
        return value
    return convert.whole("a bound of a slice", value)


def _bound(value: Any, extent: Dim) -> Dim:
    bound = dims.parse(value) if not isinstance(value, int) else value
    return dims.add(extent, bound) if isinstance(bound, int) and bound < 0 else bound


def _place(part: Any, extent: Dim, axis: int) -> Dim:
    place = _bound(part, extent)
    inside = dims.require_at_least(dims.add(extent, -1), place, "the index lies inside the axis")
    if not inside or not dims.require_at_least(place, 0, "the index lies inside the axis"):
        raise ShapeError(f"index {part} lies outside axis {axis} of {dims.text(extent)} elements")
    return place


def _without_numbers(node: Node, parts: list[Any]) -> tuple[Node, list[Any]]:
    """Drop the axes that numbers chose and add the new ones."""
    shape: list[Dim] = []
    left: list[Any] = []
    axes = iter(node.shape)
    for part in parts:
        if part is None:
            shape.append(1)
            left.append(slice(None))
            continue
        extent = next(axes)
        if isinstance(part, slice | Node):
            shape.append(extent)
            left.append(part)
    return linear.reshape(node, tuple(shape)), left


def _gathered(node: Node, parts: Sequence[Any]) -> Node:
    """Read at the places of integer tensors; adjacent ones count as one index of several axes."""
    axes = [i for i, p in enumerate(parts) if isinstance(p, Node)]
    if not axes:
        return node
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise UnsupportedError(
            "integer tensors in an index stand side by side in this version",
            hint="transpose first, or index twice",
        )
    indices = [parts[a] for a in axes]
    if len(indices) == 1:
        return ops.take(node, indices[0], axes[0])
    shape = convert.broadcast_shape("index", indices)
    extents: Shape = node.shape[axes[0] : axes[-1] + 1]
    flat = linear.broadcast_to(linear.cast(indices[0], "int64"), shape)
    for index, extent in zip(indices[1:], extents[1:], strict=True):
        factor = linear.broadcast_to(leaf.size(extent, "int64"), shape)
        offset = linear.broadcast_to(linear.cast(index, "int64"), shape)
        flat = elementwise.apply(elementwise.MULTIPLY, flat, factor)
        flat = elementwise.apply(elementwise.ADD, flat, offset)
    joined = (*node.shape[: axes[0]], dims.size(extents), *node.shape[axes[-1] + 1 :])
    return ops.take(linear.reshape(node, joined), flat, axes[0])
