"""Pictures and derivations: what they show, that nothing is injected, that bytes are equal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphc import dims, ir
from graphc.errors import GradientError, RenderError
from graphc.ir import Node
from graphc.ops import conv, indexing, leaf, linear, matmul, phase, pool, random, reduce
from graphc.ops import elementwise as e
from graphc.passes import differentiate
from graphc.render import derivation, engine
from graphc.render.diagram import Diagram, diagram, gradient_diagram

N = dims.symbol("N")


def _plus(y: Node, b: Node) -> Node:
    return e.apply(e.ADD, y, linear.broadcast_to(b, y.shape))


def _parameter(name: str, *shape: int) -> Node:
    return leaf.parameter(name, shape, "float32", None)


def _net() -> Node:
    """Return the loss of a 2-3-1 net."""
    x, y = leaf.input("x", (N, 2), "float32"), leaf.input("y", (N, 1), "float32")
    with ir.noting(where="net.py:3"):
        h = e.apply(e.TANH, _plus(matmul.matmul(x, _parameter("W1", 2, 3)), _parameter("b1", 3)))
    s = _plus(matmul.matmul(h, _parameter("W2", 3, 1)), _parameter("b2", 1))
    error = e.apply(e.SUBTRACT, ir.named(e.apply(e.SIGMOID, s), "ŷ"), y)
    total = reduce.mean(e.apply(e.SQUARE, error), (0, 1))
    return ir.named(e.apply(e.MULTIPLY, e.filled(0.5, total), total), "loss")


def _convnet() -> Node:
    """Return the loss of a convolution in a scope, a pool, a classifier."""
    x, y = leaf.input("x", (N, 1, 8, 8), "float32"), leaf.input("y", (N,), "int64")
    with ir.noting(scope=("features", "c1")):
        w = _parameter("features.c1.weight", 6, 1, 5, 5)
        b = linear.reshape(_parameter("features.c1.bias", 6), (1, 6, 1, 1))
        h = _plus(conv.conv2d(x, w, conv.Window(padding=((2, 2), (2, 2)))), b)
    with ir.noting(scope=("features",)):
        h = ir.named(pool.avg_pool2d(e.apply(e.TANH, h), pool.Pool((2, 2), (2, 2))), "pool1")
    scores = matmul.matmul(linear.reshape(h, (N, 96)), _parameter("out.weight", 96, 10))
    each = e.apply(e.SUBTRACT, reduce.logsumexp(scores, (1,)), indexing.pick(scores, y))
    return ir.named(reduce.mean(each, (0,)), "loss")


def _leaf(loss: Node, name: str) -> Node:
    return next(n for n in ir.topological([loss]) if n.attrs.get("name") == name)


def _gradients(loss: Node, *names: str) -> dict[str, Node]:
    wrt = {n.attrs["name"]: n for n in ir.topological([loss]) if n.op is leaf.PARAMETER}
    wrt |= {name: _leaf(loss, name) for name in names}
    with ir.noting(origin=ir.Origin(loss.note, "dL/dL")):
        seed = differentiate.ones(loss)
    found = differentiate.cotangents([loss], [seed], wrt.values())
    return {name: found[n] for name, n in wrt.items()}


def _boxes(made: Diagram) -> dict[str, str]:
    """Return the label of each box of the DOT, its markup taken away."""
    lines = re.findall(r"^\s*(n\d+) \[label=<(.*?)> color=", made.dot, re.MULTILINE)
    found = {key: re.sub(r"<br/>", " | ", _plain(label)) for key, label in lines}
    return dict(sorted(found.items(), key=lambda item: int(item[0][1:])))


def _plain(label: str) -> str:
    return re.sub(r"<(?!br/)[^>]*>", "", label)


def _edges(made: Diagram) -> set[tuple[str, str]]:
    """Return the arrows of the DOT as pairs of the boxes' first lines."""
    first = {key: label.split(" | ")[0] for key, label in _boxes(made).items()}
    lines = re.findall(r"^\s*(n\d+) -> (n\d+)(.*)$", made.dot, re.MULTILINE)
    shown = [(a, b, look) for a, b, look in lines if "invis" not in look]
    return {
        (first[b], first[a]) if "dir=back" in look else (first[a], first[b]) for a, b, look in shown
    }


# ---------------------------------------------------------------- the forward picture


def test_each_op_has_a_box_with_its_words_and_shape() -> None:
    assert list(_boxes(diagram([_convnet()])).values()) == [
        "x | N × 1 × 8 × 8",
        "weight | 6 × 1 × 5 × 5",
        "conv2d 5×5, padding 2 | N × 6 × 8 × 8",
        "bias | 6",
        "+ | N × 6 × 8 × 8",
        "tanh | N × 6 × 8 × 8",
        "pool1 | avg_pool2d 2×2 | N × 6 × 4 × 4",
        "flatten | N × 96",
        "out.weight | 96 × 10",
        "matmul | N × 10",
        "logsumexp over axis 1 | N",
        "y | N  int64",
        "pick | N",
        "a − b | N",
        "loss | mean | scalar",
    ]


def test_a_bias_enters_one_addition_and_plumbing_is_hidden() -> None:
    edges = _edges(diagram([_net()]))
    assert ("b1", "+") in edges and ("matmul", "+") in edges
    labels = " ".join(_boxes(diagram([_net()])).values())
    assert "broadcast" not in labels and "reshape" not in labels


def test_a_scalar_constant_shows_as_its_number() -> None:
    labels = list(_boxes(diagram([_net()])).values())
    assert "loss | 0.5 · x | scalar" in labels
    assert not any("constant" in label for label in labels)


def test_scopes_are_nested_clusters() -> None:
    dot = diagram([_convnet()]).dot
    outer, inner = dot.index("label=<features>"), dot.index("label=<c1>")
    assert outer < inner < dot.index("conv2d 5×5")
    assert dot.count("subgraph cluster_") == 2


def test_operands_whose_place_matters_are_told_apart() -> None:
    dot = diagram([_net()]).dot
    assert dot.count("label=< a >") == 1 and dot.count("label=< b >") == 1


def test_kinds_differ_in_shape_and_colour() -> None:
    x, s = leaf.input("x", (3,), "float32"), leaf.state("s", (3,), "float32", None)
    c = leaf.constant([1.0, 2.0, 3.0], "float32")
    p = _parameter("p", 3)
    total = e.apply(e.ADD, e.apply(e.ADD, x, s), e.apply(e.ADD, c, p))
    dot = diagram({"sum": e.apply(e.TANH, total)}).dot
    looks = set(re.findall(r"fillcolor=\"(#\w+)\"[^\n]*?shape=(\w+)", dot))
    assert {shape for _, shape in looks} == {"ellipse", "cylinder", "note", "box"}
    assert len({colour for colour, _ in looks}) == 6  # these, operations and the output


def test_outputs_are_ringed_and_bear_the_names_given() -> None:
    x = leaf.input("x", (3,), "float32")
    made = diagram({"a": e.apply(e.TANH, x), "b": e.apply(e.EXP, x)})
    assert made.dot.count("peripheries=2") == 2
    assert {"a | tanh | 3", "b | exp | 3"} <= set(_boxes(made).values())


def test_the_inside_of_a_random_draw_is_one_box() -> None:
    x = leaf.input("x", (N, 3), "float32")
    drawn = random.uniform(random.KEY, random.Stream(), x.shape, "float32")
    keeps = e.apply(e.GREATER_EQUAL, drawn, e.filled(0.5, drawn))
    dropped = e.apply(e.WHERE, keeps, x, e.filled(0, x))
    labels = list(_boxes(diagram([phase.phase(dropped, x)])).values())
    assert labels == [
        "random mask | N × 3  bool",
        "x | N × 3",
        "where(a, b, 0) | N × 3",
        "output | train | test | N × 3",
    ]


def test_values_are_shown_where_they_are_known() -> None:
    x = leaf.input("x", (3,), "float32")
    y = e.apply(e.TANH, x)
    values = {x: np.array([1.0, 2.5, -3.0]), y: np.linspace(0, 1, 100)}
    text = str(diagram([y], values=values))
    assert "[1, 2.5, -3]" in text and "0 … 1" in text


def test_the_text_names_each_box_and_what_it_reads() -> None:
    lines = str(diagram([_net()], title="2-3-1")).splitlines()
    assert lines[0] == "2-3-1"
    assert re.fullmatch(r"%1 +N × 3 +matmul <- x, W1", lines[3])
    assert re.fullmatch(r"loss \(output\) +scalar +0.5 · x <- %\d+", lines[-1])


# ---------------------------------------------------------------- forward and backward


def test_each_gradient_is_named_and_reads_its_rule() -> None:
    loss = _net()
    labels = set(_boxes(gradient_diagram(loss, _gradients(loss))).values())
    assert {
        "s1 | x @ W1 + b1 | N × 3",
        "dL/ds1 | dL/dh1 · (1 − h1²) | N × 3",
        "dL/dh1 | dL/ds2 @ W2ᵀ | N × 3",
        "dL/dW1 | xᵀ @ dL/ds1 | 2 × 3",
        "dL/db2 | sum(dL/ds2, axis=0) | 1",
        "dL/dloss | 1 | scalar",
    } <= labels


def test_gradients_stand_beside_their_partner_in_its_block() -> None:
    loss = _convnet()
    made = gradient_diagram(loss, _gradients(loss))
    by_title = {box.title: box for box in made.sketch.boxes}
    gradient = by_title["dL/dc1.weight"]
    assert gradient.kind == "gradient" and gradient.is_output
    assert gradient.partner == by_title["c1.weight"].key
    assert gradient.scope == ("features", "c1") == by_title["c1.weight"].scope
    assert by_title["dL/dpool1"].partner == by_title["pool1"].key


def test_gradients_flow_back() -> None:
    loss = _net()
    edges = _edges(gradient_diagram(loss, _gradients(loss)))
    assert {("s1", "h1"), ("dL/dh1", "dL/ds1"), ("dL/ds1", "dL/dW1"), ("h1", "dL/ds1")} <= edges
    assert ("dL/ds1", "dL/dh1") not in edges


def test_a_loss_that_was_stabilised_first_is_read_in_that_form() -> None:
    p = _parameter("p", 4)
    naive = linear.sum(e.apply(e.LOG, e.apply(e.SIGMOID, p)), (0,))
    stable = linear.sum(e.apply(e.NEGATIVE, e.apply(e.SOFTPLUS, e.apply(e.NEGATIVE, p))), (0,))
    labels = set(_boxes(gradient_diagram(naive, _gradients(stable))).values())
    assert any(label.startswith("h1 | softplus(") for label in labels)
    assert any(label.startswith("dL/dp | ") for label in labels)


# ---------------------------------------------------------------- names that mean harm

HOSTILE = {
    "markup": '"<b>bold</b>" -> x; }',
    "line end": "new\nline",
    "comment": "*/ --> ]]>",
    "emoji": "😀",
    "long": "A" * 10_000,
    "escapes": r"\N \G \l \E \T \H",
    "entity": "<br/>&amp;&#10;",
    "control": "\x00\x07\u202e\ud800",
    "dots": "." * 10_000,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_injects_nothing(name: str) -> None:
    x, w = leaf.input(name, (N,), "float32"), leaf.parameter(name, (1,), "float32", None)
    with ir.noting(scope=(name,), where=name):
        y = ir.named(e.apply(e.MULTIPLY, x, linear.broadcast_to(w, x.shape)), name)
    loss = linear.sum(y, (0,))
    plain, made = diagram([loss]), gradient_diagram(loss, _gradients(loss), title=name)
    for picture in (plain, made):
        assert len(_boxes(picture)) == len(picture.sketch.boxes)
        xml.dom.minidom.parseString(picture.svg)
        assert len(str(picture)) < 5_000
    assert picture.dot.count("\n") < 60
    shown = xml.dom.minidom.parseString(plain.svg).getElementsByTagName("text")
    texts = ["".join(t.data for t in node.childNodes) for node in shown]
    assert not any("n0" in text or "graphc" in text for text in texts)


def test_a_backslash_stays_what_it_is() -> None:
    svg = diagram([leaf.input(r"a\Nb\G", (N,), "float32")]).svg
    found = xml.dom.minidom.parseString(svg).getElementsByTagName("text")
    assert r"a\Nb\G" in "".join(t.data for node in found for t in node.childNodes)


# ---------------------------------------------------------------- large graphs


def _unrolled(steps: int) -> Node:
    w, h = _parameter("w", 2, 2), leaf.input("h", (N, 2), "float32")
    for t in range(steps):
        with ir.noting(scope=("cell",), step=t):
            h = e.apply(e.TANH, matmul.matmul(h, w))
    return linear.sum(h, (0, 1))


def test_scopes_collapse_to_the_depth_asked_for() -> None:
    made = diagram([_unrolled(3)], collapse=1)
    titles = [b.title for b in made.sketch.boxes if b.kind == "group"]
    assert titles == ["t = 0", "t = 1", "t = 2"]
    assert {b.words for b in made.sketch.boxes if b.kind == "group"} == {"2 operations"}


def test_a_large_graph_collapses_by_itself() -> None:
    assert [b.title for b in diagram([_unrolled(100)]).sketch.boxes if b.kind == "group"] == []
    made = diagram([_unrolled(400)])
    assert [b.title for b in made.sketch.boxes if b.kind == "group"] == ["cell"]


@pytest.mark.parametrize(
    "draw", [lambda n: diagram([n]), lambda n: gradient_diagram(n, _gradients(n))]
)
def test_a_deep_graph_without_scopes_is_drawn_in_stretches(draw: Callable[[Node], Diagram]) -> None:
    h = _parameter("w", 2)
    for _ in range(5_000):
        h = e.apply(e.TANH, h)
    made = draw(linear.sum(h, (0,)))
    assert len(made.sketch.boxes) <= 300
    assert made.png.startswith(b"\x89PNG")


# ---------------------------------------------------------------- forms and files


def test_equal_graphs_give_equal_bytes() -> None:
    loss = _convnet()
    first, second = (gradient_diagram(_convnet(), _gradients(_convnet())) for _ in "ab")
    assert diagram([loss]).dot == diagram([_convnet()]).dot
    assert first.svg == second.svg and first.png == second.png and str(first) == str(second)


_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_render as t
loss = t._net()
g = t._gradients(loss)
print(t.diagram([loss]).dot, t.gradient_diagram(loss, g).dot)
print(t.derivation.explain(loss, t._leaf(loss, "W1"), g["W1"]))
"""


def test_output_does_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("txt", b"x ")],
)
def test_the_suffix_names_the_form(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / "new" / "folder" / f"net.{suffix}"
    diagram([_net()]).save(path)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_suffix_is_an_error_that_lists_the_forms(tmp_path: Path) -> None:
    with pytest.raises(RenderError) as caught:
        diagram([_net()]).save(tmp_path / "net.pdf")
    assert str(caught.value) == (
        "the suffix '.pdf' names no form of this view: net.pdf\n  try: one of .svg .png .dot .txt"
    )


def test_a_notebook_gets_well_formed_svg() -> None:
    document = xml.dom.minidom.parseString(diagram([_net()])._repr_svg_())
    assert document.documentElement is not None
    assert document.documentElement.tagName == "svg"


# ---------------------------------------------------------------- the engine


def _program(path: Path, text: str) -> str:
    # A line "#!" takes no path with a space, and this interpreter may stand in one.
    code = path.with_suffix(".py")
    code.write_text(text, encoding="utf-8")
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{code}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_environment_chooses_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _program(tmp_path / "dot", "print('dot - graphviz version 99')")
    monkeypatch.setenv("GRAPHC_DOT", path)
    assert engine.describe() == {"path": path, "source": "$GRAPHC_DOT", "version": "99"}


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DOT", "/nowhere/dot")
    with pytest.raises(RenderError) as caught:
        engine.find()
    assert str(caught.value) == (
        "GRAPHC_DOT names no program: /nowhere/dot\n"
        "  try: set it to the path of Graphviz's dot, or unset it"
    )


def test_what_a_failing_engine_says_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import sys\nsys.stdin.read()\nprint('no such plugin', file=sys.stderr)\nsys.exit(3)"
    monkeypatch.setenv("GRAPHC_DOT", _program(tmp_path / "dot", text))
    with pytest.raises(RenderError, match="failed with status 3") as caught:
        engine.render("digraph {}", "svg")
    assert "no such plugin" in str(caught.value)


def test_an_engine_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _program(tmp_path / "dot", "import time\ntime.sleep(60)")
    monkeypatch.setenv("GRAPHC_DOT", path)
    monkeypatch.setattr(engine, "TIME_LIMIT", 0.2)
    with pytest.raises(RenderError, match="took longer than"):
        engine.render("digraph {}", "png")


# ---------------------------------------------------------------- derivations


def _explained(loss: Node, name: str) -> derivation.Derivation:
    return derivation.explain(loss, _leaf(loss, name), _gradients(loss, name)[name])


def test_the_chain_of_a_small_net_is_complete() -> None:
    steps = _explained(_net(), "W1").steps
    assert [f"{s.symbol} = {s.expression}" for s in steps if s.kind != "leaf"] == [
        "s1 = x @ W1 + b1",
        "h1 = tanh(s1)",
        "s2 = h1 @ W2 + b2",
        "ŷ = sigmoid(s2)",
        "s3 = ŷ - y",
        "v1 = s3**2",
        "v2 = mean(v1)",
        "loss = 0.5 * v2",
        "∂L/∂loss = 1",
        "∂L/∂v2 = ∂L/∂loss * 0.5",
        "∂L/∂v1 = ∂L/∂v2 / N",
        "∂L/∂s3 = ∂L/∂ŷ = ∂L/∂v1 * 2 * s3",
        "∂L/∂s2 = ∂L/∂s3 * ŷ * (1 - ŷ)",
        "∂L/∂h1 = ∂L/∂s2 @ W2.T",
        "∂L/∂s1 = ∂L/∂h1 * (1 - h1**2)",
        "∂L/∂W1 = x.T @ ∂L/∂s1",
        "∂L/∂W1 = x.T @ ((0.5 / N * 2 * s3 * ŷ * (1 - ŷ)) @ W2.T * (1 - h1**2))",
    ]


def test_each_step_has_its_rule_its_type_and_its_line() -> None:
    text = str(_explained(_net(), "W1"))
    assert "tanh: y = tanh(x), dL/dx = dL/dy * (1 - y**2)" in text
    assert re.search(r"1\. s1 = x @ W1 \+ b1 +float32\[N, 3\] +net.py:3$", text, re.MULTILINE)


def test_paths_that_meet_are_added_up() -> None:
    w = _parameter("w", 3)
    loss = linear.sum(e.apply(e.MULTIPLY, e.apply(e.TANH, w), e.apply(e.EXP, w)), (0,))
    (last,) = [s for s in _explained(loss, "w").steps if s.symbol == "∂L/∂w" and s.rules]
    assert "several paths lead here: their gradients add up" in last.rules
    assert " + " in last.expression


def test_numbers_stand_under_the_steps_that_they_belong_to() -> None:
    loss = _net()
    w, gradient = _leaf(loss, "W2"), _gradients(loss)["W2"]
    values = {w: np.array([[1.0], [2.0], [0.5]]), loss: np.float32(0.25)}
    steps = derivation.explain(loss, w, gradient, values=values).steps
    assert {s.symbol: s.value for s in steps if s.value} == {
        "W2": "[[1], [2], [0.5]]",
        "loss": "0.25",
    }


def test_a_tensor_that_the_loss_does_not_reach_is_an_error() -> None:
    loss, other = _net(), _parameter("other", 2)
    with pytest.raises(GradientError, match="the loss does not depend on other"):
        derivation.explain(loss, other, other)


def test_a_long_derivation_keeps_symbols_in_its_formula() -> None:
    text = str(_explained(_unrolled(300), "w"))
    assert max(map(len, text.splitlines())) < 400
    assert "∂L/∂w" in text


def test_a_derivation_saves_as_text(tmp_path: Path) -> None:
    made = _explained(_net(), "b1")
    made.save(tmp_path / "b1.txt")
    assert (tmp_path / "b1.txt").read_text(encoding="utf-8") == f"{made}\n"
