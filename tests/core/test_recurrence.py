"""Derivations and chains through loops: what is written there, evaluated, is the gradient."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.dsl import graph
from graphc.render import gradients, recurrence
from graphc.render.derivation import Derivation, Step

XS, TARGETS = [1.0, -1.0, 0.5], [0.2, -0.1, 0.3]
U, W, V = 0.5, 0.8, 1.2
AT = {"xs": XS, "targets": TARGETS}
# S3's scalar neuron: dL/du, dL/dw, dL/dv, in full and cut after every step.
FULL = {"u": 0.328130052276, "w": -0.064774271117, "v": 0.152773899889}
CUT = {"u": 0.326272710795, "w": -0.011131840970, "v": 0.152773899889}


def neuron(**walk: Any) -> gx.Tensor:
    """Return the loss of S3's neuron: h = tanh(u x + w h), y = v h, L = sum of squares / 2."""
    with gx.default_dtype("float64"):
        xs, targets = gx.input("xs", ("T",)), gx.input("targets", ("T",))
        u, w, v = (gx.parameter(n, (), i) for n, i in (("u", U), ("w", W), ("v", V)))

        def cell(h: Any, x: Any) -> Any:
            h = gx.tanh(u * x + w * h).named("h")
            return h, h

        _, hs = gx.scan(cell, gx.zeros(()), xs, **walk)
        return (gx.square(v * hs - targets) * 0.5).sum().named("L")


def lstm(**walk: Any) -> gx.Tensor:
    """Return the loss of an LSTM."""
    xs = gx.input("xs", ("T", "N", 3))
    return gx.square(gx.nn.LSTM(2, name="l1")(xs, **walk)[1]).mean().named("loss")


def timed(made: Derivation) -> dict[str, Step]:
    """Return the steps through time by their symbols."""
    return {step.symbol: step for step in made.steps if step.kind == "time"}


def value(text: str, **numbers: float) -> float:
    """Return what a formula of the neuron's derivation is worth."""
    for words, name in (("∂h[t − 1]/∂w", "d"), ("∂h[t − 1]/∂u", "d"), ("h[t − 1]", "before")):
        text = text.replace(words, name)
    return float(eval(text.replace("xs[t]", "x"), {}, {"u": U, "w": W, "v": V, **numbers}))


def states() -> list[float]:
    """Return h before each step and after it."""
    found = [0.0]
    for x in XS:
        found.append(float(np.tanh(U * x + W * found[-1])))
    return found


# ---------------------------------------------------------------- the notes' recurrences


@pytest.mark.parametrize("name", ["u", "w"])
def test_s3_recurrence_by_a_weight_sums_up_to_its_gradient(name: str) -> None:
    """dL/dw = the sum over t of dL_t/dh_t dh_t/dw, with dh_t/dw from the step before."""
    formula = timed(gx.explain(neuron(), name))[f"∂h/∂{name}"].expression
    h, d, total = states(), 0.0, 0.0
    for t, (x, target) in enumerate(zip(XS, TARGETS, strict=True), start=1):
        d = value(formula, h=h[t], before=h[t - 1], x=x, d=d)
        total += (V * h[t] - target) * V * d
    assert total == pytest.approx(FULL[name], abs=1e-11)


@pytest.mark.parametrize(("truncate", "expected"), [(None, FULL), (1, CUT)])
@pytest.mark.parametrize("name", ["u", "w"])
def test_s3_recurrence_unrolled_is_a_sum_of_products(
    name: str, truncate: int | None, expected: dict[str, float]
) -> None:
    """Each use at step k, times a factor for each step from k to t; borders cut the product."""
    steps = timed(gx.explain(neuron(truncate=truncate), name))
    back, use = steps["∂h/∂h[t − 1]"].expression, steps[f"∂⁺h/∂{name}"].expression
    h, total = states(), 0.0
    for t in range(1, 4):
        for k in range(t if truncate == 1 else 1, t + 1):
            product = value(use, h=h[k], before=h[k - 1], x=XS[k - 1])
            for j in range(k + 1, t + 1):
                product *= value(back, h=h[j])
            total += (V * h[t] - TARGETS[t - 1]) * V * product
    assert total == pytest.approx(expected[name], abs=1e-11)


def test_a_weight_outside_the_loop_has_no_recurrence() -> None:
    assert timed(gx.explain(neuron(), "v")) == {}


@pytest.mark.parametrize("name", ["u", "w", "v"])
def test_values_of_a_derivation_are_those_of_all_steps(name: str) -> None:
    made = gx.explain(neuron(), name, at=AT)
    steps = [s for s in made.steps if s.value]
    by_symbol = {symbol: s.value for s in steps for symbol in s.symbol.split(" = ")}
    assert by_symbol["h"] == "[0.4621, -0.1296, 0.1453]"
    assert float(by_symbol[f"∂L/∂{name}"]) == pytest.approx(FULL[name], rel=1e-3)


def test_gradients_that_are_handed_on_are_told_with_their_values() -> None:
    steps = {s.symbol: s for s in gx.explain(neuron(), "w", at=AT).steps}
    assert steps["h[t − 1]"].expression == "h of step t − 1; 0 at first"
    assert steps["h[t − 1]"].rules == ("for t = 0 … T − 1",)
    handed = steps["∂L/∂h from t + 1"]
    assert handed.expression == "∂L/∂h[t − 1] of step t + 1; 0 at first"
    assert steps["∂L/∂h"].expression == "(∂L/∂h from t + 1) + ∂L/∂v1[t]"
    back = [float(n) for n in re.findall(r"-?[\d.]+", steps["∂L/∂h[t − 1]"].value)]
    slopes = [float(n) for n in re.findall(r"-?[\d.]+", steps["∂L/∂h"].value)]
    direct = [float(n) for n in re.findall(r"-?[\d.]+", steps["∂L/∂v1[t]"].value)]
    np.testing.assert_allclose(slopes, np.add(direct, [*back[1:], 0]), atol=2e-4)


@pytest.mark.parametrize(("walk", "said"), [({"reverse": True}, "t + 1"), ({}, "t − 1")])
def test_the_way_of_the_walk_is_said(walk: dict[str, Any], said: str) -> None:
    steps = timed(gx.explain(neuron(**walk), "w"))
    assert f"∂h/∂h[{said}]" in steps
    end = "k = t … T − 1" if walk else "k = 0 … t"
    assert steps["∂h[t]/∂w"].expression.endswith(end)


def test_borders_are_said_where_the_sum_begins() -> None:
    (rule,) = timed(gx.explain(neuron(truncate=2), "w"))["∂h[t]/∂w"].rules
    assert rule.endswith(
        "no gradient passes the borders every 2 steps, so k begins at the last one"
    )


# ---------------------------------------------------------------- tensors: differentials


@pytest.mark.parametrize("kind", [gx.nn.RNN, gx.nn.LSTM, gx.nn.GRU], ids=["rnn", "lstm", "gru"])
@pytest.mark.parametrize("name", ["l1.weight_h", "l1.weight_x", "l1.bias"])
def test_a_state_moves_as_its_differential_says(kind: Any, name: str) -> None:
    """∂h_t along a direction of a weight, step by step, gives the gradient along it."""
    with gx.default_dtype("float64"):
        xs = gx.input("xs", ("T", "N", 3))
        _, hs = kind(2, name="l1")(xs)
        weight = gx.parameters(hs)[name]
        out = gx.input("out", ("T", "N", 2))
        loss = (hs * out).sum()
    draw = np.random.default_rng(0).normal
    at = {"xs": draw(size=(4, 2, 3)), "out": draw(size=(4, 2, 2))}
    direction = draw(size=weight.shape)
    steps = 1e-6 * direction
    base = gx.evaluate(weight)
    ends = [gx.evaluate(hs, {**at, name: base + side * steps}) for side in (1, -1)]
    moved = (ends[0] - ends[1]) / 2e-6  # ∂h of all steps, by differences

    gradient = graph.grad(loss, weight)
    _, opened = gradients.read(loss.node, {name: gradient.node}, {})
    target = next(n for n in opened.order if n.attrs.get("name") == name)
    reading = gx.explain(loss, name)
    found = timed(reading)
    assert f"∂L/∂{name}" in found
    names = {n: str(n.attrs["name"]) for n in opened.order if "name" in n.attrs}
    loop = next(loop for loop in opened.loops.values() if loop.partner is None)
    body = loop.node.attrs["body"]
    read = [n for n in body.inputs if n in loop.inner and _spread(loop.inner[n]) is target]
    assert read and names
    slope = gx.evaluate(gradient, at, training=True)
    assert np.sum(slope * direction) == pytest.approx(np.sum(moved * at["out"]), rel=1e-6)
    assert _along(body, read, direction, at, hs, steps=4) == pytest.approx(moved, abs=1e-7)


def _spread(node: Any) -> Any:
    while node.inputs and node.op.name in ("broadcast_to", "reshape"):
        node = node.inputs[0]
    return node


def _along(
    body: Any, read: list[Any], direction: Any, at: dict[str, Any], hs: gx.Tensor, *, steps: int
) -> Any:
    """Return ∂h of all steps by the recurrence, the body's leaves given their values."""
    from graphc.ops import leaf

    walk = hs.node.inputs[0].attrs
    carries = list(range(walk["carries"]))
    tangents = {n: leaf.input(f"d{i}", n.shape, n.dtype) for i, n in enumerate(body.inputs)}
    moving = [(n, tangents[n]) for n in (*read, *(body.inputs[i] for i in carries))]
    made = [recurrence.tangent(body.outputs[i], moving) for i in carries]
    scan = hs.node.inputs[0]
    given = dict(zip(body.inputs, scan.inputs, strict=False))
    outer = gx.evaluate([gx.Tensor(n) for n in given.values()], at)
    values = dict(zip(given, outer, strict=True))
    state = [values[body.inputs[i]] for i in carries]
    moved = [np.zeros_like(s) for s in state]
    found = []
    for t in range(steps):
        now = {gx.Tensor(body.inputs[i]): s for i, s in zip(carries, state, strict=True)}
        for k, n in enumerate(body.inputs[:-1]):
            if k >= len(carries):
                is_step = k < len(carries) + walk["sequences"]
                now[gx.Tensor(n)] = values[n][t] if is_step else values[n]
        for n in read:
            now[gx.Tensor(tangents[n])] = np.broadcast_to(direction, np.shape(values[n]))
        for i in carries:
            now[gx.Tensor(tangents[body.inputs[i]])] = moved[i]
        roots = [gx.Tensor(n) for n in (*body.outputs[: len(carries)], *made)]
        results = gx.evaluate(roots, now)
        state, moved = results[: len(carries)], results[len(carries) :]
        found.append(moved[0])
    return np.stack(found)


# ---------------------------------------------------------------- chains


def test_a_chain_through_a_loop_is_a_sum_over_its_steps() -> None:
    made = gx.chain(neuron(), "w", at=AT)
    assert made.over == ("for t = 0 … T − 1",)
    assert [f.symbol for f in made.repeated] == ["∂h/∂h[t − 1]"]
    assert made.repeated[0].rule == "• · (1 − h²) · w"
    assert [f.symbol for f in made.paths[0]][-2:] == ["∂h/∂s1", "∂s1/∂w"]
    assert made.formula.startswith("∂L/∂w = Σ ") and " · Π ∂h/∂h[t − 1] · " in made.formula
    assert made.product == pytest.approx(FULL["w"], abs=1e-11)


def test_a_chains_quantities_have_the_values_of_all_steps() -> None:
    found = {q.symbol: q for q in gx.chain(neuron(), "w", at=AT).quantities}
    np.testing.assert_allclose(found["h"].value, states()[1:])
    np.testing.assert_allclose(found["h[t − 1]"].value, states()[:-1])
    per_step = gx.evaluate(gx.gradient_flow(neuron()).per_step["h"], AT)
    np.testing.assert_allclose(found["h"].gradient, per_step)


def test_two_carries_have_a_factor_for_each_pair() -> None:
    made = gx.chain(lstm(), "l1.weight_h")
    pairs = {f.symbol for f in made.repeated}
    assert pairs == {f"∂{a}/∂{b}[t − 1]" for a in "hc" for b in "hc"}
    assert "Π ∂(h, c)/∂(h[t − 1], c[t − 1])" in str(made)
    assert made.count == len(made.paths) == 7  # 4 on from h, which goes through c, and 3 on from c
    ends = {tuple(f.symbol for f in path[2:4]) for path in made.paths}
    assert ("∂c/∂h1", "∂h1/∂v1") in ends and ("∂h/∂h4", "∂h4/∂v4") in ends


def loops() -> dict[str, tuple[gx.Tensor, str]]:
    """Return losses over loops of many kinds, each with what to derive it by."""
    with gx.default_dtype("float64"):
        xs, w = gx.input("xs", ("T", "N", 3)), gx.parameter("w", (3, 3))
        v, h0, zeros = gx.parameter("v", (3, 3)), gx.parameter("h0", (3,)), gx.zeros(("N", 3))

        def plain(h: Any, x: Any) -> Any:
            return gx.tanh(x + h @ w), h

        def swapping(c: Any, x: Any) -> Any:
            return (gx.tanh(c[1] + x), gx.tanh(c[0] @ w)), None

        def nested(h: Any, x: Any) -> Any:
            h, _ = gx.scan(lambda k, _: (gx.tanh(k @ w + x), None), h, length=2)
            return h, h

        last, before = gx.scan(plain, zeros, xs)
        first, _ = gx.scan(plain, gx.broadcast_to(h0, ("N", 3)), xs)
        fed, _ = gx.scan(lambda h, x: (gx.tanh(x + h), None), zeros, xs @ v)
        (a, _), _ = gx.scan(swapping, (zeros, zeros), xs)
        found = {
            "the state before": (before, "w"),
            "the last state": (last, "w"),
            "the first state": (first, "h0"),
            "a sequence": (fed, "v"),
            "only through the step before": (a, "w"),
            "a loop in a loop": (gx.scan(nested, zeros, xs)[1], "w"),
            "slices": (gx.nn.GRU(3, name="g", reset_after=False)(xs)[1], "g.weight_h"),
            "one layer over another": (
                gx.nn.RNN(3, name="r2")(gx.nn.RNN(3, name="r1")(xs)[1])[1],
                "r1.weight_h",
            ),
        }
    return {kind: (gx.square(t).sum(), name) for kind, (t, name) in found.items()}


@pytest.mark.parametrize("kind", loops())
def test_every_loop_has_a_chain_a_derivation_and_their_pictures(kind: str) -> None:
    loss, name = loops()[kind]
    at = {"xs": np.random.default_rng(0).normal(size=(4, 2, 3))}
    made = gx.chain(loss, name, at=at)
    assert made.paths and all(made.paths)
    expected = gx.evaluate(gx.grad(loss, name), at, training=True)
    np.testing.assert_allclose(made.product, expected, rtol=1e-12)
    assert made.diagram.dot.count(" -> ") >= len(made.factors)
    text = str(gx.explain(loss, name, at=at))
    assert "carries=" not in text and "place=" not in text
    assert gx.draw(loss, view="gradient", at=at).dot.startswith("digraph")


def test_a_step_back_repeats_the_statements_of_the_step_before() -> None:
    loss, name = loops()["only through the step before"]
    symbols = [f.symbol for f in gx.chain(loss, name).paths[0]]
    assert symbols[-2:] == ["∂carry2[t − 1]/∂s2[t − 1]", "∂s2[t − 1]/∂w"]


def test_a_chain_past_a_loop_is_the_plain_one() -> None:
    with gx.default_dtype("float64"):
        w = gx.parameter("w", (), 2.0)
        _, ys = gx.scan(lambda h, x: (h + x, h), gx.zeros(()), gx.input("xs", ("T",)))
        loss = (w * ys).sum().named("L")
    made = gx.chain(loss, "w")
    assert made.over == () and made.repeated == ()


def test_the_picture_of_a_chain_shows_the_way_back_in_time() -> None:
    dot = gx.draw(neuron(), view="chain", wrt="w").dot
    assert "∂h/∂h[t − 1]" in dot
    assert "t → t + 1" in dot


# ---------------------------------------------------------------- forms


HOSTILE = ['a"b', "a\\b", "a<b>&c", "a}{b", "a$b_c^d", "a%b#c", "line\nbreak", "--> x", "[t − 1]"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_inject_nothing_into_a_recurrence(name: str) -> None:
    xs = gx.input("xs", ("T", "N", 2))
    w = gx.parameter(name, (2, 2), gx.init.normal(0.5))

    def cell(h: Any, x: Any) -> Any:
        h = gx.tanh(x + h @ w).named(name)
        return h, h

    loss = gx.square(gx.scan(cell, gx.zeros(("N", 2)), xs)[1]).mean()
    made = gx.explain(loss, name)
    assert made.latex.isascii()
    assert "<b>" not in made.html
    assert "\nbreak" not in str(made)
    dot = gx.draw(loss, view="chain", wrt=name).dot
    assert "<b>&c" not in dot and "\nbreak" not in dot


def test_a_derivation_through_a_loop_is_html_and_latex() -> None:
    made = gx.explain(lstm(truncate=3), "l1.weight_h")
    assert r"\subsection*{Through time}" in made.latex
    assert "Through time" in made.html
    assert "carries=" not in str(made)


def test_captured_slices_of_a_weight_move_with_it() -> None:
    loss, name = loops()["slices"]
    steps = timed(gx.explain(loss, name))
    assert "∂v2" in steps["∂g.h"].expression and "∂v7" in steps["∂g.h"].expression
    assert f"∂L/∂{name}" in steps
