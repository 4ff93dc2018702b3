"""Chains that lead through loops: a sum over the steps, and one factor for each step back.

Within a step a chain is as any other. What leads from a step to the one before is a factor of its
own, ``∂h/∂h[t − 1]``, which stands as often as there are steps in between: the chain is the sum
over the steps t and over how far back k the target is used. Knows how loops are opened, and
nothing of paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphc import ir
from graphc.ir import Node
from graphc.ops import leaf
from graphc.passes import differentiate
from graphc.render import formulas, loops
from graphc.render.backward import Reading
from graphc.render.chain import INCOMING, Chain, Factor, Quantity
from graphc.render.formulas import PRETTY, Term
from graphc.render.loops import Loop, Opened

_LONGEST = 200  # characters of a rule


def rule(node: Node, opened: Opened) -> str:
    """Return what passes where a loop is entered or left; nothing for any other node."""
    if node.op in loops.RESULTS:
        loop = opened.made_by[node]
        if node.op is loops.STACKED:
            return f"{INCOMING} at step {loop.letter}"
        return f"{INCOMING} at every step" if node.op is loops.SUMMED else f"{INCOMING} at the end"
    if node.op is loops.STEP:
        return f"{INCOMING} of all steps, stacked"
    return f"{INCOMING} before the first step" if node.op is loops.CARRY else ""


def over_time(
    made: Chain,
    reading: Reading,
    opened: Opened,
    symbols: Mapping[Node, str],
    shown: Sequence[Node],
) -> Chain:
    """Return a chain with its loops' factors of time, and the numbers that are known.

    Args:
        made: the chain within a step.
        reading: the loss and its gradient.
        opened: their graph.
        symbols: what factors call the nodes.
        shown: the nodes that the chain leads through.
    """
    found = [loop for loop in _crossed(opened, shown) if _moved(loop, symbols)]
    steps = [_factors(loop, symbols) for loop in found]
    repeated = [replace(f, loop=i) for i, factors in enumerate(steps) for f in factors]
    entries = {n: s for loop in found for n, s in _entries(loop, symbols).items()}
    quantities = [_measured(q, _node_of(q, symbols, shown), reading) for q in made.quantities]
    shown_already = {q.symbol for q in made.quantities}
    entries = {n: s for n, s in entries.items() if s not in shown_already}
    before = [_entry(node, symbol) for node, symbol in entries.items()]
    ends = {loop.renewed[i]: loop for loop in found for i in _moved(loop, symbols)}
    for node in (n for n in ends if symbols[n] not in shown_already):
        said = "handed on to the step after"
        before.append(Quantity(symbols[node], "op", said, str(node.type), node.note.where or ""))
        entries[node] = symbols[node]
    paths = made.paths
    for factors in steps:
        paths = _through_all_carries(paths, {f.numerator for f in factors})
    return replace(
        made,
        paths=paths,
        count=made.count + len(paths) - len(made.paths),
        quantities=(
            *(_measured(q, n, reading) for q, n in zip(before, entries, strict=True)),
            *quantities,
        ),
        repeated=tuple(repeated),
        over=tuple(loop.block.words for loop in found),
    )


def _through_all_carries(
    paths: tuple[tuple[Factor, ...], ...], carries: set[str]
) -> tuple[tuple[Factor, ...], ...]:
    """Return paths that leave the steps back by each carry, not only by the one they enter by.

    Before the first step back a gradient is at one carry; after it, at all of them.
    """
    more: dict[tuple[Factor, ...], None] = dict.fromkeys(paths)
    for path in paths:
        places = [i for i, f in enumerate(path) if f.denominator in carries]
        for other in places[1:]:
            more[(*path[: places[0] + 1], *path[other + 1 :])] = None
    return tuple(more)


def _crossed(opened: Opened, shown: Sequence[Node]) -> list[Loop]:
    found = dict.fromkeys(loop for n in shown for loop in opened.around(n))
    return [loop for loop in found if loop.partner is None]


def _moved(loop: Loop, symbols: Mapping[Node, str]) -> list[int]:
    """Return the places of the carries that a gradient crosses the steps by."""
    places = range(loop.walk.carries)
    return [i for i in places if loop.renewed[i] in symbols and loop.renewed[i].tensor.is_float]


def _entries(loop: Loop, symbols: Mapping[Node, str]) -> dict[Node, str]:
    """Return the carries before the step, with their symbols."""
    sign = "+" if loop.walk.reverse else "−"
    return {
        loop.carries[i]: symbols.get(loop.carries[i])
        or f"{symbols[loop.renewed[i]]}[{loop.letter} {sign} 1]"
        for i in _moved(loop, symbols)
    }


def _factors(loop: Loop, symbols: Mapping[Node, str]) -> list[Factor]:
    entries = _entries(loop, symbols)
    found = []
    for i in _moved(loop, symbols):
        new = loop.renewed[i]
        seed = leaf.input("incoming", new.shape, new.dtype)
        slopes = differentiate.cotangents((new,), (seed,), entries)
        for carry, slope in ((c, slopes[c]) for c in entries if c in slopes):
            names = {**{n: Term(s) for n, s in symbols.items()}, seed: Term(INCOMING)}
            text = formulas.written(ir.topological((slope,)), names, PRETTY)[slope].text
            found.append(
                Factor(
                    symbol=f"∂{symbols[new]}/∂{entries[carry]}",
                    numerator=symbols[new],
                    denominator=entries[carry],
                    rule=text if len(text) <= _LONGEST else f"{INCOMING} through one step",
                    type=str(carry.type),
                    reused=True,
                )
            )
    return found


def _entry(node: Node, symbol: str) -> Quantity:
    first = formulas.literal_text(_below(node.inputs[0]))
    said = "handed on by the step before" + (f", {first} at first" if first is not None else "")
    return Quantity(symbol, "carry", said, str(node.type), node.note.where or "")


def _below(node: Node) -> Node:
    while node.inputs and formulas.literal_text(node) is None:
        node = node.inputs[0]
    return node


def _node_of(quantity: Quantity, symbols: Mapping[Node, str], shown: Sequence[Node]) -> Node | None:
    return next((n for n in shown if symbols[n] == quantity.symbol), None)


def _measured(quantity: Quantity, node: Node | None, reading: Reading) -> Quantity:
    """Return a quantity with its numbers, those of a loop at all steps."""
    if node is None or node not in reading.values:
        return quantity
    back = next((g for g, of in reading.gradients.items() if node in of), None)
    slope: Any = None if back is None else reading.values.get(back)
    return replace(quantity, value=reading.values[node], gradient=slope)
