"""Lifetimes of the arena's buffers, which decide what may share memory.

Order and lifetimes are fixed at compile time; where each buffer lies is computed when the open
dimensions change, by ``gx_place`` of the runtime.
"""

from __future__ import annotations

from graphc_c.plan import Buffer, Plan


def lifetimes(plan: Plan) -> list[tuple[int, int]]:
    """Return (first, last) kernel of each arena buffer, in the order of their index."""
    spans: dict[Buffer, tuple[int, int]] = {}
    for step, kernel in enumerate(plan.kernels):
        for view in (*kernel.reads, *kernel.writes):
            if view.buffer.storage == "arena":
                first, _ = spans.get(view.buffer, (step, step))
                spans[view.buffer] = (first, step)
    return [spans[b] for b in plan.arena]
