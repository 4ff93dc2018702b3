"""The chain rule as data: its factors, its paths, its numbers, its picture."""

from __future__ import annotations

import re
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gx
from graphc.errors import CallError, GradientError, RenderError
from graphc.render.chain import Chain, Factor

EXACT = {"rtol": 1e-10, "atol": 1e-11}
# What is known by hand is known to twelve digits.
PRINTED = {"rtol": 0, "atol": 6e-13}


def _four_parameters() -> gx.Tensor:
    """Return the loss of S1's chain of three neurons."""
    with gx.default_dtype("float64"):
        x, y = gx.input("x", ()), gx.input("y", ())
        w1, w2, w3 = (gx.parameter(f"w{i + 1}", (), v) for i, v in enumerate((0.5, -0.3, 0.8)))
        h1 = (w1 * x + gx.parameter("b1", (), 0.1)).sigmoid()
        h2 = (w2 * h1).sigmoid()
        guess = (w3 * h2).sigmoid().named("ŷ")
        return 0.5 * (guess - y) ** 2


def _three_layers() -> gx.Tensor:
    """Return the loss of S0's chain of three layers."""
    with gx.default_dtype("float64"):
        x, y = gx.input("x", ()), gx.input("y", ())
        h = x
        for i, value in enumerate((0.5, -1.5, 2.0)):
            h = (gx.parameter(f"θ{i + 1}", (), value) * h).sigmoid()
        return 0.5 * (h - y) ** 2


def _two_three_one() -> gx.Tensor:
    """Return the loss of S0's 2-3-1 net."""
    with gx.default_dtype("float64"):
        x, y = gx.input("x", (2,)), gx.input("y", ())
        first = gx.parameter("Θ1", init=[[1.2, 2.1, -1.5], [-0.3, -0.7, 0.3]])
        h = (x @ first).sigmoid()
        guess = (h @ gx.parameter("Θ2", init=[-0.2, 0.5, 1.3])).sigmoid()
        return 0.5 * (y - guess) ** 2


def _softmax() -> gx.Tensor:
    """Return the cross-entropy of one sample."""
    with gx.default_dtype("float64"):
        scores = gx.input("x", (1, 3)) @ gx.parameter("W", init=np.eye(3))
        return gx.cross_entropy(scores.named("s"), gx.input("y", (1,), dtype="int64"))


def _residual(blocks: int) -> gx.Tensor:
    with gx.default_dtype("float64"):
        x = gx.input("x", ("N", 4))
        h = gx.nn.Dense(4, name="in")(x).tanh()
        for i in range(blocks):
            h = h + gx.nn.Dense(4, name=f"r{i}")(h).tanh()
        scores = gx.nn.Dense(3, name="out")(h)
        return gx.cross_entropy(scores, gx.input("y", ("N",), dtype="int64"))


def _shared() -> gx.Tensor:
    """Return a loss that one weight enters three times."""
    with gx.default_dtype("float64"):
        w, h = gx.parameter("w", (), 0.7), gx.input("x", ())
        for _ in range(3):
            h = (w * h).tanh()
        return h * h


def _recurrent() -> gx.Tensor:
    """Return the loss of an LSTM."""
    with gx.default_dtype("float64"):
        _, hs = gx.nn.LSTM(2, name="l1")(gx.input("xs", ("T", "N", 3)))
        return gx.square(hs).mean().named("L")


ONE = {"x": 1.0, "y": 1.0}
PAIR = {"x": [1.0, -0.5], "y": 1.0}
SCORES = {"x": [[1.0, 2.0, 3.0]], "y": [2]}
ROWS = {"x": np.linspace(-1, 1, 8).reshape(2, 4), "y": [0, 2]}

CASES: dict[str, tuple[Callable[[], gx.Tensor], str, dict[str, Any], Any]] = {
    "w1": (_four_parameters, "w1", ONE, 0.001351428269),
    "b1": (_four_parameters, "b1", ONE, 0.001351428269),
    "w2": (_four_parameters, "w2", ONE, -0.012712970414),
    "w3": (_four_parameters, "w3", ONE, -0.044890917828),
    "θ1": (_three_layers, "θ1", ONE, 0.011964672623),
    "θ2": (_three_layers, "θ2", ONE, -0.021127388583),
    "θ3": (_three_layers, "θ3", ONE, -0.023642174070),
    "Θ1": (
        _two_three_one,
        "Θ1",
        PAIR,
        [
            [0.002873630255, -0.003213436603, -0.015441312886],
            [-0.001436815127, 0.001606718302, 0.007720656443],
        ],
    ),
    "Θ2": (_two_three_one, "Θ2", PAIR, [-0.069792224830, -0.080903708241, -0.014159088934]),
    "p - d": (_softmax, "s", SCORES, [[0.090030573170, 0.244728471055, -0.334759044225]]),
}


def _product(path: tuple[Factor, ...]) -> Any:
    """Multiply the arrays of derivatives of a path."""
    found = np.ones(())
    for factor in path:
        assert factor.value is not None
        kept = factor.value.ndim - found.ndim
        found = np.tensordot(found, factor.value, found.ndim)
        assert found.ndim == kept
    return found


@pytest.mark.parametrize(("loss", "wrt", "at", "printed"), CASES.values(), ids=CASES)
def test_the_factors_multiply_to_the_gradient(
    loss: Callable[[], gx.Tensor], wrt: str, at: dict[str, Any], printed: Any
) -> None:
    made = loss()
    chain = gx.chain(made, wrt, at=at)
    gradient = gx.evaluate(gx.grad(made, wrt), at)
    np.testing.assert_allclose(sum(_product(path) for path in chain.paths), gradient, **EXACT)
    np.testing.assert_allclose(chain.product, gradient, **EXACT)
    np.testing.assert_allclose(gradient, printed, **PRINTED)


def test_the_chain_of_the_notes_is_written_as_they_write_it() -> None:
    chain = gx.chain(_four_parameters(), "w1")
    assert chain.formula == (
        "∂L/∂w1 = ∂L/∂ŷ · ∂ŷ/∂v2 · ∂v2/∂h2 · ∂h2/∂v1 · ∂v1/∂h1 · ∂h1/∂s1 · ∂s1/∂w1"
    )
    assert [(f.symbol, f.rule) for f in chain.factors] == [
        ("∂L/∂ŷ", "0.5 · 2 · (ŷ − y)"),
        ("∂ŷ/∂v2", "ŷ · (1 − ŷ)"),
        ("∂v2/∂h2", "w3"),
        ("∂h2/∂v1", "h2 · (1 − h2)"),
        ("∂v1/∂h1", "w2"),
        ("∂h1/∂s1", "h1 · (1 − h1)"),
        ("∂s1/∂w1", "x"),
    ]


def test_a_factor_that_other_parameters_need_is_re_used() -> None:
    loss = _four_parameters()
    reused = {w: [f.reused for f in gx.chain(loss, w).factors] for w in ("w1", "w2", "w3", "b1")}
    assert reused == {
        "w1": [True] * 6 + [False],
        "b1": [True] * 6 + [False],
        "w2": [True] * 4 + [False],
        "w3": [True] * 2 + [False],
    }
    assert not any(f.reused for f in gx.chain(_softmax(), "W").factors)


def test_the_prefix_that_chains_share_is_the_same() -> None:
    loss = _four_parameters()
    first, second = gx.chain(loss, "w1", at=ONE), gx.chain(loss, "w2", at=ONE)
    assert first.factors[:4] == second.factors[:4]


def test_softmax_with_cross_entropy_is_one_factor() -> None:
    assert [(f.symbol, f.rule) for f in gx.chain(_softmax(), "W").factors] == [
        ("∂L/∂s", "−1 / 1 · one_hot(y, 3) + 1 / 1 · exp(s − logsumexp(s, axis=1))"),
        ("∂s/∂W", "xᵀ @ •"),
    ]


def test_matrices_stand_on_their_side_of_what_comes_in() -> None:
    rules = {f.symbol: f.rule for f in gx.chain(_two_three_one(), "Θ1").factors}
    assert rules["∂s2/∂h1"] == "• @ Θ2ᵀ"
    assert rules["∂s1/∂Θ1"] == "xᵀ @ •"


@pytest.mark.parametrize("wrt", ["in.weight", "r0.weight", "out.bias"])
def test_residual_paths_add_up_to_the_gradient(wrt: str) -> None:
    loss = _residual(3)
    chain = gx.chain(loss, wrt, at=ROWS)
    expected = gx.evaluate(gx.grad(loss, wrt), ROWS, training=True)
    np.testing.assert_allclose(chain.product, expected, **EXACT)
    assert chain.count == len(chain.paths) == {"in.weight": 8, "r0.weight": 4, "out.bias": 1}[wrt]


def test_a_shared_weight_has_a_path_for_each_use() -> None:
    loss = _shared()
    chain = gx.chain(loss, "w", at={"x": 0.3})
    assert chain.count == 3
    assert sorted(len(path) for path in chain.paths) == [3, 5, 7]
    np.testing.assert_allclose(
        sum(_product(p) for p in chain.paths),
        gx.evaluate(gx.grad(loss, "w"), {"x": 0.3}),
        **EXACT,
    )


def test_too_many_paths_are_counted_and_meet_where_all_pass() -> None:
    loss = _residual(12)
    chain = gx.chain(loss, "in.weight", at=ROWS)
    assert chain.count == 4096 and len(chain.paths) == 1
    assert [f.ways for f in chain.factors].count(2) == 12
    assert "4,096 paths" in str(chain)
    expected = gx.evaluate(gx.grad(loss, "in.weight"), ROWS, training=True)
    np.testing.assert_allclose(chain.product, expected, **EXACT)


def test_an_unrolled_loop_of_many_paths_is_counted_and_not_listed() -> None:
    loss = gx.unroll(_recurrent(), T=20)
    chain = gx.chain(loss, "l1.weight_h")
    assert chain.count > 10**9 and len(chain.paths) == 1
    assert f"{chain.count:,} paths, which meet at the quantities that are shown" in str(chain)


def test_paths_that_stop_gradient_are_none() -> None:
    w = gx.parameter("w", (3,))
    chain = gx.chain((w.tanh() * gx.stop_gradient(w.exp())).sum(), "w")
    assert chain.count == 1


def test_a_deep_chain_is_found() -> None:
    h = gx.parameter("w", (2,))
    for _ in range(3000):
        h = h.tanh()
    chain = gx.chain(h.sum(), "w")
    assert chain.count == 1 and len(chain.factors) == 3001
    assert len(str(chain).splitlines()[0]) < 600


def test_a_chain_ends_at_an_inner_tensor_too() -> None:
    loss = _four_parameters()
    chain = gx.chain(loss, "ŷ", at=ONE)
    assert chain.formula == "∂L/∂ŷ = ∂L/∂ŷ"
    np.testing.assert_allclose(chain.product, 0.589374764040 - 1, rtol=0, atol=1e-12)


def test_without_numbers_there_is_no_product() -> None:
    assert gx.chain(_four_parameters(), "w1").product is None


# ---------------------------------------------------------------- bad use


@pytest.mark.parametrize("view", [gx.chain, gx.explain])
def test_a_parameter_that_the_loss_does_not_reach_is_an_error(view: Callable[..., Any]) -> None:
    other = gx.parameter("other", (2,))
    with pytest.raises(GradientError) as caught:
        view(_recurrent(), other)
    assert re.sub(r"\S*test_chain\.py:\d+", "FILE", str(caught.value)) == (
        "the loss has no gradient by other: no path leads there\n"
        "  at FILE\n"
        "  loss    float64[]    FILE\n"
        "  other   float32[2]   FILE\n"
        '  try: disconnected="zero" gives zeros'
    )


def test_several_parameters_are_an_error() -> None:
    with pytest.raises(CallError, match="chain derives by one tensor") as caught:
        gx.chain(_four_parameters(), "w*")
    assert "try: write its full name" in str(caught.value)


def test_a_nameless_inner_tensor_that_has_no_symbol_is_an_error() -> None:
    w = gx.parameter("w", (3,))
    part = w * 2.0
    with pytest.raises(GradientError, match="has no name that a chain could end at"):
        gx.chain(((part + 1.0) * w).sum(), part)


# ---------------------------------------------------------------- the picture


def _labels(dot: str) -> list[str]:
    """Return the lines of each arrow's small box, its markup taken away."""
    found = re.findall(r"^\s*n\d+ -> n\d+ \[label=<(.*?)> arrowsize|label=<(.*?)> color", dot, re.M)
    texts = [re.sub(r"<(?!br/)[^>]*>", "", a or b) for a, b in found]
    return [t.replace("<br/>", " | ") for t in texts if t.startswith("∂")]


def _edges(dot: str) -> list[tuple[str, str]]:
    return re.findall(r"^\s*(n\d+) -> (n\d+) ", dot, re.MULTILINE)


def test_the_picture_has_a_box_for_each_quantity_and_an_arrow_for_each_factor() -> None:
    made = gx.draw(_four_parameters(), "chain", wrt="w1", at=ONE)
    boxes = [(b.title, b.words, b.value) for b in made.sketch.boxes]
    assert boxes[0] == ("w1", "", "0.5") and boxes[-1] == ("L", "0.5 · (ŷ − y)²", "0.08431")
    assert [b.title for b in made.sketch.boxes] == ["w1", "s1", "h1", "v1", "h2", "v2", "ŷ", "L"]
    assert sorted(_edges(made.dot)) == [(f"n{i}", f"n{i + 1}") for i in range(7)]
    assert made.sketch.boxes[0].slope == "∂L/∂w1 = 0.001351"


def test_each_arrow_bears_its_factor_and_says_whether_it_is_re_used() -> None:
    dot = gx.draw(_four_parameters(), "chain", wrt="w1", at=ONE).dot
    labels = _labels(dot)
    assert "∂s1/∂w1 | x | 1" in labels
    assert "∂h1/∂s1 | h1 · (1 − h1) | 0.2288 | re-used" in labels
    assert len(labels) == 7


def test_a_residual_net_branches_in_the_picture() -> None:
    chain = gx.chain(_residual(3), "in.weight")
    edges = _edges(chain.diagram.dot)
    assert len(edges) == len(chain.factors) == 16
    assert max(sum(a == key for a, _ in edges) for key, _ in edges) == 2


def test_names_that_look_the_same_stay_apart() -> None:
    ends = ("A" * 60, "B" * 60)
    w, v = (gx.parameter(f"{ends[0]}{i}{ends[1]}", (3,)) for i in range(2))
    other = (w * v).named("L")
    made = gx.draw(other.tanh().sum(), "chain", wrt=v)
    assert len({b.title for b in made.sketch.boxes}) == len(made.sketch.boxes) == 4
    assert {"L", "L#2"} < {b.title for b in made.sketch.boxes}


def test_the_middle_of_a_long_chain_is_one_box() -> None:
    h = gx.parameter("w", (2,))
    for _ in range(1000):
        h = h.tanh()
    boxes = gx.draw(h.sum(), "chain", wrt="w").sketch.boxes
    assert len(boxes) == 300
    assert [b.words for b in boxes if b.kind == "group"] == ["703 quantities"]


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("txt", "∂L/∂w1 =".encode())],
)
def test_the_suffix_names_the_form(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"chain.{suffix}"
    gx.chain(_four_parameters(), "w1").save(path)
    assert path.read_bytes().startswith(start)


def test_another_suffix_lists_the_forms(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"one of \.svg \.png \.dot \.txt"):
        gx.chain(_four_parameters(), "w1").save(tmp_path / "chain.pdf")


def _forms(chain: Chain) -> tuple[str, ...]:
    return str(chain), chain.diagram.dot, chain.diagram.svg


def test_equal_input_gives_equal_bytes() -> None:
    first, second = (gx.chain(_residual(3), "in.weight", at=ROWS) for _ in "ab")
    assert _forms(first) == _forms(second)


def test_a_notebook_gets_well_formed_svg() -> None:
    document = xml.dom.minidom.parseString(gx.chain(_four_parameters(), "w1")._repr_svg_())
    assert document.documentElement is not None
    assert document.documentElement.tagName == "svg"
