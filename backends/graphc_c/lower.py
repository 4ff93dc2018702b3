"""From a program to its plan: which kernels run over which buffers.

Here the graph ends. How each op becomes kernels stands in `lowerings`, by op name. Knows no C text.
"""

from __future__ import annotations

from graphc import ir
from graphc.ir import Function, Node, Program
from graphc_c.lowering import Lowering
from graphc_c.lowerings import LOWERINGS
from graphc_c.plan import Array, Buffer, Plan, ProgramPlan

LEAVES = ("input", "parameter", "state")


def missing(program: Program) -> list[str]:
    """Return the names of ops that have no lowering, sorted."""
    names = {n.op.name for n in ir.topological(program.roots)}
    return sorted(names - LOWERINGS.keys() - set(LEAVES))


def lower(program: Program) -> ProgramPlan:
    """Return the plan of a canonical program.

    Promises: kernels in an order in which what is read has been written; each output and each
        update in a buffer of its own.
    """
    states = tuple(Buffer(n.tensor, "state", i) for i, n in enumerate(program.states))
    owners = dict(zip(program.states, states, strict=True))
    constants: list[Array] = []
    plans = tuple(_lowered(f, owners, constants) for f in program.functions)
    return ProgramPlan(program.name, plans, states, tuple(constants))


def _lowered(function: Function, states: dict[Node, Buffer], constants: list[Array]) -> Plan:
    lowering = Lowering(function, states, constants)
    for node in ir.topological(function.roots):
        if not lowering.knows(node):
            lowering.keep(node, LOWERINGS[node.op.name](lowering, node))
    return lowering.finished()
