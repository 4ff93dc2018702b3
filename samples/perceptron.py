"""Three perceptrons of lecture notes, learning rule by learning rule, with every slip named.

Run it: `python samples/perceptron.py`. Expect four tables: Rosenblatt's rule ends at w = (-1, 1)
as the notes have it; the world's smallest perceptron, y = wx, never settles at rate 1 and finds
1.004690831557 by descending the whole sum; the rule with bias and rate learns AND, and not XOR.
Data: the notes' own points, below (`notes.py` says which notes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from notes import table

import graphc as gx

TRACE = [((1, -1), -1), ((-1, 1), 1)]  # S1: (x, label)
LINE = [(10, 10.1), (2, 1.9), (3.5, 3.4), (1, 1.1)]  # S1: (x, y)
LEAST_SQUARES = 117.8 / 117.25  # Σxy / Σx² of LINE
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
AND, XOR = (-1, -1, -1, 1), (-1, 1, 1, -1)  # labels of CORNERS

# ---------------------------------------------------------------- the rules, as graphs


def sign(z: gx.Tensor) -> gx.Tensor:
    """Return 1 from 0 on and -1 below: +1 at 0 as in the notes, where gx.sign has 0."""
    return gx.where(z >= 0, 1.0, -1.0)


with gx.default_dtype("float64"):
    x, label = gx.input("x", (2,)), gx.input("label", ())

    # S1: w_n <- w_n + y x_n where the guess is wrong
    w = gx.parameter("rosenblatt.w", (2,), init=0)
    guess = sign(w @ x)
    new_w = gx.where(label != guess, w + label * x, w)
    rosenblatt = gx.function([x, label], {"guess": guess, "w": new_w}, updates={w: new_w})

    # S4: w_i <- w_i + η (y - ŷ) x_i,  b <- b + η (y - ŷ)
    v, b = gx.parameter("biased.w", (2,), init=0), gx.parameter("biased.b", (), init=0)
    rate = gx.state("biased.rate", init=0.5)
    output = sign(v @ x + b)
    error = label - output
    steps = {v: v + rate * error * x, b: b + rate * error}
    biased = gx.function([x, label], error, updates=steps)

    # S1: w <- w + (y - wx) x, which is gradient descent on ½ (y - wx)²
    one_x, one_y = gx.input("x", ()), gx.input("y", ())
    slope = gx.parameter("smallest.w", (), init=0)
    loss = 0.5 * (one_y - slope * one_x) ** 2
    smallest = gx.function([one_x, one_y], loss, updates=gx.sgd(loss, lr=1.0, name="smallest"))

    # the same for all points at once
    xs, ys = gx.input("x", ("N",)), gx.input("y", ("N",))
    total = (0.5 * (ys - slope * xs) ** 2).sum()
    batch = gx.function([xs, ys], total, updates=gx.sgd(total, lr=0.001, name="batch"))

program = gx.Program(
    "perceptron", rosenblatt=rosenblatt, smallest=smallest, batch=batch, biased=biased
)
example = {"x": np.array([1.0, -1.0]), "label": np.array(-1.0)}

# ---------------------------------------------------------------- what they do


def show_trace(module: gx.Module) -> None:
    """Follow S1's two steps from w = (0, 0)."""
    module.init()
    notes = [(1, (-1, 1)), (1, (-1, 1))]  # guess and new w
    rows: list[Any] = []
    for step, ((point, y), (guessed, weights)) in enumerate(zip(TRACE, notes, strict=True), 1):
        found = module.rosenblatt(point, y)
        remark = "match, w stays" if found["guess"] == y else "mismatch, w + y x"
        rows.append((f"{step}. guess for x = {point}, y = {y:+}", guessed, found["guess"], remark))
        rows.append((f"{step}. w", weights, found["w"]))
    table("Rosenblatt's perceptron (S1), sign(0) = +1", rows)
    print("  slip: the algorithm asks for x in {0, 1}^N, the trace feeds it -1.")


def show_line(module: gx.Module) -> None:
    """Fit y = wx: by the notes' rule at rate 1, at rate 0.01, and by all points at once."""
    module.init()
    first, second = (_epoch(module) for _ in range(2))
    rows: list[Any] = [
        ("rate 1, epoch 1", "-", first, "diverges, but the last x is 1: it ends at y"),
        ("rate 1, epoch 2", "-", second, "a limit cycle: each epoch ends at 1.1 again"),
    ]
    module.init()
    module.state["smallest.lr"] = 0.01
    rows.append(("rate 0.01, epoch 1", "-", _epoch(module)))
    rows.append(("rate 0.01, epoch 2", "-", _epoch(module), "its fixed point, not the minimum"))
    columns = np.array(LINE).T
    for _ in range(300):
        final = module.batch(*columns)
    rows.append(("all points, rate 0.001", "-", module.state["smallest.w"], "300 steps"))
    rows.append(("least squares Σxy / Σx²", "-", LEAST_SQUARES, "the minimum"))
    rows.append(("½ Σ (y - wx)² there", "-", final))
    table("The world's smallest perceptron y = wx (S1; the notes print no weights)", rows)
    print("  slip: 'w = w + (y_n - ŷ) x_i' mixes the indices n and i; one sample is meant.")
    print("  slip: rate 1 is used without a word, and on the notes' own data it never converges.")
    print("  slip: the loss of the next net is printed ½ (y - ŷ), the square is missing.")
    print("  slip: η stands inside dL/dw, and the update adds it, θ + η dL/dθ: both wrong.")


def _epoch(module: gx.Module) -> list[float]:
    """Show each point once and return the weight after each."""
    weights = []
    for point in LINE:
        module.smallest(*point)
        weights.append(float(module.state["smallest.w"]))
    return weights


def show_biased(module: gx.Module) -> None:
    """Learn AND, which a line separates, and fail at XOR."""
    rows: list[Any] = []
    for name, labels, notes in (("AND", AND, "converges"), ("XOR", XOR, "cannot")):
        module.init()
        mistakes = [_mistakes(module, labels) for _ in range(20)]
        ended = f"converges, epoch {mistakes.index(0) + 1}" if 0 in mistakes else "does not"
        rows.append((name, notes, ended, f"mistakes: {', '.join(map(str, mistakes[:8]))}"))
        if 0 in mistakes:
            weights = (*module.state["biased.w"], module.state["biased.b"])
            rows.append(("  (w1, w2, b)", "-", weights))
    table("The perceptron with bias and rate 0.5 (S4)", rows)


def _mistakes(module: gx.Module, labels: tuple[int, ...]) -> int:
    """Show each corner once and return how many were wrong when they were shown."""
    return sum(bool(module.biased(x, y)) for x, y in zip(CORNERS, labels, strict=True))


def main() -> None:
    """Run the three."""
    module = gx.compile(program)
    show_trace(module)
    show_line(module)
    show_biased(module)


if __name__ == "__main__":
    main()
