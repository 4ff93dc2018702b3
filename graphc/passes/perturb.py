"""Loops whose carries can be disturbed at every step, so that a loss has a derivative there.

h_t takes part in the carry and in whatever step t computes from it, so no stacked result stands
for all of its influence. After this pass h_t is h_t + e_t, with e a sequence of zeros; dL/de_t is
the total dL/dh_t. It derives nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphc import ir
from graphc.dims import Shape
from graphc.ir import Graph, Node
from graphc.ops import elementwise, leaf, linear, scan
from graphc.ops.scan import Walk


@dataclass(frozen=True, slots=True, eq=False)
class Disturbance:
    """What is added to one carry of a loop.

    Attributes:
        carry: the node of the body that computes the new carry.
        place: which carry it is.
        loop: the note of the loop.
        zeros: the sequence (T, …), by which a loss can be derived.
    """

    carry: Node
    place: int
    loop: ir.Note
    zeros: Node


def perturb(roots: Iterable[Node]) -> tuple[dict[Node, Node], list[Disturbance]]:
    """Return what each node becomes when every float carry gets a sequence of zeros added.

    Promises: the values are as before, but that -0.0 becomes 0.0.
    Keeps:    loops inside loops as they are.
    """
    mapping: dict[Node, Node] = {}
    found: list[Disturbance] = []
    for node in ir.topological(roots):
        inputs = tuple(mapping[n] for n in node.inputs)
        with ir.noting_as(node.note):
            if node.op is scan.SCAN:
                mapping[node] = _disturbed(node, inputs, found)
            else:
                mapping[node] = ir.with_inputs(node, inputs)
    return mapping, found


def _disturbed(node: Node, inputs: tuple[Node, ...], found: list[Disturbance]) -> Node:
    body: Graph = node.attrs["body"]
    walk = scan.walk_of(node.attrs)
    places = [i for i in range(walk.carries) if body.outputs[i].tensor.is_float]
    errors = {i: leaf.input(f"e{i}", *_type(body.outputs[i])) for i in places}
    sequences = [_zeros(walk, body.outputs[i]) for i in places]
    found += [
        Disturbance(body.outputs[i], i, node.note, zeros)
        for i, zeros in zip(places, sequences, strict=True)
    ]
    outputs = _shifted(body, errors)
    first = walk.carries + walk.sequences
    leaves = (*body.inputs[:first], *errors.values(), *body.inputs[first:])
    made = replace(walk, sequences=walk.sequences + len(places))
    given = (*inputs[:first], *sequences, *inputs[first:])
    return ir.renoted(scan.scan(made, Graph(leaves, outputs), given), node.note)


def _type(node: Node) -> tuple[Shape, str]:
    return node.shape, node.dtype


def _zeros(walk: Walk, carry: Node) -> Node:
    zero = leaf.constant(0, carry.dtype)
    return linear.broadcast_to(zero, (walk.length, *carry.shape))


def _shifted(body: Graph, errors: dict[int, Node]) -> tuple[Node, ...]:
    """Return the body's outputs with each new carry, wherever it is read, moved by its error."""
    outputs = list(body.outputs)
    order = {n: k for k, n in enumerate(ir.topological(body.outputs))}
    held = {i: body.outputs[i] for i in errors}
    for i in sorted(errors, key=lambda i: order[body.outputs[i]]):
        carry = held[i]
        moved = elementwise.apply(elementwise.ADD, carry, errors[i])
        if carry in body.inputs:  # passed on as it came: only what the next step gets is new
            outputs[i] = moved
            continue
        mapping = ir.substitute((*outputs, *held.values()), {carry: moved})
        outputs = [mapping[n] for n in outputs]
        held = {k: n if k == i else mapping[n] for k, n in held.items()}
    return tuple(outputs)
