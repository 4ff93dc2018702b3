"""Pictures of loops unrolled, and the names that steps keep when a graph is unrolled."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest

import drawn
import graphc as gx
from graphc import ir
from graphc.errors import CallError, NameClashError, SizeError
from graphc.render.looks import TINTS


def _recurrent(**walk: Any) -> gx.Tensor:
    """Return the loss of h_t = tanh(h_{t-1} W + x_t U) over a sequence."""
    xs = gx.input("xs", ("T", "N", 3))
    u, w = gx.parameter("U", (3, 4)), gx.parameter("W", (4, 4))

    def cell(h: Any, x: Any) -> Any:
        h = gx.tanh(x @ u + h @ w).named("h")
        return h, h

    with gx.scope("rnn"):
        _, hs = gx.scan(cell, gx.zeros((xs.shape[1], 4)), xs, **walk)
    return (hs * hs).mean().named("loss")


def _nested() -> gx.Tensor:
    """Return the loss of a loop over S inside a loop over T."""
    xs = gx.input("xs", ("T", "S", 3))
    w = gx.parameter("W", (3, 3))

    def inner(h: Any, x: Any) -> Any:
        return gx.tanh(x + h @ w).named("h"), None

    def outer(s: Any, x: Any) -> Any:
        return gx.scan(inner, s, x)[0].named("s"), None

    return gx.scan(outer, gx.zeros((3,)), xs)[0].sum().named("loss")


def _lstm(layers: int = 1) -> gx.Tensor:
    h = gx.input("xs", ("T", "N", 3))
    for i in range(layers):
        h = gx.nn.LSTM(4, name=f"l{i + 1}")(h)[1]
    return (h * h).mean().named("loss")


def _unrolled(loss: gx.Tensor, **options: Any) -> drawn.Drawn:
    return drawn.read(gx.draw(loss, view="unrolled", **options).dot)


# ---------------------------------------------------------------- steps


def test_each_step_has_its_copy_of_the_cell_and_weights_stand_once() -> None:
    titles = _unrolled(_recurrent(), T=4).titles()
    assert [t for t in titles if t.startswith("h[")] == ["h[−1]", "h[0]", "h[1]", "h[2]", "h[3]"]
    assert [t for t in titles if t.startswith("xs[")] == [f"xs[{t}]" for t in range(4)]
    assert titles.count("matmul") == 8
    assert titles.count("W") == titles.count("U") == titles.count("xs") == 1


def test_a_carry_goes_from_each_step_to_the_next() -> None:
    made = _unrolled(_recurrent(), T=3)
    assert made.pairs('color="#0072b2"') == {("h[0]", "matmul"), ("h[1]", "matmul")}
    assert ("h[−1]", "matmul") in made.pairs()
    assert made.named("h[−1]").lines[1] == "0"


def test_a_carry_of_a_reverse_loop_comes_from_the_step_after() -> None:
    made = _unrolled(_recurrent(reverse=True), T=3)
    assert {s for s, _ in made.pairs('color="#0072b2"')} == {"h[1]", "h[2]"}
    assert made.named("h[3]").lines[1] == "0"


def test_time_goes_from_left_to_right() -> None:
    made = _unrolled(_recurrent(), T=4)
    rows = [[made.boxes[key].title for key in row] for row in made.rows]
    assert [f"h[{t}]" for t in range(4)] in rows
    assert ["rnn: t = 0", "t = 1", "t = 2", "t = 3"] in rows
    assert ["matmul"] * 8 in rows


def test_the_copies_of_a_step_share_a_colour_that_its_neighbours_have_not() -> None:
    made = _unrolled(_recurrent(), T=3)
    fills = [made.named(f"h[{t}]").fill for t in range(3)]
    assert fills == list(TINTS[:3])
    assert [made.named(f"xs[{t}]").fill for t in range(3)] == fills


def test_layers_are_joined_step_by_step() -> None:
    made = _unrolled(_lstm(2), T=3)
    assert sum(title == "all steps, stacked" for title in made.titles()) == 1
    first = {k for k, b in made.boxes.items() if b.title in ("h[0]", "h[1]", "h[2]")}
    steps = [(a, b) for a, b, look in made.arrows if a in first and "#0072b2" not in look]
    assert len(steps) == 6  # to the second layer, and from that to the stack


def test_gradients_stop_where_a_loop_is_truncated() -> None:
    made = _unrolled(_recurrent(truncate=2), T=5)
    assert {s for s, _ in made.pairs('color="#c0392b"')} == {"h[1]", "h[3]"}
    assert {s for s, _ in made.pairs('color="#0072b2"')} == {"h[0]", "h[2]"}
    assert made.named("rnn: t = 0").lines == ("rnn: t = 0", "truncated every 2 steps")


def test_borders_are_counted_from_where_the_walk_begins() -> None:
    made = _unrolled(_recurrent(truncate=2, reverse=True), T=5)
    assert {s for s, _ in made.pairs('color="#c0392b"')} == {"h[1]", "h[3]"}
    made = _unrolled(_recurrent(truncate=3, reverse=True), T=5)
    assert {s for s, _ in made.pairs('color="#c0392b"')} == {"h[2]"}


def test_steps_of_loops_in_loops_have_an_index_of_each() -> None:
    titles = _unrolled(_nested(), T=2, S=3).titles()
    wanted = [f"h[{t}][{i}]" for t in range(2) for i in range(3)]
    assert [t for t in titles if t.startswith("h[")] == wanted
    assert {"xs[0]", "xs[1]", "xs[1][2]", "s[−1]", "s[0]", "s[1]"} <= set(titles)


def test_an_inner_loop_begins_with_what_the_outer_step_before_gave() -> None:
    assert ("s[0]", "matmul") in _unrolled(_nested(), T=2, S=2).pairs('color="#0072b2"')


def test_the_step_is_a_number_in_the_words_of_its_copy() -> None:
    lengths = gx.input("lengths", ("N",), dtype="int64")
    titles = _unrolled(_recurrent(lengths=lengths), T=3).titles()
    assert [t for t in titles if "<" in t] == ["0 < x", "1 < x", "2 < x"]


def test_the_text_has_a_heading_for_each_step() -> None:
    lines = str(gx.draw(_nested(), view="unrolled", T=1, S=2)).splitlines()
    assert [line for line in lines if "=" in line] == [
        *("unrolled, T = 1, S = 2", "loop: for t = 0", "  t = 0"),
        *("    loop: for i = 0 … 1", "      i = 0", "      i = 1"),
    ]


def test_a_graph_without_loops_is_drawn_as_it_is() -> None:
    loss = gx.parameter("w", (3,)).tanh().sum()
    made = gx.draw(loss, view="unrolled")
    assert made.sketch.boxes == gx.draw(loss).sketch.boxes and made.sketch.title == "unrolled"


# ---------------------------------------------------------------- sizes


def test_a_size_that_stays_open_is_3_and_the_title_says_so() -> None:
    made = gx.draw(_recurrent(), view="unrolled")
    assert made.sketch.title == "unrolled, T = 3 (T was left open)"
    assert sum(box.kind == "step" for box in made.sketch.boxes) == 3


def test_sizes_come_from_arrays_too() -> None:
    made = gx.draw(_nested(), view="unrolled", at={"xs": np.zeros((2, 4, 3), np.float32)})
    assert made.sketch.title == "unrolled, T = 2, S = 4"


def test_numbers_are_shown_where_they_are_known() -> None:
    loss = _recurrent()
    at = {"xs": np.zeros((2, 1, 3)), "U": np.zeros((3, 4)), "W": np.zeros((4, 4))}
    box = gx.draw(loss, view="unrolled", at=at).sketch.boxes[-1]
    assert (box.name, box.value) == ("loss", "0")


def test_each_step_shows_its_own_numbers() -> None:
    w = gx.parameter("w", ())
    last, _ = gx.scan(lambda h, x: ((h * w + x).named("h"), None), 0.0, gx.input("xs", ("T",)))
    at = {"xs": np.array([1.0, 2.0, 3.0]), "w": np.array(10.0)}
    made = gx.draw(last, view="unrolled", at=at)
    shown = {b.title: b.value for b in made.sketch.boxes if b.title}
    assert {"xs[0]": "1", "xs[2]": "3", "h[0]": "1", "h[1]": "12", "h[2]": "123"}.items() <= (
        shown.items()
    )


def test_sizes_belong_to_the_unrolled_view() -> None:
    with pytest.raises(CallError) as caught:
        gx.draw(_recurrent(), T=5)
    assert _text(caught) == (
        "draw: the view 'graph' has no sizes: T\n"
        "  at tests/core/test_render_unrolled.py\n"
        '  try: view="unrolled"'
    )


def test_an_unknown_size_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(CallError) as caught:
        gx.draw(_recurrent(), view="unrolled", Q=5)
    assert _text(caught) == (
        "draw: nothing has the dimension 'Q'\n"
        "  at tests/core/test_render_unrolled.py\n"
        "  try: known are N, T"
    )


@pytest.mark.parametrize("size", [0, -1, 2.5, "5", True])
def test_a_size_is_a_whole_number_from_1_on(size: Any) -> None:
    with pytest.raises(SizeError) as caught:
        gx.draw(_recurrent(), view="unrolled", T=size)
    assert _text(caught) == (
        f"draw: T is a whole number from 1 on, not {size!r}\n"
        "  at tests/core/test_render_unrolled.py"
    )


def test_an_unknown_view_is_an_error_that_lists_the_views() -> None:
    with pytest.raises(CallError) as caught:
        gx.draw(_recurrent(), view="rolled")
    assert _text(caught) == (
        "there is no view 'rolled'\n"
        "  at tests/core/test_render_unrolled.py\n"
        "  try: one of graph, gradient, chain, unrolled"
    )


def _text(caught: pytest.ExceptionInfo[Any]) -> str:
    return re.sub(r"(\.py):\d+", r"\1", str(caught.value))


# ---------------------------------------------------------------- long loops


def test_the_middle_of_a_long_loop_is_one_box() -> None:
    made = _unrolled(_lstm(), T=3_000)
    titles = made.titles()
    assert "… 2,994 steps …" in titles and len(titles) < 200
    shown = [t for t in titles if re.match(r"h\[\d", t)]
    assert shown == [f"h[{t}]" for t in (0, 1, 2, 2_997, 2_998, 2_999)]
    pairs = made.pairs('color="#0072b2"')
    assert ("h[2]", "… 2,994 steps …") in pairs and ("… 2,994 steps …", "matmul") in pairs


def test_a_cell_above_the_budget_is_one_box_a_step() -> None:
    w = gx.parameter("w", (3,))

    def cell(h: Any, _: Any) -> Any:
        for _ in range(200):
            h = (h * w).tanh()
        return h, None

    made = _unrolled(gx.scan(cell, gx.ones((3,)), length="T")[0].sum(), T=5)
    groups = [b.lines for b in made.boxes.values() if "shape=box3d" in b.look]
    assert groups == [("t = 0", "400 operations"), ("… 3 steps …",), ("t = 4", "400 operations")]


@pytest.mark.parametrize("steps", [1, 2, 16, 17, 100])
def test_the_engine_draws_any_number_of_steps(steps: int) -> None:
    assert gx.draw(_lstm(2), view="unrolled", T=steps).png.startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_graph_unrolled_over_3000_steps_is_written_in_seconds() -> None:
    flat = gx.unroll(_lstm(), T=3_000)
    start = time.perf_counter()
    made = gx.draw(flat)
    assert len(made.dot) < 100_000 and len(made.sketch.boxes) <= 300
    assert time.perf_counter() - start < 20


# ---------------------------------------------------------------- names of steps


def test_unroll_names_what_has_a_name_after_its_step() -> None:
    flat = gx.unroll(_recurrent(), T=4)
    for t in range(4):
        assert gx.find(flat, f"h[{t}]").node.note.step == t
    assert gx.find(flat, "rnn.h[3]") is not None


def test_a_name_without_its_step_is_unknown_after_unroll() -> None:
    with pytest.raises(NameClashError, match="there is nothing called 'h'"):
        gx.find(gx.unroll(_recurrent(), T=2), "h")


def test_unroll_names_steps_of_loops_in_loops_from_the_outermost_on() -> None:
    flat = gx.unroll(_nested(), T=2, S=3)
    names = {n.note.name for n in ir.topological([flat.node]) if n.note.name and n.inputs}
    assert names == {
        *(f"h[{t}][{i}]" for t in range(2) for i in range(3)),
        *("s[0]", "s[1]", "loss"),
    }


def test_a_last_carry_has_its_own_name_and_its_steps() -> None:
    w = gx.parameter("w", (3,), init=2.0)
    last, _ = gx.scan(lambda h, _: ((h * w).named("h"), None), gx.ones((3,)), length="T")
    flat = gx.unroll(last.named("last").sum(), T=3)
    found = [gx.find(flat, name) for name in ("h[1]", "h[2]", "last")]
    assert [v.tolist() for v in gx.evaluate(found, at={"w": np.full(3, 2.0)})] == [
        *([4.0] * 3, [8.0] * 3, [8.0] * 3),
    ]


def test_a_stacked_result_keeps_its_name() -> None:
    xs = gx.input("xs", ("T", 3))
    _, ys = gx.scan(lambda h, x: (h + x, h), gx.zeros((3,)), xs)
    assert gx.find(gx.unroll(ys.named("ys").sum(), T=2), "ys").shape == (2, 3)


def test_a_program_takes_steps_of_equal_layers() -> None:
    flat = gx.unroll(_lstm(2), T=3)
    xs = gx.find(flat, "xs")
    step = gx.find(flat, "l2.h[1]")
    program = gx.Program("steps", run=gx.function([xs], {"h": step, "loss": flat}))
    at = {"xs": np.ones((3, 2, 3), np.float32)}
    assert gx.compile(program, backend="numpy").run(at["xs"])["h"].shape == (2, 4)


def test_steps_of_an_unrolled_graph_are_named_in_its_picture() -> None:
    titles = drawn.read(gx.draw(gx.unroll(_recurrent(), T=3)).dot).titles()
    assert [t for t in titles if t.startswith("h[")] == ["h[0]", "h[1]", "h[2]"]
