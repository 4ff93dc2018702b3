"""Timings, printed as ratios in one run: ``pytest -m bench -s``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from bench import workloads

pytestmark = [pytest.mark.bench, pytest.mark.cc]


def digits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels."""
    generator = np.random.default_rng(0)
    images = generator.random((n, 1, 28, 28), dtype="float32")
    return images, generator.integers(0, 10, n)


@pytest.mark.parametrize("n", [1, 64, 256])
def test_a_lenet5_step_through_c_is_not_slower_than_through_numpy(n: int) -> None:
    program = workloads.lenet5()
    images, labels = digits(n)
    steps = {}
    for name in ("c", "numpy"):
        module = gx.compile(program, backend=name)
        steps[name] = lambda module=module: module.train(images, labels)
    times = workloads.in_turn(steps)
    ratio = times["c"] / times["numpy"]
    print(f"\nlenet5.train.b{n}: c {times['c'] * 1e3:.2f} ms, numpy / c = {1 / ratio:.2f}")
    assert ratio < 1


COMPILE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import graphc as gx
from bench import workloads
start = time.perf_counter()
module = gx.compile(workloads.lenet5(), backend="c")
print(module.report["cache"], time.perf_counter() - start)
"""


def test_declaration_to_loaded_module_takes_3_s_cold_and_half_a_second_warm(
    tmp_path: Path,
) -> None:
    times: dict[str, list[float]] = {"miss": [], "hit": []}
    for round_ in range(3):
        environment = os.environ | {"GRAPHC_CACHE": str(tmp_path / f"cache {round_}")}
        for _ in range(2):
            command = [sys.executable, "-c", COMPILE, str(Path(__file__).parents[1])]
            made = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            state, seconds = made.stdout.split()
            times[state].append(float(seconds))
    cold, warm = (statistics.median(times[s]) for s in ("miss", "hit"))
    print(f"\nlenet5 to a loaded module: cold {cold:.2f} s, warm {warm:.2f} s")
    assert cold <= 3 and warm <= 0.5


IMPORT = """
import time
import numpy, sympy
start = time.perf_counter()
import graphc
print(time.perf_counter() - start)
"""


def test_importing_graphc_costs_at_most_a_fifth_of_a_second() -> None:
    command = [sys.executable, "-c", IMPORT]
    runs = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(7)
    ]
    print(f"\nimport graphc over numpy and sympy: {statistics.median(runs):.3f} s")
    assert statistics.median(runs) <= 0.2
