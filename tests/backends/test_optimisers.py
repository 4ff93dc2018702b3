"""Optimisers through both back ends, against their papers' lines in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx

STEPS = 6
W0 = np.array([1.0, -2.0, 0.5])
SCALE = np.array([1.0, 0.25, 4.0])


def quadratic() -> gx.Tensor:
    """Return ½ Σ scale · w²; its gradient is scale · w."""
    with gx.default_dtype("float64"):
        w = gx.parameter("w", (3,), W0)
        return (w * w * SCALE).sum() * 0.5


def trained(backend: str, updates: Callable[[gx.Tensor], Any]) -> Any:
    """Return the module after some steps on the quadratic."""
    loss = quadratic()
    program = gx.Program("p", train=gx.function([], loss, updates=updates(loss)))
    module = gx.compile(program, backend=backend, dtype="float64")
    for _ in range(STEPS):
        module.train()
    return module


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_its_velocity(backend: str, nesterov: bool) -> None:
    module = trained(backend, lambda loss: gx.momentum(loss, 0.1, 0.8, nesterov=nesterov))
    w, v = W0.copy(), np.zeros(3)
    for _ in range(STEPS):
        g = SCALE * w
        v = 0.8 * v + g
        w = w - 0.1 * (g + 0.8 * v if nesterov else v)
    np.testing.assert_allclose(module.state["w"], w, rtol=1e-12)
    np.testing.assert_allclose(module.state["momentum.velocity.w"], v, rtol=1e-12)


def test_adam_is_algorithm_1(backend: str) -> None:
    module = trained(backend, lambda loss: gx.adam(loss, lr=0.05))
    w, m, v = W0.copy(), np.zeros(3), np.zeros(3)
    for t in range(1, STEPS + 1):
        g = SCALE * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(module.state["w"], w, rtol=1e-9)
    assert module.state["adam.step"] == STEPS


def test_adam_takes_a_schedule_of_its_own_step(backend: str) -> None:
    module = trained(backend, lambda loss: gx.adam(loss, lr=lambda step: 0.05 / (1 + step)))
    assert module.state["adam.step"] == STEPS
    assert "adam.lr" not in module.state and "adam.beta1" in module.state


@pytest.mark.parametrize(
    ("limit", "true", "notes"),
    [(1, (0.6, 0.8), (0.12, 0.16)), (10, (3, 4), (1.2, 1.6)), (30, (3, 4), (3, 4))],
)
def test_b10_clips_by_the_true_norm_and_the_notes_by_its_square(
    backend: str, limit: float, true: tuple[float, float], notes: tuple[float, float]
) -> None:
    """S1 L3003 names the squared norm ``grad_norm``: it clips (3, 4) at 10, whose norm is 5."""
    w = gx.parameter("w", (2,), 0.0, dtype="float64")
    g = gx.input("g", (2,), dtype="float64")
    gradients = gx.grad((w * g).sum())
    for squared, expected in ((False, true), (True, notes)):
        clipped = gx.clip_norm(gradients, limit, squared=squared)
        got = gx.evaluate(clipped[w], at={"g": [3.0, 4.0]}, backend=backend)
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_norm_is_that_of_all_gradients_together(backend: str) -> None:
    a, b = gx.parameter("a", (2,), 0.0), gx.parameter("b", (), 0.0)
    gradients = gx.grad((a * [2.0, 4.0]).sum() + b * 4.0)
    clipped = gx.clip_norm(gradients, 3.0)
    got = gx.evaluate([clipped[a], clipped[b]], backend=backend)
    np.testing.assert_allclose(np.append(*got), [1, 2, 2], rtol=1e-6)


def test_optimisers_of_different_parameters_join(backend: str) -> None:
    x = gx.input("x", ("N", 2))
    out = gx.nn.Dense(1, name="head")(gx.nn.Dense(3, name="body")(x))
    loss = (out * out).mean()
    updates = gx.adam(loss, params="body.*") | gx.sgd(loss, 0.1, params="head.*")
    program = gx.Program("p", train=gx.function([x], loss, updates=updates))
    module = gx.compile(program, backend=backend)
    losses = [float(module.train(np.ones((4, 2)))) for _ in range(20)]
    assert losses[-1] < losses[0]
