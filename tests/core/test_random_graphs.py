"""Random graphs: their derivatives are right, and the pipeline keeps what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given

import reference
import strategies
from graphc import ir, printer, verify
from graphc.ir import Node, Program
from graphc.ops import elementwise, linear
from graphc.passes import differentiate, pipeline
from strategies import Drawn

STEP = 1e-3


def _loss(drawn: Drawn) -> Node:
    """Return the sum of the sines of the outputs."""
    parts = [elementwise.apply(elementwise.SIN, n) for n in drawn.outputs]
    sums = [linear.sum(p, tuple(range(len(p.shape)))) for p in parts]
    return elementwise.apply(elementwise.ADD, *sums)


def _program(drawn: Drawn) -> Program:
    loss = _loss(drawn)
    found = differentiate.cotangents([loss], [differentiate.ones(loss)], drawn.leaves)
    return ir.program_of(loss, *(found[n] for n in drawn.leaves), inputs=drawn.leaves)


@given(strategies.graphs())
def test_derivative_agrees_with_central_differences(drawn: Drawn) -> None:
    program = _program(drawn)
    loss, *gradients = program.functions[0].outputs
    at = drawn.inputs()
    generator = np.random.default_rng(1)
    way = {n: generator.uniform(-1, 1, v.shape) for n, v in at.items()}

    def moved(k: int) -> Any:
        there = {n: v + k * STEP * way[n] for n, v in at.items()}
        return reference.evaluate([loss], there, drawn.sizes)[0]

    expected = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * STEP)
    values = reference.evaluate(gradients, at, drawn.sizes)
    terms = [v * way[n] for n, v in zip(drawn.leaves, values, strict=True)]
    scale = 1 + sum(np.sum(np.abs(t)) for t in terms)
    assert abs(expected - sum(np.sum(t) for t in terms)) <= 1e-6 * scale


@given(strategies.graphs(smooth=False))
def test_pipeline_keeps_the_values(drawn: Drawn) -> None:
    before = _program(drawn)
    after = pipeline.canonical(before)
    outputs = [f.outputs for p in (before, after) for f in p.functions]
    values = [reference.evaluate(o, drawn.inputs(), drawn.sizes) for o in outputs]
    for one, other in zip(*values, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@given(strategies.graphs(smooth=False))
def test_pipeline_settles(drawn: Drawn) -> None:
    once = pipeline.canonical(_program(drawn))
    assert printer.text(pipeline.canonical(once)) == printer.text(once)


@given(strategies.graphs(smooth=False))
def test_graph_is_sound_and_its_text_tells_its_size(drawn: Drawn) -> None:
    made = _program(drawn)
    verify.verify(made)
    lines = [line for line in printer.text(made).splitlines() if line.startswith("  %")]
    assert len(lines) == len(ir.topological(made.roots))


def test_seeded_graph_is_the_same_in_both_float_types() -> None:
    for seed in range(20):
        drawn = [strategies.seeded(seed, dtype) for dtype in ("float32", "float64")]
        texts = {printer.graph_text(*d.outputs).replace("float32", "float64") for d in drawn}
        assert len(texts) == 1
