"""Leaves, movement, casts, places, random bits: all that computes nothing, or bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir import Node
from reference.context import FLOATS, Array, Context, Rule, narrow, wide, wrapped


def _leaf(context: Context, node: Node, inputs: list[Any]) -> Array:
    raise KeyError(f"no value for {node!r}")


def _constant(context: Context, node: Node, inputs: list[Any]) -> Array:
    return context.constant(node.attrs["value"])


def _size(context: Context, node: Node, inputs: list[Any]) -> Array:
    (number,) = context.shape((node.attrs["dim"],))
    return context.constant(np.array(number, node.attrs["dtype"]))


def _iota(context: Context, node: Node, inputs: list[Any]) -> Array:
    (length,) = context.shape((node.attrs["length"],))
    return context.constant(np.array(list(range(length)), node.attrs["dtype"]))


def _reshape(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    y = np.empty(context.shape(node.attrs["shape"]), x.dtype)
    assert y.size == x.size
    for to, source in zip(np.ndindex(y.shape), np.ndindex(x.shape), strict=True):
        y[to] = x[source]
    return y


def _transpose(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    axes = node.attrs["axes"]
    y = np.empty([x.shape[a] for a in axes], x.dtype)
    for place in np.ndindex(y.shape):
        source = [0] * len(axes)
        for i, axis in enumerate(axes):
            source[axis] = place[i]
        y[place] = x[tuple(source)]
    return y


def _broadcast_to(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    y = np.empty(context.shape(node.attrs["shape"]), x.dtype)
    lead = y.ndim - x.ndim
    for place in np.ndindex(y.shape):
        tail = place[lead:]
        y[place] = x[tuple(0 if x.shape[i] == 1 else tail[i] for i in range(x.ndim))]
    return y


def _slice(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    start = context.shape(node.attrs["start"])
    y = np.empty(context.shape(node.attrs["shape"]), x.dtype)
    for place in np.ndindex(y.shape):
        moves = zip(start, node.attrs["step"], place, strict=True)
        y[place] = x[tuple(a + s * i for a, s, i in moves)]
    return y


def _pad(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    low, high = context.shape(node.attrs["low"]), context.shape(node.attrs["high"])
    interior = node.attrs["interior"]
    sides = zip(x.shape, low, high, interior, strict=True)
    shape = [a + n + gap * max(n - 1, 0) + b for n, a, b, gap in sides]
    y = np.empty(shape, x.dtype)
    y[...] = context.exact(node.attrs["value"]) if x.dtype == object else node.attrs["value"]
    for place in np.ndindex(x.shape):
        moves = zip(low, interior, place, strict=True)
        y[tuple(a + (gap + 1) * i for a, gap, i in moves)] = x[place]
    return y


def _flip(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    y = np.empty(x.shape, x.dtype)
    axes = node.attrs["axes"]
    for place in np.ndindex(x.shape):
        back = [x.shape[a] - 1 - i if a in axes else i for a, i in enumerate(place)]
        y[tuple(back)] = x[place]
    return y


def _concatenate(context: Context, node: Node, inputs: list[Any]) -> Array:
    axis = node.attrs["axis"]
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)
    y = np.empty(shape, inputs[0].dtype)
    offset = 0
    for x in inputs:
        for place in np.ndindex(x.shape):
            y[(*place[:axis], offset + place[axis], *place[axis + 1 :])] = x[place]
        offset += x.shape[axis]
    return y


def _cast(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    dtype = node.attrs["dtype"]
    if x.dtype == object:
        assert dtype in FLOATS
        return x
    if dtype in FLOATS or dtype == "bool":
        made = x.astype(dtype)
        return context.constant(made)
    y = np.empty(x.shape, dtype)
    for place in np.ndindex(x.shape):
        y[place] = _whole(x[place], dtype)
    return y


def _whole(value: Any, dtype: str) -> int:
    """Return a number as an integer: floats truncate and saturate, integers wrap."""
    if not isinstance(value, np.floating):
        return wrapped(int(value), dtype)
    if math.isnan(value):
        return 0
    info = np.iinfo(dtype)
    if math.isinf(value):
        return int(info.max if value > 0 else info.min)
    return min(max(int(value), int(info.min)), int(info.max))


def _at(place: int, length: int) -> int:
    if not 0 <= place < length:
        raise IndexError(f"place {place} outside 0 … {length - 1}")
    return int(place)


def _take(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, index = inputs
    axis = node.attrs["axis"]
    y = np.empty((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)
    for place in np.ndindex(y.shape):
        before, chosen = place[:axis], place[axis : axis + index.ndim]
        after = place[axis + index.ndim :]
        y[place] = x[(*before, _at(index[chosen], x.shape[axis]), *after)]
    return y


def _scatter_add(context: Context, node: Node, inputs: list[Any]) -> Array:
    base, index, values = inputs
    axis = node.attrs["axis"]
    y, added = wide(base).copy(), wide(values)
    for place in np.ndindex(values.shape):
        before, chosen = place[:axis], place[axis : axis + index.ndim]
        to = (*before, _at(index[chosen], y.shape[axis]), *place[axis + index.ndim :])
        y[to] = y[to] + added[place]
    return narrow(y, base.dtype)


def _pick(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, index = inputs
    y = np.empty(index.shape, x.dtype)
    for place in np.ndindex(index.shape):
        y[place] = x[(*place, _at(index[place], x.shape[-1]))]
    return y


def _one_hot(context: Context, node: Node, inputs: list[Any]) -> Array:
    (index,) = inputs
    (depth,) = context.shape((node.attrs["depth"],))
    y = np.zeros((*index.shape, depth), node.attrs["dtype"])
    for place in np.ndindex(index.shape):
        y[(*place, _at(index[place], depth))] = 1
    return context.constant(y)


_LOW = 0xFFFFFFFF


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Return the four words of Philox4x32-10 (Salmon et al. 2011)."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k0,
            second & _LOW,
            (first >> 32) ^ c[3] ^ k1,
            first & _LOW,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c


def _random_bits(context: Context, node: Node, inputs: list[Any]) -> Array:
    seed, calls = (int(v) for v in inputs[0])
    stream = node.attrs["stream"]
    if not isinstance(stream, int):
        stream = context.streams.setdefault(stream, len(context.streams))
    y = np.empty(context.shape(node.attrs["shape"]), node.attrs["dtype"])
    each = 4 if y.dtype == np.uint32 else 2
    for place, i in zip(np.ndindex(y.shape), range(y.size), strict=True):
        counter = (i // each & _LOW, stream, calls & _LOW, calls >> 32)
        words = philox(counter, (seed & _LOW, seed >> 32))
        at = i % each
        y[place] = words[at] if each == 4 else words[2 * at] | words[2 * at + 1] << 32
    return y


def _first(context: Context, node: Node, inputs: list[Any]) -> Array:
    return inputs[0]  # type: ignore[no-any-return]


def _result(context: Context, node: Node, inputs: list[Any]) -> Array:
    return inputs[0][node.attrs["index"]]  # type: ignore[no-any-return]


RULES: dict[str, Rule] = {
    "input": _leaf,
    "parameter": _leaf,
    "state": _leaf,
    "constant": _constant,
    "size": _size,
    "iota": _iota,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "slice": _slice,
    "pad": _pad,
    "flip": _flip,
    "concatenate": _concatenate,
    "cast": _cast,
    "take": _take,
    "scatter_add": _scatter_add,
    "pick": _pick,
    "one_hot": _one_hot,
    "random_bits": _random_bits,
    "phase": _first,
    "training_only": _first,
    "with_update": _first,
    "stop_gradient": _first,
    "result": _result,
}
