"""What is counted about a graph: exact numbers, in the open dimensions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import graphc as gx
from graphc import dims, ir
from graphc.analysis import cost
from graphc.errors import RenderError
from graphc.ir import Function, Node, Program
from graphc.ops import conv, leaf, linear, matmul, pool, reduce
from graphc.ops import elementwise as e
from graphc.passes.differentiate import cotangents, ones

N = dims.symbol("N")
HALVED = pool.Pool((2, 2), (2, 2))


def _bias(y: Node, name: str, axis: int) -> Node:
    size = y.shape[axis]
    b = leaf.parameter(name, (size,), "float32", None)
    unit = tuple(size if i == axis else 1 for i in range(len(y.shape)))
    return e.apply(e.ADD, y, linear.broadcast_to(linear.reshape(b, unit), y.shape))


def _conv(x: Node, name: str, filters: int, kernel: int, padding: int = 0) -> Node:
    with ir.noting(scope=("features", name)):
        shape = (filters, x.shape[1], kernel, kernel)
        w = leaf.parameter(f"features.{name}.weight", shape, "float32", None)
        pads = ((padding, padding), (padding, padding))
        y = conv.conv2d(x, w, conv.Window(padding=pads))
        return _bias(y, f"features.{name}.bias", 1)


def _dense(x: Node, name: str, units: int) -> Node:
    with ir.noting(scope=(name,)):
        w = leaf.parameter(f"{name}.weight", (x.shape[1], units), "float32", None)
        return _bias(matmul.matmul(x, w), f"{name}.bias", 1)


def _lenet5() -> tuple[Node, Node]:
    """Return the images and the logits."""
    x = leaf.input("x", (N, 1, 28, 28), "float32")
    h = e.apply(e.TANH, _conv(x, "c1", 6, 5, padding=2))
    h = ir.named(pool.avg_pool2d(h, HALVED), "pool1")
    h = e.apply(e.TANH, _conv(h, "c2", 16, 5))
    h = linear.reshape(ir.named(pool.avg_pool2d(h, HALVED), "pool2"), (N, 400))
    h = e.apply(e.TANH, _dense(h, "f1", 120))
    h = e.apply(e.TANH, _dense(h, "f2", 84))
    return x, _dense(h, "out", 10)


def _row(table: cost.Summary, layer: str) -> cost.Row:
    (row,) = (r for r in table.rows if r.layer == layer)
    return row


def test_lenet5_has_61706_parameters() -> None:
    _, logits = _lenet5()
    assert cost.summary([logits]).parameters == 61706
    assert cost.parameters([logits]) == 61706


@pytest.mark.parametrize(
    ("layer", "parameters", "multiply_adds"),
    [
        ("features.c1", 156, 6 * 28 * 28 * 25),
        ("features.c2", 2416, 16 * 10 * 10 * 6 * 25),
        ("f1", 48120, 400 * 120),
        ("f2", 10164, 120 * 84),
        ("out", 850, 840),
    ],
)
def test_each_layer_has_its_exact_numbers(layer: str, parameters: int, multiply_adds: int) -> None:
    row = _row(cost.summary([_lenet5()[1]]), layer)
    assert row.parameters == parameters
    assert row.multiply_adds == multiply_adds * N


def test_rows_stand_in_the_order_of_the_network() -> None:
    layers = [r.layer for r in cost.summary([_lenet5()[1]]).rows if r.layer]
    assert layers == ["features.c1", "pool1", "features.c2", "pool2", "f1", "f2", "out"]


def test_activations_are_counted_in_bytes_and_reshapes_take_none() -> None:
    row = _row(cost.summary([_lenet5()[1]]), "pool1")
    assert row.activation_bytes == 4 * 6 * 14 * 14 * N
    x = leaf.input("x", (N, 4, 3), "float64")
    assert cost.activation_bytes(linear.reshape(x, (N, 12))) == 0
    assert cost.activation_bytes(reduce.mean(x, (2,))) == 8 * 4 * N


def test_a_shared_parameter_counts_once() -> None:
    x = leaf.input("x", (N, 3), "float32")
    w = leaf.parameter("w", (3, 3), "float32", None)
    table = cost.summary([matmul.matmul(matmul.matmul(x, w), w)])
    assert table.parameters == 9
    assert table.multiply_adds == 18 * N


def test_a_parameter_without_a_layer_stands_where_it_is_read_first() -> None:
    x = leaf.input("x", (N, 3), "float32")
    w = leaf.parameter("w", (3, 2), "float32", None)
    table = cost.summary([ir.named(matmul.matmul(x, w), "scores")])
    assert _row(table, "scores").parameters == 6


def test_an_output_that_is_a_parameter_is_counted() -> None:
    assert cost.summary([leaf.parameter("w", (3, 2), "float32", None)]).parameters == 6


def test_a_program_shows_its_forward_pass_and_the_cost_of_each_call() -> None:
    x, logits = _lenet5()
    loss = reduce.mean(logits, (0, 1))
    w = next(n for n in ir.topological([loss]) if n.attrs.get("name") == "out.weight")
    (gradient,) = cotangents([loss], [ones(loss)], [w]).values()
    functions = (
        Function("predict", (x,), (logits,)),
        Function("train", (x,), (loss,), ((w, gradient),), training=True),
    )
    table = cost.summary(Program("lenet5", functions, (w,)))
    assert table.parameters == 61706
    assert table.multiply_adds == 416520 * N
    assert table.calls == {"predict": 416520 * N, "train": (416520 + 840) * N}


def test_the_text_is_a_table_with_totals() -> None:
    lines = str(cost.summary([_lenet5()[1]])).splitlines()
    assert lines[0].split() == ["layer", "ops", "output", "parameters", "multiply-adds", "bytes"]
    assert lines[2].split("  ")[0] == "features.c1"
    assert "61,706" in lines[-1] and "416,520*N" in lines[-1]
    assert len({len(line) for line in lines[1:2] + lines[-2:-1]}) == 1


def test_json_holds_numbers_or_texts(tmp_path: Path) -> None:
    table = cost.summary([_lenet5()[1]])
    table.save(tmp_path / "deep" / "cost.json")
    data = json.loads((tmp_path / "deep" / "cost.json").read_text())
    assert data == table.as_dict()
    assert data["total"]["parameters"] == 61706
    assert data["total"]["multiply_adds"] == "416520*N"


def test_another_suffix_is_an_error_that_lists_the_forms(tmp_path: Path) -> None:
    with pytest.raises(RenderError) as caught:
        cost.summary([_lenet5()[1]]).save(tmp_path / "cost.svg")
    assert str(caught.value) == (
        "the suffix '.svg' names no form of this view: cost.svg\n  try: one of .txt .json"
    )


def test_a_deep_graph_is_counted_in_linear_time() -> None:
    x = leaf.input("x", (N, 2), "float32")
    h = x
    for _ in range(20_000):
        h = e.apply(e.TANH, h)
    assert cost.summary([h]).activation_bytes == 20_000 * 8 * N


def test_a_loop_is_a_row_in_words() -> None:
    hs = gx.nn.RNN(4, name="l1")(gx.input("xs", ("T", "N", 3)))[1]
    (row,) = gx.summary(hs).rows
    assert (row.layer, row.ops, row.parameters) == ("l1", "loop over T: matmul, add, tanh", 32)
