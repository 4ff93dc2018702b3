"""Pictures of loops: rolled in the forward picture, and beside their own derivative."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path
from typing import Any

import pytest

import drawn
import graphc as gx
from graphc.render.looks import TINTS


def _recurrent(**walk: Any) -> gx.Tensor:
    """Return the loss of h_t = tanh(h_{t-1} W + x_t U) over a sequence, in a scope."""
    xs = gx.input("xs", ("T", "N", 3))
    with gx.scope("rnn"):
        u, w = gx.parameter("U", (3, 4)), gx.parameter("W", (4, 4))

        def cell(h: Any, x: Any) -> Any:
            h = gx.tanh(x @ u + h @ w).named("h")
            return h, h

        _, hs = gx.scan(cell, gx.zeros((xs.shape[1], 4)), xs, **walk)
    return (hs * hs).mean().named("loss")


def _nested() -> gx.Tensor:
    """Return the loss of a loop over words inside a loop over sentences."""
    xs = gx.input("xs", ("T", "S", "N", 3))
    u, w = gx.parameter("U", (3, 4)), gx.parameter("W", (4, 4))

    def word(h: Any, x: Any) -> Any:
        h = gx.tanh(x @ u + h @ w).named("h")
        return h, None

    def sentence(s: Any, x: Any) -> Any:
        with gx.scope("words"):
            last, _ = gx.scan(word, s, x)
        return last.named("s"), None

    last, _ = gx.scan(sentence, gx.zeros((xs.shape[2], 4)), xs)
    return (last * last).mean().named("loss")


def _lstm(**walk: Any) -> gx.Tensor:
    xs = gx.input("xs", ("T", "N", 3))
    (h, _), _ = gx.nn.LSTM(4, name="l1")(xs, **walk)
    return (h * h).mean().named("loss")


def _read(loss: gx.Tensor, view: str = "graph", **options: Any) -> drawn.Drawn:
    return drawn.read(gx.draw(loss, view=view, **options).dot)


# ---------------------------------------------------------------- rolled


def test_a_loop_is_a_cluster_with_its_cell_inside() -> None:
    made = _read(_recurrent())
    loop = ("rnn", "rnn: for t = 0 … T − 1")
    assert made.clusters == [("rnn",), loop]
    assert [b.title for b in made.boxes.values() if b.clusters == loop] == [
        *("h[t − 1]", "xs[t]", "matmul", "matmul", "+", "h", "rnn"),
    ]


def test_the_title_of_a_loop_says_how_it_walks() -> None:
    lengths = gx.input("lengths", ("N",), dtype="int64")
    made = _read(_recurrent(reverse=True, truncate=5, lengths=lengths))
    assert made.named("rnn").lines == (
        *("rnn", "for t = T − 1 … 0", "truncated every 5 steps"),
        "each sample for its lengths",
    )


@pytest.mark.parametrize(("length", "said"), [(1, "for t = 0"), (7, "for t = 0 … 6")])
def test_a_known_length_stands_in_the_title(length: int, said: str) -> None:
    w = gx.parameter("w", (3,))
    last, _ = gx.scan(lambda h, _: ((h * w).tanh(), None), gx.ones((3,)), length=length)
    assert _read(last.sum()).named("loop").lines == ("loop", said)


def test_a_dashed_arrow_leads_from_the_new_carry_back_to_the_carry() -> None:
    made = _read(_recurrent())
    assert made.pairs("style=dashed") == {("h", "h[t − 1]")}
    assert made.pairs("t → t + 1") == {("h", "h[t − 1]")}


def test_a_reverse_loop_walks_back() -> None:
    assert _read(_recurrent(reverse=True)).pairs("t → t − 1") == {("h", "h[t + 1]")}


def test_sequences_enter_step_by_step_and_weights_once() -> None:
    made = _read(_recurrent())
    assert {("xs", "xs[t]"), ("xs[t]", "matmul"), ("h[t − 1]", "matmul")} <= made.pairs()
    assert [b.clusters for b in made.boxes.values() if b.title in "UW"] == [("rnn",)] * 2
    keys = {b.title: k for k, b in made.boxes.items()}
    assert sum(a == keys["W"] for a, _, _ in made.arrows) == 1


def test_results_leave_the_loop_by_what_they_are() -> None:
    assert ("h", "all steps, stacked") in _read(_recurrent()).pairs()
    assert ("h", "after the last step") in _read(_lstm()).pairs()


def test_a_first_carry_of_zeros_is_a_number_and_another_one_a_box() -> None:
    assert _read(_recurrent()).named("h[t − 1]").lines[1] == "0 at first"
    h0, w = gx.parameter("h0", (3,)), gx.parameter("w", (3,))
    last, _ = gx.scan(lambda h, _: ((h * w).named("h"), None), h0, length="T")
    assert ("h0", "h[t − 1]") in _read(last.sum()).pairs("first")


def test_loops_in_loops_are_clusters_in_clusters() -> None:
    made = _read(_nested())
    outer, inner = "loop: for t = 0 … T − 1", "words: for i = 0 … S − 1"
    assert made.clusters == [(outer,), (outer, "words"), (outer, "words", inner)]
    assert made.named("h").clusters == (outer, "words", inner)
    assert made.pairs("t → t + 1") == {("s", "s[t − 1]")}
    assert made.pairs("i → i + 1") == {("h", "h[i − 1]")}
    assert ("xs[t]", "xs[t][i]") in made.pairs()


def test_two_loops_over_one_body_stay_two() -> None:
    xs, w = gx.input("xs", ("T", 3)), gx.parameter("w", (3,))
    _, ys = gx.scan(lambda h, x: (h * w + x, h * x), gx.zeros((3,)), xs)
    other = gx.replace(ys, {xs: gx.input("others", ("T", 3))})
    titles = _read({"a": ys, "b": other}).titles()  # type: ignore[arg-type]
    assert titles.count("loop") == 2 and {"xs[t]", "others[t]"} <= set(titles)


def test_what_nobody_reads_of_a_loop_is_not_drawn() -> None:
    xs = gx.input("xs", ("T", 3))
    _, (used, _) = gx.scan(lambda c, x: (c, (x.tanh(), x.exp())), (), xs)
    titles = _read(used.sum()).titles()
    assert "tanh" in titles and "exp" not in titles


def test_a_loop_without_carry_has_no_arrow_back() -> None:
    xs = gx.input("xs", ("T", 3))
    _, ys = gx.scan(lambda c, x: (c, x.tanh()), (), xs)
    assert _read(ys.sum()).pairs("dashed") == set()


def test_above_the_budget_a_loop_is_one_box_in_words() -> None:
    h = gx.input("xs", ("T", 3))
    for i in range(25):
        h = gx.nn.LSTM(3, name=f"l{i}")(h)[1]
    groups = [b for b in _read(h.mean()).boxes.values() if "shape=box3d" in b.look]
    assert groups[0].lines == (
        *("l0", "for t = 0 … T − 1, 2 carried values,", "17 operations, 1 sequence", "3"),
    )
    assert len(groups) == 25


def test_the_text_indents_the_body_under_its_title() -> None:
    assert str(gx.draw(_recurrent())).splitlines() == [
        "xs              T × N × 3  input",
        "rnn.U           3 × 4      parameter",
        "rnn.W           4 × 4      parameter",
        "rnn: for t = 0 … T − 1",
        "  rnn.h[t − 1]  N × 4      0 at first <- rnn.h (t → t + 1)",
        "  xs[t]         N × 3      step <- xs",
        "  %1            N × 4      matmul <- xs[t], rnn.U",
        "  %2            N × 4      matmul <- rnn.h[t − 1], rnn.W",
        "  %3            N × 4      + <- %1, %2",
        "  rnn.h         N × 4      tanh <- %3",
        "%4              T × N × 4  all steps, stacked <- rnn.h",
        "%5              T × N × 4  × <- %4",
        "loss (output)   scalar     mean <- %5",
    ]


# ---------------------------------------------------------------- beside its derivative


def test_one_forward_loop_stands_beside_its_derivative() -> None:
    made = _read(_recurrent(), "gradient")
    assert made.clusters == [
        ("rnn",),
        ("rnn", "rnn: for t = 0 … T − 1"),
        ("rnn", "gradients of rnn: for t = T − 1 … 0"),
    ]
    assert made.pairs("t → t − 1") == {("dL/dh[t − 1]", "dL/dh from t + 1")}


def test_gradients_inside_a_loop_have_names_and_rules() -> None:
    made = _read(_recurrent(), "gradient")
    inside = {b.lines[:2] for b in made.boxes.values() if b.clusters[1:2] == made.clusters[2][1:]}
    assert {
        ("dL/dh", "(dL/dh from t + 1) + dL/dv1[t]"),
        ("dL/ds1", "dL/dh · (1 − h²)"),
        ("dL/dh[t − 1]", "dL/ds1 @ Wᵀ"),
        ("dL/dh from t + 1", "0 at first"),
    } <= inside


def test_gradients_of_weights_are_sums_over_the_steps() -> None:
    made = _read(_recurrent(), "gradient")
    assert made.named("dL/dW").lines[1] == "sum_t(h[t − 1]ᵀ @ dL/ds1)"
    assert made.named("dL/dW").clusters == ("rnn",)


def test_values_that_the_backward_pass_keeps_are_read_where_they_are() -> None:
    kept = _read(_recurrent(), "gradient").pairs("#9aa5b1")
    assert {("h", "dL/ds1"), ("h[t − 1]", "dL/dW"), ("xs[t]", "dL/dU")} <= kept


@pytest.mark.parametrize("make", [_recurrent, _lstm, _nested])
def test_each_gradient_has_the_colour_of_its_partner_and_another_border(make: Any) -> None:
    made = _read(make(), "gradient")
    pairs = [(b, made.named(b.title[4:])) for b in made.boxes.values() if _is_named(b, made)]
    assert len(pairs) > 5
    assert all(back.fill == ahead.fill and ahead.fill in TINTS for back, ahead in pairs)
    assert all('color="#c04a00"' in back.look for back, _ in pairs)
    assert not any('color="#c04a00"' in ahead.look for _, ahead in pairs)


def _is_named(box: drawn.Box, made: drawn.Drawn) -> bool:
    return box.title.startswith("dL/d") and box.title[4:] in made.titles()


def test_neighbours_differ_in_colour() -> None:
    made = _read(_recurrent(), "gradient")
    fills = [made.named(name).fill for name in ("h[t − 1]", "s1", "h", "v1", "v2", "loss")]
    assert all(a != b for a, b in itertools.pairwise(fills))


def test_no_raw_attribute_of_a_scan_is_on_a_picture() -> None:
    lengths = gx.input("lengths", ("N",), dtype="int64")
    loss = _lstm(truncate=3, lengths=lengths, reverse=True)
    for view in ("graph", "gradient"):
        text = str(gx.draw(loss, view=view))
        assert not any(word in text for word in ("scan(", "carries=", "result(", "truncate="))


def test_what_the_backward_pass_does_again_is_drawn_once() -> None:
    xs = gx.input("xs", ("T", "N", 3))
    loss = gx.nn.GRU(4, name="gru")(xs)[0].sum()
    slices = [b for b in _read(loss, "gradient").boxes.values() if "[:, 0:4]" in b.lines[1]]
    assert len(slices) == 1


def test_truncation_shows_in_what_is_handed_to_the_step_before() -> None:
    made = _read(_recurrent(truncate=5), "gradient")
    assert made.named("dL/dh for t − 1").lines[1:-1] == (
        "where((remainder(t, 5) == 0) and (0 <",
        "t), 0, dL/dh[t − 1])",
    )


def test_loops_in_loops_have_their_derivatives_in_each_other() -> None:
    made = _read(_nested(), "gradient")
    back = "gradients of loop: for t = T − 1 … 0"
    assert (back, "words", "gradients of words: for i = S − 1 … 0") in made.clusters
    assert made.named("dL/dh").clusters == (back, "words", "gradients of words: for i = S − 1 … 0")
    assert made.named("dL/dU").lines[1] == "sum_t(sum_t(xs[t][i]ᵀ @ dL/ds1))"


# ---------------------------------------------------------------- names that mean harm

HOSTILE = {
    "markup": '"<b>bold</b>" -> x; }',
    "line end": "new\nline",
    "comment": "*/ --> ]]>",
    "emoji": "😀",
    "long": "A" * 5_000,
    "escapes": r"\N \G \l \E \T \H",
    "entity": "<br/>&amp;&#10;",
    "control": "\x00\x07\u202e",
    "dots": "." * 5_000,
    "marks": "[t − 1][t]#2",
}


def _hostile(name: str) -> gx.Tensor:
    xs, w = gx.input("xs", ("T", 3)).tanh().named(name), gx.parameter(name, (3,))
    with gx.scope(name):
        _, ys = gx.scan(lambda h, x: ((h * w + x).named(name), h), gx.zeros((3,)), xs)
    return ys.named(name).sum()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("view", ["graph", "gradient", "unrolled"])
def test_a_hostile_name_injects_nothing(view: str, name: str) -> None:
    made = gx.draw(_hostile(name), view=view, title=name)
    found = drawn.read(made.dot)
    titles = len([c for c in found.clusters if "for t" in c[-1]])
    assert len(found.boxes) == len(made.sketch.boxes) + titles
    shown = xml.dom.minidom.parseString(made.svg).getElementsByTagName("text")
    texts = ["".join(t.data for t in node.childNodes) for node in shown]
    assert not any("n0" in text or "graphc" in text or "title_" in text for text in texts)
    lines = str(made).splitlines()
    hidden = sum(b.kind == "title" for b in made.sketch.boxes)
    steps = 3 if view == "unrolled" else 0
    headings = titles if view != "unrolled" else 1 + steps
    assert len(lines) == 1 + len(made.sketch.boxes) - hidden + headings


def test_hostile_names_leave_ordinary_ones_alone() -> None:
    boxes = gx.draw(_hostile("w"), view="unrolled", T=2)
    assert [b.title for b in boxes.sketch.boxes if b.kind == "step"] == ["w[0]", "w[1]"]


# ---------------------------------------------------------------- equal bytes

_SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
import test_render_loops as t
for make in (t._recurrent, t._lstm, t._nested):
    for view in ("graph", "gradient", "unrolled"):
        made = t.gx.draw(make(), view=view)
        print(made.dot, made)
"""


def test_loops_are_drawn_alike_whatever_the_hash_seed() -> None:
    here = Path(__file__).parent
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, str(here), str(here.parent)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_equal_loops_give_equal_bytes() -> None:
    first, second = (gx.draw(_nested(), view="gradient") for _ in "ab")
    assert first.dot == second.dot and first.svg == second.svg
