"""Small networks that lecture notes compute by hand, forward and backward, with every slip named.

Run it: `python samples/mlp.py`. Expect five tables: S0's 2-3-1 net, whose printed gradient of Θ2 is
wrong; S4's 2-2-1 net, whose hidden deltas use weights that are already updated; S0's chain of three
layers, whose printed formula is wrong; XOR by a net of signs; and XOR learned by a small net.
Data: the notes' own numbers, below (`notes.py` says which notes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from notes import table

import graphc as gx

THETA1 = [[1.2, 2.1, -1.5], [-0.3, -0.7, 0.3]]  # S0 prints 1.5, and calculates with -1.5
THETA2 = [-0.2, 0.5, 1.3]
HIDDEN = [[0.1, 0.4], [0.8, 0.6]]  # S4: ((w3, w5), (w4, w6)); a column is a hidden neuron
OUTER = [0.3, 0.9]  # S4: (w1, w2)
CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR = np.array([0, 1, 1, 0])

# ---------------------------------------------------------------- the networks


def two_three_one() -> Any:
    """S0: ŷ = σ(Θ2ᵀ σ(Θ1ᵀ x)), E = ½ (y - ŷ)², one step at rate 1."""
    x, y = gx.input("x", (2,)), gx.input("y", ())
    theta1, theta2 = gx.parameter("s0.Θ1", init=THETA1), gx.parameter("s0.Θ2", init=THETA2)
    s1 = x @ theta1
    h1 = s1.sigmoid()
    s2 = h1 @ theta2
    guess = s2.sigmoid()
    error = 0.5 * (y - guess) ** 2
    slopes = {"d_guess": guess, "d_s2": s2, "d_h1": h1, "d_theta2": theta2, "d_theta1": theta1}
    values = {"s1": s1, "h1": h1, "s2": s2, "guess": guess, "E": error, **gx.grad(error, slopes)}
    return gx.function([x, y], values, updates=gx.sgd(error, lr=1.0, name="s0"))


def two_two_one() -> Any:
    """S4: o = σ(w · σ(Wᵀ x)), no bias, one step at rate 1; and the step as the notes take it.

    Their δ is minus the derivative of the error by what goes into a neuron.
    """
    x, t = gx.input("x", (2,)), gx.input("t", ())
    hidden, outer = gx.parameter("s4.hidden", init=HIDDEN), gx.parameter("s4.outer", init=OUTER)
    net = x @ hidden
    h = net.sigmoid()
    final = h @ outer
    o = final.sigmoid()
    error = 0.5 * (t - o) ** 2
    slopes = gx.grad(error, {"final": final, "net": net})
    new_outer = outer - gx.grad(error, outer)
    notes_deltas = -slopes["final"] * new_outer * h * (1 - h)  # with new_outer, not outer
    values = {"net": net, "h": h, "final": final, "o": o, "error": t - o}
    values |= {"delta": -slopes["final"], "deltas": -slopes["net"], "notes_deltas": notes_deltas}
    values |= {"notes_hidden": hidden + x[:, None] * notes_deltas}
    return gx.function([x, t], values, updates=gx.sgd(error, lr=1.0, name="s4"))


def chain() -> Any:
    """S0: ŷ = σ(θ3 σ(θ2 σ(θ1 x))), its gradients, and the gradient by θ1 as it is printed."""
    x, y = gx.input("x", ()), gx.input("y", ())
    a, b = gx.parameter("chain.θ1", (), 0.5), gx.parameter("chain.θ2", (), -1.5)
    c = gx.parameter("chain.θ3", (), 2.0)
    h1 = (a * x).sigmoid()
    h2 = (b * h1).sigmoid()
    guess = (c * h2).sigmoid()
    loss = 0.5 * (guess - y) ** 2
    values = {"guess": guess, **gx.grad(loss, {"d1": a, "d2": b, "d3": c})}
    slopes = [h * (1 - h) for h in (guess, h2, h1)]  # σ'(s3), σ'(s2), σ'(s1)
    values["printed"] = (guess - y) * slopes[0] * h2 * slopes[1] * h1 * slopes[2] * x
    return gx.function([x, y], values)


def sign_net() -> Any:
    """S4: two lines and a third neuron between them make XOR; thresholds ½, 1½ and 1."""
    corners = gx.input("corners", ("N", 2))
    total = corners.sum(axis=1)
    return gx.function([corners], gx.sign(gx.sign(total - 0.5) - gx.sign(total - 1.5) - 1))


def learned_xor() -> Any:
    """Two inputs, four tanh neurons, one logit: XOR from random weights."""
    corners, y = gx.input("corners", ("N", 2)), gx.input("y", ("N",))
    hidden = gx.nn.Dense(4, name="xor.hidden")(corners).tanh()
    logit = gx.nn.Dense(1, name="xor.output")(hidden)[:, 0]
    loss = (gx.softplus(logit) - y * logit).mean()  # -log of the probability of y
    return gx.function([corners, y], {"loss": loss, "p": logit.sigmoid()}, gx.sgd(loss, lr=1.0))


with gx.default_dtype("float64"):
    program = gx.Program(
        "mlp",
        s0=two_three_one(),
        s4=two_two_one(),
        chain=chain(),
        sign_net=sign_net(),
        learn_xor=learned_xor(),
    )
example = {"x": np.array([1.0, -0.5]), "y": np.array(1.0)}

# ---------------------------------------------------------------- what they say


def show_s0(module: gx.Module) -> None:
    """Compare S0's worked example, line by line."""
    old = module.s0([1.0, -0.5], 1.0)
    theta1, theta2 = module.state["s0.Θ1"], module.state["s0.Θ2"]
    new = module.s0([1.0, -0.5], 1.0)
    rows: list[Any] = [
        ("Θ1ᵀ x", (1.35, 2.45, -1.65), old["s1"], "slip: Θ1 is printed with 1.5, used is -1.5"),
        ("h1", (0.79, 0.92, 0.16), old["h1"]),
        ("s2", 0.51, old["s2"]),
        ("ŷ", 0.62, old["guess"], "slip: rounds to 0.63; they took σ(0.51) = 0.6248"),
        ("E", 0.072, old["E"], "slip: ½ · 0.38², from that ŷ"),
        ("dE/dŷ", -0.38, old["d_guess"]),
        ("dE/ds2", "-", old["d_s2"]),
        ("dE/dΘ2", (0.02, -0.05, -0.12), old["d_theta2"], "slip: δ2 Θ2 instead of δ2 h1"),
        ("dE/dh1", "-", old["d_h1"], "what the notes print as dE/dΘ2"),
        ("dE/dΘ1, row 1", "-", old["d_theta1"][0]),
        ("dE/dΘ1, row 2", "-", old["d_theta1"][1]),
        ("new Θ2", (-0.22, 0.55, 1.42), theta2, "slip: follows from the wrong dE/dΘ2"),
        ("new Θ1, row 1", "-", theta1[0]),
        ("new Θ1, row 2", "-", theta1[1]),
        ("ŷ after the step", "-", new["guess"]),
        ("E after the step", "-", new["E"]),
    ]
    table("A 2-3-1 net (S0): x = (1, -0.5), y = 1, rate 1", rows)


def show_s4(module: gx.Module) -> None:
    """Compare S4's worked example, its way and backpropagation's."""
    old = module.s4([0.35, 0.9], 0.5)
    outer, hidden = module.state["s4.outer"], module.state["s4.hidden"]
    new = module.s4([0.35, 0.9], 0.5)
    module.state["s4.outer"], module.state["s4.hidden"] = outer, old["notes_hidden"]
    theirs = module.s4([0.35, 0.9], 0.5)
    rows: list[Any] = [
        ("into the hidden neurons", (0.755, 0.68), old["net"]),
        ("out of them", (0.68, 0.6637), old["h"]),
        ("into the last", 0.80133, old["final"], "rounded on the way"),
        ("o", 0.69, old["o"]),
        ("t - o", -0.19, old["error"]),
        ("δ = (t - o) o (1 - o)", -0.0406, old["delta"], "from the rounded -0.19 and 0.69"),
        ("w1+, w2+", (0.272392, 0.87305), outer),
        ("δ1, δ2", (-2.406e-3, -7.916e-3), old["deltas"], "slip: with w1+, w2+, updated already"),
        ("  the notes' way", "", old["notes_deltas"], "slip: their rounding gives -7.9116e-3"),
        ("w3+, w5+", (0.09916, 0.3972), hidden[0], "slip: from those deltas"),
        ("  the notes' way", "", old["notes_hidden"][0]),
        ("w4+, w6+", (0.7978, 0.5928), hidden[1], "slip: likewise; and .59288 was cut"),
        ("  the notes' way", "", old["notes_hidden"][1]),
        ("t - o after the step", -0.18205, new["error"]),
        ("  the notes' way", "", theirs["error"], "the error falls either way"),
    ]
    table("A 2-2-1 net (S4): x = (0.35, 0.9), t = 0.5, rate 1", rows)


def show_chain(module: gx.Module) -> None:
    """Compare the chain rule with the formula that S0 prints."""
    found = module.chain(1.0, 1.0)
    rows: list[Any] = [
        ("ŷ", "-", found["guess"]),
        ("dL/dθ3", "-", found["d3"], "(ŷ - y) σ'(s3) h2"),
        ("dL/dθ2", "-", found["d2"], "(ŷ - y) σ'(s3) θ3 σ'(s2) h1"),
        ("dL/dθ1", found["printed"], found["d1"], "(ŷ - y) σ'(s3) θ3 σ'(s2) θ2 σ'(s1) x"),
    ]
    table("A chain of three layers (S0): θ = (0.5, -1.5, 2), x = y = 1", rows)
    print("  slip: dL/dθ1 is printed with h2, h1 where θ3, θ2 belong.")


def show_xor(module: gx.Module) -> None:
    """Show XOR by signs, and learn it."""
    signs = module.sign_net(CORNERS)
    rows: list[Any] = [
        (f"{a} XOR {b}", "+1" if want else "-1", sign)
        for (a, b), want, sign in zip(CORNERS, XOR, signs, strict=True)
    ]
    table("XOR by a net of signs (S4)", rows)
    steps, found = _learned(module)
    rows = [
        (f"{a} XOR {b}", str(want), p)
        for (a, b), want, p in zip(CORNERS, XOR, found["p"], strict=True)
    ]
    table("XOR learned: probabilities of a net with four hidden neurons", rows)
    print(f"  loss {found['loss']:.4f} after {steps} steps of gradient descent at rate 1")


def _learned(module: gx.Module) -> tuple[int, Any]:
    """Descend until the loss is below 0.01; return the number of steps and what came out."""
    for steps in range(1, 2001):
        found = module.learn_xor(CORNERS, XOR)
        if found["loss"] < 0.01:
            return steps, found
    return steps, found


def main() -> None:
    """Run them all."""
    module = gx.compile(program)
    show_s0(module)
    show_s4(module)
    show_chain(module)
    show_xor(module)


if __name__ == "__main__":
    main()
