"""The protocol between core and back ends, number 1.

Core checks a program, runs the pipeline and hands over a canonical one: forms resolved, broadcasts
and casts explicit, ops by name with normalised attributes, formulas as trees of scalar primitives.
A back end answers with an executable. It imports `graphc.ir`, `graphc.dims`, `graphc.errors`, this
file and the rewrite driver, and never the user-facing language; core imports no back end.

Back ends are found through the entry-point group ``graphc.backends``, or handed in as objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from graphc import printer
from graphc.errors import BackendError
from graphc.ir import Program

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PROTOCOL = 1
GROUP = "graphc.backends"

Array = npt.NDArray[np.generic]
Missing = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Options:
    """What a compile asks of a back end.

    Attributes:
        exact: switch off every move across ops that changes rounding.
        tune_for: sizes of named dimensions that may guide choices, and nothing else.
    """

    exact: bool = False
    tune_for: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Direction:
    """A way to move a leaf, so that a gradient can be compared with differences of its loss.

    Attributes:
        signs: along made-up signs: element i moves by 1 - 2 * (the top bit of the output i of
            splitmix64 from 0); else along the recorded gradient divided by its largest magnitude.
        step: how far; the loss is taken at both sides, and the difference divided by twice this.
        tolerance: what that may differ by from the inner product of gradient and direction.
    """

    signs: bool
    step: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Slope:
    """A gradient among a call's outputs, and how to compare it with differences of its loss.

    Attributes:
        gradient: the position of the gradient among the outputs.
        loss: the position of the scalar that it derives.
        leaf: the name of the state or input that it is by.
        directions: what to compare; none where the recorded point does not allow it (a kink, too
            much work), or the gradient is not the plain one (truncated, stopped).
    """

    gradient: int
    loss: int
    leaf: str
    directions: tuple[Direction, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded call, which an exported module can be checked with.

    Attributes:
        function: its name.
        sizes: the named dimensions.
        inputs: arrays in the order declared.
        outputs: what the call returns, computed by the reference back end.
        states: what the states that the call updates become, by name; before, they are as at the
            time of the export.
        tolerances: what each output, then each state may differ by.
        slopes: the gradients among the outputs.
    """

    function: str
    sizes: Mapping[str, int]
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    states: Mapping[str, Array]
    tolerances: tuple[float, ...]
    slopes: tuple[Slope, ...] = ()


@runtime_checkable
class Executable(Protocol):
    """A program, ready to run, with states of its own.

    States begin as zeros. Arrays are C-contiguous, aligned, of exactly the program's dtypes.
    """

    def call(self, function: str, arrays: Sequence[Array], dims: Mapping[str, int]) -> list[Array]:
        """Run a function and return fresh arrays, one for each of its outputs.

        A call completes or leaves every state as it was. Inputs are never modified or kept.

        Errors: IndexRangeError for a computed index outside its axis; SizeError for memory
        """
        ...

    def read(self, state: str) -> Array:
        """Return a state as a fresh array in the logical layout."""
        ...

    def write(self, state: str, array: Array) -> None:
        """Set a state from an array in the logical layout."""
        ...

    def export(self, folder: Path, cases: Sequence[Case]) -> None:
        """Write a standalone module into a folder, with recorded calls to check it by."""
        ...

    @property
    def report(self) -> Mapping[str, object]:
        """What there is to tell: source files by name, cache hit or not, compiler, sizes."""
        ...


@runtime_checkable
class Backend(Protocol):
    """What turns programs into executables."""

    @property
    def name(self) -> str:
        """The word that ``backend=`` takes."""
        ...

    @property
    def protocol(self) -> int:
        """The number of the protocol that it was written for."""
        ...

    def missing(self, program: Program) -> Missing:
        """Return ``(op, why)`` for what it cannot run of a program; empty if all."""
        ...

    def build(self, program: Program, options: Options) -> Executable:
        """Turn a canonical program into an executable.

        Errors: CompilerError where a compiler is needed and missing or failing
        """
        ...

    def describe(self) -> Mapping[str, str]:
        """Return what ``graphc doctor`` prints of it: what it found and what to install."""
        ...


def graph_hash(program: Program) -> str:
    """Return the SHA-256 of a program's canonical text, by which weights files name it."""
    return printer.digest(program)


def installed() -> dict[str, EntryPoint]:
    """Return the entry points of the back ends that are installed, by name."""
    from importlib.metadata import entry_points  # 30 ms that only a compile needs

    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def find(backend: str | Backend) -> Backend:
    """Return a back end by name, or an object that is one.

    Errors: BackendError if there is none of that name, it does not load, or it speaks another
        protocol
    """
    found = _loaded(backend) if isinstance(backend, str) else backend
    number = getattr(found, "protocol", None)
    name = getattr(found, "name", type(found).__name__)
    if number is None or not isinstance(found, Backend):
        lacking = [
            m for m in ("name", "protocol", "missing", "build", "describe") if not hasattr(found, m)
        ]
        raise BackendError(f"{name!r} is no back end: it has no {', '.join(lacking)}")
    if number != PROTOCOL:
        raise BackendError(
            f"the back end {name!r} speaks protocol {number}, this graphc speaks {PROTOCOL}",
            hint="install versions of both that agree",
        )
    return found


def _loaded(name: str) -> Backend:
    known = installed()
    if name not in known:
        names = ", ".join(known) or "none"
        raise BackendError(
            f"there is no back end {name!r}; installed: {names}",
            hint="pip install the package that brings it, or pass the back end as an object",
        )
    try:
        loaded: Backend = known[name].load()
    except (ImportError, AttributeError) as error:
        raise BackendError(f"the back end {name!r} does not load: {error}") from error
    return loaded
