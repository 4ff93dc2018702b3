"""Loops keep only what is read of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphc import ir
from graphc.ir import Graph, Node, Program
from graphc.ops import scan
from graphc.passes import rewrite


def trim(program: Program) -> Program:
    """Drop from each loop the results that nobody reads, and what only they needed.

    Promises: in each function, each stacked or summed result is read; each carry, sequence and
        captured value is needed for one that is. What a gradient keeps of a loop, a function that
        asks for no gradient does not.
    Keeps:    the value of every result that is read.
    """
    return rewrite.per_function(program, _in_function)


def _in_function(function: ir.Function) -> ir.Function:
    mapping = _trimmed((*function.inputs, *function.roots))
    return replace(
        function,
        outputs=tuple(mapping[n] for n in function.outputs),
        updates=tuple((state, mapping[n]) for state, n in function.updates),
    )


def _trimmed(roots: Iterable[Node]) -> dict[Node, Node]:
    """Return what each node becomes, bodies of loops first."""
    roots = tuple(roots)
    order = ir.topological(roots)
    read: dict[Node, set[int]] = {}
    for node in order:
        if node.op is scan.RESULT:
            read.setdefault(node.inputs[0], set()).add(node.attrs["index"])
    mapping: dict[Node, Node] = {}
    moved: dict[Node, dict[int, int]] = {}
    for node in order:
        inputs = tuple(mapping[n] for n in node.inputs)
        with ir.noting_as(node.note):
            if node.op is scan.SCAN:
                mapping[node], moved[node] = _without(node, inputs, read.get(node, set()))
            elif node.op is scan.RESULT and node.inputs[0] in moved:
                index = moved[node.inputs[0]][node.attrs["index"]]
                mapping[node] = ir.renoted(scan.result(inputs[0], index), node.note)
            else:
                mapping[node] = ir.with_inputs(node, inputs)
    return mapping


def _without(node: Node, inputs: tuple[Node, ...], read: set[int]) -> tuple[Node, dict[int, int]]:
    """Return a scan over new inputs with what is needed, and where its results have moved."""
    walk, declared = scan.walk_of(node.attrs), node.attrs["body"]
    # What the loop itself drops, its inner loops need not give; what they drop, it need not take.
    body = _inner(declared, _live(declared, walk, read))
    live = _live(body, walk, read)
    kept = [k for k in range(len(body.outputs)) if k in live]
    needed = set(ir.topological(body.outputs[k] for k in kept))
    given = [
        i
        for i, n in enumerate(body.inputs[:-1])
        if (i in live if i < walk.carries else n in needed)
    ]
    first, second = walk.carries, walk.carries + walk.sequences
    new = replace(
        walk,
        carries=sum(i < first for i in given),
        sequences=sum(first <= i < second for i in given),
        stacked=sum(first <= k < first + walk.stacked for k in kept),
    )
    leaves = (*(body.inputs[i] for i in given), body.inputs[-1])
    made = Graph(leaves, tuple(body.outputs[k] for k in kept))
    places = {k: i for i, k in enumerate(kept)}
    # A walk counts no sums, so the outputs are counted too.
    if body is declared and len(kept) == len(body.outputs) and len(given) == len(inputs):
        return ir.with_inputs(node, inputs), places
    return ir.renoted(scan.scan(new, made, [inputs[i] for i in given]), node.note), places


def _inner(body: Graph, live: set[int]) -> Graph:
    """Return a body whose own loops keep only what its live outputs read."""
    roots = [body.outputs[k] for k in sorted(live)]
    if all(n.op is not scan.SCAN for n in ir.topological(roots)):
        return body
    mapping = _trimmed((*body.inputs, *roots))
    return Graph(body.inputs, tuple(mapping.get(n, n) for n in body.outputs))


def _live(body: Graph, walk: scan.Walk, read: set[int]) -> set[int]:
    """Return the outputs that are read, and the carries that they need."""
    live = set(read)
    while True:
        needed = set(ir.topological(body.outputs[k] for k in sorted(live)))
        carried = {i for i in range(walk.carries) if body.inputs[i] in needed} - live
        if not carried:
            return live
        live |= carried
