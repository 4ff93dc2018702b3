"""Loops that walk the same way over the same inputs become one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace

from graphc import ir
from graphc.ir import Graph, Node, Program
from graphc.ops import scan
from graphc.passes import rewrite
from graphc.passes.merge import merging


def unite(program: Program) -> Program:
    """Make one loop of loops with equal inputs and new carries: it gives what all of them give.

    A loop and the forward pass that its derivative needs are such a pair.

    Keeps: the value of every result.
    """
    while replaced := _united(program.roots):
        program = rewrite.mapped(program, ir.substitute(program.roots, replaced))
    return program


def _united(roots: Iterable[Node]) -> dict[Node, Node]:
    """Return replacements of results for the first groups of loops that can be united."""
    order = ir.topological(roots)
    groups: dict[Hashable, list[Node]] = {}
    for node in order:
        if node.op is scan.SCAN:
            walk = replace(scan.walk_of(node.attrs), stacked=0)
            groups.setdefault((node.inputs, walk), []).append(node)
    replaced: dict[Node, Node] = {}
    for group in groups.values():
        if len(group) > 1:
            leaves = group[0].attrs["body"].inputs
            for members, outputs in _alike(group, leaves):
                replaced |= _one(members, outputs, leaves, order)
    return replaced


Outputs = list[tuple[Node, ...]]


def _alike(group: list[Node], leaves: tuple[Node, ...]) -> list[tuple[list[Node], Outputs]]:
    """Return the loops that compute the same carries, with their outputs over common leaves."""
    carries = group[0].attrs["carries"]
    found: dict[tuple[Node, ...], tuple[list[Node], Outputs]] = {}
    for node, outputs in zip(group, _common(group, leaves), strict=True):
        members, ours = found.setdefault(outputs[:carries], ([], []))
        members.append(node)
        ours.append(outputs)
    return [pair for pair in found.values() if len(pair[0]) > 1]


def _one(
    members: list[Node], ours: Outputs, leaves: tuple[Node, ...], order: list[Node]
) -> dict[Node, Node]:
    """Return what the results of some loops become, read from one loop."""
    first = members[0]
    walk = scan.walk_of(first.attrs)
    counts = [scan.walk_of(n.attrs).stacked for n in members]
    ends = [walk.carries + c for c in counts]
    stacked = list(
        dict.fromkeys(n for o, e in zip(ours, ends, strict=True) for n in o[walk.carries : e])
    )
    summed = list(dict.fromkeys(n for o, e in zip(ours, ends, strict=True) for n in o[e:]))
    body = Graph(leaves, (*ours[0][: walk.carries], *stacked, *summed))
    with ir.noting_as(first.note):
        made = ir.renoted(
            scan.scan(replace(walk, stacked=len(stacked)), body, first.inputs), first.note
        )
        return _moved(made, members, ours, ends, order)


def _moved(
    made: Node,
    members: list[Node],
    ours: list[tuple[Node, ...]],
    ends: list[int],
    order: list[Node],
) -> dict[Node, Node]:
    walk = scan.walk_of(made.attrs)
    outputs = made.attrs["body"].outputs
    middle = walk.carries + walk.stacked
    stacked = {n: k for k, n in enumerate(outputs[:middle]) if k >= walk.carries}
    summed = {n: k for k, n in enumerate(outputs) if k >= middle}
    results = scan.results(made)
    place = {n: i for i, n in enumerate(members)}
    replaced = {}
    for node in order:
        if node.op is scan.RESULT and node.inputs[0] in place:
            i, index = place[node.inputs[0]], node.attrs["index"]
            if index >= walk.carries:
                table = stacked if index < ends[i] else summed
                index = table[ours[i][index]]
            replaced[node] = results[index]
    return replaced


def _common(group: list[Node], leaves: tuple[Node, ...]) -> list[tuple[Node, ...]]:
    """Return the outputs of all bodies over one set of leaves, equal nodes made one."""
    moved = []
    for node in group:
        body: Graph = node.attrs["body"]
        mapping = ir.substitute(body.outputs, dict(zip(body.inputs, leaves, strict=True)))
        moved.append(tuple(mapping[n] for n in body.outputs))
    shared = rewrite.rewritten([n for outputs in moved for n in outputs], (merging(),))
    return [tuple(shared[n] for n in outputs) for outputs in moved]
