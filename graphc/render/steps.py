"""One line of a derivation, as data.

Holds no text of a whole derivation and derives nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.render import notation
from graphc.render.notation import Math


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a derivation.

    Attributes:
        kind: "leaf", "definition", "gradient", "time" or "result".
        symbol: what the step gives a value to: ``s1``, ``∂L/∂s1``.
        expression: the value, in symbols of earlier steps; empty for a leaf.
        type: dtype and shape.
        rules: the local rules that were applied, one line each.
        where: ``file:line`` of the user's call.
        value: its numbers, where they are known.
        left: the symbol as mathematics.
        right: the expression as mathematics.
    """

    kind: str
    symbol: str
    expression: str
    type: str
    rules: tuple[str, ...] = ()
    where: str = ""
    value: str = ""
    left: Math = notation.EMPTY
    right: Math = notation.EMPTY
