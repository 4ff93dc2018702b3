"""Random graphs: for hypothesis, which makes them small, and by seed, for programs of many.

Only what is well-conditioned is drawn: bounded functions, means rather than long sums, values of
about 1. Ops that choose the largest get no tensor with repeated elements, where a difference of
one rounding would move a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from graphc import dims, ir
from graphc.ir import Node
from graphc.ops import conv, elementwise, indexing, leaf, linear, matmul, pool, reduce

T = TypeVar("T")
Choose = Callable[[Sequence[Any]], Any]
Array = npt.NDArray[Any]
LARGEST = 150  # elements of a tensor
N = dims.symbol("N")

SMOOTH = ("tanh", "sigmoid", "softplus", "sin", "cos", "atan", "erf", "gelu", "silu", "negative")
KINKED = ("relu", "abs")
PAIRS = ("add", "subtract", "multiply")
SHAPES = ((3,), (2, 3), (N, 3), (5, 2), (2, N, 3), (1, 2, 5, 4), (N, 1, 4, 4))


@dataclass
class Growth:
    """A graph that grows.

    Attributes:
        choose: picks one of several.
        dtype: of all its floats.
        smooth: whether only what has continuous derivatives may be drawn.
        size: the size of N.
        nodes: the float tensors so far.
        varied: those of them whose elements all differ.
    """

    choose: Choose
    dtype: str
    smooth: bool
    size: int
    nodes: list[Node] = field(default_factory=list)
    varied: set[Node] = field(default_factory=set)

    def leaf(self, *shape: dims.Dim) -> Node:
        node = leaf.input(f"x{len(self.leaves())}", shape, self.dtype)
        return self.add(node, varied=True)

    def add(self, node: Node, *, varied: bool = False) -> Node:
        self.nodes.append(node)
        if varied:
            self.varied.add(node)
        return node

    def leaves(self) -> list[Node]:
        found = ir.topological(self.nodes)
        return [n for n in found if n.op is leaf.INPUT]

    def shape(self, node: Node) -> tuple[int, ...]:
        return tuple(dims.evaluate(d, {"N": self.size}) for d in node.shape)

    def step(self) -> None:
        """Apply one op to something; what does not fit does nothing."""
        x = self.choose(self.nodes)
        self.choose(_STEPS)(self, x)
        if np.prod(self.shape(self.nodes[-1]), dtype=int) > LARGEST:
            self.varied.discard(self.nodes.pop())


def _unary(grown: Growth, x: Node) -> None:
    names = SMOOTH if grown.smooth else (*SMOOTH, *KINKED)
    made = elementwise.FORMULAS[grown.choose(names)]
    injective = x in grown.varied and made.name in ("tanh", "sigmoid", "softplus", "atan")
    grown.add(elementwise.apply(made, x), varied=injective)


def _binary(grown: Growth, x: Node) -> None:
    other = grown.choose([n for n in grown.nodes if n.shape == x.shape])
    made = elementwise.FORMULAS[grown.choose(PAIRS)]
    grown.add(elementwise.apply(made, x, other))


def _larger(grown: Growth, x: Node) -> None:
    others = [n for n in grown.varied if n.shape == x.shape and n is not x]
    if x in grown.varied and others and not grown.smooth:
        other = sorted(others, key=grown.nodes.index)[0]
        grown.add(elementwise.apply(elementwise.MAXIMUM, x, other))


def _matmul(grown: Growth, x: Node) -> None:
    if len(x.shape) >= 2:
        w = grown.leaf(*x.shape[:-2], x.shape[-1], grown.choose((1, 2, 3)))
        grown.add(matmul.matmul(x, w))


def _reduce(grown: Growth, x: Node) -> None:
    if x.shape:
        axis = grown.choose(range(len(x.shape)))
        grown.add(grown.choose((reduce.mean, reduce.logsumexp, linear.sum))(x, (axis,)))


def _max(grown: Growth, x: Node) -> None:
    if x.shape and x in grown.varied and not grown.smooth:
        grown.add(reduce.max(x, (grown.choose(range(len(x.shape))),)), varied=True)


def _move(grown: Growth, x: Node) -> None:
    rank = len(x.shape)
    kind = grown.choose(("transpose", "flip", "spread", "pad", "join", "cut", "flat"))
    if kind == "transpose" and rank > 1:
        grown.add(linear.transpose(x, (rank - 1, *range(rank - 1))), varied=x in grown.varied)
    elif kind == "flip" and rank:
        grown.add(linear.flip(x, (0,)), varied=x in grown.varied)
    elif kind == "spread":
        grown.add(linear.broadcast_to(x, (grown.choose((1, 2)), *x.shape)))
    elif kind == "pad" and rank:
        grown.add(linear.pad(x, (1,) * rank, (0,) * rank, (grown.choose((0, 1)),) * rank))
    elif kind == "join" and rank:
        grown.add(linear.concatenate([x, x], grown.choose(range(rank))))
    elif (
        kind == "cut" and rank and all(d == n for d, n in zip(x.shape, grown.shape(x), strict=True))
    ):
        start = tuple(0 if n == 1 else 1 for n in grown.shape(x))
        shape = tuple(n - a for n, a in zip(grown.shape(x), start, strict=True))
        grown.add(linear.slice(x, start, shape), varied=x in grown.varied)
    elif kind == "flat" and rank > 1:
        grown.add(linear.reshape(x, (dims.size(x.shape),)), varied=x in grown.varied)


def _conv(grown: Growth, x: Node) -> None:
    if len(x.shape) == 4 and isinstance(x.shape[1], int) and min(grown.shape(x)[2:]) >= 2:
        w = grown.leaf(grown.choose((1, 2)), x.shape[1], 2, 2)
        grown.add(conv.conv2d(x, w, conv.Window(grown.choose(((1, 1), (2, 1))), ((1, 0), (0, 1)))))


def _pool(grown: Growth, x: Node) -> None:
    if len(x.shape) == 4 and min(grown.shape(x)[2:]) >= 2:
        window = pool.Pool((2, 2), grown.choose(((1, 1), (2, 2))))
        if x in grown.varied and not grown.smooth:
            grown.add(pool.max_pool2d(x, window))
        else:
            grown.add(pool.avg_pool2d(x, window))


def _take(grown: Growth, x: Node) -> None:
    if x.shape:
        axis = grown.choose(range(len(x.shape)))
        places = [i % grown.shape(x)[axis] for i in (0, 2, 1)]
        grown.add(indexing.take(x, leaf.constant(places), axis))


_STEPS = (_unary, _unary, _binary, _larger, _matmul, _reduce, _max, _move, _conv, _pool, _take)


@dataclass(frozen=True)
class Drawn:
    """A random graph: leaves, two outputs, the sizes of its named dimensions."""

    leaves: list[Node]
    outputs: list[Node]
    sizes: Mapping[str, int]

    def inputs(self, seed: int = 0) -> dict[Node, Array]:
        """Return values of about 1 for the leaves."""
        generator = np.random.default_rng(seed)
        found = {}
        for node in self.leaves:
            shape = tuple(dims.evaluate(d, self.sizes) for d in node.shape)
            found[node] = generator.uniform(-1, 1, shape).astype(node.dtype)
        return found


def grown(choose: Choose, dtype: str, *, smooth: bool) -> Drawn:
    """Return a random graph of a few steps."""
    made = Growth(choose, dtype, smooth, choose((3, 1, 2)))
    made.leaf(*choose(SHAPES))
    for _ in range(choose(range(1, 10))):
        made.step()
    outputs = [made.nodes[-1], made.choose(made.nodes)]
    leaves = [n for n in ir.topological(outputs) if n.op is leaf.INPUT]
    named = dims.names(*(n.shape for n in leaves))
    return Drawn(leaves, outputs, {n: made.size for n in named})


def graphs(dtype: str = "float64", *, smooth: bool = True) -> st.SearchStrategy[Drawn]:
    """Return a strategy of random graphs."""

    @st.composite
    def build(draw: Any) -> Drawn:
        return grown(lambda options: draw(st.sampled_from(options)), dtype, smooth=smooth)

    return build()


def seeded(seed: int, dtype: str) -> Drawn:
    """Return the random graph of a number; the same one in both float types."""
    generator = np.random.default_rng(seed)
    return grown(lambda options: options[generator.integers(len(options))], dtype, smooth=False)
