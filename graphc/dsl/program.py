"""Functions and programs: what a user asks to be compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc import ir, verify
from graphc.dsl import structure
from graphc.dsl.convert import by_tensor, node_of, several
from graphc.dsl.location import public, user_line
from graphc.dsl.names import check_identifier
from graphc.dsl.tensor import Tensor
from graphc.errors import GraphcError, GraphError, NameClashError
from graphc.ir import Node
from graphc.ops import leaf, linear
from graphc.passes.resolve import resolve


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """Inputs, outputs and updates, before a program gives them a name."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    structure: Any
    updates: tuple[tuple[Tensor, Node], ...]
    training: bool
    where: str


@public
def function(
    inputs: Sequence[Tensor],
    outputs: Any,
    updates: Mapping[Tensor, Any] | None = None,
    training: bool | None = None,
) -> Function:
    """Say what a call takes, gives and changes.

    ``outputs`` is a tensor or a nest of them, which calls return in the same structure, with the
    values before the updates. With updates it computes the training form, without them the test
    form; ``training=`` says otherwise. Updates are simultaneous: all read the old values.

    Errors: GraphError for inputs that are none, DtypeError and ShapeError for an update of
        another type than its state
    """
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(several("function", inputs))
    for item in given:
        if not isinstance(item, Tensor) or item.node.op is not leaf.INPUT:
            raise GraphError(
                f"inputs of a function are made by gx.input, not {item!r:.60}",
                hint="gx.replace puts an input in the place of another tensor",
            )
    if len(set(given)) != len(given):
        names = [str(t.name) for t in given]
        raise GraphError("an input stands twice in the list: " + ", ".join(names))
    _check_keys(outputs)
    leaves, shape = structure.flatten(outputs)
    results = tuple(Tensor(node_of(t)) for t in leaves)
    made = by_tensor("updates", updates) if updates is not None else {}
    changes = tuple((s, _new_value(s, v)) for s, v in made.items())
    form = bool(changes) if training is None else training
    return Function(given, results, shape, changes, form, user_line())


def _check_keys(nest: Any) -> None:
    """Raise for outputs whose names could not stand in a signature."""
    if isinstance(nest, Mapping):
        for key in nest:
            if isinstance(key, str):
                check_identifier("output", key)
    if isinstance(nest, Mapping | tuple | list):
        for part in nest.values() if isinstance(nest, Mapping) else nest:
            _check_keys(part)


def _new_value(state: Any, value: Any) -> Node:
    if not isinstance(state, Tensor) or state.node.op not in leaf.LEAVES_WITH_STATE:
        raise GraphError(f"only parameters and states are updated, not {state!r:.60}")
    node = node_of(value, None if isinstance(value, Tensor) else state.dtype)
    if not node.shape and not isinstance(value, Tensor):
        node = linear.broadcast_to(node, state.shape)
    if node.type != state.node.type:
        raise GraphError(
            f"the update of {state.name} has another type",
            rows=[(str(state.name), str(state.node.type)), ("new value", str(node.type))],
            hint="an update has exactly its state's shape and dtype",
        )
    return node


class Program:
    """Named functions that share parameters and states.

    ``gx.Program("lenet5", predict=gx.function(...), train=gx.function(...))``; functions may also
    come as a dict. Names are checked here.

    Errors: NameClashError, FormError, GraphError (an output needs an input that is not listed)
    """

    __slots__ = ("functions", "ir", "name")

    def __init__(
        self, name: str, functions: Mapping[str, Function] | None = None, /, **more: Function
    ) -> None:
        self.name = name
        self.functions, self.ir = _checked(name, functions, more)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {', '.join(self.functions)}>"

    def __str__(self) -> str:
        from graphc import printer

        return printer.text(self.ir, notes=True)


@public
def _checked(
    name: str, given: Mapping[str, Function] | None, more: Mapping[str, Function]
) -> tuple[dict[str, Function], ir.Program]:
    check_identifier("program", name)
    if given is not None and not isinstance(given, Mapping):
        raise GraphError(f"program {name!r} takes functions by name, not {given!r:.60}")
    functions = {**(given or {}), **more}
    if not functions:
        raise GraphError(f"program {name!r} has no function", hint=_WRITE)
    made = []
    for key, item in functions.items():
        check_identifier("function", key)
        if not isinstance(item, Function):
            raise GraphError(f"{key} is no function, but {item!r:.60}", hint=_WRITE)
        made.append(_built(key, item))
    program = ir.Program(name, tuple(made), _states(made))
    verify.verify(program)
    _check_uses(program)
    resolve(program)
    return functions, program


_WRITE = "gx.Program(name, predict=gx.function(inputs, outputs))"


def _built(name: str, item: Function) -> ir.Function:
    return ir.Function(
        name,
        tuple(t.node for t in item.inputs),
        tuple(t.node for t in item.outputs),
        tuple((s.node, new) for s, new in item.updates),
        item.structure,
        item.training,
        item.where,
    )


def _states(functions: Sequence[ir.Function]) -> tuple[Node, ...]:
    roots = [r for f in functions for r in (*f.roots, *(s for s, _ in f.updates))]
    found = ir.topological(roots)
    ordered = [n for op in leaf.LEAVES_WITH_STATE for n in found if n.op is op]
    return tuple(ordered)


def _check_uses(program: ir.Program) -> None:
    """Raise if one name of a dimension or leaf stands for two things."""
    inputs = {n.attrs["name"]: n for f in program.functions for n in f.inputs}
    for state in program.states:
        other = inputs.get(state.attrs["name"])
        if other is not None:
            raise NameClashError(
                f"an input and a {state.op.name} are both called {state.label!r}",
                where=state.note.where,
                rows=[(n.op.name, str(n.type), n.note.where or "") for n in (other, state)],
                hint="give one of them another name",
            )


@public
def program_of(tensors: Mapping[str, Tensor], *, training: bool, name: str = "graph") -> ir.Program:
    """Return loose tensors as a program of one function over all inputs that they reach."""
    nodes = {key: t.node for key, t in tensors.items()}
    order = ir.topological(nodes.values())
    inputs = tuple(n for n in order if n.op is leaf.INPUT)
    function = ir.Function(
        "evaluate",
        inputs,
        tuple(nodes.values()),
        structure=dict(zip(nodes, range(len(nodes)), strict=True)),
        training=training,
        where=ir.current_note().where,
    )
    program = ir.Program(name, (function,), _states([function]))
    try:
        verify.verify(program)
    except GraphcError as error:
        raise error.located(function.where) from None
    return program
