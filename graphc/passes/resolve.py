"""Each function in its form: phases chosen, owned updates made its own, streams numbered.

After it no phase, update, gradient stop or random token is left; back ends never see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc import ir
from graphc.errors import FormError, GraphError
from graphc.ir import Function, Node, Program
from graphc.ops import phase, random
from graphc.passes import rewrite
from graphc.passes.inference import inference


def resolve(program: Program) -> Program:
    """Give each function the form that it computes.

    Promises: the ops of `graphc.ops.RESOLVED` are gone; a ``stream`` is a number; a function that
        draws random numbers advances the key.
    Errors:   FormError; GraphError for two updates of one state
    """
    program = rewrite.per_function(program, _formed)
    program = _numbered(rewrite.per_function(program, _advancing))
    if random.KEY in program.states or not any(_draws(f) for f in program.functions):
        return program
    return replace(program, states=(*program.states, random.KEY))


def _formed(function: Function) -> Function:
    # Phases come first: what they do not choose owns no update.
    function = _exchanged(function, _chosen(function))
    function = replace(function, updates=_with_owned(function))
    return _exchanged(function, rewrite.rewritten(function.roots, (_value,)))


def _chosen(function: Function) -> dict[Node, Node]:
    """Return what each node becomes when phases choose."""
    if function.training:
        return rewrite.rewritten(function.roots, (_train_value,))
    try:
        return inference(function.roots)
    except FormError as error:
        error.message = f"function {function.name}: {error.message}"
        error.where = function.where or error.where
        raise


def _with_owned(function: Function) -> tuple[tuple[Node, Node], ...]:
    """Return the updates of a function, with those that its tensors own."""
    updates = dict(function.updates)
    for node in ir.topological(function.roots):
        if node.op is not phase.WITH_UPDATE:
            continue
        _, state, new = node.inputs
        other = updates.setdefault(state, new)
        if other is not new:
            raise GraphError(
                f"function {function.name} updates {state.label} twice",
                where=function.where,
                rows=[("first", other.note.where or ""), ("second", new.note.where or "")],
            )
    return tuple(updates.items())


def _exchanged(function: Function, mapping: Mapping[Node, Node]) -> Function:
    return replace(
        function,
        outputs=tuple(mapping[n] for n in function.outputs),
        updates=tuple((s, mapping[n]) for s, n in function.updates),
    )


def _train_value(node: Node) -> Node | None:
    return node.inputs[0] if node.op is phase.PHASE else None


def _value(node: Node) -> Node | None:
    """Return the first input of the ops that are the identity on it."""
    passing = (phase.TRAINING_ONLY, phase.WITH_UPDATE, phase.STOP_GRADIENT)
    return node.inputs[0] if node.op in passing else None


def _draws(function: Function) -> bool:
    return any(n is random.KEY for n in ir.topological(function.roots))


def _advancing(function: Function) -> Function:
    if not _draws(function):
        return function
    return replace(function, updates=(*function.updates, (random.KEY, random.advanced(random.KEY))))


def _numbered(program: Program) -> Program:
    numbers: dict[random.Stream, int] = {}

    def numbered(node: Node) -> Node | None:
        stream = node.attrs.get("stream")
        if not isinstance(stream, random.Stream):
            return None
        number = numbers.setdefault(stream, len(numbers))
        return random.random_bits(node.inputs[0], number, node.attrs["shape"], node.attrs["dtype"])

    return rewrite.rewrite(program, numbered)
