"""The backward pass, read: which node is whose gradient.

Knows graphs, and no picture or derivation.

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
from graphc.ops import phase
from graphc.passes import differentiate, rewrite, stabilise
from graphc.passes.merge import merge
from graphc.render import formulas, naming

Values = Mapping[Node, Any]

_DEEPEST = 3  # nodes written into one rule, one inside the other


@dataclass(frozen=True, slots=True)
class Reading:
    """A loss and its gradients, read.

    Attributes:
        loss: the loss in the form that was derived.
        asked: the gradients that were asked for, by name.
        order: all nodes, inputs before users.
        names: what the user called forward nodes.
        symbols: the symbol of each forward statement, in topological order.
        gradients: for each backward node that is one, the forward statements that it is of, the
            nearest to the loss first.
        origins: for each backward node the forward node and the role that it comes from.
        stated: the backward nodes that get a box or a step of their own, in topological order.
        values: the numbers of nodes, where they are known.
    """

    loss: Node
    asked: Mapping[str, Node]
    order: tuple[Node, ...]
    names: Mapping[Node, str]
    symbols: Mapping[Node, str]
    gradients: Mapping[Node, tuple[Node, ...]]
    origins: Mapping[Node, ir.Origin]
    stated: tuple[Node, ...]
    values: Values


def read(loss: Node, grads: Mapping[str, Node], values: Values, symbol: str = "") -> Reading:
    """Return a loss and its gradients, read; ``symbol`` names the loss, if it has no name."""
    loss, grads, values = aligned(loss, grads, values)
    order = ir.topological((loss, *grads.values()))
    inside = set(ir.topological((loss,)))
    names = naming.own_names(n for n in order if n in inside)
    derived = derived_of(order, inside, grads)
    given = {} if not symbol or loss in names else {loss: symbol}
    symbols = naming.symbols((loss, *read_apart(order, inside | derived, derived)), given)
    asked = {node: grads[name] for node, name in symbols.items() if name in grads}
    gradients, origins = matched(order, derived, replay(loss, symbols), asked)
    kept = {*gradients, *grads.values()} & derived
    stated = stated_of([n for n in order if n in derived], kept)
    return Reading(loss, grads, tuple(order), names, symbols, gradients, origins, stated, values)


def read_apart(order: Iterable[Node], known: set[Node], derived: set[Node]) -> list[Node]:
    """Return what the backward pass reads that belongs to neither pass, but for plumbing."""
    later = [c for n in order if n in derived for c in n.inputs if c not in known]
    return [n for n in later if n.inputs and not naming.is_passing(n)]


def derived_of(order: Sequence[Node], inside: set[Node], grads: Mapping[str, Node]) -> set[Node]:
    """Return the nodes of the backward pass."""
    asked = set(grads.values())
    return {n for n in order if n not in inside and (n in asked or n.note.origin is not None)}


def aligned(
    loss: Node, grads: Mapping[str, Node], values: Values
) -> tuple[Node, dict[str, Node], Values]:
    """Return the loss as it was derived, on the very nodes that its gradients read.

    Before a loss is derived it is exchanged for a form that loses no digits; here it is again.
    Of equal gradients, all are the first.
    """
    loss, found, values = _as_derived(loss, grads, values)
    return loss, _first_of_equals(loss, found), values


def _as_derived(
    loss: Node, grads: Mapping[str, Node], values: Values
) -> tuple[Node, dict[str, Node], Values]:
    stable = rewrite.rewritten((loss,), stabilise.RULES)[loss]
    if _reads_only(loss, grads) and (stable is loss or _is_derived_from(loss, grads)):
        return loss, dict(grads), values
    merged = merge(ir.program_of(*grads.values(), stable))
    *found, loss = merged.functions[0].outputs
    by_number: dict[int, Any] = {}
    table: dict[Hashable, int] = {}
    for node, number in numbered(ir.topological(values), table).items():
        if node in values:
            by_number[number] = values[node]
    again = numbered(ir.topological((loss, *found)), table)
    carried = {n: by_number[number] for n, number in again.items() if number in by_number}
    return loss, dict(zip(grads, found, strict=True)), carried


def _first_of_equals(loss: Node, grads: Mapping[str, Node]) -> dict[str, Node]:
    """Return each gradient as the equal node that others read, where there is one."""
    numbers = numbered(ir.topological((loss, *grads.values())), {})
    first: dict[int, Node] = {}
    for node, number in numbers.items():
        first.setdefault(number, node)
    return {name: first[numbers[node]] for name, node in grads.items()}


def _reads_only(loss: Node, grads: Mapping[str, Node]) -> bool:
    """Tell whether gradients read no computed node but those that the loss reaches itself."""
    inside = set(ir.topological((loss,)))
    order = ir.topological(grads.values())
    derived = derived_of(order, inside, grads)
    later = (c for n in order if n in derived for c in n.inputs if c not in derived)
    return all(n in inside or not n.inputs or naming.is_passing(n) for n in later)


def _is_derived_from(loss: Node, grads: Mapping[str, Node]) -> bool:
    """Tell whether gradients equal those that a loss, as it stands, gives."""
    table: dict[Hashable, int] = {}
    replayed = replay(loss, ir.topological((loss,)))
    numbers = numbered(ir.topological(replayed.values()), table)
    known = {numbers[n] for n in replayed.values()}
    again = numbered(ir.topological(grads.values()), table)
    return all(again[n] in known for n in grads.values())


def replay(loss: Node, statements: Iterable[Node]) -> dict[Node, Node]:
    """Return the gradient of the loss by each statement that it depends on, derived anew."""
    floats = [n for n in statements if not isinstance(n.type, tuple) and n.tensor.is_float]
    return differentiate.cotangents((loss,), (differentiate.ones(loss),), floats)


def matched(
    order: Sequence[Node],
    derived: set[Node],
    replayed: Mapping[Node, Node],
    asked: Mapping[Node, Node],
) -> tuple[dict[Node, tuple[Node, ...]], dict[Node, ir.Origin]]:
    """Return what each gradient among the backward nodes is of, and where each node comes from."""
    table: dict[Hashable, int] = {}
    own: dict[int, Node] = {}
    numbers = {n: number for n, number in numbered(order, table).items() if n in derived}
    for node, number in numbers.items():
        own.setdefault(number, node)
    again = numbered(ir.topological(replayed.values()), table)
    found: dict[Node, list[Node]] = {}
    chosen = set(asked.values())
    for statement, gradient in replayed.items():
        held = asked.get(statement) or own.get(again[gradient])
        while held is not None and held.op is phase.TRAINING_ONLY and held not in chosen:
            held = held.inputs[0]
        if held is not None:
            found.setdefault(held, []).append(statement)
    known = {number: n.note.origin for n, number in again.items() if n.note.origin is not None}
    origins = {n: known.get(number) or n.note.origin for n, number in numbers.items()}
    return (
        {node: tuple(of) for node, of in found.items()},
        {node: origin for node, origin in origins.items() if origin is not None},
    )


def numbered(order: Iterable[Node], table: dict[Hashable, int]) -> dict[Node, int]:
    """Return a number for each node; equal numbers are equal graphs over the same leaves."""
    found: dict[Node, int] = {}
    for node in order:
        key: Hashable = node
        if node.inputs or node.op.name in ("constant", "size", "iota"):
            attrs = tuple((k, _key(v)) for k, v in sorted(node.attrs.items()))
            key = (node.op, tuple(found[n] for n in node.inputs), attrs)
        found[node] = table.setdefault(key, len(table))
    return found


def _key(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return (value.dtype.name, value.shape, value.tobytes())
    return value if isinstance(value, Hashable) else id(value)


def stated_of(derived: Sequence[Node], kept: set[Node]) -> tuple[Node, ...]:
    """Return the backward nodes that are not written into their users."""
    users = Counter(n for node in derived for n in node.inputs)
    depth: dict[Node, int] = {}
    stated = []
    for node in derived:
        inside = max((depth.get(n, 0) for n in node.inputs), default=0)
        passing = naming.is_passing(node) or formulas.literal_text(node) is not None
        depth[node] = inside if passing else inside + 1
        if node in kept or (not passing and (users[node] > 1 or inside >= _DEEPEST)):
            stated.append(node)
            depth[node] = 0
    return tuple(stated)


def gradient_names(reading: Reading, sign: str, symbols: Mapping[Node, str]) -> dict[Node, str]:
    """Return the name of each stated backward node: ``dL/ds1``, or ``g1`` for an inner value."""
    found: dict[Node, str] = {}
    taken = set(symbols.values())
    number = 0
    for node in reading.stated:
        of = reading.gradients.get(node)
        if of:
            found[node] = f"{sign}L/{sign}{symbols[of[0]]}"
            continue
        number += 1
        while f"g{number}" in taken:
            number += 1
        found[node] = f"g{number}"
    return found
