"""Nodes of several results, as a loop is one: only ``result`` reads them."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import ir
from graphc.errors import GraphError, InternalError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType


def _result_type(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    (node,) = inputs
    if not isinstance(node.type, tuple) or not 0 <= attrs["index"] < len(node.type):
        raise GraphError(f"result: {node.op.name} has no result {attrs['index']}")
    return node.type[attrs["index"]]


def _result_derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    raise InternalError("result: differentiate gathers the cotangents of a node's results itself")


RESULT = Op("result", _result_type, _result_derivative, Floats.EXACT, "y = result k of a node")


def result(node: Node, index: int) -> Node:
    """Return one result of a node of several."""
    return ir.apply(RESULT, (node,), {"index": index})
