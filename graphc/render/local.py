"""Local derivatives: of one statement by another that it reads, in holes for what is held.

Knows derivatives, and nothing of paths, factors or loops.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from graphc import ir
from graphc.ir import Node
from graphc.ops import leaf
from graphc.passes import differentiate


@dataclass(frozen=True, slots=True)
class Piece:
    """A local derivative: ``derivative`` in holes that stand for statements and for ``•``."""

    derivative: Node
    seed: Node
    holes: Mapping[Node, Node]
    result: Node
    ways: int = 1
    rule: str = ""

    def applied(self, top: Node, incoming: Node) -> Node:
        """Return the derivative on the graph itself, ``incoming`` flowing in."""
        real = {hole: node for node, hole in self.holes.items()}
        return over(self.derivative, {**real, self.result: top, self.seed: incoming})


Pieces = dict[Node, dict[Node, Piece]]


def read_by(node: Node, symbols: Container[Node]) -> list[Node]:
    """Return the statements that a node's own text reads."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    waiting = list(reversed(node.inputs))
    while waiting:
        current = waiting.pop()
        if current in symbols:
            found[current] = None
        elif current not in seen:
            seen.add(current)
            waiting += reversed(current.inputs)
    return list(found)


def derived(top: Node, below: Node, cut: Iterable[Node]) -> Piece | None:
    """Return the derivative of one node by another, with ``cut`` held; None if it is zero."""
    holes = {n: leaf.input(f"hole {i}", n.shape, n.dtype) for i, n in enumerate(cut)}
    result = over(top, holes)
    seed = leaf.input("incoming", top.shape, top.dtype)
    found = differentiate.cotangents((result,), (seed,), [holes[below]])
    derivative = found.get(holes[below])
    return None if derivative is None else Piece(derivative, seed, holes, result)


def over(root: Node, known: Mapping[Node, Node]) -> Node:
    """Return a node with others put in the place of some that it reaches; looks below none."""
    mapping = dict(known)
    waiting = [root]
    while waiting:
        node = waiting[-1]
        missing = [n for n in node.inputs if n not in mapping]
        if node in mapping or not missing:
            waiting.pop()
        if node in mapping:
            continue
        if missing:
            waiting += missing
            continue
        with ir.noting_as(node.note):
            mapping[node] = ir.with_inputs(node, tuple(mapping[n] for n in node.inputs))
    return mapping[root]


def alive(pieces: Pieces, goals: set[Node]) -> Pieces:
    """Return the pieces that lead to one of some nodes."""
    leading_there = set(goals)
    found: Pieces = {}
    for top in reversed(pieces):
        leading = {n: p for n, p in pieces[top].items() if n in leading_there}
        if leading:
            leading_there.add(top)
            found[top] = leading
    return dict(reversed(found.items()))
