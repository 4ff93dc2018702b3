"""Recurrences whose loops are linked, and weights that reach a step in more ways than one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.render.derivation import Step

XS, W = [1.0, -1.0, 0.5], 0.8
AT = {"xs": XS}


def _layer(name: str, xs: gx.Tensor, held: Any) -> gx.Tensor:
    """Return h_t = tanh(x_t + held h_{t-1}) of all steps."""

    def cell(h: Any, x: Any) -> Any:
        h = gx.tanh(x + held * h).named(name)
        return h, h

    return gx.scan(cell, gx.zeros(()), xs)[1]


def _leaves() -> tuple[gx.Tensor, gx.Tensor]:
    return gx.input("xs", ("T",)), gx.parameter("w", (), W)


def _stacked() -> gx.Tensor:
    """Return the loss of a layer over another."""
    with gx.default_dtype("float64"):
        xs, w = _leaves()
        return _layer("b", _layer("a", xs, w), 0.5).sum()


def _decoder() -> gx.Tensor:
    """Return the loss of a loop that captures what another ended with."""
    with gx.default_dtype("float64"):
        xs, w = _leaves()
        return _layer("b", xs, _layer("a", xs, w)[-1].named("k")).sum()


def _pair() -> gx.Tensor:
    """Return the loss of two layers of two carries each, one over the other."""
    with gx.default_dtype("float64"):
        _, first = gx.nn.LSTM(2, name="l1")(gx.input("xs", ("T", "N", 3)))
        return gx.nn.LSTM(2, name="l2")(first)[1].sum()


def _fed(held: Any = None) -> gx.Tensor:
    """Return the loss of a loop whose sequence depends on the weight that it captures."""
    with gx.default_dtype("float64"):
        xs, w = _leaves()
        return _layer("h", (xs * w).named("z"), w if held is None else held(w)).sum()


def _stopped(w: gx.Tensor) -> gx.Tensor:
    return gx.stop_gradient(w * w).named("k")


def _transposed() -> gx.Tensor:
    with gx.default_dtype("float64"):
        xs, w = gx.input("xs", ("T", 2)), gx.parameter("w", (2, 2))

        def cell(h: Any, x: Any) -> Any:
            h = gx.tanh(x + h @ w.T).named("h")
            return h, h

        return gx.scan(cell, gx.zeros((2,)), xs)[1].sum()


def _timed(loss: gx.Tensor, at: dict[str, Any] | None = None) -> dict[str, Step]:
    return {s.symbol: s for s in gx.explain(loss, "w", at=at).steps if s.kind == "time"}


# ---------------------------------------------------------------- chains


def test_each_of_two_layers_has_its_own_product_over_steps_back() -> None:
    made = gx.chain(_stacked(), "w")
    assert made.formula == (
        "∂L/∂w = Σ ∂L/∂v2 · ∂v2/∂b · Π ∂b/∂b[t − 1] · ∂b/∂s2 · ∂s2/∂x[t] · ∂x[t]/∂v1 · ∂v1/∂a"
        " · Π ∂a/∂a[t − 1] · ∂a/∂s1 · ∂s1/∂w"
    )
    assert made.count == 1
    assert "another carry" not in str(made)


@pytest.mark.parametrize("loss", [_stacked, _decoder])
def test_a_path_through_two_loops_passes_what_lies_between(loss: Any) -> None:
    for path in gx.chain(loss(), "w").paths:
        below = [f.denominator for f in path]
        assert [f.numerator for f in path] == ["L", *below[:-1]]


def test_paths_leave_a_loop_by_each_of_its_own_carries() -> None:
    text = str(gx.chain(_pair(), "l1.weight_h"))
    products = set(part for part in text.split(" · ") if part.startswith("Π "))
    assert len(products) == 2
    assert all(("l1" in p) != ("l2" in p) for p in products)


# ---------------------------------------------------------------- derivations


def test_what_a_step_is_fed_is_a_part_of_the_weights_use() -> None:
    steps = _timed(_fed())
    assert steps["∂⁺h"].expression == "(∂z[t] + ∂w * h[t − 1]) * (1 - h**2)"


def test_the_recurrence_of_a_fed_weight_sums_to_its_gradient() -> None:
    """With ∂w = 1 and ∂z[t] = xs[t]."""
    text = _timed(_fed())["∂h"].expression
    for words, name in (("∂h[t − 1]", "d"), ("h[t − 1]", "before"), ("∂z[t]", "x"), ("∂w", "1")):
        text = text.replace(words, name)
    h = d = total = 0.0
    for x in XS:
        before, h = h, math.tanh(x * W + W * h)
        d = eval(text, {}, {"d": d, "before": before, "x": x, "w": W, "h": h})
        total += d
    assert total == pytest.approx(float(gx.evaluate(gx.grad(_fed(), "w"), AT)), abs=1e-12)


def test_a_fed_weights_sum_over_time_shows_no_number_of_a_part() -> None:
    assert _timed(_fed(), AT)["∂L/∂w"].value == ""


def test_a_value_behind_a_stopped_gradient_has_no_recurrence() -> None:
    assert _timed(_fed(_stopped)) == {}


def test_a_captured_expression_of_a_weight_moves_as_the_weight_does() -> None:
    step = _timed(_transposed())["∂h"]
    assert step.expression == "(∂h[t − 1] @ w.T + h[t − 1] @ ∂w.T) * (1 - h**2)"


def test_a_recurrence_by_a_transposed_weight_sums_to_its_gradient() -> None:
    loss, draw = _transposed(), np.random.default_rng(2).normal
    w, xs, direction = draw(size=(2, 2)), draw(size=(4, 2)), draw(size=(2, 2))
    text = _timed(loss)["∂h"].expression
    for words, name in (("∂h[t − 1]", "d"), ("h[t − 1]", "before"), ("∂w", "moved")):
        text = text.replace(words, name)
    h = d = total = np.zeros(2)
    for x in xs:
        before, h = h, np.tanh(x + h @ w.T)
        d = eval(text, {}, {"d": d, "before": before, "moved": direction, "w": w, "h": h})
        total = total + d
    gradient = gx.evaluate(gx.grad(loss, "w"), {"xs": xs, "w": w})
    np.testing.assert_allclose(total.sum(), (gradient * direction).sum(), rtol=1e-12)


def test_a_loop_moved_through_the_step_before_moves_what_captures_its_end() -> None:
    with gx.default_dtype("float64"):
        xs, w = _leaves()
        zeros = gx.zeros(())

        def swapping(c: Any, x: Any) -> Any:
            return (gx.tanh(c[1] + x), gx.tanh(c[0] * w)), None

        (end, _), _ = gx.scan(swapping, (zeros, zeros), xs)
        loss = _layer("b", xs, end.named("k")).sum()
    assert "∂k" in _timed(loss)["∂⁺b"].expression
