"""The programs that are timed, and timing as ratios in one run, in turn (A B A B)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import graphc as gx


def lenet5(name: str = "lenet5") -> gx.Program:
    """Return LeNet-5 (tanh, average pools, plain SGD) over 28 x 28 digits."""
    x = gx.input("x", ("N", 1, 28, 28))
    y = gx.input("y", ("N",), dtype="int64")
    h = gx.nn.Conv2d(6, 5, padding=2, name="c1")(x).tanh()
    h = gx.avg_pool2d(h, 2)
    h = gx.nn.Conv2d(16, 5, name="c2")(h).tanh()
    h = gx.avg_pool2d(h, 2).flatten(1)
    h = gx.nn.Dense(120, name="f1")(h).tanh()
    h = gx.nn.Dense(84, name="f2")(h).tanh()
    logits = gx.nn.Dense(10, name="out")(h)
    loss = gx.cross_entropy(logits, y)
    return gx.Program(
        name,
        predict=gx.function([x], logits.argmax(axis=1)),
        train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=0.1)),
    )


def in_turn(
    candidates: Mapping[str, Callable[[], object]], rounds: int = 15, repeat: int = 10
) -> dict[str, float]:
    """Return median seconds of one call for each candidate, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    for _ in range(rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            times[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(found) for name, found in times.items()}
