"""Lifetimes of the arena's buffers, which decide what may share memory.

Order and lifetimes are fixed at compile time; where each buffer lies is computed when the open
dimensions change, by ``gx_place`` of the runtime.

What every step of a loop writes before it reads it lives inside the step. What is touched outside
the loop too, or read from the step before, lives for as long as the loop runs.
"""

from __future__ import annotations

from graphc_c.plan import Begin, Buffer, End, Kernel, Plan

Span = tuple[int, int]


def lifetimes(plan: Plan) -> list[Span]:
    """Return (first, last) step of each arena buffer, in the order of their index."""
    touches: dict[Buffer, list[tuple[int, bool]]] = {}
    for step, kernel in enumerate(plan.steps):
        if isinstance(kernel, Kernel):
            views = [(v, False) for v in kernel.reads] + [(v, True) for v in kernel.writes]
            for view, writes in views:
                if view.buffer.storage == "arena":
                    touches.setdefault(view.buffer, []).append((step, writes))
    spans = {b: (found[0][0], found[-1][0]) for b, found in touches.items()}
    for begin, end in _loops(plan):
        for buffer, found in touches.items():
            inside = [writes for step, writes in found if begin < step < end]
            first, last = spans[buffer]
            if inside and (first < begin or last > end or not inside[0]):
                spans[buffer] = (min(first, begin), max(last, end))
    return [spans[b] for b in plan.arena]


def _loops(plan: Plan) -> list[Span]:
    """Return the steps at which loops open and close, inner loops first."""
    found, open_ = [], list[int]()
    for step, kernel in enumerate(plan.steps):
        if isinstance(kernel, Begin):
            open_.append(step)
        elif isinstance(kernel, End):
            found.append((open_.pop(), step))
    return found
