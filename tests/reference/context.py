"""What the rules of all ops share: arrays of numbers or symbols, sizes, sums, winners."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims
from graphc.ir import Node

Array = npt.NDArray[Any]
Value = Array | tuple[Array, ...]
Rule = Callable[["Context", Node, list[Any]], Value]
FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Context:
    """What an evaluation knows beside the values of a node's inputs.

    Attributes:
        sizes: the sizes of named dimensions.
        number: the number that a symbol carries; None where arrays hold numbers.
        exact: how a number becomes a symbol.
        streams: the numbers of random streams, in the order in which they are met.
        extra: rules for ops that a test made up.
    """

    sizes: Mapping[str, int]
    number: Callable[[Any], Any] | None = None
    exact: Callable[[Any], Any] = lambda value: value
    streams: dict[object, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symbolic(self) -> bool:
        return self.number is not None

    def shape(self, shape: Sequence[dims.Dim]) -> tuple[int, ...]:
        return tuple(dims.evaluate(d, self.sizes) for d in shape)

    def carried(self, x: Array) -> Array:
        """Return the numbers by which elements are compared."""
        if self.number is None or x.dtype != object:
            return x
        found = [self.number(v) for v in x.ravel()]
        return np.array(found, dtype="float64").reshape(x.shape)

    def constant(self, x: Array) -> Array:
        """Return a float array as one of symbols where symbols are computed."""
        if self.number is None or x.dtype.name not in FLOATS:
            return x
        made = np.empty(x.shape, dtype=object)
        for place in np.ndindex(x.shape):
            made[place] = self.exact(x[place].item())
        return made


def wide(x: Array) -> Array:
    """Return elements whose sums and products are exact, or nearly so."""
    if x.dtype == object:
        return x
    return x.astype(np.longdouble if x.dtype.name in FLOATS else object)


def narrow(y: Array, dtype: np.dtype[Any]) -> Array:
    """Round wide elements to a dtype; integers wrap."""
    if dtype.kind == "O":
        return y
    if dtype.name in FLOATS:
        return y.astype(dtype)
    made = np.empty(y.shape, dtype)
    for place in np.ndindex(y.shape):
        made[place] = wrapped(int(y[place]), dtype.name)
    return made


def wrapped(value: int, dtype: str) -> int:
    """Return an integer modulo the range of a dtype."""
    info = np.iinfo(dtype)
    return (value - info.min) % (info.max - info.min + 1) + info.min


def total(terms: Iterable[Any]) -> Any:
    """Add terms; a single one stays as it is, the sign of its zero included."""
    it = iter(terms)
    value = next(it, 0)
    for term in it:
        value = value + term
    return value


def zeros(shape: Sequence[int], like: Array) -> Array:
    made = np.empty(tuple(shape), like.dtype)
    made[...] = 0
    return made


def winner(keys: Array, places: Sequence[Any]) -> Any:
    """Return the place of the first maximum; the first NaN wins."""
    best = places[0]
    for place in places[1:]:
        if keys[best] != keys[best]:
            break
        if keys[place] > keys[best] or keys[place] != keys[place]:
            best = place
    return best


def starts(extent: int, kernel: int, stride: int, dilation: int) -> list[int]:
    """Return where windows begin in a padded extent: all that fit."""
    reach = dilation * (kernel - 1) + 1
    return [i for i in range(0, extent, stride) if i + reach <= extent]
