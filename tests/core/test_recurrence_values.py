"""The numbers of recurrences: derivatives step by step, how they combine, and where they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.ir import Node, topological
from graphc.ops.scan import SCAN
from graphc.render import states
from graphc.render.derivation import Step
from graphc.render.states import Slopes

EXACT = {"rtol": 1e-9, "atol": 1e-12}
# S3's neuron: h_t = tanh(u x_t + w h_{t-1}), y_t = v h_t, L = Σ_t ½ (y_t − target_t)².
U, W, V = 0.5, 0.8, 1.2
XS, TARGETS = [1.0, -1.0, 0.5], [0.2, -0.1, 0.3]
AT = {"xs": XS, "targets": TARGETS}
FULL = {"u": 0.328130052276, "w": -0.064774271117}
CUT = {"u": 0.326272710795, "w": -0.011131840970}


def _neuron(**walk: Any) -> gx.Tensor:
    with gx.default_dtype("float64"):
        xs, targets = gx.input("xs", ("T",)), gx.input("targets", ("T",))
        u, w, v = (gx.parameter(n, (), i) for n, i in (("u", U), ("w", W), ("v", V)))

        def cell(h: Any, x: Any) -> Any:
            h = gx.tanh(u * x + w * h).named("h")
            return h, h

        _, hs = gx.scan(cell, gx.zeros(()), xs, **walk)
        return (gx.square(v * hs - targets) * 0.5).sum().named("L")


def _layer(kind: Any, **walk: Any) -> tuple[gx.Tensor, dict[str, Any]]:
    """Return a loss of a layer's last carry and of all it gives, with arrays for its inputs."""
    with gx.default_dtype("float64"):
        xs, out = gx.input("xs", ("T", 2, 3)), gx.input("out", ("T", 2, 2))
        last, hs = kind(2, name="l1")(xs, **walk)
        parts = last if isinstance(last, tuple) else (last,)
        loss = (hs * out).sum() + sum(gx.square(p).sum() for p in parts)
    draw = np.random.default_rng(1).normal
    return loss, {"xs": draw(size=(5, 2, 3)), "out": draw(size=(5, 2, 2))}


def _slopes(loss: gx.Tensor, wrt: str, at: dict[str, Any]) -> Slopes | None:
    def numbers(nodes: Sequence[Node]) -> dict[Node, Any]:
        found = gx.evaluate([gx.Tensor(n) for n in nodes], at, training=True)
        return dict(zip(nodes, found, strict=True))

    (loop,) = [n for n in topological([loss.node]) if n.op is SCAN]
    return states.slopes(loop, loss.node, gx.parameters(loss)[wrt].node, numbers)


# ---------------------------------------------------------------- how they combine


def _ways(found: Slopes) -> dict[str, Any]:
    """Return the sum over time in the three ways that a derivation writes it."""
    return {
        "Σ ∂L/∂z · ∂⁺z/∂w": found.summed,
        "Σ ∂⁺L/∂z · ∂z/∂w, by the recurrence": np.einsum("tz,tzw->w", found.own, found.total),
        "Σ ∂⁺L/∂z · Σ_k Π ∂⁺z/∂w": np.einsum("tz,tzw->w", found.own, found.unrolled),
    }


@pytest.mark.parametrize(("truncate", "expected"), [(None, FULL), (1, CUT)])
@pytest.mark.parametrize("wrt", ["u", "w"])
def test_s3_neuron_sums_to_the_notes_gradient(
    wrt: str, truncate: int | None, expected: dict[str, float]
) -> None:
    found = _slopes(_neuron(truncate=truncate), wrt, AT)
    assert found is not None
    for name, way in _ways(found).items():
        np.testing.assert_allclose(way, expected[wrt], rtol=0, atol=6e-13, err_msg=name)


@pytest.mark.parametrize("walk", [{}, {"reverse": True}, {"truncate": 2}], ids=str)
@pytest.mark.parametrize("wrt", ["l1.weight_h", "l1.weight_x", "l1.bias"])
@pytest.mark.parametrize("kind", [gx.nn.RNN, gx.nn.LSTM, gx.nn.GRU], ids=["rnn", "lstm", "gru"])
def test_a_layer_sums_to_its_compiled_gradient(kind: Any, wrt: str, walk: dict[str, Any]) -> None:
    loss, at = _layer(kind, **walk)
    found = _slopes(loss, wrt, at)
    expected = gx.evaluate(gx.grad(loss, wrt), at, training=True)
    assert found is not None
    for name, way in _ways(found).items():
        np.testing.assert_allclose(way, expected.reshape(-1), **EXACT, err_msg=name)


def test_a_captured_function_of_a_parameter_counts_by_its_own_derivative() -> None:
    with gx.default_dtype("float64"):
        w, xs = gx.parameter("w", (2,), 0.4), gx.input("xs", ("T",))
        held = gx.exp(w).sum()
        _, hs = gx.scan(lambda h, x: (gx.tanh(held * h + x),) * 2, gx.zeros(()), xs)
        loss = gx.square(hs).sum()
    at = {"xs": XS}
    found = _slopes(loss, "w", at)
    expected = gx.evaluate(gx.grad(loss, "w"), at)
    assert found is not None
    np.testing.assert_allclose(found.summed, expected, **EXACT)


@pytest.mark.parametrize("case", ["many", "first"])
def test_what_has_too_many_numbers_or_another_way_in_has_none(case: str) -> None:
    with gx.default_dtype("float64"):
        size = 64 if case == "many" else 2
        w, xs = gx.parameter("w", (size,), 0.4), gx.input("xs", ("T", size))
        first = w if case == "first" else gx.zeros((size,))
        _, hs = gx.scan(lambda h, x: (gx.tanh(w * h + x),) * 2, first, xs)
    assert _slopes(hs.sum(), "w", {"xs": np.ones((2, size))}) is None


# ---------------------------------------------------------------- where they stand


def _by_hand() -> dict[str, list[float]]:
    """Return the notes' quantities for w, with plain numbers."""
    back, use, total = [], [], []
    h = moved = 0.0
    for x in XS:
        new = math.tanh(U * x + W * h)
        slope = 1 - new * new
        moved = (h + W * moved) * slope
        back.append(W * slope)
        use.append(h * slope)
        total.append(moved)
        h = new
    return {"∂h/∂h[t − 1]": back, "∂⁺h/∂w": use, "∂h/∂w": total, "∂h[t]/∂w": total}


def _steps(loss: gx.Tensor, wrt: str, at: dict[str, Any]) -> dict[str, Step]:
    return {s.symbol: s for s in gx.explain(loss, wrt, at=at).steps if s.kind == "time"}


def _numbers(step: Step) -> list[float]:
    return [float(n) for n in step.value.strip("[]").split(", ")]


@pytest.mark.parametrize("symbol", list(_by_hand()))
def test_a_step_through_time_shows_the_numbers_of_all_steps(symbol: str) -> None:
    step = _steps(_neuron(), "w", AT)[symbol]
    np.testing.assert_allclose(_numbers(step), _by_hand()[symbol], rtol=0, atol=6e-5)


def test_numbers_of_a_loop_that_walks_back_stand_at_their_positions() -> None:
    back = {"xs": XS[::-1], "targets": TARGETS[::-1]}
    step = _steps(_neuron(reverse=True), "w", back)["∂h/∂w"]
    np.testing.assert_allclose(_numbers(step), _by_hand()["∂h/∂w"][::-1], rtol=0, atol=6e-5)


@pytest.mark.parametrize(("truncate", "expected"), [(None, FULL), (1, CUT)])
def test_the_sum_over_time_shows_the_gradient(
    truncate: int | None, expected: dict[str, float]
) -> None:
    step = _steps(_neuron(truncate=truncate), "w", AT)["∂L/∂w"]
    assert float(step.value) == pytest.approx(expected["w"], abs=6e-6)


def test_the_recurrence_says_that_nothing_is_handed_on_at_a_border() -> None:
    (rule,) = _steps(_neuron(truncate=2), "w", AT)["∂h/∂w"].rules
    assert rule == (
        "the recurrence: this step's use, and what was handed on, 0 at first and at each border"
    )


def test_without_arrays_a_recurrence_has_no_numbers() -> None:
    steps = gx.explain(_neuron(), "w").steps
    assert [s.value for s in steps if s.kind == "time"] == [""] * 5


# ---------------------------------------------------------------- more ways than one


def _tied() -> gx.Tensor:
    """Return a loss that reads w inside its loop and outside."""
    with gx.default_dtype("float64"):
        w, xs = gx.parameter("w", (), W), gx.input("xs", ("T",))
        _, hs = gx.scan(lambda h, x: (gx.tanh(x + w * h).named("h"),) * 2, gx.zeros(()), xs)
        return (w * hs).sum()


def test_a_sum_over_time_that_is_a_part_of_the_gradient_says_so() -> None:
    steps = _steps(_tied(), "w", {"xs": XS})
    assert "∂L/∂w" not in steps
    (rule,) = steps["∂L/∂w through h"].rules
    assert rule.endswith("; w is read in other ways too, whose gradients add up with this")


def test_the_part_and_the_other_ways_add_up_to_the_gradient() -> None:
    loss, at = _tied(), {"xs": XS}
    part = float(_steps(loss, "w", at)["∂L/∂w through h"].value)
    h = direct = 0.0
    for x in XS:
        h = math.tanh(x + W * h)
        direct += h
    expected = gx.evaluate(gx.grad(loss, "w"), at)
    assert part + direct == pytest.approx(float(expected), rel=1e-3)


def test_a_first_state_that_depends_on_the_weight_is_told() -> None:
    with gx.default_dtype("float64"):
        w, xs = gx.parameter("w", (), W), gx.input("xs", ("T",))
        _, hs = gx.scan(lambda h, x: (gx.tanh(x + w * h).named("h"),) * 2, 2 * w, xs)
    steps = _steps(hs.sum(), "w", {"xs": XS})
    (rule,) = steps["∂h/∂w"].rules
    assert rule == (
        "the recurrence: this step's use, and what was handed on, the first state's own at first"
    )
    assert steps["∂L/∂w through h"].expression == "Σ_t ∂L/∂h ∂⁺h/∂w"
