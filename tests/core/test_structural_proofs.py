"""Derivative rules of structural ops, proved: on symbols they equal what algebra says, exactly.

An op's value on symbols is a polynomial over the rationals; its derivative by each symbol is
compared with the op's rule, run on the same symbols. Ops that choose read a number that each
symbol carries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from sympy import QQ, ring

import op_samples
import reference
from graphc import dims, ir
from graphc.ir import Node
from graphc.ops import leaf, linear
from graphc.passes import differentiate
from op_samples import SAMPLES, Sample

LINEAR = (
    *("reshape", "transpose", "broadcast_to", "sum", "slice", "pad", "flip", "concatenate"),
    *("cast", "mean", "matmul", "conv2d", "conv2d_input_adjoint", "conv2d_filter_adjoint"),
    *("avg_pool2d", "avg_pool2d_adjoint", "take", "scatter_add", "pick", "phase", "with_update"),
    "training_only",
)
CHOOSING = ("max", "max_pool2d", "max_pool2d_adjoint", "max_pool2d_select")
FORMULAS = (
    *("add", "subtract", "multiply", "negative", "square", "where", "maximum", "minimum", "abs"),
    *("relu", "leaky_relu", "sign"),
)
_TOO_LARGE = ("matmul-tile", "sum-long")
_NO_POLYNOMIAL = ("pad-infinity", "mean-nothing")


def _is_proved(sample: Sample) -> bool:
    if "float64" not in sample.dtypes or sample.name in (*_TOO_LARGE, *_NO_POLYNOMIAL):
        return False
    if sample.op == "elementwise":
        return sample.name.split("-")[1] in FORMULAS
    leaves = sample.leaves(sample.build("float64"))
    return sample.op in (*LINEAR, *CHOOSING) and any(n.tensor.is_float for n in leaves)


PROVED = [s for s in SAMPLES if _is_proved(s)]


class Symbols:
    """Polynomials over the rationals; each symbol carries a number."""

    def __init__(self, shapes: Mapping[Node, tuple[int, ...]], seed: int) -> None:
        counts = [int(np.prod(s, dtype=int)) for s in shapes.values()]
        names = [f"s{i}" for i in range(max(1, sum(counts)))]
        self.ring, *self.symbols = ring(names, QQ)
        order = np.random.default_rng(seed).permutation(len(names))
        self.numbers = [Fraction(2 * (2 * int(i) - len(names)) + 1, 7) for i in order]
        self.arrays: dict[Node, Any] = {}
        rest = iter(self.symbols)
        for node, shape in shapes.items():
            array = np.empty(shape, dtype=object)
            for place in np.ndindex(shape):
                array[place] = next(rest)
            self.arrays[node] = array

    def exact(self, value: Any) -> Any:
        fraction = Fraction(value)
        return self.ring(QQ(fraction.numerator, fraction.denominator))

    def number(self, value: Any) -> float:
        """Return the number that a polynomial carries."""
        if not hasattr(value, "terms"):
            return float(value)
        carried = Fraction(0)
        for powers, coefficient in value.terms():
            term = Fraction(int(coefficient.numerator), int(coefficient.denominator))
            for i, power in enumerate(powers):
                if power:
                    term *= self.numbers[i] ** power
            carried += term
        return float(carried)

    def polynomial(self, value: Any) -> Any:
        return value if hasattr(value, "terms") else self.exact(value)

    def evaluate(self, nodes: Sequence[Node], at: Mapping[Node, Any], sizes: Any) -> list[Any]:
        every = {**at, **self.arrays}
        return reference.evaluate(nodes, every, sizes, number=self.number, exact=self.exact)


def _shape(node: Node, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dims.evaluate(d, sizes) for d in node.shape)


def _prove(sample: Sample, sizes: Mapping[str, int]) -> None:
    node = sample.build("float64")
    floats = [n for n in sample.leaves(node) if n.tensor.is_float]
    seed = leaf.input("seed", node.shape, "float64")
    symbols = Symbols({n: _shape(n, sizes) for n in (*floats, seed)}, seed=len(sample.name))
    whole = {n: v for n, v in sample.inputs(node, sizes).items() if not n.tensor.is_float}
    (value,) = symbols.evaluate([node], whole, sizes)
    products = zip(symbols.arrays[seed].ravel(), value.ravel(), strict=True)
    loss = sum((g * y for g, y in products), symbols.exact(0))
    found = differentiate.cotangents([node], [seed], floats)
    rules = dict(zip(found, symbols.evaluate(list(found.values()), whole, sizes), strict=True))
    for node_ in floats:
        array = symbols.arrays[node_]
        rule = rules.get(node_, np.zeros(array.shape, dtype=object))
        for symbol, claimed in zip(array.ravel(), rule.ravel(), strict=True):
            assert loss.diff(symbol) == symbols.polynomial(claimed)


@pytest.mark.parametrize("sample", PROVED, ids=op_samples.label)
def test_rule_is_the_derivative_of_the_op(sample: Sample) -> None:
    for sizes in sample.sizes[:2]:
        _prove(sample, sizes)


def test_every_linear_and_choosing_op_is_proved() -> None:
    assert {s.op for s in PROVED} == {*LINEAR, *CHOOSING, "elementwise"}


def test_every_polynomial_formula_is_proved() -> None:
    assert {s.name.split("-")[1] for s in PROVED if s.op == "elementwise"} == set(FORMULAS)


def _unchanged(node: Node, cotangents: Any, differentiate: Any) -> tuple[Node | None, ...]:
    return tuple(cotangents)


def test_proof_refuses_a_wrong_rule() -> None:
    wrong = replace(linear.FLIP, derivative=_unchanged)
    sample = Sample(
        "flip-wrong", lambda t: ir.apply(wrong, (op_samples.x_(t, 2, 3),), {"axes": (0,)})
    )
    with pytest.raises(AssertionError):
        _prove(sample, {})
