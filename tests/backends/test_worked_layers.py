"""The numbers that lecture notes work out, recomputed in float64 through both back ends.

Where the notes have a slip, the test of that number names it. S0 is KAIST AI602, S1 IFT6758,
S3 INSA Centre Val de Loire, S4 SJTU CS420.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx
from worked import Compiled, Functions, count, expect_far, expect_near

# ---------------------------------------------------------------- B4: sizes

SIZES = [
    ((7, 7), 3, {}, (5, 5)),
    ((7, 7), 3, {"stride": 2}, (3, 3)),
    ((7, 7), 3, {"stride": 3, "padding": 1}, (3, 3)),
    ((7, 7), 3, {"stride": 2, "padding": 1}, (4, 4)),
    ((32, 32), 5, {"padding": 2}, (32, 32)),
    ((32, 32), 5, {}, (28, 28)),
    ((10, 10), 3, {}, (8, 8)),
    ((13, 13), 3, {"padding": 1}, (13, 13)),
    ((5, 5), 3, {"padding": 2}, (7, 7)),  # "full"
]


@pytest.mark.parametrize(("size", "kernel", "window", "expected"), SIZES)
def test_b4_output_size(
    size: tuple[int, int], kernel: int, window: dict[str, Any], expected: tuple[int, int]
) -> None:
    x = gx.input("x", ("N", 3, *size))
    made = gx.nn.Conv2d(6, kernel, exact=True, **window)(x)
    assert made.shape[1:] == (6, *expected)


def test_b4_a_stride_that_does_not_fit_is_rounded_down() -> None:
    x = gx.input("x", ("N", 1, 7, 7))
    assert gx.nn.Conv2d(1, 3, stride=3)(x).shape[2:] == (2, 2)


def test_b4_a_stride_that_does_not_fit_is_an_error_where_exactness_is_asked() -> None:
    x = gx.input("x", ("N", 1, 7, 7))
    with pytest.raises(gx.errors.ShapeError, match=r"doesn't fit: \(7 \+ 0 \+ 0 - 3\) / 3 leaves"):
        gx.nn.Conv2d(1, 3, stride=3, exact=True)(x)


@pytest.mark.parametrize(("filters", "parameters"), [(10, 760), (6, 456)])
def test_b4_filters_of_5x5_over_3_channels_have_76_parameters_each(
    filters: int, parameters: int
) -> None:
    x = gx.input("x", ("N", 3, 32, 32))
    assert count(gx.nn.Conv2d(filters, 5)(x))[1] == parameters == 76 * filters


@pytest.mark.parametrize(("k", "a", "b"), [(1, 4, 7), (3, 2, 5), (5, 6, 16)])
def test_b4_a_layer_from_a_to_b_channels_has_k_k_a_plus_1_times_b_parameters(
    k: int, a: int, b: int
) -> None:
    made = gx.nn.Conv2d(b, k)(gx.input("x", ("N", a, 20, 20)))
    assert count(made)[1] == (k * k * a + 1) * b


def test_b4_the_same_layer_without_shared_weights_would_have_357504_parameters() -> None:
    x = gx.input("x", ("N", 3, 32, 32))
    made = gx.nn.Conv2d(6, 5)(x)
    neurons = int(np.prod(made.shape[1:]))
    each = int(np.prod(gx.parameters(made)["conv2d.weight"].shape[1:]))
    assert (each, neurons * each, neurons) == (75, 352_800, 4_704)
    assert neurons * (each + 1) == 357_504


def test_b4_fifty_neurons_on_200x200_have_2000050_parameters_not_the_notes_2040000() -> None:
    """The notes take N(M + 1) for M(N + 1): a bias for each pixel instead of each neuron."""
    x = gx.input("x", ("N", 200, 200))
    found = count(gx.nn.Dense(50)(x.flatten(1)))[1]
    assert found == 50 * (200 * 200 + 1) == 2_000_050
    assert found != 200 * 200 * (50 + 1)


# ---------------------------------------------------------------- B5: convolutions and pools

S3_IMAGE = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
S3_MASK = [[0, 1, 2], [2, 2, 0], [0, 1, 2]]
S4_IMAGE = [[1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
S4_MASK = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
S0_GRID = [
    [0.88, 0.44, 0.14, 0.16, 0.37, 0.77, 0.96, 0.27],
    [0.19, 0.45, 0.57, 0.16, 0.63, 0.29, 0.71, 0.70],
    [0.66, 0.26, 0.82, 0.64, 0.54, 0.73, 0.59, 0.26],
    [0.85, 0.34, 0.76, 0.84, 0.29, 0.75, 0.62, 0.25],
    [0.32, 0.74, 0.21, 0.39, 0.34, 0.03, 0.33, 0.48],
    [0.20, 0.14, 0.16, 0.13, 0.73, 0.65, 0.96, 0.32],
    [0.19, 0.69, 0.09, 0.86, 0.88, 0.07, 0.01, 0.48],
    [0.83, 0.24, 0.97, 0.04, 0.24, 0.35, 0.50, 0.91],
]


def convolutions() -> Functions:
    image, mask = gx.input("image", (5, 5)), gx.input("mask", (3, 3))
    x, w = image[None, None], mask[None, None]
    forms = {
        "correlation": gx.conv2d(x, w),
        "convolution": gx.conv2d(x, gx.flip(w, (2, 3))),
        "padded": gx.conv2d(x, w, padding=1),
        "strided": gx.conv2d(x, w, stride=2),
    }
    grid = gx.input("grid", (8, 8))
    pools = {
        "max": gx.max_pool2d(grid[None, None], 2),
        "avg": gx.avg_pool2d(grid[None, None], 2),
    }
    return {
        "forms": gx.function([image, mask], {k: v[0, 0] for k, v in forms.items()}),
        "pools": gx.function([grid], {k: v[0, 0] for k, v in pools.items()}),
    }


def test_b5_s3_image_cross_correlated(compiled: Compiled) -> None:
    found = compiled(convolutions).forms(S3_IMAGE, S3_MASK)["correlation"]
    assert found.tolist() == [[12, 12, 17], [10, 17, 19], [9, 6, 14]]


def test_b5_s3_image_convolved_with_the_mask_flipped(compiled: Compiled) -> None:
    found = compiled(convolutions).forms(S3_IMAGE, S3_MASK)["convolution"]
    assert found.tolist() == [[18, 20, 19], [10, 9, 17], [11, 8, 14]]


def test_b5_s3_image_padded(compiled: Compiled) -> None:
    assert compiled(convolutions).forms(S3_IMAGE, S3_MASK)["padded"].tolist() == [
        [6, 14, 17, 11, 3],
        [14, 12, 12, 17, 11],
        [8, 10, 17, 19, 13],
        [11, 9, 6, 14, 12],
        [6, 4, 4, 6, 4],
    ]


def test_b5_s3_image_with_stride_2(compiled: Compiled) -> None:
    found = compiled(convolutions).forms(S3_IMAGE, S3_MASK)["strided"]
    assert found.tolist() == [[12, 17], [9, 14]]


@pytest.mark.parametrize("form", ["correlation", "convolution"])
def test_b5_s4_image_under_a_symmetric_mask(compiled: Compiled, form: str) -> None:
    found = compiled(convolutions).forms(S4_IMAGE, S4_MASK)[form]
    assert found.tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


def test_b5_s0_grid_pooled_by_maximum(compiled: Compiled) -> None:
    assert compiled(convolutions).pools(S0_GRID)["max"].tolist() == [
        [0.88, 0.57, 0.77, 0.96],
        [0.85, 0.84, 0.75, 0.62],
        [0.74, 0.39, 0.73, 0.96],
        [0.83, 0.97, 0.88, 0.91],
    ]


def test_b5_s0_grid_pooled_by_mean(compiled: Compiled) -> None:
    expect_near(
        compiled(convolutions).pools(S0_GRID)["avg"],
        [
            [0.49, 0.2575, 0.515, 0.66],
            [0.5275, 0.765, 0.5775, 0.43],
            [0.35, 0.2225, 0.4375, 0.5225],
            [0.4875, 0.49, 0.385, 0.475],
        ],
    )


# ---------------------------------------------------------------- B11: a loss with a second term

Z, D = (1.0, 2.0, 3.0), (0.0, 0.0, 1.0)


def softmax_losses() -> Functions:
    z, d = gx.input("z", (3,)), gx.input("d", (3,))
    p, s = gx.softmax(z), gx.sigmoid(z)
    losses = {
        "both_terms": -(d * gx.log(p) + (1 - d) * gx.log(1 - p)).sum(),
        "plain": gx.cross_entropy(z, d),
        "sigmoids": -(d * gx.log(s) + (1 - d) * gx.log(1 - s)).sum(),
    }
    made = {name: gx.function([z, d], (loss, gx.grad(loss, z))) for name, loss in losses.items()}
    return {"softmax": gx.function([z], p), **made}


def test_b11_softmax(compiled: Compiled) -> None:
    found = compiled(softmax_losses).softmax(Z)
    expect_near(found, [0.090030573170, 0.244728471055, 0.665240955775])


def test_b11_plain_cross_entropy_has_the_gradient_p_minus_d(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).plain(Z, D)
    expect_near(loss, 0.407605964444)
    expect_near(gradient, [0.090030573170, 0.244728471055, -0.334759044225])


def test_b11_with_both_terms_the_gradient_is_not_the_notes_p_minus_d(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).both_terms(Z, D)
    expect_near(loss, 0.782628194772)
    expect_near(gradient, [0.150888797489, 0.465243991794, -0.616132789283])


def test_b11_both_terms_over_independent_sigmoids(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).sigmoids(Z, D)
    expect_near(loss, 3.488777050135)
    expect_near(gradient, [0.731058578630, 0.880797077978, -0.047425873178])


# ---------------------------------------------------------------- B12: activations

POINTS = [-2, -1, -0.5, 0, 0.5, 1, 2]
TANH = (0.462117157260, 0.761594155956, 0.964027580076)
ATAN = (0.463647609001, 0.785398163397, 1.107148717794)
SIGMOID = (0.119202922022, 0.268941421370, 0.377540668798)
SOFTPLUS = (0.126928011043, 0.313261687518, 0.474076984180)
LN2 = 0.693147180560


def _odd(right: tuple[float, ...]) -> list[float]:
    """Return the values of a function with f(-x) = -f(x), from those right of 0."""
    return [*(-v for v in reversed(right)), 0.0, *right]


ACTIVATIONS: dict[str, tuple[Callable[[gx.Tensor], gx.Tensor], list[float]]] = {
    "sigmoid": (gx.sigmoid, [*SIGMOID, 0.5, *(1 - v for v in reversed(SIGMOID))]),
    "tanh": (gx.tanh, _odd(TANH)),
    "atan": (gx.atan, _odd(ATAN)),
    "softplus": (
        gx.softplus,
        [*SOFTPLUS, LN2, 0.974076984180, 1.313261687518, 2.126928011043],
    ),
    "relu": (gx.relu, [0, 0, 0, 0, 0.5, 1, 2]),
    "elu": (gx.elu, [-0.864664716763, -0.632120558829, -0.393469340287, 0, 0.5, 1, 2]),
    "leaky": (
        lambda x: gx.leaky_relu(x, 1 / 5.5),  # S0's table has the divisor a = 5.5
        [-0.363636363636, -0.181818181818, -0.090909090909, 0, 0.5, 1, 2],
    ),
}
SLOPES: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "atan": lambda y: [0.2, 0.5, 0.8, 1, 0.8, 0.5, 0.2],
    "softplus": lambda y: ACTIVATIONS["sigmoid"][1],
    "relu": lambda y: [0, 0, 0, 0, 1, 1, 1],  # S4, L666: 0 at 0
}


def activations() -> Functions:
    x = gx.input("x", ("N",))
    made: Functions = {}
    for name, (function, _) in ACTIVATIONS.items():
        y = function(x)
        made[name] = gx.function([x], (y, gx.grad(y.sum(), x)))
    return made


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_b12_activation(compiled: Compiled, name: str) -> None:
    value, _ = compiled(activations).functions[name](POINTS)
    expect_near(value, ACTIVATIONS[name][1])


@pytest.mark.parametrize("name", SLOPES)
def test_b12_derivative_of_an_activation(compiled: Compiled, name: str) -> None:
    value, slope = compiled(activations).functions[name](POINTS)
    expect_near(slope, SLOPES[name](value))


# ---------------------------------------------------------------- B12: losses, penalties

P, Q = (0.7, 0.2, 0.1), (1.0, 0.0, 0.0)
LOSSES = {
    "mse": 0.046666666667,
    "mae": 0.2,
    "cross_entropy": 0.356674943939,
    "half": 0.07,
}


def losses() -> Functions:
    p, q = gx.input("p", (3,)), gx.input("q", (3,))
    y, guess = gx.input("y", ()), gx.input("guess", ())
    W = gx.parameter("W", init=[3.0, 4.0])
    penalties = {
        "s1": 0.1 * 0.5 * (W**2).sum(),
        "s3": 0.1 * gx.sqrt((W**2).sum()),
        "l1": 0.1 * gx.abs(W).sum(),
    }
    values = {
        "mse": gx.mse(p, q),
        "mae": gx.abs(p - q).mean(),
        "cross_entropy": gx.cross_entropy(gx.log(p), q),
        "half": gx.half_squared_error(p[None], q[None]),
    }
    return {
        "values": gx.function([p, q], values),
        "hinge": gx.function([y, guess], gx.maximum(0.0, 1 - y * guess)),
        "penalties": gx.function([], {k: (v, gx.grad(v, W)) for k, v in penalties.items()}),
    }


@pytest.mark.parametrize("name", LOSSES)
def test_b12_loss(compiled: Compiled, name: str) -> None:
    expect_near(compiled(losses).values(P, Q)[name], LOSSES[name])


@pytest.mark.parametrize(("y", "guess", "loss"), [(1, 0.3, 0.7), (-1, 0.3, 1.3), (1, 1.5, 0)])
def test_b12_hinge_loss(compiled: Compiled, y: float, guess: float, loss: float) -> None:
    expect_near(compiled(losses).hinge(y, guess), loss)


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [("s1", 1.25, (0.3, 0.4)), ("s3", 0.5, (0.06, 0.08)), ("l1", 0.7, (0.1, 0.1))],
)
def test_b12_weight_penalty(
    compiled: Compiled, name: str, value: float, gradient: tuple[float, float]
) -> None:
    """S1 squares the norm and halves it, S3 takes the norm itself."""
    found = compiled(losses).penalties()[name]
    expect_near(found[0], value)
    expect_near(found[1], gradient)


# ---------------------------------------------------------------- B12: small nets


def conv_2x2() -> Functions:
    x = gx.input("x", (1, 1, 3, 3))
    w = gx.parameter("w", init=[[[[0.1, 0.2], [0.3, 0.4]]]])
    b = gx.parameter("b", init=[0.5])
    y = gx.conv2d(x, w, b).tanh()
    return {"f": gx.function([x], {"y": y, **gx.grad(y.sum(), {"w": w, "b": b, "x": x})})}


def test_b12_backpropagation_through_a_2x2_convolution_and_tanh(compiled: Compiled) -> None:
    found = compiled(conv_2x2).f(np.arange(1, 10).reshape(1, 1, 3, 3) / 10)
    expect_near(
        found["y"][0, 0],
        [[0.701374130938, 0.748704286969], [0.824272170341, 0.853797653155]],
    )
    expect_near(
        found["w"][0, 0],
        [[0.402440750393, 0.556352867973], [0.864177103131, 1.018089220710]],
    )
    expect_near(found["b"], [1.539121175792])
    expect_near(
        found["x"][0, 0],
        [
            [0.050807432845, 0.145559054757, 0.087888378135],
            [0.184479837455, 0.426280333169, 0.229982669763],
            [0.096172616760, 0.209539025920, 0.108411826987],
        ],
    )


def chains() -> Functions:
    x, y = gx.input("x", ()), gx.input("y", ())
    thetas = [gx.parameter(f"theta{i}", (), v) for i, v in enumerate((0.5, -1.5, 2.0), 1)]
    h = x
    for theta in thetas:
        h = gx.sigmoid(theta * h)
    vanishing = 0.5 * (h - y) ** 2
    w1, w2, w3 = (gx.parameter(f"w{i}", (), v) for i, v in enumerate((0.5, -0.3, 0.8), 1))
    b1 = gx.parameter("b1", (), 0.1)
    guess = gx.sigmoid(w3 * gx.sigmoid(w2 * gx.sigmoid(w1 * x + b1)))
    loss = 0.5 * (y - guess) ** 2
    return {
        "three_layers": gx.function([x, y], (h, gx.grad(vanishing, thetas))),
        "four_parameters": gx.function([x, y], (guess, loss, gx.grad(loss, [w1, b1, w2, w3]))),
    }


def test_b12_three_layers_whose_first_gradient_s0_prints_with_h_for_theta(
    compiled: Compiled,
) -> None:
    """S0 has h2, h1 where θ3, θ2 belong in dL/dθ1, which would give -.0007."""
    guess, gradients = compiled(chains).three_layers(1, 1)
    expect_near(guess, 0.637459324369)
    expect_near(gradients, [0.011964672623, -0.021127388583, -0.023642174070])
    expect_far(gradients[0], -0.000700506227)


def test_b12_the_net_of_four_parameters(compiled: Compiled) -> None:
    """S1 puts the rate into dL/dw and adds it to the weights: here is dL/dw itself."""
    guess, loss, gradients = compiled(chains).four_parameters(1, 1)
    expect_near(guess, 0.589374764040)
    expect_near(loss, 0.084306542204)
    expect_near(gradients, [0.001351428269, 0.001351428269, -0.012712970414, -0.044890917828])


def xor() -> Functions:
    corners = gx.input("corners", ("N", 2))
    total = corners.sum(axis=1)
    signs = gx.sign(gx.sign(total - 0.5) - gx.sign(total - 1.5) - 1)
    y = gx.input("y", ("N",))
    hidden = gx.nn.Dense(4, name="hidden")(corners).tanh()
    logit = gx.nn.Dense(1, name="output")(hidden)[:, 0]
    loss = (gx.softplus(logit) - y * logit).mean()
    return {
        "signs": gx.function([corners], signs),
        "learn": gx.function([corners, y], (loss, logit > 0), updates=gx.sgd(loss, lr=1.0)),
    }


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def test_b12_xor_by_a_net_of_signs(compiled: Compiled) -> None:
    assert compiled(xor).signs(CORNERS).tolist() == [-1, 1, 1, -1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_b12_xor_is_learned(compiled: Compiled, seed: int) -> None:
    module = compiled(xor)
    module.init(seed)
    for _ in range(1000):
        loss, answers = module.learn(CORNERS, (0, 1, 1, 0))
    assert loss < 0.01
    assert answers.tolist() == [False, True, True, False]
