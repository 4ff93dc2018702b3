"""A hundred random cells: the loop's gradient is the unrolled one, and that of differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx
import random_cells
from random_cells import Drawn, leaf_names

SEEDS = range(100)
THROUGH_C = 12  # compiled with every run of the tests; the others are slow
STEP = 6e-6  # of central differences in float64: about the cube root of a rounding
TOLERANCE = 1e-10  # of the largest entry of a gradient, in float64


def _on_each() -> list[Any]:
    """Return seeds and back ends: NumPy for all, C too."""
    found = [pytest.param(seed, "numpy", id=f"{seed}-numpy") for seed in SEEDS]
    for seed in SEEDS:
        marks = [pytest.mark.cc] if seed < THROUGH_C else [pytest.mark.cc, pytest.mark.slow]
        found.append(pytest.param(seed, "c", id=f"{seed}-c", marks=marks))
    return found


def expect_equal(got: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise unless arrays agree, each relative to its largest entry, but at least to 1."""
    for name, array in expected.items():
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(got[name], array, rtol=0, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize(("seed", "backend"), _on_each())
def test_the_loops_gradient_is_the_unrolled_gradient(seed: int, backend: str) -> None:
    made = random_cells.drawn(seed)
    at = made.values()
    flat = gx.unroll(made.loss, **made.open_sizes())
    # What no step reads is not there any more; its gradient is 0.
    wrt = {name: gx.find(flat, name) for name in made.leaves if name in leaf_names(flat)}
    rolled = gx.grad(made.loss, made.leaves, disconnected="zero")
    unrolled = gx.grad(flat, wrt, disconnected="zero")
    got = gx.evaluate({"loss": made.loss, **rolled}, at, training=True, backend=backend)
    expected = gx.evaluate({"loss": flat, **unrolled}, at, training=True)
    absent = {name: np.zeros_like(at[name]) for name in made.leaves if name not in wrt}
    expect_equal(got, {**absent, **expected})


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loops_gradient_agrees_with_central_differences(seed: int) -> None:
    made = random_cells.drawn(seed, truncated=False)  # which is no derivative of the value
    gradients = gx.grad(made.loss, made.leaves, disconnected="zero")
    inputs = [t for t in (*made.leaves.values(), *made.masks) if t.name not in made.parameters]
    function = gx.function(inputs, {"loss": made.loss, **gradients}, training=True)
    module = gx.compile(gx.Program("cell", run=function), backend="numpy")
    point = Point(module, made)
    slopes = point.run(point.at)
    generator = np.random.default_rng(seed)
    for name in made.leaves:
        direction = generator.choice([-1.0, 1.0], np.shape(point.at[name]))
        ends = [point.moved(name, side * STEP * direction)["loss"] for side in (1, -1)]
        slope = np.sum(slopes[name] * direction)
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(slope, rel=1e-6, abs=1e-6)


class Point:
    """A module, and values that it is called at."""

    def __init__(self, module: gx.Module, made: Drawn) -> None:
        self.module, self.parameters, self.at = module, made.parameters, made.values()

    def run(self, at: dict[str, Any]) -> dict[str, Any]:
        """Return all outputs at some values."""
        self.module.state.update({n: v for n, v in at.items() if n in self.parameters})
        found: dict[str, Any] = self.module.run(
            **{n: v for n, v in at.items() if n not in self.parameters}
        )
        return found

    def moved(self, name: str, step: Any) -> dict[str, Any]:
        """Return all outputs with one value moved."""
        return self.run(self.at | {name: self.at[name] + step})


def test_the_hundred_cells_are_of_every_kind() -> None:
    cells = [random_cells.drawn(seed) for seed in SEEDS]
    for option in ("reverse", "truncate", "lengths", "length"):
        assert sum(option in c.options for c in cells) >= 15
    assert sum(c.inner for c in cells) >= 25
    assert {c.sizes["T"] for c in cells} == set(range(1, 8))
