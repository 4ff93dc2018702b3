"""Products with one-hot rows become look-ups: a row is read, or added to, where its one stands.

Named rewrites, off under ``exact``: in a product every other row takes part as 0 · w, which is NaN
for an infinite w and turns -0.0 into 0.0; a look-up reads the row alone.

Rules:
    a sequence one_hot(i) of a loop     -> the sequence i, and one_hot of each step's i
    reshape(one_hot(i))                 -> one_hot(reshape(i)), where the last axis is kept
    one_hot(i) @ w                      -> take(w, i)
    one_hot(i).T @ g                    -> scatter_add(0, i, g)
"""

from __future__ import annotations

from graphc import dims, ir
from graphc.ir import Graph, Node, Program
from graphc.ops import indexing, leaf, linear, matmul, scan
from graphc.passes import rewrite


def lookups(program: Program) -> Program:
    """Read rows instead of multiplying by one-hot ones.

    Keeps: every value in exact arithmetic; rows that are not read may hold NaN or infinity.
    """
    # A loop's body is rewritten before the loop itself, so its steps get their turn after.
    return rewrite.rewrite(rewrite.rewrite(program, one_hot_sequence), *ROWS)


def one_hot_sequence(node: Node) -> Node | None:
    """scan(one_hot(i)) -> scan(i), whose steps are one_hot(i_t)."""
    if node.op is not scan.SCAN:
        return None
    walk, body = scan.walk_of(node.attrs), node.attrs["body"]
    places = range(walk.carries, walk.carries + walk.sequences)
    hot = {k: node.inputs[k] for k in places if node.inputs[k].op is indexing.ONE_HOT}
    hot = {k: n for k, n in hot.items() if len(n.inputs[0].shape) > 0}
    if not hot:
        return None
    inputs, leaves = list(node.inputs), list(body.inputs)
    steps: dict[Node, Node] = {}
    for k, n in hot.items():
        (index,) = n.inputs
        inputs[k] = index
        leaves[k] = leaf.input(body.inputs[k].attrs["name"], index.shape[1:], index.dtype)
        steps[body.inputs[k]] = indexing.one_hot(leaves[k], n.attrs["depth"], n.dtype)
    mapping = ir.substitute(body.outputs, steps)
    made = Graph(tuple(leaves), tuple(mapping[n] for n in body.outputs))
    return scan.scan(walk, made, inputs)


def reshaped_rows(node: Node) -> Node | None:
    """reshape(one_hot(i)) -> one_hot(reshape(i)), where the last axis is kept."""
    if node.op is not linear.RESHAPE or node.inputs[0].op is not indexing.ONE_HOT:
        return None
    (hot,) = node.inputs
    if not node.shape or dims.equal(node.shape[-1], hot.shape[-1]) is not True:
        return None
    index = linear.reshape(hot.inputs[0], node.shape[:-1])
    return indexing.one_hot(index, hot.attrs["depth"], hot.dtype)


def row_read(node: Node) -> Node | None:
    """one_hot(i) @ w -> take(w, i)."""
    if not _is_product(node) or node.inputs[0].op is not indexing.ONE_HOT:
        return None
    hot, w = node.inputs
    return indexing.take(w, hot.inputs[0])


def row_added(node: Node) -> Node | None:
    """one_hot(i).T @ g -> scatter_add(0, i, g)."""
    if not _is_product(node) or node.inputs[0].op is not linear.TRANSPOSE:
        return None
    flipped, g = node.inputs
    (hot,) = flipped.inputs
    if hot.op is not indexing.ONE_HOT:
        return None
    zeros = linear.broadcast_to(leaf.constant(0, node.dtype), node.shape)
    return indexing.scatter_add(zeros, hot.inputs[0], g)


def _is_product(node: Node) -> bool:
    return node.op is matmul.MATMUL and len(node.shape) == 2


ROWS: tuple[rewrite.Rule, ...] = (reshaped_rows, row_read, row_added)
