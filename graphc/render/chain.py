"""The chain rule from a loss back to one tensor, as data: factors, paths, what is re-used.

Holds what a chain is and how it reads as text; `paths` finds it in a graph, and `chain_picture`
draws it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.render import files, words

if TYPE_CHECKING:
    from graphc.render.diagram import Diagram

Array = np.ndarray[Any, Any]
INCOMING = "•"  # what the factors to the left have gathered
_FORMULA_FACTORS = 24  # of a path that is written out


@dataclass(frozen=True, slots=True)
class Factor:
    """One local derivative of a chain.

    Attributes:
        symbol: ``∂h1/∂s1``.
        numerator: what is derived: ``h1``.
        denominator: what it is derived by: ``s1``.
        rule: what the factor does to ``•``, the product of those before it; a plain factor is
            written without it: ``1 − h1²``, ``• @ W2ᵀ``.
        type: dtype and shape of ``∂L/∂denominator``.
        reused: whether chains to other parameters have this factor too.
        ways: how many paths it stands for; more than one where a chain had too many.
        value: where numbers are given and it is small, the array of derivatives, of the
            numerator's shape followed by the denominator's.
        gradient: where numbers are given, the product of the factors up to here.
        loop: of a factor for each step back, its loop's place in the chain's ``over``.
    """

    symbol: str
    numerator: str
    denominator: str
    rule: str
    type: str
    reused: bool
    ways: int = 1
    value: Array | None = None
    gradient: Array | None = None
    loop: int = 0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value of the forward pass that a chain leads through.

    Attributes:
        symbol: what factors call it.
        kind: "parameter", "input", "state", "constant" or "op".
        expression: how it is computed; empty for a leaf.
        type: dtype and shape.
        where: ``file:line`` of the user's call.
        value: its numbers, where they are given.
        gradient: the loss's derivative by it, over all paths.
    """

    symbol: str
    kind: str
    expression: str
    type: str
    where: str = ""
    value: Array | None = None
    gradient: Array | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The chain rule as a value: it prints as text, shows its picture in a notebook, and saves.

    Attributes:
        symbol: ``∂L/∂w1``.
        quantities: what the paths lead through, inputs before users; the loss is the last.
        factors: each factor once, the loss's first.
        paths: the factors of each path, the loss's first; the derivative is their sum. Of more
            than `paths.MOST` paths there is one, whose factors each stand for several.
        count: how many paths there are; of a chain through loops, within a step.
        repeated: the factors that lead from a step of a loop to the one before it; they stand once
            for each step back.
        over: for each loop on the way, how it walks; the derivative is a sum over its steps.
    """

    symbol: str
    quantities: tuple[Quantity, ...]
    factors: tuple[Factor, ...]
    paths: tuple[tuple[Factor, ...], ...]
    count: int
    repeated: tuple[Factor, ...] = ()
    over: tuple[str, ...] = ()

    @property
    def formula(self) -> str:
        """The chain rule on one line: ``∂L/∂w = ∂L/∂ŷ · ∂ŷ/∂s · ∂s/∂w``.

        Through a loop it is a sum over the steps and over the steps back:
        ``∂L/∂w = Σ ∂L/∂h · Π ∂h/∂h[t − 1] · ∂h/∂w``.
        """
        product = " + ".join(self.product_text(path) for path in self.paths)
        return f"{self.symbol} = {'Σ ' if self.over else ''}{product}"

    def product_text(self, path: tuple[Factor, ...]) -> str:
        """Return the product of a path's factors, those of a loop's steps where they stand."""
        symbols = [factor.symbol for factor in path]
        if len(symbols) > _FORMULA_FACTORS:
            half = _FORMULA_FACTORS // 2
            symbols = [*symbols[:half], "…", *symbols[-half:]]
            return " · ".join(symbols)
        found: dict[int, list[str]] = {}
        for i in range(len(self.over)):
            factors = [f for f in self.repeated if f.loop == i]
            back = {name for f in factors for name in (f.numerator, f.denominator)}
            place = next((k for k, f in enumerate(path) if f.denominator in back), None)
            if place is not None:
                found.setdefault(place, []).append(f"Π {_step_back(factors)}")
        parts = [text for k, s in enumerate(symbols) for text in (s, *found.get(k, ()))]
        return " · ".join(parts) or "1"

    @property
    def has_exchange(self) -> bool:
        """Whether a loop on the way hands on more than one carry."""
        groups = (
            {f.numerator for f in self.repeated if f.loop == i} for i in range(len(self.over))
        )
        return any(len(group) > 1 for group in groups)

    @property
    def product(self) -> Array | None:
        """The product of each path's factors, summed over the paths and over the steps of loops.

        None without numbers.
        """
        if self.over:
            goal = self.symbol.removeprefix("∂L/∂")
            return next((q.gradient for q in self.quantities if q.symbol == goal), None)
        ends = [path[-1].gradient if path else np.ones(()) for path in self.paths]
        found = [end for end in ends if end is not None]
        return reduce(np.add, found) if len(found) == len(ends) else None

    @property
    def diagram(self) -> Diagram:
        """The picture of the chain."""
        from graphc.render import chain_picture

        return chain_picture.diagram(self)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_svg_(self) -> str:
        return self.diagram.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the form that the suffix names: .svg .png .dot .txt; missing folders are made.

        Errors: RenderError for another suffix, or where no engine is found; OSError
        """
        forms: files.Forms = {
            ".svg": lambda: self.diagram.svg,
            ".png": lambda: self.diagram.png,
            ".dot": lambda: self.diagram.dot,
            ".txt": lambda: f"{self}\n",
        }
        files.save(path, forms)


def _step_back(factors: list[Factor]) -> str:
    """Return what one loop's factors for a step back are together."""
    above = list(dict.fromkeys(f.numerator for f in factors))
    below = list(dict.fromkeys(f.denominator for f in factors))
    if len(above) == len(below) == 1:
        return f"∂{above[0]}/∂{below[0]}"
    return f"∂({', '.join(above)})/∂({', '.join(below)})"


def value_text(factor: Factor) -> str:
    """Return a factor's numbers in a few words, of a diagonal matrix the diagonal."""
    value = factor.value
    if value is None:
        return ""
    shown = np.squeeze(value)
    if shown.ndim == 2 and np.array_equal(shown, np.diag(shown.diagonal())):
        shown = shown.diagonal()
    return words.value_words(shown)


def _lines(chain: Chain) -> Iterator[str]:
    yield chain.formula if len(chain.paths) == 1 else f"{chain.symbol} = the sum of"
    if len(chain.paths) > 1:
        texts = [chain.product_text(path) for path in chain.paths]
        yield from (f"  {'+' if i else ' '} {text}" for i, text in enumerate(texts))
    if chain.count > len(chain.paths):
        yield f"{chain.count:,} paths, which meet at the quantities that are shown"
    yield from (f"the sum over the steps, {walk}" for walk in chain.over)
    yield ""
    rows = [_row(factor) for factor in chain.factors]
    rows += [(*_row(factor)[:3], "for each step back", "") for factor in chain.repeated]
    widths = [max(len(row[i]) for row in rows) for i in range(4)] if rows else []
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True))
        yield f"  {'   '.join(padded)}".rstrip()
    yield from _legend(chain)
    if chain.product is not None:
        yield f"{chain.symbol} = {words.array_text(chain.product)}"


def _row(factor: Factor) -> tuple[str, ...]:
    value = value_text(factor)
    mark = "re-used" if factor.reused else ""
    return (factor.symbol, factor.rule, factor.type, mark, f"= {value}" if value else "")


def _legend(chain: Chain) -> Iterator[str]:
    yield ""
    if any(INCOMING in factor.rule for factor in chain.factors):
        yield f"{INCOMING} is the product of the factors before"
    if chain.repeated:
        yield "Π is the product over the steps back: none, one, two, …"
    if chain.has_exchange:
        yield "(from one on, where a path leaves it by another carry than it enters by)"
    if any(factor.reused for factor in chain.factors):
        yield "re-used: chains to other parameters have this factor too"
