"""The intermediate representation: nodes, types, notes, functions, programs.

Knows what a graph is, and no single op, pass, back end or user-facing tensor.

A graph is what its outputs reach. A `Node` is frozen, typed and compares by identity; all ops are
strict: no broadcasting, no promotion, no Python scalars. Floats keep to three classes (`Floats`):
*exact* ops are bit-equal to NumPy, NaN-ness, infinities and -0.0 included; *rounded* ones stay
within a stated number of ULPs and have NumPy's special values; *sum* ones may add in any order and
grouping, fuse multiply and add, and add zero terms, so that their error is at most
gamma_K * sum(|terms|), and a NaN or infinite term gives a non-finite result.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.errors import DtypeError, GraphcError, GraphError

FLOATS = ("float32", "float64")
INTEGERS = ("uint8", "int32", "int64", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, *FLOATS)

Attrs = Mapping[str, Any]
Structure = Any  # an int (a position among the outputs), or a tuple, list or dict of structures


class Floats(enum.Enum):
    """What an op promises about the floats that it computes."""

    EXACT = "exact"
    ROUNDED = "rounded"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dtype and dimensions."""

    dtype: str
    shape: Shape

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise DtypeError(
                f"there is no dtype {self.dtype!r}", hint="use one of " + ", ".join(DTYPES)
            )

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floats, so that a derivative can pass."""
        return self.dtype in FLOATS

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return dims.size(self.shape)

    def __str__(self) -> str:
        return self.dtype + dims.shape_text(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where a derived node comes from: the forward node's note, and the role it has there."""

    note: Note
    role: str


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """Where a node comes from, and never what it means: no pass may decide by it.

    Attributes:
        name: what the user called it.
        scope: the path of layers and cells that it stands in.
        where: ``file:line`` of the user's call.
        step: the time step of an unrolled copy.
        origin: for a derived node, the forward node's note and its role.
    """

    name: str | None = None
    scope: tuple[str, ...] = ()
    where: str | None = None
    step: int | None = None
    origin: Origin | None = None

    @property
    def path(self) -> str | None:
        """The name with its scope: ``features.c1``."""
        return ".".join((*self.scope, self.name)) if self.name else None


Derivative = Callable[["Node", "Cotangents", "Differentiate"], "tuple[Node | None, ...]"]
Cotangents = tuple["Node | None", ...]
Differentiate = Callable[["Graph", "Sequence[Node | None]"], "Graph"]
Infer = Callable[["Sequence[Node]", Attrs], "TensorType | tuple[TensorType, ...]"]


def no_cost(node: Node) -> Dim:
    """Return 0: the op multiplies and adds nothing."""
    return 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Op:
    """One operation, in one place: all that is known of it but how to run it.

    Attributes:
        name: the word in the IR, in each back end's table, in comments and tests.
        infer: the shape rule ``(inputs, attrs) -> type``, which also checks and raises.
        derivative: ``(node, cotangents, differentiate) -> a cotangent or None for each input``;
            there is a cotangent (or None) for each result of the node.
        floats: what it promises about floats.
        formula: its mathematics, one line.
        rule: the mathematics of its derivative, one line.
        cost: multiply-adds of a node.
    """

    name: str
    infer: Infer
    derivative: Derivative
    floats: Floats
    formula: str
    rule: str = "no gradient passes"
    cost: Callable[[Node], Dim] = no_cost

    def __repr__(self) -> str:
        return f"<op {self.name}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Node:
    """One application of an op."""

    op: Op
    inputs: tuple[Node, ...]
    attrs: Attrs
    type: TensorType | tuple[TensorType, ...]
    note: Note = field(default_factory=Note)

    @property
    def tensor(self) -> TensorType:
        """The type of a node that has a single result."""
        if isinstance(self.type, tuple):
            raise GraphError(f"{self.op.name} has {len(self.type)} results; read one with result()")
        return self.type

    @property
    def types(self) -> tuple[TensorType, ...]:
        """The types of all results."""
        return self.type if isinstance(self.type, tuple) else (self.type,)

    @property
    def shape(self) -> Shape:
        """The dimensions of the single result."""
        return self.tensor.shape

    @property
    def dtype(self) -> str:
        """The dtype of the single result."""
        return self.tensor.dtype

    @property
    def label(self) -> str:
        """What an error or a picture calls the node."""
        formula = getattr(self.attrs.get("formula"), "name", None)
        return str(self.attrs.get("name") or self.note.path or formula or self.op.name)

    def __repr__(self) -> str:
        return f"<{repr(self.label)[1:-1]}: {self.op.name} {self.type}>"


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A closed graph: leaves in order, and outputs that reach no other leaf (a loop's body)."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """One entry of a program.

    Attributes:
        name: an identifier.
        inputs: input leaves, in the order of the arguments.
        outputs: the results, flat.
        updates: ``(state leaf, its new value)``; all read the old values.
        structure: how the caller gets the outputs, with positions in ``outputs`` as leaves.
        training: whether it computes the training form.
        where: ``file:line`` of its declaration.
    """

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    structure: Structure = 0
    training: bool = False
    where: str | None = None

    @property
    def roots(self) -> tuple[Node, ...]:
        """All nodes that a call computes."""
        return (*self.outputs, *(new for _, new in self.updates))


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Functions that share states."""

    name: str
    functions: tuple[Function, ...]
    states: tuple[Node, ...] = ()

    @property
    def roots(self) -> tuple[Node, ...]:
        """All nodes that the program holds on to."""
        kept = [r for f in self.functions for r in (*f.inputs, *f.roots)]
        return (*kept, *self.states)


_NOWHERE = Note()
_template: ContextVar[Note] = ContextVar("graphc_note", default=_NOWHERE)


@contextmanager
def noting(**changes: Any) -> Iterator[None]:
    """Give the nodes made inside the block these fields of their notes."""
    token = _template.set(replace(_template.get(), **changes))
    try:
        yield
    finally:
        _template.reset(token)


class noting_as:  # noqa: N801  (a context manager, written out: passes enter one for every node)
    """Give the nodes made inside the block the fields of an existing note."""

    __slots__ = ("_note", "_token")

    def __init__(self, note: Note) -> None:
        self._note = note

    def __enter__(self) -> None:
        self._token = _template.set(self._note)

    def __exit__(self, *error: object) -> None:
        _template.reset(self._token)


def current_note() -> Note:
    """Return the note that a node made now would copy."""
    return _template.get()


def apply(op: Op, inputs: Sequence[Node], attrs: Attrs = MappingProxyType({})) -> Node:
    """Make a node: infer its type and give it a note of its own.

    Errors: whatever the op's shape rule raises, placed at the user's line.
    """
    template = _template.get()
    try:
        inferred = op.infer(inputs, attrs)
    except GraphcError as error:
        raise error.located(template.where) from None
    return Node(op, tuple(inputs), MappingProxyType(dict(attrs)), inferred, _copy(template))


def renoted(node: Node, note: Note) -> Node:
    """Return the same node under another note."""
    return Node(node.op, node.inputs, node.attrs, node.type, note)


def named(node: Node, name: str) -> Node:
    """Return the same node, called by a name."""
    return renoted(node, replace(node.note, name=name))


def topological(roots: Iterable[Node]) -> list[Node]:
    """Return all nodes that the roots reach, inputs before users, in an order without chance."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, int]] = [] if root in seen else [(root, 0)]
        seen.add(root)
        while stack:
            node, i = stack.pop()
            if i == len(node.inputs):
                order.append(node)
                continue
            stack.append((node, i + 1))
            child = node.inputs[i]
            if child not in seen:
                seen.add(child)
                stack.append((child, 0))
    return order


def with_bodies(order: Iterable[Node]) -> Iterator[Node]:
    """Yield nodes, and after each loop the nodes of its body."""
    stack = [iter(tuple(order))]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            continue
        for value in node.attrs.values():
            if isinstance(value, Graph):
                stack.append(iter(topological(value.outputs)))
        yield node


def substitute(roots: Iterable[Node], replacements: Mapping[Node, Node]) -> dict[Node, Node]:
    """Return what each node becomes when some are exchanged for others of their type."""
    mapping: dict[Node, Node] = {}
    for node in topological(roots):
        new = replacements.get(node)
        if new is None:
            with noting_as(node.note):
                new = with_inputs(node, tuple(mapping[n] for n in node.inputs))
        mapping[node] = new
    return mapping


def with_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return a node over other inputs, with its note; itself if they are the same."""
    if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return renoted(apply(node.op, inputs, node.attrs), node.note)


def users(order: Iterable[Node]) -> dict[Node, list[Node]]:
    """Return for each node the nodes that read it, in the order given."""
    found: dict[Node, list[Node]] = {}
    for node in order:
        found.setdefault(node, [])
        for child in node.inputs:
            found.setdefault(child, []).append(node)
    return found


def program_of(*outputs: Node, name: str = "graph", inputs: Sequence[Node] = ()) -> Program:
    """Return a loose graph as a program of one function in the training form."""
    return Program(name, (Function(name, tuple(inputs), outputs, training=True),))


def _copy(note: Note) -> Note:
    return Note(note.name, note.scope, note.where, note.step, note.origin)
