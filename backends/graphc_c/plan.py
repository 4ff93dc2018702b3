"""What a program becomes behind the back end's door: kernels over buffers, in order.

Data only: how a node becomes kernels stands in `lower`, how a kernel becomes C in `kernels`.

A `Kernel` may write several buffers. Its descriptor is data that names no object of the user's, so
equal descriptors are one C function; where it comes from stands in its note, at the call. A
`Buffer` has a layout, a codec between the logical array and what lies in memory, and a storage:
argument, result, state, next (a state's new value), constant or arena.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from graphc import dims
from graphc.dims import Dim, Shape
from graphc.ir import Node, TensorType

Array = npt.NDArray[Any]


class Layout(Protocol):
    """How a tensor lies in memory: a codec, and how many elements it takes."""

    def size(self, shape: Shape) -> Dim:
        """Return the elements that a tensor of this shape takes."""
        ...

    def pack(self, array: Array) -> Array:
        """Return what lies in memory for a logical array."""
        ...

    def unpack(self, data: Array, shape: tuple[int, ...]) -> Array:
        """Return the logical array."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """Row-major, without gaps."""

    def size(self, shape: Shape) -> Dim:
        """Return the number of elements."""
        return dims.size(shape)

    def pack(self, array: Array) -> Array:
        """Return the array in row-major order."""
        return np.ascontiguousarray(array).ravel()

    def unpack(self, data: Array, shape: tuple[int, ...]) -> Array:
        """Return a fresh array."""
        return data.reshape(shape).copy()


PLAIN = Plain()


@dataclass(frozen=True, slots=True)
class Work:
    """The size of a kernel's own work: a function of the runtime, and its arguments.

    With ``struct`` the arguments are the fields of one struct, which the function takes by pointer.
    """

    function: str
    arguments: tuple[Dim, ...]
    struct: str | None = None


@dataclass(slots=True, eq=False)
class Buffer:
    """Memory of one tensor, or of a kernel's own work.

    Attributes:
        type: dtype and dimensions.
        storage: ``argument``, ``result``, ``state``, ``next``, ``constant`` or ``arena``.
        index: which one of that storage; for the arena, its place among the arena's buffers.
        layout: the codec between logical array and memory.
        work: how many elements a kernel's own work takes; None for a tensor.
    """

    type: TensorType
    storage: str = "arena"
    index: int = -1
    layout: Layout = PLAIN
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Where a tensor's elements lie: a buffer, an offset, and strides, in elements."""

    buffer: Buffer
    offset: Dim
    shape: Shape
    strides: tuple[Dim, ...]

    @property
    def dtype(self) -> str:
        """The dtype of the elements."""
        return self.buffer.type.dtype

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        units = zip(self.shape, self.strides, row_major(self.shape), strict=True)
        return all(n == 1 or a == b for n, a, b in units)

    @property
    def is_whole(self) -> bool:
        """Whether it is exactly its buffer's tensor, element by element."""
        same = dims.equal(self.buffer.type.size, dims.size(self.shape))
        return self.offset == 0 and self.is_contiguous and same is True


def whole(buffer: Buffer, shape: Shape | None = None) -> View:
    """Return a buffer as a tensor, under another shape of the same size if given."""
    shape = buffer.type.shape if shape is None else shape
    return View(buffer, 0, shape, row_major(shape))


def row_major(shape: Shape) -> tuple[Dim, ...]:
    """Return the strides of a row-major tensor, in elements."""
    strides: list[Dim] = []
    step: Dim = 1
    for extent in reversed(shape):
        strides.append(step)
        step = dims.multiply(step, extent)
    return tuple(reversed(strides))


@dataclass(frozen=True, slots=True)
class Kernel:
    """One C function at work.

    Attributes:
        descriptor: what the function does, as data; dimensions are named n0, n1, …
        reads: what it reads, in the order of its parameters.
        writes: what it writes, in the order of its parameters.
        sizes: the program's dimensions that stand for n0, n1, …
        node: where it comes from.
        below: for a kernel that tests indices, and so can stop the call, the length that they
            stay below; else None.
    """

    descriptor: Any
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    sizes: tuple[str, ...]
    node: Node
    below: Dim | None = None

    @property
    def symbol(self) -> str:
        """The name of the C function: its kind and the digest of its descriptor."""
        digest = hashlib.sha256(repr(self.descriptor).encode()).hexdigest()
        return f"gx_{self.descriptor.kind}_{digest[:12]}"


@dataclass(frozen=True, slots=True, eq=False)
class Begin:
    """A loop opens.

    Attributes:
        variable: the name by which offsets of views inside speak of its position.
        length: the number of steps.
        reverse: from the last position to the first.
        node: where it comes from.
    """

    variable: str
    length: Dim
    reverse: bool
    node: Node


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """The innermost open loop closes."""


Step = Kernel | Begin | End


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One function: kernels in order over buffers, some of them in loops.

    Attributes:
        name: the function's name.
        sizes: its open dimensions, in the order in which a call passes them.
        steps: kernels in the order in which they run, and where loops open and close.
        arena: buffers with a place in the arena, in the order of their index.
        arguments: how many arrays a call passes in.
        results: the types of the outputs.
        updates: positions of states that a successful call exchanges for their next values.
    """

    name: str
    sizes: tuple[str, ...]
    steps: tuple[Step, ...]
    arena: tuple[Buffer, ...]
    arguments: int
    results: tuple[TensorType, ...]
    updates: tuple[int, ...]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels alone; a call that a kernel stops returns its number here, from 1 on."""
        return tuple(s for s in self.steps if isinstance(s, Kernel))


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """All functions over shared states and constants.

    Attributes:
        name: the program's name, for comments.
        plans: one for each function.
        states: buffers in the order of the program's states.
        constants: arrays that lie beside the code.
    """

    name: str
    plans: tuple[Plan, ...]
    states: tuple[Buffer, ...]
    constants: Sequence[Array]


class Names:
    """Gives the dimensions of one descriptor its own names n0, n1, …, in the order met."""

    def __init__(self) -> None:
        self.found: dict[str, Dim] = {}

    def own(self, dim: Dim) -> Dim:
        """Return a dimension over the descriptor's names."""
        for name in dims.names((dim,)):
            self.found.setdefault(name, dims.symbol(f"n{len(self.found)}"))
        return dims.substitute(dim, self.found)

    def owns(self, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return several dimensions over the descriptor's names."""
        return tuple(self.own(d) for d in shape)

    @property
    def sizes(self) -> tuple[str, ...]:
        """The program's names, in the descriptor's order."""
        return tuple(self.found)
