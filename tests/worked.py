"""What the tests of worked numbers share: compiled definitions, and two comparisons."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gx

PRINTED = 1e-12  # expected numbers stand with 12 decimals
Functions = dict[str, Any]
Compiled = Callable[[Callable[[], Functions]], gx.Module]


@functools.cache
def module(define: Callable[[], Functions], backend: str) -> gx.Module:
    with gx.default_dtype("float64"):
        program = gx.Program(define.__name__, define())
    return gx.compile(program, backend=backend)


def expect_near(got: Any, expected: Any, tolerance: float = PRINTED) -> None:
    """Compare with printed decimals."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def expect_far(got: Any, expected: Any) -> None:
    """Tell a slip from its correction: no element agrees to two digits."""
    assert (np.abs(np.subtract(got, expected)) > 0.01 * np.abs(expected)).all()


def count(nest: Any) -> tuple[int, int]:
    """Return the numbers of weights and of all parameters."""
    sizes = {name: int(np.prod(t.shape)) for name, t in gx.parameters(nest).items()}
    return sum(n for name, n in sizes.items() if name.endswith("weight")), sum(sizes.values())
