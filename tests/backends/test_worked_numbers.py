"""The numbers that lecture notes work out, recomputed in float64 through both back ends.

Where the notes have a slip, the test of that number names it. S0 is KAIST AI602, S1 IFT6758,
S3 INSA Centre Val de Loire, S4 SJTU CS420.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gx

PRINTED = 1e-12  # expected numbers stand here with 12 decimals
Functions = dict[str, Any]
Compiled = Callable[[Callable[[], Functions]], gx.Module]


@pytest.fixture(params=["numpy", pytest.param("c", marks=pytest.mark.cc)])
def compiled(request: pytest.FixtureRequest) -> Compiled:
    """Return what turns a definition into a module at its initial values, on each back end."""

    def module_of(define: Callable[[], Functions]) -> gx.Module:
        module = _module(define, str(request.param))
        module.init()
        return module

    return module_of


@functools.cache
def _module(define: Callable[[], Functions], backend: str) -> gx.Module:
    with gx.default_dtype("float64"):
        program = gx.Program(define.__name__, define())
    return gx.compile(program, backend=backend)


def near(got: Any, expected: Any, tolerance: float = PRINTED) -> None:
    """Compare with printed decimals."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def far(got: Any, expected: Any) -> None:
    """Tell a slip from its correction: no element agrees to two digits."""
    assert (np.abs(np.subtract(got, expected)) > 0.01 * np.abs(expected)).all()


# ---------------------------------------------------------------- B1: S0's 2-3-1 net

B1_X, B1_Y = (1.0, -0.5), 1.0
B1_THETA1 = [[1.2, 2.1, -1.5], [-0.3, -0.7, 0.3]]
B1_PRINTED_THETA1 = [[1.2, 2.1, 1.5], [-0.3, -0.7, 0.3]]
B1_THETA2 = [-0.2, 0.5, 1.3]


def two_three_one() -> Functions:
    x, y = gx.input("x", (2,)), gx.input("y", ())
    theta1, theta2 = gx.parameter("theta1", init=B1_THETA1), gx.parameter("theta2", init=B1_THETA2)
    s1 = x @ theta1
    h1 = gx.sigmoid(s1)
    s2 = h1 @ theta2
    guess = gx.sigmoid(s2)
    error = 0.5 * (y - guess) ** 2
    wrt = {"guess": guess, "s2": s2, "h1": h1, "theta1": theta1, "theta2": theta2}
    values = {"s1": s1, "h1": h1, "s2": s2, "guess": guess, "E": error}
    return {
        "values": gx.function([x, y], values),
        "slopes": gx.function([x, y], gx.grad(error, wrt)),
        "step": gx.function([x, y], error, updates=gx.sgd(error, lr=1.0)),
        "step_theta2": gx.function(
            [x, y], error, updates=gx.sgd(error, 1.0, params="theta2", name="one")
        ),
    }


def test_b1_forward_pass_with_minus_1_5_where_the_notes_print_1_5(compiled: Compiled) -> None:
    found = compiled(two_three_one).values(B1_X, B1_Y)
    near(found["s1"], [1.35, 2.45, -1.65])
    near(found["h1"], [0.794129628199, 0.920561450816, 0.161108949577])
    near(found["s2"], 0.510896434218)


def test_b1_output_is_0_625_where_the_notes_cut_sigmoid_of_0_51_to_0_62(
    compiled: Compiled,
) -> None:
    near(compiled(two_three_one).values(B1_X, B1_Y)["guess"], 0.625016596053)


def test_b1_error_is_0_0703_where_the_notes_have_0_072_from_their_rounded_output(
    compiled: Compiled,
) -> None:
    near(compiled(two_three_one).values(B1_X, B1_Y)["E"], 0.070306276618)


def test_b1_slopes_on_the_way_back(compiled: Compiled) -> None:
    found = compiled(two_three_one).slopes(B1_X, B1_Y)
    near(found["guess"], -0.374983403947)
    near(found["s2"], -0.087885179386)
    near(found["s2"] / found["guess"], 0.234370850711)


def test_b1_gradient_of_theta2_is_not_the_notes_which_multiplied_theta2_instead_of_h1(
    compiled: Compiled,
) -> None:
    found = compiled(two_three_one).slopes(B1_X, B1_Y)
    notes = [0.02, -0.05, -0.12]
    near(found["theta2"], [-0.069792224830, -0.080903708241, -0.014159088934])
    far(found["theta2"], notes)
    near(found["h1"], found["s2"] * B1_THETA2)  # what they printed is dE/dh1, rounded
    near(found["h1"], notes, 0.0065)


def test_b1_gradient_of_theta1(compiled: Compiled) -> None:
    near(
        compiled(two_three_one).slopes(B1_X, B1_Y)["theta1"],
        [
            [0.002873630255, -0.003213436603, -0.015441312886],
            [-0.001436815127, 0.001606718302, 0.007720656443],
        ],
    )


def test_b1_step_changes_theta2_unlike_the_notes_whose_gradient_was_wrong(
    compiled: Compiled,
) -> None:
    module = compiled(two_three_one)
    module.step(B1_X, B1_Y)
    near(module.state["theta2"], [-0.130207775170, 0.580903708241, 1.314159088934])
    far(module.state["theta2"], [-0.22, 0.55, 1.42])
    near(
        module.state["theta1"],
        [
            [1.197126369745, 2.103213436603, -1.484558687114],
            [-0.298563184873, -0.701606718302, 0.292279343557],
        ],
    )


def test_b1_step_lowers_the_error(compiled: Compiled) -> None:
    module = compiled(two_three_one)
    module.step(B1_X, B1_Y)
    found = module.values(B1_X, B1_Y)
    near(found["guess"], 0.656283589147)
    near(found["E"], 0.059070485545)


def test_b1_step_of_theta2_alone_gains_more_than_the_notes_wrong_one(compiled: Compiled) -> None:
    module = compiled(two_three_one)
    module.step_theta2(B1_X, B1_Y)
    near(module.values(B1_X, B1_Y)["guess"], 0.655449027533)
    module.state["theta2"] = [-0.22, 0.55, 1.42]
    near(module.values(B1_X, B1_Y)["guess"], 0.636539, 5e-7)


def test_b1_with_theta1_as_printed_gives_other_numbers_than_the_notes(compiled: Compiled) -> None:
    """S0 prints 1.5 in Θ1 and calculates with -1.5: taken at its word, h3 and all after it move."""
    module = compiled(two_three_one)
    module.state["theta1"] = B1_PRINTED_THETA1
    found = module.values(B1_X, B1_Y)
    near(found["h1"][2], 0.794129628199)
    near(found["s2"], 1.333823316427)
    near(found["guess"], 0.791472352928)
    near(found["E"], 0.021741889797)
    slopes = module.slopes(B1_X, B1_Y)
    near(slopes["theta2"], [-0.027330931534, -0.03168223561, -0.027330931534])


# ---------------------------------------------------------------- B2: S4's 2-2-1 net

B2_X, B2_T = (0.35, 0.9), 0.5


def two_two_one() -> Functions:
    x, t = gx.input("x", (2,)), gx.input("t", ())
    w1, w2 = gx.parameter("w1", (), 0.3), gx.parameter("w2", (), 0.9)
    top, bottom = gx.parameter("w34", init=[0.1, 0.8]), gx.parameter("w56", init=[0.4, 0.6])
    nets = [x @ top, x @ bottom]
    h1, h2 = map(gx.sigmoid, nets)
    final = w1 * h1 + w2 * h2
    o = gx.sigmoid(final)
    error = 0.5 * (t - o) ** 2
    grads = gx.grad(error)
    slope, *deltas = gx.grad(error, [final, *nets])
    notes = [-slope * (w - grads[w]) * h * (1 - h) for w, h in ((w1, h1), (w2, h2))]
    values = {"nets": tuple(nets), "h": (h1, h2), "final": final, "o": o, "E": error}
    theirs = {w: w - grads[w] for w in (w1, w2)}
    theirs |= {w: w + d * x for w, d in ((top, notes[0]), (bottom, notes[1]))}
    return {
        "values": gx.function([x, t], values),
        "deltas": gx.function([x, t], {"output": -slope, "hidden": tuple(-d for d in deltas)}),
        "step": gx.function([x, t], error, updates=gx.sgd(grads, lr=1.0)),
        "notes_step": gx.function([x, t], tuple(notes), updates=theirs),
    }


def test_b2_forward_pass(compiled: Compiled) -> None:
    found = compiled(two_two_one).values(B2_X, B2_T)
    near(found["nets"], (0.755, 0.68))
    near(found["h"], (0.680267196699, 0.663738697404))
    near(found["final"], 0.801444986674)
    near(found["o"], 0.690283492908)
    near(found["E"], 0.018103903837)


def test_b2_output_delta(compiled: Compiled) -> None:
    near(compiled(two_two_one).deltas(B2_X, B2_T)["output"], -0.040681125112)


def test_b2_hidden_deltas_are_not_the_notes_which_used_weights_already_updated(
    compiled: Compiled,
) -> None:
    found = compiled(two_two_one).deltas(B2_X, B2_T)["hidden"]
    near(found, (-0.002654489031, -0.008171645064))
    far(found, (-2.406e-3, -7.916e-3))


def test_b2_the_notes_way_reproduces_their_deltas(compiled: Compiled) -> None:
    """Their δ2 is a slip besides: -7.916e-3, where their own rounding gives -7.9116e-3."""
    found = compiled(two_two_one).notes_step(B2_X, B2_T)
    near(found, (-0.002409620957, -0.007926480849))


def test_b2_output_weights_after_a_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    near([module.state["w1"], module.state["w2"]], [0.272325965061, 0.872998363009])


def test_b2_hidden_weights_after_a_step_read_the_old_output_weights(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    near(module.state["w34"], [0.099070928839, 0.797610959872])
    near(module.state["w56"], [0.397139924228, 0.592645519442])


def test_b2_hidden_weights_the_notes_way(compiled: Compiled) -> None:
    """The notes print w6+ as .5928: .592866 was cut, and came from the wrong delta."""
    module = compiled(two_two_one)
    module.notes_step(B2_X, B2_T)
    near(module.state["w34"], [0.099156632665, 0.797831341139])
    near(module.state["w56"], [0.397225731703, 0.592866167236])


def test_b2_error_after_a_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    found = module.values(B2_X, B2_T)
    near(found["o"], 0.682018583264)
    near(found["E"], 0.016565382327)


def test_b2_error_after_the_notes_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.notes_step(B2_X, B2_T)
    found = module.values(B2_X, B2_T)
    near(found["o"], 0.682031202746)
    near(found["E"], 0.016567679386)


# ---------------------------------------------------------------- B3: perceptrons

LINE = [(10, 10.1), (2, 1.9), (3.5, 3.4), (1, 1.1)]


def perceptrons() -> Functions:
    x, y = gx.input("x", (2,)), gx.input("y", ())
    w = gx.parameter("w", (2,), init=0)
    guess = gx.where(w @ x >= 0, 1.0, -1.0)
    learn = {w: gx.where(y != guess, w + y * x, w)}
    a, b = gx.input("a", ()), gx.input("b", ())
    slope = gx.parameter("slope", (), init=0)
    loss = 0.5 * (b - slope * a) ** 2
    many, targets = gx.input("a", ("N",)), gx.input("b", ("N",))
    total = (0.5 * (targets - slope * many) ** 2).sum()
    return {
        "rosenblatt": gx.function([x, y], guess, updates=learn),
        "line": gx.function([a, b], loss, updates=gx.sgd(loss, lr=1.0)),
        "batch": gx.function([many, targets], total, gx.sgd(total, lr=0.001, name="batch")),
    }


def _epoch(module: gx.Module) -> list[float]:
    weights = []
    for point in LINE:
        module.line(*point)
        weights.append(float(module.state["slope"]))
    return weights


def test_b3_rosenblatts_trace_where_sign_of_0_is_plus_1(compiled: Compiled) -> None:
    """S1's algorithm asks for x in {0, 1}^N, and its trace feeds it -1: a slip without effect."""
    module = compiled(perceptrons)
    assert module.rosenblatt((1, -1), -1) == 1
    assert module.state["w"].tolist() == [-1, 1]
    assert module.rosenblatt((-1, 1), 1) == 1
    assert module.state["w"].tolist() == [-1, 1]


def test_b3_the_notes_rate_1_never_converges_on_their_own_points(compiled: Compiled) -> None:
    module = compiled(perceptrons)
    near(_epoch(module), [101, -299.2, 3377.9, 1.1], 1e-9)
    near(_epoch(module), [-7.9, 27.5, -297.475, 1.1], 1e-9)
    near(_epoch(module), [-7.9, 27.5, -297.475, 1.1], 1e-9)


def test_b3_a_small_rate_reaches_its_fixed_point_at_once(compiled: Compiled) -> None:
    module = compiled(perceptrons)
    module.state["sgd.lr"] = 0.01
    for _ in range(2):
        near(_epoch(module), [1.01, 1.0076, 1.003169, 1.00413731])


def test_b3_all_points_at_once_find_the_least_squares(compiled: Compiled) -> None:
    module = compiled(perceptrons)
    for _ in range(300):
        loss = module.batch(*np.array(LINE).T)
    near(module.state["slope"], 1.004690831557)
    near(loss, 0.018710021322)


def _count(nest: Any) -> tuple[int, int]:
    """Return the numbers of weights and of all parameters."""
    sizes = {name: int(np.prod(t.shape)) for name, t in gx.parameters(nest).items()}
    return sum(n for name, n in sizes.items() if name.endswith("weight")), sum(sizes.values())


def test_b3_a_3_4_2_net_has_20_weights_and_26_parameters() -> None:
    hidden = gx.nn.Dense(4, name="hidden")(gx.input("x", ("N", 3)))
    assert _count(gx.nn.Dense(2, name="output")(hidden.sigmoid())) == (20, 26)


def _cifar_net() -> gx.Tensor:
    tiny = gx.init.normal(1e-6)
    hidden = gx.nn.Dense(50, name="hidden", init=tiny)(gx.input("x", ("N", 3072)))
    return gx.nn.Dense(10, name="output", init=tiny)(hidden.relu())


def cifar_net() -> Functions:
    logits = _cifar_net()
    x, y = gx.find(logits, "x"), gx.input("y", ("N",), dtype="int64")
    return {"loss": gx.function([x, y], gx.cross_entropy(logits, y))}


def test_b3_the_two_layer_cifar_net_has_154160_parameters() -> None:
    assert _count(_cifar_net())[1] == 154_160


def test_b3_softmax_loss_begins_at_log_10(compiled: Compiled) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3072))
    near(compiled(cifar_net).loss(images, [0, 4, 9]), 2.302585092994, 1e-6)


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
    assert _count(gx.nn.Conv2d(filters, 5)(x))[1] == parameters == 76 * filters


@pytest.mark.parametrize(("k", "a", "b"), [(1, 4, 7), (3, 2, 5), (5, 6, 16)])
def test_b4_a_layer_from_a_to_b_channels_has_k_k_a_plus_1_times_b_parameters(
    k: int, a: int, b: int
) -> None:
    made = gx.nn.Conv2d(b, k)(gx.input("x", ("N", a, 20, 20)))
    assert _count(made)[1] == (k * k * a + 1) * b


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
    found = _count(gx.nn.Dense(50)(x.flatten(1)))[1]
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
    near(
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
    near(found, [0.090030573170, 0.244728471055, 0.665240955775])


def test_b11_plain_cross_entropy_has_the_gradient_p_minus_d(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).plain(Z, D)
    near(loss, 0.407605964444)
    near(gradient, [0.090030573170, 0.244728471055, -0.334759044225])


def test_b11_with_both_terms_the_gradient_is_not_the_notes_p_minus_d(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).both_terms(Z, D)
    near(loss, 0.782628194772)
    near(gradient, [0.150888797489, 0.465243991794, -0.616132789283])


def test_b11_both_terms_over_independent_sigmoids(compiled: Compiled) -> None:
    loss, gradient = compiled(softmax_losses).sigmoids(Z, D)
    near(loss, 3.488777050135)
    near(gradient, [0.731058578630, 0.880797077978, -0.047425873178])


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
    near(value, ACTIVATIONS[name][1])


@pytest.mark.parametrize("name", SLOPES)
def test_b12_derivative_of_an_activation(compiled: Compiled, name: str) -> None:
    value, slope = compiled(activations).functions[name](POINTS)
    near(slope, SLOPES[name](value))


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
    near(compiled(losses).values(P, Q)[name], LOSSES[name])


@pytest.mark.parametrize(("y", "guess", "loss"), [(1, 0.3, 0.7), (-1, 0.3, 1.3), (1, 1.5, 0)])
def test_b12_hinge_loss(compiled: Compiled, y: float, guess: float, loss: float) -> None:
    near(compiled(losses).hinge(y, guess), loss)


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [("s1", 1.25, (0.3, 0.4)), ("s3", 0.5, (0.06, 0.08)), ("l1", 0.7, (0.1, 0.1))],
)
def test_b12_weight_penalty(
    compiled: Compiled, name: str, value: float, gradient: tuple[float, float]
) -> None:
    """S1 squares the norm and halves it, S3 takes the norm itself."""
    found = compiled(losses).penalties()[name]
    near(found[0], value)
    near(found[1], gradient)


# ---------------------------------------------------------------- B12: small nets


def conv_2x2() -> Functions:
    x = gx.input("x", (1, 1, 3, 3))
    w = gx.parameter("w", init=[[[[0.1, 0.2], [0.3, 0.4]]]])
    b = gx.parameter("b", init=[0.5])
    y = gx.conv2d(x, w, b).tanh()
    return {"f": gx.function([x], {"y": y, **gx.grad(y.sum(), {"w": w, "b": b, "x": x})})}


def test_b12_backpropagation_through_a_2x2_convolution_and_tanh(compiled: Compiled) -> None:
    found = compiled(conv_2x2).f(np.arange(1, 10).reshape(1, 1, 3, 3) / 10)
    near(
        found["y"][0, 0],
        [[0.701374130938, 0.748704286969], [0.824272170341, 0.853797653155]],
    )
    near(
        found["w"][0, 0],
        [[0.402440750393, 0.556352867973], [0.864177103131, 1.018089220710]],
    )
    near(found["b"], [1.539121175792])
    near(
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
    near(guess, 0.637459324369)
    near(gradients, [0.011964672623, -0.021127388583, -0.023642174070])
    far(gradients[0], -0.000700506227)


def test_b12_the_net_of_four_parameters(compiled: Compiled) -> None:
    """S1 puts the rate into dL/dw and adds it to the weights: here is dL/dw itself."""
    guess, loss, gradients = compiled(chains).four_parameters(1, 1)
    near(guess, 0.589374764040)
    near(loss, 0.084306542204)
    near(gradients, [0.001351428269, 0.001351428269, -0.012712970414, -0.044890917828])


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
