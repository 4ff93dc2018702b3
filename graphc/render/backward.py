"""The backward pass, read: which node is whose gradient; and its sketch beside the forward pass.

A gradient is known by what it is, not by who made it: the derivation is run again, and a node of
the given graph that equals one of that run (same op, attributes and inputs) is the gradient of
the same tensor. All steps are linear in the number of nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc import ir
from graphc.ir import Node
from graphc.ops import leaf, linear
from graphc.passes import differentiate
from graphc.render import formulas, forward, naming, words
from graphc.render.formulas import PRETTY, Term
from graphc.render.forward import Values
from graphc.render.sketch import Arrow, Box, Sketch, without_loops

_DEEPEST = 3  # nodes written into one rule, one inside the other
_BROAD = "dL/d"


@dataclass(frozen=True, slots=True)
class Reading:
    """A loss and its gradients, read.

    Attributes:
        order: all nodes, inputs before users.
        names: the symbol of each forward statement, in topological order.
        gradients: for each backward node that is one, the forward statements that it is of.
        wanted: the name of each gradient that was asked for.
        stated: the backward nodes that get a box or a step of their own.
    """

    order: tuple[Node, ...]
    names: Mapping[Node, str]
    gradients: Mapping[Node, tuple[Node, ...]]
    wanted: Mapping[Node, str]
    stated: frozenset[Node]


def read(loss: Node, grads: Mapping[str, Node], given: Mapping[Node, str]) -> Reading:
    """Return a loss and its gradients, read; ``given`` names forward nodes in advance."""
    order = ir.topological((loss, *grads.values()))
    inside = set(ir.topological((loss,)))
    ahead = [n for n in order if n in inside or n.note.origin is None]
    derived = [n for n in order if n not in set(ahead)]
    read_later = {c for n in derived for c in n.inputs if c not in set(derived)}
    names = naming.symbols((*ahead[-1:], loss), given)
    names = naming.symbols((loss, *read_later), {**given})
    replayed = replay(loss, names)
    gradients = _matched(order, replayed)
    wanted = {n: name for name, n in reversed(grads.items())}
    kept = {n for n in derived if n in gradients or n in wanted}
    return Reading(tuple(order), names, gradients, wanted, frozenset(_stated(derived, kept)))


def replay(loss: Node, statements: Iterable[Node]) -> dict[Node, Node]:
    """Return the gradient of the loss by each statement that it depends on, derived anew."""
    floats = [n for n in statements if not isinstance(n.type, tuple) and n.tensor.is_float]
    return differentiate.cotangents((loss,), (differentiate.ones(loss),), floats)


def _matched(
    order: Sequence[Node], replayed: Mapping[Node, Node]
) -> dict[Node, tuple[Node, ...]]:
    """Return the nodes of an order that equal a replayed gradient, with what they are of."""
    numbers: dict[Hashable, int] = {}
    own = {_numbered(n, numbers): n for n in reversed(_all_numbered(order, numbers))}
    _all_numbered(ir.topological(replayed.values()), numbers)
    found: dict[Node, list[Node]] = {}
    for statement, gradient in replayed.items():
        node = own.get(numbers[gradient])
        if node is not None:
            found.setdefault(node, []).append(statement)
    return {node: tuple(of) for node, of in found.items()}
