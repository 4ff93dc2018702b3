"""The derivatives of a loop's state in numbers, step by step, as the chain rule has them.

The state z of a loop is all of its float carries together, laid flat. ``∂z[t]/∂z[t − 1]``,
``∂⁺z[t]/∂w`` (z[t − 1] held) and ``∂L/∂z[t]`` (what z[t] does to the outputs of step t and to all
that comes after) are computed each by itself; how they combine is arithmetic. Writes no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc import ir
from graphc.ir import Graph, Node
from graphc.ops import elementwise, leaf, linear, scan
from graphc.passes import differentiate
from graphc.render.local import over

Numbers = Callable[[Sequence[Node]], Mapping[Node, Any]]
Array = np.ndarray[Any, Any]
_DERIVATIVES = 4096  # numbers of the derivatives of one step
_STATE = 32  # elements of a state whose derivatives are computed one by one


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """The derivatives of a loop's state; time in the order of the walk.

    Attributes:
        back: ``∂z[t]/∂z[t − 1]`` (T, Z, Z).
        use: ``∂⁺z[t]/∂w`` (T, Z, W).
        loss: ``∂L/∂z[t]`` (T, Z).
        truncate: steps after which no gradient passes; 0 for no border.
        is_reverse: whether the walk ends at position 0.
    """

    back: Array
    use: Array
    loss: Array
    truncate: int
    is_reverse: bool

    def is_border(self, t: int) -> bool:
        """Tell whether no gradient passes from a step, counted along the walk, to that before."""
        return bool(self.truncate) and t > 0 and t % self.truncate == 0

    @property
    def total(self) -> Array:
        """``∂z[t]/∂w`` by its recurrence, forward in time (T, Z, W)."""
        found = self.use.copy()
        for t in range(1, len(found)):
            if not self.is_border(t):
                found[t] += self.back[t] @ found[t - 1]
        return found

    @property
    def own(self) -> Array:
        """``∂⁺L/∂z[t]``: what of ``∂L/∂z[t]`` comes from the outputs of step t (T, Z)."""
        found = self.loss.copy()
        for t in range(len(found) - 1):
            if not self.is_border(t + 1):
                found[t] -= self.loss[t + 1] @ self.back[t + 1]
        return found

    @property
    def summed(self) -> Array:
        """``Σ_t ∂L/∂z[t] · ∂⁺z[t]/∂w`` (W,)."""
        return np.asarray(np.einsum("tz,tzw->w", self.loss, self.use))

    @property
    def unrolled(self) -> Array:
        """``Σ_k Π_j ∂z[j]/∂z[j − 1] · ∂⁺z[k]/∂w`` for each t, term by term (T, Z, W)."""
        found = np.zeros_like(self.use)
        for t in range(len(found)):
            product = np.eye(self.back.shape[1], dtype=self.back.dtype)
            for k in range(t, -1, -1):
                found[t] += product @ self.use[k]
                if self.is_border(k):
                    break
                product = product @ self.back[k]
        return found

    def in_order(self, array: Array) -> Array:
        """Return an array over the walk by position."""
        return array[::-1] if self.is_reverse else array


def slopes(node: Node, loss: Node, wrt: Node, numbers: Numbers) -> Slopes | None:
    """Return the derivatives of a loop's state; None where they are many, or sizes not known.

    Args:
        node: the scan.
        loss: a scalar that reads it.
        wrt: what is derived by.
        numbers: computes nodes.
    """
    body: Graph = node.attrs["body"]
    walk = scan.walk_of(node.attrs)
    places = [i for i in range(walk.carries) if body.outputs[i].tensor.is_float]
    new, old = [body.outputs[i] for i in places], [body.inputs[i] for i in places]
    held = _captured(node, new, wrt)
    first = set(differentiate.depends(ir.topological(node.inputs), [wrt]))
    if (
        not held
        or not _is_small(new, [*old, *held])
        or first & {*node.inputs[: walk.carries + walk.sequences]}
    ):
        return None
    rows = _rows(node, new, [*old, *held])
    by_state = _by_state(node, new, loss)
    outer = [_outside(node.inputs[body.inputs.index(n)], wrt) for n in held]
    wanted = [*(n for row in rows for n in row), *by_state, *(n for rows in outer for n in rows)]
    known = numbers([n for n in wanted if n is not None])
    length = next(len(known[s]) for s in by_state if s is not None)
    back = [_matrix([r[j] for r in rows], n, known, length) for j, n in enumerate(old)]
    use = [
        _matrix([r[len(old) + i] for r in rows], n, known, length)
        @ _jacobian(outer[i], n, wrt, known)
        for i, n in enumerate(held)
    ]
    flat = [_matrix([s], n, known, length)[:, 0] for s, n in zip(by_state, new, strict=True)]
    order = slice(None, None, -1 if walk.reverse else 1)
    return Slopes(
        np.concatenate(back, 2)[order],
        np.sum(use, 0)[order],
        np.concatenate(flat, 1)[order],
        walk.truncate,
        walk.reverse,
    )


def _captured(node: Node, new: Sequence[Node], wrt: Node) -> list[Node]:
    """Return the captured leaves of a body by which a new state depends on something."""
    body: Graph = node.attrs["body"]
    walk = scan.walk_of(node.attrs)
    reached = differentiate.depends(ir.topological(node.inputs), [wrt])
    inner = scan.parts(body.inputs[:-1], walk).captured
    given = scan.parts(node.inputs, walk).captured
    used = set(ir.topological(new))
    return [n for n, v in zip(inner, given, strict=True) if v in reached and n in used]


def _size(node: Node) -> int:
    return int(np.prod(node.shape, dtype=int))


def _is_small(new: Sequence[Node], wrt: Sequence[Node]) -> bool:
    if not all(isinstance(d, int) for n in (*new, *wrt) for d in n.shape):
        return False
    elements = sum(map(_size, new))
    return 0 < elements <= _STATE and elements * sum(map(_size, wrt)) <= _DERIVATIVES


def _rows(node: Node, new: Sequence[Node], wrt: Sequence[Node]) -> list[list[Node | None]]:
    """Return stacked over t, for each element of the new state, its derivatives by nodes."""
    units = [
        [leaf.constant(_unit(n, place if i == part else None), n.dtype) for i, n in enumerate(new)]
        for part, chosen in enumerate(new)
        for place in range(_size(chosen))
    ]
    found = [differentiate.cotangents(new, seeds, wrt) for seeds in units]
    flat = [made[n] for made in found for n in wrt if n in made]
    stacks = dict(zip(flat, stacked(node, flat), strict=True))
    return [[stacks[made[n]] if n in made else None for n in wrt] for made in found]


def _unit(like: Node, place: int | None) -> Array:
    unit = np.zeros(like.shape, like.dtype)
    if place is not None:
        unit.reshape(-1)[place] = 1
    return unit


def stacked(node: Node, values: Sequence[Node]) -> list[Node]:
    """Return values of a loop's body, each stacked over t."""
    body: Graph = node.attrs["body"]
    walk = scan.walk_of(node.attrs)
    first = walk.carries + walk.stacked
    outputs = (*body.outputs[:first], *values, *body.outputs[first:])
    made = scan.scan(
        replace(walk, stacked=walk.stacked + len(values)), Graph(body.inputs, outputs), node.inputs
    )
    return [scan.result(made, first + i) for i in range(len(values))]


def _matrix(
    rows: Sequence[Node | None], like: Node, known: Mapping[Node, Any], length: int
) -> Array:
    """Return (T, rows, n) of stacked arrays of n elements; zeros where there is none."""
    zeros = np.zeros((length, _size(like)), like.dtype)
    flat = [zeros if n is None else np.asarray(known[n]).reshape(zeros.shape) for n in rows]
    return np.stack(flat, axis=1)


def _outside(value: Node, wrt: Node) -> list[Node]:
    """Return the derivatives of each element of a captured value by what is derived by."""
    if value is wrt:
        return []
    seeds = (leaf.constant(_unit(value, i), value.dtype) for i in range(_size(value)))
    return [differentiate.cotangents((value,), (seed,), [wrt])[wrt] for seed in seeds]


def _jacobian(rows: Sequence[Node], held: Node, wrt: Node, known: Mapping[Node, Any]) -> Array:
    if not rows:
        return np.eye(_size(held), dtype=held.dtype)
    return np.stack([np.asarray(known[n]).reshape(_size(wrt)) for n in rows])


def _by_state(node: Node, new: Sequence[Node], loss: Node) -> list[Node | None]:
    """Return ``∂L/∂z[t]`` of all steps (T, …) for each part of a state, the other parts held."""
    body: Graph = node.attrs["body"]
    walk = scan.walk_of(node.attrs)
    errors = [leaf.input(f"e{i}", n.shape, n.dtype) for i, n in enumerate(new)]
    moved = {n: elementwise.apply(elementwise.ADD, n, e) for n, e in zip(new, errors, strict=True)}
    outputs = tuple(over(n, moved) for n in body.outputs)
    zeros = [linear.broadcast_to(leaf.constant(0, n.dtype), (walk.length, *n.shape)) for n in new]
    first = walk.carries + walk.sequences
    made = scan.scan(
        replace(walk, sequences=walk.sequences + len(zeros)),
        Graph((*body.inputs[:first], *errors, *body.inputs[first:]), outputs),
        (*node.inputs[:first], *zeros, *node.inputs[first:]),
    )
    disturbed = ir.substitute((loss,), {node: made})[loss]
    found = differentiate.cotangents((disturbed,), (differentiate.ones(loss),), zeros)
    return [found.get(z) for z in zeros]
