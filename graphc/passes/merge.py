"""Equal nodes become one (common subexpressions)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from graphc.ir import Node, Program
from graphc.ops import leaf
from graphc.passes import rewrite

_BY_IDENTITY = (leaf.INPUT, leaf.PARAMETER, leaf.STATE)


def merge(program: Program) -> Program:
    """Keep one of several nodes of equal op, inputs and attributes: the first, with its note.

    Keeps: leaves that a user declared, and draws of different streams, apart.
    """
    return rewrite.rewrite(program, merging())


def merging() -> rewrite.Rule:
    """Return a rule that gives the first of equal nodes, of all that it is asked about."""
    table: dict[Hashable, Node] = {}

    def merged(node: Node) -> Node | None:
        if node.op in _BY_IDENTITY:
            return None
        attrs = tuple((k, _key(v)) for k, v in sorted(node.attrs.items()))
        return table.setdefault((node.op, node.inputs, attrs), node)

    return merged


def _key(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return (value.dtype.name, value.shape, value.tobytes())
    if isinstance(value, float):
        return value.hex()  # 0.0 and -0.0 are equal and differ
    return value  # type: ignore[no-any-return]
