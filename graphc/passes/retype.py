"""A program in another float type."""

from __future__ import annotations

from graphc import ir
from graphc.ir import Node, Program
from graphc.ops import leaf
from graphc.passes import rewrite


def retype(program: Program, dtype: str) -> Program:
    """Give every float of a program one dtype.

    Promises: no float type but ``dtype`` occurs.
    Keeps:    everything that is no float.
    """

    def changed(node: Node) -> Node | None:
        if node.op is leaf.CONSTANT:
            value = node.attrs["value"]
            if value.dtype.name in ir.FLOATS and value.dtype.name != dtype:
                return leaf.constant(value, dtype)
            return None
        held = node.attrs.get("dtype")
        if held not in ir.FLOATS or held == dtype:
            return None
        return ir.apply(node.op, node.inputs, {**node.attrs, "dtype": dtype})

    return rewrite.rewrite(program, changed)
