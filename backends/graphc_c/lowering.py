"""One function on its way to a plan: where each node's elements lie, and the kernels so far.

What the table of `lowerings` works with; knows no single op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import InternalError
from graphc.ir import Function, Graph, Node, TensorType
from graphc_c import descriptors as d
from graphc_c import expressions
from graphc_c.expressions import Group
from graphc_c.plan import Array, Begin, Buffer, End, Kernel, Names, Plan, Step, View, whole

Value = View | Group | tuple[View, ...]


class Lowering:
    """One function on its way to a plan: where each node's elements lie, and kernels so far."""

    def __init__(
        self, function: Function, states: dict[Node, Buffer], constants: list[Array]
    ) -> None:
        self.function, self.constants = function, constants
        self.steps: list[Step] = []
        self._states = states
        self._values: dict[Node, Value] = {}
        self._inlined = expressions.inlined(function.roots)
        self._loops = 0
        for i, node in enumerate(function.inputs):
            self._values[node] = whole(Buffer(node.tensor, "argument", i))
        for node, buffer in states.items():
            self._values[node] = whole(buffer)

    def keep(self, node: Node, value: Value) -> None:
        """Remember a node's value; a group that others would compute again gets a buffer."""
        if isinstance(value, Group) and value.views and node not in self._inlined:
            value = self.stored(node, value)
        self._values[node] = value

    def knows(self, node: Node) -> bool:
        """Tell whether a node has its value already: inputs and states do from the start."""
        return node in self._values

    def enter(
        self, leaves: Sequence[Node], views: Sequence[View], captured: Sequence[Node], position: Dim
    ) -> None:
        """Give a body's leaves their values: views, then captured nodes, then the position."""
        self._values |= dict(zip(leaves, views, strict=False))
        outer = [self._values[n] for n in captured]
        self._values |= dict(zip(leaves[len(views) :], outer, strict=False))
        self._values[leaves[-1]] = Group(d.Extent(position, "int64"))

    def finished(self) -> Plan:
        """Return the plan, with outputs and updates in buffers of their own."""
        targets = [("result", n) for n in self.function.outputs]
        targets += [("next", n) for _, n in self.function.updates]
        states = [self._states[s].index for s, _ in self.function.updates]
        places = [*range(len(self.function.outputs)), *states]
        for (storage, node), index in zip(targets, places, strict=True):
            self._deliver(node, storage, index)
        kernels = [s for s in self.steps if isinstance(s, Kernel)]
        arena = list(dict.fromkeys(v.buffer for k in kernels for v in (*k.reads, *k.writes)))
        arena = [b for b in arena if b.storage == "arena"]
        for i, buffer in enumerate(arena):
            buffer.index = i
        return Plan(
            self.function.name,
            _size_names(self.function, self.steps),
            tuple(self.steps),
            tuple(arena),
            len(self.function.inputs),
            tuple(n.tensor for n in self.function.outputs),
            tuple(states),
        )

    def _deliver(self, node: Node, storage: str, index: int) -> None:
        value = self._values[node]
        if isinstance(value, View) and value.buffer.storage == "arena" and value.is_whole:
            value.buffer.storage, value.buffer.index = storage, index
            return
        out = whole(Buffer(node.tensor, storage, index))
        self.compute(node, self.group(node), out)

    # ------------------------------------------------------------ what lowerings ask for

    def group(self, node: Node) -> Group:
        """Return a node as an expression."""
        value = self._values[node]
        if isinstance(value, tuple):
            raise InternalError(f"{node.op.name}: only result reads a node of several results")
        return expressions.read(value) if isinstance(value, View) else value

    def results(self, node: Node) -> tuple[View, ...]:
        """Return where the results of a node of several lie."""
        value = self._values[node]
        return value if isinstance(value, tuple) else (self.view(node),)

    @contextmanager
    def loop(self, node: Node, length: Dim, reverse: bool, body: Graph) -> Iterator[Dim]:
        """Open a loop, give its position as a dimension for offsets, and close it.

        What is computed inside is forgotten after: a loop may run no step.
        """
        before, self._values = self._values, dict(self._values)
        self._inlined |= expressions.inlined(body.outputs)
        position = dims.symbol(f"__step{self._loops}")
        self._loops += 1
        self.steps.append(Begin(position.name, length, reverse, node))
        yield position
        self.steps.append(End())
        self._values = before

    def view(self, node: Node) -> View:
        """Return where a node's elements lie, computing them into a buffer if they do not yet."""
        value = self._values[node]
        if isinstance(value, View):
            return value
        view = self._values[node] = self.stored(node, self.group(node))
        return view

    def contiguous(self, node: Node) -> View:
        """Return a node's elements in row-major order without gaps, copied if need be."""
        view = self.view(node)
        if not view.is_contiguous:
            view = self._values[node] = self.copied(node, view)
        return view

    def copied(self, node: Node, view: View) -> View:
        """Return a row-major copy of a view."""
        out = whole(Buffer(TensorType(view.dtype, view.shape)))
        self.compute(node, expressions.read(view), out)
        return out

    def stored(self, node: Node, group: Group) -> View:
        """Return a buffer that holds a group's elements."""
        out = whole(Buffer(node.tensor))
        self.compute(node, group, out)
        return out

    def compute(self, node: Node, group: Group, out: View) -> None:
        """Add the kernel that computes a group into a view."""
        space, strides = collapsed(out.shape, [v.strides for v in (out, *group.views)])
        names = Names()
        operands = [
            d.Operand(v.dtype, names.owns(s))
            for v, s in zip((out, *group.views), strides, strict=True)
        ]
        expression = _own(group.expression, names)
        descriptor = d.Elementwise(names.owns(space), tuple(operands[1:]), operands[0], expression)
        self.steps.append(Kernel(descriptor, group.views, (out,), names.sizes, node))

    def add(
        self,
        node: Node,
        descriptor: object,
        names: Names,
        reads: Sequence[View],
        writes: Sequence[View],
        below: Dim | None = None,
    ) -> None:
        """Add a kernel."""
        kernel = Kernel(descriptor, tuple(reads), tuple(writes), names.sizes, node, below)
        self.steps.append(kernel)

    def constant(self, array: Array) -> View:
        """Return a buffer for a constant, which lies beside the code."""
        self.constants.append(np.ascontiguousarray(array))
        type_ = TensorType(array.dtype.name, array.shape)
        return whole(Buffer(type_, "constant", len(self.constants) - 1))


def _size_names(function: Function, steps: Sequence[Step]) -> tuple[str, ...]:
    found = set(dims.names(*(n.shape for n in function.inputs)))
    found.update(name for s in steps if isinstance(s, Kernel) for name in s.sizes)
    loops = [s for s in steps if isinstance(s, Begin)]
    found.update(dims.names([s.length for s in loops]))
    return tuple(sorted(found - {s.variable for s in loops}))


def _own(expression: d.Expression, names: Names) -> d.Expression:
    if isinstance(expression, d.Extent):
        return d.Extent(names.own(expression.dim), expression.dtype)
    if isinstance(expression, d.Call):
        args = tuple(_own(a, names) for a in expression.args)
        return d.Call(expression.function, args, expression.dtype)
    return expression


def collapsed(
    space: Shape, strides: Sequence[tuple[Dim, ...]]
) -> tuple[Shape, list[tuple[Dim, ...]]]:
    """Join axes that all operands walk over as one, and leave out axes of length 1."""
    kept = [i for i, n in enumerate(space) if n != 1]
    extents: list[Dim] = []
    walks: list[list[Dim]] = [[] for _ in strides]
    for i in kept:
        joins = bool(extents) and all(
            dims.equal(w[-1], dims.multiply(s[i], space[i])) is True
            for w, s in zip(walks, strides, strict=True)
        )
        if joins:
            extents[-1] = dims.multiply(extents[-1], space[i])
            for w, s in zip(walks, strides, strict=True):
                w[-1] = s[i]
        else:
            extents.append(space[i])
            for w, s in zip(walks, strides, strict=True):
                w.append(s[i])
    return tuple(extents), [tuple(w) for w in walks]
