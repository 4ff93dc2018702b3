"""Unrolled recurrences are 100,000 nodes deep: nothing recurses, each step is linear."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import reference
from graphc import dims, ir, printer, verify
from graphc.ir import Function, Node, Program
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, matmul
from graphc.passes import (
    bind,
    differentiate,
    fold,
    merge,
    pipeline,
    resolve,
    retype,
    simplify,
    stabilise,
)

N = dims.symbol("N")
PASSES = (*(resolve.resolve, stabilise.stabilise, fold.fold, simplify.simplify, merge.merge),)


@contextmanager
def _shallow() -> Iterator[None]:
    """Allow 200 calls more than are open now, so that recursion over a graph fails."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 200)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _chain(steps: int) -> tuple[Node, Node, Node]:
    """Return x, w and h = tanh(h w + x), repeated."""
    x = leaf.input("x", (N, 2), "float64")
    w = leaf.parameter("w", (2, 2), "float64", None)
    h = x
    for step in range(steps):
        with ir.noting(name="h", where="model.py:3", step=step):
            h = e.apply(e.TANH, e.apply(e.ADD, matmul.matmul(h, w), x))
    return x, w, h


def _program(x: Node, w: Node, h: Node) -> Program:
    loss = linear.sum(h, (0, 1))
    found = differentiate.cotangents([loss], [differentiate.ones(loss)], [w])
    new = e.apply(e.SUBTRACT, w, found[w])
    return Program("p", (Function("f", (x,), (loss,), ((w, new),), 0, True),), (w,))


def _pass_through(steps: int) -> Program:
    with _shallow():
        made = _program(*_chain(steps))
        verify.verify(made)
        printer.digest(made)
        after = pipeline.canonical(made, dtype="float32", sizes={"N": 2})
        ir.users(ir.topological(after.roots))
    return after


def test_chain_of_three_thousand_nodes_goes_through_everything() -> None:
    after = _pass_through(350)
    assert len(ir.topological(after.roots)) > 3_000


@pytest.mark.slow
def test_chain_of_a_hundred_thousand_nodes_goes_through_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GRAPHC_VERIFY")  # once before and once after all passes is enough here
    after = _pass_through(33_334)
    assert len(ir.topological(after.roots)) > 300_000


def test_long_chain_has_the_right_derivative() -> None:
    """An RNN's derivative through 300 steps, against a central difference."""
    with _shallow():
        x, w, h = _chain(300)
        made = _program(x, w, h)
    at = {x: np.array([[0.3, -0.2]]), w: np.array([[0.7, -0.4], [0.2, 0.5]])}
    (function,) = made.functions
    gradient = function.updates[0][1].inputs[1]
    (value,) = reference.evaluate([gradient], at, {"N": 1})
    moved = []
    for step in (1e-5, -1e-5):
        weights = at[w] + np.array([[step, 0], [0, 0]])
        moved.append(reference.evaluate(function.outputs, {**at, w: weights}, {"N": 1})[0])
    np.testing.assert_allclose(value[0, 0], (moved[0] - moved[1]) / 2e-5, rtol=1e-7)


# ---------------------------------------------------------------- linear in the number of nodes


def _seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    gc.disable()
    try:
        begun = time.process_time()
        result = run()
        return time.process_time() - begun, result
    finally:
        gc.enable()


def _measured(steps: int) -> dict[str, float]:
    found = {}
    found["build"], chain = _seconds(lambda: _chain(steps))
    found["differentiate"], made = _seconds(lambda: _program(*chain))
    found["text"], _ = _seconds(lambda: printer.text(made, notes=True))
    found["verify"], _ = _seconds(lambda: verify.verify(made))
    for change in PASSES:
        found[change.__name__], made = _seconds(lambda p=made, c=change: c(p))
    found["retype"], _ = _seconds(lambda: retype.retype(made, "float32"))
    found["bind"], _ = _seconds(lambda: bind.bind(made, {"N": 4}))
    return found


@pytest.mark.slow
def test_each_step_is_linear_in_the_number_of_nodes() -> None:
    """Twice as many nodes take at most 2.5 times as long (the least of three tries)."""
    small, large = ([_measured(steps) for _ in range(3)] for steps in (4_000, 8_000))
    ratios = {name: min(r[name] for r in large) / min(r[name] for r in small) for name in small[0]}
    assert {name: r for name, r in ratios.items() if r > 2.5} == {}
