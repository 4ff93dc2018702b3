"""How the leaves of a sample are filled: ordinary values, places, and special ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims

Array = npt.NDArray[Any]
Fill = Callable[[np.random.Generator, tuple[int, ...], str, Mapping[str, int]], Array]
FLOATS = ("float32", "float64")


def by_dtype(dtype: str, number: int = 0) -> Fill:
    """Return how a leaf is filled that has no fill of its own."""
    if dtype in FLOATS:
        return spaced(-2.0, 2.0, number)
    return booleans if dtype == "bool" else integers


def spaced(low: float, high: float, number: int = 0) -> Fill:
    """Return distinct floats in random order, evenly spaced; leaves do not share values."""

    def fill(
        generator: np.random.Generator, shape: tuple[int, ...], dtype: str, _: Mapping[str, int]
    ) -> Array:
        count = math.prod(shape)
        steps = (np.arange(count) + 0.2 + 0.13 * (number % 5)) / max(count, 1)
        values = low + (high - low) * steps
        return generator.permutation(values).reshape(shape).astype(dtype)

    return fill


def integers(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, _: Mapping[str, int]
) -> Array:
    """Return small integers, and the ends of the range, where arithmetic wraps."""
    info = np.iinfo(dtype)
    low = max(int(info.min), -9)
    made = generator.integers(low, 10, shape).astype(dtype)
    ends = generator.random(shape)
    made[ends < 0.15] = info.max
    made[ends > 0.85] = info.min
    return made


def booleans(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, _: Mapping[str, int]
) -> Array:
    return generator.random(shape) < 0.5


def places(limit: dims.Dim | str) -> Fill:
    """Return places below a dimension, with repetitions."""

    def fill(
        generator: np.random.Generator,
        shape: tuple[int, ...],
        dtype: str,
        sizes: Mapping[str, int],
    ) -> Array:
        return generator.integers(0, dims.evaluate(dims.parse(limit), sizes), shape).astype(dtype)

    return fill


def words(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, _: Mapping[str, int]
) -> Array:
    return generator.integers(0, 2**64, shape, dtype="uint64")


def special(dtype: str) -> Array:
    """Return the floats, or integers, at which functions differ from their formulas."""
    if dtype == "bool":
        return np.array([False, True])
    if dtype not in FLOATS:
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, 0, 1, 2, 7, int(info.max) // 2 + 1], dtype)
    info = np.finfo(dtype)
    positive = [0.0, 1.0, 0.5, 2.5, 3.0, float(info.max), float(info.tiny), np.inf]
    small = [float(info.smallest_subnormal), float(info.eps), 1e-5, 20.0, 1e4]
    signed = [s * v for v in (*positive, *small) for s in (1, -1)]
    return np.array([*signed, np.nan], dtype)


def product_of_specials(dtypes: Sequence[str], most: int) -> list[Array]:
    """Return special values for several leaves, each meeting each; beyond ``most``, some do."""
    grids = np.meshgrid(*(np.arange(len(special(d))) for d in dtypes), indexing="ij")
    chosen = [special(d)[g.ravel()] for d, g in zip(dtypes, grids, strict=True)]
    step = -(-len(chosen[0]) // most)
    step += step > 1 and len(special(dtypes[-1])) % step == 0
    return [np.ascontiguousarray(c[::step]) for c in chosen]


def repeated_specials(
    generator: np.random.Generator, shape: tuple[int, ...], dtype: str, _: Mapping[str, int]
) -> Array:
    return np.resize(special(dtype), shape)
