"""The driver of differentiation: how cotangents are gathered, whatever the ops are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import op_samples
import reference
from graphc import ir
from graphc.ir import Graph, Node
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, phase, scan
from graphc.passes import differentiate

A, B = np.array([1.0, -2.0, 3.0]), np.array([0.5, 4.0, -1.0])


def _vector(name: str) -> Node:
    return leaf.input(name, (3,), "float64")


def _gradients(
    output: Node, wrt: Sequence[Node], at: Mapping[Node, Any]
) -> dict[Node, list[float]]:
    """Return the values of the derivatives of the sum of an output."""
    found = differentiate.cotangents([output], [differentiate.ones(output)], wrt)
    values = reference.evaluate(list(found.values()), at, extra=op_samples.TOYS)
    return {n: v.tolist() for n, v in zip(found, values, strict=True)}


def _two_results(take: Sequence[int]) -> tuple[Node, Node, Node]:
    a, b = _vector("a"), _vector("b")
    pair = op_samples.two(a, b)
    read = [scan.result(pair, k) for k in take]
    return a, b, read[0] if len(read) == 1 else e.apply(e.MULTIPLY, *read)


def test_one_result_of_a_node_gets_its_cotangent() -> None:
    a, b, difference = _two_results([1])
    assert _gradients(difference, [a, b], {a: A, b: B}) == {a: [1.0] * 3, b: [-1.0] * 3}


def test_cotangents_of_several_results_meet_in_one_rule() -> None:
    a, b, product = _two_results([0, 1])  # (a + b)(a - b) = a² - b²
    assert _gradients(product, [a, b], {a: A, b: B}) == {
        a: (2 * A).tolist(),
        b: (-2 * B).tolist(),
    }


def test_derivative_by_a_result_of_a_node() -> None:
    a, b = _vector("a"), _vector("b")
    total = scan.result(op_samples.two(a, b), 0)
    output = e.apply(e.SQUARE, total)
    assert _gradients(output, [total], {a: A, b: B}) == {total: (2 * (A + B)).tolist()}


def test_derivative_by_a_result_and_by_what_it_is_made_of() -> None:
    a, b = _vector("a"), _vector("b")
    total = scan.result(op_samples.two(a, b), 0)
    output = e.apply(e.SQUARE, total)
    found = _gradients(output, [total, a], {a: A, b: B})
    assert found[a] == found[total] == (2 * (A + B)).tolist()


def test_two_readers_of_one_result_add_up() -> None:
    a, b = _vector("a"), _vector("b")
    pair = op_samples.two(a, b)
    output = e.apply(e.ADD, scan.result(pair, 0), scan.result(pair, 0))
    assert _gradients(output, [a], {a: A, b: B}) == {a: [2.0] * 3}


def test_no_gradient_passes_stop_gradient() -> None:
    x = _vector("x")
    output = e.apply(e.MULTIPLY, x, phase.stop_gradient(x))
    assert _gradients(output, [x], {x: A}) == {x: A.tolist()}


def test_nothing_is_found_behind_stop_gradient() -> None:
    x = _vector("x")
    assert _gradients(phase.stop_gradient(e.apply(e.SQUARE, x)), [x], {x: A}) == {}


def test_nothing_is_found_for_a_node_that_is_not_reached() -> None:
    x, other = _vector("x"), _vector("other")
    assert _gradients(e.apply(e.SQUARE, x), [other], {x: A}) == {}


def test_nothing_is_found_through_integers() -> None:
    x = _vector("x")
    whole = linear.cast(linear.cast(x, "int64"), "float64")
    assert _gradients(whole, [x], {x: A}) == {}


def test_interior_node_gets_its_derivative_and_passes_it_on() -> None:
    x = _vector("x")
    h = e.apply(e.SQUARE, x)
    output = e.apply(e.MULTIPLY, h, h)
    assert _gradients(output, [h, x], {x: A}) == {h: (2 * A**2).tolist(), x: (4 * A**3).tolist()}


def test_derivative_of_a_node_by_itself_is_the_seed() -> None:
    x = _vector("x")
    assert _gradients(x, [x], {x: A}) == {x: [1.0] * 3}


def test_uses_of_a_node_add_up() -> None:
    x = _vector("x")
    output = e.apply(e.ADD, e.apply(e.SQUARE, x), e.apply(e.MULTIPLY, x, x))
    assert _gradients(output, [x], {x: A}) == {x: (4 * A).tolist()}


def test_outputs_add_up_with_their_seeds() -> None:
    x = _vector("x")
    outputs = [x, e.apply(e.SQUARE, x), e.apply(e.NEGATIVE, x)]
    seeds = [differentiate.ones(x), differentiate.ones(x), None]
    found = differentiate.cotangents(outputs, seeds, [x])
    assert reference.evaluate([found[x]], {x: A})[0].tolist() == (1 + 2 * A).tolist()


def test_no_rule_is_asked_beside_the_way() -> None:
    """The derivative by x alone holds no op that serves the derivative by another leaf."""
    x, other = _vector("x"), _vector("other")
    output = e.apply(e.MULTIPLY, x, e.apply(e.EXP, other))
    found = differentiate.cotangents([output], [differentiate.ones(output)], [x])
    assert [n.op.name for n in ir.topological([found[x]])].count("elementwise") == 2


def test_graph_of_derivatives_answers_for_every_input() -> None:
    x, unused = _vector("x"), _vector("unused")
    y = e.apply(e.SQUARE, x)
    seed = _vector("seed")
    made = differentiate.differentiate(Graph((x, unused), (y,)), [seed])
    values = reference.evaluate(made.outputs, {x: A, unused: A, seed: B})
    assert made.inputs == (x, unused, seed)
    assert [v.tolist() for v in values] == [(2 * A * B).tolist(), [0.0] * 3]


def test_derived_node_tells_whose_cotangent_it_is() -> None:
    x = _vector("x")
    with ir.noting(name="h", scope=("block",), where="model.py:7", step=3):
        h = e.apply(e.EXP, x)
    found = differentiate.cotangents([h], [differentiate.ones(h)], [x])
    note = found[x].note
    assert note.origin is not None and note.origin.note is h.note
    assert (note.name, note.scope, note.where, note.step) == (None, ("block",), "model.py:7", 3)
    assert note.origin.role == "delementwise"


def test_sum_of_cotangents_tells_whose_it_is() -> None:
    x = _vector("x")
    output = e.apply(e.ADD, e.apply(e.SQUARE, x), e.apply(e.EXP, x))
    found = differentiate.cotangents([output], [differentiate.ones(output)], [x])
    assert found[x].note.origin is not None
    assert found[x].note.origin.role == "dL/dx"


def test_depends_follows_floats_only() -> None:
    x = _vector("x")
    h = e.apply(e.SQUARE, x)
    claim = e.apply(e.LESS, h, x)
    back = linear.cast(claim, "float64")
    stopped = phase.stop_gradient(h)
    found = differentiate.depends(ir.topological([back, stopped]), [x])
    assert {x, h} <= found and not {back, stopped} & found


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_second_derivative_of_a_choice_is_zero(name: str) -> None:
    a, b = _vector("a"), _vector("b")
    output = e.apply(e.FORMULAS[name], a, b)
    first = differentiate.cotangents([output], [differentiate.ones(output)], [a])[a]
    assert _gradients(first, [a, b], {a: A, b: B}) in ({}, {a: [0.0] * 3, b: [0.0] * 3})
