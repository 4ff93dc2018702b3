"""The verifier: what must hold of every program between any two passes."""

from __future__ import annotations

from collections.abc import Iterable

from graphc import dims, ir
from graphc.errors import GraphcError, GraphError, InternalError, NameClashError
from graphc.ir import Function, Graph, Node, Program

_OPEN_LEAVES = ("input", "parameter", "state")


def verify(program: Program, *, after: str = "declaration") -> list[dims.Condition]:
    """Check a program and return the conditions on sizes that only a call can decide.

    Errors: InternalError that names the pass after which something no longer holds.
    """
    with dims.collecting() as conditions:
        for node in ir.topological(program.roots):
            _check_node(node, after)
    for function in program.functions:
        _check_function(function, program, after)
    _check_names(program)
    return list(dict.fromkeys(conditions))


def _check_node(node: Node, after: str) -> None:
    with ir.noting_as(node.note):
        try:
            inferred = node.op.infer(node.inputs, node.attrs)
        except GraphcError as error:
            raise InternalError(
                f"after {after}: {node.op.name} has become invalid: {error.message}",
                where=node.note.where,
                rows=error.rows,
            ) from error
    if inferred != node.type:
        raise InternalError(
            f"after {after}: {node.op.name} is {node.type} and should be {inferred}",
            where=node.note.where,
        )
    if isinstance(node.type, tuple) is False and node.op.name != "result":
        many = [n for n in node.inputs if isinstance(n.type, tuple)]
        if many:
            raise InternalError(f"after {after}: {node.op.name} reads all results of a node")
    for value in node.attrs.values():
        if isinstance(value, Graph):
            _check_closed(value, after)


def _check_closed(body: Graph, after: str) -> None:
    given = set(body.inputs)
    for node in ir.topological((*body.inputs, *body.outputs)):
        _check_node(node, after)
        if node.op.name in _OPEN_LEAVES and node not in given:
            raise InternalError(f"after {after}: {node.label} reaches into a closed body")


def _check_function(function: Function, program: Program, after: str) -> None:
    given, states = set(function.inputs), set(program.states)
    for node in ir.topological(function.roots):
        if node.op.name == "input" and node not in given:
            raise GraphError(
                f"function {function.name} needs {node.label}, which is not among its inputs",
                where=function.where,
                rows=[(node.label, str(node.type), node.note.where or "")],
                # What nobody declared by name is a leaf that a loop's cell was called with.
                hint=f"add {node.label} to the list of inputs"
                if node.note.name
                else "what a loop's cell computes leaves it as its carry or as y",
            )
        if node.op.name in ("parameter", "state") and node not in states:
            raise InternalError(f"after {after}: {node.label} is no state of the program")
    for state, new in function.updates:
        if state.type != new.type or state not in states:
            raise InternalError(f"after {after}: the update of {state.label} does not fit")


def _check_names(program: Program) -> None:
    check_leaf_names(program.states)
    for function in program.functions:
        check_leaf_names(function.inputs)


def check_leaf_names(leaves: Iterable[Node]) -> None:
    """Raise if two different leaves share a name."""
    seen: dict[str, Node] = {}
    for leaf in leaves:
        other = seen.setdefault(leaf.attrs["name"], leaf)
        if other is not leaf:
            raise NameClashError(
                f"two different {leaf.op.name}s are called {leaf.label!r}",
                where=leaf.note.where,
                rows=[(str(n.type), n.note.where or "") for n in (other, leaf)],
                hint="give one of them another name=, or a scope of its own",
            )
