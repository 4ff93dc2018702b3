"""Random cells by seed: bodies of loops with nests of carries, masks, borders and inner loops.

Only smooth, bounded functions are drawn, so that central differences can judge the gradients.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import graphc as gx
from graphc import ir
from graphc.dsl import structure
from graphc.ops import leaf

LEAVES = (leaf.INPUT, leaf.PARAMETER)
UNARY = (gx.tanh, gx.sigmoid, gx.sin, gx.softplus, gx.atan)
# Positions stand for carries of their own sizes.
CARRIES: tuple[Any, ...] = (0, (0, 1), {"h": 0, "c": 1}, (0, {"c": 1, "deep": (2,)}), [0, 1])
SEQUENCES: tuple[Any, ...] = (0, (0, 1), {"x": 0, "more": (1, 2)}, None)


@dataclass
class Drawn:
    """A loop that was drawn.

    Attributes:
        loss: a scalar that every result moves in a way of its own.
        leaves: all that the loss can be derived by, by name.
        sizes: T and N.
        options: what `gx.scan` got.
        inner: whether there is a loop in the loop.
        others: inputs that nothing is derived by.
    """

    loss: gx.Tensor
    leaves: dict[str, gx.Tensor]
    sizes: dict[str, int]
    options: dict[str, Any]
    inner: bool
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> set[str]:
        """The names of the leaves that are parameters."""
        return {name for name in self.leaves if name.startswith("w")}

    @property
    def masks(self) -> list[gx.Tensor]:
        """The input of lengths, if there is one."""
        return [self.options["lengths"]] if "lengths" in self.options else []

    def open_sizes(self) -> dict[str, int]:
        """Return the length of the loop, if it is open."""
        return {} if "length" in self.options else {"T": self.sizes["T"]}

    def values(self) -> dict[str, Any]:
        """Return arrays for all leaves, drawn from the sizes."""
        generator = np.random.default_rng(sum(self.sizes.values()))
        made = {}
        for name, tensor in self.leaves.items():
            shape = [d if isinstance(d, int) else self.sizes[str(d)] for d in tensor.shape]
            made[name] = generator.standard_normal(shape) * 0.7
        return made | self.others


def leaf_names(loss: gx.Tensor) -> set[str]:
    """Return the names of what a loss depends on."""
    return {n.attrs["name"] for n in ir.topological([loss.node]) if n.op in LEAVES}


def drawn(seed: int, *, truncated: bool = True) -> Drawn:
    """Return the loop of a seed; its borders, if it has any, are left out on demand."""
    with gx.default_dtype("float64"):
        return _Drawing(random.Random(seed), truncated).loop()


class _Drawing:
    def __init__(self, chance: random.Random, truncated: bool) -> None:
        self.chance, self.truncated = chance, truncated
        self.leaves: dict[str, gx.Tensor] = {}
        self.inner = False
        self.sizes = {"T": chance.randint(1, 7), "N": chance.randint(1, 3)}

    def loop(self) -> Drawn:
        nest, self.steps = self.chance.choice(CARRIES), self.chance.choice(SEQUENCES)
        init = structure.transform(lambda i: self.input(f"h{i}", ("N", self.width())), nest)
        xs = structure.transform(
            lambda i: None if i is None else self.input(f"x{i}", ("T", "N", self.width())),
            self.steps,
        )
        self.captured = self.input("z", ("N", self.width())).tanh()
        self.returns = self.chance.randrange(3)  # ys beside the carry
        options = self.options()
        made = gx.scan(self.cell, init, xs, **options)
        others: dict[str, Any] = {}
        if "lengths" in options:
            others["lengths"] = [self.chance.randint(0, 8) for _ in range(self.sizes["N"])]
        loss = _total(made)
        found = leaf_names(loss)
        leaves = {name: t for name, t in self.leaves.items() if name in found}
        return Drawn(loss, leaves, self.sizes, options, self.inner, others)

    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.steps is None:
            found["length"] = self.sizes["T"]
        if self.chance.random() < 0.4:
            found["reverse"] = True
        border = self.chance.randint(1, 9)
        if border <= 3 and self.truncated:
            found["truncate"] = border
        if self.chance.random() < 0.3:
            found["lengths"] = gx.input("lengths", ("N",), dtype="int64")
        return found

    def width(self) -> int:
        return self.chance.randint(1, 4)

    def input(self, name: str, shape: tuple[Any, ...]) -> gx.Tensor:
        self.leaves[name] = gx.input(name, shape)
        return self.leaves[name]

    def weight(self, rows: Any, columns: int) -> gx.Tensor:
        name = f"w{len(self.leaves)}"
        self.leaves[name] = gx.parameter(name, (rows, columns))
        return self.leaves[name]

    def cell(self, carry: Any, x: Any) -> tuple[Any, Any]:
        pool = [*structure.flatten(carry)[0], self.captured]
        pool += [] if x is None else structure.flatten(x)[0]
        for _ in range(self.chance.randint(2, 6)):
            pool.append(self.grown(pool))
        new = structure.transform(lambda h: self.kept(pool, h), carry)
        ys = [self.chance.choice(pool) for _ in range(self.returns)]
        return new, (ys or None)

    def kept(self, pool: list[gx.Tensor], h: gx.Tensor) -> gx.Tensor:
        """Return a new carry as wide as the old one; now and then the old one itself."""
        if self.chance.random() < 0.1:
            return h
        return gx.tanh(self.as_wide(self.chance.choice(pool), h) + 0.5 * h)

    def as_wide(self, a: gx.Tensor, b: gx.Tensor) -> gx.Tensor:
        if a.shape[-1] == b.shape[-1]:
            return a
        return a @ self.weight(a.shape[-1], b.shape[-1])

    def grown(self, pool: list[gx.Tensor]) -> gx.Tensor:
        a, b = self.chance.choice(pool), self.chance.choice(pool)
        kind = self.chance.randrange(6)
        if kind == 0:
            return self.chance.choice(UNARY)(a)
        if kind == 1:
            return gx.tanh(a @ self.weight(a.shape[-1], self.width()))
        if kind == 2:
            return gx.concatenate([a, b], axis=1)[:, : self.width()]
        if kind == 3:
            return self.inner_loop(a, b)
        left = self.as_wide(a, b)
        return gx.sin(left * b) if kind == 4 else gx.tanh(left + b)

    def inner_loop(self, a: gx.Tensor, b: gx.Tensor) -> gx.Tensor:
        """Return what a loop of three steps in the loop leaves; it captures values of the step."""
        self.inner = True
        w = self.weight(b.shape[-1], b.shape[-1])
        left = self.as_wide(a, b)

        def cell(h: gx.Tensor, x: gx.Tensor) -> tuple[gx.Tensor, gx.Tensor]:
            h = gx.tanh(h @ w + x * left)
            return h, h * b

        h, ys = gx.scan(cell, b, gx.stack([left, b, left * b]), reverse=self.chance.random() < 0.5)
        return h + gx.tanh(ys.sum(axis=0))


def _total(nest: Any) -> gx.Tensor:
    """Return a scalar that every tensor of a nest moves in a way of its own."""
    leaves = [t for t in structure.flatten(nest)[0] if t is not None]
    result = gx.sin(leaves[0]).sum()
    for i, t in enumerate(leaves[1:], start=2):
        result = result + gx.sin(t * i).sum()
    return result
