"""Products that no step of a loop has to wait for leave it, as one long product each.

    x_t @ w, of a sequence and a captured matrix    -> (all x) @ w before the loop
    Σ_t a_tᵀ @ b_t, a sum of the loop               -> (all a)ᵀ @ (all b) after it
    Σ_t scatter_add(0, i_t, b_t)                    -> scatter_add(0, all i, all b) after it

A move with a switch (``exact``): the sums are the same, their grouping is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from graphc import dims, ir
from graphc.ir import Graph, Node, Program
from graphc.ops import indexing, leaf, linear, matmul, scan
from graphc.passes import rewrite


def hoist(program: Program) -> Program:
    """Take products out of loops.

    Needs:    `trim` before, so that nothing is stacked for a sum that nobody reads.
    Promises: no loop multiplies a step of a sequence by a captured matrix, or sums up products.
    Keeps:    every value, but for the order of sums; loops inside loops lose theirs to the loop
        around them.
    """
    return rewrite.mapped(program, _hoisted(program.roots))


def _hoisted(roots: Iterable[Node]) -> dict[Node, Node]:
    mapping: dict[Node, Node] = {}
    results: dict[Node, list[Node]] = {}
    for node in ir.topological(roots):
        inputs = tuple(mapping[n] for n in node.inputs)
        with ir.noting_as(node.note):
            if node.op is scan.SCAN:
                mapping[node], results[node] = _lighter(node, inputs)
            elif node.op is scan.RESULT and node.inputs[0] in results:
                found = results[node.inputs[0]][node.attrs["index"]]
                mapping[node] = ir.renoted(found, node.note) if found.inputs else found
            else:
                mapping[node] = ir.with_inputs(node, inputs)
    return mapping


def _lighter(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, list[Node]]:
    """Return a loop without such products, and what its old results are now."""
    body = _inner(node.attrs["body"])
    loop = _Loop(scan.walk_of(node.attrs), body, inputs)
    before, after = _before(loop), _after(loop)
    if not before and not after and body is node.attrs["body"]:
        made = ir.with_inputs(node, inputs)
        return made, list(scan.results(made))
    return _rebuilt(node, loop, before, after)


def _inner(body: Graph) -> Graph:
    """Return a body whose own loops are lighter."""
    if all(n.op is not scan.SCAN for n in ir.topological(body.outputs)):
        return body
    mapping = _hoisted((*body.inputs, *body.outputs))
    return Graph(body.inputs, tuple(mapping[n] for n in body.outputs))


@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    walk: scan.Walk
    body: Graph
    inputs: tuple[Node, ...]

    @property
    def outside(self) -> dict[Node, Node]:
        """What each sequence and captured value of the body is outside."""
        first = self.walk.carries
        return dict(zip(self.body.inputs[first:-1], self.inputs[first:], strict=True))

    @property
    def sequences(self) -> tuple[Node, ...]:
        """The body's leaves for steps of sequences."""
        return scan.parts(self.body.inputs[:-1], self.walk).sequences

    @property
    def captured(self) -> tuple[Node, ...]:
        """The body's leaves for captured values."""
        return scan.parts(self.body.inputs[:-1], self.walk).captured


def _before(loop: _Loop) -> list[Node]:
    """Return the body's products of a step with a captured matrix, flipped or not."""
    captured = set(loop.captured)
    found = []
    for node in ir.topological(loop.body.outputs):
        if node.op is matmul.MATMUL and len(node.shape) == 2:
            x, w = node.inputs
            if _is_step(loop, x) and _below(w, linear.TRANSPOSE) in captured:
                found.append(node)
    return found


def _below(node: Node, op: ir.Op) -> Node:
    """Return the node, or what an op over it reads."""
    return node.inputs[0] if node.op is op else node


def _after(loop: _Loop) -> dict[int, tuple[Node, Node]]:
    """Return the sums of products by their place: the two values to stack of each."""
    first = loop.walk.carries + loop.walk.stacked
    own = {*loop.captured}
    found: dict[int, tuple[Node, Node]] = {}
    for k, node in enumerate(loop.body.outputs[first:], start=first):
        pair: tuple[Node, Node] | None = None
        if node.op is matmul.MATMUL and len(node.shape) == 2:
            a, b = node.inputs
            pair = (a.inputs[0], b) if a.op is linear.TRANSPOSE else None
        elif node.op is indexing.SCATTER_ADD and leaf.is_constant(
            _below(node.inputs[0], linear.BROADCAST_TO), 0
        ):
            pair = (node.inputs[1], node.inputs[2]) if node.attrs["axis"] == 0 else None
        if pair is not None and not (own & set(pair)):
            found[k] = pair
    return found


def _rebuilt(
    node: Node, loop: _Loop, before: list[Node], after: dict[int, tuple[Node, Node]]
) -> tuple[Node, list[Node]]:
    walk, body = loop.walk, loop.body
    products = {n: leaf.input(f"p{i}", n.shape, n.dtype) for i, n in enumerate(before)}
    added = [_product(loop, n) for n in before]
    middle = walk.carries + walk.stacked
    stacked = list(body.outputs[walk.carries : middle])
    wanted = dict.fromkeys(n for pair in after.values() for n in pair)
    known = {n: _steps(loop, n) for n in wanted if _is_step(loop, n)}
    stacked += [n for n in wanted if n not in known and n not in stacked]
    sums = [k for k in range(middle, len(body.outputs)) if k not in after]
    outputs = (*body.outputs[: walk.carries], *stacked, *(body.outputs[k] for k in sums))
    mapping = ir.substitute(outputs, products)
    end = walk.carries + walk.sequences
    made = scan.scan(
        replace(walk, sequences=walk.sequences + len(before), stacked=len(stacked)),
        Graph(
            (*body.inputs[:end], *products.values(), *body.inputs[end:]),
            tuple(mapping[n] for n in outputs),
        ),
        (*loop.inputs[:end], *added, *loop.inputs[end:]),
    )
    made = ir.renoted(made, node.note)
    results = scan.results(made)
    whole = {n: results[walk.carries + i] for i, n in reversed([*enumerate(stacked)])}
    whole |= known
    kept = dict(zip(sums, results[walk.carries + len(stacked) :], strict=True))
    late = {k: _long(body.outputs[k], *(whole[n] for n in pair)) for k, pair in after.items()}
    return made, [*results[:middle], *((kept | late)[k] for k in range(middle, len(body.outputs)))]


def _product(loop: _Loop, node: Node) -> Node:
    """Return x_t @ w for all steps, as a sequence."""
    x, w = node.inputs
    matrix = loop.outside[_below(w, linear.TRANSPOSE)]
    with ir.noting_as(node.note):
        if w.op is linear.TRANSPOSE:
            matrix = linear.transpose(matrix, w.attrs["axes"])
        long = matmul.matmul(_rows(_steps(loop, x)), matrix)
        return linear.reshape(long, (loop.walk.length, *node.shape))


def _is_step(loop: _Loop, node: Node) -> bool:
    """Tell whether a node of the body is a step of a sequence, reshaped or not."""
    return _below(node, linear.RESHAPE) in loop.sequences


def _steps(loop: _Loop, node: Node) -> Node:
    """Return such a node for all steps."""
    sequence = loop.outside[_below(node, linear.RESHAPE)]
    return linear.reshape(sequence, (loop.walk.length, *node.shape))


def _long(node: Node, a: Node, b: Node) -> Node:
    """Return a sum over steps from its stacked parts."""
    with ir.noting_as(node.note):
        if node.op is matmul.MATMUL:
            return matmul.matmul(matmul.flipped(_rows(a)), _rows(b))
        zeros = linear.broadcast_to(leaf.constant(0, node.dtype), node.shape)
        axes = len(a.shape)
        index = linear.reshape(a, (dims.size(a.shape),))
        values = linear.reshape(b, (dims.size(b.shape[:axes]), *b.shape[axes:]))
        return indexing.scatter_add(zeros, index, values)


def _rows(x: Node) -> Node:
    """Return a stack of matrices (T, N, K) as one (T N, K)."""
    return linear.reshape(x, (dims.multiply(x.shape[0], x.shape[1]), x.shape[2]))
