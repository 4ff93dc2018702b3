"""Loops from 16 to 4,096 steps: compile time is constant, run time and memory are linear.

``pytest -m bench -s tests/bench/test_loops.py`` prints the table.
"""

from __future__ import annotations

import math
import resource
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import graphc as gx

pytestmark = [pytest.mark.bench, pytest.mark.cc]

STEPS = (16, 64, 256, 1024, 4096)
ROUNDS = 9  # of cold compiles and of runs, all lengths in turn
UNITS, FEATURES, SAMPLES = 64, 32, 8
BACKENDS = ("c", "numpy")


def program() -> gx.Program:
    """Return the training step of an LSTM over sequences of any length."""
    xs = gx.input("xs", ("T", "N", FEATURES))
    loss = gx.square(gx.nn.LSTM(UNITS, name="l1")(xs)[1]).mean()
    return gx.Program("loop", train=gx.function([xs], loss, updates=gx.sgd(loss, lr=0.01)))


@dataclass
class Row:
    """What is measured of one length: the least seconds of all rounds, and bytes."""

    compile: float = math.inf
    run: float = math.inf
    memory: int = 0
    source: int = 0
    modules: list[gx.Module] = field(default_factory=list)


def sequences(steps: int) -> np.ndarray:
    """Return random features."""
    return np.random.default_rng(0).random((steps, SAMPLES, FEATURES), np.float32)


def processor_seconds() -> float:
    """Return the time that this process and its compilers have computed, which load moves less."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def compiled(backend: str, caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> dict:
    """Return rows by length with the time of a cold compile; None is the open length."""
    rows: dict[int | None, Row] = {steps: Row() for steps in (*STEPS, None)}
    for _ in range(ROUNDS):
        for steps, row in rows.items():
            monkeypatch.setenv("GRAPHC_CACHE", str(next(caches)))
            declared = program()
            start = processor_seconds()
            made = gx.compile(declared, backend, dims={"T": steps} if steps else None)
            row.compile = min(row.compile, processor_seconds() - start)
            row.source = sum(map(len, made.report["source"].values()))
            row.modules = [made]
    return rows


def run(rows: dict[int | None, Row], backend: str) -> None:
    """Measure a call of each length through the module of the open one."""
    (module,) = rows[None].modules
    for steps in STEPS:
        xs, row = sequences(steps), rows[steps]
        if backend == "c":
            module.train(xs)
            row.memory = module.report["work"]["train"]
        else:
            tracemalloc.start()
            module.train(xs)
            row.memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    for _ in range(ROUNDS):
        for steps in STEPS:
            xs = sequences(steps)
            start = time.perf_counter()
            module.train(xs)
            rows[steps].run = min(rows[steps].run, time.perf_counter() - start)


def show(rows: dict[int | None, Row], backend: str) -> None:
    """Print the table."""
    print(f"\nLSTM of {UNITS} units, {SAMPLES} sequences, a training step through {backend}")
    print(
        f"{'T':>6} {'compile':>9} {'source':>9} {'run':>10} {'run / T':>9} {'work':>10} {'/ T':>9}"
    )
    for steps, row in rows.items():
        head = f"{steps or 'open':>6} {row.compile:7.3f} s {row.source:7,} B"
        if steps is None:
            print(head)
            continue
        print(
            f"{head} {row.run * 1e3:7.2f} ms {row.run / steps * 1e6:6.1f} us"
            f" {row.memory / 1e6:7.2f} MB {row.memory / steps / 1e3:6.2f} kB"
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_length_of_a_loop_costs_run_time_and_memory_and_no_compile_time(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = (tmp_path / f"cache {i}" for i in range(1000))
    rows = compiled(backend, caches, monkeypatch)
    run(rows, backend)
    show(rows, backend)
    times = [rows[steps].compile for steps in STEPS]
    assert max(times) <= 1.1 * min(times)
    assert max(r.source for r in rows.values()) <= 1.02 * min(r.source for r in rows.values())
    long, short = rows[4096], rows[256]
    assert long.memory / 4096 == pytest.approx(short.memory / 256, rel=0.05)
    assert long.run / 4096 <= 1.5 * short.run / 256
