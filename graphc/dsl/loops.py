"""``gx.scan``: a Python function of one step becomes a loop node with a closed body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import dims, ir
from graphc.dims import Dim
from graphc.dsl import convert, noise, structure
from graphc.dsl.convert import node_of
from graphc.dsl.location import public
from graphc.dsl.tensor import Tensor
from graphc.errors import CallError, GraphError, ShapeError, SizeError
from graphc.ir import Graph, Node
from graphc.ops import elementwise, leaf, linear, phase, random
from graphc.ops import scan as loops
from graphc.passes import unroll as passes

Cell = Callable[..., tuple[Any, Any]]


@public
def scan(
    cell: Cell,
    init: Any,
    xs: Any = None,
    *,
    length: Any = None,
    reverse: bool = False,
    lengths: Any = None,
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """Loop over time: ``cell(carry, x) -> (new carry, y)`` for each step.

    Returns the last carry and the ys stacked over time (None where the cell gives None). The carry
    is any nest of tensors, and keeps its structure and types. ``xs`` is a tensor or a nest of them
    whose first axis is time; None loops ``length`` times with x = None.

    Args:
        cell: one step; it is called once, to declare the body. Tensors from outside are captured.
        init: the first carry.
        xs: sequences (T, …).
        length: the number of steps, where there are no sequences.
        reverse: from the last position to the first; positions are kept.
        lengths: (N,) integers; from step ``lengths[n]`` on, sample n keeps its carry and its ys
            are 0. Carries and ys then have N as their first axis. What stands in the padding is
            computed all the same: numbers, no NaN, or 0 · NaN reaches the gradients.
        truncate: no gradient passes the borders between steps k - 1 and k, 2k - 1 and 2k, ….

    Errors: ShapeError for a carry that changes, or sequences of unequal length; GraphError
    """
    return _Loop(cell, init, xs, length, lengths).declared(reverse, truncate)


@public
def unroll(nest: Any, **sizes: int) -> Any:
    """Return tensors with their loops unrolled: copies of each cell, parameters shared.

    Keywords are sizes of named dimensions, which become numbers: ``gx.unroll(loss, T=5)``. Inputs
    with a named size become new inputs of the same name (`graphc.find` gives them). Each copy knows
    its step: a tensor called ``h`` in the cell is ``h[3]`` in the fourth.

    Errors: UnsupportedError for a loop whose length stays open; CallError, SizeError
    """
    leaves, shape = structure.flatten(nest)
    nodes = [node_of(t) for t in leaves]
    sizes = checked_sizes("unroll", nodes, sizes)
    function = ir.Function("unroll", (), tuple(nodes), training=True)
    made = passes.unroll(ir.Program("unroll", (function,)), sizes).functions[0]
    return structure.build(shape, [Tensor(n) for n in made.outputs])


def checked_sizes(word: str, nodes: Iterable[Node], sizes: Mapping[str, Any]) -> dict[str, int]:
    """Return sizes of named dimensions as numbers.

    Errors: CallError for a name that no tensor or loop has, SizeError for what is no size
    """
    if not sizes:
        return {}
    order = ir.topological(nodes)
    types = [t for n in ir.with_bodies(order) for t in n.types]
    known = dims.names(*(t.shape for t in types), loops.lengths(order))
    for name, size in sizes.items():
        if name not in known:
            raise CallError(
                f"{word}: nothing has the dimension {name!r:.60}",
                hint="known are " + ", ".join(known) if known else None,
            )
        is_whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if not is_whole or not 1 <= size <= dims.LARGEST:
            raise SizeError(f"{word}: {name} is a whole number from 1 on, not {size!r:.60}")
    return {name: int(size) for name, size in sizes.items()}


class _Loop:
    """A loop on its way from a cell to a node."""

    def __init__(self, cell: Cell, init: Any, xs: Any, length: Any, lengths: Any) -> None:
        if not callable(cell):
            raise GraphError(f"scan: a cell is a function of (carry, x), not {cell!r:.60}")
        if isinstance(length, bool):
            raise ShapeError(f"scan: length is a number of steps or a name, not {length}")
        self.cell = cell
        self.steps: Any = None
        carries, self.carry = structure.flatten(init)
        self.init = [node_of(c) for c in carries]
        given: list[Any] = []
        if xs is not None:
            given, self.steps = structure.flatten(xs)
        self.sequences = [node_of(x) for x in given]
        self.length = _length(self.sequences, length)
        self.lengths = None if lengths is None else _checked_lengths(lengths)

    def declared(self, reverse: bool, truncate: int | None) -> tuple[Any, Any]:
        """Call the cell, close its body, and return the last carry and the stacked ys."""
        if not isinstance(reverse, bool):
            raise GraphError(f"scan: reverse is True or False, not {reverse!r:.60}")
        if truncate is not None and convert.whole("scan: truncate", truncate) < 1:
            raise GraphError(f"scan: truncate is a number of steps from 1 on, not {truncate}")
        carries = [leaf.input(f"carry{i}", n.shape, n.dtype) for i, n in enumerate(self.init)]
        steps = [leaf.input(f"x{i}", n.shape[1:], n.dtype) for i, n in enumerate(self.sequences)]
        t = leaf.input("t", (), "int64")
        with noise.recording() as streams:
            new, ys, outputs = self._called(carries, steps, t)
        keyed = _keyed([*new, *outputs], t, streams)
        body, captured = _closed([*carries, *steps], t, keyed)
        walk = loops.Walk(
            self.length, len(carries), len(steps), len(outputs), reverse, truncate or 0
        )
        node = loops.scan(walk, body, [*self.init, *self.sequences, *captured])
        results = [Tensor(n) for n in loops.results(node)]
        last = structure.build(self.carry, results[: len(carries)])
        stacked = results[len(carries) :]
        return last, None if ys is None else structure.build(ys, stacked)

    def _called(
        self, carries: list[Node], steps: list[Node], t: Node
    ) -> tuple[list[Node], Any, list[Node]]:
        carry = structure.build(self.carry, [Tensor(n) for n in carries])
        x = None if self.steps is None else structure.build(self.steps, [Tensor(n) for n in steps])
        returned = self.cell(carry, x)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise GraphError(
                "scan: a cell returns a pair: the new carry, and y or None; this one returned "
                + _told(returned)
            )
        found, shape = structure.flatten(returned[0])
        if shape != self.carry:
            raise GraphError(
                "scan: the new carry has another structure than the first",
                rows=[
                    ("at first", ", ".join(structure.paths(self.carry, "carry"))),
                    ("after a step", ", ".join(structure.paths(shape, "carry"))),
                ],
            )
        names = structure.paths(self.carry, "carry")
        new = [_kept_type(*entry) for entry in zip(names, carries, found, strict=True)]
        leaves, ys = ([], None) if returned[1] is None else structure.flatten(returned[1])
        outputs = [node_of(y) for y in leaves]
        if self.lengths is not None:
            live = elementwise.apply(
                elementwise.LESS, linear.broadcast_to(t, self.lengths.shape), self.lengths
            )
            new = [_called_as(a, _chosen(live, a, b)) for a, b in zip(new, carries, strict=True)]
            outputs = [_chosen(live, y, elementwise.filled(0, y)) for y in outputs]
        return new, ys, outputs


def _length(sequences: Sequence[Node], length: Any) -> Dim:
    if any(not n.shape for n in sequences):
        raise ShapeError("scan: the first axis of a sequence is time, and a scalar has none")
    lengths = [n.shape[0] for n in sequences]
    if length is not None:
        lengths.insert(0, dims.parse(length))
    if not lengths:
        raise GraphError("scan: without sequences it needs length=")
    if any(dims.equal(lengths[0], other) is False for other in lengths[1:]):
        given = [("length=", dims.text(lengths[0]))] if length is not None else []
        raise ShapeError(
            f"scan: sequences of {' and '.join(dims.text(d) for d in lengths)} steps",
            rows=[*given, *((n.label, str(n.type)) for n in sequences)],
            hint="slices make them equally long; lengths= is for samples that end early",
        )
    return lengths[0]


def _told(value: Any) -> str:
    """Say what a cell returned."""
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "a tensor" if isinstance(value, Tensor) else f"{value!r:.60}"


def _checked_lengths(lengths: Any) -> Node:
    node = node_of(lengths)
    if node.dtype not in ir.INTEGERS or len(node.shape) != 1:
        raise ShapeError("scan: lengths are (N,) integers", rows=[(node.label, str(node.type))])
    return linear.cast(node, "int64")


def _kept_type(name: str, old: Node, value: Any) -> Node:
    new = node_of(value, None if isinstance(value, Tensor) else old.dtype)
    same = new.dtype == old.dtype and len(new.shape) == len(old.shape)
    if not same or any(
        dims.equal(a, b) is False for a, b in zip(new.shape, old.shape, strict=True)
    ):
        raise ShapeError(
            f"scan: {'the carry' if name == 'carry' else name} changes its type in the cell",
            rows=[
                ("at first", str(old.type)),
                ("after a step", str(new.type), new.note.where or ""),
            ],
            hint="begin with the type that a step gives",
        )
    return new


def _called_as(carry: Node, kept: Node) -> Node:
    """Return what the next step gets under the name that the cell gave the new carry."""
    return ir.named(kept, carry.note.name) if carry.note.name else kept


def _chosen(live: Node, new: Node, old: Node) -> Node:
    """Return new for the samples that are live, old for those that are finished."""
    if not new.shape or dims.equal(new.shape[0], live.shape[0]) is False:
        raise ShapeError(
            "scan: with lengths=, carries and ys have the samples as their first axis",
            rows=[(new.label, str(new.type)), ("lengths", str(live.shape))],
        )
    column = linear.reshape(live, (*live.shape, *(1,) * (len(new.shape) - 1)))
    return elementwise.apply(elementwise.WHERE, linear.broadcast_to(column, new.shape), new, old)


# ---------------------------------------------------------------- closing the body


def _closed(leaves: Sequence[Node], t: Node, outputs: Sequence[Node]) -> tuple[Graph, list[Node]]:
    """Return the body over leaves for what it captures, and what it captures.

    Captured is each maximal node that depends on no leaf of the body; plain numbers stay inside.
    """
    order = ir.topological(outputs)
    depends = {*leaves, t}
    for node in order:
        if any(n in depends for n in node.inputs):
            depends.add(node)
    for node in order:
        if node in depends and node.op is phase.WITH_UPDATE:
            raise GraphError(
                "scan: a cell cannot update a state; carry the value instead",
                where=node.note.where,
            )
    inner = [n for n in order if n in depends]
    reached = [*(n for node in inner for n in node.inputs), *outputs]
    captured = [n for n in dict.fromkeys(reached) if n not in depends and not _is_number(n)]
    holes = {n: leaf.input(f"c{i}", n.shape, n.dtype) for i, n in enumerate(captured)}
    mapping = ir.substitute(outputs, holes)
    body = Graph((*leaves, *holes.values(), t), tuple(mapping[n] for n in outputs))
    return body, captured


def _is_number(node: Node) -> bool:
    return leaf.is_constant(node) or node.op is leaf.SIZE


def _keyed(outputs: Sequence[Node], t: Node, streams: set[random.Stream]) -> list[Node]:
    """Fold t into the key of what the cell draws itself, so that every step draws anew.

    Loops inside the cell get the folded key too. A draw from outside is a value as any other.
    """
    order = ir.topological(outputs)
    if not any(_draws(n, streams) for n in order):
        return list(outputs)
    # The key, and what loops inside the cell have made of it; each in its form for step t.
    keys = {random.KEY: random.folded(random.KEY, t)}
    mapping: dict[Node, Node] = {}
    for node in order:
        inputs = tuple(mapping[n] for n in node.inputs)
        if _draws(node, streams):
            inputs = tuple(keys.get(n, m) for n, m in zip(node.inputs, inputs, strict=True))
        with ir.noting_as(node.note):
            mapping[node] = ir.with_inputs(node, inputs)
            if node.op is elementwise.ELEMENTWISE and any(n in keys for n in node.inputs):
                renewed = tuple(keys.get(n, mapping[n]) for n in node.inputs)
                keys[node] = ir.with_inputs(node, renewed)
    return [mapping[n] for n in outputs]


def _draws(node: Node, streams: set[random.Stream]) -> bool:
    """Tell whether a node draws from one of some streams, or is a loop whose cell does."""
    found = ir.with_bodies([node]) if node.op is loops.SCAN else iter([node])
    return any(n.op is random.RANDOM_BITS and n.attrs["stream"] in streams for n in found)
