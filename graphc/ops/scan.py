"""Loops: one node with a closed body, and ``result``, which alone reads nodes of several results.

A scan's inputs are its initial carries, its sequences (whose first axis is time) and the values
that its cell captures, which no step copies. Its body has leaves in that order, and last the step
index t (int64, the position in the sequences). The body's outputs are the new carries, what is
stacked over t, and what is **summed** over t (in any order); the scan's results are the last
carries, the stacked tensors and the sums. ``reverse`` walks from the last position to the first
and keeps positions.

The derivative of a scan is a scan the other way round, whose carry is the cotangent of the carry.
What it keeps from the forward pass: every value of the body that the derivative reads is stacked
over t, but for the sequences and captured values, t, what depends on no leaf of the body, and
movement of kept values, which is done again. So the forward pass that the derivative needs is a
scan with more stacked results; the pass `unite` makes one of it and the first.

``truncate`` = k stops gradients at the borders between steps k - 1 and k, 2k - 1 and 2k, …, counted
in the order of the walk; the value is as without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from graphc import dims, ir
from graphc.dims import Dim
from graphc.errors import GraphError, InternalError, ShapeError
from graphc.ir import Attrs, Cotangents, Differentiate, Floats, Graph, Node, Op, TensorType
from graphc.ops import elementwise, leaf, linear

# ---------------------------------------------------------------- result


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


def results(node: Node) -> tuple[Node, ...]:
    """Return all results of a node of several."""
    return tuple(result(node, k) for k in range(len(node.types)))


# ---------------------------------------------------------------- scan


@dataclass(frozen=True, slots=True)
class Walk:
    """How a scan walks, and how its inputs and outputs divide.

    Attributes:
        length: the number of steps.
        carries: how many inputs, body leaves and outputs are carries.
        sequences: how many inputs are sequences.
        stacked: how many outputs are stacked; those after are summed.
        reverse: from the last position to the first.
        truncate: steps after which no gradient passes; 0 for no border.
    """

    length: Dim
    carries: int
    sequences: int
    stacked: int
    reverse: bool = False
    truncate: int = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """A scan's inputs and body, divided."""

    carries: tuple[Node, ...]
    sequences: tuple[Node, ...]
    captured: tuple[Node, ...]


def parts(nodes: Sequence[Node], walk: Walk) -> Parts:
    """Divide a scan's inputs, or its body's leaves without t."""
    first, second = walk.carries, walk.carries + walk.sequences
    return Parts(tuple(nodes[:first]), tuple(nodes[first:second]), tuple(nodes[second:]))


def _scan_type(inputs: Sequence[Node], attrs: Attrs) -> tuple[TensorType, ...]:
    body: Graph = attrs["body"]
    walk = walk_of(attrs)
    given, inner = parts(inputs, walk), parts(body.inputs[:-1], walk)
    _check_sequences(given.sequences, inner.sequences, walk)
    for a, b in zip(given.captured, inner.captured, strict=True):
        if a.type != b.type:
            raise ShapeError(f"scan: the captured {a.label} is {a.type}, its leaf {b.type}")
    new = body.outputs[: walk.carries]
    for a, b, c in zip(given.carries, inner.carries, new, strict=True):
        if not a.type == b.type == c.type:
            raise ShapeError(
                "scan: a carry keeps its type from step to step",
                rows=[("at first", str(a.type)), ("after a step", str(c.type))],
            )
    rest = [n.tensor for n in body.outputs[walk.carries :]]
    stacked = [TensorType(t.dtype, (walk.length, *t.shape)) for t in rest[: walk.stacked]]
    return (*(n.tensor for n in new), *stacked, *rest[walk.stacked :])


def _check_sequences(given: Sequence[Node], inner: Sequence[Node], walk: Walk) -> None:
    where = ir.current_note().where
    for a, b in zip(given, inner, strict=True):
        fits = bool(a.shape) and a.shape[1:] == b.shape and a.dtype == b.dtype
        reason = "scan: sequences are as long as the loop"
        if not fits or not dims.require_equal(a.shape[0], walk.length, reason, where):
            raise ShapeError(
                f"scan: a sequence of {dims.text(walk.length)} steps is wanted",
                rows=[(n.label, str(n.type)) for n in given],
            )


def walk_of(attrs: Attrs) -> Walk:
    """Return how a scan walks."""
    return Walk(
        attrs["length"],
        attrs["carries"],
        attrs["sequences"],
        attrs["stacked"],
        attrs["reverse"],
        attrs["truncate"],
    )


def scan(walk: Walk, body: Graph, inputs: Sequence[Node]) -> Node:
    """Make a loop.

    Shapes: sequences (T, …), whose steps are the body's leaves (…); results: carries, stacked
        (T, …), sums
    Errors: ShapeError for a carry whose type changes, or sequences of another length
    """
    attrs = {
        "body": body,
        "length": walk.length,
        "carries": walk.carries,
        "sequences": walk.sequences,
        "stacked": walk.stacked,
        "reverse": walk.reverse,
        "truncate": walk.truncate,
    }
    return ir.apply(SCAN, inputs, attrs)


def lengths(order: Iterable[Node]) -> tuple[Dim, ...]:
    """Return the lengths of the loops of an order, those inside loops too."""
    return tuple(n.attrs["length"] for n in ir.with_bodies(order) if n.op is SCAN)


def stacked_carry(node: Node) -> Node | None:
    """Return the value of the body whose stack a node is, if it is a carry of the loop too.

    With masks (``where(live, h, …)``) the stacked and the carried value choose the same h.
    """
    if node.op is not RESULT or node.inputs[0].op is not SCAN:
        return None
    walk, outputs = walk_of(node.inputs[0].attrs), node.inputs[0].attrs["body"].outputs
    index: int = node.attrs["index"]
    if not walk.carries <= index < walk.carries + walk.stacked:
        return None
    value = _unmasked(outputs[index])
    return value if value in [_unmasked(n) for n in outputs[: walk.carries]] else None


def _unmasked(node: Node) -> Node:
    return node.inputs[1] if elementwise.is_formula(node, elementwise.WHERE) else node


def _cost(node: Node) -> Dim:
    body: Graph = node.attrs["body"]
    each = [n.op.cost(n) for n in ir.topological(body.outputs)]
    return dims.multiply(node.attrs["length"], dims.add(*each))


# ---------------------------------------------------------------- its derivative


def _scan_derivative(
    node: Node, cotangents: Cotangents, differentiate: Differentiate
) -> tuple[Node | None, ...]:
    return _Reverse(node, cotangents, differentiate).answers()


class _Reverse:
    """The derivative of one scan in the making."""

    def __init__(self, node: Node, cotangents: Cotangents, differentiate: Differentiate) -> None:
        self.node, self.cotangents = node, cotangents
        self.body: Graph = node.attrs["body"]
        self.walk = walk_of(node.attrs)
        self.leaves = [n for n in self.body.inputs[:-1] if n.tensor.is_float]
        self.seeds = self._seeds()
        seeds = [self.seeds.get(k) for k in range(len(self.body.outputs))]
        derived = differentiate(Graph(tuple(self.leaves), self.body.outputs), seeds)
        found = dict(zip(self.leaves, derived.outputs, strict=True))
        self.found = {n: g for n, g in found.items() if not leaf.is_constant(g, 0)}

    def _seeds(self) -> dict[int, Node]:
        """Return leaves for the cotangents of the body's outputs: carries have one always."""
        return {
            k: leaf.input(f"g{k}", output.shape, output.dtype)
            for k, output in enumerate(self.body.outputs)
            if output.tensor.is_float and (k < self.walk.carries or self.cotangents[k] is not None)
        }

    def _seeded(self, places: Iterable[int]) -> list[tuple[Node, Node]]:
        """Return leaves of cotangents with what they stand for; zeros where there is none."""
        found = []
        for k in places:
            value = self.cotangents[k] or elementwise.filled(0, result(self.node, k))
            found.append((self.seeds[k], value))
        return found

    def answers(self) -> tuple[Node | None, ...]:
        """Return the cotangents of the scan's inputs."""
        carries = [i for i in range(self.walk.carries) if i in self.seeds]
        inner = parts(self.body.inputs[:-1], self.walk)
        sequences = [n for n in inner.sequences if n in self.found]
        captured = [n for n in inner.captured if n in self.found]
        outputs = [self._passed(inner.carries[i]) for i in carries]
        outputs += [self.found[n] for n in (*sequences, *captured)]
        back = self._loop(carries, outputs, len(sequences))
        wanted = [*(inner.carries[i] for i in carries), *sequences, *captured]
        place = {n: k for k, n in enumerate(wanted)}
        return tuple(result(back, place[n]) if n in place else None for n in self.body.inputs[:-1])

    def _passed(self, carry: Node) -> Node:
        """Return the cotangent that passes to the step before; none does at a border."""
        cotangent = self.found.get(carry) or elementwise.filled(0, carry)
        if not self.walk.truncate:
            return cotangent
        t = self.body.inputs[-1]
        if self.walk.reverse:
            last = leaf.size(dims.add(self.walk.length, -1), "int64")
            t = elementwise.apply(elementwise.SUBTRACT, last, t)
        borders = leaf.constant(self.walk.truncate, "int64")
        zero = leaf.constant(0, "int64")
        rest = elementwise.apply(elementwise.REMAINDER, t, borders)
        starts = elementwise.apply(elementwise.EQUAL, rest, zero)
        inside = elementwise.apply(elementwise.LESS, zero, t)
        stops = elementwise.apply(elementwise.LOGICAL_AND, starts, inside)
        spread = linear.broadcast_to(stops, carry.shape)
        none = elementwise.filled(0, carry)
        return elementwise.apply(elementwise.WHERE, spread, none, cotangent)

    def _loop(self, carries: list[int], outputs: list[Node], stacked: int) -> Node:
        """Return the scan the other way round that computes the outputs of its body."""
        values = _kept(self.body, outputs, self.body.inputs[self.walk.carries :])
        stacks = self._stacks(values)
        first = self.walk.carries + self.walk.stacked
        used = set(ir.topological(outputs))
        given = parts(self.node.inputs, self.walk)
        inner = parts(self.body.inputs[:-1], self.walk)
        sequences = [*zip(values, stacks, strict=True)]
        sequences += zip(inner.sequences, given.sequences, strict=True)
        sequences += self._seeded(k for k in self.seeds if self.walk.carries <= k < first)
        captured = [*zip(inner.captured, given.captured, strict=True)]
        captured += self._seeded(k for k in self.seeds if k >= first)
        sequences = [(n, v) for n, v in sequences if n in used]
        captured = [(n, v) for n, v in captured if n in used]
        pairs = [*self._seeded(carries), *sequences, *captured]
        body, inputs = _closed(pairs, self.body.inputs[-1], outputs)
        walk = Walk(self.walk.length, len(carries), len(sequences), stacked, not self.walk.reverse)
        return scan(walk, body, inputs)

    def _stacks(self, values: Sequence[Node]) -> list[Node]:
        """Return values of the body stacked over t: results that there are, or new ones."""
        first = self.walk.carries + self.walk.stacked
        own = self.body.outputs[self.walk.carries : first]
        added = [n for n in values if n not in own]
        outputs = (*self.body.outputs[:first], *added, *self.body.outputs[first:])
        walk = replace(self.walk, stacked=self.walk.stacked + len(added))
        forward = self.node
        if added:
            forward = scan(walk, Graph(self.body.inputs, outputs), self.node.inputs)
        places = {n: first + i for i, n in enumerate(added)}
        places |= {n: self.walk.carries + i for i, n in reversed([*enumerate(own)])}
        return [result(forward, places[n]) for n in values]


def _kept(body: Graph, outputs: Sequence[Node], given: Sequence[Node]) -> list[Node]:
    """Return the values of a body that its derivative reads and that only the forward pass has."""
    order = ir.topological((*body.inputs, *body.outputs))
    forward, depends = set(order), set(body.inputs)
    for node in order:
        if any(n in depends for n in node.inputs):
            depends.add(node)
    for node in ir.topological(outputs):
        # What the derivative of an inner loop reads of it is a value of the forward pass too.
        if node.op is RESULT and node.inputs[0] in forward and node not in forward:
            order.append(node)
            forward.add(node)
            depends |= {node} if node.inputs[0] in depends else set()
    derived = [n for n in ir.topological(outputs) if n not in forward]
    stack = [*outputs, *(n for d in derived for n in d.inputs)]
    found, seen = set[Node](), set[Node](given)
    while stack:
        node = stack.pop()
        if node in seen or node not in forward or node not in depends:
            continue
        seen.add(node)
        if node.op in _DONE_AGAIN:
            stack += node.inputs
        else:
            found.add(node)
    return [n for n in order if n in found]


# Movement is done again in the derivative instead of being kept.
_DONE_AGAIN = (
    linear.RESHAPE,
    linear.TRANSPOSE,
    linear.BROADCAST_TO,
    linear.SLICE,
    linear.FLIP,
)


def _closed(
    pairs: Sequence[tuple[Node, Node]], t: Node, outputs: Sequence[Node]
) -> tuple[Graph, list[Node]]:
    """Return a body over leaves of its own, and the values that its leaves but t stand for."""
    leaves = {n: leaf.input(f"b{i}", n.shape, n.dtype) for i, (n, _) in enumerate(pairs)}
    step = leaf.input("t", (), "int64")
    mapping = ir.substitute(outputs, leaves | {t: step})
    body = Graph((*leaves.values(), step), tuple(mapping[n] for n in outputs))
    return body, [value for _, value in pairs]


SCAN = Op(
    "scan",
    _scan_type,
    _scan_derivative,
    Floats.SUM,
    "(c, y_t) = body(c, x_t, captured, t) for each t; y is stacked, sums are added up",
    "the scan the other way round, over the derivative of the body",
    _cost,
)
