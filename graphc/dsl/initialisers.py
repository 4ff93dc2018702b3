"""How parameters begin (``gx.init``): NumPy functions ``init(shape, dtype, generator)``.

Fans follow the layouts of the language: a matrix is (in, out), filters are (M, C, KH, KW).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc.dsl.location import public
from graphc.errors import DtypeError, ShapeError

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Draw = Callable[[Shape, np.random.Generator], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Initialiser:
    """A named way to begin.

    Attributes:
        name: what summaries and the canonical text call it.
        draw: ``(shape, generator) -> values`` that broadcast to the shape.
        shape: the only shape that it gives, if it is an array.
        array: that array.
    """

    name: str
    draw: Draw
    shape: Shape | None = None
    array: Array | None = None

    def __call__(self, shape: Shape, dtype: str, generator: np.random.Generator) -> Array:
        """Return initial values.

        Errors: whatever a user's own function raises
        """
        drawn = _numbers(self.draw(shape, generator))
        try:
            values = np.broadcast_to(drawn, shape)
        except ValueError:
            raise ShapeError(
                f"init {self.name} gives an array of shape {list(drawn.shape)}, wanted is "
                f"{list(shape)}"
            ) from None
        with np.errstate(over="ignore", invalid="ignore"):
            held = np.array(values, dtype=dtype, order="C")
        if held.dtype.kind != "f" and not np.array_equal(held, values):
            raise DtypeError(f"init {self.name} gives numbers that {dtype} does not hold")
        return held

    @property
    def text(self) -> str:
        """The canonical text of the array, if it is one."""
        if self.array is None:
            return ""
        digest = hashlib.sha256(np.ascontiguousarray(self.array).tobytes()).hexdigest()
        return f"{self.array.dtype.name}{list(self.array.shape)} sha256 {digest}"

    def __repr__(self) -> str:
        return self.name


def of(value: Any, shape: Any) -> Initialiser:
    """Return the initialiser that a user gave: a number, an array, a function, or None."""
    if isinstance(value, Initialiser):
        return value
    if value is None:
        rank = len(shape) if isinstance(shape, tuple | list) else 0
        return glorot() if rank > 1 else constant(0)
    if callable(value):
        return Initialiser(getattr(value, "__name__", "init"), value)
    return array(value) if _numbers(value).ndim else constant(value)


@public
def constant(value: float) -> Initialiser:
    """Begin everywhere at one number (zeros for a whole net learn nothing: S3, L565)."""
    _numbers(value)
    return Initialiser(f"constant({value!r})", lambda shape, g: value)


def zeros() -> Initialiser:
    """Begin at 0."""
    return constant(0)


@public
def array(values: Any) -> Initialiser:
    """Begin at an array."""
    held = _numbers(values).copy()
    held.flags.writeable = False
    return Initialiser("array", lambda shape, g: held, held.shape, held)


@public
def normal(scale: float = 0.01) -> Initialiser:
    """Draw from a normal distribution of mean 0 and deviation ``scale`` (S1 takes 0.001)."""
    _numbers(scale)
    return Initialiser(f"normal({scale!r})", lambda s, g: g.standard_normal(s) * scale)


@public
def uniform(low: float = -0.05, high: float = 0.05) -> Initialiser:
    """Draw evenly from [low, high)."""
    if not np.all(_numbers(low) <= _numbers(high)):
        raise DtypeError(f"init uniform: low is {low!r:.60}, above high, {high!r:.60}")
    return Initialiser(f"uniform({low!r}, {high!r})", lambda s, g: g.uniform(low, high, s))


def fan_in() -> Initialiser:
    """Draw from N(0, 1) / sqrt(fan-in) (S3, L565-581; LeCun 1998)."""
    return Initialiser("fan_in()", lambda s, g: g.standard_normal(s) / math.sqrt(_fans(s)[0]))


def glorot() -> Initialiser:
    """Draw evenly from ± sqrt(6 / (fan-in + fan-out)) (Glorot & Bengio 2010)."""

    def draw(shape: Shape, generator: np.random.Generator) -> Any:
        limit = math.sqrt(6 / sum(_fans(shape)))
        return generator.uniform(-limit, limit, shape)

    return Initialiser("glorot()", draw)


def he() -> Initialiser:
    """Draw from N(0, 2 / fan-in), for relu (He et al. 2015)."""
    return Initialiser("he()", lambda s, g: g.standard_normal(s) * math.sqrt(2 / _fans(s)[0]))


def _fans(shape: Shape) -> tuple[int, int]:
    """Return (fan-in, fan-out), at least 1 each."""
    if len(shape) < 2:
        fan = math.prod(shape)
        return max(fan, 1), max(fan, 1)
    field = math.prod(shape[2:])
    inward, outward = (shape[0], shape[1]) if len(shape) == 2 else (shape[1], shape[0])
    return max(inward * field, 1), max(outward * field, 1)


def _numbers(value: Any) -> Array:
    """Return an array of what should be numbers.

    Errors: DtypeError
    """
    try:
        held = np.asarray(value)
    except (TypeError, ValueError):  # a list of rows of several lengths, a tensor
        held = np.asarray(None)
    if held.dtype.kind not in "biuf":
        raise DtypeError(f"init is a number, an array or a gx.init, not {value!r:.60}")
    return held
