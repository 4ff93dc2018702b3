"""Batches of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc.dsl.location import placed
from graphc.errors import CallError

Array = npt.NDArray[Any]


@placed
def batches(
    *arrays: Any, size: int, seed: int | None = None, drop_last: bool = False
) -> Iterator[tuple[Array, ...]]:
    """Cut any number of arrays into batches along their first axis, shuffled alike.

    Without a seed the order is kept; give another seed each epoch for another order. The last
    batch may be smaller unless ``drop_last``.

    Errors: CallError for arrays of different lengths, none, or a size below 1
    """
    try:
        held = [np.asarray(a) for a in arrays]
    except (TypeError, ValueError):
        raise CallError(f"batches: takes arrays, not {arrays!r:.60}") from None
    if not held or any(a.ndim == 0 for a in held):
        raise CallError("batches: needs arrays of at least one axis")
    lengths = [len(a) for a in held]
    if len(set(lengths)) > 1:
        raise CallError(f"batches: the arrays have different lengths: {lengths}")
    if not _is_whole(size) or size < 1:
        raise CallError(f"batches: a batch has at least 1 element, not {size!r:.60}")
    if seed is not None and (not _is_whole(seed) or seed < 0):
        raise CallError(f"batches: a seed is a whole number from 0 on, not {seed!r:.60}")
    return _cut(held, lengths[0], size, seed, drop_last)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _cut(
    arrays: list[Array], length: int, size: int, seed: int | None, drop_last: bool
) -> Iterator[tuple[Array, ...]]:
    order = np.arange(length) if seed is None else np.random.default_rng(seed).permutation(length)
    end = length - length % size if drop_last else length
    for start in range(0, end, size):
        chosen = order[start : min(start + size, end)]
        yield tuple(a[chosen] for a in arrays)
