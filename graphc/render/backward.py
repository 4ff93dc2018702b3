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
from graphc.ops import phase
from graphc.passes import differentiate, rewrite, stabilise
from graphc.passes.merge import merge
from graphc.render import formulas, forward, naming, words
from graphc.render.formulas import PRETTY, Term
from graphc.render.forward import Values
from graphc.render.sketch import Arrow, Box, Sketch, without_loops

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
    loss, grads, values = _aligned(loss, grads, values)
    grads = _first_of_equals(loss, grads)
    order = ir.topological((loss, *grads.values()))
    inside = set(ir.topological((loss,)))
    names = naming.own_names(n for n in order if n in inside)
    derived = _derived(order, inside, grads)
    known = inside | derived
    read_later = [c for n in order if n in derived for c in n.inputs if c not in known]
    apart = [n for n in read_later if n.inputs and not naming.is_passing(n)]
    given = {} if not symbol or loss in names else {loss: symbol}
    symbols = naming.symbols((loss, *apart), given)
    asked = {node: grads[name] for node, name in symbols.items() if name in grads}
    gradients, origins = _matched(order, derived, replay(loss, symbols), asked)
    kept = {*gradients, *grads.values()} & derived
    stated = _stated([n for n in order if n in derived], kept)
    return Reading(loss, grads, tuple(order), names, symbols, gradients, origins, stated, values)


def _derived(order: Sequence[Node], inside: set[Node], grads: Mapping[str, Node]) -> set[Node]:
    """Return the nodes of the backward pass."""
    asked = set(grads.values())
    return {n for n in order if n not in inside and (n in asked or n.note.origin is not None)}


def _aligned(
    loss: Node, grads: Mapping[str, Node], values: Values
) -> tuple[Node, dict[str, Node], Values]:
    """Return the loss as it was derived, on the very nodes that its gradients read.

    Before a loss is derived it is exchanged for a form that loses no digits; here it is again.
    """
    stable = rewrite.rewritten((loss,), stabilise.RULES)[loss]
    if _reads_only(loss, grads) and (stable is loss or _is_derived_from(loss, grads)):
        return loss, dict(grads), values
    merged = merge(ir.program_of(*grads.values(), stable))
    *found, loss = merged.functions[0].outputs
    by_number: dict[int, Any] = {}
    table: dict[Hashable, int] = {}
    for node, number in _numbered(ir.topological(values), table).items():
        if node in values:
            by_number[number] = values[node]
    again = _numbered(ir.topological((loss, *found)), table)
    carried = {n: by_number[number] for n, number in again.items() if number in by_number}
    return loss, dict(zip(grads, found, strict=True)), carried


def _first_of_equals(loss: Node, grads: Mapping[str, Node]) -> dict[str, Node]:
    """Return each gradient as the equal node that others read, where there is one."""
    numbers = _numbered(ir.topological((loss, *grads.values())), {})
    first: dict[int, Node] = {}
    for node, number in numbers.items():
        first.setdefault(number, node)
    return {name: first[numbers[node]] for name, node in grads.items()}


def _reads_only(loss: Node, grads: Mapping[str, Node]) -> bool:
    """Tell whether gradients read no computed node but those that the loss reaches itself."""
    inside = set(ir.topological((loss,)))
    order = ir.topological(grads.values())
    derived = _derived(order, inside, grads)
    later = (c for n in order if n in derived for c in n.inputs if c not in derived)
    return all(n in inside or not n.inputs or naming.is_passing(n) for n in later)


def _is_derived_from(loss: Node, grads: Mapping[str, Node]) -> bool:
    """Tell whether gradients equal those that a loss, as it stands, gives."""
    table: dict[Hashable, int] = {}
    replayed = replay(loss, ir.topological((loss,)))
    numbers = _numbered(ir.topological(replayed.values()), table)
    known = {numbers[n] for n in replayed.values()}
    again = _numbered(ir.topological(grads.values()), table)
    return all(again[n] in known for n in grads.values())


def replay(loss: Node, statements: Iterable[Node]) -> dict[Node, Node]:
    """Return the gradient of the loss by each statement that it depends on, derived anew."""
    floats = [n for n in statements if not isinstance(n.type, tuple) and n.tensor.is_float]
    return differentiate.cotangents((loss,), (differentiate.ones(loss),), floats)


def _matched(
    order: Sequence[Node],
    derived: set[Node],
    replayed: Mapping[Node, Node],
    asked: Mapping[Node, Node],
) -> tuple[dict[Node, tuple[Node, ...]], dict[Node, ir.Origin]]:
    """Return what each gradient among the backward nodes is of, and where each node comes from."""
    table: dict[Hashable, int] = {}
    own: dict[int, Node] = {}
    numbers = {n: number for n, number in _numbered(order, table).items() if n in derived}
    for node, number in numbers.items():
        own.setdefault(number, node)
    again = _numbered(ir.topological(replayed.values()), table)
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


def _numbered(order: Iterable[Node], table: dict[Hashable, int]) -> dict[Node, int]:
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


def _stated(derived: Sequence[Node], kept: set[Node]) -> tuple[Node, ...]:
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


def sketch(
    loss: Node, grads: Mapping[str, Node], title: str, values: Values, collapse: int | None
) -> Sketch:
    """Return the picture of a loss and its gradients, each beside what it is the gradient of."""
    reading = read(loss, grads, values, "L")
    shown = [*reading.symbols, *reading.stated]
    groups = _grouping(reading, collapse)
    keys = forward.box_keys(shown, groups)
    boxes = forward.group_boxes(shown, groups, keys)
    writer = _writer(reading, keys)
    for node in shown:
        if node not in groups:
            boxes[keys[node]] = writer.box(node, groups)
    arrows = _arrows(reading, keys)
    return Sketch(forward.in_order(boxes, keys, shown), without_loops(arrows), title)


def _grouping(reading: Reading, collapse: int | None) -> dict[Node, forward.Group]:
    kept = {reading.loss, *reading.asked.values()}
    ahead = {n: forward.scope_of(n.note) for n in reading.symbols}
    back = {n: _scope(n, reading) for n in reading.stated}
    share = 2 if len(ahead) + len(back) > forward.BUDGET else 1
    budget = forward.BUDGET // share
    found = forward.grouping(ahead, kept, collapse, budget)
    later = forward.grouping(back, kept, collapse, budget)
    return {**found, **{n: (f"{g[0]} of gradients", *g[1:]) for n, g in later.items()}}


def _scope(node: Node, reading: Reading) -> tuple[str, ...]:
    of = reading.gradients.get(node)
    return forward.scope_of(of[0].note if of else node.note)


def _arrows(reading: Reading, keys: Mapping[Node, str]) -> list[Arrow]:
    back = set(reading.stated)
    reads: dict[Node, tuple[Node, ...]] = {}
    arrows = []
    for node in reading.order:
        found = dict.fromkeys(m for n in node.inputs for m in ((n,) if n in keys else reads[n]))
        reads[node] = tuple(found)
        if node in keys:
            for source in found:
                kind = "backward" if source in back else "read" if node in back else "forward"
                arrows.append(Arrow(keys[source], keys[node], kind=kind))
    return arrows


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the boxes: statements of the forward pass, rules of the backward pass."""

    reading: Reading
    keys: Mapping[Node, str]
    names: Mapping[Node, str]
    texts: Mapping[Node, Term]
    usual: str

    def box(self, node: Node, groups: Mapping[Node, forward.Group]) -> Box:
        reading = self.reading
        is_back = node not in reading.symbols
        kind = "gradient" if is_back else forward.leaf_kind(node) or "op"
        is_leaf = kind in ("input", "parameter", "state")
        is_asked = node in reading.asked.values()
        return Box(
            key=self.keys[node],
            kind=kind,
            words="" if is_leaf else self.texts[node].text,
            shape=words.type_words(node, self.usual),
            title=self.names[node],
            name=reading.names.get(node, self.names[node]),
            scope=_scope(node, reading),
            is_output=node is reading.loss or is_asked,
            is_named=is_asked or node in reading.names,
            value=forward.value_of(node, reading.values),
            tip=forward.tip(node),
            partner=self._partner(node, groups) if is_back else "",
        )

    def _partner(self, node: Node, groups: Mapping[Node, forward.Group]) -> str:
        of = self.reading.gradients.get(node, ())
        return next((self.keys[n] for n in of if n in self.keys and n not in groups), "")


def _writer(reading: Reading, keys: Mapping[Node, str]) -> _Writer:
    short = naming.shortened(reading.symbols)
    symbols = {n: words.shortened(name) for n, name in short.items()}
    names = {**symbols, **gradient_names(reading, "d", symbols)}
    texts = formulas.written(reading.order, {n: Term(t) for n, t in names.items()}, PRETTY)
    return _Writer(reading, keys, names, texts, words.usual_dtype(reading.order))
