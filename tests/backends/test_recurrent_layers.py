"""RNN, LSTM and GRU: against the notes' numbers, against plain NumPy, and each against its cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx

TOLERANCE = 1e-10
H0, C0, X = np.array([[0.1, -0.2]]), np.array([[0.3, 0.4]]), np.array([[[1.0, -0.5]]])
KINDS = {
    "rnn": gx.nn.RNN,
    "lstm": gx.nn.LSTM,
    "gru": gx.nn.GRU,
    "gru, reset before": lambda units, **more: gx.nn.GRU(units, reset_after=False, **more),
}


def weights(rows: int) -> np.ndarray:
    """Return the notes' W[k, j] = 0.1 (k + 1) - 0.05 (j + 1) over [h, x]."""
    k, j = np.ogrid[:rows, :4]
    return np.asarray(0.1 * (k + 1) - 0.05 * (j + 1))


def given(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return a layer's weights from rows over [h, x]."""
    return {f"{name}.weight_h": matrix[:, :2].T, f"{name}.weight_x": matrix[:, 2:].T}


def last(layer: Any, carry: Any, backend: str, at: dict[str, np.ndarray]) -> Any:
    """Return the last carry of a layer after the one step X."""
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", 1, 2))
        ends, _ = layer(xs, carry)
    return gx.evaluate(ends, {"xs": X, **at}, dtype="float64", backend=backend)


def test_b12_elman_through_the_layer(backend: str) -> None:
    with gx.default_dtype("float64"):
        got = last(gx.nn.RNN(2), gx.ones((1, 2)) * H0, backend, given("rnn", weights(2)))
    np.testing.assert_allclose(got, [[0.004999958334, 0.044969649584]], atol=TOLERANCE)


def test_b12_lstm_through_the_layer(backend: str) -> None:
    """The notes' rows are i, f, o, g; the layer's columns are i, f, g, o."""
    order = [0, 1, 2, 3, 6, 7, 4, 5]
    at = given("lstm", weights(8)[order])
    at["lstm.bias"] = 0.01 * (np.array(order) + 1)
    with gx.default_dtype("float64"):
        carry = (gx.ones((1, 2)) * H0, gx.ones((1, 2)) * C0)
        h, c = last(gx.nn.LSTM(2), carry, backend, at)
    np.testing.assert_allclose(c, [[0.312248618801, 0.396947111800]], atol=TOLERANCE)
    np.testing.assert_allclose(h, [[0.167436715755, 0.213519973356]], atol=TOLERANCE)


def test_b12_gru_through_the_layer(backend: str) -> None:
    """The notes weigh what is new by z, the layer what is kept: z's rows change their sign."""
    sign = np.array([-1, -1, 1, 1, 1, 1])[:, None]
    with gx.default_dtype("float64"):
        layer = gx.nn.GRU(2, reset_after=False)
        got = last(layer, gx.ones((1, 2)) * H0, backend, given("gru", weights(6) * sign))
    np.testing.assert_allclose(got, [[0.139603373283, 0.015643797862]], atol=TOLERANCE)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def test_gru_with_reset_after_is_the_formula_of_its_docstring(backend: str) -> None:
    generator = np.random.default_rng(3)
    at = {
        "gru.weight_x": generator.normal(size=(2, 6)),
        "gru.weight_h": generator.normal(size=(2, 6)),
        "gru.bias": generator.normal(size=6),
        "gru.bias_h": generator.normal(size=2),
    }
    with gx.default_dtype("float64"):
        got = last(gx.nn.GRU(2), gx.ones((1, 2)) * H0, backend, at)
    x = X[0] @ at["gru.weight_x"] + at["gru.bias"]
    h = H0 @ at["gru.weight_h"]
    z, r = sigmoid(x + h)[:, :2], sigmoid(x + h)[:, 2:4]
    n = np.tanh(x[:, 4:] + r * (h[:, 4:] + at["gru.bias_h"]))
    np.testing.assert_allclose(got, (1 - z) * n + z * H0, atol=1e-14)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace(", ", " "))
def layer(request: pytest.FixtureRequest) -> gx.nn.Recurrent:
    """A layer of each kind, of 3 units."""
    made: gx.nn.Recurrent = KINDS[request.param](3, name="l1")
    return made


def test_the_loop_is_the_cell_step_by_step(layer: gx.nn.Recurrent, backend: str) -> None:
    xs = gx.input("xs", (4, "N", 2))
    carry, hs = layer(xs)
    held, outputs = layer.zeros("N"), []
    for t in range(4):
        held, h = layer.cell(held, xs[t])
        outputs.append(h)
    values = np.random.default_rng(0).normal(size=(4, 5, 2))
    nest = {"loop": (carry, hs), "steps": (held, gx.stack(outputs))}
    got = gx.evaluate(nest, {"xs": values}, dtype="float64", backend=backend)
    flat = [np.concatenate([np.ravel(a) for a in _leaves(part)]) for part in got.values()]
    np.testing.assert_allclose(flat[0], flat[1], atol=1e-14)


def _leaves(nest: Any) -> list[np.ndarray]:
    if isinstance(nest, tuple):
        return [leaf for part in nest for leaf in _leaves(part)]
    return [nest]


def test_training_sampling_and_streaming_share_parameters(layer: gx.nn.Recurrent) -> None:
    xs = gx.input("xs", ("T", "N", 2))
    x, h = gx.input("x", ("N", 2)), gx.input("h", ("N", 3))
    carry = (h, h * 0.5) if "lstm" in str(layer.kind).lower() else h
    loss = gx.square(layer(xs)[1]).mean()
    step = layer.cell(carry, x)[1]
    assert gx.parameters((loss, step)) == gx.parameters(loss)


def test_unbatched_sequences_are_looped_over_too(layer: gx.nn.Recurrent) -> None:
    hs = layer(gx.input("xs", ("T", 2)))[1]
    assert hs.shape[1:] == (3,)


def test_a_padded_step_changes_no_layer(layer: gx.nn.Recurrent, backend: str) -> None:
    xs, lengths = gx.input("xs", ("T", "N", 2)), gx.input("lengths", ("N",), dtype="int64")
    carry, hs = layer(xs, lengths=lengths)
    values = np.random.default_rng(0).normal(size=(4, 2, 2))
    at = {"xs": values, "lengths": [2, 4]}
    masked, stacked = gx.evaluate((carry, hs), at, backend=backend)
    short = gx.evaluate(layer(xs)[0], {"xs": values[:2]}, backend=backend)
    for a, b in zip(_leaves(masked), _leaves(short), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(stacked[2:, 0], 0)


def test_gradients_of_layers_agree_with_central_differences(layer: gx.nn.Recurrent) -> None:
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", "N", 2))
        loss = gx.square(layer(xs)[1]).mean()
    values = np.random.default_rng(0).normal(size=(4, 2, 2))
    assert gx.check_grads(loss, at={"xs": values}).error < 1e-6


def test_the_forget_gate_begins_open() -> None:
    hs = gx.nn.LSTM(2)(gx.input("xs", ("T", "N", 2)))[1]
    got = gx.evaluate(gx.parameters(hs)["lstm.bias"])
    assert got.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_a_carry_of_another_number_of_tensors_is_refused() -> None:
    xs, h = gx.input("xs", ("T", "N", 2)), gx.input("h", ("N", 3))
    with pytest.raises(gx.errors.GraphError) as caught:
        gx.nn.LSTM(3)(xs, h)
    assert caught.value.message == "LSTM: the carry is the pair (h, c), not 1 of them"
    with pytest.raises(gx.errors.GraphError) as caught:
        gx.nn.GRU(3).cell((h, h), xs[0])
    assert caught.value.message == "GRU: the carry is one tensor h, not 2 of them"


def test_a_layer_takes_sequences_and_a_number_of_units() -> None:
    with pytest.raises(gx.errors.ShapeError) as caught:
        gx.nn.RNN(3)(gx.input("x", ("N",)))
    assert caught.value.message == "RNN: takes sequences (T, N, in) or (T, in)"
    with pytest.raises(gx.errors.ShapeError) as caught:
        gx.nn.GRU(0)
    assert caught.value.message == "GRU: the number of units is at least 1, not 0"
    with pytest.raises(gx.errors.ShapeError) as caught:
        gx.nn.LSTM(3)(gx.input("xs", ("T", "N", "D")))
    assert caught.value.message == (
        "LSTM: the last axis has no number of elements, so the weight has no shape"
    )


def test_a_call_that_fails_declares_nothing() -> None:
    layer, xs = gx.nn.RNN(3), gx.input("xs", ("T", "N", 2))
    with pytest.raises(gx.errors.ShapeError) as caught:
        layer(xs, gx.zeros(("N", 4)))
    assert caught.value.message == "RNN: a carry has 3 units"
    assert layer.weight_x is None
    assert gx.parameters(layer(gx.input("xs", ("T", "N", 5)))[1])["rnn.weight_x"].shape == (5, 3)


def test_a_bias_of_another_size_leaves_the_layer_undeclared() -> None:
    layer, xs = gx.nn.LSTM(3, bias_init=[1, 2]), gx.input("xs", ("T", "N", 2))
    for _ in range(2):
        with pytest.raises(gx.errors.ShapeError, match=r"'bias' is declared \[12\]"):
            layer(xs)
    dense = gx.nn.Dense(3, bias_init=[1, 2])
    for _ in range(2):
        with pytest.raises(gx.errors.ShapeError, match=r"'bias' is declared \[3\]"):
            dense(xs)


def test_zeros_have_the_dtype_of_the_weights() -> None:
    xs, layer = gx.input("xs", ("T", 4, 2), dtype="float64"), gx.nn.GRU(3)
    assert layer.zeros(4).dtype == "float32"
    layer(xs)
    assert layer.zeros(4).dtype == "float64"
    assert layer(xs, layer.zeros(4))[0].dtype == "float64"


def test_odd_arguments_of_layers_are_refused() -> None:
    with pytest.raises(gx.errors.GraphError) as caught:
        gx.nn.RNN(3, activation="tanh")  # type: ignore[arg-type]
    assert caught.value.message == "RNN: the activation is a function of a tensor, not 'tanh'"
    with pytest.raises(gx.errors.DtypeError) as wrong:
        gx.nn.LSTM(3, forget_bias="x")  # type: ignore[arg-type]
    assert wrong.value.message == "LSTM: forget_bias is a number, not 'x'"
