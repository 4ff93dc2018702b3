"""The verifier finds each kind of damage that a pass could do."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

import op_samples
from graphc import dims, ir
from graphc.errors import GraphError, InternalError, NameClashError
from graphc.ir import Function, Graph, Node, Note, Program, TensorType
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, matmul
from graphc.verify import verify

N, M = dims.symbol("N"), dims.symbol("M")
VECTOR = TensorType("float64", (3,))


def _vector(name: str = "x") -> Node:
    return leaf.input(name, (3,), "float64")


def _sound() -> Program:
    x, s = _vector(), leaf.state("s", (3,), "float64", None)
    y = e.apply(e.ADD, x, s)
    return Program("p", (Function("f", (x,), (y,), ((s, y),), 0, True),), (s,))


def _with_output(node: Node) -> Program:
    made = _sound()
    (function,) = made.functions
    inputs = tuple(n for n in ir.topological([node]) if n.op is leaf.INPUT)
    return replace(made, functions=(replace(function, inputs=inputs, outputs=(node,), updates=()),))


def _planted(op: ir.Op, inputs: tuple[Node, ...], attrs: Any, type_: Any = VECTOR) -> Program:
    node = Node(op, inputs, MappingProxyType(attrs), type_, Note(where="model.py:7"))
    return _with_output(node)


def _message(program: Program) -> str:
    with pytest.raises(InternalError) as caught:
        verify(program, after="fold")
    return str(caught.value)


def test_sound_program_passes() -> None:
    assert verify(_sound()) == []


def test_wrong_type_is_found() -> None:
    found = _message(_planted(linear.FLIP, (_vector(),), {"axes": (0,)}, TensorType("int32", (3,))))
    assert "after fold: flip is int32[3] and should be float64[3]" in found
    assert "at model.py:7" in found and "this is a bug in graphc" in found


def test_wrong_shape_is_found() -> None:
    attrs = {"axes": ()}
    found = _message(_planted(linear.FLIP, (_vector(),), attrs, TensorType("float64", (4,))))
    assert "flip is float64[4] and should be float64[3]" in found


def test_attributes_that_do_not_fit_are_found() -> None:
    found = _message(_planted(linear.TRANSPOSE, (_vector(),), {"axes": (1,)}))
    assert "after fold: transpose has become invalid: transpose: (1,) is no order of the 1" in found


def test_inputs_that_do_not_fit_are_found() -> None:
    found = _message(_planted(matmul.MATMUL, (_vector("a"), _vector("b")), {}))
    assert "matmul has become invalid" in found


def test_wrong_number_of_arguments_is_found() -> None:
    attrs = {"formula": e.ADD}
    assert "elementwise has become invalid: add" in _message(
        _planted(e.ELEMENTWISE, (_vector(),), attrs)
    )


def test_reading_all_results_of_a_node_is_found() -> None:
    pair = op_samples.two(_vector("a"), _vector("b"))
    wrong = Node(op_samples.TWO, (pair, pair), MappingProxyType({}), pair.type)
    with pytest.raises((InternalError, GraphError)):
        verify(_with_output(wrong))


def test_reading_all_results_as_one_is_found() -> None:
    pair = op_samples.two(_vector("a"), _vector("b"))
    anything = ir.Op("anything", lambda i, a: VECTOR, leaf.no_gradient, ir.Floats.EXACT, "y")
    assert "anything reads all results of a node" in _message(_planted(anything, (pair,), {}))


def test_body_that_reaches_out_is_found() -> None:
    inner, outer = _vector("inner"), _vector("outer")
    body = Graph((inner,), (e.apply(e.ADD, inner, outer),))
    looped = ir.Op("looped", lambda i, a: VECTOR, leaf.no_gradient, ir.Floats.EXACT, "y")
    found = _message(_planted(looped, (_vector(),), {"body": body}))
    assert "after fold: outer reaches into a closed body" in found


def test_damage_inside_a_body_is_found() -> None:
    inner = _vector("inner")
    wrong = Node(linear.FLIP, (inner,), MappingProxyType({"axes": (0,)}), TensorType("int32", (3,)))
    looped = ir.Op("looped", lambda i, a: VECTOR, leaf.no_gradient, ir.Floats.EXACT, "y")
    body = Graph((inner,), (wrong,))
    assert "flip is int32[3]" in _message(_planted(looped, (_vector(),), {"body": body}))


def test_lost_state_is_found() -> None:
    assert "s is no state of the program" in _message(replace(_sound(), states=()))


def test_update_of_another_type_is_found() -> None:
    made = _sound()
    (function,) = made.functions
    new = linear.cast(function.outputs[0], "float32")
    damaged = replace(function, updates=((made.states[0], new),))
    assert "the update of s does not fit" in _message(replace(made, functions=(damaged,)))


def test_update_of_what_is_no_state_is_found() -> None:
    made = _sound()
    (function,) = made.functions
    damaged = replace(function, updates=((function.inputs[0], function.outputs[0]),))
    assert "the update of x does not fit" in _message(replace(made, functions=(damaged,)))


def test_forgotten_input_is_the_users_error() -> None:
    x = ir.named(_vector(), "x")
    function = Function("f", (), (e.apply(e.EXP, x),), where="model.py:3")
    with pytest.raises(GraphError) as caught:
        verify(Program("p", (function,)))
    assert str(caught.value) == (
        "function f needs x, which is not among its inputs\n"
        "  at model.py:3\n"
        "  x   float64[3]\n"
        "  try: add x to the list of inputs"
    )


def test_two_inputs_of_one_name_are_the_users_error() -> None:
    a, b = _vector("x"), _vector("x")
    with pytest.raises(NameClashError, match="two different inputs are called 'x'"):
        verify(Program("p", (Function("f", (a, b), (e.apply(e.ADD, a, b),)),)))


def test_two_states_of_one_name_are_the_users_error() -> None:
    states = tuple(leaf.state("s", (3,), "float64", None) for _ in range(2))
    with pytest.raises(NameClashError, match="two different states are called 's'"):
        verify(Program("p", (), states))


def test_functions_may_have_inputs_of_one_name() -> None:
    functions = [Function(n, (x,), (x,)) for n, x in (("f", _vector()), ("g", _vector()))]
    assert verify(Program("p", tuple(functions))) == []


def test_undecided_sizes_become_conditions() -> None:
    a = leaf.input("a", (2, N), "float64")
    with ir.noting(where="model.py:7"):
        b = matmul.matmul(a, leaf.input("b", (M, 3), "float64"))
    (condition,) = verify(_with_output(b))
    assert (condition.left, condition.relation, condition.right) == (N, "==", M)
    assert (condition.reason, condition.where) == ("matmul: inner sizes agree", "model.py:7")
    assert condition.holds({"N": 3, "M": 3}) and not condition.holds({"N": 3, "M": 2})


def test_equal_conditions_are_told_once() -> None:
    a, b = leaf.input("a", (2, N), "float64"), leaf.input("b", (M, 3), "float64")
    both = e.apply(e.ADD, matmul.matmul(a, b), matmul.matmul(a, b))
    assert len(verify(_with_output(both))) == 1
