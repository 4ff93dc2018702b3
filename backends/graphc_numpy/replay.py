"""The test of exported modules: recorded calls, replayed from the weights beside the module.

Knows NumPy and the standard library, and no graphc. A module's own calls stand between the marks;
the exit status is 1 where a result differs by more than its tolerance.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# --- tables
MODULE = "standalone"
CASES: list[dict[str, Any]] = []
# --- end of tables


def main() -> int:
    """Replay all calls and say what differs; return the exit status."""
    here = Path(__file__).resolve()
    sys.path.insert(0, str(here.parent))
    make = importlib.import_module(MODULE).Module
    found = []
    with np.load(here.with_suffix(".npz"), allow_pickle=False) as file:
        recorded = dict(file)
    for number, case in enumerate(CASES):
        given = [recorded[f"{number}_in{i}"] for i in range(len(case["inputs"]))]
        wanted = [recorded[f"{number}_out{i}"] for i in range(len(case["results"]))]
        found += [
            f"{case['function']}: {line}" for line in _differences(make(), case, given, wanted)
        ]
        for slope in case["slopes"]:
            found += [f"{case['function']}: {t}" for t in _slope(make, case, slope, given, wanted)]
    for line in found:
        print(f"FAILED: {line}")
    if not found:
        print(f"OK: {len(CASES)} recorded calls")
    return 1 if found else 0


def _called(module: Any, case: Mapping[str, Any], given: list[Any]) -> list[Any]:
    """Return the results of a call in order."""
    return _flat(module.functions[case["function"]](*given, **case["sizes"]))


def _differences(
    module: Any, case: Mapping[str, Any], given: list[Any], wanted: list[Any]
) -> Iterator[str]:
    """Make a call, and yield a line for each result and each state that differs."""
    got = _called(module, case, given)
    for i, (state, tolerance) in enumerate(case["results"]):
        value = got[i] if state is None else module.state[state]
        why = _difference(value, wanted[i], tolerance)
        if why:
            yield f"{f'result {i}' if state is None else f'new {state}'} {why}"


def _slope(
    make: Any, case: Mapping[str, Any], slope: Any, given: list[Any], wanted: list[Any]
) -> Iterator[str]:
    """Compare a gradient with differences of its loss, and yield a line for each that differs."""
    place, loss, leaf, directions = slope
    gradient = wanted[place].astype("float64")
    for made_up, step, tolerance in directions:
        along = _signs(gradient.size).reshape(gradient.shape)
        if not made_up:
            along = gradient / np.abs(gradient).max()
        ends = []
        for move in (step * along, -step * along):
            module, inputs = make(), dict(zip(case["inputs"], given, strict=True))
            held = inputs if leaf in inputs else module.state
            held[leaf] = (held[leaf] + move).astype(held[leaf].dtype)
            ends.append(float(_called(module, case, list(inputs.values()))[loss]))
        apart = abs((ends[0] - ends[1]) / (2 * step) - float((gradient * along).sum()))
        if not apart <= tolerance:
            yield f"the gradient by {leaf} is off by {apart:.3g}, above {tolerance:.3g}"


def _signs(count: int) -> Any:
    """Return made-up signs: the top bits of splitmix64's outputs from 0."""
    z = np.arange(1, count + 1, dtype="uint64") * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    top = (z ^ (z >> np.uint64(31))) >> np.uint64(63)
    return 1.0 - 2.0 * top.astype("float64")


def _flat(nest: Any) -> list[Any]:
    """Return the arrays of a nest of tuples, lists and dicts in order."""
    if isinstance(nest, dict | tuple | list):
        parts = nest.values() if isinstance(nest, dict) else nest
        return [leaf for part in parts for leaf in _flat(part)]
    return [nest]


def _difference(got: Any, wanted: Any, tolerance: float) -> str | None:
    """Say how two arrays differ, or nothing."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        shapes = [f"{a.dtype}{list(a.shape)}" for a in (got, wanted)]
        return f"is {shapes[0]} instead of {shapes[1]}"
    if wanted.dtype.kind != "f":
        return None if np.array_equal(got, wanted) else "is another"
    finite = np.isfinite(wanted)
    if not np.array_equal(got[~finite], wanted[~finite], equal_nan=True):
        return "has other infinities or NaNs"
    apart = np.abs(got[finite].astype("float64") - wanted[finite].astype("float64"))
    worst = float(apart.max(initial=0.0))
    return None if worst <= tolerance else f"differs by {worst:.3g}, above {tolerance:.3g}"


if __name__ == "__main__":
    sys.exit(main())
