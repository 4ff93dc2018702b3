"""Random graphs and their derivatives on every installed back end, against the reference."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import reference
import strategies
import tolerances
from graphc import backend
from graphc.errors import NoCompilerError
from graphc.ir import Function, Node, Program
from graphc.passes import differentiate, pipeline
from strategies import Drawn

BACKENDS = ["numpy", pytest.param("c", marks=pytest.mark.cc)]
SEEDS = range(40)
RUNS = [(seed, dtype) for dtype in reference.FLOATS for seed in SEEDS]


def _outputs(drawn: Drawn) -> list[Node]:
    """Return the outputs, and the derivatives of their sums."""
    seeds = [differentiate.ones(n) for n in drawn.outputs]
    found = differentiate.cotangents(drawn.outputs, seeds, drawn.leaves)
    return [*drawn.outputs, *found.values()]


@cache
def _executable(name: str) -> backend.Executable:
    functions = []
    for seed, dtype in RUNS:
        drawn = strategies.seeded(seed, dtype)
        outputs = tuple(_outputs(drawn))
        functions.append(Function(f"f{seed}_{dtype}", tuple(drawn.leaves), outputs, training=True))
    ready = pipeline.canonical(Program("random_graphs", tuple(functions)))
    try:
        return backend.find(name).build(ready, backend.Options())
    except NoCompilerError as error:
        pytest.skip(error.message)


def _close(got: Any, true: Any, dtype: str) -> bool:
    allowed = tolerances.GRAPH * tolerances.unit(dtype)
    scale = 1 + np.max(np.abs(true), initial=0)
    missed = np.max(np.abs(got.astype("float64") - true), initial=0)
    return bool(missed <= allowed * scale)


@pytest.mark.parametrize(("seed", "dtype"), RUNS)
@pytest.mark.parametrize("name", BACKENDS)
def test_random_graph_and_its_derivatives_agree_with_the_reference(
    name: str, seed: int, dtype: str
) -> None:
    drawn, wide = strategies.seeded(seed, dtype), strategies.seeded(seed, "float64")
    arrays = list(drawn.inputs(seed).values())
    got = _executable(name).call(f"f{seed}_{dtype}", arrays, drawn.sizes)
    at = {n: a.astype("float64") for n, a in zip(wide.leaves, arrays, strict=True)}
    true = reference.evaluate(_outputs(wide), at, wide.sizes)
    assert [g.shape for g in got] == [t.shape for t in true]
    assert [_close(g, t, dtype) for g, t in zip(got, true, strict=True)] == [True] * len(true)
