"""Worked recurrences of the lecture notes, in float64, rolled and unrolled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gx

TOLERANCE = 1e-10
H0, C0, X = np.array([[0.1, -0.2]]), np.array([[0.3, 0.4]]), np.array([[1.0, -0.5]])


def numbers(nest: Any, backend: str, unrolled: bool, at: dict[str, Any], steps: int) -> Any:
    """Return the values of tensors over loops of some steps."""
    made = gx.unroll(nest, T=steps) if unrolled else nest
    return gx.evaluate(made, at=at, dtype="float64", backend=backend)


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize(
    ("truncate", "gradient"),
    [
        (None, (0.328130052276, -0.064774271117, 0.152773899889)),
        (1, (0.326272710795, -0.011131840970, 0.152773899889)),
    ],
)
def test_b12_scalar_bptt(
    backend: str, unrolled: bool, truncate: int | None, gradient: tuple[float, ...]
) -> None:
    with gx.default_dtype("float64"):
        xs, ts = gx.input("xs", ("T",)), gx.input("ts", ("T",))
        u, w, v = (gx.parameter(n, (), i) for n, i in (("u", 0.5), ("w", 0.8), ("v", 1.2)))

        def neuron(h: Any, x: Any) -> Any:
            h = gx.tanh(u * x + w * h)
            return h, h

        _, hs = gx.scan(neuron, gx.zeros(()), xs, truncate=truncate)
        loss = (gx.square(v * hs - ts) * 0.5).sum()
    if unrolled:
        loss = gx.unroll(loss, T=3)
    derived = list(gx.grad(loss, ["u", "w", "v"]))
    at = {"xs": [1, -1, 0.5], "ts": [0.2, -0.1, 0.3]}
    got = gx.evaluate([loss, *derived], at=at, dtype="float64", backend=backend)
    assert got[0] == pytest.approx(0.072280916886, abs=TOLERANCE)
    np.testing.assert_allclose(got[1:], gradient, atol=TOLERANCE)


def weights(rows: int) -> np.ndarray:
    """Return W[k, j] = 0.1 (k + 1) - 0.05 (j + 1) over [h, x]."""
    k, j = np.ogrid[:rows, :4]
    return np.asarray(0.1 * (k + 1) - 0.05 * (j + 1))


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize(
    ("bias", "c", "h"),
    [
        (0.0, (0.276777862288, 0.354368569179), (0.146069172538, 0.187498751947)),
        (0.01, (0.312248618801, 0.396947111800), (0.167436715755, 0.213519973356)),
    ],
)
def test_b12_lstm_in_the_notes_gate_order(
    backend: str, unrolled: bool, bias: float, c: tuple[float, ...], h: tuple[float, ...]
) -> None:
    """CS231n's form: rows i, f, o, g of one matrix over [h, x]."""
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", 1, 2))
        w = gx.parameter("w", (4, 8), weights(8).T)
        b = gx.parameter("b", (8,), bias * np.arange(1, 9))

        def cell(carry: Any, x: Any) -> Any:
            held, kept = carry
            i, f, o, g = gx.split(gx.concatenate([held, x], axis=1) @ w + b, 4, axis=1)
            kept = gx.sigmoid(f) * kept + gx.sigmoid(i) * gx.tanh(g)
            held = gx.sigmoid(o) * gx.tanh(kept)
            return (held, kept), None

        (held, kept), _ = gx.scan(cell, (gx.ones((1, 2)) * H0, gx.ones((1, 2)) * C0), xs)
    got = numbers([kept, held], backend, unrolled, {"xs": X[None]}, steps=1)
    np.testing.assert_allclose(got, [[c], [h]], atol=TOLERANCE)


@pytest.mark.parametrize("unrolled", [False, True])
def test_b12_gru_and_elman(backend: str, unrolled: bool) -> None:
    """GRU rows z, r, h~, as S1: h = (1 - z) h + z h~, r before the product (PyTorch differs)."""
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", 1, 2))
        w = gx.parameter("w", (4, 6), weights(6).T)

        def gru(h: Any, x: Any) -> Any:
            z, r = gx.split(gx.sigmoid(gx.concatenate([h, x], axis=1) @ w[:, :4]), 2, axis=1)
            new = gx.tanh(gx.concatenate([r * h, x], axis=1) @ w[:, 4:])
            return (1 - z) * h + z * new, None

        def elman(h: Any, x: Any) -> Any:
            return gx.tanh(gx.concatenate([h, x], axis=1) @ w[:, :2]), None

        h0 = gx.ones((1, 2)) * H0
        ends = [gx.scan(cell, h0, xs)[0] for cell in (gru, elman)]
    got = numbers(ends, backend, unrolled, {"xs": X[None]}, steps=1)
    expected = [[(0.139603373283, 0.015643797862)], [(0.004999958334, 0.044969649584)]]
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
