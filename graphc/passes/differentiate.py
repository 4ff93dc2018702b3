"""Reverse-mode differentiation of a graph, as a graph.

Knows how cotangents are gathered, and no single op's rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphc import ir
from graphc.ir import Graph, Node, Origin
from graphc.ops import elementwise, leaf, linear, scan

# The cotangent gathered so far of each result of a node.
Table = dict[tuple[Node, int], Node]


def differentiate(graph: Graph, seeds: Sequence[Node | None]) -> Graph:
    """Return the graph of the derivatives of ``Σ seeds · outputs`` by each input.

    An input of the graph may be any node; paths to it through other inputs count too. An output
    of the result is zeros where nothing reaches its input.

    Needs:    a float type of each output that has a seed.
    Promises: each new node's origin says whose cotangent it is.
    Keeps:    the forward nodes, which the derivative reads.
    """
    found = cotangents(graph.outputs, seeds, graph.inputs)
    zeros = [elementwise.filled(0, n) if found.get(n) is None else found[n] for n in graph.inputs]
    return Graph((*graph.inputs, *(s for s in seeds if s is not None)), tuple(zeros))


def cotangents(
    outputs: Sequence[Node], seeds: Sequence[Node | None], wrt: Iterable[Node]
) -> dict[Node, Node]:
    """Return the cotangent of each node of ``wrt`` that the outputs depend on."""
    wrt = set(wrt)
    order = ir.topological(outputs)
    useful = _between(order, wrt)
    wanted = useful | wrt
    table: Table = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _add(table, (output, 0), seed)
    found: dict[Node, Node] = {}
    for node in reversed(order):
        gathered = _gathered(table, node)
        if all(g is None for g in gathered):
            continue
        if node in wrt and gathered[0] is not None:
            found[node] = gathered[0]
        if node in useful and node.op is scan.RESULT:
            _add(table, (node.inputs[0], node.attrs["index"]), gathered[0])
        elif node in useful:
            _push(table, node, gathered, wanted)
    return found


def depends(order: Iterable[Node], wrt: Iterable[Node]) -> set[Node]:
    """Return the nodes of an order that some node of ``wrt`` reaches through floats."""
    wrt = set(wrt)
    return _between(order, wrt) | wrt


def _between(order: Iterable[Node], wrt: set[Node]) -> set[Node]:
    """Return the nodes whose rule is worth asking: an input leads to ``wrt`` through floats."""
    useful: set[Node] = set()
    for node in order:
        stops = node.op.name == "stop_gradient"
        if not stops and any((n in useful or n in wrt) and _carries(n) for n in node.inputs):
            useful.add(node)
    return useful


def _carries(node: Node) -> bool:
    return any(t.is_float for t in node.types)


def _gathered(table: Table, node: Node) -> tuple[Node | None, ...]:
    return tuple(table.pop((node, k), None) for k in range(len(node.types)))


def _push(
    table: Table,
    node: Node,
    gathered: tuple[Node | None, ...],
    wanted: set[Node],
) -> None:
    origin = Origin(node.note, f"d{node.op.name}")
    with ir.noting_as(replace(node.note, name=None, origin=origin)):
        answers = node.op.derivative(node, gathered, differentiate)
    for child, answer in zip(node.inputs, answers, strict=True):
        if child in wanted:
            _add(table, (child, 0), answer)


def _add(table: Table, key: tuple[Node, int], cotangent: Node | None) -> None:
    if cotangent is None:
        return
    node, held = key[0], table.get(key)
    if held is None:
        table[key] = cotangent
        return
    origin = Origin(node.note, f"dL/d{node.label}")
    with ir.noting_as(replace(node.note, name=None, origin=origin)):
        table[key] = elementwise.apply(elementwise.ADD, held, cotangent)


def ones(node: Node) -> Node:
    """Return the seed of a scalar: 1."""
    return linear.broadcast_to(leaf.constant(1, node.dtype), node.shape)
