"""A program with some of its named dimensions fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy

from graphc import dims, ir
from graphc.ir import Node, Program
from graphc.passes import rewrite


def bind(program: Program, sizes: Mapping[str, int]) -> Program:
    """Put numbers in the place of names of dimensions.

    Promises: none of the names occurs any more.
    """

    def bound(node: Node) -> Node | None:
        attrs = {name: _bound(value, sizes) for name, value in node.attrs.items()}
        if all(attrs[name] is value for name, value in node.attrs.items()):
            return None
        return ir.apply(node.op, node.inputs, attrs)

    return rewrite.rewrite(program, bound)


def _bound(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, sympy.Expr):
        new = dims.substitute(value, sizes)
        return value if new == value else new
    if isinstance(value, tuple):
        parts = tuple(_bound(v, sizes) for v in value)
        return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
    return value
