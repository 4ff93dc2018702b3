"""Pooling: windows that stand one after another, and what is in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.ir import Node
from reference.context import Array, Context, Rule, narrow, starts, total, wide, winner, zeros


def _pool_starts(extent: int, pool: Any, axis: int) -> list[int]:
    """Return where windows begin in the padded extent.

    With ``ceil_mode`` a window may begin as long as the one before it leaves elements over, and
    inside the image or its left padding.
    """
    (low, high), k, s = pool.padding[axis], pool.kernel[axis], pool.stride[axis]
    padded = low + extent + high
    if not pool.ceil_mode:
        return starts(padded, k, s, 1)
    return [i for i in range(0, low + extent, s) if i == 0 or i - s + k < padded]


def _windows(
    pool: Any, size: Sequence[int]
) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]], int]]:
    """Return for each output its real places, and the number it has in the padded image."""
    starts = [_pool_starts(size[a], pool, a) for a in (0, 1)]
    for (i, top), (j, left) in itertools.product(*map(enumerate, starts)):
        spans, padded = [], 1
        for axis, start in enumerate((top, left)):
            low, high = pool.padding[axis]
            stop = min(start + pool.kernel[axis], low + size[axis] + high)
            padded *= stop - start
            spans.append([p - low for p in range(start, stop) if 0 <= p - low < size[axis]])
        yield (i, j), list(itertools.product(*spans)), padded


def _pooled(pool: Any, x: Array) -> Array:
    counts = [len(_pool_starts(x.shape[2 + a], pool, a)) for a in (0, 1)]
    return zeros((*x.shape[:2], *counts), x)


def _max_pool2d(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    pool, keys = node.attrs["pool"], context.carried(x)
    y = _pooled(pool, x)
    for n, c in np.ndindex(x.shape[:2]):
        for out, places, _ in _windows(pool, x.shape[2:]):
            real = [(n, c, *p) for p in places]
            y[(n, c, *out)] = x[winner(keys, real)] if real else -np.inf
    return y


def _max_pool2d_select(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, v = inputs
    pool, keys = node.attrs["pool"], context.carried(x)
    y = _pooled(pool, v)
    for n, c in np.ndindex(x.shape[:2]):
        for out, places, _ in _windows(pool, x.shape[2:]):
            real = [(n, c, *p) for p in places]
            if real:
                y[(n, c, *out)] = v[winner(keys, real)]
    return y


def _max_pool2d_adjoint(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, g = inputs[0], wide(inputs[1])
    pool, keys = node.attrs["pool"], context.carried(x)
    y = zeros(x.shape, g)
    for n, c in np.ndindex(x.shape[:2]):
        for out, places, _ in _windows(pool, x.shape[2:]):
            real = [(n, c, *p) for p in places]
            if real:
                place = winner(keys, real)
                y[place] = y[place] + g[(n, c, *out)]
    return narrow(y, inputs[1].dtype)


def _count(context: Context, pool: Any, places: Sequence[Any], padded: int) -> Any:
    number = padded if pool.count_include_pad else len(places)
    return context.exact(number) if context.symbolic else np.longdouble(number)


def _avg_pool2d(context: Context, node: Node, inputs: list[Any]) -> Array:
    x = wide(inputs[0])
    pool = node.attrs["pool"]
    y = _pooled(pool, x)
    for n, c in np.ndindex(x.shape[:2]):
        for out, places, padded in _windows(pool, x.shape[2:]):
            whole = total(x[(n, c, *p)] for p in places)
            y[(n, c, *out)] = whole / _count(context, pool, places, padded)
    return narrow(y, inputs[0].dtype)


def _avg_pool2d_adjoint(context: Context, node: Node, inputs: list[Any]) -> Array:
    g = wide(inputs[0])
    pool = node.attrs["pool"]
    y = zeros((*g.shape[:2], *context.shape(node.attrs["size"])), g)
    for n, c in np.ndindex(g.shape[:2]):
        for out, places, padded in _windows(pool, y.shape[2:]):
            share = g[(n, c, *out)] / _count(context, pool, places, padded)
            for p in places:
                y[(n, c, *p)] = y[(n, c, *p)] + share
    return narrow(y, inputs[0].dtype)


RULES: dict[str, Rule] = {
    "max_pool2d": _max_pool2d,
    "max_pool2d_select": _max_pool2d_select,
    "max_pool2d_adjoint": _max_pool2d_adjoint,
    "avg_pool2d": _avg_pool2d,
    "avg_pool2d_adjoint": _avg_pool2d_adjoint,
}
