"""The picture of a chain: forward quantities in a column, a local derivative on each way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphc.render import chain, words
from graphc.render.chain import Chain, Quantity
from graphc.render.diagram import Diagram
from graphc.render.forward import BUDGET
from graphc.render.sketch import Arrow, Box, Sketch, without_loops

_TITLE = 80  # characters of a formula that is a title
_MIDDLE = "middle"


def diagram(made: Chain, title: str | None = None) -> Diagram:
    """Return the picture of a chain; its formula is the title, if it is short."""
    if title is None:
        title = made.formula if len(made.formula) <= _TITLE else made.symbol
        if made.count > 1:
            title += f"   ({made.count:,} paths)"
    keys = _keys(made.quantities)
    boxes = {keys[q.symbol]: _box(made, q, keys[q.symbol]) for q in made.quantities}
    if len(boxes) < len(made.quantities):
        count = len(made.quantities) - len(boxes) + 1
        boxes[_MIDDLE] = Box(_MIDDLE, "group", f"{count:,} quantities", "", title="…")
    arrows = tuple(
        Arrow(
            keys[f.denominator],
            keys[f.numerator],
            f.symbol,
            "reused" if f.reused else "factor",
            f.rule,
            chain.value_text(f),
        )
        for f in (*made.factors, *made.repeated)
    )
    arrows += tuple(_turns(made, keys))
    return Diagram(Sketch(tuple(boxes.values()), without_loops(arrows), title))


def _turns(made: Chain, keys: Mapping[str, str]) -> Iterator[Arrow]:
    """Yield the ways from a new carry to the next step, where it is the one before."""
    for f in made.repeated:
        if f.denominator.startswith(f"{f.numerator}["):
            sign = "+" if "−" in f.denominator else "−"
            yield Arrow(keys[f.numerator], keys[f.denominator], f"t → t {sign} 1", "loop")


def _keys(quantities: Sequence[Quantity]) -> dict[str, str]:
    """Return the key of each quantity's box; those in the middle of a long chain share one."""
    spare = len(quantities) - BUDGET
    middle = range(BUDGET // 2, BUDGET // 2 + spare + 1) if spare > 0 else range(0)
    return {q.symbol: _MIDDLE if i in middle else f"n{i}" for i, q in enumerate(quantities)}


def _box(made: Chain, quantity: Quantity, key: str) -> Box:
    value, slope = quantity.value, quantity.gradient
    return Box(
        key=key,
        kind=quantity.kind,
        words=quantity.expression,
        shape=quantity.type,
        title=quantity.symbol,
        name=quantity.symbol,
        is_output=quantity is made.quantities[-1],
        value=words.value_words(value) if value is not None else "",
        slope="" if slope is None else f"∂L/∂{quantity.symbol} = {words.value_words(slope)}",
        tip=quantity.where,
    )
