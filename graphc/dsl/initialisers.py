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

from graphc.errors import DtypeError

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
        values = np.broadcast_to(np.asarray(self.draw(shape, generator)), shape)
        return np.ascontiguousarray(values, dtype=dtype)

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
        rank = 0 if shape is None or isinstance(shape, int | str) else len(shape)
        return glorot() if rank > 1 else constant(0)
    if callable(value):
        return Initialiser(getattr(value, "__name__", "init"), value)
    return array(value) if np.ndim(value) else constant(value)


def constant(value: float) -> Initialiser:
    """Begin everywhere at one number (zeros for a whole net learn nothing: S3, L565)."""
    held = np.asarray(value)
    if held.dtype.kind not in "biuf":
        raise DtypeError(f"init is a number, an array or a gx.init, not {value!r}")
    return Initialiser(f"constant({value!r})", lambda shape, g: value)


def zeros() -> Initialiser:
    """Begin at 0."""
    return constant(0)


def array(values: Any) -> Initialiser:
    """Begin at an array."""
    held = np.array(values)
    if held.dtype.kind not in "biuf":
        raise DtypeError(f"init is a number, an array or a gx.init, not {values!r:.80}")
    held.flags.writeable = False
    return Initialiser("array", lambda shape, g: held, held.shape, held)


def normal(scale: float = 0.01) -> Initialiser:
    """Draw from a normal distribution of mean 0 and deviation ``scale`` (S1 takes 0.001)."""
    return Initialiser(f"normal({scale!r})", lambda s, g: g.standard_normal(s) * scale)


def uniform(low: float = -0.05, high: float = 0.05) -> Initialiser:
    """Draw evenly from [low, high)."""
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
