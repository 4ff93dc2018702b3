"""Small loops at the IR level: what `op_samples` takes for the op ``scan``."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import ir
from graphc.dims import Dim
from graphc.ir import Graph, Node
from graphc.ops import elementwise as e
from graphc.ops import leaf, linear, matmul, scan


def _leaf(name: str, dtype: str, *shape: Dim) -> Node:
    return leaf.input(name, shape, dtype)


def _t() -> Node:
    return _leaf("t", "int64")


def both(node: Node, wanted: Sequence[int]) -> Node:
    """Return some results of a loop as one flat tensor."""
    flat = [scan.result(node, k) for k in wanted]
    return linear.concatenate([linear.reshape(n, (n.tensor.size,)) for n in flat], 0)


def elman(dtype: str, length: Dim, *, reverse: bool = False, truncate: int = 0) -> Node:
    """Return h = tanh(x U + h W): last carry, stacked h, and Σ h over time."""
    h0, xs = _leaf("h0", dtype, 2, 3), _leaf("xs", dtype, length, 2, 2)
    u, w = _leaf("u", dtype, 2, 3), _leaf("w", dtype, 3, 3)
    h, x, cu, cw = (
        _leaf("h", dtype, 2, 3),
        _leaf("x", dtype, 2, 2),
        _leaf("cu", dtype, 2, 3),
        _leaf("cw", dtype, 3, 3),
    )
    net = e.apply(e.ADD, matmul.matmul(x, cu), matmul.matmul(h, cw))
    new = e.apply(e.TANH, net)
    body = Graph((h, x, cu, cw, _t()), (new, new, e.apply(e.MULTIPLY, new, net)))
    walk = scan.Walk(length, 1, 1, 1, reverse, truncate)
    return both(scan.scan(walk, body, (h0, xs, u, w)), (0, 1, 2))


def two_carries(dtype: str, length: Dim) -> Node:
    """Return a loop of two carries that change places, one that uses t, and no sequence."""
    a0, b0 = _leaf("a0", dtype, 3), _leaf("b0", dtype, 3)
    a, b, t = _leaf("a", dtype, 3), _leaf("b", dtype, 3), _t()
    step = linear.broadcast_to(linear.cast(t, dtype), (3,))
    new_a = e.apply(e.SIN, e.apply(e.ADD, b, step))
    new_b = e.apply(e.MULTIPLY, a, b)
    body = Graph((a, b, t), (new_a, new_b, new_b))
    node = scan.scan(scan.Walk(length, 2, 0, 1), body, (a0, b0))
    return both(node, (0, 1, 2))


def nested(dtype: str, length: Dim) -> Node:
    """Return a loop inside a loop: the inner one runs over the outer one's step."""
    h0, xs, w = _leaf("h0", dtype, 2), _leaf("xs", dtype, length, 4, 2), _leaf("w", dtype, 2)
    h, x, cw = _leaf("h", dtype, 2), _leaf("x", dtype, 4, 2), _leaf("cw", dtype, 2)
    k, v, iw = _leaf("k", dtype, 2), _leaf("v", dtype, 2), _leaf("iw", dtype, 2)
    inner = e.apply(e.TANH, e.apply(e.ADD, e.apply(e.MULTIPLY, k, iw), v))
    loop = scan.scan(scan.Walk(4, 1, 1, 1), Graph((k, v, iw, _t()), (inner, inner)), (h, x, cw))
    last, steps = scan.results(loop)
    total = linear.sum(steps, (0,))
    body = Graph((h, x, cw, _t()), (e.apply(e.MULTIPLY, last, cw), total))
    return both(scan.scan(scan.Walk(length, 1, 1, 1), body, (h0, xs, w)), (0, 1))


def counting(length: Dim) -> Node:
    """Return an integer loop: the sum and the stacked squares of t."""
    c0, c, t = _leaf("c0", "int64"), _leaf("c", "int64"), _t()
    body = Graph((c, t), (e.apply(e.ADD, c, t), e.apply(e.MULTIPLY, t, t)))
    return both(scan.scan(scan.Walk(length, 1, 0, 1), body, (c0,)), (0, 1))


def is_loop(node: Node) -> bool:
    """Tell whether a graph holds a loop."""
    return any(n.op is scan.SCAN for n in ir.topological([node]))
