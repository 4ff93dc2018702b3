"""Which sizes a picture of unrolled loops shows: those that are given, and those that stay open.

Knows dimensions of graphs, and no box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import dims, ir
from graphc.ir import Node
from graphc.ops import leaf, scan
from graphc.passes.bind import bind

SHOWN = 3  # steps of a loop whose length stays open


def seen(outputs: Iterable[Node], arrays: Mapping[Any, Any]) -> dict[str, int]:
    """Return the sizes that arrays of inputs say; what does not fit is left to the evaluation."""
    found: dict[str, int] = {}
    for node in ir.topological(outputs):
        given = arrays.get(node.attrs["name"]) if node.op is leaf.INPUT else None
        shape = np.shape(given) if given is not None else ()
        for dim, size in zip(node.shape if shape else (), shape, strict=False):
            if size >= 1 and not isinstance(dim, int) and dim.is_Symbol:
                found.setdefault(str(dim), size)
    return found


def title_of(sizes: Mapping[str, int], chosen: Mapping[str, int]) -> str:
    """Return what stands over a picture: which sizes it shows, and which were chosen for it."""
    every = {**sizes, **chosen}
    if not every:
        return "unrolled"
    said = ", ".join(f"{name} = {size}" for name, size in every.items())
    left = ", ".join(chosen)
    number = "was" if len(chosen) == 1 else "were"
    return f"unrolled, {said}" + (f" ({left} {number} left open)" if chosen else "")


def bound(
    outputs: Mapping[str, Node], sizes: Mapping[str, int]
) -> tuple[dict[str, Node], dict[str, int]]:
    """Return outputs with sizes put in, and the sizes that were chosen since they stayed open."""
    found = _bound(tuple(outputs.values()), sizes)
    chosen: dict[str, int] = {}
    while names := _open_lengths(found):
        chosen |= dict.fromkeys(names, SHOWN)
        found = _bound(found, dict.fromkeys(names, SHOWN))
    return dict(zip(outputs, found, strict=True)), chosen


def _bound(nodes: Sequence[Node], sizes: Mapping[str, int]) -> tuple[Node, ...]:
    return bind(ir.program_of(*nodes), sizes).functions[0].outputs if sizes else tuple(nodes)


def _open_lengths(nodes: Sequence[Node]) -> tuple[str, ...]:
    return dims.names(scan.lengths(ir.topological(nodes)))
