"""Backpropagation through time on one scalar neuron, every term by hand beside the derived one.

S3's neuron: h_t = tanh(u x_t + w h_{t-1}), y_t = v h_t, L = Σ_t ½ (y_t - target_t)². The notes
derive dL_t/dv, and for u and w recurrences through ∂h_t/∂u and ∂h_t/∂w. Here they are worked out
with plain numbers, step by step, and printed beside what graphc derives from the loop: the sum of
the losses, each loss alone, each single term of the sum over time, and the sum that is left when
the chain is cut after every step.

Run it: `python samples/bptt_by_hand.py`. Expect four tables whose columns "by hand" and "derived"
agree in every digit that is printed, and the derivation for w, step by step.
Data: three inputs, three targets and three weights, below; the notes have no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphc as gx

XS = [1.0, -1.0, 0.5]
TARGETS = [0.2, -0.1, 0.3]
U, W, V = 0.5, 0.8, 1.2
STEPS = range(len(XS))

# ---------------------------------------------------------------- the neuron, as a loop

with gx.default_dtype("float64"):
    xs, targets = gx.input("xs", ("T",)), gx.input("targets", ("T",))
    u, w, v = (gx.parameter(name, (), value) for name, value in (("u", U), ("w", W), ("v", V)))


def cell(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
    """Do one step: the new state, which is also what comes out."""
    h = gx.tanh(u * x + w * h).named("h")
    return h, h


def losses(truncate: int | None = None) -> gx.Tensor:
    """Return the loss of each step (T,)."""
    with gx.default_dtype("float64"):
        _, hs = gx.scan(cell, gx.zeros(()), xs, truncate=truncate)
        ys = (v * hs).named("ys")
        return gx.square(ys - targets) * 0.5


def one_by_one() -> tuple[list[gx.Tensor], list[gx.Tensor], list[gx.Tensor]]:
    """Return the losses of a net whose every step has weights u and w of its own, and these."""
    with gx.default_dtype("float64"):
        h, found = gx.zeros(()), []
        us = [gx.parameter(f"u{t}", (), U) for t in STEPS]
        ws = [gx.parameter(f"w{t}", (), W) for t in STEPS]
        for t in STEPS:
            h = gx.tanh(us[t] * xs[t] + ws[t] * h)
            found.append(gx.square(v * h - targets[t]) * 0.5)
    return found, us, ws


loss = losses().sum().named("L")
truncated = losses(truncate=1).sum()
program = gx.Program(
    "bptt",
    loss=gx.function(
        [xs, targets], {"L": loss, **{f"d{p.name}": gx.grad(loss, p) for p in (u, v, w)}}
    ),
)
example = {"xs": XS, "targets": TARGETS}

# ---------------------------------------------------------------- by hand


class ByHand:
    """All the notes' quantities, with plain numbers."""

    def __init__(self) -> None:
        self.h: list[float] = []
        self.slope: list[float] = []  # f1'(u x_t + w h_{t-1})
        self.dh_du: list[float] = []
        self.dh_dw: list[float] = []
        h = du = dw = 0.0  # the recurrences stop at ∂h_0/∂u = ∂h_0/∂w = 0
        for x in XS:
            new = math.tanh(U * x + W * h)
            slope = 1 - new * new
            du, dw = (x + W * du) * slope, (h + W * dw) * slope
            h = new
            self.h.append(h)
            self.slope.append(slope)
            self.dh_du.append(du)
            self.dh_dw.append(dw)
        self.held = [0.0, *self.h[:-1]]  # h_{t-1}
        self.y = [V * h for h in self.h]
        self.dy = [y - target for y, target in zip(self.y, TARGETS, strict=True)]

    def of_each_loss(self) -> dict[str, list[float]]:
        """Return dL_t/dv, dL_t/du and dL_t/dw for each t."""
        return {
            "v": [self.dy[t] * self.h[t] for t in STEPS],
            "u": [self.dy[t] * V * self.dh_du[t] for t in STEPS],
            "w": [self.dy[t] * V * self.dh_dw[t] for t in STEPS],
        }

    def term(self, t: int, k: int, factor: Sequence[float]) -> float:
        """Return what the weight's use at step k does to the loss of step t.

        dL_t/dh_t, then ∂h_j/∂h_{j-1} = w f1' for each step back to k, then f1' times what the
        weight multiplies there (``factor``).
        """
        found = self.dy[t] * V
        for j in range(t, k, -1):
            found *= W * self.slope[j]
        return found * self.slope[k] * factor[k]


# ---------------------------------------------------------------- side by side


def table(title: str, rows: Sequence[tuple[str, float, Any]]) -> None:
    """Print what, by hand, derived."""
    width = max(len(row[0]) for row in rows)
    print(f"\n{title}\n  {'':{width}}  {'by hand':>16}  {'derived':>16}")
    for what, hand, derived in rows:
        # + 0.0 makes 0.0 of -0.0
        print(f"  {what:{width}}  {hand + 0.0:16.12f}  {float(derived) + 0.0:16.12f}")


def show_forward(hand: ByHand) -> None:
    """Print states, outputs and losses."""
    unrolled = gx.unroll({"h": gx.find(loss, "ys") / v, "y": gx.find(loss, "ys")}, T=len(XS))
    found = gx.evaluate(unrolled, at=example)
    rows = [(f"h_{t + 1}", hand.h[t], found["h"][t]) for t in STEPS]
    rows += [(f"y_{t + 1}", hand.y[t], found["y"][t]) for t in STEPS]
    rows.append(("L", sum(d * d / 2 for d in hand.dy), gx.evaluate(loss, at=example)))
    table("forward", rows)


def show_each_loss(hand: ByHand) -> None:
    """Print the gradient of the loss of each step, and their sums."""
    each = losses()
    wanted = {p.name: [gx.grad(each[t], p) for t in STEPS] for p in (v, u, w)}
    found, total = gx.evaluate((wanted, gx.grad(loss, [v, u, w])), at=example)
    rows: list[tuple[str, float, Any]] = []
    for (name, parts), derived in zip(hand.of_each_loss().items(), total, strict=True):
        rows += [(f"dL_{t + 1}/d{name}", parts[t], found[name][t]) for t in STEPS]
        rows.append((f"dL/d{name}, their sum", sum(parts), derived))
    table("the loss of each step, by the notes' recurrences", rows)


def show_terms(hand: ByHand) -> None:
    """Print every term of the sums over time: the loss of step t by the weight used at step k."""
    each, us, ws = one_by_one()
    for name, copies, factor in (("u", us, XS), ("w", ws, hand.held)):
        pairs = [(t, k) for t in STEPS for k in range(t + 1)]
        found = gx.evaluate([gx.grad(each[t], copies[k]) for t, k in pairs], at=example)
        by_hand = [hand.term(t, k, factor) for t, k in pairs]
        rows: list[tuple[str, float, Any]] = [
            (f"dL_{t + 1}/d{name} at step {k + 1}", number, derived)
            for (t, k), number, derived in zip(pairs, by_hand, found, strict=True)
        ]
        rows.append(("their sum", sum(by_hand), gx.evaluate(gx.grad(loss, name), at=example)))
        table(f"every term of the sum over time for {name}", rows)


def show_truncated(hand: ByHand) -> None:
    """Print what is left when no gradient passes from a step to the one before."""
    found = gx.evaluate(gx.grad(truncated, [u, w, v]), at=example)
    rows = [
        ("dL/du", sum(hand.term(t, t, XS) for t in STEPS), found[0]),
        ("dL/dw", sum(hand.term(t, t, hand.held) for t in STEPS), found[1]),
        ("dL/dv", sum(hand.of_each_loss()["v"]), found[2]),
    ]
    table("cut after every step (truncate=1): only the terms with k = t are left", rows)


def main() -> None:
    """Print all tables, and the derivation for w."""
    hand = ByHand()
    show_forward(hand)
    show_each_loss(hand)
    show_terms(hand)
    show_truncated(hand)
    print("\nthe derivation, as graphc writes it\n")
    print(gx.explain(loss, wrt="w", at=example))


if __name__ == "__main__":
    main()
