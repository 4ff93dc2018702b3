"""Gradients among a function's outputs, and how differences of the loss can confirm them.

Finds which output is the gradient of which, and at which steps differences are worth comparing.
It makes no call of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc import dims, ir
from graphc.arguments import Signature
from graphc.backend import Case, Direction, Slope
from graphc.errors import CallError
from graphc.ir import Function, Node, Note, Program

Array = npt.NDArray[Any]
Run = Callable[[Sequence[Array], Mapping[str, int], Mapping[str, Array]], list[Array]]

# Steps around eps ** (1/3), which balances rounding against curvature at values of about 1; the
# best is chosen by the error that is estimated.
_FACTORS = (16.0, 4.0, 1.0, 0.25, 0.0625)
# A gradient is a sum itself: what it may miss of its own norm.
_RELATIVE = {"float32": 1e-3, "float64": 1e-8}
# A comparison that would let a tenth pass says nothing. Along itself, the inner product is at
# least the gradient's norm, since its largest entry moves by 1.
_CONCLUSIVE = 0.05
_NOISE = 16  # roundings that the loss may be off by
_MOST = 16  # gradients of one function that are compared
_WORK = 2e10  # multiply-adds that the search for steps may take


@dataclass(frozen=True, slots=True)
class Link:
    """One gradient: its position and its loss's among a function's outputs, and its leaf's name."""

    gradient: int
    loss: int
    leaf: str


def links(program: Program) -> dict[str, tuple[Link, ...]]:
    """Return the gradients among the outputs of each function of a program as declared.

    Where each gradient comes from stands in its note, and its loss in the note of the seed that it
    grew from: passes may take these nodes away, so a canonical program tells less.
    """
    found = {}
    for function in program.functions:
        made = _gradients(program, function)
        if made:
            found[function.name] = _linked(function, made)
    return found


def _gradients(program: Program, function: Function) -> dict[int, str]:
    """Return the leaf of each output that is a gradient, by position."""
    leaves = {n.note: n.attrs["name"] for n in (*program.states, *function.inputs)}
    found = {}
    for i, node in enumerate(function.outputs):
        origin = node.note.origin
        if origin is not None and origin.role.startswith("dL/d") and origin.note in leaves:
            found[i] = leaves[origin.note]
    return found


def _linked(function: Function, gradients: Mapping[int, str]) -> tuple[Link, ...]:
    losses = {
        n.note: i for i, n in enumerate(function.outputs) if n.tensor.is_float and n.shape == ()
    }
    together = _losses([function.outputs[i] for i in gradients], losses)
    found = []
    for i, leaf in gradients.items():
        # One walk is enough where only one loss is to be found.
        own = together if len(together) < 2 else _losses([function.outputs[i]], losses)
        found += [Link(i, loss, leaf) for loss in own] if len(own) == 1 else []
    return tuple(found)


def _losses(roots: Sequence[Node], losses: Mapping[Note, int]) -> set[int]:
    """Return the positions of the losses whose derivatives some nodes are made of."""
    origins = [n.note.origin for n in ir.topological(roots)]
    seeds = [o.note for o in origins if o is not None and o.role == "dL/dL"]
    return {losses[note] for note in seeds if note in losses}


def measured(
    case: Case, links: Sequence[Link], signature: Signature, states: Mapping[str, Array], run: Run
) -> Case:
    """Return a case with the directions and steps at which its gradients can be compared.

    ``run`` gives the outputs of a call on inputs, at sizes, with some states changed.
    """
    each = 2 * 2 * len(_FACTORS) * max(cost(signature, case.sizes), 1)
    chosen = _spread(links, min(_MOST, int(_WORK // each)))
    found = []
    for link in links:
        point = _Point(case, link, signature, states, run)
        ways = (False, True) if link in chosen else ()
        directions = [point.direction(made_up) for made_up in ways]
        kept = tuple(d for d in directions if d is not None)
        found.append(Slope(link.gradient, link.loss, link.leaf, kept))
    return replace(case, slopes=tuple(found))


def cost(signature: Signature, sizes: Mapping[str, int]) -> int:
    """Return the multiply-adds of a call."""
    order = ir.topological(signature.function.roots)
    return sum(dims.evaluate(n.op.cost(n), sizes) for n in order)


def _spread(links: Sequence[Link], count: int) -> set[Link]:
    """Return some of the links, from the first to the last."""
    if count >= len(links):
        return set(links)
    return {links[i * len(links) // count] for i in range(count)}


def signs(count: int) -> Array:
    """Return made-up signs: the top bits of splitmix64's outputs from 0.

    Source: Steele, Lea & Flood 2014, as Vigna's splitmix64.c has it
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    z = np.arange(1, count + 1, dtype="uint64") * golden
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    top = (z ^ (z >> np.uint64(31))) >> np.uint64(63)
    return 1.0 - 2.0 * top.astype("float64")


class _Point:
    """A recorded call, one leaf of which is moved."""

    def __init__(
        self, case: Case, link: Link, signature: Signature, states: Mapping[str, Array], run: Run
    ) -> None:
        self._case, self._link, self._run = case, link, run
        self._place = signature.names.index(link.leaf) if link.leaf in signature.names else None
        held = states[link.leaf] if self._place is None else case.inputs[self._place]
        self._leaf = held
        self._gradient = case.outputs[link.gradient].astype("float64")

    def direction(self, made_up: bool) -> Direction | None:
        """Return the best step along a direction, if differences say enough there.

        The error of a central difference D(h) is estimated as its change from the step four
        times as long (15/16 of which is the longer one's curvature), the rounding of the loss
        over h, and the rounding of the moved leaf. The reference has to agree within half of it:
        else the gradient is not the loss's plain derivative.
        """
        norm = float(np.linalg.norm(self._gradient))
        if norm == 0 or not math.isfinite(norm):
            return None
        along = signs(self._gradient.size).reshape(self._gradient.shape)
        if not made_up:
            along = self._gradient / np.abs(self._gradient).max()
        try:
            bound, step, slope = self._best(along, norm)
        except CallError:  # an index that is computed from what moved
            return None
        apart = abs(slope - float((self._gradient * along).sum()))
        if not (bound <= _CONCLUSIVE * norm and apart <= bound / 2):
            return None
        return Direction(made_up, _short(step), _short(bound))

    def _best(self, along: Array, norm: float) -> tuple[float, float, float]:
        """Return the least estimated error, its step, and the difference there."""
        types = (self._leaf.dtype, self._case.outputs[self._link.loss].dtype)
        unit = max(float(np.finfo(t).eps) for t in types)
        steps = [f * unit ** (1 / 3) for f in _FACTORS]
        found = [self._difference(along, h) for h in steps]
        noise = _NOISE * unit * abs(float(self._case.outputs[self._link.loss]))
        noise += norm * unit * float(np.abs(self._leaf).max(initial=0.0))
        own = norm * max(_RELATIVE[t.name] for t in types)
        bounds = [
            (abs(found[k] - found[k - 1]) + noise / steps[k] + own, steps[k], found[k])
            for k in range(1, len(steps))
        ]
        return min((b for b in bounds if math.isfinite(b[0])), default=(math.inf, 0.0, 0.0))

    def _difference(self, along: Array, step: float) -> float:
        up, down = (self._loss(along, side * step) for side in (1, -1))
        return (up - down) / (2 * step)

    def _loss(self, along: Array, step: float) -> float:
        moved = (self._leaf.astype("float64") + step * along).astype(self._leaf.dtype)
        inputs, changed = list(self._case.inputs), {}
        if self._place is None:
            changed = {self._link.leaf: moved}
        else:
            inputs[self._place] = moved
        return float(self._run(inputs, self._case.sizes, changed)[self._link.loss])


def _short(value: float) -> float:
    """Return a number of three digits, which is read more easily and hardly another."""
    return float(f"{value:.3g}")
