"""The norms of gradients by parameter, layer and step, against derivatives taken another way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx

STEPS = 5


def net(**walk: Any) -> tuple[gx.Tensor, dict[str, np.ndarray]]:
    """Return the loss of an LSTM under a dense layer, and its inputs."""
    with gx.default_dtype("float64"):
        xs, ts = gx.input("xs", ("T", "N", 3)), gx.input("ts", ("T", "N", 2))
        _, hs = gx.nn.LSTM(4, name="l1")(xs, **walk)
        loss = gx.square(gx.nn.Dense(2, name="out")(hs) - ts).mean()
    draw = np.random.default_rng(0).normal
    return loss, {"xs": draw(size=(STEPS, 2, 3)), "ts": draw(size=(STEPS, 2, 2))}


def moved_at(loss: gx.Tensor, name: str, t: int, at: dict[str, np.ndarray]) -> Any:
    """Return dL/dh_t as the derivative by h_t of the unrolled net."""
    unrolled = gx.unroll(loss, T=STEPS)
    return gx.evaluate(gx.grad(unrolled, gx.find(unrolled, f"{name}[{t}]")), at, training=True)


@pytest.mark.parametrize("walk", [{}, {"reverse": True}, {"truncate": 2}], ids=str)
@pytest.mark.parametrize("name", ["l1.h", "l1.c"])
def test_each_step_has_the_total_derivative_of_its_carry(name: str, walk: dict[str, Any]) -> None:
    loss, at = net(**walk)
    got = gx.evaluate(gx.gradient_flow(loss).per_step[name], at, training=True)
    expected = [moved_at(loss, name, t, at) for t in range(STEPS)]
    np.testing.assert_allclose(got, expected, atol=1e-14)


def test_norms_are_those_of_the_gradients(backend: str) -> None:
    loss, at = net()
    flow = gx.gradient_flow(loss)
    gradients = {p.name: g for p, g in gx.grad(loss).items()}
    norms, layers, arrays = gx.evaluate(
        (flow.norms, flow.by_layer, gradients), at, training=True, backend=backend
    )
    for name, array in arrays.items():
        assert norms[name] == pytest.approx(np.linalg.norm(array), rel=1e-12)
    parts = [np.ravel(a) for name, a in arrays.items() if name.startswith("l1.")]
    assert layers["l1"] == pytest.approx(np.linalg.norm(np.concatenate(parts)), rel=1e-12)


def test_norms_by_step_can_be_the_outputs_of_a_training_step(backend: str) -> None:
    loss, at = net()
    flow = gx.gradient_flow(loss)
    inputs = [gx.find(loss, "xs"), gx.find(loss, "ts")]
    outputs = {"loss": loss, "steps": flow.step_norms["l1.h"]}
    train = gx.function(inputs, outputs, updates=gx.sgd(gx.grad(loss), lr=0.1))
    module = gx.compile(gx.Program("net", train=train), backend=backend)
    got = module.train(**at)["steps"]
    expected = gx.gradient_flow(loss, at=at).numbers
    assert expected is not None
    np.testing.assert_allclose(got, expected["step_norms"]["l1.h"], rtol=1e-12)


def test_a_vanishing_gradient_shows() -> None:
    """With tanh under a weight of 0.5: each step back halves the gradient, or more."""
    with gx.default_dtype("float64"):
        w = gx.parameter("w", (), 0.5)

        def cell(h: Any, x: Any) -> Any:
            h = gx.tanh(w * h + x).named("h")
            return h, None

        loss, _ = gx.scan(cell, gx.zeros(()), gx.input("xs", ("T",)))
    numbers = gx.gradient_flow(loss, at={"xs": np.ones(8)}).numbers
    assert numbers is not None
    norms = numbers["step_norms"]["h"]
    assert norms[-1] == 1
    assert np.all(norms[:-1] < 0.5 * norms[1:])


def test_a_net_without_loops_has_norms_by_layer() -> None:
    x = gx.input("x", ("N", 2))
    loss = gx.nn.Dense(1, name="b")(gx.nn.Dense(3, name="a")(x).tanh()).mean()
    flow = gx.gradient_flow(loss)
    assert list(flow.by_layer) == ["a", "b"]
    assert flow.per_step == {}


def test_the_text_has_a_row_for_each_parameter_and_step() -> None:
    loss, at = net()
    text = str(gx.gradient_flow(loss, at=at))
    assert text.count("t = ") == 2 * STEPS
    assert "l1.weight_h" in text
    assert "at= gives numbers" in str(gx.gradient_flow(loss))


def test_it_saves_as_data(tmp_path: Path) -> None:
    loss, at = net()
    gx.gradient_flow(loss, at=at).save(tmp_path / "flow.json")
    read = json.loads((tmp_path / "flow.json").read_text("utf-8"))
    assert len(read["step_norms"]["l1.c"]) == STEPS


@pytest.mark.parametrize("walk", [{}, {"lengths": True}], ids=["plain", "lengths"])
def test_a_stacked_carry_is_no_wrt(walk: dict[str, Any]) -> None:
    xs = gx.input("xs", ("T", "N", 2))
    if walk:
        walk = {"lengths": gx.input("lengths", ("N",), dtype="int64")}
    _, hs = gx.nn.RNN(3, name="l1")(xs, **walk)
    loss = gx.square(hs).mean()
    with pytest.raises(gx.errors.GradientError) as caught:
        gx.grad(loss, hs)
    assert caught.value.message == (
        "grad: l1.h of all steps is the carry of a loop, stacked: derived by it, what one step "
        "does to the later ones would not count"
    )
    assert caught.value.hint == "gx.gradient_flow(loss).per_step has dL/dh_t of all steps"


def test_a_stack_that_is_no_carry_can_be_derived_by(backend: str) -> None:
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T",))
        _, ys = gx.scan(lambda h, x: (h + x, 3 * h), gx.zeros(()), xs)
        gradient = gx.grad(gx.square(ys).sum(), ys)
    got = gx.evaluate(gradient, {"xs": [1.0, 2.0, 3.0]}, backend=backend)
    np.testing.assert_allclose(got, [0, 6, 18])
