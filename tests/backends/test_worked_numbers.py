"""The numbers that lecture notes work out, recomputed in float64 through both back ends.

Where the notes have a slip, the test of that number names it. S0 is KAIST AI602, S1 IFT6758,
S3 INSA Centre Val de Loire, S4 SJTU CS420.
"""

from __future__ import annotations

import numpy as np

import graphc as gx
from worked import Compiled, Functions, count, expect_far, expect_near

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
    expect_near(found["s1"], [1.35, 2.45, -1.65])
    expect_near(found["h1"], [0.794129628199, 0.920561450816, 0.161108949577])
    expect_near(found["s2"], 0.510896434218)


def test_b1_output_is_0_625_where_the_notes_cut_sigmoid_of_0_51_to_0_62(
    compiled: Compiled,
) -> None:
    expect_near(compiled(two_three_one).values(B1_X, B1_Y)["guess"], 0.625016596053)


def test_b1_error_is_0_0703_where_the_notes_have_0_072_from_their_rounded_output(
    compiled: Compiled,
) -> None:
    expect_near(compiled(two_three_one).values(B1_X, B1_Y)["E"], 0.070306276618)


def test_b1_slopes_on_the_way_back(compiled: Compiled) -> None:
    found = compiled(two_three_one).slopes(B1_X, B1_Y)
    expect_near(found["guess"], -0.374983403947)
    expect_near(found["s2"], -0.087885179386)
    expect_near(found["s2"] / found["guess"], 0.234370850711)


def test_b1_gradient_of_theta2_is_not_the_notes_which_multiplied_theta2_instead_of_h1(
    compiled: Compiled,
) -> None:
    found = compiled(two_three_one).slopes(B1_X, B1_Y)
    notes = [0.02, -0.05, -0.12]
    expect_near(found["theta2"], [-0.069792224830, -0.080903708241, -0.014159088934])
    expect_far(found["theta2"], notes)
    expect_near(found["h1"], found["s2"] * B1_THETA2)  # what they printed is dE/dh1, rounded
    expect_near(found["h1"], notes, 0.0065)


def test_b1_gradient_of_theta1(compiled: Compiled) -> None:
    expect_near(
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
    expect_near(module.state["theta2"], [-0.130207775170, 0.580903708241, 1.314159088934])
    expect_far(module.state["theta2"], [-0.22, 0.55, 1.42])
    expect_near(
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
    expect_near(found["guess"], 0.656283589147)
    expect_near(found["E"], 0.059070485545)


def test_b1_step_of_theta2_alone_gains_more_than_the_notes_wrong_one(compiled: Compiled) -> None:
    module = compiled(two_three_one)
    module.step_theta2(B1_X, B1_Y)
    expect_near(module.values(B1_X, B1_Y)["guess"], 0.655449027533)
    module.state["theta2"] = [-0.22, 0.55, 1.42]
    expect_near(module.values(B1_X, B1_Y)["guess"], 0.636539, 5e-7)


def test_b1_with_theta1_as_printed_gives_other_numbers_than_the_notes(compiled: Compiled) -> None:
    """S0 prints 1.5 in Θ1 and calculates with -1.5: taken at its word, h3 and all after it move."""
    module = compiled(two_three_one)
    module.state["theta1"] = B1_PRINTED_THETA1
    found = module.values(B1_X, B1_Y)
    expect_near(found["h1"][2], 0.794129628199)
    expect_near(found["s2"], 1.333823316427)
    expect_near(found["guess"], 0.791472352928)
    expect_near(found["E"], 0.021741889797)
    slopes = module.slopes(B1_X, B1_Y)
    expect_near(slopes["theta2"], [-0.027330931534, -0.03168223561, -0.027330931534])


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
    expect_near(found["nets"], (0.755, 0.68))
    expect_near(found["h"], (0.680267196699, 0.663738697404))
    expect_near(found["final"], 0.801444986674)
    expect_near(found["o"], 0.690283492908)
    expect_near(found["E"], 0.018103903837)


def test_b2_output_delta(compiled: Compiled) -> None:
    expect_near(compiled(two_two_one).deltas(B2_X, B2_T)["output"], -0.040681125112)


def test_b2_hidden_deltas_are_not_the_notes_which_used_weights_already_updated(
    compiled: Compiled,
) -> None:
    found = compiled(two_two_one).deltas(B2_X, B2_T)["hidden"]
    expect_near(found, (-0.002654489031, -0.008171645064))
    expect_far(found, (-2.406e-3, -7.916e-3))


def test_b2_the_notes_way_reproduces_their_deltas(compiled: Compiled) -> None:
    """Their δ2 is a slip besides: -7.916e-3, where their own rounding gives -7.9116e-3."""
    found = compiled(two_two_one).notes_step(B2_X, B2_T)
    expect_near(found, (-0.002409620957, -0.007926480849))


def test_b2_output_weights_after_a_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    expect_near([module.state["w1"], module.state["w2"]], [0.272325965061, 0.872998363009])


def test_b2_hidden_weights_after_a_step_read_the_old_output_weights(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    expect_near(module.state["w34"], [0.099070928839, 0.797610959872])
    expect_near(module.state["w56"], [0.397139924228, 0.592645519442])


def test_b2_hidden_weights_the_notes_way(compiled: Compiled) -> None:
    """The notes print w6+ as .5928: .592866 was cut, and came from the wrong delta."""
    module = compiled(two_two_one)
    module.notes_step(B2_X, B2_T)
    expect_near(module.state["w34"], [0.099156632665, 0.797831341139])
    expect_near(module.state["w56"], [0.397225731703, 0.592866167236])


def test_b2_error_after_a_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.step(B2_X, B2_T)
    found = module.values(B2_X, B2_T)
    expect_near(found["o"], 0.682018583264)
    expect_near(found["E"], 0.016565382327)


def test_b2_error_after_the_notes_step(compiled: Compiled) -> None:
    module = compiled(two_two_one)
    module.notes_step(B2_X, B2_T)
    found = module.values(B2_X, B2_T)
    expect_near(found["o"], 0.682031202746)
    expect_near(found["E"], 0.016567679386)


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
    expect_near(_epoch(module), [101, -299.2, 3377.9, 1.1], 1e-9)
    expect_near(_epoch(module), [-7.9, 27.5, -297.475, 1.1], 1e-9)
    expect_near(_epoch(module), [-7.9, 27.5, -297.475, 1.1], 1e-9)


def test_b3_a_small_rate_reaches_its_fixed_point_at_once(compiled: Compiled) -> None:
    module = compiled(perceptrons)
    module.state["sgd.lr"] = 0.01
    for _ in range(2):
        expect_near(_epoch(module), [1.01, 1.0076, 1.003169, 1.00413731])


def test_b3_all_points_at_once_find_the_least_squares(compiled: Compiled) -> None:
    module = compiled(perceptrons)
    for _ in range(300):
        loss = module.batch(*np.array(LINE).T)
    expect_near(module.state["slope"], 1.004690831557)
    expect_near(loss, 0.018710021322)


def test_b3_a_3_4_2_net_has_20_weights_and_26_parameters() -> None:
    hidden = gx.nn.Dense(4, name="hidden")(gx.input("x", ("N", 3)))
    assert count(gx.nn.Dense(2, name="output")(hidden.sigmoid())) == (20, 26)


def _cifar_net() -> gx.Tensor:
    tiny = gx.init.normal(1e-6)
    hidden = gx.nn.Dense(50, name="hidden", init=tiny)(gx.input("x", ("N", 3072)))
    return gx.nn.Dense(10, name="output", init=tiny)(hidden.relu())


def cifar_net() -> Functions:
    logits = _cifar_net()
    x, y = gx.find(logits, "x"), gx.input("y", ("N",), dtype="int64")
    return {"loss": gx.function([x, y], gx.cross_entropy(logits, y))}


def test_b3_the_two_layer_cifar_net_has_154160_parameters() -> None:
    assert count(_cifar_net())[1] == 154_160


def test_b3_softmax_loss_begins_at_log_10(compiled: Compiled) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3072))
    expect_near(compiled(cifar_net).loss(images, [0, 4, 9]), 2.302585092994, 1e-6)
