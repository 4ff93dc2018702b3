"""Nodes, notes and order: what every graph is made of."""

from __future__ import annotations

import pytest

from graphc import ir
from graphc.errors import DtypeError, GraphError, ShapeError
from graphc.ir import Note, TensorType
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear


def _vector(name: str = "x") -> ir.Node:
    return leaf.input(name, (3,), "float64")


def test_order_has_each_node_once_and_inputs_first() -> None:
    x = _vector()
    h = e.apply(e.SQUARE, x)
    y = e.apply(e.ADD, e.apply(e.MULTIPLY, h, x), h)
    order = ir.topological([y, h, x])
    assert len(order) == len(set(order)) == 4
    assert all(order.index(i) < order.index(n) for n in order for i in n.inputs)


def test_order_is_that_of_the_inputs() -> None:
    a, b = _vector("a"), _vector("b")
    assert ir.topological([e.apply(e.ADD, a, b)])[:2] == [a, b]
    assert ir.topological([e.apply(e.ADD, b, a)])[:2] == [b, a]


def test_users_are_told_once_for_each_use() -> None:
    x = _vector()
    y = e.apply(e.MULTIPLY, x, x)
    assert ir.users([x, y]) == {x: [y, y], y: []}


def test_nodes_compare_by_identity() -> None:
    assert _vector() != _vector()


def test_nodes_and_attributes_are_frozen() -> None:
    x = _vector()
    with pytest.raises(AttributeError):
        x.op = leaf.STATE  # type: ignore[misc]
    with pytest.raises(TypeError):
        x.attrs["name"] = "y"  # type: ignore[index]


def test_constants_are_copied_and_frozen() -> None:
    value = leaf.constant([1.0, 2.0]).attrs["value"]
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 3


def test_node_made_inside_noting_has_its_fields() -> None:
    with ir.noting(scope=("block",)), ir.noting(name="h", where="model.py:3"):
        node = _vector()
    assert (node.note.path, node.note.where) == ("block.h", "model.py:3")
    assert _vector().note.path is None


def test_noting_ends_with_an_error() -> None:
    with pytest.raises(ShapeError), ir.noting(name="h"):
        linear.transpose(_vector(), (1, 0))
    assert ir.current_note().name is None


def test_error_of_a_shape_rule_is_placed_at_the_users_line() -> None:
    with pytest.raises(ShapeError) as caught, ir.noting(where="model.py:3"):
        linear.reshape(_vector(), (2, 2))
    assert str(caught.value) == (
        "reshape: 3 elements do not fill the shape [2, 2] of 4\n"
        "  at model.py:3\n"
        "  x   float64[3]\n"
        "  try: -1 stands for the dimension that fits"
    )


def test_each_node_has_a_note_of_its_own() -> None:
    with ir.noting(name="h"):
        a, b = _vector("a"), _vector("b")
    assert a.note is not b.note


def test_repr_is_one_line() -> None:
    assert repr(ir.renoted(_vector(), Note("h\n"))) == "<x: input float64[3]>"
    assert "\n" not in repr(ir.renoted(e.apply(e.EXP, _vector()), Note("a\nb")))


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(DtypeError, match="there is no dtype 'float16'"):
        TensorType("float16", (3,))


def test_type_of_a_node_with_several_results_is_refused() -> None:
    pair = (TensorType("float64", (3,)),) * 2
    node = ir.Node(linear.FLIP, (), {}, pair)
    with pytest.raises(GraphError, match="flip has 2 results; read one with result"):
        _ = node.shape
