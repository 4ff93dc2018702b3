"""Every op: its shape rule and its derivative, against the reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import op_samples
import reference
from graphc import dims, ops
from graphc.ir import Node
from graphc.ops import elementwise, leaf, scalar
from graphc.passes import differentiate
from op_samples import SAMPLES, Sample

STEP = 2e-3  # of the central difference; its error is of order STEP ** 4


def _values(nodes: Sequence[Node], at: Mapping[Node, Any], sizes: Mapping[str, int]) -> list[Any]:
    return reference.evaluate(nodes, at, sizes, extra=op_samples.TOYS)


def _shape(node: Node, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dims.evaluate(d, sizes) for d in node.shape)


def test_every_op_has_a_sample() -> None:
    assert set(ops.ALL_OPS) == {s.op for s in SAMPLES}


def test_every_op_has_a_reference() -> None:
    assert set(ops.ALL_OPS) == set(reference.RULES)


def test_every_formula_has_a_sample() -> None:
    sampled = {s.name.split("-")[1] for s in SAMPLES if s.op == "elementwise"}
    assert sampled == set(elementwise.FORMULAS)


def test_every_primitive_occurs_in_a_formula() -> None:
    used = set().union(*(_primitives(f.tree) for f in elementwise.FORMULAS.values()))
    assert used == set(scalar.PRIMITIVES)


def _primitives(tree: scalar.Tree) -> set[str]:
    if not isinstance(tree, scalar.Apply):
        return set()
    return {tree.name}.union(*map(_primitives, tree.args))


def test_sample_names_are_unique() -> None:
    names = [s.name for s in SAMPLES]
    assert len(names) == len(set(names))


def test_philox_gives_the_published_words() -> None:
    words = reference.philox((0, 0, 0, 0), (0, 0))
    assert [f"{w:08x}" for w in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize("sample", SAMPLES, ids=op_samples.label)
def test_shape_rule_tells_the_type_of_the_value(sample: Sample) -> None:
    for dtype in sample.dtypes:
        node = sample.build(dtype)
        for sizes in sample.sizes:
            (value,) = _values([node], sample.inputs(node, sizes), sizes)
            assert (value.dtype.name, value.shape) == (node.dtype, _shape(node, sizes))


def _floats(sample: Sample, node: Node) -> list[Node]:
    return [n for n in sample.leaves(node) if n.dtype == "float64"]


def _has_derivative(sample: Sample) -> bool:
    if "float64" not in sample.dtypes or sample.name in _NOT_FINITE:
        return False
    node = sample.build("float64")
    seed = elementwise.filled(1, node) if node.tensor.is_float else None
    return bool(differentiate.cotangents([node], [seed], _floats(sample, node)))


_NOT_FINITE = ("pad-infinity", "mean-nothing", "logsumexp-nothing")
SMOOTH = [s for s in SAMPLES if _has_derivative(s)]


def _difference(nodes: Sequence[Node], at: Any, way: Any, sizes: Any) -> list[Any]:
    """Return derivatives along a way, by a central difference of fourth order."""
    moved = {
        k: _values(nodes, {**at, **{n: at[n] + k * STEP * v for n, v in way.items()}}, sizes)
        for k in (-2, -1, 1, 2)
    }
    rows = zip(moved[1], moved[-1], moved[2], moved[-2], strict=True)
    return [(8 * (a - b) - (c - d)) / (12 * STEP) for a, b, c, d in rows]


def _check(
    nodes: Sequence[Node], seeds: Sequence[Node], found: dict[Node, Node], at: Any, sizes: Any
) -> None:
    """Compare the derivative of ``Σ seeds · nodes`` along a random way with the cotangents."""
    generator = np.random.default_rng(5)
    way = {n: generator.uniform(-1, 1, at[n].shape) for n in found}
    changes = _difference(nodes, at, way, sizes)
    expected = sum(np.sum(at[s] * d) for s, d in zip(seeds, changes, strict=True))
    values = _values(list(found.values()), at, sizes)
    terms = [v * way[n] for n, v in zip(found, values, strict=True)]
    scale = 1 + sum(np.sum(np.abs(t)) for t in terms)
    assert abs(expected - sum(np.sum(t) for t in terms)) <= 1e-6 * scale
    assert [v.shape for v in values] == [at[n].shape for n in found]


def _seeded(
    nodes: Sequence[Node], at: dict[Node, Any], sizes: Mapping[str, int]
) -> tuple[list[Node], dict[Node, Any]]:
    """Return seeds for nodes, and the arrays with theirs."""
    generator = np.random.default_rng(len(at))
    seeds = [leaf.input(f"seed{k}", n.shape, n.dtype) for k, n in enumerate(nodes)]
    drawn = {s: generator.uniform(0.5, 1.5, _shape(s, sizes)) for s in seeds}
    return seeds, {**at, **drawn}


@pytest.mark.parametrize("sample", SMOOTH, ids=op_samples.label)
def test_derivative_agrees_with_central_differences(sample: Sample) -> None:
    node = sample.build("float64")
    for sizes in sample.sizes:
        seeds, at = _seeded([node], sample.inputs(node, sizes), sizes)
        found = differentiate.cotangents([node], seeds, _floats(sample, node))
        _check([node], seeds, found, at, sizes)


@pytest.mark.parametrize("sample", SMOOTH, ids=op_samples.label)
def test_second_derivative_agrees_with_central_differences(sample: Sample) -> None:
    node = sample.build("float64")
    for sizes in sample.sizes:
        seeds, at = _seeded([node], sample.inputs(node, sizes), sizes)
        floats = _floats(sample, node)
        first = list(differentiate.cotangents([node], seeds, floats).values())
        more, at = _seeded(first, at, sizes)
        _check(first, more, differentiate.cotangents(first, more, (*floats, *seeds)), at, sizes)
