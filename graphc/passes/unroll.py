"""Loops become copies of their bodies, one a step; parameters and captured values are shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from graphc import dims, ir
from graphc.errors import UnsupportedError
from graphc.ir import Node, Note, Program
from graphc.ops import elementwise, leaf, linear, phase, scan
from graphc.passes import rewrite
from graphc.passes.bind import bind


def unroll(program: Program, sizes: Mapping[str, int]) -> Program:
    """Unroll every loop, once its length is a number.

    Needs:    a size for each name in a loop's length.
    Promises: no scan is reached; each copy's note tells its step, and its name too: ``h[3]``.
    Keeps:    every value; borders of truncation, where gradients stop.
    Errors:   UnsupportedError for a loop whose length stays open
    """
    program = bind(program, sizes) if sizes else program
    return rewrite.mapped(program, unrolled(program.roots))


def unrolled(
    roots: Iterable[Node], given: Mapping[Node, Node] | None = None, place: tuple[int, ...] = ()
) -> dict[Node, Node]:
    """Return what each node becomes.

    Args:
        roots: the nodes, or the outputs of a body.
        given: what leaves of a body stand for.
        place: the steps, from the outermost loop on, whose copy is made.
    """
    mapping = dict(given or {})
    results: dict[Node, list[Node]] = {}
    for node in ir.topological(roots):
        if node in mapping:
            continue
        inputs = tuple(mapping[n] for n in node.inputs)
        with ir.noting_as(node.note):
            if node.op is scan.SCAN:
                results[node] = _copies(node, inputs, place)
                mapping[node] = node
            elif node.op is scan.RESULT and node.inputs[0] in results:
                found = results[node.inputs[0]][node.attrs["index"]]
                mapping[node] = _called_as(node.note, found, place)
            else:
                made = ir.with_inputs(node, inputs)
                mapping[node] = made if made is node else _at_step(made, node.note, place)
    return mapping


def _at_step(made: Node, note: Note, place: tuple[int, ...]) -> Node:
    """Return a node as the copy of a step: ``h`` becomes ``h[3]``, in a loop in it ``h[2][3]``."""
    if not place:
        return made
    index = "".join(f"[{t}]" for t in place)
    return ir.renoted(
        made, replace(note, step=place[0], name=f"{note.name}{index}" if note.name else None)
    )


def _called_as(note: Note, found: Node, place: tuple[int, ...]) -> Node:
    """Return what a result became under the name that the user gave the result, if any.

    A step that has a name of its own keeps it: the result is then a reshape that changes nothing.
    """
    if not note.name:
        return found
    if found.note.name or not found.inputs:
        found = ir.apply(linear.RESHAPE, (found,), {"shape": found.shape})
    return _at_step(ir.renoted(found, note), note, place)


def _copies(node: Node, inputs: tuple[Node, ...], outer: tuple[int, ...]) -> list[Node]:
    """Return the results of a loop as a chain of its steps."""
    walk, body = scan.walk_of(node.attrs), node.attrs["body"]
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
        became = unrolled(body.outputs, dict(zip(body.inputs, values, strict=True)), (*outer, t))
        outputs = [became[n] for n in body.outputs]
        carries = outputs[: walk.carries]
        stacked[t] = outputs[walk.carries : walk.carries + walk.stacked]
        terms = zip(sums, outputs[walk.carries + walk.stacked :], strict=True)
        sums = [elementwise.apply(elementwise.ADD, a, b) for a, b in terms]
    stacks = [
        _stack([stacked[t][k] for t in order], node, walk.carries + k) for k in range(walk.stacked)
    ]
    return [*carries, *stacks, *sums]


def _at(x: Node, t: int) -> Node:
    start = (t, *(0,) * (len(x.shape) - 1))
    return linear.reshape(linear.slice(x, start, (1, *x.shape[1:])), x.shape[1:])


def _stack(values: list[Node], node: Node, index: int) -> Node:
    if values:
        return linear.concatenate([linear.reshape(v, (1, *v.shape)) for v in values], 0)
    held = scan.result(node, index)
    return linear.broadcast_to(leaf.constant(0, held.dtype), held.shape)
