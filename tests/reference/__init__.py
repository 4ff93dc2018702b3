"""What every op means, by plain loops: the oracle of the tests.

Shares no code with a back end, nor with the core's own evaluation of formulas; result shapes are
counted here and never read from a node's type.

Two kinds of arrays go through the same loops. *Numbers* have the nodes' dtypes: exact ops are
computed in them, as NumPy does; rounded and sum ops in ``longdouble``, and then rounded once.
*Symbols* are object arrays of anything with ``+ - * /``; an op that chooses asks ``number`` which
number a symbol carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc import ir
from graphc.ir import Node
from reference import elementwise, loops, movement, pools, sums
from reference.context import FLOATS, Array, Context, Rule
from reference.movement import philox

__all__ = ["FLOATS", "RULES", "Context", "Rule", "evaluate", "philox"]


def evaluate(
    outputs: Sequence[Node],
    at: Mapping[Node, Array],
    sizes: Mapping[str, int] | None = None,
    *,
    number: Callable[[Any], Any] | None = None,
    exact: Callable[[Any], Any] = lambda value: value,
    extra: Mapping[str, Rule] | None = None,
) -> list[Array]:
    """Return the values of nodes, given those of leaves (or of any node on the way).

    ``number`` switches to symbols; ``extra`` has rules for ops that a test made up.
    """
    context = Context(sizes or {}, number, exact, extra=extra or {})
    return _evaluated(outputs, at, context)


def _evaluated(outputs: Sequence[Node], at: Mapping[Node, Array], context: Context) -> list[Array]:
    values: dict[Node, Any] = dict(at)
    rules = RULES | dict(context.extra)
    with np.errstate(all="ignore"):
        for node in ir.topological(outputs):
            if node not in values:
                inputs = [values[n] for n in node.inputs]
                values[node] = rules[node.op.name](context, node, inputs)
    return [values[n] for n in outputs]


RULES: dict[str, Rule] = {
    **{**movement.RULES, **elementwise.RULES, **sums.RULES, **pools.RULES},
    **loops.rules(_evaluated),
}
