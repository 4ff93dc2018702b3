"""Loops become copies of their bodies, one a step; parameters and captured values are shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from graphc import dims, ir
from graphc.errors import UnsupportedError
from graphc.ir import Graph, Node, Program
from graphc.ops import elementwise, leaf, linear, phase, scan
from graphc.passes import rewrite
from graphc.passes.bind import bind


def unroll(program: Program, sizes: Mapping[str, int]) -> Program:
    """Unroll every loop, once its length is a number.

    Needs:    a size for each name in a loop's length.
    Promises: no scan is reached; each copy's note tells its step.
    Keeps:    every value; borders of truncation, where gradients stop.
    Errors:   UnsupportedError for a loop whose length stays open
    """
    program = bind(program, sizes) if sizes else program
    return rewrite.mapped(program, unrolled(program.roots))


def unrolled(roots: Iterable[Node]) -> dict[Node, Node]:
    """Return what each node becomes."""
    mapping: dict[Node, Node] = {}
    results: dict[Node, list[Node]] = {}
    for node in ir.topological(roots):
        inputs = tuple(mapping[n] for n in node.inputs)
        with ir.noting_as(node.note):
            if node.op is scan.SCAN:
                results[node] = _copies(node, inputs)
                mapping[node] = node
            elif node.op is scan.RESULT and node.inputs[0] in results:
                mapping[node] = results[node.inputs[0]][node.attrs["index"]]
            else:
                mapping[node] = ir.with_inputs(node, inputs)
    return mapping


def _copies(node: Node, inputs: tuple[Node, ...]) -> list[Node]:
    """Return the results of a loop as a chain of its steps."""
    walk, body = scan.walk_of(node.attrs), _flat(node.attrs["body"])
    if not isinstance(walk.length, int):
        raise UnsupportedError(
            f"unroll: a loop of {dims.text(walk.length)} steps has no number of copies",
            where=node.note.where,
            hint=f"give a size: unroll(…, {dims.names((walk.length,))[0]}=5)",
        )
    given = scan.parts(inputs, walk)
    carries = list(given.carries)
    stacked: dict[int, list[Node]] = {}
    sums = [elementwise.filled(0, n) for n in body.outputs[walk.carries + walk.stacked :]]
    order = range(walk.length)
    for place, t in enumerate(reversed(order) if walk.reverse else order):
        if walk.truncate and place and place % walk.truncate == 0:
            carries = [phase.stop_gradient(c) for c in carries]
        steps = [_at(x, t) for x in given.sequences]
        values = [*carries, *steps, *given.captured, leaf.constant(t, "int64")]
        outputs = _copy(body, values, t)
        carries = outputs[: walk.carries]
        stacked[t] = outputs[walk.carries : walk.carries + walk.stacked]
        terms = zip(sums, outputs[walk.carries + walk.stacked :], strict=True)
        sums = [elementwise.apply(elementwise.ADD, a, b) for a, b in terms]
    stacks = [
        _stack([stacked[t][k] for t in order], node, walk.carries + k) for k in range(walk.stacked)
    ]
    return [*carries, *stacks, *sums]


def _flat(body: Graph) -> Graph:
    """Return a body whose own loops are unrolled."""
    mapping = unrolled((*body.inputs, *body.outputs))
    return Graph(body.inputs, tuple(mapping[n] for n in body.outputs))


def _copy(body: Graph, values: list[Node], t: int) -> list[Node]:
    """Return a body's outputs over values, its nodes marked with their step."""
    mapping = dict(zip(body.inputs, values, strict=True))
    for node in ir.topological(body.outputs):
        if node not in mapping:
            with ir.noting_as(node.note):
                made = ir.with_inputs(node, tuple(mapping[n] for n in node.inputs))
            note = node.note if made is node else replace(node.note, step=t)
            mapping[node] = node if made is node else ir.renoted(made, note)
    return [mapping[n] for n in body.outputs]


def _at(x: Node, t: int) -> Node:
    start = (t, *(0,) * (len(x.shape) - 1))
    return linear.reshape(linear.slice(x, start, (1, *x.shape[1:])), x.shape[1:])


def _stack(values: list[Node], node: Node, index: int) -> Node:
    if values:
        return linear.concatenate([linear.reshape(v, (1, *v.shape)) for v in values], 0)
    held = scan.result(node, index)
    return linear.broadcast_to(leaf.constant(0, held.dtype), held.shape)
