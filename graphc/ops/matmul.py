"""Batched matrix product."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import dims, ir
from graphc.dims import Dim
from graphc.errors import DtypeError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Node, Op, TensorType
from graphc.ops import linear


def _infer(inputs: Sequence[Node], attrs: Attrs) -> TensorType:
    a, b = inputs
    where = ir.current_note().where
    rows = [(a.label, str(a.type), "… M K"), (b.label, str(b.type), "… K N")]
    if len(a.shape) < 2 or len(a.shape) != len(b.shape):
        raise ShapeError("matmul: takes matrices, or stacks of equally many axes", rows=rows)
    if a.dtype != b.dtype or a.dtype == "bool":
        raise DtypeError(f"matmul: does not take {a.dtype} with {b.dtype}", rows=rows)
    if not dims.require_equal(a.shape[-1], b.shape[-2], "matmul: inner sizes agree", where):
        raise ShapeError(
            f"matmul: the left has {dims.text(a.shape[-1])} columns, "
            f"the right {dims.text(b.shape[-2])} rows",
            rows=rows,
            hint="transpose the right one with .T" if a.shape[-1] == b.shape[-1] else None,
        )
    for m, n in zip(a.shape[:-2], b.shape[:-2], strict=True):
        if not dims.require_equal(m, n, "matmul: batches agree", where):
            raise ShapeError(f"matmul: batches of {dims.text(m)} and {dims.text(n)}", rows=rows)
    return TensorType(a.dtype, (*a.shape[:-1], b.shape[-1]))


def _derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    (g,) = cotangents
    if g is None:
        return (None, None)
    a, b = node.inputs
    return matmul(g, flipped(b)), matmul(flipped(a), g)


def _cost(node: Node) -> Dim:
    return dims.multiply(node.tensor.size, node.inputs[0].shape[-1])


MATMUL = Op(
    "matmul",
    _infer,
    _derivative,
    Floats.SUM,
    "y[m, n] = Σ_k a[m, k] b[k, n]",
    "dL/da = dL/dy bᵀ, dL/db = aᵀ dL/dy",
    _cost,
)


def matmul(a: Node, b: Node) -> Node:
    """Multiply matrices, or stacks of matrices pair by pair.

    Shapes: a (…, M, K), b (…, K, N) -> (…, M, N)
    Errors: ShapeError, DtypeError
    """
    return ir.apply(MATMUL, (a, b), {})


def flipped(x: Node) -> Node:
    """Return the matrix, or each of a stack, transposed."""
    rank = len(x.shape)
    return linear.transpose(x, (*range(rank - 2), rank - 1, rank - 2))
