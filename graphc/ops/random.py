"""Random numbers as pure functions of a key, and what is drawn from them.

Bits come from Philox4x32-10 (Salmon et al. 2011), the same in every back end. The key is two
uint64: a seed, and a counter of calls. The words of the Philox counter are the index of the block
of four words, the stream's number, and the low and high half of the call counter.

A *stream* is a token that a user's call makes: every copy keeps it and it equals only itself, so
that two dropouts never draw the same mask. The pipeline numbers the streams of a program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from graphc import ir
from graphc.dims import Shape
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Floats, Node, Op, TensorType
from graphc.ops import elementwise, leaf, linear, scalar

KEY_NAME = "random.key"
KEY_SHAPE: Shape = (2,)
_BITS = ("uint32", "uint64")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """A token of one draw; equal only to itself."""


def _infer(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (key,) = inputs
    if key.shape != KEY_SHAPE or key.dtype != "uint64":
        raise ShapeError("random_bits: the key is uint64[2]", rows=[(key.label, str(key.type))])
    if attrs["dtype"] not in _BITS:
        raise DtypeError(f"random_bits: gives uint32 or uint64, not {attrs['dtype']}")
    return TensorType(attrs["dtype"], attrs["shape"])


RANDOM_BITS = Op(
    "random_bits", _infer, leaf.no_gradient, Floats.EXACT, "y = Philox4x32-10(key; stream)"
)


def random_bits(key: Node, stream: Stream | int, shape: Shape, dtype: str = "uint32") -> Node:
    """Draw bits.

    Shapes: key (2,) uint64 -> shape
    """
    attrs = {"stream": stream, "shape": shape, "dtype": dtype}
    return ir.apply(RANDOM_BITS, (key,), attrs)


def uniform(key: Node, stream: Stream, shape: Shape, dtype: str) -> Node:
    """Draw floats evenly from [0, 1): the upper 24 (float32) or 53 (float64) bits of a word."""
    word, bits, kept = ("uint32", 32, 24) if dtype == "float32" else ("uint64", 64, 53)
    drawn = random_bits(key, stream, shape, word)
    divisor = linear.broadcast_to(leaf.constant(2 ** (bits - kept), word), shape)
    upper = elementwise.apply(elementwise.FLOOR_DIVIDE, drawn, divisor)
    fraction = linear.cast(upper, dtype)
    scale = elementwise.filled(2.0**-kept, fraction)
    return elementwise.apply(elementwise.MULTIPLY, fraction, scale)


def normal(key: Node, streams: tuple[Stream, Stream], shape: Shape, dtype: str) -> Node:
    """Draw from the standard normal distribution.

    Source: Box & Muller 1958
    """
    radius, angle = (uniform(key, s, shape, dtype) for s in streams)
    return elementwise.apply(_BOX_MULLER, radius, angle)


_BOX_MULLER = elementwise.formula(
    "box_muller",
    lambda u, v: scalar.sqrt(-2 * scalar.log1p(-u)) * scalar.cos(sympy.Float(2 * math.pi) * v),
    2,
)


# The one leaf that holds a program's key: (seed, counter of calls).
KEY = leaf.state(KEY_NAME, KEY_SHAPE, "uint64", None)


def advanced(key: Node) -> Node:
    """Return the key of the next call."""
    step = leaf.constant([0, 1], "uint64")
    return elementwise.apply(elementwise.ADD, key, step)


def folded(key: Node, t: Node) -> Node:
    """Return the key of step t of a loop: seed * K + t + 1, with Knuth's MMIX multiplier.

    Loops inside loops fold again, and the multiplier tells (1, 0) from (0, 1).
    """
    factors = leaf.constant([6364136223846793005, 1], "uint64")
    step = linear.reshape(linear.cast(t, "uint64"), (1,))
    one = leaf.constant([1], "uint64")
    ahead = elementwise.apply(elementwise.ADD, step, one)
    offsets = linear.pad(ahead, (0,), (1,))
    scaled = elementwise.apply(elementwise.MULTIPLY, key, factors)
    return elementwise.apply(elementwise.ADD, scaled, offsets)
