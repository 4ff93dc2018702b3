"""How far a back end's answer may lie from the truth: one table, with its derivation.

u is half the distance from 1 to the next float (2**-24, 2**-53); gamma(K) = K u / (1 - K u).

exact    bit-equal to NumPy; NaNs by being NaN, zeros by their sign. Two zeros of unlike sign are
         equal maxima, so an op that chooses the largest may give either (``OPEN_ZEROS``).
rounded  `precise.tolerance`: each primitive within its ULP, and what the formula makes of that.
         Where an argument or the answer is 0 or no ordinary number: NumPy's value.
sum      gamma(K + 2) * sum(|terms|), K the number of terms an element gathers (Higham 2002, 3.1:
         any order, fused or not). The 2: a mean's division, and our own rounding of the truth.
graph    ``GRAPH``: relative to 1 + the largest value, for the graphs of `strategies`: at most
         about 20 ops in a row over values of about 1, each of which loses a few u and passes on
         what came before, at a condition of about 10. 2**12 u leaves room; a wrong rule misses by
         far more.
logsumexp  m + log(s), m the maximum, s = sum(exp(x - m)) of K terms. Each term misses by u of the
         difference (x - m) exp(x - m) <= 0.37, and by 4 ULP of exp: relative gamma(K + 10) of s,
         which log turns into an absolute error; log's own 4 ULP of at most log K, and the last
         addition, 1/2 ULP of the result; m itself is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims
from graphc.ir import Node

Array = npt.NDArray[Any]

OPEN_ZEROS = ("max", "max_pool2d", "maximum", "minimum")
GRAPH = 2.0**12
# Inputs of sum ops that choose places and are no terms.
CHOOSES = {"max_pool2d_adjoint": (0,)}


def unit(dtype: str) -> float:
    """Return u of a float type."""
    return float(np.finfo(dtype).eps) / 2


def gamma(count: int, dtype: str) -> float:
    """Return the relative error that ``count`` roundings in a row may add up to."""
    return count * unit(dtype) / (1 - count * unit(dtype))


def terms(node: Node, sizes: Mapping[str, int]) -> int:
    """Return how many terms an element of a sum op's result gathers at most."""

    def number(*shape: dims.Dim) -> int:
        return dims.evaluate(dims.size(shape), sizes)

    x = node.inputs[0].shape
    if node.op.name in ("sum", "mean", "logsumexp"):
        return number(*(x[a] for a in node.attrs["axes"]))
    if node.op.name == "matmul":
        return number(x[-1])
    if node.op.name == "conv2d":
        return number(*node.inputs[1].shape[1:])
    if node.op.name == "conv2d_input_adjoint":
        m, _, kh, kw = node.inputs[1].shape
        return number(m, kh, kw)
    if node.op.name == "conv2d_filter_adjoint":
        n, _, oh, ow = node.inputs[1].shape
        return number(n, oh, ow)
    if node.op.name == "scatter_add":
        return number(*node.inputs[1].shape) + 1
    return math.prod(node.attrs["pool"].kernel)


def sum_bound(node: Node, magnitudes: Array, sizes: Mapping[str, int]) -> Array:
    """Return how far each element of a sum op's result may lie from the truth."""
    least = float(np.finfo(node.dtype).smallest_subnormal)
    count = terms(node, sizes) + 2
    return gamma(count, node.dtype) * magnitudes + count * least


def logsumexp_bound(node: Node, truth: Array, sizes: Mapping[str, int]) -> Array:
    """Return how far each element of a logsumexp may lie from the truth."""
    count = terms(node, sizes)
    rounded = unit(node.dtype) * np.abs(truth)
    logarithm = 8 * unit(node.dtype) * math.log(max(count, 1))
    return gamma(count + 10, node.dtype) + logarithm + rounded
