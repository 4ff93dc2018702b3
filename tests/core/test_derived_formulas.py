"""What the notes derive, read off the derivations: each formula is evaluated as it is written.

The text of a derivation is Python but for its symbols, so every step and the final formula can be
computed from the inputs alone, with plain NumPy, and compared with numbers known by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.render.derivation import Derivation, Step

PRINTED = {"rtol": 0, "atol": 6e-13}  # numbers known by hand have twelve digits
Array = np.ndarray[Any, Any]


# ---------------------------------------------------------------- reading formulas


def _conv2d(x: Array, w: Array) -> Array:
    """Cross-correlate one image of one channel with one filter."""
    rows, columns = (a - b + 1 for a, b in zip(x.shape[2:], w.shape[2:], strict=True))
    found = np.zeros((1, 1, rows, columns))
    for i, j in np.ndindex(rows, columns):
        found[0, 0, i, j] = (x[0, 0, i : i + w.shape[2], j : j + w.shape[3]] * w[0, 0]).sum()
    return found


def _filter_adjoint(x: Array, g: Array) -> Array:
    """Return what each weight of the filter met, times what its product became."""
    return _conv2d(x, g)


def _input_adjoint(g: Array, w: Array) -> Array:
    """Return for each pixel the sum over the windows that it stands in."""
    found = np.zeros((1, 1, *(a + b - 1 for a, b in zip(g.shape[2:], w.shape[2:], strict=True))))
    for i, j in np.ndindex(*g.shape[2:]):
        found[0, 0, i : i + w.shape[2], j : j + w.shape[3]] += g[0, 0, i, j] * w[0, 0]
    return found


def _max_pool(x: Array, size: int, stride: int | None = None) -> Array:
    step = stride or size
    rows, columns = ((n - size) // step + 1 for n in x.shape[2:])
    found = np.zeros((1, 1, rows, columns))
    for i, j in np.ndindex(rows, columns):
        a, b = i * step, j * step
        found[0, 0, i, j] = x[0, 0, a : a + size, b : b + size].max()
    return found


def _max_pool_adjoint(x: Array, g: Array, size: int, stride: int | None = None) -> Array:
    """Return what came in at the first largest of each window."""
    found, step = np.zeros_like(x), stride or size
    for i, j in np.ndindex(*g.shape[2:]):
        a, b = i * step, j * step
        window = x[0, 0, a : a + size, b : b + size]
        k, m = np.unravel_index(window.argmax(), window.shape)
        found[0, 0, a + k, b + m] += g[0, 0, i, j]
    return found


FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "sum": np.sum,
    "mean": np.mean,
    "logsumexp": lambda x, axis: np.log(np.exp(x).sum(axis=axis, keepdims=True)),
    "pick": lambda x, index: x[np.arange(len(x)), np.asarray(index)],
    "one_hot": lambda index, depth: np.eye(depth)[np.asarray(index)],
    "conv2d": _conv2d,
    "conv2d_filter_adjoint": _filter_adjoint,
    "conv2d_input_adjoint": _input_adjoint,
    "max_pool2d": _max_pool,
    "max_pool2d_adjoint": _max_pool_adjoint,
}


def _read(text: str, known: Mapping[str, Any]) -> Any:
    """Return what a formula is worth, its symbols given."""
    numbers: dict[str, Any] = {}
    for i, symbol in enumerate(sorted(known, key=len, reverse=True)):
        if not symbol.isidentifier():
            text = text.replace(symbol, f"symbol_{i}_")
            numbers[f"symbol_{i}_"] = known[symbol]
        else:
            numbers[symbol] = known[symbol]
    return eval(text, {"__builtins__": {}}, {**FUNCTIONS, **numbers})


def _worth(made: Derivation, at: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each symbol of a derivation is worth, read off its own text step by step."""
    known = {name: np.asarray(value) for name, value in at.items()}
    for step in made.steps:
        if step.kind in ("definition", "gradient"):
            value = _read(step.expression, known)
            known |= dict.fromkeys(step.symbol.split(" = "), value)
    return known


def _result(made: Derivation) -> Step:
    """Return the final formula: the result, or the last gradient where that says it already."""
    return [s for s in made.steps if s.kind in ("gradient", "result")][-1]


def expect_worth(loss: gx.Tensor, wrt: str, at: Mapping[str, Any], printed: Any) -> None:
    """Check the last step, the final formula, and the compiled gradient against known numbers."""
    made = gx.explain(loss, wrt)
    shape = np.shape(printed)
    weights = {name: gx.evaluate(p) for name, p in gx.parameters(loss).items()}
    known = _worth(made, {**weights, **at})
    stepwise = np.asarray(known[f"∂L/∂{wrt}"])
    final = np.asarray(_read(_result(made).expression, known))
    compiled = gx.evaluate(gx.grad(loss, wrt), {k: v for k, v in at.items()}, training=True)
    for found in (stepwise, final, compiled):
        np.testing.assert_allclose(found.reshape(shape), printed, **PRINTED)


# ---------------------------------------------------------------- the notes' nets


def _three_layers() -> gx.Tensor:
    """Return S0's chain of three layers, which is S0's dE/dΘ_k and dE/dΘ_{k−1}."""
    x, y = gx.input("x", ()), gx.input("y", ())
    h = x
    for i, value in enumerate((0.5, -1.5, 2.0)):
        h = (gx.parameter(f"θ{i + 1}", (), value) * h).sigmoid()
    return 0.5 * (h - y) ** 2


def _four_parameters() -> gx.Tensor:
    """Return S1's chain of three neurons."""
    x, y = gx.input("x", ()), gx.input("y", ())
    w1, w2, w3 = (gx.parameter(f"w{i + 1}", (), v) for i, v in enumerate((0.5, -0.3, 0.8)))
    h = (w1 * x + gx.parameter("b1", (), 0.1)).sigmoid()
    return 0.5 * ((w3 * (w2 * h).sigmoid()).sigmoid() - y) ** 2


def _two_three_one() -> gx.Tensor:
    """Return S0's 2-3-1 net."""
    x, y = gx.input("x", (1, 2)), gx.input("y", (1, 1))
    h = (x @ gx.parameter("Θ1", init=[[1.2, 2.1, -1.5], [-0.3, -0.7, 0.3]])).sigmoid()
    guess = (h @ gx.parameter("Θ2", init=[[-0.2], [0.5], [1.3]])).sigmoid()
    return (0.5 * (y - guess) ** 2).sum()


def _sigmoid() -> gx.Tensor:
    """Return s(x), whose derivative is s (1 − s)."""
    return gx.input("x", (4,)).sigmoid().sum()


def _cross_entropy() -> gx.Tensor:
    """Return the cross-entropy of a softmax, whose derivative by the scores is p − d."""
    s = gx.input("x", (1, 3)) @ gx.parameter("W", init=np.eye(3))
    return gx.cross_entropy(s.named("s"), gx.input("y", (1,), dtype="int64"), reduction="sum")


def _convolution() -> gx.Tensor:
    """Return S3's neuron of a convolution: tanh of a 2×2 filter, all of ∂L/∂y being 1."""
    x, w = gx.input("x", (1, 1, 3, 3)), gx.parameter("w", init=[[[[0.1, 0.2], [0.3, 0.4]]]])
    return gx.tanh(gx.conv2d(x, w, gx.parameter("b", init=[0.5]))).named("y").sum()


def _pooling() -> gx.Tensor:
    """Return S3's max-pool, what comes in being an input."""
    pooled = gx.max_pool2d(gx.input("x", (1, 1, 3, 3)), 2, stride=1)
    return (pooled * gx.input("g", (1, 1, 2, 2))).sum()


ONE = {"x": 1.0, "y": 1.0}
PAIR = {"x": [[1.0, -0.5]], "y": [[1.0]]}
IMAGE = {"x": np.arange(1.0, 10.0).reshape(1, 1, 3, 3) / 10}
POINTS = {"x": [0.0, 0.5, 1.0, -2.0]}
# 9 is the largest of three windows, so what came in for these adds up there.
SHOWN = {
    "x": np.array([[1.0, 2, 3], [4, 9, 5], [6, 7, 8]]).reshape(1, 1, 3, 3),
    "g": np.array([[1.0, 10], [100, 1000]]).reshape(1, 1, 2, 2),
}
TWICE = {  # of equal ones the first counts
    "x": np.array([[7.0, 7, 0], [0, 0, 5], [1, 2, 5]]).reshape(1, 1, 3, 3),
    "g": np.array([[1.0, 10], [100, 1000]]).reshape(1, 1, 2, 2),
}
SIGMOIDS = np.array([0.5, 0.622459331202, 0.731058578630, 0.119202922022])

CASES: dict[str, tuple[Callable[[], gx.Tensor], str, Mapping[str, Any], Any]] = {
    "S0 dE/dΘ_k": (_three_layers, "θ3", ONE, -0.023642174070),
    "S0 dE/dΘ_{k−1}": (_three_layers, "θ2", ONE, -0.021127388583),
    "S0 dE/dΘ_{k−2}": (_three_layers, "θ1", ONE, 0.011964672623),
    "S0 Θ2": (_two_three_one, "Θ2", PAIR, [-0.069792224830, -0.080903708241, -0.014159088934]),
    "S0 Θ1": (
        _two_three_one,
        "Θ1",
        PAIR,
        [
            [0.002873630255, -0.003213436603, -0.015441312886],
            [-0.001436815127, 0.001606718302, 0.007720656443],
        ],
    ),
    "S1 w1": (_four_parameters, "w1", ONE, 0.001351428269),
    "S1 b1": (_four_parameters, "b1", ONE, 0.001351428269),
    "S1 w2": (_four_parameters, "w2", ONE, -0.012712970414),
    "S1 w3": (_four_parameters, "w3", ONE, -0.044890917828),
    "s(1 − s)": (_sigmoid, "x", POINTS, SIGMOIDS * (1 - SIGMOIDS)),
    "p − d": (
        _cross_entropy,
        "s",
        {"x": [[1.0, 2.0, 3.0]], "y": [2]},
        [[0.090030573170, 0.244728471055, -0.334759044225]],
    ),
    "S3 convolution, filter": (
        _convolution,
        "w",
        IMAGE,
        [[0.402440750393, 0.556352867973], [0.864177103131, 1.018089220710]],
    ),
    "S3 convolution, bias": (_convolution, "b", IMAGE, [1.539121175792]),
    "S3 convolution, input": (
        _convolution,
        "x",
        IMAGE,
        [
            [0.050807432845, 0.145559054757, 0.087888378135],
            [0.184479837455, 0.426280333169, 0.229982669763],
            [0.096172616760, 0.209539025920, 0.108411826987],
        ],
    ),
    "S3 max-pool": (_pooling, "x", SHOWN, [[0.0, 0, 0], [0, 1111, 0], [0, 0, 0]]),
    "S3 max-pool, equals": (_pooling, "x", TWICE, [[1.0, 10, 0], [0, 0, 1000], [0, 100, 0]]),
}


@pytest.mark.parametrize(("net", "wrt", "at", "printed"), CASES.values(), ids=CASES)
def test_what_the_notes_derive_is_what_is_written(
    net: Callable[[], gx.Tensor], wrt: str, at: Mapping[str, Any], printed: Any
) -> None:
    with gx.default_dtype("float64"):
        loss = net()
    expect_worth(loss, wrt, at, printed)
