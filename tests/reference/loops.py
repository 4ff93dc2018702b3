"""Loops step by step, the body evaluated anew at each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc import dims
from graphc.ir import Graph, Node
from reference.context import Array, Context, Rule


def rules(evaluate: Callable[..., list[Array]]) -> dict[str, Rule]:
    """Return the rule of scan over an evaluator of closed bodies."""

    def scan(context: Context, node: Node, inputs: list[Any]) -> tuple[Array, ...]:
        body: Graph = node.attrs["body"]
        c, s, y = (node.attrs[k] for k in ("carries", "sequences", "stacked"))
        length = dims.evaluate(node.attrs["length"], context.sizes)
        carries, sequences, captured = inputs[:c], inputs[c : c + s], inputs[c + s :]
        stacked: list[dict[int, Array]] = [{} for _ in range(y)]
        sums: list[list[Array]] = [[] for _ in body.outputs[c + y :]]
        order = reversed(range(length)) if node.attrs["reverse"] else range(length)
        for t in order:
            values = [*carries, *(x[t] for x in sequences), *captured, np.array(t, "int64")]
            at = dict(zip(body.inputs, [np.asarray(v) for v in values], strict=True))
            found = evaluate(body.outputs, at, context)
            carries = found[:c]
            for held, value in zip(stacked, found[c : c + y], strict=True):
                held[t] = value
            for terms, value in zip(sums, found[c + y :], strict=True):
                terms.append(value)
        outputs = body.outputs[c:]
        stacks = [
            _stacked([held[t] for t in range(length)], context, n)
            for held, n in zip(stacked, outputs[:y], strict=True)
        ]
        totals = [_total(terms, context, n) for terms, n in zip(sums, outputs[y:], strict=True)]
        return (*carries, *stacks, *totals)

    return {"scan": scan}


def _stacked(values: list[Array], context: Context, output: Node) -> Array:
    if values:
        return np.stack(values)
    return np.zeros((0, *context.shape(output.shape)), output.dtype)


def _total(terms: list[Array], context: Context, output: Node) -> Array:
    total = np.zeros(context.shape(output.shape), object if context.symbolic else output.dtype)
    if not context.symbolic and output.dtype in ("float32", "float64"):
        wide = sum(
            (np.asarray(t, "longdouble") for t in terms), np.zeros(total.shape, "longdouble")
        )
        return np.asarray(wide).astype(output.dtype)
    for term in terms:
        total = total + term
    return np.asarray(total)
