"""Random tensors and dropout: pure functions of the program's key.

Every call makes a stream of its own; the key is one state, saved with the weights and advanced
once by each call of a compiled function that draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from graphc import ir
from graphc.dsl import convert, functions
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import DtypeError, GraphError
from graphc.ops import random
from graphc.ops.random import KEY, Stream


@public
def uniform(shape: Any, low: Any = 0.0, high: Any = 1.0, *, dtype: str | None = None) -> Tensor:
    """Draw floats evenly from [low, high)."""
    kind = _floats(dtype)
    drawn = Tensor(random.uniform(KEY, _stream(), convert.shape_of(shape), kind))
    if isinstance(low, float | int) and isinstance(high, float | int) and (low, high) == (0, 1):
        return drawn
    return functions.add(drawn * functions.subtract(high, low), low)


@public
def normal(shape: Any, mean: Any = 0.0, scale: Any = 1.0, *, dtype: str | None = None) -> Tensor:
    """Draw floats from the normal distribution."""
    kind = _floats(dtype)
    drawn = Tensor(random.normal(KEY, (_stream(), _stream()), convert.shape_of(shape), kind))
    return functions.add(drawn * scale, mean)


@public
def random_bits(shape: Any, dtype: str = "uint32") -> Tensor:
    """Draw bits (uint32 or uint64), the same in every back end."""
    return Tensor(
        random.random_bits(KEY, _stream(), convert.shape_of(shape), convert.dtype_of(dtype))
    )


@public
def dropout(x: Any, rate: float) -> Tensor:
    """Drop elements with probability ``rate`` in training, and scale the rest by 1 / (1 - rate).

    In the test form it is the identity. ``rate`` is the part dropped, at least 0 and below 1.

    Source: Srivastava et al. 2014, in the inverted form
    """
    node = convert.node_of(x)
    if not 0 <= convert.number("dropout: the rate", rate) < 1 or isinstance(rate, bool):
        raise GraphError(f"dropout: the rate is the part dropped, from 0 to below 1, not {rate!r}")
    if not node.tensor.is_float:
        raise DtypeError(
            f"dropout: scales floats, and {node.label} is {node.dtype}",
            rows=[(node.label, str(node.type))],
        )
    if rate == 0:
        return Tensor(node)
    value = Tensor(node)
    keeps = functions.greater_equal(uniform(node.shape, dtype=node.dtype), rate)
    dropped = functions.where(keeps, value * (1 / (1 - rate)), 0.0)
    return functions.phase(train=dropped, test=value)


# The streams that each cell under way has made, so that its loop knows its own draws.
_recorders: ContextVar[tuple[set[Stream], ...]] = ContextVar("graphc_recorders", default=())


@contextmanager
def recording() -> Iterator[set[Stream]]:
    """Collect the streams that are made inside the block."""
    made: set[Stream] = set()
    token = _recorders.set((*_recorders.get(), made))
    try:
        yield made
    finally:
        _recorders.reset(token)


def _stream() -> Stream:
    stream = Stream()
    for made in _recorders.get():
        made.add(stream)
    return stream


def _floats(dtype: Any) -> str:
    kind = convert.float_or(dtype)
    if kind not in ir.FLOATS:
        raise DtypeError(
            f"random numbers are drawn as {' or '.join(ir.FLOATS)}, not as {kind}",
            hint=f'draw floats and use .astype("{kind}"), or gx.random_bits',
        )
    return kind
