"""Reductions, matrix products, convolutions: sums of products over places that meet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.ir import Node
from reference.context import Array, Context, Rule, narrow, starts, total, wide, winner, zeros


def _groups(shape: Sequence[int], axes: Sequence[int]) -> Iterator[tuple[Any, list[Any]]]:
    """Return for each place of a reduction's result the places that it gathers."""
    kept = [n for i, n in enumerate(shape) if i not in axes]
    inner = [shape[a] for a in axes]
    for place in np.ndindex(*kept):
        found = []
        for gathered in np.ndindex(*inner):
            full, rest = list(range(len(shape))), iter(place)
            for i in range(len(shape)):
                full[i] = gathered[list(axes).index(i)] if i in axes else next(rest)
            found.append(tuple(full))
        yield place, found


def _reduced(x: Array, axes: Sequence[int], dtype: Any, combine: Callable[..., Any]) -> Array:
    y = np.empty([n for i, n in enumerate(x.shape) if i not in axes], dtype)
    for place, gathered in _groups(x.shape, axes):
        y[place] = combine(gathered)
    return y


def _sum(context: Context, node: Node, inputs: list[Any]) -> Array:
    x = wide(inputs[0])
    y = _reduced(x, node.attrs["axes"], x.dtype, lambda places: total(x[p] for p in places))
    return narrow(y, inputs[0].dtype)


def _mean(context: Context, node: Node, inputs: list[Any]) -> Array:
    x = wide(inputs[0])

    def average(places: list[Any]) -> Any:
        if not places:
            return np.nan
        return total(x[p] for p in places) / (
            context.exact(len(places)) if context.symbolic else len(places)
        )

    return narrow(_reduced(x, node.attrs["axes"], x.dtype, average), inputs[0].dtype)


def _max(context: Context, node: Node, inputs: list[Any]) -> Array:
    (x,) = inputs
    keys = context.carried(x)
    return _reduced(x, node.attrs["axes"], x.dtype, lambda places: x[winner(keys, places)])


def _argmax(context: Context, node: Node, inputs: list[Any]) -> Array:
    axis = node.attrs["axis"]
    keys = context.carried(inputs[0])
    return _reduced(keys, (axis,), "int64", lambda places: winner(keys, places)[axis])


def _logsumexp(context: Context, node: Node, inputs: list[Any]) -> Array:
    x = wide(inputs[0])

    def value(places: list[Any]) -> Any:
        top = x[winner(x, places)] if places else -np.inf
        if not np.isfinite(top):
            return top
        return top + np.log(total(np.exp(x[p] - top) for p in places))

    return narrow(_reduced(x, node.attrs["axes"], x.dtype, value), inputs[0].dtype)


def _matmul(context: Context, node: Node, inputs: list[Any]) -> Array:
    a, b = map(wide, inputs)
    y = np.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    for *batch, m, n in np.ndindex(y.shape):
        products = (a[(*batch, m, k)] * b[(*batch, k, n)] for k in range(a.shape[-1]))
        y[(*batch, m, n)] = total(products)
    return narrow(y, inputs[0].dtype)


@dataclass(frozen=True)
class _Taps:
    """Where a convolution reads: outputs, filters and images that meet."""

    window: Any
    size: tuple[int, int]
    kernel: tuple[int, int]

    def outputs(self) -> tuple[int, int]:
        found = []
        for axis in (0, 1):
            padded = self.size[axis] + sum(self.window.padding[axis])
            step, gap = self.window.stride[axis], self.window.dilation[axis]
            found.append(len(starts(padded, self.kernel[axis], step, gap)))
        return found[0], found[1]

    def along(self, axis: int) -> list[tuple[int, int, int]]:
        """Return (output, tap, image) places along an axis, without those in the padding."""
        win, found = self.window, []
        for i, k in itertools.product(range(self.outputs()[axis]), range(self.kernel[axis])):
            place = win.stride[axis] * i + win.dilation[axis] * k - win.padding[axis][0]
            if 0 <= place < self.size[axis]:
                found.append((i, k, place))
        return found

    def all(self, channels: int, filters: int) -> Iterator[tuple[int, ...]]:
        """Return (m, c of the image, c of the filter, i, j, k, r, h, w) that meet."""
        each_c, each_m = channels // self.window.groups, filters // self.window.groups
        rows, columns = self.along(0), self.along(1)
        for m, c in itertools.product(range(filters), range(each_c)):
            image = m // each_m * each_c + c
            for (i, k, h), (j, r, w) in itertools.product(rows, columns):
                yield m, image, c, i, j, k, r, h, w


def _conv2d(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, w = map(wide, inputs)
    taps = _Taps(node.attrs["window"], x.shape[2:], w.shape[2:])
    y = zeros((x.shape[0], w.shape[0], *taps.outputs()), x)
    for n in range(x.shape[0]):
        for m, image, c, i, j, k, r, h, v in taps.all(x.shape[1], w.shape[0]):
            y[n, m, i, j] = y[n, m, i, j] + x[n, image, h, v] * w[m, c, k, r]
    return narrow(y, inputs[0].dtype)


def _conv2d_input_adjoint(context: Context, node: Node, inputs: list[Any]) -> Array:
    g, w = map(wide, inputs)
    win = node.attrs["window"]
    taps = _Taps(win, context.shape(node.attrs["size"]), w.shape[2:])
    assert taps.outputs() == g.shape[2:]
    y = zeros((g.shape[0], w.shape[1] * win.groups, *taps.size), g)
    for n in range(g.shape[0]):
        for m, image, c, i, j, k, r, h, v in taps.all(y.shape[1], w.shape[0]):
            y[n, image, h, v] = y[n, image, h, v] + g[n, m, i, j] * w[m, c, k, r]
    return narrow(y, inputs[0].dtype)


def _conv2d_filter_adjoint(context: Context, node: Node, inputs: list[Any]) -> Array:
    x, g = map(wide, inputs)
    win = node.attrs["window"]
    taps = _Taps(win, x.shape[2:], context.shape(node.attrs["kernel"]))
    assert taps.outputs() == g.shape[2:]
    y = zeros((g.shape[1], x.shape[1] // win.groups, *taps.kernel), x)
    for n in range(x.shape[0]):
        for m, image, c, i, j, k, r, h, v in taps.all(x.shape[1], g.shape[1]):
            y[m, c, k, r] = y[m, c, k, r] + x[n, image, h, v] * g[n, m, i, j]
    return narrow(y, inputs[0].dtype)


RULES: dict[str, Rule] = {
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "argmax": _argmax,
    "logsumexp": _logsumexp,
    "matmul": _matmul,
    "conv2d": _conv2d,
    "conv2d_input_adjoint": _conv2d_input_adjoint,
    "conv2d_filter_adjoint": _conv2d_filter_adjoint,
}
